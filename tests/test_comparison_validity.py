"""The study of comparisons: simulated panels, what tests say of them, and how stable a ranking is.

Quick here; `--run-slow` draws as many panels as docs/comparison-validity.md reports.
"""

from __future__ import annotations

import itertools
import math
import statistics

import null_calibration as calibration
import null_procedures as procedures
import pytest
import torch
from null_panels import SCALE, SHAPE, STEPS, Panels, horizons, scores, true_difference
from ranking_rollouts import FAMILIES, ranking_models, wide_panel
from ranking_stability import Recorded, alike, draw, known_pairs, stability, tables
from scipy import stats

from wmscore.manifest import Panel
from wmscore.worlds import SpriteWorld

SLOW = pytest.mark.slow
CHOSEN = "sign flips of scenario means"
INTERVAL = "t, scenario means"


def band(share: float, panels: int, deviations: float = 4.0) -> float:
    """How far a share may be off by chance."""
    return deviations * math.sqrt(share * (1 - share) / panels)


# ---- simulated panels --------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["normal", "log-normal", "one skewed"])
def test_scores_have_the_stated_parts(shape: str) -> None:
    drawn = scores(50, 8, 400, interaction=0.3, shape=shape, seed=0)
    first, second = drawn.values
    error = math.sqrt((2 * 0.09 + 2 * 0.25 / 8) / (50 * 400))
    assert abs(float(drawn.differences.mean())) < 4 * error
    within = torch.cat([first, second]).var(1).mean().sqrt()
    assert float(within) == pytest.approx(0.5, rel=0.05)
    spread = drawn.differences.var(0).mean()
    assert float(spread) == pytest.approx(2 * 0.09 + 2 * 0.25 / 8, rel=0.1)
    lean = stats.skew(drawn.differences.flatten().numpy())
    assert (lean > 1) == (shape == "one skewed")
    assert float(first.mean(1).var(0).mean()) == pytest.approx(1 + 0.09 + 0.25 / 8, rel=0.15)


def test_horizons_are_whole_and_censored() -> None:
    drawn = horizons(20, 8, 500, interaction=0.25, seed=0)
    assert drawn.failed is not None
    assert torch.equal(drawn.values, drawn.values.floor())
    assert float(drawn.values.max()) == STEPS
    assert torch.equal(drawn.failed, drawn.values < STEPS)
    assert 0.05 < float((~drawn.failed).double().mean()) < 0.15
    # Without frailty and interaction they would be Weibull; their logarithm has the right spread.
    loose = drawn.values.clamp(min=0.5).log().var()
    assert float(loose) > (math.pi / math.sqrt(6) / SHAPE) ** 2 * 0.8
    assert 0.6 * SCALE < float(drawn.values.mean()) < SCALE
    longer = horizons(20, 8, 500, interaction=0.25, seed=0, longer=1.25)
    assert torch.equal(longer.values[0], drawn.values[0])
    assert bool((longer.values[1] >= drawn.values[1]).all())
    truth = true_difference(0.25, 1.25, draws=400_000)
    assert truth == pytest.approx(4.27, abs=0.15)


def test_procedures_equal_scipy_on_single_panels() -> None:
    """Whether a panel is rejected is what another implementation's p-value says."""
    drawn = horizons(8, 4, 40, interaction=0.4, seed=1, longer=1.6)
    found = {name: run(drawn) for name, run in procedures.PROCEDURES.items()}
    gaps = drawn.differences.numpy()
    for p in range(40):
        first, second = drawn.values[..., p].numpy()
        pairs = (second - first).ravel()
        expected = {
            INTERVAL: stats.ttest_1samp(gaps[:, p], 0).pvalue,
            "t, pairs of seeds": stats.ttest_1samp(pairs, 0).pvalue,
            "t, unpaired rollouts": stats.ttest_ind(second.ravel(), first.ravel()).pvalue,
            CHOSEN: stats.permutation_test(
                (gaps[:, p],), lambda x, axis: x.mean(axis), permutation_type="samples",
                n_resamples=math.inf, vectorized=True,
            ).pvalue,
            "log-rank": stats.logrank(*censored(drawn, p)).pvalue,
        }  # fmt: skip
        for name, p_value in expected.items():
            if name == "log-rank":
                assert bool(procedures.log_rank(drawn)[p]) == (p_value <= 0.05)
            else:
                assert bool(found[name][p]) == (p_value <= 0.05 + 1e-12), name
    assert 5 < int(found[CHOSEN].sum()) < 35


