"""Labels carried along a video: known motion, confidence, invariances, errors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torch.testing import assert_close

from tests.functional.objects_on_texture import BLUE, GREEN, RED, Disc, background, three, video
from wmscore.functional.carry import carry_labels
from wmscore.functional.first_labels import labels_from_boxes, labels_from_points

IDS = torch.tensor([[3, 7, 9]])


def iou(a: Tensor, b: Tensor, name: int) -> Tensor:
    """Of the pixels of one object, per frame ``[B, T]``."""
    mine, theirs = a == name, b == name
    both = (mine & theirs).flatten(2).sum(2)
    return both / (mine | theirs).flatten(2).sum(2)


def test_moving_discs_are_carried_exactly() -> None:
    frames, labels = video(three(), steps=8)
    carried = carry_labels(frames, labels[:, 0])
    assert_close(carried.ids, IDS)
    assert_close(carried.labels, labels)
    assert carried.confidence.shape == (1, 8, 3)
    assert (carried.confidence > 0.9).all()


@pytest.mark.parametrize("change", ["gain", "noise"])
def test_disturbed_videos_are_carried_nearly(change: str) -> None:
    frames, labels = video(three(), steps=8)
    x = frames.float()
    if change == "gain":
        x[:, 1:] = 0.9 * x[:, 1:]
    else:
        x[:, 1:] += 6 * torch.randn(x[:, 1:].shape)
    carried = carry_labels(x.round().clamp(0, 255).to(torch.uint8), labels[:, 0])
    for name in (3, 7, 9):
        assert (iou(carried.labels, labels, name) > 0.8).all()
    assert (carried.confidence > 0.4).all()  # a change of brightness is a change of look


def test_an_object_that_is_gone_is_lost() -> None:
    discs = [Disc(3, RED, (16, 14)), Disc(7, GREEN, (44, 44)), Disc(9, BLUE, (16, 46))]
    frames, labels = video(discs, steps=8)
    without, _ = video(discs[1:], steps=8)
    gone = torch.cat([frames[:, :4], without[:, 4:]], 1)
    carried = carry_labels(gone, labels[:, 0])
    assert (carried.confidence[0, :4] > 0.9).all()
    assert (carried.confidence[0, 4:, 0] < 0.5).all()
    assert (carried.confidence[0, 4:, 1:] > 0.9).all()


def test_an_object_that_becomes_another_is_lost() -> None:
    frames, labels = video(three(), steps=8)
    changed, _ = video([Disc(3, (250, 240, 250), (16, 14), (1, 1)), *three()[1:]], steps=8)
    made = torch.cat([frames[:, :4], changed[:, 4:]], 1)
    carried = carry_labels(made, labels[:, 0])
    assert (carried.confidence[0, 4:, 0] < 0.5).all()
    assert (carried.confidence[0, 4:, 1:] > 0.9).all()


def test_rows_do_not_see_each_other() -> None:
    videos = [video(three(), steps=6, ground=background(seed=seed)) for seed in range(3)]
    frames = torch.cat([v[0] for v in videos])
    frames[1] = frames[1].flip(-1)
    labels = torch.cat([v[1] for v in videos])
    labels[1] = labels[1].flip(-1)
    whole = carry_labels(frames, labels[:, 0])
    for row in range(3):
        one = carry_labels(frames[row : row + 1], labels[row : row + 1, 0])
        assert_close(one.labels, whole.labels[row : row + 1])
        assert_close(one.confidence, whole.confidence[row : row + 1], rtol=0, atol=1e-5)
    prefix = carry_labels(frames[:, :4], labels[:, 0])
    assert_close(prefix.labels, whole.labels[:, :4])


def test_dtypes_agree() -> None:
    frames, labels = video(three(), steps=6)
    first = carry_labels(frames, labels[:, 0].to(torch.int16))
    second = carry_labels(frames.float() / 255, labels[:, 0])
    assert_close(first.labels, second.labels)
    assert_close(first.confidence, second.confidence)


def test_ids_choose_and_padding_is_nobody() -> None:
    frames, labels = video(three(), steps=4)
    carried = carry_labels(frames, labels[:, 0], ids=torch.tensor([[9, 0, 3]]))
    assert sorted(carried.labels.unique().tolist()) == [0, 3, 9]
    assert (carried.confidence[0, :, 1] == 0).all()
    assert (carried.confidence[0, :, [0, 2]] > 0.9).all()
    empty = carry_labels(frames, torch.zeros_like(labels[:, 0]))
    assert empty.ids.shape == (1, 0)
    assert (empty.labels == 0).all()


def test_a_frame_that_is_not_finite_is_skipped() -> None:
    frames, labels = video(three(), steps=6)
    x = frames.float() / 255
    x[0, 3, 1, 20, 20] = torch.nan
    carried = carry_labels(x, labels[:, 0])
    assert (carried.labels[0, 3] == 0).all()
    assert (carried.confidence[0, 3] == 0).all()
    assert (carried.confidence[0, 4:] > 0.5).all()
    for name in (3, 7, 9):
        assert (iou(carried.labels, labels, name)[0, 4:] > 0.9).all()


class Cells:
    """Lifted cell means at stride 2, as a network's features would be."""

    name = "cells"

    def encode(self, frames: Tensor) -> list[Tensor]:
        x = frames.float() / 255 if frames.dtype == torch.uint8 else frames
        means = avg_pool2d(x, 2) - 0.5
        return [torch.cat([means, (2 - means.square().sum(1, keepdim=True)).sqrt()], 1)]

    def chunk_frames(self, frames: Tensor) -> int:
        return 8


