"""Curves over steps: the share still usable, each axis, and the raw measures."""

from __future__ import annotations

from wmscore.evidence.report.charts import Line, Plot, draw
from wmscore.evidence.report.markup import Html, h, join, label, name_of, sample
from wmscore.evidence.report.models import Model
from wmscore.evidence.report.numbers import words
from wmscore.evidence.report.reading import Evidence, StepCurve
from wmscore.evidence.report.table import Cell, data_table

__all__ = ["drift", "legend", "survival"]

_SHOWN = (
    "psnr_moving",
    "skill",
    "lpips",
    "feature_cosine",
    "latent_cosine",
    "similarity_first",
    "brightness_ratio",
    "saturation_ratio",
    "sharpness_gradient_ratio",
    "change",
    "closure",
    "world_stability",
)
_MOST = 12  # models; with more of them the raw measures are left to the CSV file


def legend(evidence: Evidence, models: list[Model]) -> Html:
    """Buttons that hide and show each model in every chart, each with the line that it has."""
    chips = [
        h(
            "button",
            sample(evidence.looks[m.name]),
            h("span", name_of(m.name), None if m.judged else h("small", m.role)),
            type="button",
            aria_pressed="true",
            data_toggle=evidence.key(m.name),
        )
        for m in models
    ]
    return h("div", *chips, class_="legend", role="group", aria_label="Show or hide models")


def survival(evidence: Evidence) -> Html:
    """Share of rollouts still usable at each step, and what ended the others."""
    models = [m for m in evidence.rolled if m.name in evidence.survival]
    if not models:
        return h("p", "survival.csv has no curves.", class_="empty")
    lines = [_line(evidence, m, evidence.survival[m.name]) for m in models]
    plot = Plot(
        title="Share of rollouts still usable",
        x=_steps(lines, 0),
        lines=lines,
        x_label="step",
        y_label="share usable",
        note="Bands: 95 % over scenarios. The area under a curve is the mean usable horizon.",
        bottom=0.0,
        top=1.0,
        steps=True,
        tall=True,
    )
    return join([legend(evidence, models), draw(plot), _ends(evidence, models)])


def drift(evidence: Evidence) -> Html:
    """One chart per axis, floor and ceiling in it, and the raw measures behind them."""
    models = [
        m for m in evidence.models if (m.name, "score", _any_axis(evidence)) in evidence.curves
    ]
    if not models:
        return h("p", "curves.csv has no curves.", class_="empty")
    plots = []
    for spec in evidence.panel.axes:
        lines = _lines(evidence, models, "score", spec.axis)
        if not lines:
            continue
        gate = "gated" if spec.gate else "not gated"
        note = f"Measure {spec.measure}, {gate}, patience {spec.patience}." if spec.measure else ""
        plots.append(
            draw(
                Plot(
                    title=words(spec.axis).capitalize(),
                    x=_steps(lines, 1),
                    lines=lines,
                    x_label="step",
                    y_label="score",
                    note=note,
                    bottom=0.0,
                    top=1.0,
                    threshold=spec.threshold,
                )
            )
        )
    note = (
        "Median over rows with quartiles as a band, 1 = perfect. Grey and dashed are the anchors: "
        "a model near the ceiling is as good as can be asked for, one at the floor knows nothing."
    )
    return join(
        [
            h("p", note, class_="lead"),
            legend(evidence, models),
            h("div", *plots, class_="charts"),
            _measures(evidence, models),
        ]
    )


def _any_axis(evidence: Evidence) -> str:
    return evidence.panel.axes[0].axis


def _measures(evidence: Evidence, models: list[Model]) -> Html | None:
    names = {name for _, kind, name in evidence.curves if kind == "measure"}
    shown = [
        n for start in _SHOWN for n in sorted(names) if n == start or n.startswith(start + "_")
    ]
    shown = [n for n in dict.fromkeys(shown) if n in _SHOWN or not n.endswith(_SHOWN)]
    if not shown or len(models) > _MOST:
        return None
    plots = []
    for name in shown:
        lines = _lines(evidence, models, "measure", name)
        unit = next(
            c.unit for (_, k, n), c in evidence.curves.items() if (k, n) == ("measure", name)
        )
        plots.append(
            draw(
                Plot(
                    title=words(name),
                    x=_steps(lines, 1),
                    lines=lines,
                    x_label="step",
                    y_label=unit if unit != "1" else "ratio",
                    form=".4g",
                )
            )
        )
    return h(
        "details",
        h("summary", f"Raw measures behind the scores ({len(plots)} of {len(names)})"),
        h("p", "All of them are in curves.csv.", class_="lead"),
        h("div", *plots, class_="charts"),
        class_="block",
    )


def _lines(evidence: Evidence, models: list[Model], kind: str, name: str) -> list[Line]:
    found = [(m, evidence.curves.get((m.name, kind, name))) for m in models]
    return [_line(evidence, m, curve) for m, curve in found if curve is not None]


def _line(evidence: Evidence, model: Model, curve: StepCurve) -> Line:
    return Line(
        name=model.name,
        look=evidence.looks[model.name],
        key=evidence.key(model.name),
        middle=curve.middle,
        low=curve.low,
        high=curve.high,
    )


def _steps(lines: list[Line], first: int) -> list[float]:
    return [float(first + i) for i in range(max(len(line.middle) for line in lines))]


def _ends(evidence: Evidence, models: list[Model]) -> Html:
    """What ended the rollouts of each model, as bars and numbers."""
    axes = [spec.axis for spec in evidence.panel.axes]
    body: list[list[object]] = []
    for model in models:
        shares = [model.ended.get(axis, 0) / model.rows for axis in axes]
        faults = sum(model.faults.values()) / model.rows
        bar, left = [], 0.0
        for i, part in enumerate([*shares, faults]):
            look = "fault" if i == len(axes) else f"a{i % 6}"
            if part:
                bar.append(
                    h("rect", x=f"{left:.2%}", y="0", width=f"{part:.2%}", height="14", class_=look)
                )
            left += part
        name = label(evidence.looks[model.name], model.name)
        svg = h("svg", *bar, width="100%", height="14", aria_hidden="true", class_="ends")
        cells: list[object] = [Cell(content=name, key=model.name.lower()), Cell(content=svg)]
        cells += [model.ended.get(axis, 0) or "–" for axis in axes]
        cells += [sum(model.faults.values()) or "–", model.never or "–"]
        body.append(cells)
    head: list[object] = ["model", h("span", "shares", class_="sr")]
    head += [
        h("span", h("span", class_=f"key a{i % 6}", aria_hidden="true"), words(axis))
        for i, axis in enumerate(axes)
    ]
    head += [
        h("span", h("span", class_="key fault", aria_hidden="true"), "fault"),
        "never failed",
    ]
    return h(
        "div",
        h("h3", "What ends them"),
        data_table(head, body, caption="Rollouts ended by each axis", look="ended"),
        class_="block",
    )
