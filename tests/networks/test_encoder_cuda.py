"""Encoders on a GPU: frames travel as they are stored, results stay where the network is."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tests.networks.tiny import ConvNet, VideoNet, seeded
from wmscore.functional import embed, feature_cosine, feature_l2, subject_consistency
from wmscore.networks import ClipEncoder, ModuleEncoder

pytestmark = pytest.mark.needs_cuda


def frames(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8)


def test_equals_the_cpu() -> None:
    given = frames(5, 3, 20, 24)
    plain = ModuleEncoder(seeded(ConvNet()), name="conv", layers=["first", "second"], size=16)
    there = ModuleEncoder(
        seeded(ConvNet()).cuda(), name="conv", layers=["first", "second"], size=16
    )
    for place in ("cpu", "cuda"):
        for found, expected in zip(there.encode(given.to(place)), plain.encode(given), strict=True):
            assert found.device.type == "cuda"
            assert_close(found.cpu(), expected, rtol=2e-3, atol=2e-3)  # TF32
    assert there.fingerprint == plain.fingerprint
    assert there.chunk_frames(given) > plain.chunk_frames(given)


def test_float16() -> None:
    given = frames(5, 3, 20, 24)
    network = seeded(ConvNet()).cuda()
    half = ModuleEncoder(network, name="conv", layers=["second"], autocast=torch.float16)
    (found,) = half.encode(given)
    assert found.dtype == torch.float16
    (expected,) = ModuleEncoder(network, name="conv", layers=["second"]).encode(given)
    assert_close(found.float(), expected, rtol=1e-2, atol=1e-2)


def test_windows() -> None:
    given = frames(2, 9, 3, 12, 12)
    plain = ClipEncoder(seeded(VideoNet()), name="video", axes="cthw")
    there = ClipEncoder(seeded(VideoNet()).cuda(), name="video", axes="cthw")
    expected = plain.windows(given, length=4, stride=2).features
    found = there.windows(given.cuda(), length=4, stride=2)
    assert_close(found.features.cpu(), expected, rtol=2e-3, atol=2e-3)


def test_frames_on_the_host_and_a_network_on_the_device() -> None:
    preds, target = frames(3, 4, 3, 16, 16), frames(2, 4, 3, 16, 16)
    index = torch.tensor([1, 0, 1])
    plain = ModuleEncoder(seeded(ConvNet()), name="conv", layers=["first", "second"])
    there = ModuleEncoder(seeded(ConvNet()).cuda(), name="conv", layers=["first", "second"])
    for metric in (feature_cosine, feature_l2):
        expected = metric(preds, target, plain, target_index=index)
        for place in ("cpu", "cuda"):
            found = metric(preds.to(place), target.to(place), there, target_index=index)
            assert found.device.type == place
            assert_close(found.cpu(), expected, rtol=1e-2, atol=1e-3)
            found = metric(preds[:2].to(place), target.to(place), there)
            assert_close(found.cpu(), metric(preds[:2], target, plain), rtol=1e-2, atol=1e-3)
    z = embed(preds, there)
    assert z.device.type == "cpu"
    assert_close(z, embed(preds, plain), rtol=1e-2, atol=1e-3)
    on_device = subject_consistency(z.cuda())
    assert_close(on_device.values.cpu(), subject_consistency(z).values)
