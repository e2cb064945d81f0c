"""Reset consistency: returns are found in the reference, and only coming back scores."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.panels import sprite_panel
from wmscore import functional as F
from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.metrics import ResetConsistency
from wmscore.replay import check_resets, freeze_panel, render_truth, replay
from wmscore.replay.resets import energy_test
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.testing import Faulty, HalfSpeed
from wmscore.worlds import Frozen, WorldModel
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=32, width=32)
INVERSES = {"left": "right", "up": "down"}


def picture(side: int = 24, seed: int = 0) -> Tensor:
    """A smooth periodic picture, uint8 `[3, side, side]`."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(3, side, side, generator=generator, dtype=torch.float64)
    spectrum = torch.fft.fft2(noise)
    f = torch.fft.fftfreq(side)
    spectrum /= 1 + 40 * (f[:, None] ** 2 + f**2) * side
    smooth = torch.fft.ifft2(spectrum).real
    smooth = (smooth - smooth.mean()) / smooth.std()
    return (128 + 45 * smooth).round().clamp(0, 255).to(torch.uint8)


def rolled(shifts: list[int], seed: int = 0) -> Tensor:
    """Frames `[T+1, 3, H, W]` of a torus that is rolled by so many pixels."""
    base = picture(seed=seed)
    return torch.stack([base.roll(s, -1) for s in shifts])


THERE = [0, 1, 2, 3, 4, 3, 2, 1, 0]


def closure(preds: Tensor, target: Tensor, radius: int = 0) -> F.Closure:
    return F.loop_closure(preds, target, F.returns_of(target), radius=radius)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_distances_are_those_of_plain_numpy(dtype: torch.dtype) -> None:
    frames = torch.stack([rolled(THERE), rolled(THERE[::-1], seed=1)])
    if dtype != torch.uint8:
        frames = (frames / 255).to(dtype)
    found = F.frame_distances(frames)
    scale = 255.0 if dtype == torch.uint8 else 1.0
    plain = frames.double().numpy() / scale
    for b, i, j in itertools.product(range(2), range(9), range(9)):
        expected = np.sqrt(np.mean((plain[b, i] - plain[b, j]) ** 2))
        assert float(found[b, i, j]) == pytest.approx(expected, abs=1e-7)


def test_distances_of_large_frames_are_exact() -> None:
    """More pixels than are widened at once; uint8 sums are whole numbers."""
    frames = torch.zeros(2, 3, 128, 128, dtype=torch.uint8)
    frames[1, 0, 0, 0] = 1
    assert float(F.frame_distances(frames)[0, 1]) == math.sqrt(1 / (3 * 128 * 128)) / 255


def test_returns_of_a_there_and_back_script() -> None:
    found = F.returns_of(rolled(THERE))
    assert found.to.tolist() == [*[-1] * 4, 3, 2, 1, 0]
    assert (found.reason != 0).tolist() == [step < 0 for step in found.to.tolist()]
    back = found.to >= 0
    assert found.far[back].unique().numel() == 1


def test_a_wall_asks_for_no_return() -> None:
    """Where the true world does not come back, no model has to."""
    found = F.returns_of(rolled([0, 1, 2, 3, 4, 5, 6, 7, 8]))
    assert (found.to == -1).all()
    assert (found.reason == Reason.NO_RETURN).all()


def test_a_still_reference_has_no_returns() -> None:
    assert (F.returns_of(rolled([0] * 6)).to == -1).all()


def test_chance_revisits_count_too() -> None:
    found = F.returns_of(rolled([0, 6, 12, 6, 3, 12, 0]))
    assert found.to.tolist()[-2:] == [2, 0]


def test_known_answers() -> None:
    """Roll of a torus closes with 0; a frozen model never left; WS is undefined there."""
    true = rolled(THERE)
    perfect = closure(true, true)
    back = perfect.reason == 0
    assert int(back.sum()) >= 3
    assert (perfect.score[back] == 1).all()
    assert (perfect.distance[back] == 0).all()
    assert (perfect.stability[back] == 0).all()
    frozen = closure(true[:1].expand_as(true), true)
    assert (frozen.score[back] == 0).all()
    assert (frozen.distance[back] == 0).all()  # a distance alone would be fooled
    assert frozen.stability.isnan().all()
    assert (frozen.stability_reason[back] == Reason.NO_MOTION).all()


