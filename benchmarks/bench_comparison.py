"""The comparison of two panels from matched cells ``[S, K, columns]``: against pandas with scipy.

Every provider takes the difference of two models cell by cell, averages the seeds of each scenario,
and gives for each column the mean difference, Student's interval over scenarios and the p-value of
10,000 sign flips; then a bootstrap interval over scenarios from 10,000 draws, which is timed and
not compared, as ours is the bootstrap-t and scipy has none. pandas starts from data frames that are
there already; without it or scipy it is left out. `error` is the largest difference of means and
intervals as a share of the interval's width; p-values differ by the noise of their draws, and far
off they stop the run.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from timing import Row, arguments, environment, measure, parser, table, thread_counts, write_jsonl
from torch import Tensor

from wmscore.comparison import paired_difference, scenario_differences
from wmscore.stats import bootstrap_interval

MISSING = [name for name in ("pandas", "scipy") if importlib.util.find_spec(name) is None]
Array = np.ndarray[Any, np.dtype[np.float64]]

DRAWS = 10_000
# scenarios, seeds, columns (the usable horizon and four axes)
CASES = ((20, 8, 5), (1000, 8, 5), (1000, 1000, 5))
COLUMNS = {
    "scenarios": "d",
    "seeds": "d",
    "columns": "d",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "times_first": ".1f",
    "extra_bytes": ",d",
    "error": ".1e",
}


def ours(old: Tensor, new: Tensor) -> Array:
    found = paired_difference(old, new, draws=DRAWS)
    bootstrap_interval(scenario_differences(old, new), draws=DRAWS)
    parts = (found.estimate, found.low, found.high, found.p_value)
    return torch.stack(parts).cpu().numpy()


def of_pandas(old: Any, new: Any) -> Array:
    from scipy import stats

    delta = (new - old).groupby(level="scenario").mean().to_numpy()
    tested = stats.ttest_1samp(delta, 0)
    ends = tested.confidence_interval(0.95)
    batch = max(1, (1 << 22) // delta.size)
    flipped = stats.permutation_test(
        (delta,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        n_resamples=DRAWS,
        batch=batch,
        vectorized=True,
        axis=0,
        rng=np.random.default_rng(0),
    )
    stats.bootstrap(
        (delta,),
        np.mean,
        n_resamples=DRAWS,
        batch=batch,
        axis=0,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return np.stack([delta.mean(0), ends.low, ends.high, flipped.pvalue])


def frame(cells: Tensor) -> Any:
    import pandas as pd

    scenarios, seeds, columns = cells.shape
    index = pd.MultiIndex.from_product([range(scenarios), range(seeds)], names=["scenario", "seed"])
    return pd.DataFrame(cells.cpu().numpy().reshape(-1, columns), index=index)


def bench(
    scenarios: int, seeds: int, columns: int, device: str, rounds: int, alone: bool
) -> list[Row]:
    generator = torch.Generator().manual_seed(scenarios)
    old, new = (
        torch.randn(scenarios, seeds, columns, dtype=torch.float64, generator=generator)
        + 0.3 * torch.randn(scenarios, 1, columns, dtype=torch.float64, generator=generator)
        for _ in range(2)
    )
    here = old.to(device), new.to(device)
    calls: dict[str, Callable[[], Array]] = {"wmscore": lambda: ours(*here)}
    if not MISSING and not alone:
        frames = frame(old), frame(new)
        calls["pandas + scipy"] = lambda: of_pandas(*frames)
    results = {name: call() for name, call in calls.items()}
    first = results["wmscore"]
    width = first[2] - first[1]
    errors = {n: float(np.abs((r[:3] - first[:3]) / width).max()) for n, r in results.items()}
    apart = max(float(np.abs(r[3] - first[3]).max()) for r in results.values())
    if max(errors.values()) > 1e-9 or apart > 0.03:
        raise SystemExit(f"{scenarios} x {seeds}: {errors}, p-values apart by {apart}")
    rows = measure(
        calls, device=device, rounds=rounds, bytes_read=16 * old.numel(), items=scenarios * seeds
    )
    case: dict[str, Any] = {"benchmark": "comparison", "draws": DRAWS, "dtype": "float64"}
    case |= {"scenarios": scenarios, "seeds": seeds, "columns": columns} | environment(device)
    fastest = rows[0]["seconds"]
    return [
        {**case, **row, "times_first": row["seconds"] / fastest, "error": errors[row["provider"]]}
        for row in rows
    ]


def main() -> None:
    own = parser(__doc__.splitlines()[0])
    own.add_argument("--alone", action="store_true", help="without pandas and scipy")
    options = arguments(own)
    print(environment(options.device))
    if MISSING:
        print(f"not installed: {', '.join(MISSING)}; pandas + scipy is left out")
    rows = [
        row
        for _ in thread_counts(options)
        for case in CASES
        for row in bench(*case, options.device, options.rounds, options.alone)
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