def censored(drawn: Panels, p: int) -> list[stats.CensoredData]:
    assert drawn.failed is not None
    return [
        stats.CensoredData.right_censored(
            drawn.values[m, ..., p].flatten().numpy(), ~drawn.failed[m, ..., p].flatten().numpy()
        )
        for m in range(2)
    ]


# ---- null calibration --------------------------------------------------------------------


@pytest.mark.parametrize("panels", [2000, pytest.param(10_000, marks=SLOW)])
@pytest.mark.parametrize(
    ("noise", "interaction", "scenarios"),
    [
        ("normal", 0.0, 8),
        ("normal", 0.3, 12),
        ("horizons", 0.25, 8),
        pytest.param("normal", 0.3, 20, marks=SLOW),
        pytest.param("normal", 0.3, 50, marks=SLOW),
        pytest.param("horizons", 0.5, 12, marks=SLOW),
        pytest.param("horizons", 0.25, 50, marks=SLOW),
    ],
)
def test_the_chosen_test_keeps_its_level(
    noise: str, interaction: float, scenarios: int, panels: int
) -> None:
    row = calibration.null_row(noise, interaction, scenarios, panels, seed=77)
    rejected = row["rejected"]
    target = math.floor(0.05 * 2 ** (scenarios - 1)) / 2 ** (scenarios - 1)
    assert rejected[CHOSEN] == pytest.approx(target, abs=band(0.05, panels))
    assert rejected[INTERVAL] == pytest.approx(0.05, abs=0.006 + band(0.05, panels))
    assert row["covered"] == pytest.approx(1 - rejected[INTERVAL], abs=1e-9)
    # What is called wrong in the document is wrong.
    if scenarios <= 12:
        assert rejected["percentile bootstrap of scenarios"] > 0.07
    wrong = ["t, pairs of seeds", "percentile bootstrap of pairs"]
    wrong += ["log-rank, scenarios as strata"] if noise == "horizons" else []
    for name in wrong:
        assert (rejected[name] > 0.08) == (interaction > 0), name


def test_six_scenarios_reject_less_than_asked() -> None:
    drawn = scores(6, 8, 10_000, interaction=0.3, shape="normal", seed=5)
    rejected = float(procedures.sign_flips(drawn).double().mean())
    assert rejected == pytest.approx(2 / 64, abs=band(2 / 64, 10_000))


@pytest.mark.parametrize("panels", [500, pytest.param(10_000, marks=SLOW)])
def test_a_longer_horizon_is_found_by_more_scenarios_first(panels: int) -> None:
    truth = true_difference(calibration.HORIZON_INTERACTION, calibration.LONGER, 1_000_000)
    few, many = (calibration.power_row(s, k, panels, truth, seed=3) for s, k in ((8, 16), (20, 4)))
    assert many["found"][CHOSEN] > few["found"][CHOSEN]
    for row in (few, many):
        assert row["covered"] == pytest.approx(0.95, abs=0.01 + band(0.05, panels))


# ---- ranking -----------------------------------------------------------------------------


def recorded(gap: float, scenarios: int = 12, seeds: int = 4) -> Recorded:
    """Three shares of one fault, `gap` apart, as the scores of simulated panels are."""
    names = tuple(f"noisy-actions-{share:g}" for share in FAMILIES["noisy-actions"][:3])
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    cells = normal(1, scenarios, 1) + 0.3 * normal(3, scenarios, 1)
    cells = cells + 0.5 * normal(3, scenarios, seeds)
    cells = cells - cells.mean((1, 2), keepdim=True)
    return Recorded("simulated", names, cells - gap * torch.arange(3.0).view(3, 1, 1))


