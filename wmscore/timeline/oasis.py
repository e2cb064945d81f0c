"""The 25 columns of open-oasis."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.manifest import ActionSpace
from wmscore.timeline import alignment
from wmscore.timeline.alignment import Alignment, unalign
from wmscore.timeline.loss import Conversion, Loss, LossKind, gap_losses
from wmscore.timeline.picking import pick
from wmscore.timeline.spaces import vector_space
from wmscore.timeline.tables import Table
from wmscore.timeline.timeline import Timeline

__all__ = ["MINECRAFT_BUTTONS", "OASIS_COLUMNS", "ToOasis", "minecraft_space", "read_oasis"]

# Source: etched-ai/open-oasis, utils.py, 2024-11. cameraX is the mouse's vertical axis (positive
# looks down) and cameraY its horizontal one, as buckets of half a degree up to 20 degrees.
OASIS_COLUMNS = (
    "inventory",
    "ESC",
    *(f"hotbar.{i}" for i in range(1, 10)),
    "forward",
    "back",
    "left",
    "right",
    "cameraX",
    "cameraY",
    "jump",
    "sneak",
    "sprint",
    "swapHands",
    "attack",
    "use",
    "pickItem",
    "drop",
)
_CAMERA = {"cameraX": ("pitch", -1.0), "cameraY": ("yaw", 1.0)}
_MOST, _BUCKET = 20.0, 0.5
_BUCKETS = int(_MOST / _BUCKET)

MINECRAFT_BUTTONS = tuple(name for name in OASIS_COLUMNS if name not in _CAMERA)


def minecraft_space() -> ActionSpace:
    """The action space of Minecraft recordings: 23 buttons, and yaw and pitch in degrees.

    Names are those of MineRL and of VPT. Yaw is positive to the right, pitch upwards.
    """
    units = [*["button"] * len(MINECRAFT_BUTTONS), "degree", "degree"]
    return vector_space((*MINECRAFT_BUTTONS, "yaw", "pitch"), units)


class ToOasis:
    """A timeline as open-oasis' rows: buttons 0 or 1, camera (bucket - 40) / 40 in -1..1.

    Turns are clipped to 20 degrees per step and rounded to half a degree, both stated. What is
    rounded off is carried to the next step, so that turns of less than half a degree add up and the
    view is never more than a quarter of a degree off the path (clipping apart).

    Args:
        table: action -> components of `minecraft_space()`, for discrete actions:
            `{"forward": {"forward": 1}, "left": {"yaw": -12}, "stop": {}}`.
        align: "produced" gives T + 1 rows, where row t conditions frame t and row 0 is zero, as the
            model takes them; "transition" gives the T actions.

    The value is `[T + 1, 25]` or `[B, T + 1, 25]` float32.
    """

    def __init__(self, *, table: Table | None = None, align: Alignment = "produced") -> None:
        self.table, self.align = table, align

    def __call__(self, timeline: Timeline, /) -> Conversion[Tensor]:
        """Encode.

        Raises:
            ValueError: actions that the 25 columns do not know.
        """
        space = minecraft_space()
        wanted = dict(zip(space.names, space.units or (), strict=True))
        found = pick(timeline, wanted, table=self.table, who="Oasis")
        losses: list[Loss] = []
        columns = []
        for name in OASIS_COLUMNS:
            part, sign = _CAMERA.get(name, (name, 1.0))
            column = found.value[..., list(wanted).index(part)] * sign
            columns.append(_buckets(column, part, losses) if name in _CAMERA else column)
        value = unalign(torch.stack(columns, -1), self.align, dim=-2)
        return Conversion(timeline, found.losses).then(Conversion(value, tuple(losses)))


def read_oasis(
    rows: Tensor, *, align: Alignment = "produced", fps: float = 20.0
) -> Conversion[Timeline]:
    """Rows of open-oasis as a timeline of `minecraft_space()`.

    Args:
        rows: `[N, 25]` floating point.
        align: what row t is, see `align`: "produced" with the zero row in front, as the model
            takes them; "transition" for a file of actions without it.
        fps: frames per second.

    Raises:
        ValueError: another width, a button other than 0 or 1, or a camera outside -1..1.
    """
    if rows.ndim != 2 or rows.shape[-1] != len(OASIS_COLUMNS) or not rows.is_floating_point():
        raise ValueError(
            f"rows: expected floating point [N, {len(OASIS_COLUMNS)}], "
            f"got {rows.dtype} {list(rows.shape)}"
        )
    aligned = alignment.align(rows, len(rows) + (align == "transition"), align)
    values = aligned.value.float()
    space = minecraft_space()
    columns = {}
    for i, name in enumerate(OASIS_COLUMNS):
        part, sign = _CAMERA.get(name, (name, 1.0))
        column = values[:, i]
        if name in _CAMERA:
            if bool((column.abs() > 1).any()):
                most = float(column.abs().max())
                raise ValueError(f"rows: expected {name} in -1..1, got an absolute {most}")
            column = column * (sign * _MOST)
        columns[part] = column + 0.0  # no negative zero
    actions = torch.stack([columns[name] for name in space.names], -1)
    return aligned.then(Conversion(Timeline(actions, space, fps)))


def _buckets(degrees: Tensor, name: str, losses: list[Loss]) -> Tensor:
    """Buckets / 40 of turns `[..., T]`; what rounding leaves out is carried to the next step."""
    inside = degrees.clamp(-_MOST, _MOST)
    path = (inside.double().cumsum(-1) / _BUCKET).round()
    bucket = path.diff(dim=-1, prepend=torch.zeros_like(path[..., :1])).to(degrees.dtype)
    known = bucket * _BUCKET
    found: tuple[tuple[LossKind, Tensor, str], ...] = (
        ("clipped", degrees - inside, f"to {_MOST:g} degrees in a step"),
        ("rounded", inside - known, f"to buckets of {_BUCKET:g} degrees"),
    )
    for kind, gap, text in found:
        losses += gap_losses(kind, name, gap, _MOST, "degree", text)
    return bucket / _BUCKETS
