"""Label overlap: counts by hand, a pixel-by-pixel oracle, ids."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from skimage.measure import regionprops
from torch import Tensor

from wmscore.functional import LabelOverlap, label_ids, label_overlap
from wmscore.functional.overlap import overlap_pieces


def random_maps(rows: int = 3, steps: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randint(0, 5, (2, rows, steps, 7, 9), generator=generator)
    names = torch.tensor([0, 4, 17, 900, 32767])[maps]
    names[:, 0] = names[:, 0] * (names[:, 0] < 900)  # a row with fewer objects
    return names[0], names[1]


def assert_same(actual: LabelOverlap, expected: LabelOverlap) -> None:
    for field in fields(LabelOverlap):
        one, other = getattr(actual, field.name), getattr(expected, field.name)
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.fixture(params=["kernel", "torch"])
def _path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to the counts: whole where a kernel reads the labels in place, else in pieces."""
    if request.param == "torch":
        monkeypatch.setattr("wmscore.functional.overlap.has_kernel", lambda name, device: False)


@pytest.mark.usefixtures("_path")
@pytest.mark.parametrize("pixels", [1, 63 * 3, 1 << 20])
def test_equals_pixel_by_pixel(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wmscore.functional._chunks.piece_elements", lambda device: pixels)
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


def own_spaces() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Five rows of a segmenter's ids against two references: labels, ids of both, index."""
    preds, target = random_maps(rows=5, seed=1)
    target = torch.where(target == 4, 2, target)[:2]
    index = torch.tensor([1, 0, 0, 1, 1])
    preds_ids = torch.tensor([[17, 0, 4]]).expand(5, -1)
    target_ids = torch.tensor([[900, 2, 5, 17]]).expand(5, -1)
    return preds, target, preds_ids, target_ids, index


@pytest.mark.usefixtures("_path")
def test_two_id_spaces_and_shared_references(monkeypatch: pytest.MonkeyPatch) -> None:
    preds, target, preds_ids, target_ids, index = own_spaces()
    found = label_overlap(
        preds, target, preds_ids=preds_ids, target_ids=target_ids, target_index=index
    )
    assert found.joint.shape == (5, 4, 5, 4)
    assert found.joint.dtype == torch.int32
    assert found.iou.shape == found.union.shape == found.centroid_distance.shape == (5, 4, 4, 3)
    assert found.target_area.shape == (5, 4, 4)
    assert found.preds_area.shape == found.stray.shape == (5, 4, 3)
    of_rows = target[index]
    for n, i in enumerate(target_ids[0].tolist()):
        for m, j in enumerate(preds_ids[0].tolist()):
            both = (of_rows == i) & (preds == j) if i and j else torch.zeros_like(preds)
            torch.testing.assert_close(
                found.intersection[..., n, m], both.sum((-2, -1)).int(), rtol=0, atol=0
            )
    copied = label_overlap(preds, of_rows, preds_ids=preds_ids, target_ids=target_ids)
    assert_same(found, copied)

    monkeypatch.setattr("wmscore.functional._chunks.piece_elements", lambda device: 40)
    seen = torch.zeros(5, 4)
    for row, step, piece in overlap_pieces(
        preds, target, preds_ids=preds_ids, target_ids=target_ids, target_index=index
    ):
        seen[row, step] += 1
        assert piece.joint.shape[:2].numel() <= 2
        torch.testing.assert_close(piece.joint, found.joint[row, step], rtol=0, atol=0)
        torch.testing.assert_close(piece.stray, found.stray[row, step], rtol=0, atol=0)
        torch.testing.assert_close(
            piece.preds_centroid, found.preds_centroid[row, step], equal_nan=True, rtol=0, atol=0
        )
    assert seen.eq(1).all()


def test_ids_that_are_not_given_are_found() -> None:
    preds, target, preds_ids, target_ids, index = own_spaces()
    of_rows = target[index]
    both = label_overlap(preds, target, target_index=index)
    assert_same(both, label_overlap(preds, of_rows, ids=label_ids(preds, of_rows)))
    assert both.preds_ids.equal(both.target_ids)
    some = label_overlap(preds, target, target_ids=target_ids, target_index=index)
    assert some.preds_ids.equal(label_ids(preds))
    assert some.target_ids.equal(target_ids)
    others = label_overlap(preds, target, preds_ids=preds_ids, target_index=index)
    assert others.preds_ids.equal(preds_ids)
    assert others.target_ids.equal(label_ids(of_rows))


def test_shapes_are_those_of_scikit_image() -> None:
    preds, target = random_maps(seed=2)
    counts = label_overlap(preds, target)
    for b in range(3):
        names = counts.target_ids[b].tolist()
        for t in range(4):
            for maps, area, boxes, centroid in (
                (target, counts.target_area, counts.target_boxes, counts.target_centroid),
                (preds, counts.preds_area, counts.preds_boxes, counts.preds_centroid),
            ):
                regions = regionprops(maps[b, t].numpy())
                assert {int(region.label) for region in regions} <= set(names)
                seen = torch.zeros(len(names), dtype=torch.bool)
                for region in regions:
                    n = names.index(int(region.label))
                    seen[n] = True
                    assert int(area[b, t, n]) == region.area
                    assert boxes[b, t, n].tolist() == list(region.bbox)
                    np.testing.assert_allclose(centroid[b, t, n], region.centroid, rtol=1e-14)
                assert area[b, t][~seen].eq(0).all()
                assert boxes[b, t][~seen].eq(0).all()
                assert centroid[b, t][~seen].isnan().all()


def test_centroid_distance_by_hand() -> None:
    target = torch.zeros(1, 1, 12, 12, dtype=torch.uint8)
    preds = torch.zeros_like(target)
    target[0, 0, 2:4, 2:4] = 1  # centre (2.5, 2.5)
    target[0, 0, 10, 0:3] = 2  # (10, 1)
    preds[0, 0, 5:7, 6:8] = 1  # (5.5, 6.5)
    ids = torch.tensor([[1, 2, 3]])
    found = label_overlap(preds, target, ids=ids)
    assert found.target_centroid[0, 0, :2].tolist() == [[2.5, 2.5], [10.0, 1.0]]
    assert found.target_sums[0, 0].tolist() == [[10, 10], [30, 3], [0, 0]]
    assert found.preds_sums[0, 0].tolist() == [[22, 26], [0, 0], [0, 0]]
    distance = found.centroid_distance[0, 0]
    torch.testing.assert_close(
        distance[:2, 0], torch.tensor([5.0, (4.5**2 + 5.5**2) ** 0.5], dtype=torch.float64)
    )
    assert distance[2].isnan().all()
    assert distance[:, 1:].isnan().all()


@pytest.mark.parametrize("dtypes", [("int8", "int8"), ("uint8", "int8"), ("uint8", "int64")])
def test_dtypes_may_differ(dtypes: tuple[str, str]) -> None:
    preds, target = (maps % 100 for maps in random_maps())
    expected = label_overlap(preds, target)
    mixed = [m.to(getattr(torch, name)) for m, name in zip((preds, target), dtypes, strict=True)]
    assert_same(label_overlap(*mixed), expected)
    negative = torch.full((1, 1, 2, 2), -100, dtype=torch.int8)
    found = label_overlap(negative, negative, ids=torch.tensor([[156]]))
    assert found.joint.tolist() == [[[[4, 0], [0, 0]]]]


def test_ids_of_one_map() -> None:
    preds, target = random_maps()
    assert label_ids(target).equal(label_ids(target, target))
    third = torch.zeros_like(preds)
    third[0, 0, 0, 0] = 5
    assert label_ids(preds, target, third).tolist()[0] == [4, 5, 17, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({1: -7}, r"labels must lie in 0\.\.32767, got -7\.\.3 \(row 1 is outside\)"),
        ({2: 40000}, r"labels must lie in 0\.\.32767, got 0\.\.40000 \(row 2 is outside\)"),
    ],
)
def test_labels_out_of_range_name_their_row(change: dict[int, int], message: str) -> None:
    labels = torch.randint(0, 4, (3, 2, 6, 6))
    labels[:, 0, 0, 0] = 3
    for row, value in change.items():
        labels[row, 1, 2, 3] = value
    with pytest.raises(ValueError, match=message):
        label_ids(labels)
    with pytest.raises(ValueError, match=message):
        label_overlap(labels, labels.clamp(0, 3))


