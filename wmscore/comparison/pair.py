"""`compare`: two models on one panel, paired by scenario and seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from wmscore.comparison._check import ESTIMANDS, check_choice, check_level
from wmscore.comparison.cells import RESOLUTION, MatchedCells, matched_cells
from wmscore.comparison.decision import decide
from wmscore.comparison.gate import check_margin, parse_margin
from wmscore.comparison.notes import notes
from wmscore.comparison.paired import (
    PairedDifference,
    paired_difference,
    scenario_differences,
)
from wmscore.comparison.planning import Needed, needed
from wmscore.comparison.result import Comparison, Difference, ScenarioLine, Side
from wmscore.comparison.same import check_comparable
from wmscore.scores import Scores
from wmscore.stats import (
    Interval,
    bootstrap_interval,
    bootstrap_t_interval,
    cumulative_incidence,
    holm,
    nested_bootstrap,
    risk_table,
)

__all__ = ["PRIMARY", "compare"]

PRIMARY = "usable_horizon"
"""Name of the primary question, and of its margin."""

_ROUNDING = 1e-12  # of shares that sum to 1
_SCENARIOS = 64  # whose curves are looked at at a time


def compare(
    baseline: Scores,
    candidate: Scores,
    *,
    estimand: str = "scenarios",
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
    gate: str | float | None = None,
    gate_axes: Mapping[str, float] | None = None,
) -> Comparison:
    """Is the candidate better or worse than the baseline, by how much, and how sure is that?

    Rows are matched by scenario and seed; a pair that either model lacks, by an evaluation fault or
    since nothing judges it, counts for neither and is counted. The primary question is the usable
    horizon, restricted to the panel's: its mean over seeds, one number per scenario and model. The
    mean score of each axis (over the steps that both define) is beside it, corrected for their
    number (Holm). See `paired_difference` for the intervals and the p-values: below 6 scenarios
    there is none.

    Args:
        baseline: scores of the one model.
        candidate: scores of the other, on the same panel. A difference above 0 speaks for it.
        estimand: what the answer is to hold for: "scenarios", new ones of the panel's kind, or
            "seeds", new ones on these very scenarios.
        level: of confidence, in (0.5, 1).
        draws: random patterns where there are too many to go through.
        seed: of those.
        gate: how much worse the candidate may be: steps, or a share of the horizon such as "5%".
        gate_axes: likewise, axis -> how much lower its mean score may be.

    Returns:
        A `Comparison`; `verdict()` says it in words, `gate.outcome` is pass, fail or undecided.

    Raises:
        PanelMismatchError: the panels differ; says in which fields.
        ValueError: scores by different networks or rules, another estimand, a level outside
            (0.5, 1), or a margin that is none.
        TypeError: not `Scores`, or options of another type.
    """
    check_comparable([baseline, candidate], ["the baseline", "the candidate"])
    check_choice("estimand", estimand, ESTIMANDS)
    check_level(level)
    panel = baseline.panel
    margins = {} if gate is None else {PRIMARY: parse_margin(gate, panel.contract.horizon)}
    margins |= _axis_margins(gate_axes or {}, list(baseline.axes))
    cells = matched_cells([baseline, candidate])
    values = torch.cat([cells.horizon[..., None], cells.areas], -1)  # [2, S, K, 1 + A]
    names = [PRIMARY, *baseline.axes]
    first, second = values
    # Mean scores that differ by rounding alone are the same: signs of noise would be evidence.
    near = (second - first).abs() <= RESOLUTION
    near[..., 0] = False
    second = torch.where(near, first, second)
    differences = paired_difference(
        first, second, estimand=estimand, level=level, draws=draws, seed=seed
    )
    robust = _robust(
        first, second, differences, estimand=estimand, level=level, draws=draws, seed=seed
    )
    plan = needed(first, second, differences, estimand=estimand, level=level)
    corrected = [math.nan, *holm(differences.p_value[1:]).tolist()]
    parts = [
        _difference(name, i, differences, robust, plan, corrected[i])
        for i, name in enumerate(names)
    ]
    found = Comparison(
        panel=panel.name,
        fingerprint=panel.fingerprint,
        steps=panel.contract.horizon,
        seeds=len(panel.seeds),
        estimand=estimand,  # type: ignore[arg-type]  # checked above
        level=float(level),
        draws=draws,
        seed=seed,
        baseline=_side(baseline, cells, 0),
        candidate=_side(candidate, cells, 1),
        horizon=parts[0],
        axes=tuple(parts[1:]),
        scenarios=_lines(baseline, cells),
        dropped=int((~cells.kept).sum()),
        restricted=int(cells.restricted.sum()),
    )
    found = replace(found, notes=notes(found, [baseline, candidate]))
    if not margins:
        return found
    asked = torch.tensor([margins.get(name, math.nan) for name in names], dtype=torch.float64)
    settling = needed(first, second, differences, estimand=estimand, level=level, margin=asked)
    settled_by = {
        name: (float(settling.scenarios[i]), float(settling.seeds[i]))
        for i, name in enumerate(names)
    }
    return replace(found, gate=decide(found, margins, settled_by))


def _robust(
    first: Tensor,
    second: Tensor,
    found: PairedDifference,
    *,
    estimand: str,
    level: float,
    draws: int,
    seed: int,
) -> Interval:
    """Bootstrap-t: of scenarios, or of seeds within fixed scenarios."""
    if estimand == "scenarios":
        own = scenario_differences(first, second)
        drawn = bootstrap_interval(own, level, draws=draws, seed=seed)
        return Interval(drawn.low, drawn.high)
    boot = nested_bootstrap(second - first, fixed_scenarios=True, draws=draws, seed=seed)
    return bootstrap_t_interval(boot.draws, boot.errors, found.estimate, found.error, level)


def _axis_margins(margins: Mapping[str, float], axes: list[str]) -> dict[str, float]:
    for name, margin in margins.items():
        if name not in axes:
            raise ValueError(f"gate_axes: the panel has the axes {', '.join(axes)}; got {name!r}")
        check_margin(f"gate_axes[{name!r}]", margin)
        if margin >= 1:
            raise ValueError(
                f"gate_axes[{name!r}]: a margin of {margin:g} lets every score in [0, 1] pass; "
                "expected less than 1"
            )
    return {name: float(margin) for name, margin in margins.items()}


def _difference(
    name: str,
    column: int,
    found: PairedDifference,
    robust: Interval,
    plan: Needed,
    corrected: float,
) -> Difference:
    own = PairedDifference(*(field[column] for field in found))
    ends = Interval(*(field[column] for field in robust))
    way = Needed(*(field[column] for field in plan))
    return Difference(
        name=name,
        unit="1" if column else "steps",
        baseline=float(own.baseline),
        candidate=float(own.candidate),
        estimate=float(own.estimate),
        low=float(own.low),
        high=float(own.high),
        p_value=float(own.p_value),
        p_holm=corrected,
        exact=bool(own.exact),
        scenarios=int(own.scenarios),
        pairs=int(own.pairs),
        better=int(own.better),
        worse=int(own.worse),
        deviation=float(own.deviation),
        seed_correlation=float(own.seed_correlation),
        robust_low=float(ends.low),
        robust_high=float(ends.high),
        detectable=float(way.detectable),
        scenarios_needed=float(way.scenarios),
        seeds_needed=float(way.seeds),
    )


def _side(scores: Scores, cells: MatchedCells, index: int) -> Side:
    """How one model's matched rollouts end."""
    kept, last = cells.kept, scores.panel.contract.horizon
    weight = (kept / kept.sum(1, keepdim=True)).nan_to_num(0.0).double()  # a scenario weighs 1
    steps = torch.where(kept, cells.horizon[index], -1).long()
    axes = list(scores.axes)
    table = risk_table(
        steps.flatten(),
        (cells.cause[index] + 1).flatten(),
        horizon=last,
        causes=len(axes),
        ties="censored",
        present=kept.flatten(),
        weights=weight.flatten(),
    )
    incidence = cumulative_incidence(table).incidence  # [A, T + 1]
    left = 1 - math.fsum(incidence[:, last - 1].tolist())  # NaN where nothing was seen so far
    if bool(kept.any()):
        incidence = incidence.nan_to_num(0.0)  # shares only grow: the last that is known
    ended = incidence.amax(1).tolist()
    return Side(
        model=scores.model,
        never_failed=left if left > _ROUNDING or left != left else 0.0,
        at_once=float(((steps == 0) * weight).sum() / weight.sum()),
        ended_by=dict(zip(axes, ended, strict=True)),
        dropped=cells.dropped[index],
        faults=int((scores.fault != 0).sum()),
        undefined_alone=cells.undefined_alone[index],
        ends_first=cells.ends_first[index],
        hidden=cells.hidden[index],
        unjudged={
            spec.axis: cells.unjudged[index][spec.axis]
            for spec in scores.panel.axes
            if spec.gate and spec.axis in cells.unjudged[index]
        },
        undefined=cells.undefined[index],
        uses_seed=_uses_seed(scores, kept),
    )


