"""The decision: each rule by itself, and that it abstains where evidence is missing."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from wmscore.attribution import (
    CAUSES,
    STAGES,
    Outcome,
    Signal,
    accumulates,
    decide,
    delivered_signal,
    no_signal,
    stage_signal,
    state_probe,
    threshold_signal,
)

STATES = ("unknown", "fine", "bad")


def outcome(failed: bool = True, rows: int = 1) -> Outcome:
    return Outcome(
        failed=torch.full((rows,), failed),
        step=torch.full((rows,), 5 if failed else 0),
        patience=torch.full((rows,), 2),
    )


def signal(state: str, direct: bool = False) -> Signal:
    value = {"unknown": torch.nan, "fine": 1.0, "bad": 0.0}[state]
    return threshold_signal(torch.tensor([value]), 0.5, direct=direct)


def verdict(failed: bool = True, grows: bool = False, **states: str) -> tuple[str, set[str]]:
    signals = {
        stage: signal(states[stage], direct=stage == "control")
        for stage in STAGES
        if stage in states and stage != "dynamics"
    }
    found = decide(
        outcome(failed),
        signals,
        one_step=signal(states["dynamics"]) if "dynamics" in states else None,
        compounding=torch.tensor([grows]),
    )
    left = {s for s, c in zip(STAGES, found.candidates[0].tolist(), strict=True) if c}
    return CAUSES[int(found.cause[0])], left


FINE = dict.fromkeys(("evaluation", "perception", "control", "representation"), "fine")


@pytest.mark.parametrize("stage", ["evaluation", "perception", "control", "representation"])
def test_a_stage_is_named_when_all_before_it_are_fine(stage: str) -> None:
    later = {"dynamics": "bad"} if stage != "evaluation" else {}
    assert verdict(**{**FINE, stage: "bad", **later}) == (stage, {stage})


def test_dynamics_by_one_step_or_by_growth() -> None:
    assert verdict(**FINE, dynamics="bad") == ("dynamics", {"dynamics"})
    assert verdict(**FINE, dynamics="fine", grows=True) == ("dynamics", {"dynamics"})
    # Fine on true inputs, and yet it fails: what is left is what only its own inputs bring about.
    assert verdict(**FINE, dynamics="fine") == ("undetermined", {"dynamics"})
    assert verdict(**FINE) == ("undetermined", {"dynamics"})


def test_planning_only_where_the_rollout_holds() -> None:
    assert verdict(failed=False, evaluation="fine", planning="bad") == ("planning", {"planning"})
    assert verdict(failed=False, evaluation="fine", planning="fine") == ("none", set())
    assert verdict(**FINE, dynamics="bad", planning="bad")[0] == "dynamics"


def test_an_evaluation_fault_voids_all_else() -> None:
    bad = dict.fromkeys(("perception", "control", "representation"), "bad")
    assert verdict(evaluation="bad", **bad, dynamics="bad") == ("evaluation", {"evaluation"})
    assert verdict(failed=False, evaluation="bad")[0] == "evaluation"


def test_without_a_self_check_nothing_is_named() -> None:
    for states in itertools.product(STATES, repeat=4):
        some = dict(
            zip(("perception", "control", "representation", "dynamics"), states, strict=True)
        )
        assert verdict(evaluation="unknown", **some)[0] == "undetermined"


def test_no_stage_is_named_while_one_before_it_is_unknown() -> None:
    order = ("perception", "control", "representation", "dynamics")
    for states in itertools.product(STATES, repeat=4):
        some = dict(zip(order, states, strict=True))
        cause, left = verdict(evaluation="fine", **some)
        if cause in order:
            before = order[: order.index(cause)]
            assert some[cause] == "bad"
            allowed = ("fine", "unknown") if cause == "control" else ("fine",)
            assert all(some[stage] in allowed for stage in before), (cause, some)
            assert left == {cause}
        else:
            assert cause == "undetermined"
            assert all(some[stage] != "fine" for stage in left - {"evaluation", "dynamics"})


def test_a_picture_that_fails_and_other_actions_that_explain_contradict_each_other() -> None:
    cause, left = verdict(**{**FINE, "perception": "bad", "control": "bad"})
    assert cause == "undetermined"
    assert {"perception", "control"} <= left


def test_rows_are_decided_each_by_itself() -> None:
    states = list(itertools.product(STATES, STATES, STATES))
    many = {
        stage: threshold_signal(
            torch.tensor([{"unknown": torch.nan, "fine": 1.0, "bad": 0.0}[s[i]] for s in states]),
            0.5,
            direct=stage == "control",
        )
        for i, stage in enumerate(("evaluation", "perception", "control"))
    }
    found = decide(outcome(rows=len(states)), many)
    for row, state in enumerate(states):
        alone = verdict(**dict(zip(("evaluation", "perception", "control"), state, strict=True)))
        assert CAUSES[int(found.cause[row])] == alone[0]
    assert sum(found.counts().values()) == len(states)
    with pytest.raises(ValueError, match="expected stages"):
        decide(outcome(), {"weather": no_signal(1)})


def test_weak_verdicts_are_marked() -> None:
    near = {stage: signal("fine") for stage in ("evaluation", "perception", "control")}
    near["representation"] = threshold_signal(torch.tensor([0.48]), 0.5)
    found = decide(outcome(), near)
    assert CAUSES[int(found.cause[0])] == "representation"
    assert bool(found.weak[0])


# ---- signals --------------------------------------------------------------------------------


def curve(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_what_sets_in_after_the_failure_is_no_cause() -> None:
    """The rollout fails at steps 5 and 6."""
    early = curve(1, 1, 1, 0, 0, 0, 0, 0)
    late = curve(1, 1, 1, 1, 1, 1, 1, 0)
    much_later = curve(*[1] * 7, 0, 0, 0)
    assert bool(stage_signal(early, outcome(), 0.5, patience=2).implicates[0])
    assert int(stage_signal(early, outcome(), 0.5, patience=2).onset[0]) == 4
    for scores in (late, much_later):
        found = stage_signal(scores, outcome(), 0.5, patience=2)
        assert bool(found.excludes[0])
    single = curve(1, 0, 1, 1, 1, 1, 1, 1)
    assert bool(stage_signal(single, outcome(), 0.5, patience=2).excludes[0])


def test_what_was_not_measured_neither_implicates_nor_excludes() -> None:
    nothing = torch.full((1, 8), torch.nan, dtype=torch.float64)
    found = stage_signal(nothing, outcome(), 0.5, patience=2)
    for unknown in (found, no_signal(1)):
        assert not bool(unknown.available[0] | unknown.implicates[0] | unknown.excludes[0])


def test_growth_is_told_from_a_sudden_end() -> None:
    grows = curve(0.95, 0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.9)
    sudden = curve(1, 1, 1, 1, 0.2, 0.2, 0.2, 0.2)
    assert accumulates(grows, outcome()).tolist() == [True]
    assert accumulates(sudden, outcome()).tolist() == [False]
    assert accumulates(grows, outcome(failed=False)).tolist() == [False]


def test_a_probe_reads_what_is_there_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    state = torch.randn(40, 6, 4, generator=generator, dtype=torch.float64)
    mix = torch.randn(4, 10, generator=generator, dtype=torch.float64)
    groups = torch.arange(40) // 2
    assert float(state_probe(state @ mix, state, groups).min()) > 0.999
    lost = state.clone()
    lost[:, :, 3] = 0
    found = state_probe(lost @ mix, state, groups)
    assert 0.6 < float(found.mean()) < 0.95
    noise = torch.randn(40, 6, 10, generator=generator, dtype=torch.float64)
    assert float(state_probe(noise, state, groups).mean()) < 0.6
    # Scenarios that are alike must not be on both sides: a probe may not look them up.
    by_name = torch.nn.functional.one_hot(groups, 20)[:, None].expand(-1, 6, -1).double()
    same = state.clone()
    same[1::2] = same[::2]
    assert float(state_probe(by_name, same, groups).mean()) < 0.6
    assert state_probe(state, state, torch.zeros(40).long()).isnan().all()
    fresh = torch.randn(5, 6, 4, generator=generator, dtype=torch.float64)
    few = torch.arange(5)
    assert float(state_probe(fresh @ mix, fresh, few, fit=(state @ mix, state)).min()) > 0.999
    hidden = torch.full_like(state, torch.nan)
    assert state_probe(fresh @ mix, fresh, few, fit=(state @ mix, hidden)).isnan().all()
    with pytest.raises(ValueError, match="expected"):
        state_probe(state, state[:, :5], groups)
    with pytest.raises(ValueError, match="fit"):
        state_probe(fresh, fresh, few, fit=(state @ mix, state))


def test_what_is_worse_than_normal_but_not_enough_is_unclear() -> None:
    """Neither named for a failure that it does not bring about, nor cleared."""

    def at(level: float) -> Signal:
        return stage_signal(curve(*[level] * 8), outcome(), 0.5, patience=2, normal=0.9)

    assert bool(at(0.95).excludes)
    assert bool(at(0.4).implicates)
    between = at(0.6)
    assert not bool(between.implicates[0] | between.excludes[0])
    late = stage_signal(curve(*[1] * 6, 0.6, 0.6), outcome(), 0.5, patience=2, normal=0.9)
    assert bool(late.excludes)
    others = {stage: signal("fine") for stage in ("evaluation", "control", "representation")}
    found = decide(outcome(), others | {"perception": between}, one_step=signal("bad"))
    assert CAUSES[int(found.cause[0])] == "undetermined"
    left = [s for s, c in zip(STAGES, found.candidates[0].tolist(), strict=True) if c]
    assert left == ["perception", "dynamics"]


def test_another_script_must_explain_all_of_it() -> None:
    good, bad, half = (curve(*[v] * 8) for v in (0.95, 0.3, 0.6))

    def asked(plain: Tensor, explained: Tensor) -> Signal:
        return delivered_signal(plain, explained, outcome(), 0.7, patience=2)

    assert bool(asked(bad, good).implicates)
    assert asked(bad, good).direct
    assert bool(asked(good, good).excludes)  # what was commanded is what is shown
    assert bool(asked(bad, curve(*[0.35] * 8)).excludes)  # no script explains it
    partly = asked(bad, half)
    assert not bool(partly.implicates[0] | partly.excludes[0])
    nothing = torch.full((1, 8), torch.nan, dtype=torch.float64)
    assert not bool(asked(nothing, nothing).available)
