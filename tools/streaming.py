"""Stream rollouts of many models beside the truth, which is played once, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from wmscore.rollouts import Rollouts
from wmscore.testing.faults.gain import Scalable
from wmscore.worlds import Item, SpriteWorld, WorldModel, item_keys
from wmscore.worlds.doom_game import ACTIONS
from wmscore.worlds.protocol import Capabilities
from wmscore.worlds.step import stack_actions
from wmscore.worlds.vizdoom import VizDoomWorld

__all__ = [
    "Factory",
    "Setting",
    "doom",
    "make_item",
    "sprites",
    "stream",
]

Factory = Callable[[WorldModel], WorldModel]


@dataclass(frozen=True)
class Setting:
    """A world to draw scenarios in.

    Attributes:
        make: the world.
        names: the actions, no-op first.
        moves: what scripts are drawn from.
        there_and_back: pairs of actions that undo each other.
        reset: what `Item.reset` holds beside the seed.
    """

    make: Callable[[], WorldModel]
    names: tuple[str, ...]
    moves: tuple[str, ...]
    there_and_back: tuple[tuple[str, str], ...]
    reset: Mapping[str, object]


def sprites(size: int, pan: float | None = None) -> Setting:
    """`SpriteWorld` with a square view, whose camera moves `pan` pixels per action."""
    moves = ("left", "right", "up", "down")
    pairs = (("left", "right"), ("right", "left"), ("up", "down"), ("down", "up"))
    names = ("noop", *moves)
    return Setting(lambda: SpriteWorld(size, size, pan=pan), names, names, pairs, {})


def doom(
    scenario: str,
    moves: tuple[str, ...],
    size: tuple[int, int] = (120, 160),
    warmup: int = 2,  # in the first tics of an episode the player cannot move yet
    names: tuple[str, ...] = ACTIONS,
) -> Setting:
    """A scenario of ViZDoom."""
    pairs = (("left", "right"), ("right", "left"))
    reset = {"scenario": scenario, "warmup": ("noop",) * warmup}
    return Setting(lambda: VizDoomWorld(*size), names, ("noop", *moves), pairs, reset)


def make_item(
    setting: Setting, panel: str, scenario: int, branch: int, script: Sequence[str]
) -> Item:
    """One row, without frame 0; a scenario's number is its initial state."""
    return Item(
        panel=panel,
        scenario=scenario,
        scenario_id=f"scenario-{scenario}",
        initial_state_id=f"scenario-{scenario}",
        reset={**setting.reset, "seed": scenario},
        seed=0,
        branch=branch,
        actions=torch.tensor([setting.names.index(name) for name in script]),
        action_names=setting.names,
        noop=0,
    )


def stream(
    batches: Iterator[Sequence[Item]],
    models: Mapping[str, Factory],
    world: WorldModel,
    horizon: int,
) -> Iterator[tuple[Rollouts, Iterator[tuple[str, Rollouts]]]]:
    """Roll out every model on every batch of items, one model at a time.

    Args:
        batches: items without frame 0.
        models: name -> makes a model of the true world, which may ask it again; what asks for a
            row of the truth, in any order, is answered without playing it again.
        world: the true world.
        horizon: steps.

    Yields:
        The true rollouts of a batch, and an iterator over the models by name, with the truth as
        their reference. No more than the truth and one model's rollouts are kept.
    """
    played = _Played(world)
    made = {name: make(played) for name, make in models.items()}
    for items in batches:
        truth = played.remember(items, horizon)
        given = [
            replace(
                item,
                frame=truth.frames[row, 0],
                labels=None if truth.labels is None else truth.labels[row, 0],
            )
            for row, item in enumerate(items)
        ]
        yield truth, _answers(made, given, horizon, truth)


def _answers(
    models: Mapping[str, WorldModel], items: Sequence[Item], horizon: int, truth: Rollouts
) -> Iterator[tuple[str, Rollouts]]:
    for name, model in models.items():
        yield name, model.rollout(items, horizon).with_reference(truth)


class _Played:
    """A world that remembers one batch, and plays only what is not in it, each script once."""

    def __init__(self, world: WorldModel) -> None:
        self.world = world
        self.name = world.name
        self._rows: dict[tuple[object, ...], int] = {}
        self._truth: Rollouts | None = None

    @property
    def capabilities(self) -> Capabilities:
        return self.world.capabilities

    def scaled(self, gain: float) -> WorldModel:
        """The world with another gain, if it has one."""
        if not isinstance(self.world, Scalable):
            raise ValueError(f"world: {self.name!r} has no other gain")
        return self.world.scaled(gain)

    def remember(self, items: Sequence[Item], horizon: int) -> Rollouts:
        self._rows, self._truth = {}, None
        truth = self.rollout(items, horizon)
        for row, item in enumerate(items):
            self._rows.setdefault(self._question(item, horizon), row)
        self._truth = truth
        return replace(truth)

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        asked = [self._question(item, horizon) for item in items]
        new = list(dict.fromkeys(key for key in asked if key not in self._rows))
        row_of = dict(self._rows)
        row_of |= {key: len(self._truth or ()) + i for i, key in enumerate(new)}
        parts = [] if self._truth is None else [self._truth]
        if new:
            first = {key: item for key, item in reversed(list(zip(asked, items, strict=True)))}
            parts.append(self.world.rollout([first[key] for key in new], horizon))
        rows = [row_of[key] for key in asked]
        if len(parts) == 2 and min(rows) >= len(parts[0]):  # nothing of the truth is asked for
            rows = [row - len(parts[0]) for row in rows]
            del parts[0]
        known = parts[0] if len(parts) == 1 else Rollouts.concat(parts)
        if rows != list(range(len(known))):
            known = known[rows]
        # Nobody may write to what the next one is given: dataclass and tensors are shared.
        return replace(known, actions=stack_actions(items, horizon), **item_keys(items))

    @staticmethod
    def _question(item: Item, horizon: int) -> tuple[object, ...]:
        """All that the pixels of a simulator depend on; branches that do the same are one."""
        names = [item.action_names[i] for i in item.actions[:horizon].tolist()]
        return (str(item.reset), item.seed, item.noise_seed, *names)
