"""The streaming, batched scoring engine."""

from wmscore.scorer.engine import Scorer
from wmscore.scorer.ignore import cover_ignored
from wmscore.scorer.recorded import score_recording

__all__ = ["Scorer", "cover_ignored", "score_recording"]
