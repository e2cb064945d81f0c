"""Reset consistency: returns are found in the reference, and only coming back scores."""

from __future__ import annotations

import importlib
import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.panels import sprite_panel
from wmscore import functional as F
from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.metrics import ResetConsistency
from wmscore.opposites import opposites
from wmscore.replay import (
    describe_returns,
    freeze_panel,
    panel_returns,
    render_truth,
    replay,
)
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.testing import Faulty, HalfSpeed
from wmscore.worlds import ActionBlind, Frozen, OtherSeed, WorldModel
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
        expected = np.mean(np.abs(plain[b, i] - plain[b, j]))
        assert float(found[b, i, j]) == pytest.approx(expected, abs=1e-7)


def test_distances_of_large_frames_are_exact() -> None:
    """Sums of uint8 are whole numbers, and divided in float64."""
    frames = torch.zeros(2, 3, 128, 128, dtype=torch.uint8)
    frames[1, 0, 0, 0] = 1
    assert float(F.frame_distances(frames)[0, 1]) == 1 / (3 * 128 * 128) / 255


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
    assert float(found.distance[-1]) > 0.02
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
    assert returns.to.tolist()[-2:] == [1, 0]
    assert (returns.share[-2:] < 1).all()
    back = returns.to >= 0
    assert (closure(true, true).score[back] == 1).all()
    only_there = true.clone()
    only_there[-1, :, 4:9, 8:13] = 77  # where the true passer-by is at the end: not compared
    assert float(closure(only_there, true).score[-1]) == 1
    assert float(closure(preds, true).score[-1]) < 1


def test_a_passer_by_is_no_return() -> None:
    """What he uncovers is shown again, but less of what changed than what he covers."""
    still = rolled([0] * 10)
    for t in range(10):
        still[t, :, 4:9, 2 * t : 2 * t + 5] = 255
    assert (F.returns_of(still).to == -1).all()


def test_a_return_counts_from_what_had_changed() -> None:
    """Half of it back is a return, and the earliest frame of the best is named."""
    frames = torch.zeros(4, 3, 4, 4, dtype=torch.uint8)
    frames[1:3] = 200
    frames[3, :, :, 2:] = 200
    assert F.returns_of(frames).to.tolist() == [-1, -1, 0]
    assert F.returns_of(frames).share[-1] == 0.5
    assert (F.returns_of(frames, share=0.51).to == -1).all()
    frames[3] = 0
    paused = torch.cat([frames[:1], frames])  # the first frame twice
    assert F.returns_of(paused).to.tolist()[-1] == 0
    assert F.returns_of(frames).departure[-1] == 200 / 255
    assert (F.returns_of(frames, departure=0.8).to == -1).all()


def test_frames_that_do_not_exist_are_no_returns() -> None:
    valid = torch.ones(9, dtype=torch.bool)
    valid[0] = valid[8] = False
    assert F.returns_of(rolled(THERE), valid=valid).to.tolist()[-2:] == [1, -1]


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


def test_forgetting_scores_nothing() -> None:
    """Frames that have nothing to do with each other are as far from each other as can be."""
    true = rolled(THERE)
    forgets = true.clone()
    for t in range(5, 9):
        forgets[t] = picture(seed=10 + t)
    found = closure(forgets, true)
    assert float(found.score[found.reason == 0].max()) < 0.25
    assert float(found.score[found.reason == 0].mean()) < 0.1
    assert float(found.stability[found.reason == 0].min()) > 0.75
    onwards = rolled([0, 1, 2, 3, 4, 5, 6, 7, 8])  # the second half ignores the way back
    assert float(closure(onwards, true).score[-1]) < 0.2


