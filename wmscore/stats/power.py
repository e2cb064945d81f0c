"""How large a difference a panel can find, and how many scenarios would find a given one."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.stats._check import as_float64, check_confidence, check_number, not_negative
from wmscore.stats._quadrature import legendre
from wmscore.stats._sums import sum_steps
from wmscore.stats.student import student_quantile

__all__ = ["MOST_SCENARIOS", "detectable_difference", "paired_power", "scenarios_needed"]

MOST_SCENARIOS = 2**40
"""A panel that would need more has no size that helps: `scenarios_needed` says infinite."""

_NODES = 64
_REACH = 9.0  # standard deviations of what is integrated; what lies beyond is below 1e-17
_ITERATIONS = 40
_SETTLED = 1e-14
_PIECE = 1 << 10  # powers at a time


def paired_power(
    difference: float | Tensor,
    sd: float | Tensor,
    scenarios: int | Tensor,
    *,
    margin: float | Tensor | None = None,
    level: float = 0.95,
) -> Tensor:
    r"""Chance that Student's interval of the mean difference settles the question.

    With the true mean difference :math:`\Delta`, the standard deviation :math:`\sigma` of the
    difference from scenario to scenario, and c the quantile :math:`(1 + \mathrm{level}) / 2` of
    Student's t,

    .. math:: P(T > c) + P(T < -c), \quad T \sim t'_{S - 1}(\delta), \quad
        \delta = \sqrt S \, \Delta / \sigma

    is the chance that the interval excludes 0. With a `margin` m the question is whether the
    candidate is not worse than that, and the answer yes where the lower end of the interval is
    above :math:`-m`: the chance is :math:`P(T > c)` with
    :math:`\delta = \sqrt S (\Delta + m) / \sigma`. Margin 0 asks whether it is better.

    The noncentral t' is integrated over the chi distribution of the estimated deviation, by
    Gauss-Legendre quadrature in three pieces.

    Args:
        difference: true mean difference, candidate - baseline, positive where the candidate is
            better.
        sd: standard deviation of the scenarios' mean differences, at least 0; broadcasts.
        scenarios: S, an int or whole numbers that broadcast; NaN below 2.
        margin: how much worse the candidate may be, at least 0, in the unit of the difference;
            ``None`` asks for any difference. Broadcasts.
        level: of confidence of the two-sided interval, above 0.5: a test at 5 % has level 0.95.

    Returns:
        Float64 in [0, 1] of the broadcast shape. NaN where an argument is, and where there is
        neither a difference nor a deviation.

    Raises:
        TypeError: not numbers or tensors of numbers.
        ValueError: a level outside (0.5, 1); on the CPU an sd or a margin below 0.

    Source:
        Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 2 (1995), chapter 31.

    Example:
        >>> round(paired_power(0.5, 1.0, 34).item(), 6)
        0.807778
    """
    check_confidence(level)
    effect = _effect(difference, sd, margin)
    count = as_float64("scenarios", scenarios).to(effect.device)
    count = torch.where(count >= 2, count, torch.nan)
    return _power(effect, count, margin is not None, level)


def detectable_difference(
    sd: float | Tensor,
    scenarios: int | Tensor,
    *,
    power: float = 0.8,
    margin: float | Tensor | None = None,
    level: float = 0.95,
) -> Tensor:
    """The true difference that a panel settles with a given chance: the inverse of `paired_power`.

    A true difference that is smaller will more often than not go unseen, so a comparison that finds
    nothing says no more than that the difference is likely below this one.

    Args:
        sd: as for `paired_power`.
        scenarios: as for `paired_power`.
        power: the chance, above (1 - level) and below 1.
        margin: as for `paired_power`. With one, it is the smallest difference, candidate -
            baseline, with which the candidate is found to be not worse than the margin; negative
            where a true loss is still found to lie within it.
        level: as for `paired_power`.

    Returns:
        Float64 of the broadcast shape, above 0 without a margin; NaN below 2 scenarios.

    Raises:
        TypeError: not numbers or tensors of numbers.
        ValueError: a level or a power out of range; on the CPU an sd or a margin below 0.

    Example:
        >>> round(detectable_difference(1.0, 34).item(), 6)
        0.495028
    """
    check_confidence(level)
    check_number("power", power, 1 - level, 1.0)
    deviation = not_negative("sd", sd)
    count = as_float64("scenarios", scenarios).to(deviation.device)
    count = torch.where(count >= 2, count, torch.nan)
    effect = _effect_with(power, count, margin is not None, level)
    found = effect * deviation
    if margin is None:
        return found
    return found - not_negative("margin", margin).to(found.device)


def scenarios_needed(
    difference: float | Tensor,
    sd: float | Tensor,
    *,
    power: float = 0.8,
    margin: float | Tensor | None = None,
    level: float = 0.95,
) -> Tensor:
    """How many scenarios settle a true difference with a given chance.

    Args:
        difference: as for `paired_power`.
        sd: as for `paired_power`; `PairedVariance.sd` for the seeds at hand, or
            `PairedVariance.sd_with` for others.
        power: the chance, above (1 - level) and below 1.
        margin: as for `paired_power`.
        level: as for `paired_power`.

    Returns:
        Float64 whole numbers of the broadcast shape, at least 2; infinite where no number helps:
        there is no difference, or one that is not within the margin. NaN where an argument is. The
        sign flip test has no verdict below 6 scenarios (`sign_flip_test`), whatever this says.

    Raises:
        TypeError: not numbers or tensors of numbers.
        ValueError: a level or a power out of range; on the CPU an sd or a margin below 0.

    Example:
        >>> scenarios_needed(torch.tensor([0.2, 0.3, 0.5, 0.8, 1.0, 1.5]), 1.0).tolist()
        [199.0, 90.0, 34.0, 15.0, 10.0, 6.0]
    """
    check_confidence(level)
    check_number("power", power, 1 - level, 1.0)
    effect = _effect(difference, sd, margin)
    one_sided = margin is not None
    # The search begins at what the normal needs. Throughout, `low` are too few or 1, and `high` are
    # enough or more than there ever are.
    normal = torch.special.ndtri(effect.new_tensor([0.5 + level / 2, power])).sum() / effect
    guess = normal.square().nan_to_num(2.0, posinf=MOST_SCENARIOS).clamp(2, MOST_SCENARIOS)

    def few(count: Tensor) -> Tensor:
        return _power(effect, count, one_sided, level) < power

    # The normal's number is a little too small, by less than 4 unless there are only a few.
    low = (guess - 1 - guess / 1000).floor().clamp(min=1)
    low = torch.where((low >= 2) & few(low.clamp(min=2)), low, 1.0)
    high = (guess + 4 + guess / 1000).ceil()
    while bool((lacking := few(high) & (high < MOST_SCENARIOS)).any()):
        low, high = torch.where(lacking, high, low), torch.where(lacking, 2 * high, high)
    never = few(high)
    while bool((high - low > 1).any()):
        middle = ((low + high) / 2).floor().clamp(min=2)
        lacking = few(middle)
        low, high = torch.where(lacking, middle, low), torch.where(lacking, high, middle)
    found = torch.where(never, torch.inf, high)
    return torch.where(effect.isnan(), torch.nan, found)


def _effect(
    difference: float | Tensor, sd: float | Tensor, margin: float | Tensor | None
) -> Tensor:
    """The difference, from the margin on if there is one, in standard deviations; else its size."""
    gap, deviation = as_float64("difference", difference), not_negative("sd", sd)
    device = gap.device if gap.device.type != "cpu" else deviation.device
    gap, deviation = gap.to(device), deviation.to(device)
    if margin is None:
        return gap.abs() / deviation
    return (gap + not_negative("margin", margin).to(device)) / deviation


def _power(effect: Tensor, count: Tensor, one_sided: bool, level: float) -> Tensor:
    """Of an effect in standard deviations with so many scenarios."""
    shape = (effect * count).shape
    effect, count = effect.expand(shape), count.expand(shape)
    critical, freedom = _critical(count, level)
    return _rejections(effect * count.sqrt(), critical, freedom, one_sided)


def _critical(count: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """Student's quantile and its degrees of freedom."""
    freedom = (count - 1).clamp(min=1)
    return student_quantile(torch.full_like(freedom, 0.5 + level / 2), freedom), freedom


