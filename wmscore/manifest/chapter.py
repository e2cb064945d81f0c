"""The one-scenario manifest of the book's chapter, as the panel that it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StrictInt, StrictStr

from wmscore.manifest.axes import AXIS_MEASURES
from wmscore.manifest.contract import ActionSpace
from wmscore.manifest.fields import Count, Frozen, Name, Unit, validate
from wmscore.manifest.scenario import Scenario
from wmscore.manifest.scripts import random_branches

__all__ = ["chapter_panel"]

# The chapter's words for the axes.
CHAPTER_AXES: dict[str, str] = {
    "controllability": "action_response",
    "object_identity": "identity_persistence",
    "visual_drift": "perceptual_drift",
    "loop_closure": "reset_consistency",
}

_NOOPS = ("noop", "no-op", "none", "stop", "idle", "stay", "wait")


class _ChapterManifest(Frozen):
    chapter: StrictInt
    initial_state_id: Name
    action_script: Annotated[tuple[Name, ...], Field(min_length=1)]
    max_horizon: Count
    evaluation_axis: Name
    trace_to_save: StrictStr = "first_failure"
    accept_threshold: Unit


def chapter_panel(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of the panel; what `Panel.from_manifest` says of it.

    Raises:
        ValueError: a field is wrong, or there is no such axis; says which.
    """
    manifest = validate(_ChapterManifest, data)
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
        scenario["branches"] = random_branches(
            space, manifest.max_horizon, 2, 0, Scenario.model_validate(scenario)
        )
    patience = min(3, manifest.max_horizon)
    return {
        "name": manifest.initial_state_id,
        "contract": {"actions": space, "horizon": manifest.max_horizon},
        "scenarios": [scenario],
        "axes": [{"axis": axis, "threshold": manifest.accept_threshold, "patience": patience}],
        "trace_to_save": manifest.trace_to_save,
        "chapter": manifest.chapter,
    }
