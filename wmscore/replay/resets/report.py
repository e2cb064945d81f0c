"""What a check of resets found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

__all__ = ["SMALL", "Kind", "ResetReport", "kind_of"]

Kind = Literal["bit-exact", "within 1e-6", "stochastic"]

SMALL = 1e-6
"""Difference, in data ranges, up to which answers differ by rounding alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ResetReport:
    """How far a model's answer depends on what it was asked before.

    All curves are `[R, T+1]` float64: the largest difference of a value of a frame, in data ranges,
    0 = bit for bit, inf where one answer has a NaN and the other has none.

    Attributes:
        model: its name.
        rows: the R (scenario id, seed) rows that were asked for.
        together: between two copies of a row in one call.
        again: between two calls, each after the same history.
        after: between two calls after different histories.
        other_seed: between the row and the same with another seed of the panel, the floor; NaN
            where the panel has one seed.
        world: `again` of the true world itself, the ceiling; NaN where none was given.
        kind: of each row, by `together` and `again`.
        first: `[R]` int64, first frame that differs in either; -1 = none.
        leak_p: p-value of the permutation test that the history does not matter; NaN for a model
            that answers bit for bit or to within rounding, of which `after` tells it exactly.
        leaks: the history matters: at all for a model that repeats itself, beyond chance for
            another. None where that could not be told.
    """

    model: str
    rows: tuple[tuple[str, int], ...]
    together: Tensor
    again: Tensor
    after: Tensor
    other_seed: Tensor
    world: Tensor
    kind: tuple[Kind, ...]
    first: Tensor
    leak_p: float
    leaks: bool | None

    def sentences(self) -> list[str]:
        """What was found, a sentence each."""
        kinds = {kind: self.kind.count(kind) for kind in get_args(Kind) if kind in self.kind}
        found = ", ".join(f"{kind} in {n}" for kind, n in kinds.items())
        rows = "row" if len(self.rows) == 1 else f"{len(self.rows)} rows"
        lines = [f"{self.model}: the same {rows} twice: {found}."]
        if bool((self.first >= 0).any()):
            lines.append(self._difference())
        if bool((self.world > 0).any()):
            most = float(self.world[self.world > 0].max())
            lines.append(f"The true world itself differs by up to {most:.3g} of the data range.")
        return [*lines, self._leak()]

    def _difference(self) -> str:
        step = int(self.first[self.first >= 0].min())
        most = float(torch.maximum(self.together, self.again).max())
        text = f"They first differ at frame {step}, by up to {most:.3g} of the data range"
        one, two = bool((self.together > 0).any()), bool((self.again > 0).any())
        if one != two:
            text += " within one call only" if one else " between calls only"
        seeds = self.other_seed[~self.other_seed.isnan()]
        return (
            f"{text}; another seed by up to {float(seeds.max()):.3g}." if len(seeds) else text + "."
        )

    def _leak(self) -> str:
        if self.leaks is None:
            return "Whether a reset forgets what came before could not be told."
        if math.isnan(self.leak_p):
            how = f"by up to {float(self.after.max()):.3g} of the data range"
        else:
            how = f"p = {self.leak_p:.2g}"
        if self.leaks:
            return f"A reset does not forget: what was asked before changes the answer ({how})."
        chance = "" if math.isnan(self.leak_p) else f" beyond chance ({how})"
        return f"What was asked before makes no difference{chance}."

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON; NaN is null, infinite "inf"."""
        data: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            data[field.name] = _plain(value.tolist() if isinstance(value, Tensor) else value)
        return data

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """What `to_json` made of one.

        Raises:
            ValueError: it is something else; says which field.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(data, Mapping) or set(data) != set(names):
            got = sorted(data) if isinstance(data, Mapping) else type(data).__name__
            raise ValueError(f"reset report: expected the fields {names}, got {got}")
        rows = _checked("rows", lambda: tuple((str(i), int(s)) for i, s in data["rows"]))
        curves: dict[str, Any] = {
            name: _checked(name, lambda name=name: _curve(data[name], len(rows)))
            for name in ("together", "again", "after", "other_seed", "world")
        }
        first = _checked("first", lambda: torch.tensor(data["first"], dtype=torch.int64))
        if first.shape != (len(rows),):
            raise ValueError(f"reset report.first: expected one for each of {len(rows)} rows")
        if len(data["kind"]) != len(rows) or not set(data["kind"]) <= set(get_args(Kind)):
            raise ValueError(f"reset report.kind: expected of {get_args(Kind)}, got {data['kind']}")
        if data["leaks"] not in (True, False, None):
            raise ValueError(
                f"reset report.leaks: expected true, false or null, got {data['leaks']}"
            )
        return cls(
            model=str(data["model"]),
            rows=rows,
            kind=tuple(data["kind"]),
            first=first,
            leak_p=_checked("leak_p", lambda: _number(data["leak_p"])),
            leaks=data["leaks"],
            **curves,
        )


def kind_of(gap: float) -> Kind:
    """What the largest difference between two answers means."""
    if gap == 0:
        return "bit-exact"
    return "within 1e-6" if gap <= SMALL else "stochastic"


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "inf" if value > 0 else None
    return value


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _curve(value: Any, rows: int) -> Tensor:
    found = torch.tensor([[_number(x) for x in row] for row in value], dtype=torch.float64)
    if found.dim() != 2 or len(found) != rows:
        raise ValueError(f"expected [{rows}, T+1], got {list(found.shape)}")
    return found


def _checked(name: str, read: Any) -> Any:
    try:
        return read()
    except (TypeError, ValueError) as error:
        raise ValueError(f"reset report.{name}: {error}") from None
