"""Outlines and marks: where each is drawn, in which colour, and that nothing else changes."""

import pytest
import torch
from torch import Tensor

from wmscore.evidence.strip import paint_labels
from wmscore.plots.outline import outline_objects
from wmscore.plots.palette import palette

RED, WHITE = [230, 0, 0], [255, 255, 255]


def scene(steps: int = 2, size: int = 24, level: int = 100) -> tuple[Tensor, Tensor]:
    """Grey frames with object 1 (4 x 4) and, one row above the lower right corner, object 6."""
    frames = torch.full((steps, 3, size, size), level, dtype=torch.uint8)
    labels = torch.zeros(steps, size, size, dtype=torch.uint8)
    labels[:, 8:12, 8:12] = 1
    labels[:, size - 5 : size - 1, size - 3 :] = 6
    return frames, labels


def where(drawn: Tensor, colour: list[int]) -> Tensor:
    """Pixels of a colour, `[T, H, W]`."""
    return (drawn == torch.tensor(colour, dtype=torch.uint8)[:, None, None]).all(1)


def square(size: int, low: int, high: int) -> Tensor:
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[max(low, 0) : high, max(low, 0) : high] = True
    return mask


def test_paint_labels_has_the_palette() -> None:
    labels = torch.tensor([[[0, 1], [2, 5]]], dtype=torch.uint8)
    painted = paint_labels(labels)
    assert painted.shape == (1, 3, 2, 2)
    assert torch.equal(painted[0].flatten(1).T, palette(6)[[0, 1, 2, 5]])
    assert palette(1).tolist() == [[0, 0, 0]]
    assert torch.equal(palette(40)[:9], palette(9))  # stable
    assert len({tuple(colour) for colour in palette(40).tolist()}) == 40


@pytest.mark.parametrize("width", [1, 2])
def test_the_line_is_around_the_object(width: int) -> None:
    frames, labels = scene()
    before = frames.clone()
    drawn = outline_objects(frames, labels, [1], width=width)
    assert torch.equal(frames, before)
    inside, ring = square(24, 8, 12), square(24, 8 - width, 12 + width)
    beside = square(24, 7 - width, 13 + width)
    colour = palette(2)[1].tolist()
    for t in range(2):
        assert torch.equal(where(drawn, colour)[t], ring & ~inside)
        dark = where(drawn, [0, 0, 0]) | where(drawn, WHITE)
        assert torch.equal(dark[t], beside & ~ring)
        assert torch.equal(drawn[t, :, ~(beside & ~inside)], frames[t, :, ~(beside & ~inside)])


def test_the_line_closes_at_the_border_of_the_frame() -> None:
    frames, labels = scene(1)
    colour = palette(7)[6].tolist()
    line = where(outline_objects(frames, labels, [6]), colour)[0]
    expected = torch.zeros(24, 24, dtype=torch.bool)
    expected[18:24, 20:24] = True
    expected[19:23, 21:23] = False
    assert torch.equal(line, expected)
    everywhere = torch.full_like(labels, 6)
    line = where(outline_objects(frames, everywhere, [6]), colour)[0]
    assert torch.equal(line, ~square(24, 1, 23))


@pytest.mark.parametrize("level", [0, 255])
def test_every_line_is_seen_on_every_ground(level: int) -> None:
    """Line or what is beside it differs from the ground, and they differ from each other."""
    weights = torch.tensor([0.299, 0.587, 0.114])
    for label in range(1, 25):
        frames, labels = scene(1, level=level)
        drawn = outline_objects(frames, labels * label, [label])[0].movedim(0, -1).float()
        line, beside = drawn[7, 9] @ weights, drawn[6, 9] @ weights
        assert abs(float(line - beside)) > 100
        assert max(abs(float(line) - level), abs(float(beside) - level)) > 100


def test_all_objects_and_steps_are_drawn_as_if_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (5, 3, 40, 40), generator=generator, dtype=torch.uint8)
    labels = torch.zeros(5, 40, 40, dtype=torch.int16)
    for t in range(5):
        labels[t, 4 + t : 9 + t, 3:9] = 3
        labels[t, 24:30, 20 + t : 27 + t] = 300
    drawn = outline_objects(frames, labels, torch.tensor([3, 300]))
    alone = frames
    for label in (3, 300):
        alone = torch.cat(
            [outline_objects(alone[t : t + 1], labels[t : t + 1], [label]) for t in range(5)]
        )
    assert torch.equal(drawn, alone)
    assert torch.equal(outline_objects(frames, labels, [7]), frames)
    assert torch.equal(outline_objects(frames, labels, []), frames)


