"""`wmscore verify`: whether an evidence folder is what was written."""

from __future__ import annotations

from typing import Annotated

import typer

from wmscore.cli.answers import Answer
from wmscore.cli.complete import complete_files
from wmscore.cli.networks import load_networks
from wmscore.cli.options import (
    Device,
    EncoderFactory,
    InverseDynamicsFactory,
    JsonFlag,
    LatentEncoderFactory,
    LpipsNet,
    LpipsTrunk,
)
from wmscore.cli.progress import Ticker
from wmscore.cli.reading import check_device, import_from_here

__all__ = ["verify"]


def verify(
    evidence: Annotated[
        str,
        typer.Argument(
            metavar="EVIDENCE",
            help="evidence folder",
            autocompletion=complete_files,
            show_default=False,
        ),
    ],
    world: Annotated[
        str | None,
        typer.Option(
            "--world",
            metavar="WORLD",
            help="also render the references of traces again, by 'sprites', 'vizdoom' or "
            "module:factory",
        ),
    ] = None,
    device: Device = "cpu",
    lpips: LpipsNet = None,
    lpips_trunk: LpipsTrunk = None,
    encoder: EncoderFactory = None,
    latent_encoder: LatentEncoderFactory = None,
    inverse_dynamics: InverseDynamicsFactory = None,
    as_json: JsonFlag = False,
) -> Answer:
    """Check an evidence folder: hashes, and every number recomputed from scores and traces.

    Nothing in the folder is run: networks that the scores were made with, and a world, are those
    that the options name. Without them, what needs them is said to be not checked.

    Exit codes: 0 sound; 1 something is wrong, each said with its file; 2 there is no such folder.
    """
    from pathlib import Path

    from wmscore.evidence import verify_evidence
    from wmscore.manifest import Panel
    from wmscore.worlds.load import load_world

    check_device(device)
    import_from_here()
    folder = Path(evidence)
    if not folder.is_dir():
        raise ValueError(f"EVIDENCE: expected an evidence folder, got {evidence}")
    factories = {
        "encoder": encoder,
        "latent_encoder": latent_encoder,
        "inverse_dynamics": inverse_dynamics,
    }
    true, networks = None, {}
    if world or lpips or lpips_trunk or any(factories.values()):
        panel = Panel.load(folder / "manifest.json")
        networks = load_networks(panel, lpips, lpips_trunk, device, factories)
        if world:
            data = panel.model_dump()
            data["contract"]["world"] = world
            true = load_world(Panel.from_dict(data))
    with Ticker("parts") as ticker:
        found = verify_evidence(
            folder,
            world=true,
            device=device,
            progress=lambda done, total: ticker.report("verify", done, total),
            **networks,
        )

    def show() -> None:
        for line in found.checked:
            print(line)
        for line in found.unchecked:
            print(f"Not checked: {line}")
        for line in found.problems:
            print(f"Problem: {line}")
        print("Sound." if found.sound else f"Not sound: {len(found.problems)} problems.")

    return Answer({"evidence": evidence, **found.to_json()}, show, 0 if found.sound else 1)
