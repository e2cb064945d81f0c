"""The streaming, batched scoring engine."""

from wmscore.scorer.engine import Scorer
from wmscore.scorer.ignore import cover_ignored

__all__ = ["Scorer", "cover_ignored"]
