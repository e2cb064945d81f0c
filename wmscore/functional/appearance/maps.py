"""Maps that identity is read from: low-passed colours, their descriptor, what is behind."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

__all__ = ["LEVELS", "behind", "core_slots", "describe", "low_passed", "ring_slots"]

LEVELS = 8
"""Thresholds of a channel in the descriptor."""


def low_passed(frames: Tensor) -> Tensor:
    """Binomial 3 x 3 mean of ``[F, C, H, W]``, borders repeated."""
    wide = pad(frames, (1, 1, 0, 0), mode="replicate")
    frames = (wide[..., :-2] + 2 * frames + wide[..., 2:]) / 4
    tall = pad(frames, (0, 0, 1, 1), mode="replicate")
    return (tall[..., :-2, :] + 2 * frames + tall[..., 2:, :]) / 4


def describe(frames: Tensor) -> Tensor:
    r"""Descriptor of each pixel, whose mean over a region says how colours are distributed there.

    .. math:: f_{ck} = \sqrt{w_c \delta_c}\;
              \mathrm{clip}\left(\frac{v_c - \theta_{ck}}{2 \delta_c} + \frac12, 0, 1\right)

    of luma and two colour differences v_c. The mean over a region is a smoothed cumulative
    distribution of each channel, and the squared distance of two means is Cramér's: it grows
    evenly with a change of colour, does not see where in the region a colour is, and a mixture of
    two regions lies between them.

    Args:
        frames: ``[F, C, H, W]`` float32 in [0, 1], C of 1 or 3.

    Returns:
        ``[F, 8 C, H, W]`` float32.
    """
    luma = frames.mean(1, keepdim=True)
    low: tuple[float, ...]
    high: tuple[float, ...]
    if frames.shape[1] == 1:
        channels, low, high = luma, (0.0,), (1.0,)
    else:
        red, green, blue = frames.unbind(1)
        difference = torch.stack([red - green, (red + green) / 2 - blue], 1)
        channels = torch.cat([luma, difference], 1)
        low, high = (0.0, -0.8, -0.8), (1.0, 0.8, 0.8)
    maps = frames.new_empty(len(frames), LEVELS * len(low), *frames.shape[2:])
    for channel, (least, most) in enumerate(zip(low, high, strict=True)):
        step = (most - least) / LEVELS
        threshold = (torch.arange(LEVELS, device=frames.device) + 0.5) * step + least
        part = maps[:, channel * LEVELS : (channel + 1) * LEVELS]
        torch.sub(channels[:, channel, None], threshold.view(1, -1, 1, 1), out=part)
        part.mul_(0.5 / step).add_(0.5).clamp_(0, 1).mul_(step**0.5)
    return maps


def behind(frames: Tensor, background: Tensor) -> Tensor:
    """Fill what is not background from the background around it, from fine to coarse (pull-push).

    Args:
        frames: ``[F, C, H, W]`` float32.
        background: ``[F, 1, H, W]`` float32 weights.
    """
    if min(frames.shape[-2:]) < 2:
        return frames * background
    weight = avg_pool2d(background, 2, ceil_mode=True)
    coarse = avg_pool2d(frames * background, 2, ceil_mode=True) / weight.clamp(min=1e-6)
    if min(coarse.shape[-2:]) >= 2:
        coarse = behind(coarse, (weight * 4).clamp(max=1))
    fine = interpolate(coarse, size=frames.shape[-2:], mode="bilinear", align_corners=False)
    return frames * background + fine * (1 - background)


def core_slots(slots: Tensor, distance: int = 1) -> Tensor:
    """Slots ``[F, H, W]`` uint8 without the pixels within ``distance`` of another slot."""
    edge = _spread(slots, distance) != 255 - _spread(255 - slots, distance)
    return slots.masked_fill(edge, 0)


def ring_slots(slots: Tensor, gap: int, width: int) -> Tensor:
    """Background within ``gap + width`` pixels of an object, but not within ``gap``, as its slot.

    Between two objects it belongs to the one of the higher slot.
    """
    return _spread(slots, gap + width).masked_fill(_spread(slots, gap) != 0, 0)


def _spread(slots: Tensor, distance: int) -> Tensor:
    """Largest slot of ``[F, H, W]`` uint8 within the square of ``distance`` around each pixel."""
    for dim in (1, 2):
        source = slots
        for shift in range(1, min(distance, source.shape[dim] - 1) + 1):
            length = source.shape[dim] - shift
            near, far = source.narrow(dim, 0, length), source.narrow(dim, shift, length)
            slots = slots.clone() if slots is source else slots
            slots.narrow(dim, 0, length).copy_(torch.maximum(slots.narrow(dim, 0, length), far))
            slots.narrow(dim, shift, length).copy_(
                torch.maximum(slots.narrow(dim, shift, length), near)
            )
    return slots
