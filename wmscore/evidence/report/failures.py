"""What failed first in each model, and why: for, against, missing, what would settle it."""

from __future__ import annotations

from typing import Any

from wmscore.evidence.report.markup import Html, h, join, label, name_of
from wmscore.evidence.report.models import Model
from wmscore.evidence.report.numbers import count, number, plain, words
from wmscore.evidence.report.postmortem import code, inline, markdown, section_of
from wmscore.evidence.report.reading import Evidence
from wmscore.evidence.report.verdict import attributed, cause_of

__all__ = ["failures"]

_OPEN = 6  # models up to which the reasons are shown at once
_RUN = ("wmscore ", "python ", "import ", ">>> ")  # how a command begins
_NAME = 24  # letters up to which a line is a name, no sentence
_SIGNALS = (
    ("for", "For"),
    ("against", "Against"),
    ("missing", "Not measured"),
    ("settles", "What would settle it"),
)


def failures(evidence: Evidence, places: dict[str, list[tuple[str, str]]]) -> Html:
    """One card per judged model.

    Args:
        evidence: the folder.
        places: of each model its traces in the page, as (id, what it shows).
    """
    cards = [_card(evidence, model, places.get(model.name, [])) for model in evidence.judged]
    if not cards:
        return h("p", "No model was judged.", class_="empty")
    whole = h(
        "details",
        h("summary", "The whole postmortem"),
        h("div", markdown(evidence.postmortem), class_="prose"),
        class_="block",
    )
    return join([h("div", *cards, class_="cards"), whole if evidence.postmortem else None])


def _card(evidence: Evidence, model: Model, traces: list[tuple[str, str]]) -> Html:
    cause = cause_of(evidence, model)
    found = attributed(evidence, model)
    look = evidence.looks[model.name]
    title = h("h3", label(look, model.name))
    chip = None
    if cause is not None and model.failure is not None:
        sure = "unsure" if cause == "undetermined" else "sure"
        chip = h("p", h("span", "cause ", class_="quiet"), words(cause), class_=f"chip {sure}")
    parts: list[object] = [
        h("div", title, chip, class_="head"),
        h("p", _headline(model), class_="headline"),
    ]
    why = _signals(found) if found is not None else _told(evidence, model)
    if len(evidence.judged) > _OPEN:
        why = h(
            "details", h("summary", "Why", h("span", " ", name_of(model.name), class_="sr")), why
        )
    parts.append(why)
    links = [h("li", h("a", why, href=f"#{place}")) for place, why in traces]
    if links:
        parts.append(h("div", h("h4", "Look at it"), h("ul", *links)))
    rest = _rest(section_of(evidence.postmortem, model.name))
    if rest:
        more = h("summary", "More findings", h("span", " on ", name_of(model.name), class_="sr"))
        parts.append(h("details", more, h("div", markdown(rest), class_="prose")))
    return h("article", *parts, class_="card")


def _headline(model: Model) -> Html:
    failure = model.failure
    if failure is None and not model.horizon.steps:
        why = ", ".join(f"{words(kind)} ×{n}" for kind, n in model.faults.items())
        return join(["No row has a usable horizon", f": {why}" if why else "", "."])
    if failure is None:
        return join([f"Never fails: {count(model.never, 'rollout')} stay usable to the end."])
    ended = sum(model.ended.values())
    return join(
        [
            h("strong", words(failure.axis)),
            f" falls to {number(failure.score)} at ",
            h("strong", f"step {failure.step}"),
            " of ",
            name_of(failure.scenario),
            f", seed {failure.seed}, and stays below {plain(failure.threshold)} for ",
            f"{count(failure.patience, 'step')}. {ended} of {count(model.rows, 'rollout')} end.",
        ]
    )


def _signals(found: dict[str, Any]) -> Html:
    """The entry of `attribution.json`."""
    parts: list[object] = []
    candidates = _items(found.get("candidates"))
    if str(found.get("cause")) == "undetermined" and candidates:
        parts.append(h("p", "Not excluded: ", ", ".join(words(c) for c in candidates), "."))
    if found.get("weak"):
        parts.append(h("p", "The evidence for it is weak: a signal is near its threshold."))
    for key, title in _SIGNALS:
        lines = _items(found.get(key))
        if lines:
            parts.append(h("div", h("h4", title), _list(key, lines), class_=key))
    rows = found.get("rows")
    if isinstance(rows, dict) and rows:
        told = ", ".join(f"{words(str(cause))} ×{n}" for cause, n in rows.items() if n)
        parts.append(h("div", h("h4", "Causes over all rows"), h("p", told), class_="rows"))
    return h("div", *parts, class_="signals")


def _command(line: str) -> Html:
    """What a person can run is set as code, whether it is marked so or not."""
    name, colon, rest = line.partition(": ")
    if line.startswith(_RUN):
        return code(line)
    if colon and rest.startswith(_RUN):
        return join([f"{name}: ", code(rest)])
    return inline(line)


def _list(key: str, lines: list[str]) -> Html:
    """Sentences one below the other; mere names in one line."""
    if key == "missing" and all(len(line) < _NAME for line in lines):
        return h("p", ", ".join(words(line) for line in lines))
    return h(
        "ul", *(h("li", _command(line) if key == "settles" else inline(line)) for line in lines)
    )


def _items(value: Any) -> list[str]:
    """Sentences out of a list, an object or one text."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [f"{words(str(k))}: {v}" for k, v in value.items()]
    if isinstance(value, list):
        return [
            " · ".join(str(v) for v in item.values()) if isinstance(item, dict) else str(item)
            for item in value
        ]
    return [str(value)]


def _told(evidence: Evidence, model: Model) -> Html:
    """What the postmortem says of the cause, where nothing else does."""
    text, lines, inside = section_of(evidence.postmortem, model.name), [], False
    for line in text.splitlines():
        if line.startswith("- "):
            inside = line.startswith(("- **Cause:**", "- **What would settle it:**"))
        if inside:
            lines.append(line)
    return h("div", markdown("\n".join(lines)), class_="signals prose")


def _rest(text: str) -> str:
    """The other findings of the model's section."""
    lines, inside = [], True
    for line in text.splitlines():
        if line.startswith("- "):
            told = ("- **Cause:**", "- **What would settle it:**", "- **Trace:**")
            inside = not line.startswith(told)
        if inside:
            lines.append(line)
    return "\n".join(lines)
