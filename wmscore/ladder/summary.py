"""From scores on clean and stressed panels to a `Ladder`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wmscore.ladder.result import Ladder, ModelLadder, Rung, StressorSummary
from wmscore.ladder.trend import page_test
from wmscore.scores import Scores
from wmscore.stats import holm, mean_interval, sign_flip_test, student_quantile

__all__ = ["RungScores", "summarise_ladder"]

LEVEL = 0.05
"""Of a breakpoint."""


@dataclass(frozen=True, kw_only=True)
class RungScores:
    """What was found on one rung.

    Attributes:
        stressor: its name.
        severity: in its unit.
        unit: that unit.
        scores: of every model on the stressed panel; empty where the rung is excluded.
        excluded: why, or None.
    """

    stressor: str
    severity: float
    unit: str
    scores: Sequence[Scores] = ()
    excluded: str | None = None


def summarise_ladder(
    clean: Sequence[Scores],
    rungs: Sequence[RungScores],
    *,
    roles: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Ladder:
    """How much of its usable horizon each model keeps on each rung.

    Scenarios are the unit, each with the mean over its seeds; they are paired between the clean and
    the stressed panel by id. A row with a fault counts on neither side, and is counted.

    Args:
        clean: scores of all models on the clean panel.
        rungs: what was found on the rungs, each stressor's in order of severity.
        roles: model name -> "truth", "ceiling" or "floor" for anchors. The first floor is the
            baseline of corruption errors.
        seed: of the stressors; noted only.

    Raises:
        ValueError: no results, one model twice, a rung of another panel or without one of the
            models, or severities that do not rise.
    """
    names = [scores.model for scores in clean]
    if not clean or len(set(names)) < len(names):
        raise ValueError(f"clean: expected scores of each model once, got {names}")
    panel, anchors = clean[0].panel, dict(roles or {})
    if any(scores.panel.fingerprint != panel.fingerprint for scores in clean):
        raise ValueError("clean: expected scores on one panel, got several")
    last: dict[str, float] = {}
    for rung in rungs:
        if rung.severity <= last.get(rung.stressor, 0.0):
            raise ValueError(
                f"rungs: expected rising severities of {rung.stressor}, got {rung.severity:g} "
                f"after {last.get(rung.stressor, 0.0):g}"
            )
        last[rung.stressor] = rung.severity
        _check_rung(rung, names, panel.fingerprint)
    baseline = next((name for name in names if anchors.get(name) == "floor"), None)
    models = {s.model: _model_ladder(s, rungs, anchors.get(s.model, "model")) for s in clean}
    if baseline is not None:
        models = {n: _relative_to(model, models[baseline]) for n, model in models.items()}
    return Ladder(
        panel=panel.fingerprint,
        scenarios=len(panel.scenarios),
        seed=seed,
        baseline=baseline,
        models=models,
    )


def _check_rung(rung: RungScores, names: Sequence[str], fingerprint: str) -> None:
    where = f"rungs: {rung.stressor} {rung.severity:g}"
    if rung.excluded is not None:
        return
    found = [scores.model for scores in rung.scores]
    if sorted(found) != sorted(names):
        raise ValueError(f"{where}: expected scores of {list(names)}, got {found}")
    for scores in rung.scores:
        stress = scores.panel.stress
        if stress is None or stress.clean != fingerprint:
            raise ValueError(f"{where}: scores of {scores.model!r} are of another panel")
        if (stress.stressor, stress.severity) != (rung.stressor, rung.severity):
            raise ValueError(
                f"{where}: scores of {scores.model!r} are under {stress.stressor} "
                f"{stress.severity:g}"
            )


def usable_shares(scores: Scores) -> Tensor:
    """`[S]` float64: usable horizon as a share of the panel's, mean over seeds; NaN where none."""
    horizon = scores.horizon
    share = horizon.steps.double() / scores.panel.contract.horizon
    share = share.masked_fill(~horizon.defined, torch.nan)
    return share.view(len(scores.panel.scenarios), -1).nanmean(1)


def _model_ladder(clean: Scores, rungs: Sequence[RungScores], role: str) -> ModelLadder:
    before = usable_shares(clean)
    whole = mean_interval(before)
    found: list[Rung] = []
    shares: dict[str, list[Tensor]] = {}
    for rung in rungs:
        index = 1 + sum(other.stressor == rung.stressor for other in found)
        entry = Rung(
            stressor=rung.stressor,
            severity=float(rung.severity),
            unit=rung.unit,
            index=index,
            excluded=rung.excluded,
        )
        if rung.excluded is None:
            scores = next(s for s in rung.scores if s.model == clean.model)
            after = _by_id(scores, clean)
            shares.setdefault(rung.stressor, []).append(after)
            entry = _measured(entry, scores, before, after)
        found.append(entry)
    summaries: dict[str, StressorSummary] = {}
    for name in dict.fromkeys(rung.stressor for rung in rungs):
        places = [i for i, rung in enumerate(found) if rung.stressor == name]
        p_holm = holm(torch.tensor([found[i].p for i in places], dtype=torch.float64)).tolist()
        for i, p in zip(places, p_holm, strict=True):
            broken = None if math.isnan(p) else p < LEVEL
            found[i] = replace(found[i], p_holm=p, broken=broken)
        kept = [found[i] for i in places if not math.isnan(found[i].relative)]
        trend = math.nan
        if name in shares:
            # Page's test asks for a rise: of what is lost.
            trend = page_test(-torch.stack([before, *shares[name]], 1)).p_value
        summaries[name] = StressorSummary(
            auc=sum(rung.relative for rung in kept) / len(kept) if kept else math.nan,
            breakpoint=next((found[i].severity for i in places if found[i].broken), None),
            trend_p=trend,
        )
    first, why = _first_break(found, float(whole.mean))
    return ModelLadder(
        role=role,
        clean={
            "usable_share": float(whole.mean),
            "low": float(whole.low),
            "high": float(whole.high),
            "horizon": float(clean.panel.contract.horizon),
        },
        rungs=tuple(found),
        stressors=summaries,
        first_break=first,
        why=why,
    )


