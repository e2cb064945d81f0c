"""Morph, re-entry, merge, split and spawn: what they change, where, and what they record."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.testing import Fault, Faulty, Merge, Morph, Reentry, Spawn, Split, sprite_items
from wmscore.testing.faults.regions import areas, boxes, mean_colours
from wmscore.worlds import Item, SpriteWorld
from wmscore.worlds.protocol import item_keys
from wmscore.worlds.step import stack_actions

HORIZON = 16
WORLD = SpriteWorld()


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return sprite_items(6, HORIZON, seeds=(0, 1), branches=2)


@pytest.fixture(scope="module")
def truth(items: list[Item]) -> Rollouts:
    return WORLD.rollout(items, HORIZON)


def labels_of(rollouts: Rollouts) -> Tensor:
    assert rollouts.labels is not None
    return rollouts.labels


def facts(rollouts: Rollouts) -> list[tuple[int, int, int]]:
    """Step, object and other object of every row."""
    names = ("fault_step", "fault_object", "fault_other_object")
    return list(zip(*(rollouts.info[name].tolist() for name in names), strict=True))


def assert_only_changed(row: int, mask: Tensor, rollouts: Rollouts, truth: Rollouts) -> None:
    """Pixels and labels outside `mask` `[T+1, H, W]` are the truth's."""
    assert torch.equal(labels_of(rollouts)[row][~mask], labels_of(truth)[row][~mask])
    pixels, real = (r.frames[row].movedim(1, -1) for r in (rollouts, truth))
    assert torch.equal(pixels[~mask], real[~mask])


def distance(rollouts: Rollouts, truth: Rollouts, row: int, mask: Tensor) -> float:
    """From the mean colour in `mask` to the nearest of an object or the background of the truth."""
    group = slice(row - row % 2, row - row % 2 + 1)  # colours are chosen in the commanded rollout
    means, there = mean_colours(truth.frames[group], labels_of(truth)[group])
    here = rollouts.frames[row].movedim(1, -1)[mask].double().mean(0)
    return float((means[0][there[0]].double() - here).norm(dim=1).min())


# ---- morph -------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_label", [False, True])
def test_morph(keep_label: bool, items: list[Item], truth: Rollouts) -> None:
    fault = Morph(keep_label=keep_label)
    assert fault.name == ("morph-unnoticed" if keep_label else "morph")
    rollouts = Faulty(WORLD, fault).rollout(items, HORIZON)
    before, after = labels_of(truth), labels_of(rollouts)
    for row, (step, old, new) in enumerate(facts(rollouts)):
        assert old > 0
        mask = before[row] == old
        mask[:step] = False
        assert bool(mask[step].any())
        assert_only_changed(row, mask, rollouts, truth)
        if keep_label:
            assert new == 0
            assert torch.equal(after[row], before[row])
        else:
            assert new == int(before[row].max()) + 1
            assert bool((after[row][mask] == new).all())
        assert distance(rollouts, truth, row, mask) > 60
        # A pattern, not a plain colour: two tones that are at least 120 apart, less the grain.
        shown = rollouts.frames[row].movedim(1, -1)[mask].double()
        assert float(torch.pdist(shown[:400]).max()) > 120 - 2 * 10 * 3**0.5


def test_morph_textures_differ(items: list[Item]) -> None:
    rollouts = Faulty(WORLD, Morph(step=5)).rollout(items, HORIZON)
    colours = set()
    for row in range(0, len(items), 2):
        mask = labels_of(rollouts)[row] == rollouts.info["fault_other_object"][row]
        mean = rollouts.frames[row].movedim(1, -1)[mask].double().mean(0)
        colours.add(tuple((mean / 40).round().tolist()))
    assert len(colours) >= 4  # of 12 groups


def test_floating_point_frames_are_changed_alike(items: list[Item]) -> None:
    whole = Faulty(WORLD, Morph()).rollout(items[:2], HORIZON)
    floating = Faulty(Floating(), Morph()).rollout(items[:2], HORIZON)
    torch.testing.assert_close(floating.frames * 255, whole.frames.float(), rtol=0, atol=1e-3)
    assert torch.equal(labels_of(floating), labels_of(whole))


