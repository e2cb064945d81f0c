"""Intervals by halves of scenarios: exactness, determinism, coverage, few clusters."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from wmscore.functional import (
    FeatureMoments,
    Reason,
    frechet_distance_from_features,
    kernel_distance,
)
from wmscore.functional.distributions import (
    DistanceInterval,
    GaussianKernel,
    frechet_interval,
    frechet_interval_from_moments,
    kernel_interval,
)
from wmscore.functional.distributions.intervals import half_samples, strata_of
from wmscore.stats import student_quantile

CLUSTERS, SEEDS, WIDTH = 8, 3, 4


def panel(
    clusters: int = CLUSTERS, shift: float = 0.5, seed: int = 0, leading: tuple[int, ...] = ()
) -> tuple[Tensor, Tensor, Tensor]:
    """Generated and reference features of scenarios, which differ from each other."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*leading, *shape, generator=generator, dtype=torch.float64)

    scenario = normal(clusters, 1, WIDTH)
    x, y = (0.7 * scenario + 0.7 * normal(clusters, SEEDS, WIDTH) for _ in range(2))
    ids = 10 * torch.arange(clusters).repeat_interleave(SEEDS) + 3
    return (x + shift).flatten(-3, -2), y.flatten(-3, -2), ids


def test_halves() -> None:
    both, first = torch.tensor([True, False]), torch.tensor([True, True])
    in_preds, in_target = torch.cat([first, both]), torch.cat([first, both.flip(0)])
    strata = strata_of(in_preds, in_target)
    assert [part.tolist() for part in strata] == [[0, 1], [2], [3]]

    strata = [torch.tensor([0, 2, 4, 6]), torch.tensor([1, 3, 5])]
    picks = half_samples(strata, 40, seed=0)
    assert picks.shape == (40, 7)
    assert picks[:, strata[0]].sum(1).eq(2).all()
    assert sorted(picks[:, strata[1]].sum(1).tolist()) == [1] * 20 + [2] * 20
    assert picks[::2].equal(~picks[1::2])
    assert picks.double().mean(0).tolist() == [0.5] * 7
    assert len(picks.unique(dim=0)) > 20


def test_kernel_halves_are_what_the_rows_give() -> None:
    """The quadratic form over clusters is the distance of the rows, for each draw."""
    x, y, ids = panel()
    other = torch.where(ids < 40, ids, ids + 5)  # half of the scenarios are in one set only
    for unbiased in (True, False):
        found = kernel_interval(
            x, y, preds_clusters=ids, target_clusters=other, draws=6, unbiased=unbiased
        )
        known = torch.cat([ids, other]).unique()
        in_preds, in_target = ((known[:, None] == side).any(1) for side in (ids, other))
        halves = []
        for pick in half_samples(strata_of(in_preds, in_target), 6, seed=0):
            rows = [torch.isin(side, known[pick]) for side in (ids, other)]
            halves.append(
                kernel_distance(x[rows[0]], y[rows[1]], unbiased=unbiased).distance.item()
            )
        halves = torch.tensor(halves, dtype=torch.float64)
        whole = kernel_distance(x, y, unbiased=unbiased).distance
        assert_close(found.distance, whole, rtol=1e-10, atol=0)
        assert_close(found.bias, halves.mean() - whole, rtol=1e-9, atol=1e-12)
        assert_close(found.standard_error, halves.std(correction=0), rtol=1e-9, atol=1e-12)
        assert found.clusters == 12


def test_moments_and_rows_give_one_interval() -> None:
    x, y, ids = panel()
    # The rows are 12 and the features 4, so both are well defined in each half.
    from_rows = frechet_interval(x, y, preds_clusters=ids, target_clusters=ids, draws=20)
    moments = [FeatureMoments.of(a.reshape(CLUSTERS, SEEDS, WIDTH)) for a in (x, y)]
    from_moments = frechet_interval_from_moments(*moments, draws=20)
    for name in ("distance", "low", "high", "standard_error", "bias"):
        assert_close(getattr(from_moments, name), getattr(from_rows, name), rtol=1e-9, atol=1e-10)
    assert from_moments.clusters == from_rows.clusters == CLUSTERS


