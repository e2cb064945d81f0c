"""Statistics of stress ladders, against scipy and plain numpy loops over rungs and scenarios."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from timing import (
    Row,
    arguments,
    beside_ours,
    environment,
    measure,
    table,
    thread_counts,
    write_jsonl,
)
from torch import Tensor

from wmscore.ladder.rungs import ratio_interval
from wmscore.ladder.trend import page_test
from wmscore.stats import joint_sign_flip_test

CASES = ((8, 77), (50, 77))  # scenarios, rungs of all stressors
LADDER = 5  # rungs of one stressor, the clean panel not among them
DRAWS = 9999
COLUMNS = {
    "what": "s",
    "size": "s",
    "provider": "s",
    "seconds": ".4f",
    "items_per_second": ".0f",
    "times_wmscore": ".2f",
}


def usable_shares(scenarios: int, rungs: int) -> tuple[Tensor, Tensor]:
    """Usable shares of a horizon of 32, `[S]` when clean and `[S, rungs]`, some rungs harder."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.randint(8, 33, (scenarios,), generator=generator) / 32
    lost = torch.randint(-6, 7, (scenarios, rungs), generator=generator) / 32
    lost[:, rungs // 2 :] += 0.05
    return clean.double(), (clean[:, None] - lost).clamp(0, 1).double()


def plain_joint(lost: np.ndarray, draws: int) -> np.ndarray:
    """Step-down maxT of Westfall and Young, a flip of all signs at a time; `[rungs]`."""
    scenarios, rungs = lost.shape
    scale = np.sqrt((lost**2).sum(0))
    seen = lost.sum(0) / scale
    order = np.argsort(-seen, kind="stable")
    if 2**scenarios <= draws + 1:
        signs = [np.array(s) for s in itertools.product((1.0, -1.0), repeat=scenarios)]
        count, start = len(signs), 0
    else:
        rng = np.random.default_rng(0)
        signs = [rng.choice((1.0, -1.0), scenarios) for _ in range(draws)]
        count, start = draws + 1, 1
    above = np.full(rungs, float(start))
    for sign in signs:
        drawn = (sign @ lost / scale)[order]
        most = np.maximum.accumulate(drawn[::-1])[::-1]
        above += most >= seen[order] - 1e-9
    p = np.empty(rungs)
    p[order] = np.maximum.accumulate(above / count)
    return p


def plain_ratios(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """`[rungs, 3]`: ratio of means and its linearised interval, by scipy's t, a rung at a time."""
    from scipy.stats import t

    found = []
    for column in after.T:
        ratio = column.mean() / before.mean()
        error = (column - ratio * before).std(ddof=1) / (before.mean() * len(before) ** 0.5)
        reach = t.ppf(0.975, len(before) - 1) * error
        found.append((ratio, ratio - reach, ratio + reach))
    return np.array(found)


def scipy_trend(clean: np.ndarray, after: np.ndarray) -> list[float]:
    """Page's test of each ladder: scipy's exact one knows no ties, so its normal approximation."""
    from scipy.stats import page_trend_test

    return [
        page_trend_test(
            -np.column_stack([clean, after[:, i : i + LADDER]]), method="asymptotic"
        ).pvalue
        for i in range(0, after.shape[1] - LADDER + 1, LADDER)
    ]


def our_trend(clean: Tensor, after: Tensor) -> list[float]:
    """The same, exact and conditional on ties."""
    return [
        page_test(-torch.cat([clean[:, None], after[:, i : i + LADDER]], 1)).p_value
        for i in range(0, after.shape[1] - LADDER + 1, LADDER)
    ]


def our_ratios(after: Tensor, before: Tensor) -> list[tuple[float, float, float]]:
    """Of each rung."""
    return [ratio_interval(column, before) for column in after.T]


def bench(scenarios: int, rungs: int, device: str, rounds: int) -> list[Row]:
    clean, after = usable_shares(scenarios, rungs)
    lost = clean[:, None] - after
    plain = [x.numpy() for x in (clean, after, lost)]
    cases: dict[str, dict[str, Callable[[], object]]] = {
        "joint sign flips": {
            "wmscore": partial(joint_sign_flip_test, lost),
            "numpy loop": partial(plain_joint, plain[2], DRAWS),
        },
        "Page's trend": {
            "wmscore, exact": partial(our_trend, clean, after),
            "scipy, approximation": partial(scipy_trend, plain[0], plain[1]),
        },
        "relative, interval": {
            "wmscore": partial(our_ratios, after, clean),
            "scipy loop": partial(plain_ratios, plain[1], plain[0]),
        },
    }
    # A quick wrong answer is no result.
    torch.testing.assert_close(
        torch.tensor(our_ratios(after, clean), dtype=torch.float64),
        torch.from_numpy(plain_ratios(plain[1], plain[0])),
    )
    ours, theirs = (
        joint_sign_flip_test(lost).p_value,
        torch.from_numpy(plain_joint(plain[2], DRAWS)),
    )
    exact = 2**scenarios <= DRAWS + 1
    torch.testing.assert_close(ours, theirs, atol=1e-12 if exact else 0.02, rtol=0)
    pairs = zip(our_trend(clean, after), scipy_trend(plain[0], plain[1]), strict=True)
    assert statistics.mean(abs(a - b) for a, b in pairs) < 0.03
    found = []
    for what, providers in cases.items():
        timed = measure(
            providers, device=device, rounds=rounds, bytes_read=8 * lost.numel(), items=rungs
        )
        about = {"benchmark": "ladder", "what": what, "size": f"{scenarios} x {rungs}"}
        found += beside_ours(timed, about, device)
    return found


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    print(environment(options.device))
    rows = [
        row
        for _ in thread_counts(options)
        for case in CASES
        for row in bench(*case, options.device, options.rounds)
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
