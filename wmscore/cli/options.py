"""Options and arguments that several commands take."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from wmscore.cli.complete import MODELS, complete_files, complete_models, complete_panels

__all__ = [
    "BatchSize",
    "Device",
    "EncoderFactory",
    "Estimand",
    "InverseDynamicsFactory",
    "JsonFlag",
    "LatentEncoderFactory",
    "LpipsName",
    "LpipsNet",
    "LpipsTrunk",
    "ModelOption",
    "PanelArgument",
    "Places",
    "RetryFaults",
    "Settings",
    "TruthFolders",
]

PanelArgument = Annotated[
    str,
    typer.Argument(
        metavar="PANEL",
        help="panel JSON, or 'sprites', 'returns' or 'vizdoom'",
        autocompletion=complete_panels,
        show_default=False,
    ),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        help=f"module:factory; or {', '.join(MODELS)}",
        autocompletion=complete_models,
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="keyword argument of the factory; a value is read as JSON, else taken as text",
    ),
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", metavar="ROWS", help="panel rows per call and per part")
]
Device = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="where to compute: cpu, cuda, cuda:1")
]
JsonFlag = Annotated[
    bool,
    typer.Option("--json", help="print one JSON document instead; all else goes to stderr"),
]
Estimand = Annotated[
    Literal["scenarios", "seeds"],
    typer.Option(
        "--estimand",
        help="what it is to hold for: new scenarios of the kind, or new seeds on these",
    ),
]
LpipsName = Literal["alex", "vgg", "squeeze"]
LpipsNet = Annotated[
    LpipsName | None,
    typer.Option("--lpips", help="measure it too, by this network"),
]
LpipsTrunk = Annotated[
    str | None,
    typer.Option(
        "--lpips-trunk",
        metavar="FILE",
        help="its trunk (default: where torch keeps it)",
        autocompletion=complete_files,
    ),
]
EncoderFactory = Annotated[
    str | None,
    typer.Option("--encoder", metavar="MODULE:FACTORY", help="encoder of feature_ measures"),
]
LatentEncoderFactory = Annotated[
    str | None,
    typer.Option("--latent-encoder", metavar="MODULE:FACTORY", help="encodes the reference"),
]
InverseDynamicsFactory = Annotated[
    str | None,
    typer.Option(
        "--inverse-dynamics", metavar="MODULE:FACTORY", help="recognises actions in frames"
    ),
]
TruthFolders = Annotated[
    list[str] | None,
    typer.Option(
        "--truth",
        metavar="FOLDER...",
        help="take the truth of this recording (or its shards) instead of rendering it",
        autocompletion=complete_files,
    ),
]
RetryFaults = Annotated[
    bool, typer.Option("--retry-faults", help="ask again for the rows that failed before")
]
Places = Annotated[
    str,
    typer.Argument(
        metavar="SCORES",
        help="evidence folder or score file",
        autocompletion=complete_files,
        show_default=False,
    ),
]
