"""One-step predictions and reconstructions: evidence about a model, none of it a rollout."""

from __future__ import annotations

from collections.abc import Sequence

from wmscore.comparison.report import COMPANIONS, rolled_out
from wmscore.functional import Reason
from wmscore.scores import Scores

__all__ = ["companion_lines", "real_faults"]


def real_faults(scores: Scores) -> dict[str, int]:
    """Evaluation faults by kind; of a companion without those that nobody asked it to avoid.

    A one-step prediction or a reconstruction is pictures: it need not tell where objects are.
    """
    faults = scores.faults()
    if scores.model.endswith(tuple(COMPANIONS)):
        faults.pop(Reason.NO_LABELS.name.lower(), None)
    return faults


def companion_lines(results: Sequence[Scores]) -> list[str]:
    """A sentence of the postmortem that names them, and what could not be evaluated of them."""
    rolled = rolled_out(results)
    companions = [scores for scores in results if scores not in rolled]
    if not rolled or not companions:
        return []
    names = []
    for scores in companions:
        lost = ", ".join(f"{kind} x{n}" for kind, n in real_faults(scores).items())
        names.append(f"`{scores.model}`" + (f" (evaluation fault: {lost})" if lost else ""))
    text = (
        f"Companions, each told of in its model's section: {', '.join(names)}. They start anew "
        "from true frames, so that they have no usable horizon and no rank."
    )
    return ["", text]
