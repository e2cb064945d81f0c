"""The energy test: its level, its power, its bounds, against plain sums."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from wmscore.functional import Reason
from wmscore.stats import energy_test


def test_the_distance_is_that_of_plain_sums() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 2, 3, generator=generator, dtype=torch.float64) for n in (4, 5))

    def mean(a, b) -> float:
        pairs = itertools.product(a, b)
        return sum(float((p - q).square().sum().sqrt()) for p, q in pairs) / (len(a) * len(b))

    expected = 2 * mean(x, y) - mean(x, x) - mean(y, y)
    assert energy_test(x, y, draws=9).distance == pytest.approx(expected, abs=1e-12)


def test_it_keeps_its_level_and_has_power() -> None:
    generator = torch.Generator().manual_seed(0)
    p = []
    for i in range(400):
        x = torch.randn(16, 5, generator=generator, dtype=torch.float64)
        p.append(energy_test(x[:8], x[8:], draws=199, seed=i).p_value)
    assert 0.03 < sum(v <= 0.05 for v in p) / len(p) < 0.075
    x = torch.randn(16, 5, generator=generator, dtype=torch.float64)
    # Never 0: what was seen is one of the ways to deal the labels out.
    assert energy_test(x[:8], x[8:] + 3, draws=199).p_value == 1 / 200
    assert len({energy_test(x[:8], x[8:], draws=199, seed=i).p_value for i in range(8)}) > 1
    wide = energy_test(x[:8], x[8:] * 9, draws=199)  # no shift, another spread
    assert wide.p_value < 0.05


def test_little_and_odd_samples() -> None:
    x = torch.arange(8.0)[:, None]
    assert energy_test(x, x, draws=99).p_value == 1
    assert energy_test(torch.zeros(4, 1), torch.zeros(4, 1), draws=99).p_value == 1
    few = energy_test(x[:3], x)
    assert math.isnan(few.p_value)
    assert few.reason == Reason.TOO_FEW_SAMPLES
    odd = energy_test(torch.full((8, 1), math.nan), x)
    assert math.isnan(odd.p_value)
    assert math.isnan(odd.distance)
    for bad in (x[:0], torch.zeros(8, 2)):
        with pytest.raises(ValueError, match="expected"):
            energy_test(bad, x)
    with pytest.raises(TypeError, match="first"):
        energy_test(x.long(), x)
