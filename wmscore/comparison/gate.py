"""May the candidate replace the baseline? Pass, fail or undecided against a stated margin."""

from __future__ import annotations

import math
from enum import IntEnum

import torch
from torch import Tensor

__all__ = ["GATE_SCENARIOS", "Outcome", "gate_outcome", "parse_margin"]

GATE_SCENARIOS = 6
"""Below so many units a gate is undecided, as no p-value below .05 is possible."""


class Outcome(IntEnum):
    """What a gate says; the value is the exit code of `wmscore compare`."""

    PASS = 0
    FAIL = 1
    UNDECIDED = 3


def gate_outcome(
    low: Tensor,
    high: Tensor,
    margin: float | Tensor,
    units: Tensor,
    *,
    baseline: Tensor | None = None,
) -> Tensor:
    r"""Where an interval of a difference candidate - baseline lies against a margin.

    Pass where the whole interval is above ``-margin``, fail where it is below, else undecided. Of a
    candidate that is worse by exactly the margin, at most 2.5 % pass at a level of 95 %. It never
    passes for want of data: fewer than 6 units, an interval that is NaN, and a baseline so low that
    even the worst candidate would be within the margin are undecided.

    Args:
        low: ``[...]``, lower end of the interval.
        high: ``[...]``, upper end.
        margin: how much worse is still accepted, at least 0; broadcasts. 0 asks that the candidate
            is shown to be better.
        units: ``[...]``, scenarios (or pairs) behind the interval.
        baseline: ``[...]``, the baseline's mean of values that are at least 0; ``None`` asks not
            whether a failure could have shown.

    Returns:
        ``[...]`` uint8, `Outcome`.

    Raises:
        TypeError: ends that are not tensors.
        ValueError: a margin that is negative or no number.

    Example:
        >>> import torch
        >>> low, high = torch.tensor([-1.0, -3.0, -5.0]), torch.tensor([2.0, 1.0, -2.5])
        >>> [Outcome(o).name for o in gate_outcome(low, high, 2.0, torch.tensor(8)).tolist()]
        ['PASS', 'UNDECIDED', 'FAIL']
    """
    for name, value in (("low", low), ("high", high), ("units", units)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if not isinstance(margin, Tensor):
        check_margin("margin", margin)
    outcome = torch.full_like(low, int(Outcome.UNDECIDED), dtype=torch.uint8)
    outcome = torch.where(low > -margin, int(Outcome.PASS), outcome)
    outcome = torch.where(high < -margin, int(Outcome.FAIL), outcome)
    known = (units >= GATE_SCENARIOS) & low.isfinite() & high.isfinite()
    if baseline is not None:
        known = known & ((baseline > margin) | (outcome != int(Outcome.PASS)))
    return torch.where(known, outcome, int(Outcome.UNDECIDED)).to(torch.uint8)


def check_margin(name: str, value: object) -> None:
    """A finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be a finite number of at least 0, got {value}")


def parse_margin(text: str | float, horizon: int) -> float:
    """A margin in steps, from a number or a share of the panel's horizon such as "5%".

    Raises:
        ValueError: neither, or a margin that no candidate could miss: the whole horizon or more.

    Example:
        >>> parse_margin("5%", 64), parse_margin("2.5", 64)
        (3.2, 2.5)
    """
    said = str(text).strip()
    share = said.endswith("%")
    try:
        value = float(said.removesuffix("%"))
    except ValueError:
        raise ValueError(
            f'gate: expected steps ("2") or a share of the horizon ("5%"), got {text!r}'
        ) from None
    check_margin("gate", value)
    margin = value * horizon / 100 if share else value
    if margin >= horizon:
        raise ValueError(
            f"gate: a margin of {margin:g} steps lets everything pass on a panel of {horizon} "
            "steps; expected less"
        )
    return margin
