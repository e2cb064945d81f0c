"""The summary: every model in one table, and the horizon of each scenario."""

from __future__ import annotations

from collections.abc import Sequence

from wmscore.evidence.report.markup import Html, h, join, label, name_of
from wmscore.evidence.report.models import AxisCell, Model
from wmscore.evidence.report.numbers import count, number, share, words
from wmscore.evidence.report.reading import Evidence
from wmscore.evidence.report.table import Cell, data_table
from wmscore.evidence.report.verdict import cause_of

__all__ = ["summary"]

_OPEN = 16  # scenarios up to which their table is shown at once
_FILTER = 4  # with more models a filter helps


def summary(evidence: Evidence) -> Html:
    """Section with both tables."""
    panel = evidence.panel
    steps = panel.contract.horizon
    note = (
        f"Usable horizon: steps until a gated score stays below its threshold, mean of at most "
        f"{steps} with its 95 % interval over scenarios. Scores: median [quartiles] over rows, "
        "1 = perfect. Anchors say what is possible: the truth replayed, another seed of it "
        "(ceiling), and models that know nothing (floor)."
    )
    axes = [spec.axis for spec in panel.axes]
    head: list[object] = ["model", f"usable horizon of {steps}", "median"]
    head += ["never failed", "steps below", *(words(axis) for axis in axes), "ended by"]
    body = [_row(evidence, model, axes) for model in evidence.rolled]
    table = data_table(head, body, caption="Summary of all models", sortable=True, look="summary")
    return join(
        [
            h("p", note, class_="lead"),
            _filter("models", len(body)) if len(body) > _FILTER else None,
            table,
            _scenarios(evidence),
        ]
    )


def _filter(what: str, many: int) -> Html:
    return h(
        "label",
        h("span", f"Filter {what}"),
        h("input", type="search", class_="filter", autocomplete="off", spellcheck="false"),
        h("output", f"{many} of {many}"),
        class_="filters",
    )


def _row(evidence: Evidence, model: Model, axes: Sequence[str]) -> list[object]:
    look = evidence.looks[model.name]
    known = model.horizon.steps > 0
    role = None if model.judged else h("small", model.role)
    name = label(look, model.name, role)
    ended = [f"{words(axis)} ×{n}" for axis, n in model.ended.items()]
    ended += [f"fault: {words(kind)} ×{n}" for kind, n in model.faults.items()]
    cause = cause_of(evidence, model) if model.judged and model.failure else None
    why = h("small", f"cause {words(cause)}") if cause else None
    return [
        Cell(content=name, key=model.name.lower(), look=model.role),
        Cell(content=_horizon(evidence, model), key=model.horizon.mean if known else None),
        Cell(content=model.median.replace(">=", "≥"), key=_steps(model.median)),
        Cell(content=f"{model.never} / {model.rows}", key=model.never),
        Cell(content=share(model.below), key=model.below if known else None),
        *(_axis(model.axes.get(axis), model) for axis in axes),
        Cell(content=[*(h("div", text) for text in ended), why] if ended else "–", left=True),
    ]


def _horizon(evidence: Evidence, model: Model) -> Html:
    """The number, and a line from the low to the high end of its interval with a dot."""
    found, last = model.horizon, evidence.panel.contract.horizon
    if not found.steps:
        return h("div", "takes no actions" if model.deaf else "undefined", class_="horizon")
    at = [max(0.0, min(1.0, v / last)) for v in (found.low, found.mean, found.high)]
    text = f"{number(found.mean, '.1f')}" + (f" of {found.steps}" if found.steps < last else "")
    interval = ""
    shapes = [h("line", x1="0", x2="100%", y1="7", y2="7", class_="rail")]
    if found.low == found.low:
        interval = f"{number(found.low, '.1f')} to {number(found.high, '.1f')}"
        shapes.append(
            h("line", x1=f"{at[0]:.1%}", x2=f"{at[2]:.1%}", y1="7", y2="7", class_="whisker")
        )
    shapes.append(h("circle", cx=f"{at[1]:.1%}", cy="7", r="4", class_="dot"))
    svg = h(
        "svg",
        *shapes,
        width="100%",
        height="14",
        aria_hidden="true",
        class_=f"interval series {evidence.looks[model.name]}",
    )
    return h("div", h("b", text), h("small", interval), svg, class_="horizon")


def _steps(text: str) -> float | None:
    digits = text.lstrip(">= ")
    try:
        # One that was not seen to fail is longer than one that failed at the same step.
        return float(digits) + (0.5 if text != digits else 0.0)
    except ValueError:
        return None


def _axis(cell: AxisCell | None, model: Model) -> Cell:
    if cell is None:
        return Cell(content="n/a" if model.deaf else "undefined", key=None)
    lost = h("small", f"{cell.lost} undefined") if cell.lost else None
    text = join(
        [
            h("b", number(cell.middle)),
            h("small", f"[{number(cell.low)}, {number(cell.high)}]"),
            lost,
        ]
    )
    return Cell(content=text, key=cell.middle)


def _scenarios(evidence: Evidence) -> Html:
    """Scenario x model, shaded by the share of the horizon that is usable."""
    panel, models = evidence.panel, evidence.rolled
    last = panel.contract.horizon
    body: list[list[object]] = []
    for s, scenario in enumerate(panel.scenarios):
        row: list[object] = [Cell(content=name_of(scenario.id), key=scenario.id.lower())]
        for model in models:
            text, mean = model.scenarios[s]
            look = "" if mean is None else f"heat q{round(10 * mean / last)}"
            row.append(Cell(content=text.replace(">=", "≥"), key=mean, look=look))
        body.append(row)
    caption = f"Median usable horizon of {last} by scenario, shaded by its mean; ≥ never failed"
    table = data_table(
        ["scenario", *(name_of(m.name) for m in models)],
        body,
        caption=caption,
        sortable=True,
        quiet=False,
        look="grid",
    )
    many = len(body)
    return h(
        "details",
        h("summary", f"Usable horizon in each of {count(many, 'scenario')}"),
        _filter("scenarios", many) if many > _OPEN else None,
        table,
        open=many <= _OPEN,
        class_="block",
    )
