"""What a disturbance is: frames that look otherwise while every object stays what it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.testing.faults.base import row_random
from wmscore.worlds.protocol import Capabilities, Item, WorldModel
from wmscore.worlds.sprite_art import draw

__all__ = ["Disturbance", "Disturbed"]

_CHUNK = 1 << 19  # values that are changed at a time


@dataclass(frozen=True)
class Disturbance(ABC):
    """One change of all frames but the given one."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name with the strength, which becomes part of the model's."""

    @abstractmethod
    def change(self, pixels: Tensor, key: Tensor) -> Tensor:
        """Change frames.

        Args:
            pixels: `[F, C, H, W]` float32 in 0..255.
            key: `[F]` int64 in 0 .. 2^32 - 1, of the frame's draws.

        Returns:
            Like `pixels`; values outside 0..255 are clipped.
        """

    def change_labels(self, labels: Tensor, key: Tensor) -> Tensor:
        """Change `labels` `[F, H, W]` as the frames are; only what moves pixels does."""
        return labels


class Disturbed:
    """A world model whose frames are disturbed, in the given order.

    Frame 0 is given and stays as it is. `uint8` frames are rounded after each disturbance, as
    frames that are stored are. Draws depend on scenario, seed, step and the disturbance's place
    in the order, so that a row is the same in every batch and the branches of a counterfactual
    group are disturbed alike. `info`, `valid`, actions and latents stay as they are.

    Example:
        >>> from wmscore.testing import Faulty, Vanish
        >>> from wmscore.testing.disturbances import Disturbed, Gain, Jitter
        >>> from wmscore.worlds import SpriteWorld
        >>> Disturbed(Faulty(SpriteWorld(), Vanish()), Gain(0.85), Jitter(1)).name
        'vanish+gain-0.85+jitter-1'
    """

    def __init__(self, model: WorldModel, *disturbances: Disturbance) -> None:
        """Disturb `model`.

        Raises:
            ValueError: no disturbance is given.
        """
        if not disturbances:
            raise ValueError("disturbances: expected at least one, got none")
        self.model = model
        self.disturbances = disturbances

    @property
    def name(self) -> str:
        """The model's name and those of the disturbances."""
        return "+".join([self.model.name, *(d.name for d in self.disturbances)])

    @property
    def capabilities(self) -> Capabilities:
        """The model's."""
        return self.model.capabilities

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Roll out the model and disturb every frame but the first."""
        clean = self.model.rollout(items, horizon)
        row = torch.tensor([row_random(item).getrandbits(32) for item in items])
        key = draw(row[:, None], torch.arange(1, horizon + 1)).to(clean.device)
        frames, labels = [clean.frames[:0]], clean.labels
        rows = max(1, _CHUNK // clean.frames[0, 1:].numel())
        for some, draws in zip(
            torch.split(clean.frames, rows), torch.split(key, rows), strict=True
        ):
            frames.append(torch.cat([some[:, :1], self._frames(some[:, 1:], draws)], 1))
        if labels is not None:
            labels = torch.cat([labels[:, :1], self._labels(labels[:, 1:], key)], 1)
        return replace(clean, frames=torch.cat(frames), labels=labels, model=self.name)

    def _frames(self, frames: Tensor, key: Tensor) -> Tensor:
        whole = frames.dtype == torch.uint8
        pixels = frames.flatten(0, 1).float() * (1.0 if whole else 255.0)
        for place, disturbance in enumerate(self.disturbances):
            pixels = disturbance.change(pixels, draw(key.flatten(), place)).clamp(0, 255)
            if whole:
                pixels = pixels.round()
        pixels = pixels if whole else pixels / 255.0
        return pixels.to(frames.dtype).view(frames.shape)

    def _labels(self, labels: Tensor, key: Tensor) -> Tensor:
        moved = labels.flatten(0, 1)
        for place, disturbance in enumerate(self.disturbances):
            moved = disturbance.change_labels(moved, draw(key.flatten(), place))
        return moved.view(labels.shape)
