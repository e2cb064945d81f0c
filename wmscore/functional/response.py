"""Action response: whether the generated frames react to the actions as the reference does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import (
    check_frames,
    check_number,
    check_per_curve,
    check_products,
    data_range_of,
)
from wmscore.functional._chunks import frame_chunks, piece_elements
from wmscore.functional.perceptual import mse, psnr
from wmscore.functional.reasons import Reason

__all__ = [
    "MIN_RESPONSE",
    "CounterfactualResponse",
    "controllability",
    "counterfactual_response",
    "delta_psnr",
    "response_from_products",
    "response_products",
]

MIN_RESPONSE = (1 / 255) ** 2 / 6
"""Mean square of the difference of two frames that differ by rounding to uint8 only."""


@dataclass(frozen=True)
class CounterfactualResponse:
    """Generated against reference response to a change of actions. Each tensor is ``[...]``.

    Attributes:
        cosine: float64 in [-1, 1], direction alone: 1 = the reference's, 0 = unrelated, -1 =
            opposite. Higher is better. NaN also where the generated frames do not respond.
        gain: float64, 0 or more, size alone: 1 = calibrated, 0 = no response, above 1 exaggerated.
        agreement: float64 in [-1, 1], direction and size: 1 only for the reference's own response,
            0 for no response or an unrelated one. Higher is better.
        reason: uint8, a :class:`Reason`. NO_RESPONSE and NON_FINITE make all three NaN,
            NO_GENERATED_RESPONSE the cosine only.
    """

    cosine: Tensor
    gain: Tensor
    agreement: Tensor
    reason: Tensor


def response_products(
    preds: Tensor, preds_branch: Tensor, target: Tensor, target_branch: Tensor
) -> Tensor:
    r"""Inner products of the generated and the reference response, per frame.

    .. math:: (\langle d_p, d_g\rangle, \langle d_p, d_p\rangle, \langle d_g, d_g\rangle), \quad
        d_p = \hat x' - \hat x, \; d_g = x' - x

    Exact for ``uint8``: all sums are integers below 2^53.

    Args:
        preds: generated frames under the commanded actions, ``[..., C, H, W]``.
        preds_branch: generated frames under the counterfactual actions.
        target: reference frames under the commanded actions.
        target_branch: reference frames under the counterfactual actions. All of one shape, dtype
            (``uint8`` or floating point) and device.

    Returns:
        ``[..., 3]`` float64 in squared units of the frames (0..255 or 0..1). NaN where a frame
        holds NaN.

    Raises:
        ValueError: shapes or devices differ, or a frame is empty.
        TypeError: not tensors, or dtypes differ or are not supported.
    """
    frames = {
        "preds": preds,
        "preds_branch": preds_branch,
        "target": target,
        "target_branch": target_branch,
    }
    check_frames(**frames)
    size = piece_elements(preds.device) // preds.shape[-3:].numel()
    products = [_products(*piece) for piece in frame_chunks(*frames.values(), size=size)]
    if not products:
        return torch.empty(*preds.shape[:-3], 3, dtype=torch.float64, device=preds.device)
    return torch.cat(products).view(*preds.shape[:-3], 3)


def _products(preds: Tensor, preds_branch: Tensor, target: Tensor, target_branch: Tensor) -> Tensor:
    # float64 holds uint8 differences and their sums of products exactly: nothing wraps.
    response = (preds_branch.double() - preds.double()).flatten(1)  # [n, C * H * W]
    reference = (target_branch.double() - target.double()).flatten(1)
    pairs = ((response, reference), (response, response), (reference, reference))
    return torch.stack([(left * right).sum(1) for left, right in pairs], 1)


def counterfactual_response(
    preds: Tensor,
    preds_branch: Tensor,
    target: Tensor,
    target_branch: Tensor,
    *,
    data_range: float | None = None,
    min_response: float = MIN_RESPONSE,
) -> CounterfactualResponse:
    r"""How the generated frames react to other actions, against how the reference reacts.

    .. math:: \cos = \frac{\langle d_p, d_g\rangle}{|d_p||d_g|}, \quad
        g = \frac{|d_p|}{|d_g|}, \quad
        \mathrm{agreement} = \frac{2\langle d_p, d_g\rangle}{|d_p|^2 + |d_g|^2}
                           = \cos \frac{2 g}{1 + g^2}

    with :math:`d_p = \hat x' - \hat x` and :math:`d_g = x' - x`, the change of the generated and of
    the reference frame when other actions are taken from the same state. A frozen or action-blind
    model has agreement 0.

    Args:
        preds: generated frames under the commanded actions, ``[..., C, H, W]``.
        preds_branch: generated frames under the counterfactual actions.
        target: reference frames under the commanded actions.
        target_branch: reference frames under the counterfactual actions. All of one shape, dtype
            (``uint8`` or floating point) and device.
        data_range: ``None`` means 255 for ``uint8`` and 1.0 for floats.
        min_response: mean of :math:`d_g^2` over the frame, in squared data ranges, below which the
            reference counts as not reacting. The default is what rounding to ``uint8`` alone makes.

    Returns:
        A :class:`CounterfactualResponse` of ``[...]`` tensors.

    Raises:
        ValueError: shapes or devices differ, a frame is empty, or an option is out of range.
        TypeError: not tensors, or dtypes differ or are not supported.
    """
    products = response_products(preds, preds_branch, target, target_branch)
    unit = preds.shape[-3:].numel() * data_range_of(preds.dtype, data_range) ** 2
    return response_from_products(products, unit=unit, min_response=min_response)


def response_from_products(
    products: Tensor, *, unit: float | Tensor, min_response: float = MIN_RESPONSE
) -> CounterfactualResponse:
    """Response from inner products that may be sums over several branches.

    Summing the products of branches first and dividing once pools their response fields as if
    they were one: a branch in which the reference does not react adds nothing to the reference's
    energy, while a reaction of the generated frames still counts against them.

    Args:
        products: ``[..., 3]`` of :func:`response_products`, or sums of them.
        unit: energy of a field of full range: values of one frame x data range squared (x number
            of branches); a number or a tensor that broadcasts to ``[...]``.
        min_response: as in :func:`counterfactual_response`.

    Returns:
        A :class:`CounterfactualResponse` of ``[...]`` tensors.

    Raises:
        ValueError: shapes do not fit, or ``min_response`` is negative.
        TypeError: ``products`` is not a float64 tensor.
    """
    check_products(products)
    check_per_curve("unit", unit, tuple(products.shape[:-1]))
    check_number("min_response", min_response, low=0.0)
    both, generated, reference = products.unbind(-1)

    finite = products.isfinite().all(-1)
    silent = (reference / unit < min_response) | (reference == 0)
    nothing = generated == 0
    reason = torch.zeros_like(both, dtype=torch.uint8)
    reason.masked_fill_(nothing, Reason.NO_GENERATED_RESPONSE)
    reason.masked_fill_(silent, Reason.NO_RESPONSE).masked_fill_(~finite, Reason.NON_FINITE)

    undefined = silent | ~finite
    # |cos| <= 1 holds but for the last bit; the clamp only takes that bit away.
    cosine = (both / (generated * reference).sqrt()).clamp(-1, 1)
    return CounterfactualResponse(
        cosine=cosine.masked_fill(undefined | nothing, torch.nan),
        gain=(generated / reference).sqrt().masked_fill(undefined, torch.nan),
        agreement=(2 * both / (generated + reference)).masked_fill(undefined, torch.nan),
        reason=reason,
    )


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
