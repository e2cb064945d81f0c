"""What a comparison must not conclude from steps, axes or seeds that it has not seen."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.made_scores import AXES, made_panel, made_scores
from wmscore.comparison import Comparison, compare, matched_cells, rank
from wmscore.functional import Reason
from wmscore.manifest import AxisCalibration, Panel, PanelMismatchError
from wmscore.scores import Scores

S, K, T = 8, 3, 32


def ends(low: int = 12, high: int = 20, seed: int = 0) -> Tensor:
    return torch.randint(low, high, (S, K), generator=torch.Generator().manual_seed(seed))


def panel(scenarios: int = S, seeds: int = K, **changes: object) -> Panel:
    return made_panel(scenarios, seeds, T, **changes)


def blank(scores: Scores, axis: str, rows: slice = slice(None), first: int = 0) -> Scores:
    """The axis undefined in some rows from a step on."""
    curve = scores.axes[axis]
    values, reason = curve.values.clone(), curve.reason.clone()
    values[rows, first:] = math.nan
    reason[rows, first:] = int(Reason.TOO_FEW_SAMPLES)
    return replace(scores, axes=scores.axes | {axis: replace(curve, values=values, reason=reason)})


def outcome(found: Comparison) -> str:
    assert found.gate is not None
    assert Comparison.from_json(found.to_json()).to_json() == found.to_json()
    return found.gate.outcome


def said(found: Comparison) -> str:
    return "\n".join(found.verdict())


def test_a_candidate_that_fails_after_the_end_of_the_baseline_passes_nothing() -> None:
    # Up to step 5 they are alike; nobody knows how far the baseline would have gone.
    short = made_scores(panel(), torch.full((S, K), T), stops=torch.full((S, K), 5), model="old")
    found = compare(short, made_scores(panel(), torch.full((S, K), 6), model="new"), gate=1)
    assert found.horizon.estimate == found.horizon.low == 0
    assert (found.candidate.hidden, found.baseline.hidden) == (S * K, 0)
    assert outcome(found) == "undecided"
    assert found.verdict()[0].startswith("UNDECIDED: new fails after the end of old in 24 pairs")


def test_what_the_baseline_would_have_shown_does_not_always_matter() -> None:
    never = made_scores(panel(), torch.full((S, K), T), model="new")
    short = made_scores(panel(), torch.full((S, K), T), stops=torch.full((S, K), 5), model="old")
    found = compare(short, never, gate=1)  # nothing can be better than never to fail
    assert (found.candidate.hidden, outcome(found)) == (0, "pass")
    failed = made_scores(panel(), torch.full((S, K), 3), stops=torch.full((S, K), 5), model="old")
    found = compare(failed, made_scores(panel(), ends(), model="new"), gate=1)
    assert (found.candidate.hidden, outcome(found)) == (0, "pass")  # it had failed before its end


def test_an_early_end_is_no_rollout_without_failure() -> None:
    last = torch.full((S, K), T)
    last[: S // 2] = 3
    old, new = (
        made_scores(panel(), last, model=m, stops=torch.full((S, K), 10)) for m in ("old", "new")
    )
    found = compare(old, new)
    assert found.candidate.ended_by[AXES[0]] == pytest.approx(0.5)
    assert math.isnan(found.candidate.never_failed)
    assert "new's rollouts end by perceptual drift (50%); old's rollouts end by" in said(found)
    assert "No rollout" not in said(found)
    old, new = (
        made_scores(panel(), torch.full((S, K), T), model=m, stops=torch.full((S, K), 10))
        for m in ("old", "new")
    )
    assert "No rollout of either model was seen to fail before it ended." in said(compare(old, new))


def test_a_rollout_that_was_cut_could_not_have_been_seen_to_fail() -> None:
    # Half are cut at step 4; all others fail at step 5. Of those seen at step 5, all fail.
    stops = torch.full((S, K), T)
    stops[: S // 2] = 4
    old, new = (
        made_scores(panel(), torch.full((S, K), 4), model=m, stops=stops) for m in ("old", "new")
    )
    found = compare(old, new)
    assert found.candidate.ended_by[AXES[0]] == pytest.approx(1)
    assert found.candidate.never_failed == 0


def test_an_axis_that_only_the_baseline_shows_passes_nothing() -> None:
    old = made_scores(panel(), ends(), by=1, model="old")
    new = blank(made_scores(panel(), torch.full((S, K), T), model="new"), AXES[1])
    found = compare(old, new, gate=1)
    assert found.candidate.unjudged == {AXES[1]: S * K}
    assert found.baseline.unjudged == {}
    assert outcome(found) == "undecided"
    assert "identity persistence is undefined in new in 24 pairs" in found.verdict()[0]
    assert "nothing could fail there" in said(found)
    assert compare(old, new, gate_axes={AXES[0]: 0.1}).candidate.undefined == {AXES[1]: S * K}
    assert outcome(compare(old, new, gate_axes={AXES[0]: 0.1})) == "pass"
    assert outcome(compare(old, new, gate_axes={AXES[1]: 0.9})) == "undecided"
    # With enough of it the same candidate passes.
    whole = made_scores(panel(), torch.full((S, K), T), model="new")
    assert outcome(compare(old, whole, gate=1)) == "pass"
    assert outcome(compare(old, blank(whole, AXES[1], slice(None), T - 8), gate=1)) == "pass"
    assert outcome(compare(old, blank(whole, AXES[1], slice(1), 8), gate=1)) == "undecided"


def test_an_axis_matters_up_to_the_horizon_only() -> None:
    old = made_scores(panel(), ends(), model="old")
    new = blank(made_scores(panel(), ends(seed=1), model="new"), AXES[1], slice(None), 12)
    found = compare(old, new, gate=6)
    assert found.candidate.unjudged == {}
    assert found.candidate.undefined == {AXES[1]: S * K}
    assert outcome(found) == "pass"
    both = compare(blank(old, AXES[1]), blank(old, AXES[1]))
    assert both.candidate.undefined == both.candidate.unjudged == {}


def test_an_axis_without_a_gate_hides_no_failure() -> None:
    axes = [
        {"axis": axis, "threshold": 0.6, "patience": 1, "gate": axis != AXES[1]} for axis in AXES
    ]
    old = made_scores(panel(axes=axes), ends(), model="old")
    new = blank(made_scores(panel(axes=axes), ends(), model="new"), AXES[1])
    found = compare(old, new, gate=1)
    assert (found.candidate.unjudged, outcome(found)) == ({}, "pass")


def test_undefined_rows_of_the_baseline_leave_it_open() -> None:
    old = made_scores(panel(), ends(), model="old")
    defined = old.horizon.defined.clone()
    defined[3] = False
    silent = replace(old, horizon=replace(old.horizon, defined=defined))
    found = compare(silent, made_scores(panel(), ends(), model="new"), gate=2)
    assert outcome(found) == "undecided"
    assert "old alone has 1 row that nothing could judge" in said(found)


def test_a_lone_seed_does_not_repeat_itself() -> None:
    fault = torch.zeros(S, 2, dtype=torch.uint8)
    fault[:, 1] = int(Reason.SHORT)
    old = made_scores(panel(seeds=2), ends()[:, :2], model="old", fault=fault)
    found = compare(old, made_scores(panel(seeds=2), ends()[:, :2] + 1, model="new"))
    assert found.candidate.uses_seed is None
    assert "repeat" not in said(found)


def test_scenarios_that_cancel_are_not_all_the_same() -> None:
    gain = torch.tensor([3, -3] * (S // 2))[:, None]
    base = torch.full((S, K), 15)
    old, new = (made_scores(panel(), base + g, model=m) for g, m in ((0, "old"), (gain, "new")))
    found = compare(old, new, estimand="seeds")
    assert found.horizon.low == found.horizon.high == found.horizon.estimate == 0
    assert found.verdict()[0].startswith("On this panel new and old are usable equally long on av")
    assert "in each scenario the same" not in said(found)
    few = panel(4)
    old, new = (made_scores(few, base[:4] + g, model=m) for g, m in ((0, "old"), (gain[:4], "new")))
    assert "equally long on average: 15.0 against 15.0" in compare(old, new).verdict()[0]


def test_seeds_with_one_horizon_are_not_all_there_is() -> None:
    old = made_scores(panel(), torch.full((S, K), T), model="old")
    curve = old.axes[AXES[0]]
    noise = 0.01 * torch.rand(curve.values.shape, dtype=torch.float64)
    old = replace(old, axes=old.axes | {AXES[0]: replace(curve, values=curve.values - noise)})
    text = said(compare(old, replace(old, model="new"), estimand="seeds"))
    assert "Up to 14% of pairs with new seeds may differ all the same." in text  # 1 - .025^(1/24)
    assert "is what it is" not in text


def test_the_same_scores_twice_are_told() -> None:
    old, new = (made_scores(panel(), ends(), model=m) for m in ("old", "new"))
    assert "the very same scores at every step: one model twice" in said(compare(old, new))
    curve = new.axes[AXES[2]]
    moved = replace(new, axes=new.axes | {AXES[2]: replace(curve, values=curve.values - 1e-9)})
    assert "the very same scores" not in said(compare(old, moved))


def test_a_model_that_ends_at_once_does_not_level_the_ranking() -> None:
    one, two = (made_scores(panel(), ends() + g, model=f"m{g}") for g in (0, 8))
    stops = torch.ones(S, K, dtype=torch.int64)
    short = made_scores(panel(), torch.full((S, K), T), model="short", stops=stops)
    found = rank([one, two, short])
    assert [model.model for model in found.models] == ["m8", "m0"]
    assert found.pairs[0].difference == pytest.approx(8)
    assert found.unranked == {"short": {"ends_early": S * K}}
    assert "short is not ranked: it lacks more than half" in found.verdict()[-1]
    # All end with the reference: nobody lacks what another shows.
    ended = [made_scores(panel(), ends(), model=m, stops=stops) for m in ("a", "b")]
    assert len(rank(ended).models) == 2


def test_a_ranking_says_what_it_did_not_see() -> None:
    stops = torch.full((S, K), T)
    stops[0] = 10
    one, two = (made_scores(panel(), ends() + g, model=f"m{g}") for g in (0, 8))
    cut = made_scores(panel(), ends() + 4, model="cut", stops=stops)
    blind = blank(made_scores(panel(), torch.full((S, K), T), model="blind"), AXES[0])
    found = rank([one, two, cut, blind])
    assert found.restricted == K
    assert "3 rows end early in some model; all count only up to the last step" in "\n".join(
        found.verdict()
    )
    assert found.models[0].model == "blind"
    assert found.models[0].unjudged == {AXES[0]: S * K}
    assert "perceptual drift is undefined in blind in 24 rows" in "\n".join(found.verdict())


def test_one_models_cells_are_compared_with_nobody() -> None:
    alone = matched_cells([made_scores(panel(), ends())])
    assert alone.unjudged == alone.undefined == ({},)
    assert alone.hidden == (0,)


def test_a_failure_counts_if_it_is_confirmed_within_the_steps_that_both_show() -> None:
    # Both are bad from step 6 on. One ends at step 7, within an unfinished run of its own.
    axes = [{"axis": axis, "threshold": 0.6, "patience": 3} for axis in AXES]
    kind = panel(axes=axes)
    last = torch.full((S, K), 5)
    whole = made_scores(kind, last, model="whole")
    for end, difference in ((7, 0), (8, 0), (20, 0)):
        short = made_scores(kind, last, model="short", stops=torch.full((S, K), end))
        found = compare(short, whole)
        assert found.horizon.estimate == difference, end
        assert found.horizon.candidate == (7 if end == 7 else 5)
        assert found.candidate.hidden == (S * K if end == 7 else 0)
        cause = matched_cells([short, whole]).cause
        assert (cause == (-1 if end == 7 else 0)).all()


def test_a_calibrated_panel_is_another_panel_at_equal_thresholds() -> None:
    kind = panel()
    record = AxisCalibration(method="tolerance", oracle="world", scenarios=S)
    same = {AXES[0]: kind.axes[0].threshold}
    calibrated = kind.with_thresholds(same, {AXES[0]: record})
    with pytest.raises(PanelMismatchError, match=r"axes\[0\]\.calibration: absent != "):
        compare(made_scores(kind, ends()), made_scores(calibrated, ends()))
