"""Faults: each changes exactly what it says, from exactly its step on, and nothing before."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import wmscore
from wmscore.manifest import Panel
from wmscore.replay import panel_items
from wmscore.rollouts import Rollouts
from wmscore.testing import (
    Blur,
    ColourDrift,
    DelayedActions,
    Duplicate,
    Fault,
    Faulty,
    Freeze,
    HalfGain,
    IdentitySwap,
    IgnoredActions,
    Merge,
    Morph,
    NanFrame,
    Reentry,
    ResetMismatch,
    ShortRollout,
    Spawn,
    Split,
    Vanish,
    all_faults,
    sprite_items,
)
from wmscore.testing.faults.regions import areas, boxes, fill_from
from wmscore.worlds import Capabilities, Item, SpriteWorld, StepModel, StepOutput, WorldModel

HORIZON = 16
WORLD = SpriteWorld()
# What begins at a drawn step and touches frames of a true rollout.
PIXEL_FAULTS: tuple[Fault, ...] = (
    IdentitySwap(),
    Vanish(),
    Duplicate(),
    Morph(),
    Merge(),
    Split(),
    Spawn(),
    Blur(),
    ColourDrift(),
    Freeze(),
    ShortRollout(),
)


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return sprite_items(4, HORIZON, seeds=(0, 1), branches=2)


@pytest.fixture(scope="module")
def truth(items: list[Item]) -> Rollouts:
    return WORLD.rollout(items, HORIZON)


def labels_of(rollouts: Rollouts) -> Tensor:
    assert rollouts.labels is not None
    return rollouts.labels


def steps_of(rollouts: Rollouts) -> list[int]:
    steps: list[int] = rollouts.info["fault_step"].tolist()
    return steps


def colours_of(pixels: Tensor) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in pixels.tolist()}


def changed(rollouts: Rollouts, truth: Rollouts) -> Tensor:
    """Which frames or labels differ from the truth, `[B, T+1]`."""
    frames = (rollouts.frames != truth.frames).flatten(2).any(2)
    return frames | (labels_of(rollouts) != labels_of(truth)).flatten(2).any(2)


# ---- all faults --------------------------------------------------------------------------


@pytest.mark.parametrize("fault", all_faults(), ids=lambda fault: fault.name)
def test_every_fault(fault: Fault, items: list[Item], truth: Rollouts) -> None:
    model = Faulty(WORLD, fault)
    rollouts = model.rollout(items, HORIZON)
    assert isinstance(model, WorldModel)
    assert (rollouts.model, model.name) == (fault.name, fault.name)
    assert torch.equal(rollouts.actions, truth.actions)
    for key in ("scenario", "seed", "branch"):
        assert torch.equal(getattr(rollouts, key), getattr(truth, key))
    assert rollouts.panel == truth.panel
    assert rollouts.frames.shape == truth.frames.shape
    step = rollouts.info["fault_step"]
    assert (step.dtype, step.device.type, step.shape) == (torch.int64, "cpu", (len(items),))
    commanded = step[::2] >= 1
    if isinstance(fault, Merge):  # needs two objects that touch
        assert bool(commanded.any())
    elif not isinstance(fault, Reentry):  # needs an object that returns
        assert bool(commanded.all())
    assert int(step.max()) <= HORIZON
    again = model.rollout(items, HORIZON)
    assert torch.equal(again.frames.nan_to_num(-1), rollouts.frames.nan_to_num(-1))


@pytest.mark.parametrize("fault", all_faults(), ids=lambda fault: fault.name)
def test_a_row_does_not_depend_on_its_batch(
    fault: Fault, items: list[Item], truth: Rollouts
) -> None:
    model = Faulty(WORLD, fault)
    whole = model.rollout(items, HORIZON)
    group = model.rollout([items[5], items[4]], HORIZON)[[1, 0]]
    assert torch.equal(whole.frames[4:6].nan_to_num(-1), group.frames.nan_to_num(-1))
    assert torch.equal(labels_of(whole)[4:6], labels_of(group))
    assert whole.info.keys() == group.info.keys()
    for name, value in group.info.items():
        assert torch.equal(whole.info[name][4:6], value)


@pytest.mark.parametrize("fault", PIXEL_FAULTS, ids=lambda fault: fault.name)
def test_pixels_change_from_the_step_on_and_never_before(
    fault: Fault, items: list[Item], truth: Rollouts
) -> None:
    rollouts = Faulty(WORLD, fault).rollout(items, HORIZON)
    wrong = changed(rollouts, truth)
    for row, step in enumerate(steps_of(rollouts)):
        if step == 0:
            assert not bool(wrong[row].any())
        else:
            assert not bool(wrong[row, :step].any())
            assert bool(wrong[row, step])


def test_steps_differ_by_row_and_are_shared_by_branches(items: list[Item]) -> None:
    steps = torch.tensor(steps_of(Faulty(WORLD, Freeze()).rollout(items, HORIZON)))
    assert torch.equal(steps[::2], steps[1::2])
    assert len(set(steps.tolist())) >= 4  # of 8 groups
    assert HORIZON // 4 <= int(steps.min()) <= int(steps.max()) <= HORIZON - HORIZON // 4
    fixed = Faulty(WORLD, Freeze(step=HORIZON)).rollout(items, HORIZON)
    assert steps_of(fixed) == [HORIZON] * len(items)


def test_bad_steps(items: list[Item]) -> None:
    with pytest.raises(ValueError, match="step: expected at least 1, got 0"):
        Freeze(step=0)
    with pytest.raises(ValueError, match="step: expected at most horizon = 16, got 17"):
        Faulty(WORLD, Freeze(step=17)).rollout(items, HORIZON)
    with pytest.raises(ValueError, match="steps"):
        DelayedActions(0)
    with pytest.raises(ValueError, match="warm_up"):
        ResetMismatch(0)
    with pytest.raises(ValueError, match="step"):
        HalfGain(step=3)


def test_what_is_promised() -> None:
    assert not Faulty(WORLD, Freeze()).capabilities.prefix_causal
    assert Faulty(WORLD, Freeze(step=3)).capabilities.prefix_causal
    assert not Faulty(WORLD, Vanish(step=3)).capabilities.prefix_causal
    assert Faulty(WORLD, DelayedActions()).capabilities.prefix_causal
    assert not Faulty(WORLD, IgnoredActions()).capabilities.prefix_causal


# ---- objects -----------------------------------------------------------------------------


def test_identity_swap(items: list[Item], truth: Rollouts) -> None:
    rollouts = Faulty(WORLD, IdentitySwap()).rollout(items, HORIZON)
    ones, others = rollouts.info["fault_object"], rollouts.info["fault_other_object"]
    before, after = labels_of(truth), labels_of(rollouts)
    for row, step in enumerate(steps_of(rollouts)):
        one, other = int(ones[row]), int(others[row])
        assert 0 < one != other > 0
        expected = before[row].clone()
        expected[step:][before[row, step:] == one] = other
        expected[step:][before[row, step:] == other] = one
        assert torch.equal(after[row], expected)
        # Each mask shows only colours of the object that it now claims to be.
        pixels, real = rollouts.frames[row].movedim(1, -1), truth.frames[row].movedim(1, -1)
        group = row - row % 2
        commanded = truth.frames[group].movedim(1, -1)
        for label in (one, other):
            palette = colours_of(commanded[before[group] == label])
            shown = colours_of(pixels[step:][after[row, step:] == label])
            assert shown
            assert all(colour in palette for colour in shown)
        rest = (before[row] != one) & (before[row] != other)
        assert torch.equal(pixels[rest], real[rest])


def test_swap_keeps_the_pattern() -> None:
    """The square that swaps with a square of another size shows its whole pattern, resampled."""
    model = Faulty(Squares(), IdentitySwap(step=2, min_area=4))
    rollouts = model.rollout(sprite_items(1, 6, branches=1), 6)
    assert steps_of(rollouts) == [2]
    small, large = Squares.textures()
    top = rollouts.frames[0, 2, 0]
    torch.testing.assert_close(
        top[2:10, 2:10], small.repeat_interleave(2, 0).repeat_interleave(2, 1), rtol=0, atol=0
    )
    torch.testing.assert_close(top[2:6, 20:24], large[::2, ::2], rtol=0, atol=0)


def test_vanish(items: list[Item], truth: Rollouts) -> None:
    rollouts = Faulty(WORLD, Vanish()).rollout(items, HORIZON)
    before, after = labels_of(truth), labels_of(rollouts)
    ground = truth.frames.movedim(2, -1)
    for row, step in enumerate(steps_of(rollouts)):
        gone = before[row] == int(rollouts.info["fault_object"][row])
        gone[:step] = False
        assert torch.equal(after[row], torch.where(gone, 0, before[row]))
        assert torch.equal(
            rollouts.frames[row].movedim(1, -1)[~gone], truth.frames[row].movedim(1, -1)[~gone]
        )
        for t, y in gone.any(2).nonzero()[:40].tolist():
            line = ground[row, t, y]
            source = line[before[row, t, y] == 0].tolist()
            filled = rollouts.frames[row, t, :, y][:, gone[t, y]].T.tolist()
            assert all(colour in source for colour in filled)


def test_duplicate(items: list[Item], truth: Rollouts) -> None:
    rollouts = Faulty(WORLD, Duplicate()).rollout(items, HORIZON)
    before, after = labels_of(truth), labels_of(rollouts)
    for row, step in enumerate(steps_of(rollouts)):
        label = int(rollouts.info["fault_object"][row])
        if step == 0:
            assert label == 0
            continue
        kept = (before[row] == label) & (after[row] == label)
        assert torch.equal(kept, before[row] == label)
        twin = (after[row] != before[row]).nonzero()
        assert bool((after[row][after[row] != before[row]] == label).all())
        at_step = (after[row, step] == label) & (before[row, step] != label)
        assert int(twin[:, 0].min()) >= step
        untouched = after[row] == before[row]
        same = (rollouts.frames[row] == truth.frames[row]).all(1)
        assert bool(same[untouched].all())
        if row % 2 == 0:  # chosen in the commanded rollout, where it fits
            (top, left, height, width), (y, x, h, w) = (
                boxes(mask).tolist() for mask in (before[row, step] == label, at_step)
            )
            assert (h, w) == (height, width)
            assert abs(y - top) >= 2 * height or abs(x - left) >= 2 * width
            original = truth.frames[row, step, :, before[row, step] == label]
            assert torch.equal(rollouts.frames[row, step, :, at_step], original)


def test_the_twin_keeps_its_offset(items: list[Item], truth: Rollouts) -> None:
    rollouts = Faulty(WORLD, Duplicate()).rollout(items[:1], HORIZON)
    (step,), label = steps_of(rollouts), int(rollouts.info["fault_object"][0])
    offsets = []
    for t in range(step, step + 3):
        mask = labels_of(truth)[0, t] == label
        twin = (labels_of(rollouts)[0, t] == label) & ~mask
        offsets.append((boxes(twin)[:2] - boxes(mask)[:2]).tolist())
    assert offsets[0] == offsets[1] == offsets[2]


@pytest.mark.parametrize("fault", [IdentitySwap, Vanish, Duplicate, Merge])
def test_chosen_objects_are_visible(
    fault: type[IdentitySwap], items: list[Item], truth: Rollouts
) -> None:
    rollouts = Faulty(WORLD, fault()).rollout(items, HORIZON)
    area = areas(labels_of(truth))
    for row in range(0, len(items), 2):
        step = steps_of(rollouts)[row]
        for name in ("fault_object", "fault_other_object"):
            label = int(rollouts.info[name][row])
            if label:
                assert int(area[row, step : step + 3, label].min()) >= 40
        for name in ("fault_object", "fault_other_object"):
            assert rollouts.info[name][row] == rollouts.info[name][row + 1]


@pytest.mark.parametrize("fault", [IdentitySwap, Vanish, Duplicate, Merge])
def test_what_cannot_be_injected_is_counted(
    fault: type[IdentitySwap], items: list[Item], truth: Rollouts
) -> None:
    rollouts = Faulty(WORLD, fault(min_area=4000)).rollout(items, HORIZON)
    assert steps_of(rollouts) == [0] * len(items)
    assert rollouts.info["fault_object"].tolist() == [0] * len(items)
    assert not bool(changed(rollouts, truth).any())
    late = Faulty(WORLD, fault(step=HORIZON)).rollout(items, HORIZON)  # no 3 steps are left
    assert steps_of(late) == [0] * len(items)


def test_objects_are_chosen_in_the_commanded_rollout() -> None:
    panel = Panel.load(Path(wmscore.__file__).parent / "panels" / "sprites.json")
    horizon = panel.contract.horizon
    group = panel_items(panel, [(0, 0)])
    whole = Faulty(WORLD, IdentitySwap()).rollout(group, horizon)
    with pytest.raises(ValueError, match=r"branch 0 of .*leave-and-return-right.* is missing"):
        Faulty(WORLD, IdentitySwap()).rollout(group[1:], horizon)
    rest = Faulty(WORLD, IdentitySwap(), panel=panel).rollout(group[1:], horizon)
    assert torch.equal(rest.frames, whole.frames[1:])
    assert torch.equal(labels_of(rest), labels_of(whole)[1:])
    assert rest.info["fault_object"].tolist() == whole.info["fault_object"][1:].tolist()
    with pytest.raises(ValueError, match="panel: expected panel sprite-items"):
        Faulty(WORLD, Vanish(), panel=panel).rollout(sprite_items(1, 4)[1:], 4)


def test_objects_need_labels(items: list[Item]) -> None:
    class Blind:
        """The sprite world without labels."""

        name = "blind"
        capabilities = WORLD.capabilities

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            return replace(WORLD.rollout(items, horizon), labels=None)

    with pytest.raises(ValueError, match="vanish needs labels, 'blind' gives none"):
        Faulty(Blind(), Vanish()).rollout(items, HORIZON)
    assert Faulty(Blind(), Freeze()).rollout(items, HORIZON).labels is None


# ---- frames ------------------------------------------------------------------------------


def test_blur_and_drift_grow(items: list[Item], truth: Rollouts) -> None:
    blurred = Faulty(WORLD, Blur(step=4)).rollout(items, HORIZON)
    assert torch.equal(labels_of(blurred), labels_of(truth))
    edges = (truth.frames.float() - truth.frames.float().roll(1, -1))[..., 1:].abs().mean((2, 3, 4))
    soft = (blurred.frames.float() - blurred.frames.float().roll(1, -1))[..., 1:].abs()
    kept = (soft.mean((2, 3, 4)) / edges).mean(0)
    torch.testing.assert_close(kept[:4], torch.ones(4), rtol=0, atol=0)
    assert float(kept[4]) < 0.9
    assert bool((kept[[4, 8, 12, 16]].diff() < 0).all())

    drifted = Faulty(WORLD, ColourDrift(step=4, growth=0.01)).rollout(items, HORIZON)
    assert torch.equal(labels_of(drifted), labels_of(truth))
    gap = (drifted.frames.float() - truth.frames.float())[0]
    inside = (truth.frames[0] > 40) & (truth.frames[0] < 215)
    for t in range(4, HORIZON + 1):
        for channel, direction in enumerate((1.0, 1 / 3, -1.0)):
            shift = gap[t, channel][inside[t, channel]]
            expected = torch.full_like(shift, 2.55 * (t - 3) * direction)
            torch.testing.assert_close(shift, expected, rtol=0, atol=0.5001)


def test_box_filter_is_a_mean_over_the_window() -> None:
    spike = torch.zeros(1, 2, 3, 9, 9)
    spike[0, 1, :, 4, 4] = 1.0
    blurred = Faulty(Still(spike), Blur(step=1)).rollout(sprite_items(1, 1, branches=1), 1)
    line = torch.tensor([0.0, 0, 1, 2, 3, 2, 1, 0, 0]) / 9  # two box filters of three pixels
    expected = torch.outer(line, line)
    got = blurred.frames[0, 1, 0]
    torch.testing.assert_close(got, expected, rtol=0, atol=2.5 / 255)  # whole levels, four times
    # A constant frame stays what it is, to the border.
    flat = torch.full((1, 2, 3, 9, 9), 77, dtype=torch.uint8)
    same = Faulty(Still(flat), Blur(step=1, growth=9)).rollout(sprite_items(1, 1, branches=1), 1)
    assert torch.equal(same.frames, flat)


def test_freeze_and_short_rollout(items: list[Item], truth: Rollouts) -> None:
    frozen = Faulty(WORLD, Freeze(step=5)).rollout(items, HORIZON)
    assert torch.equal(
        frozen.frames[:, 5:], truth.frames[:, 4:5].expand(-1, HORIZON - 4, 3, 64, 64)
    )
    assert torch.equal(labels_of(frozen)[:, 5:], labels_of(truth)[:, 4:5].expand(-1, 12, -1, -1))
    assert bool(frozen.valid.all())
    short = Faulty(WORLD, ShortRollout(step=5)).rollout(items, HORIZON)
    assert bool(short.valid[:, :5].all())
    assert not bool(short.valid[:, 5:].any())
    assert torch.equal(short.frames, frozen.frames)  # padded, as worlds that end are
    assert torch.equal(short.frames[:, :5], truth.frames[:, :5])


def test_nan_frame(items: list[Item], truth: Rollouts) -> None:
    rollouts = Faulty(WORLD, NanFrame()).rollout(items, HORIZON)
    assert rollouts.frames.dtype == torch.float32
    nan = rollouts.frames.isnan()
    for row, step in enumerate(steps_of(rollouts)):
        assert bool(nan[row, step].all())
        others = [t for t in range(HORIZON + 1) if t != step]
        torch.testing.assert_close(
            rollouts.frames[row, others], truth.frames[row, others] / 255.0, rtol=0, atol=0
        )
    assert torch.equal(labels_of(rollouts), labels_of(truth))


@pytest.mark.parametrize("fault", [Freeze, Blur, NanFrame, ShortRollout])
def test_rows_that_ended_before_are_left_alone(fault: type[Freeze]) -> None:
    world = Faulty(WORLD, ShortRollout(step=3))
    items = sprite_items(1, 8)
    rollouts = Faulty(world, fault(step=5)).rollout(items, 8)
    assert steps_of(rollouts) == [0, 0]
    ended = world.rollout(items, 8)
    assert torch.equal(rollouts.valid, ended.valid)
    scale = 255 if rollouts.frames.is_floating_point() else 1
    assert torch.equal(rollouts.frames * scale, ended.frames.to(rollouts.frames.dtype))


# ---- actions -----------------------------------------------------------------------------


def sent(fault: Fault, script: list[int]) -> tuple[list[int], int]:
    """What arrives of a script, as the world's camera shows it, and the step of the fault."""
    item = replace(sprite_items(1, len(script))[0], actions=torch.tensor(script))
    spy = Spy()
    rollouts = Faulty(spy, fault).rollout([item], len(script))
    assert rollouts.actions.tolist() == [script]
    return spy.seen[0].actions.tolist(), steps_of(rollouts)[0]


