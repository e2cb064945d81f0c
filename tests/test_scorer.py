"""The streaming engine: exactness under batching, what each known fault does, what is refused."""

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.panels import sprite_panel
from wmscore.functional import Reason
from wmscore.manifest import Panel, PanelMismatchError
from wmscore.replay import freeze_panel, render_truth, replay
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.testing import faults
from wmscore.worlds import ActionBlind, Frozen, WorldModel
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=48, width=48)


@pytest.fixture(scope="module")
def scene() -> tuple[Panel, Rollouts]:
    panel = sprite_panel(scenarios=3, seeds=2, horizon=16)
    return freeze_panel(panel, render_truth(panel, WORLD), fps=10)


def score(scene: tuple[Panel, Rollouts], model: WorldModel, **options: int) -> Scores:
    panel, truth = scene
    return score_all(panel, replay(panel, model, truth, **options))


def score_all(panel: Panel, batches: Iterator[Rollouts] | list[Rollouts]) -> Scores:
    scorer = Scorer(panel)
    for rollouts in batches:
        scorer.update(rollouts)
    return scorer.compute()


def tensors(scores: Scores) -> dict[str, Tensor]:
    found = {"fault": scores.fault, **{f"info.{k}": v for k, v in scores.info.items()}}
    for group in (scores.axes, scores.measures):
        for name, curve in group.items():
            found |= {f"{name}.values": curve.values, f"{name}.reason": curve.reason}
    for part in (scores.horizon, scores.identity):
        if part is not None:
            found |= {f.name: getattr(part, f.name) for f in fields(part)}
    return found


def assert_same(a: Scores, b: Scores) -> None:
    mine, theirs = tensors(a), tensors(b)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        torch.testing.assert_close(
            value, theirs[name], rtol=0, atol=0, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_the_true_world_is_censored_on_every_axis(scene):
    scores = score(scene, WORLD)
    assert scores.complete
    assert scores.horizon.censored.all()
    assert (scores.horizon.steps == 16).all()
    assert scores.horizon.axis_defined.all()
    assert scores.horizon.axis_censored.all()
    for axis, curve in scores.axes.items():
        known = curve.values[curve.reason == 0]
        torch.testing.assert_close(known, torch.ones_like(known), msg=axis)
        assert (curve.values.isnan() == (curve.reason != 0)).all()
    assert scores.identity is not None
    assert not scores.identity.first_break.any()


@pytest.mark.parametrize("fault", [faults.IdentitySwap(), faults.Vanish(), faults.Duplicate()])
def test_identity_faults_are_found_at_exactly_their_step(scene, fault):
    scores = score(scene, faults.Faulty(WORLD, fault))
    assert scores.identity is not None
    injected = scores.info["fault_step"]
    assert (injected > 0).sum() >= 4
    torch.testing.assert_close(scores.identity.first_break, injected)
    wanted = {"identity-swap": "swap", "vanish": "vanish", "duplicate": "duplicate"}[fault.name]
    for row in injected.nonzero().flatten().tolist():
        step, thing, event = scores.identity_break(row)
        assert event == wanted
        others = {int(scores.info["fault_object"][row])}
        if "fault_other_object" in scores.info:
            others.add(int(scores.info["fault_other_object"][row]))
        assert thing in others
        assert step == int(injected[row])


@pytest.mark.parametrize(
    ("fault", "axis"),
    [
        (faults.Blur(), "perceptual_drift"),
        (faults.ColourDrift(growth=0.03), "perceptual_drift"),
        (faults.DelayedActions(2), "action_response"),
        (faults.IgnoredActions(), "action_response"),
        (faults.HalfGain(), "action_response"),
        (faults.Freeze(), "action_response"),
    ],
)
def test_faults_lower_their_axis_from_their_step_on_and_not_before(scene, fault, axis):
    scores = score(scene, faults.Faulty(WORLD, fault))
    values, begin = scores.axes[axis].values, scores.info["fault_step"]
    steps = torch.arange(1, values.shape[1] + 1)
    before = steps < begin[:, None]
    known = values[before & ~values.isnan()]
    torch.testing.assert_close(known, torch.ones_like(known))
    for row in begin.nonzero().flatten().tolist():
        after = values[row, int(begin[row]) - 1 :]
        # SSIM is nearly blind to a slow colour drift: it falls, but by little.
        assert after[~after.isnan()].min() < 0.99
    assert scores.complete


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.NanFrame(), Reason.NON_FINITE),
        (faults.ShortRollout(), Reason.SHORT),
        (faults.ResetMismatch(), Reason.RESET_MISMATCH),
    ],
)
def test_evaluation_faults_are_named_and_leave_no_horizon(scene, fault, reason):
    scores = score(scene, faults.Faulty(WORLD, fault))
    hit = (
        scores.info["fault_step"] >= 0
        if reason is Reason.RESET_MISMATCH
        else (scores.info["fault_step"] > 0)
    )
    assert hit.any()
    assert (scores.fault[hit] == reason).all()
    assert not scores.complete
    assert scores.faults() == {reason.name.lower(): int(hit.sum())}
    assert not scores.horizon.defined[hit].any()
    assert (scores.horizon.steps[hit] == -1).all()
    # Nor one of an axis alone: what a broken rollout shows before it breaks looks perfect.
    assert not scores.horizon.axis_defined[:, hit].any()
    assert not scores.horizon.axis_censored[:, hit].any()
    assert (scores.horizon.axis_steps[:, hit] == -1).all()
    assert (scores.horizon.axis_reason[:, hit] == reason).all()
    assert scores.horizon.smallest_margin[:, hit].isnan().all()
    for row, line in enumerate(scores.records()):
        for axis in scores.axes:
            blank = [line[f"{axis}_{name}"] == "" for name in ("mean_score", "horizon_steps")]
            assert blank == [True, True] if hit[row] else not any(blank)
    if reason is Reason.NON_FINITE:
        step = scores.info["fault_step"]
        rows = torch.arange(len(step))
        assert (scores.axes["perceptual_drift"].reason[rows, step - 1] == reason).all()


