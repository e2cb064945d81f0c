"""Two models on one panel: matching, what is dropped, the gate, words, JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import wmscore
from tests.made_scores import made_panel, made_scores
from wmscore import PanelMismatchError
from wmscore.comparison import Comparison, compare, matched_cells, paired_difference
from wmscore.functional import Reason
from wmscore.scores import Scores
from wmscore.stats import bootstrap_interval, holm

T = 32
WORKED = torch.tensor([12, 4, -3, 9, 6, 1, 8, -2])


def ends(scenarios: int, seeds: int, low: int = 5, high: int = 28, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, (scenarios, seeds), generator=generator)


def pair(gain: Tensor, seeds: int = 3, **options: object) -> tuple[Scores, Scores]:
    """A baseline, and a candidate that differs by so many steps in each scenario."""
    panel = made_panel(len(gain), seeds, T)
    old = ends(len(gain), seeds, 12, 20)
    return (
        made_scores(panel, old, model="old"),
        made_scores(panel, old + gain[:, None], model="new", **options),
    )


def said(found: Comparison) -> str:
    return "\n".join(found.verdict())


def test_the_primary_question_is_the_paired_difference_of_horizons() -> None:
    old, new = pair(WORKED)
    found = wmscore.compare(old, new)
    part = found.horizon
    assert part.estimate == pytest.approx(4.375)
    assert part.p_value == 18 / 256
    assert part.exact
    assert part.low == pytest.approx(-0.11462, abs=1e-5)
    assert part.high == pytest.approx(8.86462, abs=1e-5)
    assert (part.better, part.worse, part.pairs, part.scenarios) == (6, 2, 24, 8)
    assert part.seed_correlation == pytest.approx(1)
    expected = old.horizon.steps.double().mean().item()
    assert part.baseline == pytest.approx(expected)
    assert part.candidate == pytest.approx(expected + 4.375)
    robust = bootstrap_interval(WORKED.double(), 0.95)
    assert part.robust_low == pytest.approx(float(robust.low))
    assert part.robust_high == pytest.approx(float(robust.high))
    assert [line.difference for line in found.scenarios] == pytest.approx(WORKED.tolist())
    assert found.gate is None


def test_axes_are_mean_scores_over_shared_steps_with_holm() -> None:
    panel = made_panel(8, 2, T)
    a, b = ends(8, 2), ends(8, 2, seed=1)
    old = made_scores(panel, a, model="old", by=1)
    new = made_scores(panel, b, model="new", by=1, stops=torch.full((8, 2), 16))
    found = compare(old, new)
    means = [
        torch.where(torch.arange(1, 17) > x.reshape(16, 1), 0.2, 0.95).double().mean(1).view(8, 2)
        for x in (a, b)
    ]
    expected = paired_difference(*means)
    part = found.axes[1]
    assert part.name == "identity_persistence"
    assert part.estimate == pytest.approx(float(expected.estimate))
    assert part.p_value == pytest.approx(float(expected.p_value))
    p_values = torch.tensor([axis.p_value for axis in found.axes], dtype=torch.float64)
    assert [axis.p_holm for axis in found.axes] == pytest.approx(holm(p_values).tolist())
    assert math.isnan(found.horizon.p_holm)


def test_pairs_that_either_lacks_are_dropped_in_both_and_counted() -> None:
    fault = torch.zeros(8, 3, dtype=torch.uint8)
    fault[0, 0], fault[1] = int(Reason.SHORT), int(Reason.MISSING)
    old, new = pair(WORKED, fault=fault)
    found = compare(old, new)
    assert found.dropped == 4
    assert found.horizon.pairs == 20
    assert found.horizon.scenarios == 7
    assert found.candidate.dropped == {"missing": 3, "short": 1}
    assert found.candidate.faults == 4
    assert found.baseline.dropped == {}
    kept = (fault == 0).view(-1)
    means = old.horizon.steps.double().where(kept, torch.nan).view(8, 3).nanmean(1)
    assert found.horizon.baseline == pytest.approx(float(means.nanmean()))
    assert found.scenarios[1].pairs == 0
    assert math.isnan(found.scenarios[1].difference)
    text = said(found)
    assert "4 of 24 pairs count for neither model (new: 3 x missing, 1 x short)." in text
    assert "1 scenario without any pair: scene-1." in text


def test_early_ends_restrict_both_models() -> None:
    panel = made_panel(6, 1, T)
    stops = torch.tensor([[T], [10], [10], [10], [10], [4]])
    old = made_scores(panel, [[20], [20], [5], [20], [5], [8]], model="old")
    new = made_scores(panel, [[25], [25], [25], [7], [6], [9]], model="new", stops=stops)
    cells = matched_cells([old, new])
    assert cells.horizon[0, :, 0].tolist() == [20, 10, 5, 10, 5, 4]
    # Scenarios 3 and 4: a rollout that fails before it ends restricts the other all the same.
    assert cells.horizon[1, :, 0].tolist() == [25, 10, 10, 7, 6, 4]
    assert cells.cause[:, :, 0].tolist() == [[0, -1, 0, -1, 0, -1], [0, -1, -1, 0, 0, -1]]
    assert cells.restricted[:, 0].tolist() == [False, True, True, True, True, True]
    text = said(compare(old, new))
    assert "5 pairs end early; both models count only up to the last step that both show." in text


def test_what_ends_the_rollouts() -> None:
    panel = made_panel(8, 2, T)
    by = torch.zeros(8, 2, dtype=torch.long)
    by[:6] = 1
    old = made_scores(panel, ends(8, 2), model="old", by=2)
    new = made_scores(
        panel, ends(8, 2, seed=1).index_fill(0, torch.tensor([7]), T), model="new", by=by
    )
    found = compare(old, new)
    assert found.candidate.ended_by == pytest.approx(
        {"perceptual_drift": 1 / 8, "identity_persistence": 6 / 8, "action_response": 0}
    )
    assert found.candidate.never_failed == pytest.approx(1 / 8)
    assert (
        "Most of new's rollouts end by identity persistence (75%), others by perceptual drift "
        "(12%), and 12% never fail; all of old's rollouts end by action response." in said(found)
    )


def test_a_difference_in_words() -> None:
    old, new = pair(torch.tensor([-3, -2, -4, -3, -2, -5, -3, -2, -3, -4, -2, -3]))
    text = compare(old, new).verdict()
    assert text[0].startswith("new is usable for 3.0 steps fewer than old: ")
    assert "(95% interval -3.6 to -2.4, p = 0.00049, 12 scenarios x 3 seeds)." in text[0]
    assert not any("Such a panel" in line for line in text)
    assert not any("few" in line.split() for line in text[1:])
    back = compare(new, old).verdict()[0]
    assert back.startswith("old is usable for 3.0 steps more than new: ")


def test_no_difference_in_words_and_what_would_settle_it() -> None:
    found = compare(*pair(WORKED))
    text = said(found)
    assert "No difference in usable horizon is shown between new and old" in text
    assert (
        "a difference of +4.4 (95% interval -0.1 to +8.9, p = 0.07, 8 scenarios x 3 seeds)" in text
    )
    assert "Such a panel finds a true difference of 6.2 steps with 80% probability" in text
    assert found.horizon.detectable == pytest.approx(6.2082, abs=1e-3)
    assert found.horizon.scenarios_needed == 14
    assert "about 14 scenarios (more seeds alone would not do)" in text
    assert "8 scenarios are few" in text
    assert "new scenarios of this panel's kind (estimand: scenarios)" in text


def test_few_scenarios_have_no_p_value_and_say_why() -> None:
    found = compare(*pair(torch.tensor([-9, -10, -11, -9])), gate=2)
    text = said(found)
    assert math.isnan(found.horizon.p_value)
    assert found.horizon.high < -2
    assert found.gate is not None
    assert found.gate.outcome == "undecided"
    assert "4 scenarios with a pair can support no verdict; it takes at least 6" in text
    assert "4 scenarios could not give one below 0.125" in text
    # Nor does such a panel find anything, whatever its seeds.
    assert math.isnan(found.horizon.detectable)
    assert found.horizon.scenarios_needed == 6
    assert found.horizon.seeds_needed == math.inf
    assert "Such a panel finds" not in text
    assert "seeds per scenario" not in text


def test_rounding_is_no_evidence() -> None:
    old, new = pair(torch.zeros(8, dtype=torch.int64))
    near = {name: replace(curve, values=curve.values + 1e-8) for name, curve in new.axes.items()}
    found = compare(old, replace(new, axes=near))
    for axis in found.axes:
        assert (axis.estimate, axis.better, axis.worse) == (0, 0, 0)
        assert axis.p_value == 1
    apart = {name: replace(curve, values=curve.values + 1e-5) for name, curve in new.axes.items()}
    assert [axis.better for axis in compare(old, replace(new, axes=apart)).axes] == [8, 8, 8]


def test_estimand_of_seeds_is_narrower_and_says_so() -> None:
    panel = made_panel(8, 6, T)
    old = made_scores(panel, ends(8, 6), model="old")
    moved = ends(8, 6, seed=1) + torch.tensor([6, -6, 5, -5, 6, -6, 5, 6])[:, None]
    new = made_scores(panel, moved.clamp(0, T - 1), model="new")
    wide, narrow = (compare(old, new, estimand=e) for e in ("scenarios", "seeds"))
    assert narrow.horizon.estimate == wide.horizon.estimate
    assert narrow.horizon.high - narrow.horizon.low < wide.horizon.high - wide.horizon.low
    assert "new seeds on these very scenarios (estimand: seeds)" in said(narrow)
    assert math.isnan(narrow.horizon.scenarios_needed)
    robust = narrow.horizon.robust_high - narrow.horizon.robust_low
    assert robust == pytest.approx(narrow.horizon.high - narrow.horizon.low, rel=0.2)


def test_seeds_that_repeat_themselves() -> None:
    panel = made_panel(8, 4, T)
    still = ends(8, 1).expand(8, 4)
    old, new = (made_scores(panel, still + i, model=f"m{i}") for i in (0, 1))
    found = compare(old, new, estimand="seeds")
    text = said(found)
    assert "m0 and m1 repeat themselves whatever the seed" in text
    assert "the seeds of a scenario repeat each other" in text
    assert found.horizon.low == found.horizon.high == 1
    assert found.baseline.uses_seed is False
    assert compare(*pair(WORKED)).baseline.uses_seed is True
    assert compare(*pair(WORKED, seeds=1)).baseline.uses_seed is None


def test_a_model_against_itself() -> None:
    old, _ = pair(WORKED)
    found = compare(old, old, gate="5%")
    assert found.horizon.estimate == 0
    assert found.horizon.p_value == 1
    assert found.gate is not None
    assert found.gate.outcome == "pass"
    text = said(found)
    assert "old (candidate) and old (baseline) are usable equally long" in text
    assert "up to 37% of scenarios like these may differ all the same" in text


def test_models_that_never_fail() -> None:
    panel = made_panel(8, 2, T)
    old, new = (made_scores(panel, torch.full((8, 2), T), model=m) for m in ("old", "new"))
    text = said(compare(old, new))
    assert "No rollout of either model fails within 32 steps." in text
    assert "100% of old's rollouts and 100% of new's rollouts never fail within 32 steps" in text


def test_a_baseline_that_fails_at_once_passes_nothing() -> None:
    panel = made_panel(8, 2, T)
    old, new = (made_scores(panel, torch.zeros(8, 2).long(), model=m) for m in ("old", "new"))
    found = compare(old, new, gate=1)
    assert found.gate is not None
    assert found.gate.outcome == "undecided"
    text = said(found)
    assert "the baseline's own is 0.0 steps, so that nothing could be 1.0 steps worse" in text
    assert "100% of old's rollouts and 100% of new's rollouts fail at the first step" in text


STEADY = torch.tensor([-1, 0, -1, 0, -1, 0, -1, 0])


@pytest.mark.parametrize(
    ("gain", "gate", "outcome", "text"),
    [
        (STEADY, "2", "pass", "new is at most 2.0 steps worse; the interval begins at -0.9 steps"),
        (STEADY, 0.5, "undecided", "includes -0.5"),
        (STEADY - 4, "5%", "fail", "more than 1.6 steps worse; the interval ends at -4.1 steps"),
        (STEADY + 3, 0, "pass", "new is better; the interval begins at +2.1 steps, above 0.0"),
        (STEADY - 3, 0, "fail", "new is worse; the interval ends at -3.1 steps, below 0.0"),
    ],
)
def test_the_gate(gain: Tensor, gate: str | float, outcome: str, text: str) -> None:
    found = compare(*pair(gain), gate=gate)
    assert found.gate is not None
    assert found.gate.outcome == outcome
    assert found.gate.exit_code == {"pass": 0, "fail": 1, "undecided": 3}[outcome]
    assert found.verdict()[0].startswith(f"{outcome.upper()}: usable horizon: ")
    assert text in found.verdict()[0]


def test_faults_and_the_gate() -> None:
    fault = torch.zeros(8, 3, dtype=torch.uint8)
    fault[0, 0] = int(Reason.NON_FINITE)
    old, new = pair(STEADY, fault=fault)
    found = compare(old, new, gate=2).gate
    assert found is not None
    assert found.outcome == "fail"
    assert "new has 1 row with an evaluation fault (1 x non finite)" in found.because[0]
    other = compare(new, old, gate=2).gate
    assert other is not None
    assert other.outcome == "undecided"


def test_what_the_candidate_alone_does_not_show_passes_nothing() -> None:
    old, new = pair(STEADY)
    stops = torch.full((8, 3), T)
    stops[0, 0] = 3
    short = made_scores(new.panel, new.horizon.steps.view(8, 3), model="new", stops=stops)
    found = compare(old, short, gate=2)
    assert found.candidate.ends_first == 1
    assert found.gate is not None
    assert found.gate.outcome == "undecided"
    assert found.gate.because[0].startswith("new ends before old in 1 pair")
    assert found.gate.because[1].startswith("usable horizon: new is at most 2.0 steps worse")
    other = compare(short, old, gate=2)
    assert (other.candidate.ends_first, other.baseline.ends_first) == (0, 1)
    assert other.gate is not None
    assert other.gate.outcome == "undecided"  # new fails after short has ended
    assert other.gate.because[0].startswith("old fails after the end of new in 1 pair")

    defined = new.horizon.defined.clone()
    defined[3] = False
    silent = replace(new, horizon=replace(new.horizon, defined=defined))
    found = compare(old, silent, gate=2)
    assert found.candidate.dropped == {"undefined": 1}
    assert (found.candidate.undefined_alone, found.candidate.faults) == (1, 0)
    assert found.gate is not None
    assert found.gate.outcome == "undecided"
    both = compare(replace(old, horizon=replace(old.horizon, defined=defined)), silent, gate=2)
    assert both.candidate.undefined_alone == 0
    assert both.gate is not None
    assert both.gate.outcome == "pass"


def test_a_gate_on_axes_takes_the_worst() -> None:
    panel = made_panel(8, 2, T)
    a = ends(8, 2)
    old = made_scores(panel, a, model="old", bad=0.5)
    new = made_scores(panel, a, model="new", bad=0.1)
    passed = compare(old, new, gate=2).gate
    assert passed is not None
    assert passed.outcome == "pass"
    found = compare(old, new, gate=2, gate_axes={"perceptual_drift": 0.05}).gate
    assert found is not None
    assert found.outcome == "fail"
    assert found.axes == {"perceptual_drift": 0.05}
    assert found.because[0].startswith("perceptual drift: new is more than 0.050 worse")
    assert found.because[1].startswith("usable horizon: new is at most 2.0 steps worse")
    alone = compare(old, new, gate_axes={"perceptual_drift": 0.5}).gate
    assert alone is not None
    assert (alone.outcome, math.isnan(alone.margin)) == ("pass", True)


def test_nothing_to_compare() -> None:
    fault = torch.full((8, 3), int(Reason.SHORT), dtype=torch.uint8)
    old, new = pair(WORKED, fault=fault)
    found = compare(new, old, gate=2)
    assert found.gate is not None
    assert found.gate.outcome == "undecided"
    assert "No usable horizon can be compared" in said(found)
    assert Comparison.from_json(found.to_json()).to_json() == found.to_json()
    assert "n/a" in found.table()


def test_axes_are_compared_where_no_row_has_a_horizon() -> None:
    panel = made_panel(8, 2, T)
    a = ends(8, 2)
    old, new = (made_scores(panel, a + i, model=m) for i, m in ((0, "old"), (2, "new")))
    silent = torch.zeros(16, dtype=torch.bool)
    old, new = (replace(s, horizon=replace(s.horizon, defined=silent)) for s in (old, new))
    found = compare(old, new)
    assert math.isnan(found.horizon.estimate)
    assert found.axes[0].p_holm == pytest.approx(3 * 2 / 2**8)
    assert found.axes[0].estimate == pytest.approx(2 * 0.75 / T)
    text = found.verdict()
    assert text[0].startswith("No usable horizon can be compared")
    assert text[1].startswith("new's mean scores, after Holm over 3 axes: perceptual drift higher")


def test_json_and_back(tmp_path: Path) -> None:
    found = compare(*pair(torch.tensor([-9, -10, -11, -9])), gate=2)
    path = tmp_path / "deep" / "comparison.json"
    found.save(path)
    again = Comparison.load(path)
    assert again.to_json() == found.to_json()
    assert again.verdict() == found.verdict()
    data = json.loads(path.read_text())
    assert data["horizon"]["p_value"] is None
    assert data["verdict"] == found.verdict()
    found.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"estimand": "rows"}, "estimand: Input should be 'scenarios' or 'seeds', got 'rows'"),
        ({"steps": "many"}, "steps: Input should be a valid integer"),
        ({"unknown": 1}, "unknown: Unexpected keyword argument"),
    ],
)
def test_other_json_is_refused(change: dict[str, object], text: str, tmp_path: Path) -> None:
    data = compare(*pair(WORKED)).to_json() | change
    with pytest.raises(ValueError, match=text):
        Comparison.from_json(data)
    data = compare(*pair(WORKED)).to_json()
    del data["horizon"]
    with pytest.raises(ValueError, match="horizon: Field required"):
        Comparison.from_json(data)
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match=r"x\.json: expected the JSON of a comparison"):
        Comparison.load(tmp_path / "x.json")


def test_another_panel_is_refused_with_the_fields() -> None:
    old, _ = pair(WORKED)
    other = made_scores(made_panel(8, 3, T, name="another"), ends(8, 3))
    with pytest.raises(PanelMismatchError, match=r"the candidate has another panel") as caught:
        compare(old, other)
    assert "name: 'test-sprites' != 'another'" in str(caught.value)


def test_other_networks_are_refused() -> None:
    old, new = pair(WORKED)
    one, two = (replace(s, provenance={"encoder": e}) for s, e in ((old, "dino"), (new, "clip")))
    with pytest.raises(ValueError, match=r"another encoder \(clip\) than the baseline \(dino\)"):
        compare(one, two)
    one, two = (replace(s, provenance={"wmscore": e}) for s, e in ((old, "0.1"), (new, "0.2")))
    assert "different versions of wmscore: 0.1 and 0.2" in said(compare(one, two))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"estimand": "rows"}, ValueError, "estimand must be one of 'scenarios', 'seeds'"),
        ({"level": 95}, ValueError, "level must be"),
        ({"draws": 0}, ValueError, "draws must be"),
        ({"gate": "much"}, ValueError, "gate: expected steps"),
        ({"gate": "-2"}, ValueError, "gate must be a finite number of at least 0"),
        ({"gate": 32}, ValueError, "lets everything pass"),
        ({"gate_axes": {"latent_drift": 0.1}}, ValueError, "got 'latent_drift'"),
        ({"gate_axes": {"perceptual_drift": 1.0}}, ValueError, "expected less than 1"),
        ({"gate_axes": {"perceptual_drift": "x"}}, TypeError, "must be a number, got str"),
    ],
)
def test_bad_options(options: dict[str, object], error: type[Exception], text: str) -> None:
    old, new = pair(WORKED)
    with pytest.raises(error, match=text):
        compare(old, new, **options)
    with pytest.raises(TypeError, match="expected Scores, got str"):
        compare(old, "new")


def test_large_panels_show_the_largest_differences() -> None:
    panel = made_panel(60, 1, T)
    old = made_scores(panel, torch.full((60, 1), 15), model="old")
    new = made_scores(panel, (torch.arange(60) // 2)[:, None], model="new")
    text = compare(old, new, draws=100).table()
    assert "... 20 more" in text
    assert "scene-0 " in text
    assert "scene-59 " in text
    assert "scene-30 " not in text
