"""Discrete actions as text: events at steps, and one prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from wmscore.manifest import ActionSpace
from wmscore.timeline.loss import Conversion, Loss
from wmscore.timeline.timeline import Timeline

__all__ = ["TextEvent", "ToPrompt", "ToTextEvents", "read_text_events"]


@dataclass(frozen=True)
class TextEvent:
    """Words that are said at a step, in effect from frame `step` on."""

    step: int
    text: str


class _Phrases:
    def __init__(self, phrases: Mapping[str, str] | None) -> None:
        self.phrases = dict(phrases or {})
        for name, phrase in self.phrases.items():
            if not phrase.strip():
                raise ValueError(f"phrases[{name!r}]: expected words, got {phrase!r}")

    def runs(self, timeline: Timeline, who: str) -> tuple[list[tuple[int, int, str]], list[Loss]]:
        """(first step, steps, phrase) of each stretch, and losses of phrases that are shared."""
        words = [self.phrases.get(word, word) for word in timeline_words(timeline, who)]
        runs: list[tuple[int, int, str]] = []
        for step, word in enumerate(words):
            if runs and runs[-1][2] == word:
                first, count, _ = runs[-1]
                runs[-1] = (first, count + 1, word)
            else:
                runs.append((step, 1, word))
        shared: dict[str, list[str]] = {}
        for name in timeline.names:
            shared.setdefault(self.phrases.get(name, name), []).append(name)
        losses = [
            Loss("merged", ", ".join(names), words.count(phrase), text=f"all are {phrase!r}")
            for phrase, names in shared.items()
            if len(names) > 1 and phrase in words
        ]
        return runs, losses


class ToTextEvents(_Phrases):
    """Discrete actions as words, said where the action changes; they hold until the next.

    Args:
        phrases: action -> words, for those that are not words themselves.

    The value is a tuple of `TextEvent`, of one row.

    Example:
        >>> line = Timeline.of(torch.tensor([0, 0, 1]), ("rain", "snow"), fps=8.0)
        >>> [(e.step, e.text) for e in ToTextEvents()(line).value]
        [(0, 'rain'), (2, 'snow')]
    """

    def __init__(self, phrases: Mapping[str, str] | None = None) -> None:
        super().__init__(phrases)

    def __call__(self, timeline: Timeline, /) -> Conversion[tuple[TextEvent, ...]]:
        """Say the words."""
        runs, losses = self.runs(timeline, "ToTextEvents")
        return Conversion(tuple(TextEvent(first, text) for first, _, text in runs), tuple(losses))


class ToPrompt(_Phrases):
    """Discrete actions as one prompt: `"forward for 0.8 s, then left for 0.4 s"`.

    A model that reads a prompt decides itself when what happens: the loss is always stated as
    approximate.

    Args:
        phrases: action -> words, for those that are not words themselves.
        scene: words before them, such as the scenario's prompt.

    The value is text, of one row.
    """

    def __init__(self, phrases: Mapping[str, str] | None = None, *, scene: str = "") -> None:
        super().__init__(phrases)
        self.scene = scene

    def __call__(self, timeline: Timeline, /) -> Conversion[str]:
        """Write the prompt."""
        runs, losses = self.runs(timeline, "ToPrompt")
        if not runs:
            raise ValueError("timeline: ToPrompt expected at least one step, got none")
        said = ", then ".join(f"{text} for {count / timeline.fps:.3g} s" for _, count, text in runs)
        text = "a prompt says no steps: the model decides when what happens"
        losses.append(Loss("approximate", "timing", timeline.steps, text=text))
        return Conversion(f"{self.scene} {said}".strip(), tuple(losses))


def read_text_events(
    events: Sequence[TextEvent],
    steps: int,
    *,
    fps: float,
    noop: str | None = None,
    then: Literal["hold", "noop"] = "hold",
    names: Sequence[str] = (),
) -> Conversion[Timeline]:
    """Events as discrete actions whose names are the words.

    Args:
        events: in order of their steps, at most one per step.
        steps: T.
        fps: frames per second.
        noop: the action where nothing is said: before the first event and, with `then="noop"`,
            after each.
        then: an event holds until the next one, or acts for one step.
        names: of the space; by default the no-op and the words in order of appearance.

    Raises:
        ValueError: events that are not in order or outside 0..T-1, words that `names` lacks, or
            steps at which nothing is said without a `noop`.
    """
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    said: list[str | None] = [noop] * steps
    before = -1
    for i, event in enumerate(events):
        if not before < event.step < steps:
            raise ValueError(
                f"events[{i}].step: expected {before + 1}..{steps - 1}, got {event.step}"
            )
        before = event.step
        until = steps if then == "hold" else event.step + 1
        said[event.step : until] = [event.text] * (until - event.step)
    if None in said:
        raise ValueError(f"noop: expected an action for step {said.index(None)}, got None")
    first = [] if noop is None else [noop]
    known = tuple(names or dict.fromkeys([*first, *(event.text for event in events)]))
    if strays := [word for word in said if word not in known]:
        raise ValueError(
            f"names: expected all that is said, got {list(known)} without {strays[0]!r}"
        )
    space = ActionSpace(names=known, noop=noop)
    actions = torch.tensor([known.index(str(word)) for word in said])
    return Conversion(Timeline(actions, space, fps))


def timeline_words(timeline: Timeline, who: str) -> tuple[str, ...]:
    """The actions' names, with errors in the name of `who`."""
    timeline.need("discrete", who, one=True)
    return timeline.words()