@pytest.mark.parametrize("branch", [1, 2])
def test_a_fault_in_a_counterfactual_branch_is_a_fault_of_its_row(scene, branch):
    panel, truth = scene
    spoilt: dict[Reason, list[Rollouts]] = {Reason.NON_FINITE: [], Reason.RESET_MISMATCH: []}
    for rollouts in replay(panel, WORLD, truth):
        hit = (rollouts.branch == branch) & (rollouts.seed == 1)
        floats = rollouts.frames.float() / 255
        floats[hit, 5] = float("nan")
        reference = rollouts.reference.float() / 255
        spoilt[Reason.NON_FINITE].append(replace(rollouts, frames=floats, reference=reference))
        other = rollouts.frames.clone()
        other[hit, 0] = 255 - other[hit, 0]
        spoilt[Reason.RESET_MISMATCH].append(replace(rollouts, frames=other))
    for reason, batches in spoilt.items():
        scores = score_all(panel, batches)
        assert scores.fault.tolist() == [0, int(reason)] * 3
        assert scores.horizon.defined.tolist() == [True, False] * 3
        if reason is Reason.NON_FINITE:
            assert (scores.axes["action_response"].reason[1::2, 4] == reason).all()


def test_a_branch_may_end_early_but_not_at_once(scene):
    panel, truth = scene
    for last, fault in ((9, 0), (0, Reason.SHORT)):
        batches = []
        for rollouts in replay(panel, WORLD, truth):
            valid = rollouts.valid.clone()
            valid[rollouts.branch == 1, last + 1 :] = False
            batches.append(replace(rollouts, valid=valid))
        scores = score_all(panel, batches)
        assert (scores.fault == fault).all()
        if not fault:
            assert (scores.horizon.steps == last).all()
            assert scores.horizon.censored.all()
        reason = scores.axes["action_response"].reason
        assert (reason[:, last:] == Reason.NO_FRAME).all()
        assert not (reason[:, :last] == Reason.NO_FRAME).any()


