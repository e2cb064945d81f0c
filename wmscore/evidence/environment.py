"""`environment.json`: on what, and with which versions, the numbers were made."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from wmscore.scores import Scores

__all__ = ["environment", "machine", "same_machine"]

# What numbers, tables and pictures are made with.
_PACKAGES = ("torch", "numpy", "matplotlib", "pillow", "av", "pyarrow")


def machine() -> dict[str, Any]:
    """This machine and what is installed on it."""
    from wmscore import __version__

    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "versions": {
            "wmscore": __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
    }


def environment(
    results: Sequence[Scores], roles: Mapping[str, str], diagnoses: str
) -> dict[str, Any]:
    """What `environment.json` says.

    Args:
        results: scores of the comparison, in order.
        roles: of the anchors.
        diagnoses: "found" from the scores, or "given" by the caller.
    """
    return {
        **machine(),
        "roles": {name: roles.get(name, "model") for name in (s.model for s in results)},
        "diagnoses": diagnoses,
        "scores": {scores.model: scores.provenance for scores in results},
    }


def same_machine(stored: Mapping[str, Any]) -> bool:
    """Whether what was made there must come out here to the last bit."""
    here = machine()
    return all(stored.get(key) == here[key] for key in here if key != "cuda")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
