"""Action response: whether the frames depend on the action script as the reference's do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.functional import Encoder, Reason, ScriptCross, ScriptProducts, ScriptResponse
from wmscore.manifest import AxisSpec, Panel
from wmscore.scorer.axes import Curves, blank
from wmscore.scorer.groups import Groups, finite_steps, of_reference, shown_steps
from wmscore.scorer.motion import motion_curves

__all__ = ["ResponseFound", "Scripts", "action_response"]

_STILL = 2 / 255  # of the data range: what rounding and compression alone may differ by
_ALIKE = 1.0  # pixels by which the displacements of scripts may differ to be one displacement


@dataclass(frozen=True, kw_only=True, eq=False)
class Scripts:
    """What a panel's scripts are, `[S, K]` bool each.

    Attributes:
        noop: a counterfactual that commands nothing.
        random: any other counterfactual.
    """

    noop: Tensor
    random: Tensor

    @classmethod
    def of(cls, panel: Panel) -> Scripts:
        """Read the scripts of a panel."""
        most = max(len(scenario.scripts) for scenario in panel.scenarios)
        noop = torch.zeros(len(panel.scenarios), most, dtype=torch.bool)
        random = torch.zeros_like(noop)
        space, horizon = panel.contract.actions, panel.contract.horizon
        for s, scenario in enumerate(panel.scenarios):
            for k, branch in enumerate(scenario.branches, start=1):
                still = set(branch.script(horizon, space)) == {space.noop}
                noop[s, k], random[s, k] = still, not still
        return cls(noop=noop, random=random)

    def of_groups(self, groups: Groups) -> tuple[Tensor, Tensor]:
        """No-op and random scripts of groups, `[G, K]`, on their device."""
        scenario, scripts = groups.commanded.scenario, groups.rows.shape[1]
        noop, random = (mask[scenario, :scripts] for mask in (self.noop, self.random))
        device = groups.rows.device
        return noop.to(device, non_blocking=True), random.to(device, non_blocking=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class ResponseFound:
    """What a batch of `G` groups shows.

    Attributes:
        score: `[G, T]` in [0, 1].
        reason: `[G, T]` uint8.
        curves: raw measures.
        cross: for the test against chance.
    """

    score: Tensor
    reason: Tensor
    curves: Curves
    cross: ScriptCross


def action_response(
    groups: Groups,
    spec: AxisSpec,
    scripts: Scripts,
    encoder: Encoder | None,
    motion: tuple[Tensor, Tensor],
) -> ResponseFound:
    """Score, its reasons, and the raw curves.

    Args:
        groups: of a batch.
        spec: the panel's axis.
        scripts: of the panel.
        encoder: of the measure `agreement_features`.
        motion: features `[G, K, T, D]` of the generated and the reference rollouts.
    """
    frames = _Frames.of(groups)
    products = frames.products()
    curves: Curves = motion_curves(
        motion[0][:, 0],
        motion[1][:, 0],
        groups.reason,
        unknown=Reason.TOO_SMALL
        if min(groups.preds.shape[-2:]) < F.MOTION_MIN_SIDE
        else Reason.NO_PEAK,
    )
    found = F.script_response(products)
    frames.add(curves, found)
    match = F.script_match(products)
    curves["script_match"] = frames.curve(match.match, match.reason)
    noop, random = scripts.of_groups(groups)
    for name, which in (("delta_psnr", random), ("delta_psnr_noop", noop)):
        delta = F.script_delta_psnr(products, which)
        curves[name] = frames.curve(delta.delta, delta.reason)
        if name == "delta_psnr":
            few = delta.reason.masked_fill(delta.scripts < 2, int(Reason.TOO_FEW_SAMPLES))
            few = torch.where(delta.reason == 0, few, delta.reason)
            curves["delta_psnr_error"] = frames.curve(delta.standard_error, few)
            curves["delta_psnr_oracle"] = frames.curve(delta.oracle, delta.reason)
            # No error under random scripts: nothing that the commanded one could explain.
            none = delta.controllability.isnan() & (delta.reason == 0)
            why = delta.reason.masked_fill(none, int(Reason.NO_GENERATED_RESPONSE))
            curves["controllability"] = frames.curve(delta.controllability, why)
    if spec.measure == "agreement_windowed":
        frames.add(curves, frames.windowed(), "_windowed")
    elif spec.measure == "agreement_aligned":
        frames.add(curves, F.script_response(frames.products(_common_shift(frames))), "_aligned")
    elif spec.measure == "agreement_features":
        assert encoder is not None
        frames.add(curves, _of_features(frames, encoder), "_features")
    values, reason = curves[spec.measure]
    return ResponseFound(
        score=values.clamp_min(0.0), reason=reason, curves=curves, cross=F.script_cross(products)
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Frames:
    """The frames of all scripts of some groups, and what is not there.

    Attributes:
        preds: `[B, T, C, H, W]`.
        target: `[S, T, C, H, W]`.
        preds_rows: `[G, K]` int64.
        target_rows: `[G, K]` int64.
        present: `[G, K, T]` bool, generated and reference frame are there and finite.
        lack: `[G, T]` uint8, why no script of the group can be judged at a step.
    """

    preds: Tensor
    target: Tensor
    preds_rows: Tensor
    target_rows: Tensor
    present: Tensor
    lack: Tensor

    @classmethod
    def of(cls, groups: Groups) -> _Frames:
        batch = groups.batch
        assert batch.reference is not None
        assert batch.reference_index is not None
        preds = batch.frames[:, 1:]
        shown, finite = shown_steps(batch), finite_steps(preds)
        # A reference that has ended takes its script out; a rollout that has ended tells nothing.
        expected = of_reference(batch, batch.reference_valid)[:, 1:]
        lost = groups.of_scripts(expected & ~shown, 0).any(1)
        broken = groups.of_scripts(shown & ~finite, 0).any(1)
        lack = torch.zeros_like(groups.reason)
        lack.masked_fill_(broken, int(Reason.NON_FINITE)).masked_fill_(lost, int(Reason.NO_FRAME))
        # Scripts that do not begin alike are no counterfactuals: nor do they count in the test.
        apart = ~(groups.reference_gap == 0).all(1)
        lack.masked_fill_(apart[:, None], int(Reason.BRANCH_APART))
        return cls(
            preds=preds,
            target=batch.reference[:, 1:],
            preds_rows=groups.rows,
            target_rows=groups.of_scripts(
                batch.reference_index.to(batch.device, non_blocking=True), -1
            ),
            present=groups.of_scripts(shown & finite, 0) & ~apart[:, None, None],
            lack=lack,
        )

    def products(self, shift: Tensor | None = None) -> ScriptProducts:
        return F.script_products(
            self.preds,
            self.target,
            preds_rows=self.preds_rows,
            target_rows=self.target_rows,
            present=self.present,
            shift=shift,
            still=_STILL,
        )

    def windowed(self) -> ScriptResponse:
        return F.windowed_response(
            self.preds,
            self.target,
            preds_rows=self.preds_rows,
            target_rows=self.target_rows,
            present=self.present,
            still=_STILL,
        )

    def curve(self, values: Tensor, reason: Tensor) -> tuple[Tensor, Tensor]:
        """A curve, blank where the group lacks what all scripts need."""
        reason = torch.where(self.lack == 0, reason, self.lack)
        return blank(values, reason), reason

    def add(self, curves: Curves, found: ScriptResponse, suffix: str = "") -> None:
        """The four curves of a response; without a generated one only two are undefined."""
        nothing = found.reason == int(Reason.NO_GENERATED_RESPONSE)
        reason = found.reason.masked_fill(nothing, 0)
        nowhere = found.leak.isnan() & (found.reason == 0)
        reasons = {
            "agreement": reason,
            "cosine": found.reason,
            "gain": reason,
            "leak": found.reason.masked_fill(nowhere, int(Reason.NO_REGION)),
        }
        for name, why in reasons.items():
            curves[f"{name}{suffix}"] = self.curve(getattr(found, name), why)


def _common_shift(frames: _Frames) -> Tensor:
    """The displacement `[G, T, 2]` that generated frames have under all scripts alike, else 0.

    Only what scripts share is taken off, so that no response to the actions is forgiven.
    """
    own, there = frames.preds_rows.clamp_min(0), frames.target_rows.clamp_min(0)
    # [G, K, T, 2]; NaN where nothing is alike.
    shifts = F.phase_shift(frames.target[there], frames.preds[own]).shift
    absent = ~frames.present[..., None]
    middle = shifts.masked_fill(absent, torch.nan).nanmedian(1, keepdim=True).values
    alike = (((shifts - middle).abs() <= _ALIKE) | absent).all(1).all(-1, keepdim=True)
    return torch.where(alike, middle[:, 0].round(), 0.0).nan_to_num(0.0).long()


def _of_features(frames: _Frames, encoder: Encoder) -> ScriptResponse:
    """The response in the features of an encoder, whose mean over scripts is taken off as well."""
    preds, target = (F.embed(f, encoder)[:, :, None, None] for f in (frames.preds, frames.target))
    products = F.script_products(
        preds,
        target,
        preds_rows=frames.preds_rows,
        target_rows=frames.target_rows,
        present=frames.present,
    )
    found = F.script_response(products, min_response=0.0)
    # Frames that are not finite are absent already.
    broken = found.reason == int(Reason.NON_FINITE)
    return replace(found, reason=found.reason.masked_fill(broken, int(Reason.NON_FINITE_FEATURES)))
