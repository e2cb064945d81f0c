"""Two panels of rollouts from curves of scores to a verdict: against numpy, and against pandas.

Each provider starts from the scores ``[axes, rollouts, steps]`` of two models in float32, made of
uint8 levels (so that there are ties) with undefined steps, axes and rollouts, and gives: the usable
horizon of each rollout, the Kaplan-Meier curve of each scenario and model, the share of rollouts
that each axis has ended by each step, the mean score of each axis over the steps that both models
define, and for the horizon and each axis the paired mean difference with Student's interval, the
p-value of 10,000 sign flips and an interval from 10,000 bootstrap draws of scenarios.

"numpy" has no loop but over steps and pieces, and products of counts and signs with the values.
"pandas, lifelines, scipy" is what a notebook has: group by and rolling, one KaplanMeierFitter per
scenario, one AalenJohansenFitter per axis, permutation_test and bootstrap. It runs up to
`--most-pandas` rollouts. Providers are compared at one number of rollouts only, and what is not
installed or too slow is left out and named.

Before anything is timed, results are compared: horizons must be the same, curves and intervals
equal to 1e-9; p-values and bootstrap intervals, with draws of their own, within their noise;
lifelines' incidence, which breaks ties at random, within 0.02, and Student's interval from the
float32 means of pandas within 1e-6 of its width. `error` is the largest difference of Student's
interval as a share of its width.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from timing import Row, arguments, environment, measure, parser, table, thread_counts, write_jsonl
from torch import Tensor

from wmscore.comparison import paired_difference, scenario_differences
from wmscore.comparison.areas import shared_means
from wmscore.functional import usable_horizon
from wmscore.ops import kernels
from wmscore.stats import (
    bootstrap_interval,
    cumulative_incidence,
    kaplan_meier,
    pool_tables,
    risk_table,
    table_shares,
)

Array = np.ndarray[Any, np.dtype[Any]]

AXES, STEPS, PATIENCE, DRAWS, LEVEL = 4, 128, 3, 10_000, 0.95
THRESHOLDS = (0.5, 0.6, 0.55, 0.4)
# scenarios, seeds
CASES = ((20, 10), (50, 20), (200, 50), (1000, 100), (1000, 1000), (10_000, 100))
COLUMNS = {
    "scenarios": "d",
    "seeds": "d",
    "rollouts": ",d",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "times_first": ".1f",
    "items_per_second": ",.0f",
    "extra_bytes": ",d",
    "error": ".1e",
}
PANDAS = "pandas, lifelines, scipy"


class Found(NamedTuple):
    """What each provider gives, on the CPU; the first three have a dim of the two models."""

    steps: Array  # [2, B] int, -1 where undefined
    survival: Array  # [2, S, T + 1]
    incidence: Array  # [2, A, T + 1]
    student: Array  # [3, 1 + A]: difference, low, high
    p_value: Array  # [1 + A]
    bootstrap: Array  # [2, 1 + A]: low, high


def curves_of(model: int, scenarios: int, seeds: int, device: str) -> Tensor:
    """`[AXES, S * K, STEPS]` float32: levels of 255 that drop at some step, with gaps."""
    generator = torch.Generator(device).manual_seed(model)
    rollouts = scenarios * seeds
    scores = torch.empty(AXES, rollouts, STEPS, device=device)
    hard = torch.rand(scenarios, 1, generator=torch.Generator().manual_seed(9)).to(device)
    step = torch.arange(STEPS, device=device)
    rows = max(1, (1 << 15) // seeds) * seeds
    for start in range(0, rollouts, rows):
        part = scores[:, start : start + rows]
        size = part.shape[1]
        known = {"generator": generator, "device": device}
        own = hard[start // seeds :][: size // seeds].expand(-1, seeds).reshape(size, 1)
        chance = 0.02 + 0.98 * torch.rand(AXES, size, 1, **known)
        onset = (
            -(60 + 120 * own + 2 * model)
            * chance.log()
            * (1 + 0.5 * torch.arange(AXES, device=device))[:, None, None]
        )
        level = torch.where(step >= onset, 0.35, 0.8)
        level += 0.2 * torch.rand(part.shape, **known) - 0.1
        level.mul_(255).round_().div_(255)
        level[torch.rand(part.shape, **known) < 0.02] = torch.nan
        level[torch.rand(AXES, size, **known) < 0.01] = torch.nan
        level[:, torch.rand(size, **known) < 0.005] = torch.nan
        part.copy_(level)
    return scores


def ours(old: Tensor, new: Tensor, scenarios: int) -> Found:
    limits = torch.tensor(THRESHOLDS, device=old.device)
    steps, survival, incidence = [], [], []
    for scores in (old, new):
        # Some rollouts at a time: all that is known of their failures takes more than is needed.
        pieces = [
            (found.steps, found.axis)
            for part in scores.split(1 << 20 if scores.is_cuda else 1 << 14, 1)
            for found in [usable_horizon(part, limits, patience=PATIENCE)]
        ]
        last, axis = (torch.cat(part) for part in zip(*pieces, strict=True))
        counted = risk_table(
            last.view(scenarios, -1),
            axis.view(scenarios, -1) + 1,
            STEPS,
            causes=AXES,
        )
        steps.append(last)
        survival.append(kaplan_meier(counted).survival)
        incidence.append(cumulative_incidence(pool_tables(table_shares(counted))).incidence)
    horizon = torch.stack(steps)
    areas = torch.stack([shared_means(axis) for axis in zip(old, new, strict=True)])  # [A, 2, B]
    values = torch.cat([torch.where(horizon < 0, torch.nan, horizon.double())[None], areas])
    first, second = values.view(1 + AXES, 2, scenarios, -1).permute(1, 2, 3, 0)
    apart = paired_difference(first, second, level=LEVEL, draws=DRAWS)
    drawn = bootstrap_interval(scenario_differences(first, second), LEVEL, draws=DRAWS)
    return Found(
        *(torch.stack(part).cpu().numpy() for part in (steps, survival, incidence)),
        torch.stack([apart.estimate, apart.low, apart.high]).cpu().numpy(),
        apart.p_value.cpu().numpy(),
        torch.stack([drawn.low, drawn.high]).cpu().numpy(),
    )


def numpy_horizon(scores: Array) -> tuple[Array, Array]:
    """Usable horizon, -1 where undefined, and the axis that ends it, from 1; 0 where none does."""
    rollouts = scores.shape[1]
    limits = np.array(THRESHOLDS, scores.dtype)[:, None, None]
    steps, cause = np.empty(rollouts, np.int64), np.empty(rollouts, np.int64)
    for start in range(0, rollouts, 4096):  # the state of a piece stays in a cache
        part = scores[:, start : start + 4096]
        # Steps first; undefined steps leave a run as it is.
        fails = np.ascontiguousarray((part < limits).transpose(2, 0, 1))
        there = np.ascontiguousarray((~np.isnan(part)).transpose(2, 0, 1))
        run = np.zeros(part.shape[:2], np.int16)
        begin, first = np.zeros_like(run), np.zeros_like(run)
        for t in range(STEPS):
            np.copyto(begin, t + 1, where=fails[t] & (run == 0))
            run += fails[t]
            run *= fails[t] | ~there[t]
            np.copyto(first, begin, where=(run == PATIENCE) & (first == 0))
        ended = np.where(first > 0, first - 1, STEPS + 1)  # [A, b]
        soonest = ended.min(0)
        failed = soonest <= STEPS
        rows = slice(start, start + part.shape[1])
        steps[rows] = np.where(failed, soonest, np.where(there.any((0, 1)), STEPS, -1))
        cause[rows] = np.where(failed, ended.argmin(0) + 1, 0)
    return steps, cause


def numpy_curves(steps: Array, cause: Array, scenarios: int) -> tuple[Array, Array]:
    """Kaplan-Meier curve of each scenario, and incidence of each axis, scenarios alike."""
    size = STEPS + 1
    known = steps >= 0
    scenario = np.repeat(np.arange(scenarios), len(steps) // scenarios)
    place = ((scenario * (AXES + 1) + cause) * size + steps)[known]
    counts = np.bincount(place, minlength=scenarios * (AXES + 1) * size).astype(np.float64)
    counts = counts.reshape(scenarios, AXES + 1, size)
    at_risk = counts.sum(1)[:, ::-1].cumsum(1)[:, ::-1]
    failures = counts[:, 1:].sum(1)

    def survival(risk: Array, ended: Array) -> Array:
        return np.cumprod(1 - ended / np.where(risk > 0, risk, 1), -1)

    # A curve is unknown beyond the last censoring; all censored ones are at the end here.
    share = np.where(at_risk[:, :1] > 0, 1 / np.maximum(at_risk[:, :1], 1), 0)
    risk, ended = (at_risk * share).sum(0), (counts[:, 1:] * share[:, None]).sum(0)
    pooled = survival(risk, ended.sum(0))
    before = np.concatenate([[1.0], pooled[:-1]])
    incidence = (before * ended / np.where(risk > 0, risk, 1)).cumsum(-1)
    return survival(at_risk, failures), incidence


def numpy_areas(old: Array, new: Array) -> Array:
    """`[2, A, B]` over shared steps."""
    found = np.empty((2, *old.shape[:2]))
    for axis in range(AXES):
        for start in range(0, old.shape[1], 4096):
            part = [x[axis, start : start + 4096] for x in (old, new)]
            shared = ~np.isnan(part[0] + part[1])
            number = shared.sum(1)
            for model, values in enumerate(part):
                total = np.where(shared, values, 0).sum(1, dtype=np.float64)
                with np.errstate(invalid="ignore"):
                    found[model, axis, start : start + 4096] = total / number
    return found


def student(delta: Array) -> Array:
    from scipy import stats

    count = len(delta)
    mean = delta.mean(0)
    half = stats.t.ppf(0.5 + LEVEL / 2, count - 1) * delta.std(0, ddof=1) / np.sqrt(count)
    return np.stack([mean, mean - half, mean + half])


def numpy_draws(delta: Array) -> tuple[Array, Array]:
    """P-values of sign flips and percentile intervals, some draws at a time."""
    random = np.random.default_rng(0)
    count = len(delta)
    size = max(1, (1 << 20) // count)
    least = np.abs(delta.sum(0)) - 1e-9
    extreme = np.zeros(delta.shape[1], np.int64)
    means = []
    for start in range(0, DRAWS, size):
        rows = min(size, DRAWS - start)
        signs = 1.0 - 2.0 * random.integers(0, 2, (rows, count), np.int8)
        extreme += (np.abs(signs @ delta) >= least).sum(0)
        drawn = random.integers(0, count, (rows, count)) + np.arange(rows)[:, None] * count
        counts = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        means.append(counts.astype(np.float64) @ delta / count)
    return (1 + extreme) / (1 + DRAWS), np.quantile(np.concatenate(means), _tails(), axis=0)


def of_numpy(old: Array, new: Array, scenarios: int) -> Found:
    ends = [numpy_horizon(scores) for scores in (old, new)]
    drawn = [numpy_curves(*end, scenarios) for end in ends]
    steps = np.stack([end[0] for end in ends])
    values = np.concatenate(
        [np.where(steps < 0, np.nan, steps)[:, None], numpy_areas(old, new)], axis=1
    )  # [2, 1 + A, B]
    apart = (values[1] - values[0]).reshape(1 + AXES, scenarios, -1)
    delta = np.ascontiguousarray(np.nanmean(apart, axis=2).T)
    return Found(
        steps,
        *(np.stack(part) for part in zip(*drawn, strict=True)),
        student(delta),
        *numpy_draws(delta),
    )


def frame(scores: Tensor, scenarios: int) -> Any:
    """One line for each axis, scenario, seed and step."""
    import pandas as pd

    seeds = scores.shape[1] // scenarios
    sizes = (range(AXES), range(scenarios), range(seeds), range(1, STEPS + 1))
    index = pd.MultiIndex.from_product(sizes, names=["axis", "scenario", "seed", "step"])
    return pd.DataFrame({"score": scores.cpu().numpy().ravel()}, index=index).reset_index()


def pandas_horizon(lines: Any) -> Any:
    """A frame by scenario and seed with the columns steps and cause."""
    import pandas as pd

    curve = ["axis", "scenario", "seed"]
    known = lines.dropna().sort_values([*curve, "step"])
    limit = known["axis"].map(dict(enumerate(THRESHOLDS))).astype("float32")
    known = known.assign(fails=(known["score"] < limit).astype(float))
    grouped = known.groupby(curve)
    run = grouped["fails"].rolling(PATIENCE).sum().to_numpy()
    begin = grouped["step"].shift(PATIENCE - 1)
    first = known.assign(first=begin)[run == PATIENCE].groupby(curve)["first"].min() - 1
    ended = first.unstack("axis").reindex(columns=range(AXES))
    rows = pd.MultiIndex.from_frame(lines[["scenario", "seed"]].drop_duplicates())
    seen = known.groupby(["scenario", "seed"]).size().reindex(rows, fill_value=0) > 0
    ended = ended.reindex(rows)
    failed = ended.notna().any(axis=1)
    cause = ended.fillna(np.inf).to_numpy().argmin(1) + 1
    steps = ended.min(axis=1).where(failed, np.where(seen, STEPS, -1)).astype(int)
    return pd.DataFrame({"steps": steps, "cause": np.where(failed, cause, 0)}, index=rows)


def of_pandas(old: Any, new: Any) -> Found:
    import pandas as pd
    from lifelines import AalenJohansenFitter, KaplanMeierFitter
    from scipy import stats

    at = np.arange(STEPS + 1)
    horizons = [pandas_horizon(lines) for lines in (old, new)]
    survival, incidence = [], []
    for rows in horizons:
        rows = rows[rows["steps"] >= 0]
        fitter = KaplanMeierFitter()
        survival.append(
            [
                fitter.fit(own["steps"], own["cause"] > 0).survival_function_at_times(at)
                for _, own in rows.groupby(level="scenario")
            ]
        )
        weight = 1 / rows.groupby(level="scenario")["steps"].transform("size")
        curves = []
        for axis in range(1, AXES + 1):
            fit = AalenJohansenFitter(calculate_variance=False, seed=0)
            fit.fit(rows["steps"], rows["cause"], axis, weights=weight)
            found = fit.cumulative_density_.iloc[:, 0]
            place = np.searchsorted(found.index, at + 0.5, side="right") - 1
            curves.append(found.to_numpy()[place.clip(0)])
        incidence.append(curves)
    steps = [rows["steps"] for rows in horizons]
    keys = ["axis", "scenario", "seed"]
    both = old.merge(new, on=[*keys, "step"]).dropna()
    means = both.groupby(keys)[["score_x", "score_y"]].mean()
    areas = (means["score_y"] - means["score_x"]).unstack("axis")
    usable = [own.where(own >= 0) for own in steps]
    apart = pd.concat([usable[1] - usable[0], areas], axis=1)
    delta = apart.groupby(level="scenario").mean().to_numpy()
    options: dict[str, Any] = {"n_resamples": DRAWS, "batch": max(1, (1 << 22) // delta.size)}
    options |= {"vectorized": True, "axis": 0, "rng": np.random.default_rng(0)}
    flipped = stats.permutation_test(
        (delta,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", **options
    )
    drawn = stats.bootstrap((delta,), np.mean, method="percentile", **options).confidence_interval
    return Found(
        np.stack(steps),
        np.array(survival),
        np.array(incidence),
        student(delta),
        flipped.pvalue,
        np.stack([drawn.low, drawn.high]),
    )


def _tails() -> tuple[float, float]:
    return (1 - LEVEL) / 2, (1 + LEVEL) / 2


def check(name: str, found: Found, first: Found) -> float:
    """Error of a result by the first provider's; stops the run where it is another result."""
    width = first.student[2] - first.student[1]
    error = float(np.abs((found.student - first.student) / width).max())
    apart = {
        "steps": float((found.steps != first.steps).mean()),
        "survival": float(np.abs(found.survival - first.survival).max()),
        "incidence": float(np.abs(found.incidence - first.incidence).max()),
        "student": error,
        "p_value": float(np.abs(found.p_value - first.p_value).max()),
        "bootstrap": float(np.abs((found.bootstrap - first.bootstrap) / width).max()),
    }
    # Studentised draws are a little wider than percentiles where scenarios are few.
    noise = 0.05 + 4 / len(found.survival[0])
    allowed = {"steps": 0.0, "incidence": 0.02 if name == PANDAS else 1e-9, "p_value": 0.03}
    allowed |= {"bootstrap": noise, "student": 1e-6 if name == PANDAS else 1e-9}
    wrong = {k: v for k, v in apart.items() if not v <= allowed.get(k, 1e-9)}
    if wrong:
        raise SystemExit(f"{name}: another result than the first provider's: {wrong}")
    return error


