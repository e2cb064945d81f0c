"""`wmscore ingest`: a folder of generated clips into a recording that `wmscore score` takes."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmscore.cli.advice import advice
from wmscore.cli.models import made_by
from wmscore.cli.output import console, print_sentences
from wmscore.cli.parsing import Command, import_from_here, read_panel
from wmscore.cli.recording import run_recording

if TYPE_CHECKING:
    from wmscore.episodes import ClipFolder
    from wmscore.manifest import Panel
    from wmscore.recordings import Recording
    from wmscore.worlds import WorldModel

__all__ = ["add"]


def add(command: Command) -> None:
    """Add it to the parser."""
    take = command("ingest", _ingest, "take generated clips as a model's rollouts, into a folder")
    take.description = (
        "Take generated clips as a model's rollouts, into a folder that `wmscore score` reads. "
        "Clips that cannot be used are evaluation faults of their rows. Exit codes: 0 every row is "
        "recorded; 1 some rows are faults; 2 usage, or another panel."
    )
    take.add_argument(
        "clips", help="folder of clips; clips.csv or clips.jsonl in it, or their names, say which"
    )
    take.add_argument("--panel", required=True, help="panel JSON, or 'sprites' or 'vizdoom'")
    take.add_argument(
        "--truth",
        default="world",
        help="'world' of the panel (default), module:factory, a recording, or a folder of clips "
        "that show what truly happens, named {scenario}.mp4, or {scenario}_{branch}.mp4",
    )
    take.add_argument(
        "--out", required=True, help="folder for rollouts; one that was begun is gone on with"
    )
    take.add_argument("--name", help="name of the model (default: of the folder)")
    take.add_argument(
        "--pattern",
        default="{scenario}_{seed}_{branch}",
        help="form of the clips' names without suffix (default: %(default)s)",
    )
    take.add_argument(
        "--fps",
        type=float,
        help="frames per second that are taken, not the clips' own: the panel's (default)",
    )
    take.add_argument("--offset", type=float, default=0.0, help="second at which frame 0 is shown")
    take.add_argument("--start-frame", type=int, help="the same as a number of frames")
    take.add_argument(
        "--resample",
        action="store_true",
        help="bring other and variable rates to the panel's by time",
    )
    take.add_argument(
        "--drop-repeats",
        type=int,
        default=0,
        metavar="N",
        help="drop up to N repeats of a frame in a row, which a screen recorder made",
    )
    take.add_argument(
        "--seam-chunk",
        type=int,
        metavar="N",
        help="drop frames that are there twice at the seams of chunks of N new frames",
    )
    take.add_argument("--crop", metavar="T,L,B,R", help="part of the picture, in pixels")
    take.add_argument("--size", metavar="HxW", help="resize to this")
    take.add_argument(
        "--scripts",
        action="store_true",
        help="each clip has a hand-timed action script x.actions.json; compare it with the panel's",
    )
    take.add_argument(
        "--no-actions",
        action="store_true",
        help="the model takes no actions: commanded scripts only, no score of action response",
    )
    take.add_argument(
        "--every-script",
        action="store_true",
        help="the model takes no actions: the clip of the commanded script answers all scripts, on "
        "the same panel as models that take actions; its action response is n/a",
    )
    take.add_argument("--batch-size", type=int, default=8)
    take.add_argument(
        "--retry-faults", action="store_true", help="ask again for the rows that failed before"
    )


def _ingest(args: argparse.Namespace) -> int:
    from wmscore.episodes import ClipFolder
    from wmscore.recordings import record_shard
    from wmscore.worlds import RecordedWorld

    import_from_here()
    panel = read_panel(args.panel)
    if args.no_actions:
        panel = panel.without_actions()
    world, recording = _truth(args.truth, panel)
    observation = panel.contract.observation
    fps = args.fps
    if fps is None and observation is not None:
        fps = observation.fps
    elif observation is not None and fps is not None and not math.isclose(fps, observation.fps):
        raise ValueError(
            f"--fps: expected {observation.fps:g}, the panel's, got {fps:g}; clips of another rate "
            "are taken with --resample, which reads their own from the files"
        )
    elif fps is None and (recording is not None or world is not None):
        fps = _fps(world, recording)
    source = ClipFolder(
        args.clips,
        name=args.name,
        pattern=args.pattern,
        fps=fps,
        offset=args.offset,
        start_frame=args.start_frame,
        resample=args.resample,
        drop_repeats=args.drop_repeats,
        seam_chunk=args.seam_chunk,
        crop=None if args.crop is None else _numbers("--crop", args.crop, "T,L,B,R"),
        size=None if args.size is None else _numbers("--size", args.size, "HxW"),
        space=panel.contract.actions if args.scripts else None,
    )
    ignore = () if observation is None else observation.ignore or ()
    model = RecordedWorld(source, ignore=ignore, every_script=args.every_script)
    print_sentences(console(), advice(panel, model))

    def notes() -> list[str]:
        lines = [f"{model.name}: {note}" for note in model.conversion_losses]
        if strays := _unasked(source, panel):
            lines.append(
                f"{model.name}: {len(strays)} clips answer no row of the panel: "
                f"{', '.join(strays[:3])}{', ...' * (len(strays) > 3)}"
            )
        return lines

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
            role="model",
            truth=recording,
            retry_faults=args.retry_faults,
            made_by=made_by(f"ingest {args.clips}", _cuts(args)),
        ),
        notes,
    )


def _cuts(args: argparse.Namespace) -> dict[str, Any]:
    """What was asked for of the clips; rows that were taken in otherwise are other rows."""
    names = ("pattern", "fps", "offset", "start_frame", "resample", "drop_repeats", "seam_chunk")
    given = {name: getattr(args, name) for name in (*names, "crop", "size", "scripts")}
    return {
        name: value for name, value in given.items() if value is not None and value is not False
    }


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
