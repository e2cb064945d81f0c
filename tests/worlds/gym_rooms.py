"""A tiny gymnasium environment for tests: a dot walks over a strip and falls off its right end."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

__all__ = ["Room", "make_blind_room", "make_room", "make_vector_room"]


class Room(gymnasium.Env[Any, Any]):
    """The frame's red column is where the dot is; green is the start, blue the chance of a step.

    Actions 5 (stay), 6 (right), or a vector [way, ink]. The dot starts at `seed % 3 + start`.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 6}

    def __init__(self, vector: bool = False, last: int = 7, render_mode: str | None = None) -> None:
        self.vector, self.last, self.render_mode = vector, last, render_mode
        if vector:
            self.action_space: Any = spaces.Box(np.float32(0), np.float32(1), (2,))
        else:
            self.action_space = spaces.Discrete(2, start=5)
        image = spaces.Box(0, 255, (4, 10, 3), np.uint8)
        self.observation_space = spaces.Dict(
            {"pixels": image, "ids": spaces.Box(0, 9, (4, 10), np.uint16)}
        )
        self.chance, self.next = 0, False
        self.where = self.start = 0.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.start = (seed or 0) % 3 + (options or {}).get("start", 0)
        self.where, self.chance = self.start, 0
        self.next = seed is None  # the next episode, which nobody may see
        return self._see(), {}

    def step(self, action: Any) -> Any:
        assert self.where <= self.last, "stepped after the end"
        self.where += float(action[0]) if self.vector else int(action) - 5
        self.chance = int(self.np_random.integers(256))
        return self._see(), 0.0, self.where > self.last, False, {}

    def render(self) -> Any:
        if self.render_mode is None:
            return None
        frame = np.zeros((4, 10, 3), np.uint8)
        frame[:, min(int(self.where), 9), 0] = 255
        frame[..., 1], frame[..., 2] = 200 if self.next else int(self.start), self.chance
        return frame

    def _see(self) -> dict[str, Any]:
        mode, self.render_mode = self.render_mode, "rgb_array"
        frame, self.render_mode = self.render(), mode
        return {"pixels": frame, "ids": (frame[..., 0] > 0).astype(np.uint16) * 3}


def make_room() -> Room:
    return Room(render_mode="rgb_array")


def make_blind_room() -> Room:
    return Room()


def make_vector_room(mode: str, count: int = 2) -> Any:
    vector = gymnasium.vector
    kind = vector.AutoresetMode(mode)
    return vector.SyncVectorEnv([make_room] * count, autoreset_mode=kind)