def test_an_encoder_takes_the_place_of_colours() -> None:
    frames, labels = video(three(), steps=6)
    carried = carry_labels(frames, labels[:, 0], encoder=Cells(), radius=3, temperature=0.01)
    for name in (3, 7, 9):
        assert (iou(carried.labels, labels, name) > 0.7).all()
    assert (carried.confidence > 0.5).all()


def test_boxes_and_points() -> None:
    boxes = torch.tensor([[[0, 0, 4, 4], [1, 1, 3, 3], [2, 2, 2, 6]]])
    labels = labels_from_boxes(boxes, (5, 6), ids=torch.tensor([[4, 2, 8]]))
    expected = torch.zeros(1, 5, 6, dtype=torch.int64)
    expected[0, :4, :4] = 4
    expected[0, 1:3, 1:3] = 2  # the smaller one lies in front, the empty one is none
    assert_close(labels, expected)
    points = torch.tensor([[[2.5, 1.5], [2.5, 4.5], [0.5, 0.5]]])
    labels = labels_from_points(points, (5, 6), radius=2, ids=torch.tensor([[4, 2, 0]]))
    assert labels[0, 2].tolist() == [4, 4, 4, 2, 2, 2]  # the nearer one has the pixel
    assert labels[0, 0, 1] == 4
    assert labels[0, 4, 0] == 0
    frames, truth = video(three(), steps=6)
    middles = torch.tensor([[[16.5, 14.5], [44.5, 20.5], [20.5, 46.5]]])
    carried = carry_labels(frames, labels_from_points(middles, (64, 64), radius=4, ids=IDS))
    for name in (3, 7, 9):
        inside = truth[carried.labels == name] == name
        assert inside.float().mean() > 0.95


def test_errors() -> None:
    frames, labels = video(three(), steps=3)
    first = labels[:, 0]
    with pytest.raises(ValueError, match=r"frames must have shape \[B, T \+ 1, C, H, W\]"):
        carry_labels(frames[0], first)
    with pytest.raises(ValueError, match=r"first must have shape \[B, H, W\]"):
        carry_labels(frames, first[:, 1:])
    with pytest.raises(TypeError, match="first must be an integer"):
        carry_labels(frames, first.float())
    with pytest.raises(ValueError, match="memory must be at least 1"):
        carry_labels(frames, first, memory=0)
    with pytest.raises(ValueError, match=r"topk must be 1\.\.16"):
        carry_labels(frames, first, topk=17)
    with pytest.raises(ValueError, match="temperature must be"):
        carry_labels(frames, first, temperature=0.0)
    with pytest.raises(ValueError, match=r"boxes must have shape \[B, N, 4\]"):
        labels_from_boxes(torch.zeros(1, 2, 3), (4, 4))
    with pytest.raises(ValueError, match=r"ids must have shape \[B, N\]"):
        labels_from_boxes(torch.zeros(1, 2, 4), (4, 4), ids=torch.tensor([[1, 2, 3]]))
    with pytest.raises(TypeError, match="points must hold real numbers"):
        labels_from_points(torch.zeros(1, 2, 2, dtype=torch.bool), (4, 4))
    with pytest.raises(ValueError, match="radius must be"):
        labels_from_points(torch.zeros(1, 2, 2), (4, 4), radius=0)


def test_no_value_is_read_on_the_device() -> None:
    frames = torch.empty(2, 4, 3, 32, 32, dtype=torch.uint8, device="meta")
    first = torch.empty(2, 32, 32, dtype=torch.int16, device="meta")
    ids = torch.empty(2, 3, dtype=torch.int64, device="meta")
    carried = carry_labels(frames, first, ids=ids)
    assert carried.labels.shape == (2, 4, 32, 32)
    assert carried.confidence.shape == (2, 4, 3)


@pytest.mark.needs_cuda
def test_cuda_agrees_with_the_cpu() -> None:
    frames, labels = video(three(), steps=6)
    here = carry_labels(frames, labels[:, 0])
    there = carry_labels(frames.cuda(), labels[:, 0].cuda())
    assert (there.labels.cpu() == here.labels).float().mean() > 0.999
    assert_close(there.confidence.cpu(), here.confidence, rtol=0, atol=1e-3)