def test_the_later_line_is_on_top() -> None:
    frames = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    labels = torch.zeros(1, 16, 16, dtype=torch.uint8)
    labels[0, 6:10, 4:8] = 1
    labels[0, 6:10, 8:12] = 2
    for order in ([1, 2], [2, 1]):
        drawn = outline_objects(frames, labels, order)[0]
        # Each line lies on the other object; at the seam's ends both want the same pixel.
        assert drawn[:, 7, 8].tolist() == palette(3)[1].tolist()
        assert drawn[:, 7, 7].tolist() == palette(3)[2].tolist()
        assert drawn[:, 5, 7].tolist() == palette(3)[order[-1]].tolist()


def test_a_marked_object_gets_a_red_box() -> None:
    frames, labels = scene(3, size=40)
    labels[labels == 1] = 2  # bright, so that what is beside its line is black
    drawn = outline_objects(frames, labels, [2, 6], marked=[set(), {2}, {6}])
    plain = outline_objects(frames, labels, [2, 6])
    assert torch.equal(drawn[0], plain[0])
    red, white = where(drawn, RED), where(drawn, WHITE)
    outer, inner = square(40, 4, 16), square(40, 6, 14)  # clear of the line and what is beside it
    assert torch.equal(red[1], outer & ~inner)
    halo = square(40, 3, 17) & ~square(40, 7, 13) & ~red[1]
    assert bool(white[1][halo].all())
    untouched = ~square(40, 3, 17) | square(40, 7, 13)
    assert torch.equal(drawn[1][:, untouched], plain[1][:, untouched])
    # At the border of the frame the box stays in it.
    top, bottom = (int(v) for v in red[2].any(1).nonzero()[[0, -1], 0])
    left, right = (int(v) for v in red[2].any(0).nonzero()[[0, -1], 0])
    assert (top, bottom, left, right) == (31, 39, 33, 39)
    table = torch.tensor([[False, False], [True, False], [False, True]])
    assert torch.equal(outline_objects(frames, labels, [2, 6], marked=table), drawn)


def test_a_marked_object_that_is_gone_gets_a_cross_where_it_was() -> None:
    frames, labels = scene(5, size=40)
    labels[0] = 0
    labels[2:] = 0
    labels[2, 30:34, 30:34] = 1
    drawn = outline_objects(frames, labels, [1, 2], marked=[{1}, {1}, set(), {1}, {2}])
    red = where(drawn, RED)
    assert torch.equal(red[1], square(40, 4, 16) & ~square(40, 6, 14))
    for step, low in ((0, 4), (3, 26)):  # of its first place, and of the last one
        cross = red[step][low : low + 12, low : low + 12]
        assert int(red[step].sum()) == int(cross.sum())
        assert bool(cross.diagonal().all())
        assert bool(cross.flip(1).diagonal().all())
        assert not bool(cross[[0, 6, 11, 6], [5, 0, 6, 11]].any())
        assert bool(where(drawn, WHITE)[step].any())
    assert not bool(red[2].any())
    assert not bool(red[4].any())  # it was never anywhere


def test_bad_input() -> None:
    frames, labels = scene()
    with pytest.raises(TypeError, match="frames: expected uint8, got"):
        outline_objects(frames.float(), labels, [1])
    with pytest.raises(TypeError, match="labels: expected integers, got"):
        outline_objects(frames, labels.float(), [1])
    with pytest.raises(ValueError, match=r"frames: expected \[T, 3, H, W\]"):
        outline_objects(frames[:, :1], labels, [1])
    with pytest.raises(ValueError, match=r"labels: expected \[T, H, W\] = \[2, 24, 24\]"):
        outline_objects(frames, labels[:1], [1])
    for ids in ([0], [1, 1], [256]):
        with pytest.raises(ValueError, match=r"ids: expected different labels in 1..255"):
            outline_objects(frames, labels, ids)
    with pytest.raises(ValueError, match="width: expected an integer of at least 1, got 0"):
        outline_objects(frames, labels, [1], width=0)
    with pytest.raises(ValueError, match=r"marked: expected ids out of \[1\].*got \[3\] for 2"):
        outline_objects(frames, labels, [1], marked=[{3}, set()])
    with pytest.raises(ValueError, match=r"marked: expected ids out of \[1\].*for 1"):
        outline_objects(frames, labels, [1], marked=[{1}])
    with pytest.raises(ValueError, match=r"marked: expected bool \[T, N\] = \[2, 1\]"):
        outline_objects(frames, labels, [1], marked=torch.zeros(2, 2, dtype=torch.bool))