def test_action_faults_by_hand() -> None:
    assert sent(DelayedActions(2), [1, 2, 3, 4]) == ([0, 0, 1, 2], 1)
    assert sent(DelayedActions(2), [0, 0, 0, 4]) == ([0, 0, 0, 0], 4)
    assert sent(DelayedActions(9), [1, 2, 3]) == ([0, 0, 0], 1)
    assert sent(DelayedActions(1), [0, 0, 0]) == ([0, 0, 0], 0)
    assert sent(IgnoredActions(step=3), [1, 2, 3, 4]) == ([1, 2, 0, 0], 3)
    assert sent(IgnoredActions(step=2), [1, 0, 3, 4]) == ([1, 0, 0, 0], 3)
    assert sent(IgnoredActions(step=1), [0, 0, 0, 0]) == ([0, 0, 0, 0], 0)
    assert sent(HalfGain(), [1, 0, 2, 3, 0, 4]) == ([1, 0, 0, 3, 0, 0], 3)
    assert sent(HalfGain(), [0, 1, 0, 0]) == ([0, 1, 0, 0], 0)
    assert (DelayedActions().name, DelayedActions(2).name) == (
        "delayed-actions-3",
        "delayed-actions-2",
    )


def test_half_gain_of_vectors_is_exact() -> None:
    item = replace(
        sprite_items(1, 2)[0],
        actions=torch.tensor([[1.0, -1.0], [0.5, 0.0]]),
        action_names=("x", "y"),
        noop=(0.5, 0.0),
    )
    spy = Spy()
    with pytest.raises(ValueError, match="action_names"):  # this world takes no vectors
        Faulty(spy, HalfGain()).rollout([item], 2)
    expected = torch.tensor([[0.75, -0.5], [0.5, 0.0]])
    torch.testing.assert_close(spy.seen[0].actions, expected, rtol=0, atol=0)


