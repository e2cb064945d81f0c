"""Episodes in HDF5: the layouts of robomimic and of Minari, read natively.

Sources: robomimic.github.io/docs/datasets/overview.html ("Dataset Structure");
github.com/Farama-Foundation/Minari 0.5, `minari/dataset/_storages/hdf5_storage.py` (JPEG images).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wmscore.episodes.episode import Episode, EpisodeError, EpisodeKey, SourceFacts
from wmscore.episodes.minari_meta import MinariMeta
from wmscore.episodes.pictures import decode_images, image_layout, to_frames
from wmscore.episodes.rows import action_rows, frame_range
from wmscore.extras import require
from wmscore.manifest import ActionUnit
from wmscore.timeline import Alignment
from wmscore.video import CodecFacts

__all__ = ["MinariEpisodes", "RobomimicEpisodes"]


class RobomimicEpisodes:
    """The demonstrations of a robomimic file, read one at a time. An `EpisodeSource`.

    Observation t is what action t was chosen on (N frames, N actions). Where the file has
    `next_obs` too, its last image is the frame that shows the last action's effect, so that none
    is dropped.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        camera: str | None = None,
        fps: float | None = None,
        filter_key: str | None = None,
        action_names: Sequence[str] | None = None,
        action_units: Sequence[ActionUnit] = (),
        name: str | None = None,
    ) -> None:
        """Open a file.

        Args:
            path: the HDF5 file.
            camera: image observation, such as "agentview_image"; needed where there are several.
            fps: frames per second; by default the environment's `control_freq`.
            filter_key: one of the file's `mask` groups, such as "valid", instead of all.
            action_names: names of the vector's components; by default `action_0`, ...
            action_units: unit of each component (`wmscore.manifest.ActionUnit`).
            name: short name; by default the file's.

        Raises:
            ImportError: h5py is not installed.
            ValueError: the file has another layout, or lacks what is asked for.
        """
        self._path = Path(path)
        self.name = name or self._path.stem
        with _open(self._path) as file:
            if "data" not in file or not len(file["data"]):
                raise ValueError(f"path: expected a group 'data' with demonstrations in {path}")
            demos = file["data"]
            names = sorted(demos, key=_number)
            if filter_key is not None:
                masks = sorted(file.get("mask", {}))
                if filter_key not in masks:
                    raise ValueError(f"filter_key: expected one of {masks}, got {filter_key!r}")
                kept = {_text(entry) for entry in file["mask"][filter_key][()]}
                if strays := sorted(kept - set(names)):
                    raise ValueError(f"filter_key: {filter_key!r} names {strays}, not in the file")
                names = [demo for demo in names if demo in kept]
            first = demos[names[0]]
            observations = first.get("obs", {})
            cameras = [
                key
                for key, value in observations.items()
                if value.ndim == 4 and value.dtype == np.uint8 and 3 in (*value.shape[-3:],)
            ]
            if camera is None and len(cameras) == 1:
                camera = cameras[0]
            if camera not in cameras:
                raise ValueError(
                    f"camera: expected one of {cameras}, got {camera!r}"
                    + (
                        ""
                        if cameras
                        else "; low-dimensional files hold no images: render them "
                        "with robomimic's dataset_states_to_obs.py"
                    )
                )
            self._camera = str(camera)
            images = observations[self._camera]
            self._layout = image_layout(images.shape[1:], None, f"{self.name}: {camera!r}")
            self._next = self._camera in first.get("next_obs", {})
            width = int(first["actions"].shape[1])
            rate = fps if fps is not None else _control_rate(demos)
            if rate is None or not rate > 0:
                raise ValueError(f"fps: expected frames per second, the file has none; got {fps}")
            size = images.shape[1:3] if self._layout == "THWC" else images.shape[2:4]
            labels = [f"action_{i}" for i in range(width)] if action_names is None else action_names
            if len(labels) != width:
                raise ValueError(f"action_names: expected {width}, got {list(labels)}")
            convention: Alignment = "transition" if self._next else "at_frame"
            stored = first["actions"].dtype.name
            self._rows = action_rows("continuous", labels, action_units, convention, stored=stored)
        self._names = names
        self.facts = SourceFacts(
            fps=float(rate),
            frame_size=(int(size[0]), int(size[1])),
            actions="continuous",
            action_names=self._rows.names,
            action_units=self._rows.units,
            notes=self._rows.notes,
        )

    def keys(self) -> list[EpisodeKey]:
        """All demonstrations, by number."""
        return [EpisodeKey(id=name) for name in self._names]

    def frame_count(self, key: EpisodeKey) -> int:
        """Number of frames of one, without reading them."""
        where = f"{self.name}: episode {key.id!r}"
        with _open(self._path) as file:
            demo = _group(file, f"data/{key.id}", where)
            return len(_dataset(demo, f"obs/{self._camera}", where)) + self._next

    def read(self, key: EpisodeKey, *, start: int = 0, frames: int | None = None) -> Episode:
        """Read one, or a part of it.

        Raises:
            EpisodeError: it is not there, is too short, or its arrays do not fit together.
        """
        where = f"{self.name}: episode {key.id!r}"
        if key.id not in self._names:
            raise EpisodeError(f"{where}: expected one of the {len(self._names)} there are")
        with _open(self._path) as file:
            demo = file["data"][key.id]
            images = _dataset(demo, f"obs/{self._camera}", where)
            count = len(images)
            total = count + self._next
            begin, stop = frame_range(total, start, frames, where)
            parts = [images[begin : min(stop, count)]]
            if stop > count:
                parts.append(_dataset(demo, f"next_obs/{self._camera}", where)[count - 1 : count])
            pixels = to_frames(np.concatenate(parts), self._layout, where)
            rows = _dataset(demo, "actions", where)[()]
        actions = self._rows.aligned(rows, total, where)
        return Episode(
            key=key, frames=pixels, fps=self.facts.fps, actions=actions[begin : stop - 1]
        )


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
        names = list(action_names) if action_names is not None else meta.action_names()
        if meta.actions == "continuous" and len(names) != meta.action_count:
            raise ValueError(f"action_names: expected {meta.action_count}, got {names}")
        if meta.actions == "discrete" and len(names) != meta.action_count:
            raise ValueError(f"action_names: expected {meta.action_count} actions, got {names}")
        self._rows = action_rows(
            meta.actions,
            names,
            action_units,
            "transition",
            first=meta.first_action,
            stored=meta.action_dtype,
        )
        with _open(meta.file) as file:
            self._names = sorted((n for n in file if n.startswith("episode_")), key=_number)
            if not self._names:
                raise ValueError(f"path: expected episodes in {meta.file}")
            where = f"{self.name}: {self._names[0]}"
            stored = _dataset(file[self._names[0]], self._frames, where)
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
        with _open(self._meta.file) as file:
            return len(_dataset(_group(file, key.id, where), self._frames, where))

    def read(self, key: EpisodeKey, *, start: int = 0, frames: int | None = None) -> Episode:
        """Read one, or a part of it.

        Raises:
            EpisodeError: it is not there, is too short, or its arrays do not fit together.
        """
        where = f"{self.name}: episode {key.id!r}"
        if key.id not in self._names:
            raise EpisodeError(f"{where}: expected one of the {len(self._names)} there are")
        with _open(self._meta.file) as file:
            group = file[key.id]
            stored = _dataset(group, self._frames, where)
            total = len(stored)
            begin, stop = frame_range(total, start, frames, where)
            pixels = to_frames(_images(stored, slice(begin, stop), where), self._layout, where)
            rows = _dataset(group, "actions", where)[()]
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


