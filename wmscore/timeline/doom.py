"""VizDoom's buttons, and the 18 actions of GameNGen's reproduction."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from wmscore.timeline.loss import Conversion, Loss
from wmscore.timeline.picking import pick
from wmscore.timeline.spaces import vector_space
from wmscore.timeline.tables import Table
from wmscore.timeline.timeline import Timeline

__all__ = [
    "DOOM_TABLE",
    "GAMENGEN_ACTIONS",
    "GAMENGEN_BUTTONS",
    "ToGameNGen",
    "ToVizDoomButtons",
    "read_gamengen",
    "read_vizdoom_buttons",
]

# Actions of `VizDoomWorld` -> the engine's buttons.
DOOM_TABLE: Mapping[str, Mapping[str, float]] = {
    "noop": {},
    "left": {"TURN_LEFT": 1},
    "right": {"TURN_RIGHT": 1},
    "forward": {"MOVE_FORWARD": 1},
    "back": {"MOVE_BACKWARD": 1},
    "strafe_left": {"MOVE_LEFT": 1},
    "strafe_right": {"MOVE_RIGHT": 1},
    "attack": {"ATTACK": 1},
    "use": {"USE": 1},
}

# Buttons that take an amount per tic; yaw and pitch of a panel are two of them, with these signs.
_AMOUNTS: dict[str, str] = {
    "TURN_LEFT_RIGHT_DELTA": "degree",
    "LOOK_UP_DOWN_DELTA": "degree",
    "MOVE_FORWARD_BACKWARD_DELTA": "number",
    "MOVE_LEFT_RIGHT_DELTA": "number",
    "MOVE_UP_DOWN_DELTA": "number",
}
_TURNS = {"TURN_LEFT_RIGHT_DELTA": "yaw", "LOOK_UP_DOWN_DELTA": "pitch"}

# Source: arnaudstiegler/gameNgen-repro, ViZDoomPPO/common/utils.py and deathmatch_simple.cfg,
# 2024-12: all sets of held buttons in counting order, the first button the highest digit, without
# opposite ones, without attack beside another, and without the empty one.
GAMENGEN_BUTTONS = (
    "ATTACK",
    "MOVE_FORWARD",
    "MOVE_LEFT",
    "MOVE_RIGHT",
    "TURN_RIGHT",
    "TURN_LEFT",
)
_OPPOSITES = (("MOVE_LEFT", "MOVE_RIGHT"), ("TURN_RIGHT", "TURN_LEFT"))


def _gamengen_actions() -> Iterator[tuple[str, ...]]:
    for digits in itertools.product((False, True), repeat=len(GAMENGEN_BUTTONS)):
        held = tuple(itertools.compress(GAMENGEN_BUTTONS, digits))
        opposite = any(a in held and b in held for a, b in _OPPOSITES)
        if held and not opposite and ("ATTACK" not in held or len(held) == 1):
            yield held


GAMENGEN_ACTIONS: tuple[tuple[str, ...], ...] = tuple(_gamengen_actions())


class ToVizDoomButtons:
    """A timeline as what `DoomGame.make_action` takes, a number per available button.

    Args:
        available: the game's buttons in its order.
        table: action -> buttons, for discrete actions; `DOOM_TABLE` by default. For vector actions
            the components are the buttons' names, and yaw and pitch in degrees, which become
            `TURN_LEFT_RIGHT_DELTA` and `LOOK_UP_DOWN_DELTA` (both with the panel's signs).

    The value is `[T, B]` or `[B, T, B]` float32. Buttons that the game does not have are dropped
    and stated. Amounts are per step: a game that repeats an action for several tics turns as often.
    """

    def __init__(self, available: Sequence[str], *, table: Table | None = None) -> None:
        self.available = tuple(available)
        if not self.available or len(set(self.available)) < len(self.available):
            raise ValueError(
                f"available: expected each once and at least one, got {list(available)}"
            )
        self.table = table

    def __call__(self, timeline: Timeline, /) -> Conversion[Tensor]:
        """Encode."""
        table = self.table
        line = timeline
        if timeline.discrete:
            table = DOOM_TABLE if table is None else table
        else:
            names = {turn: button for button, turn in _TURNS.items() if button in self.available}
            line = timeline.renamed({n: b for n, b in names.items() if n in timeline.names})
        wanted = {button: _AMOUNTS.get(button, "button") for button in self.available}
        return pick(line, wanted, table=table, who="VizDoom", open_table=True)


def read_vizdoom_buttons(
    rows: Tensor, available: Sequence[str], *, fps: float
) -> Conversion[Timeline]:
    """Rows of pressed buttons `[T, B]` as a timeline whose components are the buttons.

    Delta buttons for turns become yaw and pitch in degrees. Nothing is lost.

    Raises:
        ValueError: another width, or a pressed button other than 0 or 1.
    """
    if rows.ndim != 2 or rows.shape[1] != len(available):
        raise ValueError(f"rows: expected [T, {len(available)}], got {list(rows.shape)}")
    names = tuple(_TURNS.get(button, button) for button in available)
    space = vector_space(names, [_AMOUNTS.get(button, "button") for button in available])
    return Conversion(Timeline(rows.float(), space, fps))


class ToGameNGen:
    """A timeline as the action ids 0..17 of GameNGen's reproduction.

    Its table has no action for doing nothing and none for attack while moving or turning: `rest`
    stands for the first, attack alone for the second; opposite buttons cancel out. All are stated.

    Args:
        table: action -> buttons of `GAMENGEN_BUTTONS`, for discrete actions; `DOOM_TABLE` by
            default. For vector actions the components are those buttons.
        rest: id for a step in which nothing is held.

    The value is `[T]` or `[B, T]` int64.
    """

    def __init__(self, *, table: Table | None = None, rest: int | None = None) -> None:
        if rest is not None and not 0 <= rest < len(GAMENGEN_ACTIONS):
            raise ValueError(f"rest: expected 0..{len(GAMENGEN_ACTIONS) - 1}, got {rest}")
        self.table, self.rest = table, rest

    def __call__(self, timeline: Timeline, /) -> Conversion[Tensor]:
        """Look every set of buttons up.

        Raises:
            ValueError: nothing is held at a step, and there is no `rest`.
        """
        table = self.table
        if timeline.discrete and table is None:
            table = DOOM_TABLE
        wanted = dict.fromkeys(GAMENGEN_BUTTONS, "button")
        found = pick(timeline, wanted, table=table, who="GameNGen", open_table=True)
        held = {name: found.value[..., i] > 0 for i, name in enumerate(GAMENGEN_BUTTONS)}
        losses = []
        for a, b in _OPPOSITES:
            both = held[a] & held[b]
            held[a], held[b] = held[a] & ~both, held[b] & ~both
            if bool(both.any()):
                text = "they cancel each other out"
                losses.append(Loss("dropped", f"{a}, {b}", int(both.sum()), text=text))
        for name in GAMENGEN_BUTTONS[1:]:
            beside = held[name] & held["ATTACK"]
            held[name] = held[name] & ~beside
            if bool(beside.any()):
                text = "the table has attack alone only"
                losses.append(Loss("dropped", name, int(beside.sum()), text=text))
        code = sum(held[name].long() << i for i, name in enumerate(GAMENGEN_BUTTONS))
        ids = torch.full((2 ** len(GAMENGEN_BUTTONS),), -1, device=found.value.device)
        for i, action in enumerate(GAMENGEN_ACTIONS):
            ids[sum(1 << GAMENGEN_BUTTONS.index(name) for name in action)] = i
        value = ids[code]
        if steps := int((value < 0).sum()):
            if self.rest is None:
                raise ValueError(
                    f"rest: expected the id of an action for the {steps} steps in which nothing "
                    "is held, which the table does not have; got None"
                )
            text = f"became {'+'.join(GAMENGEN_ACTIONS[self.rest])}: no action does nothing"
            losses.append(Loss("approximate", "rest", steps, text=text))
            value = torch.where(value < 0, self.rest, value)
        return Conversion(timeline, found.losses).then(Conversion(value, tuple(losses)))


def read_gamengen(ids: Tensor, *, fps: float) -> Conversion[Timeline]:
    """Action ids 0..17 as a timeline of the six buttons; nothing is lost.

    Raises:
        ValueError: an id outside 0..17, or another dtype.
    """
    if ids.is_floating_point() or ids.ndim != 1:
        raise ValueError(f"ids: expected integer [T], got {ids.dtype} {list(ids.shape)}")
    most = len(GAMENGEN_ACTIONS) - 1
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) <= most:
        raise ValueError(f"ids: expected 0..{most}, got {int(ids.min())}..{int(ids.max())}")
    rows = torch.tensor(
        [[float(b in action) for b in GAMENGEN_BUTTONS] for action in GAMENGEN_ACTIONS]
    )
    return read_vizdoom_buttons(rows.to(ids.device)[ids.long()], GAMENGEN_BUTTONS, fps=fps)