def bench(scenarios: int, seeds: int, options: Any, missing: set[str]) -> list[Row]:
    device, rollouts = options.device, scenarios * seeds
    old, new = (curves_of(model, scenarios, seeds, device) for model in (0, 1))
    calls: dict[str, Callable[[], Found]] = {"wmscore": lambda: ours(old, new, scenarios)}
    if "scipy" not in missing and rollouts <= options.most_numpy:
        host = old.cpu().numpy(), new.cpu().numpy()
        calls["numpy"] = lambda: of_numpy(*host, scenarios)
    if not missing and rollouts <= options.most_pandas:
        frames = frame(old, scenarios), frame(new, scenarios)
        calls[PANDAS] = lambda: of_pandas(*frames)
    results = {name: call() for name, call in calls.items()}
    errors = {name: check(name, found, results["wmscore"]) for name, found in results.items()}
    del results
    rows = measure(
        calls,
        device=device,
        rounds=options.rounds if rollouts < 10_000 else min(options.rounds, 3),
        bytes_read=2 * old.numel() * old.element_size(),
        items=2 * rollouts,
    )
    case: dict[str, Any] = {"benchmark": "panels", "draws": DRAWS, "dtype": "float32"}
    case |= {"scenarios": scenarios, "seeds": seeds, "rollouts": rollouts, "axes": AXES}
    case |= {"steps": STEPS} | environment(device)
    fastest = rows[0]["seconds"]
    return [
        {**case, **row, "times_first": row["seconds"] / fastest, "error": errors[row["provider"]]}
        for row in rows
    ]


def main() -> None:
    own = parser(__doc__.splitlines()[0])
    own.add_argument("--most", type=int, default=1_000_000, help="rollouts of a case")
    own.add_argument("--most-numpy", type=int, default=1_000_000, help="rollouts for numpy")
    own.add_argument("--most-pandas", type=int, default=10_000, help="rollouts for pandas")
    options = arguments(own)
    print(f"{environment(options.device)}\nkernels: {kernels()}")
    warnings.filterwarnings("ignore", module="lifelines")  # of ties and weights, at each call
    missing = {
        name for name in ("pandas", "lifelines", "scipy") if importlib.util.find_spec(name) is None
    }
    if missing:
        print(f"not installed: {', '.join(sorted(missing))}; who needs them is left out")
    rows = [
        row
        for _ in thread_counts(options)
        for scenarios, seeds in CASES
        if scenarios * seeds <= options.most
        for row in bench(scenarios, seeds, options, missing)
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
