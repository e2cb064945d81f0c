"""The truth of a recording in files of some scenarios each; never all of it in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from wmscore.files import link_file, sha256_tensor
from wmscore.rollouts import Rollouts

__all__ = ["TruthParts"]

_OPEN = 2  # files in memory: the rows of a part may reach into a second one


class TruthParts:
    """Rendered truth in one or several folders."""

    def __init__(self, folders: Sequence[Path], asked: str) -> None:
        """See which scenarios there are; broken files count as none.

        Args:
            folders: where to look.
            asked: the `question` that they answer.
        """
        self.question = asked
        self.files: dict[int, Path] = {}
        self._broken: list[str] = []
        self._open: OrderedDict[Path, Rollouts] = OrderedDict()
        for folder in folders:
            for path in sorted(folder.glob("truth-*.safetensors")):
                self._index(path)

    def _index(self, path: Path) -> None:
        try:
            with safe_open(path, "pt") as file:
                for scenario in file.get_tensor("scenario").unique().tolist():
                    self.files.setdefault(scenario, path)
        except SafetensorError as error:  # cut short by a crash of the machine: rendered anew
            self._broken.append(f"{path}: expected a wmscore rollouts file, got {error}")

    def missing(self, scenarios: Sequence[int]) -> list[int]:
        """Those of some scenarios that are not here."""
        return [s for s in scenarios if s not in self.files]

    def write(self, folder: Path, truth: Rollouts) -> Path:
        """Write the truth of some scenarios, under what was asked instead of the panel."""
        path = folder / f"truth-{int(truth.scenario.min()):05d}.safetensors"
        replace(truth, panel=self.question, model="truth").save(path, sync=True)
        return path

    def add(self, path: Path) -> None:
        """Know a file that `write` wrote."""
        self._open.pop(path, None)
        self._index(path)

    def link_to(self, folder: Path, scenarios: Sequence[int]) -> None:
        """Give `folder` the files with some scenarios: as second names, or copies.

        What it has already stays. Where a file of the same name does not do (it is broken, or of
        fewer scenarios), what is missing is written anew.
        """
        missing = TruthParts([folder], self.question).missing(scenarios)
        for path, wanted in self._by_file(missing).items():
            if (folder / path.name).exists():
                self.write(folder, self.rows(wanted, self.question))
            else:
                link_file(path, folder / path.name)

    def first_frames(self) -> dict[int, str]:
        """`sha256_tensor` of each scenario's initial frame; no other frame is read."""
        found: dict[int, str] = {}
        for path in dict.fromkeys(self.files.values()):
            with safe_open(path, "pt") as file:
                frames, scenarios = file.get_slice("frames"), file.get_tensor("scenario").tolist()
                for row, s in enumerate(scenarios):
                    if s not in found:
                        found[s] = sha256_tensor(frames[row : row + 1, :1][0, 0])
        return found

    def frame_size(self) -> tuple[int, int]:
        """Height and width of the frames."""
        with safe_open(next(iter(self.files.values())), "pt") as file:
            height, width = file.get_slice("frames").get_shape()[-2:]
        return int(height), int(width)

    def rows(self, scenarios: Sequence[int], fingerprint: str) -> Rollouts:
        """The truth of some scenarios under all their scripts, under a panel's fingerprint.

        Raises:
            ValueError: a scenario is not here.
        """
        if lost := self.missing(scenarios):
            raise ValueError("; ".join([f"truth: scenarios {lost} are missing", *self._broken]))
        parts = []
        for path, some in self._by_file(scenarios).items():
            rollouts = self._load(path)
            wanted = torch.isin(rollouts.scenario, torch.tensor(some))
            parts.append(rollouts if bool(wanted.all()) else rollouts[wanted])
        return replace(parts[0] if len(parts) == 1 else Rollouts.concat(parts), panel=fingerprint)

    def _by_file(self, scenarios: Sequence[int]) -> dict[Path, list[int]]:
        """Scenarios by the file to take them from; another file may hold some of them too."""
        found: dict[Path, list[int]] = {}
        for s in scenarios:
            found.setdefault(self.files[s], []).append(s)
        return found

    def _load(self, path: Path) -> Rollouts:
        if path not in self._open:
            while len(self._open) >= _OPEN:
                self._open.popitem(last=False)
            self._open[path] = Rollouts.load(path, self.question)
        self._open.move_to_end(path)
        return self._open[path]
