"""Label overlap: counts by hand, a pixel-by-pixel oracle, ids."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wmscore.functional import label_ids, label_overlap


def random_maps(rows: int = 3, steps: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randint(0, 5, (2, rows, steps, 7, 9), generator=generator)
    names = torch.tensor([0, 4, 17, 900, 32767])[maps]
    names[:, 0] = names[:, 0] * (names[:, 0] < 900)  # a row with fewer objects
    return names[0], names[1]


@pytest.mark.parametrize("pixels", [1, 63 * 3, 1 << 20])
def test_equals_pixel_by_pixel(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wmscore.functional.overlap.piece_elements", lambda device: pixels)
    preds, target = random_maps()
    counts = label_overlap(preds, target)
    assert counts.preds_ids.tolist() == [[4, 17, 0, 0], [4, 17, 900, 32767], [4, 17, 900, 32767]]
    for b in range(3):
        slots = [0, *counts.preds_ids[b].tolist()]
        for t in range(4):
            for i, reference in enumerate(slots):
                for j, generated in enumerate(slots):
                    if (i and not reference) or (j and not generated):
                        expected = 0  # padding
                    else:
                        both = (target[b, t] == reference) & (preds[b, t] == generated)
                        expected = int(both.sum())
                    assert int(counts.joint[b, t, i, j]) == expected
            for n, name in enumerate(counts.preds_ids[b].tolist()):
                places = (target[b, t] == name).nonzero() if name else torch.zeros(0, 2)
                if not len(places):
                    assert counts.target_boxes[b, t, n].tolist() == [0, 0, 0, 0]
                    continue
                top, left = places.amin(0).tolist()
                bottom, right = (places.amax(0) + 1).tolist()
                assert counts.target_boxes[b, t, n].tolist() == [top, left, bottom, right]


def test_derived_counts() -> None:
    preds, target = random_maps(seed=3)
    counts = label_overlap(preds, target)
    assert counts.joint.sum((-2, -1)).eq(63).all()
    own = counts.preds_ids[:, None, :, None, None]
    exists = own[..., 0, 0] > 0
    assert counts.target_area.equal((target[:, :, None] == own).sum((-2, -1)) * exists)
    assert counts.preds_area.equal((preds[:, :, None] == own).sum((-2, -1)) * exists)
    either = (target[:, :, None] == own)[:, :, :, None] | (preds[:, :, None] == own)[:, :, None]
    both_exist = exists[..., :, None] & exists[..., None, :]
    assert (counts.union * both_exist).equal(either.sum((-2, -1)) * both_exist)
    iou = counts.iou
    assert iou.isnan().equal(counts.union == 0)
    assert iou.nan_to_num(0.5).ge(0).all()
    assert iou.nan_to_num(0.5).le(1).all()


def test_stray_pixels() -> None:
    target = torch.zeros(1, 1, 30, 30, dtype=torch.uint8)
    target[0, 0, 12:14, 10:15] = 1  # 2 high, 5 wide: grown to rows 10..15 and columns 5..19
    for (y, x), is_stray in {
        (10, 5): 0,
        (15, 19): 0,
        (9, 10): 1,
        (16, 10): 1,
        (12, 4): 1,
        (12, 20): 1,
    }.items():
        preds = torch.zeros_like(target)
        preds[0, 0, y, x] = 1
        assert label_overlap(preds, target).stray.tolist() == [[[is_stray]]]
    everywhere = torch.ones_like(target)
    assert label_overlap(everywhere, target).stray.tolist() == [[[900 - 6 * 15]]]


def test_ids() -> None:
    empty = torch.zeros(2, 1, 3, 3, dtype=torch.int16)
    assert label_ids(empty, empty).shape == (2, 0)
    assert label_ids(empty[:0], empty[:0]).shape == (0, 0)
    some = empty.clone()
    some[1, 0, 0] = torch.tensor([32767, 5, 5])
    assert label_ids(empty, some).tolist() == [[0, 0], [5, 32767]]
    assert label_ids(some, empty).tolist() == [[0, 0], [5, 32767]]
    valid = torch.tensor([[True], [False]])
    assert label_ids(some, empty, valid=valid).shape == (2, 0)


def test_labels_that_are_not_listed_are_background() -> None:
    target = torch.tensor([[[[7, 8], [-3, 40000]]]])
    counts = label_overlap(target, target, ids=torch.tensor([[8, 32767]]))
    assert counts.joint.tolist() == [[[[3, 0, 0], [0, 1, 0], [0, 0, 0]]]]
    assert counts.target_boxes.tolist() == [[[[0, 1, 1, 2], [0, 0, 0, 0]]]]
