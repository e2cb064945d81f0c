"""What scores say about actions: in files, in records and in sentences."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.panels import NAMES, sprite_panel
from wmscore.actions import action_records, action_sentences, action_summary
from wmscore.cli.output import console, print_results
from wmscore.evidence import action_table, write_evidence
from wmscore.evidence.actions import write_actions
from wmscore.functional import ActionReport, Reason
from wmscore.manifest import Panel
from wmscore.replay import freeze_panel, render_truth, replay, replay_rows
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.testing import faults
from wmscore.worlds import ActionBlind, Frozen, Item, WorldModel
from wmscore.worlds.baselines import roll_out_edited
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=48, width=48)
AXES = [{"axis": "action_response", "threshold": 0.3}]
MODELS: dict[str, WorldModel] = {
    "true": WORLD,
    "frozen": Frozen(),
    "blind": ActionBlind(WORLD),
    "late": faults.Faulty(WORLD, faults.DelayedActions(2)),
    "mirrored": faults.Faulty(WORLD, faults.MirroredActions()),
    "half": faults.Faulty(WORLD, faults.ScaledActions(0.5)),
}


def make_scene(panel: Panel) -> tuple[Panel, Rollouts]:
    return freeze_panel(panel, render_truth(panel, WORLD), fps=10)


def score(scene: tuple[Panel, Rollouts], model: WorldModel) -> Scores:
    panel, truth = scene
    scorer = Scorer(panel)
    for rollouts in replay(panel, model, truth):
        scorer.update(rollouts)
    return scorer.compute()


@pytest.fixture(scope="module")
def scene() -> tuple[Panel, Rollouts]:
    panel = sprite_panel(scenarios=8, seeds=1, horizon=20, axes=AXES)
    return make_scene(panel)


@pytest.fixture(scope="module")
def found(scene) -> dict[str, Scores]:
    return {name: score(scene, model) for name, model in MODELS.items()}


def sentence(scores: Scores, begin: str) -> str:
    (text,) = (line for line in action_sentences(scores) if line.startswith(begin))
    return text


def flat(value: object, name: str = "") -> dict[str, Tensor | type]:
    """Every tensor and every type of a nested result."""
    if value is None or isinstance(value, Tensor):
        return {} if value is None else {name: value}
    names = [f.name for f in fields(value)] if is_dataclass(value) else value._fields
    parts: dict[str, Tensor | type] = {f"{name}()": type(value)}
    for part in names:
        parts |= flat(getattr(value, part), f"{name}.{part}")
    return parts


# ---- sentences -------------------------------------------------------------------------------


def test_the_true_world_in_sentences(found):
    lines = action_sentences(found["true"])
    assert lines[0].startswith(
        "agreement with the reference's response 1.000 [1.000, 1.000] over 8 scenarios; "
        "to scripts dealt out at random p = 0.0001"
    )
    assert lines[1].startswith("latency: in time against the reference (p = 0.0")
    assert ", gain 1.00; the reference itself answers in the step of a command" in lines[1]
    assert lines[2].startswith(
        "actions recovered 1.00 (0 = chance, 1 = all), on the reference 1.00"
    )
    assert not any(line.startswith("confused") for line in lines)


@pytest.mark.parametrize("name", ["frozen", "blind"])
def test_nothing_responded(found, name):
    assert "response 0.000 [0.000, 0.000]" in sentence(found[name], "agreement")
    assert "p = 1.00" in sentence(found[name], "agreement")
    text = sentence(found[name], "latency")
    assert text.startswith("latency: undefined, the generated frames are the same under all")
    assert sentence(found[name], "actions recovered").startswith("actions recovered 0.00 ")


def test_mirrored_and_late(found):
    text = sentence(found["mirrored"], "latency")
    assert "in time against the reference" in text
    assert "the wrong way round, gain -0.9" in text
    wrong = sentence(found["mirrored"], "confused")
    for pair in ("left does what right", "right does what left", "up does what down"):
        assert f"{pair} should" in wrong
    text = sentence(found["late"], "latency")
    assert text.startswith("latency: 2 steps late against the reference (p = ")
    assert "wrong way" not in text
    assert "gain 0.5" in sentence(found["half"], "latency")


def test_a_confusion_that_chance_explains_is_not_told(found):
    mirrored = found["mirrored"]
    effects = mirrored.actions.effects
    unsure = replace(effects, preds_p=torch.full_like(effects.preds_p, 0.06))
    scores = replace(mirrored, actions=replace(mirrored.actions, effects=unsure))
    assert not any(line.startswith("confused") for line in action_sentences(scores))


class Deaf:
    """The true world, to which some actions are as good as none."""

    name, capabilities = "deaf", WORLD.capabilities

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        def edit(item: Item) -> Item:
            sent = item.actions.masked_fill((item.actions == 1) | (item.actions == 2), 0)
            return replace(item, actions=sent)

        return roll_out_edited(WORLD, items, horizon, edit, name=self.name)


def test_actions_that_the_model_ignores_are_named(scene):
    scores = score(scene, Deaf())
    assert sentence(scores, "without effect") == (
        "without effect in the generated rollouts: left, right"
    )
    assert not any(line.startswith("confused") for line in action_sentences(scores))


def test_a_late_model_is_not_called_confused(found):
    lines = action_sentences(found["late"])
    assert not any(line.startswith(("confused", "without effect")) for line in lines)


def test_rows_with_a_fault_have_no_say(scene):
    panel, truth = scene
    scorer = Scorer(panel)
    for rollouts in replay(panel, MODELS["true"], truth):
        frames = rollouts.frames.float() / 255
        hit = rollouts.scenario == 3
        frames[hit, 4:] = float("nan")
        other = frames[(rollouts.scenario == 5) & (rollouts.branch == 2), 0]
        other += 0.25 * (other < 0.5)
        frames[(rollouts.scenario == 5) & (rollouts.branch == 2), 0] = other
        reference = rollouts.reference.float() / 255
        scorer.update(replace(rollouts, frames=frames, reference=reference))
    scores = scorer.compute()
    assert scores.fault.nonzero()[:, 0].tolist() == [3, 5]
    lines = action_sentences(scores)
    assert lines[0].startswith("2 of 8 rows are evaluation faults (non_finite, reset_mismatch)")
    assert "1.000 [1.000, 1.000] over 6 scenarios" in lines[1]
    assert float(scores.actions.recovery.score) == 1.0
    assert int(scores.actions.recovery.unrecognised.sum()) == 0
    assert int(scores.chance.scenarios) == 6
    said = scores.provenance["warning start"]
    assert "in 1 rows a script does not begin with the given frame" in said
    assert f"('{panel.scenarios[5].id}', seed 0) script 'random-0' by 0.25" in said


def change_lag(scores: Scores, part: str, **changes: object) -> Scores:
    """The same scores with another pooled lag."""
    assert scores.actions is not None
    estimate = getattr(scores.actions.latency, part)
    lag = estimate.pooled._replace(**{k: torch.tensor(v) for k, v in changes.items()})
    latency = scores.actions.latency._replace(**{part: estimate._replace(pooled=lag)})
    return replace(scores, actions=replace(scores.actions, latency=latency))


def test_doubts_about_the_lag_are_said(found):
    true, nan = found["true"], float("nan")
    said = [
        ({"lag": 1.0}, "latency: 1 step late"),
        ({"lag": -3.0}, "latency: 3 steps early"),
        ({"ambiguous": True}, "; another lag is nearly as likely"),
        ({"at_edge": True}, "; at the longest lag tried"),
        ({"p_value": nan}, "(too few scripts that could be exchanged for a p-value"),
        (
            {"lag": 8.0, "correlation": 0.2},
            "no one lag explains the response; at the best, 8 steps late, the correlation is 0.20",
        ),
    ]
    for changes, text in said:
        assert text in sentence(change_lag(true, "excess", **changes), "latency")
        assert text not in sentence(true, "latency")
    gone = change_lag(true, "excess", lag=nan, reason=int(Reason.NO_LAG), at_edge=True)
    assert sentence(gone, "latency") == (
        "latency: undefined, no lag within the window explains the response above chance, or it "
        "lies beyond the longest lag tried"
    )
    own = sentence(change_lag(true, "reference", lag=1.0), "latency")
    assert own.endswith("the reference itself answers 1 step after a command")
    own = sentence(change_lag(true, "reference", lag=nan), "latency")
    assert "the reference itself" not in own


def test_clips_without_actions():
    scripts = {"actions": ["noop"], "then": "hold"}
    scenarios = [
        {"id": f"s{i}", "initial_state_id": f"s{i}", "reset": {"seed": i}, **scripts}
        for i in range(3)
    ]
    data = sprite_panel(horizon=10, axes=[{**AXES[0], "measure": "motion"}]).model_dump()
    data["scenarios"] = scenarios
    scores = score(make_scene(Panel.from_dict(data)), WORLD)
    why = Reason.NO_BRANCH.description
    assert action_sentences(scores) == [
        f"agreement with the reference's response: n/a, {why}",
        "latency: n/a, the commands do not vary, so that no response to them can be told",
        "recovery of actions: n/a, fewer than two actions are commanded",
    ]
    (line,) = action_table([scores])[1]
    assert line == ["sprites", "model", "n/a", "n/a", "n/a", "n/a", "n/a"]
    json.dumps(action_summary(scores), allow_nan=False)


def test_one_scenario():
    scores = score(make_scene(sprite_panel(scenarios=1, seeds=2, horizon=12, axes=AXES)), WORLD)
    lines = action_sentences(scores)
    assert lines[0].startswith("agreement with the reference's response 1.000; to scripts dealt")
    assert lines[0].endswith(
        ", but these scripts can give no p below 0.17: more scenarios or scripts would"
    )
    assert "recovery of actions: n/a, no other scenario to learn from shows two actions" in lines
    assert "too few scripts that could be exchanged" in sentence(scores, "latency")
    assert action_table([scores])[1][0][2] == "1.000"


def test_a_panel_without_the_axis_says_nothing(scene):
    panel = sprite_panel(
        scenarios=1, seeds=1, horizon=8, axes=[{"axis": "perceptual_drift", "threshold": 0.5}]
    )
    scores = score(make_scene(panel), WORLD)
    assert action_summary(scores) is None
    assert action_records(scores) == []
    assert action_sentences(scores) == []
    assert action_table([scores])[1] == []
    assert "latency_steps" not in scores.records()[0]


def test_continuous_actions_have_no_recovery(found):
    true = found["true"]
    report = true.actions
    assert report is not None
    none = dict.fromkeys(("motion", "recovery", "ceiling", "recovered", "effects"))
    scores = replace(true, actions=replace(report, **none))
    assert action_records(scores) == []
    assert action_sentences(scores)[-1] == "recovery of actions: n/a, actions are not discrete"
    assert "recovery" not in action_summary(scores)
    assert action_table([scores])[1][0][-1] == "n/a"
    assert "actions_recovered" not in scores.records()[0]


def test_nothing_at_all(scene):
    scores = Scorer(scene[0]).compute()
    assert scores.actions is None
    assert action_sentences(scores) == []
    lost = replace(scores, chance=None)
    assert action_table([lost])[1] == []


# ---- records and files -----------------------------------------------------------------------


def test_records_of_actions(found):
    lines = action_records(found["mirrored"])
    assert [line["action"] for line in lines] == NAMES
    assert len({tuple(line) for line in lines}) == 1
    left = lines[NAMES.index("left")]
    assert left["confused_with"] == "right"
    assert left["effect_cosine"] < -0.9
    assert left["motion_direction"] < 0.1
    assert left["recall"] < 0.1
    assert left["ceiling_recall"] > 0.9
    noop = lines[NAMES.index("noop")]
    assert noop["effect_reason"] == "no_effect"
    assert noop["confused_with"] == ""
    assert noop["effect_gain"] == ""
    steps = 8 * 3 * 20
    assert sum(line["steps"] for line in lines) == steps


def test_the_metric_table_has_the_latency(found):
    for name, lag, polarity in (("late", 2, 1), ("mirrored", 0, -1), ("true", 0, 1)):
        for line in found[name].records():
            assert line["latency_steps"] == lag
            assert isinstance(line["latency_steps"], int)
            assert line["latency_polarity"] == polarity
            assert line["latency_reason"] == "too_few_samples"  # of one rollout
            assert line["latency_p_value"] == ""
    for line in found["half"].records():
        assert 0.4 < line["latency_gain"] < 0.6
        assert line["latency_ambiguous"] == 0
    for line in found["frozen"].records():
        assert line["latency_steps"] == line["latency_gain"] == ""
        assert line["latency_reason"] == "no_generated_response"
        assert line["actions_recovered"] <= 0


def test_a_rollout_has_no_lag_where_the_panel_has_none_above_chance(scene):
    """Half speed falls behind more and more: each rollout's best lag is another."""
    scores = score(scene, faults.Faulty(WORLD, faults.HalfSpeed()))
    lag = scores.actions.latency.excess
    assert lag.pooled.reason == Reason.NO_LAG
    assert not lag.rollouts.lag[0::3].isnan().all()  # of three scripts none has its own p-value
    for line in scores.records():
        values = [line[f"latency_{n}"] for n in ("steps", "polarity", "gain", "ambiguous")]
        assert values == [""] * 4
        assert line["latency_reason"] == "no_lag"


