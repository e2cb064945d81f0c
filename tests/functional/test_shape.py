"""The shape of a drift: the parts put together, with one direction for all of them."""

import math

import pytest
import torch
from torch.testing import assert_close

from wmscore.functional import (
    area_beyond,
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
    as_distance = drift_shape(distance, threshold=0.3)
    as_score = drift_shape(1 - distance, higher_is_better=True, threshold=0.7)
    assert (as_distance.area > 1).all()
    for name in ("slope", "onset", "worst_segment", "end", "area"):
        ours, theirs = getattr(as_distance, name), getattr(as_score, name)
        assert_close(ours, theirs, rtol=1e-5, atol=1e-5, equal_nan=True)
    for name in ("early", "late"):  # levels, not differences
        ours, theirs = getattr(as_distance, name), getattr(as_score, name)
        assert_close(ours, 1 - theirs, rtol=1e-5, atol=1e-6)
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


def test_early_and_late_are_quarters_of_the_steps() -> None:
    curve = torch.arange(16, dtype=torch.float64)
    curve[1] = torch.nan
    found = drift_shape(curve)
    assert found.early == (0 + 2 + 3) / 3
    assert found.late == (12 + 13 + 14 + 15) / 4
    assert drift_shape(torch.ones(3)).early.isnan()
    assert found.area.isnan()  # no threshold


def test_area_beyond_a_threshold() -> None:
    score = torch.tensor([[1.0, 0.5, 0.25, 1.0], [0.75, 0.75, 0.75, 0.75]])
    assert area_beyond(score, 0.75, higher_is_better=True).tolist() == [0.75, 0.0]
    assert area_beyond(score, 0.75).tolist() == [0.5, 0.0]
    score[0, 2] = torch.nan
    assert area_beyond(score, 0.75, higher_is_better=True).tolist() == [0.25, 0.0]
    assert area_beyond(torch.full((4,), torch.nan), 0.5).isnan()
    assert area_beyond(torch.ones(4), torch.tensor(torch.nan)).isnan()
    limits = torch.tensor([0.5, 1.0])
    assert area_beyond(score, limits, higher_is_better=True).tolist() == [0.0, 1.0]
    valid = torch.tensor([[True, False, True, True]])
    assert area_beyond(score, 0.75, higher_is_better=True, valid=valid).tolist() == [0.0, 0.0]


def test_area_does_not_depend_on_where_the_collapse_is() -> None:
    curve = torch.ones(24)
    curve[3:7] = 0.2
    areas = [area_beyond(curve.roll(k), 0.6, higher_is_better=True) for k in range(0, 17, 4)]
    assert_close(torch.stack(areas), torch.full((5,), 1.6, dtype=torch.float64), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: area_beyond([1.0], 0.5), TypeError, "values must be a torch.Tensor"),
        (lambda: area_beyond(torch.ones(2, 4), torch.ones(3)), ValueError, "threshold must have"),
        (lambda: area_beyond(torch.ones(4), "a"), TypeError, "threshold must be a number"),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
