"""MuJoCo models as true worlds, with object labels from segmentation.

Source: Todorov, Erez, Tassa, "MuJoCo: A physics engine for model-based control", IROS 2012; the
state that restores a simulation bit for bit: `mjSTATE_INTEGRATION` of its documentation.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from wmscore.extras import require
from wmscore.manifest import ActionUnit
from wmscore.rollouts import Rollouts
from wmscore.worlds.closing import Closing
from wmscore.worlds.lighting import Light
from wmscore.worlds.mujoco_actions import controls
from wmscore.worlds.mujoco_state import reset_state
from wmscore.worlds.protocol import Capabilities, Item, item_keys
from wmscore.worlds.step import stack_actions

__all__ = ["MujocoWorld"]


class MujocoWorld(Closing):
    """A MuJoCo model as a `WorldModel`, with exact object labels.

    `Item.reset` names the initial state: `{"keyframe": "home"}`, or `{"state": [...]}` as
    `initial_state` gives it, or else the model's own; then `"qpos"` and `"qvel"` of joints by name,
    and a `"warmup"` of actions that lead on from there. An action is held for `frame_skip` physics
    steps. A simulation that becomes unstable ends the row (`valid` is False), since MuJoCo starts
    it anew by itself.

    Labels are int16 `[B, T+1, H, W]`, the same in all rows: a number per kinematic tree, body or
    geom; 0 = what belongs to the world body, flexes, skins, and nothing at all.

    Nothing is random: `Item.seed` and `Item.noise_seed` change nothing, and rows that differ in
    them only are played once.

    Frames are drawn off screen through EGL, or what MUJOCO_GL says when mujoco is first imported
    (egl, osmesa, glfw). Drivers draw differently: compare models on frames from one machine.

    Example:
        >>> world = MujocoWorld("arm.xml", camera="front", frame_skip=10)  # doctest: +SKIP
        >>> rollouts = world.rollout(items, horizon=32)  # doctest: +SKIP
    """

    own_light: ClassVar[tuple[str, ...]] = ("exposure", "warmth")

    def __init__(
        self,
        model: Any,
        *,
        height: int = 120,
        width: int = 160,
        camera: str | int = -1,
        frame_skip: int = 1,
        actions: Sequence[str] | Mapping[str, Mapping[str, float] | Sequence[float]] | None = None,
        action_units: Sequence[ActionUnit] = (),
        labels: Literal["tree", "body", "geom"] | None = "tree",
        background: Sequence[str] = (),
        name: str = "mujoco",
    ) -> None:
        """Load a model and open a renderer.

        Args:
            model: a file (MJCF, URDF or MJB), the XML itself, or an `MjModel`, which is copied.
            height: of the frame.
            width: of the frame.
            camera: name or index; -1 is the free camera's default view.
            frame_skip: physics steps that one action lasts; a frame is drawn after each action.
            actions: names of the actuators that a vector sets (others stay 0), by default all; or a
                table with the controls of each discrete action, by actuator or of all in order.
            action_units: unit of each component of a vector (`wmscore.manifest.ActionUnit`).
            labels: what is one object: a kinematic tree (a robot, a loose body), each body, or each
                geom; None draws no labels.
            background: names of bodies (of geoms, with "geom") that are background too.
            name: short name.

        Raises:
            ImportError: mujoco is not installed.
            ValueError: an argument does not fit the model.
            RuntimeError: this machine has no OpenGL to draw with.
        """
        self._mujoco = mujoco = _import_mujoco()
        for field, value in (("height", height), ("width", width), ("frame_skip", frame_skip)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{field}: expected an integer of at least 1, got {value!r}")
        self._model = _load(mujoco, model)
        self._options: dict[str, Any] = {
            "height": height,
            "width": width,
            "camera": camera,
            "frame_skip": frame_skip,
            "actions": actions,
            "action_units": action_units,
            "labels": labels,
            "background": background,
            "name": name,
        }
        self.name, self.frame_skip = name, frame_skip
        self._size = (height, width)
        actuators = [self._model.actuator(i).name or f"actuator{i}" for i in range(self._model.nu)]
        limits = np.where(
            self._model.actuator_ctrllimited[:, None].astype(bool),
            self._model.actuator_ctrlrange,
            np.array([-np.inf, np.inf]),
        )
        self._controls = controls(actuators, limits, actions)
        dimensions = len(self._controls.names) if self._controls.kind == "continuous" else 0
        if len(action_units) not in (0, dimensions):
            raise ValueError(
                f"action_units: expected {dimensions} or none for {self._controls.kind} actions, "
                f"got {list(action_units)}"
            )
        self._units = tuple(action_units)
        self._label_of = None if labels is None else _labels(self._model, labels, background)
        cameras = [self._model.camera(i).name for i in range(self._model.ncam)]
        known = camera in cameras if isinstance(camera, str) else -1 <= camera < len(cameras)
        if not known:
            raise ValueError(f"camera: expected -1 or one of {cameras}, got {camera!r}")
        self._camera = camera
        self._data = mujoco.MjData(self._model)
        self._renderer = _renderer(mujoco, self._model, height, width)
        self._finalizer = weakref.finalize(self, self._renderer.close)

    @property
    def capabilities(self) -> Capabilities:
        """Deterministic and labelled; nothing is random."""
        return Capabilities(
            actions=self._controls.kind,
            action_names=self._controls.names,
            action_units=self._units,
            seedable=False,
            labels=self._label_of is not None,
            fps=1.0 / (self._model.opt.timestep * self.frame_skip),
            frame_size=self._size,
        )

    @property
    def label_names(self) -> dict[int, str]:
        """What each label stands for: the body (of a tree its root) or geom, by number."""
        if self._label_of is None:
            return {}
        kind, numbers = self._label_of
        names: dict[int, str] = {}
        for geom, label in enumerate(numbers.tolist()):
            if label:
                own = self._model.geom(geom) if kind == "geom" else self._model.body(label)
                names[label] = own.name or f"{'geom' if kind == 'geom' else 'body'}{own.id}"
        return names

    def relit(self, light: Light) -> MujocoWorld:
        """The same world with every light of the model, and the headlight, scaled.

        MuJoCo adds light in display values. The factors are raised to 1 / 2.2, so that a stop is as
        much on a matte surface as it is when laid on the frames. What gives light itself, and the
        sky, stays. The new world has a renderer of its own; close both.

        Raises:
            ValueError: a shadow is asked for, which its lights cannot draw anywhere.
        """
        if light.shadow:
            raise ValueError(
                f"light.shadow: {self.name!r} scales its lights and draws no further shadow; got "
                f"{light.shadow:g}. Lay it on the frames (rendered='frames')"
            )
        made = MujocoWorld(self._model, **self._options)
        gains = np.array(light.gains) ** (1 / 2.2)
        head = made._model.vis.headlight
        for part in ("ambient", "diffuse", "specular"):
            getattr(made._model, f"light_{part}")[:] *= gains
            getattr(head, part)[:] *= gains
        return made

    def initial_state(self, reset: Mapping[str, Any]) -> list[float]:
        """The whole state after a reset and its warm-up, as `reset["state"]` takes it.

        Raises:
            ValueError: as `rollout`.
        """
        self._begin(reset)
        kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        state = np.empty(self._mujoco.mj_stateSize(self._model, kind))
        self._mujoco.mj_getState(self._model, self._data, state, kind)
        values: list[float] = state.tolist()
        return values

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Play every item's script, one row after the other.

        Raises:
            ValueError: an item's reset or actions are not the model's, or its warm-up is unstable.
        """
        actions = stack_actions(items, horizon)
        plays: dict[tuple[str, bytes], int] = {}
        source, scripts = [], []
        for item in items:
            script = self._controls.script(item, horizon)
            key = (json.dumps(item.reset, sort_keys=True), script.tobytes())
            if key not in plays:
                plays[key] = len(plays)
                scripts.append((item.reset, script))
            source.append(plays[key])
        shape = (len(scripts), horizon + 1)
        frames = np.empty((*shape, *self._size, 3), dtype=np.uint8)
        maps = None if self._label_of is None else np.zeros((*shape, *self._size), dtype=np.int16)
        valid = torch.ones(shape, dtype=torch.bool)
        for row, (reset, script) in enumerate(scripts):
            self._begin(reset)
            for t in range(horizon + 1):
                if t and not self._advance(script[t - 1]):
                    frames[row, t:] = frames[row, t - 1]
                    if maps is not None:
                        maps[row, t:] = maps[row, t - 1]
                    valid[row, t:] = False
                    break
                self._draw(frames[row, t], None if maps is None else maps[row, t])
        index = torch.tensor(source)
        return Rollouts(
            frames=torch.from_numpy(frames).permute(0, 1, 4, 2, 3).contiguous()[index],
            labels=None if maps is None else torch.from_numpy(maps)[index],
            valid=valid[index],
            actions=actions,
            model=self.name,
            **item_keys(items),
        )

    def _begin(self, reset: Mapping[str, Any]) -> None:
        reset_state(self._mujoco, self._model, self._data, reset)
        for control in self._controls.warmup(reset.get("warmup", [])):
            if not self._advance(control):
                raise ValueError("reset.warmup: expected a stable simulation, it is unstable")
        self._mujoco.mj_forward(self._model, self._data)

    def _advance(self, control: np.ndarray) -> bool:
        """Hold one action; False where the simulation has become unstable."""
        self._data.ctrl[:] = control
        # Else MuJoCo writes MUJOCO_LOG.TXT wherever the process happens to be.
        heard = self._mujoco.get_mju_user_warning()
        self._mujoco.set_mju_user_warning(lambda _message: None)
        try:
            self._mujoco.mj_step(self._model, self._data, nstep=self.frame_skip)
        finally:
            self._mujoco.set_mju_user_warning(heard)
        kinds = self._mujoco.mjtWarning
        bad = (kinds.mjWARN_BADQPOS, kinds.mjWARN_BADQVEL, kinds.mjWARN_BADQACC)
        return not any(self._data.warning[int(kind)].number for kind in bad)

    def _draw(self, frame: np.ndarray, labels: np.ndarray | None) -> None:
        renderer = self._renderer
        renderer.update_scene(self._data, self._camera)
        renderer.render(out=frame)
        if labels is None or self._label_of is None:
            return
        renderer.enable_segmentation_rendering()
        try:
            found = renderer.render()
        finally:
            renderer.disable_segmentation_rendering()
        is_geom = found[..., 1] == int(self._mujoco.mjtObj.mjOBJ_GEOM)
        labels[:] = np.where(is_geom, self._label_of[1][np.where(is_geom, found[..., 0], 0)], 0)

    def close(self) -> None:
        """End the renderer; the world cannot be used any more."""
        self._finalizer()


