"""First crossing and usable horizon: known answers, a brute-force oracle, properties, errors."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wmscore.functional import FirstCrossing, first_crossing, usable_horizon

BADNESS = torch.tensor([0, 0.2, 0.9, 0.1, 0.9, 0.9, 0.2, 0.9, 0.9, 0.9])


def brute_force(
    scores: list[float],
    threshold: float,
    patience: int,
    valid: list[bool] | None = None,
    above: bool = False,
) -> tuple[int, bool, int, bool]:
    """Step, crossed, defined steps, pending: one curve, one step at a time."""
    run, start, defined = 0, 0, 0
    answer = 0
    for t, score in enumerate(scores, start=1):
        if math.isnan(score) or (valid is not None and not valid[t - 1]):
            continue
        defined += 1
        if (score > threshold) if above else (score < threshold):
            run += 1
            start = t if run == 1 else start
            if run == patience and answer == 0:
                answer = start
        else:
            run = 0
    return answer, answer > 0, defined, answer == 0 and run > 0


def random_scores(*shape: int, seed: int = 0, undefined: float = 0.2) -> Tensor:
    """Scores with ties to the threshold 0.5, NaN, and infinities."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 5, shape, generator=generator) / 4
    scores[torch.rand(shape, generator=generator) < undefined] = torch.nan
    scores[torch.rand(shape, generator=generator) < 0.05] = torch.inf
    return scores


def same(first: FirstCrossing, second: FirstCrossing) -> bool:
    return all(
        getattr(first, name).equal(getattr(second, name))
        for name in ("step", "crossed", "defined_steps", "pending")
    )


@pytest.mark.parametrize(
    ("patience", "step", "pending"), [(1, 3, False), (2, 5, False), (3, 8, False), (4, 0, True)]
)
def test_known_answers(patience: int, step: int, pending: bool) -> None:
    crossing = first_crossing(BADNESS, 0.5, patience=patience, direction="above")
    assert crossing.step.item() == step
    assert crossing.crossed.item() is (step > 0)
    assert crossing.pending.item() is pending
    assert crossing.defined_steps.item() == 10
    assert crossing.step.dtype == torch.int64
    mirrored = first_crossing(1 - BADNESS, 0.5, patience=patience)
    assert same(crossing, mirrored)


@pytest.mark.parametrize("direction", ["below", "above"])
@pytest.mark.parametrize("patience", [1, 2, 3, 5])
def test_equals_brute_force(direction: str, patience: int) -> None:
    scores = random_scores(300, 17, seed=patience)
    valid = torch.rand(300, 17, generator=torch.Generator().manual_seed(9)) < 0.9
    crossing = first_crossing(scores, 0.5, patience=patience, direction=direction, valid=valid)  # type: ignore[arg-type]
    for row in range(300):
        expected = brute_force(
            scores[row].tolist(), 0.5, patience, valid[row].tolist(), direction == "above"
        )
        got = (
            crossing.step[row].item(),
            crossing.crossed[row].item(),
            crossing.defined_steps[row].item(),
            crossing.pending[row].item(),
        )
        assert got == expected
    assert 0 < int(crossing.crossed.sum()) < 300
    assert bool(crossing.pending.any()) == (patience > 1)


def test_undefined_steps_neither_count_nor_reset() -> None:
    nan = math.nan
    crossing = first_crossing(torch.tensor([1, 0, nan, nan, 0, 1]), 0.5, patience=2)
    assert (crossing.step.item(), crossing.defined_steps.item()) == (2, 4)
    crossing = first_crossing(torch.tensor([1, 0, nan, nan, 1, 0]), 0.5, patience=2)
    assert (crossing.step.item(), crossing.pending.item()) == (0, True)
    valid = torch.tensor([True, True, False, False, True, True])
    crossing = first_crossing(torch.tensor([1.0, 0, 1, 1, 0, 1]), 0.5, patience=2, valid=valid)
    assert (crossing.step.item(), crossing.defined_steps.item()) == (2, 4)
    crossing = first_crossing(torch.full((3, 4), nan), 0.5)
    assert crossing.defined_steps.tolist() == [0, 0, 0]
    assert not crossing.crossed.any()
    assert not crossing.pending.any()


def test_equality_passes_and_infinity_is_a_score() -> None:
    assert not first_crossing(torch.tensor([0.8, 0.8]), 0.8, patience=1).crossed
    assert not first_crossing(
        torch.tensor([0.7]), torch.tensor(0.7, dtype=torch.float64), patience=1
    ).crossed
    assert first_crossing(torch.tensor([-math.inf]), 0.8, patience=1).step.item() == 1
    assert not first_crossing(torch.tensor([math.inf]), 0.8, patience=1).crossed


def test_nan_threshold_leaves_the_curve_undefined() -> None:
    crossing = first_crossing(torch.zeros(2, 3), torch.tensor([0.5, math.nan]), patience=1)
    assert crossing.defined_steps.tolist() == [3, 0]
    assert crossing.crossed.tolist() == [True, False]


