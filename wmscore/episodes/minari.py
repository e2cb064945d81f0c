"""Minari data sets in HDF5, read natively.

Source: github.com/Farama-Foundation/Minari 0.5, `minari/dataset/_storages/hdf5_storage.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wmscore.episodes.episode import Episode, EpisodeError, EpisodeKey, SourceFacts
from wmscore.episodes.hdf5_files import by_number, hdf5_array, hdf5_group, open_hdf5
from wmscore.episodes.minari_meta import MinariMeta
from wmscore.episodes.pictures import decode_images, image_layout, to_frames
from wmscore.episodes.rows import action_rows, frame_range
from wmscore.manifest import ActionUnit
from wmscore.video import CodecFacts

__all__ = ["MinariEpisodes"]


class MinariEpisodes:
    """The episodes of a Minari data set, read one at a time. An `EpisodeSource`.

    N + 1 observations, N actions: action t leads from observation t to t + 1. Minari stores images
    as JPEG unless told otherwise; then the pixels are not the environment's, and `facts` say so.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float,
        frames: str = "observations",
        action_names: Sequence[str] | None = None,
        action_units: Sequence[ActionUnit] = (),
        name: str | None = None,
    ) -> None:
        """Open a data set.

        Args:
            path: its folder (with a `data` folder), or `main_data.hdf5` itself.
            fps: frames per second, which the format does not say.
            frames: where the images are: "observations", "observations/KEY" of a dictionary, or
                "infos/KEY".
            action_names: names of the discrete actions in order, or of the vector's components; by
                default `action_0`, ...
            action_units: unit of each component (`wmscore.manifest.ActionUnit`).
            name: short name; by default the data set's.

        Raises:
            ImportError: h5py is not installed.
            ValueError: another storage, or no images there.
        """
        self._meta = meta = MinariMeta(Path(path))
        self.name = name or meta.name
        self._frames = frames.strip("/")
        if not float(fps) > 0:
            raise ValueError(f"fps: expected above 0, got {fps}")
        self._rows = action_rows(
            meta.actions,
            action_names,
            action_units,
            "transition",
            width=meta.action_count,
            first=meta.first_action,
            stored=meta.action_dtype,
        )
        with open_hdf5(meta.file) as file:
            self._names = sorted((n for n in file if n.startswith("episode_")), key=by_number)
            if not self._names:
                raise ValueError(f"path: expected episodes in {meta.file}")
            where = f"{self.name}: {self._names[0]}"
            stored = hdf5_array(file[self._names[0]], self._frames, where)
            images = _images(stored, slice(0, 1), where)
            self._layout = image_layout(images.shape[1:], None, f"{self.name}: {frames!r}")
            size = images.shape[1:3] if self._layout == "THWC" else images.shape[2:4]
            codec = _jpeg_facts(stored, size, float(fps)) if _is_jpeg(stored) else None
        self.facts = SourceFacts(
            fps=float(fps),
            frame_size=(int(size[0]), int(size[1])),
            actions=self._rows.kind,
            action_names=self._rows.names,
            action_units=self._rows.units,
            codec=None if codec is None else codec.as_dict(),
            notes=(*self._rows.notes, *(("images were stored as JPEG",) if codec else ())),
        )

    def keys(self) -> list[EpisodeKey]:
        """All episodes, by number."""
        return [EpisodeKey(id=name) for name in self._names]

    def frame_count(self, key: EpisodeKey) -> int:
        """Number of frames of one, without reading them."""
        where = f"{self.name}: episode {key.id!r}"
        with open_hdf5(self._meta.file) as file:
            return len(hdf5_array(hdf5_group(file, key.id, where), self._frames, where))

    def read(self, key: EpisodeKey, *, start: int = 0, frames: int | None = None) -> Episode:
        """Read one, or a part of it.

        Raises:
            EpisodeError: it is not there, is too short, or its arrays do not fit together.
        """
        where = f"{self.name}: episode {key.id!r}"
        if key.id not in self._names:
            raise EpisodeError(f"{where}: expected one of the {len(self._names)} there are")
        with open_hdf5(self._meta.file) as file:
            group = file[key.id]
            stored = hdf5_array(group, self._frames, where)
            total = len(stored)
            begin, stop = frame_range(total, start, frames, where)
            pixels = to_frames(_images(stored, slice(begin, stop), where), self._layout, where)
            rows = hdf5_array(group, "actions", where)[()]
            rewards = group.get("rewards")
            info = {} if rewards is None else {"rewards": rewards[begin : stop - 1]}
        actions = self._rows.aligned(rows, total, where)
        return Episode(
            key=key,
            frames=pixels,
            fps=self.facts.fps,
            actions=actions[begin : stop - 1],
            info={name: torch.from_numpy(np.asarray(value)) for name, value in info.items()},
        )


def _is_jpeg(stored: Any) -> bool:
    """Images as files: rows of bytes of one length, or each of its own."""
    own = stored.ndim == 1 and stored.dtype == object
    return bool(own or (stored.ndim == 2 and stored.dtype == np.uint8))


def _jpeg_facts(stored: Any, size: Sequence[int], fps: float) -> CodecFacts:
    """How strongly the images are compressed, by those of one episode."""
    height, width = (int(n) for n in size)
    bits = 8 * sum(len(row) for row in stored[()])
    return CodecFacts(
        container="hdf5",
        codec="mjpeg",
        pixel_format="yuvj420p",
        width=width,
        height=height,
        fps=fps,
        bits_per_pixel=bits / (len(stored) * height * width),
        lossy=True,
    )


def _images(stored: Any, part: slice, where: str) -> np.ndarray:
    if not _is_jpeg(stored) and stored.ndim != 4:
        raise EpisodeError(
            f"{where}: expected images in {stored.name}, got {list(stored.shape)} {stored.dtype}"
        )
    rows = stored[part]
    if not _is_jpeg(stored):
        return np.asarray(rows)
    return decode_images([np.asarray(row, dtype=np.uint8).tobytes() for row in rows], where)
