"""All commands, by the panel of `wmscore --help` that shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wmscore.cli.aa import aa
from wmscore.cli.answers import Answer
from wmscore.cli.bench import bench
from wmscore.cli.calibrate import calibrate
from wmscore.cli.check import check
from wmscore.cli.compare import compare
from wmscore.cli.demo import demo
from wmscore.cli.doctor import doctor
from wmscore.cli.ingest import ingest
from wmscore.cli.panel_check import panel_check
from wmscore.cli.panel_new import panel_new
from wmscore.cli.protocol import protocol
from wmscore.cli.replay import replay
from wmscore.cli.report import report
from wmscore.cli.score import score
from wmscore.cli.stress import stress
from wmscore.cli.verify import verify
from wmscore.cli.weights import convert

__all__ = ["COMMANDS", "GROUPS"]

COMMANDS: Mapping[str, Mapping[str, Callable[..., Answer]]] = {
    "Start": {
        "demo": demo,
        "doctor": doctor,
        "panel new": panel_new,
        "panel check": panel_check,
    },
    "Rollouts": {"check": check, "replay": replay, "ingest": ingest, "stress": stress},
    "Results": {"score": score, "report": report, "verify": verify, "compare": compare, "aa": aa},
    "Further": {
        "calibrate": calibrate,
        "protocol": protocol,
        "bench": bench,
        "weights convert": convert,
    },
}
"""Name -> function; a name of two words is a command of a group."""

GROUPS = {
    "panel": "Make panels, and look at them.",
    "weights": "Files of network weights.",
}
"""What the groups are about."""
