"""The shape of a drift in words: where it sets in over all scenarios, and how far it goes."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from wmscore.functional import pooled_shape
from wmscore.functional.reasons import Reason
from wmscore.scores import Scores
from wmscore.stats import MeanInterval

__all__ = ["shape_lines"]

_DRAWS = 400  # enough for the ends of an interval of whole steps


def shape_lines(scores: Scores) -> Iterator[str]:
    """Lines of the postmortem, one for each axis of drift that has a defined score."""
    for spec in scores.panel.axes:
        if not spec.axis.endswith("_drift"):
            continue
        values = scores.axes[spec.axis].values
        values = values.masked_fill((scores.fault != 0)[:, None], torch.nan)
        if bool(values.isnan().all()):
            continue
        seeds = len(scores.panel.seeds)
        cells = values.reshape(-1, seeds, values.shape[-1])
        found = pooled_shape(cells, higher_is_better=True, threshold=spec.threshold, draws=_DRAWS)
        reason = Reason(int(found.onset.reason))
        if reason:
            onset = reason.description
        else:
            onset = f"sets in at step {found.onset.step:.0f}"
            if not found.onset.low.isnan():
                onset += (
                    f" (95 % interval over scenarios {found.onset.low:.0f} to "
                    f"{found.onset.high:.0f}; in {float(found.onset.share):.0%} of redrawn panels)"
                )
        yield (
            f"- **Shape of {spec.axis}:** {onset}; score {_cell(found.early)} in the first quarter "
            f"of the steps, {_cell(found.late)} in the last, falling by {_cell(found.slope, 4)} a "
            f"step; area below {spec.threshold:g}: {_cell(found.area)} steps. Means over scenarios "
            "[95 % intervals]."
        )


def _cell(found: MeanInterval, digits: int = 2) -> str:
    if bool(found.mean.isnan()):
        return "undefined"
    text = f"{float(found.mean):z.{digits}f}"
    if bool(found.low.isnan()):
        return text
    return f"{text} [{float(found.low):z.{digits}f}, {float(found.high):z.{digits}f}]"
