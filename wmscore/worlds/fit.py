"""A model whose native size is not the panel's: resized there and back, said so by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.worlds.protocol import Capabilities, Item, TeacherForced, WorldModel

__all__ = ["FitSize", "ForcedFitSize"]

Method = Literal["stretch", "pad", "crop"]


class FitSize:
    """`model` behind a resize: the given frame to its native size, its frames back.

    Frame 0 stays the given frame bit for bit, where the model begins with what it was shown; one
    that begins with another frame keeps that, for the scorer to see. All others have been through
    both resizes, which soften them: `FitSize` of a true world at the native size shows what that
    alone costs.

    Args:
        model: the model; `model.capabilities.frame_size` is where it works.
        height: height of the panel's frames.
        width: width of the panel's frames.
        method: "stretch" changes the aspect ratio; "pad" keeps it, with bars of black that are cut
            off again; "crop" keeps it and shows the model the middle only: what lies outside keeps
            the pixels of the given frame, and `unseen` says where, so that a panel can leave these
            boxes out.
        mode: how pixels are interpolated: "bicubic", "bilinear" (both against aliasing) or
            "nearest".
        first_frame_psnr: dB that frame 0 must reach against what the model was shown to count as
            it. By default it must be the very same; a simulator that renders its own picture at
            another size comes to 15 to 25.

    Example:
        >>> from wmscore.worlds import Frozen, SpriteWorld
        >>> fitted = FitSize(SpriteWorld(48, 48), 64, 96, "pad")
        >>> fitted.name, fitted.capabilities.frame_size
        ('sprites-pad-48x48', (64, 96))
    """

    def __init__(
        self,
        model: WorldModel,
        height: int,
        width: int,
        method: Method = "pad",
        *,
        mode: Literal["bicubic", "bilinear", "nearest"] = "bicubic",
        first_frame_psnr: float = math.inf,
    ) -> None:
        if method not in ("stretch", "pad", "crop"):
            raise ValueError(f"method: expected 'stretch', 'pad' or 'crop', got {method!r}")
        if mode not in ("bicubic", "bilinear", "nearest"):
            raise ValueError(f"mode: expected 'bicubic', 'bilinear' or 'nearest', got {mode!r}")
        if height < 1 or width < 1:
            raise ValueError(f"height, width: expected at least 1, got {height} and {width}")
        if math.isnan(first_frame_psnr):
            raise ValueError("first_frame_psnr: expected dB, got NaN")
        self.model, self.size, self.method, self.mode = model, (height, width), method, mode
        self.first_frame_psnr = first_frame_psnr
        native = model.capabilities.frame_size
        if method == "stretch":
            self._inner, self._outer = native, self.size
        elif method == "pad":  # all of the panel's frame, in a part of the model's
            scale = min(n / s for n, s in zip(native, self.size, strict=True))
            self._inner, self._outer = _scaled(self.size, scale, native), self.size
        else:  # a part of the panel's frame, in all of the model's
            scale = max(n / s for n, s in zip(native, self.size, strict=True))
            self._inner, self._outer = native, _scaled(native, 1 / scale, self.size)

    @property
    def name(self) -> str:
        """The model's, with the method and the native size."""
        height, width = self.model.capabilities.frame_size
        return f"{self.model.name}-{self.method}-{height}x{width}"

    @property
    def capabilities(self) -> Capabilities:
        """The model's, at the panel's size."""
        return replace(self.model.capabilities, frame_size=self.size)

    @property
    def conversion_losses(self) -> tuple[str, ...]:
        """The model's, and what the resize does."""
        height, width = self.model.capabilities.frame_size
        losses = tuple(getattr(self.model, "conversion_losses", ()))
        if self._same:
            return losses
        own = f"frames: {self.method} to {height} x {width} and back, {self.mode}"
        if self.unseen:
            own += "; outside the middle the given frame stays"
        return (*losses, own)

    @property
    def codec(self) -> Any:
        """The model's: how lossy the video is that its frames come from, or None."""
        return getattr(self.model, "codec", None)

    @property
    def unseen(self) -> tuple[tuple[int, int, int, int], ...]:
        """Boxes (top, left, bottom, right) of the panel's frame that the model does not see."""
        (height, width), (top, left, bottom, right) = self.size, _middle(self._outer, self.size)
        boxes = [
            (0, 0, top, width),
            (bottom, 0, height, width),
            (top, 0, bottom, left),
            (top, right, bottom, width),
        ]
        return tuple(box for box in boxes if box[0] < box[2] and box[1] < box[3])

    @property
    def _same(self) -> bool:
        return self.size == self.model.capabilities.frame_size

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Roll out resized items, and resize the frames (and labels) back.

        Raises:
            ValueError: an item's frame has another size than the panel's.
        """
        return self._back(items, self.model.rollout([self._item(i) for i in items], horizon))

    # ---- there ---------------------------------------------------------------------------

    def _item(self, item: Item) -> Item:
        if item.frame is None:  # the true world itself is asked
            return item
        if tuple(item.frame.shape[-2:]) != self.size:
            raise ValueError(
                f"items: expected frames of {self.size[0]} x {self.size[1]}, "
                f"{item.scenario_id!r} has {list(item.frame.shape)}"
            )
        labels = item.labels
        return replace(
            item,
            frame=self._there(item.frame[None])[0],
            labels=None if labels is None else self._there_labels(labels),
        )

    def _there(self, frames: Tensor) -> Tensor:
        """`[N, C, H, W]` of the panel's size to the model's."""
        if self._same:
            return frames
        top, left, bottom, right = _middle(self._outer, self.size)
        small = _resize(frames[..., top:bottom, left:right], self._inner, self.mode)
        native = self.model.capabilities.frame_size
        top, left, bottom, right = _middle(self._inner, native)
        return F.pad(small, (left, native[1] - right, top, native[0] - bottom))

    def _there_labels(self, labels: Tensor) -> Tensor:
        if self._same:
            return labels
        top, left, bottom, right = _middle(self._outer, self.size)
        small = _nearest(labels[None, top:bottom, left:right], self._inner)[0]
        native = self.model.capabilities.frame_size
        top, left, bottom, right = _middle(self._inner, native)
        return F.pad(small, (left, native[1] - right, top, native[0] - bottom))

    # ---- and back ------------------------------------------------------------------------

    def _back(self, items: Sequence[Item], rollouts: Rollouts) -> Rollouts:
        named = replace(rollouts, model=self.name)
        if self._same:
            return named
        rows, frames_count = rollouts.frames.shape[:2]
        frames = torch.empty(
            (rows, frames_count, rollouts.frames.shape[2], *self.size),
            dtype=rollouts.frames.dtype,
            device=rollouts.device,
        )
        for row, item in enumerate(items):  # one row at a time: floats take four times the room
            frames[row] = self._back_frames(item, rollouts.frames[row])
        labels = rollouts.labels
        if labels is not None:
            if self.unseen:
                raise ValueError("method: 'crop' has no labels of what the model does not see")
            top, left, bottom, right = _middle(self._inner, self.model.capabilities.frame_size)
            part = labels[..., top:bottom, left:right].flatten(0, 1)
            labels = _nearest(part, self._outer).reshape(rows, frames_count, *self._outer)
        return replace(named, frames=frames, labels=labels)

    def _back_frames(self, item: Item, frames: Tensor) -> Tensor:
        """`[T + 1, C, h, w]` of the model to `[T + 1, C, H, W]` of the panel."""
        native = self.model.capabilities.frame_size
        if tuple(frames.shape[-2:]) != native:
            raise ValueError(
                f"{self.model.name}: expected frames of {native[0]} x {native[1]}, "
                f"got {list(frames.shape)}"
            )
        top, left, bottom, right = _middle(self._inner, native)
        large = _resize(frames[..., top:bottom, left:right], self._outer, self.mode)
        top, left, bottom, right = _middle(self._outer, self.size)
        if item.frame is None:
            if self.unseen:
                raise ValueError("method: 'crop' needs a given frame, got an item without")
            return large
        given = item.frame.to(frames.device)
        begun = _psnr(frames[0], self._there(given[None])[0]) >= self.first_frame_psnr
        if frames.is_floating_point():
            given = given.to(frames.dtype) / 255
        shown = given.expand(len(frames), *given.shape).clone()
        first = 1 if begun else 0
        shown[first:, :, top:bottom, left:right] = large[first:]
        return shown


class ForcedFitSize(FitSize):
    """`FitSize` of a model that also predicts each frame from the true ones before it."""

    model: TeacherForced

    def __init__(
        self,
        model: TeacherForced,
        height: int,
        width: int,
        method: Method = "pad",
        *,
        mode: Literal["bicubic", "bilinear", "nearest"] = "bicubic",
        first_frame_psnr: float = math.inf,
    ) -> None:
        super().__init__(model, height, width, method, mode=mode, first_frame_psnr=first_frame_psnr)

    def predict_next(
        self, items: Sequence[Item], reference_frames: Tensor, horizon: int
    ) -> Rollouts:
        """Predict from resized true frames, and resize the predictions back."""
        small = torch.stack([self._there(frames) for frames in reference_frames])
        there = [self._item(item) for item in items]
        return self._back(items, self.model.predict_next(there, small, horizon))


def _psnr(frame: Tensor, given: Tensor) -> float:
    """Of a frame, uint8 or floating point, against a uint8 one; NaN where it is not finite."""
    levels = frame.double() * (255 if frame.is_floating_point() else 1)
    gap = (levels - given).abs()
    if bool((gap <= 0.5).all()):  # the same, whatever the precision of its numbers
        return math.inf
    return float(20 * math.log10(255) - 10 * gap.square().mean().log10())


def _scaled(size: tuple[int, int], scale: float, most: tuple[int, int]) -> tuple[int, int]:
    height, width = (min(m, max(1, round(s * scale))) for s, m in zip(size, most, strict=True))
    return height, width


def _middle(inner: tuple[int, int], outer: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box (top, left, bottom, right) of `inner` size in the middle of `outer`."""
    top, left = (outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2
    return top, left, top + inner[0], left + inner[1]


def _resize(frames: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """`[N, C, H, W]` uint8 or floating point at another size, in the same dtype.

    Bicubic interpolation overshoots at edges; the overshoot is cut off, as every image library
    does. NaN stays NaN.
    """
    if tuple(frames.shape[-2:]) == size:
        return frames
    if mode == "nearest":
        return F.interpolate(frames, size=size, mode="nearest-exact")
    floats = frames if frames.is_floating_point() else frames.float()
    found = F.interpolate(floats, size=size, mode=mode, align_corners=False, antialias=True)
    if frames.dtype == torch.uint8:
        return found.round_().clamp_(0, 255).to(torch.uint8)
    # What was out of range stays so: the scorer must see it.
    low, high = floats.amin((-2, -1), keepdim=True), floats.amax((-2, -1), keepdim=True)
    return found.clamp(low, high)


def _nearest(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """`[N, H, W]` integers at another size; every label is one that was there."""
    rows, columns = (
        ((torch.arange(n, device=labels.device) + 0.5) * (s / n)).long()
        for n, s in zip(size, labels.shape[-2:], strict=True)
    )
    return labels[:, rows][:, :, columns]
