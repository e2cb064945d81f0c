"""Fair comparison of models on one panel: paired by scenario and seed, scenarios as the unit."""

from __future__ import annotations

from wmscore.comparison.cells import MatchedCells, matched_cells
from wmscore.comparison.gate import GATE_SCENARIOS, Outcome, gate_outcome, parse_margin
from wmscore.comparison.null_checks import NullCheck, Rejections, null_check, null_check_pair
from wmscore.comparison.pair import compare
from wmscore.comparison.paired import (
    PairedDifference,
    paired_difference,
    scenario_differences,
)
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
]
