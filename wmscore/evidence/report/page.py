"""`report.html`: one file that needs nothing else, out of the files of an evidence folder."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from wmscore.evidence.report.actions import actions
from wmscore.evidence.report.curves import drift, survival
from wmscore.evidence.report.failures import failures
from wmscore.evidence.report.film import clips, film
from wmscore.evidence.report.markup import Html, h, join, raw
from wmscore.evidence.report.provenance import provenance
from wmscore.evidence.report.reading import REPORT, Evidence, read_evidence
from wmscore.evidence.report.stress import stress
from wmscore.evidence.report.summary import summary
from wmscore.evidence.report.undefined import undefined
from wmscore.evidence.report.verdict import header
from wmscore.files import atomic_file, sha256_file, write_json

__all__ = ["build_page", "write_report"]

_HERE = Path(__file__).parent


def write_report(folder: str | Path) -> Path:
    """Write `report.html` into an evidence folder, from its other files alone.

    One self-contained page: it asks for nothing on the network and works from a disk. It renders
    what the files say; it scores nothing. Pictures and clips take at most about 6.5 MB, tables and
    charts grow with models, steps and scenarios; about 8 MB in all for usual panels. Where
    `checksums.json` is there already, its entry of the report is renewed.

    Args:
        folder: an evidence folder, complete but for the report.

    Returns:
        Path of the report.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no evidence folder, or a file in it is broken; says which.
        ImportError: pillow is missing; it comes with the extra `harness`.
    """
    folder = Path(folder)
    text = build_page(read_evidence(folder))
    path = folder / REPORT
    with atomic_file(path) as draft:
        draft.write_bytes(text.encode("utf-8"))
    sums = folder / "checksums.json"
    if sums.is_file() and not sums.is_symlink():
        listed = json.loads(sums.read_text(encoding="utf-8"))
        listed[REPORT] = sha256_file(path)
        write_json(sums, dict(sorted(listed.items())))
    return path


def build_page(evidence: Evidence) -> Html:
    """The whole page."""
    found = clips(evidence)
    places: dict[str, list[tuple[str, str]]] = {}
    for clip in found:
        text = f"{clip.scenario}, seed {clip.seed}: {clip.why.replace('_', ' ')}"
        places.setdefault(clip.model, []).append((clip.place, text))
    sections = [
        ("summary", "Summary", summary(evidence)),
        ("failures", "First failure and cause", failures(evidence, places)),
        ("survival", "Usable horizon", survival(evidence)),
        ("drift", "Drift by axis", drift(evidence)),
        ("actions", "Response to actions", actions(evidence)),
        ("stress", "Stress ladders", stress(evidence)),
        ("film", "Reference beside generated", film(evidence, found)),
        ("undefined", "Faults and undefined values", undefined(evidence)),
        ("provenance", "Provenance", provenance(evidence)),
    ]
    links = [h("li", h("a", title, href=f"#{name}")) for name, title, _ in sections]
    body = [
        h("a", "Skip to the verdict", href="#top", class_="skip"),
        h(
            "nav",
            h("a", "wmscore", href="#top", class_="brand"),
            h("ul", *links),
            h("button", "auto", type="button", id="theme", hidden=True),
            aria_label="Sections",
        ),
        h(
            "main",
            header(evidence),
            *(
                h("section", h("h2", title), content, id=name, aria_label=title)
                for name, title, content in sections
            ),
            h("footer", h("p", "Rendered by wmscore from the files of this folder.")),
            id="main",
        ),
        h("div", id="tip", role="status", hidden=True),
    ]
    style, script = _own("style.css"), _own("script.js")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
    )
    head = [
        raw('<meta charset="utf-8">'),
        _meta(http_equiv="Content-Security-Policy", content=policy),
        _meta(name="viewport", content="width=device-width, initial-scale=1"),
        _meta(name="referrer", content="no-referrer"),
        _meta(name="color-scheme", content="light dark"),
        h("title", f"{evidence.panel.name} · world model evidence"),
        raw(f"<style>{style}</style>"),
    ]
    return join(
        [
            raw("<!doctype html>\n"),
            h(
                "html",
                h("head", *head),
                h("body", *body, raw(f"<script>{script}</script>")),
                lang="en",
            ),
            raw("\n"),
        ]
    )


def _meta(**attributes: str) -> Html:
    return h("meta", **attributes)


def _own(name: str) -> str:
    """A file of this package; nothing of a folder's content ever stands in it."""
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
