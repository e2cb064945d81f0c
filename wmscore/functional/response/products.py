"""Inner products of the frames of counterfactual scripts: what every measure of response needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore import ops
from wmscore.functional._check import check_mask, check_number, check_tensor, data_range_of
from wmscore.ops.response_products import MOST_SCRIPTS

__all__ = ["MOST_SCRIPTS", "ScriptProducts", "script_products"]

_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class ScriptProducts:
    """What one read of the frames of ``G`` groups of ``K`` scripts leaves over, per step.

    Attributes:
        gram: ``[G, T, 2K, 2K]`` float64, inner products of frames in squared units of the frames;
            fields 0..K-1 are generated, K..2K-1 the reference. Zero where a script is absent.
        still: ``[G, T, 3]`` float64: pixels that were compared, those at which the reference is the
            same under all scripts, and the energy of the generated response at those.
        present: ``[G, K, T]`` bool, scripts that have a generated and a reference frame.
        channels: of a frame.
        data_range: of a value.
        exact: whether the sums are exact, as they are for ``uint8``.
    """

    gram: Tensor
    still: Tensor
    present: Tensor
    channels: int
    data_range: float
    exact: bool

    @property
    def values(self) -> Tensor:
        """``[G, T]`` values of a frame that were compared: pixels x channels."""
        return self.still[..., 0] * self.channels

    def blocks(self) -> tuple[Tensor, Tensor, Tensor]:
        """``[G, T, K, K]``: generated with generated, with reference, reference with reference.

        Element ``[k, l]`` of the second is generated frame k with reference frame l.
        """
        scripts = self.present.shape[1]
        own, other = slice(0, scripts), slice(scripts, 2 * scripts)
        return self.gram[..., own, own], self.gram[..., own, other], self.gram[..., other, other]

    def rounding(self) -> Tensor:
        """``[G, T]``, energy up to which a difference of frames may be rounding of these sums.

        0 for ``uint8``; of floats a share of the energy of the largest frame of a group.
        """
        energy = self.gram.diagonal(dim1=-2, dim2=-1)
        largest = energy.masked_fill(~energy.isfinite(), 0).amax(-1)
        return largest * (0.0 if self.exact else _ROUNDING)

    def centred(self) -> tuple[Tensor, Tensor, Tensor]:
        """The same of frames less their mean over the ``n`` present scripts, times ``n`` squared.

        Times n squared because that is exact for ``uint8``. Zero where a script is absent.
        """
        there = self.present.movedim(1, -1)
        count = there.sum(-1)[..., None, None]
        pairs = there[..., :, None] & there[..., None, :]

        def centre(block: Tensor) -> Tensor:
            rows, columns = block.sum(-1, keepdim=True), block.sum(-2, keepdim=True)
            middle = rows.sum(-2, keepdim=True)
            return (count * (count * block - rows - columns) + middle).masked_fill(~pairs, 0)

        preds, both, target = self.blocks()
        return centre(preds), centre(both), centre(target)

    def errors(self) -> Tensor:
        """Mean squared difference of generated frame k and reference frame l, ``[G, T, K, K]``.

        In squared data ranges; NaN where one of the two is absent.
        """
        preds, both, target = self.blocks()
        own, other = preds.diagonal(dim1=-2, dim2=-1), target.diagonal(dim1=-2, dim2=-1)
        squared = own[..., :, None] - 2 * both + other[..., None, :]
        # Exact for uint8. Of floats the last bits may leave a frame a negative error from itself.
        squared = squared.clamp_min(0)
        unit = self.values * self.data_range**2
        there = self.present.movedim(1, -1)
        pairs = there[..., :, None] & there[..., None, :]
        return (squared / unit[..., None, None]).masked_fill(~pairs, torch.nan)


def script_products(
    preds: Tensor,
    target: Tensor,
    *,
    preds_rows: Tensor | None = None,
    target_rows: Tensor | None = None,
    present: Tensor | None = None,
    shift: Tensor | None = None,
    still: float = 0.0,
    data_range: float | None = None,
) -> ScriptProducts:
    """Read the frames of every script once, and keep their inner products.

    A group is one initial state with ``K`` action scripts, the commanded one first. Frames may lie
    anywhere: rows say which belong together, and groups may share reference rows.

    Args:
        preds: generated frames of steps 1..T, ``[G, K, T, C, H, W]``, or ``[B, T, C, H, W]`` with
            ``preds_rows``. Features go in as ``[..., 1, 1, D]``.
        target: reference frames under the same scripts, alike, or ``[S, T, C, H, W]`` with
            ``target_rows``; the dtype (``uint8`` or floating point) and device of ``preds``.
        preds_rows: int64 ``[G, K]``, row of ``preds`` for each script; -1 where a group has fewer.
        target_rows: int64 ``[G, K]``, row of ``target``.
        present: bool ``[G, K, T]``, steps at which both frames exist. Default: all.
        shift: int64 ``[G, T, 2]`` (dy, dx): pixel ``(y + dy, x + dx)`` of the generated frames is
            held against ``(y, x)`` of the reference; only where both exist.
        still: largest difference, in data ranges, between scripts at which a pixel of the reference
            counts as not reacting.
        data_range: ``None`` means 255 for ``uint8`` and 1.0 for floats.

    Raises:
        ValueError: shapes or devices do not fit, or there are more than ``MOST_SCRIPTS`` scripts.
        TypeError: not tensors, or dtypes differ or are not supported.
    """
    if (preds_rows is None) != (target_rows is None):
        raise ValueError("preds_rows and target_rows must be given together")
    if preds_rows is None or target_rows is None:
        for name, frames in (("preds", preds), ("target", target)):
            check_tensor(name, frames)
            if frames.ndim != 6:
                raise ValueError(
                    f"{name} must have shape [G, K, T, C, H, W] without rows, "
                    f"got {tuple(frames.shape)}"
                )
        if preds.shape != target.shape:
            raise ValueError(
                "preds and target must have the same shape [G, K, T, C, H, W], "
                f"got {tuple(preds.shape)} and {tuple(target.shape)}"
            )
        groups, scripts = preds.shape[:2]
        preds_rows = target_rows = torch.arange(groups * scripts, device=preds.device).view(
            groups, scripts
        )
        preds, target = preds.flatten(0, 1), target.flatten(0, 1)
    check_number("still", still, low=0.0)
    full = data_range_of(preds.dtype, data_range)
    found, quiet = ops.response_products(
        preds, target, preds_rows, target_rows, present, shift, still * full
    )
    here = (preds_rows >= 0) & (preds_rows < preds.shape[0])
    here &= (target_rows >= 0) & (target_rows < target.shape[0])
    shown = here[..., None].expand(-1, -1, preds.shape[1])
    if present is not None:
        check_mask("present", present, tuple(shown.shape), shown.device, like="preds")
        shown = shown & present
    return ScriptProducts(
        gram=found,
        still=quiet,
        present=shown,
        channels=preds.shape[2],
        data_range=full,
        exact=preds.dtype == torch.uint8,
    )