@pytest.mark.parametrize("fault", [Morph(), Split(), Spawn()], ids=lambda fault: fault.name)
def test_a_new_label_needs_room(fault: Fault, items: list[Item]) -> None:
    full = Renamed(254, torch.uint8)
    rollouts = Faulty(full, fault).rollout(items[:2], HORIZON)
    assert int(labels_of(rollouts).max()) == 255
    assert labels_of(rollouts).dtype == torch.uint8
    with pytest.raises(ValueError, match=r"at most 255 in torch.uint8, got 256"):
        Faulty(Renamed(255, torch.uint8), fault).rollout(items[:2], HORIZON)
    wide = Faulty(Renamed(255, torch.int16), fault).rollout(items[:2], HORIZON)
    assert int(labels_of(wide).max()) == 256
    assert labels_of(wide).dtype == torch.int16
    # Nothing is needed where nothing new comes.
    Faulty(Renamed(255, torch.uint8), Morph(keep_label=True)).rollout(items[:2], HORIZON)


# ---- re-entry ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """Squares of 8 x 8 on grey; which is how wide at each step is told: `widths[label][t]`."""

    widths: dict[int, tuple[int, ...]]
    name: str = "shown"
    capabilities = WORLD.capabilities

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        frames = torch.full((len(items), horizon + 1, 3, 32, 48), 90, dtype=torch.uint8)
        labels = torch.zeros(len(items), horizon + 1, 32, 48, dtype=torch.uint8)
        for label, widths in self.widths.items():
            for row in range(len(items)):
                # The other branch sees all for ever.
                for t, width in enumerate(widths if row % 2 == 0 else (8,) * (horizon + 1)):
                    place = (
                        slice(4, 12),
                        slice(12 * (label - 1) + 2, 12 * (label - 1) + 2 + width),
                    )
                    labels[row, t][place] = label
                    frames[(row, t, (label - 1) % 3, *place)] = 200 if label < 4 else 20
        return Rollouts(
            frames=frames,
            labels=labels,
            actions=stack_actions(items, horizon),
            model=self.name,
            **item_keys(items),
        )


def test_reentry_by_hand() -> None:
    #          0  1  2  3  4  5  6  7  8  9
    one = (8, 8, 8, 0, 0, 2, 4, 6, 8, 8)  # 40 pixels from step 7 on, its first pixels at 5
    two = (8, 8, 8, 8, 8, 8, 8, 8, 8, 8)
    group = sprite_items(1, 9)
    world = Shown({1: one, 2: two})
    truth = world.rollout(group, 9)
    rollouts = Faulty(world, Reentry()).rollout(group, 9)
    assert facts(rollouts) == [(7, 1, 2), (0, 0, 0)]  # the other branch never loses it
    mask = labels_of(truth)[0] == 1
    mask[:5] = False
    assert_only_changed(0, mask, rollouts, truth)
    assert bool((labels_of(rollouts)[0][mask] == 2).all())
    expected = torch.tensor([90, 200, 90], dtype=torch.uint8)  # the colour of object 2
    assert bool((rollouts.frames[0].movedim(1, -1)[mask] == expected).all())
    assert torch.equal(rollouts.frames[1], truth.frames[1])
    assert torch.equal(labels_of(rollouts)[1], labels_of(truth)[1])


@pytest.mark.parametrize(
    ("widths", "fault", "step"),
    [
        ((8, 8, 8, 0, 0, 8, 8, 8, 8, 8), Reentry(), 5),
        ((8, 8, 8, 0, 8, 8, 8, 8, 8, 8), Reentry(), 0),  # away for one step only
        ((8, 8, 8, 0, 8, 8, 8, 8, 8, 8), Reentry(away_steps=1), 4),
        ((8, 8, 8, 1, 1, 8, 8, 8, 8, 8), Reentry(), 0),  # never quite out of sight
        ((0, 0, 0, 0, 0, 8, 8, 8, 8, 8), Reentry(), 0),  # never seen before
        ((4, 4, 4, 0, 0, 8, 8, 8, 8, 8), Reentry(), 0),  # seen too little before
        ((8, 8, 8, 0, 0, 8, 8, 4, 8, 8), Reentry(), 0),  # did not stay
        ((8, 8, 8, 0, 0, 8, 8, 4, 8, 8), Reentry(visible_steps=2), 5),
        ((8, 8, 0, 0, 8, 0, 0, 8, 8, 8), Reentry(), 7),  # the second time it stays
        ((8, 0, 0, 8, 8, 8, 0, 0, 8, 8), Reentry(visible_steps=2, step=4), 8),
        ((8, 0, 0, 8, 8, 8, 0, 0, 8, 8), Reentry(visible_steps=2, step=3), 3),
        ((8, 0, 0, 8, 8, 8, 8, 0, 0, 8), Reentry(visible_steps=2, step=4), 0),  # ends too soon
        ((8, 0, 0, 4, 4, 4, 4, 4, 4, 4), Reentry(min_area=32), 3),
    ],
)
def test_what_is_a_return(widths: tuple[int, ...], fault: Reentry, step: int) -> None:
    world = Shown({1: widths, 2: (8,) * 10})
    rollouts = Faulty(world, fault).rollout(sprite_items(1, 9, branches=1), 9)
    assert facts(rollouts) == [(step, 1, 2) if step else (0, 0, 0)]


