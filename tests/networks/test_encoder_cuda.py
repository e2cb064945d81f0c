"""Encoders on a GPU: frames travel as they are stored, results stay where the network is."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tests.networks.tiny import ConvNet, VideoNet, seeded
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