def test_too_many_objects_name_their_row() -> None:
    labels = torch.zeros(4, 1, 16, 17, dtype=torch.int32)
    labels[2] = torch.arange(272).view(16, 17).clamp(max=255)
    assert label_ids(labels).shape == (4, 255)
    labels[2] = torch.arange(272).view(16, 17)
    with pytest.raises(ValueError, match="at most 255 objects, got 271 in row 2"):
        label_ids(labels)


MAPS = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
IDS = torch.tensor([[1, 2], [0, 0]])


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"ids": IDS, "preds_ids": IDS}, ValueError, "ids are for both maps"),
        ({"preds_ids": IDS[:1]}, ValueError, r"preds_ids must have shape \[B, N\] with B = 2"),
        ({"target_ids": IDS.float()}, TypeError, "target_ids must be integers, got torch.float32"),
        ({"target_ids": IDS - 1}, ValueError, r"target_ids must lie in 0\.\.32767, got -1\.\.1"),
        (
            {"ids": IDS.flip(0).clamp(max=1)},
            ValueError,
            "ids must be distinct, got 1 twice in row 1",
        ),
        ({"ids": torch.zeros(2, 256).int()}, ValueError, "ids must list at most 255 objects.*256"),
        ({"target_labels": MAPS[:1]}, ValueError, r"one shape \[B, T, H, W\]"),
        (
            {"target_labels": MAPS[:, 1:], "target_index": IDS[1]},
            ValueError,
            r"same \[T, H, W\], got \(2, 3, 4, 5\) and \(2, 2, 4, 5\)",
        ),
        ({"target_index": IDS[0].int()}, TypeError, "target_index must be int64, got torch.int32"),
        ({"target_index": IDS[0, :1]}, ValueError, r"target_index .* B = 2, got \(1,\)"),
        ({"target_index": IDS[0]}, ValueError, r"target_index must lie in 0\.\.1.* got 1\.\.2"),
        ({"target_index": IDS[1].to("meta")}, ValueError, "target_index must be on cpu"),
        ({"target_index": [0, 0]}, TypeError, r"target_index must be a torch\.Tensor, got list"),
    ],
)
def test_errors(wrong: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        label_overlap(**({"preds_labels": MAPS, "target_labels": MAPS} | wrong))


def test_ids_need_a_map() -> None:
    with pytest.raises(TypeError, match="label_ids needs a label map, got none"):
        label_ids()
    with pytest.raises(TypeError, match="labels must be an integer label map"):
        label_ids(MAPS.float())
    with pytest.raises(ValueError, match=r"labels\[0\] and labels\[1\] must have one shape"):
        label_ids(MAPS, MAPS[:1])
