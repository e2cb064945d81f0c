"""The verdict: two sentences and what they are about."""

from __future__ import annotations

from typing import Any

from wmscore.evidence.report.markup import Html, h, join, name_of
from wmscore.evidence.report.models import Model
from wmscore.evidence.report.numbers import count, number, words
from wmscore.evidence.report.postmortem import section_of
from wmscore.evidence.report.reading import Evidence

__all__ = ["cause_of", "header", "verdict"]

_SURE = 0.05


def verdict(evidence: Evidence) -> tuple[Html, Html]:
    """How long the best model can be used, and how it fails first. Two sentences."""
    judged = evidence.judged
    if not judged:
        return (
            join(["Only anchors were scored, so that there is no model to judge."]),
            join(["The tables show what the truth, the ceiling and the floor score."]),
        )
    best = next((m for m in judged if m.horizon.steps > 0), None)
    if best is None:
        return _unknown(judged)
    return _first(evidence, best), _second(evidence, best)


def header(evidence: Evidence) -> Html:
    """Title, verdict, warnings and the panel's size."""
    panel = evidence.panel
    anchors = sum(m.role in ("truth", "ceiling", "floor") for m in evidence.models)
    companions = len(evidence.models) - anchors - len(evidence.judged)
    models = count(len(evidence.judged), "model") + f", {count(anchors, 'anchor')}"
    if companions:
        models += f", {count(companions, 'companion')}"
    size = " × ".join(
        [
            count(len(panel.scenarios), "scenario"),
            count(len(panel.seeds), "seed"),
            count(panel.contract.horizon, "step"),
        ]
    )
    facts = [
        ("World", name_of(panel.contract.world)),
        ("Size", size),
        ("Scored", models),
        ("Fingerprint", h("code", panel.fingerprint[:12], title=panel.fingerprint)),
    ]
    if panel.stress is not None:
        facts.insert(0, ("Stress", str(panel.stress)))
    one, two = verdict(evidence)
    return h(
        "header",
        h("p", "World model evidence", class_="eyebrow"),
        h("h1", h("span", "Verdict on ", class_="sr"), name_of(panel.name)),
        h("p", one, " ", two, class_="verdict", id="verdict"),
        *(h("p", text, class_="warning", role="note") for text in _warnings(evidence)),
        h(
            "dl",
            *(h("div", h("dt", name), h("dd", value)) for name, value in facts),
            class_="facts",
        ),
        class_="top",
        id="top",
    )


def cause_of(evidence: Evidence, model: Model) -> str | None:
    """The cause that `attribution.json` or else the postmortem names."""
    found = attributed(evidence, model)
    if found is not None:
        return str(found.get("cause", "undetermined"))
    for line in section_of(evidence.postmortem, model.name).splitlines():
        if line.startswith("- **Cause:**"):
            return line.removeprefix("- **Cause:**").strip().rstrip(".")
    return None


def attributed(evidence: Evidence, model: Model) -> dict[str, Any] | None:
    """The model's entry of `attribution.json`."""
    models = (evidence.attribution or {}).get("models")
    found = models.get(model.name) if isinstance(models, dict) else None
    return found if isinstance(found, dict) else None


def _unknown(judged: list[Model]) -> tuple[Html, Html]:
    faults = sum(sum(m.faults.values()) for m in judged)
    who: object = f"None of the {len(judged)} models has a usable horizon"
    if len(judged) == 1:
        who = join([name_of(judged[0].name), " has no usable horizon"])
    one = join([who, " that could be determined."])
    if any(m.deaf for m in judged) and not faults:
        why = "The panel asks for a response to actions and no actions can be given."
    elif faults:
        why = f"The evaluation failed in {count(faults, 'row')}, which says nothing of a model."
    else:
        why = "No gated score is defined in any row."
    return one, join([why])


def _first(evidence: Evidence, best: Model) -> Html:
    steps = evidence.panel.contract.horizon
    found = best.horizon
    seen = steps if found.steps >= steps else found.steps
    text: list[object] = [name_of(best.name)]
    several = len(evidence.judged) > 1
    text.append(" stays usable longest, for " if several else " stays usable for ")
    text.append(h("strong", f"{number(found.mean, '.1f')} of {count(seen, 'step')}"))
    text.append(" on average")
    if found.low == found.low and found.low < found.high:
        text.append(f" (95 % interval {number(found.low, '.1f')} to {number(found.high, '.1f')})")
    pair = _pair(evidence, best)
    if pair is not None:
        other, p = pair
        if p is not None and p < _SURE:
            text += [", surely longer than ", name_of(other), f" (p = {p:.2g} after Holm)"]
        elif p is not None:
            text += [
                ", but that it is ahead of ",
                name_of(other),
                f" is not settled (p = {p:.2g} after Holm)",
            ]
        else:
            text += [", but whether it is ahead of ", name_of(other), " cannot be tested here"]
    elif not several:
        text.append(
            f", and {best.never} of {count(best.rows, 'rollout')} never "
            + ("fails" if best.never == 1 else "fail")
        )
    return join([*text, "."])


def _second(evidence: Evidence, best: Model) -> Html:
    failure, cause = best.failure, cause_of(evidence, best)
    if failure is None:
        return join(["No rollout of it fails within the panel’s steps."])
    text: list[object] = ["It first fails in ", h("strong", words(failure.axis))]
    text += [f" at step {failure.step} of ", name_of(failure.scenario), f", seed {failure.seed}"]
    if cause == "undetermined":
        text.append("; the cause is undetermined by this evidence")
    elif cause:
        text += ["; the cause is ", h("strong", words(cause))]
    return join([*text, "."])


def _pair(evidence: Evidence, best: Model) -> tuple[str, float | None] | None:
    """The next model of the ranking and the p-value between them."""
    ranking = (evidence.comparison or {}).get("ranking")
    pairs = ranking.get("pairs") if isinstance(ranking, dict) else None
    for pair in pairs if isinstance(pairs, list) else []:
        if isinstance(pair, dict) and pair.get("better") == best.name:
            p = pair.get("p_holm")
            return str(pair.get("worse")), p if isinstance(p, float | int) else None
    return None


def _warnings(evidence: Evidence) -> list[Html]:
    lines = []
    faulty = [m for m in evidence.models if m.faults]
    if faulty:
        rows = sum(sum(m.faults.values()) for m in faulty)
        text = (
            f"{count(rows, 'row')} of {count(len(faulty), 'model')} could not be evaluated. A row "
            "with an evaluation fault says nothing of the model; "
        )
        where = h("a", "the table of faults", href="#undefined")
        lines.append(join([text, where, " lists them."]))
    if evidence.changed or evidence.gone:
        some = [*evidence.changed, *evidence.gone]
        more = f" and {len(some) - 5} more" if len(some) > 5 else ""
        text = (
            "This folder is not the one that was written. Changed, added or missing since: "
            f"{', '.join(some[:5])}{more}. "
        )
        lines.append(
            join(
                [
                    text,
                    h("code", h("span", "wmscore verify", class_="word")),
                    " says what that changes.",
                ]
            )
        )
    return lines
