"""`wmscore ingest`: a folder of generated clips into a recording that `wmscore score` takes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmscore.cli.advice import advice
from wmscore.cli.answers import Answer
from wmscore.cli.complete import complete_files, complete_panels
from wmscore.cli.models import made_by
from wmscore.cli.options import BatchSize, JsonFlag, RetryFaults
from wmscore.cli.output import console, print_sentences
from wmscore.cli.reading import import_from_here, read_panel
from wmscore.cli.recording import run_recording

if TYPE_CHECKING:
    from wmscore.episodes import ClipFolder
    from wmscore.manifest import Panel
    from wmscore.recordings import Recording
    from wmscore.worlds import WorldModel

__all__ = ["ingest"]

_PATTERN = "{scenario}_{seed}_{branch}"


def ingest(
    clips: Annotated[
        str,
        typer.Argument(
            metavar="CLIPS",
            help="folder of clips; clips.csv or clips.jsonl in it, or their names, say which",
            autocompletion=complete_files,
            show_default=False,
        ),
    ],
    panel: Annotated[
        str,
        typer.Option(
            "--panel",
            metavar="PANEL",
            help="panel JSON, or 'sprites', 'returns' or 'vizdoom'",
            autocompletion=complete_panels,
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="folder for rollouts; one that was begun is gone on with",
            autocompletion=complete_files,
        ),
    ],
    truth: Annotated[
        str,
        typer.Option(
            "--truth",
            help="'world' of the panel, module:factory, a recording, or a folder of clips that "
            "show what truly happens, named {scenario}.mp4, or {scenario}_{branch}.mp4",
            autocompletion=complete_files,
        ),
    ] = "world",
    name: Annotated[
        str | None,
        typer.Option("--name", help="name of the model (default: of the folder)"),
    ] = None,
    pattern: Annotated[
        str, typer.Option("--pattern", help="form of the clips' names without suffix")
    ] = _PATTERN,
    fps: Annotated[
        float | None,
        typer.Option(
            "--fps",
            help="frames per second that are taken, not the clips' own (default: the panel's)",
        ),
    ] = None,
    offset: Annotated[
        float, typer.Option("--offset", help="second at which frame 0 is shown")
    ] = 0.0,
    start_frame: Annotated[
        int | None, typer.Option("--start-frame", help="the same as a number of frames")
    ] = None,
    resample: Annotated[
        bool,
        typer.Option("--resample", help="bring other and variable rates to the panel's by time"),
    ] = False,
    drop_repeats: Annotated[
        int,
        typer.Option(
            "--drop-repeats",
            metavar="N",
            help="drop up to N repeats of a frame in a row, which a screen recorder made",
        ),
    ] = 0,
    seam_chunk: Annotated[
        int | None,
        typer.Option(
            "--seam-chunk",
            metavar="N",
            help="drop frames that are there twice at the seams of chunks of N new frames",
        ),
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option("--crop", metavar="T,L,B,R", help="part of the picture, in pixels"),
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", metavar="HxW", help="resize to this")
    ] = None,
    scripts: Annotated[
        bool,
        typer.Option(
            "--scripts",
            help="each clip has a hand-timed action script x.actions.json; compare it with the "
            "panel's",
        ),
    ] = False,
    no_actions: Annotated[
        bool,
        typer.Option(
            "--no-actions",
            help="the model takes no actions: commanded scripts only, no score of action response",
        ),
    ] = False,
    every_script: Annotated[
        bool,
        typer.Option(
            "--every-script",
            help="the model takes no actions: the clip of the commanded script answers all "
            "scripts, on the same panel as models that take actions; its action response is n/a",
        ),
    ] = False,
    batch_size: BatchSize = 8,
    retry_faults: RetryFaults = False,
    as_json: JsonFlag = False,
) -> Answer:
    """Take generated clips as a model's rollouts, into a folder that `wmscore score` reads.

    Clips that cannot be used are evaluation faults of their rows.

    Exit codes: 0 every row is recorded; 1 some rows are faults; 2 usage, or another panel.
    """
    from wmscore.episodes import ClipFolder
    from wmscore.recordings import record_shard
    from wmscore.worlds import RecordedWorld

    import_from_here()
    asked = read_panel(panel)
    if no_actions:
        asked = asked.without_actions()
    world, recording = _truth(truth, asked)
    observation = asked.contract.observation
    source = ClipFolder(
        clips,
        name=name,
        pattern=pattern,
        fps=_rate(fps, asked, world, recording),
        offset=offset,
        start_frame=start_frame,
        resample=resample,
        drop_repeats=drop_repeats,
        seam_chunk=seam_chunk,
        crop=None if crop is None else _numbers("--crop", crop, "T,L,B,R"),
        size=None if size is None else _numbers("--size", size, "HxW"),
        space=asked.contract.actions if scripts else None,
    )
    ignore = () if observation is None else observation.ignore or ()
    model = RecordedWorld(source, ignore=ignore, every_script=every_script)
    print_sentences(console(), advice(asked, model))
    # What was asked for of the clips; rows that were taken in otherwise are other rows.
    cuts = {
        "pattern": pattern,
        "fps": fps,
        "offset": offset,
        "start_frame": start_frame,
        "resample": resample,
        "drop_repeats": drop_repeats,
        "seam_chunk": seam_chunk,
        "crop": crop,
        "size": size,
        "scripts": scripts,
    }

    def notes() -> list[str]:
        lines = [f"{model.name}: {note}" for note in model.conversion_losses]
        if strays := _unasked(source, asked):
            lines.append(
                f"{model.name}: {len(strays)} clips answer no row of the panel: "
                f"{', '.join(strays[:3])}{', ...' * (len(strays) > 3)}"
            )
        return lines

    return run_recording(
        out,
        model.name,
        lambda progress, truth_progress: record_shard(
            out,
            asked,
            world,
            model,
            batch_size=batch_size,
            progress=progress,
            truth_progress=truth_progress,
            role="model",
            truth=recording,
            retry_faults=retry_faults,
            made_by=made_by(
                f"ingest {clips}",
                {key: cut for key, cut in cuts.items() if cut is not None and cut is not False},
            ),
        ),
        notes,
    )


def _rate(
    fps: float | None, panel: Panel, world: WorldModel | None, recording: Recording | None
) -> float | None:
    """Frames per second that are taken."""
    observation = panel.contract.observation
    if observation is not None:
        if fps is not None and not math.isclose(fps, observation.fps):
            raise ValueError(
                f"--fps: expected {observation.fps:g}, the panel's, got {fps:g}; clips of another "
                "rate are taken with --resample, which reads their own from the files"
            )
        return observation.fps if fps is None else fps
    if fps is None and (recording is not None or world is not None):
        return _fps(world, recording)
    return fps


def _unasked(source: ClipFolder, panel: Panel) -> list[str]:
    """Clips that the panel does not ask for, perhaps since their names are mistyped."""
    from wmscore.files import safe_name

    branches = {
        name: len(scenario.branches) + 1
        for scenario in panel.scenarios
        for name in (scenario.id, safe_name(scenario.id))
    }
    return [
        key.id
        for key in source.keys()
        if key.branch >= branches.get(key.scenario or key.id, 0)
        or (key.seed is not None and key.seed not in panel.seeds)
    ]


def _truth(name: str, panel: Panel) -> tuple[WorldModel | None, Recording | None]:
    """A world to render the truth, or a recording that has it."""
    from wmscore.episodes import ClipFolder
    from wmscore.manifest import PanelMismatchError
    from wmscore.recordings import RecordedTruth, Recording
    from wmscore.recordings.question import adopt_frozen
    from wmscore.worlds import RecordedWorld
    from wmscore.worlds.load import load_model, load_world

    if name == "world":
        return load_world(panel), None
    if not Path(name).exists():
        return load_model(name), None
    if not (Path(name) / "recording.json").exists():
        return RecordedWorld(ClipFolder(name, pattern=_films(name))), None
    recording = Recording(name)
    try:
        adopt_frozen(name, panel, recording.panel)
    except PanelMismatchError:  # say, without its branches
        return RecordedTruth(recording), None
    return None, recording


def _films(folder: str) -> str:
    """How films of the true world are named: `x.mp4`, or `x_0.mp4`, `x_1.mp4` by script."""
    from wmscore.episodes.naming import SUFFIXES

    names = [p.stem for p in Path(folder).iterdir() if p.suffix.lower() in SUFFIXES]
    numbered = names and all(name.rpartition("_")[2].isdigit() for name in names)
    return "{scenario}_{branch}" if numbered else "{scenario}"


def _fps(world: WorldModel | None, recording: Recording | None) -> float:
    if recording is not None:
        assert recording.panel.contract.observation is not None
        return recording.panel.contract.observation.fps
    assert world is not None
    return world.capabilities.fps


def _numbers(option: str, text: str, form: str) -> Any:
    mark = form[1]
    try:
        values = tuple(int(part) for part in text.split(mark))
    except ValueError:
        values = ()
    if len(values) != len(form.split(mark)):
        raise ValueError(f"{option}: expected {form} in whole pixels, got {text!r}")
    return values
