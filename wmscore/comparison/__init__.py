"""Comparisons of models: what they need to be fair, and whether they are."""

from __future__ import annotations

from wmscore.comparison.null_check import NullCheck, Rejections, null_check, null_check_pair
from wmscore.comparison.seed_checks import (
    RecordingsTest,
    SharedLuckTest,
    recordings_test,
    shared_luck_test,
)

__all__ = [
    "NullCheck",
    "RecordingsTest",
    "Rejections",
    "SharedLuckTest",
    "null_check",
    "null_check_pair",
    "recordings_test",
    "shared_luck_test",
]
