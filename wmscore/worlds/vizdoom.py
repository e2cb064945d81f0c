"""VizDoom as a true world: a real first-person game with moving objects and exact labels.

Source: Kempka et al., "ViZDoom: A Doom-based AI Research Platform for Visual Reinforcement
Learning", arXiv:1605.02097.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch

from wmscore.rollouts import Rollouts
from wmscore.worlds.closing import Closing
from wmscore.worlds.doom_game import ACTIONS, SCENARIOS, DoomGame, screen_resolution
from wmscore.worlds.doom_savegame import redraw_randomness
from wmscore.worlds.item_scripts import check_names, script_names
from wmscore.worlds.protocol import Capabilities, Item, item_keys
from wmscore.worlds.step import stack_actions

__all__ = ["VizDoomWorld"]

_TICS_PER_SECOND = 35
_MOST_WORKERS = 4


@dataclass(frozen=True)
class _Play:
    """All that a row's pixels depend on. Rows that agree in it are played once."""

    scenario: str
    seed: int
    warmup: tuple[str, ...]
    script: tuple[str, ...]
    noise_seed: int | None


class VizDoomWorld(Closing):
    """VizDoom's bundled scenarios as a `WorldModel`, with object labels.

    `Item.reset` is `{"scenario": "health_gathering", "seed": 7, "warmup": ["left", ...]}`:
    the scenario's name, the episode's seed, and optional actions that lead to the initial state.
    Action names are those in `capabilities.action_names`, in every scenario. Labels are int16
    `[B, T+1, H, W]`: monsters, their bodies, and things to pick up, by numbers that all branches
    of a scenario share; 0 = background, the player's own weapon, missiles and effects.

    Randomness: the game's own is fixed by `reset["seed"]`, so `Item.seed` changes nothing and
    rows that differ in it only are played once. `Item.noise_seed` plays on from a savegame of
    the initial state in which the state of every random generator is drawn anew: frame 0 and all
    that is not random stay bitwise the same, chance decides differently from the first tic on.
    A scenario without chance (my_way_home) shows the same frames under every `noise_seed`.

    A game shows one world at a time and is left in it, so rows cannot be stepped together: each
    is played to its end, `workers` of them side by side in as many processes. Games stay open
    for the next call; `close`, the end of a `with` block, or garbage collection ends them.

    `scaled` gives the same world with another action gain.

    Example:
        >>> with VizDoomWorld() as world:  # doctest: +SKIP
        ...     rollouts = world.rollout(items, horizon=32)
    """

    name = "vizdoom"

    def __init__(
        self, height: int = 120, width: int = 160, frame_skip: int = 4, workers: int | None = None
    ) -> None:
        """Set the view and the pace; games start when they are needed.

        Args:
            height: of the frame; only sizes that VizDoom draws itself, nothing is resized.
            width: of the frame.
            frame_skip: tics (1/35 s) that one action lasts.
            workers: games played side by side; by default one per processor, at most 4.

        Raises:
            ImportError: vizdoom is not installed.
            ValueError: VizDoom has no such frame size, or a number is below 1.
        """
        if workers is None:
            workers = min(_MOST_WORKERS, os.cpu_count() or 1)
        for field, value in (("frame_skip", frame_skip), ("workers", workers)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{field}: expected an integer of at least 1, got {value!r}")
        screen_resolution(height, width)
        self.size, self.frame_skip, self.workers = (height, width), frame_skip, workers
        self._gain: float | None = None  # None plays with buttons, a number with analogue axes
        self._idle: dict[tuple[str, bool], list[DoomGame]] = {}
        self._lock = threading.Lock()

    @property
    def capabilities(self) -> Capabilities:
        """Deterministic, labelled; `Item.noise_seed`, not `Item.seed`, changes its randomness."""
        return Capabilities(
            actions="discrete",
            action_names=ACTIONS,
            seedable=False,
            labels=True,
            fps=_TICS_PER_SECOND / self.frame_skip,
            frame_size=self.size,
        )

    def scaled(self, gain: float) -> VizDoomWorld:
        """The same world in which every action turns or pushes `gain` times as far.

        Scripts are played with the engine's analogue axes, which at a gain of 1 give the same
        frames, bit for bit, as the buttons do. Turns and strafing are scaled exactly for gains in
        quarters, forward and back to 1/25; attack, and the warm-up of a reset, stay as they are.
        How far a push takes the player also depends on momentum and walls.

        Args:
            gain: 0..2, more is more than the engine lets a player do.

        Returns:
            A world that shares its games with this one: closing either closes both.

        Raises:
            ValueError: the gain, times that of this world, is out of range.
        """
        if isinstance(gain, bool) or not isinstance(gain, int | float) or not math.isfinite(gain):
            raise ValueError(f"gain: expected a number in 0..2, got {gain!r}")
        total = gain if self._gain is None else gain * self._gain
        if not 0 <= total <= 2:
            raise ValueError(f"gain: expected a number in 0..2, got {total!r}")
        world = copy.copy(self)
        world._gain = total
        return world

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Play every item's script; `valid` is False from where an episode has ended.

        Raises:
            ValueError: an item's reset or actions are not VizDoom's, or its warm-up ends the
                episode.
        """
        actions = stack_actions(items, horizon)
        asked = [_read(item, horizon) for item in items]
        plays = list(dict.fromkeys(asked))
        shape = (len(plays), horizon + 1)
        frames = torch.empty((*shape, 3, *self.size), dtype=torch.uint8)
        labels = torch.empty((*shape, *self.size), dtype=torch.int16)
        valid = torch.ones(shape, dtype=torch.bool)

        def run(share: list[int]) -> None:
            with self._borrow(plays[share[0]].scenario) as game:
                for row in share:
                    play, rewrite = plays[row], None
                    if play.noise_seed is not None:
                        rewrite = partial(redraw_randomness, noise_seed=play.noise_seed)
                    length = game.play(
                        play.seed,
                        play.warmup,
                        play.script,
                        frames=frames[row].numpy(),
                        labels=labels[row].numpy(),
                        rewrite=rewrite,
                        gain=1.0 if self._gain is None else self._gain,
                    )
                    valid[row, length:] = False

        # VizDoom lets go of the interpreter while it waits for its process.
        with ThreadPoolExecutor(self.workers) as pool:
            list(pool.map(run, self._shares(plays)))
        if len(plays) < len(items):
            row_of = {play: row for row, play in enumerate(plays)}
            source = torch.tensor([row_of[play] for play in asked])
            frames, labels, valid = frames[source], labels[source], valid[source]
        return Rollouts(
            frames=frames,
            labels=labels,
            valid=valid,
            actions=actions,
            model=self.name,
            **item_keys(items),
        )

    def _shares(self, plays: Sequence[_Play]) -> list[list[int]]:
        """Rows that one game plays: as few games as keep all workers busy, for starting is slow."""
        rows: dict[str, list[int]] = {}
        for row, play in enumerate(plays):
            rows.setdefault(play.scenario, []).append(row)
        parts = -(-self.workers // len(rows))
        return [mine[i::parts] for mine in rows.values() for i in range(min(parts, len(mine)))]

    @contextlib.contextmanager
    def _borrow(self, scenario: str) -> Iterator[DoomGame]:
        """A game for one thread; it is kept for later unless something went wrong in it."""
        analogue = self._gain is not None
        with self._lock:
            idle = self._idle.setdefault((scenario, analogue), [])
            game = idle.pop() if idle else None
        if game is None:
            game = DoomGame(scenario, *self.size, self.frame_skip, analogue=analogue)
        try:
            yield game
        except BaseException:
            game.close()
            raise
        with self._lock:
            self._idle.setdefault((scenario, analogue), []).append(game)

    def close(self) -> None:
        """End all games; the next rollout starts new ones."""
        with self._lock:
            games = [game for idle in self._idle.values() for game in idle]
            self._idle.clear()  # the same one in worlds with other gains
        for game in games:
            game.close()


def _read(item: Item, horizon: int) -> _Play:
    """What to play for an item; errors name the field."""
    reset = item.reset
    unknown = sorted(reset.keys() - {"scenario", "seed", "warmup"})
    if unknown:
        raise ValueError(f"reset: expected the keys scenario, seed and warmup, got {unknown}")
    scenario, seed, warmup = reset.get("scenario"), reset.get("seed"), reset.get("warmup", [])
    if scenario not in SCENARIOS:
        raise ValueError(f"reset.scenario: expected one of {list(SCENARIOS)}, got {scenario!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"reset.seed: expected an integer in 0..2^32-1, got {seed!r}")
    if not isinstance(warmup, list | tuple):
        raise ValueError(f"reset.warmup: expected a list of action names, got {warmup!r}")
    check_names("reset.warmup", warmup, ACTIONS)
    script = script_names(item, horizon, ACTIONS)
    return _Play(
        scenario=scenario,
        seed=seed,
        warmup=tuple(warmup),
        script=tuple(script),
        noise_seed=item.noise_seed,
    )
