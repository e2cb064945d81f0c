"""Signals at their edges: the last step that counts, equality, what was not measured, what is left.

The rollout of `outcome` fails at step 5, for two steps.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.made_scores import made_panel, made_scores
from wmscore.attribution import (
    SETTLES,
    Misalignment,
    Outcome,
    Signal,
    accumulates,
    delivered_signal,
    diagnose,
    evaluation_signal,
    first_failure,
    misaligned_evaluation,
    misalignment,
    no_signal,
    response_signal,
    stage_signal,
    state_probe,
    threshold_signal,
)
from wmscore.attribution.probes import companion_signal
from wmscore.attribution.stages import SHARPENS
from wmscore.functional import Reason
from wmscore.rollouts import RECONSTRUCTION, TEACHER_FORCED, Rollouts


def outcome(step: int = 5, patience: int = 2) -> Outcome:
    return Outcome(
        failed=torch.tensor([step > 0]),
        step=torch.tensor([step]),
        patience=torch.tensor([patience]),
    )


def curve(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize(("first", "blamed"), [(5, True), (6, True), (7, False), (8, False)])
def test_a_stage_must_fail_by_the_end_of_the_failing_run(first: int, blamed: bool) -> None:
    """Steps 5 and 6 are the run; whether a failure at step 6 lasts is seen at step 7."""
    scores = curve(*([1.0] * (first - 1)), *([0.0] * (10 - first)))
    found = stage_signal(scores, outcome(), 0.5, patience=2)
    assert bool(found.implicates[0]) is blamed
    assert bool(found.excludes[0]) is not blamed
    assert int(found.onset[0]) == (first if blamed else 0)


def test_what_is_at_its_threshold_is_not_below_it() -> None:
    assert bool(threshold_signal(torch.tensor([0.5]), 0.5).excludes[0])


def test_growth_counts_the_failing_run_and_takes_two_steps_before_it() -> None:
    until = curve(0.95, 0.9, 0.8, 0.7, 0.6, 0.9, 1.0, 1.0)  # it recovers at once: no growth
    assert accumulates(until, outcome(patience=3)).tolist() == [False]
    assert accumulates(curve(0.9, 0.2, 0.9), outcome(step=1, patience=1)).tolist() == [False]
    assert accumulates(curve(0.9, 0.5, 0.2), outcome(step=2, patience=2)).tolist() == [True]


def test_a_probe_is_not_misled_by_what_is_broken_or_constant() -> None:
    generator = torch.Generator().manual_seed(0)
    state = torch.randn(8, 5, 2, generator=generator, dtype=torch.float64)
    rows = torch.arange(8)
    broken = state.clone()
    broken[0, 0, 0] = torch.nan
    found = state_probe(state, state, rows, fit=(broken, state))
    assert float(found.min()) > 0.999
    # Further off than the mean would be counts as knowing nothing, not as less.
    assert float(state_probe(-state, state, rows, fit=(state, state)).min()) >= 0
    # What never changed where the probe was fitted is known there, and not where it does change.
    still = state.clone()
    still[..., 1] = 3.0
    assert float(state_probe(state, still, rows, fit=(state, still)).min()) > 0.999
    other = still.clone()
    other[..., 1] = 4.0
    half = state_probe(state, other, rows, fit=(state, still))
    torch.testing.assert_close(half, torch.full_like(half, 0.5), atol=1e-3, rtol=0)


def test_what_is_lost_after_the_failure_explains_nothing() -> None:
    """Nothing is explained up to the end of the failing run, all of it afterwards."""
    plain = curve(*[0.3] * 10)
    late = curve(*[0.3] * 6, *[0.69] * 4)
    found = delivered_signal(plain, late, outcome(), 0.7, patience=2)
    assert bool(found.excludes[0])
    early = delivered_signal(plain, curve(*[0.6] * 10), outcome(), 0.7, patience=2)
    assert not bool(early.excludes[0] | early.implicates[0])
    # What is lost afterwards does not count either: two sevenths are explained up to there.
    partly = delivered_signal(plain, curve(*[0.5] * 7, *[0.3] * 3), outcome(), 0.7, patience=2)
    assert not bool(partly.excludes[0] | partly.implicates[0])
    # A script that explains must be as good as without a fault, where that is known.
    good = curve(*[0.8] * 10)
    assert bool(delivered_signal(plain, good, outcome(), 0.7, patience=2).implicates)
    strict = delivered_signal(plain, good, outcome(), 0.7, patience=2, normal=0.9)
    assert not bool(strict.implicates[0] | strict.excludes[0])


def test_a_shift_must_mend_a_reconstruction_for_good() -> None:
    """By default half of the way from the threshold to 1."""

    def asked(mended: float, **options: float) -> Signal:
        found = Misalignment(
            kinds=("1 step late",),
            kind=torch.zeros(1).long(),
            plain=curve(*[0.3] * 10),
            explained=curve(*[mended] * 10),
        )
        return misaligned_evaluation(no_signal(1), found, outcome(), 0.7, patience=2, **options)

    assert bool(asked(0.86).implicates)
    assert not bool(asked(0.84).implicates)
    assert bool(asked(0.84, normal=0.8).implicates)


def test_frames_that_do_not_exist_are_not_compared() -> None:
    frames = torch.randint(0, 256, (1, 6, 3, 16, 16), dtype=torch.uint8)
    valid = torch.ones(1, 6, dtype=torch.bool)
    valid[0, 5] = False
    rollouts = Rollouts(
        frames=frames,
        actions=torch.zeros(1, 5, dtype=torch.int64),
        scenario=torch.zeros(1, dtype=torch.int64),
        seed=torch.zeros(1, dtype=torch.int64),
        branch=torch.zeros(1, dtype=torch.int64),
        valid=valid,
        reference=frames,
        reference_index=torch.zeros(1, dtype=torch.int64),
        model="m",
        panel="p",
    )
    found = misalignment(rollouts, lag=1)
    assert found.plain.isnan().tolist() == [[False] * 4 + [True]]


# ---- out of scores --------------------------------------------------------------------------


def test_a_true_world_that_fails_later_is_no_excuse() -> None:
    """Patience is 1: by the step after the model's first failing one, or not at all."""
    panel = made_panel(scenarios=4, seeds=1)
    model = made_scores(panel, [[3], [3], [3], [12]])
    truth = made_scores(panel, [[3], [4], [5], [11]], model="truth")
    assert evaluation_signal(model, truth).implicates.tolist() == [True, True, False, True]


