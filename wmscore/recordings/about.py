"""`recording.json`: who was recorded and how, and what a resumed run must have in common."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from wmscore.files import create_file
from wmscore.worlds import WorldModel

__all__ = ["About", "describe_model", "learned", "read_about", "start_about", "with_learned"]

VERSION = 2
_FIXED = ("model", "batch_size", "teacher_forced", "reconstruction", "role")


@dataclass(frozen=True, kw_only=True)
class About:
    """Who was recorded and how.

    Attributes:
        model: the name under which it is scored.
        role: "truth", "ceiling" or "floor" for anchors, "model" for who is judged.
        batch_size: rows of each part.
        teacher_forced: one-step predictions instead of rollouts.
        reconstruction: the model's pictures of the true frames instead of rollouts.
        facts: what is worth knowing besides: the model's `capabilities`, `conversion_losses`
            of its actions and `codec` where its clips are lossy, versions of wmscore and torch,
            and what its parts were `made_by`, each different text once.
    """

    model: str
    role: str
    batch_size: int
    teacher_forced: bool
    reconstruction: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    def differences(self, other: About) -> list[str]:
        """What two recordings that are to be one differ in, as `field: expected .., got ..`."""
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in _FIXED]
        return [f"{name}: expected {a!r}, got {b!r}" for name, a, b in pairs if a != b]


def describe_model(model: WorldModel) -> dict[str, Any]:
    """What a recording says about its model and this installation."""
    from wmscore import __version__

    return {
        "capabilities": asdict(model.capabilities),
        **learned(model),
        "versions": {
            "wmscore": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def learned(model: WorldModel) -> dict[str, Any]:
    """What some models know only once they have answered: losses of actions, and their codec."""
    losses = getattr(model, "conversion_losses", ())
    return {
        "conversion_losses": [str(loss) for loss in losses],
        "codec": getattr(model, "codec", None),
    }


def with_learned(about: About, parts: Iterable[Mapping[str, Any]]) -> About:
    """A recording with what its parts say that `learned` found.

    The losses that a model tells grow while it answers: of each run the last part counts.
    """
    runs = {part["run"]: part for part in parts}
    losses = dict.fromkeys(loss for part in runs.values() for loss in part["conversion_losses"])
    codecs = [part["codec"] for part in runs.values() if part["codec"] is not None]
    facts = {"conversion_losses": list(losses), "codec": codecs[-1] if codecs else None}
    made_by = dict.fromkeys(part["made_by"] for part in runs.values() if part["made_by"])
    facts["made_by"] = list(made_by)
    known = {name: value for name, value in facts.items() if value}
    return replace(about, facts={**about.facts, **known})


def start_about(folder: Path, about: About) -> About:
    """Write `recording.json`, or read what an earlier run or another shard wrote.

    Raises:
        ValueError: that was another recording; names the fields.
    """
    path = folder / "recording.json"
    text = json.dumps({"version": VERSION, **asdict(about)}, indent=2, default=str)
    create_file(path, text + "\n")
    known = read_about(folder)
    if found := known.differences(about):
        raise ValueError(
            f"folder: {folder} exists; choose a new one, or go on as it was begun: "
            + "; ".join(found)
        )
    return known


def read_about(folder: Path) -> About:
    """Read `recording.json`.

    Raises:
        ValueError: the folder holds no recording, or one of an earlier version of wmscore.
    """
    path = folder / "recording.json"
    if not path.exists():
        raise ValueError(f"folder: {folder} holds no recording (recording.json is missing)")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        known = data.pop("version", 1) == VERSION
        found = About(**data) if known else None
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: expected what a replay wrote, got {error}") from None
    if found is None:
        raise ValueError(
            f"folder: {folder} was recorded by another version of wmscore; replay it again"
        )
    return found
