"""Whether one-step predictions come from the true frames before them, and from no later ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.testing.gaps import frame_gap, levels, pixels, rollout_gap
from wmscore.testing.report import ContractRow
from wmscore.worlds.handing import handed, own
from wmscore.worlds.protocol import Item, TeacherForced

__all__ = ["check_teacher_forcing"]


def check_teacher_forcing(
    model: TeacherForced, items: Sequence[Item], rollouts: Rollouts, horizon: int
) -> list[ContractRow]:
    """Compare one-step predictions under different histories.

    Args:
        model: who predicts.
        items: the rows.
        rollouts: the model's own rollouts of `items`, in good order; rounded to uint8, they serve
            as true frames.
        horizon: number of steps, at least 2.
    """
    truth = pixels(rollouts.frames).nan_to_num().clamp(0, 255).round().to(torch.uint8)
    forced = _predict(model, items, truth, horizon)
    row = _check_answer(forced, rollouts)
    if not row.ok:
        return [row]
    again = rollout_gap(forced, _predict(model, items, truth, horizon))

    # Chance hides both a leak and the use of the history.
    if again > 0 and not model.capabilities.deterministic:
        return [
            row,
            ContractRow(
                property="teacher-forced: no leak, history",
                promised=False,
                observed="not testable",
                ok=True,
                detail=f"equal calls differ by {again:g} levels; fix the model's chance to test it",
            ),
        ]

    # Frames after step t are turned into their negatives: frames up to t + 1 must stay.
    middle = horizon // 2
    later = _predict(model, items, _negative(truth, middle + 1, horizon + 1), horizon)
    ahead = rollout_gap(forced, later, until=middle + 2)
    # Frame t alone is: frame t + 1 must change.
    other = _predict(model, items, _negative(truth, middle, middle + 1), horizon)
    echo = frame_gap(forced.frames[:, middle + 1], other.frames[:, middle + 1])
    return [
        row,
        ContractRow(
            property="teacher-forced: no leak",
            promised=True,
            observed=levels(ahead),
            ok=ahead <= again,
            detail=f"largest difference in steps 0..{middle + 1} under other true frames after "
            f"step {middle}; {again:g} between equal calls",
        ),
        ContractRow(
            property="teacher-forced: history",
            promised=True,
            observed=levels(echo),
            ok=echo > again,
            detail=f"largest difference in step {middle + 1} under another true frame {middle}; "
            f"{again:g} between equal calls",
        ),
    ]


def _predict(model: TeacherForced, items: Sequence[Item], truth: Tensor, horizon: int) -> Rollouts:
    """Predictions in memory of their own, of frames that the model may write to."""
    return own(model.predict_next(handed(items), truth.clone(), horizon))


def _check_answer(forced: Rollouts, rollouts: Rollouts) -> ContractRow:
    """Shape, keys and frame 0 must be those of the model's rollouts."""
    wrong = [
        name
        for name in ("scenario", "seed", "branch", "actions")
        if not torch.equal(getattr(forced, name).cpu(), getattr(rollouts, name).cpu())
    ]
    wrong += [
        name for name in ("panel", "model") if getattr(forced, name) != getattr(rollouts, name)
    ]
    if forced.frames.shape != rollouts.frames.shape or forced.frames.dtype != rollouts.frames.dtype:
        wrong.append(f"frames {forced.frames.dtype} {list(forced.frames.shape)}")
    elif frame_gap(forced.frames[:, 0], rollouts.frames[:, 0]) > 0:
        wrong.append("frame 0")
    return ContractRow(
        property="teacher-forced: answer",
        promised=True,
        observed=f"wrong: {', '.join(wrong)}" if wrong else "as commanded",
        ok=not wrong,
        detail="shape, keys, actions, model and frame 0 of every row, as in its rollouts",
    )


def _negative(frames: Tensor, start: int, stop: int) -> Tensor:
    """The frames with those from `start` to `stop` turned into negatives; no pixel is its own."""
    changed = frames.clone()
    changed[:, start:stop] = 255 - frames[:, start:stop]
    return changed
