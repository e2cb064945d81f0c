"""The list of events: runs of broken steps, against a walk through the states."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch

from tests.functional.identity.scenes import STEPS, erased, swapped, two_objects
from tests.functional.identity.test_object_identity import random_labels
from wmscore.functional import IdentityState, identity_events, object_identity


def test_no_event_where_nothing_happens() -> None:
    target = two_objects()
    events = identity_events(object_identity(target, target))
    assert len(events) == 0
    assert events.records() == []
    empty = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    assert len(identity_events(object_identity(empty, empty))) == 0


def test_swap_and_recovery() -> None:
    target = two_objects()
    found = object_identity(swapped(target, 3, 9, 3, 5), target)
    first, second = identity_events(found).records()
    assert first == {
        "row": 0,
        "object_id": 3,
        "event": "swap",
        "first_step": 3,
        "last_step": 5,
        "steps": 3,
        "recovered": True,
        "other_id": 9,
        "confidence": 1.0,
        "cause": "another object is in its place",
    }
    assert (second["object_id"], second["other_id"]) == (9, 3)
    assert len(identity_events(found, patience=4)) == 0


def test_an_event_that_lasts_to_the_end_has_not_recovered() -> None:
    target = two_objects()
    (event,) = identity_events(object_identity(erased(target, 9, 6), target)).records()
    assert (event["first_step"], event["last_step"], event["recovered"]) == (6, STEPS, False)
    assert event["event"] == "vanish"
    assert event["other_id"] == 0


def test_two_events_of_one_object() -> None:
    target = two_objects()
    preds = erased(erased(target, 9, 2, 3), 9, 6, 8)
    events = identity_events(object_identity(preds, target))
    assert events.first_step.tolist() == [2, 6]
    assert events.last_step.tolist() == [3, 8]
    assert events.recovered.tolist() == [True, False]


def test_hidden_steps_neither_count_nor_end_a_run() -> None:
    target = erased(two_objects(), 9, 5, 6)
    preds = erased(target, 9, 4)
    (event,) = identity_events(object_identity(preds, target)).records()
    assert (event["first_step"], event["last_step"], event["steps"]) == (4, 8, 3)


def test_spawn_is_an_event() -> None:
    target = two_objects()
    preds = target.clone()
    preds[0, 2:, 20:26, 14:20] = 77
    (event,) = identity_events(object_identity(preds, target)).records()
    assert (event["object_id"], event["event"], event["first_step"]) == (77, "spawn", 3)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("patience", [1, 2, 3])
def test_equals_a_walk(seed: int, patience: int) -> None:
    preds, target = random_labels(12, 9, seed, [2, 5, 300, 32767])
    found = object_identity(preds, target, min_area=6, patience=patience)
    expected = []
    for b, ids in enumerate(found.ids.tolist()):
        for n, name in enumerate(ids):
            run: list[int] = []
            runs = []
            for t in range(9):
                state = IdentityState(int(found.state[b, t, n]))
                bad = state.is_break or state == IdentityState.SPAWN
                if bad:
                    run.append(t)
                elif state in (IdentityState.OK, IdentityState.MISLOCATED):
                    runs.append((run, True))
                    run = []
            for steps, recovered in [*runs, (run, False)]:
                if len(steps) >= patience:
                    first = steps[0]
                    state = int(found.state[b, first, n])
                    other = int(found.other_id[b, first, n])
                    expected.append(
                        (b, first + 1, name, state, steps[-1] + 1, len(steps), recovered, other)
                    )
    events = identity_events(found, patience=patience)
    got = zip(
        events.row.tolist(),
        events.first_step.tolist(),
        events.object_id.tolist(),
        events.event.tolist(),
        events.last_step.tolist(),
        events.steps.tolist(),
        events.recovered.tolist(),
        events.other_id.tolist(),
        strict=True,
    )
    assert list(got) == sorted(expected)
    assert len(events) > 0
    # The first break of a row is the first event that is no spawn.
    for b in range(12):
        own = (events.row == b) & (events.event != IdentityState.SPAWN)
        first = events.first_step[own].min() if own.any() else 0
        assert int(found.first_break[b]) == int(first)
    assert all(not math.isnan(c) for c in events.confidence.tolist())


def test_patience_is_checked() -> None:
    target = two_objects()
    with pytest.raises(ValueError, match="patience must be at least 1"):
        identity_events(object_identity(target, target), patience=0)


def test_columns_have_one_length() -> None:
    target = two_objects()
    events = identity_events(object_identity(swapped(target, 3, 9, 3), target))
    assert {len(getattr(events, f.name)) for f in fields(events)} == {2}
