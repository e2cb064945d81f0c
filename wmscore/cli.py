"""The command line: `wmscore demo`, `replay`, `score`, `doctor`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmscore.extras import require

if TYPE_CHECKING:
    from wmscore.manifest import Panel

__all__ = ["main"]

_FILE_WIDTH = 130  # of tables that go to a file or a pipe


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the result is the process' exit code."""
    # OpenMP threads that spin at every barrier stall for whole time slices when another process
    # holds a core. Read when torch is imported, which no command has done yet.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    args = _parser().parse_args(argv)
    # A polite kill unwinds, so that drafts of folders are removed.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return int(args.run(args))
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"wmscore {args.command}: {error}", file=sys.stderr)
        return 2
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wmscore", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    demo = command("demo", _demo, "replay a packaged panel and write its evidence folder")
    demo.add_argument("--panel", choices=["vizdoom", "sprites"], help="default: what is installed")
    demo.add_argument("--out", default="evidence", help="evidence folder (default: evidence)")
    demo.add_argument("--device", default="cpu")
    demo.add_argument("--batch-size", type=int, default=8, help="panel rows per batch")

    play = command("replay", _replay, "roll a model out over a panel, into a folder")
    play.add_argument("panel", help="panel JSON, or 'sprites' or 'vizdoom'")
    play.add_argument("--model", required=True, help="module:factory, or 'world' for the truth")
    play.add_argument("--out", required=True, help="folder for rollouts; must not exist")
    play.add_argument("--batch-size", type=int, default=8)
    play.add_argument(
        "--teacher-forced",
        action="store_true",
        help="one-step predictions from the true frames instead of rollouts",
    )

    score = command("score", _score, "score replayed rollouts and write their evidence folder")
    score.add_argument("rollouts", nargs="+", help="folders written by `wmscore replay`")
    score.add_argument("--panel", help="refuse rollouts that were not made for this panel")
    score.add_argument("--out", required=True, help="evidence folder")
    score.add_argument("--device", default="cpu")

    command("doctor", _doctor, "what will run here, and what will not")
    return parser


def _demo(args: argparse.Namespace) -> int:
    from wmscore.demo import ROLES, demo_panel, run_demo
    from wmscore.manifest import Panel

    console, progress = _console(), _progress()
    start = time.perf_counter()
    with progress:
        tasks: dict[str, Any] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done, total=total)

        panel = Panel.packaged(args.panel) if args.panel else demo_panel()
        results, traces = run_demo(
            args.out, panel=panel, device=args.device, batch_size=args.batch_size, report=report
        )
    _print_results(console, results, ROLES)
    console.print(f"{time.perf_counter() - start:.0f} s. Evidence: {args.out}")
    for trace in traces:
        console.print(f"  traces/{trace.name}.png: {trace.why}", highlight=False)
    console.print(f"  postmortem: {Path(args.out) / 'postmortem.md'}")
    return 0


def _replay(args: argparse.Namespace) -> int:
    from wmscore.recordings import record
    from wmscore.worlds.load import load_model, load_world

    sys.path.insert(0, str(Path.cwd()))  # a model may live in a file right here
    panel = _panel(args.panel)
    world = load_world(panel)
    model = world if args.model == "world" else load_model(args.model)
    progress = _progress()
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
        )
    _console().print(f"Rollouts: {args.out}")
    return 0


def _score(args: argparse.Namespace) -> int:
    from wmscore.evidence import check_folder, write_evidence
    from wmscore.recordings import Recording
    from wmscore.scorer import Scorer

    check_folder(args.out)
    panel = _panel(args.panel) if args.panel else None
    recordings = [Recording(folder, panel) for folder in args.rollouts]
    results = []
    for recording in recordings:
        scorer = Scorer(recording.panel, device=args.device)
        for rollouts in recording:
            scorer.update(rollouts)
        results.append(scorer.compute())
    by_model = {s.model: r for s, r in zip(results, recordings, strict=True)}
    roles = {r.model: r.role for r in recordings if r.role != "model"}
    write_evidence(
        args.out, results, lambda name, s, seed: by_model[name].row(s, seed), roles=roles
    )
    _print_results(_console(), results, roles)
    _console().print(f"Evidence: {args.out}")
    return 0


def _panel(name: str) -> Panel:
    """A file, or the name of a packaged panel where no file has it."""
    from wmscore.manifest import Panel

    return Panel.load(name) if Path(name).exists() else Panel.packaged(name)


def _doctor(args: argparse.Namespace) -> int:
    import importlib.metadata
    import importlib.util
    import platform

    import torch

    from wmscore import __version__
    from wmscore.ops import kernels

    print(f"wmscore {__version__}, Python {platform.python_version()}, torch {torch.__version__}")
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    print(f"CUDA device: {cuda}")
    print(f"kernels: {kernels()}")
    for module, extra in (
        ("rich", "harness"),
        ("PIL", "harness"),
        ("av", "harness"),
        ("matplotlib", "harness"),
        ("vizdoom", "vizdoom"),
    ):
        found = importlib.util.find_spec(module) is not None
        print(f"{module}: {'installed' if found else f'missing (wmscore[{extra}])'}")
    return 0


def _print_results(console: Any, results: Any, roles: dict[str, str]) -> None:
    from wmscore.evidence import horizon_table, summary_table

    table, box = require("rich.table", "harness"), require("rich.box", "harness")
    escape = require("rich.markup", "harness").escape
    panel = results[0].panel
    console.print(f"Panel {panel.name}, fingerprint {panel.fingerprint[:12]}", highlight=False)
    parts = [
        (
            "Matched metrics (axes: median [quartiles] over rows of the mean score)",
            summary_table(results, roles),
        ),
        ("Usable horizon, median over seeds (>= : never failed)", horizon_table(results)),
    ]
    for title, (head, body) in parts:
        grid = table.Table(
            title=escape(title),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            collapse_padding=True,
        )
        for i, name in enumerate(head):
            side = "left" if i in (0, len(head) - 1) else "right"
            grid.add_column(name, justify=side, no_wrap=i == 0)
        for line in body:
            grid.add_row(*map(escape, line))
        console.print(grid)


def _console() -> Any:
    console = require("rich.console", "harness").Console()
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    return console


def _progress() -> Any:
    rich = require("rich.progress", "harness")
    return rich.Progress(
        rich.TextColumn("{task.description:>18}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
    )


if __name__ == "__main__":
    sys.exit(main())
