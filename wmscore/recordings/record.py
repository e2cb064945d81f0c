"""Replayed rollouts in a folder: the panel, the truth, and one file per batch of rows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from wmscore.files import atomic_folder
from wmscore.manifest import Panel, PanelMismatchError
from wmscore.replay import (
    Progress,
    freeze_panel,
    render_truth,
    replay,
    replay_teacher_forced,
    teacher_forced_name,
)
from wmscore.rollouts import Rollouts
from wmscore.worlds import WorldModel

__all__ = ["Recording", "record"]


def record(
    folder: str | Path,
    panel: Panel,
    world: WorldModel,
    model: WorldModel,
    *,
    batch_size: int = 8,
    progress: Progress | None = None,
    teacher_forced: bool = False,
    role: str | None = None,
) -> Panel:
    """Replay `model` beside `world` into a new folder, whole or not at all.

    Args:
        folder: where to; it must not exist.
        panel: the contract.
        world: the true world.
        model: who is judged; `world` itself for the truth.
        batch_size: panel rows (scenario, seed) per call; each brings all its branches.
        progress: called with (rows done, rows in all).
        teacher_forced: record the model's one-step predictions instead of its rollouts.
        role: "truth", "ceiling" or "floor" for anchors, "model" for who is judged; by default
            "truth" for the world itself, else "model".

    Returns:
        The panel with the initial frames frozen, as written to `panel.json`.

    Raises:
        ValueError: the folder exists, or the model offers no one-step predictions.
    """
    if Path(folder).exists():
        raise ValueError(f"folder: {folder} exists; choose a new one")
    name, roll = model.name, replay
    if teacher_forced:
        name, roll = teacher_forced_name(model), replay_teacher_forced
    truth = render_truth(panel, world, batch_size=batch_size)
    panel, truth = freeze_panel(panel, truth, fps=world.capabilities.fps)
    with atomic_folder(folder) as draft:
        panel.save(draft / "panel.json")
        default = "truth" if model is world and not teacher_forced else "model"
        about = {"model": name, "role": role or default}
        (draft / "recording.json").write_text(json.dumps(about) + "\n", encoding="utf-8")
        truth.save(draft / "truth.safetensors")
        batches = roll(panel, model, truth, batch_size=batch_size, progress=progress)
        for number, rollouts in enumerate(batches):
            rollouts.without_reference().save(draft / f"rollouts-{number:05d}.safetensors")
    return panel


class Recording:
    """A folder that `record` wrote: iterate over it to get its batches beside the truth."""

    def __init__(self, folder: str | Path, panel: Panel | None = None) -> None:
        """Open a folder; `role` is "truth", "ceiling", "floor" or "model".

        Args:
            folder: the folder.
            panel: the panel that is asked for; the folder's own by default. It may have other
                axes or thresholds: rollouts do not depend on how they are judged.

        Raises:
            PanelMismatchError: the folder was recorded for another panel; names the fields.
            ValueError: the folder holds no recording.
        """
        self.folder = Path(folder)
        if not (self.folder / "panel.json").exists():
            raise ValueError(f"folder: {folder} holds no recording (panel.json is missing)")
        self._recorded = self.panel = Panel.load(self.folder / "panel.json")
        if panel is not None:
            with contextlib.suppress(ValueError):  # axes that do not fit are a mismatch too
                self.panel = self._recorded.judged_like(panel)
            if panel.fingerprint != self.panel.unfrozen_like(panel).fingerprint:
                fields = "\n".join(panel.differences(self.panel.unfrozen_like(panel)))
                raise PanelMismatchError(f"{folder}: recorded for another panel:\n{fields}")
        about = json.loads((self.folder / "recording.json").read_text(encoding="utf-8"))
        self.model, self.role = str(about["model"]), str(about["role"])
        self.truth = self._load(self.folder / "truth.safetensors")

    def __iter__(self) -> Iterator[Rollouts]:
        """Batches in the order in which they were rolled out."""
        for path in sorted(self.folder.glob("rollouts-*.safetensors")):
            yield self._load(path).with_reference(self.truth)

    def _load(self, path: Path) -> Rollouts:
        """A file of the folder, under the fingerprint of the panel that judges it."""
        return replace(Rollouts.load(path, self._recorded), panel=self.panel.fingerprint)

    def row(self, scenario: int, seed: int) -> Rollouts:
        """All branches of one row."""
        for rollouts in self:
            match = (rollouts.scenario == scenario) & (rollouts.seed == seed)
            if bool(match.any()):
                return rollouts[match]
        raise ValueError(f"row: scenario {scenario} with seed {seed} is not in {self.folder}")