def test_known_order() -> None:
    models = tuple(f"{kind}-{share:g}" for kind, shares in FAMILIES.items() for share in shares)
    pairs = known_pairs(models)
    assert len(pairs) == 6 + 3 + 3
    assert all(models[a].rpartition("-")[0] == models[b].rpartition("-")[0] for a, b in pairs)
    assert all(float(models[a].split("-")[-1]) < float(models[b].split("-")[-1]) for a, b in pairs)
    assert known_pairs(models[1:3]) == [(0, 1)]
    assert {m.name for m in ranking_models(SpriteWorld())} == {*models, "other-seed"}


def test_clear_rankings_are_stable_and_close_ones_are_not() -> None:
    clear, close = (draw(recorded(gap), 4, 2, 300, 0) for gap in (9.0, 0.0))
    assert clear["again"] == clear["rest"] == clear["whole"] == clear["known"] == 1
    assert clear["first"] == 1
    assert abs(close["again"]) < 0.6
    assert close["again"] < 0.5 < clear["again"]
    half = [draw(recorded(0.3), s, k, 400, 1) for s, k in ((2, 1), (2, 4), (6, 4))]
    assert half[0]["rest"] < half[1]["rest"] < half[2]["rest"]
    assert half[0]["known"] < half[2]["known"]
    whole = draw(recorded(0.3), 12, 4, 50, 0)
    assert whole["whole"] == whole["first"] == 1
    assert "again" not in whole


def test_panels_of_a_ranking_share_no_scenario() -> None:
    """With half of the scenarios far off for one model, tau of disjoint halves tells."""
    cells = torch.zeros(2, 4, 3, dtype=torch.float64)
    cells[0, :2], cells[0, 2:] = 1.0, -1.0
    names = tuple(f"noisy-actions-{share:g}" for share in FAMILIES["noisy-actions"][:2])
    row = draw(Recorded("halves", names, cells), 1, 2, 2000, 0)
    # Of the other three scenarios two say the opposite.
    assert row["rest"] == pytest.approx(-1.0)
    assert row["again"] == pytest.approx(-1 / 3, abs=0.07)


def test_sizes_and_tables_of_a_recording() -> None:
    whole = recorded(0.3)
    rows = stability(whole, draws=50)
    sizes = [(row["scenarios"], row["seeds"]) for row in rows]
    assert sizes == list(itertools.product((2, 4, 6, 12), (1, 2, 4)))
    nulls = alike(whole, worlds=200)
    assert (nulls["models"], nulls["pairs"]) == (3, 3)
    assert nulls["alike pairs"][1] > 0.1 > nulls["alike chosen"][1]
    assert set(nulls["luck"]) == set(whole.models)
    part = {"size": [3, 12, 4], "rows": rows, "alike": nulls, "known": [3, 3]}
    part["horizons"] = dict(zip(whole.models, (3.0, 2.0, 1.0), strict=True))
    about = {"draws": 50, "date": "today", "cores": 1, "torch": "2"}
    made = tables({**about, "panels": {"simulated": part}})
    assert len(made["ranking simulated"].splitlines()) == 2 + len(rows)
    assert made["models simulated"].splitlines()[2].startswith("| noisy-actions-0.02 | 3.00 |")


def test_the_wide_panel_begins_with_the_packaged_one() -> None:
    panel, packaged = wide_panel("sprites", states=2, seeds=5), Panel.packaged("sprites")
    assert len(panel.scenarios) == 2 * len(packaged.scenarios)
    assert panel.seeds == (0, 1, 2, 3, 4)
    for mine, theirs in zip(panel.scenarios, packaged.scenarios, strict=False):
        assert (mine.id, mine.reset, mine.actions) == (theirs.id, theirs.reset, theirs.actions)
        assert mine.branches == theirs.branches
    assert len({str(scenario.reset) for scenario in panel.scenarios}) == len(panel.scenarios)
    assert statistics.mode(panel.scenarios[8].actions) == statistics.mode(
        packaged.scenarios[0].actions
    )
