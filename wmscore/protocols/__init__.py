"""Evaluation protocols of published world models, run on a panel."""

from wmscore.protocols.gamengen import gamengen_protocol
from wmscore.protocols.gamengen_result import Average, GameNGenResult, WindowResult

__all__ = ["Average", "GameNGenResult", "WindowResult", "gamengen_protocol"]
