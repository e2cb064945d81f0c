"""Does a reset reset: the same row twice, in one call and in two, and after another history."""

from __future__ import annotations

from wmscore.replay.resets.asking import check_resets
from wmscore.replay.resets.report import ResetReport

__all__ = ["ResetReport", "check_resets"]
