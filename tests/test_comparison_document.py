"""docs/comparison-validity.md: its tables say what its text says, and another run says the same."""

from __future__ import annotations

import math
import re
from pathlib import Path

import null_calibration as calibration
import pytest
from document_tables import rows_of

import wmscore.comparison as comparison
from wmscore.cli.app import read_command

DOCUMENT = (Path(__file__).parents[1] / "docs" / "comparison-validity.md").read_text(
    encoding="utf-8"
)
CHOSEN, INTERVAL = "sign flips of scenario means", "interval covers, %"
NOISES = ("normal", "log-normal", "one skewed", "horizons")
PANELS = int(next(iter(rows_of(DOCUMENT, "run").values()))[2])


def cells(noise: str) -> dict[str, dict[tuple[float, int], float]]:
    """Procedure -> (interaction, scenarios) -> per cent."""
    block = DOCUMENT.partition(f"<!-- null {noise} -->\n")[2]
    heads = block.splitlines()[0].strip("| ").split(" | ")[1:]
    keys = []
    for head in heads:
        found = re.fullmatch(r"(?:no v|v ([\d.]+)), S = (\d+)", head)
        assert found is not None, head
        keys.append((float(found[1] or 0), int(found[2])))
    return {
        name: dict(zip(keys, map(float, values), strict=True))
        for name, values in rows_of(DOCUMENT, f"null {noise}").items()
    }


@pytest.mark.parametrize("noise", NOISES)
def test_the_chosen_test_and_interval_meet_their_targets(noise: str) -> None:
    assert PANELS >= 2000
    table = cells(noise)
    assert {s for _, s in table[CHOSEN]} == set(calibration.SCENARIOS)
    for (interaction, scenarios), rejected in table[CHOSEN].items():
        low, high = (4.0, 6.0) if scenarios > 6 else (2.4, 4.0)
        assert low <= rejected <= high, (interaction, scenarios)
        assert 94.0 <= table[INTERVAL][interaction, scenarios] <= 96.5


@pytest.mark.parametrize("noise", NOISES)
def test_what_is_called_wrong_is_wrong(noise: str) -> None:
    table = cells(noise)
    wrong = ["t, pairs of seeds", "percentile bootstrap of pairs"]
    wrong += ["log-rank", "log-rank, scenarios as strata"] if noise == "horizons" else []
    for name in wrong:
        for (interaction, _), rejected in table[name].items():
            assert (rejected > 7.5) == (interaction > 0), name
    for (_, scenarios), rejected in table["percentile bootstrap of scenarios"].items():
        assert scenarios > 12 or rejected > 8


@pytest.mark.parametrize(
    ("noise", "interaction", "scenarios"), [("normal", 0.3, 8), ("horizons", 0.25, 8)]
)
def test_another_run_says_the_same(noise: str, interaction: float, scenarios: int) -> None:
    panels = 1000
    row = calibration.null_row(noise, interaction, scenarios, panels, seed=123)
    shown = cells(noise)
    assert set(row["rejected"]) | {INTERVAL} == set(shown)
    for name, found in row["rejected"].items():
        share = shown[name][interaction, scenarios] / 100
        error = math.sqrt(share * (1 - share) * (1 / panels + 1 / PANELS))
        assert found == pytest.approx(share, abs=4 * error + 0.001), name


def test_the_summary_is_of_the_tables() -> None:
    rows = rows_of(DOCUMENT, "null")
    few = [rate for n in NOISES for (_, s), rate in cells(n)[CHOSEN].items() if s == 6]
    more = [rate for n in NOISES for (_, s), rate in cells(n)[CHOSEN].items() if s > 6]
    covers = [rate for n in NOISES for rate in cells(n)[INTERVAL].values()]
    for name, rates in (
        ("chosen test, S = 6", few),
        ("chosen test, S of 8 to 50", more),
        ("chosen interval covers, all S", covers),
    ):
        assert rows[name][1] == f"{min(rates):.1f} to {max(rates):.1f} %"


def test_the_text_says_what_the_tables_say() -> None:
    skewed = [rate for (_, s), rate in cells("one skewed")[CHOSEN].items() if s > 6]
    assert f"rejects in {min(skewed)} to {max(skewed)} % from S = 8" in DOCUMENT
    wide = max(rate for (v, _), rate in cells("log-normal")[INTERVAL].items() if v)
    assert f"covers in up to {wide} %" in DOCUMENT
    largest = max(cells("log-normal")["bootstrap-t of scenarios"].values())
    assert f"with log-normal noise it rejects in up to {largest} %" in DOCUMENT
    found = float(rows_of(DOCUMENT, "power")["12 x 8"][1])
    assert f"is found in {round(found)} of 100 panels" in DOCUMENT
    excess = cells("horizons")["sign flips of log-rank excess"]
    assert all(4 <= rate <= 6 for (_, s), rate in excess.items() if s > 6)
    assert f"simulated panels, {PANELS:,} in each cell" in DOCUMENT


