"""From scores on clean and stressed panels to a `Ladder`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wmscore.ladder.result import Ladder, ModelLadder, Rung, StressorSummary
from wmscore.ladder.rungs import RungScores, lost_on, measure_rung, told_rung, usable_shares
from wmscore.ladder.trend import page_test
from wmscore.ladder.verdict import first_break, judge_rungs
from wmscore.scores import Scores
from wmscore.stats import mean_interval

__all__ = ["summarise_ladder", "told_ladder"]

_ROLES = ("ceiling", "floor", "model", "truth")


def summarise_ladder(
    clean: Sequence[Scores],
    rungs: Sequence[RungScores],
    *,
    roles: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Ladder:
    """How much of its usable horizon each model keeps on each rung.

    Scenarios are the unit, each with the mean over its seeds; they are paired between the clean and
    the stressed panel by id. A row with a fault counts on neither side, and is counted. On a longer
    horizon a rollout that failed on the clean panel is expected to fail at that step.

    Args:
        clean: scores of all models on the clean panel.
        rungs: what was found on the rungs, each stressor's in order of severity.
        roles: model name -> "truth", "ceiling" or "floor" for anchors. The first floor is the
            baseline of corruption errors.
        seed: of the stressors; noted only.

    Raises:
        ValueError: no results, one model twice, a rung of another panel or without one of the
            models, severities that do not rise, or another role.
    """
    names = [scores.model for scores in clean]
    if not clean or len(set(names)) < len(names):
        raise ValueError(f"clean: expected scores of each model once, got {names}")
    panel, anchors = clean[0].panel, dict(roles or {})
    if any(scores.panel.fingerprint != panel.fingerprint for scores in clean):
        raise ValueError("clean: expected scores on one panel, got several")
    for name, role in anchors.items():
        if role not in _ROLES:
            raise ValueError(f"roles: expected one of {list(_ROLES)}, got {role!r} for {name!r}")
    last: dict[str, float] = {}
    for rung in rungs:
        if rung.severity <= last.get(rung.stressor, 0.0):
            raise ValueError(
                f"rungs: expected rising severities of {rung.stressor}, got {rung.severity:g} "
                f"after {last.get(rung.stressor, 0.0):g}"
            )
        last[rung.stressor] = rung.severity
        _check_rung(rung, names, panel.fingerprint)
    seen = Ladder(
        panel=panel.fingerprint,
        scenarios=len(panel.scenarios),
        seed=seed,
        baseline=next((name for name in names if anchors.get(name) == "floor"), None),
        models={s.model: _seen(s, rungs, anchors.get(s.model, "model")) for s in clean},
    )
    return told_ladder(seen)


def told_ladder(ladder: Ladder) -> Ladder:
    """The ladder with all numbers and verdicts that follow from the shares of its scenarios."""
    models = {name: _told(model) for name, model in ladder.models.items()}
    if ladder.baseline is not None:
        floor = models[ladder.baseline]
        models = {name: _relative_to(model, floor) for name, model in models.items()}
    return replace(ladder, models=models)


def _check_rung(rung: RungScores, names: Sequence[str], fingerprint: str) -> None:
    where = f"rungs: {rung.stressor} {rung.severity:g}"
    if rung.excluded is not None:
        return
    found = [scores.model for scores in rung.scores]
    if sorted([*found, *rung.refused]) != sorted(names):
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


def _seen(clean: Scores, rungs: Sequence[RungScores], role: str) -> ModelLadder:
    """What is seen of one model, without what follows from it."""
    found: list[Rung] = []
    for rung in rungs:
        entry = Rung(
            stressor=rung.stressor,
            severity=float(rung.severity),
            unit=rung.unit,
            index=1 + sum(other.stressor == rung.stressor for other in found),
            changed=rung.changed,
            excluded=rung.excluded or rung.refused.get(clean.model),
        )
        if entry.excluded is None:
            scores = next(s for s in rung.scores if s.model == clean.model)
            entry = measure_rung(entry, scores, clean)
        found.append(entry)
    return ModelLadder(
        role=role,
        clean={"horizon": float(clean.panel.contract.horizon)},
        shares=tuple(usable_shares(clean).tolist()),
        rungs=tuple(found),
        stressors={},
        first_break=None,
        why="",
    )


def _told(model: ModelLadder) -> ModelLadder:
    before = torch.tensor(model.shares, dtype=torch.float64)
    whole = mean_interval(before)
    found = judge_rungs([told_rung(rung) for rung in model.rungs], before)
    first, why = first_break(found, float(whole.mean))
    return replace(
        model,
        clean={
            "usable_share": float(whole.mean),
            "low": float(whole.low),
            "high": float(whole.high),
            "horizon": model.clean["horizon"],
        },
        rungs=tuple(found),
        stressors={
            name: _summary([rung for rung in found if rung.stressor == name], before)
            for name in dict.fromkeys(rung.stressor for rung in found)
        },
        first_break=first,
        why=why,
    )


def _summary(rungs: Sequence[Rung], clean: Tensor) -> StressorSummary:
    """Of one stressor's rungs."""
    kept = [rung.relative for rung in rungs if not math.isnan(rung.relative)]
    known = [lost for rung in rungs if (lost := lost_on(rung)) is not None]
    # Page's test asks for a rise: of what is lost, which is nothing on the clean panel.
    trend = page_test(torch.stack([clean - clean, *known], 1)).p_value if known else math.nan
    return StressorSummary(
        auc=sum(kept) / len(kept) if kept else math.nan,
        breakpoint=next((rung.severity for rung in rungs if rung.broken), None),
        trend_p=math.nan if float(clean.nansum()) == 0 else trend,
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
