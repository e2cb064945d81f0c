"""ClipEncoder: against plain torch, windows against a loop, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.networks.tiny import VideoNet, seeded
from wmscore.networks import NORMALIZATIONS, ClipEncoder

MEAN, STD = (torch.tensor(part).view(3, 1, 1) for part in NORMALIZATIONS["kinetics"])


def random_clips(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("axes", ["cthw", "tchw"])
def test_axes_preparation_and_pooling(axes: Any) -> None:
    network = seeded(VideoNet())
    clips = random_clips(3, 6, 3, 12, 14)
    encoder = ClipEncoder(
        (lambda given: network.stem(given if axes == "cthw" else given.transpose(1, 2))),
        name="video",
        axes=axes,
        normalize="kinetics",
        weights="seed 0",
    )
    given = ((clips / 255 - MEAN) / STD).transpose(1, 2)
    with torch.no_grad():
        assert_close(
            encoder.encode_clips(clips), network.stem(given).mean((2, 3, 4)), rtol=1e-4, atol=1e-5
        )


def test_layers_and_embeddings() -> None:
    network = seeded(VideoNet())
    clips = torch.rand(2, 5, 3, 8, 8)
    with torch.no_grad():
        whole = network(clips.transpose(1, 2))
        stem = network.stem(clips.transpose(1, 2)).mean((2, 3, 4))
    options: Any = {"name": "video", "axes": "cthw"}
    assert_close(ClipEncoder(network, **options).encode_clips(clips), whole)
    encoder = ClipEncoder(network, layer="stem", **options)
    assert_close(encoder.encode_clips(clips), stem)
    assert encoder.name == "video[stem]"


def test_tokens_are_averaged_or_the_first() -> None:
    def tokens(clips: Tensor) -> Tensor:  # [n, T, C, H, W] to [n, T * H, C * W]
        return clips.transpose(2, 3).flatten(3).flatten(1, 2)

    clips = torch.rand(2, 4, 3, 5, 6)
    options: Any = {"name": "video", "axes": "tchw", "weights": "none"}
    mean = ClipEncoder(tokens, tokens="patches", prefix_tokens=1, **options)
    assert_close(mean.encode_clips(clips), tokens(clips)[:, 1:].mean(1))
    first = ClipEncoder(tokens, tokens="first", **options)
    assert_close(first.encode_clips(clips), tokens(clips)[:, 0])
    with pytest.raises(ValueError, match="tokens='first', or tokens='patches'"):
        ClipEncoder(tokens, **options).encode_clips(clips)


@pytest.mark.parametrize(("length", "stride"), [(4, 1), (4, 3), (3, 5), (11, 1)])
@pytest.mark.parametrize("chunk", [None, 1, 4])
def test_windows_are_those_of_a_loop(length: int, stride: int, chunk: int | None) -> None:
    encoder = ClipEncoder(seeded(VideoNet()), name="video", axes="cthw")
    frames = random_clips(3, 12, 3, 8, 8)[:, 1:]  # not one run in memory
    found = encoder.windows(frames, length=length, stride=stride, chunk=chunk)
    starts = list(range(0, 11 - length + 1, stride))
    assert found.start.tolist() == starts
    assert found.length == length
    assert found.features.shape == (3, len(starts), 4)
    for row in range(3):
        for place, start in enumerate(starts):
            clip = frames[row : row + 1, start : start + length]
            alone = encoder.encode_clips(clip)[0]
            assert_close(found.features[row, place], alone, rtol=1e-5, atol=1e-6)


def test_no_rollouts() -> None:
    encoder = ClipEncoder(seeded(VideoNet()), name="video", axes="cthw")
    found = encoder.windows(random_clips(0, 8, 3, 8, 8), length=4, stride=2)
    assert found.features.shape == (0, 3, 0)


def test_r3d_18() -> None:
    models = pytest.importorskip("torchvision.models.video")
    network = models.r3d_18(weights=None).eval()
    encoder = ClipEncoder(
        network, name="r3d_18", axes="cthw", layer="avgpool", size=(32, 40), normalize="kinetics"
    )
    clips = random_clips(2, 8, 3, 32, 40)
    features = encoder.encode_clips(clips)
    assert features.shape == (2, 512)
    with torch.no_grad():
        logits = network(((clips / 255 - MEAN) / STD).transpose(1, 2))
        assert_close(network.fc(features), logits, rtol=1e-4, atol=1e-5)


def test_memory_and_record() -> None:
    network = seeded(VideoNet())
    each = 128 * 4 * 3 * 8 * 8
    encoder = ClipEncoder(network, name="video", axes="cthw", memory=12 * each)
    assert encoder.chunk_clips(random_clips(1, 5, 3, 8, 8)) == 2
    assert encoder.chunk_clips(random_clips(1, 50, 3, 8, 8)) == 1
    other = ClipEncoder(network, name="video", axes="tchw")
    assert encoder.describe()["axes"] == "cthw"
    assert encoder.fingerprint != other.fingerprint


def test_errors() -> None:
    network = seeded(VideoNet())
    with pytest.raises(ValueError, match="axes must be 'cthw' or 'tchw', got 'thwc'"):
        ClipEncoder(network, name="video", axes="thwc")  # type: ignore[arg-type]
    encoder = ClipEncoder(network, name="video", axes="cthw")
    clips = random_clips(2, 8, 3, 8, 8)
    with pytest.raises(ValueError, match=r"\[n, T, C, H, W\]"):
        encoder.encode_clips(clips[0])
    with pytest.raises(TypeError, match=r"must be a torch\.Tensor, got list"):
        encoder.encode_clips([clips])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="8 are too few for a window of 9"):
        encoder.windows(clips, length=9, stride=1)
    with pytest.raises(ValueError, match="at least 1, got 4 and 0"):
        encoder.windows(clips, length=4, stride=0)
    with pytest.raises(ValueError, match=r"failed on an input \[2, 3, 2, 8, 8\].*give size="):
        encoder.encode_clips(clips[:, :2])
    half = ClipEncoder(lambda c: c[:, :, 0].flatten(0, 1), name="x", axes="cthw", weights="none")
    with pytest.raises(ValueError, match="features of 2 inputs"):
        half.encode_clips(clips)
