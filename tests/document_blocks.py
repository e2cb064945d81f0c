"""Code in documents: runs it, and holds each value that a comment shows against the real one."""

from __future__ import annotations

import ast
import math
import re
from typing import Any

import pytest
from torch import Tensor

__all__ = ["assert_holds_text", "blocks", "run_block"]

_NAMES = {"inf": math.inf, "nan": math.nan, "__builtins__": {}}


def blocks(document: str, language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", document, re.MULTILINE | re.DOTALL)


def run_block(block: str, names: dict[str, Any], place: str) -> int:
    """Run a block; `expression  # value` and `expression  # value: words` must hold.

    A value stands for what it rounds: 0.25 for 0.2512, [3, 4] for a tensor of these. Returns how
    many were held against the real ones; a comment that is no value is only a comment.
    """
    shown, lines = 0, block.splitlines()
    for node in ast.parse(block).body:
        source = ast.Module([node], [])
        if not isinstance(node, ast.Expr):
            exec(compile(source, place, "exec"), names)
            continue
        found = eval(compile(ast.Expression(node.value), place, "eval"), names)
        comment = lines[(node.end_lineno or 1) - 1][node.end_col_offset or 0 :].strip(" #")
        try:
            wanted = eval(comment.partition(": ")[0] or "-", dict(_NAMES))
        except (SyntaxError, NameError):
            continue
        shown += 1
        assert _same(found, wanted), f"{place}: {ast.unparse(node)} is {found}, not {wanted}"
    return shown


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, Tensor):
        found = found.tolist()
    if isinstance(wanted, list | tuple):
        return (
            isinstance(found, list | tuple)
            and len(found) == len(wanted)
            and all(map(_same, found, wanted))
        )
    if isinstance(wanted, float):
        digits = len(repr(wanted).partition(".")[2])
        return bool(found == pytest.approx(wanted, abs=0.51 * 10.0**-digits, nan_ok=True))
    return bool(found == wanted)


def assert_holds_text(printed: str, shown: str) -> None:
    """The text is a part of what was printed, however wrapped; numbers within other machines'.

    Fingerprints are left out, since they hold versions.
    """
    number = re.compile(r"\d+(?:\.\d+)?")
    texts = [re.sub(r"fingerprint \w+", "fingerprint", text) for text in (printed, shown)]
    plain = [" ".join(number.sub("#", text).split()) for text in texts]
    place = plain[0].find(plain[1])
    assert place >= 0, f"{plain[0]}\n\nlacks\n\n{plain[1]}"
    first = plain[0][:place].count("#")
    wanted = number.findall(texts[1])
    found = number.findall(texts[0])[first : first + len(wanted)]
    for one, other in zip(found, wanted, strict=True):
        digit = 10.0 ** -len(other.partition(".")[2])
        assert float(one) == pytest.approx(float(other), rel=0.02, abs=1.01 * digit)
