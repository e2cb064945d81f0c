"""The parts of the VizDoom world that need no VizDoom: savegames, labels, the missing extra."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from wmscore.worlds.doom_labels import ObjectLabels
from wmscore.worlds.doom_savegame import redraw_randomness
from wmscore.worlds.vizdoom import VizDoomWorld


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk; its check sum is not looked at."""
    return len(body).to_bytes(4, "big") + kind + body + b"\0\0\0\0"


def test_redraw_changes_the_states_and_nothing_else() -> None:
    png = b"\x89PNG\r\n\x1a\n"
    generators = b"".join(bytes([i] * 8 + [0] * 80) for i in (1, 2))
    before = (
        png + chunk(b"IHDR", b"head") + chunk(b"raNd", b"seed" + generators) + chunk(b"IEND", b"")
    )
    after = redraw_randomness(before, 7)
    assert len(after) == len(before)
    assert after == redraw_randomness(before, 7)
    assert after != redraw_randomness(before, 8)
    start = after.index(b"raNdseed") + 8
    assert after[start : start + 8] == bytes([1] * 8)
    assert after[start + 88 : start + 96] == bytes([2] * 8)
    states = after[start + 8 : start + 88], after[start + 96 : start + 176]
    assert states[0] != states[1]
    assert len(set(states[0])) > 20


@pytest.mark.parametrize(
    ("savegame", "words"),
    [
        (b"GIF89a", "expected a PNG"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b""), "chunk 'raNd'"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"raNd", b"seed" + bytes(87)), "random state, got 91"),
    ],
)
def test_redraw_refuses_what_it_does_not_know(savegame: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        redraw_randomness(savegame, 0)


def thing(
    number: int, name: str, x: float, y: float = 0.0, category: str = "Monster"
) -> SimpleNamespace:
    """An object as VizDoom reports it."""
    return SimpleNamespace(
        id=number,
        name=name,
        category=category,
        position_x=x,
        position_y=y,
        position_z=0.0,
        angle=0.0,
    )


def painted(known: ObjectLabels, *numbers: int) -> list[int]:
    """The labels that objects get, by their object ids."""
    labels = [SimpleNamespace(value=9 + i, object_id=n) for i, n in enumerate(numbers)]
    buffer = np.arange(9, 9 + len(numbers), dtype=np.uint8)[None]
    out = np.empty((1, len(numbers)), np.int16)
    known.paint(SimpleNamespace(labels=labels, labels_buffer=buffer), out)
    return out[0].tolist()


def test_labels_do_not_depend_on_ids_order_or_effects() -> None:
    one, two, three = ("Imp", 1.0), ("Imp", 2.0), ("Medikit", 0.0)
    first = ObjectLabels([thing(0, *one), thing(1, *two), thing(2, *three)])
    second = ObjectLabels(
        [thing(0, *three), thing(5, "Blood", 0.0, category="Gibs"), thing(7, *two), thing(8, *one)]
    )
    assert painted(first, 0, 1, 2) == painted(second, 8, 7, 0) == [1, 2, 3]
    assert painted(second, 5) == [0]
    second.update([thing(9, "Imp", 3.0), thing(8, *one)])
    assert painted(second, 9, 8) == [4, 1]


def test_labels_survive_new_ids_movement_and_death() -> None:
    known = ObjectLabels([thing(0, "Imp", 0.0), thing(1, "Imp", 90.0), thing(2, "Medikit", 5.0)])
    known.remember([thing(0, "Imp", 10.0), thing(1, "Imp", 60.0), thing(2, "Medikit", 5.0)])
    new = [thing(4, "Imp", 30.0), thing(5, "DeadImp", 62.0), thing(6, "Medikit", 5.0)]
    known.relink([*new, thing(7, "Medikit", 900.0)])
    assert painted(known, 4, 5, 6, 7) == [1, 2, 3, 4]


def test_without_vizdoom_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(ImportError, match=r"wmscore\[vizdoom\]"):
        VizDoomWorld()
