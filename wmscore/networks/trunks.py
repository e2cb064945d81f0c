"""The convolutional trunks of LPIPS: torchvision's feature layers, and where they are tapped."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

__all__ = ["TRUNKS", "Trunk", "activations", "random_state", "skeleton", "state_shapes", "trunk_of"]


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """One network of torchvision, cut after its last tap.

    Attributes:
        builder: its name in `torchvision.models`.
        weights: the enum of its weights there.
        taps: places in `features` whose outputs are compared, as in lpips 0.1.4.
        channels: of those outputs.
        min_size: the fewest pixels that leave one position at the last tap.
    """

    builder: str
    weights: str
    taps: tuple[int, ...]
    channels: tuple[int, ...]
    min_size: int


TRUNKS: Mapping[str, Trunk] = MappingProxyType(
    {
        "alex": Trunk(
            builder="alexnet",
            weights="AlexNet_Weights",
            taps=(1, 4, 7, 9, 11),
            channels=(64, 192, 384, 256, 256),
            min_size=31,
        ),
        "vgg": Trunk(
            builder="vgg16",
            weights="VGG16_Weights",
            taps=(3, 8, 15, 22, 29),
            channels=(64, 128, 256, 512, 512),
            min_size=16,
        ),
        "squeeze": Trunk(
            builder="squeezenet1_1",
            weights="SqueezeNet1_1_Weights",
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


def skeleton(net: str) -> nn.Sequential:
    """The layers up to the last tap, on the meta device: no memory, no time to initialise.

    Raises:
        ImportError: torchvision is not installed.
        ValueError: no trunk has that name.
    """
    trunk = trunk_of(net)
    from torchvision import models

    with torch.device("meta"):
        features: nn.Sequential = getattr(models, trunk.builder)(weights=None).features
    return features[: trunk.taps[-1] + 1].eval().requires_grad_(False)


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
