"""`wmscore replay`: a model over a panel, into a folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from wmscore.cli.output import console, progress_bar
from wmscore.cli.parsing import Command, read_panel

__all__ = ["add"]


def add(command: Command) -> None:
    """Add it to the parser."""
    play = command("replay", _replay, "roll a model out over a panel, into a folder")
    play.add_argument("panel", help="panel JSON, or 'sprites' or 'vizdoom'")
    play.add_argument(
        "--model", required=True, help="module:factory; or world, other-seed, action-blind, frozen"
    )
    play.add_argument("--out", required=True, help="folder for rollouts; must not exist")
    play.add_argument("--batch-size", type=int, default=8)
    play.add_argument(
        "--teacher-forced",
        action="store_true",
        help="one-step predictions from the true frames instead of rollouts",
    )


def _replay(args: argparse.Namespace) -> int:
    from wmscore.recordings import record
    from wmscore.worlds import ActionBlind, Frozen, OtherSeed, WorldModel
    from wmscore.worlds.load import load_model, load_world

    sys.path.insert(0, str(Path.cwd()))  # a model may live in a file right here
    panel = read_panel(args.panel)
    world = load_world(panel)
    anchors: dict[str, tuple[WorldModel, str]] = {
        "world": (world, "truth"),
        "other-seed": (OtherSeed(world), "ceiling"),
        "action-blind": (ActionBlind(world), "floor"),
        "frozen": (Frozen(world), "floor"),
    }
    model, role = anchors.get(args.model) or (load_model(args.model), "model")
    progress = progress_bar()
    with progress:
        task = progress.add_task(model.name, total=None)
        record(
            args.out,
            panel,
            world,
            model,
            batch_size=args.batch_size,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
            teacher_forced=args.teacher_forced,
            role="model" if args.teacher_forced else role,
        )
    console().print(f"Rollouts: {args.out}")
    return 0
