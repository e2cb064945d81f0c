"""Episodes in plain arrays: npz, npy and safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from wmscore.episodes.archives import Archive, is_archive, open_archive
from wmscore.episodes.episode import Episode, EpisodeError, EpisodeKey, SourceFacts
from wmscore.episodes.pictures import Layout, image_layout, to_frames
from wmscore.episodes.rows import ActionRows, action_rows, frame_range
from wmscore.manifest import ActionUnit
from wmscore.timeline import Alignment

__all__ = ["ArrayEpisodes"]


class ArrayEpisodes:
    """Episodes in files of arrays, read one at a time. An `EpisodeSource`.

    Frames are `[N, ...]` (one episode in a file, named like the file) or `[E, N, ...]` (E
    episodes, `NAME_0` to `NAME_E-1`; without a name `episode_000000` on); `lengths` says how many
    frames each has where they are padded. Actions and labels have the same first dimensions.

    Example:
        >>> source = ArrayEpisodes(                                           # doctest: +SKIP
        ...     "runs/", fps=10, align="transition", action_names=["noop", "left", "right"]
        ... )
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float,
        align: Alignment,
        frames: str = "frames",
        actions: str | None = "actions",
        labels: str | None = None,
        lengths: str | None = None,
        layout: Layout | None = None,
        action_names: Sequence[str] | None = None,
        action_units: Sequence[ActionUnit] = (),
        name: str | None = None,
    ) -> None:
        """Open files of arrays.

        Args:
            path: a .npz or .safetensors file, a folder of .npy files named like the arrays, or a
                folder of any of these.
            fps: frames per second, which arrays do not say.
            align: which frame a row of actions belongs to: "transition" (N - 1 rows, row t acts
                between frame t and t + 1), "at_frame" (N rows, row t causes frame t + 1) or
                "produced" (N rows, row t produced frame t); see `wmscore.timeline.align`.
            frames: name of the uint8 RGB images.
            actions: name of the actions: integers for discrete ones, else vectors; None where they
                are not known.
            labels: name of integer object labels `[N, H, W]`, or None.
            lengths: name of the number of frames of each episode `[E]`, or None.
            layout: "THWC" or "TCHW"; by default where the one dimension of 3 is.
            action_names: names of the discrete actions in order, or of the vector's components (by
                default `action_0`, ...).
            action_units: unit of each component (`wmscore.manifest.ActionUnit`).
            name: short name; by default that of the file or folder.

        Raises:
            ValueError: no such file or array, or arguments that do not fit.
        """
        path = Path(path)
        self.name = name or path.resolve().stem
        if not path.exists():
            raise ValueError(f"path: expected a file or folder, {path} does not exist")
        if path.is_dir() and not is_archive(path):
            files = [file for file in sorted(path.iterdir()) if is_archive(file)]
            if not files:
                raise ValueError(f"path: expected .npz, .safetensors or .npy files in {path}")
        else:
            files = [path]
        self._frames, self._actions, self._labels = frames, actions, labels
        self._lengths, self._fps = lengths, float(fps)
        if not self._fps > 0:
            raise ValueError(f"fps: expected above 0, got {fps}")
        self._place: dict[str, tuple[Path, int | None]] = {}
        self._opened: tuple[Path, Archive] | None = None
        first_file = None
        for file in files:
            try:
                shape = self._shape(self._archive(file), file)
            except ValueError:
                if file == files[-1] and first_file is None:
                    raise
                self._place[file.stem] = (file, None)  # an error of its own when it is read
                continue
            first_file = first_file or file
            whole = path.is_dir() and is_archive(path)
            stem = "episode" if whole or file == path else file.stem
            if len(shape) == 4:
                self._place[stem if file != path else path.stem] = (file, None)
            else:
                for i in range(shape[0]):
                    number = f"{i:06d}" if stem == "episode" else str(i)
                    self._place[f"{stem}_{number}"] = (file, i)
        assert first_file is not None
        first = self._archive(first_file)
        size = first.shapes[frames][-3:]
        self._layout = image_layout(size, layout, f"{self.name}: {frames!r}")
        self._rows = self._action_rows(first, action_names, action_units, align)
        self.facts = SourceFacts(
            fps=self._fps,
            frame_size=(size[0], size[1]) if self._layout == "THWC" else (size[1], size[2]),
            actions=self._rows.kind,
            action_names=self._rows.names,
            action_units=self._rows.units,
            labels=labels is not None,
            notes=self._rows.notes,
        )

    def keys(self) -> list[EpisodeKey]:
        """All episodes, file by file."""
        return [EpisodeKey(id=name) for name in self._place]

    def frame_count(self, key: EpisodeKey) -> int:
        """Number of frames of one, without reading them."""
        return self._find(key)[3]

    def read(self, key: EpisodeKey, *, start: int = 0, frames: int | None = None) -> Episode:
        """Read one, or a part of it.

        Raises:
            EpisodeError: it is not there, is too short, or its arrays do not fit together.
        """
        where = f"{self.name}: episode {key.id!r}"
        path, row, archive, total = self._find(key)
        padded = self._shape(archive, path)[0 if row is None else 1]
        begin, stop = frame_range(total, start, frames, where)

        def part(name: str, first: int, last: int) -> np.ndarray:
            if name not in archive.shapes:
                raise EpisodeError(f"{where}: expected {name!r} in {path}")
            shape = archive.shapes[name]
            if row is not None and (len(shape) < 2 or shape[0] <= row):
                raise EpisodeError(
                    f"{where}: expected {name!r} [{row + 1}.., N], got {list(shape)}"
                )
            span = slice(first, min(last, shape[0 if row is None else 1]))
            return archive.read(name, span if row is None else (row, span))

        pixels = to_frames(part(self._frames, begin, stop), self._layout, where)
        if tuple(pixels.shape[2:]) != self.facts.frame_size:
            raise EpisodeError(
                f"{where}: expected frames of {self.facts.frame_size} as in the first file, got "
                f"{tuple(pixels.shape[2:])}"
            )
        actions = labels = None
        if self._actions is not None and self._rows.kind != "none":
            rows = part(self._actions, 0, padded + 1)  # one row too many is an error
            if total < padded:  # rows beyond the last frame are padding too
                rows = rows[: total - (self._rows.convention == "transition")]
            actions = self._rows.aligned(rows, total, where)[begin : stop - 1]
        if self._labels is not None:
            maps = part(self._labels, begin, stop)
            if not np.issubdtype(maps.dtype, np.integer):
                raise EpisodeError(f"{where}: expected integer labels, got {maps.dtype}")
            wide = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}
            labels = torch.from_numpy(maps.astype(wide.get(maps.dtype.name, maps.dtype)))
        return Episode(key=key, frames=pixels, fps=self._fps, actions=actions, labels=labels)

    def _find(self, key: EpisodeKey) -> tuple[Path, int | None, Archive, int]:
        """An episode's file, its row there, the open file, and its number of frames."""
        where = f"{self.name}: episode {key.id!r}"
        if key.id not in self._place:
            raise EpisodeError(f"{where}: expected one of the {len(self._place)} there are")
        path, row = self._place[key.id]
        try:
            archive = self._archive(path)
            total = self._shape(archive, path)[0 if row is None else 1]
        except ValueError as error:
            raise EpisodeError(f"{where}: {error}") from None
        if self._lengths is not None:
            total = self._length(archive, row, total, where)
        return path, row, archive, total

    def _archive(self, path: Path) -> Archive:
        """An open file; the last one is kept."""
        if self._opened is None or self._opened[0] != path:
            self._opened = (path, open_archive(path))
        return self._opened[1]

    def _shape(self, archive: Archive, path: Path) -> tuple[int, ...]:
        if self._frames not in archive.shapes:
            raise ValueError(
                f"frames: expected an array {self._frames!r} in {path}, got {list(archive.shapes)}"
            )
        shape = archive.shapes[self._frames]
        if len(shape) not in (4, 5):
            raise ValueError(
                f"frames: expected [N, H, W, 3] or [E, N, H, W, 3] (or 3 before H) in {path}, "
                f"got {list(shape)}"
            )
        return shape

    def _length(self, archive: Archive, row: int | None, most: int, where: str) -> int:
        name = str(self._lengths)
        if name not in archive.shapes:
            raise EpisodeError(f"{where}: expected {name!r} beside the frames")
        index = archive.read(name, slice(None)).reshape(-1)
        length = int(index[row or 0])
        if not 1 <= length <= most:
            raise EpisodeError(f"{where}: expected a length in 1..{most}, got {length}")
        return length

    def _action_rows(
        self,
        first: Archive,
        names: Sequence[str] | None,
        units: Sequence[ActionUnit],
        align: Alignment,
    ) -> ActionRows:
        if self._actions is None:
            return action_rows("none", (), units, align)
        if self._actions not in first.shapes:
            raise ValueError(
                f"actions: expected an array {self._actions!r}, got {list(first.shapes)}; pass "
                "actions=None where they are not known"
            )
        stored = first.dtypes[self._actions]
        if stored.startswith(("int", "uint")):
            return action_rows("discrete", names, units, align)
        if not stored.startswith("float"):
            raise ValueError(f"actions: expected integers or floats, got {stored}")
        many = len(first.shapes[self._frames]) == 5
        shape = first.shapes[self._actions][1 + many :]
        width = int(shape[0]) if shape else 1
        return action_rows("continuous", names, units, align, width=width, stored=stored)
