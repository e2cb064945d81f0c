"""Fréchet distance on a GPU: as on the CPU. Imports what a bare GPU machine has."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from wmscore.functional import FeatureMoments, frechet_distance, frechet_distance_from_features


@pytest.mark.needs_cuda
def test_cuda_equals_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(2, n, 30, generator=generator, dtype=torch.float64) for n in (20, 50))

    def both(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        moments = [FeatureMoments.of(each) for each in (x, y)]
        return (
            frechet_distance_from_features(x, y).distance,
            frechet_distance(*moments).distance,
        )

    for here, there in zip(both(x, y), both(x.cuda(), y.cuda()), strict=True):
        assert there.device.type == "cuda"
        assert_close(there.cpu(), here, rtol=1e-6, atol=0)
