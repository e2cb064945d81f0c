"""The streaming, batched scoring engine."""

from wmscore.scorer.engine import Scorer

__all__ = ["Scorer"]