def test_moments_in_chunks_of_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, _ = panel()
    moments = [FeatureMoments.of(a.reshape(CLUSTERS, SEEDS, WIDTH)) for a in (x, y)]
    whole = frechet_interval_from_moments(*moments, draws=10)
    monkeypatch.setattr(
        "wmscore.functional.distributions.intervals._SETS_BYTES", 8 * WIDTH * WIDTH * 3
    )
    assert_close(frechet_interval_from_moments(*moments, draws=10).low, whole.low)


def test_seed_decides() -> None:
    x, y, ids = panel()
    for measure in (frechet_interval, kernel_interval):

        def interval(seed: int, measure=measure) -> DistanceInterval:
            return measure(x, y, preds_clusters=ids, target_clusters=ids, draws=20, seed=seed)

        first, again, other = interval(0), interval(0), interval(1)
        assert first.low.equal(again.low)
        assert first.high.equal(again.high)
        assert not first.low.equal(other.low)
        assert first.distance.equal(other.distance)


def test_leading_dims_equal_a_loop() -> None:
    x, y, ids = panel(leading=(3,))
    for measure in (frechet_interval, kernel_interval):
        batched = measure(x, y, preds_clusters=ids, target_clusters=ids, draws=10)
        for i in range(3):
            alone = measure(x[i], y[i], preds_clusters=ids, target_clusters=ids, draws=10)
            assert_close(batched.low[i], alone.low, rtol=1e-9, atol=1e-11)
            assert_close(batched.high[i], alone.high, rtol=1e-9, atol=1e-11)


def test_fewer_clusters_widen_and_rows_of_one_cluster_do_not_narrow() -> None:
    widths = []
    for clusters in (6, 24, 96):
        found = [
            kernel_interval(x, y, preds_clusters=ids, target_clusters=ids, draws=100)
            for x, y, ids in (panel(clusters, seed=seed) for seed in range(10))
        ]
        widths.append(sum(float(one.high - one.low) for one in found))
    assert widths[0] > 1.7 * widths[1] > 1.7 * 1.7 * widths[2]
    # Ten copies of each row are no new scenario; taken for such, they would narrow the interval.
    x, y, ids = panel()
    many = [a.repeat_interleave(10, dim=0) for a in (x, y, ids)]
    settings = {"unbiased": False, "draws": 100}
    plain = kernel_interval(x, y, preds_clusters=ids, target_clusters=ids, **settings)
    copied = kernel_interval(
        many[0], many[1], preds_clusters=many[2], target_clusters=many[2], **settings
    )
    assert_close(copied.standard_error, plain.standard_error, rtol=1e-9, atol=0)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_coverage(shift: float) -> None:
    """Over 150 panels of 10 scenarios: the interval holds the mean of the estimator, about 95 %.

    With less than 143 - 11 of 150 the true coverage is below 0.95 by more than 4 standard errors.
    """
    found: dict[str, list[tuple[float, ...]]] = {"frechet": [], "kernel": []}
    for seed in range(150):
        x, y, ids = panel(10, shift, seed=seed)
        ours = {"preds_clusters": ids, "target_clusters": ids, "seed": seed}
        for name, one in (
            ("frechet", frechet_interval(x, y, draws=30, **ours)),
            ("kernel", kernel_interval(x, y, draws=100, kernel=GaussianKernel(2.0), **ours)),
        ):
            values = (one.low, one.high, one.distance, one.debiased, one.standard_error)
            found[name].append(tuple(map(float, values)))
    for name, rows in found.items():
        low, high, distance, debiased, error = torch.tensor(rows).T
        mean = distance.mean()
        assert ((low <= mean) & (mean <= high)).sum() >= 132
        spread = distance.std()
        # At a distance of 0 the estimator varies by less than an average would.
        assert 0.8 * spread < error.mean() < (2.5 if shift == 0 else 1.3) * spread
        if name == "frechet":
            truth = WIDTH * shift**2
            assert mean - truth > 0.25  # what the small sample adds
            assert (debiased.mean() - truth).abs() < 0.1


def test_undefined_is_nan_with_a_reason() -> None:
    x, y, ids = panel(leading=(2,))
    x[1, 0, 0] = torch.nan
    for measure in (frechet_interval, kernel_interval):
        found = measure(x, y, preds_clusters=ids, target_clusters=ids, draws=10)
        assert found.reason.tolist() == [Reason.DEFINED, Reason.NON_FINITE_FEATURES]
        for name in ("distance", "low", "high", "standard_error", "bias", "debiased"):
            assert getattr(found, name).isnan().tolist() == [False, True]


