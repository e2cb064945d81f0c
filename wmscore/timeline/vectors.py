"""Vector actions to a model's vector: order, units, scale and limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from wmscore.timeline.loss import Conversion, Loss
from wmscore.timeline.tables import dropped_components
from wmscore.timeline.timeline import Timeline

__all__ = ["SameVector"]

_TURNS = {("degree", "radian"): math.pi / 180, ("radian", "degree"): 180 / math.pi}


class SameVector:
    """Components by name, in a model's order and units.

    Args:
        names: the model's components in its order.
        units: of them; degrees and radians are converted, other units must agree. Empty takes the
            timeline's.
        fill: values of components that the panel does not have.
        scale: factor by name, after the units: `{"yaw": 1 / 20}`.
        limits: `(low, high)` by name, after the scale; what lies outside is clipped and stated.

    The value is `[T, A]` or `[B, T, A]` float32. Components that the model does not have are
    dropped, and stated where they are not at rest.

    Example:
        >>> convert = SameVector(("yaw", "w"), limits={"yaw": (-5.0, 5.0)})
        >>> line = Timeline.of(torch.tensor([[1.0, 9.0]]), ("w", "yaw"), fps=20.0)
        >>> convert(line).value.tolist(), str(convert(line).losses[0])
        ([[5.0, 1.0]], 'yaw: clipped at 1 step, by up to 4 number: to -5..5')
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        units: Sequence[str] = (),
        fill: Mapping[str, float] | None = None,
        scale: Mapping[str, float] | None = None,
        limits: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        self.names, self.units = tuple(names), tuple(units)
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"names: expected each once and at least one, got {list(names)}")
        if units and len(units) != len(self.names):
            raise ValueError(
                f"units: expected one for each of {list(self.names)}, got {list(units)}"
            )
        self.fill, self.scale, self.limits = dict(fill or {}), dict(scale or {}), dict(limits or {})
        for field in ("fill", "scale", "limits"):
            if strays := [name for name in getattr(self, field) if name not in self.names]:
                raise ValueError(f"{field}: expected names of {list(self.names)}, got {strays}")
        for name, factor in self.scale.items():
            if not math.isfinite(factor) or factor == 0:
                raise ValueError(f"scale[{name!r}]: expected a number other than 0, got {factor}")
        for name, (low, high) in self.limits.items():
            if not low <= high:
                raise ValueError(f"limits[{name!r}]: expected low <= high, got {(low, high)}")

    def __call__(self, timeline: Timeline, /) -> Conversion[Tensor]:
        """Pick, convert, scale and clip.

        Raises:
            ValueError: the actions are discrete, lack a component without `fill`, or have a unit
                that cannot be converted.
        """
        timeline.need("continuous", "SameVector")
        lacking = [name for name in self.names if name not in (*timeline.names, *self.fill)]
        if lacking:
            raise ValueError(
                f"timeline: expected the components {list(self.names)}, got "
                f"{list(timeline.names)} without {lacking}; fill= says what they are"
            )
        columns, losses = [], []
        for i, name in enumerate(self.names):
            if name not in timeline.names:
                columns.append(torch.full_like(timeline.actions[..., 0], self.fill[name]))
                continue
            unit = timeline.units[timeline.names.index(name)]
            factor = self._factor(i, unit) * self.scale.get(name, 1.0)
            column = timeline.component(name)
            scaled = column if factor == 1 else (column.double() * factor).float()
            if name in self.limits:
                low, high = self.limits[name]
                inside = scaled.clamp(low, high)
                gap = (scaled - inside).abs().double() / abs(factor)
                if bool((gap > 0).any()):
                    losses.append(
                        Loss(
                            "clipped",
                            name,
                            int((gap > 0).sum()),
                            float(gap.max()),
                            unit,
                            f"to {low / factor:g}..{high / factor:g}",
                        )
                    )
                scaled = inside
            columns.append(scaled)
        losses += dropped_components(timeline, self.names, "the model does not have it")
        return Conversion(torch.stack(columns, -1), tuple(losses))

    def _factor(self, i: int, unit: str) -> float:
        wanted = self.units[i] if self.units else unit
        if wanted == unit:
            return 1.0
        if (unit, wanted) not in _TURNS:
            raise ValueError(
                f"units: expected {self.names[i]!r} in {wanted}, got {unit}; "
                "the units of the panel's action space say what it is"
            )
        return _TURNS[unit, wanted]
