"""`wmscore doctor`: what will run here, and what will not."""

from __future__ import annotations

from typing import Any, NamedTuple

from wmscore.cli.answers import Answer
from wmscore.cli.options import JsonFlag

__all__ = ["doctor"]


class Part(NamedTuple):
    """Something optional, and what is not there without it."""

    module: str
    extra: str
    cost: str


PARTS = (
    Part("rich", "harness", "no command prints tables"),
    Part("typer", "harness", "no command line"),
    Part("PIL", "harness", "no pictures in evidence, no PNG clips"),
    Part("matplotlib", "harness", "no plots in evidence"),
    Part("pyarrow", "harness", "no metrics.parquet, no LeRobot datasets"),
    Part("av", "harness", "no videos: neither ingest nor clips in evidence"),
    Part("vizdoom", "vizdoom", "no panel 'vizdoom'; the demo takes 'sprites'"),
    Part("diffusers", "diffusers", "no Cosmos, Wan, SANA-WM"),
    Part("transformers", "diffusers", "no Cosmos, Wan, SANA-WM"),
    Part("gymnasium", "gymnasium", "no worlds made of Gymnasium environments"),
    Part("mujoco", "mujoco", "no worlds made of MuJoCo models"),
    Part("h5py", "hdf5", "no robomimic or Minari datasets"),
    Part("decart_oasis", "oasis", "no Oasis 3"),
    Part("openai", "videos-api", "no services with a /v1/videos route"),
)
"""Optional modules, the extra that brings each, and what is missing without."""


def doctor(as_json: JsonFlag = False) -> Answer:
    """Say what will run here, what will not, and what each missing thing costs.

    Exit code: 0. Nothing that is listed here is needed by all.
    """
    import platform

    import torch

    from wmscore import __version__
    from wmscore.ops import kernels

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    found = kernels()
    document: dict[str, Any] = {
        "wmscore": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": cuda,
        "kernels": str(found),
        "modules": {part.module: _module(part) for part in PARTS},
        "lpips": _lpips(),
    }
    return Answer(document, lambda: print("\n".join(_lines(document))))


def _module(part: Part) -> dict[str, Any]:
    import importlib.metadata
    import importlib.util

    installed = importlib.util.find_spec(part.module) is not None
    version = None
    if installed:
        names = importlib.metadata.packages_distributions().get(part.module, [])
        version = importlib.metadata.version(names[0]) if names else None
    return {
        "installed": installed,
        "version": version,
        "extra": part.extra,
        "without": None if installed else part.cost,
    }


def _lines(document: dict[str, Any]) -> list[str]:
    lines = [
        f"wmscore {document['wmscore']}, Python {document['python']}, torch {document['torch']}",
        f"CUDA device: {document['cuda'] or 'none; everything runs on the CPU'}",
        f"kernels: {document['kernels']}",
    ]
    for name, about in document["modules"].items():
        extra = about["extra"]
        state = f"installed {about['version'] or ''}".rstrip()
        missing = f"missing: {about['without']}. pip install 'wmscore[{extra}]'"
        lines.append(f"{name}: {state if about['installed'] else missing}")
    for net, about in document["lpips"].items():
        where = ", ".join(f"{part} {place}" for part, place in about["files"].items())
        lines.append(f"LPIPS {net}: {f'will not run. {w}' if (w := about['error']) else where}")
    return lines


def _lpips() -> dict[str, Any]:
    """For each net of LPIPS where its weights are, or what to do."""
    from wmscore.networks.trunks import TRUNKS
    from wmscore.networks.weights import VERSIONS, find_heads, find_trunk

    told = {}
    for net in TRUNKS:
        files, why = {}, None
        try:
            files["trunk"] = str(find_trunk(net))
            files["heads"] = str(find_heads(net, VERSIONS[0]))
        except (OSError, ValueError, ImportError) as error:
            why = str(error)
        told[net] = {"files": files, "error": why}
    return told
