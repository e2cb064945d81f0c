"""Groups and arrays of HDF5 files, with errors that say what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wmscore.episodes.episode import EpisodeError
from wmscore.extras import require

__all__ = ["by_number", "hdf5_array", "hdf5_group", "is_group", "open_hdf5"]


def open_hdf5(path: Path) -> Any:
    """An open file, for reading.

    Raises:
        ValueError: there is none, or it is no HDF5.
    """
    h5py = require("h5py", "hdf5")
    if not path.is_file():
        raise ValueError(f"path: expected an HDF5 file, {path} does not exist")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"path: {path} cannot be read as HDF5: {error}") from None


def hdf5_group(file: Any, name: str, where: str) -> Any:
    """A group by name; `where` is for errors."""
    if name not in file:
        raise EpisodeError(f"{where}: expected one of those there are")
    return file[name]


def is_group(entry: Any) -> bool:
    """A group, rather than an array or nothing."""
    return isinstance(entry, require("h5py", "hdf5").Group)


def hdf5_array(group: Any, name: str, where: str) -> Any:
    """An array by name; `where` is for errors."""
    h5py = require("h5py", "hdf5")
    found = group.get(name)
    if not isinstance(found, h5py.Dataset):
        inside = sorted(found) if isinstance(found, h5py.Group) else sorted(group)
        raise EpisodeError(f"{where}: expected an array {name!r}, there are {inside}")
    return found


def by_number(name: str) -> tuple[str, int]:
    """Order `demo_2` before `demo_10`."""
    head, _, tail = name.rpartition("_")
    return (head, int(tail)) if tail.isdigit() else (name, -1)
