"""Cosmos 3 forward and inverse dynamics: the real pipeline on tiny random weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.panels import sprite_panel
from tests.worlds import tiny_pipelines as tiny
from wmscore.functional import InverseDynamics, recognise_actions, recognise_vectors
from wmscore.replay import render_truth, replay
from wmscore.scorer import Scorer
from wmscore.testing import check_world_model, sprite_items
from wmscore.timeline import ByTable, MotionToPose9
from wmscore.worlds import Cosmos3Model, CosmosActionRecogniser, Item, SpriteWorld
from wmscore.worlds.cosmos import COSMOS_DOMAINS, action_codebook

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
MOVES = ByTable(
    {"noop": {}, "left": {"x": -9.0}, "right": {"x": 9.0}, "up": {"y": -9.0}, "down": {"y": 9.0}},
    components=("x", "y"),
)
ONE_STEP: dict[str, Any] = {
    "resolution_tier": 256,
    "call": {"num_inference_steps": 1},
    "fps": 10.0,
    "chunk": 4,
    "prompt": "push the T",
}


@pytest.fixture(scope="module")
def pipe() -> Any:
    return tiny.cosmos3()


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return sprite_items(1, 6, branches=2, world=SpriteWorld(32, 32))


def push(pipe: Any, **options: Any) -> Cosmos3Model:
    fields: dict[str, Any] = {
        "domain": "pusht",
        "frame_size": (32, 32),
        "actions": "discrete",
        "converter": MOVES,
        **ONE_STEP,
        **options,
    }
    return Cosmos3Model(pipe, **fields)


def test_the_domains_are_those_of_the_library() -> None:
    from diffusers.pipelines.cosmos import pipeline_cosmos3_omni as theirs

    widths = theirs._EMBODIMENT_TO_RAW_ACTION_DIM
    assert {name: domain.width for name, domain in COSMOS_DOMAINS.items()} == widths


def test_forward_dynamics_keeps_its_promises(pipe: Any, items: list[Item]) -> None:
    model = push(pipe)
    report = check_world_model(model, items, 4)
    assert report.ok, report.table()
    assert report.action_effect > 0
    assert (model.name, model.capabilities.frames_per_call) == ("cosmos3-pusht", 4)
    assert not model.capabilities.prefix_causal
    longer = model.rollout(items[:1], 6)  # two chunks; the first is generated whole
    assert torch.equal(longer.frames[0, :4], model.rollout(items[:1], 3).frames[0])
    assert longer.info["echo_gap"].min() > 5  # random weights rebuild the given frame badly


def test_camera_motion_becomes_pose_vectors(pipe: Any) -> None:
    table = {"noop": {}, "left": {"yaw": -5.0}, "right": {"yaw": 5.0}, "up": {"forward": 0.1}}
    model = push(
        pipe,
        domain="camera_pose",
        converter=MotionToPose9(table={**table, "down": {"forward": -0.1}}),
    )
    items = sprite_items(1, 4, branches=1, world=SpriteWorld(32, 32))
    seen: list[dict[str, Any]] = []
    model.pipe = lambda **arguments: seen.append(arguments) or pipe(**arguments)
    model.rollout([replace(items[0], actions=torch.tensor([3, 2, 0, 0]), prompt="a room")], 2)
    condition = seen[0]["action"]
    assert condition.raw_actions.shape == (4, 9)
    assert condition.raw_actions[0].tolist() == pytest.approx([0, 0, 0.1, 1, 0, 0, 0, 1, 0])
    assert (seen[0]["prompt"], seen[0]["fps"]) == ("a room", 10.0)
    assert "enable_safety_check" not in seen[0]  # the guardrail is the user's choice


def test_actions_that_do_not_fit(pipe: Any, items: list[Item]) -> None:
    vectors = [
        replace(i, actions=torch.zeros(6, 3), action_names=("a", "b", "c"), noop=None)
        for i in items
    ]
    model = push(pipe, actions="continuous", converter=None)
    with pytest.raises(
        ValueError, match=r"takes 2 numbers per action .*'sprites-0' gives \[4, 3\]"
    ):
        model.rollout(vectors, 4)
    with pytest.raises(ValueError, match="takes discrete actions"):
        push(pipe, converter=None).rollout(vectors, 4)
    with pytest.raises(ValueError, match=r"domain: expected one of \['agibot.*got 'libero'"):
        push(pipe, domain="libero")
    with pytest.raises(ValueError, match="chunk: none is published for 'pusht'"):
        push(pipe, chunk=None)
    with pytest.raises(ValueError, match=r"frames: expected 4 \* a \+ 1, got 7"):
        push(pipe, chunk=6)
    with pytest.raises(ValueError, match="prompt: 'sprites-0' has none"):
        push(pipe, prompt=None).rollout(items, 4)
    assert Cosmos3Model(pipe, domain="av", frame_size=(32, 32)).rule.frames == 61


class Seer:
    """A pipeline that reads the motion of the sprite world's view, in the place of a network."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, **arguments: Any) -> Any:
        import numpy as np

        from wmscore.functional import global_motion

        self.calls.append(arguments)
        video = torch.from_numpy(np.stack([np.array(p) for p in arguments["action"].video]))
        shift = global_motion(video.permute(0, 3, 1, 2)[None]).shift[0].nan_to_num(0.0)
        torch.rand(1)  # third-party randomness stays inside
        found = torch.stack([-shift[:, 1], -shift[:, 0]], 1) * 3 + 0.1
        return type("Output", (), {"action": [found], "video": None})()


