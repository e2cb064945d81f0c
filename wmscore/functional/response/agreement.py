"""Counterfactual response: what changes with the actions, generated against reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import check_count, check_frames, check_number
from wmscore.functional.reasons import Reason
from wmscore.functional.response.products import ScriptProducts, script_products

__all__ = [
    "MIN_RESPONSE",
    "ScriptResponse",
    "counterfactual_response",
    "script_response",
    "windowed_response",
]

MIN_RESPONSE = (1 / 255) ** 2 / 6
"""Mean square of the difference of two frames that differ by rounding to uint8 only."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScriptResponse:
    """Generated against reference response to the action script. Each tensor is ``[..., T]``.

    Attributes:
        agreement: float64 in [-1, 1], direction and size: 1 only for the reference's own response;
            0 for no response, and on average for one that is unrelated or to another script.
            Higher is better.
        cosine: float64 in [-1, 1], direction alone: 1 = the reference's, 0 = unrelated, -1 =
            opposite. Higher is better. NaN also where the generated frames do not respond.
        gain: float64, 0 or more, size alone: 1 = calibrated, 0 = no response, above 1 exaggerated.
        leak: float64 in [0, 1], share of the generated response that lies where the reference is
            the same under all scripts. Lower is better. NaN also where nothing is the same in the
            reference, or the generated frames do not respond.
        reason: uint8, a :class:`Reason`. NO_FRAME, NO_BRANCH, NO_RESPONSE and NON_FINITE make all
            four NaN, NO_GENERATED_RESPONSE the cosine and the leak only.
    """

    agreement: Tensor
    cosine: Tensor
    gain: Tensor
    leak: Tensor
    reason: Tensor


def script_response(
    products: ScriptProducts, *, min_response: float = MIN_RESPONSE
) -> ScriptResponse:
    r"""How the generated frames depend on the script, against how the reference's do.

    .. math:: \cos = \frac{\sum_k\langle\tilde p_k, \tilde g_k\rangle}{|\tilde p||\tilde g|}, \quad
        \mathrm{gain} = \frac{|\tilde p|}{|\tilde g|}, \quad
        \mathrm{agreement} = \frac{2\sum_k\langle\tilde p_k, \tilde g_k\rangle}
                                  {|\tilde p|^2 + |\tilde g|^2}

    with :math:`\tilde p_k = p_k - \bar p`, the generated frame under script k less the mean over
    scripts, and :math:`|\tilde p|^2 = \sum_k |\tilde p_k|^2`; the same for the reference g. The
    agreement is Lin's concordance correlation without its penalty for a shift of the mean: what
    all scripts share, drift included, is perceptual drift's business.

    Centring is what corrects for chance. Two scripts against the commanded one share the commanded
    frame, so that an unrelated response would have a cosine of one half; centred, a response to
    scripts that are dealt out at random has agreement 0 on average over all ways to deal them, and
    a frozen or action-blind model has exactly 0.

    Args:
        products: of :func:`script_products`.
        min_response: mean squared difference of two scripts' reference frames, in squared data
            ranges, below which the reference counts as not reacting. The default is what rounding
            to ``uint8`` alone makes.

    Returns:
        A :class:`ScriptResponse` of ``[G, T]`` tensors.

    Raises:
        ValueError: ``min_response`` is negative.

    Source:
        Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 45
        (1989), for the form; the oracle-relative response ratio as in WorldSimProbe,
        arXiv:2608.09298.
    """
    check_number("min_response", min_response, low=0.0)
    preds, both, target = products.blocks()
    count = products.present.sum(1)
    # n * trace - sum is n times the centred energy, and exact for uint8: integers below 2^53.
    shared, generated, reference = (
        count * block.diagonal(dim1=-2, dim2=-1).sum(-1) - block.sum((-2, -1))
        for block in (both, preds, target)
    )
    # Of floats, frames that are equal may differ by the rounding of these sums.
    slack = products.rounding() * count.square()
    few = count < 2
    finite = shared.isfinite() & generated.isfinite() & reference.isfinite()
    # Mean over pairs of scripts: the sum over pairs of |g_k - g_l|^2 is n times the energy.
    pairs = (count * (count - 1) / 2).clamp_min(1)
    unit = products.values * products.data_range**2
    silent = (reference / (pairs * unit) < min_response) | (reference <= slack)
    nothing = generated <= slack
    generated, shared = (value.masked_fill(nothing, 0) for value in (generated, shared))
    commanded = products.present[:, 0]

    reason = torch.zeros_like(count, dtype=torch.uint8)
    reason.masked_fill_(nothing, int(Reason.NO_GENERATED_RESPONSE))
    reason.masked_fill_(silent, int(Reason.NO_RESPONSE))
    reason.masked_fill_(~finite, int(Reason.NON_FINITE))
    reason.masked_fill_(few, int(Reason.NO_BRANCH)).masked_fill_(~commanded, int(Reason.NO_FRAME))
    undefined = (reason != 0) & (reason != int(Reason.NO_GENERATED_RESPONSE))

    # |cos| <= 1 holds but for the last bit; the clamp only takes that bit away.
    cosine = (shared / (generated * reference).sqrt()).clamp(-1, 1)
    leak = (products.still[..., 2] * count / generated).clamp(0, 1)
    leak = leak.masked_fill(products.still[..., 1] == 0, torch.nan)
    return ScriptResponse(
        agreement=(2 * shared / (generated + reference)).masked_fill(undefined, torch.nan),
        cosine=cosine.masked_fill(undefined | nothing, torch.nan),
        gain=(generated / reference).sqrt().masked_fill(undefined, torch.nan),
        leak=leak.masked_fill(undefined | nothing, torch.nan),
        reason=reason,
    )


