"""What a calibration of latent actions found, in tables and words, and the converter it gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from wmscore.functional import MIN_MOTION
from wmscore.timeline import ByName, Conversion, Converter, Timeline
from wmscore.worlds.protocol import Item

__all__ = ["LatentActionCalibration", "describe_response"]


def _empty() -> Tensor:
    return torch.empty(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentActionCalibration:
    """What each latent action does; see `calibrate_latent_actions`.

    Attributes:
        model: name of the model.
        latent_names: its L actions.
        does: what each does to the picture, in words.
        response: `[L, 4]` mean motion: (dy, dx) in pixels per step, positive = content moves down
            and right, zoom per step, roll in degrees per step. NaN where undefined.
        scenarios: number of scenarios that it was seen in.
        action_names: the panel's A actions; empty without a true world, as is all that follows.
        reference_response: `[A, 4]`, what they do in the true world.
        agreement: `[L, A]` in [-1, 1], of the motions.
        gain: `[L, A]`, how much of the action's motion: 1 = as fast, 0.5 = half as fast, NaN for
            actions that move nothing.
        confidence: `[L]` in [0, 1], share of draws of scenarios in which the closest action is
            clearly the closest.
        chance: `[L]` in (0, 1], share of draws in which motions in random directions agree as well
            with some action; NaN for what is closest to an action that moves nothing.
        assigned: the panel's action of each latent one, or None. No action is assigned twice.
        why: why not, or empty.
    """

    model: str
    latent_names: tuple[str, ...]
    does: tuple[str, ...]
    response: Tensor
    scenarios: int
    action_names: tuple[str, ...] = ()
    reference_response: Tensor = field(default_factory=_empty)
    agreement: Tensor = field(default_factory=_empty)
    gain: Tensor = field(default_factory=_empty)
    confidence: Tensor = field(default_factory=_empty)
    chance: Tensor = field(default_factory=_empty)
    assigned: tuple[str | None, ...] = ()
    why: tuple[str, ...] = ()

    @property
    def mapping(self) -> dict[str, str]:
        """The panel's actions that were found, each with its latent action."""
        pairs = zip(self.assigned, self.latent_names, strict=False)
        found = {action: latent for action, latent in pairs if action is not None}
        return {action: found[action] for action in self.action_names if action in found}

    @property
    def unassigned(self) -> tuple[str, ...]:
        """The panel's actions that no latent action is."""
        return tuple(name for name in self.action_names if name not in self.mapping)

    def converter(self, *, fallback: str | None = None) -> Converter[Tensor]:
        """From the panel's actions to latent ones.

        Args:
            fallback: the latent action for actions that were not found, each of which is then
                stated as a loss; by default a script that has one is refused.

        Raises:
            ValueError: nothing was assigned.
        """
        if not self.mapping:
            raise ValueError(
                f"calibration of {self.model!r}: no action was assigned, expected at least one"
            )
        if fallback is None:
            return _Assigned(self)
        table = {name: self.mapping.get(name) for name in self.action_names}
        return ByName(self.latent_names, table, fallback=fallback)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON; NaN becomes None."""
        return {
            "model": self.model,
            "scenarios": self.scenarios,
            "actions": dict(self.mapping),
            "unassigned": list(self.unassigned),
            "latent": [
                {
                    "name": name,
                    "does": self.does[i],
                    "action": self.assigned[i] if self.assigned else None,
                    "why": self.why[i] if self.why else "",
                    "confidence": _plain(self.confidence[i]) if self.assigned else None,
                    "chance": _plain(self.chance[i]) if self.assigned else None,
                    "response": [_plain(value) for value in self.response[i]],
                    "agreement": {
                        action: _plain(self.agreement[i, a])
                        for a, action in enumerate(self.action_names)
                    },
                }
                for i, name in enumerate(self.latent_names)
            ],
        }

    def table(self) -> str:
        """One line for each latent action, and one with what was not found."""
        head = ["latent", "does", "action", "agreement", "gain", "confidence", ""]
        lines = [head]
        for i, name in enumerate(self.latent_names):
            line = [name, self.does[i]]
            if self.assigned:
                a = int(self.agreement[i].nan_to_num(-2).argmax())
                numbers = (self.agreement[i, a], self.gain[i, a], self.confidence[i])
                line += [self.assigned[i] or "-", *(_said(n) for n in numbers), self.why[i]]
            lines.append(line + [""] * (len(head) - len(line)))
        columns = len(head) if self.assigned else 2
        widths = [max(len(line[i]) for line in lines) for i in range(columns)]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip()
            for line in (line[:columns] for line in lines)
        ]
        if self.unassigned:
            text.append(f"not found: {', '.join(self.unassigned)}")
        return "\n".join(text)


class _Assigned:
    """The panel's actions by the assignment; scripts with another action are refused."""

    def __init__(self, calibration: LatentActionCalibration) -> None:
        self.calibration = calibration

    def __call__(self, timeline: Timeline, /) -> Conversion[Tensor]:
        """Look every action up.

        Raises:
            ValueError: the script has an action that no latent action is.
        """
        timeline.need("discrete", "a calibration of latent actions")
        found, names = self.calibration.mapping, self.calibration.latent_names
        used = [timeline.names[i] for i in sorted(set(timeline.actions.flatten().tolist()))]
        if strays := [name for name in used if name not in found]:
            raise ValueError(
                f"no latent action of {self.calibration.model!r} is {strays}, expected actions of "
                f"{list(found)}"
            )
        index = [names.index(found[name]) if name in found else 0 for name in timeline.names]
        return Conversion(torch.tensor(index, device=timeline.actions.device)[timeline.actions])


def describe_response(response: Tensor, starts: Sequence[Item]) -> str:
    """What an action does to the picture, in words: `view right 3.0 px, zoom in 1.2 %`.

    Args:
        response: `[S, 4]` (dy, dx, zoom, roll) from each initial state.
        starts: the initial states, for the size of the picture.
    """
    there = response[response.isfinite().all(1)]
    if not len(there):
        return "picture cannot be followed"
    dy, dx, zoom, roll = there.mean(0).tolist()
    frame = starts[0].frame
    half = (min(frame.shape[-2:]) if frame is not None else 64) / 2  # pixels from the middle
    said = []
    # What moves to the left in the picture, moves the view to the right.
    if abs(dx) >= MIN_MOTION:
        said.append(f"view {'right' if dx < 0 else 'left'} {abs(dx):.1f} px")
    if abs(dy) >= MIN_MOTION:
        said.append(f"view {'down' if dy < 0 else 'up'} {abs(dy):.1f} px")
    if abs(zoom) * half >= 3 * MIN_MOTION:
        said.append(f"zoom {'in' if zoom > 0 else 'out'} {abs(zoom) * 100:.1f} %")
    if abs(math.radians(roll)) * half >= 3 * MIN_MOTION:
        said.append(f"turn {'clockwise' if roll > 0 else 'anticlockwise'} {abs(roll):.1f} degrees")
    if said:
        return ", ".join(said)
    away = float(there[:, :2].square().sum(1).mean().sqrt())
    if away >= 5 * MIN_MOTION:
        return f"moves {away:.1f} px, each time another way"
    return "still"


def _plain(value: Tensor) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _said(value: Tensor) -> str:
    return f"{float(value):.2f}" if bool(value.isfinite()) else "-"