def test_scores_with_actions_survive_the_file(found, tmp_path: Path):
    for name in ("late", "frozen"):
        scores = found[name]
        scores.save(tmp_path / "s.safetensors")
        again = Scores.load(tmp_path / "s.safetensors", scores.panel)
        assert isinstance(again.actions, ActionReport)
        for part in ("actions", "chance"):
            mine, theirs = (flat(getattr(s, part)) for s in (scores, again))
            assert mine.keys() == theirs.keys()
            for key, value in mine.items():
                if isinstance(value, type):
                    assert theirs[key] is value
                    continue
                assert theirs[key].dtype == value.dtype
                torch.testing.assert_close(
                    theirs[key], value, rtol=0, atol=0, equal_nan=True, msg=key
                )
        assert again.records() == scores.records()
        assert action_records(again) == action_records(scores)
        assert action_summary(again) == action_summary(scores)
        again.save(tmp_path / "t.safetensors")
        assert (tmp_path / "t.safetensors").read_bytes() == (
            tmp_path / "s.safetensors"
        ).read_bytes()
    without = replace(scores, actions=None, chance=None)
    without.save(tmp_path / "s.safetensors")
    again = Scores.load(tmp_path / "s.safetensors")
    assert again.actions is None
    assert again.chance is None


def strict(text: str) -> dict[str, object]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_evidence_folder_tells_of_actions(scene, found, tmp_path: Path):
    panel, truth = scene
    out, results = tmp_path / "evidence", [found[name] for name in ("true", "late", "frozen")]
    models: dict[str, WorldModel] = {found[n].model: MODELS[n] for n in ("true", "late", "frozen")}
    roles = {"sprites": "truth", "frozen": "floor"}

    def fetch(name: str, scenario: int, seed: int) -> Rollouts:
        return replay_rows(panel, models[name], truth, [(scenario, seed)])

    write_evidence(out, results, fetch, roles=roles)
    files = {p.name for p in out.iterdir()}
    assert {"actions.csv", "actions.json"} <= files
    sums = json.loads((out / "checksums.json").read_text())
    assert {"actions.csv", "actions.json"} <= set(sums)
    with (out / "actions.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["model"], line["action"]) for line in lines] == [
        (scores.model, name) for scores in results for name in NAMES
    ]
    assert list(lines[0]) == [
        *("model", "action", "steps", "effect_target_size", "effect_preds_size"),
        *("effect_target_p", "effect_preds_p", "effect_cosine", "effect_gain", "confused_with"),
        "effect_share",
        *("effect_reason", "motion_direction", "motion_cosine", "motion_ratio"),
        *("recall", "precision", "ceiling_recall", "ceiling_precision"),
    ]
    assert not any("nan" in line.values() for line in lines)
    data = strict((out / "actions.json").read_text())
    assert [model["model"] for model in data["models"]] == [s.model for s in results]
    assert data["models"][1]["latency"]["excess"]["steps"] == 2
    assert data["models"][2]["latency"]["excess"]["steps"] is None
    with (out / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    wanted = {"latency_steps", "latency_p_value", "latency_polarity", "latency_gain"}
    assert wanted | {"latency_reason", "actions_recovered"} <= set(table[0])
    assert {line["latency_steps"] for line in table if line["model"] == "sprites"} == {"0"}
    text = (out / "postmortem.md").read_text()
    for line in action_sentences(found["late"]):
        assert f"  - {line}." in text
    head, body = action_table(results, roles)
    for line in [head, *body]:
        assert "| " + " | ".join(line).replace("\n", " ") + " |" in text
    assert text.index("| agreement [interval]") < text.index("## delayed-actions-2")


def test_models_without_an_action_leave_no_table_of_actions(found, tmp_path: Path):
    true = found["true"]
    bare = replace(true, actions=None)
    write_actions(tmp_path, [bare])
    assert [p.name for p in tmp_path.iterdir()] == ["actions.json"]
    write_actions(tmp_path, [bare, replace(true, model="other")])
    lines = (tmp_path / "actions.csv").read_text().splitlines()
    assert len(lines) == 1 + len(NAMES)


# ---- the table -------------------------------------------------------------------------------


def test_the_table_of_actions(found):
    roles = {"sprites": "truth", "frozen": "floor"}
    head, body = action_table(list(found.values()), roles)
    assert [name.replace("\n", " ") for name in head] == [
        *("model", "role", "agreement [interval]", "p against chance", "latency, steps", "gain"),
        "actions recovered / ceiling",
    ]
    lines = {line[0]: line for line in body}
    assert len(lines) == len(found)
    assert lines["sprites"] == [
        *("sprites", "truth", "1.000\n[1.000, 1.000]", "0.0001", "0", "1.00", "1.00 / 1.00"),
    ]
    frozen = lines["frozen"]
    assert frozen[:4] == ["frozen", "floor", "0.000\n[0.000, 0.000]", "1"]
    assert frozen[4:] == ["n/a", "n/a", "0.00 / 1.00"]
    assert lines["delayed-actions-2"][1] == "model"
    assert lines["delayed-actions-2"][4] == "+2"
    assert lines["mirrored-actions"][4] == "0"
    assert lines["mirrored-actions"][5].startswith("-0.9")
    summary = action_summary(found["late"])
    mean, low, high = (summary["curves"]["agreement"][k] for k in ("mean", "low", "high"))
    assert lines["delayed-actions-2"][2] == f"{mean:.3f}\n[{low:.3f}, {high:.3f}]"


def test_the_command_line_shows_it(found, capsys: pytest.CaptureFixture[str]):
    results = [found["true"], found["late"]]
    print_results(console(), results, {"sprites": "truth"})
    said = capsys.readouterr().out
    assert "Response to actions" in said
    assert "+2" in said
    assert "ceiling" in said
    print_results(console(), [replace(s, chance=None) for s in results], {})
    assert "Response to actions" not in capsys.readouterr().out