def test_a_refused_batch_leaves_no_trace(scene):
    panel, truth = scene
    (whole,) = replay(panel, WORLD, truth, batch_size=64)
    scorer = Scorer(panel)
    with pytest.raises(ValueError, match="expected a reference"):
        scorer.update(replace(whole, model="other").without_reference())
    with pytest.raises(ValueError, match="labels"):
        scorer.update(replace(whole, labels=whole.labels.int() + 40_000))
    scorer.update(whole)
    assert scorer.compute().complete
    scorer.reset()
    batches = list(whole.split(9))
    scorer.update(batches[0])
    with pytest.raises(ValueError, match=r"rollouts\.info: expected \[\]"):
        scorer.update(replace(batches[1], info={"k": torch.zeros(9)}))


def test_float_frames_outside_their_range_are_an_evaluation_fault(scene):
    panel, truth = scene
    batches = []
    for rollouts in replay(panel, WORLD, truth):
        floats, reference = rollouts.frames.float() / 255, rollouts.reference.float() / 255
        floats[rollouts.seed == 0, 3:] = floats[rollouts.seed == 0, 3:] * 2 - 0.5
        batches.append(replace(rollouts, frames=floats, reference=reference))
    assert score_all(panel, batches).fault.tolist() == [Reason.OUT_OF_RANGE, 0] * 3


def test_a_flat_rollout_is_an_evaluation_fault(scene):
    panel, truth = scene
    batches = []
    for rollouts in replay(panel, WORLD, truth):
        frames = rollouts.frames.clone()
        frames[:, 1:] = 77
        batches.append(replace(rollouts, frames=frames))
    assert (score_all(panel, batches).fault == Reason.CONSTANT).all()


def test_frozen_and_action_blind_sit_at_the_floor_of_action_response(scene):
    for model in (Frozen(), ActionBlind(WORLD)):
        scores = score(scene, model)
        values = scores.axes["action_response"].values
        known = values[~values.isnan()]
        torch.testing.assert_close(known, torch.zeros_like(known))
        gain = scores.measures["gain"].values
        torch.testing.assert_close(gain[~gain.isnan()], torch.zeros_like(known))
        shares = scores.measures["controllability"].values
        shares = shares[~shares.isnan()]
        assert len(shares) > 0.9 * len(known)  # 0/0 where no-op happens to be right
        torch.testing.assert_close(shares, torch.zeros_like(shares))
        cosine = scores.measures["cosine"]
        assert (cosine.reason[~values.isnan()] == Reason.NO_GENERATED_RESPONSE).all()


def test_ranking_simulator_delayed_frozen(scene):
    delayed = faults.Faulty(WORLD, faults.DelayedActions(2))
    means = [
        torch.stack([curve.values.nanmean() for curve in score(scene, model).axes.values()])
        for model in (WORLD, delayed, Frozen())
    ]
    assert means[0].mean() > means[1].mean() > means[2].mean()


@pytest.mark.parametrize("fault", [faults.IdentitySwap(), faults.DelayedActions(2)])
def test_batch_size_order_and_splitting_do_not_matter(scene, fault):
    panel, truth = scene
    model = faults.Faulty(WORLD, fault, panel=panel)
    once = score(scene, model, batch_size=64)
    assert_same(score(scene, model, batch_size=1), once)
    (whole,) = replay(panel, model, truth, batch_size=64)
    shuffled = whole[torch.randperm(len(whole), generator=torch.Generator().manual_seed(1))]
    assert_same(score_all(panel, [shuffled]), once)
    assert_same(score_all(panel, shuffled.split(1)), once)
    assert_same(score_all(panel, shuffled.split(5)), once)


