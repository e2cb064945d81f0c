"""Several models: order, all pairs, what is settled; reports."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.made_scores import made_panel, made_scores
from wmscore import PanelMismatchError
from wmscore.comparison import (
    Ranking,
    Report,
    compare,
    compare_models,
    rank,
    ranking_table,
)
from wmscore.evidence.comparison import comparison_lines
from wmscore.functional import Reason
from wmscore.scores import Scores
from wmscore.stats import holm, rank_shares

T = 32


def models(
    *gains: int, scenarios: int = 10, seeds: int = 2, noise: int = 3
) -> tuple[Tensor, list[Scores]]:
    """Horizons `[M, S, K]` and scores of models that differ by so many steps, and noise."""
    generator = torch.Generator().manual_seed(0)
    panel = made_panel(scenarios, seeds, T)
    hard = torch.randint(8, 16, (scenarios, 1), generator=generator)
    steps = torch.stack(
        [
            hard + gain + torch.randint(0, noise + 1, (scenarios, seeds), generator=generator)
            for gain in gains
        ]
    )
    return steps, [made_scores(panel, s, model=f"m{i}") for i, s in enumerate(steps)]


def test_order_and_pairs() -> None:
    steps, results = models(0, 8, 1, 4)
    found = rank(results, roles={"m1": "ceiling"}, draws=2000)
    assert [model.model for model in found.models] == ["m1", "m3", "m2", "m0"]
    assert [model.role for model in found.models] == ["ceiling", "model", "model", "model"]
    means = steps.double().mean(2).T  # [S, M]
    shares = rank_shares(means[:, [0, 2, 3]], draws=2000)  # an anchor is no competitor
    for model in found.models:
        index = int(model.model[1])
        assert model.mean == pytest.approx(float(means[:, index].mean()))
        assert 0 <= model.low < model.mean < model.high <= T
        if model.role == "ceiling":
            assert math.isnan(model.first)
            assert math.isnan(model.expected_rank)
        else:
            place = [0, 2, 3].index(index)
            assert model.first == float(shares.first[place])
            assert model.expected_rank == float(shares.expected_rank[place])
    order = [model.model for model in found.models]
    kept = [(pair.better, pair.worse) for pair in found.pairs]
    assert kept == [("m3", "m2"), ("m3", "m0"), ("m2", "m0")]
    assert found.verdict()[0].startswith("m3 is first in")
    _, body = ranking_table(found)
    assert [line[-3:] == ["-"] * 3 for line in body] == [True, False, False, False]
    for pair in found.pairs:
        assert order.index(pair.better) < order.index(pair.worse)
        assert pair.difference >= 0
        by_name = {scores.model: scores for scores in results}
        alone = compare(by_name[pair.worse], by_name[pair.better], draws=2000).horizon
        assert (pair.difference, pair.low, pair.high) == pytest.approx(
            (alone.estimate, alone.low, alone.high)
        )
        assert pair.p_value == alone.p_value
    p_values = torch.tensor([pair.p_value for pair in found.pairs], dtype=torch.float64)
    assert [pair.p_holm for pair in found.pairs] == holm(p_values).tolist()


def test_anchors_alone_are_ranked_and_one_model_has_no_order() -> None:
    _, results = models(0, 8, 1)
    everyone = rank(results, roles=dict.fromkeys(("m0", "m1", "m2"), "floor"))
    assert len(everyone.pairs) == 3
    assert everyone.verdict()[0].startswith("m1 is first in")
    alone = rank(results, roles={"m0": "floor", "m1": "ceiling"})
    assert alone.pairs == ()
    assert alone.verdict() == []
    assert alone.models[1].model == "m2"
    assert alone.models[1].first == 1.0
    assert Ranking.from_json(alone.to_json()).to_json() == alone.to_json()


def test_an_anchor_takes_nothing_from_the_judged_models() -> None:
    steps, results = models(0, 8, 1)
    fault = torch.zeros(10, 2, dtype=torch.uint8)
    fault[:9] = int(Reason.SHORT)
    anchor = made_scores(results[0].panel, steps[0], model="gone", fault=fault)
    alone, beside = rank(results), rank([anchor, *results], roles={"gone": "ceiling"})
    assert beside.rows == alone.rows == 20
    assert beside.pairs == alone.pairs
    assert [m for m in beside.models if m.role == "model"] == list(alone.models)
    (found,) = (m for m in beside.models if m.role == "ceiling")
    assert found.mean == pytest.approx(float(steps[0, 9].double().mean()))
    assert found.lost == {"short": 18}
    assert "gone lacks rows (18 x short)." in beside.verdict()


def test_what_is_settled_in_words() -> None:
    text = "\n".join(rank(models(0, 10, 5)[1]).verdict())
    assert "m1 is first in 100% of 10,000 bootstrap draws of the 10 scenarios." in text
    assert "The whole order is settled" in text
    _, results = models(0, 10, 0)
    text = rank(results).verdict()[1]
    assert text.startswith("Not settled (p after Holm over 3 pairs): m")
    assert " steps apart, " in text
    text = "\n".join(rank(models(0, 10, 5, scenarios=5)[1]).verdict())
    assert "No order can be settled: 5 scenarios can give no p-value below 0.19 after Holm" in text
    assert text.endswith("however clear it is; it takes at least 7.")
    text = "\n".join(rank(models(0, 10, 5, 5, scenarios=7)[1]).verdict())
    assert "7 scenarios can give no p-value below 0.094 after Holm over 6 pairs" in text
    assert "it takes at least 8.\nEach pair by itself, not settled: m" in text
    same = models(0, 0)[1][0]
    twin = made_scores(same.panel, same.horizon.steps.view(10, 2), model="twin")
    assert "m0 and twin (equal in each scenario)" in rank([same, twin]).verdict()[1]
    assert rank([twin, same]).models[0].first == 0.5


def test_rows_that_one_lacks_count_for_none() -> None:
    steps, results = models(0, 5, 2)
    fault = torch.zeros(10, 2, dtype=torch.uint8)
    fault[:2] = int(Reason.SHORT)
    results[1] = made_scores(results[1].panel, steps[1], model="m1", fault=fault)
    found = rank(results)
    assert (found.rows, found.scenarios) == (16, 8)
    means = {m.model: m.mean for m in found.models}
    assert means["m0"] == pytest.approx(float(steps[0, 2:].double().mean()))
    assert "m1 lacks rows (4 x short); no model is judged on these." in found.verdict()


def test_a_model_without_most_rows_is_not_ranked() -> None:
    steps, results = models(0, 5, 2)
    fault = torch.full((10, 2), int(Reason.MISSING), dtype=torch.uint8)
    fault[0] = 0
    results[1] = made_scores(results[1].panel, steps[1], model="m1", fault=fault)
    found = rank(results)
    assert [model.model for model in found.models] == ["m2", "m0"]
    assert found.unranked == {"m1": {"missing": 18}}
    assert found.rows == 20
    assert "m1 is not ranked: it lacks more than half of its rows" in "\n".join(found.verdict())
    assert "not ranked" in found.table()
    gone = [made_scores(s.panel, steps[0], model=s.model, fault=fault) for s in results]
    empty = rank(gone)
    assert empty.models == ()
    assert empty.verdict()[0].startswith("No ranking")
    assert Ranking.from_json(empty.to_json()) == empty


def test_one_scenario_has_no_shares() -> None:
    found = rank(models(0, 5, scenarios=1)[1])
    assert math.isnan(found.models[0].first)
    assert math.isnan(found.pairs[0].p_value)
    assert "n/a" in found.table()


def test_bad_input() -> None:
    _, (one, two) = models(0, 1)
    with pytest.raises(ValueError, match="expected at least two models, each once, got"):
        rank([one])
    with pytest.raises(ValueError, match="each once, got"):
        rank([one, one])
    with pytest.raises(ValueError, match="level must be"):
        rank([one, two], level=2)
    with pytest.raises(PanelMismatchError, match="another panel"):
        rank([one, models(0, 1, scenarios=4)[1][1]])
    with pytest.raises(ValueError, match="got none"):
        compare_models([])
    with pytest.raises(ValueError, match="roles: no results of m7"):
        compare_models([one, two], roles={"m7": "floor"})


def test_a_report_has_each_pair_with_a_judged_model() -> None:
    _, results = models(0, 8, 1, 4)
    roles = {"m2": "floor", "m1": "truth"}
    found = compare_models(results, roles=roles, draws=200)
    pairs = [(c.baseline.model, c.candidate.model) for c in found.comparisons]
    assert pairs == [("m1", "m0"), ("m1", "m3"), ("m2", "m0"), ("m2", "m3"), ("m0", "m3")]
    assert found.roles == {"m0": "model", "m1": "truth", "m2": "floor", "m3": "model"}
    assert found.ranking is not None
    assert len(found.ranking.models) == 4
    again = Report.from_json(found.to_json())
    assert again.to_json() == found.to_json()
    data = found.to_json()
    assert data["ranking"]["verdict"] == found.ranking.verdict()
    anchors = compare_models(results[:2], roles={"m0": "floor", "m1": "truth"}, draws=200)
    assert len(anchors.comparisons) == 1


def test_pairs_that_only_differ_by_themselves_are_told() -> None:
    # p = 2 / 128 of the one pair that differs, of three pairs 6 / 128; of six 12 / 128.
    panel = made_panel(7, 1, T)
    base = torch.tensor([[10], [12], [14], [11], [13], [15], [10]])
    gains = torch.tensor([[1], [2], [3], [1], [2], [3], [1]])
    noise = torch.tensor([[2], [-2], [1], [-1], [3], [-3], [0]])
    results = [
        made_scores(panel, base + gain, model=name)
        for name, gain in (("a", 0), ("b", gains), ("c", noise), ("d", -noise))
    ]
    found = compare_models(results)
    assert found.comparisons[0].horizon.p_value == 2 / 2**7
    assert "b is usable for" in found.comparisons[0].verdict()[0]
    (text,) = found.verdict()
    assert text.startswith("Each comparison is by itself. Of 6 together, these differences are")
    assert "b and a (p = 0.016, 0.094 after Holm)" in text
    assert found.to_json()["verdict"] == [text]
    assert Report.from_json(found.to_json()).to_json() == found.to_json()
    assert text in "\n".join(comparison_lines(found))
    assert compare_models(results[:2]).verdict() == []
    alone = compare_models(results[:1])
    assert alone.verdict() == []


def test_a_panel_is_not_told_to_have_the_size_it_has() -> None:
    # Student's t would settle it at this size; of six scenarios signs cannot.
    panel = made_panel(6, 1, T)
    base = torch.full((6, 1), 10)
    gain = torch.tensor([[5], [5], [5], [5], [5], [-1]])
    found = compare(*(made_scores(panel, base + g, model=m) for m, g in (("a", 0), ("b", gain))))
    assert found.horizon.p_value > 0.05
    assert found.horizon.scenarios_needed <= 6
    text = "\n".join(found.verdict())
    assert "Such a panel finds a true difference of" in text
    assert "would take" not in text


def test_one_step_predictions_are_another_task() -> None:
    _, (one, two) = models(0, 8)
    forced = made_scores(one.panel, two.horizon.steps.view(10, 2), model="m0 (teacher-forced)")
    found = compare_models([one, forced], draws=200)
    assert found.ranking is None
    assert found.comparisons == ()
    assert len(compare_models([one, forced, two], draws=200).comparisons) == 1