def _rejections(shift: Tensor, critical: Tensor, freedom: Tensor, one_sided: bool) -> Tensor:
    shift = shift.clamp(-1e6, 1e6)  # beyond, the chance is 0 or 1
    found = []
    flat = (torch.split(part.reshape(-1), _PIECE) for part in (shift, critical, freedom))
    for part, *rest in zip(*flat, strict=True):
        if one_sided:
            found.append(_upper_tail(part, *rest))
        else:  # both tails at once
            found.append(_upper_tail(torch.stack([part, -part]), *rest).sum(0))
    return torch.cat(found).reshape(shift.shape)


def _upper_tail(shift: Tensor, critical: Tensor, freedom: Tensor) -> Tensor:
    r"""P(T > critical) for T of the noncentral t distribution.

    T is :math:`(Z + \delta) / u`, u the estimated deviation as a share of the true one, so that it
    is :math:`E \, \Phi(\delta - c u)`. The density of u is proportional to
    :math:`u^{\nu - 1} e^{-\nu u^2 / 2}`, whose tails fall at least as fast as those of a normal
    with deviation :math:`1 / \sqrt\nu`. The normal changes from 1 to 0 around :math:`\delta / c`.
    """
    mode = ((freedom - 1) / freedom).sqrt()
    reach = _REACH / freedom.sqrt()
    low, high = (mode - reach).clamp(min=0), mode + reach
    edge = [(shift + side * _REACH) / critical for side in (-1, 1)]
    inner = [torch.minimum(torch.maximum(cut, low), high) for cut in edge]
    low, high = (end.expand(inner[0].shape) for end in (low, high))
    cuts = torch.stack([low, *inner, high], -1)[..., None]  # [..., 4, 1]
    base, weights = (
        torch.as_tensor(part, dtype=torch.float64, device=shift.device) for part in legendre(_NODES)
    )
    start, half = cuts[..., :-1, :], cuts.diff(dim=-2) / 2
    u = start + half * (base + 1)  # [..., 3, nodes]
    mode, freedom, shift, critical = (x[..., None, None] for x in (mode, freedom, shift, critical))
    density = half * weights * _chi_density(u, mode, freedom)
    total = (density * torch.special.ndtr(shift - critical * u)).sum(-1)
    mass = density.sum(-1)
    return sum_steps(total) / sum_steps(mass)


