"""Labels with ids of their own: names are given once, in place, and kept."""

from __future__ import annotations

import pytest
import torch

from tests.functional.identity.scenes import STEPS, erased, rollout, swapped, two_objects
from wmscore.functional import IdentityState, object_identity, share_ids


def renamed(labels: torch.Tensor, **names: int) -> torch.Tensor:
    out = torch.zeros_like(labels)
    for old, new in names.items():
        out[labels == int(old[1:])] = new
    return out


def test_any_renaming_is_undone() -> None:
    target = two_objects()
    shared = share_ids(renamed(target, _3=200, _9=3), target)
    assert shared.dtype == torch.int32
    assert shared.long().equal(target)


@pytest.mark.parametrize("start", [2, 5])
def test_a_swap_after_the_given_frame_stays_a_swap(start: int) -> None:
    target = two_objects()
    preds = renamed(swapped(target, 3, 9, start), _3=70, _9=71)
    shared = share_ids(preds, target)
    result = object_identity(shared[:, 1:], target[:, 1:], first_labels=target[:, 0])
    assert result.object_first_break.tolist() == [[start - 1] * 2]
    assert (result.object_first_event == IdentityState.SWAP).all()


def test_names_are_kept_through_absence() -> None:
    target = erased(two_objects(), 9, 3, 5)
    shared = share_ids(renamed(target, _3=70, _9=71), target)
    assert shared.long().equal(target)


def test_a_late_object_is_named_when_it_comes() -> None:
    target = erased(two_objects(), 9, 1, 3)
    shared = share_ids(renamed(target, _3=9, _9=3), target)
    assert shared.long().equal(target)


def test_a_new_number_on_return_is_another_object_unless_it_may_rejoin() -> None:
    target = erased(two_objects(), 9, 3, 5)
    preds = renamed(target, _3=70, _9=71)
    preds[:, 5:][preds[:, 5:] == 71] = 72
    result = object_identity(share_ids(preds, target)[:, 1:], target[:, 1:])
    assert int(result.first_break_event[0]) == IdentityState.REENTRY
    assert int(result.first_break[0]) == 5
    assert share_ids(preds, target, rejoin=True).long().equal(target)


def test_strangers_get_numbers_above() -> None:
    target = two_objects()
    preds = target.clone()
    preds[0, 2:, 20:26, 14:20] = 1
    preds[0, 2:, 30:33, 14:20] = 2
    shared = share_ids(preds, target)
    assert set(shared.unique().tolist()) == {0, 3, 9, 10, 11}
    assert (shared == 10).equal(preds == 1)


def test_the_matching_is_optimal_and_nobody_is_named_twice() -> None:
    target = rollout((1, 4, 4), (2, 4, 10), steps=2, size=6)
    preds = torch.zeros_like(target)
    preds[0, 0, 4:10, 7:13] = 8  # half in each place; 2's other candidate is 5
    preds[0, 0, 4:10, 13:16] = 5
    shared = share_ids(preds[:, :1], target[:, :1], iou_gate=0.3)
    names = {int(n): int(shared[preds[:, :1] == n][0]) for n in (5, 8)}
    assert names == {8: 1, 5: 2}


def test_rows_are_independent_and_padding_is_nothing() -> None:
    one, none = two_objects(), torch.zeros(1, STEPS, 40, 40, dtype=torch.int64)
    both = torch.cat([one, none])
    shared = share_ids(renamed(both, _3=70, _9=71), both)
    assert shared.long().equal(both)
    valid = torch.ones(2, STEPS, dtype=torch.bool)
    valid[0, 0] = False
    garbage = renamed(both, _3=70, _9=71)
    garbage[0, 0] = 5
    assert share_ids(garbage, both, valid=valid)[:, 1:].long().equal(both[:, 1:])


def test_errors() -> None:
    labels = torch.zeros(2, 3, 8, 8, dtype=torch.int64)
    with pytest.raises(ValueError, match="iou_gate"):
        share_ids(labels, labels, iou_gate=0.0)
    with pytest.raises(ValueError, match="one shape"):
        share_ids(labels, labels[:1])
    with pytest.raises(TypeError, match="integer label map"):
        share_ids(labels.float(), labels)
