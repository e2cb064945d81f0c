"""Kernel distances: known answers, other implementations, bias, blocks, undefined values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torchmetrics.image.kid import poly_mmd

from wmscore.functional import Reason, cmmd, jedi, kernel_distance
from wmscore.functional.distributions import (
    GaussianKernel,
    PolynomialKernel,
    kernel_distance_subsets,
)
from wmscore.functional.distributions.kernels import Kernel, KernelSums

KERNELS = [PolynomialKernel(), PolynomialKernel(2, 0.3, 0.0), GaussianKernel(2.0)]


def draw(*shape: int, seed: int = 0, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) + shift


def pair_by_pair(x: Tensor, y: Tensor, kernel: Kernel, unbiased: bool) -> float:
    def k(a: Tensor, b: Tensor) -> float:
        if isinstance(kernel, GaussianKernel):
            return math.exp(-float((a - b).square().sum()) / (2 * kernel.sigma**2))
        assert isinstance(kernel, PolynomialKernel)
        gamma = 1 / len(a) if kernel.gamma is None else kernel.gamma
        return (gamma * float(a @ b) + kernel.coef0) ** kernel.degree

    def within(rows: Tensor) -> float:
        count = len(rows)
        sums = [
            k(rows[i], rows[j])
            for i in range(count)
            for j in range(count)
            if not (unbiased and i == j)
        ]
        return sum(sums) / len(sums)

    across = sum(k(a, b) for a in x for b in y) / (len(x) * len(y))
    return within(x) + within(y) - 2 * across


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("elements", [1, 9, 1 << 22])  # of a block: sides 1, 3, all
def test_equal_to_pair_by_pair(
    kernel: Kernel, unbiased: bool, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "wmscore.functional.distributions.kernels.block_rows",
        lambda device, leading: math.isqrt(elements),
    )
    x, y = draw(8, 3), draw(5, 3, seed=1, shift=0.4)
    found = kernel_distance(x, y, kernel=kernel, unbiased=unbiased, scale=7.0)
    assert_close(
        found.distance.item(), 7 * pair_by_pair(x, y, kernel, unbiased), rtol=1e-12, atol=1e-13
    )
    assert (int(found.preds_count), int(found.target_count), found.features) == (8, 5, 3)


def test_sums_over_pairs_of_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "wmscore.functional.distributions.kernels.block_rows", lambda device, leading: 3
    )
    x, y, kernel = draw(8, 3), draw(5, 3, seed=1), GaussianKernel(2.0)
    groups = torch.eye(3, dtype=torch.float64)
    x_group, y_group = groups[torch.arange(8) % 3], groups[torch.tensor([0, 0, 2, 1, 2])]
    sums = KernelSums.of(x, y, x_group, y_group, kernel)
    assert_close(sums.preds, x_group.T @ kernel(x, x) @ x_group)
    assert_close(sums.target, y_group.T @ kernel(y, y) @ y_group)
    assert_close(sums.cross, x_group.T @ kernel(x, y) @ y_group)
    assert_close(sums.preds_own, x_group.sum(0))  # k(x, x) = 1


def test_equal_to_torchmetrics() -> None:
    x, y = draw(60, 16), draw(60, 16, seed=1, shift=0.2)
    expected = poly_mmd(y, x, degree=3, gamma=None, coef=1.0)
    assert_close(kernel_distance(x, y).distance, expected, rtol=1e-10, atol=0)


def test_known_answers() -> None:
    apart = cmmd(torch.zeros(4, 2), torch.tensor([6.0, 8.0]).expand(3, 2)).distance
    assert_close(apart.item(), 2000 * (1 - math.exp(-0.5)))
    x = draw(30, 5)
    for measure in (cmmd, jedi):
        assert abs(measure(x, x.flip(0)).distance.item()) < 1e-9
    # The example in the authors' code, which says 270.7 (not times 100), and what gamma = 1 gives.
    a = torch.arange(1, 10).reshape(3, 3).double()
    b = torch.tensor([[7, 6, 5], [4, 3, 2], [1, 1, 8], [0, 2, 5]]).double()
    assert_close(jedi(a, b).distance.item(), 100 * 270.7222, rtol=1e-6, atol=0)
    literal = kernel_distance(a, b, kernel=PolynomialKernel(2, 1.0, 0.0), unbiased=False)
    assert_close(literal.distance.item(), 2436.5)


def test_cmmd_of_unit_vectors_is_a_distance_of_means() -> None:
    x, y = (torch.nn.functional.normalize(draw(50, 8, seed=s, shift=0.3 * s)) for s in (0, 1))
    of_means = 10 * (x.mean(0) - y.mean(0)).square().sum()
    assert_close(cmmd(x, y).distance, of_means, rtol=0.02, atol=0)


@pytest.mark.parametrize("n", [3, 10])
def test_the_unbiased_estimate_is_unbiased(n: int) -> None:
    x = draw(4000, n, 4)
    y = draw(4000, n, 4, seed=1)
    unbiased = kernel_distance(x, y).distance
    error = (unbiased.std() / len(x) ** 0.5).item()
    assert abs(unbiased.mean().item()) < 4 * error
    biased = kernel_distance(x, y, unbiased=False).distance
    assert biased.mean().item() > 20 * error
    # With a difference: E k(x,x') + E k(y,y') - 2 E k(x,y) of a linear kernel is |difference|².
    linear = PolynomialKernel(1, 1.0, 0.0)
    moved = kernel_distance(x + 0.5, y, kernel=linear).distance
    assert abs(moved.mean().item() - 4 * 0.25) < 4 * moved.std().item() / len(x) ** 0.5


def test_symmetric_and_invariant() -> None:
    x, y = draw(20, 6), draw(25, 6, seed=1, shift=1.0)
    turn = torch.linalg.qr(draw(6, 6, seed=2))[0]
    for kernel in KERNELS:
        expected = kernel_distance(x, y, kernel=kernel).distance
        for pair in ((y, x), (x.flip(0), y.flip(0)), (x.flip(1), y.flip(1)), (x @ turn, y @ turn)):
            found = kernel_distance(*pair, kernel=kernel).distance
            assert_close(found, expected, rtol=1e-10, atol=1e-12)
    far = kernel_distance(x + 1e6, y + 1e6, kernel=GaussianKernel(2.0)).distance
    assert_close(far, kernel_distance(x, y, kernel=GaussianKernel(2.0)).distance, rtol=1e-7, atol=0)


def test_leading_dims_equal_a_loop_and_broadcast() -> None:
    x, y = draw(2, 3, 9, 4), draw(3, 7, 4, seed=1)
    for kernel in KERNELS:
        batched = kernel_distance(x, y, kernel=kernel).distance
        assert batched.shape == (2, 3)
        for i in range(2):
            for j in range(3):
                alone = kernel_distance(x[i, j], y[j], kernel=kernel).distance
                assert_close(batched[i, j], alone, rtol=1e-10, atol=1e-12)


def test_rows_that_are_not_valid_have_no_effect() -> None:
    x, y = draw(9, 4), draw(7, 4, seed=1)
    for kernel in KERNELS:
        expected = kernel_distance(x[:6], y[2:], kernel=kernel).distance
        padded = x.clone()
        padded[6:] = torch.nan
        found = kernel_distance(
            padded,
            y,
            kernel=kernel,
            preds_valid=torch.arange(9) < 6,
            target_valid=torch.arange(7) > 1,
        )
        assert_close(found.distance, expected, rtol=1e-11, atol=1e-13)
        assert (int(found.preds_count), int(found.target_count)) == (6, 5)


def test_undefined_is_nan_with_a_reason() -> None:
    x, y = draw(4, 6, 3), draw(4, 6, 3, seed=1)
    x[1, 0, 0], y[2, 5, 1] = torch.nan, torch.inf
    valid = torch.ones(4, 6, dtype=torch.bool)
    valid[3, 1:] = False
    for unbiased in (True, False):
        found = kernel_distance(x, y, unbiased=unbiased, preds_valid=valid)
        assert found.distance.isnan().tolist() == [False, True, True, True]
        assert found.reason.tolist() == [
            Reason.DEFINED,
            Reason.NON_FINITE_FEATURES,
            Reason.NON_FINITE_FEATURES,
            Reason.TOO_FEW_SAMPLES,
        ]


def test_subsets() -> None:
    x, y = draw(40, 3), draw(50, 3, seed=1, shift=0.5)
    found = kernel_distance_subsets(x, y, subsets=300, subset_size=20)
    assert found.distances.shape == (300,)
    assert_close(found.mean, found.distances.mean())
    assert_close(found.std.item(), found.distances.std(correction=0).item())
    whole = kernel_distance(x, y).distance.item()
    assert abs(found.mean.item() - whole) < 4 * found.std.item() / 300**0.5
    same = kernel_distance_subsets(x, y, subsets=300, subset_size=20)
    assert same.distances.equal(found.distances)
    other = kernel_distance_subsets(x, y, subsets=300, subset_size=20, seed=1)
    assert not other.distances.equal(found.distances)
    # Without replacement: a subset of all rows is all rows.
    every = kernel_distance_subsets(x, y[:40], subsets=2, subset_size=40)
    assert_close(every.std.item(), 0.0, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"subset_size must be in 2\.\.40.*got 41"):
        kernel_distance_subsets(x, y, subset_size=41)


def test_no_value_is_read_on_the_device() -> None:
    x, y = torch.empty(2, 9, 3, device="meta"), torch.empty(2, 8, 3, device="meta")
    found = kernel_distance(x, y)
    assert found.distance.shape == found.reason.shape == (2,)
    assert found.distance.device.type == "meta"


def test_bad_input() -> None:
    x = torch.zeros(5, 3)
    with pytest.raises(ValueError, match="one number of features D"):
        kernel_distance(x, torch.zeros(5, 4))
    with pytest.raises(ValueError, match=r"target must have shape .* N >= 2 .* got \(1, 3\)"):
        kernel_distance(x, x[:1])
    with pytest.raises(ValueError, match="sigma must be a number above 0"):
        GaussianKernel(0.0)
    with pytest.raises(ValueError, match="degree must be at least 1, got 0"):
        PolynomialKernel(0)
    with pytest.raises(ValueError, match="coef0 must be a number at least 0"):
        PolynomialKernel(coef0=-1.0)
    with pytest.raises(ValueError, match="scale must be a number above 0"):
        kernel_distance(x, x, scale=0.0)
