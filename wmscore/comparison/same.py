"""What results must share before anything is said of their difference."""

from __future__ import annotations

from collections.abc import Sequence

from wmscore.manifest import PanelMismatchError
from wmscore.scores import Scores

__all__ = ["check_comparable"]

# What must be the same in all scores of a comparison, as scorers record it.
_PARTS = ("lpips trunk", "lpips heads", "encoder", "latent encoder", "oracle", "identity")


def check_comparable(results: Sequence[Scores], names: Sequence[str] | None = None) -> None:
    """Refuse scores of different panels, or by different networks or rules.

    Args:
        results: at least one.
        names: what errors call each of them; by default its model's name.

    Raises:
        TypeError: not `Scores`.
        ValueError: no results, or scores by different networks or rules.
        PanelMismatchError: results of different panels; says which fields differ.
    """
    if not results:
        raise ValueError("results: expected at least one Scores, got none")
    for scores in results:
        if not isinstance(scores, Scores):
            raise TypeError(f"results: expected Scores, got {type(scores).__name__}")
    named = list(names) if names is not None else [repr(scores.model) for scores in results]
    first, first_name = results[0], named[0]
    for scores, name in zip(results, named, strict=True):
        if scores.panel.fingerprint != first.panel.fingerprint:
            fields = "\n".join(first.panel.differences(scores.panel))
            raise PanelMismatchError(
                f"results: {name} has another panel than {first_name}, so that its numbers mean "
                f"something else; fields that differ:\n{fields}"
            )
        for part in _PARTS:
            own, other = scores.provenance.get(part), first.provenance.get(part)
            if None not in (own, other) and own != other:
                raise ValueError(
                    f"results: {name} was scored with another {part} ({own}) than {first_name} "
                    f"({other})"
                )
