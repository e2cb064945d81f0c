"""How each model's line looks: judged models in colours, anchors dashed in grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wmscore.rollouts import RECONSTRUCTION, TEACHER_FORCED

__all__ = ["line_name", "line_styles"]

# Told apart by people who do not see red or green (Okabe and Ito, Color Universal Design, 2008),
# without the yellow that is not seen on white; in an order that keeps neighbours apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKS = ("", "o", "s", "^", "D", "v", "P", "X")
# Anchors are grey: what they are is told by the length of their dashes.
_ANCHORS: dict[str, tuple[tuple[str, Any], ...]] = {
    "truth": (("0.0", (0, (6, 2))), ("0.0", (0, (6, 2, 1, 2)))),
    "ceiling": (("0.35", (0, (3, 1.5))), ("0.35", (0, (3, 1.5, 1, 1.5)))),
    "floor": (("0.5", (0, (1, 1))), ("0.62", (0, (4, 3))), ("0.62", (0, (1, 3)))),
}
# Of one-step predictions, and of reconstructions.
_COMPANIONS = ((1, 1.5), (5, 1.5, 1, 1.5))


def line_name(name: str, roles: Mapping[str, str] | None = None) -> str:
    """A model's name in a legend, with its role where it is an anchor."""
    role = (roles or {}).get(name, name)
    return name if role in (name, "model") else f"{name} ({role})"


def line_styles(
    names: Sequence[str], roles: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """Arguments of matplotlib's `plot` for each model.

    Models that are judged get a colour each, after six of them with another mark on the line;
    anchors are dashed and grey, black for the truth. Companions have their model's colour, thin:
    one-step predictions dotted, reconstructions dashed and dotted.

    Args:
        names: the models, in the order in which they get colours.
        roles: model name -> "truth", "ceiling" or "floor" of the anchors; others are judged.
    """
    styles: dict[str, dict[str, Any]] = {}
    anchors: dict[str, int] = {}
    judged = 0
    for name in sorted(names, key=lambda name: _base(name) != name):  # models first
        role = (roles or {}).get(name, "model")
        if _base(name) in styles:
            own = styles[_base(name)]
            dashes = _COMPANIONS[name.endswith(RECONSTRUCTION)]
            styles[name] = own | {"linestyle": (0, dashes), "linewidth": 1.2, "marker": ""}
        elif role in _ANCHORS:
            looks = _ANCHORS[role]
            colour, dashes = looks[anchors.get(role, 0) % len(looks)]
            anchors[role] = anchors.get(role, 0) + 1
            styles[name] = {"color": colour, "linestyle": dashes, "linewidth": 1.5, "marker": ""}
        else:
            styles[name] = {
                "color": COLOURS[judged % len(COLOURS)],
                "linestyle": "-",
                "linewidth": 1.9,
                "marker": _MARKS[judged // len(COLOURS) % len(_MARKS)],
                "markersize": 4,
            }
            judged += 1
    return {name: styles[name] for name in names}


def _base(name: str) -> str:
    return name.removesuffix(TEACHER_FORCED).removesuffix(RECONSTRUCTION)