def _chi_density(u: Tensor, mode: Tensor, freedom: Tensor) -> Tensor:
    """Of the estimated deviation over the true one, with value 1 at its mode."""
    power = freedom - 1
    ratio = torch.where(power > 0, power * ((u - mode) / mode.clamp(min=1e-300)).log1p(), 0.0)
    return torch.exp(ratio - freedom * (u - mode) * (u + mode) / 2)


def _effect_with(power: float, count: Tensor, one_sided: bool, level: float) -> Tensor:
    """The effect in standard deviations that has a power: secants within a bracket (Illinois).

    As normal quantiles, powers are almost a line.
    """
    critical, freedom = _critical(count, level)
    target: Tensor = torch.special.ndtri(count.new_tensor(power))

    def beyond(shift: Tensor) -> Tensor:
        chance = _rejections(shift, critical, freedom, one_sided)
        normal: Tensor = torch.special.ndtri(chance).clamp(-_REACH, _REACH)
        return normal - target

    low = torch.zeros_like(critical)
    high = critical * (1 + _REACH / freedom.sqrt()) + _REACH
    ends = [beyond(low), beyond(high)]
    side = torch.zeros_like(low)
    found = low
    moving = ~count.isnan()
    for step in range(_ITERATIONS):
        # A secant that stays within the bracket; now and then its middle, whatever the shape.
        share = ends[0] / (ends[0] - ends[1]) if step % 8 != 7 else torch.full_like(low, 0.5)
        middle = low + (high - low) * share.clamp(0, 1)
        moving = moving & ((middle - found).abs() > _SETTLED * (1 + middle))
        found = torch.where(moving, middle, found)
        if count.device.type == "cpu" and not bool(moving.any()):
            break
        value = beyond(found)
        few = value < 0
        # The end that stays twice in a row counts half, so that it moves too.
        ends[0] = torch.where(few, value, torch.where(side == 1, ends[0] / 2, ends[0]))
        ends[1] = torch.where(few, torch.where(side == -1, ends[1] / 2, ends[1]), value)
        low, high = torch.where(few, found, low), torch.where(few, high, found)
        side = torch.where(few, -1.0, 1.0)
    return torch.where(count.isnan(), torch.nan, found / count.sqrt())
