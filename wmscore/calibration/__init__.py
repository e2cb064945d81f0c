"""Thresholds of a panel from what the true world scores against itself."""

from __future__ import annotations

from wmscore.calibration.thresholds import AxisThreshold, Calibration, calibrate
from wmscore.calibration.tolerance import TOLERANCE, reference_copies, tolerance_scores

__all__ = [
    "TOLERANCE",
    "AxisThreshold",
    "Calibration",
    "calibrate",
    "reference_copies",
    "tolerance_scores",
]
