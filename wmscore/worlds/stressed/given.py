"""What is wrong with the given frame: the model sees it spoiled, the world goes on as it was."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from wmscore.manifest import Stress
from wmscore.video import jpeg_loss
from wmscore.worlds.protocol import Item
from wmscore.worlds.stressed.drawing import parameter, scenario_generator, scenario_random

__all__ = ["spoil_given"]


def spoil_given(frames: Tensor, items: Sequence[Item], stress: Stress) -> Tensor:
    """Given frames `[B, C, H, W]`, spoiled; of one scenario all alike, and of their dtype.

    The parameter `spoiled` says how: `shift` (by `pixels` in a drawn direction, the edge repeated),
    `occlude` (a grey rectangle of the picture's shape over the share `area`), `blur` (Gaussian of
    `sigma` pixels), `noise` (Gaussian of `sigma` grey levels) or `jpeg` (of `quality` 1..100). It
    is done on the host, so that every device gives the same pixels.
    """
    how = stress.parameters.get("spoiled")
    known = {
        "shift": _shift,
        "occlude": _occlude,
        "blur": _blur,
        "noise": _noise,
        "jpeg": _jpeg,
    }
    if how not in known:
        raise ValueError(
            f"stress.parameters['spoiled']: expected one of {list(known)}, got {how!r}"
        )
    done: dict[str, tuple[Tensor, Tensor]] = {}
    out = []
    for frame, item in zip(frames.cpu(), items, strict=True):
        last = done.get(item.scenario_id)
        if last is None or not torch.equal(last[0], frame):
            last = done[item.scenario_id] = (frame, known[str(how)](frame, item, stress))
        out.append(last[1])
    return torch.stack(out).to(frames.device)


def _shift(frame: Tensor, item: Item, stress: Stress) -> Tensor:
    pixels = parameter(stress, "pixels", 0)
    angle = scenario_random(item, stress).uniform(0, 2 * math.pi)
    dy, dx = round(pixels * math.sin(angle)), round(pixels * math.cos(angle))
    height, width = frame.shape[-2:]
    y = (torch.arange(height) - dy).clamp(0, height - 1)
    x = (torch.arange(width) - dx).clamp(0, width - 1)
    return frame[:, y][:, :, x]


def _occlude(frame: Tensor, item: Item, stress: Stress) -> Tensor:
    height, width = frame.shape[-2:]
    share = math.sqrt(parameter(stress, "area", 0, 1))
    h, w = max(1, round(share * height)), max(1, round(share * width))
    rng = scenario_random(item, stress)
    top, left = (int(rng.random() * (room + 1)) for room in (height - h, width - w))
    out = frame.clone()
    out[:, top : top + h, left : left + w] = 128 if frame.dtype == torch.uint8 else 128 / 255
    return out


def _blur(frame: Tensor, item: Item, stress: Stress) -> Tensor:
    sigma = parameter(stress, "sigma", 0.05, min(frame.shape[-2:]))
    reach = max(1, math.ceil(3 * sigma))
    x = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    picture = pad(frame.double()[None], (reach,) * 4, mode="replicate").transpose(0, 1)
    picture = conv2d(conv2d(picture, kernel[None, None, None]), kernel[None, None, :, None])
    return _back(picture[:, 0], frame)


def _noise(frame: Tensor, item: Item, stress: Stress) -> Tensor:
    sigma = parameter(stress, "sigma", 0)
    noise = torch.randn(frame.shape, generator=scenario_generator(item, stress))
    scale = sigma if frame.dtype == torch.uint8 else sigma / 255
    return _back(frame.double() + scale * noise, frame)


def _jpeg(frame: Tensor, item: Item, stress: Stress) -> Tensor:
    quality = int(parameter(stress, "quality", 1, 100))
    if frame.dtype == torch.uint8:
        return jpeg_loss(frame[None], quality)[0]
    return (jpeg_loss(frame.double()[None] * 255, quality)[0] / 255).to(frame.dtype)


def _back(value: Tensor, like: Tensor) -> Tensor:
    """Of the dtype of `like`, in its range."""
    if like.dtype == torch.uint8:
        return value.round().clamp(0, 255).to(torch.uint8)
    return value.clamp(0, 1).to(like.dtype)