def test_patience_and_threshold_per_axis_equal_separate_calls() -> None:
    scores = random_scores(3, 40, 12)
    patience, thresholds = torch.tensor([1, 2, 4]), torch.tensor([0.3, 0.5, 0.9])
    together = first_crossing(scores, thresholds[:, None], patience=patience[:, None])
    for axis in range(3):
        alone = first_crossing(scores[axis], float(thresholds[axis]), patience=int(patience[axis]))
        for name in ("step", "crossed", "defined_steps", "pending"):
            assert getattr(together, name)[axis].equal(getattr(alone, name))


curves = st.lists(
    st.one_of(st.floats(0, 1, width=32), st.just(0.5), st.just(math.nan)), min_size=1, max_size=24
)


@settings(max_examples=150, deadline=None)
@given(curves, st.integers(1, 4), st.integers(0, 24))
def test_properties(values: list[float], patience: int, cut: int) -> None:
    scores = torch.tensor(values)
    crossing = first_crossing(scores, 0.5, patience=patience)
    end = len(values) + 1

    def horizon(result: FirstCrossing) -> int:
        return int(result.step) if result.crossed else end

    # A longer patience and a lower threshold never fail earlier.
    assert horizon(first_crossing(scores, 0.5, patience=patience + 1)) >= horizon(crossing)
    assert horizon(first_crossing(scores, 0.25, patience=patience)) >= horizon(crossing)
    # Common increasing map of scores and threshold (exact in binary).
    assert same(first_crossing(4 * scores - 1, 1.0, patience=patience), crossing)
    # What is seen on a prefix stands, but for a pending run.
    prefix = first_crossing(scores[: max(1, cut)], 0.5, patience=patience)
    if prefix.crossed:
        assert int(prefix.step) == int(crossing.step)
    elif not prefix.pending:
        assert not crossing.crossed or int(crossing.step) > max(1, cut)
    # Undefined steps between do not change which step it is that fails.
    kept = [t for t, value in enumerate(values) if not math.isnan(value)]
    if kept:
        compact = first_crossing(scores[kept], 0.5, patience=patience)
        assert bool(compact.crossed) == bool(crossing.crossed)
        if crossing.crossed:
            assert kept[int(compact.step) - 1] == int(crossing.step) - 1


def test_permutation_and_leading_dims() -> None:
    scores = random_scores(4, 5, 6, 9)
    whole = first_crossing(scores, 0.5, patience=2)
    assert whole.step.shape == (4, 5, 6)
    order = torch.tensor([3, 1, 0, 2])
    assert first_crossing(scores[order], 0.5, patience=2).step.equal(whole.step[order])
    assert first_crossing(scores[2, 3, 4], 0.5, patience=2).step.equal(whole.step[2, 3, 4])
    assert first_crossing(scores[:, :0], 0.5).step.shape == (4, 0, 6)


