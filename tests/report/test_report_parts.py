"""Parts of the report by themselves: numbers, charts, pictures, tables, the player."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.made_scores import made_panel, made_scores
from tests.report.folders import folder_of, ladder, rollouts, trace_of
from wmscore.evidence import write_report
from wmscore.evidence.report.charts import Line, Plot, draw
from wmscore.evidence.report.frames import pictures
from wmscore.evidence.report.markup import name_of
from wmscore.evidence.report.numbers import count, number, plain, share
from wmscore.evidence.report.postmortem import section_of
from wmscore.evidence.report.reading import read_evidence
from wmscore.evidence.report.verdict import verdict
from wmscore.functional import Reason


def test_numbers_are_written_as_people_write_them() -> None:
    assert [number(v) for v in (None, math.nan, math.inf, -math.inf, -0.001, -2)] == [
        *("n/a", "n/a", "∞", "−∞", "0.00", "−2.00")
    ]
    assert number(3, "+.0f") == "+3"
    assert [share(v) for v in (None, math.nan, 0.256)] == ["n/a", "n/a", "26%"]
    assert [count(n, "row") for n in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]
    assert [plain(v) for v in (0.6, 3.0, -1.25)] == ["0.6", "3", "−1.25"]


def test_only_long_words_may_be_broken_anywhere() -> None:
    for text, look in (("x" * 19, "name long"), ("x" * 18, "name"), ("a-b " * 9, "name")):
        assert f'class="{look}"' in name_of(text)


def test_a_section_ends_where_another_begins() -> None:
    assert section_of("## one\n- a\n## one more\n- b\n", "one") == "- a"


# ---- charts ---------------------------------------------------------------------------------


def drawn(middle: list[float], **options: Any) -> str:
    line = Line(
        name="m",
        look="c0",
        key=0,
        middle=middle,
        low=[v - 0.1 for v in middle],
        high=options.pop("high", [v + 0.1 for v in middle]),
    )
    plot = Plot(
        title="t",
        x=[float(i) for i in range(len(middle))],
        lines=[line],
        x_label="step",
        y_label="y",
        **options,
    )
    return str(draw(plot))


def test_bands_have_gaps_where_an_end_is_not_known() -> None:
    high = [1.0, 1.0, math.nan, 1.0, 1.0]
    (band,) = re.findall(r'<path d="([^"]*)" class="band"', drawn([0.5] * 5, high=high))
    assert band.count("M") == band.count("Z") == 2


def test_a_line_that_never_changes_has_a_range() -> None:
    line = Line(name="m", look="c0", key=0, middle=[2.0, 2.0])
    text = str(draw(Plot(title="t", x=[0, 1], lines=[line], x_label="x", y_label="y")))
    (path,) = re.findall(r'<path d="([^"]*)" class="line"', text)
    assert path == "M0 95L1000 95"  # in the middle of 190


def test_a_long_table_ends_with_the_last_place() -> None:
    text = drawn([0.5] * 101)
    places = re.findall(r'<th scope="row">(\d+)</th>', text)
    assert (places[:2], places[-1]) == (["0", "3"], "100")
    assert "1 in 3 of 101 places; all are in the CSV files." in text


def test_a_ring_is_at_its_place() -> None:
    text = drawn([0.9, 0.5, 0.1], bottom=0.0, top=1.0, marked=((0, 1),))
    (ring,) = re.findall(r'<path d="([^"]*)" class="ring"', text)
    assert ring == "M500 95h0"


# ---- pictures -------------------------------------------------------------------------------


def test_a_failure_shows_in_what_follows() -> None:
    """Where not all steps fit, two after the one to look at for each before it."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (41, 3, 64, 64), generator=generator, dtype=torch.uint8)
    whole = pictures({"frames": frames}, 20, 10**7)
    one = pictures({"frames": frames[20:21]}, 0, 1).size  # the smallest that there is
    few = pictures({"frames": frames}, 20, 7 * one + one // 2)
    assert len(whole.steps) == 41
    assert (20 - few.steps[0], few.steps[-1] - 20) in ((2, 4), (1, 4), (2, 3), (2, 5))


def test_frames_of_floats_are_rounded_and_large_ones_say_that_they_are_smaller() -> None:
    whole = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    parts = pictures({"frames": (whole - 0.3).clamp_min(0) / 255}, 1, 10**6)
    assert parts.generated == pictures({"frames": whole}, 1, 10**6).generated
    assert parts.note == ""
    large = torch.zeros(2, 3, 300, 500, dtype=torch.uint8)
    found = pictures({"frames": large}, 1, 10**6)
    assert found.note == "Frames of 500 × 300 pixels are shown at most 400 wide. "


# ---- in the page ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    panel = made_panel(scenarios=8, seeds=1, horizon=12)
    best = made_scores(panel, torch.full((8, 1), 9), model="two")
    fault = torch.zeros(8, 1, dtype=torch.uint8)
    fault[7] = int(Reason.SHORT)
    other = made_scores(panel, torch.full((8, 1), 4), model="one", fault=fault)
    still = made_scores(panel, torch.full((8, 1), 12), model="still")
    traces = [trace_of(other, 0, 5, "b"), trace_of(best, 0, 10, "a")]
    sent = torch.arange(12)[None] % 5
    return folder_of(
        tmp_path_factory.mktemp("parts") / "evidence",
        [best, other, still],
        roles={"still": "ceiling"},
        traces=traces,
        fetch=lambda model, s, seed: replace(rollouts(panel, model, s, seed), actions=sent),
        extra={"stress.json": ladder(["two", "one"])},
    )


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def test_traces_are_shown_as_models_are_ranked(page: str) -> None:
    places = re.findall(r'<article[^>]*id="trace-\d+"[^>]*data-failure="(\d+)"', page)
    assert places == ["10", "5"]


def test_a_step_names_the_action_that_led_to_it(page: str) -> None:
    """No-op, left, right, up and down in turn; none leads to the given frame."""
    labels = re.findall(r'aria-label="Step (\d+)([^"]*)"', page)
    assert ("0", "") in labels
    assert ("1", ", after noop") in labels
    assert ("2", ", after left") in labels
    assert ("10", ", after down, the failure") in labels


def test_rings_are_at_the_severity_that_breaks(page: str) -> None:
    """Severity 2 behind "clean" and 1: of 1, 2 and 4 two thirds across, of 1 and 2 at the end."""
    rings = re.findall(r'<path d="M([\d.]+) [^"]*" class="ring"', page)
    assert sorted(rings) == ["1000", "1000", "666.7", "666.7"]


def test_the_clip_plays_at_the_rate_of_the_panel(page: str) -> None:
    assert 'data-fps="10"' in page


def test_a_row_that_never_failed_sorts_behind_one_that_failed_last(page: str) -> None:
    assert re.search(r'<td[^>]*data-key="12\.5"[^>]*>≥12</td>', page)


def test_faults_are_counted_among_rows(page: str) -> None:
    assert re.search(r"<b>1</b><small>12% of 8 rows</small>", page)


def test_the_verdict_says_whether_the_first_is_ahead(folder: Path) -> None:
    def told(p: float | None) -> str:
        evidence = read_evidence(folder)
        assert evidence.comparison is not None
        pairs = [{"better": "two", "worse": "one", "p_holm": p}]
        evidence.comparison["ranking"] = {"pairs": pairs}
        return re.sub("<[^>]+>", "", verdict(evidence)[0]).replace("\xa0", " ")

    assert "surely longer than one (p = 0.01 after Holm)" in told(0.01)
    assert "that it is ahead of one is not settled (p = 0.2 after Holm)" in told(0.2)
    assert "whether it is ahead of one cannot be tested here" in told(None)


def test_an_undetermined_cause_is_told_as_such(folder: Path) -> None:
    evidence = read_evidence(folder)
    for cause, words in (
        ("undetermined", "the cause is undetermined by this evidence."),
        ("control", "the cause is control."),
    ):
        data = {"models": {"two": {"cause": cause}}}
        found = verdict(type(evidence)(**{**vars(evidence), "attribution": data}))
        assert words in re.sub("<[^>]+>", "", found[1])
    assert json.dumps(evidence.attribution) == "null"
