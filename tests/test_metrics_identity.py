"""The class door of identity: the numbers of the function, in pieces, and joined over ranks."""

import pytest
import torch

from wmscore import functional as F
from wmscore.metrics import IdentityPersistence
from wmscore.testing import Faulty, IdentitySwap, sprite_items
from wmscore.worlds import SpriteWorld


@pytest.fixture(scope="module")
def labels() -> tuple[torch.Tensor, torch.Tensor]:
    world, items = SpriteWorld(48, 48), sprite_items(3, 12)
    truth, model = (w.rollout(items, 12) for w in (world, Faulty(world, IdentitySwap())))
    return model.labels[:, 1:], truth.labels[:, 1:]


@pytest.mark.parametrize("by_area", [False, True])
def test_class_and_function_agree_in_pieces(labels, by_area):
    preds, target = labels
    found = F.object_identity(preds, target, patience=3)
    door = IdentityPersistence(options={"patience": 3}, by_area=by_area)
    for piece in (slice(0, 1), slice(1, 6)):
        door.update(preds[piece], target[piece])
    result = door.compute()
    score = found.area_score if by_area else found.score
    torch.testing.assert_close(result["score"], score.nanmean(1), rtol=0, atol=0)
    assert result["first_break"].equal(found.first_break)
    assert result["first_break"].any()
    door.reset()
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert door.compute()["score"].shape == (0,)


def test_two_ranks_are_joined(labels):
    def gather(value: torch.Tensor, group: object = None) -> list[torch.Tensor]:
        return [value, value + 1]

    door = IdentityPersistence(dist_sync_fn=gather, distributed_available_fn=lambda: True)
    door.update(*labels)
    alone = F.object_identity(*labels).first_break
    assert door.compute()["first_break"].equal(torch.cat([alone, alone + 1]))


def test_options_are_checked_where_they_are_used(labels):
    with pytest.raises(ValueError, match="patience must be at least 1"):
        IdentityPersistence(options={"patience": 0}).update(*labels)
