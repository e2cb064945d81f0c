"""Which action undoes which, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["opposites"]

_PAIRS = (
    ("left", "right"),
    ("up", "down"),
    ("forward", "backward"),
    ("forward", "back"),
    ("forwards", "backwards"),
    ("north", "south"),
    ("east", "west"),
    ("in", "out"),
    ("clockwise", "counterclockwise"),
    ("clockwise", "anticlockwise"),
    ("plus", "minus"),
    ("open", "close"),
)
_KEYS = (("w", "s"), ("a", "d"))  # only where all four are there


def opposites(names: Sequence[str]) -> dict[str, str]:
    """Actions that undo each other, as far as their names say: each with its opposite.

    Names are split into words at punctuation and capitals; one is the opposite of another if all
    its words of direction are turned round and the others are the same.

    Args:
        names: of the actions.

    Example:
        >>> opposites(["noop", "look_left", "look_right", "MoveForward", "MoveBack", "shoot"])
        {'look_left': 'look_right', 'look_right': 'look_left', 'MoveForward': 'MoveBack', \
'MoveBack': 'MoveForward'}
        >>> opposites(["w", "a", "s", "d"])
        {'w': 's', 'a': 'd', 's': 'w', 'd': 'a'}
    """
    words = {name: _words(name) for name in names}
    keys = {key for pair in _KEYS for key in pair}
    pairs = _PAIRS + (_KEYS if keys <= {name.lower() for name in names} else ())
    turned: dict[str, set[str]] = {}
    for a, b in pairs:
        turned.setdefault(a, set()).add(b)
        turned.setdefault(b, set()).add(a)
    found = {}
    for name in names:
        others = [other for other in names if _opposed(words[name], words[other], turned)]
        if len(others) == 1:
            found[name] = others[0]
    # Only what both say: of forward, back and backward none is the opposite of one alone.
    return {name: other for name, other in found.items() if found.get(other) == name}


def _words(name: str) -> tuple[str, ...]:
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return tuple(word.lower() for word in re.split(r"[^A-Za-z0-9]+", apart) if word)


def _opposed(first: tuple[str, ...], second: tuple[str, ...], turned: dict[str, set[str]]) -> bool:
    if len(first) != len(second) or not any(word in turned for word in first):
        return False
    return all(
        b in turned[a] if a in turned else a == b for a, b in zip(first, second, strict=True)
    )
