"""Checked rows of features in float64, with what is invalid or not finite set apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import FRAME_DTYPES, check_mask, check_tensor
from wmscore.functional.reasons import Reason

__all__ = [
    "Rows",
    "check_feature_pair",
    "check_features",
    "check_leading",
    "reason_of",
    "rows_of",
]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that can be computed with, whatever they held.

    Attributes:
        values: ``[..., N, D]`` float64; 0 in rows that do not count and where not finite.
        weight: ``[..., N]`` float64, 1 for a row that counts, else 0.
        count: ``[...]`` int64, rows that count.
        finite: ``[...]`` bool, every row that counts is finite.
    """

    values: Tensor
    weight: Tensor
    count: Tensor
    finite: Tensor

    @property
    def centred(self) -> tuple[Tensor, Tensor]:
        """Mean ``[..., D]`` and rows without it; rows that do not count stay 0."""
        mean = self.values.sum(-2) / self.count.clamp(min=1)[..., None]
        return mean, (self.values - mean[..., None, :]) * self.weight[..., None]


def check_features(name: str, features: Tensor, *, least: int = 1) -> None:
    """Feature rows ``[..., N, D]``, floating point or uint8, at least ``least`` of them."""
    check_tensor(name, features)
    if features.dtype not in FRAME_DTYPES:
        raise TypeError(f"{name} must be floating point or uint8, got {features.dtype}")
    if features.ndim < 2 or features.shape[-1] == 0 or features.shape[-2] < least:
        raise ValueError(
            f"{name} must have shape [..., N, D] with N >= {least} and D >= 1, "
            f"got {tuple(features.shape)}"
        )


def check_feature_pair(preds: Tensor, target: Tensor) -> None:
    """Two sets of rows with one D, one device and leading dims that broadcast; N >= 2 in each."""
    for name, features in (("preds", preds), ("target", target)):
        check_features(name, features, least=2)
    if preds.shape[-1] != target.shape[-1]:
        raise ValueError(
            "preds and target must have one number of features D, "
            f"got {tuple(preds.shape)} and {tuple(target.shape)}"
        )
    if preds.device != target.device:
        raise ValueError(
            f"preds and target must be on one device, got {preds.device} and {target.device}"
        )
    check_leading(preds.shape[:-2], target.shape[:-2])


def check_leading(preds: torch.Size, target: torch.Size) -> torch.Size:
    """The shape that both leading shapes broadcast to, or an error."""
    try:
        return torch.Size(torch.broadcast_shapes(preds, target))  # type: ignore[no-untyped-call]
    except RuntimeError:
        raise ValueError(
            "the leading dims of preds and target must broadcast, "
            f"got {tuple(preds)} and {tuple(target)}"
        ) from None


def rows_of(features: Tensor, valid: Tensor | None = None, *, like: str = "the features") -> Rows:
    """Widen checked features; ``valid`` broadcasts to ``[..., N]``."""
    leading = features.shape[:-1]
    values = features.double()
    if valid is None:
        weight = torch.ones((), dtype=torch.float64, device=features.device).expand(leading)
        count = torch.full(leading[:-1], leading[-1], device=features.device)
    else:
        check_mask(f"{like}_valid", valid, tuple(leading), features.device, like=like)
        valid = valid.expand(leading)
        values = values.where(valid[..., None], 0)
        weight, count = valid.double(), valid.sum(-1)
    is_finite = values.isfinite()
    return Rows(values.where(is_finite, 0), weight, count, is_finite.all(-1).all(-1))


def reason_of(value: Tensor, finite: Tensor, enough: Tensor) -> tuple[Tensor, Tensor]:
    """The value, NaN where it is undefined, and why.

    An overflow of finite features is named like features that are not finite.
    """
    finite = finite & value.isfinite()
    reason = torch.full(value.shape, int(Reason.DEFINED), dtype=torch.uint8, device=value.device)
    reason = reason.where(finite, int(Reason.NON_FINITE_FEATURES))
    reason = reason.where(enough, int(Reason.TOO_FEW_SAMPLES))
    return value.where(finite & enough, torch.nan), reason