def test_action_response_pools_all_branches(scene):
    """Frames less their mean over the scripts, in numpy."""
    panel, truth = scene
    model = faults.Faulty(WORLD, faults.DelayedActions(2))
    scores = score(scene, model)
    (whole,) = replay(panel, model, truth, batch_size=64)
    for row, (scenario, seed) in enumerate(panel.rows()):
        group = whole[(whole.scenario == scenario) & (whole.seed == seed)]
        preds = group.frames[:, 1:].double().numpy().reshape(3, 16, -1)
        target = group.reference[group.reference_index][:, 1:].double().numpy().reshape(3, 16, -1)
        p, g = preds - preds.mean(0), target - target.mean(0)
        both, energy, reference = (p * g).sum((0, 2)), (p**2).sum((0, 2)), (g**2).sum((0, 2))
        # The mean squared difference of two scripts, over pairs of scripts and pixels.
        apart = sum(((target[k] - target[j]) ** 2).mean(1) for k, j in ((0, 1), (0, 2), (1, 2)))
        known = scores.measures["agreement"].reason[row] == 0
        assert known.tolist() == (apart / 3 >= 1 / 6).tolist()
        found = {name: scores.measures[name].values[row][known] for name in ("agreement", "gain")}
        wanted = torch.from_numpy(2 * both / (energy + reference))[known]
        torch.testing.assert_close(found["agreement"], wanted)
        score_there = scores.axes["action_response"].values[row][known]
        torch.testing.assert_close(score_there, wanted.clamp_min(0))
        torch.testing.assert_close(
            found["gain"], torch.from_numpy(energy / reference)[known].sqrt()
        )
        moves = known & torch.from_numpy(energy > 0)
        cosine = torch.from_numpy(both)[moves] / torch.from_numpy(energy * reference)[moves].sqrt()
        torch.testing.assert_close(scores.measures["cosine"].values[row][moves], cosine)


def test_groups_that_are_whole_are_not_held_back(scene):
    panel, truth = scene
    scorer = Scorer(panel)
    for rollouts in replay(panel, WORLD, truth, batch_size=1):
        scorer.update(rollouts)
        assert scorer._waiting is None
    (first, *_) = replay(panel, WORLD, truth, batch_size=2)
    scorer.reset()
    scorer.update(first[:4])
    assert len(scorer._waiting) == 1
    scorer.update(first[4:])
    assert scorer._waiting is None


def test_missing_and_repeated_rows_are_faults(scene):
    panel, truth = scene
    batches = list(replay(panel, WORLD, truth, batch_size=1))
    scores = score_all(panel, [*batches[1:], batches[2]])
    assert scores.fault.tolist() == [
        Reason.MISSING, 0, Reason.DUPLICATE_ROW, 0, 0, 0,
    ]  # fmt: skip
    assert scores.horizon.defined.tolist() == [False, True, False, True, True, True]
    assert (scores.axes["perceptual_drift"].reason[0] == Reason.MISSING).all()
    assert scores.axes["perceptual_drift"].values[0].isnan().all()


def test_a_group_without_its_branches_is_missing(scene):
    panel, truth = scene
    (whole,) = replay(panel, WORLD, truth, batch_size=64)
    scores = score_all(panel, [whole[whole.branch == 0]])
    assert (scores.fault == Reason.MISSING).all()


def test_nothing_at_all_is_all_missing(scene, tmp_path: Path):
    scores = Scorer(scene[0]).compute()
    assert (scores.fault == Reason.MISSING).all()
    assert not scores.horizon.defined.any()
    assert "missing" in str(scores.faults())
    assert scores.records()[0]["fault"] == "missing"
    scores.save(tmp_path / "s.safetensors")
    assert_same(Scores.load(tmp_path / "s.safetensors"), scores)


