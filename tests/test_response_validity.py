"""The study of response: what it says of models whose response is known, and its statistics."""

import json
import math
from dataclasses import replace

import pytest
import torch
from document_tables import with_table
from response_measures import SCORES, features_of, judge, measure
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
        scenarios=8,
        randoms=1,
        horizon=20,
        batch_size=4,
        models={name: known[name] for name in MODELS},
    )
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return {row["model"]: row for row in found}


def test_the_study_finds_what_is_known(rows: dict[str, dict]) -> None:
    assert list(rows) == [*MODELS, ""]
    for score in SCORES:
        assert rows["truth"][score]["mean"] == pytest.approx(1, abs=1e-6)
        assert rows["truth"][score]["below the ceiling"] == [0, 8]
        assert rows["frozen"][score]["largest"] == 0
        assert rows["mirrored"][score]["below the ceiling"] == [8, 8]
        assert rows["truth"][score]["undefined"] == 0
    # Of two rollouts per scenario whose script varies.
    for name, lag in (("truth", 0), ("other-seed", 0), ("delay-2", 2)):
        assert rows[name]["delay"] == {"exact": 16, "defined": 16, "pooled": lag}
        assert rows[name]["rollouts"] == 16
        assert rows[name]["p_value"] < 0.02
    assert rows["frozen"]["delay"] == {"exact": 0, "defined": 0, "pooled": None}
    assert rows["truth"]["gain"]["pooled"] == pytest.approx(1)
    assert rows["gain-0.5"]["gain"]["pooled"] == pytest.approx(0.5, rel=0.01)
    assert rows["gain-0.5"]["gain"]["near"] == 16
    assert (rows["mirrored"]["polarity"], rows["mirrored"]["turned"]) == (-1, 16)
    assert (rows["truth"]["polarity"], rows["truth"]["turned"]) == (1, 0)
    for name, recovered, follows in (
        ("truth", 1, True),
        ("frozen", 0, False),
        ("mirrored", 0, True),
    ):
        assert rows[name]["recovered"] == pytest.approx(recovered)
        assert (rows[name]["script_p"] < 0.01) == follows
    assert rows["mirrored"]["motion"]["high"] < 0
    assert rows["truth"]["effects"] == rows["gain-0.5"]["effects"] == 1
    assert rows["mirrored"]["effects"] == rows["frozen"]["effects"] == 0
    noise = rows[""]
    assert noise["shares"] == [0.0, 0.3, 1.0]
    assert noise["rollouts"] == 8 * 3 * len(MODELS)
    assert noise["agreement"]["of the means"] == pytest.approx(-1)
    assert noise["agreement"]["scenarios"] == 8


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
    assert "| delay-2 | 2 | 1.000 of 16 | 1.000 of 16 |" in lines["delays"][4]
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
        for truth, answers in response_rollouts(
            "sprites-64", models, scenarios=range(4), horizon=20, batch_size=size
        ):
            target = features_of(truth)
            into += [measure(rollouts, target) for _, rollouts in answers]
    assert len(whole) == 1
    for key, value in whole[0].items():
        assert value.shape[0] == 4
        joined = torch.cat([part[key] for part in parts])
        torch.testing.assert_close(value, joined, rtol=0, atol=0, equal_nan=True, msg=key)
    measured = judge(whole[0], 5, draws=99)
    # Too few scenarios to tell one rollout's lag from chance, but it stands.
    assert measured["delay"].tolist() == [1.0] * 4 * 3
    assert all(measured[score].shape == (4,) for score in SCORES)
    # Steps that do not exist are not judged.
    missing = {**whole[0], "present": whole[0]["present"] & (torch.arange(20) < 2)}
    assert bool(judge(missing, 5, draws=99)["delay"].isnan().all())


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
    pooled = ("pooled_delay", "pooled_gain", "polarity", "p_value", "script_p", "recovered",
              "ceiling", "effects")  # fmt: skip
    each = (*SCORES, "delay", "gain", "turned")
    return {**dict.fromkeys(each, values), **dict.fromkeys(pooled, one)}


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
