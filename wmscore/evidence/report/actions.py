"""The response to actions: what each does, when it is answered, and which are told apart."""

from __future__ import annotations

from typing import Any

from wmscore.evidence.report.markup import Html, h, join, label, name_of
from wmscore.evidence.report.models import Model
from wmscore.evidence.report.numbers import number, share, words
from wmscore.evidence.report.reading import Evidence
from wmscore.evidence.report.table import Cell, data_table

__all__ = ["actions"]

_MOST = 16  # actions in a matrix


def actions(evidence: Evidence) -> Html:
    """Section: one table of all models, a matrix for each judged one, and effects per action."""
    known = [m for m in evidence.rolled if m.actions is not None or m.deaf]
    if not known:
        asked = any(spec.axis == "action_response" for spec in evidence.panel.axes)
        why = (
            "No response could be measured."
            if asked
            else "The panel does not ask for a response to actions."
        )
        return h("p", why, class_="empty")
    head = [
        "model",
        "role",
        "agreement",
        "p against chance",
        "latency, steps",
        "gain",
        "actions recovered",
        "of reference",
    ]
    table = data_table(
        head,
        [_row(evidence, m) for m in known],
        caption="Response to actions of each model",
        sortable=True,
    )
    note = (
        "Agreement: 1 = the reference’s response to each script, 0 = chance. Latency is behind the "
        "reference. Recovered: how well a probe reads the commanded action off the frames, 1 = "
        "all, 0 = chance, beside what it reads off the reference."
    )
    return join(
        [
            h("p", note, class_="lead"),
            table,
            _matrices(evidence, known),
            _vectors(evidence, known),
            _effects(evidence, known),
        ]
    )


def _row(evidence: Evidence, model: Model) -> list[object]:
    name = label(evidence.looks[model.name], model.name)
    first: list[object] = [
        Cell(content=name, key=model.name.lower()),
        Cell(content=model.role, left=True),
    ]
    data = model.actions
    if data is None:
        return [*first, *(Cell(content="n/a", key=None) for _ in range(6))]
    agreement = _of(data, "curves", "agreement")
    mean, p = agreement.get("mean"), _of(data, "chance").get("p_value")
    lag, recovery = _of(data, "latency", "excess"), _of(data, "recovery")
    text = [h("b", number(mean))]
    if agreement.get("low") is not None:
        text.append(h("small", f"[{number(agreement['low'])}, {number(agreement['high'])}]"))
    steps, best = lag.get("steps"), _of(recovery, "ceiling").get("score")
    return [
        *first,
        Cell(content=text, key=mean),
        Cell(content="n/a" if p is None else f"{p:.2g}", key=p),
        Cell(
            content="n/a" if steps is None else number(steps, "+.0f" if steps else ".0f"), key=steps
        ),
        Cell(content=number(lag.get("gain")), key=lag.get("gain")),
        Cell(content=number(recovery.get("score")), key=recovery.get("score")),
        Cell(content=number(best), key=best),
    ]


