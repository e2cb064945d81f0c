"""What comes with items: frames, frame rate and scripts, checked with one wording of errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from wmscore.timeline import ByName, Converter, SameVector, Timeline
from wmscore.worlds.protocol import Item

__all__ = [
    "check_kind",
    "check_rate",
    "continued",
    "default_converter",
    "given_frames",
    "item_timeline",
    "item_words",
    "naming_item",
]

_SAME = 1e-6  # share by which two frame rates may differ, as floats do


def item_words(item: Item) -> str:
    """Which row an item is, for errors: `scenario 'corridor', seed 7, branch 0`."""
    return f"scenario {item.scenario_id!r}, seed {item.seed}, branch {item.branch}"


def given_frames(items: Sequence[Item], frame_size: tuple[int, int], who: str) -> Tensor:
    """The given frames `[B, 3, H, W]` uint8 of all items.

    Args:
        items: the rows.
        frame_size: (height, width) that the model takes.
        who: the model, for errors, such as `model 'wan'`.

    Raises:
        ValueError: no items, an item without a frame, or one of another size or type.
    """
    if not items:
        raise ValueError("items: expected at least one, got none")
    wanted, frames = (3, *frame_size), []
    for item in items:
        if item.frame is None:
            raise ValueError(f"items: {who} needs item.frame, {item.scenario_id!r} has None")
        if item.frame.dtype != torch.uint8 or tuple(item.frame.shape) != wanted:
            raise ValueError(
                f"items: {who} takes frames uint8 {list(wanted)}, {item.scenario_id!r} has "
                f"{item.frame.dtype} {list(item.frame.shape)}; wmscore.worlds.FitSize fits panels "
                "of another size"
            )
        frames.append(item.frame)
    return torch.stack(frames)


def check_rate(item: Item, fps: float, who: str, hint: str = "") -> None:
    """Refuse an item of another frame rate than `fps`; one that leaves it open will do."""
    if item.fps is not None and abs(item.fps - fps) > _SAME * fps:
        raise ValueError(
            f"items: {item.scenario_id!r} is at {item.fps:g} frames per second, {who} takes "
            f"{fps:g}" + (f"; {hint}" if hint else "")
        )


def check_kind(item: Item, wanted: str, who: str) -> None:
    """Refuse names where a model takes vectors, and the other way about."""
    kind = "continuous" if item.actions.is_floating_point() else "discrete"
    if wanted in ("discrete", "continuous") and kind != wanted:
        raise ValueError(
            f"items: {who} takes {wanted} actions, {item.scenario_id!r} has {kind} ones "
            f"{list(item.action_names)}; a converter says what they become"
        )


def default_converter(
    kind: str, names: tuple[str, ...], units: tuple[str, ...]
) -> Converter[Tensor] | None:
    """Actions by name: a panel's action, or component, is the model's of that name.

    None for a model that names no actions: it takes numbers as they are.
    """
    if names and kind == "discrete":
        return ByName(names)
    if names and kind == "continuous":
        return SameVector(names, units=units)
    return None


def item_timeline(item: Item, fps: float, horizon: int | None = None) -> Timeline:
    """The script of one item, or its first actions; `fps` where its panel leaves the rate open."""
    return Timeline.of(
        item.actions[:horizon],
        item.action_names,
        units=item.action_units,
        noop=item.noop,
        fps=item.fps if item.fps is not None else fps,
    )


def continued(line: Timeline, steps: int) -> Timeline:
    """A script of at least `steps` actions: its no-op, or without one its last action, follows."""
    missing = steps - line.steps
    if missing <= 0:
        return line
    rest = line.rest if line.rest is not None else line.actions[-1]
    more = rest.expand(missing, *line.actions.shape[1:])
    return line.with_actions(torch.cat([line.actions, more]))


@contextlib.contextmanager
def naming_item(item: Item) -> Iterator[None]:
    """Name the item where its actions cannot be converted."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"items: {item.scenario_id!r}, actions: {error}") from error
