"""`check_world_model`: whether a world model keeps to the protocol and to its promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from wmscore.rollouts import Rollouts
from wmscore.rowfaults import NO_FAULTS
from wmscore.testing.asking import Failure, other_actions, other_script
from wmscore.testing.asking import ask as _ask
from wmscore.testing.asking import failed as _failed
from wmscore.testing.declared import check_capabilities, check_chunks
from wmscore.testing.forcing import check_teacher_forcing
from wmscore.testing.gaps import frame_gap, levels, pixel_range, pixels, rollout_gap
from wmscore.testing.report import ContractReport, ContractRow
from wmscore.worlds.protocol import Item, TeacherForced, WorldModel
from wmscore.worlds.step import stack_actions

__all__ = ["check_world_model"]

_SINGLES = 4  # rows that are also rolled out alone


def check_world_model(model: WorldModel, items: Sequence[Item], horizon: int) -> ContractReport:
    """Roll `model` out several times and compare what it does with what it promises.

    What the protocol asks of every model (shapes, keys, frame 0, pixel range) must hold. What
    `Capabilities` leaves to the model is measured always, and must hold only if promised. Of a
    `TeacherForced` model the one-step predictions are checked too: they must depend on the true
    frame before, and on no later one. An exception of the model is a row of the table; a ValueError
    counts as a refusal, which is fair where nothing else was promised.

    Args:
        model: the model.
        items: rows to roll out; at least two, so that rows can be compared with single rows.
        horizon: number of steps, at least 2.

    Raises:
        ValueError: fewer than two items, or a horizon below 2.
    """
    if len(items) < 2 or horizon < 2:
        raise ValueError(
            f"items, horizon: expected at least 2 of each, got {len(items)} and {horizon}"
        )
    answer = _ask(model, items, horizon, any_shape=True)
    if isinstance(answer, Failure):
        return ContractReport(
            model=model.name, rows=(_failed("answers", True, answer),), action_effect=float("nan")
        )
    rollouts = answer
    rows = _check_shape(model, items, rollouts, horizon)
    if not all(row.ok for row in rows):
        return ContractReport(model=model.name, rows=tuple(rows), action_effect=float("nan"))
    rows += _check_content(model, items, rollouts)
    promises = model.capabilities
    second = _ask(model, items, horizon)
    if isinstance(second, Failure):
        rows.append(_failed("deterministic", True, second))
        return ContractReport(model=model.name, rows=tuple(rows), action_effect=float("nan"))
    again = rollout_gap(rollouts, second)
    rows.append(
        ContractRow(
            property="deterministic",
            promised=promises.deterministic,
            observed=levels(again),
            ok=again == 0 or not promises.deterministic,
            detail="largest difference between two equal calls",
        )
    )
    rows.append(_check_seed(model, items, rollouts, horizon, again))
    rows.append(_check_batch(model, items, rollouts, horizon))
    rows.append(_check_prefix(model, items, rollouts, horizon))
    if promises.frames_per_call is not None:
        rows.append(check_chunks(model, items, rollouts, horizon, again))
    effect, row = _check_actions(model, items, rollouts, horizon, again)
    rows += [row, check_capabilities(promises, items)]
    if isinstance(model, TeacherForced):
        try:
            rows += check_teacher_forcing(model, items, rollouts, horizon)
        except NO_FAULTS:
            raise
        except BaseException as error:  # whatever a model raises is a row of the table
            rows.append(_failed("teacher-forced: answer", True, Failure.of(error)))
    return ContractReport(model=model.name, rows=tuple(rows), action_effect=effect)


# ---- the protocol ------------------------------------------------------------------------


def _check_shape(
    model: WorldModel, items: Sequence[Item], rollouts: Rollouts, horizon: int
) -> list[ContractRow]:
    wanted = (len(items), horizon + 1, 3, *model.capabilities.frame_size)
    commanded = stack_actions(items, horizon)
    keys = {
        name: [getattr(item, name) for item in items] for name in ("scenario", "seed", "branch")
    }
    wrong = [name for name, value in keys.items() if getattr(rollouts, name).tolist() != value]
    if rollouts.panel != items[0].panel:
        wrong.append("panel")
    if rollouts.model != model.name:
        wrong.append("model")
    if not torch.equal(rollouts.actions.cpu(), commanded):
        wrong.append("actions")
    return [
        ContractRow(
            property="shape",
            promised=True,
            observed=str(list(rollouts.frames.shape)),
            ok=tuple(rollouts.frames.shape) == wanted,
            detail=f"expected {list(wanted)}",
        ),
        ContractRow(
            property="keys",
            promised=True,
            observed=f"wrong: {', '.join(wrong)}" if wrong else "as commanded",
            ok=not wrong,
            detail="scenario, seed, branch, actions, panel and model of every row",
        ),
    ]


def _check_content(
    model: WorldModel, items: Sequence[Item], rollouts: Rollouts
) -> list[ContractRow]:
    frames = rollouts.frames
    given = [(i, item.frame) for i, item in enumerate(items) if item.frame is not None]
    # Floating point frames are compared as the 8-bit frames that they stand for.
    first = pixels(frames[:, 0]).round() / 255
    away = max((frame_gap(first[i], pixels(frame) / 255) for i, frame in given), default=0.0)
    top = 255.0 if frames.dtype == torch.uint8 else 1.0
    extent, wrong = pixel_range(frames, top)
    kept = (rollouts.valid[:, 1:] & ~rollouts.valid[:, :-1]).any()
    ends = int((~rollouts.valid[:, -1]).sum())
    labels = "none" if rollouts.labels is None else str(rollouts.labels.dtype)
    return [
        ContractRow(
            property="frame 0",
            promised=True,
            observed=levels(away),
            ok=away == 0,
            detail=f"largest difference from the given frame, in {len(given)} rows that have one",
        ),
        ContractRow(
            property="pixel range",
            promised=True,
            observed=f"{frames.dtype} {extent}",
            ok=not wrong,
            detail="; ".join([f"expected finite values in 0..{top:g}", *wrong]),
        ),
        ContractRow(
            property="valid",
            promised=True,
            observed=f"{ends} of {len(rollouts)} rows end early",
            ok=bool(rollouts.valid[:, 0].all()) and not bool(kept),
            detail="frame 0 exists, and nothing comes after the end of a row",
        ),
        ContractRow(
            property="labels",
            promised=model.capabilities.labels,
            observed=labels,
            ok=rollouts.labels is not None or not model.capabilities.labels,
        ),
    ]


# ---- promises ----------------------------------------------------------------------------


def _check_seed(
    model: WorldModel, items: Sequence[Item], rollouts: Rollouts, horizon: int, again: float
) -> ContractRow:
    promised = model.capabilities.seedable
    other = _ask(model, [replace(item, seed=item.seed + 1) for item in items], horizon)
    if isinstance(other, Failure):
        return _failed("seedable", promised, other)
    change = rollout_gap(rollouts, other)
    return ContractRow(
        property="seedable",
        promised=promised,
        observed=levels(change),
        # Where nothing is random a seed changes nothing; then equal calls must be equal too.
        ok=not promised or again < change or again == 0,
        detail=(
            "another seed changes nothing: it is ignored, or nothing is random"
            if change == 0
            else f"largest difference between seeds; {again:g} between equal calls"
        ),
    )


def _check_batch(
    model: WorldModel, items: Sequence[Item], rollouts: Rollouts, horizon: int
) -> ContractRow:
    promised = model.capabilities.batch_invariant
    largest = 0.0
    for i in range(min(_SINGLES, len(items))):
        alone = _ask(model, [items[i]], horizon)
        if isinstance(alone, Failure):
            return _failed("batch invariant", promised, alone)
        largest = max(largest, rollout_gap(rollouts[i], alone))
    backwards = _ask(model, list(items)[::-1], horizon)
    if isinstance(backwards, Failure) and not backwards.refused:
        return _failed("batch invariant", promised, backwards)
    if isinstance(backwards, Rollouts):
        largest = max(
            largest, rollout_gap(rollouts, backwards[torch.arange(len(items) - 1, -1, -1)])
        )
    return ContractRow(
        property="batch invariant",
        promised=promised,
        observed=levels(largest),
        ok=largest == 0 or not promised,
        detail="largest difference from rows rolled out alone, or in reverse order",
    )


def _check_prefix(
    model: WorldModel, items: Sequence[Item], rollouts: Rollouts, horizon: int
) -> ContractRow:
    promised, prefix = model.capabilities.prefix_causal, horizon // 2
    largest, asked = 0.0, ["a shorter horizon"]
    others = [(items, prefix)]
    changed = other_actions(items, after=prefix)
    if len(changed) == len(items):
        asked.append("other later actions")
        others.append((changed, horizon))
    for rows, steps in others:
        other = _ask(model, rows, steps)
        if isinstance(other, Failure):
            return _failed("prefix causal", promised, other)
        largest = max(largest, rollout_gap(rollouts, other, until=prefix + 1))
    return ContractRow(
        property="prefix causal",
        promised=promised,
        observed=levels(largest),
        ok=largest == 0 or not promised,
        detail=f"largest difference in steps 0..{prefix} under {' and '.join(asked)}",
    )


def _check_actions(
    model: WorldModel, items: Sequence[Item], rollouts: Rollouts, horizon: int, again: float
) -> tuple[float, ContractRow]:
    promised = model.capabilities.actions != "none"
    rows = [i for i, item in enumerate(items) if other_script(item) is not None]
    if not rows:
        return float("nan"), ContractRow(
            property="action effect",
            promised=promised,
            observed="not measured",
            ok=True,
            detail="no item has another action",
        )
    other = _ask(model, other_actions(items), horizon)
    if isinstance(other, Failure):
        return float("nan"), _failed("action effect", promised, other)
    mine = rollouts[rows]
    difference = (pixels(mine.frames) - pixels(other.frames)).abs()[:, 1:]
    difference = difference[~difference.isnan()]  # the pixel range has told
    effect = float(difference.mean())
    # A model without actions may still differ between equal calls, but by no more than that.
    ok = effect > 0 if promised else bool((difference <= again).all())
    return effect, ContractRow(
        property="action effect",
        promised=promised,
        observed=f"{effect:.4g} of 255",
        ok=ok,
        detail="mean absolute difference between the commanded and another script",
    )
