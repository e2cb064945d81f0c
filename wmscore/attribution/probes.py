"""Signals out of scores: of the evaluation, of companions, of the response to actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from wmscore.attribution.signals import (
    Outcome,
    Signal,
    accumulates,
    no_signal,
    stage_signal,
    threshold_signal,
)
from wmscore.functional import Reason
from wmscore.manifest import AxisSpec
from wmscore.scores import Scores

__all__ = [
    "companion_signal",
    "evaluation_signal",
    "growth_of",
    "one_step_signal",
    "outcome_of",
    "response_signal",
]

# Shown by pictures alone; what a companion is asked about.
_OF_FRAMES = ("perceptual_drift", "identity_persistence", "latent_drift")


def outcome_of(scores: Scores) -> Outcome:
    """Which rows ended before the horizon, when, and with which patience."""
    horizon = scores.horizon
    failed = horizon.defined & ~horizon.censored
    patience = torch.tensor([spec.patience for spec in scores.panel.axes])
    return Outcome(
        failed=failed,
        step=torch.where(failed, horizon.steps + 1, 0),
        patience=patience[horizon.axis.clamp_min(0)],
    )


def evaluation_signal(scores: Scores, truth: Scores | None, floor: Scores | None = None) -> Signal:
    """Whether the evaluation is at fault: faults of rows, or a true world that fails by itself.

    The self-check sends the true world through the same evaluation: where it fails by the time that
    the model does, on any gated axis, nobody could have passed.

    Args:
        scores: the model's.
        truth: the true world's, replayed as if it were a model; without it only faults tell.
        floor: of a floor; a row on which it passes the whole horizon judges nobody.
    """
    fault = scores.fault != 0
    rows = len(scores)
    if truth is None:
        none = no_signal(rows)
        return Signal(
            available=fault,
            implicates=fault,
            onset=none.onset,
            value=torch.where(fault, 0.0, torch.nan).double(),
            threshold=torch.ones(rows, dtype=torch.float64),
        )
    outcome = outcome_of(scores)
    until = torch.where(outcome.failed, outcome.step + outcome.patience, 1 << 30)
    own = truth.horizon
    broken = truth.fault != 0
    failed = own.defined & ~own.censored & (own.steps + 1 <= until)
    if floor is not None:
        failed = failed | (floor.horizon.defined & floor.horizon.censored & outcome.failed)
    known = own.defined | broken | fault
    found = fault | broken | failed
    return Signal(
        available=known | found,
        implicates=found,
        onset=torch.where(failed, own.steps + 1, 0),
        value=torch.where(found, 0.0, torch.where(known, 1.0, torch.nan)).double(),
        threshold=torch.full((rows,), 0.5, dtype=torch.float64),
    )


def companion_signal(
    scores: Scores,
    companion: Scores | None,
    normal: Mapping[str, float] | None = None,
    *,
    share: float = 0.8,
) -> Signal:
    """Whether a companion (reconstruction, one-step predictions) fails as the rollouts do.

    Asked on the axis that ended the row where it is one of pictures, else on perceptual drift. It
    implicates where it fails the panel's own threshold, so that it would have ended the row alone,
    or where it is worse than normal and loses most of what the rollout loses (`share`) in the run
    of steps that ended the row.

    Args:
        scores: the model's rollouts.
        companion: the same model's, with some stages replaced.
        normal: by axis, what a companion without a fault keeps (conformal, of sound rollouts); it
            excludes above. By default half of the way from the threshold to 1.
        share: see above, in (0, 1].
    """
    if companion is None:
        return no_signal(len(scores))
    values, threshold, patience, chosen = _asked(scores, companion)
    lines = {s.axis: (normal or {}).get(s.axis, (1 + s.threshold) / 2) for s in scores.panel.axes}
    usual = torch.tensor(list(lines.values()), dtype=torch.float64)[chosen.clamp_min(0)]
    # A companion is made of pictures alone; that it has no label maps is no fault of them.
    unlabelled = companion.fault == int(Reason.NO_LABELS)
    sound = ((companion.fault == 0) | unlabelled) & (chosen >= 0)
    outcome = outcome_of(scores)
    found = stage_signal(
        values,
        outcome,
        threshold,
        patience=patience,
        known=sound & values.isfinite().any(1),
        normal=torch.maximum(usual, threshold),
    )
    assert found.unclear is not None
    own = _asked(scores, scores)[0]
    time = torch.arange(1, values.shape[1] + 1)
    run = (time >= outcome.step[:, None]) & (time < (outcome.step + outcome.patience)[:, None])
    run &= values.isfinite() & own.isfinite()
    lost, all_lost = (((1 - v).nan_to_num(0.0) * run).sum(1) for v in (values, own))
    most = found.unclear & outcome.failed & run.any(1) & (lost >= share * all_lost)
    return replace(found, implicates=found.implicates | most, unclear=found.unclear & ~most)


def one_step_signal(
    scores: Scores, companion: Scores | None, normal: Mapping[str, float] | None = None
) -> Signal:
    """Whether one-step predictions from the true history are worse than without a fault.

    As `companion_signal`, but with `normal` known they implicate below it: dynamics is asked last,
    and an error of one step is small where many of them end the row.
    """
    found = companion_signal(scores, companion, normal)
    if not normal or companion is None:
        return found
    values, _, patience, chosen = _asked(scores, companion)
    lines = [max(normal.get(s.axis, s.threshold), s.threshold) for s in scores.panel.axes]
    usual = torch.tensor(lines, dtype=torch.float64)[chosen.clamp_min(0)]
    return stage_signal(values, outcome_of(scores), usual, patience=patience, known=found.available)


def growth_of(scores: Scores) -> Tensor:
    """Bool `[R]`: the errors of the axis that ended a row grow up to there (`accumulates`)."""
    curves = torch.stack([scores.axes[spec.axis].values for spec in scores.panel.axes])
    pick = scores.horizon.axis.clamp_min(0)
    return accumulates(curves[pick, torch.arange(len(scores))], outcome_of(scores))


def _asked(scores: Scores, companion: Scores) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A companion's curve `[R, T]`, threshold, patience and axis `[R]` of what each row asks."""
    specs = scores.panel.axes
    chosen = _axis_of_rows(scores)
    pick = chosen.clamp_min(0)
    values = torch.stack([companion.axes[spec.axis].values for spec in specs])
    return (
        values[pick, torch.arange(len(scores))],
        torch.tensor([spec.threshold for spec in specs], dtype=torch.float64)[pick],
        torch.tensor([spec.patience for spec in specs])[pick],
        chosen,
    )