@pytest.mark.parametrize("fault", [DelayedActions(), IgnoredActions(), HalfGain()])
def test_action_faults_show_from_their_step_on(
    fault: Fault, items: list[Item], truth: Rollouts
) -> None:
    rollouts = Faulty(WORLD, fault).rollout(items, HORIZON)
    wrong = changed(rollouts, truth)
    for row, step in enumerate(steps_of(rollouts)):
        first = wrong[row].nonzero()[:1, 0].tolist()
        assert first == ([step] if step else [])  # a pan of the camera always shows
    with pytest.raises(ValueError, match="no noop"):
        Faulty(WORLD, fault).rollout([replace(items[0], noop=None)], HORIZON)


def test_reset_mismatch(items: list[Item], truth: Rollouts) -> None:
    rollouts = Faulty(WORLD, ResetMismatch(4)).rollout(items, HORIZON)
    assert rollouts.frames.shape == truth.frames.shape
    assert bool(changed(rollouts, truth).all())
    assert torch.equal(rollouts.frames[::2, 0], rollouts.frames[1::2, 0])  # branches agree
    spy = Spy()
    Faulty(spy, ResetMismatch(2)).rollout(items[:2], HORIZON)
    for item, given in zip(spy.seen, items[:2], strict=True):
        assert torch.equal(item.actions[2:], given.actions)
        assert item.actions[0] == item.actions[1] == spy.seen[0].actions[0] != 0
    longer = WORLD.rollout(spy.seen, HORIZON + 2)
    shifted = Faulty(WORLD, ResetMismatch(2)).rollout(items[:2], HORIZON)
    assert torch.equal(shifted.frames, longer.frames[:, 2:])
    assert torch.equal(labels_of(shifted), labels_of(longer)[:, 2:])


