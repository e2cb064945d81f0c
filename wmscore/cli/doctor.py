"""`wmscore doctor`: what will run here, and what will not."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from wmscore.cli.parsing import Command

__all__ = ["add"]


def add(command: Command) -> None:
    """Add it to the parser."""
    command("doctor", _doctor, "what will run here, and what will not")


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
