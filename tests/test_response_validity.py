"""The study of response: what it says of models whose response is known, and its statistics."""

import json
import math
from dataclasses import replace

import pytest
import torch
from document_tables import with_table
from response_measures import SCORES, judge, measure, motion
from response_rollouts import Known, known_models, response_rollouts
from response_tables import tables
from response_validity import monotone, spearman, study, summaries
from scipy.stats import spearmanr, t

MODELS = (
    "truth",
    "other-seed",
    "frozen",
    "mirrored",
    "delay-2",
    "gain-0.5",
    "noisy-0.3",
    "noisy-1",
)


@pytest.fixture(scope="module")
def rows() -> dict[str, dict]:
    known = known_models()
    found = study(
        "sprites-64",
        "iid",
        scenarios=6,
        randoms=1,
        horizon=20,
        batch_size=3,
        models={name: known[name] for name in MODELS},
    )
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return {row["model"]: row for row in found}


def test_the_study_finds_what_is_known(rows: dict[str, dict]) -> None:
    assert list(rows) == [*MODELS, ""]
    for score in SCORES:
        assert rows["truth"][score]["mean"] == 1
        assert rows["truth"][score]["below the ceiling"] == [0, 6]
        assert rows["frozen"][score]["largest"] == 0
        assert rows["mirrored"][score]["below the ceiling"] == [6, 6]
        assert rows["truth"][score]["undefined"] == 0
    for name, lag in (("truth", 0), ("other-seed", 0), ("delay-2", 2)):
        assert rows[name]["delay"] == {"exact": 6, "defined": 6, "pooled": lag}
    assert rows["frozen"]["delay"] == {"exact": 0, "defined": 0, "pooled": None}
    assert rows["truth"]["gain"]["pooled"] == pytest.approx(1)
    assert rows["gain-0.5"]["gain"]["pooled"] == pytest.approx(0.5)
    assert rows["gain-0.5"]["gain"]["near"] == 6
    assert rows["mirrored"]["polarity"] == -1
    assert rows["truth"]["polarity"] == 1
    noise = rows[""]
    assert noise["shares"] == [0.0, 0.3, 1.0]
    assert noise["rollouts"] == 6 * 3 * len(MODELS)
    assert noise["agreement"]["of the means"] == pytest.approx(-1)
    assert noise["agreement"]["scenarios"] == 6


def test_tables_show_the_rows(rows: dict[str, dict]) -> None:
    made = tables(list(rows.values()))
    prefix = "sprites-64 iid"
    assert list(made) == [
        f"{prefix} {kind}" for kind in ("models", "delays", "gains", "wrong", "floors", "noise")
    ]
    lines = {name.rsplit(" ")[-1]: text.splitlines() for name, text in made.items()}
    assert len(lines["models"]) == 2 + len(MODELS)
    assert [line.split(" | ")[0] for line in lines["delays"][2:]] == [
        "| truth", "| other-seed", "| delay-2",
    ]  # fmt: skip
    assert "| delay-2 | 2 | 1.000 of 6 |" in lines["delays"][4]
    assert lines["floors"][2].startswith("| frozen | 0.000 [0.000, 0.000] | 0.000 |")
    for text in made.values():  # every line has as many cells
        assert len({line.count("|") for line in text.splitlines()}) == 1
    name, text = f"{prefix} noise", made[f"{prefix} noise"]
    document = f"# T\n<!-- {name} -->\n| a |\n|---|\n<!-- end -->\n"
    assert text in with_table(document, name, text)


