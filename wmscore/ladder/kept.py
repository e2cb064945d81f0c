"""Finished rungs in a folder, so that a ladder that was interrupted goes on where it ended.

| file | what |
| --- | --- |
| `ladder.json` | what every run of this ladder must have in common |
| `<fingerprint>/rung.json` | what was found on that panel besides scores |
| `<fingerprint>/<number>.safetensors` | scores of the models that did not refuse it |

A rung appears whole or not at all, under the fingerprint of its stressed panel: severity, seed and
whatever else the stressor was told are in there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wmscore.files import atomic_folder, create_file
from wmscore.manifest import Panel
from wmscore.scores import Scores

__all__ = ["Found", "KeptRungs"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found on one panel.

    Attributes:
        scores: of the models that did not refuse it.
        excluded: why it says nothing of any model, or None.
        refused: why it says nothing of some, by model name.
        shown: a digest of what each scenario asks and shows.
    """

    scores: list[Scores] = field(default_factory=list)
    excluded: str | None = None
    refused: dict[str, str] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)


class KeptRungs:
    """The rungs of one ladder in one folder."""

    def __init__(self, folder: str | Path, about: Mapping[str, Any]) -> None:
        """Begin a folder, or go on in one.

        Args:
            folder: where to; new, empty, or with the same ladder.
            about: what is the same in every run of it, as plain data.

        Raises:
            ValueError: another ladder is in there; names what differs.
        """
        self._folder = Path(folder)
        path = self._folder / "ladder.json"
        if self._folder.exists() and not path.exists() and any(self._folder.iterdir()):
            raise ValueError(f"folder: {folder} holds something else; choose another")
        self._folder.mkdir(parents=True, exist_ok=True)
        create_file(path, json.dumps(about, indent=2) + "\n")
        try:
            known = dict(json.loads(path.read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: expected what a stress ladder wrote, got {error}") from None
        names = sorted(known.keys() | about.keys())
        if other := [name for name in names if known.get(name) != about.get(name)]:
            raise ValueError(
                f"folder: {folder} holds another ladder; choose a new one, or go on as it was "
                "begun: "
                + "; ".join(f"{n}: expected {known.get(n)!r}, got {about.get(n)!r}" for n in other)
            )

    def find(self, panel: Panel) -> Found | None:
        """What an earlier run found on a panel, or None where it did not finish."""
        folder = self._folder / panel.fingerprint
        if not folder.is_dir():
            return None
        about = json.loads((folder / "rung.json").read_text("utf-8"))
        scores = [
            Scores.load(folder / f"{number}.safetensors", panel)
            for number in range(about.pop("scores"))
        ]
        return Found(scores=scores, **about)

    def keep(self, panel: Panel, found: Found) -> Found:
        """Write what was found on a panel."""
        with atomic_folder(self._folder / panel.fingerprint) as draft:
            for number, scores in enumerate(found.scores):
                scores.save(draft / f"{number}.safetensors")
            about = {
                "scores": len(found.scores),
                "excluded": found.excluded,
                "refused": found.refused,
                "shown": found.shown,
            }
            (draft / "rung.json").write_text(json.dumps(about, indent=2) + "\n", "utf-8")
        return found
