"""Statistics over scenarios, the unit that generalises: tests, intervals, corrections."""

from __future__ import annotations

from wmscore.stats.holm import holm
from wmscore.stats.intervals import MeanInterval, mean_interval
from wmscore.stats.sign_flip import (
    EXACT_SCENARIOS,
    SignFlipTest,
    sign_flip_norm_test,
    sign_flip_test,
)
from wmscore.stats.student import student_quantile, student_two_sided

__all__ = [
    "EXACT_SCENARIOS",
    "MeanInterval",
    "SignFlipTest",
    "holm",
    "mean_interval",
    "sign_flip_norm_test",
    "sign_flip_test",
    "student_quantile",
    "student_two_sided",
]