def test_measures_are_of_whole_groups_in_any_batches() -> None:
    models = {"delay-1": known_models()["delay-1"].make}
    whole, parts = [], []
    for size, into in ((4, whole), (1, parts)):
        for _, answers in response_rollouts(
            "sprites-64", models, scenarios=range(4), horizon=20, batch_size=size
        ):
            into += [measure(rollouts) for _, rollouts in answers]
    assert len(whole) == 1
    for key, value in whole[0].items():
        assert value.shape[0] == 4
        assert torch.equal(value, torch.cat([part[key] for part in parts])), key
    verdict = judge(whole[0], 5)
    assert verdict["delay"].tolist() == [1.0] * 4
    assert all(verdict[score].shape == (4,) for score in SCORES)
    # Steps that do not exist are not judged.
    missing = {**whole[0], "present": whole[0]["present"] & (torch.arange(20) < 2)}
    assert bool(judge(missing, 5)["delay"].isnan().all())


def test_motion_is_that_of_the_view() -> None:
    """Exact on sprites, whatever moves in the view; (down, right) of the content."""
    moves = torch.tensor([[0, 0], [0, 4], [0, -4], [4, 0], [-4, 0]]).double()
    for truth, _ in response_rollouts("sprites-64", {}, scenarios=range(6), horizon=16):
        found = motion(truth.frames)
        assert found.shape == (24, 16, 2)
        assert torch.equal(found, moves[truth.actions])


def test_rank_correlation_and_interval_are_scipys() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        left, right = torch.randint(5, (2, 9), generator=generator).double()
        assert spearman(left, right) == pytest.approx(spearmanr(left, right).statistic)
    assert math.isnan(spearman(torch.zeros(4), torch.arange(4.0)))
    values = torch.rand(12, dtype=torch.float64, generator=generator)
    known = {"a": Known(lambda world: world, "floor")}
    (row,) = summaries({"a": verdict(values)}, known)
    low, high = t.interval(0.95, 11, values.mean(), values.std() / 12**0.5)
    assert row["agreement"]["low"] == pytest.approx(low)
    assert row["agreement"]["high"] == pytest.approx(high)
    assert "below the ceiling" not in row["agreement"]


def verdict(values: torch.Tensor) -> dict[str, torch.Tensor]:
    one = torch.tensor(1.0)
    pooled = {"pooled_delay": one, "pooled_gain": one, "polarity": one, "p_value": one}
    return {"agreement": values, "match": values, "delay": values, "gain": values, **pooled}


def test_undefined_is_counted_and_not_averaged() -> None:
    nan = torch.nan
    known = {
        "truth": Known(lambda world: world, "truth"),
        "delay-2": Known(lambda world: world, "delay", 2),
        "noisy-0.5": Known(lambda world: world, "noise", 0.5),
        "noisy-1": Known(lambda world: world, "noise", 1.0),
    }
    ones = verdict(torch.ones(4, dtype=torch.float64))
    delays = torch.tensor([2.0, 2.0, 3.0, nan], dtype=torch.float64)
    scores = torch.tensor([0.5, 1.0, nan, 0.0], dtype=torch.float64)
    falling = [verdict(torch.tensor(v, dtype=torch.float64)) for v in
               ([0.5, 0.8, 0.4, nan], [0.1, 0.9, 0.3, nan])]  # fmt: skip
    found = {
        "truth": ones,
        "delay-2": {**ones, "delay": delays, "agreement": scores},
        "noisy-0.5": falling[0],
        "noisy-1": falling[1],
    }
    row = summaries(found, known)[1]
    assert row["delay"] == {"exact": 2, "defined": 3, "pooled": 1.0}
    assert row["agreement"]["mean"] == pytest.approx(0.5)
    assert row["agreement"]["undefined"] == 1
    assert row["agreement"]["below the ceiling"] == [2, 3]
    graded = monotone(found, known)
    assert graded["agreement"]["scenarios"] == 3
    assert graded["agreement"]["falling at each share"] == 2
    assert graded["agreement"]["means"] == pytest.approx([1.0, 1.7 / 3, 1.3 / 3])
    assert graded["agreement"]["per scenario"] == pytest.approx((-1 - 0.5 - 1) / 3)
    assert monotone({"truth": ones}, {"truth": replace(known["truth"])}) == {}
