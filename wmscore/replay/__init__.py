"""Replay: every model gets the same initial states, scripts, seeds and horizon.

`render_truth`, `freeze_panel` and `replay` work on tensors in memory; `wmscore.recordings` does the
same into folders, for panels that are larger than memory and runs that may be interrupted.
"""

from wmscore.replay.answers import (
    NoRolloutsError,
    WrongAnswerError,
    WrongScriptError,
    WrongSizeError,
    checked_answer,
)
from wmscore.replay.delivered import Delivered, delivered_scripts
from wmscore.replay.examining import Examination, examine
from wmscore.replay.items import fingerprint_of, panel_items
from wmscore.replay.resets import ResetReport, check_resets
from wmscore.replay.returns import ScenarioReturns, describe_returns, panel_returns
from wmscore.replay.rolling import (
    predict_rows,
    reconstruct_rows,
    reconstruction_name,
    replay,
    replay_reconstruction,
    replay_rows,
    replay_teacher_forced,
    roll_out_rows,
    teacher_forced_name,
)
from wmscore.replay.truth import (
    Progress,
    check_batch_size,
    freeze_panel,
    render_scenarios,
    render_truth,
)

__all__ = [
    "Delivered",
    "Examination",
    "NoRolloutsError",
    "Progress",
    "ResetReport",
    "ScenarioReturns",
    "WrongAnswerError",
    "WrongScriptError",
    "WrongSizeError",
    "check_batch_size",
    "check_resets",
    "checked_answer",
    "delivered_scripts",
    "describe_returns",
    "examine",
    "fingerprint_of",
    "freeze_panel",
    "panel_items",
    "panel_returns",
    "predict_rows",
    "reconstruct_rows",
    "reconstruction_name",
    "render_scenarios",
    "render_truth",
    "replay",
    "replay_reconstruction",
    "replay_rows",
    "replay_teacher_forced",
    "roll_out_rows",
    "teacher_forced_name",
]
