"""How far rollouts stay usable, model beside model, and which axis ends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn.functional import pad

from wmscore.comparison.horizons import ended_shares, horizon_tables, ranked, usable_curve
from wmscore.comparison.report import rolled_out
from wmscore.plots.figures import add_note, make_figure, rows_of, tidy
from wmscore.plots.lines import line_name, line_styles
from wmscore.scores import Scores

__all__ = ["survival_plot"]

# Of what ends a horizon: none of the colours that stand for models, told apart by grey alone too.
_COLOURS = ("#332288", "#88CCEE", "#DDCC77", "#882255", "#44AA99", "#AA4499")
_HATCHES = ("", "", "", "///", "...", "xx")
_LEGEND: dict[str, Any] = {
    "loc": "upper center",
    "bbox_to_anchor": (0.5, -0.16),
    "ncols": 2,
    "frameon": False,
    "fontsize": 9,
}


def survival_plot(results: Sequence[Scores], roles: Mapping[str, str] | None = None) -> Any:
    """Share of rollouts still usable at each step, and what ended the others.

    Bands: 95 % at each step over scenarios. Anchors (models with a role) are dashed and grey. The
    area under a curve is the model's mean horizon: step t takes up the place from t - 1 to t.
    One-step predictions and reconstructions have none and are left out.

    Args:
        results: scores of all models on one panel.
        roles: model name -> "truth", "ceiling" or "floor" for the anchors.

    Returns:
        A matplotlib figure.

    Example:
        >>> save_plot(survival_plot(results), "survival.svg")              # doctest: +SKIP
    """
    models, axes = ranked(rolled_out(results) or results), results[0].panel.axes
    high = max(3.6, 1.6 + 0.3 * len(models))
    figure, (plot, bars) = make_figure(2, columns=2, size=(5.4, high))
    styles = line_styles([scores.model for scores in models], roles)
    last = results[0].panel.contract.horizon
    steps = range(last + 1)
    for scores in models:
        style = styles[scores.model]
        points = pad(usable_curve(horizon_tables(scores)), (1, 0), value=1.0)  # frame 0 is given
        usable, low, top = points.tolist()
        plot.step(steps, usable, where="pre", label=line_name(scores.model, roles), **style)
        band = {
            "step": "pre",
            "color": style["color"],
            "alpha": 0.1 * min(1.0, 6 / len(models)),
            "linewidth": 0,
        }
        plot.fill_between(steps, low, top, **band)
    plot.set(title="usable horizon", xlabel="step", ylabel="share of rollouts still usable")
    plot.set(xlim=(-0.01 * last, last + 1), ylim=(-0.02, 1.02))
    _draw_ends(bars, models, [spec.axis for spec in axes])
    plot.legend(**_LEGEND)
    add_note(figure, f"{rows_of(results[0].panel)}; bands: 95 % at each step, over scenarios.")
    return figure


def _draw_ends(bars: Any, models: Sequence[Scores], axes: Sequence[str]) -> None:
    """One bar per model, best on top: what ended its rollouts within the panel's steps."""
    left = torch.zeros(len(models), dtype=torch.float64)
    shares = [ended_shares(scores) for scores in models]
    places = range(len(models))
    for k, label in enumerate([*axes, "not seen to fail"]):
        width = torch.stack([share[k] for share in shares])
        style: dict[str, Any] = {"color": "0.9"}
        if k < len(axes):
            style = {"color": _COLOURS[k % len(_COLOURS)], "hatch": _HATCHES[k % len(_HATCHES)]}
        name = label.replace("_", " ")
        bars.barh(places, width.tolist(), 0.68, left=left.tolist(), label=name, **style)
        left += width
    bars.set_yticks(places, [scores.model for scores in models])
    bars.invert_yaxis()
    tidy(bars)
    bars.grid(visible=False)
    bars.set(title="what ends it", xlabel="share of rollouts", xlim=(0, 1))
    bars.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=9)
