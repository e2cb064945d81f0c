"""A timeline at another frame rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, get_args

import torch
from torch import Tensor

from wmscore.timeline.loss import Conversion, Loss
from wmscore.timeline.timeline import Timeline

__all__ = ["Resample"]

Choice = Literal["longest", "last", "any"]

_INCREMENTS = ("degree", "radian", "metre", "pixel")


class Resample:
    """A timeline on the clock of another frame rate, from the same first frame on.

    Increments (degrees, radians, metres, pixels) are shared out by time, so that the path is the
    same; what is held (discrete actions, buttons, plain numbers) is held by time, and where a new
    step covers several, one is chosen. The number of steps is rounded up to cover the script; what
    then lies beyond its end holds the last action and moves no further.

    To a whole multiple of the frame rate nothing is lost. Else the loss counts the old steps during
    which something else is sent, or the largest distance of the paths at the old frames.

    Args:
        fps: the new frame rate.
        choose: of several held actions in a new step, the one that lasts "longest" (the earliest
            of equal ones), the "last" one, or for buttons "any" that is pressed.
        increments: names of components with unit "number" that are increments all the same.

    The value is a `Timeline`.

    Example:
        >>> line = Timeline.of(torch.tensor([[6.0], [3.0]]), ("yaw",), units=("degree",), fps=10.0)
        >>> Resample(20.0)(line).value.actions[:, 0].tolist()
        [3.0, 3.0, 1.5, 1.5]
    """

    def __init__(
        self, fps: float, *, choose: Choice = "longest", increments: Sequence[str] = ()
    ) -> None:
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps: expected a positive number, got {fps}")
        if choose not in get_args(Choice):
            raise ValueError(f"choose: expected one of {get_args(Choice)}, got {choose!r}")
        self.fps, self.choose, self.increments = fps, choose, tuple(increments)

    def __call__(self, timeline: Timeline, /) -> Conversion[Timeline]:
        """Resample.

        Raises:
            ValueError: no steps, "any" of discrete actions, or increments that there are not.
        """
        if timeline.steps == 0:
            raise ValueError("timeline: Resample expected at least one step, got none")
        if strays := [name for name in self.increments if name not in timeline.names]:
            raise ValueError(f"increments: expected some of {list(timeline.names)}, got {strays}")
        overlap = _Overlap(timeline.steps, timeline.fps, self.fps)
        if timeline.discrete:
            if self.choose == "any":
                raise ValueError("choose: 'any' is for buttons, got discrete actions")
            index = overlap.choose(timeline.actions, self.choose)
            held = timeline.actions.gather(-1, index)
            lost = self._held(timeline.actions, held, overlap, "actions", "")
            return Conversion(Timeline(held, timeline.space, self.fps), lost)
        columns: list[Tensor] = []
        losses: list[Loss] = []
        for name, unit, column in zip(
            timeline.names, timeline.units, timeline.actions.unbind(-1), strict=True
        ):
            if unit in _INCREMENTS or name in self.increments:
                new = overlap.share(column)
                losses += self._moved(column, new, overlap, name, unit)
            elif unit == "button" and self.choose == "any":
                new = overlap.any(column)
                losses += self._held(column, new, overlap, name, unit)
            else:
                choice: Choice = "last" if self.choose == "last" else "longest"
                new = column.gather(-1, overlap.choose(column, choice))
                losses += self._held(column, new, overlap, name, unit)
            columns.append(new)
        value = Timeline(torch.stack(columns, -1), timeline.space, self.fps)
        return Conversion(value, tuple(losses))

    def _held(
        self, old: Tensor, new: Tensor, overlap: _Overlap, name: str, unit: str
    ) -> tuple[Loss, ...]:
        pairs = old[..., overlap.old], new[..., overlap.new]
        gap = (pairs[1] - pairs[0]).abs()
        changed = torch.zeros_like(old, dtype=torch.bool)
        for place, step in enumerate(overlap.old.tolist()):
            changed[..., step] |= gap[..., place] > 0
        if not bool(changed.any()):
            return ()
        largest = float(gap.max()) if unit == "number" else None
        text = f"held by time at {self.fps:g} fps"
        return (
            Loss("resampled", name, int(changed.sum()), largest, unit if largest else "", text),
        )

    def _moved(
        self, old: Tensor, new: Tensor, overlap: _Overlap, name: str, unit: str
    ) -> tuple[Loss, ...]:
        gap = (overlap.path(new) - old.double().cumsum(-1)).abs()
        apart = gap > 1e-5 * (1 + old.double().abs().sum(-1, keepdim=True))
        if not bool(apart.any()):
            return ()
        text = f"evened within a step at {self.fps:g} fps"
        return (Loss("resampled", name, int(apart.sum()), float(gap.max()), unit, text),)


class _Overlap:
    """Which new steps cover which old ones, and for how much of an old step."""

    def __init__(self, steps: int, old: float, new: float) -> None:
        # New steps per old one: exact where floats only come near it, as of 24000 / 1001 to 24.
        self.ratio = Fraction(new / old).limit_denominator(100_000)
        self.steps = steps
        self.count = math.ceil(steps * self.ratio)
        pairs, shares = [], []
        for t in range(steps):
            start, end = t * self.ratio, (t + 1) * self.ratio
            for n in range(math.floor(start), math.ceil(end)):
                inside = min(end, Fraction(n + 1)) - max(start, Fraction(n))
                pairs.append((t, n))
                shares.append(inside / self.ratio)
        self.old, self.new = torch.tensor(pairs).unbind(1)
        self.exact = shares
        self.shares = torch.tensor([float(share) for share in shares], dtype=torch.float64)

    def share(self, column: Tensor) -> Tensor:
        """Increments, shared out by time."""
        parts = column.double()[..., self.old] * self.shares.to(column.device)
        new = torch.zeros(*column.shape[:-1], self.count, dtype=torch.float64, device=column.device)
        return new.index_add_(-1, self.new.to(column.device), parts).float()

    def path(self, column: Tensor) -> Tensor:
        """Where new increments have come to at the end of each old step."""
        ends = [(t + 1) * self.ratio for t in range(self.steps)]
        whole = torch.tensor([math.floor(end) for end in ends], device=column.device)
        part = torch.tensor([float(end - math.floor(end)) for end in ends], device=column.device)
        zero = torch.zeros_like(column[..., :1]).double()
        done = torch.cat([zero, column.double().cumsum(-1)], -1)
        there = done[..., whole]
        return there + (done[..., (whole + 1).clamp(max=self.count)] - there) * part

    def any(self, column: Tensor) -> Tensor:
        """Pressed in any part of a new step."""
        new = torch.zeros(*column.shape[:-1], self.count, dtype=column.dtype, device=column.device)
        index = self.new.to(column.device).expand(*column.shape[:-1], -1)
        return new.scatter_reduce_(-1, index, column[..., self.old], "amax")

    def choose(self, column: Tensor, choice: Choice) -> Tensor:
        """For each row and new step, the old step whose action is held, `[..., T']`."""
        rows = column.reshape(-1, self.steps)
        covered: list[list[int]] = [[] for _ in range(self.count)]
        for place, n in enumerate(self.new.tolist()):
            covered[n].append(place)
        old = self.old.tolist()
        index = torch.zeros(len(rows), self.count, dtype=torch.int64)
        for i, row in enumerate(rows.tolist()):
            for n, places in enumerate(covered):
                if choice == "last" or len(places) == 1:
                    index[i, n] = old[places[-1]]
                    continue
                lasts: dict[float, Fraction] = {}
                for place in places:
                    value = row[old[place]]
                    lasts[value] = lasts.get(value, Fraction(0)) + self.exact[place]
                longest = max(lasts, key=lambda value: lasts[value])
                index[i, n] = next(old[place] for place in places if row[old[place]] == longest)
        return index.view(*column.shape[:-1], self.count).to(column.device)
