"""Evaluation faults: rollouts that cannot be judged, whatever they show."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from wmscore.functional import Reason
from wmscore.manifest import Observation, Panel
from wmscore.rollouts import Rollouts
from wmscore.scorer.groups import Groups, finite_steps, of_reference, start_gap

__all__ = ["RATE_SLACK", "Asked", "evaluation_faults", "is_out_of_range"]

RATE_SLACK = 0.005
"""Share by which a frame rate may differ from the panel's: half a step in a hundred."""

_ROUNDING = 1e-2  # one step of bfloat16 just above 1 is 0.008


class Asked:
    """What a panel asks for, as tensors on a device: scripts, and which scenarios are still."""

    def __init__(self, panel: Panel, device: torch.device) -> None:
        """Encode the panel's scripts once."""
        self.observation = panel.contract.observation
        most = max(len(scenario.scripts) for scenario in panel.scenarios)
        scripts = [
            [panel.actions(s, min(b, len(scenario.scripts) - 1)) for b in range(most)]
            for s, scenario in enumerate(panel.scenarios)
        ]
        self.scripts = torch.stack([torch.stack(some) for some in scripts]).to(device)
        """`[S, K, T]` or `[S, K, T, A]`."""
        self.still = torch.tensor([bool(s.still) for s in panel.scenarios], device=device)
        """`[S]` bool."""


def evaluation_faults(groups: Groups, asked: Asked) -> dict[str, Tensor]:
    """The first fault of each group, commanded rollouts before branches; and how it starts.

    `fault` `[G]` uint8, 0 for none: made with other actions than commanded or at another frame
    rate, short (ends before its reference), frames that are not finite or outside their range, an
    initial frame that is not the given one, one flat colour throughout, outside of what the
    observation ignores, where the reference is not, or channels in another order. A counterfactual
    branch may end early (chance can kill the player there): its later steps are undefined, and
    counted. Nor can a group be judged whose references begin with different frames: then its
    scripts are no counterfactuals of each other; nor one whose commanded reference never moves,
    where the scenario is not said to be still.

    `start_difference` `[G]` float64, the largest difference of a value of an initial frame from
    the one that it should be, in units of the frames; NaN for a frame with NaN. `start_script`
    `[G]` int64, the script in which it is.
    """
    batch = groups.batch
    assert batch.reference is not None
    gap = start_gap(batch.frames[:, 0], of_reference(batch, batch.reference[:, 0]))
    seen = _seen(asked.observation)
    rollouts = groups.of_scripts(_faults(batch, gap, seen, asked), 0)
    # Written so that a NaN in an initial frame counts as another frame.
    apart = ~(groups.reference_gap == 0)
    still = _is_still(batch, seen)[groups.rows[:, 0]]
    still &= ~asked.still[groups.commanded.scenario.to(still.device, non_blocking=True)]
    kinds = torch.cat(
        [
            rollouts,
            apart * int(Reason.BRANCH_APART),
            still[:, None] * int(Reason.STILL_REFERENCE),
        ],
        1,
    )
    # The first that is not 0: argmax of booleans takes the first of equals.
    first = (kinds != 0).int().argmax(1, keepdim=True)
    start = torch.maximum(groups.of_scripts(gap, 0), groups.reference_gap).max(1)
    return {
        "fault": kinds.gather(1, first)[:, 0].to(torch.uint8),
        "start_difference": start.values,
        "start_script": start.indices,
    }


def _seen(observation: Observation | None) -> Tensor | None:
    """Indices `[N]` of the pixels of a flat picture that are not ignored, or None for all."""
    if observation is None or observation.ignore is None:
        return None
    return (~observation.ignored()).flatten().nonzero()[:, 0]


def _faults(rollouts: Rollouts, gap: Tensor, seen: Tensor | None, asked: Asked) -> Tensor:
    """The first fault of each rollout, `[B]` uint8; `gap` `[B]` is that of its initial frame."""
    preds = rollouts.frames[:, 1:]
    assert rollouts.reference is not None
    expected = of_reference(rollouts, rollouts.reference_valid)
    # Half a grey level: a float frame that is the given uint8 frame, whatever its precision.
    slack = 0.0 if rollouts.frames.dtype == torch.uint8 else 0.5 / 255
    is_flat = of_reference(rollouts, _is_flat(rollouts.reference[:, 1:], seen))
    may_end = (rollouts.branch > 0).to(preds.device)
    found = {
        Reason.WRONG_SCRIPT: _other_script(rollouts, asked),
        Reason.WRONG_TIMING: _other_rate(rollouts, asked.observation),
        Reason.SHORT: (~rollouts.valid & expected).any(1) & ~may_end,
        Reason.NON_FINITE: (~finite_steps(preds) & rollouts.valid[:, 1:]).any(1),
        Reason.OUT_OF_RANGE: is_out_of_range(rollouts.frames),
        # Written so that a NaN in the initial frame counts as another frame.
        Reason.RESET_MISMATCH: ~(gap <= slack),
        Reason.CONSTANT: _is_flat(preds, seen) & ~is_flat,
        Reason.WRONG_CHANNELS: _other_channels(rollouts),
    }
    fault = torch.zeros(len(rollouts), dtype=torch.uint8, device=preds.device)
    for reason, rows in found.items():
        fault.masked_fill_(rows & (fault == 0), int(reason))
    return fault