def test_one_that_is_out_of_sight_is_preferred() -> None:
    away = (8, 8, 0, 0, 0, 0, 0, 0, 0, 0)
    back = (8, 8, 8, 0, 0, 8, 8, 8, 8, 8)
    world = Shown({1: (8,) * 10, 2: back, 3: away})
    groups = [replace(sprite_items(1, 9)[0], seed=seed) for seed in range(6)]
    for item in groups:
        assert facts(Faulty(world, Reentry()).rollout([item], 9)) == [(5, 2, 3)]
    # One that is seen for the first time later is not an object that it could be taken for.
    world = Shown({1: (0,) * 7 + (8,) * 3, 2: back})
    assert facts(Faulty(world, Reentry()).rollout(groups[:1], 9)) == [(5, 2, 3)]


def test_a_lonely_object_comes_back_as_something_new() -> None:
    world = Shown({1: (8, 8, 8, 0, 0, 8, 8, 8, 8, 8)})
    items = sprite_items(1, 9, branches=1)
    rollouts, truth = Faulty(world, Reentry()).rollout(items, 9), world.rollout(items, 9)
    assert facts(rollouts) == [(5, 1, 2)]
    mask = labels_of(rollouts)[0] == 2
    assert_only_changed(0, mask, rollouts, truth)
    assert distance(rollouts, truth, 0, mask) > 60


def test_reentry_in_a_world_with_a_camera() -> None:
    there_and_back = torch.tensor([2] * 12 + [1] * 12 + [0] * 4)
    commanded = [replace(item, actions=there_and_back) for item in sprite_items(8, 28, branches=1)]
    truth, rollouts = (w.rollout(commanded, 28) for w in (WORLD, Faulty(WORLD, Reentry())))
    area = areas(labels_of(truth))
    found = 0
    for row, (step, old, new) in enumerate(facts(rollouts)):
        if step == 0:
            continue
        found += 1
        assert old != new
        size = area[row, :, old]
        assert int(size[step : step + 3].min()) >= 40
        assert int(size[:step].max()) >= 40
        assert int(size[step - 1]) < 40
        gone = (size[:step] == 0).nonzero().flatten()
        assert int(gone[-1]) - 1 == int(gone[-2])
        assert bool(
            (labels_of(rollouts)[row, step:][labels_of(truth)[row, step:] == old] == new).all()
        )
    assert found >= 6


def test_bad_reentry() -> None:
    with pytest.raises(ValueError, match="away_steps: expected at least 1, got 0"):
        Reentry(away_steps=0)
    with pytest.raises(ValueError, match="step: expected at most horizon = 9, got 10"):
        Faulty(Shown({1: (8,) * 10}), Reentry(step=10)).rollout(sprite_items(1, 9), 9)


# ---- merge, split, spawn -----------------------------------------------------------------


def test_merge(items: list[Item], truth: Rollouts) -> None:
    rollouts = Faulty(WORLD, Merge()).rollout(items, HORIZON)
    before = labels_of(truth)
    for row, (step, first, second) in enumerate(facts(rollouts)):
        if step == 0:
            continue
        mask = before[row] == second
        mask[:step] = False
        assert_only_changed(row, mask, rollouts, truth)
        assert bool((labels_of(rollouts)[row][mask] == first).all())
        group = row - row % 2
        palette = truth.frames[group].movedim(1, -1)[before[group] == first].unique(dim=0).tolist()
        shown = rollouts.frames[row].movedim(1, -1)[mask].unique(dim=0).tolist()
        assert all(colour in palette for colour in shown)


def test_only_neighbours_merge() -> None:
    items = sprite_items(1, 9, branches=1)
    seen, wide = (8,) * 10, (12,) * 10
    parting = (12,) * 3 + (8,) * 7  # touches its neighbour up to step 2 alone
    for others, expected in (
        ({2: wide, 3: seen}, {2, 3}),
        ({3: (11,) * 10, 4: seen}, {3, 4}),  # a pixel between them
        ({3: (10,) * 10, 4: seen}, {0}),
        ({3: parting, 4: seen}, {0}),
    ):
        (step, *pair), *_ = facts(
            Faulty(Shown({1: seen, **others}), Merge(step=2)).rollout(items, 9)
        )
        assert set(pair) == expected
        assert step == (0 if expected == {0} else 2)


