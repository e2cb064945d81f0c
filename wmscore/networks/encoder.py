"""Any torch network as a feature extractor for frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from wmscore.networks.calls import FeatureError
from wmscore.networks.network import NetworkFeatures
from wmscore.networks.preparation import Normalization

__all__ = ["ModuleEncoder"]


class ModuleEncoder(NetworkFeatures):
    """Feature maps of frames, by any torch module or callable; an `Encoder`.

    All that changes the numbers is an argument, and is recorded: nothing is resized, cropped or
    normalised unless that is stated. Frames reach the network's device as they are stored, and are
    made float, resized, put into `value_range` and normalised there, in this order. Scoring keeps
    no graph; gradients flow to frames that require one.

    Args:
        module: in evaluation mode. A plain callable takes and returns what the module would.
        name: of the network, as it shall appear in tables.
        call: the method to call: "forward", "forward_features", "encode", ...
        arguments: more keyword arguments of the call, plain values.
        output: where the tensor is in the answer: a path of keys, attributes and places, such as
            "last_hidden_state", "latent_dist.mean" or 0. None: the answer is the tensor.
        layers: names of submodules whose answers are taken instead of the call's, one map each.
            The pass ends with the last of them.
        tokens: what to take of features `[n, L, D]`: "first", the class token; or "patches", the
            others, as a map of one row.
        prefix_tokens: tokens before the patches: class token and registers. With "patches" only.
        pool: "mean" averages each map over its positions.
        channels_last: maps come as `[n, h, w, D]`, as those of Swin.
        size: pixels, or height and width, that frames are resized to; None takes them as they come.
        resize: "bicubic" or "bilinear", antialiased.
        value_range: what black and white become before the normalisation.
        normalize: "imagenet", "clip", "kinetics", "half" (to -1..1), or (mean, std), each one value
            or one per channel.
        min_size: smallest side in pixels that is let through.
        autocast: run in this type where torch holds it safe: `torch.float16` on CUDA. None: in the
            type of the weights.
        weights: says which weights these are, such as the SHA-256 of their file, where a state dict
            does not show them or is too large to hash; then the fingerprint relies on it.
        memory: bytes that a pass may need, at 128 for each byte of float32 input; None: 256 MiB, or
            half of what is free on a CUDA device. Changes no result beyond rounding.

    Raises:
        TypeError: the module is not callable, or an argument cannot be recorded.
        ValueError: an option is unknown or does not fit, the module is in training mode or shows
            no weights.

    Example:
        >>> from torch import nn
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
        >>> encoder = ModuleEncoder(network, name="tiny", layers=["1", "2"], normalize="imagenet")
        >>> maps = encoder.encode(torch.zeros(5, 3, 16, 16, dtype=torch.uint8))
        >>> encoder.name, [tuple(layer.shape) for layer in maps]
        ('tiny[1,2]', [(5, 8, 14, 14), (5, 4, 12, 12)])
    """

    def __init__(
        self,
        module: Callable[..., Any],
        *,
        name: str,
        call: str = "forward",
        arguments: Mapping[str, Any] | None = None,
        output: str | int | None = None,
        layers: Sequence[str] | None = None,
        tokens: Literal["patches", "first"] | None = None,
        prefix_tokens: int | None = None,
        pool: Literal["mean"] | None = None,
        channels_last: bool = False,
        size: int | tuple[int, int] | None = None,
        resize: Literal["bicubic", "bilinear"] = "bicubic",
        value_range: tuple[float, float] = (0.0, 1.0),
        normalize: Normalization = None,
        min_size: int = 1,
        autocast: torch.dtype | None = None,
        weights: str | None = None,
        memory: int | None = None,
    ) -> None:
        if pool not in (None, "mean"):
            raise ValueError(f"pool must be 'mean' or None, got {pool!r}")
        self.pool = pool
        super().__init__(
            module,
            name=name,
            call=call,
            arguments=arguments,
            output=output,
            layers=layers,
            tokens=tokens,
            prefix_tokens=prefix_tokens,
            channels_last=channels_last,
            size=size,
            resize=resize,
            value_range=value_range,
            normalize=normalize,
            min_size=min_size,
            autocast=autocast,
            weights=weights,
            memory=memory,
        )

    @property
    def name(self) -> str:
        """The network, and what changes its features: layers, output, tokens, input size."""
        return super().name + ("" if self.pool is None else f":{self.pool}")

    def describe(self) -> dict[str, Any]:
        """Everything that was stated and changes the features, as plain values for a record."""
        return {**super().describe(), "pool": self.pool}

    def chunk_frames(self, frames: Tensor) -> int:
        """How many frames `[..., C, H, W]` to encode at a time, by the memory that is free."""
        return self._frames_at_a_time(frames)

    def encode(self, frames: Tensor) -> list[Tensor]:
        """Features of frames `[n, C, H, W]`: one map `[n, D, h, w]` for each layer.

        Embeddings of the whole frame become `[n, D, 1, 1]`, patch tokens `[n, D, 1, L]`. They are
        on the network's device and of the type that it gives.

        Raises:
            TypeError: frames are no frames, or the answer holds no real floating tensor.
            ValueError: the size or the channels do not fit, or the answer is not what was stated.
        """
        if not isinstance(frames, Tensor) or frames.dim() != 4:
            shape = tuple(frames.shape) if isinstance(frames, Tensor) else type(frames).__name__
            raise ValueError(f"frames must have shape [n, C, H, W], got {shape}")
        return [self._map(features) for features in self._run(frames, lambda given: given)]

    def _map(self, features: Tensor) -> Tensor:
        if features.dim() == 2:
            return features[:, :, None, None]
        if features.dim() == 3:
            features = features.unsqueeze(2)
        if features.dim() != 4:
            raise FeatureError(
                f"encoder {self.name}: expected features [n, D], [n, L, D] or [n, D, h, w], "
                f"got {list(features.shape)}"
            )
        return features if self.pool is None else features.mean((2, 3), keepdim=True)
