"""How the picture moves under each action: curves per row, and a panel's report on its actions."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.functional import MOTION_FEATURES, ActionReport, InverseDynamics, Reason
from wmscore.manifest import Panel
from wmscore.scorer.axes import Curves, blank
from wmscore.scorer.groups import Groups, of_reference

__all__ = ["PanelMotion", "motion_curves"]

_FLOW = slice(MOTION_FEATURES.index("flow_dy_00"), MOTION_FEATURES.index("change_00"))


class PanelMotion:
    """Motion features of a panel's rollouts, as they come, and what they say in the end.

    Of each rollout `T x 40` float32 numbers are kept, 5 kB at 32 steps.
    """

    def __init__(
        self, panel: Panel, device: torch.device, network: InverseDynamics | None = None
    ) -> None:
        """Start with no rows; `network` recognises actions in place of the linear probe."""
        self._panel, self._network = panel, network
        scripts = max(len(scenario.scripts) for scenario in panel.scenarios)
        steps, space = panel.contract.horizon, panel.contract.actions
        size = (len(panel.scenarios), scripts, steps)
        self._target = torch.full((*size, len(MOTION_FEATURES)), torch.nan, device=device)
        width = () if space.kind == "discrete" else (len(space.names),)
        dtype = torch.int64 if space.kind == "discrete" else torch.float32
        self._actions = torch.zeros(*size, *width, dtype=dtype)
        for s, scenario in enumerate(panel.scenarios):
            for k in range(len(scenario.scripts)):
                self._actions[s, k] = panel.actions(s, k)
        # What stands for an action that was not recognised.
        self.unrecognised = -1 if space.kind == "discrete" else torch.nan
        self._recognised = torch.full(
            (*size, *width),
            self.unrecognised,
            dtype=torch.int64 if space.kind == "discrete" else torch.float64,
            device=device,
        )

    def of_groups(self, groups: Groups) -> tuple[Tensor, Tensor]:
        """Features `[G, K, T, D]` float32 of generated and reference rollouts; NaN for none."""
        batch = groups.batch
        assert batch.reference is not None
        preds = F.motion_features(batch.frames, valid=batch.valid).values.float()
        target = F.motion_features(batch.reference, valid=batch.reference_valid).values.float()
        generated, reference = (
            groups.of_scripts(values, torch.nan) for values in (preds, of_reference(batch, target))
        )
        scenario = groups.commanded.scenario.to(batch.device, non_blocking=True)
        self._target[scenario] = reference
        return generated, reference

    def recognised(self, groups: Groups) -> Tensor:
        """What the network sees in generated rollouts.

        Actions `[G, K, T]`, -1 where none, or values `[G, K, T, A]`, NaN where none.
        """
        batch, space = groups.batch, self._panel.contract.actions
        assert self._network is not None
        assert batch.reference is not None
        ask = F.recognise_actions if space.kind == "discrete" else F.recognise_vectors
        count = len(space.names)
        generated, reference = (
            groups.of_scripts(answer, self.unrecognised)
            for answer in (
                ask(self._network, batch.frames, count),
                of_reference(batch, ask(self._network, batch.reference, count)),
            )
        )
        self._recognised[groups.commanded.scenario.to(batch.device, non_blocking=True)] = reference
        return generated

    def report(
        self, preds: Tensor, shown: Tensor, recognised: Tensor | None = None
    ) -> ActionReport | None:
        """What the features `[R, K, T, D]` of all panel rows say; None where nothing came.

        Args:
            preds: NaN where the picture has dissolved, or was never generated.
            shown: `[R, K, T]` bool, steps that were generated.
            recognised: `[R, K, T]` int64 or `[R, K, T, A]` floating point, answers of the network,
                if there is one.
        """
        if not bool(shown.any()):
            return None
        seeds = len(self._panel.seeds)
        scenario = torch.arange(len(self._panel.scenarios)).repeat_interleave(seeds)
        space = self._panel.contract.actions
        discrete = space.kind == "discrete"
        noop = space.names.index(str(space.noop)) if discrete and space.noop is not None else None
        return F.action_report(
            preds.double(),
            self._target.cpu().double()[scenario],
            self._actions[scenario],
            scenario,
            num_actions=len(space.names) if discrete else None,
            noop=noop,
            valid=shown,
            recognised=None
            if recognised is None
            else (recognised, self._recognised.cpu()[scenario]),
        )


def motion_curves(
    preds: Tensor, target: Tensor, reason: Tensor, *, unknown: Reason = Reason.NO_PEAK
) -> Curves:
    """Motion of commanded rollouts against the reference's, from features `[G, T, D]`.

    A generated step in which no motion can be found, though the reference's is known, counts as one
    without: what has dissolved does not respond. `unknown` is why the reference's is not.
    """
    curves: Curves = {}
    known = target[..., :2].isfinite().all(-1)
    moved = preds.double().nan_to_num(0.0)
    found = F.motion_agreement(moved[..., :2], target[..., :2].double())
    fields = (v[..., _FLOW].reshape(*v.shape[:-1], -1, 2) for v in (moved, target.double()))
    flow = F.motion_agreement(*fields, dims=2)
    nothing = int(Reason.NO_GENERATED_RESPONSE)
    for name, result, values, stands in (
        ("motion", found, found.agreement, True),
        ("motion_cosine", found, found.cosine, False),
        ("motion_ratio", found, found.ratio, True),
        ("flow_agreement", flow, flow.agreement, True),
    ):
        why = result.reason
        if stands:
            why = why.masked_fill(why == nothing, 0)
        why = why.masked_fill(~known, int(unknown))
        why = torch.where(reason == 0, why, reason)
        curves[name] = (blank(values, why), why)
    why = torch.where(reason == 0, torch.where(known, 0, int(unknown)).to(reason), reason)
    curves["motion_error"] = (blank(found.endpoint_error, why), why)
    return curves
