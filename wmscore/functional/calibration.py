"""Thresholds of scores from what perfect rollouts score."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import check_choice, check_curve, check_mask, check_per_axis
from wmscore.functional.critical import critical_threshold
from wmscore.stats import conformal_threshold, joint_conformal_threshold

__all__ = ["CalibratedThresholds", "calibrate_thresholds"]

_PERFECT = 1 - 1e-9


class CalibratedThresholds(NamedTuple):
    """What `calibrate_thresholds` returns, each ``[A]``.

    Attributes:
        threshold: float64 in [0, 1]; NaN where there are too few scenarios.
        perfect: bool, the threshold is 1, so that any difference at all would fail; or all
            rollouts score 1 where it matters, however few they are. The world repeats itself, and
            no threshold can be learnt from it.
        alpha: float64, the share of perfect rollouts that may fail on the axis; that on all gated
            axes together where they were calibrated jointly.
        sd: float64, standard deviation of the threshold over the redraws of seeds.
        scenarios: int64, those in which the axis is defined.
        units: int64, what was counted: those scenarios, or with the estimand "seeds" the rollouts.
        needed: int64, units from which there is a threshold.
        reason: uint8, TOO_FEW_SAMPLES where the threshold is NaN.
    """

    threshold: Tensor
    perfect: Tensor
    alpha: Tensor
    sd: Tensor
    scenarios: Tensor
    units: Tensor
    needed: Tensor
    reason: Tensor


def calibrate_thresholds(
    scores: Tensor,
    *,
    patience: int | Tensor,
    alpha: float = 0.05,
    joint: bool = False,
    estimand: Literal["scenarios", "seeds"] = "scenarios",
    gated: Tensor | None = None,
    valid: Tensor | None = None,
    redraws: int = 200,
    seed: int = 0,
    recover_thresholds: Tensor | None = None,
) -> CalibratedThresholds:
    r"""Thresholds under which a perfect rollout fails with a chance of alpha at most.

    The critical threshold of each perfect rollout (`critical_threshold`) says under which
    thresholds it fails; a low order statistic of them, one random seed per scenario, is the
    threshold (`wmscore.stats.conformal_threshold`). Each of m gated axes may fail in a share
    :math:`\alpha / m`, so that the usable horizon of all ends in alpha at most.

    Args:
        scores: ``[A, S, K, T]`` floating point in [0, 1], 1 = perfect: the true world against
            itself with other randomness, S scenarios with K seeds; NaN where undefined.
        patience: failing steps in a row that end the horizon, an int or ``[A]`` integers.
        alpha: in (0, 1).
        joint: use how the gated axes fail together instead of :math:`\alpha / m` for each
            (`wmscore.stats.joint_conformal_threshold`): higher thresholds for the same alpha, and
            one for fewer scenarios where the axes go together.
        estimand: what the promise is for. "scenarios": a rollout of a new scenario; one seed of
            each scenario counts. "seeds": a rollout with a new seed of a scenario of this panel;
            every seed counts, so that fewer scenarios do, if they have many. Seeds of a scenario
            are not exchangeable with those of others, so that up to 1 / (S K) more than alpha may
            fail on average over the panel, and far more in its hardest scenario.
        gated: ``[A]`` bool, axes that end the usable horizon; the others have alpha each, on their
            own. ``None`` means all.
        valid: bool, broadcasts to ``[A, S, K, T]``; other steps do not count. ``None`` means all.
        redraws: draws of one seed per scenario.
        seed: of the draws.
        recover_thresholds: ``[A]``, as of `usable_horizon`; NaN for an axis without. No threshold
            is above that of its axis.

    Returns:
        A `CalibratedThresholds` of ``[A]`` tensors.

    Raises:
        ValueError: another shape, a patience below 1, or an alpha outside (0, 1).
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> import torch
        >>> worst = torch.linspace(0.6, 1.0, 41, dtype=torch.float64)
        >>> scores = worst[None, :, None, None].expand(1, -1, 1, 8)
        >>> found = calibrate_thresholds(scores, patience=3, alpha=0.1)
        >>> round(found.threshold.item(), 6)  # the fourth lowest of 41
        0.63
    """
    check_curve("scores", scores, ndim=4)
    check_choice("estimand", estimand, ("scenarios", "seeds"))
    axes = scores.shape[0]
    if isinstance(patience, Tensor):
        check_per_axis("patience", patience, axes)
        patience = patience[:, None, None]
    if gated is None:
        gated = torch.ones(axes, dtype=torch.bool, device=scores.device)
    else:
        check_per_axis("gated", gated, axes)
        check_mask("gated", gated, (axes,), scores.device)
    limit = scores.new_full((axes,), torch.nan, dtype=torch.float64)
    if recover_thresholds is not None:
        check_per_axis("recover_thresholds", recover_thresholds, axes)
        limit = recover_thresholds.to(limit)
    plain, critical = (
        # No score is above 1: what cannot fail is as good as perfect. Scenarios first, axes last.
        critical_threshold(
            scores.double(), patience=patience, valid=valid, recover_threshold=recover
        )
        .clamp(max=1.0)
        .movedim(0, -1)
        for recover in (None, limit[:, None, None])
    )
    known = ~critical.isnan()
    if estimand == "seeds":
        critical = critical.flatten(0, 1)[:, None]
    gates = int(gated.sum())
    alone = conformal_threshold(critical, alpha, redraws=redraws, seed=seed)
    if joint and gates:
        together = joint_conformal_threshold(
            critical[..., gated], alpha, redraws=redraws, seed=seed
        )
        share = alpha
    else:
        share = alpha / max(1, gates)
        together = conformal_threshold(critical[..., gated], share, redraws=redraws, seed=seed)
    found = [
        of_all.masked_scatter(gated, of_gates)
        for of_all, of_gates in zip(alone, together, strict=True)
    ]
    threshold, sd, scenarios, needed, reason = found
    scenarios = known.any(1).sum(0)  # of the axis itself, also jointly
    undefined = scenarios == 0
    all_perfect = (plain.isnan() | (plain >= _PERFECT)).flatten(0, 1).all(0) & ~undefined
    threshold = threshold.clamp(max=1.0)
    threshold = torch.minimum(threshold, limit.nan_to_num(1.0)).masked_fill(undefined, torch.nan)
    return CalibratedThresholds(
        threshold=threshold,
        perfect=all_perfect | (threshold >= _PERFECT),
        alpha=torch.full_like(threshold, alpha).masked_fill(gated, share),
        sd=sd.masked_fill(undefined, torch.nan),
        scenarios=scenarios,
        units=known.sum((0, 1)) if estimand == "seeds" else scenarios,
        needed=needed,
        reason=torch.where(undefined, alone.reason, reason),
    )
