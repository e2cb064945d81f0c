"""How far rollouts stay usable, model beside model, and which axis ends them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import pad

from wmscore.comparison.horizons import horizon_tables
from wmscore.evidence.figures import make_figure, save_figure
from wmscore.evidence.table import ranked
from wmscore.files import atomic_file
from wmscore.scores import Scores
from wmscore.stats import (
    RiskTable,
    cluster_survival,
    cumulative_incidence,
    hazard,
    pool_tables,
    table_shares,
)

__all__ = ["write_survival", "write_survival_table"]

# Of what ends a horizon: none of the colours that stand for models.
_COLOURS = ("#8da0cb", "#fc8d62", "#66c2a5", "#e78ac3", "#a6d854", "#e5c494")


def write_survival(path: Path, results: Sequence[Scores], roles: Mapping[str, str]) -> None:
    """Write a PNG: the share of rollouts still usable at each step, and what ended the others.

    Bands: 95 % at each step over scenarios. Anchors (models with a role) are dashed. The area
    under a curve beyond frame 0 is the model's mean horizon.
    """
    figure, (plot, bars) = make_figure(2, columns=2)
    models, axes = ranked(results), results[0].panel.axes
    last = results[0].panel.contract.horizon
    for i, scores in enumerate(models):
        style = "--" if scores.model in roles else "-"
        points = pad(_usable(horizon_tables(scores)), (1, 0), value=1.0)  # frame 0 is given
        steps = range(last + 1)
        plot.step(steps, points[0], style, where="mid", color=f"C{i}", label=scores.model)
        band = {"step": "mid", "color": f"C{i}", "alpha": 0.12, "linewidth": 0}
        plot.fill_between(steps, points[1], points[2], **band)
    plot.set(title="usable horizon", xlabel="step", ylabel="share of rollouts still usable")
    plot.set(xlim=(0, last + 1), ylim=(-0.02, 1.02))
    _draw_ends(bars, models, [spec.axis for spec in axes])
    save_figure(figure, path)


def write_survival_table(path: Path, results: Sequence[Scores], roles: Mapping[str, str]) -> None:
    """Write `survival.csv`: of each model at each step, what `survival.png` shows.

    `reached`: rollouts usable up to the step before and seen at it; `failed`: those of them that
    fail here; `hazard`: their share; `usable`, `usable_low`, `usable_high`: share usable up to and
    with this step, and its 95 % band over scenarios; `ended_AXIS`: share ended by the axis here or
    before. Shares count each scenario alike, so that usable and ended sum to 1.
    """
    axes = [spec.axis for spec in results[0].panel.axes]
    head = "model,role,step,reached,failed,hazard,usable,usable_low,usable_high".split(",")
    with atomic_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*head, *(f"ended_{axis}" for axis in axes)])
        for scores in results:
            role = roles.get(scores.model, "model")
            tables = horizon_tables(scores)
            counts = pool_tables(tables)
            ended = cumulative_incidence(pool_tables(table_shares(tables))).incidence
            columns = [hazard(counts).hazard, *_usable(tables), *ended]
            for t in range(scores.panel.contract.horizon):
                whole = (int(part[t]) for part in (counts.at_risk, counts.failures))
                shares = (_number(float(part[t])) for part in columns)
                writer.writerow((scores.model, role, t + 1, *whole, *shares))


def _usable(tables: RiskTable) -> torch.Tensor:
    """Share usable up to and with step 1..T, and the ends of its band, `[3, T]`."""
    curve = cluster_survival(tables)
    # A rollout is usable at step t where its horizon is beyond t - 1.
    return torch.stack([curve.survival, curve.low, curve.high])[:, :-1]


def _draw_ends(bars: Any, models: Sequence[Scores], axes: Sequence[str]) -> None:
    """One bar per model, best on top: what ended its rollouts within the panel's steps."""
    left = torch.zeros(len(models), dtype=torch.float64)
    shares = [_ends(scores) for scores in models]
    names = [scores.model for scores in models]
    for k, label in enumerate([*axes, "not seen to fail"]):
        width = torch.stack([share[k] for share in shares])
        colour = "0.9" if k == len(axes) else _COLOURS[k % len(_COLOURS)]
        bars.barh(names, width, left=left, color=colour, label=label.replace("_", " "))
        left += width
    bars.invert_yaxis()
    bars.set(title="what ends it", xlabel="share of rollouts", xlim=(0, 1))
    bars.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)


def _ends(scores: Scores) -> torch.Tensor:
    """Share ended by each axis, and of what was not seen to fail, `[A + 1]`; 0 where undefined."""
    pooled = pool_tables(table_shares(horizon_tables(scores)))
    # Shares only grow: where the curves end early, the last that is known.
    ended = cumulative_incidence(pooled).incidence[:, :-1].nan_to_num(0.0).amax(-1)
    left = (pooled.at_risk[0] > 0).double() - ended.sum()
    return torch.cat([ended, left[None]])


def _number(value: float) -> str:
    return "" if value != value else f"{value:.6g}"
