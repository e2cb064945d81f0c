"""Rollouts to keep: their size, and of which kind they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from wmscore.rollouts import Rollouts

__all__ = ["bytes_of", "info_in", "info_of", "unlike"]

_INFO = "info."  # as `Rollouts.save` names them

Info = Mapping[str, tuple[int, ...]]
"""Shape of one row of each tensor of `Rollouts.info`."""


def bytes_of(rollouts: Rollouts) -> int:
    """About the size of a file of rollouts."""
    parts = (rollouts.frames, rollouts.labels, rollouts.latents)
    return sum(part.numel() * part.element_size() for part in parts if part is not None)


def unlike(rollouts: Rollouts, first: Rollouts) -> str:
    """How rollouts are of another kind than the first ones; rows of one file must be of one.

    Returns:
        "" where they are of the same.
    """
    kinds = [
        {
            "frames": (r.frames.dtype, tuple(r.frames.shape[1:])),
            "labels": None if r.labels is None else r.labels.dtype,
            "latents": None if r.latents is None else (r.latents.dtype, r.latents.shape[2]),
            "info": sorted((k, v.dtype, tuple(v.shape[1:])) for k, v in r.info.items()),
        }
        for r in (first, rollouts)
    ]
    return "; ".join(
        f"{name}: expected {kinds[0][name]} as in other rows, got {kinds[1][name]}"
        for name in kinds[0]
        if kinds[0][name] != kinds[1][name]
    )


def info_of(rollouts: Rollouts) -> Info:
    """What `info` rollouts bring; a scorer takes one kind of a whole recording."""
    return {name: tuple(value.shape[1:]) for name, value in sorted(rollouts.info.items())}


def info_in(folder: Path) -> Info | None:
    """What `info` the rollouts of a folder bring, or None where there are none yet."""
    for path in folder.glob("rollouts-*.safetensors"):
        try:
            with safe_open(path, "pt") as file:
                names = sorted(name for name in file.keys() if name.startswith(_INFO))
                return {
                    name.removeprefix(_INFO): tuple(file.get_slice(name).get_shape()[1:])
                    for name in names
                }
        except (SafetensorError, OSError):  # a broken file is made again
            continue
    return None
