"""The same statistics on a device."""

from __future__ import annotations

import math

import pytest
import torch

from wmscore.stats import holm, mean_interval, sign_flip_norm_test, sign_flip_test


@pytest.mark.needs_cuda
def test_on_a_device() -> None:
    values = torch.randn(24, 5, 2, dtype=torch.float64) + 0.4
    values[::2, 0] = math.nan
    for call in (sign_flip_test, sign_flip_norm_test, mean_interval):
        here, there = call(values), call(values.cuda())
        for a, b in zip(here, there, strict=True):
            torch.testing.assert_close(a, b.cpu(), equal_nan=True)
    p_values = sign_flip_test(values).p_value
    torch.testing.assert_close(holm(p_values), holm(p_values.cuda()).cpu())
