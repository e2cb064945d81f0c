"""Every score and raw measure at every step, model beside model, anchors included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wmscore.comparison.horizons import ranked
from wmscore.plots.figures import add_legend, add_note, make_figure, rows_of
from wmscore.plots.lines import line_name, line_styles
from wmscore.plots.quartiles import quartiles
from wmscore.scores import Curve, Scores

__all__ = ["drift_plot", "measures_plot"]

# What is shown of the raw measures, in this order: distances to the reference first, then what
# frames look like on their own.
_SHOWN = (
    "psnr_moving",
    "skill",
    "lpips",
    "feature_cosine",
    "feature_l2",
    "latent_cosine",
    "latent_l2",
    "similarity_first",
    "brightness_ratio",
    "saturation_ratio",
    "sharpness_gradient_ratio",
    "change",
)
_NOTE = "Lines: median of the values that are defined at a step, of {}; bands: quartiles."


def drift_plot(results: Sequence[Scores], roles: Mapping[str, str] | None = None) -> Any:
    """Per axis the median score over defined rows at every step, with quartiles as a band.

    The threshold of each axis is a thin line; what lies below it is shaded. Anchors (models with a
    role) are dashed and grey: between floor and ceiling a score means something. Steps at which no
    row is defined leave a gap.

    Args:
        results: scores of all models on one panel.
        roles: model name -> "truth", "ceiling" or "floor" for the anchors.

    Returns:
        A matplotlib figure.

    Example:
        >>> save_plot(drift_plot(results, {"frozen": "floor"}), "drift.png")   # doctest: +SKIP
    """
    specs, last = results[0].panel.axes, results[0].panel.contract.horizon
    models = ranked(results)
    styles = line_styles([scores.model for scores in models], roles)
    figure, plots = make_figure(len(specs), columns=min(len(specs), 4))
    for spec, plot in zip(specs, plots, strict=True):
        plot.axhspan(-0.02, spec.threshold, color="0.96", zorder=0)
        for scores in models:
            name = line_name(scores.model, roles)
            curve = scores.axes[spec.axis]
            _draw(plot, curve, styles[scores.model], name, models=len(models))
        plot.axhline(spec.threshold, color="0.25", linewidth=0.9, label="threshold")
        plot.set(title=spec.axis.replace("_", " "), xlabel="step", ylim=(-0.02, 1.02))
        plot.set_xlim(0, last + 1)
    plots[0].set_ylabel("score, 1 = perfect")
    add_note(figure, _NOTE.format(rows_of(results[0].panel)))
    add_legend(figure, plots)
    return figure


def measures_plot(
    results: Sequence[Scores],
    roles: Mapping[str, str] | None = None,
    names: Sequence[str] | None = None,
) -> Any:
    """The same of raw measures, each in its own unit.

    Args:
        results: scores of all models on one panel.
        roles: model name -> "truth", "ceiling" or "floor" for the anchors.
        names: which measures; by default the most telling ones of those that all models have.

    Returns:
        A matplotlib figure, or None where there is none of them.

    Raises:
        ValueError: a measure that not all models have.
    """
    common = set.intersection(*(set(scores.measures) for scores in results))
    if names is None:
        names = [n for start in _SHOWN for n in sorted(common) if n == start or _extends(n, start)]
    elif strange := [name for name in names if name not in common]:
        raise ValueError(f"names: expected measures of all models {sorted(common)}, got {strange}")
    if not names:
        return None
    models = ranked(results)
    styles = line_styles([scores.model for scores in models], roles)
    figure, plots = make_figure(len(names), columns=4 if len(names) > 6 else 3)
    for name, plot in zip(names, plots, strict=True):
        for scores in models:
            curve = scores.measures[name]
            label = line_name(scores.model, roles)
            _draw(plot, curve, styles[scores.model], label, models=len(models))
        title = name.replace("_", " ")
        plot.set(title=title, xlabel="step", ylabel="" if curve.unit == "1" else curve.unit)
    add_note(figure, _NOTE.format(rows_of(results[0].panel)))
    add_legend(figure, plots)
    return figure


def _extends(name: str, start: str) -> bool:
    """Whether a name is a variant of another: `lpips_alex` of `lpips`."""
    return name.startswith(start + "_") and name not in _SHOWN


def _draw(plot: Any, curve: Curve, style: Mapping[str, Any], label: str, *, models: int) -> None:
    # Infinite decibels of identical frames have no place on a plot.
    points = quartiles(curve.values)
    low, middle, high = points.masked_fill(points.isinf(), float("nan")).tolist()
    steps = range(1, len(middle) + 1)
    alpha = 0.12 * min(1.0, 6 / models)  # bands of many models are no fog
    plot.fill_between(steps, low, high, color=style["color"], alpha=alpha, linewidth=0)
    # A step alone between gaps is no line.
    plot.plot(steps, middle, label=label, **style)
    alone = [
        t
        for t, value in zip(steps, middle, strict=True)
        if value == value
        and all(n != n for n in (*middle[max(0, t - 2) : t - 1], *middle[t : t + 1]))
    ]
    if alone:
        plot.plot(alone, [middle[t - 1] for t in alone], "o", color=style["color"], markersize=3)
