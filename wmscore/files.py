"""Atomic writes, JSON and CSV, and content hashes: a reader sees a whole file or none."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

__all__ = [
    "atomic_file",
    "atomic_folder",
    "create_file",
    "json_text",
    "link_file",
    "safe_name",
    "sha256_file",
    "sha256_tensor",
    "write_csv",
    "write_json",
]


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a sibling path to write to; rename it onto `path` only if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o666 & ~_umask())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def create_file(path: str | Path, text: str) -> bool:
    """Write a file whole, unless there is one: of several writers exactly one is True."""
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # a name without text would stay after a power cut
        draft.chmod(0o666 & ~_umask())
        return link_file(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def link_file(source: str | Path, path: str | Path) -> bool:
    """Give a file a second name, or a copy where that cannot be; False if `path` exists."""
    try:
        os.link(source, path)
    except FileExistsError:
        return False
    except OSError:  # another file system, or one without links
        if Path(path).exists():
            return False
        with atomic_file(path) as draft:
            shutil.copyfile(source, draft)
    return True


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a sibling folder to fill; swap it in for `path` only if the block succeeds.

    An older folder at `path` stays whole until the new one is complete.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield draft
        draft.chmod(0o777 & ~_umask())
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            path.replace(old / path.name)
            draft.replace(path)
            shutil.rmtree(old)
        else:
            draft.replace(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def json_text(data: Any) -> str:
    """Plain data as JSON for people and for diffs, ending in a new line.

    Raises:
        ValueError: NaN or infinity, which JSON does not have.
    """
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: str | Path, data: Any) -> None:
    """Write plain data as `json_text` has it."""
    text = json_text(data)
    with atomic_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_csv(path: str | Path, columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> None:
    """Write records as CSV: a header, then a line each; UTF-8, lines end in a line feed.

    Args:
        path: where to.
        columns: names, in order.
        lines: records; a missing key gives an empty cell.

    Raises:
        ValueError: a record has a key that is no column.
    """
    with atomic_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def safe_name(name: str) -> str:
    """A name that is one path component on every system: `org/model 7b` -> `org_model_7b`."""
    return re.sub(r"[^A-Za-z0-9._+=-]", "_", name).lstrip(".") or "_"


def sha256_file(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tensor(tensor: torch.Tensor) -> str:
    """Hexadecimal SHA-256 of a tensor's dtype, shape and row-major bytes."""
    data = tensor.detach().cpu().contiguous()
    head = f"{data.dtype} {tuple(data.shape)} ".encode()
    return hashlib.sha256(head + data.flatten().view(torch.uint8).numpy().tobytes()).hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
