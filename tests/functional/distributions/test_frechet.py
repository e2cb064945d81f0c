"""Fréchet distance: known answers, other implementations, ranks, invariances, undefined values."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor
from torch.testing import assert_close
from torchmetrics.image.fid import _compute_fid

from wmscore.functional import (
    FeatureMoments,
    Reason,
    frechet_distance,
    frechet_distance_from_features,
)


def draw(*shape: int, seed: int = 0, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(shape[-1], shape[-1], generator=generator, dtype=torch.float64)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) @ mix + shift


def gaussian(mean: list[float], covariance: list[list[float]]) -> FeatureMoments:
    return FeatureMoments(
        torch.tensor(100), torch.tensor(mean).double(), 99 * torch.tensor(covariance).double()
    )


def both(preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    return (
        frechet_distance(FeatureMoments.of(preds), FeatureMoments.of(target)).distance,
        frechet_distance_from_features(preds, target).distance,
    )


def with_scipy(x: Tensor, y: Tensor) -> float:
    """As pytorch-fid does it, without its eps on the diagonal."""
    (m1, s1), (m2, s2) = ((a.mean(0).numpy(), np.cov(a.numpy(), rowvar=False)) for a in (x, y))
    root = scipy.linalg.sqrtm(s1 @ s2)
    return float((m1 - m2) @ (m1 - m2) + np.trace(s1) + np.trace(s2) - 2 * np.trace(root).real)


def test_known_answers() -> None:
    eye, four = torch.eye(3).tolist(), (4 * torch.eye(3)).tolist()
    unit = gaussian([0, 0, 0], eye)
    found = frechet_distance(gaussian([1, 1, 1], four), unit)
    assert_close(found.distance.item(), 6.0)
    assert_close((found.mean_term.item(), found.covariance_term.item()), (3.0, 3.0))
    # Covariances that do not commute: Tr (A B)^(1/2)^2 = Tr AB + 2 det^(1/2) for 2 x 2.
    a, b = [[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 4.0]]
    trace_of_root = (10 + 2 * (3 * 4) ** 0.5) ** 0.5
    found = frechet_distance(gaussian([0, 0], a), gaussian([0, 0], b))
    assert_close(found.distance.item(), 4 + 5 - 2 * trace_of_root)
    # One feature: (difference of means)² + (difference of standard deviations)².
    x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [9.0]])
    for value in both(x, y):
        assert_close(value.item(), 25.0 + (18**0.5 - 2**0.5) ** 2)


@pytest.mark.parametrize(("n", "m", "width"), [(200, 150, 12), (60, 300, 40), (50, 50, 8)])
def test_equal_to_scipy_and_torchmetrics(n: int, m: int, width: int) -> None:
    x, y = draw(n, width), draw(m, width, seed=1, shift=0.3)
    expected = with_scipy(x, y)
    torchmetrics = _compute_fid(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T)).item()
    for value in both(x, y):
        assert_close(value.item(), expected, rtol=1e-9, atol=0)
        assert_close(value.item(), torchmetrics, rtol=1e-9, atol=0)


@pytest.mark.parametrize(("n", "m"), [(10, 7), (10, 100), (100, 10), (2, 2), (33, 32), (32, 31)])
def test_fewer_rows_than_features(n: int, m: int) -> None:
    """The moments are exact to the root of the rounding error only; see the docstring."""
    x, y = draw(n, 32), draw(m, 32, seed=1)
    from_moments, from_rows = both(x, y)
    assert_close(from_moments, from_rows, rtol=1e-6, atol=0)
    # Rotated so that all rows of both sets lie in few dims, which then are all there are.
    basis = torch.linalg.qr(torch.cat([x, y]).T)[0][:, : n + m]
    within = frechet_distance_from_features(x @ basis, y @ basis).distance
    assert_close(from_rows, within, rtol=1e-10, atol=0)
    result = frechet_distance_from_features(x, y)
    assert bool(result.rank_deficient) == (min(n, m) <= 32)
    assert (int(result.preds_count), int(result.target_count), result.features) == (n, m, 32)


@pytest.mark.parametrize("rows", [20, 200])
def test_identical_sets_are_at_rounding(rows: int) -> None:
    x = draw(rows, 50)
    size = torch.cov(x.T).trace().item()
    from_moments, from_rows = both(x, x.flip(0))
    assert abs(from_rows.item()) < 1e-12 * size
    assert abs(from_moments.item()) < 1e-6 * size


def test_symmetric_and_invariant() -> None:
    x, y = draw(30, 12), draw(45, 12, seed=1, shift=1.0)
    expected = frechet_distance_from_features(x, y).distance
    turn = torch.linalg.qr(draw(12, 12, seed=2))[0]
    changed = {
        "swapped": (y, x),
        "rows permuted": (x[torch.randperm(30)], y.flip(0)),
        "features permuted": (x.flip(1), y.flip(1)),
        "rotated": (x @ turn, y @ turn),
        "moved": (x + 100, y + 100),
    }
    for pair in changed.values():
        for value in both(*pair):
            assert_close(value, expected, rtol=1e-8, atol=0)
    for value in both(3 * x, 3 * y):
        assert_close(value, 9 * expected, rtol=1e-8, atol=0)


def test_leading_dims_equal_a_loop_and_broadcast() -> None:
    x, y = draw(2, 3, 20, 6), draw(3, 25, 6, seed=1)
    for batched in both(x, y):
        assert batched.shape == (2, 3)
        for i in range(2):
            for j in range(3):
                alone = frechet_distance_from_features(x[i, j], y[j]).distance
                assert_close(batched[i, j], alone, rtol=1e-9, atol=0)


def test_rows_that_are_not_valid_have_no_effect() -> None:
    x, y = draw(2, 20, 6), draw(2, 25, 6, seed=1)
    preds_valid = torch.ones(2, 20, dtype=torch.bool)
    preds_valid[1, 9:] = False
    target_valid = torch.arange(25) < 14
    cut = frechet_distance_from_features(x[1, :9], y[1, :14])
    x[~preds_valid], y[:, 14:] = torch.nan, torch.inf
    found = frechet_distance_from_features(x, y, preds_valid=preds_valid, target_valid=target_valid)
    assert_close(found.distance[1], cut.distance, rtol=1e-11, atol=0)
    assert (found.preds_count.tolist(), found.target_count.tolist()) == ([20, 9], [14, 14])
    assert found.reason.tolist() == [0, 0]


def test_undefined_is_nan_with_a_reason() -> None:
    x, y = draw(4, 10, 3), draw(4, 10, 3, seed=1)
    x[1, 0, 0], y[2, 5, 1] = torch.nan, -torch.inf
    valid = torch.ones(4, 10, dtype=torch.bool)
    valid[3, 1:] = False
    expected = [
        Reason.DEFINED,
        Reason.NON_FINITE_FEATURES,
        Reason.NON_FINITE_FEATURES,
        Reason.TOO_FEW_SAMPLES,
    ]
    from_rows = frechet_distance_from_features(x, y, preds_valid=valid)
    from_moments = frechet_distance(FeatureMoments.of(x, valid=valid), FeatureMoments.of(y))
    for found in (from_rows, from_moments):
        assert found.reason.tolist() == expected
        for value in (found.distance, found.mean_term, found.covariance_term):
            assert value.isnan().tolist() == [False, True, True, True]
    huge = frechet_distance_from_features(1e200 * x[:1], y[:1])  # the squares overflow
    assert huge.reason.tolist() == [Reason.NON_FINITE_FEATURES]
    assert huge.distance.isnan().all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32])
def test_narrow_dtypes_are_widened_first(dtype: torch.dtype) -> None:
    x, y = ((100 + 20 * torch.rand(30, 4)).to(dtype) for _ in range(2))
    for narrow, wide in zip(both(x, y), both(x.double(), y.double()), strict=True):
        assert narrow.dtype == torch.float64
        assert narrow.item() == wide.item()


def test_bad_input() -> None:
    x = torch.zeros(5, 3)
    for preds, target, message in (
        (x, torch.zeros(5, 4), r"one number of features D, got \(5, 3\) and \(5, 4\)"),
        (x[:1], x, r"preds must have shape \[\.\.\., N, D\] with N >= 2 .* got \(1, 3\)"),
        (x, x[0], r"target must have shape \[\.\.\., N, D\].* got \(3,\)"),
        (x.expand(2, 5, 3), x.expand(3, 5, 3), r"must broadcast, got \(2,\) and \(3,\)"),
        (x, x.to("meta"), "must be on one device, got cpu and meta"),
    ):
        with pytest.raises(ValueError, match=message):
            frechet_distance_from_features(preds, target)
    with pytest.raises(TypeError, match=r"preds must be floating point or uint8, got torch\.int32"):
        frechet_distance_from_features(x.int(), x)
    with pytest.raises(ValueError, match="one number of features D, got 3 and 4"):
        frechet_distance(FeatureMoments.of(x), FeatureMoments.of(torch.zeros(5, 4)))
    with pytest.raises(ValueError, match=r"preds_valid|valid must have a shape that broadcasts"):
        frechet_distance_from_features(x, x, preds_valid=torch.ones(4, dtype=torch.bool))
