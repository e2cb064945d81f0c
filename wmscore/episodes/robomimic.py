"""robomimic's HDF5 files, read natively.

Source: robomimic.github.io/docs/datasets/overview.html ("Dataset Structure").
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wmscore.episodes.episode import Episode, EpisodeError, EpisodeKey, SourceFacts
from wmscore.episodes.hdf5_files import by_number, hdf5_array, hdf5_group, is_group, open_hdf5
from wmscore.episodes.pictures import image_layout, to_frames
from wmscore.episodes.rows import action_rows, frame_range
from wmscore.manifest import ActionUnit
from wmscore.timeline import Alignment

__all__ = ["RobomimicEpisodes"]


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
        with open_hdf5(self._path) as file:
            if not is_group(file.get("data")) or not len(file["data"]):
                raise ValueError(f"path: expected a group 'data' with demonstrations in {path}")
            demos = file["data"]
            names = sorted(demos, key=by_number)
            if filter_key is not None:
                masks = sorted(file.get("mask", {}))
                if filter_key not in masks:
                    raise ValueError(f"filter_key: expected one of {masks}, got {filter_key!r}")
                kept = {_text(entry) for entry in file["mask"][filter_key][()]}
                if strays := sorted(kept - set(names)):
                    raise ValueError(f"filter_key: {filter_key!r} names {strays}, not in the file")
                names = [demo for demo in names if demo in kept]
                if not names:
                    raise ValueError(f"filter_key: {filter_key!r} names no demonstration")
            # One that lacks something is an error of its own, not of the others.
            usable = [name for name in names if _width(demos[name]) and _cameras(demos[name])]
            first = demos[usable[0] if usable else names[0]]
            cameras = _cameras(first)
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
            images = first["obs"][self._camera]
            self._layout = image_layout(images.shape[1:], None, f"{self.name}: {camera!r}")
            self._next = self._camera in first.get("next_obs", {})
            if not (width := _width(first)):
                raise ValueError(f"path: expected actions [N, A] in a demonstration of {path}")
            rate = fps if fps is not None else _control_rate(demos)
            if rate is None or not rate > 0:
                raise ValueError(f"fps: expected frames per second, the file has none; got {fps}")
            size = images.shape[1:3] if self._layout == "THWC" else images.shape[2:4]
            convention: Alignment = "transition" if self._next else "at_frame"
            stored = first["actions"].dtype.name
            self._rows = action_rows(
                "continuous", action_names, action_units, convention, width=width, stored=stored
            )
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
        with open_hdf5(self._path) as file:
            demo = hdf5_group(file, f"data/{key.id}", where)
            return len(hdf5_array(demo, f"obs/{self._camera}", where)) + self._next

    def read(self, key: EpisodeKey, *, start: int = 0, frames: int | None = None) -> Episode:
        """Read one, or a part of it.

        Raises:
            EpisodeError: it is not there, is too short, or its arrays do not fit together.
        """
        where = f"{self.name}: episode {key.id!r}"
        if key.id not in self._names:
            raise EpisodeError(f"{where}: expected one of the {len(self._names)} there are")
        with open_hdf5(self._path) as file:
            demo = file["data"][key.id]
            images = hdf5_array(demo, f"obs/{self._camera}", where)
            count = len(images)
            total = count + self._next
            begin, stop = frame_range(total, start, frames, where)
            parts = [images[begin : min(stop, count)]]
            if stop > count:
                parts.append(hdf5_array(demo, f"next_obs/{self._camera}", where)[count - 1 : count])
            pixels = to_frames(np.concatenate(parts), self._layout, where)
            rows = hdf5_array(demo, "actions", where)[()]
        if tuple(pixels.shape[2:]) != self.facts.frame_size:
            raise EpisodeError(
                f"{where}: expected frames of {self.facts.frame_size} as others have, got "
                f"{tuple(pixels.shape[2:])}"
            )
        actions = self._rows.aligned(rows, total, where)
        return Episode(
            key=key, frames=pixels, fps=self.facts.fps, actions=actions[begin : stop - 1]
        )


def _control_rate(demos: Any) -> float | None:
    text = demos.attrs.get("env_args")
    try:
        return float(json.loads(text)["env_kwargs"]["control_freq"])
    except (TypeError, ValueError, KeyError):
        return None


def _cameras(demo: Any) -> list[str]:
    """Names of a demonstration's image observations."""
    found: Any = demo.get("obs") if is_group(demo) else None
    return [
        key
        for key, value in (found.items() if is_group(found) else ())
        if not is_group(value)
        and value.ndim == 4
        and value.dtype == np.uint8
        and 3 in (*value.shape[-3:],)
    ]


def _width(demo: Any) -> int:
    """Number of components of a demonstration's actions, 0 where it has none."""
    found = demo.get("actions") if is_group(demo) else None
    shape: tuple[int, ...] = getattr(found, "shape", ())
    return int(shape[1]) if len(shape) == 2 else 0


def _text(entry: Any) -> str:
    return entry.decode() if isinstance(entry, bytes) else str(entry)
