"""The streaming, batched scoring engine."""

from wmscore.scorer.ending import panel_horizon
from wmscore.scorer.engine import Scorer
from wmscore.scorer.ignore import cover_ignored
from wmscore.scorer.recorded import score_recording

__all__ = ["Scorer", "cover_ignored", "panel_horizon", "score_recording"]
