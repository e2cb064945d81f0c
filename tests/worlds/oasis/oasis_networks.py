"""Small networks of open-oasis' shape, written for these tests: same calls, other insides."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn

ACTION_WIDTH = 25


class SmallDiT(nn.Module):
    """Velocity of every frame of a window, from it and the frames before it (causal)."""

    def __init__(self, channels: int = 4, hidden: int = 16, max_frames: int = 4) -> None:
        super().__init__()
        self.max_frames = max_frames
        self.into = nn.Conv2d(channels, hidden, 1)
        self.level = nn.Linear(1, hidden)
        self.external_cond = nn.Linear(ACTION_WIDTH, hidden)
        self.past = nn.Linear(hidden, hidden)
        self.out = nn.Conv2d(hidden, channels, 3, padding=1)
        self.calls: list[tuple[tuple[int, ...], list[int]]] = []

    def forward(self, x: Tensor, t: Tensor, external_cond: Tensor | None = None) -> Tensor:
        batch, count = x.shape[:2]
        assert count <= self.max_frames
        assert t.shape == (batch, count)
        self.calls.append((tuple(x.shape), t[0].tolist()))
        hidden = self.into(x.flatten(0, 1)).unflatten(0, (batch, count))
        told = self.level(t[..., None].float() / 1000)
        if external_cond is not None:
            assert external_cond.shape == (batch, count, ACTION_WIDTH)
            told = told + self.external_cond(external_cond)
        hidden = hidden + told[..., None, None]
        steps = torch.arange(1, count + 1).view(1, count, 1, 1, 1)
        mean = (hidden.cumsum(1) / steps).movedim(2, -1)
        hidden = torch.tanh(hidden + self.past(mean).movedim(-1, 2))
        return self.out(hidden.flatten(0, 1)).unflatten(0, (batch, count))


class SmallVAE(nn.Module):
    """One token per patch."""

    def __init__(self, channels: int = 4, size: tuple[int, int] = (12, 16), patch: int = 4) -> None:
        super().__init__()
        self.patch_size, (self.input_height, self.input_width) = patch, size
        self.down = nn.Conv2d(3, 2 * channels, patch, stride=patch)
        self.up = nn.ConvTranspose2d(channels, 3, patch, stride=patch)

    def encode(self, x: Tensor) -> SimpleNamespace:
        mean, logvar = self.down(x).flatten(2).transpose(1, 2).chunk(2, dim=2)
        return SimpleNamespace(mean=mean, logvar=logvar)

    def decode(self, z: Tensor) -> Tensor:
        grid = (self.input_height // self.patch_size, self.input_width // self.patch_size)
        return self.up(z.transpose(1, 2).unflatten(2, grid))


def networks(seed: int = 0, **sizes: int) -> tuple[SmallDiT, SmallVAE]:
    """Both, with random weights that answer to everything they are told."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        dit, vae = SmallDiT(**sizes), SmallVAE()
        for network in (dit, vae):
            for weight in network.parameters():
                nn.init.normal_(weight, std=0.4)
    return dit, vae