def _by_id(scores: Scores, clean: Scores) -> Tensor:
    """Usable shares of the stressed panel in the order of the clean one's scenarios."""
    of = dict(
        zip((s.id for s in scores.panel.scenarios), usable_shares(scores).tolist(), strict=True)
    )
    ids = [scenario.id for scenario in clean.panel.scenarios]
    return torch.tensor([of.get(i, math.nan) for i in ids], dtype=torch.float64)


def _measured(rung: Rung, scores: Scores, before: Tensor, after: Tensor) -> Rung:
    panel, horizon = scores.panel, scores.horizon
    over = mean_interval(after)
    relative, low, high = ratio_interval(after, before)
    ended = horizon.defined & ~horizon.censored
    counts = torch.bincount(horizon.axis[ended], minlength=len(panel.axes)).tolist()
    return replace(
        rung,
        panel=panel.fingerprint,
        horizon=panel.contract.horizon,
        usable_share=float(over.mean),
        low=float(over.low),
        high=float(over.high),
        relative=relative,
        relative_low=low,
        relative_high=high,
        p=float(sign_flip_test(before - after, alternative="greater").p_value),
        ended_by={a.axis: n for a, n in zip(panel.axes, counts, strict=True) if n},
        faults=scores.faults(),
    )


def ratio_interval(
    after: Tensor, before: Tensor, level: float = 0.95
) -> tuple[float, float, float]:
    r"""Ratio of the means of pairs `[S]`, with its interval over scenarios.

    .. math:: r = \bar y / \bar x, \qquad
        r \pm t_{S - 1} \, \frac{s(y_i - r x_i)}{\bar x \sqrt S}

    the linearised ratio (Cochran, Sampling Techniques, 3rd ed., section 6.4). NaN where the mean of
    `before` is 0: there is nothing to lose.
    """
    both = after.isfinite() & before.isfinite()
    y, x = after[both], before[both]
    if not len(x) or float(x.mean()) == 0:
        return math.nan, math.nan, math.nan
    ratio = float(y.mean() / x.mean())
    if len(x) < 2:
        return ratio, math.nan, math.nan
    error = float((y - ratio * x).std() / (x.mean() * len(x) ** 0.5))
    freedom = torch.tensor(len(x) - 1, dtype=torch.float64)
    reach = float(student_quantile(torch.tensor((1 + level) / 2, dtype=torch.float64), freedom))
    return ratio, ratio - reach * error, ratio + reach * error


def _first_break(rungs: Sequence[Rung], clean: float) -> tuple[dict[str, str | float] | None, str]:
    told = [rung for rung in rungs if rung.broken is not None]
    if clean == 0:
        return None, "has no usable horizon on the clean panel, so that no stress can break it"
    if not told:
        return None, (
            "whether a stress breaks it cannot be told: no rung has a p-value, which takes at "
            "least 5 scenarios with a horizon on both panels"
        )
    broken = [rung for rung in told if rung.broken]
    if not broken:
        worst = min(told, key=lambda rung: rung.relative)
        return None, (
            f"no stress of {len(told)} rungs breaks it beyond chance; the least is left by "
            f"{worst.stressor} {worst.severity:g} {worst.unit} ({worst.relative:.0%})"
        )
    first = min(broken, key=lambda rung: (rung.index, rung.relative))
    return {"stressor": first.stressor, "severity": first.severity}, (
        f"{first.stressor} {first.severity:g} {first.unit} breaks it first: "
        f"{first.relative:.0%} of its usable horizon is left (p = {first.p_holm:.2g}, rung "
        f"{first.index} of its ladder)"
    )


def _relative_to(model: ModelLadder, baseline: ModelLadder) -> ModelLadder:
    summaries = dict(model.stressors)
    for name, summary in summaries.items():
        lost = [
            (1 - mine.usable_share, 1 - theirs.usable_share)
            for mine, theirs in zip(model.rungs, baseline.rungs, strict=True)
            if mine.stressor == name
            and not math.isnan(mine.usable_share)
            and not math.isnan(theirs.usable_share)
        ]
        whole = sum(theirs for _, theirs in lost)
        error = sum(mine for mine, _ in lost) / whole if whole else math.nan
        summaries[name] = replace(summary, corruption_error=error)
    return replace(model, stressors=summaries)
