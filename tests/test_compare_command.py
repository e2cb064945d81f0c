"""`wmscore compare`: what it prints, its exit codes, its errors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.made_scores import made_panel, made_scores
from wmscore.cli import main
from wmscore.comparison import Comparison, Report, compare_models
from wmscore.evidence import read_scores
from wmscore.evidence.comparison import comparison_lines, write_comparison
from wmscore.scores import Scores

STEADY = torch.tensor([-1, 0, -1, 0, -1, 0, -1, 0])


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Score files of models that are so many steps better, and a folder with all of them."""
    root = tmp_path_factory.mktemp("compared")
    panel = made_panel(8, 2, 32)
    base = torch.randint(10, 20, (8, 2), generator=torch.Generator().manual_seed(0))

    def made(model: str, gain: int) -> Scores:
        return made_scores(panel, base + STEADY[:, None] * (gain != 0) + gain, model=model)

    results = [made("old", 0), made("near", 1), made("worse", -8), made("truth", 10)]
    found = {}
    for scores in results:
        scores.save(root / f"{scores.model}.safetensors")
        scores.save(root / "all" / "scores" / f"{scores.model}.safetensors")
        found[scores.model] = str(root / f"{scores.model}.safetensors")
    report = compare_models(results, roles={"truth": "truth"}, draws=200)
    write_comparison(root / "all" / "comparison.json", report)
    lone = root / "lone" / "scores"
    results[0].save(lone / "old.safetensors")
    other = made_scores(made_panel(8, 2, 32, name="another"), base, model="other")
    other.save(root / "other.safetensors")
    (root / "empty").mkdir()
    (root / "broken.safetensors").write_bytes(b"cut")
    return found | {
        "all": str(root / "all"),
        "lone": str(root / "lone"),
        "other": str(root / "other.safetensors"),
        "empty": str(root / "empty"),
        "broken": str(root / "broken.safetensors"),
        "missing": str(root / "nowhere"),
    }


def test_a_reader_that_leaves_is_no_error(places: dict[str, str]) -> None:
    """As `wmscore compare ... | head -1`."""
    command = [sys.executable, "-m", "wmscore", "compare", places["old"], places["near"], "--json"]
    with subprocess.Popen(
        [*command, "--draws", "200"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        run.stdout.close()
        assert run.stderr is not None
        assert run.stderr.read() == b""
    assert run.returncode == 141


@pytest.mark.parametrize(
    ("candidate", "options", "code", "verdict"),
    [
        ("near", [], 0, "No difference in usable horizon is shown between near and old"),
        ("near", ["--gate", "2"], 0, "PASS: usable horizon: near is at most 2.0 steps worse"),
        ("worse", ["--gate", "2"], 1, "FAIL: usable horizon: worse is more than 2.0 steps worse"),
        ("worse", ["--gate", "8.5"], 3, "UNDECIDED: usable horizon: the interval"),
        ("near", ["--gate-axis", "perceptual_drift=0.1"], 0, "PASS: perceptual drift: near is"),
        ("near", ["--gate", "5%", "--estimand", "seeds"], 0, "estimand: seeds"),
    ],
)
def test_exit_codes(
    places: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    candidate: str,
    options: list[str],
    code: int,
    verdict: str,
) -> None:
    assert main(["compare", places["old"], places[candidate], *options, "--draws", "500"]) == code
    said = capsys.readouterr().out
    assert verdict in " ".join(said.split())
    assert "scene-7" in said
    assert "usable horizon, steps" in said


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["@old", "@other"], "name: 'test-sprites' != 'another'"),
        (["@old", "@missing"], "no such evidence folder or score file"),
        (["@empty", "@old"], "expected an evidence folder (scores/*.safetensors), found none"),
        (["@broken", "@old"], "expected a wmscore scores file"),
        (["@old"], "it holds one model, old; B is missing"),
        (["@all", "--gate", "2"], "give B, or --model-a and --model-b"),
        (["@all", "--model-a", "old"], "both --model-a and --model-b"),
        (["@all", "--model-a", "old", "--model-b", "old"], "'old' is the baseline itself"),
        (
            ["@all", "--model-a", "old", "--model-b", "x"],
            "no model 'x'; it has old, near, worse, t",
        ),
        (["@all", "@old"], "which model? It has old, near, worse, truth (truth)"),
        (["@old", "@near", "--gate", "all"], "gate: expected steps"),
        (["@old", "@near", "--gate", "32"], "lets everything pass"),
        (["@old", "@near", "--gate-axis", "perceptual_drift"], "expected AXIS=MARGIN"),
        (["@old", "@near", "--gate-axis", "latent_drift=0.1"], "got 'latent_drift'"),
        (["@old", "@near", "--level", "95"], "level must be"),
        (["@old", "@near", "--draws", "0"], "draws must be at least 1"),
    ],
)
def test_what_is_wrong_is_said(
    places: dict[str, str], capsys: pytest.CaptureFixture[str], args: list[str], text: str
) -> None:
    assert main(["compare", *(places[arg[1:]] if arg[0] == "@" else arg for arg in args)]) == 2
    found = capsys.readouterr()
    assert text in found.err
    assert found.out == ""


def test_a_wrong_option_is_a_wrong_usage(
    places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", places["old"], places["near"], "--estimand", "rows"]) == 2
    assert "'rows' is not one of 'scenarios', 'seeds'" in capsys.readouterr().err


def test_json_is_all_that_is_printed(
    places: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "found.json"
    args = ["compare", places["old"], places["worse"], "--gate", "2", "--json", "--out", str(out)]
    assert main(args) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["gate"]["outcome"] == "fail"
    assert data["verdict"][0].startswith("FAIL")
    assert Comparison.load(out).to_json() == data


def test_a_folder_of_several_models(
    places: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "report.json"
    assert main(["compare", places["all"], "--draws", "500", "--out", str(out)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "truth is first" not in said  # an anchor is no competitor
    assert re.search("(near|old) is first in [>0-9.]+% of 500 bootstrap draws", said)
    assert "worse against truth" in said
    assert "worse against old" in said
    report = Report.from_json(json.loads(out.read_text()))
    assert report.roles["truth"] == "truth"
    assert len(report.comparisons) == 6
    named = ["compare", places["all"], "--model-a", "old", "--model-b", "worse", "--gate", "2"]
    assert main(named) == 1
    assert main(["compare", places["lone"], places["worse"], "--gate", "2"]) == 1
    assert main(["compare", places["all"], places["worse"], "--model-a", "old"]) == 0


def test_evidence_that_was_read_again(places: dict[str, str], tmp_path: Path) -> None:
    found = read_scores(places["all"])
    assert [scores.model for scores in found.results] == ["old", "near", "worse", "truth"]
    assert found.roles == {"truth": "truth"}
    assert read_scores(places["lone"]).pick().model == "old"
    (tmp_path / "scores").mkdir()
    found.results[0].save(tmp_path / "scores" / "a.safetensors")
    (tmp_path / "comparison.json").write_text("[]")
    with pytest.raises(ValueError, match="expected the comparison of an evidence folder"):
        read_scores(tmp_path)


def test_lines_of_the_postmortem(places: dict[str, str]) -> None:
    found = read_scores(places["all"])
    lines = comparison_lines(compare_models(found.results, roles=found.roles, draws=200))
    text = "\n".join(lines)
    assert "## Ranking" in text
    assert "| truth | truth | 2" in text
    assert "### near against old" in text
    assert "### near against truth" not in text
    assert "3 more comparisons are in `comparison.json`." in text
    alone = compare_models(found.results[:1])
    assert comparison_lines(alone) == []
