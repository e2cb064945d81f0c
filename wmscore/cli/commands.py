"""All commands, by the panel of `wmscore --help` that shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wmscore.cli.aa import aa
from wmscore.cli.answers import Answer
from wmscore.cli.calibrate import calibrate
from wmscore.cli.check import check
from wmscore.cli.compare import compare
from wmscore.cli.demo import demo
from wmscore.cli.doctor import doctor
from wmscore.cli.ingest import ingest
from wmscore.cli.protocol import protocol
from wmscore.cli.replay import replay
from wmscore.cli.score import score
from wmscore.cli.weights import convert

__all__ = ["COMMANDS", "GROUPS"]

COMMANDS: Mapping[str, Mapping[str, Callable[..., Answer]]] = {
    "Start": {"demo": demo, "doctor": doctor},
    "Rollouts": {"check": check, "replay": replay, "ingest": ingest},
    "Results": {"score": score, "compare": compare, "aa": aa},
    "Further": {"calibrate": calibrate, "protocol": protocol, "weights convert": convert},
}
"""Name -> function; a name of two words is a command of a group."""

GROUPS = {"weights": "Files of network weights."}
"""What the groups are about."""
