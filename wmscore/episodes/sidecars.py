"""Videos with their actions in a file beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wmscore.episodes.action_files import ACTION_SUFFIXES, read_action_rows
from wmscore.episodes.clips import ClipFolder
from wmscore.episodes.cut import Box
from wmscore.episodes.episode import Episode, EpisodeError, EpisodeKey, SourceFacts
from wmscore.episodes.rows import action_rows, frame_range
from wmscore.manifest import ActionUnit
from wmscore.timeline import Alignment
from wmscore.video import VideoError
from wmscore.video.container import packet_times

__all__ = ["VideoEpisodes"]


class VideoEpisodes:
    """A folder of videos with one row of actions per frame (or step) beside each.

    `x.mp4` has its actions in `x.jsonl`, `x.json`, `x.csv`, `x.npy`, `x.npz` or `x.safetensors`;
    see `wmscore.episodes.read_action_rows` for what is in them. Rows belong to frames by their
    number, so that nothing is resampled: a video of a variable rate needs `fps`. Clips without
    actions, or with a script timed by hand, are those of `ClipFolder`.

    Example:
        >>> source = VideoEpisodes(                                           # doctest: +SKIP
        ...     "plays/", align="at_frame", action_names=["noop", "left", "right"]
        ... )
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        align: Alignment,
        field: str = "actions",
        action_names: Sequence[str] | None = None,
        action_units: Sequence[ActionUnit] = (),
        read_actions: Callable[[Path], Any] | None = None,
        suffix: str | None = None,
        pattern: str = "{scenario}",
        fps: float | None = None,
        crop: Box | None = None,
        size: tuple[int, int] | None = None,
        name: str | None = None,
    ) -> None:
        """Find the videos and their actions; headers and the first actions are read.

        Args:
            folder: where they are.
            align: which frame a row of actions belongs to, see `wmscore.timeline.align`.
            field: name of the actions in their files.
            action_names: names of the discrete actions in order, or of the vector's components.
            action_units: unit of each component (`wmscore.manifest.ActionUnit`).
            read_actions: reads another format: from the path of a file to `[N]` integers or
                `[N, A]` numbers, for example by a converter of `wmscore.timeline`.
            suffix: of the files of actions; by default the first of the above that is there.
            pattern: form of the videos' names, for results of a panel's rows:
                "{scenario}_{seed}_{branch}".
            fps: frames per second, should it not be what the videos say.
            crop: (top, left, bottom, right) of the picture.
            size: (height, width) to which it is resized.
            name: short name; by default the folder's.

        Raises:
            ImportError: PyAV is not installed.
            ValueError: no videos, none with actions, or arguments that do not fit.
        """
        self._clips = ClipFolder(folder, name=name, pattern=pattern, crop=crop, size=size)
        self.name, self._read, self._field = self._clips.name, read_actions, field
        self._suffixes = ACTION_SUFFIXES if suffix is None else (suffix,)
        self._names = None if action_names is None else tuple(action_names)
        facts = self._clips.facts
        self._fps = fps
        rows, names = self._first_rows()
        kind: Literal["discrete", "continuous"] = "continuous" if rows.ndim == 2 else "discrete"
        self._rows = action_rows(
            kind,
            self._names if kind == "discrete" else self._names or names,
            action_units,
            align,
            width=int(rows.shape[1]) if kind == "continuous" else None,
            stored=rows.dtype.name,
        )
        said = () if fps is None else (f"frames count as {fps:g} per second",)
        self.facts = SourceFacts(
            fps=facts.fps if fps is None else float(fps),
            frame_size=facts.frame_size,
            actions=kind,
            action_names=self._rows.names,
            action_units=self._rows.units,
            codec=facts.codec,
            notes=(*facts.notes, *said, *self._rows.notes),
        )

    def keys(self) -> list[EpisodeKey]:
        """All videos, by name."""
        return list(self._clips.keys())

    def frame_count(self, key: EpisodeKey) -> int:
        """Number of frames of one, without decoding them."""
        try:
            return len(packet_times(self._clips.path(key))[0])
        except VideoError as error:
            raise EpisodeError(f"{self.name}: episode {key.id!r}: {error}") from None

    def read(self, key: EpisodeKey, *, start: int = 0, frames: int | None = None) -> Episode:
        """Decode one, or a part of it.

        Raises:
            EpisodeError: it is not there, is too short, or its actions do not fit its frames.
        """
        where = f"{self.name}: episode {key.id!r}"
        total = self.frame_count(key)
        begin, stop = frame_range(total, start, frames, where)
        rows, _ = self._file_rows(key)
        actions = self._rows.aligned(rows, total, where)
        clip = self._clips.read(key, start=start, frames=frames)
        return Episode(
            key=key,
            frames=clip.frames,
            fps=self.facts.fps,
            actions=actions[begin : stop - 1],
            prompt=clip.prompt,
            notes=clip.notes,
        )

    def _first_rows(self) -> tuple[np.ndarray, tuple[str, ...] | None]:
        """The first that can be read; a video without actions is an error of its own."""
        wrong = None
        for key in self._clips.keys():
            try:
                return self._file_rows(key)
            except EpisodeError as error:
                wrong = wrong or error
        assert wrong is not None
        raise wrong

    def _file_rows(self, key: EpisodeKey) -> tuple[np.ndarray, tuple[str, ...] | None]:
        video = self._clips.path(key)
        for suffix in self._suffixes:
            path = video.with_suffix(suffix)
            if path.is_file():
                break
        else:
            wanted = " or ".join(video.with_suffix(suffix).name for suffix in self._suffixes)
            raise EpisodeError(f"{video}: expected its actions in {wanted} beside it")
        if self._read is not None:
            return np.asarray(self._read(path)), None
        return read_action_rows(path, field=self._field, names=self._names)
