"""Bootstrap, sign flips and signed ranks over scenarios: against scipy and plain numpy.

Each provider gets the same float64 values ``[S, columns]`` and gives what one call of ours gives:
an interval, or a p-value, for each column. scipy is called once for all columns, vectorised, in
batches that bound its memory; `numpy gather` is the usual few lines; `numpy product` uses counts or
signs and a matrix product as ours does, without the pieces. Those two need memory for all draws and
are left out where it would be more than 1 GiB. `error` is the largest difference from the first
provider over the columns: for an interval as a share of its width, for a p-value as it is. Draws
differ between providers, so for these it is noise, and far off it stops the run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from timing import Row, arguments, environment, measure, parser, table, thread_counts, write_jsonl
from torch import Tensor

from wmscore.stats import (
    bootstrap_interval,
    interquartile_interval,
    sign_flip_test,
    signed_rank_test,
)

try:
    from scipy import stats
except ImportError:
    stats = None

Array = np.ndarray[Any, np.dtype[np.float64]]
Providers = dict[str, Callable[[], Array]]

DRAWS = 10_000
LARGEST = 1 << 30  # bytes of temporaries above which a plain version is left out
SLOWEST = 40_000_000  # resampled values above which scipy is left out: several seconds a call
# scenarios, columns
CASES = {
    "percentile": ((20, 8), (1000, 4), (10_000, 8)),
    "bca": ((20, 8), (200, 8)),
    "interquartile": ((20, 8), (200, 8)),
    "sign flip": ((12, 8), (20, 8), (1000, 4), (10_000, 16)),
    "signed rank": ((20, 2000), (50, 2000), (200, 2000)),
}
COLUMNS = {
    "statistic": "",
    "scenarios": "d",
    "columns": "d",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "times_first": ".1f",
    "extra_bytes": ",d",
    "error": ".1e",
}


def stacked(low: Array, high: Array) -> Array:
    return np.stack([low, high])


def interval_providers(values: Tensor, statistic: str) -> Providers:
    host = values.cpu().numpy()
    scenarios, columns = host.shape
    robust = statistic == "interquartile"

    def ours() -> Array:
        if robust:
            found = interquartile_interval(values, draws=DRAWS)
        else:
            found = bootstrap_interval(values, method=statistic, draws=DRAWS)
        return stacked(found.low.cpu().numpy(), found.high.cpu().numpy())

    def of_scipy() -> Array:
        found = stats.bootstrap(
            (host,),
            (lambda x, axis: stats.trim_mean(x, 0.25, axis=axis)) if robust else np.mean,
            n_resamples=DRAWS,
            batch=max(1, (1 << 22) // host.size),
            axis=0,
            vectorized=True,
            method="BCa" if statistic == "bca" else "percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        return stacked(found.low, found.high)

    def gathered() -> Array:
        drawn = np.random.default_rng(0).integers(0, scenarios, (DRAWS, scenarios))
        return np.quantile(host[drawn].mean(1), (0.025, 0.975), axis=0)

    def product() -> Array:
        drawn = np.random.default_rng(0).integers(0, scenarios, (DRAWS, scenarios))
        drawn += np.arange(DRAWS)[:, None] * scenarios
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        return np.quantile(counts @ host / scenarios, (0.025, 0.975), axis=0)

    found: Providers = {"wmscore": ours}
    if stats is not None and DRAWS * host.size <= SLOWEST:
        found["scipy bootstrap"] = of_scipy
    if statistic == "percentile":
        if 8 * DRAWS * scenarios * (columns + 1) <= LARGEST:
            found["numpy gather"] = gathered
        if 16 * DRAWS * scenarios <= LARGEST:
            found["numpy product"] = product
    return found


def sign_flip_providers(values: Tensor) -> Providers:
    host = values.cpu().numpy()
    scenarios = len(host)

    def of_scipy() -> Array:
        return stats.permutation_test(
            (host,),
            lambda x, axis: x.mean(axis=axis),
            permutation_type="samples",
            n_resamples=DRAWS,
            batch=max(1, (1 << 22) // host.size),
            vectorized=True,
            axis=0,
            rng=np.random.default_rng(0),
        ).pvalue

    def product() -> Array:
        signs = 1.0 - 2.0 * np.random.default_rng(0).integers(0, 2, (DRAWS, scenarios))
        extreme = np.abs(signs @ host) >= np.abs(host.sum(0)) - 1e-9
        return (1 + extreme.sum(0)) / (1 + DRAWS)

    found: Providers = {
        "wmscore": lambda: sign_flip_test(values, draws=DRAWS).p_value.cpu().numpy()
    }
    if stats is not None and DRAWS * host.size <= SLOWEST:
        found["scipy permutation_test"] = of_scipy
    if 16 * DRAWS * scenarios <= LARGEST:
        found["numpy product"] = product
    return found


def signed_rank_providers(values: Tensor) -> Providers:
    host = values.cpu().numpy()
    found: Providers = {"wmscore": lambda: signed_rank_test(values).p_value.cpu().numpy()}
    if stats is not None:
        found["scipy wilcoxon"] = lambda: stats.wilcoxon(host).pvalue
    return found


def providers_of(statistic: str, values: Tensor) -> Providers:
    if statistic == "sign flip":
        return sign_flip_providers(values)
    if statistic == "signed rank":
        return signed_rank_providers(values)
    return interval_providers(values, statistic)


def bench(statistic: str, scenarios: int, columns: int, options: Any) -> list[Row]:
    device, rounds = options.device, options.rounds
    generator = torch.Generator().manual_seed(scenarios)
    values = torch.randn(scenarios, columns, dtype=torch.float64, generator=generator)
    values += 1.0 / scenarios**0.5
    calls = providers_of(statistic, values.to(device))
    if options.alone:
        calls = {"wmscore": calls["wmscore"]}
    results = {name: call() for name, call in calls.items()}
    first = results["wmscore"]
    scale = (first[1] - first[0]) if first.ndim == 2 else np.ones_like(first)
    errors = {name: float(np.abs((r - first) / scale).max()) for name, r in results.items()}
    # Ends at 2.5 % of 10,000 draws are off by 2 % of the width, p-values by 0.5 %: 1 sigma.
    if max(errors.values()) > (1e-9 if statistic == "signed rank" else 0.08):
        raise SystemExit(f"{statistic} of {scenarios} x {columns}: {errors}")
    rows = measure(
        calls, device=device, rounds=rounds, bytes_read=8 * values.numel(), items=columns
    )
    case: dict[str, Any] = {"benchmark": "stats", "statistic": statistic, "draws": DRAWS}
    case |= {"scenarios": scenarios, "columns": columns, "dtype": "float64"}
    case |= environment(device)
    fastest = rows[0]["seconds"]
    return [
        {
            **case,
            **row,
            "times_first": row["seconds"] / fastest,
            "error": errors[row["provider"]],
        }
        for row in rows
    ]


def main() -> None:
    own = parser(__doc__.splitlines()[0])
    own.add_argument("--alone", action="store_true", help="without scipy and numpy")
    own.add_argument("--most", type=int, default=10_000, help="scenarios of a case")
    options = arguments(own)
    print(environment(options.device))
    if stats is None:
        print("not installed: scipy, which is left out")
    rows = [
        row
        for _ in thread_counts(options)
        for statistic, cases in CASES.items()
        for scenarios, columns in cases
        if scenarios <= options.most
        for row in bench(statistic, scenarios, columns, options)
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
