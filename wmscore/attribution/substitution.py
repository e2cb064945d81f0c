"""Signals out of frames: other actions, or another alignment, put in the place of what was."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.attribution.alignment import Misalignment
from wmscore.attribution.signals import Outcome, Signal, stage_signal

__all__ = ["delivered_signal", "misaligned_evaluation", "on_rows"]


def delivered_signal(
    plain: Tensor,
    explained: Tensor,
    outcome: Outcome,
    threshold: float,
    *,
    patience: int | Tensor,
    normal: float | None = None,
    share: float = 0.25,
) -> Signal:
    """Control: whether other actions explain what the commanded ones do not, up to the failure.

    It implicates where the frames are not those of the commanded script, and are those of another
    one. Where the other script explains a part only (`share` of what is missing), it is unclear:
    then actions went wrong, and something else did too.

    Args:
        plain: float64 `[R, T]`, likeness to the true world under the commanded script; NaN for rows
            that were not asked about. See `wmscore.replay.Delivered`.
        explained: float64 `[R, T]`, the same under the script that explains best.
        outcome: of the rollouts.
        threshold: likeness below which frames are others.
        patience: number or `[R]`.
        normal: likeness that the best script must keep; by default the threshold.
        share: see above, in (0, 1].
    """
    kept = threshold if normal is None else max(normal, threshold)
    own = stage_signal(plain, outcome, threshold, patience=patience)
    other = stage_signal(explained, outcome, kept, patience=patience)
    time = torch.arange(plain.shape[1])
    seen = (
        time < torch.where(outcome.failed, outcome.step + outcome.patience, plain.shape[1])[:, None]
    )
    lost = ((1 - plain).nan_to_num(0.0) * seen).sum(1)
    won = ((explained - plain).nan_to_num(0.0) * seen).sum(1)
    return Signal(
        available=own.available,
        implicates=own.implicates & other.excludes,
        onset=own.onset,
        value=own.value,
        threshold=own.threshold,
        direct=True,
        unclear=own.implicates & other.implicates & (won >= share * lost),
    )


def misaligned_evaluation(
    evaluation: Signal,
    found: Misalignment,
    outcome: Outcome,
    threshold: float,
    *,
    patience: int | Tensor,
    normal: float | None = None,
) -> Signal:
    """Evaluation: also at fault where a reconstruction fails, and undoing a misalignment mends it.

    Args:
        evaluation: what is known of it otherwise.
        found: of the reconstructions of the same rows (`misalignment`).
        outcome: of the rollouts.
        threshold: likeness below which a reconstruction fails.
        patience: number or `[R]`.
        normal: likeness that the mended reconstruction must keep; by default half of the way from
            the threshold to 1.
    """
    kept = (1 + threshold) / 2 if normal is None else max(normal, threshold)
    own = stage_signal(found.plain, outcome, threshold, patience=patience)
    mended = stage_signal(found.explained, outcome, kept, patience=patience)
    wrong = own.implicates & mended.excludes
    return Signal(
        available=evaluation.available | wrong,
        implicates=evaluation.implicates | wrong,
        onset=torch.where(
            evaluation.implicates, evaluation.onset, torch.where(wrong, own.onset, 0)
        ),
        value=torch.where(wrong, 0.0, evaluation.value),
        threshold=torch.where(wrong, 0.5, evaluation.threshold),
        unclear=evaluation.unclear,
    )


def on_rows(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """Values `[n, T]` of some rows (int64 `[n]`) as `[count, T]`, NaN elsewhere."""
    whole = torch.full((count, values.shape[1]), torch.nan, dtype=torch.float64)
    whole[rows] = values.double()
    return whole
