"""The stages that a failure can be assigned to, and what would settle which it is."""

from __future__ import annotations

from typing import Literal

__all__ = ["PRECEDED", "SETTLES", "SHARPENS", "STAGES", "Cause"]

Cause = Literal[
    "none",
    "evaluation",
    "perception",
    "control",
    "representation",
    "dynamics",
    "planning",
    "undetermined",
]

STAGES: tuple[Cause, ...] = (
    "evaluation",
    "perception",
    "control",
    "representation",
    "dynamics",
    "planning",
)
"""In the order in which they are asked about: what comes first spoils what comes later."""

SETTLES: dict[str, str] = {
    "evaluation": "replay the true world as if it were a model and score it beside the others: "
    "`wmscore replay PANEL --model world --out DIR`",
    "perception": "give the model `reconstruct(items, reference_frames, horizon)` (see "
    "wmscore.worlds.Reconstructing) and replay it with `--reconstruct`: does the error appear "
    "without dynamics?",
    "control": "find the actions under which the true world would show these frames: "
    "`wmscore.replay.examine(panel, model, world, truth)` does it, and whatever else the model "
    "allows, in one call; `wmscore.replay.delivered_scripts(panel, world, rollouts)` it alone",
    "representation": "read the true state from the model's latents of the true frames, with "
    "`wmscore.attribution.state_probe(latents, state, groups)`: is what was lost in there?",
    "dynamics": "give the model `predict_next(items, reference_frames, horizon)` (see "
    "wmscore.worlds.TeacherForced) and replay it with `--teacher-forced`: does one step from the "
    "true history fail too?",
    "planning": "compare the planner's actions in the true world with an oracle planner's, and "
    "give the difference to `wmscore.attribution.diagnose(regret=)`",
}
"""The experiment that would implicate or exclude a stage."""

SHARPENS: dict[str, str] = {
    "perception": "the reconstruction is between failing and sound: score it on a panel with "
    "thresholds of your own (`wmscore calibrate`), or give "
    "`wmscore.attribution.Normal(reconstruction=...)` of a model that is known to be sound",
    "control": "compare `Delivered.actions` with `Delivered.commanded` step by step "
    "(`wmscore.replay.delivered_scripts(panel, world, rollouts)`) and repair what differs first: "
    "does the failure stay?",
    "dynamics": "every stage is fine on true inputs, so look at the step where the rollout leaves "
    "the reference (`wmscore report EVIDENCE`, filmstrip of the trace): an input the model has "
    "not seen, or a memory that the true history hides; shorten the horizon or the context there",
}
"""What to do next about a stage that was measured, and is neither implicated nor excluded."""

PRECEDED: dict[str, str] = {
    "perception": "the reconstruction fails, and yet other actions explain the rollout, which the "
    "same decoder shows: make both anew, from one checkpoint on one panel",
    "dynamics": "one step from the true history fails already, so do not look for errors that add "
    "up; it is dynamics once the other candidates are excluded",
}
"""What to do next about a stage that is implicated, but not named."""
