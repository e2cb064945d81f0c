"""What fools other evaluations of world models does not fool this one.

Each test is named after what is fooled. The first part holds rollouts that look good to a careless
evaluation (the known failures), the second defects of published tools: their arithmetic is written
out in a line or two, shown to be fooled, and wmscore is shown not to be. Those on single pixels are
in functional/test_peer_defects.py.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.panels import NAMES, sprite_panel
from wmscore import functional as F
from wmscore import stats
from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.replay import freeze_panel, render_truth, replay
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.testing import (
    DelayedActions,
    Fault,
    Faulty,
    HalfSpeed,
    IdentitySwap,
    NanFrame,
    ShortRollout,
    TimeReversed,
)
from wmscore.worlds import Frozen, WorldModel
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=48, width=48)
HORIZON = 16


@cache
def scene() -> tuple[Panel, Rollouts]:
    panel = sprite_panel(scenarios=6, seeds=2, horizon=HORIZON)
    return freeze_panel(panel, render_truth(panel, WORLD), fps=10)


def scores_of(batches: Iterable[Rollouts]) -> Scores:
    scorer = Scorer(scene()[0])
    for rollouts in batches:
        scorer.update(rollouts)
    return scorer.compute()


@cache
def scored(fault: Fault | None) -> Scores:
    return scores_of(rolled(WORLD if fault is None else Faulty(WORLD, fault)))


def rolled(model: WorldModel, batch_size: int = 8) -> Iterator[Rollouts]:
    return replay(*scene()[:1], model, scene()[1], batch_size=batch_size)


def mean(scores: Scores, axis: str) -> float:
    return float(scores.axes[axis].values.nanmean())


def edited(edit: Callable[[Rollouts], Rollouts]) -> Scores:
    return scores_of(edit(rollouts) for rollouts in rolled(WORLD))


# ---- the known failures ------------------------------------------------------------------------


def test_a_frozen_model_fools_smoothness_and_stability() -> None:
    """Nothing flickers, nothing vanishes: consistency scores without a reference are perfect."""
    scores = scores_of(rolled(Frozen()))
    frames = torch.cat([r.frames for r in rolled(Frozen())])
    assert bool((frames[:, 1:] == frames[:, :-1]).all())  # perfectly smooth
    assert mean(scores, "action_response") == 0
    assert (scores.horizon.steps == 0).all()
    assert not scores.faults()  # it is the model that fails, not the evaluation


def test_half_speed_fools_scale_free_trajectories() -> None:
    scores = scored(HalfSpeed())
    assert mean(scores, "action_response") < 0.3
    assert (scores.horizon.steps < HORIZON).all()


def test_time_reversal_fools_distances_between_sets_of_frames() -> None:
    """The same frames, played backwards: an unordered comparison sees no difference."""
    frames = torch.cat([r.frames for r in rolled(Faulty(WORLD, TimeReversed()))]).flatten(2)
    target = torch.cat([r.frames for r in rolled(WORLD)]).flatten(2)
    order = torch.cat([torch.zeros(1, dtype=torch.long), torch.arange(HORIZON, 0, -1)])
    assert torch.equal(frames, target[:, order])
    scores = scored(TimeReversed())
    assert mean(scores, "action_response") < 0.3
    assert (scores.horizon.steps < HORIZON).all()


def test_an_identity_swap_fools_pixels() -> None:
    scores = scored(IdentitySwap())
    hit = scores.info["fault_step"] > 0
    assert hit.any()
    ends = scores.horizon.steps[hit] + 1
    assert (scores.horizon.axis_steps[1, hit] + 1 == scores.info["fault_step"][hit]).all()
    assert (ends <= scores.info["fault_step"][hit]).all()
    values = scores.axes["identity_persistence"].values
    after = torch.arange(1, HORIZON + 1) >= scores.info["fault_step"][:, None]
    assert float(values[hit & True][after[hit]].nanmean()) < 0.7
    assert float(values[~after].nanmean()) == 1


def test_a_delay_of_three_steps_fools_scores_without_time() -> None:
    scores = scored(DelayedActions(3))
    assert scores.actions is not None
    assert float(scores.actions.latency.excess.pooled.lag) == 3
    assert (scores.horizon.steps < HORIZON).all()


def dip(first: int, steps: int = 4) -> Callable[[Rollouts], Rollouts]:
    """Four steps of noise in an otherwise true rollout."""

    def edit(rollouts: Rollouts) -> Rollouts:
        frames = rollouts.frames.clone()
        noise = torch.Generator().manual_seed(0)
        part = frames[:, first : first + steps]
        part.copy_(torch.randint(256, part.shape, generator=noise, dtype=torch.uint8))
        return replace(rollouts, frames=frames)

    return edit


def test_a_late_dip_fools_averages() -> None:
    scores = edited(dip(first=13))
    assert mean(scores, "perceptual_drift") > 0.75  # most steps are perfect
    assert (scores.horizon.steps == 12).all()
    assert not scores.horizon.censored.any()


def test_uint8_that_wraps_fools_squared_errors() -> None:
    def brighter(rollouts: Rollouts) -> Rollouts:
        frames = rollouts.frames // 2
        frames[:, 0] = rollouts.frames[:, 0]
        assert rollouts.reference is not None
        reference = rollouts.reference // 2
        reference[:, 0] = rollouts.reference[:, 0]
        frames[:, 1:] += 16  # 16 ** 2 = 256 wraps to 0
        return replace(rollouts, frames=frames, reference=reference)

    one = brighter(next(iter(rolled(WORLD, batch_size=1))))
    assert one.reference is not None
    preds, target = one.frames[0, 1:].numpy(), one.reference[0, 1:].numpy()
    assert np.mean((preds - target) ** 2) == 0
    psnr = scores_of([one]).measures["psnr"].values[0]
    torch.testing.assert_close(psnr, torch.full_like(psnr, 20 * np.log10(255 / 16)))


def test_a_short_rollout_fools_means_over_what_is_there() -> None:
    scores = scored(ShortRollout())
    hit = scores.info["fault_step"] > 0
    assert hit.any()
    assert (scores.fault[hit] == Reason.SHORT).all()
    assert mean(scores, "perceptual_drift") == 1  # all frames that are there are perfect
    assert not scores.horizon.defined[hit].any()


def test_a_nan_frame_fools_comparisons() -> None:
    """NaN < threshold is False: a check written that way round passes it."""
    scores = scored(NanFrame())
    hit = scores.info["fault_step"] > 0
    assert hit.any()
    assert (scores.fault[hit] == Reason.NON_FINITE).all()
    assert not scores.horizon.defined[hit].any()


def test_a_duplicate_seed_fools_intervals() -> None:
    batches = list(rolled(WORLD, batch_size=1))
    scores = scores_of([*batches, batches[0]])
    assert scores.fault.tolist() == [int(Reason.DUPLICATE_ROW), *[0] * (len(scores) - 1)]


def test_one_rollout_under_two_seeds_fools_intervals() -> None:
    """Repeats of one rollout are no more evidence than one: scenarios are resampled, not rows."""
    few = torch.tensor([3.0, 9.0, 1.0, 7.0, 4.0, 6.0])
    rows = few.repeat_interleave(50)
    naive = rows.std() / len(rows) ** 0.5
    found = stats.sign_flip_test(few - 2)
    assert float(naive) < 0.2
    assert float(few.std() / len(few) ** 0.5) > 1
    assert float(found.p_value) > 0.02
    assert float(stats.sign_flip_test(rows - 2).p_value) < 1e-3  # what rows would have claimed


# ---- defects of published tools -----------------------------------------------------------------


def test_a_recogniser_that_always_says_idle_fools_micro_precision() -> None:
    """GameWorld Score: "precision" is accuracy on labels that are mostly idle (0.76 for "idle")."""
    commanded = torch.tensor([760, 60, 60, 60, 60])
    confusion = torch.zeros(5, 5, dtype=torch.int64)
    confusion[:, 0] = commanded
    assert float(confusion.diagonal().sum() / confusion.sum()) == pytest.approx(0.76)
    found = F.recovery_from_confusion(confusion)
    assert float(found.recall.mean()) == pytest.approx(0.2)  # chance of five actions
    assert float(found.recall[1:].max()) == 0


@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_the_number_of_processes_fools_means_of_means(batch_size: int) -> None:
    """VBench, GameWorld Score: the number depends on how the rows were dealt out."""
    whole, dealt = scores_of(rolled(WORLD)), scores_of(rolled(WORLD, batch_size))
    for axis, curve in whole.axes.items():
        assert torch.equal(curve.values, dealt.axes[axis].values)
    videos = [torch.ones(2), torch.zeros(6)]
    assert float(torch.cat(videos).mean()) != float(torch.stack([v.mean() for v in videos]).mean())


@pytest.mark.parametrize("frames", [1, 7, 13])
def test_a_loop_that_breaks_before_scoring_fools_long_videos(frames: int) -> None:
    """MIND: the last batch is read and dropped: of 60 frames in batches of 100 none is scored."""
    panel = sprite_panel(scenarios=1, seeds=1, horizon=frames + 3)
    panel, truth = freeze_panel(panel, render_truth(panel, WORLD), fps=10)
    scorer = Scorer(panel)
    for rollouts in replay(panel, WORLD, truth):
        scorer.update(rollouts)
    values = scorer.compute().axes["perceptual_drift"].values
    assert int((~values.isnan()).sum()) == frames + 3


def umeyama_scale(moved: Tensor, true: Tensor) -> Tensor:
    """The scale of a similarity that maps one path onto another."""
    a, b = moved - moved.mean(0), true - true.mean(0)
    return (a * b).sum() / (a * a).sum()


def test_a_similarity_transform_fools_paths_at_half_speed() -> None:
    """MIND aligns paths with a scale: half speed has no error, a frozen camera with jitter none."""
    true = torch.cumsum(torch.randn(40, 2, dtype=torch.float64), 0)
    half = true / 2
    scale = umeyama_scale(half, true)
    assert float((scale * (half - half.mean(0)) - (true - true.mean(0))).abs().max()) < 1e-12
    shift = true.diff(dim=0)[None]
    found = F.motion_agreement(shift / 2, shift)
    assert float(found.agreement.mean()) == pytest.approx(0.8)  # 2 * .5 / (1 + .25)
    commands = torch.arange(39)[None] % 4
    lag = F.response_latency(commands, shift / 2, shift, num_actions=4, max_lag=2)
    assert float(lag.excess.pooled.gain.nan_to_num(0.5)) == pytest.approx(0.5, abs=0.05)


def test_a_name_that_no_bucket_has_fools_tables_of_actions() -> None:
    """MIND: "look_left" falls into "other", and turns are never counted."""
    panel, _ = scene()
    scores = scored(None)
    assert scores.actions is not None
    confusion = scores.actions.ceiling.confusion
    assert confusion.shape[-1] == len(NAMES)
    commanded = torch.zeros(len(NAMES), dtype=torch.int64)
    for s in range(len(panel.scenarios)):
        for b in range(len(panel.scenarios[s].scripts)):
            commanded += panel.actions(s, b).bincount(minlength=len(NAMES))
    assert (commanded > 0).all()
    counted = confusion.sum(-1) + scores.actions.ceiling.unrecognised
    assert (counted > 0).all()


def test_rows_that_fail_and_are_skipped_fool_means_over_survivors() -> None:
    """WorldScore: `except Exception: pass`, and the mean is over what is left."""
    batches = list(rolled(WORLD, batch_size=1))
    scores = scores_of(batches[:-3])
    assert scores.faults() == {"missing": 3}
    assert not scores.complete
    assert int(scores.horizon.defined.sum()) == len(scores) - 3
    assert len(scores.records()) == len(scores)  # every row has its line


def test_a_perfect_path_fools_a_reciprocal() -> None:
    """EWMBench: 1 / distance divides by zero for the same path."""
    scores = scored(None)
    for axis in scores.axes:
        assert mean(scores, axis) == 1
    with pytest.raises(ZeroDivisionError):
        1 / float((scores.axes["perceptual_drift"].values - 1).abs().max())


def test_noise_between_scripts_fools_diversity() -> None:
    """WorldArena: "action following" is how different videos of different scripts are."""

    def noise(rollouts: Rollouts) -> Rollouts:
        generator = torch.Generator().manual_seed(0)
        frames = torch.randint(256, rollouts.frames.shape, generator=generator, dtype=torch.uint8)
        frames[:, 0] = rollouts.frames[:, 0]
        return replace(rollouts, frames=frames)

    def diversity(batches: Iterable[Rollouts]) -> float:
        frames = torch.cat([r.frames[:3, 1:].double().flatten(1) for r in batches])
        unit = frames / frames.norm(dim=1, keepdim=True)
        return float((1 - unit @ unit.T).triu(1).mean())

    one = list(rolled(WORLD, batch_size=1))[:1]
    noisy = [noise(r) for r in one]
    assert diversity(noisy) > diversity(one)
    assert abs(mean(edited(noise), "action_response")) < 0.05
    assert mean(scored(None), "action_response") == 1


def test_a_mapping_that_compresses_fools_differences() -> None:
    """VBench-Long: 0.1 becomes 0.80, 0.9 becomes 0.99. Scores here are the measure itself."""
    rollouts = next(iter(rolled(Faulty(WORLD, HalfSpeed()), batch_size=1)))
    assert rollouts.reference is not None
    assert rollouts.reference_index is not None
    pair = rollouts.frames[0, 1:], rollouts.reference[rollouts.reference_index[0], 1:]
    values = scored(HalfSpeed()).axes["perceptual_drift"].values[0]
    torch.testing.assert_close(values, F.haarpsi(*pair).double(), rtol=0, atol=1e-6)
    assert float(values.max() - values.min()) > 0.1


def test_weights_that_fall_with_time_fool_drift_by_late_dips() -> None:
    """LV-Bench: the same dip costs nine times less at the end."""
    early, late = torch.ones(2, 40, dtype=torch.float64)
    early[4:8], late[32:36] = 0.5, 0.5
    weights = torch.arange(40, 0, -1, dtype=torch.float64)
    cost = [float((weights * (1 - curve)).sum()) for curve in (early, late)]
    assert cost[0] > 5 * cost[1]
    area = [float(F.area_beyond(curve, 0.8, higher_is_better=True)) for curve in (early, late)]
    assert area[0] == pytest.approx(area[1])
    found = F.first_crossing(torch.stack([early, late]), 0.8, patience=3)
    assert found.step.tolist() == [5, 33]


def test_a_flattened_batch_fools_slices_of_time() -> None:
    """jafar: frames of [B * T, H, W, C] are cut along their rows, not in time."""
    rollouts = next(iter(rolled(WORLD)))
    with pytest.raises(ValueError, match="frames"):
        replace(rollouts, frames=rollouts.frames.flatten(0, 1))


def test_a_rollout_that_never_fails_fools_mean_times_of_failure() -> None:
    """Codes of valid prediction time return the length as if a failure had been seen there."""
    scores = scored(None)
    assert scores.horizon.censored.all()
    assert scores.horizon_text() == f">={HORIZON}"
    assert all(line["horizon_censored"] for line in scores.records())


def test_a_missing_extra_fools_nobody() -> None:
    """stable-worldmodel: an install without extras cannot be imported."""
    code = (
        "import sys\n"
        "for name in ('rich', 'typer', 'av', 'PIL', 'matplotlib', 'pyarrow', 'vizdoom', 'pandas',\n"
        "             'scipy', 'skimage', 'imageio', 'gymnasium', 'diffusers'):\n"
        "    sys.modules[name] = None\n"
        "import wmscore\n"
        "from wmscore import Panel, Scorer\n"
        "print(Scorer(Panel.packaged('sprites')).panel.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
