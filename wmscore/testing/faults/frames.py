"""Faults of whole frames: blur, colour drift, freeze, a NaN frame, a rollout that is too short."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wmscore.manifest import Panel
from wmscore.rollouts import Rollouts
from wmscore.testing.faults.base import Fault, first_steps
from wmscore.worlds.protocol import Item, WorldModel

__all__ = ["Blur", "ColourDrift", "Freeze", "NanFrame", "ShortRollout"]


@dataclass(frozen=True, kw_only=True)
class _FrameFault(Fault):
    """A true rollout whose frames are changed from the fault's step on."""

    @abstractmethod
    def change(self, rollouts: Rollouts, steps: Tensor) -> Rollouts:
        """Change `rollouts` from `steps` `[B]` (on the rollouts' device) on; T + 1 means never."""

    def inject(
        self, world: WorldModel, items: Sequence[Item], horizon: int, panel: Panel | None
    ) -> Rollouts:
        """Roll out the world and change the frames."""
        truth = world.rollout(items, horizon)
        steps = first_steps(items, horizon, self.step)
        there = truth.valid.cpu().gather(1, steps[:, None])[:, 0]
        # A row that ended before keeps its frames: its fault would begin after the horizon.
        changed = self.change(truth, torch.where(there, steps, horizon + 1).to(truth.device))
        info = {**truth.info, "fault_step": torch.where(there, steps, 0)}
        return replace(changed, info=info)


@dataclass(frozen=True, kw_only=True)
class _GrowingFault(_FrameFault):
    """Changes pixels more and more."""

    @abstractmethod
    def change_pixels(self, pixels: Tensor, age: Tensor) -> Tensor:
        """Change `pixels` `[F, C, H, W]` float32 in 0..255; `age` `[F]` is 1 at the first step."""

    def change(self, rollouts: Rollouts, steps: Tensor) -> Rollouts:
        """Change the frames from the step on, each by its age."""
        frames = rollouts.frames
        time = torch.arange(frames.shape[1], device=frames.device)
        row, t = (time >= steps[:, None]).nonzero(as_tuple=True)
        wrong, scale = frames[row, t], 1.0 if frames.dtype == torch.uint8 else 255.0
        pixels = self.change_pixels(wrong.float() * scale, t - steps[row] + 1).clamp(0, 255)
        pixels = pixels.round() if frames.dtype == torch.uint8 else pixels / scale
        frames = frames.clone()
        frames[row, t] = pixels.to(frames.dtype)
        return replace(rollouts, frames=frames)


@dataclass(frozen=True, kw_only=True)
class Blur(_GrowingFault):
    """Two box filters per axis, of radius `1 + floor(growth (t - step))` pixels, at each step t.

    Windows are cut at the border and averaged over what is left; blurred frames have whole levels
    of 0..255, whatever their dtype.
    """

    growth: float = 0.25

    @property
    def name(self) -> str:
        """Fixed."""
        return "blur"

    def change_pixels(self, pixels: Tensor, age: Tensor) -> Tensor:
        """Filter twice along each axis."""
        radius = 1 + ((age - 1) * self.growth).floor().to(torch.int64)
        blurred = torch.empty_like(pixels)
        for size in sorted(set(radius.tolist())):
            here = radius == size
            part = pixels[here]
            for dim in (3, 2, 3, 2):
                # Sums of whole numbers are exact in float32: the same on every device.
                part = _box_filter(part, size, dim).round_()
            blurred[here] = part
        return blurred


@dataclass(frozen=True, kw_only=True)
class ColourDrift(_GrowingFault):
    """Red rises and blue falls by `growth` of the full range (and green by a third) per step."""

    growth: float = 0.01

    @property
    def name(self) -> str:
        """Fixed."""
        return "colour-drift"

    def change_pixels(self, pixels: Tensor, age: Tensor) -> Tensor:
        """Add the drift."""
        direction = torch.tensor([1.0, 1 / 3, -1.0], device=pixels.device)
        drift = 255 * self.growth * age[:, None].float() * direction
        return pixels + drift[:, :, None, None]


@dataclass(frozen=True, kw_only=True)
class Freeze(_FrameFault):
    """From `step` on, frames and labels repeat the one before."""

    @property
    def name(self) -> str:
        """Fixed."""
        return "freeze"

    def change(self, rollouts: Rollouts, steps: Tensor) -> Rollouts:
        """Repeat the frame before the step."""
        time = torch.arange(rollouts.frames.shape[1], device=rollouts.device)
        last = torch.minimum(time, steps[:, None] - 1)
        row = torch.arange(len(rollouts), device=rollouts.device)[:, None]
        frozen = {
            name: value[row, last]
            for name in ("frames", "labels", "latents")
            if (value := getattr(rollouts, name)) is not None
        }
        return replace(rollouts, **frozen)


@dataclass(frozen=True, kw_only=True)
class NanFrame(_FrameFault):
    """One frame is NaN; all frames become float32 in [0, 1]."""

    @property
    def name(self) -> str:
        """Fixed."""
        return "nan-frame"

    def change(self, rollouts: Rollouts, steps: Tensor) -> Rollouts:
        """Fill the frame at the step with NaN."""
        frames = rollouts.frames
        frames = frames / 255.0 if frames.dtype == torch.uint8 else frames.float()
        time = torch.arange(frames.shape[1], device=frames.device)
        wrong = (time == steps[:, None])[:, :, None, None, None]
        return replace(rollouts, frames=frames.masked_fill(wrong, torch.nan))


@dataclass(frozen=True, kw_only=True)
class ShortRollout(Freeze):
    """The rollout ends before `step`: `valid` is false from there on, the last frame is padding."""

    @property
    def name(self) -> str:
        """Fixed."""
        return "short-rollout"

    def change(self, rollouts: Rollouts, steps: Tensor) -> Rollouts:
        """Pad as a world whose episode is over does."""
        time = torch.arange(rollouts.frames.shape[1], device=rollouts.device)
        padded = super().change(rollouts, steps)
        return replace(padded, valid=rollouts.valid & (time < steps[:, None]))


def _box_filter(pixels: Tensor, radius: int, dim: int) -> Tensor:
    """Mean over 2 radius + 1 pixels along `dim` of `[F, C, H, W]`."""
    size = pixels.shape[dim]
    total = pixels.clone()
    for shift in range(1, min(radius, size - 1) + 1):
        rest = size - shift
        total.narrow(dim, shift, rest).add_(pixels.narrow(dim, 0, rest))
        total.narrow(dim, 0, rest).add_(pixels.narrow(dim, shift, rest))
    place = torch.arange(size, device=pixels.device)
    count = (place + radius + 1).clamp(max=size) - (place - radius).clamp(min=0)
    return total.div_(count if dim == 3 else count[:, None])