def noisy(frames: Tensor, seed: int, levels: int = 2) -> Tensor:
    """With sensor noise of up to so many grey levels, which hides no return."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(-levels, levels + 1, frames.shape, generator=generator)
    return (frames.long() + noise).clamp(0, 255).to(torch.uint8)


def test_noise_of_the_reference_pays_for_nothing() -> None:
    """Neither a model that never left, nor one that forgot, earns what the reference is off."""
    faint = (128 + (rolled(THERE).float() - 128) / 3).round().to(torch.uint8)
    true = noisy(faint, 0)
    frozen = closure(noisy(faint[:1].expand_as(faint), 1), true)
    back = frozen.reason == 0
    assert int(back.sum()) >= 3
    assert float(frozen.score[back].mean()) < 0.05
    forgets = faint.clone()
    forgets[5:] = (128 + (rolled([0] * 4, seed=9).float() - 128) / 3).round().to(torch.uint8)
    assert float(closure(noisy(forgets, 2), true).score[back].mean()) < 0.05
    assert float(closure(noisy(faint, 3), true).score[back].mean()) > 0.95
    assert float(closure(faint, true).score[back].mean()) > 0.95  # without noise of its own


def test_noise_alone_is_no_departure() -> None:
    """Half of the picture leaves by 8 levels; 4 of noise at the return are as far as it went."""
    start = torch.full((1, 4, 4), 100, dtype=torch.uint8)
    middle = start.clone()
    middle[:, :2] += 8
    assert F.returns_of(torch.stack([start, middle, start])).to.tolist() == [-1, 0]
    assert F.returns_of(torch.stack([start, middle, start + 4])).to.tolist() == [-1, -1]


def test_a_wrong_frame_in_between_earns_nothing() -> None:
    """One pixel short at each return is as bad, however far it went in between."""
    true = rolled(THERE)
    short = rolled([0, 1, 2, 3, 4, 4, 3, 2, 1])
    flash = short.clone()
    flash[4] = 255 - flash[4]
    spoiled = closure(flash, true)
    back = spoiled.reason == 0
    assert (spoiled.motion[back] > 2).all()
    missed = spoiled.distance / F.returns_of(true).departure
    torch.testing.assert_close(spoiled.score[back], (1 - missed[back]).clamp(min=0))


def test_nothing_is_read_on_a_device() -> None:
    for dtype in (torch.uint8, torch.float32):
        frames = torch.empty(2, 5, 3, 12, 14, dtype=dtype, device="meta")
        returns = F.returns_of(frames)
        assert returns.to.shape == (2, 4)
        found = F.loop_closure(frames, frames, returns, radius=1)
        assert found.score.shape == found.stability_reason.shape == (2, 4)
        assert found.score.device.type == "meta"


def test_all_pairs_at_once_are_the_pairs_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device works on every pair, the CPU on those that may count: with one result."""
    from wmscore.functional.returns import closure as closing
    from wmscore.functional.returns import find

    true = torch.stack([rolled(THERE), rolled([0, 2, 4, 6, 4, 2, 0, 0, 0], seed=1)])
    preds = torch.stack([rolled([0, 1, 2, 3, 4, 3, 3, 2, 1]), true[1]])
    expected = closure(preds, true, radius=1)
    for module in (find, closing):
        monkeypatch.setattr(module, "some_rows", lambda wanted: torch.arange(len(wanted)))
    for mine, other in zip(closure(preds, true, radius=1), expected, strict=True):
        torch.testing.assert_close(mine, other, equal_nan=True, rtol=0, atol=0)


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
    with pytest.raises(ValueError, match=r"expected|must"):
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


def test_rows_without_a_return_have_no_horizon() -> None:
    data = loop_panel().model_dump()
    for scenario in data["scenarios"]:
        scenario["actions"] = ["left"] * 9
    panel = Panel.from_dict(data)
    truth = render_truth(panel, WORLD)
    scores = score((panel, truth), WORLD)
    assert (scores.axes["reset_consistency"].reason == Reason.NO_RETURN).all()
    assert not scores.horizon.defined.any()
    assert (scores.fault == 0).all()
    assert describe_returns(panel_returns(panel, truth)) == [
        "In 3 it never does, so that reset_consistency is undefined: scene-0, scene-1, scene-2."
    ]