def test_halves_with_too_few_rows() -> None:
    x, y, _ = panel()
    valid = torch.ones(CLUSTERS, SEEDS, dtype=torch.bool)
    valid[1:] = False  # all rows in one cluster: each other half is empty
    sides = [FeatureMoments.of(a.reshape(CLUSTERS, SEEDS, WIDTH), valid=valid) for a in (x, y)]
    both = [  # a second leading dim that has them all
        FeatureMoments.from_vector(
            torch.stack([side.to_vector(), FeatureMoments.of(a).to_vector()], 1), features=WIDTH
        )
        for side, a in zip(sides, (x.view(8, 3, 4), y.view(8, 3, 4)), strict=True)
    ]
    found = frechet_interval_from_moments(*both, draws=10)
    assert found.reason.tolist() == [Reason.TOO_FEW_SAMPLES, Reason.DEFINED]
    assert found.distance.isnan().tolist() == [False, False]
    assert found.low.isnan().tolist() == found.bias.isnan().tolist() == [True, False]


def test_student_quantile() -> None:
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 2, 3, 4, 5, 10, 51, 200):
        for probability in (0.9, 0.975, 0.9995):
            expected = stats.t.ppf(probability, freedom)
            found = student_quantile(*torch.tensor([probability, freedom], dtype=torch.float64))
            assert found.item() == pytest.approx(expected, rel=1e-9)


def test_bad_input() -> None:
    x, y, ids = panel()
    ours = {"preds_clusters": ids, "target_clusters": ids}
    for change, message in (
        ({"draws": 7}, "draws must be even"),
        ({"confidence": 1.5}, "confidence must be a number"),
        ({"preds_clusters": ids[1:]}, r"preds_clusters must be integers of shape \(24,\).*\(23,\)"),
        ({"target_clusters": ids.float()}, "target_clusters must be integers"),
        (
            {"preds_clusters": ids % 3, "target_clusters": ids % 3},
            r"at least 4 clusters, .* got \[3\]",
        ),
        ({"target_clusters": ids.where(ids > 3, 4)}, r"2 of each kind.*got \[7, 1, 1\]"),
    ):
        for measure in (frechet_interval, kernel_interval):
            with pytest.raises(ValueError, match=message):
                measure(x, y, **{**ours, **change})
    lonely = torch.tensor([1, 2, 3, 4])
    with pytest.raises(ValueError, match="at least 2 rows in preds and in target, got"):
        frechet_interval(x[:2], y[:4], preds_clusters=lonely[:2], target_clusters=lonely, draws=10)
    moments = FeatureMoments.of(x.reshape(CLUSTERS, SEEDS, WIDTH))
    with pytest.raises(ValueError, match=r"moments \[K, \.\.\.\] of the same K clusters"):
        frechet_interval_from_moments(moments, FeatureMoments.of(y))


def test_the_whole_is_the_plain_distance() -> None:
    x, y, ids = panel()
    found = frechet_interval(x, y, preds_clusters=ids, target_clusters=ids + 1, draws=10)
    assert found.distance.equal(frechet_distance_from_features(x, y).distance)
    assert_close(found.high - found.distance, found.distance - found.low)
    # Two strata of 8 scenarios: 14 degrees of freedom.
    assert_close(
        (found.high - found.distance) / found.standard_error,
        0 * found.high + 2.1448,
        rtol=1e-4,
        atol=0,
    )
    assert found.clusters == 2 * CLUSTERS


@pytest.mark.parametrize("draws", [4, 10])
def test_one_reference_for_several_sets(draws: int) -> None:
    """Leading dims that one side lacks are no draws."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(5, 24, 8, generator=generator)
    y = torch.randn(24, 8, generator=generator) + 0.3
    groups = torch.arange(24) // 4
    clusters = {"preds_clusters": groups, "target_clusters": groups, "draws": draws}
    found = kernel_interval(x, y, **clusters)
    for k in range(5):
        alone = kernel_interval(x[k], y, **clusters)
        for name in ("distance", "low", "high"):
            assert_close(getattr(found, name)[k], getattr(alone, name))
