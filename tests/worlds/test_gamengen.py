"""GameNGen's shape with diffusers' own classes and random weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.worlds.tiny_models import gamengen_parts
from wmscore.testing import check_world_model, sprite_items
from wmscore.worlds import GameNGenModel, Item, SpriteWorld

diffusers = pytest.importorskip("diffusers")

SIZE, K = 32, 3
NAMES = ("noop", "left", "right", "up", "down")


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    return gamengen_parts(SIZE, K, len(NAMES))


def make(parts: dict[str, Any], **options: Any) -> GameNGenModel:
    options = {
        "action_names": NAMES,
        "fps": 10.0,
        "frame_size": (SIZE, SIZE),
        "steps": 2,
        **options,
    }
    return GameNGenModel(**{**parts, **options})


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return sprite_items(2, 4, world=SpriteWorld(SIZE, SIZE))


def test_contract(parts: dict[str, Any], items: list[Item]) -> None:
    model = make(parts)
    assert model.capabilities.context_frames == K
    report = check_world_model(model, items, 4)
    report.raise_on_failure()
    found = {row.property: row for row in report.rows}
    assert found["deterministic"].observed == found["prefix causal"].observed == "bitwise equal"
    assert found["seedable"].observed != "bitwise equal"
    assert report.action_effect > 0


def test_rows_have_their_own_noise(parts: dict[str, Any], items: list[Item]) -> None:
    items = [replace(item, seed=i) for i, item in enumerate(items)]
    model = make(parts)
    together = model.rollout(items, 2).frames.int()
    for i, item in enumerate(items):
        gap = (together[i] - model.rollout([item], 2).frames[0].int()).abs().max()
        assert gap <= 2
    assert (
        together[0] - model.rollout([replace(items[0], seed=9)], 2).frames[0].int()
    ).abs().max() > 2


class Spy:
    """Remembers what the UNet is given."""

    def __init__(self, unet: Any) -> None:
        self.unet, self.config = unet, unet.config
        self.device, self.dtype = unet.device, unet.dtype
        self.calls: list[dict[str, Any]] = []

    def __call__(self, sample: Tensor, step: Tensor, **given: Any) -> Any:
        self.calls.append({"sample": sample, **given})
        return self.unet(sample, step, **given)


def test_what_the_network_is_given(parts: dict[str, Any], items: list[Item]) -> None:
    spy = Spy(parts["unet"])
    model = make({**parts, "unet": spy}, noise_bucket=3, past_actions=1)
    model.rollout(items, 2)
    assert len(spy.calls) == 4  # two steps of the scheduler for each frame
    first, second = spy.calls[0], spy.calls[2]
    side = SIZE // 4
    assert tuple(first["sample"].shape) == (4, 4 * (K + 1), side, side)
    assert first["class_labels"].tolist() == [3] * 4
    history = first["sample"][:, : 4 * K].unflatten(1, (K, 4))
    assert history[:, 0].equal(history[:, 1])
    assert history[:, 1].equal(history[:, 2])
    later = second["sample"][:, : 4 * K].unflatten(1, (K, 4))
    assert later[:, :2].equal(history[:, 1:])
    # What was predicted stays a latent: it is not what its decoded frame is encoded to.
    assert not later[:, 2].equal(history[:, 2])
    tokens = parts["action_embedding"](torch.tensor([0, 0, 0, int(items[0].actions[0])]))
    assert first["encoder_hidden_states"][0].equal(tokens)


def test_latents_are_fed_back_undecoded(parts: dict[str, Any], items: list[Item]) -> None:
    encoded: list[int] = []

    class Counting:
        """Counts the frames that are encoded."""

        def __init__(self, vae: Any) -> None:
            self.vae, self.config, self.dtype = vae, vae.config, vae.dtype
            self.decode = vae.decode

        def encode(self, pixels: Tensor) -> Any:
            encoded.append(len(pixels))
            return self.vae.encode(pixels)

    model = make({**parts, "vae": Counting(parts["vae"])})
    rolled = model.rollout(items, 3)
    assert encoded == [4]  # frame 0 of each row, once
    encoded.clear()
    model.predict_next(items, rolled.frames, 3)
    assert encoded == [4, 4, 4]  # each true frame but the last


def test_guidance_is_against_a_context_of_zeros(parts: dict[str, Any], items: list[Item]) -> None:
    spy = Spy(parts["unet"])
    guided = make({**parts, "unet": spy}, guidance=1.5).rollout(items, 1).frames
    sample = spy.calls[0]["sample"]
    assert sample.shape[0] == 8
    assert not sample[:4, : 4 * K].any()
    assert sample[4:, : 4 * K].any()
    assert sample[:4, 4 * K :].equal(sample[4:, 4 * K :])
    plain = make(parts).rollout(items, 1).frames
    assert not guided.equal(plain)
    one = make(parts, guidance=1.0).rollout(items, 1).frames.int()  # 1 is no guidance
    assert (one - plain.int()).abs().max() <= 1


def test_frames_are_padded_and_cut(parts: dict[str, Any]) -> None:
    items = [
        replace(item, frame=item.frame[:, :30])  # type: ignore[index]
        for item in sprite_items(1, 2, world=SpriteWorld(SIZE, SIZE))
    ]
    with pytest.raises(ValueError, match=r"frame_size: expected sides that are multiples of 4"):
        make(parts, frame_size=(30, SIZE))
    model = make(parts, frame_size=(30, SIZE), padded_size=(SIZE, SIZE))
    rolled = model.rollout(items, 2)
    assert tuple(rolled.frames.shape) == (2, 3, 3, 30, SIZE)
    seen = model._encoded(torch.stack([item.frame for item in items]))  # type: ignore[misc]
    black = torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8)
    black[:, :, :30] = rolled.frames[:, 0]
    assert seen.equal(make(parts)._encoded(black))


def test_schedulers_with_noise_draw_it_by_row(parts: dict[str, Any], items: list[Item]) -> None:
    scheduler = diffusers.DDPMScheduler(prediction_type="v_prediction", clip_sample=False)
    model = make({**parts, "scheduler": scheduler})
    items = [replace(item, seed=i) for i, item in enumerate(items)]
    together = model.rollout(items, 1).frames.int()
    assert (together[1] - model.rollout(items[1:2], 1).frames[0].int()).abs().max() <= 2
    assert model.rollout(items, 1).frames.int().equal(together)


def test_the_actions_of_the_repro(parts: dict[str, Any], items: list[Item]) -> None:
    with pytest.raises(ValueError, match="action_names: expected at most the 5 actions"):
        make(parts, action_names=None)
    eighteen = {**parts, "action_embedding": torch.nn.Embedding(18, 8)}
    names = ("noop", "left", "right", "forward", "back")  # of VizDoomWorld
    doom = [replace(item, action_names=names, actions=torch.tensor([1, 2, 3, 4])) for item in items]
    seen: list[Tensor] = []
    eighteen["action_embedding"].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model = make(eighteen, action_names=None, padding="black", pad_action=0)
    assert model.capabilities.action_names[:2] == ("TURN_LEFT", "TURN_RIGHT")
    assert model.capabilities.action_names[17] == "ATTACK"
    model.rollout(doom, 4)
    assert [a[0].tolist() for a in seen] == [[0, 0, 0], [0, 0, 1], [0, 1, 8], [1, 8, 0]]
    assert any("no action does nothing" in said for said in model.conversion_losses)
    with pytest.raises(
        ValueError, match="'sprites-0', actions: rest: expected the id of an action"
    ):
        make(eighteen, action_names=None).rollout(doom, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context_frames": 9}, "16 input channels of 4-channel latents hold 3 frames"),
        ({"padding": "short"}, "padding: expected 'repeat' or 'black'"),
        ({"noise_bucket": 10}, r"noise_bucket: expected 0\.\.9, got 10"),
        ({"steps": 0}, "steps: expected at least 1"),
        ({"padded_size": (16, 16)}, r"padded_size: expected at least \(32, 32\)"),
    ],
)
def test_what_does_not_fit_is_refused(parts: dict[str, Any], options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(parts, **options)
    with pytest.raises(ValueError, match="unet: expected 3 "):
        make({**parts, "vae": type("V", (), {"config": type("C", (), {"latent_channels": 3})})()})
