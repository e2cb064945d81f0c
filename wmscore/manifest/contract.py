"""What every model of a comparison must keep to: frames, actions, horizon."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import torch
from pydantic import Field, JsonValue, StrictFloat, StrictInt, StrictStr, model_validator
from torch import Tensor

from wmscore.manifest.fields import Action, Count, Frozen, Name, refuse_repeats

__all__ = ["ActionSpace", "ActionUnit", "Contract", "Observation"]

ActionUnit = Literal["button", "degree", "radian", "metre", "pixel", "number"]
Edge = Annotated[StrictInt, Field(ge=0)]
Box = tuple[Edge, Edge, Edge, Edge]


class Observation(Frozen):
    """What one frame is: RGB `[channels, height, width]` at `fps` frames per second.

    `ignore` are boxes (top, left, bottom, right; the last two just outside) in which no metric
    looks, such as those of a watermark or an overlay.
    """

    height: Count
    width: Count
    channels: Literal[3] = 3
    dtype: Literal["uint8"] = "uint8"
    fps: Annotated[StrictFloat, Field(gt=0.0)]
    ignore: Annotated[tuple[Box, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for i, (top, left, bottom, right) in enumerate(self.ignore or ()):
            if not (top < bottom <= self.height and left < right <= self.width):
                raise ValueError(
                    f"ignore[{i}]: expected top < bottom <= {self.height} and left < right <= "
                    f"{self.width}, got {[top, left, bottom, right]}"
                )
        if self.ignore is not None and not bool((~self.ignored()).any()):
            raise ValueError("ignore: expected to leave some pixels, got boxes that cover all")
        return self

    def ignored(self) -> Tensor:
        """`[height, width]` bool, True where no metric looks."""
        mask = torch.zeros(self.height, self.width, dtype=torch.bool)
        for top, left, bottom, right in self.ignore or ():
            mask[top:bottom, left:right] = True
        return mask


class ActionSpace(Frozen):
    """Discrete actions by name, or a continuous vector with one name per dimension.

    `units` says what each dimension is, as far as models must agree on it: `button` (0 or 1, held
    during the step), `degree` or `radian` (turn during the step), `metre` (way during the step),
    `pixel` (of a mouse) or `number`. Of turns, yaw is positive to the right and pitch upwards.
    """

    kind: Literal["discrete", "continuous"] = "discrete"
    names: Annotated[tuple[Name, ...], Field(min_length=1)]
    units: tuple[ActionUnit, ...] | None = None
    noop: Action | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse_repeats("names", self.names)
        if self.units is not None and (
            self.kind == "discrete" or len(self.units) != len(self.names)
        ):
            raise ValueError(
                "units: expected one per name of a continuous space, "
                f"got {len(self.units)} for {len(self.names)} {self.kind} names"
            )
        if self.noop is not None:
            self.check_action("noop", self.noop)
        return self

    def check_action(self, field: str, action: Action) -> None:
        """Raise ValueError naming `field` unless `action` belongs to this space."""
        if self.kind == "discrete":
            if not isinstance(action, str) or action not in self.names:
                raise ValueError(f"{field}: expected one of {list(self.names)}, got {action!r}")
        elif isinstance(action, str) or len(action) != len(self.names):
            raise ValueError(f"{field}: expected {len(self.names)} numbers, got {action!r}")
        elif self.units is not None:
            for name, unit, value in zip(self.names, self.units, action, strict=True):
                if unit == "button" and value not in (0.0, 1.0):
                    raise ValueError(
                        f"{field}: expected 0 or 1 for the button {name!r}, got {value}"
                    )

    def encode(self, script: tuple[Action, ...]) -> Tensor:
        """Turn a script into a tensor: `[T]` int64 (discrete) or `[T, A]` float32 (continuous)."""
        if self.kind == "discrete":
            index = {name: i for i, name in enumerate(self.names)}
            return torch.tensor([index[str(action)] for action in script], dtype=torch.int64)
        return torch.tensor(script, dtype=torch.float32)


class Contract(Frozen):
    """What every model of a comparison must keep to."""

    world: Name | None = None
    observation: Observation | None = None
    actions: ActionSpace
    latent: Annotated[dict[Name, JsonValue], Field(min_length=1)] | None = None
    reset: StrictStr = "the world is reset to the scenario's initial state before each rollout"
    success_metric: StrictStr = "usable horizon: steps until an axis stays below its threshold"
    horizon: Count
    versions: dict[Name, StrictStr] = Field(default_factory=dict)
