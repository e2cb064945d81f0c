"""`compare_models`: all that is to be said of the differences of several models."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from wmscore.comparison.pair import compare
from wmscore.comparison.phrases import p_text
from wmscore.comparison.ranking import Ranking, rank
from wmscore.comparison.result import Comparison, as_json, read_json
from wmscore.comparison.same import check_comparable
from wmscore.rollouts import RECONSTRUCTION, TEACHER_FORCED
from wmscore.scores import Scores
from wmscore.stats import holm

__all__ = ["COMPANIONS", "Report", "compare_models", "role_of", "rolled_out"]

COMPANIONS = {TEACHER_FORCED: "one-step", RECONSTRUCTION: "reconstruction"}
"""How the name of a companion ends, and its role."""

_TOLD = 6  # pairs that are named
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `compare_models` returns.

    Attributes:
        roles: model name -> "truth", "ceiling" or "floor" of the anchors, "model" of the others.
        ranking: of all models; None of fewer than two.
        comparisons: of each two models that are judged, and of each with each anchor.
    """

    roles: dict[str, str]
    ranking: Ranking | None
    comparisons: tuple[Comparison, ...]

    def verdict(self) -> list[str]:
        """Which differences of judged models are none when all pairs are looked at, in sentences.

        What anchors are compared for is no search for a difference.
        """
        judged = [name for name, role in self.roles.items() if role == "model"] or list(self.roles)
        parts = [
            (found, found.horizon.p_value)
            for found in self.comparisons
            if found.baseline.model in judged and found.candidate.model in judged
        ]
        corrected = holm(torch.tensor([p for _, p in parts], dtype=torch.float64)).tolist()
        lost = [
            f"{found.candidate.model} and {found.baseline.model} (p = {p_text(p)}, {p_text(after)} "
            "after Holm)"
            for (found, p), after in zip(parts, corrected, strict=True)
            if p <= 1 - found.level + _ROUNDING < after
        ]
        if not lost:
            return []
        more = f"; and {len(lost) - _TOLD} more" if len(lost) > _TOLD else ""
        text = (
            f"Each comparison is by itself. Of {len(parts)} together, these differences are not "
            f"beyond chance: {'; '.join(lost[:_TOLD])}{more}."
        )
        return [text]

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON, with the verdicts."""
        return as_json(self) | {
            "verdict": self.verdict(),
            "ranking": self.ranking.to_json() if self.ranking else None,
            "comparisons": [found.to_json() for found in self.comparisons],
        }

    @classmethod
    def from_json(cls, data: Any) -> Report:
        """What `to_json` made of one.

        Raises:
            ValueError: it is something else; says which field.
        """
        return read_json(cls, data, "report")


def rolled_out(results: Sequence[Scores]) -> list[Scores]:
    """Without companions, which are asked another question."""
    return [scores for scores in results if not scores.model.endswith(tuple(COMPANIONS))]


def role_of(model: str, roles: Mapping[str, str] | None = None) -> str:
    """What a model is in a table: "model", "one-step", "reconstruction", or an anchor's role.

    Args:
        model: its name.
        roles: model name -> "truth", "ceiling" or "floor" of the anchors.
    """
    kinds = [kind for ending, kind in COMPANIONS.items() if model.endswith(ending)]
    return (roles or {}).get(model, kinds[0] if kinds else "model")


def compare_models(
    results: Sequence[Scores],
    *,
    roles: Mapping[str, str] | None = None,
    estimand: str = "scenarios",
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Report:
    """Rank several models and compare each two of which at least one is judged.

    Of two models the one that comes first in `results` is the baseline; an anchor always is. One-
    step predictions beside rollouts (teacher-forced) are another task and are left out.

    Args:
        results: scores on one panel.
        roles: model name -> "truth", "ceiling" or "floor" for anchors.
        estimand: as for `compare`; the ranking is over scenarios.
        level: of confidence, in (0, 1).
        draws: as for `compare` and `rank`.
        seed: likewise.

    Returns:
        A `Report`.

    Raises:
        PanelMismatchError: the panels differ; says in which fields.
        ValueError: no results, one model twice, scores by different networks or rules, or bad
            options.
        TypeError: not `Scores`.
    """
    check_comparable(results)
    anchors = dict(roles or {})
    unknown = set(anchors) - {scores.model for scores in results}
    if unknown:
        raise ValueError(f"roles: no results of {', '.join(sorted(unknown))}")
    rolled = rolled_out(results)
    judged = [scores.model for scores in rolled if scores.model not in anchors] or [
        scores.model for scores in rolled
    ]
    # Anchors first, so that they are the baselines.
    order = sorted(rolled, key=lambda scores: scores.model not in anchors)
    options: dict[str, Any] = {"level": level, "draws": draws, "seed": seed}
    return Report(
        roles={scores.model: anchors.get(scores.model, "model") for scores in results},
        ranking=rank(rolled, roles=anchors, **options) if len(rolled) > 1 else None,
        comparisons=tuple(
            compare(one, other, estimand=estimand, **options)
            for one, other in itertools.combinations(order, 2)
            if one.model in judged or other.model in judged
        ),
    )
