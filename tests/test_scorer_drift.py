"""Drift in the Scorer: LPIPS, encoders, latents, and the skill between frozen and the oracle."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.panels import sprite_panel
from wmscore import functional as F
from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.networks import LpipsNetwork, ModuleEncoder
from wmscore.replay import freeze_panel, render_truth, replay, replay_teacher_forced
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.testing import faults
from wmscore.worlds import Frozen, OtherSeed, WorldModel
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=48, width=48)
DELAYED = faults.Faulty(WORLD, faults.DelayedActions(2))


class Luma:
    """A tiny encoder: brightness on a grid of 8 x 8 cells; counts what it is asked for."""

    name = "luma-8x8"

    def __init__(self) -> None:
        self.frames = 0

    def chunk_frames(self, frames: Tensor) -> int:
        return 7

    def encode(self, frames: Tensor) -> list[Tensor]:
        self.frames += len(frames)
        grey = frames.double().mean(1, keepdim=True) / 255
        cells = torch.nn.functional.adaptive_avg_pool2d(grey, 8)
        return [cells.reshape(len(frames), 64, 1, 1)]


def panel_of(measure: str = "haarpsi", **spec: object) -> Panel:
    axes = [{"axis": "perceptual_drift", "threshold": 0.6, "measure": measure, **spec}]
    return sprite_panel(scenarios=2, seeds=3, horizon=6, axes=axes)


def replayed(panel: Panel, model: WorldModel = DELAYED) -> tuple[Panel, list[Rollouts]]:
    panel, truth = freeze_panel(panel, render_truth(panel, WORLD), fps=10)
    return panel, list(replay(panel, model, truth, batch_size=6))


def score(panel: Panel, rollouts: list[Rollouts], **networks: object) -> Scores:
    scorer = Scorer(panel, **networks)
    for batch in rollouts:
        scorer.update(batch)
    return scorer.compute()


def commanded(rollouts: list[Rollouts]) -> tuple[Tensor, Tensor]:
    whole = Rollouts.concat(rollouts)
    whole = whole[whole.branch == 0]
    whole = whole[(whole.scenario * 10 + whole.seed).argsort()]
    return whole.frames, whole.reference[whole.reference_index]


# ---- LPIPS -------------------------------------------------------------------------------


def test_lpips_is_the_score_that_the_panel_chose():
    network = LpipsNetwork.random("alex", seed=0)
    panel, rollouts = replayed(panel_of("lpips_alex"))
    scores = score(panel, rollouts, lpips=network)
    frames, target = (x[:, 1:] for x in commanded(rollouts))
    expected = F.lpips(frames, target, network)
    torch.testing.assert_close(scores.measures["lpips_alex"].values, expected, rtol=1e-5, atol=1e-7)
    found = scores.axes["perceptual_drift"].values
    torch.testing.assert_close(found, (1 - expected).clamp_min(0), rtol=1e-5, atol=1e-6)
    assert expected.max() > 0.01
    assert scores.measures["lpips_alex"].higher_is_better is False
    assert {"haarpsi_full", "ssim", "psnr"} <= scores.measures.keys()
    recorded = " ".join(scores.provenance.values())
    assert network.fingerprint in recorded
    assert all(checksum in recorded for checksum in network.checksums.values())


def test_lpips_of_a_panel_is_the_published_one():
    panel, _ = replayed(panel_of("lpips_alex"))
    for network in (
        LpipsNetwork.random("alex", version="0.0"),
        LpipsNetwork.random("alex", linear=False),
    ):
        with pytest.raises(ValueError, match=r"version 0\.1 with its heads; got 'lpips_alex-v0"):
            Scorer(panel, lpips=network)


def test_lpips_is_not_ignored_where_nothing_measures_it():
    panel = sprite_panel(axes=[{"axis": "identity_persistence", "threshold": 0.9}])
    with pytest.raises(ValueError, match="lpips: the panel has no axis perceptual_drift"):
        Scorer(panel, lpips=LpipsNetwork.random("alex"))


def test_lpips_stands_beside_another_measure_where_a_network_is_given():
    panel, rollouts = replayed(panel_of())
    plain = score(panel, rollouts)
    both = score(panel, rollouts, lpips=LpipsNetwork.random("squeeze", seed=1))
    assert "lpips_squeeze" not in plain.measures
    assert both.measures["lpips_squeeze"].values.isfinite().all()
    torch.testing.assert_close(
        both.axes["perceptual_drift"].values, plain.axes["perceptual_drift"].values
    )


def test_the_panel_says_which_network(tmp_path, monkeypatch):
    panel, _ = replayed(panel_of("lpips_vgg"))
    with pytest.raises(ValueError, match=r"lpips: the panel's measure is 'lpips_vgg'.*lpips_alex"):
        Scorer(panel, lpips=LpipsNetwork.random("alex", seed=0))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match="vgg16"):
        Scorer(panel)


def test_frames_below_a_networks_size_are_an_evaluation_fault():
    small = SpriteWorld(height=20, width=20)
    axes = [{"axis": "perceptual_drift", "threshold": 0.6, "measure": "lpips_alex"}]
    panel = sprite_panel(scenarios=2, seeds=3, horizon=6, size=20, axes=axes)
    panel, truth = freeze_panel(panel, render_truth(panel, small), fps=10)
    rollouts = list(replay(panel, Frozen(), truth, batch_size=6))
    scores = score(panel, rollouts, lpips=LpipsNetwork.random("alex", seed=0))
    assert (scores.measures["lpips_alex"].reason == int(Reason.TOO_SMALL)).all()
    assert scores.faults() == {"too_small": len(scores)}


# ---- encoders ----------------------------------------------------------------------------


def test_an_encoder_is_asked_once_for_a_shared_reference():
    encoder = Luma()
    panel, rollouts = replayed(panel_of("feature_cosine", encoder="luma-8x8"))
    scores = score(panel, rollouts, encoder=encoder)
    frames, target = (x[:, 1:] for x in commanded(rollouts))
    cells = [Luma().encode(x.flatten(0, 1))[0].flatten(1) for x in (frames, target)]
    expected = 1 - torch.nn.functional.cosine_similarity(*cells).unflatten(0, (6, 6))
    found = scores.measures["feature_cosine"].values
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert found.max() > 1e-4
    steps = panel.contract.horizon
    # 2 scenarios x 3 seeds and 2 references for the distance, the former once more, with the
    # given frame, for how alike they stay.
    assert encoder.frames == (2 * 3 + 2) * steps + 2 * 3 * (steps + 1)
    z = Luma().encode(commanded(rollouts)[0].flatten(0, 1))[0].flatten(1).unflatten(0, (6, 7))
    alike = torch.nn.functional.cosine_similarity(z[:, 1:], z[:, :1], dim=-1)
    torch.testing.assert_close(scores.measures["similarity_first"].values, alike)
    apart = torch.nn.functional.cosine_similarity(z[:, 4:], z[:, :3], dim=-1).mean(1)
    torch.testing.assert_close(scores.measures["similarity_lag"].values[:, 3], apart)


def test_an_encoder_must_be_the_panels():
    panel, _ = replayed(panel_of("feature_cosine", encoder="dinov2"))
    with pytest.raises(ValueError, match=r"needs the encoder 'dinov2'; pass it as Scorer"):
        Scorer(panel)
    with pytest.raises(ValueError, match="asks for 'dinov2', got 'luma-8x8'"):
        Scorer(panel, encoder=Luma())
    with pytest.raises(ValueError, match="encoder: expected the name of the encoder"):
        panel_of("feature_cosine")
    with pytest.raises(ValueError, match="encoder: expected the name of the encoder"):
        panel_of("haarpsi", encoder="dinov2")
    marked = Luma()
    marked.fingerprint = "abcdef"
    panel, _ = replayed(panel_of("feature_cosine", encoder="luma-8x8#abc"))
    Scorer(panel, encoder=marked)
    with pytest.raises(ValueError, match="'luma-8x8#abc', got 'luma-8x8' with the fingerprint 'un"):
        Scorer(panel, encoder=Luma())


def test_frames_below_an_encoders_size_are_undefined():
    module = torch.nn.Conv2d(3, 4, 3).eval()
    encoder = ModuleEncoder(module, name="conv", min_size=64)
    panel, rollouts = replayed(panel_of())
    curve = score(panel, rollouts, encoder=encoder).measures["feature_cosine"]
    assert (curve.reason == int(Reason.TOO_SMALL)).all()


# ---- skill -------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ["haarpsi", "flip"])
def test_skill_is_0_for_frozen_and_1_for_the_world(measure):
    panel = panel_of(measure, score="skill")
    frozen = score(*replayed(panel, Frozen()))
    world = score(*replayed(panel, WORLD))
    delayed = score(*replayed(panel, DELAYED))
    name = next(n for n in frozen.measures if n.startswith("skill_"))
    known = frozen.axes["perceptual_drift"].reason == 0
    assert known.any()
    zero = frozen.measures[name].values[known]
    torch.testing.assert_close(zero, torch.zeros_like(zero), rtol=0, atol=1e-12)
    assert (world.axes["perceptual_drift"].values[known] == 1).all()
    assert (world.axes["perceptual_drift"].reason[~known] == int(Reason.NO_HEADROOM)).all()
    raw = name.removeprefix("skill_")
    d, floor = (
        x.measures[raw].values if measure == "flip" else 1 - x.measures[raw].values
        for x in (delayed, frozen)
    )
    expected = ((floor - d) / floor)[known]
    torch.testing.assert_close(delayed.measures[name].values[known], expected)
    assert frozen.provenance["oracle"].startswith("none given")


def test_skill_is_measured_against_the_oracle_that_is_given():
    """A world with chance: its re-run is far from the reference, and frozen further."""
    panel = Panel.packaged("sprites")
    axes = [{"axis": "perceptual_drift", "threshold": 0.5, "score": "skill"}]
    some = {"scenarios": panel.scenarios[:2], "seeds": (0, 1, 2), "axes": axes}
    panel = Panel.from_dict({**panel.model_dump(), **some})
    world = SpriteWorld(height=64, width=64)
    panel, truth = freeze_panel(panel, render_truth(panel, world), fps=10)

    def batches(model: WorldModel) -> list[Rollouts]:
        return list(replay(panel, model, truth, batch_size=6))

    oracle = score(panel, batches(OtherSeed(world)))
    models = {"frozen": Frozen(), "delayed": faults.Faulty(world, faults.DelayedActions(2))}
    found = {name: score(panel, batches(model), oracle=oracle) for name, model in models.items()}
    name = next(n for n in oracle.measures if n.startswith("skill_"))
    raw = name.removeprefix("skill_")
    near, floor = (1 - x.measures[raw].values for x in (oracle, found["frozen"]))
    ceiling = near.reshape(2, 3, -1).mean(1).repeat_interleave(3, 0)
    assert ceiling.mean() > 0.1
    for scores in found.values():
        skill = scores.measures[name].values
        expected = (floor - (1 - scores.measures[raw].values)) / (floor - ceiling)
        known = ~skill.isnan()
        torch.testing.assert_close(skill[known], expected[known])
        assert (~known).equal(~(floor - ceiling >= 0.01))
        assert known.double().mean() > 0.8
        assert scores.provenance["oracle"] == oracle.model == "other-seed"
        values = scores.axes["perceptual_drift"].values
        assert ((values >= 0) & (values <= 1) | values.isnan()).all()
    frozen = found["frozen"].measures[name].values
    torch.testing.assert_close(frozen.nan_to_num(), torch.zeros_like(frozen), rtol=0, atol=1e-12)


def test_one_step_predictions_are_measured_against_the_frame_before():
    panel = panel_of(score="skill")
    panel, truth = freeze_panel(panel, render_truth(panel, WORLD), fps=10)
    forced = list(replay_teacher_forced(panel, Frozen(), truth, batch_size=6))
    scores = score(panel, forced)
    name = next(n for n in scores.measures if n.startswith("skill_"))
    known = scores.measures[name].reason == 0
    assert known.any()
    zero = scores.measures[name].values[known]
    torch.testing.assert_close(zero, torch.zeros_like(zero), rtol=0, atol=1e-12)


def test_an_oracle_by_another_network_is_refused():
    panel, rollouts = replayed(panel_of("feature_cosine", encoder="luma-8x8", score="skill"))
    first, second = Luma(), Luma()
    first.fingerprint, second.fingerprint = "aa", "bb"
    oracle = score(panel, rollouts, encoder=first)
    with pytest.raises(ValueError, match="was scored with another encoder"):
        Scorer(panel, encoder=second, oracle=oracle)
    Scorer(panel, encoder=first, oracle=oracle)


def test_an_oracle_without_the_measure_is_refused():
    panel, rollouts = replayed(panel_of("lpips_alex", score="skill"))
    network = LpipsNetwork.random("alex", seed=0)
    oracle = score(panel, rollouts, lpips=network)
    del oracle.measures["lpips_alex"]
    with pytest.raises(ValueError, match=r"oracle: 'delayed.*' has no defined 'lpips_alex'"):
        score(panel, rollouts, lpips=network, oracle=oracle)


def test_rows_with_faults_are_no_oracle():
    panel, rollouts = replayed(panel_of(score="skill"), WORLD)
    for r in rollouts:
        r.frames[r.seed == 1, 1:] = 7
    oracle = score(panel, rollouts)
    assert oracle.faults() == {"constant": 2}
    _, delayed = replayed(panel_of(score="skill"))
    with_it, alone = score(panel, delayed, oracle=oracle), score(panel, delayed)
    for name, curve in alone.axes.items():
        torch.testing.assert_close(with_it.axes[name].values, curve.values, equal_nan=True)


def test_only_distances_to_the_reference_have_a_skill():
    axes = [{"axis": "identity_persistence", "threshold": 0.5, "score": "skill"}]
    with pytest.raises(ValueError, match="score: only perceptual_drift and latent_drift"):
        sprite_panel(axes=axes)


# ---- latents -----------------------------------------------------------------------------


def with_latents(rollouts: list[Rollouts]) -> list[Rollouts]:
    """Latents of a model whose encoder is `Luma`, with its own view of the reference."""

    def encoded(frames: Tensor) -> Tensor:
        cells = Luma().encode(frames.flatten(0, 1))[0]
        return cells.reshape(*frames.shape[:2], 64)

    return [
        replace(r, latents=encoded(r.frames), reference_latents=encoded(r.reference))
        for r in rollouts
    ]


@pytest.mark.parametrize("measure", ["cosine", "l2"])
def test_latent_drift_compares_the_models_state_with_the_encoded_reference(measure):
    axes = [{"axis": "latent_drift", "threshold": 0.6, "measure": measure}]
    panel, rollouts = replayed(sprite_panel(scenarios=2, seeds=3, horizon=6, axes=axes))
    rollouts = with_latents(rollouts)
    scores = score(panel, rollouts)
    whole = Rollouts.concat(rollouts)
    whole = whole[whole.branch == 0]
    whole = whole[(whole.scenario * 10 + whole.seed).argsort()]
    own = whole.latents[:, 1:]
    target = whole.reference_latents[whole.reference_index][:, 1:]
    cosine = 1 - torch.nn.functional.cosine_similarity(own, target, dim=-1)
    torch.testing.assert_close(scores.measures["latent_cosine"].values, cosine)
    expected = cosine if measure == "cosine" else F.latent_l2(own, target)
    found = scores.axes["latent_drift"].values
    torch.testing.assert_close(found, (1 - expected).clamp_min(0))
    assert found.min() < 0.999
    # The encoder alone gives the same, where the rollouts bring no encoded reference.
    bare = [replace(r, reference_latents=None) for r in rollouts]
    again = score(panel, bare, latent_encoder=Luma())
    torch.testing.assert_close(again.axes["latent_drift"].values, found)
    assert again.provenance["latent encoder"] == "luma-8x8, fingerprint unknown"


def test_without_latents_a_gate_is_an_evaluation_fault():
    axes = [{"axis": "latent_drift", "threshold": 0.6}]
    panel, rollouts = replayed(sprite_panel(scenarios=2, seeds=3, horizon=6, axes=axes))
    scores = score(panel, rollouts, latent_encoder=Luma())
    assert (scores.axes["latent_drift"].reason == int(Reason.NO_LATENTS)).all()
    assert scores.faults() == {"no_latents": len(scores)}


def test_latents_of_another_size_are_refused():
    axes = [{"axis": "latent_drift", "threshold": 0.6}]
    panel, rollouts = replayed(sprite_panel(scenarios=2, seeds=3, horizon=6, axes=axes))
    wide = [replace(r, latents=torch.zeros(*r.frames.shape[:2], 5)) for r in rollouts]
    with pytest.raises(ValueError, match="expected D = 64 as the encoded reference has, got 5"):
        score(panel, wide, latent_encoder=Luma())
    with pytest.raises(ValueError, match=r"reference_latents: expected"):
        replace(wide[0], reference_latents=torch.zeros(*wide[0].reference.shape[:2], 6))


def test_latents_that_are_not_finite_are_undefined_step_by_step():
    axes = [{"axis": "latent_drift", "threshold": 0.6}]
    panel, rollouts = replayed(sprite_panel(scenarios=2, seeds=3, horizon=6, axes=axes))
    rollouts = with_latents(rollouts)
    for r in rollouts:
        r.latents[r.branch == 0, 3, 7] = float("nan")
    scores = score(panel, rollouts)
    curve = scores.axes["latent_drift"]
    assert (curve.reason[:, 2] == int(Reason.NON_FINITE_FEATURES)).all()
    assert curve.values[:, [0, 1, 3, 4, 5]].isfinite().all()
    # No way past the gate: what cannot be judged is a fault, not a pass.
    assert scores.faults() == {"non_finite_features": len(scores)}


def test_latents_of_zeros_do_not_pass_the_gate():
    axes = [{"axis": "latent_drift", "threshold": 0.6}]
    panel, rollouts = replayed(sprite_panel(scenarios=2, seeds=3, horizon=6, axes=axes))
    rollouts = with_latents(rollouts)
    for r in rollouts:
        r.latents[r.scenario == 1, 2:] = 0
    scores = score(panel, rollouts)
    assert (scores.axes["latent_drift"].reason[3:, 1:] == int(Reason.NO_SCALE)).all()
    assert scores.faults() == {"no_scale": 3}


def test_a_state_in_half_precision_is_judged_like_any_other():
    axes = [{"axis": "latent_drift", "threshold": 0.6}]
    panel, rollouts = replayed(sprite_panel(scenarios=2, seeds=3, horizon=6, axes=axes))
    rollouts = with_latents(rollouts)
    half = [replace(r, latents=r.latents.bfloat16(), reference_latents=None) for r in rollouts]
    exact, found = score(panel, rollouts), score(panel, half, latent_encoder=Luma())
    torch.testing.assert_close(
        found.axes["latent_drift"].values, exact.axes["latent_drift"].values, rtol=0, atol=1e-4
    )


def test_batches_without_latents_stand_beside_those_with():
    axes = [{"axis": "latent_drift", "threshold": 0.6, "gate": False}]
    axes += [{"axis": "perceptual_drift", "threshold": 0.6}]
    panel = sprite_panel(scenarios=2, seeds=3, horizon=6, axes=axes)
    panel, truth = freeze_panel(panel, render_truth(panel, WORLD), fps=10)
    bare = list(replay(panel, DELAYED, truth, batch_size=3))
    mixed = [bare[0], *with_latents(bare[1:])]
    for order in (mixed, mixed[::-1]):
        curve = score(panel, order).measures["latent_cosine"]
        assert (curve.reason[:3] == int(Reason.NO_LATENTS)).all()
        assert curve.values[3:].isfinite().all()
