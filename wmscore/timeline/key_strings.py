"""Key-duration strings: `"w-80,jw-40"` of SANA-WM, `"w-3, right-1, d-4"` of HY-WorldPlay."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

from wmscore.timeline.loss import Conversion, Loss
from wmscore.timeline.picking import pick
from wmscore.timeline.spaces import vector_space
from wmscore.timeline.tables import Table
from wmscore.timeline.timeline import Timeline

__all__ = ["HY_WORLDPLAY", "SANA_WM", "KeyGrammar", "ToKeyString", "read_key_string"]

_COUNT = re.compile(r"[1-9][0-9]*", re.ASCII)
Segment = tuple[tuple[str, ...], int]


@dataclass(frozen=True, kw_only=True)
class KeyGrammar:
    """How a model writes keys and durations.

    Attributes:
        name: of the format, for errors.
        keys: the keys, in the order in which they are written.
        together: several keys may be held at once, written without anything between them.
        nothing: the word for no key, or None where the format has none.
        frames: frames that one unit of duration lasts.
        motion: what each key does in one frame, for `KeysToMotion` and `MotionToKeys`. SANA-WM
            moves on the level however it looks up or down, and looks up by 85 degrees at most:
            its path is this one as long as the view is level.
        fps: the model's frame rate.
    """

    name: str
    keys: tuple[str, ...]
    together: bool
    nothing: str | None
    frames: int = 1
    motion: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    fps: float

    def parse(self, text: str) -> tuple[Segment, ...]:
        """The held keys and durations of a string.

        Raises:
            ValueError: anything that the grammar does not have, naming the column, from 1.
        """
        found, column = [], 1
        for part in text.split(","):
            start = column + len(part) - len(part.lstrip())
            found.append(self._segment(part.strip(), start, text))
            column += len(part) + 1
        return tuple(found)

    def write(self, segments: tuple[Segment, ...]) -> str:
        """The string of held keys and durations, equal neighbours as one."""
        merged: list[Segment] = []
        for held, count in segments:
            if merged and merged[-1][0] == held:
                merged[-1] = (held, merged[-1][1] + count)
            else:
                merged.append((held, count))
        separator = "," if self.together else ", "
        return separator.join(f"{self._word(held)}-{count}" for held, count in merged)

    def _word(self, held: tuple[str, ...]) -> str:
        if not held and self.nothing is None:
            raise ValueError(f"timeline: {self.name} has no word for holding no key")
        return "".join(held) or str(self.nothing)

    def _segment(self, part: str, start: int, text: str) -> Segment:
        def wrong(offset: int, expected: str, got: str) -> ValueError:
            where = f"column {start + offset} of {text!r}"
            return ValueError(f"text: {where}: expected {expected}, got {got or 'nothing'!r}")

        word, dash, count = part.rpartition("-")
        if not dash:
            raise wrong(0, "<keys>-<duration>", part)
        word = word.rstrip()
        if not _COUNT.fullmatch(count.strip()):
            offset = len(part) - len(count.lstrip())
            raise wrong(offset, "a duration, a whole number from 1", count.strip())
        length = int(count)
        if word == self.nothing:
            return (), length
        if not self.together:
            if word not in self.keys:
                raise wrong(0, f"one of {', '.join(self.keys)}", word)
            return (word,), length
        if not word:
            raise wrong(0, f"keys of {''.join(self.keys)}", word)
        for i, key in enumerate(word):
            if key not in self.keys:
                raise wrong(i, f"keys of {''.join(self.keys)}", key)
            if key in word[:i]:
                raise wrong(i, "each key once", key)
        return tuple(key for key in self.keys if key in word), length


# Source: diffusers 0.42.1, SanaWMPipeline, which also takes capitals and blanks within words.
SANA_WM = KeyGrammar(
    name="SANA-WM",
    keys=("i", "j", "k", "l", "w", "a", "s", "d"),
    together=True,
    nothing="none",
    motion={
        "i": {"pitch": 1.2},
        "j": {"yaw": -1.2},
        "k": {"pitch": -1.2},
        "l": {"yaw": 1.2},
        "w": {"forward": 0.05},
        "a": {"right": -0.05},
        "s": {"forward": -0.05},
        "d": {"right": 0.05},
    },
    fps=16.0,
)

# Source: Tencent-Hunyuan/HY-WorldPlay, README and generate.py, 2026-03: durations in latents of
# four frames, and what a key does is given per latent. It cuts fractions off, so that `w-0.5` is
# nothing: they are refused here.
HY_WORLDPLAY = KeyGrammar(
    name="HY-WorldPlay",
    keys=("w", "s", "a", "d", "up", "down", "left", "right"),
    together=False,
    nothing=None,
    frames=4,
    motion={
        "w": {"forward": 0.02},
        "s": {"forward": -0.02},
        "a": {"right": -0.02},
        "d": {"right": 0.02},
        "up": {"pitch": 0.75},
        "down": {"pitch": -0.75},
        "left": {"yaw": -0.75},
        "right": {"yaw": 0.75},
    },
    fps=24.0,
)


class ToKeyString:
    """A timeline as a key-duration string of one grammar.

    Vector actions are buttons with the grammar's keys for names. In a grammar of latents the keys
    that are held longest in a latent are held throughout it; the last latent may reach beyond the
    script. Where only one key can be held, the first one in the grammar's order is.

    Args:
        grammar: `SANA_WM`, `HY_WORLDPLAY` or another.
        table: action -> keys held, `{"forward": {"w": 1}}`, for discrete actions.

    The value is text, of one row.

    Example:
        >>> convert = ToKeyString(SANA_WM, table={"go": {"w": 1}, "turn": {"w": 1, "j": 1}})
        >>> convert(Timeline.of(torch.tensor([0, 0, 1]), ("go", "turn"), fps=16.0)).value
        'w-2,jw-1'
    """

    def __init__(self, grammar: KeyGrammar, *, table: Table | None = None) -> None:
        self.grammar, self.table = grammar, table

    def __call__(self, timeline: Timeline, /) -> Conversion[str]:
        """Write the string.

        Raises:
            ValueError: a batch, no steps, keys that the grammar lacks, or no key held in a grammar
                that has no word for it.
        """
        grammar = self.grammar
        timeline.need(timeline.space.kind, grammar.name, one=True)
        if timeline.steps == 0:
            raise ValueError(f"timeline: {grammar.name} expected at least one step, got none")
        keys = dict.fromkeys(grammar.keys, "button")
        found = pick(timeline, keys, table=self.table, who=grammar.name)
        held = [
            tuple(key for key, on in zip(grammar.keys, row, strict=True) if on)
            for row in found.value.tolist()
        ]
        losses: list[Loss] = []
        if not grammar.together:
            losses += _dropped(held, grammar)
            held = [keys[:1] for keys in held]
        blocks = [
            Counter(held[i : i + grammar.frames]).most_common(1)[0][0]
            for i in range(0, len(held), grammar.frames)
        ]
        changed = sum(keys != blocks[i // grammar.frames] for i, keys in enumerate(held))
        if changed:
            text = f"one set of keys for each {grammar.frames} frames"
            losses.append(Loss("merged", "keys", changed, text=text))
        value = grammar.write(tuple((keys, 1) for keys in blocks))
        return Conversion(timeline, found.losses).then(Conversion(value, tuple(losses)))


def read_key_string(
    text: str, grammar: KeyGrammar, *, fps: float | None = None
) -> Conversion[Timeline]:
    """A key-duration string as a timeline of buttons, one step per frame; nothing is lost.

    Args:
        text: the string.
        grammar: how it is written.
        fps: frames per second; the grammar's by default.

    Raises:
        ValueError: what the grammar does not have, naming the column.
    """
    rows = []
    for held, count in grammar.parse(text):
        row = [float(key in held) for key in grammar.keys]
        rows += [row] * (count * grammar.frames)
    space = vector_space(grammar.keys, ["button"] * len(grammar.keys))
    return Conversion(Timeline(torch.tensor(rows), space, grammar.fps if fps is None else fps))


def _dropped(held: list[tuple[str, ...]], grammar: KeyGrammar) -> Iterator[Loss]:
    for key in grammar.keys:
        if steps := sum(key in keys[1:] for keys in held):
            yield Loss("dropped", key, steps, text=f"{grammar.name} holds one key at a time")
