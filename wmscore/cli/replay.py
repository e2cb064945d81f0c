"""`wmscore replay`: a model over a panel, into a folder."""

from __future__ import annotations

from typing import Annotated

import typer

from wmscore.cli.advice import advice
from wmscore.cli.answers import Answer
from wmscore.cli.complete import complete_files
from wmscore.cli.models import find_model, made_by, needs_world, read_options
from wmscore.cli.options import (
    BatchSize,
    JsonFlag,
    ModelOption,
    PanelArgument,
    RetryFaults,
    Settings,
    TruthFolders,
)
from wmscore.cli.output import console, print_sentences
from wmscore.cli.reading import import_from_here, read_panel
from wmscore.cli.recording import run_recording

__all__ = ["replay"]


def replay(
    panel: PanelArgument,
    model: ModelOption,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="folder for rollouts; one that was begun is gone on with",
            autocompletion=complete_files,
        ),
    ],
    settings: Settings = None,
    batch_size: BatchSize = 8,
    shard: Annotated[
        str,
        typer.Option(
            "--shard",
            metavar="INDEX/COUNT",
            help="only the parts of one of COUNT machines, 0/COUNT to COUNT-1/COUNT; into one "
            "folder, or one each that are scored together",
        ),
    ] = "0/1",
    truth: TruthFolders = None,
    retry_faults: RetryFaults = False,
    teacher_forced: Annotated[
        bool,
        typer.Option(
            "--teacher-forced",
            help="one-step predictions from the true frames instead of rollouts",
        ),
    ] = False,
    reconstruct: Annotated[
        bool,
        typer.Option(
            "--reconstruct",
            help="the model's own encoding and decoding of the true frames instead of rollouts",
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> Answer:
    """Roll a model out over a panel, into a folder.

    The same command again goes on where an interrupted one ended.

    Exit codes: 0 every row is recorded; 1 some rows are evaluation faults, found no room on the
    disk, or the model ended the run; 2 usage, or another panel; 130 interrupted.
    """
    from wmscore.recordings import Recording, record_shard
    from wmscore.worlds.load import load_world

    import_from_here()
    asked, part = read_panel(panel), _shard(shard)
    recording = Recording(truth) if truth else None
    # With a truth the world need not be installed here, unless the model is made of it.
    world = load_world(asked) if recording is None or needs_world(model) else None
    options = read_options(settings)
    made, role = find_model(model, world, recording, options)
    if role == "model":
        print_sentences(console(), advice(asked, made))
    return run_recording(
        out,
        made.name,
        lambda progress, truth_progress: record_shard(
            out,
            asked,
            world,
            made,
            batch_size=batch_size,
            progress=progress,
            truth_progress=truth_progress,
            teacher_forced=teacher_forced,
            reconstruction=reconstruct,
            role="model" if teacher_forced or reconstruct else role,
            shard=part,
            truth=recording,
            retry_faults=retry_faults,
            made_by=made_by(model, options),
        ),
    )


def _shard(text: str) -> tuple[int, int]:
    index, sign, count = text.partition("/")
    if not (sign and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ValueError(
            f"--shard: expected INDEX/COUNT, from 0/COUNT to COUNT-1/COUNT, got {text!r}"
        )
    return int(index), int(count)
