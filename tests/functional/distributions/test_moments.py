"""Moments: what one pass gives, in any split and order."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from wmscore.functional import FeatureMoments


def features(*shape: int, offset: float = 1e3, seed: int = 0) -> Tensor:
    """Correlated features far from 0, where sums of squares would cancel."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(shape[-1], shape[-1], generator=generator, dtype=torch.float64)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) @ mix + offset


def assert_same(found: FeatureMoments, expected: FeatureMoments, rtol: float = 1e-12) -> None:
    assert found.count.equal(expected.count)
    assert_close(found.mean, expected.mean, rtol=rtol, atol=0)
    size = expected.scatter.abs().amax().item()
    assert_close(found.scatter, expected.scatter, rtol=rtol, atol=rtol * size)


def test_equal_to_numpy() -> None:
    x = features(50, 7)
    moments = FeatureMoments.of(x)
    assert int(moments.count) == 50
    assert_close(moments.mean.numpy(), np.mean(x.numpy(), 0), rtol=1e-13, atol=0)
    assert_close(moments.covariance.numpy(), np.cov(x.numpy(), rowvar=False), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]])
def test_merging_is_exact_in_any_order(order: list[int]) -> None:
    x = features(100, 5)
    parts = [FeatureMoments.of(part) for part in x.split([1, 17, 50, 32])]
    whole = FeatureMoments.of(x)
    one_by_one = reduce(FeatureMoments.merge, [parts[i] for i in order])
    in_pairs = parts[order[0]].merge(parts[order[1]]).merge(parts[order[2]].merge(parts[order[3]]))
    stacked = FeatureMoments.from_vector(
        torch.stack([parts[i].to_vector() for i in order]), features=5
    )
    for merged in (one_by_one, in_pairs, stacked.merged()):
        assert_same(merged, whole)


def test_an_empty_set_is_neutral() -> None:
    moments = FeatureMoments.of(features(9, 4))
    empty = FeatureMoments.empty(features=4)
    for merged in (moments.merge(empty), empty.merge(moments)):
        assert_same(merged, moments, rtol=0)
    nothing = empty.merge(empty)
    assert int(nothing.count) == 0
    assert nothing.mean.abs().sum() == nothing.scatter.abs().sum() == 0
    assert nothing.covariance.isnan().all()


def test_blocks_of_rows_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x = features(2, 40, 3)
    whole = FeatureMoments.of(x)
    monkeypatch.setattr("wmscore.functional.distributions.moments._BLOCK", 2 * 3 * 7)
    assert_same(FeatureMoments.of(x), whole)


def test_leading_dims_are_sets() -> None:
    x, y = features(2, 3, 20, 4), features(2, 3, 8, 4, seed=1)
    merged = FeatureMoments.of(x).merge(FeatureMoments.of(y))
    for i in range(2):
        for j in range(3):
            alone = FeatureMoments.of(torch.cat([x[i, j], y[i, j]]))
            assert_same(
                FeatureMoments(merged.count[i, j], merged.mean[i, j], merged.scatter[i, j]), alone
            )


def test_what_is_not_valid_has_no_effect() -> None:
    x = features(3, 10, 4)
    valid = torch.arange(10) < torch.tensor([[10], [4], [0]])
    x[~valid] = torch.nan
    moments = FeatureMoments.of(x, valid=valid)
    assert moments.count.tolist() == [10, 4, 0]
    short = FeatureMoments.of(x[1, :4])
    assert_same(FeatureMoments(moments.count[1], moments.mean[1], moments.scatter[1]), short)
    assert moments.finite.all()


def test_combinations_of_sets() -> None:
    x = features(6, 5, 3)
    weights = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 1, 0], [2, 0, 1, 0, 0, 0]])
    combined = FeatureMoments.of(x).combined(weights)
    for row, weight in enumerate(weights):
        expected = FeatureMoments.of(x.repeat_interleave(weight, dim=0).flatten(0, 1))
        found = FeatureMoments(combined.count[row], combined.mean[row], combined.scatter[row])
        assert_same(found, expected)
    nothing = FeatureMoments.of(x).combined(torch.zeros(1, 6))
    assert nothing.count.tolist() == [0]
    assert nothing.mean.abs().sum() == nothing.scatter.abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32])
def test_narrow_dtypes_are_widened_first(dtype: torch.dtype) -> None:
    x = (200 + 20 * torch.rand(300, 3)).to(dtype)  # sums of these overflow float16 and uint8
    assert_same(FeatureMoments.of(x), FeatureMoments.of(x.double()), rtol=0)


def test_features_that_are_not_finite_are_not_dropped() -> None:
    x = features(2, 8, 3)
    x[1, 2, 0] = torch.inf
    moments = FeatureMoments.of(x).merge(FeatureMoments.of(features(2, 4, 3)))
    assert moments.finite.tolist() == [True, False]
    assert moments.count.tolist() == [12, 12]


def test_bad_input() -> None:
    with pytest.raises(TypeError, match=r"features must be a torch\.Tensor, got list"):
        FeatureMoments.of([1.0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"floating point or uint8, got torch\.int64"):
        FeatureMoments.of(torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"shape \[\.\.\., N, D\].*got \(3,\)"):
        FeatureMoments.of(torch.zeros(3))
    with pytest.raises(ValueError, match=r"one shape \[\.\.\., D\], got \(2,\) and \(3,\)"):
        FeatureMoments.empty(features=2).merge(FeatureMoments.empty(features=3))
    with pytest.raises(ValueError, match=r"weights must have shape \[R, K\].*got \(1, 3\)"):
        FeatureMoments.empty((2,), features=2).combined(torch.ones(1, 3))
