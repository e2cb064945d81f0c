"""Controllability as Genie measures it: what the true actions gain over random ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import check_frames, check_mask, check_number, check_tensor
from wmscore.functional.perceptual import PSNR_QUANTISATION_DB, mse, psnr
from wmscore.functional.reasons import Reason
from wmscore.functional.response.products import ScriptProducts

__all__ = ["DeltaPsnr", "controllability", "delta_metric", "delta_psnr", "script_delta_psnr"]


@dataclass(frozen=True, kw_only=True, eq=False)
class DeltaPsnr:
    """What the commanded script gains over random ones, per step ``[G, T]``.

    Attributes:
        delta: float64 in dB, mean over the random scripts. Higher is better, 0 = blind to actions.
        standard_error: float64 in dB, of that mean, over the random scripts that one could have
            drawn; NaN below two of them.
        oracle: float64 in dB, what the reference itself gains: the most that there is to have. It
            depends on the cap and on how far random scripts wander; say it beside ``delta``.
        controllability: float64 up to 1, ``1 - MSE / MSE'`` with the mean MSE' of the random
            scripts: 1 = perfect, 0 = blind to actions, below 0 = the true actions harm. NaN also
            where the frames under the random scripts are the reference's.
        scripts: int64, random scripts that were there.
        reason: uint8, a :class:`Reason`: NO_FRAME, NO_BRANCH (no random script), NO_RESPONSE (the
            reference is the same under the random scripts) or NON_FINITE.
    """

    delta: Tensor
    standard_error: Tensor
    oracle: Tensor
    controllability: Tensor
    scripts: Tensor
    reason: Tensor


def script_delta_psnr(
    products: ScriptProducts,
    random: Tensor,
    *,
    cap_db: float = PSNR_QUANTISATION_DB,
    min_response: float = 0.0,
) -> DeltaPsnr:
    r"""Genie's delta-PSNR at every step, over as many random scripts as there are.

    .. math:: \Delta_t = \frac{1}{R} \sum_r
        \mathrm{PSNR}(g_{0,t}, p_{0,t}) - \mathrm{PSNR}(g_{0,t}, p_{r,t})

    with the reference g and the generated frames p; script 0 is commanded, and r runs over scripts
    that are drawn uniformly from all actions, no-op included. Both terms share the reference frame
    and the initial one. At least 8 random scripts make it a measurement rather than a draw.

    Args:
        products: of :func:`script_products`.
        random: bool ``[G, K]`` or ``[K]``, the random scripts.
        cap_db: largest PSNR that a term may have, since that of equal frames is infinite. The
            default is the accuracy of ``uint8`` frames, (1/255)^2 / 12.
        min_response: mean squared difference of the reference under the commanded and a random
            script, in squared data ranges, below which the random script says nothing.

    Raises:
        ValueError: an option is out of range, or a shape does not fit.
        TypeError: ``random`` is not bool.

    Source:
        Bruce et al., "Genie: Generative Interactive Environments", arXiv:2402.15391, section 3
        (there at t = 4, one random script, actions inferred from the reference by its own latent
        action model; here they are the reference's own).
    """
    check_number("cap_db", cap_db, low=0.0, low_is_allowed=False)
    check_number("min_response", min_response, low=0.0)
    check_tensor("random", random)
    groups, scripts, steps = products.present.shape
    check_mask("random", random, (groups, scripts), products.gram.device, like="the products")
    drawn = random.expand(groups, scripts)[..., None] & products.present
    drawn = drawn & (torch.arange(scripts, device=drawn.device) > 0)[:, None]  # [G, K, T]

    _, _, target = products.blocks()
    errors = products.errors()[..., 0].movedim(-1, 1)  # [G, K, T], to reference frame 0
    own = target.diagonal(dim1=-2, dim2=-1)
    apart = own - 2 * target[..., 0] + own[..., :1]
    apart = apart.masked_fill(apart <= products.rounding()[..., None], 0).movedim(-1, 1)
    apart = apart / (products.values * products.data_range**2)[:, None]
    candidates = drawn & products.present[:, :1]
    drawn = candidates & ~(apart <= min_response)  # NaN is no reason to leave a script out
    count = drawn.sum(1)

    def mean(values: Tensor) -> Tensor:
        return values.masked_fill(~drawn, 0).sum(1) / count

    ratio_db, oracle_db = (_psnr(value, cap_db) for value in (errors, apart))
    gains = ratio_db[:, :1] - ratio_db
    delta = mean(gains)
    spread = mean((gains - delta[:, None]).square()) * count / (count - 1)

    reason = torch.zeros((groups, steps), dtype=torch.uint8, device=drawn.device)
    broken = ~(delta + mean(oracle_db)).isfinite() & (count > 0)
    reason.masked_fill_(count == 0, int(Reason.NO_RESPONSE))
    reason.masked_fill_(broken, int(Reason.NON_FINITE))
    reason.masked_fill_(~candidates.any(1), int(Reason.NO_BRANCH))
    reason.masked_fill_(~products.present[:, 0], int(Reason.NO_FRAME))
    lack = reason != 0
    rivals = mean(errors)
    share = (1 - errors[:, 0] / rivals).masked_fill(rivals == 0, torch.nan)
    return DeltaPsnr(
        delta=delta.masked_fill(lack, torch.nan),
        standard_error=(spread / count).sqrt().masked_fill(lack | (count < 2), torch.nan),
        oracle=(cap_db - mean(oracle_db)).masked_fill(lack, torch.nan),
        controllability=share.masked_fill(lack, torch.nan),
        scripts=count,
        reason=reason,
    )


def _psnr(error: Tensor, cap_db: float) -> Tensor:
    return (-10 * error.log10()).clamp(max=cap_db)


def delta_psnr(
    preds: Tensor,
    preds_random: Tensor,
    target: Tensor,
    *,
    data_range: float | None = None,
    cap_db: float | None = None,
) -> Tensor:
    r"""PSNR that the true actions gain over random ones, per frame.

    .. math:: \Delta\mathrm{PSNR} = \mathrm{PSNR}(x, \hat x) - \mathrm{PSNR}(x, \hat x')

    Unbounded, and set by the cap and by how far random actions lead wherever the generated frames
    are close to perfect: prefer :func:`controllability` for comparisons across scenes.

    Args:
        preds: frames generated from the true actions, ``[..., C, H, W]``.
        preds_random: frames generated from random actions.
        target: reference frames under the true actions. All of one shape, dtype and device.
        data_range: ``None`` means 255 for ``uint8`` and 1.0 for floats.
        cap_db: largest PSNR that either term may have, for means that must stay finite;
            ``PSNR_QUANTISATION_DB`` (58.92 dB) is the accuracy of ``uint8`` frames. ``None``: none.

    Returns:
        ``[...]`` float64 in dB, higher is better, 0 for a model that ignores actions; infinite
        where one of the terms is, NaN where both are.

    Raises:
        ValueError: shapes or devices differ, a frame is empty, or an option is out of range.
        TypeError: not tensors, or dtypes differ or are not supported.

    Source:
        Bruce et al., "Genie: Generative Interactive Environments", arXiv:2402.15391, section 3
        (there at t = 4, with uniformly drawn random latent actions).
    """
    check_frames(preds=preds, preds_random=preds_random, target=target)
    true_db = psnr(preds, target, data_range=data_range)
    random_db = psnr(preds_random, target, data_range=data_range)
    if cap_db is not None:
        check_number("cap_db", cap_db, low=0.0, low_is_allowed=False)
        true_db, random_db = true_db.clamp(max=cap_db), random_db.clamp(max=cap_db)
    return true_db - random_db


def controllability(preds: Tensor, preds_random: Tensor, target: Tensor) -> Tensor:
    r"""Share of the error under random actions that the true actions remove, per frame.

    .. math:: C = 1 - \frac{\mathrm{MSE}(x, \hat x)}{\mathrm{MSE}(x, \hat x')}
                = 1 - 10^{-\Delta\mathrm{PSNR} / 10}

    Args:
        preds: frames generated from the true actions, ``[..., C, H, W]``.
        preds_random: frames generated from random actions.
        target: reference frames under the true actions. All of one shape, dtype and device.

    Returns:
        ``[...]`` float64 up to 1, higher is better: 1 = perfect, 0 = blind to actions, below 0 =
        the true actions harm. NaN where the frames from random actions are the reference's.

    Raises:
        ValueError: shapes or devices differ, or a frame is empty.
        TypeError: not tensors, or dtypes differ or are not supported.
    """
    check_frames(preds=preds, preds_random=preds_random, target=target)
    random_error = mse(preds_random, target)
    share = 1 - mse(preds, target) / random_error
    return share.masked_fill(random_error == 0, torch.nan)


def delta_metric(
    true: Tensor, random: Tensor, *, higher_is_better: bool, dim: int = 1
) -> tuple[Tensor, Tensor]:
    """What the commanded script gains over random ones, in any frame metric.

    Args:
        true: a metric of the frames under the commanded actions against the reference under the
            commanded actions, ``[..., T]`` floating point: of LPIPS, SSIM, FLIP, ...
        random: the same metric of frames under random actions, against the same reference, with
            one more dim ``R`` at ``dim``: ``[G, R, T]`` beside ``[G, T]``. NaN = no such script;
            so is infinite less infinite: cap a PSNR first.
        higher_is_better: whether the metric is a similarity.
        dim: of the random scripts.

    Returns:
        - ``[..., T]``, mean gain over the scripts in the unit of the metric; higher is better, 0 =
          blind to actions. NaN without a random script.
        - ``[..., T]``, standard error of that mean; NaN below two random scripts.

    Raises:
        ValueError: shapes do not fit.
        TypeError: not floating point tensors.
    """
    for name, value in (("true", true), ("random", random)):
        check_tensor(name, value)
        if not value.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {value.dtype}")
    if random.ndim != true.ndim + 1 or random.movedim(dim, 0).shape[1:] != true.shape:
        raise ValueError(
            f"random must have the shape of true, {tuple(true.shape)}, with one more dim at "
            f"{dim}, got {tuple(random.shape)}"
        )
    gain = true.unsqueeze(dim) - random
    gain = gain if higher_is_better else -gain
    count = (~gain.isnan()).sum(dim)
    mean = gain.nanmean(dim)
    spread = (gain - mean.unsqueeze(dim)).square().nansum(dim) / (count - 1)
    return mean, (spread / count).sqrt().masked_fill(count < 2, torch.nan)
