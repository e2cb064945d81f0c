"""LPIPS on a GPU: near the CPU's float64, and float16 by default."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from wmscore.functional import lpips
from wmscore.networks import LpipsNetwork

pytestmark = pytest.mark.needs_cuda


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_near_float64(net: str) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(256, (4, 3, 64, 64), dtype=torch.uint8, generator=generator)
    preds = (target + 30 * torch.randn(target.shape, generator=generator)).clamp(0, 255)
    preds = preds.to(torch.uint8)
    exact = lpips(preds, target, LpipsNetwork.random(net, linear=False, precision="float64"))
    for precision, bound in (("float32", 1e-5), ("auto", 2e-2)):
        network = LpipsNetwork.random(net, linear=False, precision=precision).to("cuda")
        assert network.precision == ("float32" if precision == "float32" else "float16")
        values = lpips(preds.cuda(), target.cuda(), network)
        assert_close(values.cpu(), exact, rtol=bound, atol=0)
        assert lpips(target.cuda(), target.cuda(), network).count_nonzero() == 0


def test_a_chunk_fits_the_memory() -> None:
    network = LpipsNetwork.random("alex", linear=False, device="cuda")
    few, many = (torch.zeros(n, 3, 128, 128, dtype=torch.uint8, device="cuda") for n in (64, 4096))
    chunk = network.chunk_frames(few)
    assert chunk > 64
    peaks = []
    for frames in (few, many):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        free = torch.cuda.mem_get_info()[0]
        lpips(frames, frames, network)
        peaks.append(torch.cuda.max_memory_allocated() - before)
        assert peaks[-1] < free
    few_by_64 = lpips(few, few, network, chunk=64)
    assert few_by_64.count_nonzero() == 0
    assert peaks[1] < 8 << 30  # of 4 GiB that a chunk is meant to need
