"""Stress ladders of `stress.json`: what a severity leaves of the horizon, what breaks first."""

from __future__ import annotations

import math
from typing import Any

from wmscore.evidence.report.charts import Line, Plot, draw
from wmscore.evidence.report.curves import legend
from wmscore.evidence.report.markup import Html, h, join, label
from wmscore.evidence.report.numbers import number, plain, words
from wmscore.evidence.report.reading import Evidence
from wmscore.evidence.report.table import Cell, data_table

__all__ = ["stress"]


def stress(evidence: Evidence) -> Html:
    """Section: a chart per stressor, and a table of what breaks each model."""
    models = _models(evidence)
    if not models:
        run = h("code", "wmscore stress")
        return h("p", "No stress ladder was run. ", run, " runs one.", class_="empty")
    kinds = list(dict.fromkeys(kind for data in models.values() for kind in _stressors(data)))
    shown = [m for m in evidence.models if m.name in models]
    plots = [draw(plot) for kind in kinds if (plot := _plot(evidence, models, kind)) is not None]
    note = (
        "Usable share of the horizon at each severity, mean with its 95 % interval over scenarios. "
        "A ring marks the smallest severity at which a model is shown to be worse than clean."
    )
    return join(
        [
            h("p", note, class_="lead"),
            _breaks(evidence, models),
            legend(evidence, shown),
            h("div", *plots, class_="charts"),
            _table(evidence, models, kinds),
            _excluded(models),
        ]
    )


def _models(evidence: Evidence) -> dict[str, dict[str, Any]]:
    data = (evidence.stress or {}).get("models")
    if not isinstance(data, dict):
        return {}
    here = {m.name for m in evidence.models}
    known = {n: d for n, d in data.items() if isinstance(d, dict) and _rungs(d)}
    # A ladder may be of fewer models than the folder has, and of none that it has not.
    return {m.name: known[m.name] for m in evidence.models if m.name in known and m.name in here}


def _rungs(data: dict[str, Any]) -> list[dict[str, Any]]:
    rungs = data.get("rungs")
    return [r for r in rungs if isinstance(r, dict)] if isinstance(rungs, list) else []


def _stressors(data: dict[str, Any]) -> list[str]:
    return [str(rung.get("stressor")) for rung in _rungs(data)]


def _words(kind: Any) -> str:
    return words(str(kind)).replace("-", " ")


def _value(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _plot(evidence: Evidence, models: dict[str, dict[str, Any]], kind: str) -> Plot | None:
    severities = sorted(
        {
            _value(rung.get("severity"))
            for data in models.values()
            for rung in _rungs(data)
            if rung.get("stressor") == kind and not rung.get("excluded")
        }
    )
    severities = [s for s in severities if s == s]
    if not severities:
        return None
    unit = next(
        str(r.get("unit") or "")
        for d in models.values()
        for r in _rungs(d)
        if r.get("stressor") == kind
    )
    lines, marked = [], []
    for name, data in models.items():
        clean = data.get("clean")
        points = {0: clean if isinstance(clean, dict) else {}}
        for rung in _rungs(data):
            if rung.get("stressor") == kind and not rung.get("excluded"):
                points[1 + severities.index(_value(rung.get("severity")))] = rung
        rows = [points.get(i, {}) for i in range(len(severities) + 1)]
        key = evidence.key(name)
        lines.append(
            Line(
                name=name,
                look=evidence.looks[name],
                key=key,
                middle=[_value(row.get("usable_share")) for row in rows],
                low=[_value(row.get("low")) for row in rows],
                high=[_value(row.get("high")) for row in rows],
            )
        )
        found = data.get("stressors")
        about = found.get(kind) if isinstance(found, dict) else None
        at = _value(about.get("breakpoint")) if isinstance(about, dict) else math.nan
        if at in severities:
            marked.append((key, 1 + severities.index(at)))
    return Plot(
        title=_words(kind).capitalize(),
        x=[float(i) for i in range(len(severities) + 1)],
        x_names=["clean", *(plain(s) for s in severities)],
        lines=lines,
        x_label=f"severity, {unit}" if unit and unit != "1" else "severity",
        y_label="usable share",
        bottom=0.0,
        top=1.0,
        marked=tuple(marked),
    )


def _breaks(evidence: Evidence, models: dict[str, dict[str, Any]]) -> Html:
    lines = []
    for name, data in models.items():
        if not next(m for m in evidence.models if m.name == name).judged:
            continue
        found, why = data.get("first_break"), data.get("why")
        text: list[object] = [label(evidence.looks[name], name)]
        if why:
            text.append(f": {why}")
        elif isinstance(found, dict):
            text += [
                " breaks first under ",
                h("strong", _words(found.get("stressor"))),
                f" at severity {plain(_value(found.get('severity')))}.",
            ]
        else:
            text.append(": no stress is shown to break it.")
        lines.append(h("li", *text))
    return h("ul", *lines, class_="breaks")


def _table(evidence: Evidence, models: dict[str, dict[str, Any]], kinds: list[str]) -> Html:
    baseline = str((evidence.stress or {}).get("baseline") or "floor")
    head: list[object] = [
        "model",
        "stressor",
        "mean over severities",
        f"error against {baseline}",
        "breaks at",
        "trend, p",
    ]
    body: list[list[object]] = []
    for name, data in models.items():
        about = data.get("stressors")
        for kind in kinds:
            line = about.get(kind) if isinstance(about, dict) else None
            if not isinstance(line, dict):
                continue
            values = [
                _value(line.get(k)) for k in ("auc", "corruption_error", "breakpoint", "trend_p")
            ]
            texts = [number(values[0]), number(values[1])]
            texts += ["–" if values[2] != values[2] else plain(values[2])]
            texts += ["n/a" if values[3] != values[3] else f"{values[3]:.2g}"]
            cells = [
                Cell(content=t, key=v if v == v else None)
                for t, v in zip(texts, values, strict=True)
            ]
            what = Cell(content=_words(kind), left=True)
            body.append(
                [Cell(content=label(evidence.looks[name], name), key=name.lower()), what, *cells]
            )
    return h(
        "details",
        h("summary", f"All ladders as a table ({len(body)} lines)"),
        data_table(head, body, caption="Stress ladders by model and stressor", sortable=True),
        class_="block",
    )


def _excluded(models: dict[str, dict[str, Any]]) -> Html | None:
    """Rungs that could not be judged, each with its reason once."""
    told: dict[str, None] = {}
    for data in models.values():
        for rung in _rungs(data):
            if rung.get("excluded"):
                kind = _words(rung.get("stressor"))
                told[
                    f"{kind}, severity {plain(_value(rung.get('severity')))}: {rung['excluded']}"
                ] = None
    if not told:
        return None
    return h(
        "details",
        h("summary", f"Rungs left out ({len(told)})"),
        h("ul", *(h("li", text) for text in told)),
        class_="block",
    )
