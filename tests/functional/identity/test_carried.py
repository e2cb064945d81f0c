"""Identity without labels as one call: odd shapes, and what there is nothing to say of."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from wmscore.functional import (
    IdentityState,
    Reason,
    break_agreement,
    carried_identity,
    labels_from_boxes,
    object_identity,
)
from wmscore.rollouts import Rollouts
from wmscore.testing import Faulty, IdentitySwap, sprite_items
from wmscore.worlds import SpriteWorld

WORLD = SpriteWorld(48, 48)
Pair = tuple[Rollouts, Rollouts]


@pytest.fixture(scope="module")
def pair() -> Pair:
    items = sprite_items(3, 10)
    return WORLD.rollout(items, 10), Faulty(WORLD, IdentitySwap()).rollout(items, 10)


def test_the_true_world_is_itself(pair: Pair) -> None:
    truth, _ = pair
    assert truth.labels is not None
    for target_labels in (truth.labels, None):
        found = carried_identity(
            truth.frames, truth.frames, truth.labels[:, 0], target_labels=target_labels
        )
        assert not found.first_break.any()
        assert (found.score.nan_to_num(1.0) == 1).all()


def test_no_object_in_the_given_frame(pair: Pair) -> None:
    truth, model = pair
    nothing = torch.zeros_like(truth.labels[:, 0])  # type: ignore[index]
    found = carried_identity(model.frames, truth.frames, nothing)
    assert found.state.shape == (6, 10, 0)
    assert found.score.isnan().all()
    assert (found.reason == Reason.NO_OBJECT).all()
    assert not found.first_break.any()


def test_twins_are_undetermined_with_their_reason() -> None:
    frames = torch.full((1, 5, 3, 32, 48), 90, dtype=torch.uint8)
    labels = torch.zeros(1, 5, 32, 48, dtype=torch.uint8)
    for name, left in ((1, 6), (2, 30)):
        frames[..., 10:22, left : left + 12] = 220
        labels[..., 10:22, left : left + 12] = name
    found = carried_identity(frames, frames, target_labels=labels)
    assert (found.state == IdentityState.UNDETERMINED).all()
    assert (found.object_reason == Reason.TWIN).all()
    assert found.other_id[0, 0].tolist() == [2, 1]
    assert not found.matched_id.any()
    assert not found.confidence.any()
    assert (found.reason == Reason.UNDETERMINED).all()


def test_rows_may_share_a_reference(pair: Pair) -> None:
    truth, model = pair
    assert truth.labels is not None
    own = carried_identity(
        model.frames, truth.frames, truth.labels[:, 0], target_labels=truth.labels
    )
    index = torch.tensor([4, 0, 4])
    shared = carried_identity(
        model.frames[index],
        truth.frames,
        truth.labels[:, 0],
        target_labels=truth.labels,
        target_index=index,
    )
    for field in fields(own):
        torch.testing.assert_close(
            getattr(shared, field.name), getattr(own, field.name)[index], equal_nan=True
        )


def test_boxes_do_for_labels(pair: Pair) -> None:
    truth, model = pair
    assert truth.labels is not None
    first = truth.labels[:, 0]
    boxes = torch.zeros(6, 5, 4)
    for row in range(6):
        for name in range(1, 6):
            places = (first[row] == name).nonzero()
            if len(places):
                low, high = places.amin(0), places.amax(0) + 1
                boxes[row, name - 1] = torch.cat([low, high])
    found = carried_identity(model.frames, truth.frames, labels_from_boxes(boxes, (48, 48)))
    assert (found.state == IdentityState.SWAP).any()


def test_agreement_with_labels(pair: Pair) -> None:
    truth, model = pair
    assert truth.labels is not None
    assert model.labels is not None
    found = carried_identity(
        model.frames, truth.frames, truth.labels[:, 0], target_labels=truth.labels
    )
    by_labels = object_identity(model.labels[:, 1:], truth.labels[:, 1:])
    same = break_agreement(by_labels, by_labels)
    assert same.counts()["hit"] == int((by_labels.object_first_break > 0).sum()) > 0
    assert not (same.off | same.missed | same.false).any()
    error = break_agreement(found, by_labels)
    assert torch.stack(list(error)).sum(0).equal((found.ids > 0).long())
    true = break_agreement(by_labels, object_identity(truth.labels[:, 1:], truth.labels[:, 1:]))
    assert true.counts()["false"] == same.counts()["hit"]
    with pytest.raises(ValueError, match="the same rows, got 6 and 0"):
        break_agreement(found, object_identity(truth.labels[:0, 1:], truth.labels[:0, 1:]))


def test_errors(pair: Pair) -> None:
    truth, model = pair
    assert truth.labels is not None
    first = truth.labels[:, 0]
    with pytest.raises(ValueError, match="preds must have shape"):
        carried_identity(model.frames[0], truth.frames, first)
    with pytest.raises(ValueError, match="patience must be at least 1"):
        carried_identity(model.frames, truth.frames, first, patience=0)
    with pytest.raises(ValueError, match="sensitivity must be a number"):
        carried_identity(model.frames, truth.frames, first, sensitivity=1.5)
    with pytest.raises(
        ValueError,
        match=r"first_labels must have shape .* \(6, 48, 48\) like target",
    ):
        carried_identity(model.frames, truth.frames, first[:, 1:])
    with pytest.raises(TypeError, match="first_labels must be an integer label map"):
        carried_identity(model.frames, truth.frames, first.float())
    with pytest.raises(ValueError, match=r"preds and target must have one \[T \+ 1, C, H, W\]"):
        carried_identity(model.frames[..., ::2, ::2], truth.frames, first)
    with pytest.raises(ValueError, match="first_labels or target_labels must be given"):
        carried_identity(model.frames, truth.frames)
    with pytest.raises(ValueError, match=r"first_labels must have shape"):
        object_identity(truth.labels[:, 1:], truth.labels[:, 1:], first_labels=truth.labels[:, :1])


def test_first_labels_are_those_of_the_reference_by_default(pair: Pair) -> None:
    truth, model = pair
    assert truth.labels is not None
    given = carried_identity(
        model.frames, truth.frames, truth.labels[:, 0], target_labels=truth.labels
    )
    default = carried_identity(model.frames, truth.frames, target_labels=truth.labels)
    assert default.state.equal(given.state)
