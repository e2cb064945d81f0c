"""Gymnasium environments as true worlds, one or many side by side.

Source: Towers et al., "Gymnasium: A Standard Interface for Reinforcement Learning Environments",
arXiv:2407.17032; how its vector environments reset: `gymnasium.vector.AutoresetMode`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from wmscore.extras import require
from wmscore.manifest import ActionUnit
from wmscore.rollouts import Rollouts
from wmscore.worlds.closing import Closing
from wmscore.worlds.gym_actions import action_table
from wmscore.worlds.gym_driver import Driver, Shown
from wmscore.worlds.gym_plays import group_plays, read_play
from wmscore.worlds.gym_views import View
from wmscore.worlds.protocol import Capabilities, Item, item_keys
from wmscore.worlds.randomness import contained_randomness
from wmscore.worlds.step import stack_actions

__all__ = ["GymnasiumWorld"]


class GymnasiumWorld(Closing):
    """A gymnasium environment as a `WorldModel`.

    `Item.reset` is `{"seed": 7, "options": {...}, "warmup": ["left", ...]}`: the seed of the
    environment's reset, and optionally the reset's options and the actions that lead to the
    initial state. A row's frames are what the environment renders, or an image that it observes;
    `valid` is False after the frame in which the episode ends (terminated or truncated).

    Vector environments reset by themselves: by default with the step after the end, whose frame
    belongs to another episode and is not shown. One that resets within the last step
    (`AutoresetMode.SAME_STEP`) never shows an episode's last frame, so that its rows end one frame
    earlier. One that never does (`DISABLED`) is reset by its mask.

    Randomness: all of it is fixed by `reset["seed"]`, so `Item.seed` changes nothing and rows that
    differ in it only are played once. `Item.noise_seed` gives the environment's `np_random` a new
    seed in the initial state: what it draws from then on differs, frame 0 does not. An environment
    that draws nothing then, or from a generator of its own, plays the same.

    Example:
        >>> world = GymnasiumWorld("CartPole-v1", actions=["left", "right"])  # doctest: +SKIP
        >>> rollouts = world.rollout(items, horizon=32)  # doctest: +SKIP
    """

    def __init__(
        self,
        env: str | Callable[[], Any],
        *,
        actions: Sequence[str] | Mapping[str, Any] | None = None,
        action_units: Sequence[ActionUnit] = (),
        frames: str = "render",
        labels: str | None = None,
        frame_skip: int = 1,
        num_envs: int = 1,
        processes: bool = False,
        context: str = "spawn",
        fps: float | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        """Make one environment and look at it; those that are played come with the first rollout.

        Args:
            env: name of a registered environment, or a function that makes one, or that makes a
                `gymnasium.vector.VectorEnv` whose `reset` takes a list of seeds.
            actions: names of the actions in order, or of a vector's components; or a table of names
                with the environment's action for each. By default "0", "1", ...
            action_units: unit of each component of a vector (`wmscore.manifest.ActionUnit`).
            frames: "render", "observation", or "observation/KEY" of a dictionary: `[H, W, 3]`
                uint8.
            labels: "observation" or "observation/KEY" with integer object labels `[H, W]`, 0 =
                background.
            frame_skip: steps of the environment that one action lasts; the last one is shown.
            num_envs: environments side by side; of a vector environment its own number.
            processes: one process for each of them, instead of one after the other.
            context: how processes start, as in `multiprocessing`. With "spawn" a script needs
                `if __name__ == "__main__":`, and cloudpickle must be able to send `env`.
            fps: frames per second; by default the environment's `render_fps / frame_skip`.
            name: short name; by default "gymnasium" and the environment's.
            options: further arguments of `gymnasium.make`, if `env` is a name.

        Raises:
            ImportError: gymnasium is not installed.
            ValueError: an argument does not fit the environment.
        """
        gymnasium = require("gymnasium", "gymnasium")
        for field, value in (("frame_skip", frame_skip), ("num_envs", num_envs)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{field}: expected an integer of at least 1, got {value!r}")
        if context not in (known := multiprocessing.get_all_start_methods()):
            raise ValueError(f"context: expected one of {known}, got {context!r}")
        if not isinstance(env, str) and options:
            raise ValueError(f"{sorted(options)}: expected with the name of an environment only")
        self._frames = View("frames", frames)
        self._labels = None if labels is None else View("labels", labels)
        self._make = _Make(env, frames, options) if isinstance(env, str) else env
        self.frame_skip, self.num_envs = frame_skip, num_envs
        self._processes, self._context = processes, context
        self._vector: Any = None
        self._finalizer: Any = None
        first = self._make()
        self._whole = isinstance(first, gymnasium.vector.VectorEnv)
        if not self._whole:
            first = gymnasium.vector.SyncVectorEnv([lambda: first])
        self._keep(first)
        if self._whole and (num_envs != 1 or processes):
            raise ValueError(
                "num_envs, processes: expected with a single environment only, got a "
                f"{type(first).__name__} of {first.num_envs}"
            )
        if self._whole:
            self.num_envs = int(first.num_envs)
        self._table = action_table(first.single_action_space, actions)
        dimensions = len(self._table.names) if self._table.kind == "continuous" else 0
        if len(action_units) not in (0, dimensions):
            raise ValueError(
                f"action_units: expected {dimensions} or none for {self._table.kind} actions, "
                f"got {list(action_units)}"
            )
        self._units = tuple(action_units)
        rate = fps or float(first.metadata.get("render_fps") or 0) / frame_skip
        if not rate > 0:
            raise ValueError(
                "fps: expected frames per second, since the environment names no render_fps; "
                f"got {fps}"
            )
        self._fps = float(rate)
        with contained_randomness(0):
            observation, _ = first.reset(seed=[0] * first.num_envs)
            view = self._frames.read(first, observation)
            if self._labels is not None and (
                self._labels.read(first, observation).shape[1:] != view.shape[2:]
            ):
                raise ValueError(f"labels: expected maps {list(view.shape[2:])} as the frames")
        self._size = (int(view.shape[2]), int(view.shape[3]))
        spec = first.spec or (None if self._whole else first.envs[0].spec)
        self.name = name or f"gymnasium {type(first).__name__ if spec is None else spec.id}"
        if num_envs > 1 or processes:
            self.close()

    @property
    def capabilities(self) -> Capabilities:
        """Deterministic; `Item.noise_seed`, not `Item.seed`, changes its randomness."""
        return Capabilities(
            actions=self._table.kind,
            action_names=self._table.names,
            action_units=self._units,
            seedable=False,
            labels=self._labels is not None,
            fps=self._fps,
            frame_size=self._size,
        )

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Play every item's script, `num_envs` rows at a time.

        Raises:
            ValueError: an item's reset or actions are not the environment's, or its warm-up ends
                the episode.
        """
        actions = stack_actions(items, horizon)
        asked = [read_play(item, horizon, self._table) for item in items]
        plays = list(dict.fromkeys(asked))
        rows: list[int] = []
        parts: list[Shown] = []
        try:
            driver = Driver(self._open(), self._table, self._frames, self._labels, self.frame_skip)
            with contained_randomness(0):
                for group in group_plays(plays, driver.num_envs):
                    rows += group
                    parts.append(driver.play([plays[row] for row in group], horizon))
        except BaseException:
            self.close()  # an environment may be in the middle of a step
            raise
        row_of = {plays[row]: place for place, row in enumerate(rows)}
        source = torch.tensor([row_of[play] for play in asked])
        labels = [part.labels for part in parts if part.labels is not None]
        return Rollouts(
            frames=torch.cat([part.frames for part in parts])[source],
            labels=torch.cat(labels)[source] if labels else None,
            valid=torch.cat([part.valid for part in parts])[source],
            actions=actions,
            model=self.name,
            **item_keys(items),
        )

    def _open(self) -> Any:
        if self._vector is None:
            vector = require("gymnasium", "gymnasium").vector
            makers = [self._make] * self.num_envs
            if self._whole:
                self._keep(self._make())
            elif self._processes:
                self._keep(vector.AsyncVectorEnv(makers, context=self._context))
            else:
                self._keep(vector.SyncVectorEnv(makers))
        return self._vector

    def _keep(self, vector: Any) -> None:
        self._vector = vector
        self._finalizer = weakref.finalize(self, _close, vector)

    def close(self) -> None:
        """End all environments; the next rollout starts new ones."""
        self._vector = None
        if self._finalizer is not None:
            self._finalizer()


class _Make:
    """Makes a registered environment; a class, so that it can be sent to a process."""

    def __init__(self, name: str, frames: str, options: dict[str, Any]) -> None:
        rendered = {"render_mode": "rgb_array"} if frames == "render" else {}
        self.name, self.options = name, rendered | options

    def __call__(self) -> Any:
        return require("gymnasium", "gymnasium").make(self.name, **self.options)


def _close(vector: Any) -> None:
    """Close a vector environment, also one that waits for an answer that will not come."""
    waits = {"timeout": 1} if hasattr(vector, "processes") else {}
    with contextlib.suppress(OSError, EOFError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it was waiting
        vector.close(**waits)
