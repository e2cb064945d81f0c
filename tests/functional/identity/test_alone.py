"""A generated video by itself: what continuity gives away, and what excuses it."""

from __future__ import annotations

import pytest
import torch

from tests.functional.identity.scenes import SIDE, STEPS, erased, rollout, swapped, two_objects
from wmscore.functional import IdentityState, ObjectIdentity, lone_identity
from wmscore.testing import sprite_items
from wmscore.worlds import SpriteWorld

OK, SWAP, MORPH = IdentityState.OK, IdentityState.SWAP, IdentityState.MORPH
VANISH, NOT_VISIBLE = IdentityState.VANISH, IdentityState.NOT_VISIBLE


def first(result: ObjectIdentity) -> tuple[int, int, int]:
    return (
        int(result.first_break[0]),
        int(result.first_break_id[0]),
        int(result.first_break_event[0]),
    )


def test_undisturbed() -> None:
    result = lone_identity(two_objects())
    assert result.state.shape == (1, STEPS - 1, 2)
    assert (result.state == OK).all()
    assert (result.score == 1).all()
    assert first(result) == (0, 0, 0)


@pytest.mark.parametrize("start", [2, 5])
def test_swap_holds_until_it_is_undone(start: int) -> None:
    labels = swapped(two_objects(), 3, 9, start)
    result = lone_identity(labels)
    assert result.object_first_break.tolist() == [[start - 1] * 2]
    assert (result.state[0, start - 2 :] == SWAP).all()
    assert result.other_id[0, -1].tolist() == [9, 3]
    back = lone_identity(swapped(two_objects(), 3, 9, start, start + 1))
    assert (back.state[0, start:] == OK).all()


def test_morph() -> None:
    labels = two_objects()
    labels[:, 3:][labels[:, 3:] == 9] = 30
    result = lone_identity(labels)
    assert first(result) == (3, 9, MORPH)
    assert result.ids.tolist() == [[3, 9, 30]]
    assert (result.state[..., 2] == NOT_VISIBLE).all()  # it goes on in 9's track


def test_vanish_in_plain_sight_until_it_is_back() -> None:
    result = lone_identity(erased(two_objects(), 9, 4, 6))
    assert first(result) == (3, 9, VANISH)
    assert result.state[0, :, 1].tolist() == [OK, OK, VANISH, VANISH, VANISH, OK, OK]


def test_leaving_is_no_event() -> None:
    labels = torch.zeros(1, STEPS, SIDE, SIDE, dtype=torch.int64)
    for t in range(STEPS):  # out to the right, five pixels a step
        labels[0, t, 10:16, 20 + 5 * t : 26 + 5 * t] = 4
    result = lone_identity(labels)
    assert first(result) == (0, 0, 0)
    assert result.state[0, -1].tolist() == [NOT_VISIBLE]


def test_being_hidden_is_no_event() -> None:
    behind = torch.zeros(1, STEPS, SIDE, SIDE, dtype=torch.int64)
    for t in range(STEPS):
        behind[0, t, 15:21, 12:18] = 4
        behind[0, t, 12:24, 3 * t : 3 * t + 12] = 5  # passes in front of it
    result = lone_identity(behind)
    assert (result.state[..., 0] == NOT_VISIBLE).any()
    assert not (result.state >= SWAP).any()
    shrinking = rollout((3, 4, 4), (9, 4, 24))
    for t in range(STEPS):  # slides behind something without a label
        shrinking[0, t, :, 24 + max(0, 6 - t) :] = 0
    assert not (lone_identity(shrinking).state >= SWAP).any()


def test_an_object_that_comes_in_starts_a_track() -> None:
    labels = erased(two_objects(), 9, 1, 3)
    result = lone_identity(swapped(labels, 3, 9, 6))
    assert result.state[0, :2, 1].tolist() == [NOT_VISIBLE] * 2
    assert result.state[0, 2:, 1].tolist() == [OK, OK] + [SWAP] * 3


def test_the_first_invalid_frame_ends_a_row() -> None:
    labels = swapped(two_objects(), 3, 9, 5)
    valid = torch.ones(1, STEPS, dtype=torch.bool)
    valid[0, 3] = False
    result = lone_identity(labels, valid=valid)
    assert (result.state[0, 2:] == IdentityState.UNDEFINED).all()
    assert first(result) == (0, 0, 0)


def test_rows_are_independent() -> None:
    rows = torch.cat([two_objects(), swapped(two_objects(), 3, 9, 4), erased(two_objects(), 9, 5)])
    whole = lone_identity(rows)
    for b in range(3):
        assert lone_identity(rows[b : b + 1]).state.equal(whole.state[b : b + 1])


def test_true_worlds_have_few_events() -> None:
    items = sprite_items(40, 24)
    rollouts = SpriteWorld(48, 48).rollout(items, 24)
    result = lone_identity(rollouts.labels)
    assert int((result.first_break > 0).sum()) <= 0.1 * len(items)


def test_errors() -> None:
    labels = torch.zeros(2, 3, 8, 8, dtype=torch.int64)
    with pytest.raises(ValueError, match="at least one step"):
        lone_identity(labels[:, :1])
    with pytest.raises(ValueError, match="patience"):
        lone_identity(labels, patience=0)
    assert lone_identity(labels).score.isnan().all()
