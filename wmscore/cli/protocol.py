"""`wmscore protocol`: a model by the protocol of a published world model."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from wmscore.cli.answers import Answer
from wmscore.cli.models import find_model, read_options
from wmscore.cli.options import (
    BatchSize,
    Device,
    JsonFlag,
    LpipsNet,
    LpipsTrunk,
    ModelOption,
    PanelArgument,
    Settings,
)
from wmscore.cli.output import console
from wmscore.cli.progress import Ticker
from wmscore.cli.reading import check_device, import_from_here, read_panel

__all__ = ["protocol"]


def protocol(
    name: Annotated[
        Literal["gamengen"],
        typer.Argument(metavar="PROTOCOL", help="gamengen", show_default=False),
    ],
    panel: PanelArgument,
    model: ModelOption,
    settings: Settings = None,
    windows: Annotated[
        list[int] | None,
        typer.Option("--windows", metavar="FRAMES...", help="frames (default: 16 32)"),
    ] = None,
    start: Annotated[
        int | None, typer.Option("--start", help="index of the last true frame")
    ] = None,
    batch_size: BatchSize = 8,
    lpips: LpipsNet = None,
    lpips_trunk: LpipsTrunk = None,
    clips: Annotated[
        str | None,
        typer.Option(
            "--clips", metavar="MODULE:FACTORY", help="ClipEncoder of the Fréchet distance"
        ),
    ] = None,
    device: Device = "cpu",
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="write all numbers as JSON")
    ] = None,
    as_json: JsonFlag = False,
) -> Answer:
    """Judge a model as a paper did, on a panel of your own."""
    from wmscore.networks import ClipEncoder, LpipsNetwork
    from wmscore.protocols import gamengen_protocol
    from wmscore.replay import freeze_panel, render_truth
    from wmscore.worlds import TeacherForced
    from wmscore.worlds.load import call_factory, load_world

    import_from_here()
    check_device(device)
    asked = read_panel(panel)
    world = load_world(asked)
    made, _ = find_model(model, world, None, read_options(settings))
    if not isinstance(made, TeacherForced):
        raise ValueError(f"--model: {model} offers no one-step predictions (predict_next)")
    network = encoder = None
    if lpips or lpips_trunk:
        network = LpipsNetwork.load(lpips or "alex", trunk=lpips_trunk, device=device)
    if clips:
        encoder = call_factory(clips, "--clips")
        if not isinstance(encoder, ClipEncoder):
            raise ValueError(f"--clips: expected a ClipEncoder, got {type(encoder).__name__}")
    with Ticker() as ticker:
        truth = render_truth(
            asked,
            world,
            batch_size=batch_size,
            progress=lambda done, total: ticker.report("true world", done, total),
        )
        asked, truth = freeze_panel(asked, truth, fps=world.capabilities.fps)
        found = gamengen_protocol(
            asked,
            made,
            truth,
            lpips_network=network,
            clip_encoder=encoder,
            windows=windows or [16, 32],
            start=start,
            batch_size=batch_size,
            progress=lambda done, total: ticker.report(made.name, done, total),
        )
    if out:
        found.save(out)
    return Answer(
        found.to_dict(),
        lambda: console().print(found.table(), markup=False, highlight=False, soft_wrap=True),
    )
