"""Hunyuan-GameCraft: a list of actions with speeds, each for 33 frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.timeline.loss import Conversion, Loss
from wmscore.timeline.picking import pick
from wmscore.timeline.spaces import motion_space
from wmscore.timeline.tables import Table
from wmscore.timeline.timeline import Timeline

__all__ = ["GAMECRAFT_FRAMES", "GameCraftActions", "ToGameCraft", "read_gamecraft"]

GAMECRAFT_FRAMES = 33

# Source: Tencent-Hunyuan/Hunyuan-GameCraft-1.0, README and sample_inference.py, 2025-08: an action
# moves or turns evenly over its 33 frames at 25 fps, by its speed in all, "between 0 and 3".
_ACTIONS = {
    "w": ("forward", 1),
    "s": ("forward", -1),
    "d": ("right", 1),
    "a": ("right", -1),
    "right_rot": ("yaw", 1),
    "left_rot": ("yaw", -1),
    "up_rot": ("pitch", 1),
    "down_rot": ("pitch", -1),
}
_WANTED = {"forward": "metre", "right": "metre", "yaw": "degree", "pitch": "degree"}
_MOST = 3.0


@dataclass(frozen=True)
class GameCraftActions:
    """What `--action-list` and `--action-speed-list` take: as many speeds as actions."""

    actions: tuple[str, ...]
    speeds: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.actions) != len(self.speeds):
            raise ValueError(
                f"speeds: expected {len(self.actions)}, one per action, got {len(self.speeds)}"
            )
        for i, (action, speed) in enumerate(zip(self.actions, self.speeds, strict=True)):
            if action not in _ACTIONS:
                raise ValueError(f"actions[{i}]: expected one of {list(_ACTIONS)}, got {action!r}")
            if not 0 <= speed <= _MOST:
                raise ValueError(f"speeds[{i}]: expected 0..{_MOST:g}, got {speed}")


class ToGameCraft:
    """Motion per step as one action and speed for each 33 frames.

    Of each block of 33 steps the component that is in use for most steps is kept, with its sum as
    speed; what else moves is dropped, a sum beyond 3 is clipped, and motion that is not even over
    the block is evened, all of it stated. A last block that the script does not fill is completed
    with rest. A block at rest is `w` with speed 0.

    Args:
        table: action -> components: metres forward and right, degrees yaw and pitch.

    The value is `GameCraftActions`, of one row.
    """

    def __init__(self, *, table: Table | None = None) -> None:
        self.table = table

    def __call__(self, timeline: Timeline, /) -> Conversion[GameCraftActions]:
        """Choose an action for each block."""
        timeline.need(timeline.space.kind, "GameCraft", one=True)
        found = pick(timeline, _WANTED, table=self.table, who="GameCraft", open_table=True)
        blocks = -(-max(timeline.steps, 1) // GAMECRAFT_FRAMES)
        motion = torch.zeros(blocks * GAMECRAFT_FRAMES, len(_WANTED), dtype=torch.float64)
        motion[: timeline.steps] = found.value.double().cpu()
        motion = motion.view(blocks, GAMECRAFT_FRAMES, -1)
        kept = (motion != 0).sum(1).argmax(1)
        ways = motion.sum(1).gather(1, kept[:, None])[:, 0]
        actions, speeds = [], []
        for which, way in zip(kept.tolist(), ways.tolist(), strict=True):
            part = list(_WANTED)[which], -1 if way < 0 else 1
            actions.append(next(key for key, of in _ACTIONS.items() if of == part))
            speeds.append(min(abs(way), _MOST))
        value = GameCraftActions(tuple(actions), tuple(speeds))
        losses = [
            loss
            for i in range(len(_WANTED))
            for loss in _losses(i, motion[~(kept == i), :, i], motion[kept == i, :, i])
        ]
        return Conversion(timeline, found.losses).then(Conversion(value, tuple(losses)))


def read_gamecraft(actions: GameCraftActions, *, fps: float = 25.0) -> Conversion[Timeline]:
    """A list of actions and speeds as a timeline of `motion_space()`; nothing is lost."""
    space = motion_space()
    rows = torch.zeros(len(actions.actions) * GAMECRAFT_FRAMES, len(space.names))
    for i, (action, speed) in enumerate(zip(actions.actions, actions.speeds, strict=True)):
        name, sign = _ACTIONS[action]
        block = slice(i * GAMECRAFT_FRAMES, (i + 1) * GAMECRAFT_FRAMES)
        rows[block, space.names.index(name)] = sign * speed / GAMECRAFT_FRAMES
    return Conversion(Timeline(rows, space, fps))


def _losses(i: int, dropped: Tensor, kept: Tensor) -> Iterator[Loss]:
    """What becomes of one component in blocks that lose it and in those that keep it."""
    name, unit = list(_WANTED.items())[i]
    if steps := int((dropped != 0).sum()):
        size = float(dropped.sum(1).abs().max())
        text = "one action for each 33 frames"
        yield Loss("dropped", name, steps, size, unit, text)
    ways = kept.sum(1, keepdim=True)
    sent = ways.clamp(-_MOST, _MOST)
    if bool((over := (ways - sent).abs()[:, 0]).any()):
        steps = int((over > 0).sum()) * GAMECRAFT_FRAMES
        yield Loss("clipped", name, steps, float(over.max()), unit, f"to a speed of {_MOST:g}")
    even = torch.arange(1, GAMECRAFT_FRAMES + 1, dtype=torch.float64) / GAMECRAFT_FRAMES
    gap = (kept.cumsum(1) - ways * even).abs()
    uneven = gap > 1e-6 * (1 + kept.abs().sum(1, keepdim=True))
    if bool(uneven.any()):
        size = float(gap.max())
        yield Loss("resampled", name, int(uneven.sum()), size, unit, "evened over 33 frames")
