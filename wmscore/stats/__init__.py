"""Statistics over scenarios, the unit that generalises: tests, intervals, corrections."""

from __future__ import annotations

from wmscore.stats.conformal import (
    ConformalThreshold,
    conformal_threshold,
    joint_conformal_threshold,
    scenarios_for,
)
from wmscore.stats.holm import holm
from wmscore.stats.intervals import MeanInterval, mean_interval
from wmscore.stats.power import detectable_difference, paired_power, scenarios_needed
from wmscore.stats.sign_flip import (
    EXACT_SCENARIOS,
    SignFlipTest,
    sign_flip_norm_test,
    sign_flip_test,
)
from wmscore.stats.student import student_quantile
from wmscore.stats.variance import PairedVariance, paired_variance, seeds_needed

__all__ = [
    "EXACT_SCENARIOS",
    "ConformalThreshold",
    "MeanInterval",
    "PairedVariance",
    "SignFlipTest",
    "conformal_threshold",
    "detectable_difference",
    "holm",
    "joint_conformal_threshold",
    "mean_interval",
    "paired_power",
    "paired_variance",
    "scenarios_for",
    "scenarios_needed",
    "seeds_needed",
    "sign_flip_norm_test",
    "sign_flip_test",
    "student_quantile",
]
