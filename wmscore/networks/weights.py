"""Find and read the weights of LPIPS. Nothing is ever downloaded, and nothing is replaced."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from wmscore.files import sha256_file
from wmscore.networks.trunks import TRUNKS, state_shapes, trunk_of

__all__ = [
    "VERSIONS",
    "WeightsNotFoundError",
    "check_hash",
    "find_heads",
    "find_trunk",
    "identify_trunk",
    "read_heads",
    "read_trunk",
]

VERSIONS = ("0.1", "0.0")

_NAMES = "|".join(Path(trunk.url).name.rpartition("-")[0] for trunk in TRUNKS.values())
_HASH_IN_NAME = re.compile(rf"(?:{_NAMES})-([0-9a-f]{{8,64}})\.pth")


class WeightsNotFoundError(FileNotFoundError):
    """A file of weights is not there; the message says which, and where to get and put it."""


def find_trunk(net: str, path: str | Path | None = None) -> Path:
    """The file with a trunk's weights.

    Args:
        net: "alex", "vgg" or "squeeze".
        path: the file, `.safetensors` or torchvision's `.pth`; None looks where torchvision keeps
            what it downloads, `torch.hub.get_dir()/checkpoints`.

    Raises:
        WeightsNotFoundError: there is no such file.
        ValueError: its bytes do not have the SHA-256 that begins as its name says.
    """
    url = trunk_of(net).url
    place = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    found = place if path is None else Path(path)
    if not found.is_file():
        raise WeightsNotFoundError(
            f"trunk of LPIPS {net}: {found} does not exist. Download {url} to {place}, or pass "
            "trunk= with the path of that file or of one that `wmscore weights convert` wrote"
        )
    check_hash(found)
    return found


def find_heads(net: str, version: str, path: str | Path | None = None) -> Path:
    """The file with the linear heads, by default the one in the package `lpips`.

    Args:
        net: "alex", "vgg" or "squeeze".
        version: of the heads, "0.1" or "0.0".
        path: another file with the names and shapes of theirs.

    Raises:
        WeightsNotFoundError: there is no such file, or the package is not installed.
        ValueError: net or version has another value.
    """
    trunk_of(net)
    if version not in VERSIONS:
        raise ValueError(f"version must be '0.1' or '0.0', got {version!r}")
    if path is not None:
        if not Path(path).is_file():
            raise WeightsNotFoundError(f"heads of LPIPS {net}: {path} does not exist")
        return Path(path)
    inside = Path("weights", f"v{version}", f"{net}.pth")
    spec = importlib.util.find_spec("lpips")  # looked up, not imported
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / inside).is_file():
            return Path(folder) / inside
    raise WeightsNotFoundError(
        f"heads of LPIPS {net}: the package lpips (with its file {inside}) is not installed: "
        "pip install lpips, or pass heads= with the path of that file"
    )


def read_trunk(net: str, path: str | Path) -> dict[str, Tensor]:
    """The weights up to the last tap, float32 on the CPU, named as in torchvision's files.

    Raises:
        ValueError: the file has other names or shapes, or cannot be read.
    """
    shapes = state_shapes(net)
    state = _read(path)
    problems = _problems(state, shapes)
    if problems:
        other = identify_trunk(state)
        hint = f" (it is the trunk of {other!r})" if other else ""
        raise ValueError(f"{path} is no trunk of LPIPS {net}{hint}: {problems}")
    return {name: state[name].float().contiguous() for name in shapes}


def identify_trunk(state: Mapping[str, Tensor] | str | Path) -> str | None:
    """Which net has these weights (or a file with them); None if none has."""
    if not isinstance(state, Mapping):
        state = _read(state)
    for net in TRUNKS:
        if not _problems(state, state_shapes(net)):
            return net
    return None


def read_heads(net: str, path: str | Path) -> list[Tensor]:
    """One weight for each channel of each tap, float32 on the CPU.

    Raises:
        ValueError: the file has other names or shapes, or cannot be read.
    """
    shapes = {
        f"lin{layer}.model.1.weight": torch.Size([1, channels, 1, 1])
        for layer, channels in enumerate(trunk_of(net).channels)
    }
    state = _read(path)
    problems = _problems(state, shapes)
    if problems:
        raise ValueError(f"{path} has no heads of LPIPS {net}: {problems}")
    return [state[name].float().flatten() for name in shapes]


def _read(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a file."""
    if Path(path).suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise ValueError(f"{path} is no safetensors file: {error}") from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # pickle, zip and torch each have their own
        raise ValueError(f"{path} is no file of tensors: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path} is no file of named tensors")
    return state


def _problems(state: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> str:
    """What is missing, unexpected or of another shape; empty if nothing is.

    What comes after the last tap (later features, the classifier) may be there.
    """
    last = max(_place(name) for name in shapes)
    missing = [name for name in shapes if name not in state]
    unexpected = [
        name
        for name in state
        if name not in shapes and not name.startswith("classifier.") and _place(name) <= last
    ]
    other = [
        f"{name} {list(state[name].shape)} instead of {list(shape)}"
        for name, shape in shapes.items()
        if name in state and state[name].shape != shape
    ]
    parts = {"missing": missing, "unexpected": unexpected, "of another shape": other}
    return "; ".join(f"{what}: {_some(names)}" for what, names in parts.items() if names)


def _place(name: str) -> int:
    """Of a layer in `features`, -1 for all else."""
    found = re.match(r"features\.(\d+)\.", name)
    return int(found[1]) if found else -1


def _some(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def check_hash(path: Path) -> None:
    """Hold a file with a name of torchvision's to the SHA-256 that the name begins to tell.

    Raises:
        ValueError: it begins otherwise.
    """
    found = _HASH_IN_NAME.fullmatch(path.name)
    if found is None:
        return
    digest = sha256_file(path)
    if not digest.startswith(found[1]):
        raise ValueError(
            f"{path} is damaged or another file: its name promises a SHA-256 that begins with "
            f"{found[1]}, but it is {digest[:16]}...; download it again"
        )
