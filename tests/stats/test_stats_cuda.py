"""The same statistics on a device."""

from __future__ import annotations

import math

import pytest
import torch

from wmscore.stats import (
    conformal_threshold,
    detectable_difference,
    holm,
    joint_conformal_threshold,
    mean_interval,
    paired_power,
    paired_variance,
    scenarios_needed,
    seeds_needed,
    sign_flip_norm_test,
    sign_flip_test,
)


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


@pytest.mark.needs_cuda
def test_sizes_and_thresholds_on_a_device() -> None:
    values = torch.rand(40, 3, 4, dtype=torch.float64)
    values[::3, 0, 1] = math.nan
    other = torch.rand(40, 3, 4, dtype=torch.float64)
    calls = [
        (paired_variance, (values, other)),
        (conformal_threshold, (values, 0.1)),
        (joint_conformal_threshold, (values, 0.2)),
        (paired_power, (values, other, 12)),
        (detectable_difference, (other, 12)),
        (scenarios_needed, (values[:4], other[:4])),
        (seeds_needed, (values, other, other, 20)),
    ]
    for call, arguments in calls:
        moved = [x.cuda() if isinstance(x, torch.Tensor) else x for x in arguments]
        here, there = call(*arguments), call(*moved)
        pairs = [(here, there)] if isinstance(here, torch.Tensor) else zip(here, there, strict=True)
        for a, b in pairs:
            assert b.is_cuda
            torch.testing.assert_close(a, b.cpu(), equal_nan=True)