def windowed_response(
    preds: Tensor,
    target: Tensor,
    *,
    windows: int = 4,
    min_response: float = MIN_RESPONSE,
    preds_rows: Tensor | None = None,
    target_rows: Tensor | None = None,
    present: Tensor | None = None,
    still: float = 0.0,
    data_range: float | None = None,
) -> ScriptResponse:
    """The response window by window, so that a small or faint part counts as much as a large one.

    The frame is cut into ``windows x windows``. Agreement, cosine, gain and leak are means over the
    windows in which they are defined: those in which the reference reacts. A frame of which one
    corner moves is judged by that corner.

    Args:
        preds: generated frames, as in :func:`script_products`.
        target: reference frames.
        windows: along each side, 1 or more and at most the frame's side.
        min_response: as in :func:`script_response`, for each window.
        preds_rows: as in :func:`script_products`.
        target_rows: as in :func:`script_products`.
        present: as in :func:`script_products`.
        still: as in :func:`script_products`.
        data_range: as in :func:`script_products`.

    Returns:
        A :class:`ScriptResponse` of ``[G, T]`` tensors; the reason is NO_RESPONSE where the
        reference reacts in no window, and NON_FINITE where one window is not finite.

    Raises:
        ValueError: as :func:`script_products`, or there are more windows than pixels.
        TypeError: as :func:`script_products`.
    """
    check_count("windows", windows)
    height, width = preds.shape[-2:]
    if windows > min(height, width):
        raise ValueError(f"windows must be at most the frame's side, {height} x {width}: {windows}")
    parts = []
    for y in range(windows):
        for x in range(windows):
            rows = slice(y * height // windows, (y + 1) * height // windows)
            columns = slice(x * width // windows, (x + 1) * width // windows)
            products = script_products(
                preds[..., rows, columns],
                target[..., rows, columns],
                preds_rows=preds_rows,
                target_rows=target_rows,
                present=present,
                still=still,
                data_range=data_range,
            )
            parts.append(script_response(products, min_response=min_response))

    reasons = torch.stack([part.reason for part in parts])
    quiet = reasons == int(Reason.NO_RESPONSE)
    frozen = reasons == int(Reason.NO_GENERATED_RESPONSE)
    # Absent scripts are absent from all windows; values of one that is not finite are anyone's.
    broken = reasons.masked_fill(quiet | frozen, 0).amax(0)
    nothing = (quiet | frozen).all(0) * int(Reason.NO_GENERATED_RESPONSE)
    other = torch.where(broken == 0, nothing, broken)

    def mean(name: str) -> Tensor:
        values = torch.stack([getattr(part, name) for part in parts])
        # One after the other: the order of a plain sum depends on how many groups there are.
        total = values.nan_to_num(0.0).cumsum(0)[-1]
        return (total / (~values.isnan()).sum(0)).masked_fill(broken != 0, torch.nan)

    return ScriptResponse(
        agreement=mean("agreement"),
        cosine=mean("cosine"),
        gain=mean("gain"),
        leak=mean("leak"),
        reason=torch.where(quiet.all(0), int(Reason.NO_RESPONSE), other).to(torch.uint8),
    )


def counterfactual_response(
    preds: Tensor,
    preds_branch: Tensor,
    target: Tensor,
    target_branch: Tensor,
    *,
    data_range: float | None = None,
    min_response: float = MIN_RESPONSE,
) -> ScriptResponse:
    r"""How the generated frames react to other actions, against how the reference reacts.

    :func:`script_response` of two scripts, frame by frame:
    :math:`2\langle d_p, d_g\rangle / (|d_p|^2 + |d_g|^2)` with :math:`d_p = \hat x' - \hat x` and
    :math:`d_g = x' - x`.

    Args:
        preds: generated frames under the commanded actions, ``[..., C, H, W]``.
        preds_branch: generated frames under the counterfactual actions.
        target: reference frames under the commanded actions.
        target_branch: reference frames under the counterfactual actions. All of one shape, dtype
            (``uint8`` or floating point) and device.
        data_range: ``None`` means 255 for ``uint8`` and 1.0 for floats.
        min_response: as in :func:`script_response`.

    Returns:
        A :class:`ScriptResponse` of ``[...]`` tensors.

    Raises:
        ValueError: shapes or devices differ, a frame is empty, or an option is out of range.
        TypeError: not tensors, or dtypes differ or are not supported.
    """
    frames = {
        "preds": preds,
        "preds_branch": preds_branch,
        "target": target,
        "target_branch": target_branch,
    }
    check_frames(**frames)
    leading, frame = preds.shape[:-3], preds.shape[-3:]
    products = script_products(
        torch.stack([preds, preds_branch]).view(1, 2, -1, *frame),
        torch.stack([target, target_branch]).view(1, 2, -1, *frame),
        data_range=data_range,
    )
    found = script_response(products, min_response=min_response)
    return ScriptResponse(**{name: value[0].view(leading) for name, value in vars(found).items()})
