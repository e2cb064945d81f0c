"""Paired permutation test: are two models alike, scenario by scenario?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import (
    ALTERNATIVES,
    LEAST_PAIRS,
    check_choice,
    check_count,
    check_scenarios,
    check_values,
    reason_where,
)
from wmscore.stats._sums import sum_scenarios

__all__ = ["EXACT_SCENARIOS", "SignFlipTest", "sign_flip_norm_test", "sign_flip_test"]

EXACT_SCENARIOS = 16
"""Up to so many scenarios all patterns of signs are gone through."""

_ROUNDING = 1e-12  # share of the sum of sizes below which two sums are tied, in float64
_TILE = 1 << 11  # columns that are gone through at a time
_PIECE = 1 << 18  # sums, or signs, that are held at a time: 2 MiB, which stay in a cache


class SignFlipTest(NamedTuple):
    """What `sign_flip_test` returns, each ``[...]``.

    Attributes:
        statistic: float64, the mean difference; the squared norm of the mean vector for
            `sign_flip_norm_test`. NaN where there is no pair.
        p_value: float64 in (0, 1]; NaN where there are too few pairs for any verdict.
        exact: bool, whether all patterns of signs were gone through.
        scenarios: int64, pairs that have a difference.
        reason: uint8, TOO_FEW_SAMPLES where `p_value` is NaN.
    """

    statistic: Tensor
    p_value: Tensor
    exact: Tensor
    scenarios: Tensor
    reason: Tensor


def sign_flip_test(
    differences: Tensor, *, draws: int = 10_000, seed: int = 0, alternative: str = "two-sided"
) -> SignFlipTest:
    r"""Paired permutation test of mean differences, by flipping signs.

    If two models are alike, the difference of a scenario might as well have come out the other way
    round. With signs s the p-value is the share of patterns whose mean is as extreme as what was
    seen:

    .. math:: p = P_s\bigl(\bigl|\tfrac1S \sum_i s_i d_i\bigr| \ge
        \bigl|\tfrac1S \sum_i d_i\bigr|\bigr)

    over all :math:`2^S` patterns for up to 16 pairs (exact), else over random ones, where
    :math:`p = (1 + \#) / (1 + \mathrm{draws})`. Sums that differ by no more than the
    rounding of the given dtype are tied.

    Fewer than 6 pairs (5 for a one-sided test) have no p-value: the smallest possible one,
    :math:`2^{1 - S}`, is above .05, so that no result could be significant.

    Args:
        differences: ``[S, ...]``, floating point, one mean difference per scenario: average its
            seeds first. NaN and infinite values are missing pairs: dropped in their column, and
            counted.
        draws: random patterns beyond 16 pairs.
        seed: of the random patterns, which are the same for all columns.
        alternative: "two-sided", "greater" (the mean is above 0) or "less".

    Returns:
        A `SignFlipTest` of ``[...]`` tensors.

    Raises:
        TypeError: differences are not a floating point tensor, or draws not an int.
        ValueError: no scenario dim, no draws, or another alternative.

    Source:
        Fisher, The Design of Experiments (1935), section 21; Phipson and Smyth, Stat. Appl. Genet.
        Mol. Biol. 9 (2010), for the + 1.

    Example:
        >>> import torch
        >>> found = sign_flip_test(torch.tensor([1.2, 0.4, -0.3, 0.9, 0.6, 0.1, 0.8, -0.2]))
        >>> found.p_value.item() == 18 / 256, found.exact.item()
        (True, True)
    """
    check_scenarios("differences", differences)
    check_choice("alternative", alternative, ALTERNATIVES)
    return _test(
        differences[..., None], differences.shape[1:], differences.dtype, draws, seed, alternative
    )


def sign_flip_norm_test(
    differences: Tensor, *, scale: Tensor | None = None, draws: int = 10_000, seed: int = 0
) -> SignFlipTest:
    r"""`sign_flip_test` of vectors: is their mean further from 0 than chance would bring it?

    The statistic is the squared norm of the mean vector, each component divided by its scale:

    .. math:: \sum_d \Bigl(\frac{1}{S} \sum_i \frac{d_{i,d}}{\sigma_d}\Bigr)^2

    All components of a scenario flip together, so that their dependence is kept.

    Args:
        differences: ``[S, ..., D]``, floating point. A pair of which any component is NaN or
            infinite is missing.
        scale: broadcasts to ``[..., D]``, above 0: the unit of each component, say its standard
            deviation over the reference. It must not depend on the signs of the differences, or the
            test is no longer valid. ``None`` means 1.
        draws: as for `sign_flip_test`.
        seed: as for `sign_flip_test`.

    Returns:
        A `SignFlipTest` of ``[...]`` tensors.

    Raises:
        TypeError: not floating point tensors, or draws not an int.
        ValueError: no dim S or D, a scale that does not broadcast or (on the CPU) is not above 0.

    Example:
        >>> import torch
        >>> sideways = torch.tensor([0.0, 0.2, -0.1, 0.0, 0.1, 0.0])
        >>> moved = torch.stack([sideways, torch.ones(6)], 1)
        >>> sign_flip_norm_test(moved).p_value.item() == 2 / 2**6
        True
    """
    check_scenarios("differences", differences, "[S, ..., D]")
    dtype = differences.dtype
    if scale is not None:
        check_values("scale", scale)
        inner = differences.shape[1:]
        fits = scale.ndim <= len(inner) and all(
            size in (1, wanted)
            for size, wanted in zip(scale.shape, inner[len(inner) - scale.ndim :], strict=True)
        )
        if not fits:
            raise ValueError(
                f"scale must have a shape that broadcasts to [..., D] = {tuple(inner)}, "
                f"got {tuple(scale.shape)}"
            )
        if scale.device.type == "cpu" and not bool((scale > 0).all()):
            raise ValueError(f"scale must be above 0, got {scale.min().item()}")
        differences = differences.to(torch.float64) / scale
    return _test(differences, differences.shape[1:-1], dtype, draws, seed, "norm")


def _test(
    differences: Tensor,
    shape: torch.Size,
    dtype: torch.dtype,
    draws: int,
    seed: int,
    alternative: str,
) -> SignFlipTest:
    """Of differences ``[S, ..., D]``, given in a dtype; D is 1 unless the alternative is norm."""
    check_count("draws", draws)
    check_count("seed", seed, low=0)
    scenarios, size = differences.shape[0], differences.shape[-1]
    rounding = max(_ROUNDING, torch.finfo(dtype).eps)
    values = differences.to(torch.float64).reshape(scenarios, shape.numel(), size)
    there = values.isfinite().all(-1)  # [S, M]
    values = torch.where(there[..., None], values, 0.0)
    count = there.sum(0)
    if scenarios <= EXACT_SCENARIOS:
        exact = torch.ones_like(count, dtype=torch.bool)
        p_value = _exact(values, alternative, rounding)
    else:
        # Columns with enough pairs missing are exact too; which, is read from the device.
        exact = count <= EXACT_SCENARIOS
        order = (~there).to(torch.uint8).argsort(stable=True, dim=0)[:EXACT_SCENARIOS]
        first = values.gather(0, order[..., None].expand(-1, -1, size))
        p_value = torch.empty_like(count, dtype=torch.float64)
        p_value[exact] = _exact(first[:, exact], alternative, rounding)
        p_value[~exact] = _drawn(values[:, ~exact], alternative, rounding, draws, seed)
    few = count < LEAST_PAIRS.get(alternative, LEAST_PAIRS["two-sided"])
    mean = sum_scenarios(values) / count[:, None]
    statistic = mean.square().sum(-1) if alternative == "norm" else mean[:, 0]
    return SignFlipTest(
        statistic.reshape(shape),
        torch.where(few, torch.nan, p_value).reshape(shape),
        exact.reshape(shape),
        count.reshape(shape),
        reason_where(few).reshape(shape),
    )


def _exact(values: Tensor, alternative: str, rounding: float) -> Tensor:
    """Share of all patterns of signs ``[M]``. Missing pairs, zeros, repeat each sum equally often.

    The first sign is fixed: the other half of the patterns are the same ones turned round.
    """
    patterns = 1 << max(len(values) - 1, 0)

    def blocks(step: int) -> Iterator[Tensor]:
        places = torch.arange(len(values), device=values.device)
        for start in range(0, patterns, step):
            pattern = torch.arange(start, min(start + step, patterns), device=values.device)
            yield 1.0 - 2.0 * (pattern[:, None] >> places & 1).to(torch.float64)

    same, turned = _count_extreme(values, blocks, alternative, rounding)
    return (same + turned).to(torch.float64) / (2 * patterns)


def _drawn(values: Tensor, alternative: str, rounding: float, draws: int, seed: int) -> Tensor:
    # A word has the signs of 64 scenarios; a table has those of each of its bytes.
    bits = torch.arange(256)[:, None] >> torch.arange(8) & 1
    table = (1.0 - 2.0 * bits.to(torch.float64)).to(values.device)
    words = -(-len(values) // 64)

    def blocks(step: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        for start in range(0, draws, step):
            drawn = torch.empty(min(step, draws - start), words, dtype=torch.int64)
            drawn.random_(-(1 << 63), None, generator=generator)
            index = drawn.view(torch.uint8).to(values.device, torch.int32)
            signs = table.index_select(0, index.flatten()).reshape(len(drawn), 64 * words)
            yield signs[:, : len(values)]

    same, _ = _count_extreme(values, blocks, alternative, rounding)
    return (1 + same).to(torch.float64) / (1 + draws)


def _count_extreme(
    values: Tensor,
    blocks: Callable[[int], Iterator[Tensor]],
    alternative: str,
    rounding: float,
) -> tuple[Tensor, Tensor]:
    """How many patterns are as extreme as all signs +, and how many turned round, ``[M]`` each.

    Of patterns in blocks of that many rows at most, float64 ``[r, S]``.
    """
    tile = max(1, _TILE // max(1, values.shape[2]))
    parts = [
        _count_tile(part, blocks, alternative, rounding) for part in torch.split(values, tile, 1)
    ]
    return torch.cat([same for same, _ in parts]), torch.cat([turned for _, turned in parts])


def _count_tile(
    values: Tensor, blocks: Callable[[int], Iterator[Tensor]], alternative: str, rounding: float
) -> tuple[Tensor, Tensor]:
    scenarios, columns, size = values.shape
    same = torch.zeros(columns, dtype=torch.int64, device=values.device)
    turned = torch.zeros_like(same)
    if columns == 0:
        return same, turned
    if alternative == "less":
        values = -values
    seen = _score(sum_scenarios(values).reshape(columns, size, 1), alternative)  # [M, 1]
    slack = values.abs().sum(0)  # [M, D]
    slack = slack.square().sum(-1) if alternative == "norm" else slack[:, 0]
    least = seen - slack[:, None] * rounding
    one_sided = alternative in ("greater", "less")
    lines = values.reshape(scenarios, columns * size).T.contiguous()
    sums = extreme = torch.empty(0)
    for signs in blocks(max(1, _PIECE // max(columns * size, scenarios))):
        if sums.shape[-1] != len(signs):
            sums = lines.new_empty(len(lines), len(signs))
            extreme = torch.empty(columns, len(signs), dtype=torch.bool, device=values.device)
        torch.mm(lines, signs.T, out=sums)
        score = _score(sums.reshape(columns, size, len(signs)), alternative)
        same += torch.ge(score, least, out=extreme).sum(1)
        if one_sided:
            turned += torch.le(score, -least, out=extreme).sum(1)
    return same, turned if one_sided else same


def _score(sums: Tensor, alternative: str) -> Tensor:
    """What is large where the sums ``[M, D, r]``, which it may change, speak for a difference."""
    if alternative == "norm":
        return sums.square_().sum(1)
    line = sums[:, 0]
    return line.abs_() if alternative == "two-sided" else line
