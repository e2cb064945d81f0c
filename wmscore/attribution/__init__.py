"""From scores to cause: what failed first, and how far the evidence names a culprit.

A stage is named only when the evidence excludes every stage before it: oracle substitution in a
fixed order, abstaining otherwise (docs/attribution.md).
"""

from wmscore.attribution.alignment import Misalignment, misalignment
from wmscore.attribution.assigning import Assignment, Normal, assign
from wmscore.attribution.decision import CAUSES, Decision, decide
from wmscore.attribution.diagnosis import Diagnosis, diagnose
from wmscore.attribution.first import FirstFailure, first_failure
from wmscore.attribution.probes import (
    companion_signal,
    evaluation_signal,
    growth_of,
    one_step_signal,
    outcome_of,
    response_signal,
)
from wmscore.attribution.signals import (
    Outcome,
    Signal,
    accumulates,
    no_signal,
    stage_signal,
    state_probe,
    threshold_signal,
)
from wmscore.attribution.stages import PRECEDED, SETTLES, SHARPENS, STAGES, Cause
from wmscore.attribution.substitution import delivered_signal, misaligned_evaluation, on_rows

__all__ = [
    "Assignment",
    "CAUSES",
    "Cause",
    "Decision",
    "Diagnosis",
    "FirstFailure",
    "Misalignment",
    "Normal",
    "Outcome",
    "PRECEDED",
    "SETTLES",
    "SHARPENS",
    "STAGES",
    "Signal",
    "accumulates",
    "assign",
    "companion_signal",
    "decide",
    "delivered_signal",
    "diagnose",
    "evaluation_signal",
    "first_failure",
    "growth_of",
    "misaligned_evaluation",
    "misalignment",
    "no_signal",
    "on_rows",
    "one_step_signal",
    "outcome_of",
    "response_signal",
    "stage_signal",
    "state_probe",
    "threshold_signal",
]
