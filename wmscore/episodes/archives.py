"""Named arrays in a file or folder, of which parts can be read: npz, npy, safetensors."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Archive", "is_archive", "open_archive"]

Index = int | slice | tuple[int | slice, ...]


class Archive:
    """Arrays by name.

    Attributes:
        shapes: shape of each.
        dtypes: of each, as numpy names it.
    """

    def __init__(
        self,
        shapes: dict[str, tuple[int, ...]],
        dtypes: dict[str, str],
        read: Callable[[str, Index], np.ndarray],
    ) -> None:
        """Keep how to read a part of an array."""
        self.shapes, self.dtypes, self.read = shapes, dtypes, read


def is_archive(path: Path) -> bool:
    """A .npz or .safetensors file, or a folder of .npy files."""
    if path.is_dir():
        return any(path.glob("*.npy"))
    return path.suffix in (".npz", ".safetensors")


def open_archive(path: Path) -> Archive:
    """Look at the arrays of a file or folder, without reading them.

    Of .npy and .safetensors only what is asked for is read. A .npz is a zip file: an array of it
    is read whole, so keep one episode in each, or use another kind for many.

    Raises:
        ValueError: the path is of another kind, or holds pickled objects.
    """
    try:
        if path.is_dir():
            return _folder(path)
        if path.suffix == ".npz":
            return _npz(path)
        if path.suffix == ".safetensors":
            return _safetensors(path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: {error}") from None
    hint = ""
    if path.suffix in (".pt", ".pth", ".pkl"):
        hint = "; pickled files can run code: load and save it as one of these"
    raise ValueError(
        f"{path}: expected .npz, .safetensors or a folder of .npy files, got {path.suffix!r}{hint}"
    )


def _folder(path: Path) -> Archive:
    maps = {file.stem: np.load(file, mmap_mode="r") for file in sorted(path.glob("*.npy"))}
    if not maps:
        raise ValueError("expected .npy files, there are none")
    return Archive(
        {name: array.shape for name, array in maps.items()},
        {name: array.dtype.name for name, array in maps.items()},
        lambda name, index: np.asarray(maps[name][index]),
    )


def _npz(path: Path) -> Archive:
    shapes, dtypes = {}, {}
    with zipfile.ZipFile(path) as file:
        for entry in file.namelist():
            with file.open(entry) as member:
                version = np.lib.format.read_magic(member)
                header: Any = getattr(
                    np.lib.format, f"read_array_header_{version[0]}_{version[1]}"
                )(member)
            if header[2].hasobject:
                raise ValueError(f"{entry} holds pickled objects, expected numbers")
            name = entry.removesuffix(".npy")
            shapes[name], dtypes[name] = tuple(header[0]), header[2].name
    last: dict[str, np.ndarray] = {}

    def read(name: str, index: Index) -> np.ndarray:
        if name not in last:  # one array of each name is kept, for the next episode's turn
            with np.load(path, allow_pickle=False) as arrays:
                last[name] = arrays[name]
        return np.asarray(last[name][index])

    return Archive(shapes, dtypes, read)


def _safetensors(path: Path) -> Archive:
    from safetensors import SafetensorError, safe_open

    shapes, dtypes = {}, {}
    names = {"U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64"}
    names |= {"F16": "float16", "F32": "float32", "F64": "float64", "BOOL": "bool"}
    try:
        opened = safe_open(path, framework="np")
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    with opened as file:
        for name in file.keys():
            part = file.get_slice(name)
            shapes[name] = tuple(part.get_shape())
            dtypes[name] = names.get(part.get_dtype(), str(part.get_dtype()))

    def read(name: str, index: Index) -> np.ndarray:
        with safe_open(path, framework="np") as file:
            part = file.get_slice(name)
            first, rest = (index[0], index[1:]) if isinstance(index, tuple) else (index, ())
            if isinstance(first, int):  # slices keep a dimension
                found = part[(slice(first, first + 1), *rest)][0]
            else:
                found = part[index]
            return np.asarray(found)

    return Archive(shapes, dtypes, read)
