"""Action recovery: which actions the frames show, and what each of them does."""

from wmscore.functional.recovery.continuous import VectorRecovery, vector_recovery
from wmscore.functional.recovery.discrete import ActionRecovery, action_recovery
from wmscore.functional.recovery.effects import ActionEffects, effect_table
from wmscore.functional.recovery.network import (
    InverseDynamics,
    recognise_actions,
    recognise_vectors,
)
from wmscore.functional.recovery.probe import PROBE_STRENGTHS, ActionProbe, with_context
from wmscore.functional.recovery.scores import (
    RecoveredShare,
    RecoveryScores,
    recovered_share,
    recovery_from_confusion,
)
from wmscore.functional.recovery.statistics import ProbeStatistics, fit_probe

__all__ = [
    "PROBE_STRENGTHS",
    "ActionEffects",
    "ActionProbe",
    "ActionRecovery",
    "InverseDynamics",
    "ProbeStatistics",
    "RecoveredShare",
    "RecoveryScores",
    "VectorRecovery",
    "action_recovery",
    "effect_table",
    "fit_probe",
    "recognise_actions",
    "recognise_vectors",
    "recovered_share",
    "recovery_from_confusion",
    "vector_recovery",
    "with_context",
]
