"""How late a world answers: the lag between commands and response, against the reference."""

from __future__ import annotations

from wmscore.functional.latency.measure import response_latency
from wmscore.functional.latency.result import Lag, LagEstimate, ResponseLatency

__all__ = ["Lag", "LagEstimate", "ResponseLatency", "response_latency"]
