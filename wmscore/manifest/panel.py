"""`Panel`: scenarios x seeds under one contract, with the axes that judge them."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictInt, model_validator
from torch import Tensor

from wmscore.files import write_json
from wmscore.manifest.axes import BRANCHLESS_MEASURES, AxisCalibration, AxisSpec
from wmscore.manifest.chapter import chapter_panel
from wmscore.manifest.contract import Contract, Observation
from wmscore.manifest.differences import differences_of
from wmscore.manifest.fields import Frozen, Name, refuse_repeated_keys, refuse_repeats, validate
from wmscore.manifest.scenario import MOST_SCRIPTS, Scenario
from wmscore.manifest.scripts import random_branches, undoing
from wmscore.manifest.stress import Stress

__all__ = ["Panel"]

Seed = Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)]


class Panel(Frozen):
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
        refuse_repeats("scenarios", [scenario.id for scenario in self.scenarios])
        refuse_repeats("seeds", self.seeds)
        refuse_repeats("axes", [spec.axis for spec in self.axes])
        space, horizon = self.contract.actions, self.contract.horizon
        for i, scenario in enumerate(self.scenarios):
            refuse_repeats(f"scenarios[{i}].branches", [b.name for b in scenario.scripts])
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
            data = json.loads(text, object_pairs_hook=refuse_repeated_keys)
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
        return validate(cls, data)

    @classmethod
    def from_manifest(cls, data: Mapping[str, Any]) -> Self:
        """Build a one-scenario panel from the chapter's manifest.

        What the manifest leaves open is decided here, and written into the panel: a script
        shorter than `max_horizon` holds its last command (zero-order hold), the action space
        is the set of names in the script, and `controllability` is judged against two uniformly
        random scripts (Genie, arXiv:2402.15391 §3) drawn from `seed`.
        """
        return validate(cls, chapter_panel(data))

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
        return list(differences_of("", mine, theirs))

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
                *random_branches(space, horizon, count, seed, own),
            )
        return validate(type(self), data)

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
        undo = undoing(space, inverses)
        data = self.model_dump()
        for scenario, own in zip(data["scenarios"], self.scenarios, strict=True):
            there = own.script(horizon, space)[:half]
            back = tuple(undo(action) for action in reversed(there))
            fill = back[-1] if space.noop is None else space.noop
            rest = horizon - 2 * half - pause
            scenario["actions"] = (*there, *(fill,) * pause, *back, *(fill,) * rest)
            scenario["then"] = None
        return validate(type(self), data)

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
        return validate(type(self), data)

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
        return validate(type(self), data)

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
        return validate(type(self), data)

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
        return validate(type(self), data)

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
        return validate(type(self), data)

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