# ---- regions -----------------------------------------------------------------------------


def test_areas_and_boxes_by_hand() -> None:
    labels = torch.zeros(1, 2, 4, 5, dtype=torch.uint8)
    labels[0, 0, 1:3, 2:5] = 2
    assert areas(labels).tolist() == [[[14, 0, 6], [20, 0, 0]]]
    assert boxes(labels == 2).tolist() == [[[1, 2, 2, 3], [0, 0, 0, 0]]]


def test_fill_takes_the_nearest_source() -> None:
    frames = torch.arange(10, 40).view(1, 1, 5, 6)
    source = torch.zeros(1, 5, 6, dtype=torch.bool)
    source[0, 1, [0, 4]] = True
    filled = fill_from(frames, ~source, source)
    line = [16, 16, 16, 20, 20, 20]  # column 2 lies between: the left one
    assert filled[0, 0].tolist() == [line] * 5
    assert fill_from(frames, source, torch.zeros_like(source))[0, 0, 1, [0, 4]].tolist() == [0, 0]


@pytest.mark.slow
def test_speed() -> None:
    world = SpriteWorld(120, 160)
    items = sprite_items(16, 32, world=world)
    truth = world.rollout(items, 32)
    for fault in PIXEL_FAULTS:
        start = time.process_time()
        Faulty(Recorded(truth), fault).rollout(items, 32)
        assert time.process_time() - start < 10, fault.name  # 0.1 to 1.5 s when nothing disturbs


