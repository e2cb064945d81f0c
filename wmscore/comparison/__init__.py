"""Fair comparison of models on one panel: paired by scenario and seed, scenarios as the unit."""

from __future__ import annotations

from wmscore.comparison.gate import GATE_SCENARIOS, Outcome, gate_outcome, parse_margin
from wmscore.comparison.null_check import NullCheck, Rejections, null_check, null_check_pair
from wmscore.comparison.paired import (
    PairedDifference,
    paired_difference,
    scenario_differences,
)
from wmscore.comparison.seed_checks import (
    RecordingsTest,
    SharedLuckTest,
    recordings_test,
    shared_luck_test,
)

__all__ = [
    "GATE_SCENARIOS",
    "NullCheck",
    "Outcome",
    "PairedDifference",
    "RecordingsTest",
    "Rejections",
    "SharedLuckTest",
    "gate_outcome",
    "null_check",
    "null_check_pair",
    "paired_difference",
    "parse_margin",
    "recordings_test",
    "scenario_differences",
    "shared_luck_test",
]
