"""The metadata of a Minari data set: how it is stored, and its action space."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

__all__ = ["MinariMeta"]


class MinariMeta:
    """`data/metadata.json` of a data set.

    Attributes:
        file: the HDF5 file.
        name: of the data set.
        actions: kind of its action space.
        action_count: number of discrete actions, or of a vector's components.
        first_action: number of the first discrete action.
        action_dtype: type of the numbers in the file.
    """

    actions: Literal["discrete", "continuous"]

    def __init__(self, path: Path) -> None:
        """Read the metadata.

        Raises:
            ValueError: another storage, or an action space that is neither discrete nor a vector.
        """
        folder = path.parent if path.is_file() else path
        if (folder / "data").is_dir():
            folder = folder / "data"
        text = folder / "metadata.json"
        if not text.is_file():
            raise ValueError(f"path: expected a Minari data set, {text} does not exist")
        data: dict[str, Any] = json.loads(text.read_text(encoding="utf-8"))
        kind = data.get("data_format", "hdf5")
        if kind != "hdf5":
            raise ValueError(
                f"path: expected the HDF5 storage of Minari, {folder} has {kind!r}; load it with "
                "minari and create it anew with data_format='hdf5'"
            )
        self.file = folder / "main_data.hdf5"
        self.name = str(data.get("dataset_id") or folder.resolve().parent.name)
        space = data.get("action_space")
        if space is None:
            raise ValueError(f"path: {text} names no action space")
        read: dict[str, Any] = json.loads(space) if isinstance(space, str) else space
        self.first_action, self.action_dtype = 0, str(read.get("dtype"))
        if read.get("type") == "Discrete":
            self.actions, self.action_count = "discrete", int(read["n"])
            self.first_action = int(read.get("start", 0))
        elif read.get("type") == "Box" and len(read["shape"]) == 1:
            self.actions, self.action_count = "continuous", int(read["shape"][0])
        else:
            raise ValueError(f"path: expected discrete actions or a vector, got {read}")
