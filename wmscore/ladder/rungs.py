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

__all__ = ["RungScores", "lost_on", "measure_rung", "ratio_interval", "told_rung", "usable_shares"]


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
    return _by_seed(scores).nanmean(1)


def measure_rung(rung: Rung, scores: Scores, clean: Scores) -> Rung:
    """The rung with what is seen on it: shares of each scenario, ends and faults."""
    panel, horizon = scores.panel, scores.horizon
    before, after = _pairs(scores, clean)
    ended = horizon.defined & ~horizon.censored
    counts = torch.bincount(horizon.axis[ended], minlength=len(panel.axes)).tolist()
    return replace(
        rung,
        panel=panel.fingerprint,
        horizon=panel.contract.horizon,
        before=tuple(before.tolist()),
        after=tuple(after.tolist()),
        ended_by={a.axis: n for a, n in zip(panel.axes, counts, strict=True) if n},
        faults=scores.faults(),
    )


def told_rung(rung: Rung) -> Rung:
    """The rung with the numbers that follow from its shares."""
    if rung.excluded is not None:
        return rung
    before, after = (torch.tensor(x, dtype=torch.float64) for x in (rung.before, rung.after))
    over = mean_interval(after)
    relative, low, high = ratio_interval(after, before)
    return replace(
        rung,
        pairs=int(after.isfinite().sum()),
        usable_share=float(over.mean),
        low=float(over.low),
        high=float(over.high),
        relative=relative,
        relative_low=low,
        relative_high=high,
    )


def lost_on(rung: Rung) -> Tensor | None:
    """Usable share `[S]` that a rung costs, or None where it says nothing."""
    if rung.excluded is not None:
        return None
    before, after = (torch.tensor(x, dtype=torch.float64) for x in (rung.before, rung.after))
    return before - after


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


def _pairs(scores: Scores, clean: Scores) -> tuple[Tensor, Tensor]:
    """`[S]` twice: usable shares without and with the stress, of rows that have both.

    On a longer horizon, what ended on the clean panel is expected to end at that step, and what
    did not is expected to last for as long as it can be seen.
    """
    places = _places(scores, clean)
    before, after = _by_seed(clean), _by_seed(scores)[places]
    horizon = clean.panel.contract.horizon
    if scores.panel.contract.horizon != horizon:
        lasted = clean.horizon.censored.view_as(before) & (before == 1)
        lasts = scores.horizon.censored.view(before.shape)[places]
        before = before * horizon / scores.panel.contract.horizon
        before = torch.where(lasted, torch.where(lasts, after, 1.0), before)
    both = before.isfinite() & after.isfinite()
    before, after = (x.masked_fill(~both, torch.nan).nanmean(1) for x in (before, after))
    return before, after


def _by_seed(scores: Scores) -> Tensor:
    """`[S, K]` float64: usable horizon of each row as a share of the panel's; NaN where none."""
    horizon = scores.horizon
    share = horizon.steps.double() / scores.panel.contract.horizon
    return share.masked_fill(~horizon.defined, torch.nan).view(len(scores.panel.scenarios), -1)


def _places(scores: Scores, clean: Scores) -> list[int]:
    """Where the clean panel's scenarios are in the stressed one, by id."""
    place = {scenario.id: i for i, scenario in enumerate(scores.panel.scenarios)}
    return [place[scenario.id] for scenario in clean.panel.scenarios]
