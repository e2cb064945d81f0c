"""What a gymnasium environment shows: rendered frames, or images that it observes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["View"]


@dataclass(frozen=True)
class View:
    """Where frames or labels come from.

    Attributes:
        field: "frames" or "labels".
        source: "render", "observation", or "observation/KEY" of a dictionary.
    """

    field: str
    source: str

    def __post_init__(self) -> None:
        """Refuse an unknown source."""
        head, slash, key = self.source.partition("/")
        known = ("observation",) if self.field == "labels" else ("render", "observation")
        if head not in known or (slash and (head == "render" or not key)):
            wanted = " or ".join(map(repr, (*known, "observation/KEY")))
            raise ValueError(f"{self.field}: expected {wanted}, got {self.source!r}")

    def read(self, vector: Any, observation: Any) -> Tensor:
        """What all environments show now: `[N, 3, H, W]` uint8, or labels `[N, H, W]`.

        Args:
            vector: a vector environment.
            observation: what its last reset or step returned.

        Raises:
            ValueError: it shows nothing, or something else than images of one size.
        """
        head, _, key = self.source.partition("/")
        rows = vector.render() if head == "render" else observation
        if rows is None or (isinstance(rows, tuple | list) and any(row is None for row in rows)):
            raise ValueError(
                f"{self.field}: the environment renders nothing; expected one made with "
                f"render_mode='rgb_array', got render_mode={vector.render_mode!r}"
            )
        if key:
            if not isinstance(rows, dict) or key not in rows:
                found = sorted(rows) if isinstance(rows, dict) else type(rows).__name__
                raise ValueError(f"{self.field}: expected an observation {key!r}, got {found}")
            rows = rows[key]
        if isinstance(rows, dict):
            raise ValueError(
                f"{self.field}: expected 'observation/KEY' with one of {sorted(rows)}, "
                f"got {self.source!r}"
            )
        if isinstance(rows, tuple | list) and len({np.shape(row) for row in rows}) > 1:
            raise ValueError(
                f"{self.field}: expected one size in all environments, got "
                f"{sorted({np.shape(row) for row in rows})}"
            )
        images = np.asarray(rows)
        return self._labels(images) if self.field == "labels" else self._frames(images)

    def _frames(self, images: np.ndarray) -> Tensor:
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise ValueError(
                f"{self.field}: expected images [H, W, 3] uint8, got {list(images.shape[1:])} "
                f"{images.dtype}"
            )
        return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())

    def _labels(self, maps: np.ndarray) -> Tensor:
        if maps.ndim == 4 and maps.shape[3] == 1:
            maps = maps[..., 0]
        if maps.ndim != 3 or not np.issubdtype(maps.dtype, np.integer):
            raise ValueError(
                f"{self.field}: expected integer maps [H, W], got {list(maps.shape[1:])} "
                f"{maps.dtype}"
            )
        wide = {"uint16": np.int32, "uint32": np.int64}.get(maps.dtype.name, maps.dtype)
        return torch.from_numpy(maps.astype(wide))  # a copy: environments may use theirs again