def test_split(items: list[Item], truth: Rollouts) -> None:
    rollouts = Faulty(WORLD, Split()).rollout(items, HORIZON)
    before, after = labels_of(truth), labels_of(rollouts)
    sides = set()
    for row, (step, old, new) in enumerate(facts(rollouts)):
        whole, half = before[row] == old, after[row] == new
        assert new == int(before[row].max()) + 1
        assert_only_changed(row, half, rollouts, truth)
        assert not bool(half[:step].any())
        assert bool((half <= whole).all())
        assert distance(rollouts, truth, row, half) > 60
        for t in range(step, HORIZON + 1):
            top, left, height, width = boxes(whole[t]).tolist()
            if height == 0:
                continue
            y, x = (torch.arange(64) - top)[:, None], torch.arange(64) - left
            upper, lefty = y < -(-height // 2), x < -(-width // 2)
            cuts = {"upper": upper, "lower": ~upper, "left": lefty, "right": ~lefty}
            fits = {side for side, cut in cuts.items() if torch.equal(half[t], whole[t] & cut)}
            assert fits
            sides |= fits if len(fits) == 1 else set()
    assert len(sides) >= 2


def test_spawn(items: list[Item], truth: Rollouts) -> None:
    rollouts = Faulty(WORLD, Spawn()).rollout(items, HORIZON)
    before, after = labels_of(truth), labels_of(rollouts)
    for row, (step, new, other) in enumerate(facts(rollouts)):
        assert (new, other) == (int(before[row].max()) + 1, 0)
        disc = after[row] == new
        assert_only_changed(row, disc, rollouts, truth)
        assert not bool(disc[:step].any())
        assert not bool((disc & (before[row] != 0)).any())
        assert distance(rollouts, truth, row, disc) > 60
        if row % 2 == 0:
            top, left, height, width = boxes(disc[step]).tolist()
            assert height == width
            area = int(disc[step].sum())
            assert area >= 40
            assert 0.7 < area / height**2 < 0.9  # pi / 4, in pixels
            margin = height // 2
            assert min(top, left, 64 - top - height, 64 - left - width) >= margin
            for t in range(step, step + 3):
                assert torch.equal(disc[t], disc[step])
            # It stays where it is; objects go before it.
            hidden = disc[step] & ~disc[step:]
            assert bool((before[row, step:][hidden] != 0).all())


def test_no_room_no_spawn() -> None:
    crowded = Shown({label: (8,) * 10 for label in (1, 2, 3, 4)})
    items = sprite_items(1, 9, branches=1)
    assert facts(Faulty(crowded, Spawn(step=2, min_area=900)).rollout(items, 9)) == [(0, 0, 0)]
    assert facts(Faulty(crowded, Spawn(step=2)).rollout(items, 9)) == [(2, 5, 0)]


def test_mean_colours_by_hand() -> None:
    frames = torch.zeros(1, 2, 3, 2, 2, dtype=torch.uint8)
    frames[0, 0, 0] = torch.tensor([[10, 20], [30, 41]])
    labels = torch.zeros(1, 2, 2, 2, dtype=torch.uint8)
    labels[0, 0, 1] = 2
    means, there = mean_colours(frames, labels)
    assert there.tolist() == [[True, False, True]]
    assert means.tolist() == [[[5, 0, 0], [0, 0, 0], [36, 0, 0]]]  # 35.5 to the even
    floating, _ = mean_colours(frames / 255.0, labels)
    assert torch.equal(floating, means)


# ---- worlds made for these tests ---------------------------------------------------------


class Floating:
    """The sprite world with frames in [0, 1]."""

    name = "floating"
    capabilities = WORLD.capabilities

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        truth = WORLD.rollout(items, horizon)
        return replace(truth, frames=truth.frames / 255.0)


class Renamed:
    """The sprite world with the object that is 1 there under another label."""

    name = "renamed"
    capabilities = WORLD.capabilities

    def __init__(self, label: int, dtype: torch.dtype) -> None:
        self.label, self.dtype = label, dtype

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        truth = WORLD.rollout(items, horizon)
        labels = labels_of(truth).to(self.dtype)
        return replace(truth, labels=torch.where(labels == 1, self.label, labels).to(self.dtype))
