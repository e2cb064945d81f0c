"""Evaluation protocols of published world models, run on a panel."""

from wmscore.protocols.gamengen import gamengen_protocol
from wmscore.protocols.gamengen_result import Average, Errors, GameNGenResult, WindowResult

__all__ = ["Average", "Errors", "GameNGenResult", "WindowResult", "gamengen_protocol"]