def _open(path: Path) -> Any:
    h5py = require("h5py", "hdf5")
    if not path.is_file():
        raise ValueError(f"path: expected an HDF5 file, {path} does not exist")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"path: {path} cannot be read as HDF5: {error}") from None


def _group(file: Any, name: str, where: str) -> Any:
    if name not in file:
        raise EpisodeError(f"{where}: expected one of those there are")
    return file[name]


def _dataset(group: Any, name: str, where: str) -> Any:
    h5py = require("h5py", "hdf5")
    found = group.get(name)
    if not isinstance(found, h5py.Dataset):
        inside = sorted(found) if isinstance(found, h5py.Group) else sorted(group)
        raise EpisodeError(f"{where}: expected an array {name!r}, there are {inside}")
    return found


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


def _control_rate(demos: Any) -> float | None:
    text = demos.attrs.get("env_args")
    try:
        rate = json.loads(text)["env_kwargs"]["control_freq"]
    except (TypeError, ValueError, KeyError):
        return None
    return float(rate)


def _number(name: str) -> tuple[str, int]:
    head, _, tail = name.rpartition("_")
    return (head, int(tail)) if tail.isdigit() else (name, -1)


def _text(entry: Any) -> str:
    return entry.decode() if isinstance(entry, bytes) else str(entry)
