"""The measures that `response_validity.py` studies: what is kept of each batch, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from wmscore.functional import script_match, script_products, script_response
from wmscore.functional.latency import response_latency
from wmscore.rollouts import Rollouts

__all__ = ["SCORES", "judge", "measure"]

SCORES = ("agreement", "match")
"""Scores of `judge`: 1 = the reference's response, 0 = none, or by chance."""


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
    """How far the content moves from each frame to the next, (down, right) in pixels.

    Args:
        frames: ``[B, T+1, C, H, W]`` uint8.

    Returns:
        ``[B, T, 2]`` float64, by phase correlation with a parabola through the peak.
    """
    luma = frames.float().mean(2)
    luma = luma - luma.mean((-2, -1), keepdim=True)
    height, width = luma.shape[-2:]
    window = torch.hann_window(height)[:, None] * torch.hann_window(width)
    spectrum = torch.fft.rfft2(luma * window)
    cross = spectrum[:, 1:] * spectrum[:, :-1].conj()
    found = torch.fft.irfft2(cross / cross.abs().clamp_min(1e-9), s=(height, width))
    best = found.flatten(2).argmax(2)
    y, x = best // width, best % width

    def value(down: Tensor, right: Tensor) -> Tensor:
        place = (down % height) * width + right % width
        return found.flatten(2).gather(2, place[..., None])[..., 0].double()

    peak = value(y, x)
    moved = []
    for at, size, before, after in (
        (y, height, value(y - 1, x), value(y + 1, x)),
        (x, width, value(y, x - 1), value(y, x + 1)),
    ):
        bend = before - 2 * peak + after
        part = torch.where(bend < 0, (before - after) / (2 * bend), 0.0).clamp(-0.5, 0.5)
        moved.append((at + size // 2) % size - size // 2 + part)
    still = (frames[:, 1:] == frames[:, :-1]).flatten(2).all(2)
    return torch.stack(moved, 2).masked_fill(still[..., None], 0.0)
