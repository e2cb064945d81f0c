"""`Scores` from curves that a test makes up, without a world or a scorer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.panels import sprite_panel
from wmscore.functional import Reason, usable_horizon
from wmscore.manifest import Panel
from wmscore.scores import Curve, Scores

AXES = ("perceptual_drift", "identity_persistence", "action_response")


def made_panel(scenarios: int = 8, seeds: int = 2, horizon: int = 12, **changes: object) -> Panel:
    """The sprite panel with patience 1, so that a horizon ends where a curve says so."""
    axes = [
        {"axis": axis, "threshold": threshold, "patience": 1}
        for axis, threshold in zip(AXES, (0.6, 0.9, 0.5), strict=True)
    ]
    return sprite_panel(scenarios, seeds, horizon, **{"axes": axes, **changes})


def made_scores(
    panel: Panel,
    ends: Tensor | Sequence[Sequence[int]],
    *,
    model: str = "made",
    by: Tensor | int = 0,
    bad: float = 0.2,
    good: float = 0.95,
    stops: Tensor | None = None,
    fault: Tensor | None = None,
    provenance: dict[str, str] | None = None,
) -> Scores:
    """Rollouts that are good up to a step and bad from the next one on.

    Args:
        panel: its contract.
        ends: `[S, K]`, last good step; the panel's horizon or more never fails.
        model: name.
        by: axis that ends each, `[S, K]` or one for all.
        bad: score of the failing axis after the end.
        good: score of everything else.
        stops: `[S, K]`, last step that exists.
        fault: `[S, K]` uint8, evaluation faults as `Reason`.
        provenance: as scorers record it.
    """
    rows, steps = len(list(panel.rows())), panel.contract.horizon
    last = torch.as_tensor(ends).reshape(rows)
    axis = torch.as_tensor(by).expand(len(panel.scenarios), len(panel.seeds)).reshape(rows)
    there = torch.arange(1, steps + 1) <= (
        torch.full((rows, 1), steps) if stops is None else stops.reshape(rows, 1)
    )
    values = torch.full((len(panel.axes), rows, steps), good, dtype=torch.float64)
    failing = torch.arange(1, steps + 1) > last[:, None]  # [R, T]
    for a in range(len(panel.axes)):
        values[a][failing & (axis == a)[:, None]] = bad
    values[:, ~there] = torch.nan
    faults = torch.zeros(rows, dtype=torch.uint8) if fault is None else fault.reshape(rows)
    horizon = usable_horizon(
        values,
        torch.tensor([spec.threshold for spec in panel.axes], dtype=torch.float64),
        patience=torch.tensor([spec.patience for spec in panel.axes]),
        valid=there,
        gated=torch.tensor([spec.gate for spec in panel.axes]),
    )
    sound = faults == 0
    for name, blank in (("steps", -1), ("axis", -1), ("censored", False), ("defined", False)):
        getattr(horizon, name)[~sound] = blank
    reason = torch.where(values.isnan(), int(Reason.NO_FRAME), 0).to(torch.uint8)
    return Scores(
        panel=panel,
        model=model,
        axes={
            spec.axis: Curve(values=values[a], reason=reason[a])
            for a, spec in enumerate(panel.axes)
        },
        measures={},
        horizon=horizon,
        fault=faults,
        provenance=dict(provenance or {}),
    )
