"""Video networks as feature extractors for clips, and for windows of rollouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from wmscore.networks.calls import FeatureError
from wmscore.networks.network import NetworkFeatures
from wmscore.networks.preparation import Normalization

__all__ = ["ClipEncoder", "ClipFeatures"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipFeatures:
    """Features of windows of rollouts.

    Attributes:
        start: `[W]` int64, the first frame of each window.
        length: frames in a window.
        features: `[B, W, D]`.
    """

    start: Tensor
    length: int
    features: Tensor


class ClipEncoder(NetworkFeatures):
    """One vector per clip, by any video network: r3d_18, I3D, V-JEPA.

    The answer is averaged over time and positions: maps `[n, D, t, h, w]`, tokens `[n, L, D]`.
    Frames are prepared as `ModuleEncoder` does, each by itself.

    Args:
        module: in evaluation mode, or a plain callable.
        name: of the network, as it shall appear in tables.
        axes: what it takes: "cthw", clips `[n, C, T, H, W]`; or "tchw", `[n, T, C, H, W]`.
        layer: name of a submodule whose answer is taken instead of the call's.
        call: see `ModuleEncoder`, as for all that follow.
        arguments: more keyword arguments of the call.
        output: where the tensor is in the answer.
        tokens: "first" or "patches", of features `[n, L, D]`.
        prefix_tokens: tokens before the patches.
        size: pixels, or height and width, that frames are resized to.
        resize: "bicubic" or "bilinear".
        value_range: what black and white become.
        normalize: a name, or (mean, std).
        min_size: smallest side that is let through.
        autocast: the type to run in.
        weights: says which weights these are.
        memory: bytes that a pass may need.

    Raises:
        TypeError: the module is not callable, or an argument cannot be recorded.
        ValueError: an option is unknown or does not fit, the module is in training mode or shows
            no weights.

    Example:
        >>> from torch import nn
        >>> network = nn.Conv3d(3, 6, 3).eval()
        >>> encoder = ClipEncoder(network, name="tiny", axes="cthw")
        >>> encoder.encode_clips(torch.zeros(2, 8, 3, 16, 16, dtype=torch.uint8)).shape
        torch.Size([2, 6])
        >>> found = encoder.windows(torch.zeros(2, 20, 3, 16, 16), length=8, stride=4)
        >>> found.start, found.features.shape
        (tensor([ 0,  4,  8, 12]), torch.Size([2, 4, 6]))
    """

    def __init__(
        self,
        module: Callable[..., Any],
        *,
        name: str,
        axes: Literal["cthw", "tchw"],
        layer: str | None = None,
        call: str = "forward",
        arguments: Mapping[str, Any] | None = None,
        output: str | int | None = None,
        tokens: Literal["patches", "first"] | None = None,
        prefix_tokens: int | None = None,
        size: int | tuple[int, int] | None = None,
        resize: Literal["bicubic", "bilinear"] = "bicubic",
        value_range: tuple[float, float] = (0.0, 1.0),
        normalize: Normalization = None,
        min_size: int = 1,
        autocast: torch.dtype | None = None,
        weights: str | None = None,
        memory: int | None = None,
    ) -> None:
        if axes not in ("cthw", "tchw"):
            raise ValueError(f"axes must be 'cthw' or 'tchw', got {axes!r}")
        self.axes = axes
        super().__init__(
            module,
            name=name,
            call=call,
            arguments=arguments,
            output=output,
            layers=None if layer is None else [layer],
            tokens=tokens,
            prefix_tokens=prefix_tokens,
            size=size,
            resize=resize,
            value_range=value_range,
            normalize=normalize,
            min_size=min_size,
            autocast=autocast,
            weights=weights,
            memory=memory,
        )

    def describe(self) -> dict[str, Any]:
        """Everything that was stated and changes the features, as plain values for a record."""
        return {**super().describe(), "axes": self.axes}

    def chunk_clips(self, frames: Tensor) -> int:
        """How many clips `[..., T, C, H, W]` to encode at a time, by the memory that is free."""
        return max(1, self._frames_at_a_time(frames) // max(1, frames.shape[-4]))

    def encode_clips(self, frames: Tensor) -> Tensor:
        """One vector `[n, D]` for each clip `[n, T, C, H, W]`, on the network's device.

        Raises:
            TypeError: frames are no frames, or the answer holds no real floating tensor.
            ValueError: the size, the channels or the number of frames do not fit, or the answer is
                not what was stated.
        """
        _check_clips("frames", frames)
        length = frames.shape[1]

        def arrange(given: Tensor) -> Tensor:
            clips = given.reshape(-1, length, *given.shape[1:])
            return clips.transpose(1, 2) if self.axes == "cthw" else clips

        (features,) = self._run(frames.flatten(0, 1), arrange)
        if features.dim() > 5:
            raise FeatureError(
                f"encoder {self.name}: expected features [n, D], [n, L, D] or [n, D, t, h, w], "
                f"got {list(features.shape)}"
            )
        return features if features.dim() == 2 else features.flatten(2).mean(2)

    def windows(
        self, frames: Tensor, *, length: int, stride: int, chunk: int | None = None
    ) -> ClipFeatures:
        """Features of all windows of `length` frames that fit, one every `stride` frames.

        Frames are gathered a few windows at a time, as they are stored. Which windows hold frames
        that do not exist is for the caller to say: `valid.unfold(1, length, stride).all(-1)`.

        Args:
            frames: rollouts `[B, T, C, H, W]`, uint8 or floating in [0, 1].
            length: frames in a window.
            stride: frames from the start of one window to that of the next.
            chunk: windows that are encoded at a time; by default as many as memory allows.

        Raises:
            TypeError: not frames.
            ValueError: length or stride is below 1, or no window fits.
        """
        _check_clips("frames", frames)
        rows, steps = frames.shape[:2]
        if length < 1 or stride < 1:
            raise ValueError(f"length and stride must be at least 1, got {length} and {stride}")
        if length > steps:
            raise ValueError(f"frames: {steps} are too few for a window of {length}")
        count = (steps - length) // stride + 1
        if chunk is not None and (isinstance(chunk, bool) or chunk < 1):
            raise ValueError(f"chunk must be at least 1 or None, got {chunk}")
        size = chunk or self.chunk_clips(frames[:, :length])
        start = torch.arange(count, device=frames.device) * stride
        within = torch.arange(length, device=frames.device)
        pieces = []
        for low in range(0, rows * count, size):
            window = torch.arange(low, min(low + size, rows * count), device=frames.device)
            row = window.div(count, rounding_mode="floor")
            step = start[window % count]
            pieces.append(self.encode_clips(frames[row[:, None], step[:, None] + within]))
        features = torch.cat(pieces) if pieces else frames.new_empty(0, 0, dtype=torch.float32)
        return ClipFeatures(
            start=start, length=length, features=features.reshape(rows, count, features.shape[-1])
        )


def _check_clips(name: str, frames: Tensor) -> None:
    if not isinstance(frames, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(frames).__name__}")
    if frames.dim() != 5 or frames.shape[1] == 0:
        raise ValueError(
            f"{name} must have shape [n, T, C, H, W] with at least one frame, "
            f"got {tuple(frames.shape)}"
        )
