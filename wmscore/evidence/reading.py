"""Scores out of an evidence folder or a score file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wmscore.scores import Scores

__all__ = ["StoredScores", "read_scores"]


@dataclass(frozen=True, kw_only=True)
class StoredScores:
    """What `read_scores` found.

    Attributes:
        place: where.
        results: the scores, one per model, by file name.
        roles: model name -> "truth", "ceiling" or "floor" of anchors; empty where not recorded.
    """

    place: str
    results: tuple[Scores, ...]
    roles: dict[str, str]

    def pick(self, model: str | None = None, *, option: str = "model") -> Scores:
        """The scores of a model, by default of the only one that is judged.

        Args:
            model: its name.
            option: what an error calls the choice.

        Raises:
            ValueError: there is none of that name, or several to choose from; says which.
        """
        if model is not None:
            found = [scores for scores in self.results if scores.model == model]
            if not found:
                raise ValueError(
                    f"{option}: {self.place}: no model {model!r}; it has {self._names()}"
                )
            return found[0]
        judged = [scores for scores in self.results if scores.model not in self.roles]
        if len(self.results) == 1 or len(judged) == 1:
            return (judged or self.results)[0]
        raise ValueError(f"{option}: {self.place}: which model? It has {self._names()}")

    def _names(self) -> str:
        return ", ".join(
            scores.model + (f" ({role})" if (role := self.roles.get(scores.model)) else "")
            for scores in self.results
        )


def read_scores(place: str | Path) -> StoredScores:
    """Read all scores of an evidence folder, or those of one file.

    Raises:
        FileNotFoundError: there is nothing at that place.
        ValueError: it is neither an evidence folder with scores nor a score file.
    """
    path = Path(place)
    if not path.exists():
        raise FileNotFoundError(f"{place}: no such evidence folder or score file")
    if path.is_file():
        return StoredScores(place=str(place), results=(Scores.load(path),), roles={})
    files = sorted((path / "scores").glob("*.safetensors"))
    if not files:
        raise ValueError(f"{place}: expected an evidence folder (scores/*.safetensors), found none")
    roles = _roles(path / "comparison.json")
    order = list(roles)  # as they were scored: the first of two is the baseline
    results = [Scores.load(file) for file in files]
    results.sort(key=lambda s: order.index(s.model) if s.model in order else len(order))
    return StoredScores(
        place=str(place),
        results=tuple(results),
        roles={name: role for name, role in roles.items() if role != "model"},
    )


def _roles(path: Path) -> dict[str, str]:
    """Of all models, in order, where the folder records them."""
    if not path.exists():
        return {}
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        roles = data["roles"]
        return {str(name): str(role) for name, role in roles.items()}
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected the comparison of an evidence folder: {error}"
        ) from None
