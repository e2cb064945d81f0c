"""Hand-timed action scripts: which action each step gets, and what is refused."""

import json
from pathlib import Path

import pytest
import torch

from wmscore.episodes import EpisodeError, TimedAction, read_timed_script, timed_actions
from wmscore.manifest import ActionSpace

KEYS = ActionSpace(names=("stay", "forward", "left"), noop="stay")


def script(*entries: tuple[float, str] | tuple[float, str, float]) -> list[TimedAction]:
    return [
        TimedAction(time=e[0], action=e[1], until=e[2] if len(e) > 2 else None) for e in entries
    ]


def test_an_action_is_held_until_the_next_or_let_go() -> None:
    timed = script((0.0, "forward"), (0.5, "left", 0.75))
    actions, notes = timed_actions(timed, KEYS, fps=4.0, steps=5)
    assert actions.tolist() == [1, 1, 2, 0, 0]
    assert actions.dtype == torch.int64
    assert notes == ("actions are timed by hand: which step they begin at is only about right",)


def test_the_offset_is_where_step_0_begins() -> None:
    timed = script((1.25, "forward"), (2.0, "left"))
    actions, _ = timed_actions(timed, KEYS, fps=4.0, steps=4, offset=1.0)
    assert actions.tolist() == [0, 1, 1, 1]


def test_the_middle_of_a_step_decides() -> None:
    timed = script((0.0, "forward"), (0.3, "left"))
    assert timed_actions(timed, KEYS, fps=2.0, steps=2)[0].tolist() == [1, 2]
    timed = script((0.0, "forward"), (0.2, "left"))
    assert timed_actions(timed, KEYS, fps=2.0, steps=2)[0].tolist() == [2, 2]


def test_what_is_too_short_for_a_step_is_told() -> None:
    timed = script((0.0, "forward"), (0.55, "left", 0.6), (1.0, "forward"))
    actions, notes = timed_actions(timed, KEYS, fps=2.0, steps=4)
    assert 2 not in actions.tolist()
    assert notes[1] == (
        "1 of 3 timed actions are too short for a step of 0.5 s and left out, the first at 0.55 s"
    )


def test_what_begins_after_the_end_is_told() -> None:
    timed = script((0.0, "forward"), (2.0, "left"), (9.0, "forward"))
    actions, notes = timed_actions(timed, KEYS, fps=2.0, steps=4)
    assert actions.tolist() == [1, 1, 1, 1]
    assert notes[1] == (
        "2 of 3 timed actions begin after the last step, which ends at 2 s, and are left out, the "
        "first at 2 s"
    )


def test_vectors() -> None:
    space = ActionSpace(kind="continuous", names=("x", "yaw"), units=("metre", "degree"),
                        noop=(0.0, 0.0))  # fmt: skip
    timed = [TimedAction(time=0.5, action=(1.0, -2.5))]
    actions, _ = timed_actions(timed, space, fps=2.0, steps=2)
    assert actions.tolist() == [[0.0, 0.0], [1.0, -2.5]]


def test_without_a_no_op_every_step_needs_an_action() -> None:
    space = ActionSpace(names=("forward", "left"))
    with pytest.raises(EpisodeError, match=r"expected an action at 0\.125 s \(step 0\)"):
        timed_actions(script((0.5, "left")), space, fps=4.0, steps=4)


def test_unknown_actions_are_named() -> None:
    with pytest.raises(EpisodeError, match=r"script\[0\].action: expected one of .*'jump'"):
        timed_actions(script((0.5, "jump")), KEYS, fps=4.0, steps=4)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[{", "not valid JSON"),
        ("{}", "expected a list of timed actions"),
        ("[]", "expected a list of timed actions"),
        ('[{"time": 1}]', r"\[0\]: expected an object with time and action"),
        ('[{"time": "1", "action": "left"}]', r"\[0\].time: expected seconds, got '1'"),
        ('[{"time": 1, "action": 3}]', r"\[0\].action: expected a name or numbers"),
        ('[{"time": 1, "action": [1, "x"]}]', r"\[0\].action: expected numbers"),
        ('[{"time": 1, "action": "left", "for": 2}]', r"got \['for'\] too"),
        (
            '[{"time": 1, "action": "left"}, {"time": 1, "action": "stay"}]',
            r"\[1\].time: expected more than 1 s",
        ),
        ('[{"time": 1, "action": "left", "until": 1}]', r"\[0\].until: expected more than"),
        ('[{"time": NaN, "action": "left"}]', r"\[0\].time: expected seconds, got nan"),
        ('[{"time": -1, "action": "left"}]', r"\[0\].time: expected at least 0"),
        ('[{"time": 1, "action": "left", "until": Infinity}]', r"\[0\].until: expected seconds"),
        ('[{"time": 1, "action": [NaN, 1]}]', r"\[0\].action: expected numbers"),
        (
            '[{"time": 1, "until": 3, "action": "left"}, {"time": 2, "action": "stay"}]',
            r"\[0\].until: expected at most 2 s, when the next action begins, got 3 s",
        ),
    ],
)
def test_bad_scripts_name_the_entry(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "a.actions.json"
    path.write_text(text)
    with pytest.raises(EpisodeError, match=says):
        read_timed_script(path)


def test_scripts_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.actions.json"
    path.write_text(json.dumps([{"time": 1.25, "action": "forward", "until": 2}]))
    assert read_timed_script(path) == (TimedAction(time=1.25, action="forward", until=2.0),)
    with pytest.raises(EpisodeError, match="expected an action script, there is none"):
        read_timed_script(tmp_path / "absent.json")
