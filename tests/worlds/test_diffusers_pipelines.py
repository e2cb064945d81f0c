"""Real pipelines of Diffusers, end to end on tiny random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.panels import sprite_panel
from tests.worlds import tiny_pipelines as tiny
from wmscore.replay import render_truth, replay
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.testing import check_world_model, sprite_items
from wmscore.timeline import SANA_WM, ToKeyString
from wmscore.worlds import DiffusersModel, FitSize, Item, SpriteWorld

# Of Diffusers with NumPy 2, not ours.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
KEYS = {"noop": {}, "left": {"j": 1}, "right": {"l": 1}, "up": {"w": 1}, "down": {"s": 1}}


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return sprite_items(1, 12, branches=2, seeds=(0,), world=SpriteWorld(32, 32))


def check(model: Any, items: list[Item], horizon: int) -> dict[str, Any]:
    """The table of the contract; every promise is kept."""
    report = check_world_model(model, items, horizon)
    assert report.ok, report.table()
    found = {row.property: row.observed for row in report.rows}
    assert found["frame 0"] == found["deterministic"] == "bitwise equal"
    assert found["seedable"] != "bitwise equal"
    return found


def test_cosmos_2_goes_on_from_one_frame_and_then_from_five(items: list[Item]) -> None:
    model = DiffusersModel(
        tiny.cosmos2(),
        fps=16.0,
        frame_size=(32, 32),
        frames=9,
        contexts=(1, 5),
        rows=None,
        call=tiny.embeds_call(),
    )
    assert (model.rule.multiple, model.capabilities.context_frames) == ((4, 1), 5)
    assert model.capabilities.prefix_causal  # whole chunks, no actions
    found = check(model, items, 12)
    # Random weights rebuild the given frame badly: it is dropped, not shown.
    assert model.rollout(items, 4).info["echo_gap"].min() > 5
    # One generator per row: a batch is what its rows are alone.
    assert found["batch invariant"] == "bitwise equal"


def test_cosmos_2_5_takes_an_image_and_then_a_video(items: list[Item]) -> None:
    pipe = tiny.cosmos25()
    model = DiffusersModel(
        pipe,
        fps=16.0,
        frame_size=(32, 32),
        frames=9,
        contexts=(1, 5),
        call=tiny.embeds_call(),
    )
    seen: list[dict[str, Any]] = []
    own = model.pipe
    model.pipe = lambda **arguments: seen.append(arguments) or own(**arguments)
    model.rollout(items[:1], 12)
    model.pipe = own
    assert "image" in seen[0]
    assert len(seen[1]["video"]) == 5
    assert seen[1]["num_latent_conditional_frames"] == 2
    check(model, items, 12)


def test_wan_takes_one_image_per_call(items: list[Item]) -> None:
    pipe = tiny.wan()
    fields: dict[str, Any] = {"fps": 16.0, "frame_size": (32, 32), "call": tiny.embeds_call()}
    model = DiffusersModel(pipe, frames=9, **fields)
    assert model.capabilities.batch_invariant
    check(model, items, 12)
    # The whole horizon in one call is another rollout: nothing is promised of its prefixes.
    whole = DiffusersModel(pipe, **fields)
    assert not whole.capabilities.prefix_causal
    assert whole.rollout(items, 10).frames.shape[1] == 11


def test_a_panel_of_another_size_goes_through_fit_size(items: list[Item]) -> None:
    inner = DiffusersModel(
        tiny.wan(), fps=16.0, frame_size=(32, 64), frames=5, call=tiny.embeds_call()
    )
    with pytest.raises(ValueError, match="FitSize fits panels"):
        inner.rollout(items, 4)
    check(FitSize(inner, 32, 32), items, 4)


def test_sana_wm_walks_by_keys() -> None:
    items = sprite_items(1, 16, branches=2, world=SpriteWorld(64, 96))
    items = [replace(item, actions=torch.full((16,), i + 1)) for i, item in enumerate(items)]
    model = DiffusersModel(
        tiny.sana_world_model(),
        fps=16.0,
        frame_size=(64, 96),
        frames=9,
        actions="discrete",
        converter=ToKeyString(SANA_WM, table=KEYS),
        call=tiny.sana_call(64, 96),
    )
    assert model.rule.multiple == (8, 1)
    found = check(model, items, 12)
    assert found["action effect"] != "0 of 255"
    assert model.conversion_losses == ()


def test_ltx_takes_an_image_and_then_nine_frames(items: list[Item]) -> None:
    masks = dict.fromkeys(
        ("prompt_attention_mask", "negative_prompt_attention_mask"), torch.ones(1, 16)
    )
    model = DiffusersModel(
        tiny.ltx_condition(),
        fps=16.0,
        frame_size=(32, 32),
        frames=17,
        contexts=(1, 9),
        call=tiny.embeds_call(**masks),
    )
    check(model, items, 10)
    assert model.rollout(items[:1], 10).frames.shape[1] == 11


def test_cogvideo(items: list[Item]) -> None:
    fields: dict[str, Any] = {"fps": 16.0, "frame_size": (32, 32), "frames": 9}
    check(DiffusersModel(tiny.cogvideo(), call=tiny.embeds_call(), **fields), items, 4)


@pytest.mark.slow
def test_stable_video_takes_nothing_but_an_image(items: list[Item]) -> None:
    model = DiffusersModel(
        tiny.stable_video(),
        fps=7.0,
        frame_size=(32, 32),
        frames=4,
        call={"num_inference_steps": 1, "decode_chunk_size": 2},
    )
    assert model.inputs.whole_rate
    check(model, items, 4)


def test_a_replay_is_scored(items: list[Item], tmp_path: Path) -> None:
    axes = [
        {"axis": "perceptual_drift", "threshold": 0.6},
        {"axis": "action_response", "threshold": 0.5},
    ]
    panel = sprite_panel(1, 2, horizon=6, size=32, axes=axes)
    model = DiffusersModel(
        tiny.wan(), fps=10.0, frame_size=(32, 32), frames=5, call=tiny.embeds_call()
    )
    scorer = Scorer(panel)
    for rollouts in replay(panel, model, render_truth(panel, SpriteWorld(32, 32))):
        rollouts.save(tmp_path / "rollouts.safetensors")
        scorer.update(Rollouts.load(tmp_path / "rollouts.safetensors", panel))
    scores = scorer.compute()
    assert int(scores.fault.count_nonzero()) == 0
    # It takes no actions, so that all scripts of a seed are one rollout.
    agreement = scores.measures["agreement"].values
    assert (agreement[~agreement.isnan()] == 0).all()
