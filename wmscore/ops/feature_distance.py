"""Distance of two feature maps at each position, averaged over positions, in one read of both."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.ops._library import op

__all__ = ["feature_distance", "feature_distance_backward"]

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


def _check_backward(
    gradient: Tensor,
    preds: Tensor,
    target: Tensor,
    index: Tensor | None = None,
    weight: Tensor | None = None,
    normalize: bool = True,
    spatial: bool = False,
    of_preds: bool = True,
    of_target: bool = True,
) -> None:
    check_features(preds, target, index, weight, normalize, spatial)
    shape = (preds.shape[0], *preds.shape[2:]) if spatial else preds.shape[:1]
    if not isinstance(gradient, Tensor):
        raise TypeError(f"gradient must be a torch.Tensor, got {type(gradient).__name__}")
    if gradient.dtype != torch.float64 or gradient.shape != shape:
        raise ValueError(
            f"gradient must be float64 of shape {tuple(shape)}, "
            f"got {gradient.dtype} of shape {tuple(gradient.shape)}"
        )
    if gradient.device != preds.device:
        raise ValueError(f"gradient must be on {preds.device} like preds, got {gradient.device}")


@op(_check_backward)
def feature_distance_backward(
    gradient: Tensor,
    preds: Tensor,
    target: Tensor,
    index: Tensor | None = None,
    weight: Tensor | None = None,
    normalize: bool = True,
    spatial: bool = False,
    of_preds: bool = True,
    of_target: bool = True,
) -> tuple[Tensor, Tensor]:
    """Take the gradient of `feature_distance` with respect to the maps.

    With unit vectors `x = p/|p|` and `y = t/|t|`, and `e = x - y`, the gradient of p is
    `2 (w e - x Σ w e x)/|p|`, and that of t `-2 (w e - y Σ w e y)/|t|`. A zero vector has no
    direction; its gradient is 0.

    Args:
        gradient: with respect to the result of `feature_distance`, float64 `[N]` or `[N, H, W]`.
        preds: as given to `feature_distance`.
        target: likewise.
        index: likewise.
        weight: likewise.
        normalize: likewise.
        spatial: likewise.
        of_preds: whether the gradient of preds is wanted.
        of_target: whether that of target is.

    Returns:
        The gradients of `preds` and of the target of each of `preds`, both of the shape and dtype
        of `preds`, channels-last where it is; empty, `[0, C, H, W]`, where not wanted. Terms are
        computed in float32 (float64 for float64 maps). They have no gradient themselves. Maps whose
        index is out of range get NaN.
    """
    kind = _kind(preds)
    p, t = preds.to(kind), _rows(target.to(kind), index)
    factor = torch.ones((), dtype=kind, device=p.device) if weight is None else weight.to(kind)
    factor = factor.reshape(-1, 1, 1)
    of_distance = gradient if spatial else gradient[:, None, None] / preds.shape[2:].numel()
    scale = 2 * of_distance.to(kind).unsqueeze(1).expand(-1, 1, *preds.shape[2:])
    if not normalize:
        of_p = scale * factor * (p - t)
        both = of_p, -of_p
    else:
        p_length, t_length = _length(p), _length(t)
        x, y = p / (p_length + _EPSILON), t / (t_length + _EPSILON)
        error = factor * (x - y)
        both = (
            scale * _along_sphere(error, p, x, p_length),
            -scale * _along_sphere(error, t, y, t_length),
        )
    layout = _memory_format(preds)
    of_both = [
        value[: len(value) if wanted else 0].to(preds.dtype).clone(memory_format=layout)
        for value, wanted in zip(both, (of_preds, of_target), strict=True)
    ]
    return of_both[0], of_both[1]


def _along_sphere(error: Tensor, vector: Tensor, unit: Tensor, length: Tensor) -> Tensor:
    """What of a unit vector's gradient goes on to the vector; none where that is 0."""
    inner = (error * vector).sum(1, keepdim=True)
    gradient = (error - unit * inner / length) / (length + _EPSILON)
    return gradient.where(length != 0, 0 * error)  # NaN of the other vector stays NaN


