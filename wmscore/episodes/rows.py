"""Rows of recorded actions, as a data set stores them, as actions between frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from wmscore.episodes.episode import EpisodeError, EpisodeTooShortError
from wmscore.manifest import ActionUnit
from wmscore.timeline import Alignment, align

__all__ = ["ActionRows", "action_rows", "frame_range"]

_NOTES: dict[str, str] = {
    "at_frame": "row t of the actions was commanded at frame t and causes frame t + 1 "
    "('at_frame'): the last row of an episode has no frame that shows its effect and is dropped",
    "produced": "row t of the actions produced frame t ('produced'): the first row of an episode "
    "acted before its first frame and is dropped",
}


@dataclass(frozen=True, kw_only=True)
class ActionRows:
    """What the rows of a data set's actions mean.

    Attributes:
        kind: "discrete" numbers, "continuous" vectors, or "none" where there are no actions.
        names: of the discrete actions in order, or of the vector's components.
        units: unit of each component, or empty.
        convention: which frame a row belongs to (`wmscore.timeline.align`).
        first: the number of the first discrete action.
        stored: type of the numbers in the files.
    """

    kind: Literal["none", "discrete", "continuous"]
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    convention: Alignment = "transition"
    first: int = 0
    stored: str = "float32"

    @property
    def notes(self) -> tuple[str, ...]:
        """What is lost of every episode."""
        if self.kind == "none":
            return ()
        notes = [_NOTES[self.convention]] if self.convention in _NOTES else []
        if self.kind == "continuous" and self.stored == "float64":
            notes.append("actions are float64 in the files, and rounded to float32")
        return tuple(notes)

    def aligned(self, rows: np.ndarray, frame_count: int, where: str) -> Tensor:
        """All rows of an episode as `[T]` int64 or `[T, A]` float32 between its `T + 1` frames.

        Raises:
            EpisodeError: another number of rows, another width, or values out of range.
        """
        if self.kind == "discrete":
            if rows.ndim == 2 and rows.shape[1] == 1:
                rows = rows[:, 0]
            if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
                raise EpisodeError(
                    f"{where}: expected [N] numbers of discrete actions, got {list(rows.shape)} "
                    f"{rows.dtype}"
                )
            actions = torch.from_numpy(rows.astype(np.int64)) - self.first
            low, high = (int(x) for x in actions.aminmax()) if len(actions) else (0, 0)
            if low < 0 or high >= len(self.names):
                raise EpisodeError(
                    f"{where}: expected actions {self.first}..{self.first + len(self.names) - 1} "
                    f"for the names {list(self.names)}, got {low + self.first}.."
                    f"{high + self.first}"
                )
        else:
            if rows.ndim == 1 and len(self.names) == 1:
                rows = rows[:, None]
            if rows.ndim != 2 or rows.shape[1] != len(self.names):
                raise EpisodeError(
                    f"{where}: expected actions [N, {len(self.names)}] for {list(self.names)}, "
                    f"got {list(rows.shape)}"
                )
            actions = torch.from_numpy(rows.astype(np.float32))
            if not actions.isfinite().all():
                raise EpisodeError(f"{where}: expected finite actions, got NaN or infinity")
        try:
            return align(actions, frame_count, self.convention).value
        except ValueError as error:
            raise EpisodeError(f"{where}: {error}") from None


def action_rows(
    kind: Literal["none", "discrete", "continuous"],
    names: Sequence[str] | None,
    units: Sequence[ActionUnit],
    convention: Alignment,
    *,
    width: int | None = None,
    first: int = 0,
    stored: str = "float32",
) -> ActionRows:
    """Check and keep what rows mean.

    Args:
        kind: of the actions.
        names: of the discrete actions in order, or of the vector's components; by default
            `action_0`, `action_1`, ... where `width` is known.
        units: unit of each component, or empty.
        convention: which frame a row belongs to.
        width: number of discrete actions or of components, as far as the files say.
        first: the number of the first discrete action.
        stored: type of the numbers in the files.

    Raises:
        ValueError: an unknown convention, no names, repeated or too many or few of them, or units
            that do not fit.
    """
    if names is None and kind != "none":
        if width is None:
            raise ValueError("action_names: expected one for each discrete action, got None")
        names = [f"action_{i}" for i in range(width)]
    names = names or ()
    if width is not None and len(names) != width:
        raise ValueError(f"action_names: expected {width}, got {list(names)}")
    if convention not in get_args(Alignment):
        raise ValueError(f"align: expected one of {get_args(Alignment)}, got {convention!r}")
    if kind != "none" and (not names or len(set(names)) < len(names)):
        raise ValueError(f"action_names: expected different names, got {list(names)}")
    wanted = len(names) if kind == "continuous" else 0
    if len(units) not in (0, wanted):
        raise ValueError(
            f"action_units: expected {wanted} or none for {kind} actions, got {list(units)}"
        )
    return ActionRows(
        kind=kind,
        names=tuple(names),
        units=tuple(units),
        convention=convention,
        first=first,
        stored=stored,
    )


def frame_range(total: int, start: int, frames: int | None, where: str) -> tuple[int, int]:
    """First frame, and the one after the last, of a part of an episode.

    Raises:
        EpisodeTooShortError: the episode does not reach so far.
    """
    stop = total if frames is None else start + frames
    if start < 0 or stop > total or stop <= start:
        wanted = f"{start}..{stop - 1}" if stop > start else f"from {start} on"
        raise EpisodeTooShortError(
            f"{where}: expected frames {wanted}, has {total} (0..{total - 1})", total
        )
    return start, stop