# ---- worlds made for these tests ---------------------------------------------------------


class Recorded:
    """Answers with rollouts that are there already."""

    name = "recorded"
    capabilities = WORLD.capabilities

    def __init__(self, rollouts: Rollouts) -> None:
        self.rollouts = rollouts

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        return self.rollouts


class Spy:
    """The sprite world, which remembers what it was asked."""

    name = "spy"
    capabilities = WORLD.capabilities

    def __init__(self) -> None:
        self.seen: list[Item] = []

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        self.seen = list(items)
        return WORLD.rollout(items, horizon)


class Still:
    """Shows given frames."""

    name = "still"
    capabilities = Capabilities(actions="none", fps=1.0, frame_size=(9, 9))

    def __init__(self, frames: Tensor) -> None:
        self.frames = frames

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        zero = torch.zeros(1, dtype=torch.int64)
        return Rollouts(
            frames=self.frames,
            actions=torch.zeros(1, horizon, dtype=torch.int64),
            scenario=zero,
            seed=zero,
            branch=zero,
            model="still",
            panel=items[0].panel,
        )


class Squares(StepModel):
    """Two textured squares of 8 and 4 pixels that never move."""

    def __init__(self) -> None:
        super().__init__(_SquaresStepper())

    @staticmethod
    def textures() -> tuple[Tensor, Tensor]:
        small = 100 + torch.arange(16, dtype=torch.uint8).view(4, 4)
        large = 150 + torch.arange(64, dtype=torch.uint8).view(8, 8)
        return small, large


class _SquaresStepper:
    name = "squares"
    capabilities = Capabilities(actions="discrete", labels=True, fps=1.0, frame_size=(16, 32))

    def reset(self, items: Sequence[Item]) -> StepOutput:
        self.rows = len(items)
        return self.step(torch.zeros(self.rows))

    def step(self, actions: Tensor) -> StepOutput:
        small, large = Squares.textures()
        frames = torch.zeros(self.rows, 3, 16, 32, dtype=torch.uint8)
        labels = torch.zeros(self.rows, 16, 32, dtype=torch.int16)
        frames[:, :, 2:10, 2:10], labels[:, 2:10, 2:10] = large, 1
        frames[:, :, 2:6, 20:24], labels[:, 2:6, 20:24] = small, 2
        return StepOutput(frames=frames, labels=labels)
