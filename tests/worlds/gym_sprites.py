"""The sprite world as a gymnasium environment, as somebody who does not know wmscore has one."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import torch
from gymnasium import spaces

from wmscore.testing import sprite_items
from wmscore.worlds import SpriteWorld

__all__ = ["SpriteEnv"]


class SpriteEnv(gymnasium.Env[Any, Any]):
    """Shows one scene, which the seed of the reset chooses; five discrete actions."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    render_mode = "rgb_array"

    def __init__(self, size: int) -> None:
        self.world = SpriteWorld(size, size)
        self.action_space = spaces.Discrete(5)
        self.observation_space = spaces.Box(0, 255, (1,))
        (self._item,) = sprite_items(1, 1, branches=1, world=self.world)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._item.reset["seed"] = seed or 0
        self._shown = self.world.stepper.reset([self._item]).frames[0]
        return self._nothing(), {}

    def step(self, action: Any) -> Any:
        self._shown = self.world.stepper.step(torch.tensor([int(action)])).frames[0]
        return self._nothing(), 0.0, False, False, {}

    def render(self) -> Any:
        return self._shown.permute(1, 2, 0).numpy()

    def _nothing(self) -> Any:
        return self.observation_space.low