def test_no_axis_is_scored_as_another(scene) -> None:
    panel = loop_panel()
    odd = panel.axes[0].model_copy(update={"axis": "taste"})
    scorer = Scorer(panel.model_copy(update={"axes": (odd,)}))
    rollouts = replace(
        next(iter(replay(*scene[:1], WORLD, scene[1]))), panel=scorer.panel.fingerprint
    )
    with pytest.raises(AssertionError, match="taste"):
        scorer.update(rollouts)


def test_the_packaged_panel_is_what_its_generator_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    tool = importlib.import_module("build_returns_panel")
    assert Panel.load(tool.PATH).differences(tool.build()) == []


def test_the_packaged_panel_and_its_anchors() -> None:
    """Ceiling and floor are far apart: another draw of the world comes back, blindness does not."""
    panel = Panel.packaged("returns")
    data = panel.model_dump()
    data["scenarios"] = data["scenarios"][:6:5]  # there and back, and a loop
    few = Panel.from_dict({**data, "seeds": [0]})
    world = SpriteWorld()
    truth = render_truth(few, world)
    found = panel_returns(few, truth)
    assert [len(each.steps) for each in found] == [12, 5]
    assert found[0].to == tuple(range(11, -1, -1))
    assert describe_returns(found) == [
        "In 2 of 2 scenarios the reference comes back to what it showed before, at 5 to 12 steps."
    ]
    means = {}
    for model in (world, OtherSeed(world), ActionBlind(world), Frozen()):
        curve = score((few, truth), model).axes["reset_consistency"]
        means[model.name] = float(curve.values.nanmean())
    assert means["sprites"] == 1
    assert means["other-seed"] > 0.9
    assert means["action-blind"] < 0.15
    assert means["frozen"] == 0
    with pytest.raises(ValueError, match="truth"):
        panel_returns(panel, truth)


def test_inverses_are_found_or_asked_for(scene) -> None:
    panel = loop_panel()
    assert panel.with_there_and_back() == panel.with_there_and_back(INVERSES)
    with pytest.raises(ValueError, match="inverse of 'up'"):
        panel.with_there_and_back({"left": "right"})
    kept = panel.with_there_and_back({"left": "right", "up": "up", "down": "down"})
    assert kept.scenarios[0].actions[:8].count("up") == 2
    data = panel.model_dump()
    data["contract"]["actions"] = {
        "kind": "continuous",
        "names": ["yaw", "fire"],
        "units": ["degree", "button"],
        "noop": [1.0, 0.0],
    }
    for scenario in data["scenarios"]:
        scenario |= {"actions": [[3.0, 1.0]], "then": "hold", "branches": []}
    mirrored = Panel.from_dict(data).with_there_and_back().scenarios[0].actions
    assert mirrored[:5] == ((3.0, 1.0),) * 4 + ((-1.0, 1.0),)
    assert mirrored[-1] == (1.0, 0.0)
    with pytest.raises(ValueError, match="mirrored"):
        Panel.from_dict(data).with_there_and_back({"yaw": "fire"})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["look_left", "look_right", "jump"], {"look_left": "look_right"}),
        (["MoveAhead", "RotateLeft", "RotateRight"], {"RotateLeft": "RotateRight"}),
        (["forward-left", "back-right", "back-left"], {"forward-left": "back-right"}),
        (["forward", "back", "backward"], {}),  # which of both?
        (["a", "d", "w", "s"], {"a": "d", "w": "s"}),
        (["a", "b", "c", "d"], {}),  # no keys of a game
    ],
)
def test_opposites_by_name(names: list[str], expected: dict[str, str]) -> None:
    both = expected | {b: a for a, b in expected.items()}
    assert opposites(names) == both


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
    renamed = Panel.from_dict(data).with_there_and_back()
    assert renamed.scenarios[0].actions.count("look_right") == 3