def test_first_crossing_errors() -> None:
    scores = torch.zeros(2, 5)
    cases = [
        (ValueError, "at least 1, got 0", {"patience": 0}),
        (ValueError, "at least 1, got 0", {"patience": torch.tensor([2, 0])}),
        (TypeError, "patience must be an int", {"patience": 1.5}),
        (TypeError, "patience must hold integers", {"patience": torch.tensor([1.0, 2.0])}),
        (
            ValueError,
            "direction must be one of 'below', 'above', got 'under'",
            {"direction": "under"},
        ),
        (TypeError, "valid must be bool", {"valid": torch.ones(2, 5)}),
        (ValueError, "valid must have a shape that broadcasts", {"valid": torch.ones(3, 5) > 0}),
    ]
    for error, message, options in cases:
        with pytest.raises(error, match=message):
            first_crossing(scores, 0.5, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threshold must have a shape"):
        first_crossing(scores, torch.zeros(3))
    with pytest.raises(ValueError, match="threshold must be a number"):
        first_crossing(scores, math.nan)
    with pytest.raises(TypeError, match="scores must be floating point"):
        first_crossing(scores.int(), 0.5)
    with pytest.raises(ValueError, match="at least one step"):
        first_crossing(scores[:, :0], 0.5)


# --- usable horizon -------------------------------------------------------------------------------


def three_axes() -> Tensor:
    """[3, 5, 6]: five rollouts whose answers are known by hand (patience 2, thresholds 0.5)."""
    good, bad, nan = 1.0, 0.0, math.nan
    rollouts = [
        # axis 0 fails at step 4, axis 1 at step 3, axis 2 never
        [[good] * 3 + [bad] * 3, [good] * 2 + [bad] * 4, [good] * 6],
        # none fails; axis 1 ends pending, axis 2 has no defined step
        [[good] * 6, [good] * 5 + [bad], [nan] * 6],
        # a tie of axes 1 and 2 at step 1
        [[good] * 6, [bad] * 6, [bad] * 6],
        # nothing is defined
        [[nan] * 6, [nan] * 6, [nan] * 6],
        # only axis 2 fails, at step 5
        [[good] * 6, [good] * 6, [good] * 4 + [bad] * 2],
    ]
    return torch.tensor(rollouts).transpose(0, 1).contiguous()


def test_usable_horizon_known_answers() -> None:
    result = usable_horizon(three_axes(), torch.full((3,), 0.5), patience=2)
    assert result.steps.tolist() == [2, 6, 0, -1, 4]
    assert result.censored.tolist() == [False, True, False, False, False]
    assert result.axis.tolist() == [1, -1, 1, -1, 2]
    assert result.defined.tolist() == [True, True, True, False, True]
    assert result.axis_steps.tolist() == [[3, 6, 6, -1, 6], [2, 6, 0, -1, 6], [6, -1, 0, -1, 4]]
    assert result.axis_censored.tolist() == [
        [False, True, True, False, True],
        [False, True, False, False, True],
        [True, False, False, False, False],
    ]
    assert result.axis_defined.tolist() == [
        [True, True, True, False, True],
        [True, True, True, False, True],
        [True, False, True, False, True],
    ]
    pending = torch.zeros(3, 5, dtype=torch.bool)
    pending[1, 1] = True
    assert result.pending.equal(pending)
    assert {t.dtype for t in (result.steps, result.axis, result.axis_steps)} == {torch.int64}


def test_gated_axes() -> None:
    gated = torch.tensor([True, False, True])
    result = usable_horizon(three_axes(), torch.full((3,), 0.5), patience=2, gated=gated)
    assert result.steps.tolist() == [3, 6, 0, -1, 4]
    assert result.axis.tolist() == [0, -1, 2, -1, 2]
    free = usable_horizon(three_axes(), torch.full((3,), 0.5), patience=2)
    assert result.axis_steps.equal(free.axis_steps)
    none = usable_horizon(
        three_axes(), torch.full((3,), 0.5), patience=2, gated=torch.zeros(3, dtype=torch.bool)
    )
    assert not none.defined.any()
    assert not none.censored.any()
    assert none.steps.tolist() == [-1] * 5


def test_padded_rollouts_are_censored_at_their_last_valid_step() -> None:
    scores = torch.ones(2, 3, 6)
    scores[0, 2, 2:] = 0.0
    valid = torch.arange(6) < torch.tensor([4, 0, 3])[:, None]
    scores[:, ~valid] = 0.0  # what padding holds is not read
    result = usable_horizon(scores, torch.tensor([0.5, 0.5]), patience=2, valid=valid)
    assert result.steps.tolist() == [4, -1, 3]
    assert result.censored.tolist() == [True, False, True]
    assert result.pending.tolist() == [[False, False, True], [False, False, False]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_usable_horizon_is_the_minimum_over_axes(seed: int) -> None:
    scores = random_scores(4, 6, 9, seed=seed)
    thresholds = torch.tensor([0.3, 0.5, 0.8, 0.5])
    patience = torch.tensor([1, 2, 3, 1])
    result = usable_horizon(scores, thresholds, patience=patience)
    for rollout in range(6):
        answers = [
            brute_force(scores[a, rollout].tolist(), float(thresholds[a]), int(patience[a]))
            for a in range(4)
        ]
        failing = [(answer[0] - 1, a) for a, answer in enumerate(answers) if answer[1]]
        defined = any(answer[2] for answer in answers)
        steps, axis = min(failing, default=(9 if defined else -1, -1))
        assert (int(result.steps[rollout]), int(result.axis[rollout])) == (steps, axis)
        assert bool(result.censored[rollout]) == (defined and not failing)


def test_usable_horizon_errors() -> None:
    scores = torch.zeros(2, 3, 4)
    thresholds = torch.zeros(2)
    with pytest.raises(ValueError, match=r"\[A, B, T\]"):
        usable_horizon(scores[0], thresholds, patience=2)
    with pytest.raises(ValueError, match=r"thresholds must have shape \[A\] = \(2,\)"):
        usable_horizon(scores, torch.zeros(3), patience=2)
    low = torch.tensor([0.5, math.nan])
    with pytest.raises(
        ValueError, match=r"at least the thresholds, got 0.5 with a threshold of 0.6"
    ):
        usable_horizon(scores, torch.tensor([0.6, 0.9]), patience=2, recover_thresholds=low)
    usable_horizon(scores, torch.tensor([0.5, 0.9]), patience=2, recover_thresholds=low)
    with pytest.raises(TypeError, match=r"thresholds must be a torch.Tensor"):
        usable_horizon(scores, 0.5, patience=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="patience must have shape"):
        usable_horizon(scores, thresholds, patience=torch.tensor([1, 2, 3]))
    with pytest.raises(TypeError, match="gated must be bool"):
        usable_horizon(scores, thresholds, patience=2, gated=torch.ones(2))
    with pytest.raises(ValueError, match="valid"):
        usable_horizon(scores, thresholds, patience=2, valid=torch.ones(2, 4) > 0)