def test_without_labels_identity_is_undefined_with_a_reason(scene):
    panel, truth = scene
    batches = [replace(r, labels=None) for r in replay(panel, WORLD, truth)]
    scores = score_all(panel, batches)
    curve = scores.axes["identity_persistence"]
    assert curve.values.isnan().all()
    assert curve.undefined() == {"no_labels": curve.values.numel()}
    assert scores.identity is None
    assert not scores.horizon.axis_defined[1].any()
    # The axis is a gate of this panel: what cannot be judged by it has no horizon ...
    assert scores.faults() == {"no_labels": 6}
    assert not scores.horizon.defined.any()
    # ... unless the panel says that it gates nothing.
    data = panel.model_dump()
    data["axes"][1]["gate"] = False
    free = Panel.from_dict(data)
    fresh = render_truth(free, WORLD)
    scores = score_all(free, [replace(r, labels=None) for r in replay(free, WORLD, fresh)])
    assert scores.complete
    assert scores.horizon.censored.all()


def test_an_early_end_of_the_reference_is_no_fault(scene):
    panel, truth = scene
    valid = truth.valid.clone()
    valid[:, 10:] = False
    truth = replace(truth, valid=valid)
    batches = []
    for rollouts in replay(panel, WORLD, truth):
        ended = rollouts.valid.clone()
        ended[:, 10:] = False
        batches.append(replace(rollouts, valid=ended))
    scores = score_all(panel, batches)
    assert scores.complete
    assert scores.horizon.censored.all()
    assert (scores.horizon.steps == 9).all()
    assert scores.axes["perceptual_drift"].undefined() == {"no_frame": 6 * 7}


def test_what_does_not_belong_is_refused(scene):
    panel, truth = scene
    (first, *_) = replay(panel, WORLD, truth, batch_size=2)
    scorer = Scorer(panel)
    with pytest.raises(PanelMismatchError, match="made for panel"):
        scorer.update(replace(first, panel="other"))
    with pytest.raises(ValueError, match="expected a reference"):
        scorer.update(first.without_reference())
    with pytest.raises(ValueError, match=r"seed: \[99\] not in the panel"):
        scorer.update(replace(first, seed=first.seed * 0 + 99))
    with pytest.raises(ValueError, match=r"scenario: expected 0\.\.2"):
        scorer.update(replace(first, scenario=first.scenario + 3))
    with pytest.raises(ValueError, match="branch"):
        scorer.update(replace(first, branch=first.branch + 3))
    scorer.reset()
    scorer.update(first)
    with pytest.raises(ValueError, match="use one Scorer per model"):
        scorer.update(replace(first, model="other"))


def test_scores_survive_the_file(scene, tmp_path: Path):
    scores = score(scene, faults.Faulty(WORLD, faults.IdentitySwap()))
    scores.save(tmp_path / "s.safetensors")
    again = Scores.load(tmp_path / "s.safetensors", scene[0])
    assert_same(again, scores)
    assert again.records() == scores.records()
    assert again.measures["psnr"].unit == "dB"
    other = sprite_panel(scenarios=1)
    with pytest.raises(PanelMismatchError, match=r"contract\.horizon"):
        Scores.load(tmp_path / "s.safetensors", other)


def test_the_table_names_scenarios_axes_and_what_is_undefined(scene):
    panel, truth = scene
    text = score_all(panel, [replace(r, labels=None) for r in replay(panel, WORLD, truth)]).table()
    assert "scene-2" in text
    assert "perceptual_drift" in text
    assert "evaluation faults: {'no_labels': 6}" in text
    assert ">=16" in score_all(panel, replay(panel, WORLD, truth)).table()
    assert "no label maps were given" in text


def test_an_ungated_axis_ends_no_horizon(scene):
    panel, _ = scene
    data = panel.model_dump()
    for spec in data["axes"]:
        spec["gate"] = spec["axis"] != "action_response"
        spec["threshold"] = 0.0 if spec["axis"] != "action_response" else 0.5
    free = Panel.from_dict(data)
    truth = render_truth(free, WORLD)
    scores = score((free, truth), Frozen())
    assert scores.horizon.censored.all()
    assert not scores.horizon.axis_censored[2].any()
