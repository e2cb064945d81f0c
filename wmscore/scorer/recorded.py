"""Score a recording: its rows, its faults, its codec, and what its model cannot be asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from wmscore.manifest import Panel
from wmscore.rollouts import Rollouts
from wmscore.rowfaults import RowFault
from wmscore.scorer.codec import behind_codec
from wmscore.scorer.engine import Scorer
from wmscore.scores import Scores

__all__ = ["CONVERSION", "score_recording"]

CONVERSION = "conversion of actions"
"""Of the provenance: what a model was not told of what it was commanded."""


class _About(Protocol):
    @property
    def facts(self) -> Mapping[str, Any]: ...


class RecordedRows(Protocol):
    """What is needed of a `wmscore.recordings.Recording`."""

    panel: Panel
    model: str
    role: str

    @property
    def about(self) -> _About:
        """Who was recorded, and how."""
        ...

    @property
    def faults(self) -> Iterable[RowFault]:
        """Rows that the model failed to answer."""
        ...

    def __iter__(self) -> Iterator[Rollouts]:
        """Batches beside the truth."""
        ...


def score_recording(
    recording: RecordedRows,
    *,
    codec_floor: bool = True,
    progress: Callable[[int, int], None] | None = None,
    **scorer: Any,
) -> Scores:
    """Score what `record` wrote; every kind of model goes this one way.

    Of a judged model whose capabilities say that it takes no actions the response is n/a (see
    `Scorer`, `takes_actions`); floors and ceilings are measured all the same. What the conversion
    of actions lost, and what a lossy codec costs by itself, stands in the provenance.

    Args:
        recording: a `wmscore.recordings.Recording`.
        codec_floor: score the truth behind the codec of lossy clips too.
        progress: called with (rows scored or known to be faults, rows of the panel), first with 0.
        scorer: arguments of `Scorer`.

    Example:
        >>> scores = score_recording(Recording("runs/mine"))              # doctest: +SKIP
    """
    actions = recording.about.facts.get("capabilities", {}).get("actions")
    takes_actions = actions != "none" or recording.role != "model"
    judge = Scorer(recording.panel, takes_actions=takes_actions, **scorer)
    done, rows = 0, len(recording.panel.scenarios) * len(recording.panel.seeds)
    if progress is not None:
        progress(0, rows)
    for rollouts in recording:
        judge.update(rollouts)
        if progress is not None:
            done += int((rollouts.branch == 0).sum())
            progress(done, rows)
    faults = list(recording.faults)
    judge.add_faults(faults, model=recording.model)
    if progress is not None and faults:
        progress(done + len(faults), rows)
    scores = judge.compute()
    if losses := recording.about.facts.get("conversion_losses"):
        scores = replace(scores, provenance=scores.provenance | {CONVERSION: "; ".join(losses)})
    if not codec_floor:
        return scores
    return behind_codec(scores, recording, takes_actions=takes_actions, **scorer)
