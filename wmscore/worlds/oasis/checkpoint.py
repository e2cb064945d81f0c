"""Open Oasis from a checkout of its code and its weights."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from wmscore.timeline import Converter
from wmscore.worlds.oasis.actions import OasisActions
from wmscore.worlds.oasis.open_oasis import OpenOasis

__all__ = ["load_open_oasis", "open_oasis_modules"]

_DIT, _VAE = "DiT-S/2", "vit-l-20-shallow-encoder"
_IMPORTING = threading.Lock()


def load_open_oasis(
    checkout: str | Path,
    dit_weights: str | Path,
    vae_weights: str | Path,
    *,
    table: Mapping[str, Mapping[str, float] | None] | None = None,
    converter: Converter[Tensor] | None = None,
    device: torch.device | str = "cpu",
    **options: Any,
) -> OpenOasis:
    """Open Oasis 500M as a world model, from plain values.

    Args:
        checkout: folder with `dit.py` and `vae.py` of etched-ai/open-oasis, whose code is run;
            it needs timm and einops.
        dit_weights: `oasis500m.safetensors`.
        vae_weights: `vit-l-20.safetensors`.
        table: what each discrete action of the panel is, see `OasisActions`. Without it and
            `converter`, panels must have Oasis' components themselves.
        converter: any other way from the panel's actions to the 25 columns, see `OpenOasis`.
        device: where the networks run.
        options: further ones of `OpenOasis`.

    Raises:
        FileNotFoundError: a file is missing.
        ImportError: the checkout's code needs a package that is not installed.
        ValueError: weights in another format than safetensors, or of another network.

    Example:
        wmscore replay panel.json --model wmscore.worlds.oasis:load_open_oasis --out rollouts \
            --set 'checkout="open-oasis"' --set 'dit_weights="oasis500m.safetensors"' \
            --set 'vae_weights="vit-l-20.safetensors"' --set 'device="cuda"' \
            --set 'table={"forward": {"forward": 1}, "noop": {}}'
    """
    if table is not None and converter is not None:
        raise ValueError("table, converter: expected one of them, got both")
    if converter is None:
        converter = OasisActions(table, fps=options.get("model_fps", 20.0))
    dit_code, vae_code = open_oasis_modules(checkout)
    dit, vae = dit_code.DiT_models[_DIT](), vae_code.VAE_models[_VAE]()
    for network, path in ((dit, dit_weights), (vae, vae_weights)):
        _fill(network, Path(path))
    return OpenOasis(dit, vae, converter=converter, device=device, **options)


def open_oasis_modules(checkout: str | Path) -> tuple[ModuleType, ModuleType]:
    """The modules `dit` and `vae` of a checkout, imported without a trace.

    Their top-level names (`dit`, `vae`, `attention`, `rotary_embedding_torch`) are taken from the
    checkout only while they are imported, and do not stay. `utils`, which no longer imports with
    torchvision of 2026, and `generate`, which wants CUDA at import, are not needed.

    Raises:
        FileNotFoundError: the folder has no `dit.py` or `vae.py`.
        ImportError: the code needs a package that is not installed.
    """
    folder = Path(checkout).resolve()
    for name in ("dit", "vae"):
        if not (folder / f"{name}.py").is_file():
            raise FileNotFoundError(
                f"checkout: expected {name}.py of etched-ai/open-oasis in {checkout}, there is none"
            )
    own = {path.stem for path in folder.glob("*.py")}
    with _only_from(folder, own):
        try:
            return importlib.import_module("dit"), importlib.import_module("vae")
        except ModuleNotFoundError as error:
            raise ImportError(
                f"checkout: its code needs {error.name!r}, which is not installed: "
                "pip install timm einops"
            ) from error


@contextlib.contextmanager
def _only_from(folder: Path, names: set[str]) -> Iterator[None]:
    """Let some top-level names mean the folder's files, and what they meant before afterwards."""
    with _IMPORTING:
        before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path.remove(str(folder))
            for name in names:
                sys.modules.pop(name, None)
            sys.modules.update(before)


def _fill(network: torch.nn.Module, path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"weights: expected a file, there is no {path}")
    if path.suffix != ".safetensors":
        raise ValueError(f"weights: expected .safetensors, got {path.name}")
    try:
        # Its blocks share tensors, which a file holds once.
        safetensors.torch.load_model(network, path)
    except RuntimeError as error:
        raise ValueError(f"weights: {path.name} does not fit the network: {error}") from None
