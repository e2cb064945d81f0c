"""Scores as the document that `--json` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmscore.manifest import Panel
    from wmscore.scores import Scores

__all__ = ["about_panel", "results_document"]


def about_panel(panel: Panel) -> dict[str, Any]:
    """Which panel it is, and its size."""
    return {
        "name": panel.name,
        "fingerprint": panel.fingerprint,
        "horizon": panel.contract.horizon,
        "scenarios": len(panel.scenarios),
        "seeds": len(panel.seeds),
        "stress": None if panel.stress is None else panel.stress.model_dump(mode="json"),
    }


def results_document(results: Sequence[Scores], roles: Mapping[str, str]) -> dict[str, Any]:
    """Panel, models in the order of their horizons, and the ranking with its verdict."""
    from wmscore.comparison import rank
    from wmscore.comparison.report import role_of, rolled_out
    from wmscore.evidence.table import ranked

    rolled = rolled_out(results)
    ranking = rank(rolled, roles=dict(roles)).to_json() if len(rolled) > 1 else None
    return {
        "panel": about_panel(results[0].panel),
        "models": [_about(scores, role_of(scores.model, roles)) for scores in ranked(results)],
        "ranking": ranking,
    }


def _about(scores: Scores, role: str) -> dict[str, Any]:
    from wmscore.comparison.horizons import mean_horizon

    mean, low, high, seen = mean_horizon(scores)
    horizon = scores.horizon
    sound = scores.fault == 0
    return {
        "model": scores.model,
        "role": role,
        "rows": len(scores),
        "faults": scores.faults(),
        "horizon": {
            "mean": mean if seen else None,
            "low": low,
            "high": high,
            "of": seen,
            "never_failed": int(horizon.censored.sum()),
            "undefined": int((~horizon.defined).sum()),
        },
        "ended_by": dict(
            Counter(filter(None, (scores.failing_axis(r) for r in range(len(scores)))))
        ),
        "axes": {
            name: {
                "mean_score": float(curve.values[sound].nanmean()),
                "undefined": curve.undefined(),
            }
            for name, curve in scores.axes.items()
        },
    }
