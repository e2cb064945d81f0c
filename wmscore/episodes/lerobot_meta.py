"""The metadata of a LeRobot v3 data set: features, and where each episode is stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wmscore.extras import require

__all__ = ["LeRobotMeta"]

_CONVERT = "python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=OWNER/NAME"


class LeRobotMeta:
    """`meta/info.json` and `meta/episodes/*/*.parquet` of a data set.

    Attributes:
        root: folder of the data set.
        fps: frames per second.
        features: what each column is, by name.
        episodes: row of `meta/episodes` by number of the episode, in order.
    """

    def __init__(self, root: Path) -> None:
        """Read the metadata.

        Raises:
            ImportError: pyarrow is not installed.
            ValueError: this is no LeRobot v3 data set.
        """
        self.root = root
        path = root / "meta" / "info.json"
        if not path.is_file():
            raise ValueError(f"root: {root} holds no LeRobot data set ({path} is missing)")
        self._info = info = json.loads(path.read_text(encoding="utf-8"))
        version = str(info.get("codebase_version"))
        if not version.removeprefix("v").startswith("3."):
            hint = f"; convert it with lerobot >= 0.4: {_CONVERT}" if version == "v2.1" else ""
            raise ValueError(f"root: expected LeRobot v3, {root} is {version}{hint}")
        storage = info.get("storage_format") or "parquet"
        if storage != "parquet":
            raise ValueError(f"root: expected parquet tables and videos, {root} is {storage!r}")
        self.fps = float(info["fps"])
        self.features: dict[str, Any] = info["features"]
        dataset = require("pyarrow.dataset", "lerobot")
        folder = root / "meta" / "episodes"
        if not folder.is_dir():
            raise ValueError(f"root: {root} is incomplete ({folder} is missing)")
        table = dataset.dataset(folder, format="parquet")
        # Statistics fill most of the columns.
        names = [name for name in table.schema.names if not name.startswith("stats/")]
        rows = table.to_table(columns=names).to_pylist()
        self.episodes: dict[int, dict[str, Any]] = {
            int(row["episode_index"]): row
            for row in sorted(rows, key=lambda row: int(row["episode_index"]))
        }
        total = int(info.get("total_episodes", len(rows)))
        if len(self.episodes) != total:
            raise ValueError(
                f"root: expected {total} episodes by meta/info.json, meta/episodes has "
                f"{len(self.episodes)}; was the data set finalized?"
            )

    def feature(self, field: str, name: str) -> dict[str, Any]:
        """A feature by name; `field` is for errors."""
        if name not in self.features:
            raise ValueError(f"{field}: expected one of {list(self.features)}, got {name!r}")
        found: dict[str, Any] = self.features[name]
        return found

    def camera(self, name: str | None) -> str:
        """The feature that holds frames: `name`, or the only one."""
        found = [
            key
            for key, feature in self.features.items()
            if feature["dtype"] in ("video", "image") and not _is_depth(feature)
        ]
        if name is None and len(found) == 1:
            return found[0]
        if name not in found:
            raise ValueError(f"camera: expected one of {found}, got {name!r}")
        return name

    def size(self, camera: str) -> tuple[int, int]:
        """(height, width) of a camera's frames."""
        feature = self.features[camera]
        shape, names = list(feature["shape"]), list(feature.get("names") or ())
        if {"height", "width"} <= set(names):
            return int(shape[names.index("height")]), int(shape[names.index("width")])
        height, width = shape[1:] if shape[0] == 3 else shape[:2]
        return int(height), int(width)

    @staticmethod
    def width(feature: dict[str, Any]) -> int:
        """Number of components of a vector feature."""
        shape = list(feature["shape"])
        if len(shape) != 1:
            raise ValueError(f"action: expected a vector, its shape is {shape}")
        return int(shape[0])

    @staticmethod
    def names(feature: dict[str, Any]) -> tuple[str, ...] | None:
        """Names of a vector's components, or None where the data set has none."""
        names = feature.get("names")
        if isinstance(names, dict):  # {"motors": [...]}
            names = [name for group in names.values() for name in group]
        return tuple(str(name) for name in names) if names else None

    def data_path(self, number: int) -> Path:
        """The table that holds an episode's rows."""
        row = self.episodes[number]
        name: str = self._info["data_path"].format(
            chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]
        )
        return self.root / name

    def video_path(self, number: int, camera: str) -> Path:
        """The video that holds an episode's frames."""
        row = self.episodes[number]
        name: str = self._info["video_path"].format(
            video_key=camera,
            chunk_index=row[f"videos/{camera}/chunk_index"],
            file_index=row[f"videos/{camera}/file_index"],
        )
        return self.root / name


def _is_depth(feature: dict[str, Any]) -> bool:
    info = feature.get("info") or feature.get("video_info") or {}
    return bool(info.get("video.is_depth_map") or info.get("is_depth_map"))
