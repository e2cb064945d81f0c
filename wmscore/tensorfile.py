"""Tensors in a safetensors file with one JSON header: atomic, and byte-identical when repeated."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from wmscore.files import atomic_file

__all__ = ["load_tensors", "save_tensors"]

# One metadata entry only: safetensors writes several in no fixed order.
_HEADER = "wmscore"
_VERSION = 1
# safetensors tells of errors of the system in words.
_SYSTEM = re.compile(r"os error (\d+)")


def save_tensors(
    path: str | Path,
    kind: str,
    tensors: Mapping[str, Tensor],
    header: Mapping[str, Any],
    *,
    sync: bool = False,
) -> None:
    """Write tensors (from any device) and a JSON header as a file of some `kind`.

    With `sync` the file is on the disk before it gets its name: then a power cut leaves it whole or
    not there, and a file system that runs full only when it writes says so here.

    Raises:
        OSError: it cannot be written, say because the disk is full.
    """
    text = json.dumps({"kind": kind, "version": _VERSION, **header})
    whole: dict[str, Tensor] = {}
    written: set[int] = set()
    for name, value in tensors.items():
        own = value.detach().cpu().contiguous()
        # One memory under two names is refused by safetensors.
        whole[name] = own.clone() if own.untyped_storage().data_ptr() in written else own
        written.add(own.untyped_storage().data_ptr())
    with atomic_file(path) as draft:
        try:
            save_file(whole, draft, {_HEADER: text})
        except SafetensorError as error:
            code = _SYSTEM.search(str(error))
            if code is None:
                raise
            raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error
        if sync:
            with draft.open("rb") as file:
                os.fsync(file.fileno())


def load_tensors(
    path: str | Path,
    kind: str,
    *,
    device: str = "cpu",
    wanted: Callable[[str], bool] = lambda name: True,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the header and the `wanted` tensors of a file that `save_tensors` wrote.

    Raises:
        ValueError: the file is of another kind or version.
    """
    try:
        opened = safe_open(path, framework="pt", device=device)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a wmscore {kind} file, got {error}") from None
    with opened as file:
        header = json.loads((file.metadata() or {}).get(_HEADER, "{}"))
        found = (header.get("kind"), header.get("version"))
        if found != (kind, _VERSION):
            raise ValueError(f"{path}: expected wmscore {kind} version {_VERSION}, got {found}")
        return header, {name: file.get_tensor(name) for name in file.keys() if wanted(name)}
