"""Parts of long episodes as episodes of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wmscore.episodes.episode import Episode, EpisodeError, EpisodeKey, EpisodeSource, SourceFacts
from wmscore.episodes.rows import frame_range

__all__ = ["EpisodeWindows", "episode_length"]


class EpisodeWindows:
    """Windows of equal length in the episodes of a source. An `EpisodeSource`.

    Window `episode_000003@40` begins at frame 40 of `episode_000003`. Episodes that are shorter
    than a window have none; `short` names them.

    Args:
        source: where the episodes are.
        steps: actions in a window, T; it has T + 1 frames.
        stride: frames from the beginning of one window to the next; by default `steps`, so that
            each action is in one window only.
        most: the most windows of an episode, or None for all.

    Example:
        >>> windows = EpisodeWindows(source, steps=32)                        # doctest: +SKIP
        >>> world = RecordedWorld(windows)                                    # doctest: +SKIP
    """

    def __init__(
        self,
        source: EpisodeSource,
        *,
        steps: int,
        stride: int | None = None,
        most: int | None = None,
    ) -> None:
        """Look up how long the episodes are."""
        stride = steps if stride is None else stride
        for field, value in (("steps", steps), ("stride", stride), ("most", most)):
            if value is not None and (isinstance(value, bool) or value < 1):
                raise ValueError(f"{field}: expected at least 1, got {value!r}")
        self.source, self.steps = source, steps
        self.name = source.name
        self._starts: dict[EpisodeKey, tuple[EpisodeKey, int]] = {}
        short = []
        for key in source.keys():
            starts = range(0, episode_length(source, key) - steps, stride)[:most]
            if not starts:
                short.append(key.id)
            for start in starts:
                scenario = None if key.scenario is None else f"{key.scenario}@{start}"
                window = replace(key, id=f"{key.id}@{start}", scenario=scenario)
                self._starts[window] = (key, start)
        self.short: tuple[str, ...] = tuple(short)
        if not self._starts:
            raise ValueError(
                f"steps: expected episodes of at least {steps + 1} frames in {source.name}, "
                f"all {len(short)} are shorter"
            )

    @property
    def facts(self) -> SourceFacts:
        """Those of the source, and how many episodes were too short."""
        facts = self.source.facts
        if not self.short:
            return facts
        said = f"{len(self.short)} episodes have fewer than {self.steps + 1} frames: none of them"
        return replace(facts, notes=(*facts.notes, said + " is used"))

    def keys(self) -> Sequence[EpisodeKey]:
        """All windows, episode by episode."""
        return list(self._starts)

    def frame_count(self, key: EpisodeKey) -> int:
        """Number of frames of a window."""
        return self.steps + 1

    def read(self, key: EpisodeKey, *, start: int = 0, frames: int | None = None) -> Episode:
        """Read one window, or a part of it.

        Raises:
            EpisodeError: there is no such window, or it does not reach so far.
        """
        if key not in self._starts:
            raise EpisodeError(f"{self.name}: has no window {key.id!r}")
        own, offset = self._starts[key]
        begin, stop = frame_range(self.steps + 1, start, frames, f"{self.name}: {key.id!r}")
        return replace(self.source.read(own, start=offset + begin, frames=stop - begin), key=key)


def episode_length(source: EpisodeSource, key: EpisodeKey) -> int:
    """Number of frames of an episode: by the source's `frame_count`, or by reading it."""
    count = getattr(source, "frame_count", None)
    return len(source.read(key).frames) if count is None else int(count(key))
