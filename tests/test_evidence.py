"""The evidence folder: complete, reproducible, atomic, and true to the scores."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from tests.made_scores import made_panel, made_scores
from tests.panels import sprite_panel
from wmscore.attribution import diagnose, first_failure
from wmscore.cli import main
from wmscore.comparison import Report, compare_models
from wmscore.comparison.horizons import horizon_tables
from wmscore.demo import ROLES, run_demo
from wmscore.evidence import (
    check_folder,
    choose_traces,
    ranked,
    read_scores,
    summary_table,
    unmatched_rows,
    write_evidence,
)
from wmscore.evidence.columns import describe
from wmscore.evidence.horizons import mean_horizon_cell
from wmscore.files import sha256_file
from wmscore.functional import Reason, drift_shape
from wmscore.manifest import Panel
from wmscore.rollouts import RECONSTRUCTION, TEACHER_FORCED
from wmscore.scorer.measures import _MEASURES
from wmscore.scores import Scores
from wmscore.stats import mean_interval


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Scores]]:
    out = tmp_path_factory.mktemp("demo") / "evidence"
    panel = sprite_panel(scenarios=3, seeds=2, horizon=16)
    results, _, _ = run_demo(out, panel=panel)
    return out, results


def test_the_folder_is_complete_and_its_checksums_hold(demo):
    out, results = demo
    sums = json.loads((out / "checksums.json").read_text())
    files = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert files == {*sums, "checksums.json"}
    assert {"manifest.json", "seeds.json", "metrics.csv", "postmortem.md", "curves.png"} <= files
    assert {"curves.csv", "measures.png", "survival.csv", "survival.png"} <= files
    assert "comparison.json" in files
    assert len([f for f in files if f.startswith("traces/")]) >= 4
    for name, digest in sums.items():
        assert sha256_file(out / name) == digest
    panel = Panel.load(out / "manifest.json")
    assert panel.fingerprint == results[0].panel.fingerprint
    assert all(s.initial_frame_sha256 for s in panel.scenarios)
    assert json.loads((out / "seeds.json").read_text())["seeds"] == [0, 1]


def test_every_table_ends_its_lines_alike(demo):
    out, _ = demo
    tables = {path.name: path.read_bytes() for path in out.glob("*.csv")}
    assert tables.keys() >= {"metrics.csv", "curves.csv", "survival.csv", "stress.csv"}
    assert [name for name, raw in tables.items() if b"\r" in raw] == []


def test_every_column_of_the_metric_table_is_explained(demo):
    out, _ = demo
    with (out / "metrics.csv").open() as file:
        names = next(csv.reader(file))
    with (out / "columns.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["column"] for line in lines] == names
    assert [line["column"] for line in lines if not line["meaning"]] == []
    assert {line["better"] for line in lines} == {"higher", "lower", ""}
    told = {line["column"]: line for line in lines}
    assert told["psnr_mean"]["unit"] == "dB"
    assert told["perceptual_drift_area"]["better"] == "lower"
    assert told["action_response_mean_score"]["meaning"].endswith("the score of action response")


def test_every_measure_has_a_meaning():
    panel = made_panel()
    unexplained = [name for name in _MEASURES if not describe(f"{name}_mean", panel).meaning]
    assert unexplained == ["skill", "similarity"]  # of those there are variants only
    assert describe("skill_haarpsi_mean", panel).meaning.endswith("re-run of the true world (1)")
    assert describe("similarity_lag_mean", panel).unit == "1"
    assert describe("ms_ssim_3_mean", panel).meaning.endswith("counts")
    assert describe("something_mean", panel) == ("something_mean", "", "", "")


def test_the_metric_table_says_how_a_drift_goes(demo):
    out, results = demo
    with (out / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "delayed-actions-2"]
    scores = next(scores for scores in results if scores.model == "delayed-actions-2")
    found = drift_shape(
        scores.axes["perceptual_drift"].values, higher_is_better=True, threshold=0.6
    )
    assert found.area.max() > 0
    for name, values in found._asdict().items():
        for row, value in zip(rows, values.tolist(), strict=True):
            cell = row[f"perceptual_drift_{name}"]
            assert cell == ("" if value != value else str(value))
    assert not any(key.startswith("action_response_slope") for key in rows[0])


def test_survival_is_the_share_of_rows_that_are_still_usable(demo):
    out, results = demo
    with (out / "survival.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16 * len(results)
    for scores in results:
        lines = [row for row in rows if row["model"] == scores.model]
        assert [int(row["step"]) for row in lines] == [*range(1, 17)]
        assert {row["role"] for row in lines} == {ROLES.get(scores.model, "model")}
        steps, axis = scores.horizon.steps.tolist(), scores.horizon.axis.tolist()
        for t, row in enumerate(lines):
            usable = sum(step > t for step in steps) / 6
            assert float(row["usable"]) == pytest.approx(usable, rel=1e-5)
            assert float(row["usable_low"]) <= usable + 1e-6
            assert float(row["usable_high"]) >= usable - 1e-6
            assert int(row["reached"]) == sum(step >= t for step in steps)
            assert int(row["failed"]) == sum(step == t < 16 for step in steps)
            if int(row["reached"]):
                hazard = int(row["failed"]) / int(row["reached"])
                assert float(row["hazard"]) == pytest.approx(hazard, rel=1e-5)
            for a, name in enumerate(scores.axes):
                ended = sum(step <= t and by == a for step, by in zip(steps, axis, strict=True)) / 6
                assert float(row[f"ended_{name}"]) == pytest.approx(ended, rel=1e-5)
    assert any(0 < float(row["usable"]) < 1 for row in rows)


def test_the_mean_horizon_has_its_interval_over_scenarios(demo):
    _, results = demo
    head, body = summary_table(results)
    place = head.index("horizon\nof 16, mean")
    for scores in results:
        means = scores.horizon.steps.reshape(3, 2).double().mean(1)
        found = mean_interval(means)
        cell = next(line[place] for line in body if line[0] == scores.model)
        low, high = max(0, found.low.item()), min(16, found.high.item())
        assert cell == f"{means.mean():.1f}\n[{low:.1f}, {high:.1f}]"


def test_a_horizon_that_was_cut_short_says_so(demo):
    _, results = demo
    scores = next(scores for scores in results if scores.model == "simulator")
    horizon = replace(scores.horizon, steps=scores.horizon.steps.clamp(max=9))
    assert mean_horizon_cell(replace(scores, horizon=horizon)) == "9.0 of 9\n[9.0, 9.0]"
    table = horizon_tables(replace(scores, horizon=horizon))
    assert table.at_risk[:, 8].tolist() == [2, 2, 2]
    assert not table.at_risk[:, 9:].any()  # step 10 was not seen
    lost = replace(scores.horizon, defined=torch.zeros(6, dtype=torch.bool))
    assert mean_horizon_cell(replace(scores, horizon=lost)) == "undefined"
    assert horizon_tables(replace(scores, horizon=lost)).missing.tolist() == [2, 2, 2]


def test_every_curve_is_in_a_table_with_its_quartiles(demo):
    out, results = demo
    with (out / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    frozen = next(scores for scores in results if scores.model == "frozen")
    lines = [r for r in rows if r["model"] == "frozen" and r["name"] == "perceptual_drift"]
    assert [int(r["step"]) for r in lines] == [*range(1, 17)]
    assert {(r["role"], r["kind"], r["unit"]) for r in lines} == {("floor", "score", "1")}
    values = frozen.axes["perceptual_drift"].values.numpy()
    expected = np.quantile(values, (0.25, 0.5, 0.75), axis=0).T
    found = [[float(r[k]) for k in ("lower_quartile", "median", "upper_quartile")] for r in lines]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # Identical frames are infinitely many decibels, and a step without a row leaves gaps.
    truth = [r for r in rows if r["model"] == "simulator" and r["name"] == "psnr"]
    assert {r["median"] for r in truth} == {"inf"}
    silent = [r for r in rows if r["name"] == "cosine" and r["defined_rows"] == "0"]
    assert all(r["median"] == "" for r in silent)
    names = {(r["kind"], r["name"]) for r in rows if r["model"] == "frozen"}
    assert names == {
        *(("score", name) for name in frozen.axes),
        *(("measure", name) for name in frozen.measures),
    }


def test_the_models_are_compared_and_ranked(demo):
    out, results = demo
    found = read_scores(out)
    assert found.roles == ROLES
    assert sorted(s.model for s in found.results) == sorted(s.model for s in results)
    report = Report.from_json(json.loads((out / "comparison.json").read_text()))
    assert report.ranking.models[0].model == "simulator"
    assert len(report.ranking.pairs) == 1  # of the two judged models; anchors are beside them
    assert len(report.comparisons) == 9  # each of 2 judged models with 4 anchors, and each other
    again = compare_models(results, roles=ROLES)
    assert again.to_json() == report.to_json()
    text = (out / "postmortem.md").read_text()
    for line in report.ranking.verdict():
        assert f"- {line}\n" in text
    assert "### identity-swap against delayed-actions-2" in text
    assert "No order can be settled: 3 scenarios can give no p-value" in text


def test_metrics_are_matched_by_scenario_and_seed(demo):
    out, results = demo
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * len(results)
    assert [row["model"] for row in rows[: len(results)]] == [s.model for s in results]
    assert {(row["scenario"], row["seed"]) for row in rows[: len(results)]} == {("scene-0", "0")}
    for row in rows:
        if row["model"] == "simulator":
            assert row["horizon_censored"] == "True"
            assert row["horizon_steps"] == "16"
        if row["model"] == "identity-swap":
            assert row["broken_how"] in ("swap", "")


def test_the_ranking_is_as_it_should(demo):
    names = [scores.model for scores in ranked(demo[1])]
    order = [names.index(n) for n in ("simulator", "delayed-actions-2", "frozen")]
    assert order == sorted(order)
    assert names[0] == "simulator"


def test_traces_show_the_failing_step(demo):
    out, results = demo
    traces = choose_traces(results, anchors=list(ROLES))
    assert len(traces) >= 2
    assert {t.model for t in traces} == {"delayed-actions-2", "identity-swap"}
    by_model = {scores.model: scores for scores in results}
    for trace in traces:
        failure = first_failure(by_model[trace.model])
        assert failure is not None
        if not trace.why.startswith("object"):
            assert (trace.row, trace.step) == (failure.row, failure.step)
        with safe_open(out / "traces" / f"{trace.name}.safetensors", "pt") as file:
            names = set(file.keys())
            assert {"frames", "reference", "labels", "actions"} <= names
            curve = file.get_tensor(f"curves.axes.{failure.axis}")
            assert float(curve[trace.step - 1]) < failure.threshold
            assert tuple(file.get_tensor("frames").shape) == (17, 3, 48, 48)
        with av.open(str(out / "traces" / f"{trace.name}.mp4")) as video:
            assert sum(1 for _ in video.decode(video=0)) == 17
        with Image.open(out / "traces" / f"{trace.name}.png") as image:
            assert image.width > 400
            assert image.height > 400


def test_the_postmortem_names_the_first_failure(demo):
    out, results = demo
    text = (out / "postmortem.md").read_text()
    for scores in results:
        failure = first_failure(scores)
        if scores.model in ROLES:
            assert f"## {scores.model}\n" not in text
            continue
        assert failure is not None
        assert (
            f"{failure.axis} at step {failure.step} of scenario `{failure.scenario}`, "
            f"seed {failure.seed}" in text
        )
    assert "**Cause:** undetermined" in text
    assert "no planner was in the loop" in text
    assert "the true world itself passes there" in text


def test_a_foreign_file_in_an_evidence_folder_is_not_removed(demo, tmp_path: Path):
    out = tmp_path / "evidence"
    shutil.copytree(demo[0], out)
    check_folder(out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds more than evidence \(\['notes.txt'\]\)"):
        run_demo(out, panel=sprite_panel())
    assert (out / "notes.txt").read_text() == "mine"


def test_rows_without_evidence_do_not_raise_a_rank(demo):
    by_model = {scores.model: scores for scores in demo[1]}
    good = by_model["simulator"]
    fault = good.fault.clone()
    fault[1:] = int(Reason.SHORT)
    horizon = replace(
        good.horizon, defined=fault == 0, steps=torch.where(fault == 0, good.horizon.steps, -1)
    )
    patchy = replace(good, model="patchy", fault=fault, horizon=horizon)
    order = [s.model for s in ranked([*demo[1], patchy])]
    assert order.index("patchy") > order.index("identity-swap")
    verdict = diagnose(patchy)
    assert verdict.cause == "evaluation"
    assert verdict.rows["evaluation"] == int((fault != 0).sum())


def test_attribution_names_evaluation_only_on_evidence(demo):
    by_model = {scores.model: scores for scores in demo[1]}
    truth, swapped = by_model["simulator"], by_model["identity-swap"]
    alone = diagnose(swapped)
    assert alone.cause == "undetermined"
    assert "evaluation" in alone.candidates
    assert any(text.startswith("evaluation: replay the true world") for text in alone.settles)
    beside = diagnose(swapped, [truth], roles={"simulator": "truth"})
    assert beside.cause == "undetermined"
    assert "evaluation" not in beside.candidates
    # A true world that fails itself: nobody could have passed.
    broken = replace(swapped, model="simulator")
    verdict = diagnose(swapped, [broken], roles={"simulator": "truth"})
    assert verdict.cause == "evaluation"
    assert first_failure(truth) is None
    assert diagnose(truth, [truth]).cause == "none"
    assert diagnose(truth, [truth]).candidates == ()


def test_the_same_run_twice_gives_the_same_numbers(demo, tmp_path: Path):
    out, _ = demo
    panel = sprite_panel(scenarios=3, seeds=2, horizon=16)
    run_demo(tmp_path / "again", panel=panel, batch_size=5)
    names = ("metrics.csv", "manifest.json", "seeds.json", "postmortem.md", "comparison.json")
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()
    sums = [json.loads((p / "checksums.json").read_text()) for p in (out, tmp_path / "again")]
    for name in sums[0]:
        if name.startswith("traces/") or name in (
            "curves.png",
            "curves.csv",
            "measures.png",
            "survival.csv",
            "survival.png",
        ):
            assert sums[0][name] == sums[1][name]


def test_a_failure_while_writing_keeps_the_old_evidence(demo, tmp_path: Path):
    _, results = demo
    out = tmp_path / "evidence"

    def broken(*_: object) -> None:
        raise RuntimeError("the model is gone")

    with pytest.raises(RuntimeError, match="the model is gone"):
        write_evidence(out, results, broken, roles=ROLES)
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match=r"holds more than evidence \(\['thesis.txt'\]\)"):
        write_evidence(out, results, broken, roles=ROLES)
    assert (out / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("delay", [0.2, 1.0])
def test_killing_the_demo_leaves_no_half_written_evidence(tmp_path: Path, delay: float):
    """Killed at a later moment in each case, counted from the first sign of progress."""
    script = (
        "import sys\n"
        "from tests.panels import sprite_panel\n"
        "from wmscore.demo import run_demo\n"
        "run_demo(sys.argv[1], panel=sprite_panel(scenarios=6, seeds=4, horizon=24),\n"
        "         report=lambda *_: print('.', flush=True))\n"
    )
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    out = tmp_path / "evidence"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(out)],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not out.exists() or (out / "checksums.json").exists()
    visible = [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")]
    assert visible in ([], ["evidence"])


def test_packaged_panels_load():
    for name in ("sprites", "vizdoom"):
        panel = Panel.packaged(name)
        assert panel.contract.world == name
        assert len(panel.scenarios) == 8
        assert len(panel.seeds) == 4
        assert panel.contract.horizon == 32
        returns = [s for s in panel.scenarios if "return" in s.id]
        assert len(returns) >= 2


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    panel = tmp_path / "panel.json"
    axes = [{"axis": "perceptual_drift", "threshold": 0.6}]
    sprite_panel(scenarios=2, seeds=1, horizon=4, size=32, axes=axes).save(panel)
    model = "wmscore.worlds:Frozen"
    truth, frozen = str(tmp_path / "truth"), str(tmp_path / "frozen")
    assert main(["replay", str(panel), "--model", "world", "--out", truth]) == 0
    assert main(["replay", str(panel), "--model", model, "--out", frozen]) == 0
    out = tmp_path / "evidence"
    scored = ["score", truth, frozen, "--panel", str(panel), "--out", str(out)]
    assert main(scored) == 0
    text = (out / "postmortem.md").read_text()
    assert "The truth (`sprites`)" in text
    assert "## sprites" not in text
    assert "frozen" in capsys.readouterr().out
    assert main(["replay", str(panel), "--model", "nonsense", "--out", str(tmp_path / "x")]) == 2
    assert "expected 'module:factory', got 'nonsense'" in capsys.readouterr().err
    assert main(["replay", str(panel), "--model", "json:nope", "--out", str(tmp_path / "x")]) == 2
    assert "module 'json' has no 'nope'" in capsys.readouterr().err
    (tmp_path / "truth" / "truth-00000.safetensors").write_bytes(b"cut")
    assert main([*scored[:-1], str(tmp_path / "other")]) == 2
    assert "expected a wmscore rollouts file" in capsys.readouterr().err
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "kernels: " in said
    assert "frame_errors cpu" in said


def test_a_table_of_unmatched_rows_says_so():
    panel = made_panel()
    fault = torch.zeros(8, 2, dtype=torch.uint8)
    whole = made_scores(panel, torch.full((8, 2), 6), model="whole")
    assert unmatched_rows([whole, whole]) == []
    fault[:2] = int(Reason.NON_FINITE)
    part = made_scores(panel, torch.full((8, 2), 6), model="part", fault=fault)
    (text,) = unmatched_rows([whole, part])
    assert "(part lacks 4 of 16)" in text
    assert "4 undefined" in summary_table([whole, part])[1][1][6]


def test_companions_are_told_apart_and_compared_with_nobody():
    panel = made_panel()
    whole = made_scores(panel, torch.full((8, 2), 6), model="m")
    fault = torch.full((8, 2), int(Reason.NO_LABELS), dtype=torch.uint8)
    forced, rebuilt = (
        made_scores(panel, torch.full((8, 2), 6), model=name, fault=fault)
        for name in ("m" + TEACHER_FORCED, "m" + RECONSTRUCTION)
    )
    assert unmatched_rows([whole, forced, rebuilt]) == []
    assert unmatched_rows([forced]) == []
    roles = {line[0]: line[1] for line in summary_table([whole, forced, rebuilt], {})[1]}
    assert roles == {"m": "model", forced.model: "one-step", rebuilt.model: "reconstruction"}
