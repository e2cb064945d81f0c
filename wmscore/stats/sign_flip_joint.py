"""Many paired questions about the same scenarios, answered together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import LEAST_PAIRS, check_count, check_values, reason_where
from wmscore.stats.sign_flip import EXACT_SCENARIOS

__all__ = ["JointSignFlipTest", "joint_sign_flip_test"]

_ROUNDING = 1e-9  # of statistics, which are at most the square root of the scenarios
_PIECE = 1 << 18  # statistics that are held at a time


class JointSignFlipTest(NamedTuple):
    """What `joint_sign_flip_test` returns, each ``[M]`` but `exact`.

    Attributes:
        statistic: float64, sum of the differences over the root of their sum of squares; 0 where
            all of them are 0.
        p_value: float64 in (0, 1], corrected for all M questions; NaN where there are too few
            pairs.
        attainable: float64, the least that `p_value` could have been with these pairs beside these
            other questions, if all differences of the question were alike. At or above the level, a
            question that is not rejected was never asked.
        scenarios: int64, pairs that have a difference.
        reason: uint8, TOO_FEW_SAMPLES where `p_value` is NaN.
        exact: whether all patterns of signs were gone through.
    """

    statistic: Tensor
    p_value: Tensor
    attainable: Tensor
    scenarios: Tensor
    reason: Tensor
    exact: bool


def joint_sign_flip_test(
    differences: Tensor, *, draws: int = 10_000, seed: int = 0
) -> JointSignFlipTest:
    r"""Which of M mean differences are above 0, with one chance of any false answer for all.

    A scenario's differences flip together, so that the dependence between the questions is kept:
    many questions that are answered by the same scenarios cost little more than one, where Holm's
    correction, which allows for the worst dependence, soon leaves none that could be answered.
    With

    .. math:: T_m(s) = \frac{\sum_i s_i d_{im}}{\sqrt{\sum_i d_{im}^2}}, \qquad
        T_{(1)} \ge T_{(2)} \ge \dots \ge T_{(M)}, \qquad
        p_{(m)} = \max_{l \le m} P_s\bigl(\max_{k \ge l} T_{(k)}(s) \ge T_{(l)}\bigr)

    over all :math:`2^S` patterns for up to 16 scenarios, else over random ones, the observed one
    among them. The denominator does not change with the signs. Of one question it is
    `sign_flip_test` with the alternative "greater". The chance that any true null among the M is
    rejected is at most the level if the differences of the true ones are symmetric about 0
    together; each alone is not enough. Skewed values that are all compared with one other, as in
    ``x[:, :1] - x[:, 1:]``, are not, and are rejected more often (docs/stress-ladder.md).

    Args:
        differences: ``[S, M]``, floating point. NaN and infinite values are missing pairs.
        draws: random patterns beyond 16 scenarios.
        seed: of the random patterns.

    Returns:
        A `JointSignFlipTest`. A question with fewer than 5 pairs is not asked, and does not count.

    Raises:
        TypeError: differences are not a floating point tensor, or draws not an int.
        ValueError: another shape, or no draws.

    Source:
        Westfall and Young, Resampling-Based Multiple Testing (1993), algorithm 2.8 (step-down
        maxT); Romano and Wolf, J. Am. Stat. Assoc. 100 (2005), for its validity with sign flips.

    Example:
        >>> import torch
        >>> lost = torch.tensor([[0.5, 0.1], [0.4, 0.0], [0.6, -0.1], [0.5, 0.0], [0.3, 0.1]])
        >>> joint_sign_flip_test(lost).p_value.tolist()
        [0.03125, 0.5]
    """
    check_values("differences", differences)
    if differences.ndim != 2:
        raise ValueError(f"differences must have shape [S, M], got {tuple(differences.shape)}")
    check_count("draws", draws)
    check_count("seed", seed, low=0)
    values = differences.to("cpu", torch.float64)
    there = values.isfinite()
    count = there.sum(0)
    few = count < LEAST_PAIRS["greater"]
    values = torch.where(there, values, 0.0)
    size = values.square().sum(0).sqrt()
    scaled = torch.where(size > 0, values / size, 0.0)
    statistic = scaled.sum(0)
    # From the least statistic to the largest: what steps down is then a running maximum.
    order = statistic.argsort(stable=True)
    order = order[~few[order]]
    asked, seen = scaled[:, order], statistic[order]
    most = count[order].to(torch.float64).sqrt()
    extreme = torch.zeros(len(order), dtype=torch.int64)
    reached = torch.zeros_like(extreme)
    total = 0
    exact = len(values) <= EXACT_SCENARIOS
    blocks = _all_signs(len(values)) if exact else _drawn_signs(len(values), draws, seed)
    for signs in blocks if len(order) else ():
        for part in torch.split(signs, max(1, _PIECE // len(order))):
            found = part @ asked
            best = found.cummax(1).values
            extreme += (best >= seen - _ROUNDING).sum(0)
            reached += (_others(found) >= most - _ROUNDING).sum(0)
            # The observed pattern counts as the question's own.
            reached -= 0 if total else (_others(found[:1]) >= most - _ROUNDING)[0].long()
            total += len(part)
    p_value, attainable = (torch.full_like(statistic, torch.nan) for _ in range(2))
    if len(order):
        stepped = (extreme.double() / total).flip(0).cummax(0).values.flip(0)
        p_value[order] = stepped
        own = (0.5 ** count[order].to(torch.float64)).clamp(min=1 / total)
        attainable[order] = (reached.double() / total + own).clamp(max=1.0)
    attainable = torch.fmin(attainable, p_value)
    return JointSignFlipTest(statistic, p_value, attainable, count, reason_where(few), exact)


def _others(found: Tensor) -> Tensor:
    """Of each column ``[P, M]`` the largest value of all others; minus infinity of a single one."""
    if found.shape[1] == 1:
        return torch.full_like(found, -torch.inf)
    best = found.topk(2, 1)
    out = best.values[:, :1].expand_as(found).clone()
    return out.scatter_(1, best.indices[:, :1], best.values[:, 1:])


def _all_signs(scenarios: int) -> Iterator[Tensor]:
    """All patterns, ``[P, S]`` float64 of +1 and -1, in pieces; the observed one, all +1, first."""
    places = torch.arange(scenarios)
    for patterns in torch.split(torch.arange(1 << scenarios), 1 << 13):
        yield 1.0 - 2.0 * (patterns[:, None] >> places & 1).to(torch.float64)


def _drawn_signs(scenarios: int, draws: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    yield torch.ones(1, scenarios, dtype=torch.float64)
    for start in range(0, draws, 1 << 13):
        shape = (min(1 << 13, draws - start), scenarios)
        yield 1.0 - 2.0 * torch.randint(0, 2, shape, generator=generator).to(torch.float64)
