"""Fair comparison of models on one panel: paired by scenario and seed, scenarios as the unit."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from wmscore.comparison.areas import shared_means
from wmscore.comparison.gate import GATE_SCENARIOS, Outcome, gate_outcome, parse_margin
from wmscore.comparison.paired import (
    PairedDifference,
    paired_difference,
    scenario_differences,
)

if TYPE_CHECKING:
    from wmscore.comparison.cells import MatchedCells, matched_cells
    from wmscore.comparison.null_checks import (
        NullCheck,
        Rejections,
        null_check,
        null_check_pair,
    )
    from wmscore.comparison.pair import compare
    from wmscore.comparison.ranking import RankedModel, RankedPair, Ranking, rank
    from wmscore.comparison.report import Report, compare_models
    from wmscore.comparison.result import Comparison, Difference, Gate, ScenarioLine, Side
    from wmscore.comparison.same import check_comparable
    from wmscore.comparison.seed_checks import (
        RecordingsTest,
        SharedLuckTest,
        recordings_test,
        shared_luck_test,
    )
    from wmscore.comparison.self_checks import SelfCheck, self_check
    from wmscore.comparison.tables import difference_table, ranking_table, scenario_table

# Module -> its public names, resolved on first use: what works on tensors alone, as above, runs
# where nothing but torch and numpy is installed.
_LAZY = {
    "cells": (
        "MatchedCells",
        "matched_cells",
    ),
    "null_checks": ("NullCheck", "Rejections", "null_check", "null_check_pair"),
    "pair": ("compare",),
    "ranking": (
        "RankedModel",
        "RankedPair",
        "Ranking",
        "rank",
    ),
    "report": (
        "Report",
        "compare_models",
    ),
    "result": (
        "Comparison",
        "Difference",
        "Gate",
        "ScenarioLine",
        "Side",
    ),
    "same": ("check_comparable",),
    "seed_checks": ("RecordingsTest", "SharedLuckTest", "recordings_test", "shared_luck_test"),
    "self_checks": ("SelfCheck", "self_check"),
    "tables": (
        "difference_table",
        "ranking_table",
        "scenario_table",
    ),
}
_MODULE_OF = {name: module for module, names in _LAZY.items() for name in names}

__all__ = [
    "Comparison",
    "Difference",
    "Gate",
    "MatchedCells",
    "NullCheck",
    "RankedModel",
    "RankedPair",
    "Ranking",
    "RecordingsTest",
    "Rejections",
    "Report",
    "ScenarioLine",
    "SelfCheck",
    "SharedLuckTest",
    "Side",
    "check_comparable",
    "compare",
    "compare_models",
    "difference_table",
    "matched_cells",
    "null_check",
    "null_check_pair",
    "rank",
    "ranking_table",
    "recordings_test",
    "scenario_table",
    "self_check",
    "shared_luck_test",
    "GATE_SCENARIOS",
    "Outcome",
    "PairedDifference",
    "gate_outcome",
    "paired_difference",
    "parse_margin",
    "scenario_differences",
    "shared_means",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'wmscore.comparison' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"wmscore.comparison.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, imported or not."""
    return sorted(__all__)
