"""Drive a gymnasium vector environment along some scripts, past its own ways of resetting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wmscore.worlds.gym_actions import ActionTable
from wmscore.worlds.gym_plays import Play
from wmscore.worlds.gym_views import View

__all__ = ["Driver", "Shown"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """What rows have shown: frames `[N, T+1, 3, H, W]`, labels or None, valid `[N, T+1]`."""

    frames: Tensor
    labels: Tensor | None
    valid: Tensor


class Driver:
    """Plays up to `num_envs` rows side by side in one vector environment."""

    def __init__(
        self, vector: Any, table: ActionTable, frames: View, labels: View | None, frame_skip: int
    ) -> None:
        """Take an open vector environment."""
        self.vector, self.table, self.frame_skip = vector, table, frame_skip
        self.views = [frames] if labels is None else [frames, labels]
        mode = vector.metadata.get("autoreset_mode")  # gymnasium 1.0 has no other than NextStep
        self.mode = "NextStep" if mode is None else str(mode.value)
        self.num_envs = int(vector.num_envs)

    def play(self, plays: Sequence[Play], horizon: int) -> Shown:
        """Play rows with equal options and equally long warm-ups.

        Raises:
            ValueError: a warm-up ends the episode.
        """
        count, lead = len(plays), len(plays[0].warmup)
        padded = [*plays, *[plays[0]] * (self.num_envs - count)]  # spare environments play along
        self._seeds = [play.seed for play in padded]
        self._shown: list[Tensor] = []
        self._valid = torch.zeros((self.num_envs, horizon + 1), dtype=torch.bool)
        self._alive = np.ones(self.num_envs, dtype=bool)
        self._over = np.zeros(self.num_envs, dtype=bool)
        observation, _ = self.vector.reset(seed=self._seeds, options=plays[0].options)
        for t in range(lead):
            observation = self._step([play.warmup[t] for play in padded], None)
            if not self._alive[:count].all():
                row = int(np.flatnonzero(~self._alive[:count])[0])
                raise ValueError(
                    f"reset.warmup: expected to lead to an initial state, but ends the episode of "
                    f"{plays[row].scenario!r}"
                )
        self._redraw(padded)
        self._show(0, observation, self._alive)
        for t in range(horizon):
            self._step([play.script[t] for play in padded], t + 1)
        last = self._valid.sum(1) - 1
        for values in self._shown:
            for place, end in enumerate(last.tolist()):  # padding: the last frame
                values[place, end + 1 :] = values[place, end]
        frames, *labels = (values[:count] for values in self._shown)
        valid = self._valid[:count]
        return Shown(frames=frames, labels=labels[0] if labels else None, valid=valid)

    def _step(self, actions: Sequence[Any], t: int | None) -> Any:
        """Play one action of every row and show frame `t` of those that live until then.

        Returns:
            What the environments observe.
        """
        batch = self.table.batch(actions)
        shown = self._alive.copy()
        observation: Any = None
        for part in range(self.frame_skip):
            if self.mode == "Disabled" and self._over.any():
                # Ended ones refuse to be stepped; what they show from here on is not looked at.
                self.vector.reset(seed=self._seeds, options={"reset_mask": self._over})
            observation, _, terminated, truncated, _ = self.vector.step(batch)
            self._over = np.asarray(terminated) | np.asarray(truncated)
            ended = self._over & self._alive
            self._alive = self._alive & ~ended
            if self.mode == "SameStep":
                shown &= ~ended  # it shows the next episode already
            elif ended.any() and part < self.frame_skip - 1:
                if t is not None:
                    self._show(t, observation, ended & shown)
                shown &= ~ended
        if t is not None:
            self._show(t, observation, shown)
        return observation

    def _show(self, t: int, observation: Any, rows: np.ndarray) -> None:
        """Keep what some rows show as their frame `t`."""
        if not rows.any():
            return
        for place, view in enumerate(self.views):
            images = view.read(self.vector, observation)
            if place == len(self._shown):
                shape = (self.num_envs, self._valid.shape[1], *images.shape[1:])
                self._shown.append(images.new_zeros(shape))
            kept = self._shown[place]
            if images.shape[1:] != kept.shape[2:]:
                raise ValueError(
                    f"{view.field}: expected {list(kept.shape[2:])} as at first, "
                    f"got {list(images.shape[1:])}"
                )
            index = torch.from_numpy(np.flatnonzero(rows))
            kept[index, t] = images[index]
            self._valid[index, t] = True

    def _redraw(self, plays: Sequence[Play]) -> None:
        """Give rows that ask for it another state of their environment's generator."""
        if all(play.noise_seed is None for play in plays):
            return
        now = self.vector.get_attr("np_random")
        values = [
            kept if play.noise_seed is None else np.random.default_rng(play.noise_seed % 2**64)
            for kept, play in zip(now, plays, strict=True)
        ]
        self.vector.set_attr("np_random", values)
