"""Which rungs break a model, and which of them is the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wmscore.ladder.result import Rung
from wmscore.ladder.rungs import lost_on
from wmscore.stats import joint_sign_flip_test, sign_flip_test

__all__ = ["LEVEL", "first_break", "judge_rungs"]

LEVEL = 0.05
"""Chance that a model which no stress touches is said to break anywhere on its ladders, where
losses and gains are alike by chance (docs/stress-ladder.md)."""

_LEAST = 5  # pairs from which on a p-value below .05 is possible at all


def judge_rungs(rungs: Sequence[Rung], clean: Tensor) -> list[Rung]:
    """The rungs of one model with p-values and verdicts.

    Args:
        rungs: all of them, of all stressors: one family.
        clean: usable shares on the clean panel.
    """
    losses = [lost_on(rung) for rung in rungs]
    places = [i for i, loss in enumerate(losses) if loss is not None]
    found = list(rungs)
    if not places:
        return found
    lost = torch.stack([loss for loss in losses if loss is not None], 1)
    if bool(clean.isfinite().any()) and float(clean.nansum()) == 0:
        for i in places:
            found[i] = replace(found[i], undecided="nothing to lose: no usable horizon when clean")
        return found
    alone = sign_flip_test(lost, alternative="greater").p_value.tolist()
    joint = joint_sign_flip_test(lost)
    tested = int((joint.scenarios >= _LEAST).sum())
    for place, i in enumerate(places):
        p, least = float(joint.p_value[place]), float(joint.attainable[place])
        pairs, why = int(joint.scenarios[place]), None
        if pairs < _LEAST:
            needed = f"a p-value takes at least {_LEAST}"
            why = f"{pairs} scenarios have a horizon on both panels, {needed}"
            if found[i].faults:
                faults = ", ".join(f"{n} {kind}" for kind, n in found[i].faults.items())
                why += f" (rows with a fault: {faults})"
        elif least >= LEVEL:
            why = (
                f"{pairs} scenarios cannot show a loss on one of {tested} rungs, whatever it is; "
                "take more scenarios or fewer rungs"
            )
        broken = None if why is not None else p < LEVEL
        found[i] = replace(found[i], p=alone[place], p_joint=p, broken=broken, undecided=why)
    return found


def first_break(rungs: Sequence[Rung], clean: float) -> tuple[dict[str, str | float] | None, str]:
    """The stress that breaks a model first, or None; and a sentence that says why.

    Args:
        rungs: the model's, judged.
        clean: its usable share on the clean panel.
    """
    if clean == 0:
        return None, "has no usable horizon on the clean panel, so that no stress can break it"
    told = [rung for rung in rungs if rung.broken is not None]
    open_ = [rung for rung in rungs if rung.undecided is not None]
    beside = f"; {len(open_)} more cannot be told ({open_[0].undecided})" if open_ else ""
    if not told:
        if not open_:
            return None, "no rung says anything of it, so that no stress can be named"
        return None, f"whether a stress breaks it cannot be told: {open_[0].undecided}"
    broken = [rung for rung in told if rung.broken]
    if not broken:
        worst = min(told, key=lambda rung: rung.relative)
        return None, (
            f"none of {len(told)} rungs is shown to break it; the least is left by "
            f"{_name(worst)} ({worst.relative:.0%}){beside}"
        )
    first = min(broken, key=lambda rung: (rung.index, rung.relative))
    most = max(first.ended_by, key=lambda axis: first.ended_by[axis], default=None)
    ended = f", ended mostly by {most}" if most is not None else ""
    return {"stressor": first.stressor, "severity": first.severity}, (
        f"{_name(first)} breaks it first: {first.relative:.0%} of its usable horizon is left "
        f"(p = {first.p_joint:.2g}, rung {first.index} of its ladder){ended}{beside}"
    )


def _name(rung: Rung) -> str:
    return f"{rung.stressor} {rung.severity:g} {rung.unit}"
