"""The actions of one chunk, out of a panel's scripts: model rate, padding, conversion, losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wmscore.timeline import Conversion, Converter, Loss, Timeline, gather_losses
from wmscore.worlds.protocol import Item

__all__ = ["ChunkActions", "item_timeline"]

_INCREMENTS = ("degree", "radian", "metre", "pixel")


class ChunkActions:
    """Cuts scripts into the actions of chunks, and keeps what their conversion lost."""

    def __init__(
        self,
        *,
        kind: str,
        names: tuple[str, ...],
        converter: Converter[Any] | None,
        frames_per_action: int,
        fps: float,
        who: str,
    ) -> None:
        """Take actions of a kind through `converter`, for a model at `fps * frames_per_action`."""
        if converter is not None and kind == "none":
            raise ValueError("converter: expected none for a model without actions, got one")
        if converter is None and kind == "text":
            raise ValueError("converter: expected one for a model that takes actions as words")
        self._kind, self._names, self._converter = kind, names, converter
        self._repeat, self._fps, self._who = frames_per_action, fps, who
        self._losses: dict[tuple[str, int, int], tuple[Loss, ...]] = {}

    @property
    def losses(self) -> tuple[str, ...]:
        """What the scripts of all rows so far lost, as sentences; copies by seed count once."""
        return tuple(str(loss) for loss in gather_losses(self._losses.values()))

    def scripts(self, items: Sequence[Item], horizon: int) -> list[Timeline] | None:
        """Each row's whole script at the model's frame rate; None for a model without actions.

        Raises:
            ValueError: the panel runs at another frame rate than the model answers at, or its
                actions are not those of a model without a converter.
        """
        for item in items:
            if item.fps is not None and item.fps != self._fps:
                raise ValueError(
                    f"items: {self._who} answers at {self._fps:g} frames per second, the panel has "
                    f"{item.fps:g}"
                )
        if self._kind == "none":
            return None
        if self._converter is None:
            for item in items:
                self._refuse_others(item)
        scripts = []
        for item in items:
            line = item_timeline(item, self._fps)
            scripts.append(at_rate(line, self._repeat))
            if self._converter is not None:
                asked = scripts[-1].with_actions(scripts[-1].actions[: horizon * self._repeat])
                key = (item.panel, item.scenario, item.branch)
                self._losses[key] = self._convert(asked).losses
        return scripts

    def of_chunk(
        self, scripts: Sequence[Timeline] | None, start: int, count: int
    ) -> tuple[Any, ...] | None:
        """What the model takes for `count` actions from `start` on, row by row.

        Past the end of a script its no-op is commanded; without one the last action is held.
        """
        if scripts is None:
            return None
        found = []
        for script in scripts:
            actions = script.actions[start : start + count]
            if missing := count - len(actions):
                rest = script.rest if script.rest is not None else script.actions[-1]
                actions = torch.cat([actions, rest.expand(missing, *actions.shape[1:])])
            found.append(self._convert(script.with_actions(actions)).value)
        return tuple(found)

    def _convert(self, line: Timeline) -> Conversion[Any]:
        if self._converter is None:
            return Conversion(line.actions)
        return self._converter(line)

    def _refuse_others(self, item: Item) -> None:
        kind = "continuous" if item.actions.is_floating_point() else "discrete"
        if kind != self._kind or (self._names and item.action_names != self._names):
            raise ValueError(
                f"items: {self._who} takes {self._kind} actions {list(self._names)}, "
                f"{item.scenario_id!r} has {kind} ones {list(item.action_names)}; a converter says "
                "what they become"
            )


def item_timeline(item: Item, fps: float) -> Timeline:
    """The script of one item; `fps` where its panel leaves the rate open."""
    return Timeline.of(
        item.actions,
        item.action_names,
        units=item.action_units,
        noop=item.noop,
        fps=item.fps if item.fps is not None else fps,
    )


def at_rate(line: Timeline, repeat: int) -> Timeline:
    """A script for a model of `repeat` times its frame rate.

    Each action is held for `repeat` frames. Turns and ways, which are per step, are shared out
    among them.
    """
    if repeat == 1:
        return line
    actions: Tensor = line.actions.repeat_interleave(repeat, 0)
    if not line.discrete:
        share = [1 / repeat if unit in _INCREMENTS else 1.0 for unit in line.units]
        actions = actions * torch.tensor(share)
        if line.space.noop is not None:  # of the faster clock
            noop = line.rest
            assert noop is not None
            return Timeline.of(
                actions,
                line.names,
                units=line.space.units or (),
                noop=(noop * torch.tensor(share)).tolist(),
                fps=line.fps * repeat,
            )
    return Timeline(actions, line.space, line.fps * repeat)
