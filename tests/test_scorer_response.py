"""Action response in the scorer: every measure, known faults, and what must not matter."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.panels import NAMES, sprite_panel
from wmscore import functional as F
from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.replay import freeze_panel, render_truth, replay
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.testing import faults
from wmscore.worlds import ActionBlind, Frozen, WorldModel
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=48, width=48)
Scene = tuple[Panel, Rollouts]


class PatchMeans:
    """Mean colours of 8 x 8 patches."""

    name = "patch-means"

    def chunk_frames(self, frames: Tensor) -> int:
        return 7

    def encode(self, frames: Tensor) -> list[Tensor]:
        means = torch.nn.functional.avg_pool2d(frames.double() / 255, 8)
        return [means.flatten(1)[:, :, None, None]]


def make_scene(panel: Panel) -> Scene:
    return freeze_panel(panel, render_truth(panel, WORLD), fps=10)


def axis(measure: str = "agreement", **more: object) -> list[dict[str, Any]]:
    return [{"axis": "action_response", "threshold": 0.3, "measure": measure, **more}]


def with_measure(scene: Scene, measure: str, **more: object) -> Scene:
    """The same rollouts under a panel with another measure."""
    data = scene[0].model_dump()
    data["axes"] = axis(measure, **more)
    panel = Panel.from_dict(data)
    return panel, replace(scene[1], panel=panel.fingerprint)


def score(scene: Scene, model: WorldModel, **options: Any) -> Scores:
    return score_all(scene[0], list(replay(scene[0], model, scene[1], batch_size=64)), **options)


def score_all(panel: Panel, batches: list[Rollouts], **options: Any) -> Scores:
    scorer = Scorer(panel, **options)
    for rollouts in batches:
        scorer.update(rollouts)
    return scorer.compute()


def flat(value: object, name: str) -> dict[str, Tensor]:
    if value is None or isinstance(value, Tensor):
        return {} if value is None else {name: value}
    if isinstance(value, dict):
        parts = value
    else:
        names = [f.name for f in fields(value)] if is_dataclass(value) else value._fields
        parts = {part: getattr(value, part) for part in names}
    return {k: v for n, part in parts.items() for k, v in flat(part, f"{name}.{n}").items()}


def tensors(scores: Scores) -> dict[str, Tensor]:
    found = {"fault": scores.fault}
    for group in ("axes", "measures"):
        for name, curve in getattr(scores, group).items():
            found |= {f"{name}.values": curve.values, f"{name}.reason": curve.reason}
    for part in ("horizon", "actions", "chance"):
        found |= flat(getattr(scores, part), part)
    return found


def assert_same(a: Scores, b: Scores) -> None:
    mine, theirs = tensors(a), tensors(b)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        torch.testing.assert_close(
            value, theirs[name], rtol=0, atol=0, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
        )


def response(scores: Scores) -> Tensor:
    values = scores.axes["action_response"].values
    return values[~values.isnan()]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(sprite_panel(scenarios=8, seeds=1, horizon=16, axes=axis()))


@pytest.fixture(scope="module")
def uneven() -> Scene:
    """Scenarios of 2, 3 and 5 scripts, two seeds."""
    data = sprite_panel(scenarios=3, seeds=2, horizon=12, axes=axis()).model_dump()
    data["scenarios"][0]["branches"] = data["scenarios"][0]["branches"][1:]
    for name in ("left", "up"):
        branch = {"name": name, "actions": [name], "then": "hold"}
        data["scenarios"][2]["branches"] = [*data["scenarios"][2]["branches"], branch]
    panel = Panel.from_dict(data)
    assert [len(s.scripts) for s in panel.scenarios] == [2, 3, 5]
    return make_scene(panel)


# ---- measures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "measure",
    ["agreement", "agreement_windowed", "agreement_aligned", "script_match", "motion"],
)
def test_every_measure_ranks_true_late_and_blind(scene, measure):
    under = with_measure(scene, measure)
    late = faults.Faulty(WORLD, faults.DelayedActions(2))
    true, delayed, frozen = (score(under, model) for model in (WORLD, late, Frozen()))
    torch.testing.assert_close(response(true), torch.ones_like(response(true)))
    assert true.complete
    assert true.horizon.censored.all()
    assert 0 < response(delayed).mean() < 0.9
    torch.testing.assert_close(response(frozen), torch.zeros_like(response(frozen)))
    assert len(response(frozen)) == len(response(true))
    curve = true.axes["action_response"]
    assert (curve.values.isnan() == (curve.reason != 0)).all()
    raw = delayed.measures[measure]
    assert (
        raw.values.clamp_min(0)
        .nan_to_num(-1)
        .equal(delayed.axes["action_response"].values.nan_to_num(-1))
    )
    suffix = measure.removeprefix("agreement") if measure.startswith("agreement_") else ""
    names = {"agreement", "cosine", "gain", "leak", "script_match", "motion", "delta_psnr"}
    names |= {f"{n}{suffix}" for n in ("agreement", "cosine", "gain", "leak")}
    assert names <= set(delayed.measures)


def test_windows_and_features_are_those_of_the_functions(uneven):
    """Row by row, without a scorer."""
    panel, truth = with_measure(uneven, "agreement_windowed")
    model = faults.Faulty(WORLD, faults.DelayedActions(2))
    scores = score((panel, truth), model)
    (whole,) = replay(panel, model, truth, batch_size=64)
    encoded = with_measure(uneven, "agreement_features", encoder="patch-means")
    features = score(encoded, model, encoder=PatchMeans())
    for row, (scenario, seed) in enumerate(panel.rows()):
        group = whole[(whole.scenario == scenario) & (whole.seed == seed)]
        assert group.branch.tolist() == list(range(len(panel.scenarios[scenario].scripts)))
        preds = group.frames[None, :, 1:]
        target = group.reference[group.reference_index][None, :, 1:]
        wanted = {
            "agreement": F.script_response(F.script_products(preds, target)).agreement,
            "script_match": F.script_match(F.script_products(preds, target)).match,
            "agreement_windowed": F.windowed_response(
                preds[0], target[0], **dict.fromkeys(("preds_rows", "target_rows"), own_rows(preds))
            ).agreement,
        }
        for name, values in wanted.items():
            torch.testing.assert_close(
                scores.measures[name].values[row], values[0], rtol=0, atol=0, equal_nan=True
            )
        p, g = (F.embed(v[0], PatchMeans())[None, :, :, None, None] for v in (preds, target))
        found = F.script_response(F.script_products(p, g), min_response=0.0)
        torch.testing.assert_close(
            features.measures["agreement_features"].values[row],
            found.agreement[0],
            equal_nan=True,
        )
    assert not features.measures["agreement_features"].values.isnan().all()


def own_rows(frames: Tensor) -> Tensor:
    return torch.arange(frames.shape[1])[None]


def test_a_common_displacement_is_forgiven_only_where_it_is_aligned(scene):
    late = []
    for rollouts in replay(*[scene[0], WORLD, scene[1]], batch_size=64):
        frames = rollouts.frames.clone()
        frames[:, 1:] = frames[:, 1:].roll((3, -2), (-2, -1))
        late.append(replace(rollouts, frames=frames))
    plain = score_all(scene[0], late)
    panel, _ = with_measure(scene, "agreement_aligned")
    aligned = score_all(panel, [replace(r, panel=panel.fingerprint) for r in late])
    assert response(aligned).mean() > 0.9
    assert response(plain).mean() < response(aligned).mean() - 0.2
    assert (
        aligned.measures["agreement"]
        .values.nan_to_num(-2)
        .equal(plain.measures["agreement"].values.nan_to_num(-2))
    )


def test_motion_needs_no_branches():
    data = sprite_panel(scenarios=8, seeds=1, horizon=14, axes=axis("motion")).model_dump()
    data["scenarios"] = [{**s, "branches": []} for s in data["scenarios"]]
    alone = make_scene(Panel.from_dict(data))
    mirrored = faults.Faulty(WORLD, faults.MirroredActions())
    late = faults.Faulty(WORLD, faults.DelayedActions(2))
    true, wrong, delayed = (score(alone, model) for model in (WORLD, mirrored, late))
    assert true.complete
    torch.testing.assert_close(response(true), torch.ones_like(response(true)))
    assert response(wrong).mean() < response(delayed).mean() < 0.9
    assert (true.measures["agreement"].reason == Reason.NO_BRANCH).all()
    assert true.chance.p_value.isnan()
    lag = delayed.actions.latency.excess
    assert lag.pooled.lag == 2
    assert lag.pooled.reason == Reason.DEFINED
    assert true.actions.recovery.score > 0.8


# ---- what must not matter --------------------------------------------------------------------


@pytest.mark.parametrize("fault", [faults.DelayedActions(2), faults.HalfGain()])
def test_batch_size_order_and_splitting_do_not_matter(uneven, fault):
    panel, truth = uneven
    model = faults.Faulty(WORLD, fault)
    (whole,) = replay(panel, model, truth, batch_size=64)
    once = score_all(panel, [whole])
    assert once.actions is not None
    assert "actions.recovery.per_row.score" in tensors(once)
    shuffled = whole[torch.randperm(len(whole), generator=torch.Generator().manual_seed(1))]
    for batches in (
        list(replay(panel, model, truth, batch_size=1)),
        [shuffled],
        list(shuffled.split(1)),
        list(shuffled.split(7)),
    ):
        assert_same(score_all(panel, batches), once)


def test_groups_of_different_sizes_are_as_if_alone(uneven):
    panel, truth = uneven
    model = faults.Faulty(WORLD, faults.DelayedActions(1))
    (whole,) = replay(panel, model, truth, batch_size=64)
    together = score_all(panel, [whole])
    assert together.complete
    for s in range(3):
        alone = score_all(panel, [whole[whole.scenario == s]])
        rows = slice(2 * s, 2 * s + 2)
        for name, curve in together.measures.items():
            mine, other = curve.values[rows], alone.measures[name].values[rows]
            torch.testing.assert_close(mine, other, rtol=0, atol=0, equal_nan=True, msg=name)
    # Of two scripts only a random one, of five all four others count.
    few = together.measures["delta_psnr_error"].reason
    assert (few[:2] != 0).all()
    assert (few[4:] == 0).any()
    assert (together.measures["delta_psnr_noop"].reason[:2] == Reason.NO_BRANCH).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float_frames_score_as_their_bytes(uneven, dtype):
    panel, truth = uneven
    model = faults.Faulty(WORLD, faults.DelayedActions(2))
    (whole,) = replay(panel, model, truth, batch_size=64)
    bytes_, floats = score_all(panel, [whole]), score_all(panel, [as_float(whole, dtype)])
    assert floats.complete
    for name in ("agreement", "cosine", "gain", "script_match", "motion", "flow_agreement"):
        a, b = (s.measures[name].values for s in (bytes_, floats))
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4, equal_nan=True, msg=name)
    excess = [s.actions.latency.excess.pooled for s in (bytes_, floats)]
    assert excess[0].lag.equal(excess[1].lag)
    assert bytes_.actions.recovery.confusion.equal(floats.actions.recovery.confusion)


def as_float(rollouts: Rollouts, dtype: torch.dtype = torch.float32) -> Rollouts:
    frames, reference = rollouts.frames.to(dtype) / 255, rollouts.reference.to(dtype) / 255
    return replace(rollouts, frames=frames, reference=reference)


# ---- faults of the evaluation ----------------------------------------------------------------


def test_references_that_begin_apart_are_a_fault(scene):
    panel, truth = scene
    (whole,) = replay(panel, WORLD, truth, batch_size=64)
    hit = (whole.scenario == 3) & (whole.branch == 1)
    reference, frames = whole.reference.clone(), whole.frames.clone()
    place = whole.reference_index[hit]
    reference[place, 0, :, 5, 5] ^= 1  # by one grey level in one pixel
    frames[hit, 0] = reference[place, 0]  # the model was given what it was given
    scores = score_all(panel, [replace(whole, reference=reference, frames=frames)])
    wanted = torch.zeros(8, dtype=torch.uint8)
    wanted[3] = int(Reason.BRANCH_APART)
    assert scores.fault.equal(wanted)
    assert scores.horizon.defined.tolist() == [row != 3 for row in range(8)]
    assert scores.faults() == {"branch_apart": 1}
    for name in ("agreement", "cosine", "gain", "leak", "script_match", "delta_psnr"):
        curve = scores.measures[name]
        assert (curve.reason[3] == Reason.BRANCH_APART).all(), name
        assert curve.values[3].isnan().all()
        assert not (curve.reason[:3] == Reason.BRANCH_APART).any()
    assert scores.chance.scenarios == 7
    assert not (scores.measures["motion"].reason == Reason.BRANCH_APART).any()


def test_rows_that_never_arrived_say_nothing_of_actions(scene):
    panel, truth = scene
    late = faults.Faulty(WORLD, faults.DelayedActions(1))
    (whole,) = replay(panel, late, truth, batch_size=64)
    some = score_all(panel, [whole[whole.scenario != 2]])
    assert some.faults() == {"missing": 1}
    assert some.actions.recovery.unrecognised.sum() == 0
    assert some.actions.recovery.confusion.sum() == 7 * 3 * 16
    assert some.actions.latency.excess.pooled.lag == 1
    assert some.actions.recovery.per_row.score[6:9].isnan().all()
    line = some.records()[2]
    assert line["latency_steps"] == line["actions_recovered"] == ""
    assert line["latency_reason"] == "too_few_steps"


def test_a_branch_that_ends_is_not_a_missed_action(scene):
    panel, truth = scene
    (whole,) = replay(panel, WORLD, truth, batch_size=64)
    valid = whole.valid.clone()
    valid[whole.branch == 2, 11:] = False
    scores = score_all(panel, [replace(whole, valid=valid)])
    assert scores.actions.recovery.unrecognised.sum() == 0
    assert scores.actions.recovery.confusion.sum() == 8 * (16 + 16 + 10)
    assert scores.actions.recovered.value > 0.9


class Shares(PatchMeans):
    """Mean colours relative to the brightest: 0 / 0 for a black frame."""

    name = "shares"

    def encode(self, frames: Tensor) -> list[Tensor]:
        (means,) = super().encode(frames)
        return [means / means.amax(1, keepdim=True)]


def test_features_that_are_not_finite_are_a_fault_and_no_passed_gate(scene):
    panel, truth = with_measure(scene, "agreement_features", encoder="shares")
    (whole,) = replay(panel, WORLD, truth, batch_size=64)
    frames = whole.frames.clone()
    frames[(whole.scenario == 2) & (whole.branch == 1), 5:] = 0
    scores = score_all(panel, [replace(whole, frames=frames)], encoder=Shares())
    assert scores.faults() == {"non_finite_features": 1}
    curve = scores.axes["action_response"]
    assert (curve.reason[2, 4:] == Reason.NON_FINITE_FEATURES).all()
    assert curve.values[2, 4:].isnan().all()
    assert not (curve.reason[2, :4] == Reason.NON_FINITE_FEATURES).any()
    assert (scores.measures["agreement"].reason[2] != Reason.NON_FINITE).all()


# ---- known models ----------------------------------------------------------------------------


class Noise:
    """Frames that have nothing to do with one another."""

    name = "noise"

    def __init__(self) -> None:
        self.capabilities = WORLD.capabilities

    def rollout(self, items: Any, horizon: int) -> Rollouts:
        truth = WORLD.rollout(items, horizon)
        frames = truth.frames.clone()
        for i, item in enumerate(items):
            seed = item.scenario * 100 + item.branch
            generator = torch.Generator().manual_seed(seed)
            shape = frames[i, 1:].shape
            draw = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
            frames[i, 1:] = draw
        return replace(truth, frames=frames, model=self.name)


def test_frames_too_small_for_motion_pass_no_gate(scene):
    panel, truth = with_measure(scene, "motion")
    rollouts = next(iter(replay(panel, WORLD, truth, batch_size=64)))
    data = panel.model_dump()
    data["contract"]["observation"] |= {"height": 6}
    panel = Panel.from_dict(data)
    small = replace(
        rollouts,
        panel=panel.fingerprint,
        frames=rollouts.frames[..., :6, :].contiguous(),
        labels=None,
        reference=rollouts.reference[..., :6, :].contiguous(),
        reference_labels=None,
    )
    scores = score_all(panel, [small])
    assert (scores.axes["action_response"].reason == Reason.TOO_SMALL).all()
    assert (scores.fault == Reason.TOO_SMALL).all()


def test_noise_has_no_motion_and_scores_nothing(scene):
    under = with_measure(scene, "motion")
    noise, true = score(under, Noise()), score(under, WORLD)
    assert noise.complete
    # The reference's motion is known at those steps, so that the score is: it is 0.
    reason = noise.axes["action_response"].reason
    assert reason.equal(true.axes["action_response"].reason)
    assert (reason == 0).float().mean() > 0.5
    torch.testing.assert_close(response(noise), torch.zeros_like(response(noise)), atol=0.1, rtol=0)
    assert (response(noise) == 0).float().mean() > 0.9
    assert noise.actions.recovered.value < 0.2
    assert noise.actions.latency.excess.pooled.lag.isnan()
    assert not noise.horizon.censored.any()


def test_blind_and_shuffled_models_sit_at_the_floor(scene):
    for model in (Frozen(), ActionBlind(WORLD)):
        scores = score(scene, model)
        torch.testing.assert_close(response(scores), torch.zeros_like(response(scores)))
        assert scores.chance.p_value == 1
        assert scores.chance.agreement == 0
        lag = scores.actions.latency.excess
        assert lag.pooled.reason == Reason.NO_GENERATED_RESPONSE
        assert lag.rollouts.lag.isnan().all()
        assert scores.actions.recovery.score < 0.1
    deranged = score(scene, faults.Faulty(WORLD, faults.ShuffledScripts(), panel=scene[0]))
    assert (response(deranged) == 0).all()
    # Of three scripts none is its own: each step is -1 / (3 - 1).
    known = deranged.measures["agreement"].values
    torch.testing.assert_close(known.nanmean().item(), -0.5, atol=0.05, rtol=0)
    assert deranged.chance.p_value > 0.95
    # Never to have the right script is to know it: only dealt at random it is worth nothing.
    lag = deranged.actions.latency.excess.pooled
    assert lag.polarity == -1
    assert abs(lag.gain + 0.5) < 0.1
    fault = faults.ShuffledScripts(derange=False)
    random = score(scene, faults.Faulty(WORLD, fault, panel=scene[0]))
    assert random.chance.p_value > 0.05
    assert abs(random.chance.agreement) < 0.5
    lag = random.actions.latency.excess.pooled
    assert lag.lag.isnan()
    assert lag.reason == Reason.NO_LAG


def test_a_delay_is_found_in_every_row_whose_script_varies(scene):
    scores = score(scene, faults.Faulty(WORLD, faults.DelayedActions(2)))
    found = scores.actions.latency
    excited = torch.tensor([True, False, True]).repeat(8)  # commanded, no-op, random
    rows = found.excess.rollouts
    assert (rows.lag[excited] == 2).all()
    assert (rows.polarity[excited] == 1).all()
    assert (rows.reason[~excited] == Reason.NO_EXCITATION).all()
    assert found.excess.pooled.lag == 2
    assert found.excess.pooled.p_value < 0.05
    assert abs(found.excess.pooled.gain - 1) < 0.1
    assert found.generated.pooled.lag == found.reference.pooled.lag + 2
    assert scores.chance.p_value < 0.01


def test_mirrored_and_half(scene):
    scores = score(scene, faults.Faulty(WORLD, faults.MirroredActions()))
    lag = scores.actions.latency.excess
    assert lag.pooled.lag == 0
    assert lag.pooled.polarity == -1
    assert (lag.rollouts.polarity[0::3] == -1).all()
    assert abs(lag.pooled.gain + 1) < 0.1
    opposite = [NAMES.index(n) for n in ("right", "left", "down", "up")]
    assert scores.actions.effects.confused_with.tolist() == [-1, *opposite]
    half = score(scene, faults.Faulty(WORLD, faults.ScaledActions(0.5)))
    lag = half.actions.latency.excess.pooled
    assert (lag.lag, lag.polarity) == (0, 1)
    assert abs(lag.gain - 0.5) < 0.05
    moving = NAMES[1:]
    assert half.actions.motion.ratio[1:].sub(0.5).abs().max() < 0.2, moving
    gains = [s.measures["motion_ratio"].values.nanmean() for s in (half, scores)]
    assert gains[0] < 0.8 < gains[1]


def test_the_true_world_is_perfect(scene):
    scores = score(scene, WORLD)
    assert scores.chance.agreement == 1
    assert scores.chance.p_value < 0.001
    assert scores.chance.scenarios == 8
    assert (scores.actions.latency.excess.rollouts.lag[0::3] == 0).all()
    assert scores.actions.recovered.value == 1
    assert scores.actions.recovery.score > 0.8
    for name in ("cosine", "gain", "script_match", "motion", "flow_agreement"):
        values = scores.measures[name].values
        known = values[~values.isnan()]
        assert len(known) > 60
        torch.testing.assert_close(known, torch.ones_like(known), msg=name)
    leak = scores.measures["leak"].values
    assert leak[~leak.isnan()].abs().max() < 0.01
