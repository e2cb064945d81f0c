"""What the writers of Cosmos inputs share: a panel's rows, their first frames, their losses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from wmscore.episodes import row_name
from wmscore.files import safe_name
from wmscore.manifest import Panel, PanelMismatchError
from wmscore.rollouts import Rollouts
from wmscore.video import png_bytes

__all__ = ["CosmosExport"]


@dataclass(frozen=True)
class CosmosExport:
    """What was written.

    Attributes:
        path: the file to give to the model's own command.
        names: name of each row's input, which its output carries too (`wmscore.episodes.row_name`).
        losses: what of the panel's actions the model is not told, as sentences.
    """

    path: Path
    names: tuple[str, ...]
    losses: tuple[str, ...] = ()


def all_rows(panel: Panel, *, branches: bool = True) -> list[tuple[int, int, int, str]]:
    """(scenario, seed, branch, name) of every row; commanded ones only without `branches`.

    Raises:
        ValueError: two scenarios would be written under one name.
    """
    names = [safe_name(scenario.id) for scenario in panel.scenarios]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(
                f"scenarios[{i}].id: {panel.scenarios[i].id!r} and "
                f"{panel.scenarios[names.index(name)].id!r} become the same file name {name!r}"
            )
    return [
        (scenario, seed, branch, row_name(panel.scenarios[scenario].id, seed, branch))
        for scenario, seed in panel.rows()
        for branch in range(len(panel.scenarios[scenario].scripts) if branches else 1)
    ]


def first_frames(panel: Panel, truth: Rollouts) -> list[Tensor]:
    """The given frame `[3, H, W]` uint8 of every scenario, out of the true rollouts.

    Raises:
        PanelMismatchError: the truth is that of another panel.
        ValueError: a scenario is missing, or its scripts begin with different frames.
        TypeError: the truth is not uint8.
    """
    if truth.panel != panel.fingerprint:
        raise PanelMismatchError(
            f"truth: expected panel {panel.fingerprint[:12]}, got {truth.panel[:12]}"
        )
    if truth.frames.dtype.is_floating_point:
        raise TypeError(f"truth: expected uint8 frames, got {truth.frames.dtype}")
    found = []
    for i, scenario in enumerate(panel.scenarios):
        frames = truth.frames[(truth.scenario == i).to(truth.device), 0]
        if not len(frames):
            raise ValueError(f"truth: expected every scenario, {scenario.id!r} is missing")
        if not bool((frames == frames[:1]).all()):
            raise ValueError(f"truth: the scripts of {scenario.id!r} begin with different frames")
        found.append(frames[0].cpu())
    return found


def write_images(folder: Path, panel: Panel, frames: Sequence[Tensor]) -> list[str]:
    """Write each scenario's frame as PNG under `frames/`; their paths relative to `folder`."""
    (folder / "frames").mkdir()
    paths = []
    for scenario, frame in zip(panel.scenarios, frames, strict=True):
        path = f"frames/{safe_name(scenario.id)}.png"
        (folder / path).write_bytes(png_bytes(frame))
        paths.append(path)
    return paths


def write_lines(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """One JSON object per line."""
    lines = [json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    """One JSON file."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
