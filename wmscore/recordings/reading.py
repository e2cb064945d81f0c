"""`Recording`: what `record` wrote, in one folder or several, batch by batch beside the truth."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from wmscore.manifest import Panel, PanelMismatchError
from wmscore.recordings.about import read_about, with_learned
from wmscore.recordings.layout import Layout
from wmscore.recordings.parts import is_finished, read_faults, read_learned, recorded_rows
from wmscore.recordings.question import question
from wmscore.recordings.truth import TruthParts
from wmscore.rollouts import Rollouts
from wmscore.rowfaults import RowFault, describe_faults

__all__ = ["Recording", "join_recordings"]

Folders = str | Path | Sequence[str | Path]


class Recording:
    """Folders that `record` wrote: iterate over it to get its batches beside the truth.

    Memory holds one batch at a time.

    Attributes:
        folders: where it lies; several for shards that were made apart.
        panel: the panel, frozen.
        about: who was recorded, and how.
        model: name of the model.
        role: "truth", "ceiling", "floor" or "model".
        faults: rows that the model failed to answer, with why.
        missing: rows, as (scenario index, seed), that are not recorded yet.
        question: fingerprint of what was asked, whatever it is judged by (`question`).

    Example:
        >>> recording = Recording("runs/mine")                            # doctest: +SKIP
        >>> scorer = Scorer(recording.panel)                              # doctest: +SKIP
        >>> for rollouts in recording:                                    # doctest: +SKIP
        ...     scorer.update(rollouts)
        >>> scorer.add_faults(recording.faults, model=recording.model)    # doctest: +SKIP
    """

    def __init__(self, folder: Folders, panel: Panel | None = None) -> None:
        """Open a folder, or the folders of several shards.

        Args:
            folder: the folder, or folders.
            panel: the panel that is asked for; the folder's own by default. It may have other
                axes or thresholds: rollouts do not depend on how they are judged.

        Raises:
            PanelMismatchError: a folder was recorded for another panel; names the fields.
            ValueError: a folder holds no recording, shards do not belong together, or hold the
                same part.
        """
        folders = [folder] if isinstance(folder, str | Path) else list(folder)
        if not folders:
            raise ValueError("folder: expected at least one, got none")
        self.folders = [Path(f) for f in folders]
        self.folder = self.folders[0]
        self._recorded = self.panel = _open_panel(self.folder)
        self.about = read_about(self.folder)
        for other in self.folders[1:]:
            self._check_sister(other)
        if panel is not None:
            with contextlib.suppress(ValueError):  # axes that do not fit are a mismatch too
                self.panel = self._recorded.judged_like(panel)
            if panel.fingerprint != self.panel.unfrozen_like(panel).fingerprint:
                fields = "\n".join(panel.differences(self.panel.unfrozen_like(panel)))
                raise PanelMismatchError(f"{self.folder}: recorded for another panel:\n{fields}")
        self.model, self.role = self.about.model, self.about.role
        self._layout = Layout(self._recorded, self.about.batch_size)
        self._prints = (self._recorded.fingerprint, self.panel.fingerprint)
        self.question = question(self._recorded)
        self._home: dict[int, Path] = {}
        self.faults: tuple[RowFault, ...] = ()
        self.missing: tuple[tuple[int, int], ...] = ()
        self.reload()

    def reload(self) -> None:
        """Look again which parts there are: a recording may still be growing."""
        self._home, faults, missing = {}, [], []
        for part in range(self._layout.parts):
            rows = self._layout.rows_of(part)
            homes = [f for f in self.folders if is_finished(f, part, rows)]
            if len(homes) > 1:
                raise ValueError(f"folder: part {part} is in {homes[0]} and in {homes[1]}")
            if not homes:
                missing += rows
                continue
            self._home[part] = homes[0]
            faults += read_faults(homes[0], part)
        self.faults, self.missing = tuple(faults), tuple(missing)
        told = [r for part, home in self._home.items() for r in read_learned(home, part)]
        told.sort(key=lambda r: r["number"])
        self.about = with_learned(self.about, told)
        self._truth = TruthParts(self.folders, self.question)

    @property
    def complete(self) -> bool:
        """Every row has rollouts or a recorded fault."""
        return not self.missing

    @property
    def truth(self) -> Rollouts:
        """The truth of the whole panel, all of it in memory."""
        return self.truth_of(range(len(self.panel.scenarios)))

    def truth_of(self, scenarios: Sequence[int]) -> Rollouts:
        """The truth of some scenarios, by index.

        Raises:
            ValueError: one of them is not recorded.
        """
        return self._truth.rows(scenarios, self._prints[1])

    def __iter__(self) -> Iterator[Rollouts]:
        """Batches in the order of the panel, without rows that are faults or missing."""
        for part in self._home:
            rollouts = self._part(part)
            if rollouts is not None:
                yield rollouts

    def row(self, scenario: int, seed: int) -> Rollouts:
        """All branches of one row.

        Raises:
            ValueError: the row is not in the panel, is a fault, or is not recorded.
        """
        part = self._layout.part_of(scenario, seed)
        if part is not None:
            rollouts = self._part(part) if part in self._home else None
            if rollouts is not None:
                match = (rollouts.scenario == scenario) & (rollouts.seed == seed)
                if bool(match.any()):
                    return rollouts[match]
        raise ValueError(f"row: scenario {scenario} with seed {seed} is not in {self.folder}")

    def summary(self) -> list[str]:
        """Sentences on what is not there or is of several kinds; none where all is well."""
        lines = [
            f"{self.model}: {line}"
            for line in describe_faults(self.faults, [s.id for s in self.panel.scenarios])
        ]
        makers = self.about.facts.get("made_by", ())
        if len(makers) > 1:
            lines.append(f"{self.model}: parts were made differently: {'; '.join(makers)}")
        if self.missing:
            scenario, seed = self.missing[0]
            lines.append(
                f"{self.model}: {len(self.missing)} of {len(self._layout.rows)} rows are not "
                f"recorded, the first of them scenario {self.panel.scenarios[scenario].id!r}, seed "
                f"{seed}; the same `wmscore replay` again goes on"
            )
        return lines

    def _part(self, part: int) -> Rollouts | None:
        """A part beside its truth, under the fingerprint of the panel that judges it."""
        path = Layout.rollouts(self._home[part], part)
        if not recorded_rows(self._home[part], part):
            return None
        rollouts = replace(Rollouts.load(path, self._prints[0]), panel=self._prints[1])
        truth = self._truth.rows(sorted(set(rollouts.scenario.tolist())), self._prints[1])
        return rollouts.with_reference(truth)

    def _check_sister(self, other: Path) -> None:
        """Refuse a folder that is no part of the same recording."""
        panel = _open_panel(other)
        if panel.fingerprint != self._recorded.fingerprint:
            fields = "\n".join(self._recorded.differences(panel))
            raise PanelMismatchError(f"{other}: recorded for another panel:\n{fields}")
        if found := self.about.differences(read_about(other)):
            raise ValueError(f"folder: {other} is no part of {self.folder}: {'; '.join(found)}")


def join_recordings(folders: Sequence[str | Path], panel: Panel | None = None) -> list[Recording]:
    """Open folders; those with the same model are shards of one recording.

    Raises:
        ValueError: as `Recording`.
    """
    by_model: dict[str, list[str | Path]] = {}
    for folder in folders:
        _open_panel(Path(folder))  # says so where it holds none
        by_model.setdefault(read_about(Path(folder)).model, []).append(folder)
    return [Recording(shards, panel) for shards in by_model.values()]


def _open_panel(folder: Path) -> Panel:
    if (folder / "panel.json").exists():
        return Panel.load(folder / "panel.json")
    if (folder / "asked.json").exists():
        raise ValueError(
            f"folder: {folder} holds a recording whose truth is not rendered yet; run the same "
            "`wmscore replay` again to go on"
        )
    raise ValueError(f"folder: {folder} holds no recording (panel.json is missing)")
