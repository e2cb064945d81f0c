"""The list of what happened to objects: one event per run of broken steps."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional._check import check_count
from wmscore.functional.identity.over_time import is_break, judged
from wmscore.functional.identity.result import ObjectIdentity
from wmscore.functional.identity_state import IdentityState

__all__ = ["IdentityEvents", "identity_events"]


@dataclass(frozen=True, kw_only=True, eq=False)
class IdentityEvents:
    """``E`` events, by row, first step and object. See :func:`identity_events`.

    Attributes:
        row: ``[E]`` int64, which rollout.
        object_id: ``[E]`` int64, the object that broke, or the thing that spawned.
        event: ``[E]`` uint8, its :class:`IdentityState` at the first step.
        first_step: ``[E]`` int64, 1-based.
        last_step: ``[E]`` int64, the last broken step of the run.
        steps: ``[E]`` int64, how many steps of the run are broken.
        recovered: ``[E]`` bool, the object is itself again at a later step.
        other_id: ``[E]`` int64, what was in its place at the first step; 0 = nothing, or not known.
        confidence: ``[E]`` float64 in [0, 1], mean over the broken steps.
    """

    row: Tensor
    object_id: Tensor
    event: Tensor
    first_step: Tensor
    last_step: Tensor
    steps: Tensor
    recovered: Tensor
    other_id: Tensor
    confidence: Tensor

    def __len__(self) -> int:
        """Number of events `E`."""
        return len(self.row)

    def records(self) -> list[dict[str, object]]:
        """One flat record per event, with the event's name and what it means."""
        columns = {f.name: getattr(self, f.name).tolist() for f in fields(self)}
        states = [IdentityState(code) for code in columns["event"]]
        columns["event"] = [state.name.lower() for state in states]
        columns["cause"] = [state.description for state in states]
        return [
            dict(zip(columns, line, strict=True)) for line in zip(*columns.values(), strict=True)
        ]


def identity_events(found: ObjectIdentity, *, patience: int = 2) -> IdentityEvents:
    """Runs of at least ``patience`` broken steps, one event each, and things that spawned.

    Steps at which an object is not judged (hidden, out of view, undetermined, invalid) neither
    count nor end a run. Their number is not known before: this syncs with the device.

    Args:
        found: states of objects.
        patience: broken steps in a row that make an event.

    Returns:
        :class:`IdentityEvents`, on the device of ``found``.

    Raises:
        ValueError: ``patience`` is below 1.
    """
    check_count("patience", patience)
    state = found.state.mT  # [B, N, T]
    spawned = state == IdentityState.SPAWN
    broken = is_break(state) | spawned
    observed = judged(state) | spawned
    steps = state.shape[2]
    time = torch.arange(1, steps + 1, device=state.device)
    last = pad(time.where(observed, 0).cummax(2).values, (1, 0))[..., :-1]  # observed before
    begins = broken & ~pad(broken, (1, 0)).gather(2, last)
    begin = time.where(begins, 0).cummax(2).values  # 1-based step at which a run began
    whole = observed & ~broken
    next_whole = whole.flip(2).cummax(2).values.flip(2)  # at this step or later

    row, slot, at = broken.nonzero(as_tuple=True)
    run = (row * state.shape[1] + slot) * (steps + 1) + begin[row, slot, at]
    _, which, length = torch.unique_consecutive(run, return_inverse=True, return_counts=True)
    end = length.cumsum(0) - 1  # place of each run's last broken step
    first = end - length + 1
    confidence = found.confidence.mT[row, slot, at]
    mean = torch.zeros_like(length, dtype=torch.float64).scatter_add(0, which, confidence) / length
    enough = length >= patience
    row, slot, start, stop = (x[enough] for x in (row[end], slot[end], at[first], at[end]))
    length, mean = length[enough], mean[enough]
    events = IdentityEvents(
        row=row,
        object_id=found.ids[row, slot],
        event=found.state[row, start, slot],
        first_step=start + 1,
        last_step=stop + 1,
        steps=length,
        recovered=next_whole[row, slot, stop],
        other_id=found.other_id[row, start, slot],
        confidence=mean,
    )
    order = ((row * (steps + 1) + events.first_step) * (1 << 16) + events.object_id).argsort()
    return IdentityEvents(**{f.name: getattr(events, f.name)[order] for f in fields(events)})
