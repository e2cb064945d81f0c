"""The frozen contract of a comparison: `Panel` = scenarios x seeds under one `Contract`.

A panel is a JSON file. The book chapter's one-scenario manifest loads as it stands. Whatever two
models must share to be compared is in here, and only that, so its `fingerprint` decides whether
two results may stand side by side.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)
from torch import Tensor

from wmscore.files import write_json
from wmscore.opposites import opposites

__all__ = [
    "ActionSpace",
    "ActionUnit",
    "AxisCalibration",
    "AxisName",
    "AxisSpec",
    "Branch",
    "Contract",
    "Observation",
    "Panel",
    "PanelMismatchError",
    "Scenario",
    "Stress",
]

M = TypeVar("M", bound=BaseModel)

AxisName = Literal[
    "perceptual_drift",
    "latent_drift",
    "identity_persistence",
    "action_response",
    "reset_consistency",
]
Continuation = Literal["hold", "cycle", "noop"]
ActionUnit = Literal["button", "degree", "radian", "metre", "pixel", "number"]
Action = StrictStr | tuple[StrictFloat, ...]
Name = Annotated[StrictStr, Field(min_length=1)]
Unit = Annotated[StrictFloat, Field(ge=0.0, le=1.0)]
Count = Annotated[StrictInt, Field(ge=1)]
Edge = Annotated[StrictInt, Field(ge=0)]
Box = tuple[Edge, Edge, Edge, Edge]
Seed = Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)]

# What an axis' score may be made of; the first one when the panel does not choose.
AXIS_MEASURES: dict[str, tuple[str, ...]] = {
    "perceptual_drift": (
        "haarpsi",
        "haarpsi_shift1",
        "ssim",
        "ms_ssim",
        "flip",
        "lpips_alex",
        "lpips_vgg",
        "lpips_squeeze",
        "feature_cosine",
        "feature_l2",
    ),
    "latent_drift": ("cosine", "l2"),
    "identity_persistence": (
        "objects",
        "objects_area",
        "objects_alone",
        "carried",
        "carried_area",
        "carried_first",
        "carried_first_area",
    ),
    "action_response": (
        "agreement",
        "agreement_windowed",
        "agreement_aligned",
        "agreement_features",
        "script_match",
        "motion",
    ),
    "reset_consistency": ("closure",),
}

# Measures of an encoder that the user brings; the panel says which.
ENCODER_MEASURES = ("feature_cosine", "feature_l2", "agreement_features")

# Scripts that a counterfactual group may have, the commanded one among them; ops refuse more.
MOST_SCRIPTS = 16

# Measures of action_response that need no counterfactual scripts.
BRANCHLESS_MEASURES = ("motion",)

# Axes with a distance to the reference, which the frozen baseline and the oracle can bracket.
SKILL_AXES = ("perceptual_drift", "latent_drift")

# The chapter's words for the axes.
CHAPTER_AXES: dict[str, str] = {
    "controllability": "action_response",
    "object_identity": "identity_persistence",
    "visual_drift": "perceptual_drift",
    "loop_closure": "reset_consistency",
}


class PanelMismatchError(ValueError):
    """Two results belong to different panels and must not be compared or mixed."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Observation(_Frozen):
    """What one frame is: RGB `[channels, height, width]` at `fps` frames per second.

    `ignore` are boxes (top, left, bottom, right; the last two just outside) in which no metric
    looks, such as those of a watermark or an overlay.
    """

    height: Count
    width: Count
    channels: Literal[3] = 3
    dtype: Literal["uint8"] = "uint8"
    fps: Annotated[StrictFloat, Field(gt=0.0)]
    ignore: Annotated[tuple[Box, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for i, (top, left, bottom, right) in enumerate(self.ignore or ()):
            if not (top < bottom <= self.height and left < right <= self.width):
                raise ValueError(
                    f"ignore[{i}]: expected top < bottom <= {self.height} and left < right <= "
                    f"{self.width}, got {[top, left, bottom, right]}"
                )
        if self.ignore is not None and not bool((~self.ignored()).any()):
            raise ValueError("ignore: expected to leave some pixels, got boxes that cover all")
        return self

    def ignored(self) -> Tensor:
        """`[height, width]` bool, True where no metric looks."""
        mask = torch.zeros(self.height, self.width, dtype=torch.bool)
        for top, left, bottom, right in self.ignore or ():
            mask[top:bottom, left:right] = True
        return mask


class ActionSpace(_Frozen):
    """Discrete actions by name, or a continuous vector with one name per dimension.

    `units` says what each dimension is, as far as models must agree on it: `button` (0 or 1, held
    during the step), `degree` or `radian` (turn during the step), `metre` (way during the step),
    `pixel` (of a mouse) or `number`. Of turns, yaw is positive to the right and pitch upwards.
    """

    kind: Literal["discrete", "continuous"] = "discrete"
    names: Annotated[tuple[Name, ...], Field(min_length=1)]
    units: tuple[ActionUnit, ...] | None = None
    noop: Action | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _refuse_repeats("names", self.names)
        if self.units is not None and (
            self.kind == "discrete" or len(self.units) != len(self.names)
        ):
            raise ValueError(
                "units: expected one per name of a continuous space, "
                f"got {len(self.units)} for {len(self.names)} {self.kind} names"
            )
        if self.noop is not None:
            self.check_action("noop", self.noop)
        return self

    def check_action(self, field: str, action: Action) -> None:
        """Raise ValueError naming `field` unless `action` belongs to this space."""
        if self.kind == "discrete":
            if not isinstance(action, str) or action not in self.names:
                raise ValueError(f"{field}: expected one of {list(self.names)}, got {action!r}")
        elif isinstance(action, str) or len(action) != len(self.names):
            raise ValueError(f"{field}: expected {len(self.names)} numbers, got {action!r}")
        elif self.units is not None:
            for name, unit, value in zip(self.names, self.units, action, strict=True):
                if unit == "button" and value not in (0.0, 1.0):
                    raise ValueError(
                        f"{field}: expected 0 or 1 for the button {name!r}, got {value}"
                    )

    def encode(self, script: tuple[Action, ...]) -> Tensor:
        """Turn a script into a tensor: `[T]` int64 (discrete) or `[T, A]` float32 (continuous)."""
        if self.kind == "discrete":
            index = {name: i for i, name in enumerate(self.names)}
            return torch.tensor([index[str(action)] for action in script], dtype=torch.int64)
        return torch.tensor(script, dtype=torch.float32)


class Contract(_Frozen):
    """What every model of a comparison must keep to."""

    world: Name | None = None
    observation: Observation | None = None
    actions: ActionSpace
    latent: Annotated[dict[Name, JsonValue], Field(min_length=1)] | None = None
    reset: StrictStr = "the world is reset to the scenario's initial state before each rollout"
    success_metric: StrictStr = "usable horizon: steps until an axis stays below its threshold"
    horizon: Count
    versions: dict[Name, StrictStr] = {}


class Branch(_Frozen):
    """An action script. Branch 0 is commanded; the others are its counterfactuals."""

    name: Name
    actions: Annotated[tuple[Action, ...], Field(min_length=1)]
    then: Continuation | None = None

    def script(self, horizon: int, space: ActionSpace) -> tuple[Action, ...]:
        """The `horizon` actions that are sent: the script, cut or continued as `then` says."""
        script = self.actions[:horizon]
        missing = horizon - len(script)
        if missing <= 0:
            return script
        if self.then == "hold":
            return script + script[-1:] * missing
        if self.then == "cycle":
            return tuple(script[i % len(script)] for i in range(horizon))
        if self.then == "noop" and space.noop is not None:
            return script + (space.noop,) * missing
        raise ValueError(f"actions: {len(script)} actions do not reach horizon {horizon}")


class Scenario(Branch):
    """An initial state and the action script commanded from it.

    `still=True` says that nothing is meant to move there, so that a reference that does not is no
    evaluation fault.
    """

    name: Name = "commanded"
    id: Name
    initial_state_id: Name
    reset: dict[Name, JsonValue] = {}
    branches: tuple[Branch, ...] = ()
    prompt: StrictStr | None = None
    still: StrictBool | None = None
    initial_frame_sha256: Annotated[StrictStr, Field(pattern="^[0-9a-f]{64}$")] | None = None

    @property
    def scripts(self) -> tuple[Branch, ...]:
        """All scripts of the counterfactual group, the commanded one first."""
        return (self, *self.branches)


class AxisCalibration(_Frozen):
    """Where an axis' threshold comes from, as `wmscore.calibration.calibrate` found it.

    `conformal`: rollouts of the model `oracle` fail on the axis with a chance of `alpha`, from
    `scenarios` scenarios with one seed each, mean over `redraws` choices of seeds that `seed`
    begins. `conformal_joint`: with a chance of `alpha` on any of the gated axes. With the estimand
    "seeds" the chance is that of new seeds on the panel's own scenarios, from `rollouts` of them.
    `tolerance`: the oracle repeats the reference, which passes with the change that `tolerance`
    names.
    """

    method: Literal["conformal", "conformal_joint", "tolerance"]
    oracle: Name
    scenarios: Count
    estimand: Literal["scenarios", "seeds"] | None = None
    rollouts: Count | None = None
    alpha: Annotated[StrictFloat, Field(gt=0.0, lt=1.0)] | None = None
    redraws: Count | None = None
    seed: Annotated[StrictInt, Field(ge=0)] | None = None
    tolerance: Name | None = None


class AxisSpec(_Frozen):
    """One axis of evaluation: fails where its score stays below `threshold` for `patience` steps.

    `gate=False` reports the axis but lets it end no usable horizon. `score="skill"` takes for the
    score where the measure lies between the frozen baseline (0) and the oracle (1) instead of the
    measure itself. `encoder` is the name of the encoder behind a `feature_` measure, and after a
    `#` the beginning of its fingerprint, which holds a comparison to its weights and preprocessing.
    `sensitivity` is that of identity told without labels (`carried`), where an encoder is optional.
    `calibration` says where the threshold comes from, if not from whoever wrote the panel.
    With `recover_threshold` a failing step is followed by failing ones until the score is at or
    above it; with `min_defined` an axis that is defined at a smaller share of a row's steps, and
    has not failed, is undefined. See `functional.usable_horizon`.
    """

    axis: AxisName
    measure: Name = ""
    threshold: Unit
    patience: Count = 3
    gate: StrictBool = True
    score: Literal["skill"] | None = None
    encoder: Name | None = None
    sensitivity: Unit | None = None
    calibration: AxisCalibration | None = None
    recover_threshold: Unit | None = None
    min_defined: Unit | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_measure(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "measure" not in data and "axis" in data:
            return {**data, "measure": AXIS_MEASURES.get(str(data["axis"]), ("unknown",))[0]}
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        known = AXIS_MEASURES[self.axis]
        if self.measure not in known:
            raise ValueError(
                f"measure: {self.axis} has the measures {', '.join(known)}; got {self.measure!r}"
            )
        if self.score is not None and self.axis not in SKILL_AXES:
            raise ValueError(
                f"score: only {' and '.join(SKILL_AXES)} have a skill, {self.axis} does not"
            )
        if self.recover_threshold is not None and self.recover_threshold < self.threshold:
            raise ValueError(
                f"recover_threshold: expected at least the threshold, {self.threshold}, "
                f"got {self.recover_threshold}"
            )
        carried = self.measure.startswith("carried")
        if self.sensitivity is not None and not carried:
            raise ValueError(
                "sensitivity: only identity_persistence without labels (carried) has one; "
                f"got {self.sensitivity} with {self.measure!r}"
            )
        if carried:  # features of an encoder, if any, beside colours
            return self
        if (self.measure in ENCODER_MEASURES) != (self.encoder is not None):
            raise ValueError(
                f"encoder: expected the name of the encoder with {' or '.join(ENCODER_MEASURES)}, "
                "optionally with carried identity, and none with another measure; "
                f"got {self.encoder!r} with {self.measure!r}"
            )
        return self


class Stress(_Frozen):
    """The one way in which a panel was made harder than the panel that it comes from.

    Scripts, horizon, prompts and reset parameters of the stressed panel are already the harder
    ones; what the true world must be rendered with (light, what is wrong with the given frame) is
    told by `parameters`, which `wmscore.worlds.stressed_world` reads. `clean` is the fingerprint of
    the panel without the stress.
    """

    stressor: Name
    severity: Annotated[StrictFloat, Field(gt=0.0)]
    seed: Annotated[StrictInt, Field(ge=0)] = 0
    parameters: dict[Name, JsonValue] = {}
    clean: Annotated[StrictStr, Field(pattern="^[0-9a-f]{64}$")]


class Panel(_Frozen):
    """Scenarios x seeds under one contract, with the axes that judge them.

    Example:
        >>> panel = Panel.from_manifest({
        ...     "chapter": 39, "initial_state_id": "warehouse-turn-07",
        ...     "action_script": ["left", "left", "stop", "back"], "max_horizon": 12,
        ...     "evaluation_axis": "controllability",
        ...     "trace_to_save": "first_object_identity_break", "accept_threshold": 0.8})
        >>> panel.contract.horizon, panel.axes[0].axis
        (12, 'action_response')
    """

    schema_version: Literal[1] = 1
    name: Name
    contract: Contract
    scenarios: Annotated[tuple[Scenario, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    axes: Annotated[tuple[AxisSpec, ...], Field(min_length=1)]
    trace_to_save: Literal["first_failure", "first_object_identity_break"] = "first_failure"
    chapter: StrictInt | None = None
    stress: Stress | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _refuse_repeats("scenarios", [scenario.id for scenario in self.scenarios])
        _refuse_repeats("seeds", self.seeds)
        _refuse_repeats("axes", [spec.axis for spec in self.axes])
        space, horizon = self.contract.actions, self.contract.horizon
        for i, scenario in enumerate(self.scenarios):
            _refuse_repeats(f"scenarios[{i}].branches", [b.name for b in scenario.scripts])
            for j, branch in enumerate(scenario.scripts):
                where = f"scenarios[{i}]" + (f".branches[{j - 1}]" if j else "")
                for k, action in enumerate(branch.actions):
                    space.check_action(f"{where}.actions[{k}]", action)
                if branch.then == "noop" and space.noop is None:
                    raise ValueError(f"{where}.then: 'noop' needs contract.actions.noop")
                if branch.then is None and len(branch.actions) < horizon:
                    raise ValueError(
                        f"contract.horizon: {horizon} is longer than the {len(branch.actions)} "
                        f"actions of {where}.actions; give more actions, a shorter horizon, or "
                        f"{where}.then = 'hold', 'cycle' or 'noop'"
                    )
        if not any(spec.gate for spec in self.axes):
            raise ValueError("axes: expected at least one with gate = true, got none")
        for i, spec in enumerate(self.axes):
            if spec.patience > horizon:
                raise ValueError(
                    f"axes[{i}].patience: expected at most contract.horizon = {horizon}, "
                    f"got {spec.patience}; the axis could never fail"
                )
        measures = [spec.measure for spec in self.axes if spec.axis == "action_response"]
        for i, scenario in enumerate(self.scenarios if measures else ()):
            if len(scenario.scripts) > MOST_SCRIPTS:
                raise ValueError(
                    f"scenarios[{i}].branches: expected at most {MOST_SCRIPTS - 1}, "
                    f"got {len(scenario.branches)}"
                )
        if any(measure not in BRANCHLESS_MEASURES for measure in measures):
            for i, scenario in enumerate(self.scenarios):
                if not scenario.branches:
                    raise ValueError(
                        f"scenarios[{i}].branches: the axis action_response compares branches; "
                        "expected at least one counterfactual script, got none. Without any, the "
                        "measure 'motion' compares how the picture moves"
                    )
                for j, branch in enumerate(scenario.branches):
                    if branch.script(horizon, space) == scenario.script(horizon, space):
                        raise ValueError(
                            f"scenarios[{i}].branches[{j}].actions: expected another script than "
                            "the commanded one, got the same"
                        )
        return self

    # ---- reading and writing -------------------------------------------------------------

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a panel, or the chapter's one-scenario manifest, from a JSON file."""
        try:
            text = Path(path).read_text(encoding="utf-8")
            data = json.loads(text, object_pairs_hook=_refuse_repeated_keys)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not valid JSON: {error}") from None
        try:
            return cls.from_dict(data)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def packaged(cls, name: str) -> Self:
        """A panel that comes with wmscore: "sprites", "vizdoom" or "returns".

        Raises:
            ValueError: there is none of that name; lists those that there are.
        """
        folder = importlib.resources.files("wmscore") / "panels"
        names = sorted(f.name.removesuffix(".json") for f in folder.iterdir())
        if name not in names:
            raise ValueError(f"panel: expected a file or one of {names}, got {name!r}")
        return cls.from_dict(json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Build a panel from parsed JSON; errors name the field and what was expected."""
        if not isinstance(data, Mapping):
            raise ValueError(f"panel: expected a JSON object, got {type(data).__name__}")
        if "initial_state_id" in data:
            return cls.from_manifest(data)
        return _validate(cls, data)

    @classmethod
    def from_manifest(cls, data: Mapping[str, Any]) -> Self:
        """Build a one-scenario panel from the chapter's manifest.

        What the manifest leaves open is decided here, and written into the panel: a script
        shorter than `max_horizon` holds its last command (zero-order hold), the action space
        is the set of names in the script, and `controllability` is judged against two uniformly
        random scripts (Genie, arXiv:2402.15391 §3) drawn from `seed`.
        """
        manifest = _validate(_ChapterManifest, data)
        names = tuple(dict.fromkeys(manifest.action_script))
        axis = CHAPTER_AXES.get(manifest.evaluation_axis, manifest.evaluation_axis)
        if axis not in AXIS_MEASURES:
            raise ValueError(
                f"evaluation_axis: expected one of {[*CHAPTER_AXES, *AXIS_MEASURES]}, "
                f"got {manifest.evaluation_axis!r}"
            )
        scenario: dict[str, Any] = {
            "id": manifest.initial_state_id,
            "initial_state_id": manifest.initial_state_id,
            "actions": manifest.action_script,
            "then": "hold" if len(manifest.action_script) < manifest.max_horizon else None,
        }
        space = ActionSpace(names=names, noop=next((n for n in names if n in _NOOPS), None))
        if axis == "action_response":
            scenario["branches"] = _random_branches(
                space, manifest.max_horizon, 2, 0, Scenario.model_validate(scenario)
            )
        patience = min(3, manifest.max_horizon)
        return _validate(
            cls,
            {
                "name": manifest.initial_state_id,
                "contract": {"actions": space, "horizon": manifest.max_horizon},
                "scenarios": [scenario],
                "axes": [
                    {"axis": axis, "threshold": manifest.accept_threshold, "patience": patience}
                ],
                "trace_to_save": manifest.trace_to_save,
                "chapter": manifest.chapter,
            },
        )

    def save(self, path: str | Path) -> None:
        """Write the panel as indented JSON, atomically."""
        write_json(path, json.loads(self.canonical_json()))

    def canonical_json(self) -> str:
        """The panel as JSON with sorted keys and no spaces: equal panels give equal text.

        Fields left open (null) are left out, so that a later optional field does not change the
        fingerprint of panels without it.
        """
        return json.dumps(
            self.model_dump(mode="json", exclude_none=True),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()

    def differences(self, other: Panel) -> list[str]:
        """The fields in which two panels differ, as `field: mine != theirs`."""
        mine, theirs = (json.loads(panel.canonical_json()) for panel in (self, other))
        return list(_differences("", mine, theirs))

    # ---- building ------------------------------------------------------------------------

    def with_random_branches(self, count: int, *, seed: int = 0) -> Self:
        """A panel whose scenarios have `count` uniformly random counterfactual scripts more.

        Uniform over the action names, no-op included (Genie, arXiv:2402.15391 §3). Discrete
        action spaces only.
        """
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"count: expected an integer of at least 1, got {count!r}")
        space, horizon = self.contract.actions, self.contract.horizon
        if space.kind != "discrete":
            raise ValueError("contract.actions.kind: random scripts need 'discrete' actions")
        data = self.model_dump()
        for scenario, own in zip(data["scenarios"], self.scenarios, strict=True):
            scenario["branches"] = (
                *scenario["branches"],
                *_random_branches(space, horizon, count, seed, own),
            )
        return _validate(type(self), data)

    def with_there_and_back(
        self, inverses: Mapping[str, str] | None = None, *, pause: int = 0
    ) -> Self:
        """A panel whose scenarios go there and back: half of each script, then its inverse.

        The commanded script becomes its own first half, `pause` no-ops, and the inverses of that
        half in reverse order, so that what was left should come back (axis reset_consistency). The
        counterfactual scripts stay. What remains of the horizon is no-op, or the last inverse
        where there is none.

        Args:
            inverses: for each action its inverse, say `{"left": "right"}`; both directions are
                understood, and the no-op is its own. An action that undoes itself or is to be
                repeated on the way back is mapped to itself. By default they are found by the
                actions' names (`wmscore.opposites`); a continuous action is mirrored at the no-op,
                or at 0, buttons stay pressed.
            pause: steps to wait at the turning point.

        Raises:
            ValueError: an action without inverse is commanded, inverses for continuous actions, an
                unknown action, or no room for a step each way.

        Example:
            >>> panel = Panel.packaged("sprites").with_there_and_back()
            >>> panel.scenarios[3].actions[12:16], panel.scenarios[3].actions[16:20]
            (('right', 'noop', 'noop', 'right'), ('left', 'noop', 'noop', 'left'))
        """
        space, horizon = self.contract.actions, self.contract.horizon
        half = (horizon - pause) // 2
        if pause < 0 or half < 1 or (pause and space.noop is None):
            raise ValueError(
                f"pause: expected 0 to {horizon - 2}, and a no-op where it is not 0; got {pause}"
            )
        undo = _undoing(space, inverses)
        data = self.model_dump()
        for scenario, own in zip(data["scenarios"], self.scenarios, strict=True):
            there = own.script(horizon, space)[:half]
            back = tuple(undo(action) for action in reversed(there))
            fill = back[-1] if space.noop is None else space.noop
            rest = horizon - 2 * half - pause
            scenario["actions"] = (*there, *(fill,) * pause, *back, *(fill,) * rest)
            scenario["then"] = None
        return _validate(type(self), data)

    def with_initial_frames(
        self, hashes: Mapping[str, str], observation: Observation | None = None
    ) -> Self:
        """A panel that also freezes each scenario's initial frame (`sha256_tensor`) by id.

        What the panel ignores of a frame stays.
        """
        data = self.model_dump()
        for scenario in data["scenarios"]:
            scenario["initial_frame_sha256"] = hashes[scenario["id"]]
        if observation is not None:
            own = self.contract.observation
            data["contract"]["observation"] = observation.model_dump()
            data["contract"]["observation"]["ignore"] = None if own is None else own.ignore
        return _validate(type(self), data)

    def with_thresholds(
        self,
        thresholds: Mapping[str, float],
        calibration: Mapping[str, AxisCalibration] | None = None,
    ) -> Self:
        """A panel with other thresholds of some axes, and where each comes from.

        Raises:
            ValueError: an axis that the panel does not have, or a threshold outside 0..1.
        """
        calibration = calibration or {}
        known = [spec.axis for spec in self.axes]
        for name in (*thresholds, *calibration):
            if name not in known:
                raise ValueError(f"thresholds: expected axes of the panel, {known}, got {name!r}")
        if strays := sorted(set(calibration) - set(thresholds)):
            raise ValueError(f"calibration: expected axes with a threshold, got {strays}")
        data = self.model_dump()
        for spec in data["axes"]:
            name = spec["axis"]
            if name in thresholds:
                spec["threshold"] = float(thresholds[name])
                spec["calibration"] = (
                    calibration[name].model_dump() if name in calibration else None
                )
        return _validate(type(self), data)

    def without_actions(self) -> Self:
        """This panel for models that take no actions: commanded scripts only, no action axis.

        What such models show under other scripts is not asked for, so that nothing is said about
        their response.

        Raises:
            ValueError: the panel has no other axis.
        """
        data = self.model_dump()
        data["axes"] = [spec for spec in data["axes"] if spec["axis"] != "action_response"]
        if not data["axes"]:
            raise ValueError("axes: expected one beside action_response, there is none")
        for scenario in data["scenarios"]:
            scenario["branches"] = ()
        return _validate(type(self), data)

    def judged_like(self, other: Panel) -> Self:
        """This panel with the axes and ignored boxes of `other`: the same rollouts, judged anew.

        Raises:
            ValueError: the axes do not fit, say without counterfactual scripts, or the boxes.
        """
        data = self.model_dump()
        data["axes"] = [spec.model_dump() for spec in other.axes]
        mine, theirs = data["contract"]["observation"], other.contract.observation
        if mine is not None and theirs is not None:
            mine["ignore"] = theirs.ignore
        return _validate(type(self), data)

    def unfrozen_like(self, other: Panel) -> Self:
        """This panel without the initial-frame hashes and frame size that `other` leaves open.

        A recording freezes them; the panel it was asked for with may not have them yet.
        """
        data = self.model_dump()
        if other.contract.observation is None:
            data["contract"]["observation"] = None
        known = {s.id for s in other.scenarios if s.initial_frame_sha256 is not None}
        for scenario in data["scenarios"]:
            if scenario["id"] not in known:
                scenario["initial_frame_sha256"] = None
        return _validate(type(self), data)

    # ---- rows ----------------------------------------------------------------------------

    def rows(self) -> Iterator[tuple[int, int]]:
        """All (scenario index, seed) pairs, scenario-major: the rows of every matched table."""
        for i in range(len(self.scenarios)):
            for seed in self.seeds:
                yield i, seed

    def actions(self, scenario: int, branch: int = 0) -> Tensor:
        """The encoded script of one branch: `[T]` int64 or `[T, A]` float32."""
        script = self.scenarios[scenario].scripts[branch]
        space = self.contract.actions
        return space.encode(script.script(self.contract.horizon, space))


_NOOPS = ("noop", "no-op", "none", "stop", "idle", "stay", "wait")


class _ChapterManifest(_Frozen):
    chapter: StrictInt
    initial_state_id: Name
    action_script: Annotated[tuple[Name, ...], Field(min_length=1)]
    max_horizon: Count
    evaluation_axis: Name
    trace_to_save: StrictStr = "first_failure"
    accept_threshold: Unit


def _vector(action: Action) -> tuple[float, ...]:
    """A continuous action: names are refused where a panel is made."""
    assert not isinstance(action, str)
    return action


def _undoing(space: ActionSpace, inverses: Mapping[str, str] | None) -> Callable[[Action], Action]:
    """What undoes an action."""
    if space.kind == "continuous":
        if inverses is not None:
            raise ValueError(
                "inverses: continuous actions are mirrored at the no-op; expected none by name, "
                f"got {dict(inverses)}"
            )
        units = space.units or ("number",) * len(space.names)
        rest = space.noop if isinstance(space.noop, tuple) else (0.0,) * len(space.names)

        def mirrored(action: Action) -> Action:
            return tuple(
                value if unit == "button" else 2 * still - value
                for value, still, unit in zip(_vector(action), rest, units, strict=True)
            )

        return mirrored
    by_name = opposites(space.names) if inverses is None else dict(inverses)
    both = {**{b: a for a, b in by_name.items()}, **by_name}
    for name in both:
        space.check_action("inverses", name)
    if isinstance(space.noop, str):
        both.setdefault(space.noop, space.noop)

    def undo(action: Action) -> Action:
        if action not in both:
            raise ValueError(
                f"inverses: expected the inverse of {action!r}, which is commanded, got only "
                f"{both}; map an action to itself that is to be repeated on the way back"
            )
        return both[str(action)]

    return undo


def _random_branches(
    space: ActionSpace, horizon: int, count: int, seed: int, scenario: Scenario
) -> list[dict[str, Any]]:
    if len(space.names) < 2:
        raise ValueError(
            f"actions: a counterfactual needs at least two different ones, got {list(space.names)}"
        )
    # random.Random is seeded with text and stable across Python versions, unlike torch's.
    rng = random.Random(f"{seed}/{scenario.id}")
    known = {branch.script(horizon, space) for branch in scenario.scripts}
    if len(known) + count > len(space.names) ** horizon:
        raise ValueError(
            f"count: {count} more scripts than the {len(known)} there are, but {len(space.names)} "
            f"actions and {horizon} steps make only {len(space.names) ** horizon}"
        )
    names = {branch.name for branch in scenario.scripts}
    free = (name for i in itertools.count() if (name := f"random-{i}") not in names)
    branches: list[dict[str, Any]] = []
    while len(branches) < count:
        actions = rng.choices(space.names, k=horizon)
        if tuple(actions) not in known:
            known.add(tuple(actions))
            branches.append({"name": next(free), "actions": actions})
    return branches


def _refuse_repeats(field: str, values: Any) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise ValueError(f"{field}: expected each once, got {repeated} more than once")


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _refuse_repeats("keys of an object", [key for key, _ in pairs])
    return dict(pairs)


def _validate(model: type[M], data: Any) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ValueError(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        if problem["type"] == "too_short" and problem["input"]:
            continue  # an echo: the items are there, and their own errors are listed
        field = ""
        for part in problem["loc"]:
            field += f"[{part}]" if isinstance(part, int) else f".{part}"
        message = problem["msg"].removeprefix("Value error, ")
        got = "" if problem["type"] in ("value_error", "missing") else f", got {problem['input']!r}"
        lines.append(f"{field.lstrip('.')}: {message}{got}" if field else f"{message}{got}")
    return "\n".join(lines)


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()


def _differences(path: str, mine: Any, theirs: Any) -> Iterator[str]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in sorted(mine.keys() | theirs.keys()):
            where = f"{path}.{key}" if path else key
            yield from _differences(where, mine.get(key, _ABSENT), theirs.get(key, _ABSENT))
    elif isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        for i, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            yield from _differences(f"{path}[{i}]", a, b)
    elif isinstance(mine, list) and isinstance(theirs, list):
        yield f"{path}: {len(mine)} items != {len(theirs)} items"
    elif type(mine) is not type(theirs) or mine != theirs:  # 1 and 1.0 are different text
        yield f"{path}: {mine!r} != {theirs!r}"
