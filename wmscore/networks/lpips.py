"""The networks of LPIPS: frames to the feature maps that its heads compare."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from wmscore.files import sha256_tensor
from wmscore.networks.passes import Pass
from wmscore.networks.trunks import activations, random_state, trunk_of
from wmscore.networks.weights import (
    VERSIONS,
    find_heads,
    find_trunk,
    read_heads,
    read_trunk,
)

__all__ = ["LpipsNetwork"]

Net = Literal["alex", "vgg", "squeeze"]
Precision = Literal["auto", "float16", "float32", "float64"]

_DTYPES = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}
# On a CPU a pass is quickest where its maps stay in the cache: about this many pixels.
_CPU_PIXELS = 1 << 18
# On a device more than this many bytes of maps are no quicker.
_DEVICE_BYTES = 4 << 30


class LpipsNetwork(nn.Module):
    """Trunk and linear heads of LPIPS; an `Encoder` for `wmscore.functional.lpips`.

    Its values are those of lpips 0.1.4 for the same weights. What differs is how they are computed:
    frames go straight into a channels-last buffer, the scaling of their channels is part of the
    first layer's weights, and each frame is encoded once however often it is compared.

    The weights are no parameters: no optimizer, state dict or parallel wrapper gets to see them.
    They move with `to(device)` and keep their precision, whatever dtype a surrounding model gets.

    Attributes:
        net: "alex", "vgg" or "squeeze".
        version: of heads and input scaling, "0.1" or "0.0".
        linear: whether the heads weigh the channels.
        overflows: frames so far that float16 could not hold and that were computed in float32.

    Example:
        >>> network = LpipsNetwork.random("alex", seed=0)
        >>> [tuple(m.shape) for m in network.encode(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))]
        ... # doctest: +NORMALIZE_WHITESPACE
        [(2, 64, 15, 15), (2, 192, 7, 7), (2, 384, 3, 3), (2, 256, 3, 3), (2, 256, 3, 3)]
    """

    def __init__(
        self,
        net: Net,
        trunk: Mapping[str, Tensor],
        heads: Sequence[Tensor] | None,
        *,
        version: str = "0.1",
        precision: Precision = "auto",
        device: str | torch.device = "cpu",
        compile: bool = False,
        trunk_name: str | None = None,
    ) -> None:
        """Of weights that are in memory; `load` and `random` make them.

        Args:
            net: "alex", "vgg" or "squeeze".
            trunk: weights named as in torchvision's files.
            heads: one weight for each channel of each tap, or None for `linear=False`.
            version: "0.1", or "0.0" without input scaling.
            precision: as in `load`.
            device: as in `load`.
            compile: as in `load`.
            trunk_name: of a trunk that is not torchvision's, part of the name.
        """
        super().__init__()
        trunk_of(net)
        if version not in VERSIONS:
            raise ValueError(f"version must be '0.1' or '0.0', got {version!r}")
        if precision not in ("auto", *_DTYPES):
            choices = ", ".join(map(repr, ("auto", *_DTYPES)))
            raise ValueError(f"precision must be one of {choices}, got {precision!r}")
        self.net: Net = net
        self.version = version
        self.linear = heads is not None
        self.overflows = 0
        self._precision = precision
        self._compile = compile
        self._trunk_name = trunk_name
        # Float32 as in the files: all that is computed with is derived from these.
        self._trunk = {name: _own(value, device) for name, value in trunk.items()}
        self._heads = None if heads is None else [_own(w, device) for w in heads]
        self._passes: dict[torch.dtype, Pass] = {}
        self._sums: dict[str, str] = {}
        self.eval()

    @classmethod
    def load(
        cls,
        net: Net = "alex",
        *,
        version: str = "0.1",
        linear: bool = True,
        trunk: str | Path | None = None,
        heads: str | Path | None = None,
        precision: Precision = "auto",
        device: str | torch.device = "cpu",
        compile: bool = False,
    ) -> Self:
        """Read the weights from this machine; nothing is downloaded.

        Args:
            net: "alex" (the metric's default in papers), "vgg" or "squeeze".
            version: "0.1"; "0.0" is the first release, whose frames were not scaled to the
                statistics that the trunk was trained with.
            linear: weigh channels by the heads; False sums them (`lpips=False` of lpips).
            trunk: file of the trunk, `.safetensors` or torchvision's `.pth`; None looks where
                torchvision keeps what it downloads.
            heads: file of the heads; None takes those of the package lpips.
            precision: of the trunk. "auto" is float16 on CUDA and float32 elsewhere; "float32"
                means that on CUDA too, not TF32. Distances are accumulated in float32 or better.
            device: where the weights go.
            compile: use torch.compile for the trunk: seconds at first, then a little quicker.

        Raises:
            WeightsNotFoundError: a file is not there; the message says where to get and put it.
            ValueError: a file has other names or shapes or is damaged, or an option is unknown.
        """
        head_file = find_heads(net, version, heads) if linear else None
        return cls(
            net,
            read_trunk(net, find_trunk(net, trunk)),
            None if head_file is None else read_heads(net, head_file),
            version=version,
            precision=precision,
            device=device,
            compile=compile,
        )

    @classmethod
    def random(
        cls,
        net: Net = "alex",
        seed: int = 0,
        *,
        version: str = "0.1",
        linear: bool = True,
        heads: str | Path | None = None,
        precision: Precision = "auto",
        device: str | torch.device = "cpu",
        compile: bool = False,
    ) -> Self:
        """With a trunk drawn at random, for tests and benchmarks: no LPIPS, as its name says.

        Args:
            net: as in `load`.
            seed: of the draw.
            version: as in `load`.
            linear: as in `load`.
            heads: as in `load`.
            precision: as in `load`.
            device: as in `load`.
            compile: as in `load`.
        """
        return cls(
            net,
            random_state(net, seed),
            read_heads(net, find_heads(net, version, heads)) if linear else None,
            version=version,
            precision=precision,
            device=device,
            compile=compile,
            trunk_name=f"random-trunk{seed}",
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(iter(self._trunk.values())).device

    @property
    def precision(self) -> str:
        """Of the trunk: float16, float32 or float64."""
        if self._precision == "auto":
            return "float16" if self.device.type == "cuda" else "float32"
        return self._precision

    @property
    def name(self) -> str:
        """What the values are, with all that changes them: `lpips_alex-v0.1-float32`."""
        parts = [f"lpips_{self.net}", f"v{self.version}"]
        parts += [] if self.linear else ["unweighted"]
        parts += [self._trunk_name] if self._trunk_name else []
        return "-".join([*parts, self.precision])

    @property
    def min_size(self) -> int:
        """The fewest pixels that a side of a frame may have; LPIPS was fitted to 64."""
        return trunk_of(self.net).min_size

    @property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of the weights of the trunk and of the heads, whatever file they came from."""
        if not self._sums:
            self._sums = {"trunk": _sha256(self._trunk)}
            if self._heads is not None:
                heads = {str(layer): weight for layer, weight in enumerate(self._heads)}
                self._sums["heads"] = _sha256(heads)
        return dict(self._sums)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ where name or weights do."""
        text = "\n".join([self.name, *self.checksums.values()])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def heads(self) -> Sequence[Tensor | None]:
        """The weight of each channel, one tensor for each map; None for the plain sum."""
        return self._pass.heads

    @property
    def wide(self) -> LpipsNetwork | None:
        """The same weights in float32 if this network computes in float16, else None."""
        if self.precision != "float16":
            return None
        other = LpipsNetwork(
            self.net,
            self._trunk,
            self._heads,
            version=self.version,
            precision="float32",
            device=self.device,
            compile=self._compile,
            trunk_name=self._trunk_name,
        )
        other._passes = self._passes  # shared: prepared once
        return other

    def encode(self, frames: Tensor) -> list[Tensor]:
        """Feature maps of frames.

        Args:
            frames: `[n, 3, H, W]` RGB on the network's device, uint8 0..255 or floating 0..1.
                Another range (say -1..1, which lpips expects unless told otherwise) is not
                noticed and gives other values.

        Returns:
            One map `[n, D, h, w]` for each tap, channels last in memory.

        Raises:
            ValueError: not three channels, fewer pixels than the last tap needs, or another device.
            TypeError: not uint8 or floating point.
        """
        self._check(frames)
        return self._pass(frames)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """As `encode`."""
        return self.encode(frames)

    def chunk_frames(self, frames: Tensor) -> int:
        """How many frames `[..., 3, H, W]` to encode at a time.

        On a CPU as many as a cache holds, on CUDA as half of the free memory holds.
        """
        height, width = frames.shape[-2:]
        if frames.device.type != "cuda":
            return max(1, _CPU_PIXELS // (height * width))
        self._check(frames)
        tapped, largest = activations(self.net, height, width)
        # Two sets of maps, those of generated and of reference frames, and one pass.
        need = (2 * tapped + largest) * _DTYPES[self.precision].itemsize
        return max(1, min(_free_bytes(frames.device) // 2, _DEVICE_BYTES) // need)

    def extra_repr(self) -> str:
        """The name."""
        return self.name

    @property
    def _pass(self) -> Pass:
        dtype = _DTYPES[self.precision]
        if dtype not in self._passes:
            with torch.inference_mode(False):  # else no gradient could ever pass these weights
                self._passes[dtype] = Pass.of(
                    self.net,
                    self._trunk,
                    self._heads,
                    scaled=self.version != "0.0",
                    dtype=dtype,
                    compile=self._compile,
                )
        return self._passes[dtype]

    def _check(self, frames: Tensor) -> None:
        if frames.dim() < 3 or frames.shape[-3] != 3:
            raise ValueError(
                f"LPIPS needs RGB frames [..., 3, H, W], got {tuple(frames.shape)}; "
                "grey frames can be repeated, frames.expand(..., 3, H, W), which is another measure"
            )
        side = self.min_size
        if min(frames.shape[-2:]) < side:
            raise ValueError(
                f"LPIPS {self.net} needs frames of at least {side} x {side} pixels, "
                f"got {frames.shape[-2]} x {frames.shape[-1]}"
            )
        if frames.dtype != torch.uint8 and not frames.is_floating_point():
            raise TypeError(f"frames must be uint8 or floating point, got {frames.dtype}")
        if frames.device != self.device:
            raise ValueError(
                f"frames are on {frames.device}, but the network is on {self.device}; "
                "move it there: network.to(frames.device)"
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow to another device, but never to another precision."""
        device = fn(torch.empty(0, device=self.device)).device
        if device != self.device:
            self._trunk = {name: _own(value, device) for name, value in self._trunk.items()}
            self._heads = None if self._heads is None else [_own(w, device) for w in self._heads]
            self._passes = {}
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_passes": {}}


def _own(value: Tensor, device: str | torch.device) -> Tensor:
    """A constant on a device that autograd may use, even if made under `torch.inference_mode`."""
    with torch.inference_mode(False):
        value = value.detach().to(device)
        return value.clone() if value.is_inference() else value


def _free_bytes(device: torch.device) -> int:
    """What the device has, and what torch's allocator holds without using it."""
    free, _ = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + held


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    lines = (f"{name} {sha256_tensor(tensors[name])}\n" for name in sorted(tensors))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