def _backward(
    needs: tuple[bool, ...],
    gradient: Tensor,
    preds: Tensor,
    target: Tensor,
    index: Tensor | None,
    weight: Tensor | None,
    normalize: bool,
    spatial: bool,
) -> tuple[Tensor | None, ...]:
    needs_preds, needs_target, _, needs_weight, *_ = needs
    of_preds: Tensor | None = None
    of_target: Tensor | None = None
    of_weight: Tensor | None = None
    if needs_preds or needs_target:
        of_preds, of_target = feature_distance_backward(
            gradient, preds, target, index, weight, normalize, spatial, needs_preds, needs_target
        )
        if index is not None and needs_target:
            of_target = _sum_rows(of_target, index, target)
    if weight is not None and needs_weight:
        of_distance = gradient if spatial else gradient[:, None, None] / preds.shape[2:].numel()
        squares = _squared_errors(preds, target, index, normalize)
        of_weight = (squares * of_distance.unsqueeze(1)).sum((0, 2, 3)).to(weight.dtype)
    return (
        of_preds if needs_preds else None,
        of_target if needs_target else None,
        None,
        of_weight,
        None,
        None,
    )


def _sum_rows(of_each: Tensor, index: Tensor, target: Tensor) -> Tensor:
    """Add up the maps of one target in their order, the same bits in each run."""
    rows = target.shape[0]
    inside = (index >= 0) & (index < rows)
    place = index.where(inside, rows)  # one row more, for those that belong to none
    wide = of_each.movedim(1, -1).to(_kind(of_each))
    sums = wide.new_zeros(rows + 1, *wide.shape[1:])
    # On a GPU index_add adds atomically, in any order; accumulation by index_put sorts.
    if sums.device.type == "cpu":
        sums = sums.index_add(0, place, wide)
    else:
        sums = sums.index_put((place,), wide, accumulate=True)
    sums = sums[:rows].movedim(-1, 1).to(target.dtype)
    return sums.contiguous(memory_format=_memory_format(target))


@op(check_features, backward=_backward)
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
        float64 maps) from differences, so identical maps give exactly 0, and with weights up to 1
        the square root of a unit-normalised distance is right within 1e-6; the mean is float64.
        Without any position the mean is NaN. NaN and infinite features make their result NaN, and
        so do vectors whose squared length overflows. Differentiable with respect to the maps and
        the weight. Where a vector is zero its gradient is 0 (that of the lpips package is NaN); the
        gradient of a target that several share is summed in one order. That of the weight takes
        memory for some maps more.

    Raises:
        TypeError: not tensors, or not of one supported dtype.
        ValueError: shapes or devices do not fit.

    Example:
        >>> a, b = torch.tensor([[[[3.0]], [[4.0]]]]), torch.tensor([[[[0.0]], [[2.0]]]])
        >>> feature_distance(a, b)  # (0.6, 0.8) to (0, 1)
        tensor([0.4000], dtype=torch.float64)
    """
    error = _squared_errors(preds, target, index, normalize)
    if weight is not None:
        error = error * weight.to(error.dtype)[:, None, None]
    distance = error.sum(1).double()
    return distance if spatial else distance.mean((1, 2))


def _squared_errors(preds: Tensor, target: Tensor, index: Tensor | None, normalize: bool) -> Tensor:
    kind, layout = _kind(preds), _memory_format(preds)
    # In one layout: the order of a sum depends on it, and identical maps have identical lengths.
    p, t = (x.to(kind).contiguous(memory_format=layout) for x in (preds, target))
    if normalize:
        p, t = p / (_length(p) + _EPSILON), t / (_length(t) + _EPSILON)
    return (p - _rows(t, index)).square()


def _rows(target: Tensor, index: Tensor | None) -> Tensor:
    """The target of each map; NaN where there is none."""
    if index is None:
        return target
    inside = (index >= 0) & (index < target.shape[0])
    if target.shape[0] == 0:
        return target.new_full((len(index), *target.shape[1:]), torch.nan)
    return target[index.where(inside, 0)].where(inside[:, None, None, None], torch.nan)


def _length(maps: Tensor) -> Tensor:
    length = maps.square().sum(1, keepdim=True).sqrt()
    return length + 0 * length  # NaN where it overflowed


def _kind(maps: Tensor) -> torch.dtype:
    return torch.float64 if maps.dtype == torch.float64 else torch.float32


def _memory_format(maps: Tensor) -> torch.memory_format:
    is_last = maps.is_contiguous(memory_format=torch.channels_last)
    if is_last and not maps.is_contiguous() and maps.numel() > 0:
        return torch.channels_last
    return torch.contiguous_format