def _of(data: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        found = data.get(name)
        if not isinstance(found, dict):
            return {}
        data = found
    return data


def _matrices(evidence: Evidence, models: list[Model]) -> Html | None:
    """Commanded x recognised, in shares of each commanded action; the truth first."""
    order = [m for m in models if m.role == "truth"] + [m for m in models if m.judged]
    with_matrix = [m for m in order if _of(m.actions or {}, "recovery").get("confusion")]
    if not with_matrix:
        return None
    figures = [_matrix(evidence, m) for m in with_matrix[:12]]
    left = len(with_matrix) - len(figures)
    return h(
        "div",
        h("h3", "Action-response matrix"),
        h(
            "p",
            "Rows: the action that was commanded. Columns: the one that a probe reads off the "
            "frames, in percent of the steps with that command (blank: under 0.5). A model that "
            "follows its commands looks like the truth.",
            class_="lead",
        ),
        h("div", *figures, class_="matrices"),
        h("p", f"{left} more are in actions.json.", class_="lead") if left else None,
        class_="block",
    )


def _matrix(evidence: Evidence, model: Model) -> Html:
    data = model.actions or {}
    names = [str(name) for name in data["actions"]]
    table = data["recovery"]["confusion"]
    missed = data["recovery"].get("unrecognised") or [0] * len(names)
    shown = list(range(min(len(names), _MOST)))
    body: list[list[object]] = []
    for a in shown:
        total = sum(table[a]) + missed[a]
        row: list[object] = [Cell(content=name_of(names[a]))]
        for b in shown:
            part = table[a][b] / total if total else None
            look = "heat " + ("none" if part is None else f"q{round(10 * part)}")
            look += " own" if a == b else ""
            text = "" if part is None or part < 0.005 else f"{100 * part:.0f}"
            title = None if part is None else f"{names[a]} read as {names[b]}: {share(part)}"
            row.append(Cell(content=h("span", text, title=title), look=look))
        body.append(row)
    head = ["", *(h("span", name_of(names[b]), class_="turned") for b in shown)]
    cut = f", the first {_MOST} of {len(names)} actions" if len(names) > _MOST else ""
    return h(
        "figure",
        h(
            "figcaption",
            h("h4", label(evidence.looks[model.name], model.name)),
            h("p", f"recovered {number(data['recovery'].get('score'))}{cut}"),
        ),
        data_table(
            head,
            body,
            caption=f"Commanded by recognised action, percent, of {model.name}",
            look="matrix",
        ),
        class_="matrixbox",
    )


def _vectors(evidence: Evidence, models: list[Model]) -> Html | None:
    """Of continuous actions: how well each component is read off the frames."""
    body: list[list[object]] = []
    for model in models:
        found = _of(model.actions or {}, "vector_recovery")
        best = _of(found, "ceiling")
        names = (model.actions or {}).get("actions", [])
        rows = zip(names, found.get("r2", []), best.get("r2", []), strict=False)
        for name, own, ceiling in rows:
            cells = (_number(own, ".2f"), _number(ceiling, ".2f"))
            who = Cell(
                content=label(evidence.looks[model.name], model.name), key=model.name.lower()
            )
            body.append([who, Cell(content=name_of(name), left=True), *cells])
    if not body:
        return None
    head = ["model", "component", "R² recovered", "in reference"]
    table = data_table(head, body, caption="Components of actions recovered", sortable=True)
    return h("div", h("h3", "Components of actions"), table, class_="block")


def _effects(evidence: Evidence, models: list[Model]) -> Html | None:
    """Per model and action: size and direction of its effect, and how often it is recognised."""
    body: list[list[object]] = []
    for model in models:
        for line in model.effects:
            name = label(evidence.looks[model.name], model.name)
            body.append(
                [
                    Cell(content=name, key=model.name.lower()),
                    Cell(content=name_of(line["action"]), key=str(line["action"]), left=True),
                    *(
                        _number(line.get(field), form)
                        for field, form in (
                            ("steps", ",.0f"),
                            ("effect_share", ".2f"),
                            ("effect_cosine", ".2f"),
                            ("motion_cosine", ".2f"),
                            ("recall", ".2f"),
                            ("ceiling_recall", ".2f"),
                        )
                    ),
                    Cell(content=name_of(line.get("confused_with") or "–"), left=True),
                    Cell(content=words(str(line.get("effect_reason") or "–")), left=True),
                ]
            )
    if not body:
        return None
    head = [
        "model",
        "action",
        "steps",
        "size of effect",
        "direction",
        "motion",
        "recognised",
        "in reference",
    ]
    head += ["nearest to", "why undefined"]
    table = data_table(head, body, caption="Effect of each action", sortable=True)
    note = (
        "Size and direction of an action’s effect against no action, relative to the reference: 1 "
        "and 1 are right."
    )
    return h(
        "details",
        h("summary", f"Effect of each action ({len(body)} lines)"),
        h("p", note, class_="lead"),
        h(
            "label",
            h("span", "Filter actions"),
            h("input", type="search", class_="filter", autocomplete="off", spellcheck="false"),
            h("output", f"{len(body)} of {len(body)}"),
            class_="filters",
        ),
        table,
        class_="block",
    )


def _number(value: Any, form: str) -> Cell:
    if not isinstance(value, int | float):
        return Cell(content="–", key=None)
    return Cell(content=number(float(value), form), key=float(value))
