"""A model of a higher frame rate behind a panel of a lower one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from wmscore.rollouts import Rollouts
from wmscore.timeline import Resample
from wmscore.worlds.given import check_rate, item_timeline
from wmscore.worlds.protocol import Capabilities, Item, WorldModel, item_keys
from wmscore.worlds.step import stack_actions

__all__ = ["AtFrameRate"]


class AtFrameRate:
    """Runs a model several frames per action of the panel, and shows those at the panel's times.

    What is held (discrete actions, buttons) is held over all of them; increments (degrees, metres,
    pixels) are shared out, so that the way is the same. The frames between are not shown, so there
    are no one-step predictions: nobody knows the true frames between.

    Example:
        >>> from wmscore.testing import sprite_items
        >>> from wmscore.worlds import SpriteWorld
        >>> slow = AtFrameRate(SpriteWorld(), 5.0)
        >>> slow.name, slow.capabilities.fps, slow.frames_per_action
        ('sprites (10 fps shown at 5)', 5.0, 2)
        >>> slow.rollout(sprite_items(1, 4), 4).frames.shape
        torch.Size([2, 5, 3, 64, 64])
    """

    def __init__(self, model: WorldModel, fps: float) -> None:
        """Show `model` at the lower rate `fps`.

        Raises:
            ValueError: the model's rate is no whole multiple of `fps`.
        """
        own = model.capabilities.fps
        frames = round(own / fps) if fps > 0 else 0
        if frames < 1 or abs(own - frames * fps) > 1e-6 * own:
            raise ValueError(
                f"fps: expected a rate of which {own:g}, that of model {model.name!r}, is a whole "
                f"multiple, got {fps:g}"
            )
        self.model, self.fps, self.frames_per_action = model, fps, frames

    @property
    def name(self) -> str:
        """The model's, with both rates."""
        return f"{self.model.name} ({self.model.capabilities.fps:g} fps shown at {self.fps:g})"

    @property
    def capabilities(self) -> Capabilities:
        """The model's, at the panel's rate."""
        able = self.model.capabilities
        calls = able.frames_per_call
        if calls is not None:
            calls = max(1, calls // self.frames_per_action)
        return replace(able, fps=self.fps, frames_per_call=calls)

    @property
    def conversion_losses(self) -> tuple[str, ...]:
        """The model's: a whole multiple of the frame rate loses nothing."""
        return tuple(getattr(self.model, "conversion_losses", ()))

    @property
    def codec(self) -> Any:
        """The model's: how lossy the video is that its frames come from, or None."""
        return getattr(self.model, "codec", None)

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Roll the model out `frames_per_action` times as long, and keep every so-manieth frame.

        Raises:
            ValueError: an item is at another rate than `fps`.
        """
        commanded = stack_actions(items, horizon)
        told = [self._told(item, horizon) for item in items]
        long = self.model.rollout(told, horizon * self.frames_per_action)
        every = torch.arange(horizon + 1, device=long.device) * self.frames_per_action
        return replace(
            long,
            frames=long.frames[:, every],
            valid=long.valid[:, every],
            labels=None if long.labels is None else long.labels[:, every],
            latents=None if long.latents is None else long.latents[:, every],
            actions=commanded.to(long.device),
            model=self.name,
            **item_keys(items),
        )

    def _told(self, item: Item, horizon: int) -> Item:
        check_rate(item, self.fps, f"model {self.name!r}")
        line = item_timeline(item, self.fps, horizon)
        told = Resample(line.fps * self.frames_per_action)(line).value
        rate = self.model.capabilities.fps
        return replace(item, actions=told.actions, fps=None if item.fps is None else rate)
