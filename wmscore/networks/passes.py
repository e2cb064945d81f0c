"""One pass of a trunk: frames as they are stored to the maps at its taps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wmscore.networks.precision import no_autocast, no_tf32
from wmscore.networks.trunks import skeleton, trunk_of

__all__ = ["Pass"]

# Of frames in -1..1 (Zhang et al. 2018; as in lpips).
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pass:
    """A network in one dtype, ready to run.

    Frames become `factor * frame + offset`, about -1..1, so that zero padding stays zero of the
    normalised frames; the rest of the scaling is in the first layer's weights.
    """

    trunk: Callable[[Tensor], list[Tensor]]
    heads: Sequence[Tensor | None]
    offset: Tensor
    dtype: torch.dtype

    @classmethod
    def of(
        cls,
        net: str,
        weights: Mapping[str, Tensor],
        heads: Sequence[Tensor] | None,
        *,
        scaled: bool,
        dtype: torch.dtype,
        compile: bool,
    ) -> Pass:
        """From weights as they are in files.

        Args:
            net: name of the trunk.
            weights: of the trunk, float32, all on one device.
            heads: one weight for each channel of each tap, or None for the plain sum.
            scaled: whether frames are scaled as version 0.1 does.
            dtype: of the pass; heads are float32, or float64 with it.
            compile: the trunk, by torch.compile.
        """
        state = {name.removeprefix("features."): value for name, value in weights.items()}
        shift, scale = (
            torch.tensor(values, dtype=torch.float64, device=state["0.weight"].device).view(3, 1, 1)
            for values in ((_SHIFT, _SCALE) if scaled else ((0.0,) * 3, (1.0,) * 3))
        )
        # Of uint8 v: (2 v / 255 - 1 - shift) / scale = (v - mean) / 128 * (256 / 255 / scale).
        mean = 127.5 * (1 + shift)
        state["0.weight"] = state["0.weight"].double() * (256 / 255 / scale)
        layers = skeleton(net)
        layers.load_state_dict(
            {name: _laid_out(value.to(dtype)) for name, value in state.items()}, assign=True
        )
        trunk: Any = _Tapped(layers.requires_grad_(False), trunk_of(net).taps)
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        return cls(
            trunk=torch.compile(trunk) if compile else trunk,
            heads=[None] * len(trunk.taps) if heads is None else [w.to(wide) for w in heads],
            offset=(-mean / 128).to(wide),
            dtype=dtype,
        )

    def __call__(self, frames: Tensor) -> list[Tensor]:
        """Maps at the taps, of frames `[n, 3, H, W]`."""
        # An autocast around the call (mixed-precision training) would round behind the name's back.
        with no_autocast(frames.device), no_tf32(frames.device, self.dtype):
            return self.trunk(self._prepared(frames))

    def _prepared(self, frames: Tensor) -> Tensor:
        """In one pass: widened, shifted, scaled, rounded once, and written channels-last."""
        factor = 1 / 128 if frames.dtype == torch.uint8 else 255 / 128
        if torch.is_grad_enabled() and frames.requires_grad:
            value = torch.add(self.offset, frames, alpha=factor).to(self.dtype)
            return value.contiguous(memory_format=torch.channels_last)
        buffer = torch.empty(
            frames.shape,
            dtype=self.dtype,
            device=frames.device,
            memory_format=torch.channels_last,
        )
        return torch.add(self.offset, frames, alpha=factor, out=buffer)


class _Tapped(nn.Module):
    """Layers in a row, some of whose outputs are returned."""

    def __init__(self, layers: nn.Sequential, taps: Sequence[int]) -> None:
        super().__init__()
        self.layers = layers
        self.taps = frozenset(taps)

    def forward(self, value: Tensor) -> list[Tensor]:
        maps = []
        for place, layer in enumerate(self.layers):
            value = layer(value)
            if place in self.taps:
                maps.append(value)
        return maps


def _laid_out(weight: Tensor) -> Tensor:
    last = weight.dim() == 4
    return weight.contiguous(memory_format=torch.channels_last) if last else weight