def test_more_scenarios_beat_more_seeds() -> None:
    found = {size: float(row[1]) for size, row in rows_of(DOCUMENT, "power").items()}
    assert found["20 x 4"] > found["8 x 16"]
    assert found["50 x 1"] > found["6 x 8"]
    assert all(94 <= float(row[-1]) <= 96 for row in rows_of(DOCUMENT, "power").values())
    said = re.search(r"finds ([\d.]+) %, where t finds ([\d.]+) %", DOCUMENT)
    assert said is not None
    assert [said[1], said[2]] == rows_of(DOCUMENT, "power")["6 x 8"][1:3]


def rankings() -> dict[str, dict[tuple[int, int], list[str]]]:
    panels = re.findall(r"<!-- ranking ([\w-]+-wide) -->", DOCUMENT)
    return {
        panel: {
            tuple(map(int, size.split(" x "))): row  # type: ignore[misc]
            for size, row in rows_of(DOCUMENT, f"ranking {panel}").items()
        }
        for panel in panels
    }


def test_rankings_settle_with_scenarios_and_seeds() -> None:
    found = rankings()
    assert set(found) == {"sprites-wide", "vizdoom-wide"}
    for table in found.values():
        again = {size: float(row[0]) for size, row in table.items() if row[0] != "-"}
        assert len({s for s, _ in again}) >= 4
        assert len({k for _, k in again}) >= 4
        for (scenarios, seeds), tau in again.items():
            more = [t for (s, k), t in again.items() if s >= scenarios and k >= seeds]
            assert min(more) >= tau - 0.02  # of 2000 draws each
            rest, whole = (float(cell) for cell in table[scenarios, seeds][1:3])
            assert tau <= rest + 0.01
            assert rest <= whole + 0.01
        assert float(table[max(table)][2]) == 1.0
        assert max(again.values()) < 0.9
    sprites, doom = found["sprites-wide"], found["vizdoom-wide"]
    said = re.search(r"agree with a tau of ([\d.]+) and ([\d.]+)\.", DOCUMENT)
    assert said is not None
    assert [said[1], said[2]] == [sprites[8, 4][0], doom[8, 4][0]]
    said = re.search(r"16 x 1 have ([\d.]+), ([\d.]+) and ([\d.]+) on sprites", DOCUMENT)
    assert said is not None
    assert list(said.groups()) == [sprites[size][0] for size in ((4, 4), (8, 2), (16, 1))]
    said = re.search(
        r"\(([\d.]+) with 16 x 16 on sprites, ([\d.]+) with\n12 x 8 on ViZDoom", DOCUMENT
    )
    assert said is not None
    assert list(said.groups()) == [sprites[16, 16][0], doom[12, 8][0]]


def test_real_models_that_are_alike_on_average() -> None:
    rows = rows_of(DOCUMENT, "real nulls")

    def of(name: str) -> list[list[float]]:
        return [[float(n) for n in re.findall(r"[\d.]+", cell)] for cell in rows[name]]

    for kind in ("a model with itself", "two models, alike on average"):
        for middle, low, high in of(f"{kind}: {CHOSEN}"):
            assert 3.5 <= middle <= 6
            assert low <= middle <= high < 7
    largest = 0.0
    for middle, _, high in of("two models, alike on average: t, pairs of seeds"):
        assert middle > 8
        largest = max(largest, high)
    said = re.search(r"up to (\d+) % of the time", DOCUMENT)
    assert said is not None
    assert int(said[1]) == round(largest)


def test_names_and_commands_exist() -> None:
    part = DOCUMENT.partition("## On a model of your own")[2]
    names = set(re.findall(r"`(?:wmscore\.comparison\.)?(\w+_(?:check|pair|test))`", part))
    assert names == {
        "self_check",
        "null_check",
        "null_check_pair",
        "shared_luck_test",
        "recordings_test",
    }
    assert all(callable(getattr(comparison, name)) for name in names)
    calls = re.findall(r"^wmscore (aa .*?) +#", part, re.MULTILINE)
    assert len(calls) == 3
    for call in calls:
        assert read_command(call.split())[1]["model"] == "mine"
