"""`wmscore replay`: a model over a panel, into a folder."""

from __future__ import annotations

import argparse

from wmscore.cli.advice import advice
from wmscore.cli.models import (
    ANCHORS,
    add_options,
    find_model,
    made_by,
    needs_world,
    read_options,
)
from wmscore.cli.output import console, print_sentences
from wmscore.cli.parsing import Command, import_from_here, read_panel
from wmscore.cli.recording import run_recording

__all__ = ["add"]


def add(command: Command) -> None:
    """Add it to the parser."""
    play = command("replay", _replay, "roll a model out over a panel, into a folder")
    play.description = (
        "Roll a model out over a panel, into a folder. The same command again goes on where an "
        "interrupted one ended. Exit codes: 0 every row is recorded; 1 some rows are evaluation "
        "faults, found no room on the disk, or the model ended the run; 2 usage, or another panel; "
        "130 interrupted."
    )
    play.add_argument("panel", help="panel JSON, or 'sprites' or 'vizdoom'")
    play.add_argument("--model", required=True, help=f"module:factory; or {', '.join(ANCHORS)}")
    add_options(play)
    play.add_argument(
        "--out", required=True, help="folder for rollouts; one that was begun is gone on with"
    )
    play.add_argument(
        "--batch-size", type=int, default=8, help="panel rows per call and per part (default: 8)"
    )
    play.add_argument(
        "--shard",
        default="0/1",
        metavar="INDEX/COUNT",
        help="only the parts of one of COUNT machines, 0/COUNT to COUNT-1/COUNT; "
        "into one folder, or one each that are scored together",
    )
    play.add_argument(
        "--truth",
        metavar="FOLDER",
        nargs="+",
        help="take the truth of this recording (or its shards) instead of rendering it again",
    )
    play.add_argument(
        "--retry-faults", action="store_true", help="ask again for the rows that failed before"
    )
    play.add_argument(
        "--teacher-forced",
        action="store_true",
        help="one-step predictions from the true frames instead of rollouts",
    )
    play.add_argument(
        "--reconstruct",
        action="store_true",
        help="the model's own encoding and decoding of the true frames instead of rollouts",
    )


def _replay(args: argparse.Namespace) -> int:
    """0 where every row is recorded, 1 where some are faults or found no room."""
    from wmscore.recordings import Recording, record_shard
    from wmscore.worlds.load import load_world

    import_from_here()
    panel, shard = read_panel(args.panel), _shard(args.shard)
    truth = Recording(args.truth) if args.truth else None
    # With a truth the world need not be installed here, unless the model is made of it.
    world = load_world(panel) if truth is None or needs_world(args.model) else None
    options = read_options(args.set)
    model, role = find_model(args.model, world, truth, options)
    if role == "model":
        print_sentences(console(), advice(panel, model))
    return run_recording(
        args.out,
        model.name,
        lambda progress, truth_progress: record_shard(
            args.out,
            panel,
            world,
            model,
            batch_size=args.batch_size,
            progress=progress,
            truth_progress=truth_progress,
            teacher_forced=args.teacher_forced,
            reconstruction=args.reconstruct,
            role="model" if args.teacher_forced or args.reconstruct else role,
            shard=shard,
            truth=truth,
            retry_faults=args.retry_faults,
            made_by=made_by(args.model, options),
        ),
    )


def _shard(text: str) -> tuple[int, int]:
    index, sign, count = text.partition("/")
    if not (sign and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ValueError(
            f"--shard: expected INDEX/COUNT, from 0/COUNT to COUNT-1/COUNT, got {text!r}"
        )
    return int(index), int(count)
