"""What a ladder says of scores that are made up: the verdicts, the first break, the numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from tests.made_scores import made_panel, made_scores
from wmscore.evidence.stress import stress_lines
from wmscore.functional import Reason
from wmscore.ladder import Ladder, RungScores, summarise_ladder
from wmscore.ladder.rungs import ratio_interval, usable_shares
from wmscore.ladder.trend import page_test
from wmscore.manifest import Panel
from wmscore.stressors import find

Ends = Mapping[tuple[str, float], object]


def stressed(panel: Panel, rungs: Ends, **options: object) -> list[RungScores]:
    """Scores of one model under each stress, from the last good step `[S, K]` of each rung."""
    return [
        RungScores(
            stressor=name,
            severity=severity,
            unit=find(name).unit,
            scores=[
                made_scores(find(name).apply(panel, severity), torch.as_tensor(ends), **options)
            ],
        )
        for (name, severity), ends in rungs.items()
    ]


def climbed(panel: Panel, clean: object, rungs: Ends, **options: object) -> Ladder:
    return summarise_ladder([made_scores(panel, torch.as_tensor(clean))], stressed(panel, rungs))


def all_at(panel: Panel, step: int) -> Tensor:
    return torch.full((len(panel.scenarios), len(panel.seeds)), step)


def test_the_lowest_rung_breaks_first_then_the_worst() -> None:
    panel = made_panel(scenarios=8, seeds=1)
    whole = all_at(panel, 12)
    rungs = {
        ("blur", 1.0): whole,
        ("blur", 2.0): all_at(panel, 1),  # worst of all, but on the second rung
        ("occlusion", 0.1): all_at(panel, 9),
        ("occlusion", 0.3): all_at(panel, 3),
        ("noise", 8.0): all_at(panel, 6),
    }
    model = climbed(panel, whole, rungs).models["made"]
    assert [rung.index for rung in model.rungs] == [1, 2, 1, 2, 1]
    assert [rung.broken for rung in model.rungs] == [False, True, True, True, True]
    assert [rung.relative for rung in model.rungs] == pytest.approx([1, 1 / 12, 0.75, 0.25, 0.5])
    assert model.first_break == {"stressor": "noise", "severity": 8.0}
    assert "noise 8 grey levels of sigma breaks it first: 50% of its usable" in model.why
    assert "ended mostly by perceptual_drift" in model.why
    assert model.stressors["blur"].breakpoint == 2.0
    assert model.stressors["occlusion"].breakpoint == 0.1
    assert model.stressors["occlusion"].auc == pytest.approx(0.5)
    assert model.stressors["occlusion"].trend_p < 1e-4
    assert model.rungs[1].ended_by == {"perceptual_drift": 8}


def test_a_long_ladder_does_not_take_the_power() -> None:
    """Eight scenarios on 17 rungs: Holm could break none, at 17 / 256."""
    panel = made_panel(scenarios=8, seeds=1)
    whole = all_at(panel, 12)
    rungs = {("camera-jitter", float(px)): whole for px in range(1, 17)}
    model = climbed(panel, whole, {**rungs, ("blur", 1.0): all_at(panel, 4)}).models["made"]
    assert model.rungs[-1].p_joint == model.rungs[-1].p == 1 / 256
    assert model.first_break == {"stressor": "blur", "severity": 1.0}


def test_a_model_that_no_stress_touches_is_seldom_said_to_break() -> None:
    """Seventeen rungs on which nothing but chance moves the horizon: at most 5 % of models."""
    panel = made_panel(scenarios=8, seeds=1)
    generator = torch.Generator().manual_seed(0)
    names = ("blur", "camera-jitter", "noise", "occlusion")
    places = [(n, s) for n in names for s in find(n).severities[:3]]
    panels = {place: find(place[0]).apply(panel, place[1]) for place in places}
    broken, runs = 0, 80

    def ends() -> Tensor:
        return torch.randint(3, 12, (8, 1), generator=generator)

    for _ in range(runs):
        rungs = [
            RungScores(stressor=n, severity=s, unit="", scores=[made_scores(panels[n, s], ends())])
            for n, s in places
        ]
        found = summarise_ladder([made_scores(panel, ends())], rungs)
        broken += found.models["made"].first_break is not None
    assert broken / runs < 0.09


def test_what_the_scenarios_cannot_show_is_not_called_unbroken() -> None:
    panel = made_panel(scenarios=5, seeds=1)
    clean = all_at(panel, 8)
    shifts = [s for s in itertools.product((-2, 2), repeat=5) if -4 < sum(s) < 4]
    rungs = {
        ("camera-jitter", float(i)): clean + torch.tensor(s)[:, None]
        for i, s in enumerate(shifts, 1)
    }
    model = climbed(panel, clean, {**rungs, ("blur", 1.0): all_at(panel, 1)}).models["made"]
    last = model.rungs[-1]
    assert last.p == 1 / 32
    assert last.p_joint > 0.05
    assert last.broken is None
    assert "5 scenarios cannot show a loss on one of 21 rungs" in str(last.undecided)
    assert model.first_break is None
    assert "cannot be told" in model.why
    alone = climbed(panel, clean, {("blur", 1.0): all_at(panel, 1)}).models["made"]
    assert alone.first_break == {"stressor": "blur", "severity": 1.0}


def test_rows_with_faults_count_on_neither_side_and_are_counted() -> None:
    panel = made_panel(scenarios=8, seeds=2)
    fault = torch.zeros(8, 2, dtype=torch.uint8)
    fault[:4] = int(Reason.NON_FINITE)
    fault[4, 0] = int(Reason.NON_FINITE)
    clean = made_scores(panel, all_at(panel, 12))
    rungs = stressed(panel, {("blur", 1.0): all_at(panel, 6)}, fault=fault)
    rung = summarise_ladder([clean], rungs).models["made"].rungs[0]
    assert rung.pairs == 4
    assert rung.faults == {"non_finite": 9}
    assert rung.relative == 0.5
    assert rung.broken is None
    assert "4 scenarios have a horizon" in str(rung.undecided)
    assert "9 non_finite" in str(rung.undecided)


def test_seeds_are_averaged_before_scenarios_count() -> None:
    panel = made_panel(scenarios=2, seeds=2)
    scores = made_scores(panel, [[12, 6], [3, 3]])
    assert usable_shares(scores).tolist() == [0.75, 0.25]
    found = climbed(panel, [[12, 6], [3, 3]], {("blur", 1.0): [[6, 0], [3, 3]]}).models["made"]
    assert found.rungs[0].usable_share == 0.25
    assert found.rungs[0].relative == 0.5
    assert found.clean["usable_share"] == 0.5


def test_scenarios_are_paired_by_id() -> None:
    panel = made_panel(scenarios=6, seeds=1)
    ends = torch.tensor([[12], [10], [8], [6], [4], [2]])
    turned = find("blur").apply(panel, 1.0).model_dump()
    turned["scenarios"] = turned["scenarios"][::-1]
    rung = RungScores(
        stressor="blur",
        severity=1.0,
        unit="",
        scores=[made_scores(Panel.from_dict(turned), ends.flip(0))],
    )
    model = summarise_ladder([made_scores(panel, ends)], [rung]).models["made"]
    assert model.rungs[0].relative == 1
    assert model.rungs[0].relative_low == pytest.approx(1)
    assert model.rungs[0].p == 1


def test_a_refused_rung_needs_no_scores_and_others_do() -> None:
    panel = made_panel(scenarios=5, seeds=1)
    clean = [made_scores(panel, all_at(panel, 12), model=name) for name in ("a", "b")]
    rung = RungScores(
        stressor="blur",
        severity=1.0,
        unit="pixels",
        scores=[made_scores(find("blur").apply(panel, 1.0), all_at(panel, 6), model="a")],
        refused={"b": "too blurred"},
    )
    found = summarise_ladder(clean, [rung])
    assert found.models["a"].rungs[0].broken is True
    assert found.models["b"].rungs[0].excluded == "too blurred"
    assert found.models["b"].why == "no rung says anything of it, so that no stress can be named"
    assert found.exclusions() == ["blur 1 (b): too blurred"]
    text = "\n".join(stress_lines(found))
    assert "| blur 1 pixels | 50% \\* | - |".replace("\\", "") in text.replace("\\", "")
    assert "- Excluded: blur 1 (b): too blurred." in text
    with pytest.raises(ValueError, match="blur 1: expected scores of"):
        summarise_ladder(clean, [RungScores(stressor="blur", severity=1.0, unit="")])


def test_an_older_or_foreign_file_is_named() -> None:
    panel = made_panel(scenarios=5, seeds=1)
    data = climbed(panel, all_at(panel, 12), {("blur", 1.0): all_at(panel, 6)}).to_json()
    assert Ladder.from_json(data).to_json() == data
    rung = data["models"]["made"]["rungs"][0]
    assert rung["p_joint"] == 1 / 32
    rung["p_joint"] = "small"
    with pytest.raises(ValueError, match=r"ladder: models.made.rungs.0.p_joint"):
        Ladder.from_json(data)
    with pytest.raises(ValueError, match="ladder"):
        Ladder.from_json([])


def test_ratio_interval_covers() -> None:
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for _ in range(1000):
        x = 0.5 + 0.3 * torch.rand(12, generator=generator, dtype=torch.float64)
        y = 0.6 * x + 0.05 * torch.randn(12, generator=generator, dtype=torch.float64)
        ratio, low, high = ratio_interval(y, x)
        hits += low <= 0.6 <= high
        assert low < ratio < high
    assert 0.93 < hits / 1000 < 0.97
    zero: Tensor = torch.zeros(4, dtype=torch.float64)
    assert all(math.isnan(v) for v in ratio_interval(zero + 1, zero))
    alone: Sequence[float] = ratio_interval(zero[:1] + 1, zero[:1] + 2)
    assert alone[0] == 0.5
    assert math.isnan(alone[1])


def test_a_longer_horizon_breaks_nobody_who_fails_no_earlier() -> None:
    """Failing at step 5 of 12 and of 24 alike is no effect of the longer horizon."""
    panel = made_panel(scenarios=8, seeds=1)
    early = all_at(panel, 5)
    rungs = {
        ("horizon-extension", 2.0): early,
        ("horizon-extension", 4.0): all_at(panel, 3),
        ("blur", 1.0): early,
        ("blur", 2.0): all_at(panel, 1),
    }
    model = climbed(panel, early, rungs).models["made"]
    assert [rung.broken for rung in model.rungs] == [False, True, False, True]
    assert model.rungs[0].usable_share == pytest.approx(5 / 24)
    assert [rung.relative for rung in model.rungs] == pytest.approx([1, 3 / 5, 1, 1 / 5])
    assert model.first_break == {"stressor": "blur", "severity": 2.0}
    still = climbed(panel, early, {("horizon-extension", s): early for s in (2.0, 4.0)})
    assert still.models["made"].stressors["horizon-extension"].trend_p == 1


def test_a_longer_horizon_breaks_who_holds_on_the_short_one_alone() -> None:
    panel = made_panel(scenarios=8, seeds=1)
    rungs = {("horizon-extension", 2.0): all_at(panel, 18), ("blur", 1.0): all_at(panel, 12)}
    model = climbed(panel, all_at(panel, 12), rungs).models["made"]
    assert model.rungs[0].relative == 18 / 24
    assert model.first_break == {"stressor": "horizon-extension", "severity": 2.0}


def test_a_longer_horizon_that_the_true_world_does_not_reach_costs_nothing() -> None:
    """The true episode ends at step 16 of 24, and the model holds up to there."""
    panel = made_panel(scenarios=8, seeds=1)
    whole = all_at(panel, 12)
    rungs = stressed(
        panel, {("horizon-extension", 2.0): all_at(panel, 24)}, stops=all_at(panel, 16)
    )
    rung = summarise_ladder([made_scores(panel, whole)], rungs).models["made"].rungs[0]
    assert rung.usable_share == pytest.approx(16 / 24)
    assert rung.relative == 1
    assert rung.broken is False


def test_a_faulty_seed_counts_on_neither_side() -> None:
    """Of a scenario, too: its other seed alone is compared."""
    panel = made_panel(scenarios=8, seeds=2)
    ends = torch.tensor([12, 2]).expand(8, 2)
    fault = torch.zeros(8, 2, dtype=torch.uint8)
    fault[:, 0] = int(Reason.NON_FINITE)
    rungs = stressed(panel, {("blur", 1.0): ends}, fault=fault)
    rung = summarise_ladder([made_scores(panel, ends)], rungs).models["made"].rungs[0]
    assert rung.faults == {"non_finite": 8}
    assert rung.pairs == 8
    assert rung.relative == 1
    assert rung.broken is False


def test_a_clean_panel_full_of_faults_is_told_as_such() -> None:
    panel = made_panel(scenarios=8, seeds=1)
    fault = torch.full((8, 1), int(Reason.NON_FINITE), dtype=torch.uint8)
    clean = made_scores(panel, all_at(panel, 12), fault=fault)
    rungs = stressed(panel, {("blur", 1.0): all_at(panel, 6)})
    model = summarise_ladder([clean], rungs).models["made"]
    assert model.first_break is None
    assert "nothing to lose" not in str(model.rungs[0].undecided)
    assert "0 scenarios have a horizon on both panels" in model.why


def test_a_trend_over_many_scenarios_is_told_by_the_normal_approximation() -> None:
    values = torch.rand(101, 5, generator=torch.Generator().manual_seed(0))
    values[:, 4] += 0.1
    few, many = page_test(values[:100]), page_test(values)
    assert (few.exact, many.exact) == (True, False)
    assert 0.001 < few.p_value < 0.2
    assert abs(few.p_value - many.p_value) < 0.03