def _other_script(rollouts: Rollouts, asked: Asked) -> Tensor:
    """`[B]` bool: the actions are not those that the panel commands."""
    device = rollouts.device
    keys = [key.to(device, non_blocking=True) for key in (rollouts.scenario, rollouts.branch)]
    commanded = asked.scripts[keys[0], keys[1]]
    actions = rollouts.actions.to(device)
    if actions.shape != commanded.shape:  # a vector for an index, or of another length
        return torch.ones(len(rollouts), dtype=torch.bool, device=device)
    return (actions.to(commanded.dtype) != commanded).flatten(1).any(1)


def _other_rate(rollouts: Rollouts, observation: Observation | None) -> Tensor:
    """`[B]` bool: `info["fps"]`, where it is given, is not the panel's within half a percent."""
    rate = rollouts.info.get("fps")
    if rate is None or observation is None:
        return torch.zeros(len(rollouts), dtype=torch.bool, device=rollouts.device)
    gap = (rate.to(rollouts.device).double() - observation.fps).abs()
    return ~(gap <= RATE_SLACK * observation.fps)


def _other_channels(rollouts: Rollouts) -> Tensor:
    """`[B]` bool: at step 1, channels in another order are clearly nearer to the reference.

    The first step, where a model has not drifted yet. Clearly: at a quarter of the squared error,
    which must be that of 4 grey levels at least.
    """
    assert rollouts.reference is not None
    frames, scale = rollouts.frames[:, 1], 255.0 if rollouts.frames.dtype == torch.uint8 else 1.0
    if frames.shape[1] != 3:
        return torch.zeros(len(rollouts), dtype=torch.bool, device=frames.device)
    true = of_reference(rollouts, rollouts.reference[:, 1])
    mine, theirs = (x.float().flatten(2) / scale for x in (frames, true))
    power = mine.square().mean(2)[:, :, None] + theirs.square().mean(2)[:, None]
    error = power - 2 * (mine @ theirs.transpose(1, 2)) / mine.shape[2]  # [B, 3, 3]
    own = error.diagonal(dim1=1, dim2=2).mean(1)
    orders = torch.tensor(list(itertools.permutations(range(3)))[1:], device=frames.device)
    others = error[:, torch.arange(3, device=frames.device), orders].mean(2).amin(1)
    return (own > (4 / 255) ** 2) & (others < 0.25 * own)


def _is_still(rollouts: Rollouts, seen: Tensor | None) -> Tensor:
    """`[B]` bool: no frame of the reference differs from its first, in what is seen of it."""
    assert rollouts.reference is not None
    assert rollouts.reference_valid is not None
    pixels, valid = rollouts.reference.flatten(3), rollouts.reference_valid
    if seen is not None:
        pixels = pixels[..., seen.to(pixels.device)]
    same = (pixels[:, 1:] == pixels[:, :1]).flatten(2).all(2)
    return of_reference(rollouts, (same | ~valid[:, 1:]).all(1))


def is_out_of_range(frames: Tensor) -> Tensor:
    """`[B]` bool: floating-point values outside [0, 1] by more than rounding."""
    if frames.dtype == torch.uint8:
        return torch.zeros(len(frames), dtype=torch.bool, device=frames.device)
    pixels = frames.flatten(1)
    return (pixels.amin(1) < -_ROUNDING) | (pixels.amax(1) > 1 + _ROUNDING)


def _is_flat(frames: Tensor, seen: Tensor | None) -> Tensor:
    """`[B]` bool: every frame is one flat colour."""
    pixels = frames.flatten(3)
    if seen is not None:
        pixels = pixels[..., seen.to(pixels.device)]
    return (pixels.amin(3) == pixels.amax(3)).flatten(1).all(1)
