"""`postmortem.md` as HTML: the Markdown that this package writes, everything in it escaped."""

from __future__ import annotations

import re

from wmscore.evidence.report.markup import Html, h, join
from wmscore.evidence.report.table import data_table

__all__ = ["code", "inline", "markdown", "section_of"]

_INLINE = re.compile(r"(`[^`\n]+`|\*\*[^*\n]+\*\*)")
_WORD = 30  # letters of a word that is not broken on a telephone
_BULLET = re.compile(r"^( *)- (.*)$")


def section_of(text: str, title: str) -> str:
    """The lines below `## title`, up to the next such heading; empty where there is none."""
    lines, inside = [], False
    for line in text.splitlines():
        if line.startswith("## "):
            inside = line == f"## {title}"
        elif inside:
            lines.append(line)
    return "\n".join(lines).strip("\n")


def markdown(text: str, *, level: int = 3) -> Html:
    """Headings, paragraphs, nested bullets, tables and code; other lines are paragraphs.

    Args:
        text: Markdown.
        level: size of the largest heading in the page, of `#`.
    """
    lines, parts, i = text.splitlines(), [], 0
    while i < len(lines):
        line, start = lines[i], i
        if not line.strip():
            i += 1
        elif line.startswith("```"):
            i += 1
            while i < len(lines) and not lines[i].startswith("```"):
                i += 1
            parts.append(h("pre", h("code", "\n".join(lines[start + 1 : i]))))
            i += 1
        elif line.startswith("#"):
            size = len(line) - len(line.lstrip("#"))
            parts.append(h(f"h{min(6, level + size - 1)}", inline(line.lstrip("# "))))
            i += 1
        elif line.startswith("|"):
            while i < len(lines) and lines[i].startswith("|"):
                i += 1
            parts.append(_table(lines[start:i]))
        elif _BULLET.match(line):
            while i < len(lines) and (_BULLET.match(lines[i]) or lines[i].startswith("  ")):
                i += 1
            parts.append(_bullets(lines[start:i]))
        else:
            while i < len(lines) and lines[i].strip() and lines[i][0] not in "|#`-":
                i += 1
            i = max(i, start + 1)
            parts.append(h("p", inline(" ".join(lines[start:i]))))
    return join(parts)


def code(text: str) -> Html:
    """Text as code, whose words do not break at their hyphens unless they are long."""
    parts = [
        h("span", w, class_="word") if "-" in w and len(w) < _WORD else w for w in text.split()
    ]
    return h("code", join(parts, " "))


def inline(text: str) -> Html:
    """A line with what is marked as code or as important; all else is text."""
    parts: list[object] = []
    for part in _INLINE.split(text):
        if part.startswith("`") and part.endswith("`") and len(part) > 2:
            parts.append(code(part[1:-1]))
        elif part.startswith("**") and part.endswith("**") and len(part) > 4:
            parts.append(h("strong", part[2:-2]))
        else:
            parts.append(part)
    return join(parts)


def _bullets(lines: list[str]) -> Html:
    """One list, with the lists inside its items; lines that are none go on their item."""
    items: list[tuple[str, list[str]]] = []
    first = _BULLET.match(lines[0])
    depth = len(first[1]) if first else 0
    for line in lines:
        found = _BULLET.match(line)
        if found and len(found[1]) <= depth:
            items.append((found[2], []))
        elif found or items[-1][1]:
            items[-1][1].append(line)
        else:
            items[-1] = (f"{items[-1][0]} {line.strip()}", [])
    return h(
        "ul",
        *(
            h("li", inline(text), _bullets(rest) if rest and _BULLET.match(rest[0]) else None)
            for text, rest in items
        ),
    )


def _table(lines: list[str]) -> Html:
    rows = [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in lines]
    body = [row for row in rows[1:] if set("".join(row)) - set("- |")]
    cells = [[inline(cell) for cell in row] for row in body]
    return data_table([inline(cell) for cell in rows[0]], cells, caption="Table of the postmortem")
