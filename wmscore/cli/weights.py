"""`wmscore weights convert`: files of network weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wmscore.cli.answers import Answer
from wmscore.cli.complete import complete_files
from wmscore.cli.options import JsonFlag

__all__ = ["convert"]


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="say alexnet-owt-7be5be79.pth",
            autocompletion=complete_files,
            show_default=False,
        ),
    ],
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="say alexnet.safetensors", show_default=False)
    ],
    as_json: JsonFlag = False,
) -> Answer:
    """Cut a trunk of LPIPS out of torchvision's file, as safetensors."""
    from wmscore.files import sha256_file
    from wmscore.networks.weights import check_hash, identify_trunk, read_trunk
    from wmscore.tensorfile import save_tensors

    path, target = Path(source), Path(out)
    if target.suffix != ".safetensors":
        raise ValueError(f"out must end in .safetensors, got {target}")
    check_hash(path)
    net = identify_trunk(path)
    if net is None:
        raise ValueError(f"{path} is no trunk of LPIPS: neither AlexNet, VGG16 nor SqueezeNet 1.1")
    header = {"net": net, "source": path.name, "source_sha256": sha256_file(path)}
    save_tensors(target, "lpips_trunk", read_trunk(net, path), header)
    size = target.stat().st_size
    return Answer(
        {"out": str(target), **header, "bytes": size},
        lambda: print(f"{target}: trunk of LPIPS {net}, {size / 2**20:.1f} MiB"),
    )
