"""`rank`: several models on one panel, all pairs, and how sure their order is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wmscore.comparison._check import check_level
from wmscore.comparison.cells import MatchedCells, last_judged, matched_cells
from wmscore.comparison.horizons import mean_horizon
from wmscore.comparison.paired import paired_difference
from wmscore.comparison.result import Number, as_json, read_json
from wmscore.comparison.same import check_comparable
from wmscore.scores import Scores
from wmscore.stats import holm, mean_interval, rank_shares

__all__ = ["RankedModel", "RankedPair", "Ranking", "rank"]

ENDS_EARLY = "ends_early"
"""Why a model that has its rows is not ranked: they end long before those of others."""

_MOST_LOST = 0.5  # share of rows from which a model would take the evidence from the others


@dataclass(frozen=True, kw_only=True)
class RankedModel:
    """One model of a ranking.

    Attributes:
        model: its name.
        role: "truth", "ceiling" or "floor" of an anchor, else "model".
        mean: usable horizon in steps, each scenario with the same weight.
        low: lower end of its interval over scenarios, not below 0.
        high: upper end, not beyond the panel's horizon.
        first: share of bootstrap draws of scenarios in which it is first of the judged models; ties
            are shared. NaN of an anchor.
        expected_rank: mean rank among them over the draws, from 1. NaN of an anchor.
        lost: rows that it does not have, by reason.
        unjudged: gated axis -> rows of which it leaves more than half undefined, of the steps at
            which another model is defined, up to its own horizon.
    """

    model: str
    role: str
    mean: Number
    low: Number
    high: Number
    first: Number
    expected_rank: Number
    lost: dict[str, int]
    unjudged: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class RankedPair:
    """Two models of a ranking, the one with the longer mean horizon first.

    Attributes:
        better: the one.
        worse: the other.
        difference: of their mean horizons, in steps, at least 0.
        low: lower end of its interval.
        high: upper end.
        p_value: of the two being alike, by flipping signs.
        p_holm: corrected for the number of pairs.
        better_share: share of bootstrap draws in which `better` is ahead, ties for a half.
    """

    better: str
    worse: str
    difference: Number
    low: Number
    high: Number
    p_value: Number
    p_holm: Number
    better_share: Number


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Models by mean usable horizon, on the rows that all of them have. Made by `rank`.

    Attributes:
        panel: name of the panel.
        fingerprint: of the panel.
        steps: its horizon.
        level: of confidence.
        draws: of the bootstrap, and of random patterns of signs.
        seed: of those.
        scenarios: with a row that all models have.
        rows: that all models have.
        restricted: those that end early in one; all count only up to the last step that all show.
        models: longest horizon first, anchors among them; ties by name.
        pairs: all pairs of judged models, in the order of `models`; of anchors where all are.
        unranked: models that lack more than half of the rows, or of the steps that others show,
            and what they lack.
    """

    panel: str
    fingerprint: str
    steps: int
    level: Number
    draws: int
    seed: int
    scenarios: int
    rows: int
    restricted: int
    models: tuple[RankedModel, ...]
    pairs: tuple[RankedPair, ...]
    unranked: dict[str, dict[str, int]]

    def verdict(self) -> list[str]:
        """What is settled of the order and what is not, in sentences."""
        from wmscore.comparison.words_ranking import ranking_verdict

        return ranking_verdict(self)

    def table(self) -> str:
        """The ranking as text, with the verdict below."""
        from wmscore.comparison.tables import as_text, ranking_table

        return as_text(*ranking_table(self)) + "\n\n" + "\n".join(self.verdict())

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON, with the verdict: NaN becomes null."""
        return as_json(self) | {"verdict": self.verdict()}

    @classmethod
    def from_json(cls, data: Any) -> Ranking:
        """What `to_json` made of one.

        Raises:
            ValueError: it is something else; says which field.
        """
        return read_json(cls, data, "ranking")


def rank(
    results: Sequence[Scores],
    *,
    roles: Mapping[str, str] | None = None,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Ranking:
    """Models by mean usable horizon, with all pairs and the uncertainty of the order.

    Models are judged on the rows (scenario, seed) that all of them have, each scenario with the
    same weight, and up to the last step that all of them show. A model that lacks more than half of
    its rows, or ends so early that it lacks more than half of the steps that others show, is left
    out, as it would take the evidence from the others. Anchors stand beside them, each on all rows
    that it has: they are no competitors, unless there is nothing else.

    Args:
        results: scores of at least two models on one panel.
        roles: model name -> "truth", "ceiling" or "floor" for anchors.
        level: of confidence, in (0, 1).
        draws: bootstrap draws of scenarios, and random patterns of signs where they are too many.
        seed: of those.

    Returns:
        A `Ranking`.

    Raises:
        PanelMismatchError: the panels differ; says in which fields.
        ValueError: fewer than two models, one twice, scores by different networks or rules, or a
            level outside (0, 1).
        TypeError: not `Scores`.
    """
    check_comparable(results)
    check_level(level)
    names = [scores.model for scores in results]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"results: expected at least two models, each once, got {names}")
    anchors = dict(roles or {})
    judged = [scores for scores in results if scores.model not in anchors] or list(results)
    there = [share <= _MOST_LOST for share in _lost_shares(judged)]
    kept = [scores for scores, has in zip(judged, there, strict=True) if has]
    left_out = [scores for scores, has in zip(judged, there, strict=True) if not has]
    panel = results[0].panel
    cells = matched_cells(kept) if kept else None
    models, pairs = _ranked(kept, cells, anchors, level, draws, seed)
    beside = [
        _anchor(scores, anchors[scores.model], level) for scores in results if scores not in judged
    ]
    lost = {scores.model: _lost(scores) for scores in left_out}
    return Ranking(
        panel=panel.name,
        fingerprint=panel.fingerprint,
        steps=panel.contract.horizon,
        level=float(level),
        draws=draws,
        seed=seed,
        scenarios=int(cells.kept.any(1).sum()) if cells is not None else 0,
        rows=int(cells.kept.sum()) if cells is not None else 0,
        restricted=int(cells.restricted.sum()) if cells is not None else 0,
        models=tuple(sorted((*models, *beside), key=_place)),
        pairs=pairs,
        unranked=lost,
    )


def _ranked(
    results: Sequence[Scores],
    cells: MatchedCells | None,
    roles: dict[str, str],
    level: float,
    draws: int,
    seed: int,
) -> tuple[tuple[RankedModel, ...], tuple[RankedPair, ...]]:
    if cells is None:
        return (), ()
    values = cells.horizon.movedim(0, -1)  # [S, K, M]
    means = values.nanmean(1)  # [S, M]
    over = mean_interval(means, level)
    sizes = over.mean.tolist()
    names = [scores.model for scores in results]
    order = sorted(range(len(names)), key=lambda m: (-_size(sizes[m]), names[m]))
    shares = rank_shares(means, draws=draws, seed=seed)
    models = tuple(
        RankedModel(
            model=names[m],
            role=roles.get(names[m], "model"),
            mean=sizes[m],
            low=float(over.low[m].clamp(min=0)),
            high=float(over.high[m].clamp(max=results[m].panel.contract.horizon)),
            first=float(shares.first[m]),
            expected_rank=float(shares.expected_rank[m]),
            lost=cells.dropped[m],
            unjudged={
                spec.axis: cells.unjudged[m][spec.axis]
                for spec in results[m].panel.axes
                if spec.gate and spec.axis in cells.unjudged[m]
            },
        )
        for m in order
    )
    keys = list(itertools.combinations(order, 2))
    if not keys:
        return models, ()
    first, second = (values[..., [key[i] for key in keys]] for i in (0, 1))
    found = paired_difference(second, first, level=level, draws=draws, seed=seed)
    corrected = holm(found.p_value)
    columns: list[Tensor] = [found.estimate, found.low, found.high, found.p_value, corrected]
    rows = torch.stack(columns, 1).tolist()
    pairs = tuple(
        RankedPair(
            better=names[a],
            worse=names[b],
            difference=row[0],
            low=row[1],
            high=row[2],
            p_value=row[3],
            p_holm=row[4],
            better_share=float(shares.better[a, b]),
        )
        for (a, b), row in zip(keys, rows, strict=True)
    )
    return models, pairs


def _anchor(scores: Scores, role: str, level: float) -> RankedModel:
    """An anchor by itself, on all rows that it has."""
    found = mean_horizon(scores, level)
    return RankedModel(
        model=scores.model,
        role=role,
        mean=found.mean,
        low=found.low,
        high=found.high,
        first=math.nan,
        expected_rank=math.nan,
        lost=matched_cells([scores]).dropped[0],
        unjudged={},
    )


def _place(model: RankedModel) -> tuple[float, str]:
    return -_size(float(model.mean)), model.model


def _size(mean: float) -> float:
    return -math.inf if math.isnan(mean) else mean


def _lost_shares(results: Sequence[Scores]) -> list[float]:
    """Share of rows that each lacks, or of the steps that others show where that is more."""
    usable = torch.stack([(s.fault == 0) & s.horizon.defined for s in results]).cpu()  # [M, R]
    shown = torch.stack([last_judged(s) for s in results]) * usable
    steps = 1 - shown.sum(1) / shown.amax(0).sum()  # NaN where nobody shows any
    rows = 1 - usable.double().mean(1)
    return torch.maximum(rows, steps.double().nan_to_num(0.0)).tolist()


def _lost(scores: Scores) -> dict[str, int]:
    """Why a model is not ranked: rows that it does not have, by reason."""
    alone = matched_cells([scores])
    early = int(alone.restricted.sum())
    return alone.dropped[0] | ({ENDS_EARLY: early} if early else {})
