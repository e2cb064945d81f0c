"""Sign-flip permutation test of paired vectors."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["MIN_SCENARIOS", "sign_flip_p"]

MIN_SCENARIOS = 6
"""Below it, no p-value of 0.05 is possible: the smallest is 2 ** (1 - S)."""

_MOST_EXACT = 16  # scenarios up to which all sign patterns are walked through
_PIECE = 1 << 22  # float64 values of one temporary: 32 MiB
_ROUNDING = 1e-10  # share below which two lengths of sums are one


def sign_flip_p(differences: Tensor, present: Tensor, *, draws: int, seed: int) -> Tensor:
    """P-value that the mean of paired vectors is no longer than chance makes it.

    Under the null hypothesis, each scenario's difference is as likely as its opposite. The
    statistic is the length of the sum over scenarios.

    Args:
        differences: ``[..., S, D]`` float64, in units in which a length makes sense.
        present: ``[..., S]`` bool, scenarios that count.
        draws: random sign patterns above 16 scenarios; up to there all are walked through.
        seed: draws them.

    Returns:
        ``[...]`` float64 in (0, 1]; 1 where all differences are 0; NaN below ``MIN_SCENARIOS``.
    """
    scenarios = differences.shape[-2]
    if scenarios < MIN_SCENARIOS:
        return differences.new_full(differences.shape[:-2], torch.nan)
    vectors = differences.where(present[..., None], 0.0).mT  # [..., D, S]
    exact = scenarios <= _MOST_EXACT
    signs = _every_pattern(scenarios) if exact else _random_patterns(scenarios, draws, seed)
    signs = signs.to(differences)  # [M, S]
    bound = vectors.sum(-1).square().sum(-1) * (1 - _ROUNDING)
    longer = torch.zeros_like(bound)
    size = max(1, _PIECE // max(1, vectors[..., 0].numel()))
    for piece in torch.split(signs, size):
        lengths = (vectors @ piece.mT).square().sum(-2)  # [..., m]
        longer = longer + (lengths >= bound[..., None]).sum(-1)
    p = longer / len(signs) if exact else (1 + longer) / (1 + len(signs))
    return p.masked_fill(present.sum(-1) < MIN_SCENARIOS, torch.nan)


def _every_pattern(scenarios: int) -> Tensor:
    """``[2 ** (S - 1), S]``: half of the patterns, since the opposite pattern is as long."""
    bits = torch.arange(1 << (scenarios - 1))[:, None] >> torch.arange(scenarios)
    return 1 - 2 * (bits & 1)


def _random_patterns(scenarios: int, draws: int, seed: int) -> Tensor:
    # Drawn on the CPU: the same on every device.
    generator = torch.Generator().manual_seed(seed)
    return 1 - 2 * torch.randint(2, (draws, scenarios), generator=generator)
