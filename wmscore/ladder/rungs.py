"""What was found on a rung, and what is measured of one model there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import torch
from torch import Tensor

from wmscore.ladder.result import Rung
from wmscore.scores import Scores
from wmscore.stats import mean_interval, student_quantile

__all__ = ["RungScores", "measure_rung", "ratio_interval", "usable_shares"]


@dataclass(frozen=True, kw_only=True)
class RungScores:
    """What was found on one rung.

    Attributes:
        stressor: its name.
        severity: in its unit.
        unit: that unit.
        scores: of every model on the stressed panel; empty where the rung is excluded.
        excluded: why the rung says nothing of any model, or None.
        refused: why it says nothing of some, by model name; these have no scores.
        changed: scenarios in which it changes anything, where that is known.
    """

    stressor: str
    severity: float
    unit: str
    scores: Sequence[Scores] = ()
    excluded: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    changed: int | None = None


def usable_shares(scores: Scores) -> Tensor:
    """`[S]` float64: usable horizon as a share of the panel's, mean over seeds; NaN where none."""
    horizon = scores.horizon
    share = horizon.steps.double() / scores.panel.contract.horizon
    share = share.masked_fill(~horizon.defined, torch.nan)
    return share.view(len(scores.panel.scenarios), -1).nanmean(1)


def measure_rung(rung: Rung, scores: Scores, clean: Scores) -> tuple[Rung, Tensor]:
    """The rung with what is measured on it, and the usable shares `[S]`, scenarios as if clean."""
    panel, horizon = scores.panel, scores.horizon
    before, after = usable_shares(clean), _by_id(scores, clean)
    over = mean_interval(after)
    relative, low, high = ratio_interval(after, before)
    ended = horizon.defined & ~horizon.censored
    counts = torch.bincount(horizon.axis[ended], minlength=len(panel.axes)).tolist()
    found = replace(
        rung,
        panel=panel.fingerprint,
        horizon=panel.contract.horizon,
        pairs=int((before.isfinite() & after.isfinite()).sum()),
        usable_share=float(over.mean),
        low=float(over.low),
        high=float(over.high),
        relative=relative,
        relative_low=low,
        relative_high=high,
        ended_by={a.axis: n for a, n in zip(panel.axes, counts, strict=True) if n},
        faults=scores.faults(),
    )
    return found, after


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
    reach = _quantile((1 + level) / 2, len(x) - 1)
    return ratio, ratio - reach * error, ratio + reach * error


@cache  # the same on all rungs, and dearer than the rest
def _quantile(probability: float, freedom: int) -> float:
    """Of Student's t."""
    p, n = (torch.tensor(value, dtype=torch.float64) for value in (probability, freedom))
    return float(student_quantile(p, n))


def _by_id(scores: Scores, clean: Scores) -> Tensor:
    """Usable shares of the stressed panel in the order of the clean one's scenarios."""
    of = dict(
        zip((s.id for s in scores.panel.scenarios), usable_shares(scores).tolist(), strict=True)
    )
    ids = [scenario.id for scenario in clean.panel.scenarios]
    return torch.tensor([of.get(i, math.nan) for i in ids], dtype=torch.float64)
