"""The shape of a drift: the parts put together, with one direction for all of them."""

import math

import torch
from torch.testing import assert_close

from wmscore.functional import (
    drift_onset,
    drift_shape,
    drift_slope,
    end_drift,
    segment_drift,
)


def test_a_jump_and_a_dip() -> None:
    score = torch.tensor([[1.0] * 8 + [0.5] * 8, [1.0] * 6 + [0.5] * 4 + [1.0] * 6])
    found = drift_shape(score, higher_is_better=True)
    assert found.onset[0] == 9
    assert found.onset[1].isnan()  # a dip is no onset ...
    assert found.worst_segment.tolist() == [0.5, 0.5]  # ... but its segment is seen
    assert found.end.tolist() == [0.5, 0.0]
    assert math.copysign(1, found.end[1].item()) == 1  # no -0 in a table


def test_worse_is_positive_whatever_the_direction_of_the_curve() -> None:
    generator = torch.Generator().manual_seed(0)
    distance = torch.linspace(0.1, 0.7, 24) + 0.02 * torch.randn(5, 24, generator=generator)
    distance[2, 5:9] = torch.nan
    as_distance = drift_shape(distance)
    as_score = drift_shape(1 - distance, higher_is_better=True)
    for ours, theirs in zip(as_distance, as_score, strict=True):
        assert_close(ours, theirs, rtol=1e-5, atol=1e-6, equal_nan=True)
    assert (as_distance.slope > 0.02).all()
    assert_close(as_distance.slope, drift_slope(distance).slope)
    assert_close(as_distance.onset, drift_onset(distance).step, equal_nan=True)
    assert_close(as_distance.worst_segment, segment_drift(distance).drift)
    assert_close(as_distance.end, end_drift(distance).drift)


def test_steps_that_are_not_valid_do_not_count() -> None:
    distance = torch.linspace(0.0, 0.5, 16).repeat(2, 1)
    distance[1, 8:] = 9.0
    valid = torch.ones(2, 16, dtype=torch.bool)
    valid[1, 8:] = False
    slope = drift_shape(distance, valid=valid).slope
    assert_close(slope[0], slope[1])
