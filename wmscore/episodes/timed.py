"""Hand-timed action scripts: what was pressed when, by seconds in a clip."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from wmscore.episodes.episode import EpisodeError
from wmscore.manifest import Action, ActionSpace

__all__ = ["TimedAction", "read_timed_script", "timed_actions"]


@dataclass(frozen=True, kw_only=True)
class TimedAction:
    """An action that begins at a time.

    Attributes:
        time: seconds from the start of the clip.
        action: name of a discrete action, or one number per component.
        until: seconds at which it is let go, and nothing is commanded until the next one; None
            where it is held until then.
    """

    time: float
    action: Action
    until: float | None = None


def read_timed_script(path: str | Path) -> tuple[TimedAction, ...]:
    """Read `[{"time": 1.25, "action": "forward"}, {"time": 3, "until": 3.5, "action": "left"}]`.

    Raises:
        EpisodeError: no such file, no such JSON, or times that do not increase or that overlap;
            names the entry.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EpisodeError(f"{path}: expected an action script, there is none") from None
    except ValueError as error:
        raise EpisodeError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(data, list) or not data:
        raise EpisodeError(f"{path}: expected a list of timed actions, got {_short(data)}")
    script = tuple(_entry(f"{path}[{i}]", item) for i, item in enumerate(data))
    _check_order(str(path), script)
    return script


def timed_actions(
    script: Sequence[TimedAction],
    space: ActionSpace,
    *,
    fps: float,
    steps: int,
    offset: float = 0.0,
) -> tuple[Tensor, tuple[str, ...]]:
    """The action of each step: the one in force at the middle of it.

    Args:
        script: in order of time.
        space: the panel's.
        fps: steps per second.
        steps: how many.
        offset: seconds in the clip at which step 0 begins.

    Returns:
        `[T]` int64 or `[T, A]` float32; and sentences about what could not be kept: that times by
        hand are only about right, how many changes within one step were left out, and how many
        actions begin after the last step.

    Raises:
        EpisodeError: an action that the space does not have, or a step without any where the space
            has no no-op.

    Example:
        >>> space = ActionSpace(names=("stay", "go"), noop="stay")
        >>> script = [TimedAction(time=0.5, action="go", until=1.0)]
        >>> timed_actions(script, space, fps=4.0, steps=6)[0].tolist()
        [0, 0, 1, 1, 0, 0]
    """
    _check_order("script", script)
    for i, item in enumerate(script):
        try:
            space.check_action(f"script[{i}].action", item.action)
        except ValueError as error:
            raise EpisodeError(str(error)) from None
    actions: list[Action] = []
    used = set()
    for step in range(steps):
        middle = offset + (step + 0.5) / fps
        place = _in_force(script, middle)
        if place is not None:
            used.add(place)
            actions.append(script[place].action)
        elif space.noop is not None:
            actions.append(space.noop)
        else:
            raise EpisodeError(
                f"script: expected an action at {middle:.3g} s (step {step}), there is none, and "
                "the action space has no no-op"
            )
    end = offset + steps / fps
    lost = [i for i, item in enumerate(script) if offset <= item.time < end and i not in used]
    notes = ["actions are timed by hand: which step they begin at is only about right"]
    if lost:
        notes.append(
            f"{len(lost)} of {len(script)} timed actions are too short for a step of "
            f"{1 / fps:.3g} s and left out, the first at {script[lost[0]].time:g} s"
        )
    late = [i for i, item in enumerate(script) if item.time >= end]
    if late:
        notes.append(
            f"{len(late)} of {len(script)} timed actions begin after the last step, which ends "
            f"at {end:.3g} s, and are left out, the first at {script[late[0]].time:g} s"
        )
    return space.encode(tuple(actions)), tuple(notes)


def _in_force(script: Sequence[TimedAction], time: float) -> int | None:
    place = None
    for i, item in enumerate(script):
        if item.time <= time:
            place = None if item.until is not None and time >= item.until else i
    return place


def _entry(where: str, item: Any) -> TimedAction:
    if not isinstance(item, dict) or not {"time", "action"} <= item.keys():
        raise EpisodeError(f"{where}: expected an object with time and action, got {_short(item)}")
    if strange := sorted(item.keys() - {"time", "action", "until"}):
        raise EpisodeError(f"{where}: expected time, action and until, got {strange} too")
    for name in ("time", "until"):
        value = item.get(name)
        if name in item and not _is_number(value):
            raise EpisodeError(f"{where}.{name}: expected seconds, got {value!r}")
    action = item["action"]
    if isinstance(action, list):
        if not all(map(_is_number, action)):
            raise EpisodeError(f"{where}.action: expected numbers, got {_short(action)}")
        action = tuple(float(x) for x in action)
    elif not isinstance(action, str):
        raise EpisodeError(f"{where}.action: expected a name or numbers, got {_short(action)}")
    until = None if item.get("until") is None else float(item["until"])
    return TimedAction(time=float(item["time"]), action=action, until=until)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_order(where: str, script: Sequence[TimedAction]) -> None:
    for i, item in enumerate(script):
        if item.time < 0:
            raise EpisodeError(
                f"{where}[{i}].time: expected at least 0, the clip's start, got {item.time:g} s"
            )
        if i and item.time <= script[i - 1].time:
            raise EpisodeError(
                f"{where}[{i}].time: expected more than {script[i - 1].time:g} s, the time of the "
                f"action before, got {item.time:g} s"
            )
        if item.until is not None and item.until <= item.time:
            raise EpisodeError(
                f"{where}[{i}].until: expected more than its time, {item.time:g} s, "
                f"got {item.until:g} s"
            )
        begins = script[i + 1].time if i + 1 < len(script) else math.inf
        if item.until is not None and item.until > begins:
            raise EpisodeError(
                f"{where}[{i}].until: expected at most {begins:g} s, when the next action begins, "
                f"got {item.until:g} s; one action is commanded at a time"
            )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
