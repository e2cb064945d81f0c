"""What capabilities declare besides plain promises: their own sense, and chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wmscore.rollouts import Rollouts
from wmscore.testing.asking import Failure, ask, failed, other_actions
from wmscore.testing.gaps import levels, rollout_gap
from wmscore.testing.report import ContractRow
from wmscore.worlds.protocol import Capabilities, Item, WorldModel

__all__ = ["check_capabilities", "check_chunks"]


def check_capabilities(promises: Capabilities, items: Sequence[Item]) -> ContractRow:
    """Whether the declaration makes sense, and which of the items' actions it does not name."""
    wrong = []
    if promises.action_units and len(promises.action_units) != len(promises.action_names):
        wrong.append(
            f"{len(promises.action_units)} action_units for {len(promises.action_names)} "
            "action_names"
        )
    if promises.frames_per_call is not None and promises.frames_per_call < 1:
        wrong.append(f"frames_per_call = {promises.frames_per_call}")
    if promises.context_frames < 1:
        wrong.append(f"context_frames = {promises.context_frames}")
    if not (math.isfinite(promises.fps) and promises.fps > 0):
        wrong.append(f"fps = {promises.fps}")
    names = dict.fromkeys(name for item in items for name in item.action_names)
    foreign = [name for name in names if name not in promises.action_names]
    told = []
    if promises.action_names and foreign:
        told.append(f"converts, or does not know: {', '.join(foreign)}")
    rates = {item.fps for item in items if item.fps is not None} - {promises.fps}
    if rates:
        told.append(f"fps {promises.fps:g}, asked for {', '.join(f'{r:g}' for r in rates)}")
    if promises.reads_prompt:
        told.append("reads the prompt")
    if not promises.starts_from_frame:
        told.append("does not go on from the given frame")
    exact = "" if promises.actions_exact else ", known only roughly"
    per_call = promises.frames_per_call
    return ContractRow(
        property="capabilities",
        promised=True,
        observed=f"wrong: {', '.join(wrong)}" if wrong else f"actions {promises.actions}{exact}",
        ok=not wrong,
        detail="; ".join(
            [
                f"{'any number of' if per_call is None else per_call} frames per call",
                f"{promises.context_frames} of context",
                *told,
            ]
        ),
    )


def check_chunks(
    model: WorldModel, items: Sequence[Item], rollouts: Rollouts, horizon: int, again: float
) -> ContractRow:
    """Whether the first call of a chunked model is free of what is commanded after it."""
    chunk = max(1, model.capabilities.frames_per_call or 1)
    changed = other_actions(items, after=chunk) if chunk < horizon else []
    name, promised = "chunk causal", chunk < horizon
    if len(changed) < len(items):
        return ContractRow(
            property=name,
            promised=False,
            observed="not measured",
            ok=True,
            detail=f"one call makes {chunk} frames, the horizon is {horizon}"
            if chunk >= horizon
            else "no item has another action",
        )
    other = ask(model, changed, horizon)
    if isinstance(other, Failure):
        return failed(name, False, other)
    gap = rollout_gap(rollouts, other, until=chunk + 1)
    return ContractRow(
        property=name,
        promised=promised,
        observed=levels(gap),
        ok=gap <= again,
        detail=f"largest difference in steps 0..{chunk}, one call, under other later actions; "
        f"{again:g} between equal calls",
    )
