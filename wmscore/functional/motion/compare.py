"""Generated motion against the reference's: direction, size, both, and by action."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vector_norm

from wmscore.functional._check import (
    check_count,
    check_mask,
    check_number,
    check_tensor,
    check_vectors,
)
from wmscore.functional.reasons import Reason

__all__ = [
    "MIN_MOTION",
    "MotionAgreement",
    "MotionByAction",
    "motion_agreement",
    "motion_by_action",
]

MIN_MOTION = 0.1
"""Pixels per step; what a block flow or a phase correlation finds below it may be noise."""


@dataclass(frozen=True)
class MotionAgreement:
    """Generated against reference motion. Each tensor is ``[...]``. See :func:`motion_agreement`.

    Attributes:
        cosine: float64 in [-1, 1], direction alone: 1 = the reference's, 0 = at right angles, -1 =
            opposite. Higher is better. NaN also where the generated picture does not move.
        angle: float64 in [0, 180] degrees between the two, lower is better; its cosine is
            ``cosine``, and it is NaN where that is.
        ratio: float64, 0 or more, size alone: generated over reference, 1 = equal, 0 = none.
        agreement: float64 in [-1, 1], direction and size: 1 only for the reference's own motion, 0
            for none, or for one at right angles. Higher is better.
        endpoint_error: float64, 0 or more, pixels between the two, lower is better; for a field the
            mean over its vectors. Defined also where the reference does not move.
        reason: uint8, a :class:`Reason`. NON_FINITE and NO_REGION make all NaN, NO_RESPONSE all but
            the endpoint error, NO_GENERATED_RESPONSE the cosine and the angle only.
    """

    cosine: Tensor
    angle: Tensor
    ratio: Tensor
    agreement: Tensor
    endpoint_error: Tensor
    reason: Tensor


def motion_agreement(
    preds: Tensor,
    target: Tensor,
    *,
    dims: int = 1,
    weight: Tensor | None = None,
    min_motion: float = MIN_MOTION,
) -> MotionAgreement:
    r"""How the generated picture moves, against how the reference moves.

    .. math:: \cos = \frac{\langle p, g\rangle}{|p||g|}, \quad \mathrm{ratio} = \frac{|p|}{|g|},
        \quad \mathrm{agreement} = \frac{2 \langle p, g\rangle}{|p|^2 + |g|^2}

    An item is a vector ``[..., D]``, say a global shift (dy, dx), or with ``dims`` above 1 a field
    of vectors, whose inner products are sums over its vectors: ``[..., gh, gw, 2]`` of a
    :func:`block_flow` with ``dims=3``. Vectors of a field that are NaN in one of the two are left
    out of both.

    Args:
        preds: generated motion ``[..., D]``, floating point, in pixels per step.
        target: the reference's, of the same shape, dtype and device.
        dims: trailing dims that make up an item, 1 or more; the last one holds the components of a
            vector.
        weight: how much each vector counts, bool or floating point, 0 or more, finite; broadcasts
            to the shape of ``preds`` without its last dim. None: all alike.
        min_motion: root mean square length, in pixels, below which an item does not move.

    Returns:
        A :class:`MotionAgreement` of ``[...]`` tensors.

    Raises:
        ValueError: shapes or devices differ, or an option is out of range.
        TypeError: not floating point tensors, dtypes differ, or an option is of the wrong type.

    Example:
        >>> target = torch.tensor([[0.0, 3.0], [0.0, 3.0], [0.0, 0.0]])
        >>> agreement = motion_agreement(torch.tensor([[0.0, 1.5], [3.0, 0.0], [1.0, 0.0]]), target)
        >>> agreement.angle
        tensor([ 0., 90., nan], dtype=torch.float64)
        >>> agreement.ratio
        tensor([0.5000, 1.0000,    nan], dtype=torch.float64)
    """
    check_vectors(preds=preds, target=target)
    check_count("dims", dims)
    if dims > preds.ndim:
        raise ValueError(
            f"dims must be at most {preds.ndim}, the dims of preds {tuple(preds.shape)}, got {dims}"
        )
    check_number("min_motion", min_motion, low=0.0)
    weights = _weights(weight, preds)
    items = preds.shape[: preds.ndim - dims]
    size = preds.shape[-1]
    # [..., vectors, D], and how much each vector counts.
    p, g = (x.double().reshape(*items, -1, size) for x in (preds, target))
    weights = weights.reshape(*items, p.shape[-2])
    finite = p.isfinite().all(-1) & g.isfinite().all(-1)
    wanted = weights > 0
    weights = weights.where(finite, 0.0)
    p, g = (x.where(finite[..., None], 0.0) for x in (p, g))

    total = weights.sum(-1)
    share = (weights / total[..., None]).sqrt()[..., None]
    a, b = (share * p).flatten(-2), (share * g).flatten(-2)  # their lengths are root mean squares
    length, reference = vector_norm(a, dim=-1), vector_norm(b, dim=-1)
    error = (weights * vector_norm(p - g, dim=-1)).sum(-1) / total

    reason = torch.zeros_like(length, dtype=torch.uint8)
    still = (length < min_motion) | (length == 0)
    silent = (reference < min_motion) | (reference == 0)
    reason.masked_fill_(still, int(Reason.NO_GENERATED_RESPONSE))
    reason.masked_fill_(silent, int(Reason.NO_RESPONSE))
    nothing = total == 0
    reason.masked_fill_(nothing, int(Reason.NON_FINITE))
    reason.masked_fill_(~wanted.any(-1), int(Reason.NO_REGION))
    silent, still = silent | nothing, still | silent | nothing
    both = (a * b).sum(-1)
    # Kahan's angle, accurate near 0 and 180 degrees, where the arc cosine is not.
    across, along = a * reference[..., None], b * length[..., None]
    angle = 2 * torch.atan2(
        vector_norm(across - along, dim=-1), vector_norm(across + along, dim=-1)
    )
    return MotionAgreement(
        cosine=(both / (length * reference)).clamp(-1, 1).masked_fill(still, torch.nan),
        angle=angle.rad2deg().masked_fill(still, torch.nan),
        ratio=(length / reference).masked_fill(silent, torch.nan),
        agreement=(2 * both / (length**2 + reference**2)).masked_fill(silent, torch.nan),
        endpoint_error=error.masked_fill(nothing, torch.nan),
        reason=reason,
    )


def _weights(weight: Tensor | None, vectors: Tensor) -> Tensor:
    """Float64, of the shape of the vectors without their last dim."""
    shape = vectors.shape[:-1]
    if weight is None:
        return torch.ones(shape, dtype=torch.float64, device=vectors.device)
    check_tensor("weight", weight)
    if weight.dtype != torch.bool and not weight.is_floating_point():
        raise TypeError(f"weight must be bool or floating point, got {weight.dtype}")
    check_mask("weight", weight != 0, tuple(shape), vectors.device, like="preds")
    # Reading values is free on the CPU only; elsewhere it would stall the device.
    if weight.device.type == "cpu" and weight.is_floating_point():
        wrong = ~((weight >= 0) & weight.isfinite())
        if wrong.any():
            raise ValueError(f"weight must be 0 or more and finite, got {weight[wrong][0].item()}")
    return weight.double().expand(shape)


@dataclass(frozen=True)
class MotionByAction:
    """Generated against reference motion, of each action. See :func:`motion_by_action`.

    Attributes:
        direction: ``[A]`` float64 in [0, 1], share of the steps where both move whose cosine is
            above 0; 0.5 = chance, higher is better.
        cosine: ``[A]`` float64 in [-1, 1], mean cosine over the same steps, higher is better.
        ratio: ``[A]`` float64, slope through the origin of the generated motion over the
            reference's, over the steps where the reference moves: 1 = equal, 0.5 = half as much,
            0 = none, -1 = mirrored.
        steps: ``[A]`` int64, valid steps with the action.
        moving: ``[A]`` int64, those of them where the reference moves.
        both_moving: ``[A]`` int64, those where both move.
        reason: ``[A]`` uint8, a :class:`Reason`: TOO_FEW_STEPS where no valid step has the action,
            NO_RESPONSE where the reference never moves under it, and all three are NaN;
            NO_GENERATED_RESPONSE where the generated picture never moves with it, and direction and
            cosine are.
    """

    direction: Tensor
    cosine: Tensor
    ratio: Tensor
    steps: Tensor
    moving: Tensor
    both_moving: Tensor
    reason: Tensor


def motion_by_action(
    preds: Tensor,
    target: Tensor,
    actions: Tensor,
    num_actions: int,
    *,
    valid: Tensor | None = None,
    min_motion: float = MIN_MOTION,
) -> MotionByAction:
    r"""Direction and size of the generated motion against the reference's, pooled by action.

    .. math:: \mathrm{ratio}_a = \frac{\sum_{b, t: a_{bt} = a} \langle p_{bt}, g_{bt}\rangle}
                                      {\sum_{b, t: a_{bt} = a} \langle g_{bt}, g_{bt}\rangle}

    The reference is what the simulator does under the same action, not the action itself, which
    may have no effect, say before a wall.

    Args:
        preds: generated motion ``[B, T, D]``, floating point, in pixels per step; D is 2 for a
            shift, more for a flattened field or for several measures in one unit.
        target: the reference's, of the same shape, dtype and device. A step at which either holds
            NaN does not count.
        actions: int64 ``[B, T]``, the action of each step, in 0..num_actions - 1.
        num_actions: A, how many actions there are.
        valid: bool, broadcasts to ``[B, T]``, steps that count; None: all.
        min_motion: length in pixels below which a step does not move.

    Returns:
        A :class:`MotionByAction`.

    Raises:
        ValueError: shapes or devices do not fit, or an action is out of range at a valid step
            (values are looked at on the CPU only; elsewhere such a step does not count).
        TypeError: wrong types or dtypes.

    Example:
        >>> target = torch.tensor([[[0.0, 3.0], [0.0, -3.0], [0.0, 3.0]]])
        >>> actions = torch.tensor([[1, 2, 1]])
        >>> by_action = motion_by_action(target * torch.tensor([0.5, -1, 0.5])[:, None], target,
        ...                              actions, 3)
        >>> by_action.direction
        tensor([nan, 1., 0.], dtype=torch.float64)
        >>> by_action.ratio
        tensor([    nan,  0.5000, -1.0000], dtype=torch.float64)
    """
    check_vectors(preds=preds, target=target)
    if preds.ndim != 3:
        raise ValueError(f"preds must have shape [B, T, D], got {tuple(preds.shape)}")
    check_count("num_actions", num_actions)
    check_number("min_motion", min_motion, low=0.0)
    usable = torch.ones(preds.shape[:2], dtype=torch.bool, device=preds.device)
    if valid is not None:
        check_mask("valid", valid, tuple(preds.shape[:2]), preds.device, like="preds")
        usable = valid.expand(preds.shape[:2])
    _check_actions(actions, usable, preds, num_actions)

    p, g = preds.double(), target.double()
    usable = usable & p.isfinite().all(-1) & g.isfinite().all(-1)
    p, g = (x.where(usable[..., None], 0.0) for x in (p, g))
    length, reference = vector_norm(p, dim=-1), vector_norm(g, dim=-1)
    moves = usable & (reference >= min_motion) & (reference > 0)
    both_move = moves & (length >= min_motion) & (length > 0)
    product = (p * g).sum(-1)
    cosine = (product / (length * reference)).clamp(-1, 1)
    terms = torch.stack(
        [
            usable.double(),
            moves.double(),
            both_move.double(),
            (both_move & (cosine > 0)).double(),
            cosine.where(both_move, 0.0),
            product.where(moves, 0.0),
            (reference**2).where(moves, 0.0),
        ],
        -1,
    )
    # A product with one column for each action: in one order, where adding by index has none.
    of_action = actions[..., None] == torch.arange(num_actions, device=actions.device)
    sums = of_action.flatten(0, 1).double().T @ terms.flatten(0, 1)
    steps, moving, both_moving, agree, cosines, products, energy = sums.unbind(-1)
    reason = torch.zeros_like(steps, dtype=torch.uint8)
    reason.masked_fill_(both_moving == 0, int(Reason.NO_GENERATED_RESPONSE))
    reason.masked_fill_(moving == 0, int(Reason.NO_RESPONSE))
    reason.masked_fill_(steps == 0, int(Reason.TOO_FEW_STEPS))
    return MotionByAction(
        direction=agree / both_moving,  # 0 / 0 is NaN
        cosine=cosines / both_moving,
        ratio=products / energy,
        steps=steps.long(),
        moving=moving.long(),
        both_moving=both_moving.long(),
        reason=reason,
    )


def _check_actions(actions: Tensor, usable: Tensor, preds: Tensor, count: int) -> None:
    check_tensor("actions", actions)
    if actions.dtype != torch.int64:
        raise TypeError(f"actions must be int64, got {actions.dtype}")
    if actions.shape != preds.shape[:2]:
        raise ValueError(
            f"actions must have shape [B, T] = {tuple(preds.shape[:2])} as preds, "
            f"got {tuple(actions.shape)}"
        )
    if actions.device != preds.device:
        raise ValueError(f"actions must be on {preds.device} like preds, got {actions.device}")
    # Reading values is free on the CPU only; elsewhere it would stall the device.
    if actions.device.type == "cpu":
        wrong = ((actions < 0) | (actions >= count)) & usable
        if wrong.any():
            raise ValueError(
                f"actions must lie in 0..{count - 1}, got {int(actions[wrong][0])} at "
                f"[row, step] {wrong.nonzero()[0].tolist()}"
            )