def test_a_model_that_loses_a_pixel_a_step_is_told_by_registration() -> None:
    """It remembers the picture and misses the place: the registered distance is zero."""
    true = rolled(THERE)
    slow = rolled([0, 1, 2, 3, 4, 3, 3, 2, 2])  # two pixels short at the end
    found = closure(slow, true, radius=2)
    assert float(found.distance[-1]) > 0.05
    assert float(found.registered[-1]) == 0
    other = slow.clone()
    other[-1] = picture(seed=5)  # another place altogether
    assert float(closure(other, true, radius=2).registered[-1]) > 0.1
    assert found.registered[:2].isnan().all()
    with pytest.raises(ValueError, match="radius"):
        closure(slow, true, radius=12)


def test_what_moves_by_itself_is_left_out() -> None:
    """The background is back, a passer-by is elsewhere: only the background is compared."""
    true = rolled(THERE)
    preds = true.clone()
    for t in range(9):
        true[t, :, 4:9, t : t + 5] = 255
        preds[t, :, 12:17, 2 * t : 2 * t + 3] = 0  # another passer-by, who is an error
    returns = F.returns_of(true)
    assert returns.to.tolist()[-3:] == [2, 1, 0]
    assert (returns.share[-3:] < 1).all()
    back = returns.to >= 0
    assert (closure(true, true).score[back] == 1).all()
    only_there = true.clone()
    only_there[-1, :, 4:9, 8:13] = 77  # where the true passer-by is at the end: not compared
    assert float(closure(only_there, true).score[-1]) == 1
    assert float(closure(preds, true).score[-1]) < 1


def test_leaving_half_as_far_is_half_as_good() -> None:
    """MIND's scale would hide it: half speed there and half speed back closes perfectly."""
    ramp = torch.arange(24, dtype=torch.float64).expand(3, 24, 24)
    true = torch.stack([0.3 + s * ramp / 500 for s in THERE])
    half = torch.stack([0.3 + s * ramp / 1000 for s in THERE])
    found = closure(half, true)
    back = found.reason == 0
    torch.testing.assert_close(found.score[back], torch.full_like(found.score[back], 0.5))
    torch.testing.assert_close(found.motion[back], torch.full_like(found.motion[back], 0.5))
    assert float(found.distance[back].max()) < 1e-7


def test_forgetting_scores_low() -> None:
    true = rolled(THERE)
    forgets = true.clone()
    for t in range(5, 9):
        forgets[t] = picture(seed=10 + t)
    found = closure(forgets, true)
    assert float(found.score[found.reason == 0].max()) < 0.7
    assert float(found.stability[found.reason == 0].min()) > 0.5


def test_scores_stay_in_range_and_nan_is_named() -> None:
    generator = torch.Generator().manual_seed(0)
    true = rolled(THERE).double() / 255
    for _ in range(20):
        wild = torch.rand(true.shape, generator=generator, dtype=torch.float64)
        wild[torch.randint(9, (4,), generator=generator)] = true[0]
        score = closure(wild, true).score
        assert ((score >= 0) & (score <= 1) | score.isnan()).all()
    broken = true.clone()
    broken[-1, 0, 0, 0] = math.nan
    found = closure(broken, true)
    assert found.reason[-1] == Reason.NON_FINITE
    assert found.score[-1].isnan()
    assert not found.score[-2].isnan()


def test_batches_and_the_metric_agree() -> None:
    true = torch.stack([rolled(THERE), rolled([0, 2, 4, 6, 8, 6, 4, 2, 0], seed=1)])
    preds = torch.stack([true[0], true[1], rolled([0, 0, 1, 1, 2, 1, 1, 0, 0])])
    index = torch.tensor([0, 1, 0])
    metric = ResetConsistency()
    metric.update(preds[:2], true)
    metric.update(preds[2:], true, index[2:])
    found = metric.compute()
    for row in range(3):
        alone = closure(preds[row], true[index[row]])
        torch.testing.assert_close(found["score"][row], alone.score, equal_nan=True, rtol=0, atol=0)
        torch.testing.assert_close(
            found["stability"][row], alone.stability, equal_nan=True, rtol=0, atol=0
        )


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.frame_distances(torch.zeros(3, 4, 4)),
        lambda: F.returns_of(torch.zeros(1, 3, 4, 4)),
        lambda: F.loop_closure(
            torch.zeros(3, 3, 4, 4), torch.zeros(4, 3, 4, 4), F.returns_of(torch.zeros(3, 3, 4, 4))
        ),
        lambda: F.loop_closure(
            *[torch.zeros(4, 3, 4, 4)] * 2, F.returns_of(torch.zeros(3, 3, 4, 4))
        ),
    ],
)
def test_bad_shapes_are_named(call) -> None:
    with pytest.raises(ValueError, match="expected|must"):
        call()