def _uses_seed(scores: Scores, kept: Tensor) -> bool | None:
    """Whether any matched rollout scores differently from the first of its scenario."""
    scenarios, seeds = kept.shape
    if bool((kept.sum(1) < 2).all()):
        return None
    first = kept.to(torch.uint8).argmax(1)  # of the kept ones
    for curve in scores.axes.values():
        cells = curve.values.cpu().view(scenarios, seeds, -1)
        for start in range(0, scenarios, _SCENARIOS):
            part = slice(start, start + _SCENARIOS)
            values = cells[part].nan_to_num(-1.0)
            own = values[torch.arange(len(values)), first[part]]  # [s, T]
            if bool(((values != own[:, None]).any(2) & kept[part]).any()):
                return True
    return False


def _lines(scores: Scores, cells: MatchedCells) -> tuple[ScenarioLine, ...]:
    means = cells.horizon.nanmean(2)  # [2, S]
    columns = (cells.kept.sum(1), means[0], means[1], means[1] - means[0])
    return tuple(
        ScenarioLine(
            scenario=scenario.id, pairs=pairs, baseline=old, candidate=new, difference=difference
        )
        for scenario, pairs, old, new, difference in zip(
            scores.panel.scenarios, *(column.tolist() for column in columns), strict=True
        )
    )
