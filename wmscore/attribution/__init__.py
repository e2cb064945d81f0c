"""From scores to cause: what failed first, and how far the evidence names a culprit.

A stage is named only when the evidence excludes every stage before it: oracle substitution in a
fixed order, abstaining otherwise (docs/attribution.md).
"""

from wmscore.attribution.decision import CAUSES, Decision, decide
from wmscore.attribution.diagnosis import Diagnosis, diagnose
from wmscore.attribution.first import FirstFailure, first_failure
from wmscore.attribution.probes import (
    companion_signal,
    evaluation_signal,
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
from wmscore.attribution.stages import SETTLES, STAGES, Cause

__all__ = [
    "CAUSES",
    "SETTLES",
    "STAGES",
    "Cause",
    "Decision",
    "Diagnosis",
    "FirstFailure",
    "Outcome",
    "Signal",
    "accumulates",
    "companion_signal",
    "decide",
    "diagnose",
    "evaluation_signal",
    "first_failure",
    "no_signal",
    "outcome_of",
    "response_signal",
    "stage_signal",
    "state_probe",
    "threshold_signal",
]
