"""Evidence folders are verified: what was changed, by whom ever, is found and named."""

import csv
import json
import os
import random
import re
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.made_scores import made_panel, made_scores
from tests.panels import sprite_panel
from wmscore import plots
from wmscore.evidence import (
    StoredTrace,
    Verification,
    derived,
    read_trace,
    verify_evidence,
    write_evidence,
)
from wmscore.evidence.tracefile import KeptTrace
from wmscore.evidence.verification import verify as module
from wmscore.evidence.verification.alike import differences
from wmscore.evidence.verification.findings import Findings
from wmscore.evidence.verification.listing import check_sums, list_files
from wmscore.evidence.verification.recomputing import check_horizons
from wmscore.evidence.verification.rescoring import check_references, rescore
from wmscore.files import sha256_file
from wmscore.functional import Reason, usable_horizon
from wmscore.ladder import RungScores, summarise_ladder, told_ladder
from wmscore.replay import freeze_panel, render_truth, replay, replay_rows
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.testing import DelayedActions, Faulty
from wmscore.worlds import Frozen, SpriteWorld

WORLD = SpriteWorld(48, 48)
ROLES = {"sprites": "truth", "frozen": "floor"}


class Made:
    """An evidence folder and what it was made of."""

    def __init__(self, folder: Path) -> None:
        panel = sprite_panel(scenarios=2, seeds=2, horizon=8)
        self.panel, self.truth = freeze_panel(panel, render_truth(panel, WORLD), fps=10)
        models = {m.name: m for m in (WORLD, Faulty(WORLD, DelayedActions(2)), Frozen())}
        self.results = []
        for model in models.values():
            scorer = Scorer(self.panel)
            for rollouts in replay(self.panel, model, self.truth):
                scorer.update(rollouts)
            self.results.append(scorer.compute())
        self.fetch = lambda name, s, seed: replay_rows(
            self.panel, models[name], self.truth, [(s, seed)]
        )
        excluded = RungScores(stressor="blur", severity=1.0, unit="px", excluded="no reason")
        self.ladder = summarise_ladder(self.results, [excluded], roles=ROLES)
        self.folder = folder
        self.write(folder, self.results)

    def write(self, folder: Path, results: list[Scores]) -> None:
        write_evidence(folder, results, self.fetch, roles=ROLES, ladder=self.ladder)

    @property
    def trace(self) -> Path:
        return next((self.folder / "traces").glob("*.safetensors"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made") / "evidence")


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    shutil.copytree(made.folder, tmp_path / "evidence")
    return tmp_path / "evidence"


def fix_sums(folder: Path) -> None:
    """What someone does who changes a file and knows of the checksums."""
    sums = {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "checksums.json"
    }
    text = json.dumps(dict(sorted(sums.items())), indent=2, ensure_ascii=False) + "\n"
    (folder / "checksums.json").write_text(text)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def told(found: Verification, name: str) -> list[str]:
    return [problem for problem in found.problems if problem.startswith(name)]


# ---- sound -------------------------------------------------------------------------------


def test_what_was_written_is_sound_to_the_last_byte(made: Made) -> None:
    found = verify_evidence(made.folder, world=WORLD)
    assert found.problems == []
    assert found.sound
    text = "\n".join(found.checked)
    assert "byte for byte" in text
    assert "scored again from their frames, equal exactly" in text
    assert "rendered again by 'sprites'" in text
    assert "report.html made again" in text
    assert any("4 of 4 rows of sprites" in line for line in found.unchecked)
    json.dumps(found.to_json(), allow_nan=False)


def test_the_table_is_there_in_types(made: Made) -> None:
    with (made.folder / "metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    table = pq.read_table(made.folder / "metrics.parquet")
    assert table.column_names == list(lines[0])
    assert table.schema.metadata[b"panel"].decode() == made.panel.fingerprint
    for line, row in zip(lines, table.to_pylist(), strict=True):
        assert {k: "" if v is None else str(v) for k, v in row.items()} == line
    kinds = {name: table.schema.field(name).type for name in table.column_names}
    assert kinds["seed"] == pa.int64()
    assert kinds["horizon_censored"] == pa.bool_()
    assert kinds["perceptual_drift_mean_score"] == pa.float64()
    assert kinds["first_failing_axis"] == pa.string()


def test_the_document_names_every_file_and_every_plot(made: Made) -> None:
    text = (Path(__file__).parents[1] / "docs" / "evidence.md").read_text()
    named = set(re.findall(r"`([\w/.]+)`", text))
    for path in made.folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(made.folder).as_posix()
            kind = path.suffix
            general = {"scores": f"scores/MODEL{kind}", "traces": f"traces/TRACE{kind}"}
            name = general.get(path.parent.name, name)
            assert name in named or (kind in (".png", ".svg") and path.stem in named), name
    assert all(f"`{name}(" in text for name in plots.__all__ if name != "save_plot")


# ---- one byte ----------------------------------------------------------------------------


def test_any_changed_byte_of_any_file_is_found(made: Made, copy: Path) -> None:
    """Of every file the first, the last and some others; the list of checksums among them."""
    rng = random.Random(1)
    files = sorted(p for p in copy.rglob("*") if p.is_file())
    for path in files:
        raw = path.read_bytes()
        for place in {0, len(raw) - 1, *(rng.randrange(len(raw)) for _ in range(6))}:
            changed = bytearray(raw)
            changed[place] ^= 1 << rng.randrange(8)
            path.write_bytes(changed)
            findings = Findings()
            assert not check_sums(copy, list_files(copy, findings), findings)
            name = path.relative_to(copy).as_posix()
            # A name that was changed there is told of by that name.
            whole = name == "checksums.json" and findings.problems
            assert whole or any(p.startswith(name) for p in findings.problems)
        path.write_bytes(raw)
    findings = Findings()
    assert check_sums(copy, list_files(copy, findings), findings)


def test_any_changed_pixel_of_a_trace_is_found_whatever_its_hash(made: Made) -> None:
    stored = read_trace(made.trace)
    scores = next(s for s in made.results if s.model == stored.trace.model)
    rng = random.Random(2)

    def problems(changed: StoredTrace) -> list[str]:
        findings = Findings()
        kept = {"t": KeptTrace(changed.trace, lambda: changed)}
        rescore(scores, made.results, kept, findings, exact=True, device="cpu", networks={})
        check_references(made.panel, kept, findings, WORLD)
        return findings.problems

    assert problems(stored) == []
    for name in ("frames", "reference", "branches.frames", "branches.reference", "actions"):
        for _ in range(2):
            value = stored.tensors[name].clone()
            flat = value.view(-1)
            place = rng.randrange(len(flat))
            flat[place] = flat[place] ^ 1
            assert problems(replace(stored, tensors={**stored.tensors, name: value})), name
    for name in ("curves.axes.perceptual_drift", "curves.measures.psnr", "identity.iou"):
        value = stored.tensors[name].clone()
        value.view(-1)[-1] = 0.123
        changed = replace(stored, tensors={**stored.tensors, name: value})
        assert any(name in problem for problem in problems(changed))
    more = {**stored.tensors, "curves.axes.taste": stored.tensors["curves.axes.perceptual_drift"]}
    found = problems(replace(stored, tensors=more))
    assert found == ["t: curves.axes.taste: not among the scores"]
    gone = {name: value for name, value in stored.tensors.items() if name != "branches.frames"}
    assert problems(replace(stored, tensors=gone))


# ---- someone who writes the hashes anew --------------------------------------------------


def test_changed_numbers_are_found_where_their_hashes_are_right(made: Made, copy: Path) -> None:
    with (copy / "metrics.csv").open() as file:
        rows = list(csv.reader(file))
    column = rows[0].index("perceptual_drift_mean_score")
    value = rows[2][column]
    edit(copy / "metrics.csv", value, "0.987654")
    table = pq.read_table(copy / "metrics.parquet")
    seeds = pa.array([7] * table.num_rows, pa.int64())
    place = table.column_names.index("seed")
    pq.write_table(table.set_column(place, "seed", seeds), copy / "metrics.parquet")
    lines = (copy / "curves.csv").read_text().splitlines(keepends=True)
    (copy / "curves.csv").write_text("".join([*lines[:5], *lines[6:]]))
    edit(copy / "survival.csv", "sprites,truth,1,4", "sprites,truth,1,3")
    edit(copy / "comparison.json", '"better": ', '"better": 1')
    edit(copy / "seeds.json", '"seed": 1', '"seed": 2')
    edit(copy / "attribution.json", '"cause": "', '"cause": "not ')
    edit(copy / "stress.csv", "no reason", "a reason")
    edit(copy / "actions.json", '"p_value": ', '"p_value": 1')
    edit(copy / "actions.csv", "left", "Left")
    edit(copy / "postmortem.md", "**First failure:**", "**First success:**")
    edit(copy / "curves.svg", "<path", "<poth")
    shutil.copy(copy / "survival.png", copy / "curves.png")
    (copy / "events.csv").unlink()
    (copy / "more.txt").write_text("1")
    edit(copy / "report.html", "Skip to", "Slip to")
    fix_sums(copy)
    found = verify_evidence(copy)
    (cell,) = [p for p in told(found, "metrics.csv") if "mean_score" in p]
    assert cell.endswith(
        f"column perceptual_drift_mean_score: stored '0.987654', recomputed '{value}'"
    )
    assert "scenario scene-0, seed 0, model" in cell
    for name in ("metrics.parquet", "curves.csv", "survival.csv", "comparison.json", "seeds.json"):
        assert told(found, name), name
    for name in ("attribution.json", "stress.csv", "actions.json", "actions.csv", "postmortem.md"):
        assert told(found, name), name
    for name in ("curves.svg", "curves.png", "events.csv: missing", "more.txt", "report.html"):
        assert told(found, name), name
    parquet = told(found, "metrics.parquet")
    assert parquet[0] == "metrics.parquet: row 0, column seed: stored 7, recomputed 0"
    assert parquet[-1] == "metrics.parquet: and 4 more"
    assert "Traceback" not in "".join(found.problems)


@pytest.fixture
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither written nor made again: they take most of the time."""
    monkeypatch.setattr(derived, "_write_plots", lambda *_: None)


@pytest.mark.usefixtures("without_plots")
def test_a_forged_comparison_is_found_in_the_traces(made: Made, tmp_path: Path) -> None:
    """Every table, plot and hash agrees with better scores; the frames do not."""
    forged = []
    for scores in made.results:
        if scores.model in ROLES:
            forged.append(scores)
            continue
        curve = scores.axes["perceptual_drift"]
        better = replace(curve, values=(curve.values + 0.05).clamp_max(1.0))
        axes = {**scores.axes, "perceptual_drift": better}
        specs = made.panel.axes
        horizon = usable_horizon(
            torch.stack([c.values for c in axes.values()]),
            torch.tensor([s.threshold for s in specs], dtype=torch.float64),
            patience=torch.tensor([s.patience for s in specs]),
            valid=torch.ones(4, 8, dtype=torch.bool),
            gated=torch.tensor([s.gate for s in specs]),
        )
        forged.append(replace(scores, axes=axes, horizon=horizon))
    out = tmp_path / "evidence"
    made.write(out, forged)
    found = verify_evidence(out)
    assert found.problems
    assert all(p.startswith("traces/delayed-actions-2") for p in found.problems)
    assert any("axes.perceptual_drift at step 1: stored" in p for p in found.problems)


@pytest.mark.usefixtures("without_plots")
@pytest.mark.usefixtures("without_plots")
def test_a_forged_verdict_of_a_ladder_is_found(made: Made, tmp_path: Path) -> None:
    """Forged before anything is written, so that all files agree with it and with their hashes."""
    name = "sprites"
    model = made.ladder.models[name]
    (rung,) = model.rungs
    seen = replace(rung, excluded=None, before=(1.0, 1.0), after=(0.25, 0.5))
    sound = told_ladder(
        replace(made.ladder, models={**made.ladder.models, name: replace(model, rungs=(seen,))})
    )
    model = sound.models[name]
    assert model.rungs[0].relative == 0.375
    better = replace(model, rungs=(replace(model.rungs[0], relative=0.975),))
    forged = replace(sound, models={**sound.models, name: better})
    for ladder, expected in ((sound, 0), (forged, 1)):
        folder = tmp_path / str(expected)
        write_evidence(folder, made.results, made.fetch, roles=ROLES, ladder=ladder)
        found = told(verify_evidence(folder), "stress.json")
        assert len(found) == expected
        assert all("models.sprites.rungs.0.relative: stored '0.975'" in x for x in found)


def test_changed_scores_are_found(made: Made, copy: Path) -> None:
    path = copy / "scores" / "frozen.safetensors"
    scores = Scores.load(path)
    curve = scores.axes["perceptual_drift"]
    values = curve.values.clone()
    values[3, 5] += 0.01
    changed = {**scores.axes, "perceptual_drift": replace(curve, values=values)}
    replace(scores, axes=changed).save(path)
    other = copy / "scores" / "sprites.safetensors"
    truth = Scores.load(other)
    steps = truth.horizon.steps.clone()
    steps[2] = 5
    replace(truth, horizon=replace(truth.horizon, steps=steps)).save(other)
    fix_sums(copy)
    found = verify_evidence(copy)
    assert any("perceptual_drift_mean_score" in p for p in told(found, "metrics.csv"))
    (line,) = [p for p in told(found, "scores/sprites") if "horizon.steps" in p]
    assert line.endswith("scenario 'scene-1', seed 0: stored 5, recomputed 8")


def test_a_world_that_shows_something_else_is_found(made: Made) -> None:
    trace = read_trace(made.trace)
    stored = {"t": KeptTrace(trace.trace, lambda: trace)}
    findings = Findings()

    class Other(SpriteWorld):
        def rollout(self, items, horizon):  # type: ignore[no-untyped-def]
            rollouts = super().rollout(items, horizon)
            frames = rollouts.frames.clone()
            frames[:, 3, 0, 0, 0] ^= 1
            return replace(rollouts, frames=frames)

    check_references(made.panel, stored, findings, Other(48, 48))
    assert findings.problems[0] == "t: reference of script 0 at step 3: 'sprites' shows another"


def test_what_is_undefined_has_a_reason_and_what_has_one_is_undefined() -> None:
    panel = made_panel(scenarios=2, seeds=1)

    def problems(value: float, reason: int) -> list[str]:
        scores = made_scores(panel, [[3], [12]])
        curve = scores.axes["action_response"]
        curve.values[1, 4], curve.reason[1, 4] = value, reason
        findings = Findings()
        check_horizons("scores/made", scores, findings, exact=True)
        return [p for p in findings.problems if "reason" in p]

    assert problems(0.95, 0) == problems(float("nan"), int(Reason.NO_BRANCH)) == []
    place = "scores/made: action_response.reason of scenario 'scene-1', seed 0"
    assert problems(0.95, int(Reason.NO_BRANCH)) == [f"{place}: stored True, recomputed False"]
    assert problems(float("nan"), 0) == [f"{place}: stored False, recomputed True"]


def test_references_agree_with_each_other_with_the_panel_and_where_they_exist(made: Made) -> None:
    stored = read_trace(made.trace)

    def problems(world: SpriteWorld | None = None, **changes: torch.Tensor) -> list[str]:
        changed = replace(stored, tensors={**stored.tensors, **changes})
        kept = {
            "one": KeptTrace(stored.trace, lambda: stored),
            "two": KeptTrace(stored.trace, lambda: changed),
        }
        findings = Findings()
        check_references(made.panel, kept, findings, world)
        return findings.problems

    assert problems() == problems(WORLD) == []
    late = stored.tensors["reference"].clone()
    late[-1, 0, 0, 0] ^= 1
    assert problems(reference=late) == ["two: its reference of script 0 is not that of one"]
    early = stored.tensors["reference"].clone()
    early[0, 0, 0, 0] ^= 1
    start = "two: its reference does not begin with the frame that the panel froze"
    assert start in problems(reference=early)
    # What the reference does not have cannot be another there.
    there = stored.tensors["reference_valid"].clone()
    there[-1] = False
    assert not any(
        "shows another" in p for p in problems(WORLD, reference=late, reference_valid=there)
    )
    assert any("shows another" in p for p in problems(WORLD, reference=late))


# ---- other machines ----------------------------------------------------------------------


def test_another_machine_may_round_and_draw_otherwise(
    made: Made, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "same_machine", lambda _: False)
    with (copy / "metrics.csv").open() as file:
        rows = list(csv.reader(file))
    column = rows[0].index("perceptual_drift_mean_score")
    values = [line[column] for line in rows[1:] if len(line[column]) > 12]
    edit(copy / "metrics.csv", values[0], values[0][:-1] + ("1" if values[0][-1] != "1" else "2"))
    edit(copy / "curves.svg", "<path", "<poth")
    fix_sums(copy)
    found = verify_evidence(copy)
    assert found.problems == []
    assert any("drew them" in line for line in found.unchecked)
    assert any("equal up to 0.0001" in line for line in found.checked)
    edit(copy / "metrics.csv", values[-1], str(float(values[-1]) + 0.001))
    (problem,) = differences(copy / "metrics.csv", made.folder / "metrics.csv", exact=False)
    assert "column perceptual_drift_mean_score" in problem


# ---- hostile folders ---------------------------------------------------------------------


def _link(folder: Path) -> None:
    (folder / "curves.png").unlink()
    (folder / "curves.png").symlink_to("/etc/hostname")


def _linked_folder(folder: Path) -> None:
    shutil.move(folder / "traces", folder.parent / "elsewhere")
    (folder / "traces").symlink_to(folder.parent / "elsewhere")


def _pipe(folder: Path) -> None:
    (folder / "events.csv").unlink()
    os.mkfifo(folder / "events.csv")


def _escape(folder: Path) -> None:
    sums = json.loads((folder / "checksums.json").read_text())
    names = ("../outside", "/etc/passwd", "a/../../b", "..\\x", "", "traces//x")
    sums |= dict.fromkeys(names, "0" * 64)
    (folder / "checksums.json").write_text(json.dumps(dict(sorted(sums.items())), indent=2) + "\n")


def _nested(folder: Path) -> None:
    (folder / "environment.json").write_text("[" * 200_000)


def _no_list(folder: Path) -> None:
    (folder / "checksums.json").write_text('["metrics.csv"]\n')


def _header(folder: Path) -> None:
    path = folder / "scores" / "frozen.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + path.read_bytes()[8:])


def _claim(folder: Path) -> None:
    """A tensor of 2^40 values in a file of a few bytes."""
    head = json.dumps({"fault": {"dtype": "U8", "shape": [2**40], "data_offsets": [0, 2**40]}})
    data = struct.pack("<Q", len(head)) + head.encode() + b"0"
    (folder / "scores" / "frozen.safetensors").write_bytes(data)


def _trace_header(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = next((folder / "traces").glob("*.safetensors"))
    about = {"kind": "trace", "version": 1, "panel": 3, "trace": {"row": [1]}}
    save_file(load_file(path), path, {"wmscore": json.dumps(about)})


def _foreign_row(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = next((folder / "traces").glob("*.safetensors"))
    stored = read_trace(path)
    about = {f: getattr(stored.trace, f) for f in stored.trace.__dataclass_fields__}
    header = {"kind": "trace", "version": 1, "panel": stored.panel, "trace": about | {"row": 10**9}}
    save_file(load_file(path), path, {"wmscore": json.dumps(header)})


def _terminal(folder: Path) -> None:
    (folder / "x\x1b[31m\nred.txt").write_text("")


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (_link, "curves.png: expected a file, got a link; it was not opened"),
        (_linked_folder, "traces: expected a file, got a link; it was not opened"),
        (_pipe, "events.csv: expected a file, got no regular file; it was not opened"),
        (_escape, "checksums.json: lists '../outside', which is no file of the folder"),
        (_nested, "environment.json: cannot be read"),
        (_no_list, "checksums.json: expected file names with their SHA-256"),
        (_header, "scores/frozen.safetensors: cannot be read"),
        (_claim, "scores/frozen.safetensors: cannot be read"),
        (_trace_header, "expected the header of a trace"),
        (_foreign_row, "not the trace that the scores lead to"),
        (_terminal, r"x\x1b[31m\nred.txt: not listed in checksums.json"),
        (_empty, "checksums.json: missing"),
    ],
)
def test_a_hostile_folder_is_told_of_and_harms_nothing(
    copy: Path, attack: Callable[[Path], None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is made again from a folder that is sound but for that is told by the tests above.
    monkeypatch.setattr(module, "check_derived", lambda *_, **__: None)
    monkeypatch.setattr(module, "check_report", lambda *_, **__: None)
    monkeypatch.setattr(module, "rescore", lambda *_, **__: 0)
    attack(copy)
    found = verify_evidence(copy)
    assert not found.sound
    assert any(said in problem for problem in found.problems), found.problems
    assert all(problem.isprintable() for problem in found.problems)


def test_a_file_that_is_much_too_large_is_not_read(made: Made, copy: Path) -> None:
    (copy / "metrics.csv").write_bytes(b"0," * 4_000_000)
    (problem,) = differences(copy / "metrics.csv", made.folder / "metrics.csv", exact=True)
    assert problem.endswith("got 8,000,000; it was not read")


def test_no_folder_is_no_evidence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no evidence folder"):
        verify_evidence(tmp_path / "nowhere")


def test_an_undefined_number_is_no_difference_beside_a_rounded_one(tmp_path: Path) -> None:
    one, other = tmp_path / "one.md", tmp_path / "other.md"
    one.write_text("slope nan, score 0.30000000001\n")
    other.write_text("slope nan, score 0.3\n")
    assert list(differences(one, other, exact=False)) == []
    other.write_text("slope 0, score 0.3\n")
    assert len(list(differences(one, other, exact=False))) == 1
