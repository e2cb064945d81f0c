"""A world behind a codec: what the compression of clips alone costs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from wmscore.rollouts import Rollouts
from wmscore.video import CodecFacts, ahead, reencode
from wmscore.worlds.protocol import Capabilities, Item, WorldModel

__all__ = ["Reencoded"]


class Reencoded:
    """The rollouts of `world`, encoded at a clip's bits per pixel and decoded again.

    Scored like a model, it says what the codec alone costs, and so what a perfect model could reach
    whose clips are stored so. The given frame stays as it is.

    Args:
        world: whose frames.
        codec: how the clips are stored, as `RecordedWorld.codec` has it.
        name: `<world>-reencoded` by default.

    Example:
        >>> floor = Reencoded(world, RecordedWorld(ClipFolder("clips")).codec)  # doctest: +SKIP
    """

    def __init__(
        self, world: WorldModel, codec: CodecFacts | dict[str, Any], *, name: str | None = None
    ) -> None:
        """Put `world` behind a codec."""
        self.world = world
        self.facts = codec if isinstance(codec, CodecFacts) else CodecFacts.from_dict(codec)
        self.name = name or f"{world.name}-reencoded"

    @property
    def capabilities(self) -> Capabilities:
        """The world's; encoders look ahead, so that first frames depend on the horizon."""
        return replace(self.world.capabilities, prefix_causal=False)

    @property
    def codec(self) -> dict[str, Any]:
        """How the frames were stored on the way."""
        return self.facts.as_dict()

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Roll out, then encode and decode row by row, several at once."""
        rollouts = self.world.rollout(items, horizon)
        if rollouts.frames.dtype != torch.uint8:
            raise TypeError(
                f"{self.world.name}: expected uint8 frames, got {rollouts.frames.dtype}"
            )

        def coded(row: int) -> torch.Tensor:
            frames = rollouts.frames[row]
            found = reencode(frames.cpu(), self.facts, fps=self.world.capabilities.fps).frames
            return torch.cat([frames[:1], found[1:].to(frames.device)])

        workers = min(os.cpu_count() or 1, len(items))
        rows = list(ahead(coded, range(len(rollouts)), workers=workers))
        return replace(rollouts, frames=torch.stack(rows), model=self.name)
