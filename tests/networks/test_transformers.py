"""The options of docs/encoders.md on transformers' own classes, tiny and with random weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from wmscore.networks import NORMALIZATIONS, ClipEncoder, ModuleEncoder

# Importing it takes seconds, and warns of what does not concern us.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture
def transformers() -> Any:
    return pytest.importorskip("transformers")


def given(frames: torch.Tensor, name: str) -> torch.Tensor:
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in NORMALIZATIONS[name])
    return (frames / 255 - mean) / std


def random_frames(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8)


def test_dinov2_layers_leave_the_network_as_it_was(transformers: Any) -> None:
    config = transformers.Dinov2Config(image_size=28, patch_size=14, **SMALL)
    network = transformers.Dinov2Model(config).eval()
    frames = random_frames(2, 3, 42, 28)
    encoder = ModuleEncoder(
        network,
        name="dinov2",
        layers=["encoder.layer.1", "encoder.layer.0"],
        tokens="patches",
        prefix_tokens=1,
        normalize="imagenet",
    )
    found = encoder.encode(frames)
    with torch.no_grad():
        states = network(given(frames, "imagenet"), output_hidden_states=True).hidden_states
    for maps, state in zip(found, (states[2], states[1]), strict=True):
        assert_close(maps, state[:, 1:].mT.unsqueeze(2), rtol=1e-4, atol=1e-5)


def test_dinov3(transformers: Any) -> None:
    config = transformers.DINOv3ViTConfig(
        image_size=32, patch_size=16, intermediate_size=64, num_register_tokens=4, **SMALL
    )
    network = transformers.DINOv3ViTModel(config).eval()
    encoder = ModuleEncoder(
        network,
        name="dinov3",
        output="last_hidden_state",
        tokens="patches",
        prefix_tokens=1 + network.config.num_register_tokens,
        size=(32, 48),
        normalize="imagenet",
    )
    frames = random_frames(2, 3, 32, 48)
    (found,) = encoder.encode(frames)
    with torch.no_grad():
        state = network(given(frames, "imagenet")).last_hidden_state
    assert_close(found, state[:, 5:].mT.unsqueeze(2), rtol=1e-4, atol=1e-5)
    assert found.shape == (2, 32, 1, 2 * 3)


def test_clip(transformers: Any) -> None:
    config = transformers.CLIPVisionConfig(
        image_size=32, patch_size=16, intermediate_size=64, projection_dim=8, **SMALL
    )
    network = transformers.CLIPVisionModelWithProjection(config).eval()
    options: Any = {"name": "clip", "output": "image_embeds", "normalize": "clip"}
    frames = random_frames(2, 3, 32, 32)
    (found,) = ModuleEncoder(network, size=32, **options).encode(frames)
    with torch.no_grad():
        assert_close(found[:, :, 0, 0], network(given(frames, "clip")).image_embeds)
    with pytest.raises(ValueError, match="give size="):
        ModuleEncoder(network, **options).encode(random_frames(2, 3, 40, 40))


def test_vjepa2(transformers: Any) -> None:
    config = transformers.VJEPA2Config(
        crop_size=32,
        patch_size=16,
        frames_per_clip=4,
        pred_hidden_size=32,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
        **SMALL,
    )
    network = transformers.VJEPA2Model(config).eval()
    encoder = ClipEncoder(
        network,
        name="vjepa2",
        call="get_vision_features",
        axes="tchw",
        tokens="patches",
        prefix_tokens=0,
        size=32,
        normalize="imagenet",
    )
    clips = random_frames(2, 4, 3, 32, 32)
    with torch.no_grad():
        expected = network(given(clips, "imagenet"), skip_predictor=True).last_hidden_state.mean(1)
    assert_close(encoder.encode_clips(clips), expected, rtol=1e-4, atol=1e-5)
