"""What was recorded or generated once: frames, the actions between them, and where it belongs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

__all__ = ["Episode", "EpisodeError", "EpisodeKey", "EpisodeSource", "SourceFacts"]


class EpisodeError(ValueError):
    """One episode cannot be used; the message names it and says what was expected and found."""


@dataclass(frozen=True, kw_only=True)
class EpisodeKey:
    """Which episode, and which row of a panel it answers.

    Attributes:
        id: unique within its source, such as `episode_000012` or `corridor_7_0`.
        scenario: id of the panel's scenario, or None where the episode's own id is the scenario's.
        seed: the seed, or None where it answers every seed.
        branch: which script of the counterfactual group; 0 = commanded.
    """

    id: str
    scenario: str | None = None
    seed: int | None = None
    branch: int = 0


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """What all episodes of a source have in common.

    Attributes:
        fps: frames per second that `read` gives.
        frame_size: (height, width) that `read` gives.
        actions: the kind of action known for each step; "none" where they are not known.
        action_names: names of discrete actions, or of vector components.
        action_units: unit of each vector component (`wmscore.manifest.ActionUnit`), or empty.
        actions_exact: False where it is only roughly known which action acts between which frames.
        labels: episodes carry object labels.
        codec: what a lossy codec did to the pixels (`wmscore.video.CodecFacts.as_dict`), or None
            where the pixels are as they were made.
        notes: what was done to frames and actions on the way, one sentence each.
    """

    fps: float
    frame_size: tuple[int, int]
    actions: Literal["none", "discrete", "continuous"] = "none"
    action_names: tuple[str, ...] = ()
    action_units: tuple[str, ...] = ()
    actions_exact: bool = True
    labels: bool = False
    codec: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Episode:
    """Frames in order, and what acted between them.

    `actions[t]` acts between `frames[t]` and `frames[t + 1]`; importers bring other conventions to
    this one, and say which they found.

    Attributes:
        key: which one.
        frames: `[T + 1, 3, H, W]` uint8, RGB.
        fps: frames per second.
        actions: `[T]` int64 or `[T, A]` float32, or None where they are not known.
        labels: `[T + 1, H, W]` integer object labels, 0 = background, or None.
        valid: number of frames before the world ended, or None where it did not.
        prompt: text, for models that take one.
        notes: what was done to this one only, one sentence each.
        info: anything else by name, such as rewards `[T]`.

    Raises:
        EpisodeError: shapes or types that do not fit together.

    Example:
        >>> frames = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
        >>> e = Episode(key=EpisodeKey(id="a"), frames=frames, fps=8.0, actions=torch.arange(3))
        >>> e.steps, e.window(1, 2).actions
        (3, tensor([1]))
    """

    key: EpisodeKey
    frames: Tensor
    fps: float
    actions: Tensor | None = None
    labels: Tensor | None = None
    valid: int | None = None
    prompt: str | None = None
    notes: tuple[str, ...] = ()
    info: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        where, frames = f"episode {self.key.id!r}", self.frames
        if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3:
            raise EpisodeError(
                f"{where}: expected frames [T + 1, 3, H, W] uint8, got {list(frames.shape)} "
                f"{frames.dtype}"
            )
        if frames.shape[0] < 1:
            raise EpisodeError(f"{where}: expected at least one frame, got none")
        if not self.fps > 0:
            raise EpisodeError(f"{where}: expected fps above 0, got {self.fps}")
        if self.actions is not None:
            kinds = {1: torch.int64, 2: torch.float32}
            if kinds.get(self.actions.ndim) != self.actions.dtype:
                raise EpisodeError(
                    f"{where}: expected actions [T] int64 or [T, A] float32, got "
                    f"{list(self.actions.shape)} {self.actions.dtype}"
                )
            if len(self.actions) != self.steps:
                raise EpisodeError(
                    f"{where}: expected {self.steps} actions between {len(frames)} frames, "
                    f"got {len(self.actions)}"
                )
        if self.labels is not None:
            shape = [frames.shape[0], *frames.shape[2:]]
            kind = self.labels.dtype
            if list(self.labels.shape) != shape or kind.is_floating_point or kind == torch.bool:
                raise EpisodeError(
                    f"{where}: expected integer labels {shape}, got {list(self.labels.shape)} "
                    f"{kind}"
                )

    @property
    def steps(self) -> int:
        """Number of steps `T`."""
        return self.frames.shape[0] - 1

    def window(self, start: int, frames: int | None = None) -> Episode:
        """Frames `start .. start + frames - 1` (to the end by default) and what acts between them.

        Raises:
            EpisodeError: the episode does not reach so far.
        """
        total = self.frames.shape[0]
        count = total - start if frames is None else frames
        if start < 0 or count < 1 or start + count > total:
            raise EpisodeError(
                f"episode {self.key.id!r}: expected frames {start}..{start + count - 1}, "
                f"has 0..{total - 1}"
            )
        stop = start + count
        return replace(
            self,
            frames=self.frames[start:stop],
            actions=None if self.actions is None else self.actions[start : stop - 1],
            labels=None if self.labels is None else self.labels[start:stop],
            valid=None if self.valid is None else min(max(self.valid - start, 0), count),
            info={
                name: value[start : stop - (len(value) == total - 1)]
                for name, value in self.info.items()
            },
        )


@runtime_checkable
class EpisodeSource(Protocol):
    """Where episodes come from: a folder of clips, a dataset, an archive. Reads one at a time."""

    @property
    def name(self) -> str:
        """Short name, used in tables and file names."""
        ...

    @property
    def facts(self) -> SourceFacts:
        """What all episodes have in common."""
        ...

    def keys(self) -> Sequence[EpisodeKey]:
        """Which episodes there are, without reading them."""
        ...

    def read(self, key: EpisodeKey, *, start: int = 0, frames: int | None = None) -> Episode:
        """Read one, or only its frames `start .. start + frames - 1`.

        Raises:
            EpisodeError: this one cannot be read, or is too short; others may be read all the same.
        """
        ...
