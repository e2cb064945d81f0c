"""How usable horizons shrink under stress."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from wmscore.plots.figures import add_legend, add_note, make_figure
from wmscore.plots.lines import line_name, line_styles

__all__ = ["ladder_plot"]


def ladder_plot(ladder: Any) -> Any:
    """Usable share of the horizon against severity, one plot per stressor, model beside model.

    The clean panel stands on the left, at severity 0. Whiskers are 95 % intervals over scenarios. A
    ring marks rungs at which a model is worse than on the clean panel beyond chance. Rungs that say
    nothing (excluded) leave a gap; stressors of which nothing is left are left out.

    Args:
        ladder: a `wmscore.ladder.Ladder`, or what `stress.json` of an evidence folder holds.

    Returns:
        A matplotlib figure, or None where there is no rung to show.

    Raises:
        ValueError: it is neither.

    Example:
        >>> save_plot(ladder_plot(read_stress("evidence")), "stress.png")  # doctest: +SKIP
    """
    data = ladder if isinstance(ladder, Mapping) else ladder.to_json()
    if not isinstance(data.get("models"), Mapping):
        raise ValueError(f"ladder: expected a Ladder or stress.json, got {sorted(data)}")
    models: Mapping[str, Any] = data["models"]
    stressors = _stressors(models)
    if not stressors:
        return None
    roles = {name: m["role"] for name, m in models.items() if m["role"] != "model"}
    styles = line_styles(list(models), roles)
    figure, plots = make_figure(len(stressors), columns=min(len(stressors), 4))
    for (stressor, unit), plot in zip(stressors.items(), plots, strict=True):
        severities = sorted({r["severity"] for m in models.values() for r in _of(m, stressor)})
        place = {0.0: 0, **{severity: i for i, severity in enumerate(severities, 1)}}
        for i, (name, model) in enumerate(models.items()):
            shift = (i - (len(models) - 1) / 2) * min(0.07, 0.5 / len(models))
            _draw(
                plot,
                model,
                _of(model, stressor),
                place,
                shift,
                styles[name],
                line_name(name, roles),
            )
        plot.set_xticks(list(place.values()), ["clean", *(f"{s:g}" for s in severities)])
        plot.set(title=stressor.replace("-", " "), xlabel=unit)
        plot.set(ylim=(-0.04, 1.04), xlim=(-0.4, len(severities) + 0.4))
    for plot in plots[:: min(len(stressors), 4)]:
        plot.set_ylabel("usable share of the horizon")
    plots[0].plot([], [], "o", label="worse beyond chance", markersize=9, **_RING)
    note = "Usable share of each rung's horizon, mean; whiskers: 95 % intervals over scenarios."
    add_note(figure, note)
    add_legend(figure, plots)
    return figure


_RING: dict[str, Any] = {"color": "0.25", "fillstyle": "none", "markeredgewidth": 1.1}


def _draw(
    plot: Any,
    model: Mapping[str, Any],
    rungs: Sequence[Mapping[str, Any]],
    place: Mapping[float, int],
    shift: float,
    style: Mapping[str, Any],
    name: str,
) -> None:
    points = [(0.0, model["clean"], False)]
    points += [(r["severity"], r, bool(r["broken"])) for r in rungs]
    x = [place[severity] + shift for severity, _, _ in points]
    middle, low, high = (
        [_number(point[key]) for _, point, _ in points] for key in ("usable_share", "low", "high")
    )
    marked = {**style, "marker": style["marker"] or "o", "markersize": 4}
    plot.plot(x, middle, label=name, **marked)
    ends = [(a, b, c) for a, b, c in zip(x, low, high, strict=True) if b == b and c == c]
    if ends:
        at, *sides = zip(*ends, strict=True)
        lower, upper = ([min(1.0, max(0.0, v)) for v in part] for part in sides)
        plot.vlines(at, lower, upper, color=style["color"], linewidth=1, alpha=0.55)
    broken = [(a, b) for a, b, (_, _, bad) in zip(x, middle, points, strict=True) if bad and b == b]
    if broken:
        plot.plot(*zip(*broken, strict=True), "o", markersize=9, **_RING)


def _stressors(models: Mapping[str, Any]) -> dict[str, str]:
    """Stressors with something to show, and their units."""
    return {
        rung["stressor"]: rung["unit"]
        for model in models.values()
        for rung in model["rungs"]
        if rung["excluded"] is None
    }


def _of(model: Mapping[str, Any], stressor: str) -> list[Mapping[str, Any]]:
    return [r for r in model["rungs"] if r["stressor"] == stressor]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
