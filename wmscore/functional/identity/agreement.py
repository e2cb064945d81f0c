"""How often breaks that were told without labels are breaks: against the truth of labels."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from wmscore.functional._check import check_whole
from wmscore.functional.identity.result import ObjectIdentity

__all__ = ["BreakAgreement", "break_agreement"]


class BreakAgreement(NamedTuple):
    """Of each object ``[B, N]`` bool. See :func:`break_agreement`.

    Attributes:
        hit: it breaks, and is told to, at the same step within the tolerance.
        off: it breaks, and is told to, but at another step.
        missed: it breaks, and is not told to.
        false: it does not break, and is told to.
        quiet: neither.
    """

    hit: Tensor
    off: Tensor
    missed: Tensor
    false: Tensor
    quiet: Tensor

    def counts(self) -> dict[str, int]:
        """Number of objects of each kind; reads the device."""
        return {name: int(value.sum()) for name, value in self._asdict().items()}


def break_agreement(
    found: ObjectIdentity, truth: ObjectIdentity, *, tolerance: int = 1
) -> BreakAgreement:
    """Compare the first break of each object with its true one.

    Args:
        found: told by appearance.
        truth: told by labels of the generated frames, for the same rows.
        tolerance: steps by which the two may differ.

    Returns:
        :class:`BreakAgreement` over the objects of ``found``; padding is of no kind.

    Raises:
        ValueError: the rows differ, or ``tolerance`` is negative.
        TypeError: ``tolerance`` is not an int.
    """
    check_whole("tolerance", tolerance)
    if len(found.ids) != len(truth.ids):
        raise ValueError(
            f"found and truth must have the same rows, got {len(found.ids)} and {len(truth.ids)}"
        )
    same = (found.ids[:, :, None] == truth.ids[:, None]) & (found.ids > 0)[..., None]  # [B, N, M]
    true_step = truth.object_first_break[:, None].where(same, 0).sum(-1)
    step, there = found.object_first_break, found.ids > 0
    breaks, told = true_step > 0, step > 0
    close = (step - true_step).abs() <= tolerance
    return BreakAgreement(
        hit=breaks & told & close,
        off=breaks & told & ~close,
        missed=breaks & ~told,
        false=told & ~breaks,
        quiet=there & ~told & ~breaks,
    )
