"""Scores that a command is given: a file, a folder of files, or an evidence folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wmscore.scores import Scores

__all__ = ["read_scores", "score_files"]


def score_files(place: str | Path) -> list[Path]:
    """The score files of a place, in order.

    Raises:
        ValueError: there are none.
    """
    place = Path(place)
    if place.is_file():
        return [place]
    inner = place / "scores" if (place / "scores").is_dir() else place
    files = sorted(inner.glob("*.safetensors"))
    if not files:
        raise ValueError(f"{place}: expected a file of scores or a folder that holds some")
    return files


def read_scores(place: str | Path, model: str | None = None, option: str = "--model") -> Scores:
    """The scores of one model.

    Args:
        place: a file, or a folder.
        model: which, where there are several; its name or that of its file.
        option: how a caller names it, for errors.

    Raises:
        ValueError: no scores, several models and none named, or no such model.
    """
    from wmscore.scores import Scores

    files = score_files(place)
    if model is None and len(files) == 1:
        return Scores.load(files[0])
    names = [path.stem for path in files]
    if model in names:
        return Scores.load(files[names.index(model)])
    found = [Scores.load(path) for path in files]
    models = [scores.model for scores in found]
    if model in models:
        return found[models.index(model)]
    what = f"no model {model!r}" if model else "several models"
    raise ValueError(f"{place}: holds {what}; choose with {option} from {models}")
