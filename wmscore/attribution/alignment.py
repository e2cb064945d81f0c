"""Pictures that are right, and compared with the wrong ones: shifted in time or in place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.rollouts import Rollouts

__all__ = ["Misalignment", "misalignment"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Misalignment:
    """What one mistake of bookkeeping, undone, makes of the frames of `n` rollouts.

    Attributes:
        kinds: the mistakes that were tried.
        kind: int64 `[n]`, the one whose undoing brings the frames closest to the reference.
        plain: float64 `[n, T]`, HaarPSI of frames and reference as they are, 1 = the same.
        explained: float64 `[n, T]`, the same after undoing `kind`; NaN where nothing is left to
            compare with.
    """

    kinds: tuple[str, ...]
    kind: Tensor
    plain: Tensor
    explained: Tensor


def misalignment(rollouts: Rollouts, *, lag: int = 2, shift: int = 1) -> Misalignment:
    """Undo each simple mistake of bookkeeping and see whether the frames fit then.

    Tried are frames that are `lag` steps late or early, `shift` pixels off in x and y, and channels
    in the opposite order. Meant for *reconstructions*: a decoder that is given the true frame at
    step t has no reason to show the one at t - 1, so what a lag explains there is a mistake of
    whoever recorded or loaded it. In rollouts a lag can be a late action.

    Args:
        rollouts: with references, uint8 or floating point, grey or RGB.
        lag: most steps, 0 or more, less than the horizon.
        shift: most pixels, 0 or more.

    Raises:
        ValueError: no reference, a wrong number, or frames that HaarPSI cannot compare.
    """
    if rollouts.reference is None or rollouts.reference_index is None:
        raise ValueError("rollouts: expected references, got none")
    steps, channels = rollouts.horizon, rollouts.frames.shape[2]
    if channels not in (1, 3):
        raise ValueError(f"rollouts.frames: expected grey or RGB, got {channels} channels")
    for name, value, most in (("lag", lag, steps), ("shift", shift, 1 << 10)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < most:
            raise ValueError(f"{name}: expected an integer from 0 to {most - 1}, got {value!r}")
    frames = rollouts.frames[:, 1:]
    target = rollouts.reference[rollouts.reference_index.to(rollouts.reference.device), 1:]
    valid = rollouts.valid[:, 1:].to(frames.device)
    plain = _likeness(frames, target, valid)
    kinds: list[str] = []
    tried: list[Tensor] = []
    blank = torch.full_like(plain, torch.nan)
    for late in [n for n in range(-lag, lag + 1) if n]:
        kept = blank.clone()
        there = steps - abs(late)
        mine, true = (
            (slice(late, None), slice(there)) if late > 0 else (slice(there), slice(-late, None))
        )
        kept[:, mine] = _likeness(frames[:, mine], target[:, true], valid[:, mine])
        kinds.append(f"{abs(late)} step{'s' * (abs(late) > 1)} {'late' if late > 0 else 'early'}")
        tried.append(kept)
    height, width = frames.shape[-2:]
    for y in range(-shift, shift + 1):
        for x in range(-shift, shift + 1):
            if x or y:
                kinds.append(f"{x:+d} px in x, {y:+d} px in y")
                tried.append(
                    _likeness(
                        frames[..., _inside(y, height), _inside(x, width)],
                        target[..., _inside(-y, height), _inside(-x, width)],
                        valid,
                    )
                )
    if channels == 3:
        kinds.append("channels in the opposite order")
        tried.append(_likeness(frames.flip(2), target, valid))
    if not tried:
        return Misalignment(
            kinds=(), kind=torch.zeros(len(plain)).long(), plain=plain, explained=plain
        )
    every = torch.stack(tried)
    kind = every.nanmean(2).nan_to_num(-1.0).argmax(0)
    explained = every[kind, torch.arange(len(plain))]
    return Misalignment(kinds=tuple(kinds), kind=kind, plain=plain, explained=explained)


def _inside(offset: int, size: int) -> slice:
    """What a picture that is moved by an offset has in common with one that is not."""
    return slice(max(0, offset), size + min(0, offset))


def _likeness(frames: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """HaarPSI `[n, T]` on the CPU, NaN where a frame is not valid."""
    found = F.haarpsi(frames.contiguous(), target.contiguous()).double()
    return found.masked_fill(~valid, torch.nan).cpu()
