"""LeRobot v3 data sets, read natively: parquet tables, and videos that hold many episodes each.

Source: github.com/huggingface/lerobot, `docs/source/lerobot-dataset-v3.mdx` and
`src/lerobot/datasets` (version 0.6): paths come from templates in `meta/info.json`, an episode's
place in them from `meta/episodes`, and frame k of an episode is shown at its `from_timestamp` plus
k / fps in the video.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wmscore.episodes.episode import Episode, EpisodeError, EpisodeKey, SourceFacts
from wmscore.episodes.lerobot_meta import LeRobotMeta
from wmscore.episodes.pictures import decode_images, to_frames
from wmscore.episodes.rows import action_rows, frame_range
from wmscore.extras import require
from wmscore.manifest import ActionUnit
from wmscore.timeline import Alignment
from wmscore.video import VideoError, read_video, stored_facts

__all__ = ["LeRobotEpisodes"]

_TOLERANCE = 0.25  # of the time between frames


class LeRobotEpisodes:
    """The episodes of a LeRobot v3 data set, read one at a time. An `EpisodeSource`.

    Action `t` is commanded at frame `t` and causes frame `t + 1`; of T frames and T actions the
    last action has no frame that shows its effect. Nothing of lerobot is needed.

    Example:
        >>> source = LeRobotEpisodes("pusht", camera="observation.image")      # doctest: +SKIP
        >>> source.read(source.keys()[0]).frames.shape                        # doctest: +SKIP
        torch.Size([161, 3, 96, 96])
    """

    def __init__(
        self,
        root: str | Path,
        *,
        camera: str | None = None,
        align: Alignment = "at_frame",
        action: str = "action",
        action_names: Sequence[str] | None = None,
        action_units: Sequence[ActionUnit] = (),
        columns: Sequence[str] = (),
        name: str | None = None,
    ) -> None:
        """Open a data set.

        Args:
            root: its folder, with `meta/info.json`.
            camera: feature that holds the frames, such as "observation.images.top"; needed where
                there are several.
            align: which frame a row of actions belongs to, should it not be LeRobot's own.
            action: feature that holds the actions.
            action_names: names of its components (of the discrete actions, if it is one integer);
                by default those of the data set.
            action_units: unit of each component (`wmscore.manifest.ActionUnit`).
            columns: further numeric features to read into `Episode.info`.
            name: short name; by default the folder's.

        Raises:
            ImportError: pyarrow is not installed.
            ValueError: another version or storage, or a feature that there is not.
        """
        self._meta = meta = LeRobotMeta(Path(root))
        self.name = name or Path(root).resolve().name
        self._camera = meta.camera(camera)
        self._action, self._columns = action, tuple(columns)
        feature = meta.feature("action", action)
        discrete = np.issubdtype(np.dtype(feature["dtype"]), np.integer)
        self._rows = action_rows(
            "discrete" if discrete else "continuous",
            meta.names(feature) if action_names is None and not discrete else action_names,
            action_units,
            align,
            width=None if discrete else meta.width(feature),
        )
        for column in columns:
            meta.feature("columns", column)
        self._keys = [EpisodeKey(id=f"episode_{number:06d}") for number in meta.episodes]
        self._number = {
            key.id: number for key, number in zip(self._keys, meta.episodes, strict=True)
        }
        codec = self._codec()
        self.facts = SourceFacts(
            fps=meta.fps,
            frame_size=meta.size(self._camera),
            actions=self._rows.kind,
            action_names=self._rows.names,
            action_units=self._rows.units,
            codec=codec if codec is not None and codec["lossy"] else None,
            notes=self._rows.notes,
        )

    def _codec(self) -> dict[str, Any] | None:
        """How the first video that can be read is stored, over its whole length."""
        paths = dict.fromkeys(map(self._video_path, self._meta.episodes)) if self._video else {}
        wrong = None
        for path in paths:
            try:
                return stored_facts(path).as_dict()
            except VideoError as error:
                wrong = wrong or error
        if wrong is not None:
            raise wrong
        return None

    def keys(self) -> list[EpisodeKey]:
        """All episodes, by number."""
        return list(self._keys)

    def frame_count(self, key: EpisodeKey) -> int:
        """Number of frames of one, by the data set's own account."""
        return int(self._meta.episodes[self._find(key)]["length"])

    def read(self, key: EpisodeKey, *, start: int = 0, frames: int | None = None) -> Episode:
        """Read one, or a part of it: only the part is decoded.

        Raises:
            EpisodeError: it is not there, is too short, or its files disagree.
        """
        where = f"{self.name}: episode {key.id!r}"
        number = self._find(key)
        table = self._table(number, where)
        total = table.num_rows
        begin, stop = frame_range(total, start, frames, where)
        found = self._column(table, self._action, where)
        actions = self._rows.aligned(found, total, where)
        if self._video:
            pixels = self._film(number, begin, stop, where)
        else:
            cells = table.column(self._camera).slice(begin, stop - begin).to_pylist()
            pixels = to_frames(decode_images(self._files(cells), where), "THWC", where)
        if tuple(pixels.shape[2:]) != self.facts.frame_size:
            raise EpisodeError(
                f"{where}: expected frames of {self.facts.frame_size} by meta/info.json, got "
                f"{tuple(pixels.shape[2:])}"
            )
        tasks = list(self._meta.episodes[number].get("tasks") or ())
        several = (f"has the tasks {tasks}, the first is the prompt",) if len(tasks) > 1 else ()
        return Episode(
            key=key,
            frames=pixels,
            fps=self._meta.fps,
            actions=actions[begin : stop - 1],
            prompt=tasks[0] if tasks else None,
            notes=several,
            info={
                column: torch.from_numpy(self._column(table, column, where)[begin:stop])
                for column in self._columns
            },
        )

    def _find(self, key: EpisodeKey) -> int:
        if key.id not in self._number:
            raise EpisodeError(
                f"{self.name}: episode {key.id!r}: expected one of the {len(self._keys)} there are"
            )
        return self._number[key.id]

    @property
    def _video(self) -> bool:
        return bool(self._meta.features[self._camera]["dtype"] == "video")

    def _table(self, number: int, where: str) -> Any:
        """The rows of one episode, with the columns that are needed only."""
        parquet = require("pyarrow.parquet", "lerobot")
        path = self._meta.data_path(number)
        columns = ["episode_index", "frame_index", self._action, *self._columns]
        try:
            table = parquet.read_table(
                path,
                columns=columns if self._video else [*columns, self._camera],
                filters=[("episode_index", "=", number)],
            )
        except (OSError, ValueError) as error:
            raise EpisodeError(f"{where}: {path}: {error}") from None
        index = table.column("frame_index").to_pylist()
        length = int(self._meta.episodes[number]["length"])
        if index != list(range(length)):
            raise EpisodeError(
                f"{where}: expected the rows 0..{length - 1} by meta/episodes in {path}, got "
                f"{len(index)}{'' if index == sorted(index) else ' in another order'}"
            )
        return table

    def _column(self, table: Any, name: str, where: str) -> np.ndarray:
        values = table.column(name).to_pylist()
        try:
            return np.array(values, dtype=np.dtype(self._meta.features[name]["dtype"]))
        except (TypeError, ValueError):
            raise EpisodeError(f"{where}: expected numbers of one width in {name!r}") from None

    def _video_path(self, number: int) -> Path:
        return self._meta.video_path(number, self._camera)

    def _film(self, number: int, begin: int, stop: int, where: str) -> Tensor:
        """Frames `begin..stop - 1` of an episode, from a video that holds others too."""
        row, fps = self._meta.episodes[number], self._meta.fps
        origin = float(row[f"videos/{self._camera}/from_timestamp"])
        wanted = origin + torch.arange(begin, stop, dtype=torch.float64) / fps
        # From half a frame before: times are rounded to the grain of the file.
        since = max(float(wanted[0]) - 0.5 / fps, 0.0)
        try:
            video = read_video(self._video_path(number), since=since, frames=stop - begin)
        except VideoError as error:
            raise EpisodeError(f"{where}: {error}") from None
        away = float((video.times - wanted).abs().max())
        if away > _TOLERANCE / fps:
            raise EpisodeError(
                f"{where}: expected a frame every {1 / fps:.4g} s from {float(wanted[0]):.4g} s on "
                f"in {self._video_path(number)}, one is {away:.3g} s away from that"
            )
        return video.frames

    def _files(self, cells: Sequence[Any]) -> list[bytes]:
        """Images as files in memory: cells hold them, or the path of a file."""
        root = self._meta.root
        return [
            cell["bytes"] if cell.get("bytes") else (root / str(cell["path"])).read_bytes()
            for cell in cells
        ]
