"""Small networks of the shapes that real ones have, with seeded weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


def seeded(network: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 4)
    return network.eval()


class ConvNet(nn.Module):
    """Two layers, the first of them followed by a ReLU that overwrites it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(8, 6, 3)
        self.head = nn.Linear(6, 5)
        self.calls: list[str] = []

    def forward(self, frames: Tensor) -> Tensor:
        maps = self.second(self.relu(self.first(frames)))
        self.calls.append("head")
        return self.head(self.relu(maps).mean((2, 3)))


class Vit(nn.Module):
    """A class token, `registers` registers, then patches of 8 x 8; takes 16 x 24 pixels only."""

    def __init__(self, registers: int = 0) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 8, stride=8)
        self.extra = nn.Parameter(torch.zeros(1, 1 + registers, 12))
        self.position = nn.Parameter(torch.zeros(1, 6, 12))
        self.block = nn.TransformerEncoderLayer(12, 2, 24, batch_first=True)
        self.registers = registers

    def tokens(self, frames: Tensor) -> Tensor:
        patches = self.patch(frames).flatten(2).mT + self.position
        return self.block(torch.cat([self.extra.expand(len(frames), -1, -1), patches], 1))

    def forward_features(self, frames: Tensor) -> dict[str, Tensor | None]:
        tokens = self.tokens(frames)
        return {
            "x_norm_clstoken": tokens[:, 0],
            "x_norm_patchtokens": tokens[:, 1 + self.registers :],
            "masks": None,
        }

    def forward(self, frames: Tensor) -> ModelOutput:
        tokens = self.tokens(frames)
        return ModelOutput(tokens, tokens[:, 0], (tokens, tokens * 2))


@dataclass
class ModelOutput:
    last_hidden_state: Tensor
    pooler_output: Tensor
    hidden_states: tuple[Tensor, ...]


@dataclass
class Distribution:
    mean: Tensor
    logvar: Tensor


@dataclass
class EncoderOutput:
    latent_dist: Distribution


class Vae(nn.Module):
    """As in diffusers: `encode` gives a distribution inside an output."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 8, 4, stride=4)

    def encode(self, frames: Tensor) -> EncoderOutput:
        return EncoderOutput(Distribution(*self.encoder(frames).chunk(2, 1)))


class VideoNet(nn.Module):
    """Takes `[n, C, T, H, W]` and gives maps `[n, D, t, h, w]`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, 6, 3)
        self.head = nn.Linear(6, 4)

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(self.stem(clips).relu().mean((2, 3, 4)))
