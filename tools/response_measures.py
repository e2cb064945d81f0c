"""The measures that `response_validity.py` studies: what is kept of each batch, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from wmscore import ops
from wmscore.functional import script_match, script_products, script_response
from wmscore.functional.latency import response_latency
from wmscore.rollouts import Rollouts

__all__ = ["SCORES", "judge", "measure"]

SCORES = ("agreement", "match")
"""Scores of `judge`: 1 = the reference's response, 0 = none, or by chance."""

_BLOCK, _RADIUS = 8, 8  # pixels


def measure(rollouts: Rollouts) -> dict[str, Tensor]:
    """What is kept of a batch of one model's groups, all branches of a scenario side by side.

    Returns:
        Tensors ``[G, ...]``, which are joined over batches and given to `judge`.
    """
    scripts = int(rollouts.branch.max()) + 1
    rows = torch.arange(len(rollouts)).view(-1, scripts)
    assert rollouts.reference is not None
    assert rollouts.reference_index is not None
    assert rollouts.reference_valid is not None
    there = rollouts.reference_index.view(-1, scripts)
    present = rollouts.valid[rows, 1:] & rollouts.reference_valid[there, 1:]
    products = script_products(
        rollouts.frames[:, 1:],
        rollouts.reference[:, 1:],
        preds_rows=rows,
        target_rows=there,
        present=present,
    )
    commanded, frames = rows[:, 0], rollouts.reference[there[:, 0]]
    return {
        "agreement": script_response(products).agreement,
        "match": script_match(products).match,
        "motion": motion(rollouts.frames[commanded]),
        "reference_motion": motion(frames),
        "actions": rollouts.actions[commanded],
        "present": present[:, 0],
    }


def judge(measured: Mapping[str, Tensor], num_actions: int) -> dict[str, Tensor]:
    """Per scenario ``[G]``: the `SCORES`, `delay` in steps and `gain` (NaN = undefined).

    Besides, for all scenarios together ``[]``: `pooled_delay` and `pooled_gain`, with the
    `p_value` of there being a response, and its `polarity`.
    """
    lag = response_latency(
        measured["actions"],
        measured["motion"],
        measured["reference_motion"],
        valid=measured["present"],
        num_actions=num_actions,
        draws=199,
    ).excess
    return {
        **{name: measured[name].nanmean(1) for name in SCORES},
        "delay": lag.rollouts.lag,
        "gain": lag.rollouts.gain,
        "pooled_delay": lag.pooled.lag,
        "pooled_gain": lag.pooled.gain,
        "polarity": lag.pooled.polarity,
        "p_value": lag.pooled.p_value,
    }


def motion(frames: Tensor) -> Tensor:
    """How far the view moves from each frame to the next, (down, right) in pixels.

    The median over blocks, so that what moves by itself in a part of the view does not count, of
    the displacements around that of phase correlation, which alone follows the most contrast.

    Args:
        frames: ``[B, T+1, C, H, W]`` uint8.

    Returns:
        ``[B, T, 2]`` float64.
    """
    start = _phase_shift(frames)
    moved, _ = ops.block_flow(frames[:, :-1], frames[:, 1:], _BLOCK, _RADIUS, start)
    return moved.flatten(2, 3).median(2).values.double()


def _phase_shift(frames: Tensor) -> Tensor:
    """Whole displacement of each frame's content in the next one, ``[B, T, 2]`` int64."""
    luma = frames.float().mean(2)
    luma = luma - luma.mean((-2, -1), keepdim=True)
    height, width = luma.shape[-2:]
    window = torch.hann_window(height)[:, None] * torch.hann_window(width)
    spectrum = torch.fft.rfft2(luma * window)
    cross = spectrum[:, 1:] * spectrum[:, :-1].conj()
    found = torch.fft.irfft2(cross / cross.abs().clamp_min(1e-9), s=(height, width))
    best = found.flatten(2).argmax(2)
    size = torch.tensor([height, width])
    place = torch.stack([best // width, best % width], 2)
    return (place + size // 2) % size - size // 2
