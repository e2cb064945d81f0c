"""The convolutional trunks of LPIPS: layers as in torchvision, and where they are tapped."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["TRUNKS", "Trunk", "activations", "random_state", "skeleton", "state_shapes", "trunk_of"]


# A convolution's kernel, stride, padding and channels; a pooling; a fire module.
Conv = tuple[Literal["conv"], int, int, int, int]
Pool = tuple[Literal["pool"], int, bool]
Fire = tuple[Literal["fire"], int, int]


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """One network of torchvision, cut after its last tap.

    Attributes:
        url: of its weights, as torchvision downloads them.
        layers: its `features`; a rectifier follows each convolution.
        taps: places in `features` whose outputs are compared, as in lpips 0.1.4.
        channels: of those outputs.
        min_size: the fewest pixels that leave one position at the last tap.
    """

    url: str
    layers: tuple[Conv | Pool | Fire, ...]
    taps: tuple[int, ...]
    channels: tuple[int, ...]
    min_size: int


def _vgg_stage(channels: int, count: int) -> tuple[Conv | Pool, ...]:
    conv: Conv = ("conv", 3, 1, 1, channels)
    pool: Pool = ("pool", 2, False)
    return (*(conv,) * count, pool)


TRUNKS: Mapping[str, Trunk] = MappingProxyType(
    {
        "alex": Trunk(
            url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            layers=(
                ("conv", 11, 4, 2, 64),
                ("pool", 3, False),
                ("conv", 5, 1, 2, 192),
                ("pool", 3, False),
                ("conv", 3, 1, 1, 384),
                ("conv", 3, 1, 1, 256),
                ("conv", 3, 1, 1, 256),
            ),
            taps=(1, 4, 7, 9, 11),
            channels=(64, 192, 384, 256, 256),
            min_size=31,
        ),
        "vgg": Trunk(
            url="https://download.pytorch.org/models/vgg16-397923af.pth",
            layers=(
                *_vgg_stage(64, 2),
                *_vgg_stage(128, 2),
                *_vgg_stage(256, 3),
                *_vgg_stage(512, 3),
                *_vgg_stage(512, 3)[:-1],
            ),
            taps=(3, 8, 15, 22, 29),
            channels=(64, 128, 256, 512, 512),
            min_size=16,
        ),
        "squeeze": Trunk(
            url="https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
            layers=(
                ("conv", 3, 2, 0, 64),
                ("pool", 3, True),
                ("fire", 16, 64),
                ("fire", 16, 64),
                ("pool", 3, True),
                ("fire", 32, 128),
                ("fire", 32, 128),
                ("pool", 3, True),
                ("fire", 48, 192),
                ("fire", 48, 192),
                ("fire", 64, 256),
                ("fire", 64, 256),
            ),
            taps=(1, 4, 7, 9, 10, 11, 12),
            channels=(64, 128, 256, 384, 384, 512, 512),
            min_size=17,
        ),
    }
)


def trunk_of(net: str) -> Trunk:
    """The trunk of a name.

    Raises:
        ValueError: no trunk has that name.
    """
    if net not in TRUNKS:
        raise ValueError(f"net must be one of {', '.join(map(repr, TRUNKS))}, got {net!r}")
    return TRUNKS[net]


class _Fire(nn.Module):
    """Squeeze to few channels, expand by 1 x 1 and 3 x 3 (Iandola et al. 2016, figure 2)."""

    def __init__(self, before: int, squeezed: int, each: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(before, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, each, 1)
        self.expand3x3 = nn.Conv2d(squeezed, each, 3, padding=1)

    def forward(self, value: Tensor) -> Tensor:
        value = self.squeeze(value).relu_()
        return torch.cat([self.expand1x1(value), self.expand3x3(value)], 1).relu_()


def skeleton(net: str) -> nn.Sequential:
    """The layers up to the last tap, on the meta device: no memory, no time to initialise.

    Places and names are those of torchvision's `features`.

    Raises:
        ValueError: no trunk has that name.
    """
    layers: list[nn.Module] = []
    before = 3
    with torch.device("meta"):
        for kind, *sizes in trunk_of(net).layers:
            if kind == "conv":
                kernel, stride, padding, channels = sizes
                layers += [nn.Conv2d(before, channels, kernel, stride, padding), nn.ReLU(True)]
                before = channels
            elif kind == "pool":
                layers.append(nn.MaxPool2d(sizes[0], 2, ceil_mode=bool(sizes[1])))
            else:
                layers.append(_Fire(before, *sizes))
                before = 2 * sizes[1]
    return nn.Sequential(*layers).eval().requires_grad_(False)


@functools.cache
def state_shapes(net: str) -> Mapping[str, torch.Size]:
    """Name and shape of each weight, named as in torchvision's own files."""
    state = skeleton(net).state_dict(prefix="features.")
    return MappingProxyType({name: value.shape for name, value in state.items()})


def random_state(net: str, seed: int) -> dict[str, Tensor]:
    """Weights drawn as He et al. 2015 (arXiv:1502.01852), with small biases."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator)
        * ((2 / shape[1:].numel()) ** 0.5 if len(shape) > 1 else 0.05)
        for name, shape in state_shapes(net).items()
    }


@functools.cache
def activations(net: str, height: int, width: int) -> tuple[int, int]:
    """Values that one frame takes: in all tapped maps, and around the layer that needs most."""
    taps = trunk_of(net).taps
    tapped = largest = 0
    before = 3 * height * width
    for place, shape in enumerate(_shapes(net, height, width)):
        tapped += shape.numel() if place in taps else 0
        # Its input, its output, and as much again for parts that are joined or a workspace.
        largest = max(largest, before + 2 * shape.numel())
        before = shape.numel()
    return tapped, largest


def _shapes(net: str, height: int, width: int) -> Iterator[torch.Size]:
    value = torch.empty(1, 3, height, width, device="meta")
    for layer in skeleton(net):
        value = layer(value)
        yield value.shape
