"""The true world of a stressed panel: whose light, whose start, and never under two stresses."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.panels import sprite_panel
from wmscore.manifest import Panel, PanelMismatchError, Stress
from wmscore.recordings import RecordedTruth, Recording, record, record_shard
from wmscore.replay import panel_items, render_truth
from wmscore.stressors import Shadow, find
from wmscore.testing.faults import ScaledActions
from wmscore.worlds import Frozen, Item, RecordedWorld, stressed_world
from wmscore.worlds.lighting import Light, Relightable
from wmscore.worlds.sprites import SpriteWorld
from wmscore.worlds.stressed.given import spoil_given
from wmscore.worlds.stressed.light import light_frames

PANEL = sprite_panel(scenarios=3, seeds=1, horizon=4, size=32)
WORLD = SpriteWorld(32, 32)


def item(actions: list[int], reset: dict | None = None, **more) -> Item:
    return replace(
        panel_items(PANEL)[0],
        actions=torch.tensor(actions),
        **({} if reset is None else {"reset": reset}),
        **more,
    )


# ---- light ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "light", [Light(exposure=1.0), Light(exposure=-2.0, warmth=0.7), Light(warmth=-1.0)], ids=str
)
def test_a_simulators_light_is_the_one_laid_on_frames(light: Light) -> None:
    items = panel_items(PANEL)
    plain = WORLD.rollout(items, 4)
    lit = WORLD.relit(light).rollout(items, 4)
    assert torch.equal(lit.frames, light_frames(plain.frames, items, light))
    assert torch.equal(lit.labels, plain.labels)
    assert not torch.equal(lit.frames, plain.frames)


def test_stops_are_of_light() -> None:
    assert Light(exposure=1, warmth=1).gains == pytest.approx((2**1.5, 2, 2**0.5))
    assert Light(warmth=-2).gains == pytest.approx((0.5, 1, 2))
    # 188 of 255 is about half of white's light, and 99 about an eighth.
    table = Light(exposure=1).table()[0, 0]
    assert table[[0, 99, 188, 255]].tolist() == [0, 137, 255, 255]
    dark = Light(shadow=0.5).table()[:, 1, 255]
    assert dark[0] == 255
    assert dark[-1] == 188
    assert bool((dark.int().diff() <= 0).all())


def test_a_shadow_lies_on_the_ground_where_there_is_one() -> None:
    """Black where the shadow is whole: that place goes left by the pan when the camera goes right.

    On frames it stays where it is in the picture.
    """
    items = [item([2] * 6)]
    light = Light(shadow=1.0, key="k")
    ground = WORLD.relit(light).rollout(items, 6).frames[0].sum(1) == 0
    plain = WORLD.rollout(items, 6).frames
    laid = light_frames(plain, items, light)[0].sum(1) == 0
    pan = int(WORLD.pan)
    many = [item([0], scenario_id=str(i)) for i in range(40)]
    shares = (WORLD.relit(light).rollout(many, 1).frames[:, 0].sum(1) == 0).double().mean((1, 2))
    assert 0.03 < float(shares.min()) < 0.3
    assert 0.4 < float(shares.mean()) < 0.55  # half, less half of the soft edge
    assert 0.7 < float(shares.max()) < 0.97
    assert bool((ground[0] != ground[-1]).any())
    for t in range(6):
        assert torch.equal(ground[t, :, pan:], ground[t + 1, :, :-pan])
        assert torch.equal(laid[t], laid[t + 1])
    half = WORLD.relit(replace(light, shadow=0.5)).rollout(items, 6).frames[0]
    sunny = WORLD.relit(replace(light, shadow=1e-9)).rollout(items, 6).frames
    assert torch.equal(sunny, plain)
    assert bool((half <= plain[0]).all())


def test_the_ground_of_the_torus_closes_under_its_shadow() -> None:
    around = 4 * 32 // int(WORLD.pan)  # back where it began
    script = [2] * around
    light = Light(shadow=1.0, key="k")
    shown = WORLD.relit(light).rollout([item(script)], around).frames[0].sum(1) == 0
    assert torch.equal(shown[0], shown[-1])
    assert not torch.equal(shown[0], shown[around // 4])


def test_who_renders_a_shadow_is_in_the_panel() -> None:
    by_default = find("shadow").apply(PANEL, 0.8)
    on_frames = find("shadow", rendered="frames").apply(PANEL, 0.8)
    assert by_default.stress is not None
    assert on_frames.stress is not None
    assert by_default.stress.parameters["rendered"] == "simulator"
    assert on_frames.stress.parameters["rendered"] == "frames"
    assert by_default.fingerprint != on_frames.fingerprint
    shown = [render_truth(panel, WORLD).frames for panel in (by_default, on_frames)]
    assert not torch.equal(*shown)
    data = PANEL.model_dump()
    data["contract"]["world"] = "elsewhere:world"
    other = find("shadow").apply(Panel.from_dict(data), 0.8)
    assert other.stress is not None
    assert other.stress.parameters["rendered"] == "frames"
    with pytest.raises(ValueError, match="rendered"):
        Shadow(rendered="somehow")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected options out of \['rendered'\]"):
        find("shadow", colour="red")


def test_a_world_that_cannot_be_lit_says_what_to_do() -> None:
    class Plain:
        name, capabilities = "plain", WORLD.capabilities

        def rollout(self, items, horizon):
            return WORLD.rollout(items, horizon)

    harder = find("shadow").apply(PANEL, 0.8)
    assert isinstance(WORLD, Relightable)
    with pytest.raises(ValueError, match=r"'plain' has no `relit`.*rendered='frames'"):
        stressed_world(Plain(), harder)


def test_a_lit_world_is_of_the_same_kind() -> None:
    class Slow(SpriteWorld):
        def rollout(self, items, horizon):
            return replace(super().rollout(items, horizon), model="slow")

    lit = Slow(32, 32, pan=2).relit(Light(exposure=-1))
    assert (lit.rollout([item([0])], 1).model, lit.pan) == ("slow", 2)
    assert lit.scaled(0.5).stepper.light == Light(exposure=-1)


# ---- the given frame -----------------------------------------------------------------------------


def stress(how: str, **parameters: float) -> Stress:
    return Stress(
        stressor="x",
        severity=1.0,
        parameters={"world": "given", "spoiled": how, **parameters},
        clean="0" * 64,
    )


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    return SpriteWorld(44, 60).rollout([item([0])], 1).frames[0, 0]


def test_blur_is_scipys(picture) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    found = spoil_given(picture[None], [item([0])], stress("blur", sigma=1.5))[0]
    expected = ndimage.gaussian_filter(
        picture.double().numpy(), (0, 1.5, 1.5), mode="nearest", radius=5
    )
    assert int((found - torch.from_numpy(expected).round()).abs().max()) <= 0


@pytest.mark.parametrize("quality", [5, 10, 30, 50, 75, 95])
def test_compression_is_libjpegs(picture, quality: int) -> None:
    image, features = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.features")
    if not features.check_feature("libjpeg_turbo"):
        pytest.skip("other libraries round otherwise")
    import io

    import numpy as np

    file = io.BytesIO()
    pixels = picture.permute(1, 2, 0).contiguous().numpy()
    image.fromarray(pixels).save(file, "JPEG", quality=quality)
    theirs = torch.from_numpy(np.array(image.open(file))).permute(2, 0, 1)
    asked = stress("jpeg", quality=quality)
    (mine,) = spoil_given(picture[None], [item([0])], asked)
    assert torch.equal(mine, theirs)
    (unit,) = spoil_given(picture[None].double() / 255, [item([0])], asked)
    assert torch.equal((unit * 255).round(), theirs.double())


def test_noise_has_its_sigma_and_occlusion_its_area(picture) -> None:
    grey = torch.full((1, 3, 100, 100), 128, dtype=torch.uint8)
    noisy = spoil_given(grey, [item([0])], stress("noise", sigma=16)).double() - 128
    assert abs(float(noisy.std()) - 16) < 0.5
    black = torch.zeros(1, 3, 100, 100, dtype=torch.uint8)
    hidden = spoil_given(black, [item([0])], stress("occlude", area=0.25))
    assert float((hidden == 128).double().mean()) == 0.25
    moved = spoil_given(picture[None], [item([0])], stress("shift", pixels=4))[0]
    assert any(
        torch.equal(
            moved[:, 8:-8, 8:-8],
            picture[:, 8 - dy : 44 - 8 - dy, 8 - dx : 60 - 8 - dx],
        )
        for dy in range(-4, 5)
        for dx in range(-4, 5)
        if 3.4 < (dy**2 + dx**2) ** 0.5 < 4.6
    )


def test_a_scenario_is_spoiled_alike_and_another_otherwise(picture) -> None:
    frames = picture[None].expand(3, -1, -1, -1)
    items = [item([0]), item([0], branch=1, seed=3), item([0], scenario_id="other")]
    found = spoil_given(frames, items, stress("noise", sigma=9))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    turned = spoil_given(frames, items[::-1], stress("noise", sigma=9))
    assert torch.equal(found, turned.flip(0))
    # A row that starts elsewhere is not made to look alike.
    wrong = frames.clone()
    wrong[1] = 0
    assert not torch.equal(*spoil_given(wrong, items, stress("blur", sigma=1))[:2])


@pytest.mark.parametrize(
    ("how", "parameters", "message"),
    [
        ("melt", {}, "expected one of"),
        ("blur", {}, "expected a number in 0.05..44, got None"),
        ("blur", {"sigma": 0.0}, "sigma"),
        ("blur", {"sigma": 1e9}, "sigma"),
        ("occlude", {"area": 1.5}, "0..1"),
        ("jpeg", {"quality": 0}, "1..100"),
    ],
)
def test_written_by_hand_and_wrong(picture, how, parameters, message) -> None:
    with pytest.raises(ValueError, match=message):
        spoil_given(picture[None], [item([0])], stress(how, **parameters))


# ---- a start elsewhere ---------------------------------------------------------------------------


def test_a_warmed_up_world_is_where_its_script_leads() -> None:
    reset = {"seed": 5, "noise": 0.7}
    script = [1, 3, 3, 0, 2]
    long = WORLD.rollout([item([4, 2, *script], reset)], 7)
    other = item(script, {"seed": 9})
    warm = item(script, {**reset, "warmup": ["down", "right"]})
    for rows in ([warm], [other, warm], [warm, other]):
        found = WORLD.rollout(rows, 5)
        mine = found[rows.index(warm)]
        assert torch.equal(mine.frames[0], long.frames[0, 2:])
        assert torch.equal(mine.labels[0], long.labels[0, 2:])
    again = WORLD.rollout([replace(warm, noise_seed=s) for s in (1, 2)], 5).frames
    assert torch.equal(again[0, 0], again[1, 0])
    assert torch.equal(again[0, 0], long.frames[0, 2])
    assert not torch.equal(again[0, 5], again[1, 5])
    half = SpriteWorld(32, 32, pan=0.5).rollout([warm], 5)
    assert torch.equal(half.frames[0, 0], long.frames[0, 2])
    with pytest.raises(ValueError, match="warmup"):
        WORLD.rollout([item(script, {"seed": 1, "warmup": ["jump"]})], 5)


def test_reset_jitter_comes_before_and_harder_rungs_before_easier_ones() -> None:
    data = PANEL.model_dump()
    data["scenarios"][0]["reset"]["warmup"] = ["left"]
    panel = Panel.from_dict(data)
    rungs = [find("reset-jitter").apply(panel, n) for n in (1, 2, 4)]
    for s in range(3):
        drawn = [rung.scenarios[s].reset["warmup"] for rung in rungs]
        before = ["left"] if s == 0 else []
        assert [len(d) - len(before) for d in drawn] == [1, 2, 4]
        assert all(d[: len(before)] == before and "noop" not in d[len(before) :] for d in drawn)
        assert drawn[0][-1:] == drawn[1][-1:] == drawn[2][-1:]
        assert drawn[1][-2:] == drawn[2][-2:]
    assert rungs[0].stress is not None
    assert rungs[0].actions(0).tolist() == panel.actions(0).tolist()


# ---- vectors -------------------------------------------------------------------------------------


def vectors() -> Panel:
    """Steering, throttle and a button."""
    return Panel.from_dict(
        {
            "name": "car",
            "contract": {
                "actions": {
                    "kind": "continuous",
                    "names": ["steer", "gas", "horn"],
                    "units": ["number", "number", "button"],
                    "noop": [0.0, 0.0, 0.0],
                },
                "horizon": 40,
            },
            "scenarios": [
                {
                    "id": "a",
                    "initial_state_id": "a",
                    "actions": [[-1.0, 0.5, 0.0], [1.0, 0.8, 1.0]],
                    "then": "cycle",
                    "branches": [{"name": "b", "actions": [[0.5, 0.5, 0.0]], "then": "hold"}],
                }
            ],
            "axes": [{"axis": "action_response", "threshold": 0.5}],
        }
    )


@pytest.mark.parametrize(
    "name", ["actuator-delay", "dropped-actions", "sticky-actions", "noisy-actions", "reset-jitter"]
)
def test_vectors_are_stressed_too(name: str) -> None:
    panel = vectors()
    for severity in find(name).severities:
        harder = find(name).apply(panel, severity)
        sent = harder.actions(0)
        assert sent.shape == (40, 3)
        assert set(sent[:, 2].tolist()) <= {0.0, 1.0}
        if name == "reset-jitter":
            warmup = harder.scenarios[0].reset["warmup"]
            assert len(warmup) == severity
            assert all(w in ([-1, 0.5, 0], [1, 0.8, 1], [0.5, 0.5, 0]) for w in warmup)
        else:
            assert not torch.equal(sent, panel.actions(0))
    if name == "noisy-actions":
        assert sent[:, 0].min() >= -1
        assert sent[:, 0].max() <= 1
        assert sent[:, 1].min() >= 0
        assert sent[:, 1].max() <= 0.8
        assert harder.stress is not None
        assert harder.stress.parameters["low"] == [-1, 0, 0]
        mild = find(name).apply(panel, 0.1).actions(0) - panel.actions(0)
        assert 0 < float(mild[:, 1].abs().max()) < 0.2


def test_commands_that_never_differ_have_no_noise() -> None:
    data = vectors().model_dump()
    data["contract"]["actions"].update(names=["gas"], units=None, noop=None)
    data["scenarios"][0].update(actions=[[1.0]], then="hold", branches=[])
    data["axes"] = [{"axis": "perceptual_drift", "threshold": 0.5}]
    with pytest.raises(ValueError, match="commands that differ"):
        find("noisy-actions").apply(Panel.from_dict(data), 0.5)


# ---- never twice, never the clean one ------------------------------------------------------------


def test_a_wrapped_stressed_world_is_not_stressed_again() -> None:
    class Wrapped:
        def __init__(self, world) -> None:
            self.world, self.name, self.capabilities = world, "wrapped", world.capabilities

        def rollout(self, items, horizon):
            return replace(self.world.rollout(items, horizon), model=self.name)

    harder = find("under-exposure").apply(PANEL, 1)
    once = render_truth(harder, WORLD)
    assert torch.equal(
        render_truth(harder, Wrapped(stressed_world(WORLD, harder))).frames, once.frames
    )
    assert torch.equal(render_truth(harder, Wrapped(WORLD)).frames, once.frames)
    with pytest.raises(ValueError, match="panel's is none"):
        render_truth(PANEL, Wrapped(stressed_world(WORLD, harder)))


def test_another_gain_is_under_the_same_light() -> None:
    harder = find("under-exposure").apply(PANEL, 1)
    world = stressed_world(WORLD, harder)
    items = panel_items(harder)
    found = ScaledActions(gain=0.5).inject(world, items, 4, harder)
    truth = world.rollout(items, 4)
    assert torch.equal(found.frames[:, 0], truth.frames[:, 0])
    assert not torch.equal(found.frames, truth.frames)


def test_films_do_not_know_that_the_scripts_have_changed() -> None:
    def films(actions: str, check: str) -> RecordedWorld:
        facts = SimpleNamespace(
            actions=actions,
            action_names=("a",),
            action_units=(),
            actions_exact=True,
            labels=False,
            fps=10.0,
            frame_size=(32, 32),
        )
        source = SimpleNamespace(name="films", facts=facts, keys=lambda: ())
        return RecordedWorld(source, actions=check)  # type: ignore[arg-type]

    for name, severity in (("actuator-delay", 1), ("reset-jitter", 1)):
        harder = find(name).apply(PANEL, severity)
        with pytest.raises(ValueError, match="'films' shows recordings"):
            stressed_world(films("none", "check"), harder)
        with pytest.raises(ValueError, match="'films' shows recordings"):
            stressed_world(films("discrete", "ignore"), harder)
    checked = films("discrete", "check")
    assert stressed_world(checked, find("actuator-delay").apply(PANEL, 1)) is checked
    with pytest.raises(ValueError, match="give a simulator"):
        stressed_world(checked, find("reset-jitter").apply(PANEL, 1))
    assert stressed_world(checked, find("blur").apply(PANEL, 1)) is not checked


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Recording:
    folder = tmp_path_factory.mktemp("clean") / "truth"
    record(folder, PANEL, WORLD, WORLD)
    return Recording(folder)


@pytest.mark.parametrize(
    ("name", "severity", "message"),
    [
        ("under-exposure", 1, "stress"),
        ("blur", 1, "stress"),
        ("actuator-delay", 1, "stress"),
        ("reset-jitter", 2, "stress"),
        ("horizon-extension", 2, "stress"),
    ],
)
def test_a_recorded_truth_of_the_clean_panel_is_refused(
    recorded, tmp_path, name, severity, message
) -> None:
    harder = find(name).apply(PANEL, severity)
    with pytest.raises(PanelMismatchError, match=message):
        record(tmp_path / "a", harder, WORLD, Frozen(), truth=recorded)


def test_a_recorded_truth_as_a_world(recorded, tmp_path) -> None:
    """Light can be laid on recorded frames; other scripts and states were never recorded."""
    clean = RecordedTruth(recorded)
    harder = find("under-exposure").apply(recorded.panel, 1)
    lit = render_truth(harder, WORLD)
    assert torch.equal(render_truth(harder, clean).frames, lit.frames)
    for name, message in (
        ("actuator-delay", "not recorded under the actions"),
        ("reset-jitter", "another initial state"),
        ("horizon-extension", "expected 8 recorded steps, got 4"),
        ("shadow", "has no `relit`"),
    ):
        stressor = find(name)
        with pytest.raises(ValueError, match=message):
            render_truth(stressor.apply(recorded.panel, stressor.severities[0]), clean)
    record(tmp_path / "lit", harder, WORLD, Frozen())
    again = RecordedTruth(Recording(tmp_path / "lit"))
    assert torch.equal(render_truth(harder, again).frames, lit.frames)
    with pytest.raises(ValueError, match="under the stress under-exposure 1"):
        render_truth(recorded.panel, again)


@pytest.mark.parametrize("name", ["under-exposure", "occlusion", "reset-jitter"])
def test_shards_freeze_the_stressed_first_frames(tmp_path, name: str) -> None:
    """Those of other shards' scenarios too, which are only looked at."""
    stressor = find(name)
    harder = stressor.apply(PANEL, stressor.severities[-1])
    folder = tmp_path / "shared"
    for shard in ((0, 2), (1, 2)):
        found = record_shard(folder, harder, WORLD, Frozen(), batch_size=1, shard=shard)
        assert found.complete
    assert Recording(folder).complete
