"""Where the numbers come from: versions, seeds, the manifest and the checksums of all files."""

from __future__ import annotations

import json
from urllib.parse import quote

from wmscore.evidence.report.markup import Html, h, join, name_of
from wmscore.evidence.report.numbers import count
from wmscore.evidence.report.reading import Evidence
from wmscore.evidence.report.table import Cell, data_table

__all__ = ["provenance"]

_MOST = 60_000  # characters of a text that is shown


def provenance(evidence: Evidence) -> Html:
    """Section of collapsed parts."""
    panel = evidence.panel
    seeds = ", ".join(str(seed) for seed in panel.seeds[:40])
    more = f" and {len(panel.seeds) - 40} more" if len(panel.seeds) > 40 else ""
    facts = [
        ("Panel fingerprint", h("code", panel.fingerprint)),
        ("Seeds", seeds + more),
        ("Rows", f"{len(panel.scenarios)} × {len(panel.seeds)}, matched by scenario and seed"),
    ]
    return join(
        [
            h("dl", *(h("div", h("dt", k), h("dd", v)) for k, v in facts), class_="facts long"),
            _scores(evidence),
            _text("Manifest (manifest.json)", evidence.manifest),
            _environment(evidence),
            _checksums(evidence),
        ]
    )


def _scores(evidence: Evidence) -> Html:
    """What made each model's numbers; what is the same for all is said once."""
    about = [(m.name, m.provenance) for m in evidence.models]
    names = list(dict.fromkeys(key for _, found in about for key in found))
    parts: list[object] = []
    same: list[list[object]] = []
    for key in names:
        values = {found.get(key) for _, found in about}
        if len(values) == 1:
            same.append([key, Cell(content=str(values.pop()), left=True, look="long")])
    other: list[list[object]] = [
        [
            name_of(name),
            Cell(content=key, left=True),
            Cell(content=found[key], left=True, look="long"),
        ]
        for name, found in about
        for key in names
        if key in found
        and any((key in f and f[key] != found[key]) or key not in f for _, f in about)
    ]
    if same:
        parts.append(data_table(["of all models", "value"], same, caption="Same for all models"))
    if other:
        parts.append(data_table(["model", "what", "value"], other, caption="Of single models"))
    return h("details", h("summary", "Versions, device and kernels"), *parts, class_="block")


def _environment(evidence: Evidence) -> Html | None:
    if evidence.environment is None:
        return None
    rest = {k: v for k, v in evidence.environment.items() if k != "scores"}
    return _text("Machine (environment.json)", json.dumps(rest, indent=2, ensure_ascii=False))


def _text(title: str, text: str) -> Html | None:
    if not text:
        return None
    cut = text[:_MOST]
    note = h("p", "Cut here; the file has the rest.") if len(text) > _MOST else None
    pre = h("pre", h("code", cut), tabindex="0", role="region", aria_label=title)
    return h("details", h("summary", title), pre, note, class_="block")


def _checksums(evidence: Evidence) -> Html:
    body: list[list[object]] = []
    for name, (value, size) in evidence.files.items():
        link = h("a", name, href=quote(name))
        state = "changed" if name in evidence.changed else ""
        bytes_ = Cell(content=f"{size:,}", key=size)
        body.append(
            [Cell(content=link, key=name), bytes_, Cell(content=h("code", value), left=True), state]
        )
    body += [[name, "–", "–", "missing"] for name in evidence.gone]
    if not (evidence.changed or evidence.gone):
        body = [line[:3] for line in body]
    head = ["file", "bytes", "SHA-256", "state"][: len(body[0])] if body else ["file"]
    table = data_table(head, body, caption="Checksums of the folder's files", sortable=True)
    note = h(
        "p",
        h("code", "wmscore verify"),
        " checks them and recomputes the tables from the scores and traces.",
        class_="lead",
    )
    return h(
        "details",
        h("summary", f"Checksums of {count(len(body), 'file')}"),
        note,
        table,
        class_="block",
    )
