"""Distance of two feature maps at each position, averaged over positions, in one read of both."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.ops._library import op

__all__ = ["feature_distance"]

FEATURE_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_EPSILON = 1e-10  # added to norms, as in lpips: a zero vector stays zero


def check_features(
    preds: Tensor,
    target: Tensor,
    index: Tensor | None = None,
    weight: Tensor | None = None,
    normalize: bool = True,
    spatial: bool = False,
) -> None:
    """Refuse maps, an index or weights that do not fit each other.

    Raises:
        TypeError: an argument is not a tensor, or of the wrong dtype.
        ValueError: shapes or devices do not fit.
    """
    for name, value in (("preds", preds), ("target", target)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
        if value.dtype not in FEATURE_DTYPES:
            raise TypeError(f"{name} must be floating point, got {value.dtype}")
        if value.dim() != 4:
            raise ValueError(f"{name} must have shape [N, C, H, W], got {tuple(value.shape)}")
    if preds.dtype != target.dtype:
        raise TypeError(
            f"preds and target must have one dtype, got {preds.dtype} and {target.dtype}"
        )
    if preds.device != target.device:
        raise ValueError(
            f"preds and target must be on one device, got {preds.device} and {target.device}"
        )
    if preds.shape[1:] != target.shape[1:]:
        raise ValueError(
            "preds and target must have the same [C, H, W], "
            f"got {tuple(preds.shape)} and {tuple(target.shape)}"
        )
    if index is None:
        if preds.shape[0] != target.shape[0]:
            raise ValueError(
                f"without an index, target must have as many maps as preds, {preds.shape[0]}, "
                f"got {target.shape[0]}"
            )
    elif not isinstance(index, Tensor):
        raise TypeError(f"index must be a torch.Tensor or None, got {type(index).__name__}")
    elif index.dtype != torch.int64:
        raise TypeError(f"index must be int64, got {index.dtype}")
    elif index.shape != preds.shape[:1]:
        raise ValueError(
            f"index must have shape {tuple(preds.shape[:1])}, got {tuple(index.shape)}"
        )
    elif index.device != preds.device:
        raise ValueError(f"index must be on {preds.device} like preds, got {index.device}")
    if weight is None:
        return
    if not isinstance(weight, Tensor):
        raise TypeError(f"weight must be a torch.Tensor or None, got {type(weight).__name__}")
    if weight.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"weight must be float32 or float64, got {weight.dtype}")
    if weight.shape != preds.shape[1:2]:
        raise ValueError(
            f"weight must have shape {tuple(preds.shape[1:2])}, got {tuple(weight.shape)}"
        )
    if weight.device != preds.device:
        raise ValueError(f"weight must be on {preds.device} like preds, got {weight.device}")


@op(check_features)
def feature_distance(
    preds: Tensor,
    target: Tensor,
    index: Tensor | None = None,
    weight: Tensor | None = None,
    normalize: bool = True,
    spatial: bool = False,
) -> Tensor:
    """Weighted squared distance of feature vectors, position by position.

    At each position `Σ_c w_c (p_c/(|p| + ε) - t_c/(|t| + ε))²` with ε = 1e-10 (LPIPS, Zhang et al.
    2018, arXiv:1801.03924, eq. 1), or `Σ_c w_c (p_c - t_c)²` without `normalize`. With unit weights
    half of the former is the cosine distance.

    Args:
        preds: maps `[N, C, H, W]`, floating, any strides; channels-last is read fastest.
        target: maps `[M, C, H, W]` of the same dtype and device; M = N without an index.
        index: int64 `[N]`, the target of each of `preds`, so that many may share one. A value
            outside 0..M-1 makes its result NaN.
        weight: float32 or float64 `[C]`; None stands for ones.
        normalize: divide each vector by its length first; a zero vector stays zero.
        spatial: return the distance at each position instead of their mean.

    Returns:
        float64 `[N]`, or `[N, H, W]` if `spatial`. Terms are computed in float32 (float64 for
        float64 maps) from differences, so identical maps give exactly 0; the mean is float64.
        Without any position the mean is NaN. NaN and infinite features make their result NaN.

    Raises:
        TypeError: not tensors, or not of one supported dtype.
        ValueError: shapes or devices do not fit.

    Example:
        >>> a, b = torch.tensor([[[[3.0]], [[4.0]]]]), torch.tensor([[[[0.0]], [[2.0]]]])
        >>> feature_distance(a, b)  # (0.6, 0.8) to (0, 1)
        tensor([0.4000], dtype=torch.float64)
    """
    kind = torch.float64 if preds.dtype == torch.float64 else torch.float32
    p, t = preds.to(kind), target.to(kind)
    if normalize:
        p, t = p / (_norm(p) + _EPSILON), t / (_norm(t) + _EPSILON)
    if index is not None:
        inside = (index >= 0) & (index < t.shape[0])
        if t.shape[0] == 0:
            t = torch.full_like(p, torch.nan)
        else:
            t = t[index.where(inside, 0)]
            t = t.where(inside[:, None, None, None], torch.nan)
    error = (p - t).square()
    if weight is not None:
        error = error * weight.to(kind)[:, None, None]
    distance = error.sum(1).double()
    return distance if spatial else distance.mean((1, 2))


def _norm(maps: Tensor) -> Tensor:
    return maps.square().sum(1, keepdim=True).sqrt()