def _import_mujoco() -> Any:
    """Import mujoco; without a screen it is told to draw through EGL, once, at its import."""
    if "mujoco" not in sys.modules and sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        return require("mujoco", "mujoco")
    except ImportError:
        raise
    except Exception as error:  # it opens OpenGL when it is imported, and each way fails otherwise
        raise _cannot_draw(error) from error


def _load(mujoco: Any, model: Any) -> Any:
    if isinstance(model, mujoco.MjModel):
        return copy.copy(model)
    text = str(model)
    if text.lstrip().startswith("<"):
        return mujoco.MjModel.from_xml_string(text)
    if not Path(text).is_file():
        raise ValueError(f"model: expected a file, XML or an MjModel, got {text!r}")
    if text.endswith(".mjb"):
        return mujoco.MjModel.from_binary_path(text)
    return mujoco.MjModel.from_xml_path(text)


def _labels(
    model: Any, kind: Literal["tree", "body", "geom"], background: Sequence[str]
) -> tuple[str, np.ndarray]:
    """The label of each geom."""
    if kind not in ("tree", "body", "geom"):
        raise ValueError(f"labels: expected 'tree', 'body', 'geom' or None, got {kind!r}")
    bodies = np.asarray(model.geom_bodyid)
    if kind == "geom":
        labels = np.where(bodies == 0, 0, np.arange(model.ngeom) + 1)
    else:
        labels = np.asarray(model.body_rootid)[bodies] if kind == "tree" else bodies.copy()
    one = model.geom if kind == "geom" else model.body
    count = model.ngeom if kind == "geom" else model.nbody
    places = {one(i).name: i for i in range(count)}
    for name in background:
        if name not in places:
            raise ValueError(f"background: expected names out of {list(places)}, got {name!r}")
        labels[(np.arange(model.ngeom) if kind == "geom" else bodies) == places[name]] = 0
    return kind, labels.astype(np.int16)


def _renderer(mujoco: Any, model: Any, height: int, width: int) -> Any:
    view = model.vis.global_
    view.offheight, view.offwidth = max(view.offheight, height), max(view.offwidth, width)
    try:
        return mujoco.Renderer(model, height, width)
    except Exception as error:  # each way to OpenGL fails with something else
        raise _cannot_draw(error) from error


def _cannot_draw(error: Exception) -> RuntimeError:
    return RuntimeError(
        f"MuJoCo cannot draw here (MUJOCO_GL={os.environ.get('MUJOCO_GL')}): "
        f"{type(error).__name__}: {error}. Set MUJOCO_GL to egl or osmesa before mujoco is first "
        "imported, and install its library (Debian: libegl1 libgl1-mesa-dri, or libosmesa6)"
    )
