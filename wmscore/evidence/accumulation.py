"""How errors accumulate: rolled-out frames beside one-step predictions from the true history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from wmscore.functional import error_accumulation
from wmscore.rollouts import TEACHER_FORCED
from wmscore.scorer.measures import is_variant
from wmscore.scores import Scores

__all__ = ["accumulation_lines"]


def accumulation_lines(scores: Scores, results: Sequence[Scores]) -> Iterator[str]:
    """Lines of the postmortem, where the comparison has the model's one-step predictions too."""
    forced = next(
        (other for other in results if other.model == scores.model + TEACHER_FORCED), None
    )
    spec = next((spec for spec in scores.panel.axes if spec.axis == "perceptual_drift"), None)
    if forced is None or spec is None:
        return
    # The measure itself, whose name may say more (`haarpsi_full`): a score is cut off at 0.
    names = [name for name in scores.measures if is_variant(name, spec.measure)]
    if not names or names[0] not in forced.measures:
        return
    curves = [s.measures[names[0]] for s in (scores, forced)]
    rolled, one_step = (1 - c.values if c.higher_is_better else c.values for c in curves)
    found = error_accumulation(rolled, one_step)
    last = rolled.shape[1]
    yield (
        f"- **Error accumulation:** the distance by {names[0]} at step {last} is "
        f"{_median(rolled[:, -1])} rolled out, {_median(one_step[:, -1])} one step from the true "
        f"history: {_median(found.ratio[:, -1])} times as much. It grows like step^p with p = "
        f"{_median(found.exponent)} (0: errors do not accumulate, 0.5: independent errors add up, "
        "1: a bias adds up). Medians over rows."
    )


def _median(values: torch.Tensor) -> str:
    known = values[values.isfinite()]
    if not len(known):
        return "undefined"
    lost = len(values) - len(known)
    note = f" ({lost} of {len(values)} undefined)" if lost else ""
    return f"{float(known.median()):.3g}{note}"