def test_a_floor_that_passes_judges_nobody_who_fails() -> None:
    panel = made_panel(scenarios=3, seeds=1)
    truth = made_scores(panel, [[12], [12], [12]], model="truth")
    model = made_scores(panel, [[3], [3], [12]])
    floor = made_scores(panel, [[12], [0], [12]], model="frozen")
    assert evaluation_signal(model, truth, floor).implicates.tolist() == [True, False, False]
    assert not evaluation_signal(model, truth).implicates.any()


def test_a_companion_is_asked_about_pictures() -> None:
    """A row that the response to actions ended is asked on perceptual drift."""
    panel = made_panel(scenarios=2, seeds=1)
    model = made_scores(panel, [[3], [3]], by=torch.tensor([[0], [2]]))
    rebuilt = made_scores(panel, [[3], [3]], model="made" + RECONSTRUCTION, by=2)
    assert companion_signal(model, rebuilt).implicates.tolist() == [False, False]
    drifting = made_scores(panel, [[3], [3]], model="made" + RECONSTRUCTION)
    assert companion_signal(model, drifting).implicates.tolist() == [True, True]


@pytest.mark.parametrize(("kept", "blamed"), [(0.62, True), (0.75, False)])
def test_a_companion_that_loses_most_of_it_is_to_blame(kept: float, blamed: bool) -> None:
    """The rollout keeps .55 where .6 is asked for: .8 of that loss leaves .64."""
    panel = made_panel(scenarios=1, seeds=1)
    model = made_scores(panel, [[3]], bad=0.55)
    rebuilt = made_scores(panel, [[3]], model="made" + RECONSTRUCTION, bad=kept)
    found = companion_signal(model, rebuilt)
    assert bool(found.implicates[0]) is blamed
    assert not bool(found.excludes[0])


@pytest.mark.parametrize(
    ("change", "blamed"),
    [
        ({}, True),
        ({"lag": 0.0, "polarity": -1.0, "correlation": -0.95, "gain": -1.0}, True),
        ({"lag": 0.0}, False),
        ({"p_value": 0.02}, False),
        ({"correlation": 0.8}, False),
        ({"gain": 0.7}, False),
        ({"gain": 1.3}, False),
        ({"ambiguous": True}, False),
    ],
)
def test_only_a_clear_lag_or_mirror_blames_control(change: dict[str, Any], blamed: bool) -> None:
    clear = {"lag": 2.0, "polarity": 1.0, "p_value": 1e-3, "correlation": 0.95, "gain": 1.0}
    pooled = SimpleNamespace(**{**clear, "ambiguous": False, **change})
    report = SimpleNamespace(latency=SimpleNamespace(excess=SimpleNamespace(pooled=pooled)))
    scores = made_scores(made_panel(scenarios=2, seeds=1), [[3], [12]])
    found = response_signal(replace(scores, actions=report))  # type: ignore[arg-type]
    assert found.implicates.tolist() == [blamed, False]
    assert not found.excludes.any()


def test_the_first_failure_is_of_a_row_that_ends() -> None:
    """Not of one that cannot be judged, whose steps are -1; the first of equals."""
    panel = made_panel(scenarios=4, seeds=1)
    fault = torch.tensor([[int(Reason.SHORT)], [0], [0], [0]], dtype=torch.uint8)
    scores = made_scores(panel, [[0], [5], [2], [2]], fault=fault, by=1)
    scores.axes["identity_persistence"].values[2, 2] = 0.25
    found = first_failure(scores)
    assert found is not None
    assert (found.row, found.scenario, found.step, found.axis) == (
        2,
        "scene-2",
        3,
        "identity_persistence",
    )
    assert (found.score, found.threshold, found.patience) == (0.25, 0.9, 1)
    never = made_scores(panel, [[12]] * 4)
    assert first_failure(never) is None


def test_what_was_measured_is_sharpened_and_what_was_not_is_measured() -> None:
    """All stages are fine on true inputs, and none of them says why the rollout fails."""
    panel = made_panel(scenarios=2, seeds=1)
    whole = [[12], [12]]
    results = [
        made_scores(panel, [[3], [3]]),
        made_scores(panel, whole, model="truth"),
        made_scores(panel, whole, model="made" + RECONSTRUCTION),
        made_scores(panel, whole, model="made" + TEACHER_FORCED),
    ]
    fine = {"control": threshold_signal(torch.ones(2), 0.5)}
    found = diagnose(results[0], results, roles={"truth": "truth"}, signals=fine)
    assert (found.cause, found.candidates) == ("undetermined", ("representation", "dynamics"))
    assert found.missing == ("representation",)
    assert found.settles == (
        f"representation: {SETTLES['representation']}",
        f"dynamics: {SHARPENS['dynamics']}",
    )
