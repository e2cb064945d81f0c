"""`wmscore weights convert`: files of network weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from wmscore.cli.parsing import Command

__all__ = ["add"]


def add(command: Command) -> None:
    """Add it to the parser."""
    weights = command("weights", _convert, "files of network weights")
    actions = weights.add_subparsers(dest="action", required=True)
    text = "cut a trunk of LPIPS out of torchvision's file, as safetensors"
    convert = actions.add_parser("convert", help=text, description=text)
    convert.add_argument("source", help="say alexnet-owt-7be5be79.pth")
    convert.add_argument("out", help="say alexnet.safetensors")


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