def _axis_of_rows(scores: Scores) -> Tensor:
    """Index of the axis to ask a companion about, `[R]`; -1 where there is none of pictures."""
    specs: tuple[AxisSpec, ...] = scores.panel.axes
    of_frames = torch.tensor([spec.axis in _OF_FRAMES for spec in specs])
    fallback = next((i for i, spec in enumerate(specs) if spec.axis in _OF_FRAMES), -1)
    own = scores.horizon.axis
    fits = (own >= 0) & of_frames[own.clamp_min(0)]
    return torch.where(fits, own, fallback)


def response_signal(scores: Scores) -> Signal:
    """Whether actions arrive late or mirrored, and nothing else is wrong with the response.

    From the pooled response to many scripts: a clear lag, or the opposite polarity, of a response
    that otherwise is the reference's (correlation of at least 0.9, gain within a fifth). Weaker
    findings are no evidence, since other stages spoil the response too; so it never excludes.
    """
    rows = len(scores)
    report = scores.actions
    if report is None:
        return no_signal(rows)
    lag = report.latency.excess.pooled
    clear = (
        float(lag.p_value) < 0.01
        and abs(float(lag.correlation)) >= 0.9
        and 0.8 <= abs(float(lag.gain)) <= 1.25
        and not bool(lag.ambiguous)
    )
    off = clear and (float(lag.lag) > 0 or float(lag.polarity) < 0)
    if not off:
        return no_signal(rows)
    failed = outcome_of(scores).failed
    value = torch.where(failed, 0.0, torch.nan)
    return threshold_signal(value, 1.0, direct=True)