# ---- on a panel -----------------------------------------------------------------------------


def loop_panel(horizon: int = 9) -> Panel:
    data = sprite_panel(scenarios=3, seeds=2, horizon=horizon, size=32).model_dump()
    data["axes"] = [{"axis": "reset_consistency", "threshold": 0.7, "patience": 2}]
    for scenario in data["scenarios"]:
        scenario["actions"] = ["left", "left", "up", "left"]
        scenario["then"] = "hold"
        scenario["reset"] = {**scenario["reset"], "objects": 1, "noise": 0}
    return Panel.from_dict(data).with_there_and_back(INVERSES)


@pytest.fixture(scope="module")
def scene() -> tuple[Panel, Rollouts]:
    panel = loop_panel()
    return freeze_panel(panel, render_truth(panel, WORLD), fps=10)


def score(scene: tuple[Panel, Rollouts], model: WorldModel, batch_size: int = 8) -> Scores:
    scorer = Scorer(scene[0])
    for rollouts in replay(*scene[:1], model, scene[1], batch_size=batch_size):
        scorer.update(rollouts)
    return scorer.compute()


def test_scripts_go_there_and_back() -> None:
    scenario = loop_panel().scenarios[0]
    assert scenario.actions == (
        *("left", "left", "up", "left"),
        *("right", "down", "right", "right"),
        "noop",
    )
    paused = loop_panel(10).with_there_and_back(INVERSES, pause=2).scenarios[0]
    assert paused.actions[4:6] == ("noop", "noop")
    for bad in (-1, 9):
        with pytest.raises(ValueError, match="pause"):
            loop_panel().with_there_and_back(INVERSES, pause=bad)
    with pytest.raises(ValueError, match="inverses"):
        loop_panel().with_there_and_back({"left": "away"})


def test_the_axis_in_the_scorer(scene) -> None:
    true = score(scene, WORLD)
    curve = true.axes["reset_consistency"]
    assert set(curve.undefined()) == {"no_return"}
    known = curve.reason == 0
    assert (known.sum(1) >= 3).all()
    assert (curve.values[known] == 1).all()
    assert true.horizon.censored.all()
    frozen = score(scene, Frozen())
    assert (frozen.axes["reset_consistency"].values[known] == 0).all()
    assert not frozen.horizon.censored.any()
    assert frozen.measures["world_stability"].undefined()["no_motion"] == int(known.sum())
    half = score(scene, Faulty(WORLD, HalfSpeed()))
    values = half.axes["reset_consistency"].values[known]
    assert float(values.mean()) < 0.7


def test_the_axis_does_not_depend_on_the_batch(scene) -> None:
    model = Faulty(WORLD, HalfSpeed())
    one, all_rows = score(scene, model, 1), score(scene, model, 6)
    for name, curve in {**one.axes, **one.measures}.items():
        if "closure" in name or name in ("reset_consistency", "world_stability"):
            other = {**all_rows.axes, **all_rows.measures}[name]
            torch.testing.assert_close(
                curve.values, other.values, equal_nan=True, rtol=0, atol=1e-12
            )


def test_the_axis_is_the_function(scene) -> None:
    model = Faulty(WORLD, HalfSpeed())
    rollouts = next(iter(replay(scene[0], model, scene[1], batch_size=6)))
    mine = rollouts.frames[rollouts.branch == 0]
    assert rollouts.reference is not None
    assert rollouts.reference_index is not None
    true = rollouts.reference[rollouts.reference_index][rollouts.branch == 0]
    expected = closure(mine, true)
    found = score(scene, model).axes["reset_consistency"].values
    torch.testing.assert_close(found, expected.score, equal_nan=True, rtol=0, atol=1e-12)


