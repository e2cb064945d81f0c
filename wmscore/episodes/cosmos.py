"""Cosmos Predict 2 and 2.5, action-conditioned: annotations beside the films of a robot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from wmscore.episodes.cut import ClipCut, cut_clip
from wmscore.episodes.episode import Episode, EpisodeError, EpisodeKey, SourceFacts
from wmscore.timeline import GRIPPER_ACTIONS, Alignment, align, gripper_motions
from wmscore.video import VideoError, stored_facts

__all__ = ["CosmosAnnotations", "relative_actions"]


def relative_actions(
    states: Tensor, gripper: Tensor, *, scale: float = 20.0, gripper_scale: float = 1.0
) -> Tensor:
    """What moves a gripper from each pose to the next, in its own frame: `[T, 7]` float32.

    As Cosmos Predict 2.5 (`cosmos_predict2/action_conditioned.py`) makes actions of states: the way
    and turn from pose `t` to `t + 1` as seen from pose `t`, and the gripper of `t + 1`.

    Args:
        states: `[T + 1, 6]`, x, y, z in metres, roll, pitch, yaw in radians about fixed axes
            (R = Rz(yaw) Ry(pitch) Rx(roll)).
        gripper: `[T + 1]`.
        scale: of way and turn; Predict 2 and 2.5 are trained with 20.
        gripper_scale: of the gripper.

    Raises:
        ValueError: other shapes.
    """
    if states.ndim != 2 or states.shape[1] != 6 or gripper.shape != states.shape[:1]:
        raise ValueError(
            "states, gripper: expected [T + 1, 6] and [T + 1], got "
            f"{list(states.shape)} and {list(gripper.shape)}"
        )
    held = gripper[1:, None].double() * gripper_scale
    return torch.cat([gripper_motions(states) * scale, held], 1).float()


class CosmosAnnotations:
    """The true films of a folder as Cosmos Predict 2 and 2.5 read it, with their actions.

    `annotation/NAME.json` has `state`, `continuous_gripper_state`, `action` and `videos`, the
    paths of the films of each camera. What the model generates from them, `NAME_chunk.mp4`, is a
    `ClipFolder` with `pattern="{scenario}_chunk"`: Predict 2 writes each chunk's first frame twice,
    which `seam_chunk=12` takes out.

    Args:
        folder: with the folder of annotations, from which paths of films start.
        annotations: name of that folder, with its split: "annotation", "annotation/test".
        camera: which of `videos`.
        actions: "states" makes them of neighbouring states, as the example of Predict 2.5 does;
            "stored" takes `action` as it is.
        align: how many stored actions there are for the frames (`wmscore.timeline.align`).
        every: use each n-th frame and state.
        scale: of actions made of states.
        gripper_scale: likewise.
        fps: frames per second before `every`; the first film's by default.
        resample: bring films of another rate to it.
        name: in tables; the folder's name by default.

    Raises:
        EpisodeError: there are no annotations, or none of the films can be read.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        annotations: str = "annotation",
        camera: int | str = 0,
        actions: Literal["states", "stored"] = "states",
        align: Alignment = "transition",
        every: int = 1,
        scale: float = 20.0,
        gripper_scale: float = 1.0,
        fps: float | None = None,
        resample: bool = False,
        name: str | None = None,
    ) -> None:
        """Find the annotations."""
        if actions not in ("states", "stored"):
            raise ValueError(f"actions: expected 'states' or 'stored', got {actions!r}")
        if every < 1 or (every > 1 and actions == "stored"):
            raise ValueError(f"every: expected at least 1, and 1 with stored actions, got {every}")
        self.folder = Path(folder)
        self.name = name or self.folder.resolve().name
        self._files = {
            EpisodeKey(id=path.stem): path
            for path in sorted((self.folder / annotations).glob("*.json"))
        }
        if not self._files:
            raise EpisodeError(f"{self.folder / annotations}: expected annotations, *.json")
        self.camera, self.align, self.every = camera, align, every
        self._stored = actions == "stored"
        self.scale, self.gripper_scale = scale, gripper_scale
        self._cut, self._facts = self._describe(fps, resample)

    @property
    def facts(self) -> SourceFacts:
        """What all episodes have in common."""
        return self._facts

    def keys(self) -> Sequence[EpisodeKey]:
        """Names of the annotations, which are the scenarios' ids."""
        return list(self._files)

    def read(self, key: EpisodeKey, *, start: int = 0, frames: int | None = None) -> Episode:
        """Decode a film, with its actions."""
        if key not in self._files:
            raise EpisodeError(f"{self.name}: has no episode {key.id!r}")
        path = self._files[key]
        data = _load(path)
        film = self._film(path, data)
        try:
            video = cut_clip(film, self._cut)
        except VideoError as error:
            raise EpisodeError(str(error)) from None
        pictures = video.frames[:: self.every]
        prompt = data.get("texts") or [None]
        episode = Episode(
            key=key,
            frames=pictures,
            fps=self.facts.fps,
            actions=self._actions(path, data, len(video.frames)),
            prompt=prompt[0] if isinstance(prompt, list) else str(prompt),
            notes=video.notes,
        )
        return episode.window(start, frames)

    def _actions(self, path: Path, data: dict[str, Any], count: int) -> Tensor:
        if self._stored:
            rows = _matrix(path, data, "action", 2)
            try:
                return align(rows, count, self.align).value
            except ValueError as error:
                raise EpisodeError(f"{path}: {error}") from None
        states = _matrix(path, data, "state", 2)
        gripper = _matrix(path, data, "continuous_gripper_state", 1)
        if len(states) != count or len(gripper) != count:
            raise EpisodeError(
                f"{path}: expected a state and a gripper state for each of {count} frames, got "
                f"{len(states)} and {len(gripper)}"
            )
        try:
            return relative_actions(
                states[:: self.every],
                gripper[:: self.every],
                scale=self.scale,
                gripper_scale=self.gripper_scale,
            )
        except ValueError as error:
            raise EpisodeError(f"{path}: {error}") from None

    def _film(self, path: Path, data: dict[str, Any]) -> Path:
        videos = data.get("videos")
        try:
            film = videos[self.camera]  # type: ignore[index]
        except (IndexError, KeyError, TypeError):
            raise EpisodeError(
                f"{path}: expected a film of camera {self.camera!r} in videos, got {videos!r}"
            ) from None
        return self.folder / str(film["video_path"] if isinstance(film, dict) else film)

    def _describe(self, fps: float | None, resample: bool) -> tuple[ClipCut, SourceFacts]:
        first_error = ""
        for path in self._files.values():
            try:
                stored = stored_facts(film := self._film(path, _load(path)))
                cut = ClipCut(fps=fps or stored.fps, resample=resample)
                frames = cut_clip(film, cut, frames=1).frames
            except (VideoError, EpisodeError) as error:
                first_error = first_error or str(error)
                continue
            notes = [] if not stored.lossy else [f"films are {stored.codec}, which changes pixels"]
            if self.every > 1:
                notes.append(f"every {self.every}th frame is used")
            metric = not self._stored and self.scale == self.gripper_scale == 1.0
            units = ("metre",) * 3 + ("radian",) * 3 + ("number",)
            return cut, SourceFacts(
                fps=cut.fps / self.every,
                frame_size=(frames.shape[-2], frames.shape[-1]),
                actions="continuous",
                action_names=GRIPPER_ACTIONS,
                action_units=units if metric else ("number",) * 7,
                codec=stored.as_dict() if stored.lossy else None,
                notes=tuple(notes),
            )
        raise EpisodeError(f"{self.folder}: none of the films can be read: {first_error}")


def _load(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EpisodeError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise EpisodeError(f"{path}: expected an object, got {type(data).__name__}")
    return data


def _matrix(path: Path, data: dict[str, Any], name: str, dims: int) -> Tensor:
    try:
        values = torch.tensor(data[name], dtype=torch.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise EpisodeError(f"{path}: {name}: expected numbers for each frame ({error})") from None
    if values.ndim != dims or not bool(values.isfinite().all()):
        raise EpisodeError(
            f"{path}: {name}: expected finite numbers of {dims} dimensions, got "
            f"{list(values.shape)}"
        )
    return values.float() if name == "action" else values
