"""The frozen contract of a comparison: `Panel` = scenarios x seeds under one `Contract`.

A panel is a JSON file. The book chapter's one-scenario manifest loads as it stands. Whatever two
models must share to be compared is in here, and only that, so its `fingerprint` decides whether
two results may stand side by side.
"""

from wmscore.manifest.axes import AXIS_MEASURES, AxisCalibration, AxisName, AxisSpec
from wmscore.manifest.contract import ActionSpace, ActionUnit, Contract, Observation
from wmscore.manifest.differences import PanelMismatchError
from wmscore.manifest.fields import Action
from wmscore.manifest.panel import Panel
from wmscore.manifest.scenario import Branch, Scenario
from wmscore.manifest.stress import Stress

__all__ = [
    "AXIS_MEASURES",
    "Action",
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
