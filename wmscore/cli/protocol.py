"""`wmscore protocol`: a model by the protocol of a published world model."""

from __future__ import annotations

import argparse

from wmscore.cli.models import ANCHORS, add_options, find_model, read_options
from wmscore.cli.output import console, progress_bar
from wmscore.cli.parsing import Command, import_from_here, read_panel

__all__ = ["add"]


def add(command: Command) -> None:
    """Add it to the parser."""
    run = command("protocol", _protocol, "judge a model as a paper did, on a panel of your own")
    run.add_argument("protocol", choices=["gamengen"])
    run.add_argument("panel", help="panel JSON, or 'sprites' or 'vizdoom'")
    run.add_argument("--model", required=True, help=f"module:factory; or {', '.join(ANCHORS)}")
    add_options(run)
    run.add_argument("--windows", type=int, nargs="+", default=[16, 32], help="frames")
    run.add_argument("--start", type=int, help="index of the last true frame")
    run.add_argument("--batch-size", type=int, default=8)
    run.add_argument("--lpips", choices=["alex", "vgg", "squeeze"], help="measure it too")
    run.add_argument(
        "--lpips-trunk", metavar="FILE", help="its trunk (default: where torch keeps it)"
    )
    run.add_argument(
        "--clips", metavar="MODULE:FACTORY", help="ClipEncoder of the Fréchet distance"
    )
    run.add_argument("--device", default="cpu", help="of the LPIPS network")
    run.add_argument("--out", metavar="FILE", help="write all numbers as JSON")


def _protocol(args: argparse.Namespace) -> int:
    from wmscore.networks import ClipEncoder, LpipsNetwork
    from wmscore.protocols import gamengen_protocol
    from wmscore.replay import freeze_panel, render_truth
    from wmscore.worlds import TeacherForced
    from wmscore.worlds.load import call_factory, load_world

    import_from_here()
    panel = read_panel(args.panel)
    world = load_world(panel)
    model, _ = find_model(args.model, world, None, read_options(args.set))
    if not isinstance(model, TeacherForced):
        raise ValueError(f"--model: {args.model} offers no one-step predictions (predict_next)")
    network = clips = None
    if args.lpips or args.lpips_trunk:
        network = LpipsNetwork.load(
            args.lpips or "alex", trunk=args.lpips_trunk, device=args.device
        )
    if args.clips:
        clips = call_factory(args.clips, "--clips")
        if not isinstance(clips, ClipEncoder):
            raise ValueError(f"--clips: expected a ClipEncoder, got {type(clips).__name__}")
    progress = progress_bar()
    with progress:
        task = progress.add_task("truth", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        truth = render_truth(panel, world, batch_size=args.batch_size, progress=show)
        panel, truth = freeze_panel(panel, truth, fps=world.capabilities.fps)
        progress.update(task, description=model.name, completed=0)
        found = gamengen_protocol(
            panel,
            model,
            truth,
            lpips_network=network,
            clip_encoder=clips,
            windows=args.windows,
            start=args.start,
            batch_size=args.batch_size,
            progress=show,
        )
    if args.out:
        found.save(args.out)
    console().print(found.table(), markup=False, highlight=False, soft_wrap=True)
    return 0
