"""Matrix-Game's conditions: keyboard multi-hot and mouse (pitch, yaw), one row per frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.timeline.alignment import align, unalign
from wmscore.timeline.loss import Conversion, Loss
from wmscore.timeline.picking import pick
from wmscore.timeline.spaces import vector_space
from wmscore.timeline.tables import Table
from wmscore.timeline.timeline import Timeline

__all__ = ["MATRIX_GAME_KEYS", "MatrixGameConditions", "ToMatrixGame", "read_matrix_game"]

# Source: SkyworkAI/Matrix-Game, condtions.py (1.0, 2025-05) and utils/conditions.py (2.0), whose
# action module lets the frames of latent i see rows up to 4 i - 1: row t causes frame t + 1.
MATRIX_GAME_KEYS: dict[str, tuple[str, ...]] = {
    "1.0": ("forward", "back", "left", "right", "jump", "attack"),
    "universal": ("forward", "back", "left", "right"),
    "gta_drive": ("forward", "back"),
    "temple_run": ("nomove", "jump", "slide", "turnleft", "turnright", "leftside", "rightside"),
}
_MOUSE = {"1.0": 0.05, "universal": 0.1, "gta_drive": 0.1}


@dataclass(frozen=True, eq=False)
class MatrixGameConditions:
    """What Matrix-Game is called with.

    Attributes:
        keyboard: `[T + 1, K]` or `[B, T + 1, K]` float32, 0 or 1.
        mouse: `[T + 1, 2]` or `[B, T + 1, 2]` float32, (pitch, yaw), upwards and to the right;
            None in "temple_run", which has none.
    """

    keyboard: Tensor
    mouse: Tensor | None


class ToMatrixGame:
    """A timeline as Matrix-Game's conditions; the last row, which no frame shows, is zero.

    Args:
        variant: "1.0", or "universal", "gta_drive" or "temple_run" of 2.0.
        degrees: the turn in degrees per step that the mouse value of the published examples (0.05
            in 1.0, 0.1 in 2.0) stands for. The authors do not say; measure it. Turns beyond are
            clipped, since no example goes further.
        table: action -> components, for discrete actions: keys of the variant, pitch and yaw in
            degrees.

    The value is `MatrixGameConditions`. Every conversion of turns is stated as approximate.
    """

    def __init__(
        self, variant: str, *, degrees: float | None = None, table: Table | None = None
    ) -> None:
        self.keys = _keys(variant)
        self.variant, self.degrees, self.table = variant, degrees, table
        if degrees is not None and not degrees > 0:
            raise ValueError(f"degrees: expected a positive number, got {degrees}")
        if degrees is None and variant in _MOUSE:
            raise ValueError(
                f"degrees: expected the turn that a mouse value of {_MOUSE[variant]} stands for, "
                "got None"
            )

    def __call__(self, timeline: Timeline, /) -> Conversion[MatrixGameConditions]:
        """Encode."""
        wanted = dict.fromkeys(self.keys, "button")
        if self.variant in _MOUSE:
            wanted |= {"pitch": "degree", "yaw": "degree"}
        who = f"Matrix-Game {self.variant}"
        found = pick(timeline, wanted, table=self.table, who=who)
        keyboard = unalign(found.value[..., : len(self.keys)], "at_frame", dim=-2)
        losses, mouse = [], None
        if self.variant in _MOUSE and self.degrees is not None:
            turns = found.value[..., len(self.keys) :]
            inside = turns.clamp(-self.degrees, self.degrees)
            for i, name in enumerate(("pitch", "yaw")):
                gap = (turns - inside)[..., i].abs()
                if bool((gap > 0).any()):
                    size, text = float(gap.max()), f"to {self.degrees:g} degrees in a step"
                    steps = int((gap > 0).sum())
                    losses.append(Loss("clipped", name, steps, size, "degree", text))
                if steps := int((turns[..., i] != 0).sum()):
                    text = "what a mouse value turns by was given, not published"
                    losses.append(Loss("approximate", name, steps, text=text))
            scaled = (inside.double() * (_MOUSE[self.variant] / self.degrees)).float()
            mouse = unalign(scaled, "at_frame", dim=-2)
        value = MatrixGameConditions(keyboard, mouse)
        return Conversion(timeline, found.losses).then(Conversion(value, tuple(losses)))


def read_matrix_game(
    conditions: MatrixGameConditions, variant: str, *, degrees: float | None = None, fps: float
) -> Conversion[Timeline]:
    """Conditions of one row as a timeline of buttons, and of pitch and yaw in degrees.

    Args:
        conditions: `[T + 1, K]` and `[T + 1, 2]`.
        variant: as of `ToMatrixGame`.
        degrees: as of `ToMatrixGame`.
        fps: frames per second.

    Raises:
        ValueError: another width or number of rows, or a mouse where there is none.
    """
    keys = _keys(variant)
    keyboard, mouse = conditions.keyboard, conditions.mouse
    if keyboard.ndim != 2 or keyboard.shape[1] != len(keys):
        raise ValueError(f"keyboard: expected [N, {len(keys)}], got {list(keyboard.shape)}")
    if (mouse is not None) != (variant in _MOUSE):
        wanted = "one" if variant in _MOUSE else "None"
        raise ValueError(f"mouse: expected {wanted} for {variant!r}, got {mouse!r}")
    parts = [keyboard.float()]
    names, units = list(keys), ["button"] * len(keys)
    losses: tuple[Loss, ...] = ()
    if mouse is not None:
        if mouse.shape != (len(keyboard), 2):
            raise ValueError(f"mouse: expected [{len(keyboard)}, 2], got {list(mouse.shape)}")
        if degrees is None or not degrees > 0:
            raise ValueError(f"degrees: expected a positive number, got {degrees}")
        parts.append((mouse.double() * (degrees / _MOUSE[variant])).float())
        names += ["pitch", "yaw"]
        units += ["degree", "degree"]
        text = "what a mouse value turns by was given, not published"
        losses = tuple(
            Loss("approximate", name, steps, text=text)
            for i, name in enumerate(("pitch", "yaw"))
            if (steps := int((mouse[:-1, i] != 0).sum()))
        )
    rows = torch.cat(parts, 1)
    aligned = align(rows, len(rows), "at_frame")
    idle = not bool(rows[-1].any())
    value = Timeline(aligned.value, vector_space(names, units), fps)
    return Conversion(value, (*losses, *(() if idle else aligned.losses)))


def _keys(variant: str) -> tuple[str, ...]:
    if variant not in MATRIX_GAME_KEYS:
        raise ValueError(f"variant: expected one of {list(MATRIX_GAME_KEYS)}, got {variant!r}")
    return MATRIX_GAME_KEYS[variant]
