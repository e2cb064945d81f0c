"""Where rows end: evaluation faults that only whole curves show, and usable horizons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.functional import Reason, UsableHorizon
from wmscore.manifest import Panel
from wmscore.scores import Curve

__all__ = ["panel_horizon"]


def panel_horizon(
    panel: Panel,
    axes: Mapping[str, Curve],
    shown: Tensor,
    fault: Tensor,
    *,
    takes_actions: bool = True,
) -> tuple[Tensor, UsableHorizon]:
    """What follows from the curves of all rows: their faults, and their usable horizons.

    Args:
        panel: thresholds, patience, gates.
        axes: per axis of the panel, in its order, scores `[R, T]`.
        shown: `[R, T]` bool, steps that both the rollout and its reference have.
        fault: `[R]` uint8, faults that are known already; not changed.
        takes_actions: as of `Scorer`.

    Returns:
        Faults `[R]` uint8, and the horizons; those of rows with a fault are undefined.
    """
    fault, judged_steps = fault.clone(), shown.clone()
    for spec, scored in zip(panel.axes, axes.values(), strict=True):
        # A gate is not passed by giving it nothing to judge: labels or branches left out.
        undefined = (scored.reason != 0).all(1) & (fault == 0) & spec.gate
        cut = (scored.reason == int(Reason.NO_FRAME)) & shown
        fault.masked_fill_(undefined & cut.any(1), int(Reason.SHORT))
        for kind in (
            Reason.NO_LABELS,
            Reason.NO_LATENTS,
            Reason.TOO_SMALL,
            Reason.UNDETERMINED,
        ):
            lost = (scored.reason == int(kind)).any(1)
            fault.masked_fill_(undefined & lost, int(kind))
        # Nor by a state that no distance can judge, at any step that is there.
        for kind in (Reason.NON_FINITE_FEATURES, Reason.NO_SCALE):
            lost = ((scored.reason == int(kind)) & shown).any(1)
            fault.masked_fill_(lost & (fault == 0) & spec.gate, int(kind))
        # Nor by letting a branch end: the horizon is censored where a gate lost its frames.
        judged_steps &= ~(cut & spec.gate)
    specs = panel.axes
    recover = [
        spec.threshold if spec.recover_threshold is None else spec.recover_threshold
        for spec in specs
    ]
    horizon = F.usable_horizon(
        torch.stack([c.values for c in axes.values()]),
        torch.tensor([spec.threshold for spec in specs], dtype=torch.float64),
        patience=torch.tensor([spec.patience for spec in specs]),
        valid=judged_steps,
        gated=torch.tensor([spec.gate for spec in specs]),
        recover_thresholds=torch.tensor(recover, dtype=torch.float64),
        min_defined=torch.tensor([spec.min_defined or 0.0 for spec in specs], dtype=torch.float64),
    )
    judged = fault == 0
    horizon = _of_sound(horizon, fault)
    if not takes_actions and any(spec.axis == "action_response" and spec.gate for spec in specs):
        horizon = _without(horizon, Reason.NO_ACTIONS, judged)
    return fault, horizon


def _of_sound(horizon: UsableHorizon, fault: Tensor) -> UsableHorizon:
    """The same, undefined in rows with a fault."""
    judged = fault == 0
    return replace(
        horizon,
        defined=horizon.defined & judged,
        censored=horizon.censored & judged,
        steps=torch.where(judged, horizon.steps, -1),
        axis=torch.where(judged, horizon.axis, -1),
        reason=torch.where(judged, horizon.reason, fault),
        usable_share=horizon.usable_share.masked_fill(~judged, float("nan")),
        axis_steps=torch.where(judged, horizon.axis_steps, -1),
        axis_censored=horizon.axis_censored & judged,
        axis_defined=horizon.axis_defined & judged,
        axis_reason=torch.where(judged, horizon.axis_reason, fault),
        pending=horizon.pending & judged,
        failures=horizon.failures * judged,
        recovery=horizon.recovery * judged,
        recovered_steps=horizon.recovered_steps * judged,
        lost_steps=horizon.lost_steps * judged,
        margin=horizon.margin.masked_fill(~judged, float("nan")),
        smallest_margin=horizon.smallest_margin.masked_fill(~judged, float("nan")),
    )


def _without(horizon: UsableHorizon, reason: Reason, rows: Tensor) -> UsableHorizon:
    """Horizons over all axes taken back in some rows; those of single axes stay."""
    return replace(
        horizon,
        steps=horizon.steps.masked_fill(rows, -1),
        censored=horizon.censored & ~rows,
        axis=horizon.axis.masked_fill(rows, -1),
        defined=horizon.defined & ~rows,
        reason=horizon.reason.masked_fill(rows, int(reason)),
        usable_share=horizon.usable_share.masked_fill(rows, float("nan")),
    )
