"""HTML that escapes everything unless it was built here."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from typing import Any

__all__ = ["Html", "clean", "data_block", "h", "join", "label", "name_of", "raw", "sample"]

_VOID = frozenset({"br", "col", "hr", "img", "input", "line", "link", "meta", "path", "rect"})
# What no font shows, or what turns the text that follows around.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_LONG = 18  # letters of a word that may be broken anywhere
_LONE = re.compile("[\ud800-\udfff]")


class Html(str):
    """Markup that is safe to insert as it is; a plain `str` is text."""

    __slots__ = ()


def clean(text: object) -> str:
    """Text as it may be shown: control characters and lone surrogates become U+FFFD."""
    return _LONE.sub("\ufffd", _CONTROL.sub("\ufffd", str(text)))


def raw(text: str) -> Html:
    """Text of this package's own as markup. Never of what came from outside."""
    return Html(text)


def join(parts: Iterable[object], between: str = "") -> Html:
    """Several parts as one, each escaped unless it is markup."""
    return Html(between.join(_inner(part) for part in parts))


def h(tag: str, *children: object, **attributes: object) -> Html:
    """An element.

    Children: markup as it is, None as nothing, lists one after the other, all else as text.
    Attributes: `class_` is `class`, other underscores are hyphens; None and False leave one out,
    True stands alone.

    Example:
        >>> h("p", "a < b", h("br"), class_="note")
        '<p class="note">a &lt; b<br></p>'
    """
    head = tag
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        head += " " + name.rstrip("_").replace("_", "-")
        if value is not True:
            head += f'="{html.escape(clean(value))}"'
    if tag in _VOID and not children:
        return Html(f"<{head}>" if tag not in ("line", "path", "rect") else f"<{head}/>")
    return Html(f"<{head}>{''.join(_inner(child) for child in children)}</{tag}>")


def name_of(text: object) -> Html:
    """A name from outside: isolated, so that its direction of writing turns nothing else."""
    longest = max(map(len, re.split(r"[\s-]", str(text))))
    return h("bdi", text, class_="name long" if longest > _LONG else "name")


def label(look: str, name: object, *more: object) -> Html:
    """A model's name behind the mark that its lines have."""
    mark = h("span", class_=f"swatch {look}", aria_hidden="true")
    return h("span", mark, h("span", name_of(name), *more), class_="label")


def sample(look: str) -> Html:
    """A piece of a model's line, for legends."""
    line = h("line", x1="1", x2="33", y1="6", y2="6", class_="line")
    return h("svg", line, width="34", height="12", aria_hidden="true", class_=f"sample {look}")


def data_block(data: Any) -> Html:
    """JSON for the page's script, which cannot end its element early."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Html(f'<script type="application/json" class="data">{text}</script>')


def _inner(child: object) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, list | tuple):
        return "".join(_inner(part) for part in child)
    return html.escape(clean(child), quote=False)
