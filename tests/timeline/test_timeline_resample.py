"""Other frame rates: paths are kept, what is held is held by time, and the loss is what differs."""

import itertools
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wmscore.timeline import Resample, Timeline

NAMES = ("a", "b", "c")
rates = st.sampled_from([5.0, 8.75, 10.0, 12.5, 16.0, 20.0, 23.976, 24.0, 30.0, 35.0])


def words(*actions: int, fps: float = 10.0) -> Timeline:
    return Timeline.of(torch.tensor(actions), NAMES, fps=fps)


def vectors(rows: list[list[float]], unit: str, fps: float = 10.0) -> Timeline:
    return Timeline.of(torch.tensor(rows), ("x",), units=(unit,), fps=fps)


def sent_at(line: Timeline, time: Fraction) -> int:
    """The action in effect at a time, straight from the definition."""
    return int(line.actions[int(time * Fraction(line.fps).limit_denominator(100_000))])


@settings(deadline=None, max_examples=30)
@given(actions=st.lists(st.integers(0, 2), min_size=1, max_size=8), times=st.integers(1, 4))
def test_whole_multiples_lose_nothing(actions, times) -> None:
    start = words(*actions)
    there = Resample(start.fps * times)(start)
    assert there.lossless
    assert there.value.actions.tolist() == [a for a in actions for _ in range(times)]
    back = Resample(start.fps)(there.value)
    assert back.lossless
    assert back.value.same_as(start)


@settings(deadline=None, max_examples=60)
@given(
    actions=st.lists(st.integers(0, 2), min_size=1, max_size=8),
    old=rates,
    new=rates,
    choose=st.sampled_from(["longest", "last"]),
)
def test_losses_of_held_actions_are_the_differences(actions, old, new, choose) -> None:
    start = words(*actions, fps=old)
    found = Resample(new, choose=choose)(start)
    rates = [Fraction(rate).limit_denominator(100_000) for rate in (old, new)]
    assert found.value.steps == -(-len(actions) * rates[1] // rates[0])
    # All moments between two changes of either clock.
    ticks = {Fraction(t) / rates[0] for t in range(len(actions) + 1)}
    ticks |= {Fraction(n) / rates[1] for n in range(found.value.steps)}
    ticks = sorted(tick for tick in ticks if tick <= len(actions) / rates[0])
    changed = {
        int(low * rates[0])
        for low, high in itertools.pairwise(ticks)
        if sent_at(start, (low + high) / 2) != sent_at(found.value, (low + high) / 2)
    }
    assert [loss.steps for loss in found.losses] == ([len(changed)] if changed else [])


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(st.tuples(st.floats(-9, 9, width=32)), min_size=1, max_size=8),
    old=rates,
    new=rates,
)
def test_increments_keep_their_path(rows, old, new) -> None:
    start = vectors([list(row) for row in rows], "degree", old)
    found = Resample(new)(start)
    total = float(start.actions.double().sum())
    assert float(found.value.actions.double().sum()) == pytest.approx(total, abs=1e-4)
    # Where both clocks tick, both have come as far.
    ratio = Fraction(new).limit_denominator(100_000) / Fraction(old).limit_denominator(100_000)
    for t in range(1, len(rows) + 1):
        if (t * ratio).denominator == 1:
            here = float(start.actions[:t].double().sum())
            there = float(found.value.actions[: int(t * ratio)].double().sum())
            assert here == pytest.approx(there, abs=1e-4)
    if ratio.denominator == 1:
        assert found.lossless


def test_slower_clocks_state_what_they_even_out() -> None:
    found = Resample(5.0)(vectors([[6.0], [0.0], [1.0], [1.0]], "metre"))
    assert found.value.actions.tolist() == [[6], [2]]
    assert found.sentences() == (
        "x: resampled at 1 step, by up to 3 metre: evened within a step at 5 fps",
    )


def test_one_of_several_held_actions_is_chosen() -> None:
    start = words(0, 1, 1, 2, 0, 0)
    assert Resample(10 / 3)(start).value.words() == ("b", "a")
    assert Resample(10 / 3, choose="last")(start).value.words() == ("b", "a")
    assert Resample(5.0)(start).value.words() == ("a", "b", "a")
    assert Resample(5.0, choose="last")(start).value.words() == ("b", "c", "a")
    taps = vectors([[0.0], [1.0], [0.0], [0.0]], "button")
    assert Resample(5.0)(taps).value.actions.tolist() == [[0], [0]]
    anyhow = Resample(5.0, choose="any")(taps)
    assert anyhow.value.actions.tolist() == [[1], [0]]
    assert [(loss.steps, loss.largest) for loss in anyhow.losses] == [(1, None)]


def test_numbers_are_held_unless_they_are_said_to_be_increments() -> None:
    start = vectors([[2.0], [4.0]], "number")
    assert Resample(20.0)(start).value.actions[:, 0].tolist() == [2, 2, 4, 4]
    shared = Resample(20.0, increments=("x",))(start).value
    assert shared.actions[:, 0].tolist() == [1, 1, 2, 2]
    slower = Resample(5.0)(start)
    assert [(loss.steps, loss.largest) for loss in slower.losses] == [(1, 2.0)]


def test_batches_are_their_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    start = Timeline.of(torch.randint(0, 3, (4, 7), generator=generator), NAMES, fps=10.0)
    found = Resample(6.0)(start)
    for row, own in zip(start.rows(), found.value.rows(), strict=True):
        assert torch.equal(Resample(6.0)(row).value.actions, own.actions)
    mixed = Timeline.of(
        torch.cat([torch.randn(4, 7, 1), torch.randint(0, 2, (4, 7, 1)).float()], -1),
        ("yaw", "w"),
        units=("degree", "button"),
        fps=10.0,
    )
    for choose in ("longest", "any"):
        both = Resample(6.0, choose=choose)(mixed).value
        for row, own in zip(mixed.rows(), both.rows(), strict=True):
            assert torch.equal(Resample(6.0, choose=choose)(row).value.actions, own.actions)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Resample(0.0), "fps: expected a positive number"),
        (lambda: Resample(5.0, choose="first"), "choose: expected one of"),
        (lambda: Resample(5.0, choose="any")(words(0, 1)), "'any' is for buttons"),
        (lambda: Resample(5.0, increments=("y",))(vectors([[1.0]], "number")), r"got \['y'\]"),
        (
            lambda: Resample(5.0)(words(0).with_actions(torch.zeros(0, dtype=torch.int64))),
            "at least one step",
        ),
    ],
)
def test_bad_questions_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_whole_multiples_of_any_rate_are_whole() -> None:
    """Also of rates that are no simple fractions."""
    for rate in (7.123456789, 18.90212, 59.9400599, 1 / 0.018):
        line = Timeline.of(torch.tensor([0, 1, 0]), ("a", "b"), fps=rate)
        for times in range(2, 7):
            found = Resample(rate * times)(line)
            assert found.value.actions.equal(line.actions.repeat_interleave(times))
            assert found.lossless