def test_turns_by_any_name_are_counted(scene) -> None:
    """MIND puts "look_left" into a bucket that nobody reads."""
    data = scene[0].model_dump()
    names = {"left": "look_left", "right": "look_right"}
    data["contract"]["actions"]["names"] = [
        names.get(n, n) for n in data["contract"]["actions"]["names"]
    ]
    for scenario in data["scenarios"]:
        for script in (scenario, *scenario["branches"]):
            script["actions"] = [names.get(a, a) for a in script["actions"]]
    renamed = Panel.from_dict(data).with_there_and_back({"look_left": "look_right", "up": "down"})
    assert renamed.scenarios[0].actions.count("look_right") == 3


# ---- resets ---------------------------------------------------------------------------------


class Leaky:
    """Remembers how bright the last answer was."""

    name = "leaky"

    def __init__(self, leak: bool, noise: float = 0.0) -> None:
        self.world = SpriteWorld(height=32, width=32)
        self.capabilities = replace(
            self.world.capabilities, seedable=noise > 0, deterministic=noise == 0
        )
        self.leak, self.noise, self.memory = leak, noise, 0.0
        self.calls = 0

    def rollout(self, items, horizon):
        truth = self.world.rollout(items, horizon)
        frames = truth.frames.double()
        if self.leak:
            frames[:, 1:] += 8 * self.memory
        for row, item in enumerate(items):
            self.calls += 1
            generator = torch.Generator().manual_seed(1000 * item.seed + self.calls)
            noise = torch.randn(frames[row, 1:].shape, generator=generator, dtype=torch.float64)
            frames[row, 1:] += self.noise * noise
        self.memory = float(truth.actions[:, 0].double().mean()) - 1.0
        frames = frames.round().clamp(0, 255).to(torch.uint8)
        return replace(truth, frames=frames, model=self.name)


def test_the_true_world_is_bit_exact(scene) -> None:
    report = check_resets(*scene[:1], WORLD, scene[1])
    assert set(report.kind) == {"bit-exact"}
    assert (report.again == 0).all()
    assert (report.first == -1).all()
    assert report.leaks is False
    assert "makes no difference" in " ".join(report.sentences())
    assert report.to_json()["leak_p"] is None


def test_a_leak_of_an_exact_model_is_found(scene) -> None:
    model = Leaky(leak=True)
    check_resets(*scene[:1], model, scene[1])  # the first call has no history
    report = check_resets(*scene[:1], model, scene[1])
    assert set(report.kind) == {"bit-exact"}
    assert report.leaks is True
    assert "does not forget" in " ".join(report.sentences())


@pytest.mark.parametrize("leak", [False, True])
def test_a_leak_of_a_noisy_model_is_told_from_its_noise(scene, leak: bool) -> None:
    report = check_resets(*scene[:1], Leaky(leak=leak, noise=10.0), scene[1])
    assert set(report.kind) == {"stochastic"}
    assert (report.first == 1).all()
    assert report.leaks is leak
    assert (report.leak_p < 0.01) is leak


def test_the_energy_test_keeps_its_level() -> None:
    generator = torch.Generator().manual_seed(0)
    p = []
    for i in range(400):
        x = torch.randn(16, 5, generator=generator, dtype=torch.float64)
        p.append(energy_test(x[:8], x[8:], draws=199, seed=i)[1])
    assert 0.03 < sum(v <= 0.05 for v in p) / len(p) < 0.075
    x = torch.randn(16, 5, generator=generator, dtype=torch.float64)
    assert energy_test(x[:8], x[8:] + 3, draws=199)[1] == pytest.approx(1 / 200)
    with pytest.raises(ValueError, match="at least 2"):
        energy_test(x[:1], x)


def test_rows_and_repeats_are_checked(scene) -> None:
    with pytest.raises(ValueError, match="rows"):
        check_resets(*scene[:1], WORLD, scene[1], rows=[])
    with pytest.raises(ValueError, match="repeats"):
        check_resets(*scene[:1], WORLD, scene[1], repeats=2)
