"""Commanded against recognised actions, counted at once: in all, per step and per rollout."""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor

from wmscore.functional._check import check_count, check_tensor
from wmscore.functional.recovery._inputs import check_action_ids, kept_steps
from wmscore.functional.recovery.scores import RecoveryScores, recovery_from_confusion

__all__ = ["ActionRecovery", "action_recovery"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ActionRecovery(RecoveryScores):
    """Recovery of actions over all rows and steps, ``[...]``. See :func:`action_recovery`.

    Attributes:
        per_step: :class:`RecoveryScores` ``[..., T]``, rows pooled: the curve over the horizon.
        per_row: :class:`RecoveryScores` ``[..., B]``, steps pooled.
    """

    per_step: RecoveryScores
    per_row: RecoveryScores


def action_recovery(
    recognised: Tensor, commanded: Tensor, num_actions: int, *, valid: Tensor | None = None
) -> ActionRecovery:
    """Which of the commanded actions the frames show, by a recogniser's answers.

    The recogniser is an :class:`ActionProbe`, or any :class:`InverseDynamics` network. Read
    ``score`` beside the recogniser's own on the reference: see :func:`recovered_share`.

    Args:
        recognised: ``[..., B, T]`` int64, the recogniser's answers. -1: no action was
            recognised, which counts as a miss; mask a step by ``valid`` to leave it out.
        commanded: ``[..., B, T]`` int64 in 0..num_actions - 1; -1 = none, such as padding.
        num_actions: number of actions A, the no-op included.
        valid: bool, broadcasts to ``[..., B, T]``, steps that count; ``None`` means all.

    Returns:
        :class:`ActionRecovery`.

    Raises:
        ValueError: shapes or devices differ, or an action is out of range.
        TypeError: not int64 tensors.

    Example:
        >>> import torch
        >>> commanded = torch.tensor([[0, 0, 0, 1, 0, 2]])
        >>> found = action_recovery(torch.tensor([[0, 0, 0, 1, 0, 0]]), commanded, 4)
        >>> found.recall[:3].tolist(), found.score.item()
        ([1.0, 1.0, 0.0], 0.5)
        >>> found.never_commanded.tolist()
        [False, False, False, True]
    """
    check_count("num_actions", num_actions)
    check_tensor("commanded", commanded)
    if commanded.ndim < 2:
        raise ValueError(f"commanded must have shape [..., B, T], got {tuple(commanded.shape)}")
    shape = tuple(commanded.shape)
    check_action_ids("commanded", commanded, num_actions, shape, least=-1)
    check_action_ids("recognised", recognised, num_actions, shape, least=-1)
    if recognised.device != commanded.device:
        raise ValueError(
            f"recognised and commanded must be on one device, got {recognised.device} and "
            f"{commanded.device}"
        )
    kept = kept_steps(valid, shape, commanded.device) & (commanded >= 0) & (commanded < num_actions)
    answer = recognised.where((recognised >= 0) & (recognised < num_actions), num_actions)
    cell = commanded.where(kept, 0) * (num_actions + 1) + answer
    per_step = _scores(_count(cell.mT, kept.mT, num_actions))
    per_row = _scores(_count(cell, kept, num_actions))
    confusion, missed = per_row.confusion, per_row.unrecognised
    pooled = recovery_from_confusion(confusion.sum(-3), unrecognised=missed.sum(-2))
    return ActionRecovery(
        **{f.name: getattr(pooled, f.name) for f in fields(pooled)},
        per_step=per_step,
        per_row=per_row,
    )


def _count(cell: Tensor, kept: Tensor, num_actions: int) -> Tensor:
    """``[..., A, A + 1]`` int64 counts over the last dim of ``cell``, in one scatter."""
    sizes = (num_actions, num_actions + 1)
    counts = cell.new_zeros(*cell.shape[:-1], sizes[0] * sizes[1])
    return counts.scatter_add(-1, cell, kept.long()).view(*cell.shape[:-1], *sizes)


def _scores(counts: Tensor) -> RecoveryScores:
    return recovery_from_confusion(counts[..., :-1], unrecognised=counts[..., -1])
