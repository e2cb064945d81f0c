"""Skill between floor and ceiling: anchors, direction, headroom, undefined steps, bad input."""

from __future__ import annotations

import math

import pytest
import torch

from wmscore.functional import Reason, skill

NAN, INF = math.nan, math.inf


def test_anchors_and_what_lies_outside() -> None:
    floor, ceiling = torch.tensor([0.5, 0.75, 1.0]), torch.tensor([0.25, 0.25, 0.5])
    assert skill(floor, floor, ceiling, 0.1).skill.tolist() == [0, 0, 0]
    assert skill(ceiling, floor, ceiling, 0.1).skill.tolist() == [1, 1, 1]
    outside = skill(torch.tensor([0.75, 0.0, 0.75]), floor, ceiling, 0.1)
    assert outside.skill.tolist() == [-1, 1.5, 0.5]
    assert outside.score.tolist() == [0, 1, 0.5]
    assert outside.headroom.tolist() == [0.25, 0.5, 0.5]
    assert outside.reason.tolist() == [0, 0, 0]
    assert outside.skill.dtype == torch.float64


def test_similarities_give_the_same_skill() -> None:
    distance, floor, ceiling = torch.rand(3, 4, 9, dtype=torch.float64)
    ours = skill(distance, floor, ceiling, 0.2)
    theirs = skill(1 - distance, 1 - floor, 1 - ceiling, 0.2, higher_is_better=True)
    assert ours.reason.equal(theirs.reason)
    assert 0 < int((ours.reason == Reason.NO_HEADROOM).sum()) < 36
    torch.testing.assert_close(ours.skill, theirs.skill, equal_nan=True)
    torch.testing.assert_close(ours.headroom, theirs.headroom)


def test_units_do_not_matter() -> None:
    distance, floor, ceiling = torch.rand(3, 4, 9, dtype=torch.float64)
    ours = skill(distance, floor, ceiling, 0.25)
    scaled = skill(255 * distance, 255 * floor, 255 * ceiling, 255 * 0.25)
    torch.testing.assert_close(ours.skill, scaled.skill, equal_nan=True)


def test_headroom() -> None:
    floor = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.0])
    ceiling = torch.tensor([0.25, 0.375, 0.5, 0.75, 0.0])
    found = skill(torch.full((5,), 0.375), floor, ceiling, 0.125)
    no = Reason.NO_HEADROOM
    assert found.reason.tolist() == [0, 0, no, no, no]  # exactly enough is enough
    assert found.skill.isnan().tolist() == found.score.isnan().tolist() == [False] * 2 + [True] * 3
    # Where nothing is asked for, none is still none.
    assert skill(torch.full((5,), 0.375), floor, ceiling, 0.0).reason.tolist() == [0, 0, no, no, no]
    per_row = skill(torch.rand(2, 5), floor, ceiling, torch.tensor([[0.1], [0.2]]))
    assert per_row.reason[:, :2].tolist() == [[0, 0], [0, no]]


def test_undefined_steps() -> None:
    distance = torch.tensor([NAN, 0.25, 0.25, INF, 0.25])
    floor = torch.tensor([0.5, NAN, 0.5, 0.5, 0.5])
    ceiling = torch.tensor([0.0, 0.0, INF, 0.0, 0.0])
    found = skill(distance, floor, ceiling, 0.1)
    assert found.reason.tolist() == [Reason.NON_FINITE] * 4 + [Reason.DEFINED]
    assert found.skill.isnan().tolist() == [True] * 4 + [False]
    valid = torch.tensor([True, True, True, True, False])
    masked = skill(distance, floor, ceiling, 0.1, valid=valid)
    assert masked.reason[-1] == Reason.NO_FRAME
    assert masked.score[-1].isnan()


def test_anchors_of_fewer_dims() -> None:
    distance = torch.rand(4, 6)
    found = skill(distance, torch.tensor(1.0), torch.zeros(6), 0.1)
    torch.testing.assert_close(found.skill, 1 - distance.double())
    assert found.headroom.shape == (4, 6)


def test_errors() -> None:
    curve = torch.rand(2, 5)
    with pytest.raises(TypeError, match=r"distance must be a torch\.Tensor"):
        skill([0.5], curve, curve, 0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="floor must be floating point"):
        skill(curve, curve.int(), curve, 0.1)
    with pytest.raises(TypeError, match=r"ceiling must be a torch\.Tensor, got float"):
        skill(curve, curve, 0.0, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"ceiling must have a shape that broadcasts to \(2, 5\)"):
        skill(curve, curve, torch.rand(3, 5), 0.1)
    with pytest.raises(ValueError, match="min_headroom must be a number"):
        skill(curve, curve, curve, NAN)
    with pytest.raises(ValueError, match="min_headroom must have a shape"):
        skill(curve, curve, curve, torch.zeros(4))
    with pytest.raises(ValueError, match="floor must be on cpu, got meta"):
        skill(curve, curve.to("meta"), curve, 0.1)
