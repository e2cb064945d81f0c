"""Time- and shift-tolerant distances: plain loops, HaarPSI's own shift, ties, gaps, bad input."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from wmscore.functional import Reason, haarpsi, mse, psnr, shift_tolerant, ssim, time_tolerant


def rollouts(*shape: int, seed: int = 0) -> Tensor:
    """Random frames as floats in [0, 1]."""
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [0, 1, 3, 20])
def test_time_equals_plain_loops(window: int) -> None:
    preds, target = rollouts(3, 9, 3, 4, 5), rollouts(3, 9, 3, 4, 5, seed=1)
    target_valid = torch.ones(3, 9, dtype=torch.bool)
    target_valid[1, 6:] = False
    found = time_tolerant(mse, preds, target, window, target_valid=target_valid)
    for row, step in product(range(3), range(1, 9)):
        if not target_valid[row, step]:
            assert found.values[row, step - 1].isnan()
            assert found.reason[row, step - 1] == Reason.NO_FRAME
            continue
        candidates = {
            delta: mse(preds[row, step], target[row, step + delta]).item()
            for delta in range(-window, window + 1)
            if 0 <= step + delta < 9 and target_valid[row, step + delta]
        }
        best = min(candidates, key=candidates.__getitem__)
        assert found.values[row, step - 1].item() == candidates[best]
        assert found.lag[row, step - 1].item() == best
        assert found.reason[row, step - 1] == Reason.DEFINED
    if window == 0:
        plain = mse(preds[:, 1:], target[:, 1:])
        assert found.values[0].equal(plain[0])


def test_a_late_model_is_only_late() -> None:
    target = rollouts(2, 12, 3, 16, 16)
    late = target[:, [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]
    found = time_tolerant(haarpsi, late, target, 2, higher_is_better=True)
    assert found.values.tolist() == [[1.0] * 11] * 2
    assert found.lag.tolist() == [[-1] + [-2] * 10] * 2
    early = target[:, [0, *range(2, 12), 11]]
    found = time_tolerant(mse, early, target, 1)
    assert found.values.tolist() == [[0.0] * 11] * 2
    assert found.lag.tolist() == [[1] * 10 + [0]] * 2


def test_time_ties_go_to_the_step_itself() -> None:
    still = rollouts(1, 1, 3, 4, 4).expand(2, 7, 3, 4, 4)
    assert time_tolerant(mse, still, still, 3).lag.tolist() == [[0] * 6] * 2
    # Equally close to the step before and the step after: the smaller lag of the two.
    target = torch.tensor([0.0, 0.2, 0.9, 0.2, 0.0], dtype=torch.float64)
    target = target.view(1, 5, 1, 1, 1).expand(1, 5, 3, 2, 2)
    preds = torch.full_like(target, 0.2)
    assert time_tolerant(mse, preds, target, 1).lag.tolist() == [[0, -1, 0, -1]]


def test_time_keeps_what_is_undefined() -> None:
    preds, target = rollouts(1, 6, 3, 4, 4), rollouts(1, 6, 3, 4, 4, seed=1)
    preds[0, 2, 0, 0, 0] = math.nan
    target[0, 4, 0, 0, 0] = math.nan
    valid = torch.tensor([[True, True, True, True, True, False]])
    found = time_tolerant(mse, preds, target, 2, valid=valid)
    bad = Reason.NON_FINITE
    assert found.reason.tolist() == [[0, bad, 0, bad, Reason.NO_FRAME]]
    assert found.values.isnan().tolist() == [[False, True, False, True, True]]
    assert found.lag[0, [1, 3, 4]].tolist() == [0, 0, 0]


def test_infinite_values_are_values() -> None:
    target = rollouts(1, 4, 3, 4, 4)
    found = time_tolerant(psnr, target, target, 1, higher_is_better=True)
    assert found.values.tolist() == [[math.inf] * 3]
    assert found.reason.tolist() == [[0] * 3]


def test_a_distance_may_know_whose_reference_is_whose() -> None:
    target, index = rollouts(2, 5, 3, 4, 4), torch.tensor([1, 0, 1])
    preds = rollouts(3, 5, 3, 4, 4, seed=1)
    shared = time_tolerant(lambda p, t: mse(p, t[index]), preds, target, 1)
    plain = time_tolerant(mse, preds, target[index], 1)
    assert shared.values.equal(plain.values)
    assert shared.lag.equal(plain.lag)


def test_each_lag_is_one_call_on_views() -> None:
    preds, target = rollouts(2, 8, 3, 4, 4), rollouts(2, 8, 3, 4, 4, seed=1)
    calls = []

    def spy(p: Tensor, t: Tensor) -> Tensor:
        calls.append(p.shape[1])
        assert p.untyped_storage().data_ptr() == preds.untyped_storage().data_ptr()
        assert t.untyped_storage().data_ptr() == target.untyped_storage().data_ptr()
        return mse(p, t)

    time_tolerant(spy, preds, target, 2)
    assert sorted(calls) == [5, 6, 6, 7, 7]  # lags 2, 1, -2, -1 and 0


# --- place ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [0, 1, 2])
@pytest.mark.parametrize("shape", [(24, 28), (130, 132)])
def test_shift_equals_that_of_haarpsi(radius: int, shape: tuple[int, int]) -> None:
    target = (255 * rollouts(3, 3, *shape)).to(torch.uint8)
    preds = target.roll((1, -1), (-2, -1)) // 2 + 40
    preds[2] = target[2]
    halve = min(shape) >= 128  # decided on the whole frame, before its margin is cut off
    found = shift_tolerant(
        lambda p, t: haarpsi(p, t, subsample=halve), preds, target, radius, higher_is_better=True
    )
    assert found.values.equal(haarpsi(preds, target, shift=radius))
    assert found.shift[2].tolist() == [0, 0]
    if radius:
        assert found.shift[:2].tolist() == [[1, -1]] * 2


def test_shift_equals_plain_loops() -> None:
    preds, target = rollouts(2, 3, 3, 12, 14), rollouts(2, 3, 3, 12, 14, seed=1)
    found = shift_tolerant(lambda p, t: 1 - ssim(p, t, window="uniform"), preds, target, 2)
    for row, step in product(range(2), range(3)):
        scores = {}
        for down, right in product(range(-2, 3), repeat=2):
            moved = preds[row, step, :, 2 + down : 10 + down, 2 + right : 12 + right]
            still = target[row, step, :, 2:10, 2:12]
            scores[down, right] = 1 - ssim(moved, still, window="uniform").item()
        best = min(scores, key=scores.__getitem__)
        assert found.values[row, step].item() == pytest.approx(scores[best], abs=1e-12)
        assert tuple(found.shift[row, step].tolist()) == best


@pytest.mark.parametrize("shift", [(0, 0), (2, -1), (-3, 3), (0, 3)])
def test_a_displaced_frame_is_only_displaced(shift: tuple[int, int]) -> None:
    target = rollouts(4, 3, 20, 20)
    found = shift_tolerant(mse, target.roll(shift, (-2, -1)), target, 3)
    assert found.values.tolist() == [0.0] * 4
    assert found.shift.tolist() == [list(shift)] * 4
    assert found.shift.dtype == torch.int64


def test_shift_ties_go_to_the_shortest() -> None:
    flat = torch.full((2, 3, 8, 8), 0.5)
    assert shift_tolerant(mse, flat, flat, 2).shift.tolist() == [[0, 0]] * 2


def test_shift_keeps_what_is_undefined() -> None:
    target = rollouts(2, 3, 8, 8)
    preds = target.clone()
    preds[1, 0, 0, 0] = math.nan  # that one displacement alone sees
    found = shift_tolerant(mse, preds, target, 1)
    assert found.values.isnan().tolist() == [False, True]
    assert found.reason.tolist() == [Reason.DEFINED, Reason.NON_FINITE]
    assert found.shift[1].tolist() == [0, 0]


def test_both_together() -> None:
    target = rollouts(1, 7, 3, 12, 12)
    late = target[:, [0, *range(6)]].roll((1, 1), (-2, -1))

    def forgiving(p: Tensor, t: Tensor) -> Tensor:
        return shift_tolerant(mse, p, t, 1).values

    found = time_tolerant(forgiving, late, target, 1)
    assert found.values.tolist() == [[0.0] * 6]
    assert found.lag.tolist() == [[-1] * 6]


def test_errors() -> None:
    frames = rollouts(2, 5, 3, 8, 8)
    with pytest.raises(ValueError, match="window must be 0 or more, got -1"):
        time_tolerant(mse, frames, frames, -1)
    with pytest.raises(TypeError, match="window must be an int, got float"):
        time_tolerant(mse, frames, frames, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"preds and target must have shape \[B, T \+ 1"):
        time_tolerant(mse, frames, frames[:, 1:], 1)
    with pytest.raises(ValueError, match=r"preds must have shape \[B, T \+ 1"):
        time_tolerant(mse, frames[0], frames[0], 1)
    with pytest.raises(ValueError, match="one T of at least 1"):
        time_tolerant(mse, frames[:, :1], frames[:, :1], 1)
    with pytest.raises(ValueError, match="valid must have a shape"):
        time_tolerant(mse, frames, frames, 1, valid=torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="target_valid must have a shape"):
        time_tolerant(mse, frames, frames, 1, target_valid=torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="radius must be 0 or more, got -2"):
        shift_tolerant(mse, frames, frames, -2)
    with pytest.raises(ValueError, match=r"radius 4 needs frames of at least 9 x 9 pixels"):
        shift_tolerant(mse, frames, frames, 4)
    with pytest.raises(ValueError, match=r"\[\.\.\., C, H, W\] with one size of frames"):
        shift_tolerant(mse, frames, frames[..., :7], 1)
    for function, size in ((time_tolerant, r"\(2, 4\)"), (shift_tolerant, r"\(2, 5\)")):
        message = f"distance must return one value for each frame, a tensor {size}, got"
        with pytest.raises(ValueError, match=message + r" \(\)"):
            function(lambda p, t: mse(p, t).mean(), frames, frames, 1)
        with pytest.raises(ValueError, match=message + " float"):
            function(lambda p, t: 0.0, frames, frames, 1)  # type: ignore[arg-type,return-value]
