"""`wmscore check`: whether a model keeps to the protocol and to its own promises."""

from __future__ import annotations

import argparse

from wmscore.cli.advice import advice
from wmscore.cli.models import ANCHORS, add_options, find_model, needs_world, read_options
from wmscore.cli.parsing import Command, import_from_here, read_panel

__all__ = ["add"]


def add(command: Command) -> None:
    """Add it to the parser."""
    check = command("check", _check, "test whether a model keeps its promises, as a table")
    check.description = (
        "Roll a model out over some rows of a panel, several times and in several ways, and "
        "compare it with its capabilities. Exit codes: 0 every promise is kept; 1 one is broken; "
        "2 usage."
    )
    check.add_argument("model", help=f"module:factory; or {', '.join(ANCHORS)}")
    add_options(check)
    check.add_argument(
        "--panel", default="sprites", help="panel JSON, or 'sprites' (default) or 'vizdoom'"
    )
    check.add_argument(
        "--truth", metavar="FOLDER", nargs="+", help="a recording with the truth; no world is run"
    )
    check.add_argument("--scenarios", type=int, default=2, help="of the panel (default: 2)")
    check.add_argument("--horizon", type=int, help="steps, at least 2 (default: the panel's)")


def _check(args: argparse.Namespace) -> int:
    """0 where every promise is kept, 1 where one is broken."""
    from wmscore.recordings import Recording
    from wmscore.replay import panel_items, render_scenarios
    from wmscore.testing import check_world_model
    from wmscore.worlds.load import load_world

    import_from_here()
    panel = read_panel(args.panel)
    most = panel.contract.horizon
    horizon = most if args.horizon is None else args.horizon
    if not 2 <= horizon <= most:
        raise ValueError(f"--horizon: expected 2..{most}, the panel's, got {horizon}")
    if not 1 <= args.scenarios:
        raise ValueError(f"--scenarios: expected at least 1, got {args.scenarios}")
    scenarios = range(min(args.scenarios, len(panel.scenarios)))
    recording = Recording(args.truth, panel) if args.truth else None
    world = load_world(panel) if recording is None or needs_world(args.model) else None
    model, role = find_model(args.model, world, recording, read_options(args.set))
    if recording is not None:
        panel, truth = recording.panel, recording.truth_of(scenarios)
    else:
        assert world is not None
        truth = render_scenarios(panel, world, scenarios)
    rows = [(s, panel.seeds[0]) for s in scenarios]
    items = panel_items(panel, rows, truth=truth)
    if len(items) < 2:
        raise ValueError(
            "--scenarios: expected at least 2 rows to compare, got 1 scenario with 1 script"
        )
    report = check_world_model(model, items, horizon)
    print(f"{report.model} on {panel.name}, {len(rows)} scenarios, {horizon} steps")
    print(report.table())
    broken = [row.property for row in report.rows if not row.ok]
    print(f"Broken: {', '.join(broken)}" if broken else "Every promise is kept.")
    if role == "model":
        for line in advice(panel, model):
            print(line)
    return 1 if broken else 0
