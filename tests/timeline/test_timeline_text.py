"""Words: events at steps and prompts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wmscore.timeline import TextEvent, Timeline, ToPrompt, ToTextEvents, read_text_events

NAMES = ("nothing happens", "rain", "snow")


def line(*actions: int) -> Timeline:
    return Timeline.of(torch.tensor(actions), NAMES, noop=0, fps=8.0)


def test_words_are_said_where_they_change() -> None:
    found = ToTextEvents({"rain": "it begins to rain"})(line(0, 0, 1, 1, 2, 0))
    assert found.lossless
    assert found.value == (
        TextEvent(0, "nothing happens"),
        TextEvent(2, "it begins to rain"),
        TextEvent(4, "snow"),
        TextEvent(5, "nothing happens"),
    )


@settings(deadline=None, max_examples=40)
@given(actions=st.lists(st.integers(0, 2), min_size=1, max_size=10))
def test_events_come_back(actions) -> None:
    start = line(*actions)
    there = ToTextEvents()(start)
    back = read_text_events(there.value, start.steps, fps=8.0, noop=NAMES[0], names=NAMES)
    assert back.lossless
    assert back.value.same_as(start)


def test_an_event_may_last_one_step() -> None:
    events = [TextEvent(1, "jump"), TextEvent(3, "duck")]
    found = read_text_events(events, 5, fps=8.0, noop="run", then="noop").value
    assert found.words() == ("run", "jump", "run", "duck", "run")
    assert found.names == ("run", "jump", "duck")
    assert found.space.noop == "run"
    held = read_text_events(events, 5, fps=8.0, noop="run").value
    assert held.words() == ("run", "jump", "jump", "duck", "duck")


def test_what_words_do_not_tell_apart_is_stated() -> None:
    found = ToTextEvents({"rain": "weather", "snow": "weather"})(line(1, 2, 2, 0))
    assert found.value == (TextEvent(0, "weather"), TextEvent(3, "nothing happens"))
    assert found.sentences() == ("rain, snow: merged at 3 steps: all are 'weather'",)


def test_a_prompt_is_approximate() -> None:
    found = ToPrompt({"nothing happens": "stillness"}, scene="A street.")(line(0, 0, 0, 0, 1, 1))
    assert found.value == "A street. stillness for 0.5 s, then rain for 0.25 s"
    assert [(loss.kind, loss.component, loss.steps) for loss in found.losses] == [
        ("approximate", "timing", 6)
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ToTextEvents({"rain": " "}), r"phrases\['rain'\]: expected words"),
        (lambda: ToTextEvents()(Timeline.of(torch.zeros(1, 1), ("x",), fps=1.0)), "discrete"),
        (lambda: ToPrompt()(Timeline.of(torch.zeros(2, 1).long(), ("x",), fps=1.0)), "one row"),
        (
            lambda: ToPrompt()(line(0).with_actions(torch.zeros(0, dtype=torch.int64))),
            "at least one step",
        ),
        (
            lambda: read_text_events([TextEvent(2, "a"), TextEvent(2, "b")], 4, fps=1.0, noop="-"),
            r"events\[1\].step: expected 3\.\.3, got 2",
        ),
        (
            lambda: read_text_events([TextEvent(4, "a")], 4, fps=1.0, noop="-"),
            r"events\[0\].step: expected 0\.\.3, got 4",
        ),
        (
            lambda: read_text_events([TextEvent(1, "a")], 4, fps=1.0),
            "noop: expected an action for step 0, got None",
        ),
        (
            lambda: read_text_events([TextEvent(0, "a")], 4, fps=1.0, names=("b",)),
            r"got \['b'\] without 'a'",
        ),
        (lambda: read_text_events([], 0, fps=1.0, noop="-"), "steps: expected at least 1"),
    ],
)
def test_bad_words_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
