"""The command line: `wmscore demo`, `replay`, `score`, `weights`, `doctor`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmscore.extras import require

if TYPE_CHECKING:
    from wmscore.manifest import Panel
    from wmscore.scores import Scores

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

    score = command("score", _score, "score replayed rollouts and write their evidence folder")
    score.add_argument("rollouts", nargs="+", help="folders written by `wmscore replay`")
    score.add_argument("--panel", help="refuse rollouts that were not made for this panel")
    score.add_argument("--out", required=True, help="evidence folder")
    score.add_argument("--device", default="cpu")
    score.add_argument("--lpips", choices=["alex", "vgg", "squeeze"], help="add it to the measures")
    score.add_argument(
        "--lpips-trunk", metavar="FILE", help="its trunk (default: where torch keeps it)"
    )
    score.add_argument("--encoder", metavar="MODULE:FACTORY", help="encoder of feature_ measures")
    score.add_argument("--latent-encoder", metavar="MODULE:FACTORY", help="encodes the reference")
    score.add_argument(
        "--inverse-dynamics", metavar="MODULE:FACTORY", help="recognises actions in frames"
    )
    score.add_argument(
        "--oracle", metavar="FOLDER", help="recorded re-run that a skill takes for 1"
    )

    weights = command("weights", _convert, "files of network weights")
    actions = weights.add_subparsers(dest="action", required=True)
    text = "cut a trunk of LPIPS out of torchvision's file, as safetensors"
    convert = actions.add_parser("convert", help=text, description=text)
    convert.add_argument("source", help="say alexnet-owt-7be5be79.pth")
    convert.add_argument("out", help="say alexnet.safetensors")

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
    from wmscore.worlds import ActionBlind, Frozen, OtherSeed, WorldModel
    from wmscore.worlds.load import load_model, load_world

    sys.path.insert(0, str(Path.cwd()))  # a model may live in a file right here
    panel = _panel(args.panel)
    world = load_world(panel)
    anchors: dict[str, tuple[WorldModel, str]] = {
        "world": (world, "truth"),
        "other-seed": (OtherSeed(world), "ceiling"),
        "action-blind": (ActionBlind(world), "floor"),
        "frozen": (Frozen(world), "floor"),
    }
    model, role = anchors.get(args.model) or (load_model(args.model), "model")
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
            role="model" if args.teacher_forced else role,
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
    sys.path.insert(0, str(Path.cwd()))  # an encoder may live in a file right here
    networks = _networks(args, recordings[0].panel)

    def scored(recording: Recording, oracle: Scores | None) -> Scores:
        scorer = Scorer(recording.panel, device=args.device, oracle=oracle, **networks)
        for rollouts in recording:
            scorer.update(rollouts)
        return scorer.compute()

    oracle = scored(Recording(args.oracle, panel), None) if args.oracle else None
    results = [scored(recording, oracle) for recording in recordings]
    by_model = {s.model: r for s, r in zip(results, recordings, strict=True)}
    roles = {r.model: r.role for r in recordings if r.role != "model"}
    write_evidence(
        args.out, results, lambda name, s, seed: by_model[name].row(s, seed), roles=roles
    )
    _print_results(_console(), results, roles)
    _console().print(f"Evidence: {args.out}")
    return 0


def _networks(args: argparse.Namespace, panel: Panel) -> dict[str, Any]:
    """The networks that the options of `wmscore score` name."""
    from wmscore.networks import LpipsNetwork
    from wmscore.worlds.load import call_factory

    networks: dict[str, Any] = {}
    wanted = next((s.measure for s in panel.axes if s.measure.startswith("lpips_")), "lpips_alex")
    if args.lpips or args.lpips_trunk:
        networks["lpips"] = LpipsNetwork.load(
            args.lpips or wanted.removeprefix("lpips_"),  # type: ignore[arg-type]  # it checks
            trunk=args.lpips_trunk,
            device=args.device,
        )
    for role in ("encoder", "latent_encoder", "inverse_dynamics"):
        if name := getattr(args, role):
            networks[role] = call_factory(name, f"--{role.replace('_', '-')}")
    return networks


def _panel(name: str) -> Panel:
    """A file, or the name of a packaged panel where no file has it."""
    from wmscore.manifest import Panel

    return Panel.load(name) if Path(name).exists() else Panel.packaged(name)


def _convert(args: argparse.Namespace) -> int:
    from wmscore.files import sha256_file
    from wmscore.networks.weights import check_hash, identify_trunk, read_trunk
    from wmscore.tensorfile import save_tensors

    source, out = Path(args.source), Path(args.out)
    if out.suffix != ".safetensors":
        raise ValueError(f"out must end in .safetensors, got {out}")
    check_hash(source)
    net = identify_trunk(source)
    if net is None:
        raise ValueError(
            f"{source} is no trunk of LPIPS: neither AlexNet, VGG16 nor SqueezeNet 1.1"
        )
    header = {"net": net, "source": source.name, "source_sha256": sha256_file(source)}
    save_tensors(out, "lpips_trunk", read_trunk(net, source), header)
    print(f"{out}: trunk of LPIPS {net}, {out.stat().st_size / 2**20:.1f} MiB")
    return 0


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
    for line in _lpips_weights():
        print(line)
    return 0


def _lpips_weights() -> Iterator[str]:
    """For each net of LPIPS where its weights are, or what to do."""
    from wmscore.networks.trunks import TRUNKS
    from wmscore.networks.weights import VERSIONS, find_heads, find_trunk

    for net in TRUNKS:
        found = []
        try:
            found.append(f"trunk {find_trunk(net)}")
            found.append(f"heads {find_heads(net, VERSIONS[0])}")
        except (OSError, ValueError, ImportError) as error:
            yield f"LPIPS {net}: will not run. {error}"
        else:
            yield f"LPIPS {net}: {', '.join(found)}"


def _print_results(console: Any, results: Any, roles: dict[str, str]) -> None:
    from wmscore.evidence import action_table, horizon_table, summary_table

    table, box = require("rich.table", "harness"), require("rich.box", "harness")
    escape = require("rich.markup", "harness").escape
    panel = results[0].panel
    console.print(f"Panel {panel.name}, fingerprint {panel.fingerprint[:12]}", highlight=False)
    parts = [
        (
            "Matched metrics (axes: median [quartiles] over rows of the mean score)",
            summary_table(results, roles),
        ),
        ("Response to actions (agreement: mean over scenarios)", action_table(results, roles)),
        ("Usable horizon, median over seeds (>= : never failed)", horizon_table(results)),
    ]
    for title, (head, body) in parts:
        if not body:
            continue
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
