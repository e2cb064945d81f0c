"""VPT's JSONL: one line of keys and mouse per frame of a Minecraft recording."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from wmscore.files import atomic_file
from wmscore.timeline.alignment import align, unalign
from wmscore.timeline.loss import Conversion, Loss, LossKind
from wmscore.timeline.oasis import minecraft_space
from wmscore.timeline.picking import pick
from wmscore.timeline.tables import Table
from wmscore.timeline.timeline import Timeline

__all__ = ["ToVpt", "read_vpt", "vpt_timeline", "write_vpt"]

# Source: openai/Video-Pre-Training, run_inverse_dynamics_model.py and data_loader.py, 2025-09.
_KEYS = {
    "key.keyboard.escape": "ESC",
    "key.keyboard.s": "back",
    "key.keyboard.q": "drop",
    "key.keyboard.w": "forward",
    **{f"key.keyboard.{i}": f"hotbar.{i}" for i in range(1, 10)},
    "key.keyboard.e": "inventory",
    "key.keyboard.space": "jump",
    "key.keyboard.a": "left",
    "key.keyboard.d": "right",
    "key.keyboard.left.shift": "sneak",
    "key.keyboard.left.control": "sprint",
    "key.keyboard.f": "swapHands",
}
_MOUSE = {0: "attack", 1: "use", 2: "pickItem"}
_DEGREES = 360.0 / 2400.0  # per unit of mouse movement
_PARTS = {"mouse": ("dx", "dy", "buttons", "newButtons"), "keyboard": ("keys",)}


def read_vpt(
    path: str | Path,
    *,
    frame_count: int | None = None,
    fps: float = 20.0,
    gui_scale: float = 1.0,
) -> Conversion[Timeline]:
    """A VPT recording's lines as a timeline; see `vpt_timeline`.

    Args:
        path: the `.jsonl` file.
        frame_count: frames of the video beside it, which must be as many as lines.
        fps: frames per second.
        gui_scale: as of `vpt_timeline`.

    Raises:
        ValueError: a line that is no JSON object or lacks a field, naming it, or another number of
            lines.
    """
    lines = []
    for number, text in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip():
            continue
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: expected a JSON object, {error}") from None
    if frame_count is not None and frame_count != len(lines):
        raise ValueError(
            f"{path}: expected a line for each of the {frame_count} frames, got {len(lines)}"
        )
    try:
        return vpt_timeline(lines, fps=fps, gui_scale=gui_scale)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def vpt_timeline(
    lines: Sequence[Mapping[str, Any]], *, fps: float = 20.0, gui_scale: float = 1.0
) -> Conversion[Timeline]:
    """Lines of VPT as a timeline of `minecraft_space()`: T + 1 lines, of which the last is dropped.

    Line t was recorded at frame t and causes frame t + 1 ("at_frame" of `align`). As VPT's loader
    does: an attack that is down in the first line and never newly pressed is stuck and counts as up
    until it is; a change of the selected hotbar slot, as by the scroll wheel, presses its button.
    Unlike it, lines without any action are kept, since a timeline has no gaps.

    Args:
        lines: one object per frame.
        fps: frames per second.
        gui_scale: what the mouse is multiplied with while a screen is open; VPT has 0.5 for
            recorder versions 5.7 and 5.8, 2.0 for 6.7 to 6.9, else 1.

    Raises:
        ValueError: no lines, or a field that is missing or of another kind, naming line and field.
    """
    if not lines:
        raise ValueError("lines: expected at least one, got none")
    space = minecraft_space()
    losses: Counter[tuple[LossKind, str, str]] = Counter()
    rows, slot = [], None
    stuck = False
    for number, line in enumerate(lines, 1):
        keys, mouse, new = _fields(line, number)
        last = number == len(lines)
        pressed = {name: 0.0 for name in space.names}
        for key in keys:
            if key in _KEYS:
                pressed[_KEYS[key]] = 1.0
            elif not last:
                losses["dropped", key, "the action space does not have it"] += 1
        stuck = new == [0] if number == 1 else stuck and 0 not in new
        for button in mouse["buttons"]:
            if button == 0 and stuck:
                if not last:
                    text = "stuck from before the recording, as VPT's loader has it"
                    losses["dropped", "attack", text] += 1
            elif button in _MOUSE:
                pressed[_MOUSE[button]] = 1.0
            elif not last:
                losses["dropped", f"mouse button {button}", "the action space lacks it"] += 1
        now = line.get("hotbar")
        if isinstance(now, int) and slot is not None and now != slot and 0 <= now < 9:
            pressed[f"hotbar.{now + 1}"] = 1.0
        slot = now if isinstance(now, int) else slot
        moved = bool(mouse["dx"] or mouse["dy"])
        scale = gui_scale if line.get("isGuiOpen") else 1.0
        if line.get("isGuiOpen") and moved and not last:
            losses[
                "approximate", "yaw, pitch", "a screen was open and the mouse moved a cursor"
            ] += 1
        pressed["yaw"] = mouse["dx"] * scale * _DEGREES
        pressed["pitch"] = -mouse["dy"] * scale * _DEGREES + 0.0
        rows.append([pressed[name] for name in space.names])
    found = tuple(
        Loss(kind, component, steps, text=text) for (kind, component, text), steps in losses.items()
    )
    aligned = align(torch.tensor(rows, dtype=torch.float32), len(rows), "at_frame")
    idle = not any(rows[-1])
    value = Timeline(aligned.value, space, fps)
    return Conversion(value, (*found, *(() if idle else aligned.losses)))


class ToVpt:
    """A timeline as lines of VPT, T + 1 of them; the last one does nothing.

    Args:
        table: action -> components of `minecraft_space()`, for discrete actions.

    The value is a tuple of objects with the fields that VPT's and MineWorld's readers use: mouse,
    keyboard, isGuiOpen, isGuiInventory, hotbar (as selected by the keys 1 to 9), tick. An attack
    that is down at once is not newly pressed in line 0, or readers would take it for stuck.
    """

    def __init__(self, *, table: Table | None = None) -> None:
        self.table = table

    def __call__(self, timeline: Timeline, /) -> Conversion[tuple[dict[str, Any], ...]]:
        """Write the lines of one row."""
        timeline.need(timeline.space.kind, "VPT", one=True)
        space = minecraft_space()
        wanted = dict(zip(space.names, space.units or (), strict=True))
        found = pick(timeline, wanted, table=self.table, who="VPT")
        lines: list[dict[str, Any]] = []
        keys_before: list[str] = []
        buttons_before: list[int] = []
        slot = 0
        for tick, row in enumerate(unalign(found.value, "at_frame").tolist()):
            held = dict(zip(space.names, row, strict=True))
            keys = [key for key, name in _KEYS.items() if held[name]]
            buttons = [button for button, name in _MOUSE.items() if held[name]]
            slot = next((i for i in range(9) if held[f"hotbar.{i + 1}"]), slot)
            lines.append(
                {
                    "mouse": {
                        "dx": held["yaw"] / _DEGREES,
                        "dy": -held["pitch"] / _DEGREES + 0.0,
                        "dwheel": 0.0,
                        "buttons": buttons,
                        "newButtons": [b for b in buttons if tick and b not in buttons_before],
                    },
                    "keyboard": {
                        "keys": keys,
                        "newKeys": [k for k in keys if k not in keys_before],
                        "chars": "",
                    },
                    "isGuiOpen": False,
                    "isGuiInventory": False,
                    "hotbar": slot,
                    "tick": tick,
                }
            )
            keys_before, buttons_before = keys, buttons
        return Conversion(tuple(lines), found.losses)


def write_vpt(
    path: str | Path, timeline: Timeline, *, table: Table | None = None
) -> Conversion[Path]:
    """Write a timeline as a VPT file, whole or not at all."""
    found = ToVpt(table=table)(timeline)
    with atomic_file(path) as draft:
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in found.value)
        draft.write_text(text, encoding="utf-8")
    return Conversion(Path(path), found.losses)


def _fields(line: Mapping[str, Any], number: int) -> tuple[list[str], Mapping[str, Any], list[int]]:
    if not isinstance(line, Mapping):
        raise ValueError(f"line {number}: expected an object, got {type(line).__name__}")
    for part, fields in _PARTS.items():
        inner = line.get(part)
        for field in fields:
            if not isinstance(inner, Mapping) or field not in inner:
                raise ValueError(f"line {number}: expected {part}.{field}, got none")
            number_field = field in ("dx", "dy")
            wanted = (int, float) if number_field else (list,)
            if not isinstance(inner[field], wanted):
                kind = "a number" if number_field else "a list"
                raise ValueError(
                    f"line {number}: expected {kind} in {part}.{field}, got {inner[field]!r}"
                )
    return line["keyboard"]["keys"], line["mouse"], line["mouse"]["newButtons"]
