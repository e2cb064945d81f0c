"""Usable horizon: modes, recovery, hysteresis, shares of defined steps, thresholds of scenarios."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from tests.crossing_machine import watch
from wmscore.functional import Reason, UsableHorizon, relative_threshold, usable_horizon

NAN = math.nan
HALF = torch.tensor([0.5, 0.5])


def curve(text: str) -> list[float]:
    """`+` good, `-` bad, `?` undefined."""
    return [{"+": 1.0, "-": 0.0, "?": NAN}[sign] for sign in text]


def rollouts(*axes: list[str]) -> Tensor:
    return torch.tensor([[curve(text) for text in of_axis] for of_axis in axes])


def test_modes_of_the_horizon() -> None:
    scores = rollouts(
        ["++--++++", "++--++--", "++++++++", "+-+-+-+-"],
        ["++++++++", "---+++++", "+++++++-", "++??++++"],
    )
    first = usable_horizon(scores, HALF, patience=2)
    assert first.steps.tolist() == [2, 0, 8, 8]
    assert first.axis.tolist() == [0, 1, -1, -1]
    assert first.failures.tolist() == [[1, 2, 0, 0], [0, 1, 0, 0]]
    assert first.recovery.tolist() == [[5, 5, 0, 0], [0, 4, 0, 0]]
    assert first.recovered_steps.tolist() == [[4, 2, 0, 0], [0, 5, 0, 0]]
    assert first.lost_steps.tolist() == [[2, 4, 0, 0], [0, 3, 0, 0]]
    assert first.usable_share.tolist() == [0.75, 0.25, 1.0, 1.0]

    last = usable_horizon(scores, HALF, patience=2, mode="last_recovery")
    assert last.steps.tolist() == [8, 6, 8, 8]
    assert last.axis.tolist() == [-1, 0, -1, -1]
    assert last.censored.tolist() == [True, False, True, True]
    assert last.axis_steps.tolist() == [[8, 6, 8, 8], [8, 8, 8, 8]]

    count = usable_horizon(scores, HALF, patience=2, mode="fraction_usable")
    assert count.steps.tolist() == [6, 2, 8, 8]
    assert count.axis.tolist() == first.axis.tolist()
    assert count.axis_steps.tolist() == [[6, 4, 8, 8], [8, 5, 8, 6]]


def test_a_collapse_in_the_middle_does_not_hide_between_good_ends() -> None:
    found = usable_horizon(rollouts(["+++---+++"]), HALF[:1], patience=3)
    assert (found.steps.item(), found.recovery.item(), found.recovered_steps.item()) == (3, 7, 3)
    assert found.usable_share.item() == pytest.approx(2 / 3)


def test_hysteresis_ends_a_horizon_that_noise_would_hide() -> None:
    scores = torch.tensor([[[0.9, 0.45, 0.55, 0.45, 0.55, 0.45]]])
    assert usable_horizon(scores, HALF[:1], patience=3).censored.all()
    found = usable_horizon(
        scores, HALF[:1], patience=3, recover_thresholds=torch.tensor([0.7]), recovery_patience=1
    )
    assert found.steps.item() == 1
    assert found.margin.item() == pytest.approx(-0.05)


def test_too_few_defined_steps_make_the_rollout_undefined() -> None:
    scores = rollouts(
        ["++++++++", "++++++++", "--++++++", "++++++++"],
        ["++??????", "++++????", "++??????", "--??????"],
    )
    open_gate = usable_horizon(scores, HALF, patience=2)
    assert open_gate.defined.all()
    assert not open_gate.reason.any()
    found = usable_horizon(scores, HALF, patience=2, min_defined=0.5)
    assert found.defined.tolist() == [False, True, True, True]
    assert found.steps.tolist() == [-1, 8, 0, 0]
    assert found.reason.tolist() == [Reason.TOO_FEW_STEPS, 0, 0, 0]
    assert found.axis_reason[1].tolist() == [Reason.TOO_FEW_STEPS, 0, Reason.TOO_FEW_STEPS, 0]
    assert found.axis_steps[1].tolist() == [-1, 8, -1, 0]
    assert found.usable_share[0].isnan()
    # A share of the steps that the rollout has, and no matter of an axis that gates nothing.
    valid = torch.arange(8) < torch.tensor([[4], [8], [8], [8]])
    short = usable_horizon(scores, HALF, patience=2, min_defined=0.5, valid=valid)
    assert short.steps.tolist() == [4, 8, 0, 0]
    alone = usable_horizon(
        scores, HALF, patience=2, min_defined=0.5, gated=torch.tensor([True, False])
    )
    assert alone.steps.tolist() == [8, 8, 0, 8]
    per_axis = usable_horizon(scores, HALF, patience=2, min_defined=torch.tensor([0.9, 0.25]))
    assert per_axis.defined.all()


def test_reasons_of_rollouts_without_steps() -> None:
    scores = rollouts(["++", "??"])
    valid = torch.tensor([[False, False], [True, True]])
    found = usable_horizon(scores, HALF[:1], patience=1, valid=valid)
    assert found.reason.tolist() == [Reason.NO_FRAME, Reason.TOO_FEW_STEPS]
    assert found.axis_reason[0].tolist() == found.reason.tolist()


def test_thresholds_of_scenarios_and_steps() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(2, 6, 20, generator=generator)
    of_scenarios = torch.rand(2, 3, generator=generator)
    scenario = torch.tensor([0, 0, 1, 1, 2, 2])
    found = usable_horizon(scores, of_scenarios[:, scenario], patience=2)
    of_steps = of_scenarios[:, scenario, None].expand(2, 6, 20)
    stepwise = usable_horizon(scores, of_steps, patience=2)
    for field in fields(UsableHorizon):
        torch.testing.assert_close(
            getattr(found, field.name), getattr(stepwise, field.name), equal_nan=True
        )
    for s in range(3):
        rows = scenario == s
        alone = usable_horizon(scores[:, rows], of_scenarios[:, s], patience=2)
        assert found.steps[rows].equal(alone.steps)
    none = relative_threshold(torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.5]))
    undefined = usable_horizon(scores, none.threshold, patience=2)
    assert undefined.axis_defined[1].sum() == 0


@pytest.mark.parametrize("mode", ["first_failure", "last_recovery", "fraction_usable"])
def test_equals_the_machine(mode: str) -> None:
    generator = torch.Generator().manual_seed(5)
    scores = torch.randint(0, 5, (3, 80, 17), generator=generator) / 4
    scores[torch.rand(scores.shape, generator=generator) < 0.2] = NAN
    valid = torch.arange(17) < torch.randint(0, 18, (80, 1), generator=generator)
    gated = torch.tensor([True, False, True])
    patience = torch.tensor([2, 1, 3])
    found = usable_horizon(
        scores,
        torch.tensor([0.5, 0.25, 0.75]),
        patience=patience,
        valid=valid,
        gated=gated,
        recovery_patience=torch.tensor([1, 2, 2]),
        mode=mode,  # type: ignore[arg-type]
    )
    for b in range(80):
        machines = [
            watch(
                scores[a, b].tolist(),
                (0.5, 0.25, 0.75)[a],
                int(patience[a]),
                recovery_patience=(1, 2, 2)[a],
                valid=valid[b].tolist(),
            )
            for a in range(3)
        ]
        last = int(valid[b].sum())
        kept = [machine for a, machine in enumerate(machines) if gated[a]]
        judged = set().union(*(machine.defined for machine in kept))
        usable = judged - set().union(*(machine.lost(17) for machine in kept))
        if mode == "last_recovery":
            ends = [m.failures[-1][0] if m.failures and m.failures[-1][1] == 0 else 0 for m in kept]
        else:
            ends = [m.failures[0][0] if m.failures else 0 for m in kept]
        failing = [end - 1 for end in ends if end]
        steps = min(failing, default=last)
        steps = len(usable) if mode == "fraction_usable" else steps
        assert bool(found.defined[b]) == bool(judged)
        assert int(found.steps[b]) == (steps if judged else -1)
        assert bool(found.censored[b]) == (bool(judged) and not failing)
        if judged:
            assert float(found.usable_share[b]) == pytest.approx(len(usable) / len(judged))


def test_errors() -> None:
    scores = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match="mode must be one of 'first_failure'"):
        usable_horizon(scores, HALF, patience=1, mode="best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="min_defined must be a number at least 0"):
        usable_horizon(scores, HALF, patience=1, min_defined=1.5)
    with pytest.raises(ValueError, match="min_defined must have shape"):
        usable_horizon(scores, HALF, patience=1, min_defined=torch.zeros(3))
    with pytest.raises(ValueError, match="recover_thresholds must have shape"):
        usable_horizon(scores, HALF, patience=1, recover_thresholds=torch.zeros(3))
    with pytest.raises(ValueError, match="thresholds must have a shape that broadcasts"):
        usable_horizon(scores, torch.zeros(2, 4), patience=1)
    with pytest.raises(ValueError, match="recovery_patience must be at least 1"):
        usable_horizon(scores, HALF, patience=1, recovery_patience=torch.tensor([1, 0]))
