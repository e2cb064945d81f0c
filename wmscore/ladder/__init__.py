"""Stress ladders: how much of its usable horizon a model keeps under each stress."""

from wmscore.ladder.result import Ladder, ModelLadder, Rung, StressorSummary
from wmscore.ladder.rungs import RungScores
from wmscore.ladder.running import run_ladder
from wmscore.ladder.summary import summarise_ladder, told_ladder

__all__ = [
    "Ladder",
    "ModelLadder",
    "Rung",
    "RungScores",
    "StressorSummary",
    "run_ladder",
    "summarise_ladder",
    "told_ladder",
]
