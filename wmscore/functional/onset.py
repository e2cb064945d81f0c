"""At which step drift sets in."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import check_number, check_per_curve
from wmscore.functional._curves import curve_chunks, curve_reason, defined_steps, suffix_sums
from wmscore.functional.reasons import Reason

__all__ = ["ONSET_EVIDENCE", "DriftOnset", "drift_onset"]

ONSET_EVIDENCE = 6.0
"""Evidence, in nats, from which a rise counts as drift: at most 1 % false alarms in flat noise."""

_LEAST_STEPS = 6
_LEAST_SIDE = 2  # steps before a rise, and raised ones
_NEARLY_ONE = 1 - 1e-9
_ROUNDING = 1e-13  # share of a curve's largest value below which differences are rounding


class DriftOnset(NamedTuple):
    """What `drift_onset` returns, each ``[...]``.

    Attributes:
        step: float64, the first raised step, 1-based; the first defined step where the curve rises
            from its beginning. NaN where there is no drift.
        end: float64, the step from which the curve stays on its new level; the last defined step
            where it rises to the end, and `step` for a jump. NaN where there is no drift.
        change: float64, how much worse the new level is than the old one, in units of the curve.
            NaN where there is no drift.
        strength: float64 in [0, 1], share of the curve's variance that the rise explains, also
            where it is too weak to count; 0 for a constant curve.
        evidence: float64, log-likelihood ratio of the rise against a constant, in nats; infinite
            for a rise without noise.
        reason: uint8, a `Reason`: NO_DRIFT (too little evidence, or the curve comes back) makes
            step, end and change NaN; TOO_FEW_STEPS, and NON_FINITE where a value is infinite, make
            all values NaN.
    """

    step: Tensor
    end: Tensor
    change: Tensor
    strength: Tensor
    evidence: Tensor
    reason: Tensor


class _Rises(NamedTuple):
    """The best rise of each row, `[n]`."""

    start: Tensor
    end: Tensor
    change: Tensor
    strength: Tensor
    evidence: Tensor
    lasts: Tensor


def drift_onset(
    values: Tensor,
    *,
    higher_is_better: bool = False,
    valid: Tensor | None = None,
    autocorrelation: float | Tensor | None = None,
    min_evidence: float = ONSET_EVIDENCE,
) -> DriftOnset:
    r"""The step at which a curve leaves its level, if it does.

    Least squares fit of *flat, rise, flat*

    .. math:: D_t = a + b \, \min(\max(t - s + 1, 0), e - s + 1) + \varepsilon_t, \quad b > 0

    over all onsets s and ends e of the rise, by exhaustive search. A jump is the rise of one step
    (e = s), a broken stick the one that lasts to the end. At least two defined steps lie before s,
    or none: a rise from the beginning on. At least two lie in s..T.

    Noise is taken to be autocorrelated, or slow wandering would pass for drift. The evidence for
    the rise is the log-likelihood ratio of first-order autoregressive noise around the fit
    (residuals r) and around the mean (residuals c):

    .. math:: \frac{n - 2}{2} \log \frac{S(c, \rho_c)}{S(r, \rho_r)}, \quad
        S(x, \rho) = (1 - \rho^2) x_1^2 + \sum_{t > 1} (x_t - \rho x_{t-1})^2

    for n defined steps, each :math:`\rho` the lag-1 autocorrelation of its residuals, or 0 if that
    is negative. There is drift where the evidence reaches `min_evidence` and the curve has left one
    level for another: the first half of the steps before s is, on average, below half the rise, the
    second half of the steps from s on above it. A dip from which the curve recovers is no drift
    here: see `segment_drift`. The default lets at most
    1 % of flat curves of independent noise pass, from 6 to 256 steps. docs/drift.md has the rates,
    also for autocorrelated noise: up to 13 % at :math:`\rho = 0.9`, where a curve is too short to
    tell its autocorrelation, and 1 to 2 % where `autocorrelation` is given.

    Works on all T (T + 1) / 2 pairs (s, e), some curves at a time.

    Args:
        values: curves ``[..., T]``, floating point, steps 1..T; NaN where undefined.
        higher_is_better: whether the values are similarities, which fall as a rollout gets worse.
        valid: bool, broadcasts to ``[..., T]``; other steps do not count. ``None`` means all.
        autocorrelation: :math:`\rho` in [0, 1) of the noise, a number or a tensor that broadcasts
            to ``[...]``, say from a ceiling's curves; ``None`` estimates it from each curve.
        min_evidence: above 0, in nats.

    Returns:
        `DriftOnset` of ``[...]`` tensors; TOO_FEW_STEPS below 6 defined steps.

    Raises:
        ValueError: no step, a shape that does not broadcast, or an option out of range.
        TypeError: not tensors, or of the wrong dtype.

    Source:
        Exhaustive least squares for a change: Bai, "Estimation of a change point in multiple
        regression models", Review of Economics and Statistics 1997. Autoregressive residuals:
        Cochrane and Orcutt, "Application of least squares regression to relationships containing
        auto-correlated error terms", JASA 1949.

    Example:
        >>> found = drift_onset(torch.tensor([0.1, 0.1, 0.1, 0.1, 0.3, 0.5, 0.5, 0.5, 0.5]))
        >>> found.step.item(), found.end.item(), round(found.change.item(), 3)
        (5.0, 6.0, 0.4)
    """
    values, defined = defined_steps("values", values, valid)
    curves = values.shape[:-1]
    check_number("min_evidence", min_evidence, low=0.0, low_is_allowed=False)
    given = []
    if autocorrelation is not None:
        check_per_curve("autocorrelation", autocorrelation, tuple(curves))
        if not isinstance(autocorrelation, Tensor):
            check_number("autocorrelation", autocorrelation, low=0.0, high=_NEARLY_ONE)
            autocorrelation = values.new_tensor(autocorrelation)
        given = [autocorrelation.double().expand(curves)[..., None]]
    reason = curve_reason(values, defined, defined.sum(-1) >= _LEAST_STEPS)
    known = values.where(defined & values.isfinite(), 0.0)
    pairs = values.shape[-1] * (values.shape[-1] + 1) // 2
    found = [
        _best_rise(-rows if higher_is_better else rows, there, *correlation)
        for rows, there, *correlation in curve_chunks(known, defined, *given, per_row=pairs)
    ]
    rises = _Rises(*(torch.cat(column).reshape(curves) for column in zip(*found, strict=True)))

    undefined = reason != Reason.DEFINED
    still = ~undefined & ~(rises.lasts & (rises.evidence >= min_evidence))
    reason = reason.masked_fill(still, int(Reason.NO_DRIFT))
    no_rise = undefined | still
    return DriftOnset(
        step=(rises.start.double() + 1).masked_fill(no_rise, torch.nan),
        end=(rises.end.double() + 1).masked_fill(no_rise, torch.nan),
        change=rises.change.masked_fill(no_rise, torch.nan),
        strength=rises.strength.masked_fill(undefined, torch.nan),
        evidence=rises.evidence.masked_fill(undefined, torch.nan),
        reason=reason,
    )


def _best_rise(values: Tensor, defined: Tensor, correlation: Tensor | None = None) -> _Rises:
    """The least squares rise of curves `[n, T]`, 0 where undefined.

    A rise from s to e is the ramp that starts at s less the one that starts at e + 1. Sums over
    the defined steps of a ramp, of its square and of its product with the curve are sums of suffix
    sums, for ramps are: `max(t - s + 1, 0) = sum over k >= s of [t >= k]`.
    """
    weight = defined.double()
    number = weight.sum(-1, keepdim=True).clamp(min=1)
    centred = (values - values.sum(-1, keepdim=True) / number) * weight
    size = values.abs().amax(-1, keepdim=True)
    centred = centred.masked_fill((centred.abs() <= _ROUNDING * size).all(-1, keepdim=True), 0.0)
    spread = (centred**2).sum(-1, keepdim=True)

    left = suffix_sums(weight)  # defined steps from each one on, [n, T + 1]
    ramp = suffix_sums(left[:, :-1])
    square = 2 * suffix_sums(ramp[:, :-1]) - ramp
    product = suffix_sums(suffix_sums(centred)[:, :-1])

    steps = values.shape[-1]
    start, end = torch.triu_indices(steps, steps, device=values.device)
    after = end + 1
    total = ramp[:, start] - ramp[:, after]
    energy = square[:, start] - square[:, after] - 2 * (after - start) * ramp[:, after]
    energy = energy - total**2 / number
    shared = product[:, start] - product[:, after]

    before = number - left[:, start]
    raised = left[:, start]
    from_start = (before == 0) & (raised - left[:, end] >= _LEAST_SIDE)
    allowed = ((before >= _LEAST_SIDE) | from_start) & (raised >= _LEAST_SIDE) & (shared > 0)
    allowed &= defined[:, start] & defined[:, end]
    explained = (shared**2 / (energy * spread)).masked_fill(~allowed | (spread == 0), 0.0)
    most, best = explained.max(-1, keepdim=True)
    start, end = start[best], end[best]

    # The fit once more from its residuals, without what the sums of sums have cancelled.
    step = torch.arange(steps, device=values.device)
    rise = (torch.minimum(step, end) - start + 1).clamp(min=0) * weight
    height = rise.sum(-1, keepdim=True) / number
    rise = (rise - height) * weight
    slope = (rise * centred).sum(-1, keepdim=True) / (rise**2).sum(-1, keepdim=True)
    slope = slope.masked_fill(most == 0, 0.0)
    rest = centred - slope * rise
    rest = rest.masked_fill(rest.abs() <= _ROUNDING * size, 0.0)
    error = (rest**2).sum(-1, keepdim=True)
    strength = (1 - error / spread).clamp(0, 1).masked_fill(spread == 0, 0.0)
    change = slope * (end - start + 1)
    # The first half of the steps before, where there are any, and the second half of the others.
    others = left.gather(-1, start)
    early = weight * (number - left[:, 1:] <= ((number - others) / 2).ceil())
    late = weight * (left[:, :-1] <= (others / 2).ceil())
    old, new = (
        (part * centred).sum(-1, keepdim=True) / part.sum(-1, keepdim=True) + slope * height
        for part in (early, late)
    )
    around_mean, around_fit = (_innovations(x, defined, correlation) for x in (centred, rest))
    ratio = (around_mean / around_fit).masked_fill(around_mean == 0, 1.0)
    return _Rises(
        start=start[:, 0],
        end=end[:, 0],
        change=change[:, 0],
        strength=strength[:, 0],
        evidence=((number - 2) / 2 * ratio.log())[:, 0],
        lasts=((new >= change / 2) & ~(old > change / 2))[:, 0],
    )


def _innovations(rest: Tensor, defined: Tensor, correlation: Tensor | None) -> Tensor:
    """What is new in each step of residuals `[n, T]`, 0 where undefined: sum of squares `[n, 1]`.

    A step after an undefined one begins anew.
    """
    before = torch.cat([torch.zeros_like(rest[:, :1]), rest[:, :-1]], -1)
    follows = torch.cat([torch.zeros_like(defined[:, :1]), defined[:, 1:] & defined[:, :-1]], -1)
    if correlation is None:
        energy = (rest**2).sum(-1, keepdim=True)
        # Each gap takes a product away; without one the factor is 1.
        factor = defined.sum(-1, keepdim=True) / (follows.sum(-1, keepdim=True) + 1)
        correlation = (rest * before * follows).sum(-1, keepdim=True) / energy * factor
        correlation = correlation.masked_fill(energy == 0, 0.0).clamp(0, _NEARLY_ONE)
    new = torch.where(follows, rest - correlation * before, rest * (1 - correlation**2).sqrt())
    return (new**2).sum(-1, keepdim=True)
