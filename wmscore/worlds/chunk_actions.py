"""The actions of one chunk, out of a panel's scripts: model rate, padding, conversion, losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wmscore.timeline import Conversion, Converter, Resample, Timeline
from wmscore.worlds.given import (
    check_kind,
    check_rate,
    continued,
    default_converter,
    item_timeline,
    naming_item,
)
from wmscore.worlds.protocol import Item
from wmscore.worlds.row_losses import RowLosses

__all__ = ["ChunkActions"]


class ChunkActions:
    """Cuts scripts into the actions of chunks, and keeps what their conversion lost."""

    def __init__(
        self,
        *,
        kind: str,
        names: tuple[str, ...],
        units: tuple[str, ...],
        converter: Converter[Any] | None,
        frames_per_action: int,
        fps: float,
        who: str,
    ) -> None:
        """Take actions of a kind through `converter`, for a model at `fps * frames_per_action`.

        Without a converter actions go by name; `who` names the model in errors.
        """
        if converter is not None and kind == "none":
            raise ValueError("converter: expected none for a model without actions, got one")
        if converter is None and kind == "text":
            raise ValueError("converter: expected one for a model that takes actions as words")
        self._kind, self._own = kind, converter is None
        self._converter = converter or default_converter(kind, names, units)
        self._repeat, self._fps, self._who = frames_per_action, fps, who
        self._losses = RowLosses()

    @property
    def losses(self) -> tuple[str, ...]:
        """What the scripts of all rows so far lost, as sentences; copies by seed count once."""
        return self._losses.sentences()

    def scripts(self, items: Sequence[Item], horizon: int, ahead: int) -> list[Timeline] | None:
        """Each row's script at the model's frame rate, or None for a model without actions.

        A script that ends before `horizon + ahead` is continued by its no-op; without one the last
        action is held.

        Raises:
            ValueError: the panel runs at another frame rate than the model answers at, or its
                actions are not the model's.
        """
        for item in items:
            check_rate(item, self._fps, self._who)
        if self._kind == "none":
            return None
        scripts = []
        for item in items:
            if self._own:
                check_kind(item, self._kind, self._who)
            with naming_item(item):
                line = item_timeline(item, self._fps)
                asked = self._at_rate(line.with_actions(line.actions[:horizon]))
                self._losses.note(item, self._convert(asked).losses)
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
