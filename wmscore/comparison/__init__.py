"""Fair comparison of models on one panel: paired by scenario and seed, scenarios as the unit."""

from __future__ import annotations

from wmscore.comparison.gate import GATE_SCENARIOS, Outcome, gate_outcome, parse_margin
from wmscore.comparison.paired import (
    PairedDifference,
    paired_difference,
    scenario_differences,
)

__all__ = [
    "GATE_SCENARIOS",
    "Outcome",
    "PairedDifference",
    "gate_outcome",
    "paired_difference",
    "parse_margin",
    "scenario_differences",
]