def recogniser(pipe: Any, **options: Any) -> CosmosActionRecogniser:
    names = ("noop", "left", "right", "up", "down")
    fields: dict[str, Any] = {
        "domain": "pusht",
        "codebook": action_codebook(MOVES, names, noop=0),
        **ONE_STEP,
        **options,
    }
    return CosmosActionRecogniser(pipe, **fields)


def test_inverse_dynamics_of_the_real_pipeline(pipe: Any) -> None:
    frames = tiny.random_frames(14, 32, 32).reshape(2, 7, 3, 32, 32)
    network = recogniser(pipe, codebook=None)
    assert isinstance(network, InverseDynamics)
    state = torch.random.get_rng_state()
    vectors = recognise_vectors(network, frames, 2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert vectors.isfinite().all()
    assert not torch.equal(vectors[0], vectors[1])
    assert torch.equal(recognise_vectors(network, frames[1:], 2), vectors[1:])
    # The first window alone is what it is within a longer rollout.
    assert torch.equal(recognise_vectors(network, frames[:1, :5], 2), vectors[:1, :4])
    bad = frames.float() / 255
    bad[0, 6, 0, 0, 0] = float("nan")
    answer = recognise_actions(recogniser(pipe), bad, 5)
    assert answer[0].tolist()[4:] == [-1, -1]  # the window of steps 2..5 is no video
    assert answer[0, :4].min() >= 0


def test_the_recogniser_in_the_scorer() -> None:
    world = SpriteWorld(48, 48)
    panel = sprite_panel(2, 1, axes=[{"axis": "action_response", "threshold": 0.5}])
    seer = Seer()
    scorer = Scorer(panel, inverse_dynamics=recogniser(seer, name="seer"))
    for rollouts in replay(panel, world, render_truth(panel, world), batch_size=6):
        scorer.update(rollouts)
    scores = scorer.compute()
    assert scores.provenance["inverse dynamics"] == "seer"
    assert float(scores.actions.recovery.score) == 1.0
    assert {len(call["action"].video) for call in seer.calls} == {5}


def test_windows_end_with_the_rollout_and_short_ones_are_padded() -> None:
    world = SpriteWorld(48, 48)
    items = sprite_items(1, 7, branches=3, world=world)
    frames = world.rollout([replace(item, frame=None) for item in items], 7).frames
    script = torch.stack([item.actions for item in items])
    seer = Seer()
    network = recogniser(seer)
    assert torch.equal(recognise_actions(network, frames, 5), script)
    assert len(seer.calls) == 6  # steps 0..3 and 3..6 of three rollouts
    assert torch.equal(recognise_actions(network, frames[:, :3], 5), script[:, :2])


def test_codebooks() -> None:
    with pytest.raises(ValueError, match="'a' and 'b' become the same vector"):
        action_codebook(ByTable({"a": {"x": 1.0}, "b": {"x": 1.0}}), ("a", "b"))
    with pytest.raises(ValueError, match=r"codebook: expected \[A, 2\] of at least 2 actions, got"):
        recogniser(Seer(), codebook=torch.zeros(5, 3))
    with pytest.raises(ValueError, match="prompt: none is published for 'pusht'"):
        recogniser(Seer(), prompt=None)
    # Components that are the same for all actions tell nothing, however large.
    pose = MotionToPose9(table={"stay": {}, "go": {"forward": 0.2}})
    book = action_codebook(pose, ("stay", "go"), noop="stay")
    network = recogniser(Seer(), domain="av", codebook=book)
    far = book.clone()
    far[:, 3] += 5.0
    assert network._scores(far[None]).argmax(-1).tolist() == [[0, 1]]
