"""The actions of one chunk, out of a panel's scripts: model rate, padding, conversion, losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from wmscore.timeline import Conversion, Converter, Loss, Resample, Timeline, gather_losses
from wmscore.worlds.protocol import Item

__all__ = ["ChunkActions", "continued", "item_timeline"]


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

    def scripts(self, items: Sequence[Item], horizon: int, ahead: int) -> list[Timeline] | None:
        """Each row's script at the model's frame rate, or None for a model without actions.

        A script that ends before `horizon + ahead` is continued by its no-op; without one the last
        action is held.

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
        scripts = []
        for item in items:
            if self._converter is None:
                self._refuse_others(item)
            line = item_timeline(item, self._fps)
            key = (item.panel, item.scenario, item.branch)
            asked = self._at_rate(line.with_actions(line.actions[:horizon]))
            try:
                self._losses[key] = self._convert(asked).losses
            except ValueError as error:
                raise ValueError(f"items: {item.scenario_id!r}, actions: {error}") from error
            scripts.append(self._at_rate(continued(line, horizon + ahead)))
        return scripts

    def of_chunk(
        self, scripts: Sequence[Timeline] | None, start: int, count: int
    ) -> tuple[Any, ...] | None:
        """What the model takes for `count` actions from `start` on, row by row."""
        if scripts is None:
            return None
        return tuple(
            self._convert(script.with_actions(script.actions[start : start + count])).value
            for script in scripts
        )

    def _at_rate(self, line: Timeline) -> Timeline:
        if self._repeat == 1:
            return line
        return Resample(line.fps * self._repeat)(line).value  # a whole multiple loses nothing

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


def continued(line: Timeline, steps: int) -> Timeline:
    """A script of at least `steps` actions: its no-op, or without one its last action, follows."""
    missing = steps - line.steps
    if missing <= 0:
        return line
    rest = line.rest if line.rest is not None else line.actions[-1]
    more = rest.expand(missing, *line.actions.shape[1:])
    return line.with_actions(torch.cat([line.actions, more]))
