"""MujocoWorld: states, controls, labels from segmentation, unstable simulations."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from wmscore.stressors import find
from wmscore.testing import check_world_model
from wmscore.worlds import Item
from wmscore.worlds.lighting import Light
from wmscore.worlds.mujoco import MujocoWorld
from wmscore.worlds.stressed.light import light_frames

# Not imported here: the world says first how it is to draw.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mujoco") is None, reason="mujoco is not installed"
)

XML = """
<mujoco><option timestep="0.005"/>
<asset><texture name="floor" type="2d" builtin="checker" width="64" height="64"/>
<material name="floor" texture="floor" texrepeat="4 4"/></asset>
<worldbody><light pos="0 0 4" dir="0 0 -1" castshadow="false"/>
<geom name="floor" type="plane" size="3 3 .1" material="floor"/>
<camera name="above" pos="0 0 2.4"/>
<body name="cart" pos="0 0 .16"><joint name="slide" type="slide" axis="1 0 0" damping="4"/>
<geom name="hull" type="sphere" size=".15" rgba="1 .2 .2 1" mass="1"/>
<body name="mast" pos="0 .3 0"><geom name="mast" type="box" size=".1 .1 .1" rgba=".9 .9 .1 1"/>
</body></body>
<body name="crate" pos=".6 -.3 .1"><freejoint name="crate"/>
<geom name="crate" type="box" size=".12 .12 .1" rgba=".2 1 .2 1" mass=".2"/></body></worldbody>
<actuator><motor name="push" joint="slide" gear="20" ctrllimited="true" ctrlrange="-1 1"/>
<motor name="spare" joint="slide" gear="0"/></actuator>
<keyframe><key name="left" qpos="-.5 .6 -.3 .1 1 0 0 0"/></keyframe></mujoco>
"""
TABLE = {"noop": {}, "left": {"push": -1}, "right": {"push": 1}}
NAMES = tuple(TABLE)


def world(**options: Any) -> MujocoWorld:
    try:
        return MujocoWorld(
            XML, **({"height": 40, "width": 56, "camera": "above", "frame_skip": 10} | options)
        )
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def discrete() -> Any:
    with world(actions=TABLE) as one:
        yield one


def row(script: Any, **changes: Any) -> Item:
    fields = {
        "panel": "p",
        "scenario": 0,
        "scenario_id": "carts",
        "initial_state_id": "carts",
        "seed": 0,
        "branch": 0,
        "actions": torch.tensor(script),
        "action_names": NAMES,
        "noop": 0,
    }
    return Item(**(fields | changes))


def test_promises_hold(discrete: MujocoWorld) -> None:
    assert discrete.capabilities.fps == pytest.approx(20)
    items = [
        row([1, 1, 2, 0, 2, 1], reset=reset)
        for reset in ({}, {"keyframe": "left"}, {"qpos": {"slide": 0.25}, "qvel": {"slide": -1}})
    ]
    first = discrete.rollout(items, 6)
    assert first.labels is not None
    items = [
        dataclasses.replace(item, frame=frames[0], labels=labels[0])
        for item, frames, labels in zip(items, first.frames, first.labels, strict=True)
    ]
    check_world_model(discrete, items, 6).raise_on_failure()
    assert not torch.equal(first.frames[0, 0], first.frames[1, 0])


def test_the_cart_goes_where_it_is_pushed(discrete: MujocoWorld) -> None:
    rollouts = discrete.rollout([row([2] * 8), row([1] * 8), row([0] * 8)], 8)
    assert rollouts.labels is not None
    cart = rollouts.labels == 1
    column = torch.arange(56)
    middle = (cart * column).sum((2, 3)) / cart.sum((2, 3))
    assert bool((middle[0].diff() >= 0).all())
    assert bool((middle[1].diff() <= 0).all())
    assert float(middle[0, -1]) > float(middle[2, 0]) + 2 > float(middle[1, -1]) + 4
    assert middle[2].tolist() == pytest.approx([float(middle[2, 0])] * 9, abs=1e-6)


def test_labels_are_trees_bodies_or_geoms() -> None:
    item, found = row([0]), {}
    for kind in ("tree", "body", "geom"):
        with world(actions=TABLE, labels=kind) as one:
            labels = one.rollout([item], 1).labels
            assert labels is not None
            found[kind] = one.label_names, sorted(labels.unique().tolist())
            # Red is the hull and nothing else.
            frame = one.rollout([item], 1).frames[0, 0].int()
            red = (frame[0] > 2 * frame[1]) & (frame[0] > 60)
            hull = {1: "cart", 2: "hull"}
            assert {hull.get(i) for i in labels[0, 0][red].unique().tolist()} < {*hull.values()}
    assert found["tree"] == ({1: "cart", 3: "crate"}, [0, 1, 3])
    assert found["body"] == ({1: "cart", 2: "mast", 3: "crate"}, [0, 1, 2, 3])
    assert found["geom"] == ({2: "hull", 3: "mast", 4: "crate"}, [0, 2, 3, 4])
    with world(actions=TABLE, labels="body", background=["mast"]) as one:
        assert one.label_names == {1: "cart", 3: "crate"}
    with world(actions=TABLE, labels=None) as one:
        assert one.rollout([item], 1).labels is None
        assert not one.capabilities.labels


def test_a_state_brings_the_simulation_back_bit_for_bit(discrete: MujocoWorld) -> None:
    warm = {"keyframe": "left", "warmup": ["right"] * 5 + ["left"] * 2}
    state = discrete.initial_state(warm)
    script = [2, 2, 1, 0, 2, 2, 2, 2]
    one = discrete.rollout([row(script, reset=warm)], 8)
    other = discrete.rollout([row(script, reset={"state": state})], 8)
    assert torch.equal(one.frames, other.frames)
    # Rows before it leave nothing behind.
    later = discrete.rollout([row([1] * 8), row(script, reset={"state": state})], 8)
    assert torch.equal(later.frames[1], one.frames[0])
    assert discrete.initial_state({"state": state}) == state


def test_vectors_set_actuators_by_name() -> None:
    with world(action_units=["number", "number"]) as one, world(actions=["push"]) as two:
        assert one.capabilities.action_names == ("push", "spare")
        both = row([[0.0, 1.0], [0.0, -1.0]], action_names=("spare", "push"), noop=None)
        single = row([[1.0], [-1.0]], action_names=("push",), noop=None)
        assert torch.equal(one.rollout([both], 2).frames, two.rollout([single], 2).frames)
        with pytest.raises(ValueError, match=r"expected -1\.\.1 for actuator 0, got 1\.5"):
            two.rollout([row([[1.5]], action_names=("push",))], 1)
        with pytest.raises(ValueError, match=r"\['spare'\] are missing"):
            one.rollout([single], 1)
        with pytest.raises(ValueError, match=r"expected \[T, 1\] for \['push'\]"):
            two.rollout([row([0], action_names=("push",))], 1)


def test_an_unstable_simulation_ends_the_row(
    discrete: MujocoWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wild = {"qvel": {"slide": 1e11}}
    rollouts = discrete.rollout([row([0, 0, 0], reset=wild), row([0, 0, 0])], 3)
    assert rollouts.valid.tolist() == [[True, False, False, False], [True] * 4]
    assert torch.equal(rollouts.frames[0, 3], rollouts.frames[0, 0])
    with pytest.raises(ValueError, match=r"reset\.warmup: .*unstable"):
        discrete.rollout([row([0], reset={**wild, "warmup": ["noop"]})], 1)
    assert list(tmp_path.iterdir()) == []  # MuJoCo leaves no log behind


@pytest.mark.parametrize(
    ("reset", "found"),
    [
        ({"pose": 1}, r"reset: expected keys out of .*got \['pose'\]"),
        ({"keyframe": "right"}, r"reset\.keyframe: expected one of \['left'\], got 'right'"),
        ({"state": [0.0]}, r"reset\.state: expected \d+ finite numbers"),
        ({"state": [], "keyframe": "left"}, "either state or keyframe"),
        ({"qpos": {"hinge": 1}}, r"reset\.qpos: expected joints out of .*got 'hinge'"),
        ({"qpos": {"slide": [1, 2]}}, r"reset\.qpos\.slide: expected 1 finite numbers"),
        ({"qvel": {"slide": float("nan")}}, r"reset\.qvel\.slide: expected 1 finite"),
        ({"warmup": ["up"]}, r"reset\.warmup: expected names out of .*got \['up'\]"),
    ],
)
def test_bad_resets_are_named(discrete: MujocoWorld, reset: Any, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        discrete.rollout([row([0], reset=reset)], 1)


def test_bad_arguments_are_named() -> None:
    for options, found in (
        ({"camera": "below"}, r"camera: expected -1 or one of \['above'\], got 'below'"),
        ({"actions": {"up": {"lift": 1}}}, r"actions\['up'\]: expected actuators .*lift"),
        ({"actions": {"up": [2, 0]}}, r"actions\['up'\]: expected -1\.\.1 for actuator 0, got 2"),
        ({"actions": ["push", "push"]}, "expected different actuators"),
        ({"labels": "thing"}, "labels: expected 'tree'"),
        ({"background": ["wall"]}, "background: expected names out of .*got 'wall'"),
        ({"frame_skip": 0}, "frame_skip: expected an integer of at least 1"),
        ({"action_units": ["metre"]}, "action_units: expected 2 or none"),
    ):
        with pytest.raises(ValueError, match=found):
            MujocoWorld(XML, **({"camera": "above"} | options))
    with pytest.raises(ValueError, match="model: expected a file, XML or an MjModel"):
        MujocoWorld("nowhere.xml")


def test_no_opengl_is_told_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import mujoco

    def fail(*args: Any) -> None:
        raise AttributeError("'NoneType' object has no attribute 'glGetError'")

    monkeypatch.setattr(mujoco, "Renderer", fail)
    with pytest.raises(RuntimeError, match=r"cannot draw here \(MUJOCO_GL=.*glGetError.*egl"):
        MujocoWorld(XML)


def test_opengl_that_fails_at_the_import_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:  # as mujoco does where MUJOCO_GL=osmesa finds no library
        raise AttributeError("'NoneType' object has no attribute 'glGetError'")

    monkeypatch.setattr("wmscore.worlds.mujoco.require", fail)
    with pytest.raises(RuntimeError, match=r"cannot draw here \(MUJOCO_GL=.*glGetError.*egl"):
        MujocoWorld(XML)


def test_a_model_object_is_copied() -> None:
    import mujoco

    model = mujoco.MjModel.from_xml_string(XML)
    before = model.vis.global_.offwidth
    try:
        with MujocoWorld(model, height=20, width=before + 60) as one:
            assert one.capabilities.frame_size == (20, before + 60)
    except RuntimeError as error:
        pytest.skip(str(error))
    assert model.vis.global_.offwidth == before


def test_another_light_is_drawn_by_the_simulator() -> None:
    """A stop is what it is when laid on the frames, where light is not cut; labels stay."""
    items = [row([2, 2, 0])]

    def shown(light: Light) -> Any:
        with plain.relit(light) as lit:
            return lit.rollout(items, 3)

    with world(actions=TABLE) as plain:
        before = plain.rollout(items, 3)
        dim, dark, warm = (
            shown(Light(exposure=-2)),
            shown(Light(exposure=-3)),
            shown(Light(warmth=1)),
        )
        assert torch.equal(plain.rollout(items, 3).frames, before.frames)  # it has not changed
        with pytest.raises(ValueError, match="shadow"):
            plain.relit(Light(shadow=0.5))
        chosen = {
            name: find(name).suited(plain) for name in ("under-exposure", "warm-light", "shadow")
        }
        assert [c.rendered for c in chosen.values()] == ["simulator", "simulator", None]  # type: ignore[attr-defined]
        assert find("warm-light", rendered="frames").suited(plain).rendered == "frames"  # type: ignore[attr-defined]
    assert torch.equal(before.labels, dim.labels)
    change = (warm.frames.double() - before.frames.double()).mean((0, 1, 3, 4))
    assert float(change[0]) >= 0
    assert float(change[2]) < -3
    bright = dim.frames >= 60
    ratio = dark.frames.double()[bright] / dim.frames.double()[bright]
    assert float(ratio.median()) == pytest.approx(2 ** (-1 / 2.2), abs=0.01)
    laid = light_frames(dim.frames, items, Light(exposure=-1)).double()
    assert float((dark.frames.double() - laid)[bright].abs().mean()) < 4
