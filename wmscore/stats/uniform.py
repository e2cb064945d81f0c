"""Are p-values uniform, as those of a valid test are where there is nothing to find?"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import check_choice, check_count, check_scenarios, reason_where
from wmscore.stats._kolmogorov import one_sided_tail, two_sided_tail

__all__ = ["UniformityTest", "uniformity_test"]


class UniformityTest(NamedTuple):
    """What `uniformity_test` returns, each ``[...]``.

    Attributes:
        distance: float64 in [0, 1], between the distribution of the values and the uniform one;
            NaN where there is no value.
        p_value: float64 in [0, 1]; NaN where there is no value.
        samples: int64, values that are not NaN.
        reason: uint8, TOO_FEW_SAMPLES where there is no value.
    """

    distance: Tensor
    p_value: Tensor
    samples: Tensor
    reason: Tensor


def uniformity_test(
    p_values: Tensor,
    *,
    step: Tensor | float = 0.0,
    alternative: str = "two-sided",
    seed: int = 0,
) -> UniformityTest:
    r"""Kolmogorov-Smirnov test of p-values against the uniform distribution.

    .. math:: D = \sup_u |F_N(u) - u|, \qquad D^+ = \sup_u (F_N(u) - u)

    A p-value of few patterns is not uniform but stepped: :math:`P(p \le u) = u` at the steps alone.
    Two ways deal with that. With `step`, each value is lowered by a random share of its step, after
    which those of a valid test are uniform exactly. And the alternative "small" asks only whether
    small values are too frequent, where stepped p-values err to the safe side.

    Args:
        p_values: ``[N, ...]``, floating point, in [0, 1], independent along N. NaN is left out.
        step: the chance of each p-value to come out as it did, at least 0; broadcasts to
            `p_values`. :math:`2^{1 - S}` for two-sided exact sign flips of S pairs without ties,
            1 / (1 + draws) for drawn ones; 0 for values without steps.
        alternative: "two-sided" (D) or "small" (:math:`D^+`: the test rejects too often).
        seed: of the random shares.

    Returns:
        A `UniformityTest` of ``[...]`` tensors. The p-value is exact up to N = 10,000; beyond, D
        has that of the limit with Vrbik's correction (error below 1e-5). The test waits for the
        device.

    Raises:
        TypeError: not a floating point tensor.
        ValueError: no dim N, another alternative, or p-values or steps outside [0, 1].

    Source:
        Marsaglia, Tsang and Wang, Evaluating Kolmogorov's Distribution, J. Stat. Softw. 8 (2003);
        Birnbaum and Tingey, Ann. Math. Statist. 22 (1951), for :math:`D^+`; Vrbik, Pioneer J.
        Theor. Appl. Statist. 15 (2018). Equal to `scipy.stats.kstest`, which approximates D's from
        N = 141 on.

    Example:
        >>> import torch
        >>> even = (torch.arange(100, dtype=torch.float64) + 0.5) / 100
        >>> round(uniformity_test(even).p_value.item(), 6)
        1.0
        >>> uniformity_test(even**2, alternative="small").p_value.item() < 0.001
        True
    """
    check_scenarios("p_values", p_values, "[N, ...]")
    check_choice("alternative", alternative, ("two-sided", "small"))
    check_count("seed", seed, low=0)
    shape = p_values.shape[1:]
    values = p_values.to(torch.float64)
    steps = torch.as_tensor(step, dtype=torch.float64, device=values.device)
    for name, value in (("p_values", values), ("step", steps)):
        if bool(((value < 0) | (value > 1)).any()):
            raise ValueError(f"{name} must be in [0, 1]")
    if bool((steps > 0).any()):
        generator = torch.Generator().manual_seed(seed)
        share = torch.rand(values.shape, dtype=torch.float64, generator=generator)
        values = (values - share.to(values.device) * steps).clamp(min=0.0)
    ordered = values.reshape(len(values), shape.numel()).sort(0).values  # NaN last
    samples = (~ordered.isnan()).sum(0)
    rank = torch.arange(1, len(values) + 1, dtype=torch.float64, device=values.device)[:, None]
    upto, before = rank / samples - ordered, ordered - (rank - 1) / samples
    gaps = [upto] if alternative == "small" else [upto, before]
    # Padded with 0, which the distance is at least and which an empty sample has.
    least = torch.zeros(1, len(samples), dtype=torch.float64, device=values.device)
    distance = torch.cat([least, *(gap.nan_to_num(nan=-math.inf) for gap in gaps)]).amax(0)
    tail = one_sided_tail if alternative == "small" else two_sided_tail
    tails = [tail(n, d) for n, d in zip(samples.tolist(), distance.tolist(), strict=True)]
    few = samples == 0
    p_value = torch.tensor(tails, dtype=torch.float64, device=values.device)
    return UniformityTest(
        torch.where(few, torch.nan, distance).reshape(shape),
        torch.where(few, torch.nan, p_value).reshape(shape),
        samples.reshape(shape),
        reason_where(few).reshape(shape),
    )
