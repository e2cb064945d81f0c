"""Motion on a GPU against the CPU, on pictures of torch alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wmscore.functional import Reason, global_motion, global_similarity, phase_shift

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]


def walk(rows: int, steps: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Rollouts of a smooth texture seen through a window that moves, and its motion."""
    generator = torch.Generator().manual_seed(0)
    big = torch.rand(rows, 3, 3 * height, 3 * width, generator=generator)
    big = torch.nn.functional.avg_pool2d(big, 3, 1, 1) * 255
    moves = torch.randint(-3, 4, (rows, steps, 2), generator=generator)
    place = torch.cat([torch.zeros(rows, 1, 2, dtype=torch.int64), -moves.cumsum(1)], 1)
    frames = [
        torch.stack([big[row, :, y : y + height, x : x + width] for y, x in at.tolist()])
        for row, at in enumerate(place + torch.tensor([height, width]))
    ]
    return torch.stack(frames).to(torch.uint8), moves.double()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [(64, 64), (45, 70)])
def test_known_motion(size, device) -> None:
    frames, moves = walk(3, 5, *size)
    found = global_motion(frames.to(device))
    assert (found.reason == Reason.DEFINED).all()
    assert (found.shift.cpu() - moves).abs().max() < 0.02
    similarity = global_similarity(frames.to(device))
    assert (similarity.zoom - 1).abs().max() < 2e-3
    assert (similarity.shift.cpu() - moves).abs().max() < 0.1


@pytest.mark.needs_cuda
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float64], ids=str)
def test_equals_the_cpu(dtype) -> None:
    frames = walk(3, 5, 64, 64)[0]
    frames = frames if dtype == torch.uint8 else (frames.double() / 255).to(dtype)
    for window in ("hann", None):
        host, device = (
            phase_shift(x[:, 1:], x[:, :-1], window=window) for x in (frames, frames.cuda())
        )
        torch.testing.assert_close(device.shift.cpu(), host.shift, rtol=0, atol=2e-3)
        torch.testing.assert_close(device.peak.cpu(), host.peak, rtol=0, atol=1e-4)


@pytest.mark.needs_cuda
def test_does_not_wait_for_the_device() -> None:
    frames = walk(2, 3, 64, 64)[0].cuda()
    global_motion(frames)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        global_motion(frames)
    finally:
        torch.cuda.set_sync_debug_mode("default")
