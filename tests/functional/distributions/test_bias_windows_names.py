"""Small-sample bias made visible, distances per window, and names."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from wmscore.functional import (
    distributions,
    frechet_distance_from_features,
    kernel_distance,
    windowed_distance,
)
from wmscore.functional.distributions import (
    distribution_name,
    frechet_distance_extrapolated,
    same_distribution_floor,
    window_samples,
)


@pytest.mark.parametrize(
    "module", [module.name for module in pkgutil.iter_modules(distributions.__path__)]
)
def test_examples(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"{distributions.__name__}.{module}"))
    assert found.failed == 0


def test_the_documented_example_runs() -> None:
    page = Path(__file__).parents[3] / "docs" / "distributions.md"
    (code,) = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    preds, target = torch.randn(2, 24, 32, 4)
    rows = preds.flatten(0, 1)
    names = {
        "preds": preds,
        "target": target,
        "batch": rows,
        "next_batch": rows,
        "reference_moments": distributions.FeatureMoments.of(target.flatten(0, 1)),
        "x": preds[:, 0],
        "y": target[:, 0],
        "scenario": torch.arange(24) // 4,
    }
    exec(code, names)
    assert names["found"].clusters == 6


def test_extrapolation_removes_the_bias() -> None:
    shift, width = 0.3, 16
    measured, extrapolated = [], []
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        x, y = torch.randn(2, 400, width, generator=generator, dtype=torch.float64)
        found = frechet_distance_extrapolated(x + shift, y, repeats=8, seed=seed)
        assert_close(found.distance, frechet_distance_from_features(x + shift, y).distance)
        assert_close(found.bias, found.distance - found.extrapolated)
        assert found.relative_sizes.tolist() == pytest.approx(
            [1 / 0.5, 1 / 0.6, 1 / 0.7, 1 / 0.8, 1 / 0.9, 1]
        )
        assert found.distances.shape == (6,)
        assert found.distances[0] > found.distances[-1]
        measured.append(found.distance.item())
        extrapolated.append(found.extrapolated.item())
    truth = width * shift**2
    assert sum(measured) / 12 - truth > 0.3
    assert abs(sum(extrapolated) / 12 - truth) < 0.12


def test_extrapolation_is_the_least_squares_line() -> None:
    x, y = torch.randn(2, 2, 60, 3, dtype=torch.float64)
    found = frechet_distance_extrapolated(x, y, sizes=4, smallest=0.25, repeats=2)
    design = torch.stack([torch.ones(4, dtype=torch.float64), found.relative_sizes], 1)
    line = torch.linalg.lstsq(design, found.distances).solution
    assert_close(found.extrapolated, line[0])
    assert_close(found.worst_residual, (found.distances - design @ line).abs().amax(0))


def test_extrapolation_of_sets_of_two_sizes() -> None:
    x, y = torch.randn(40, 3), torch.randn(100, 3)
    found = frechet_distance_extrapolated(x, y, sizes=3, smallest=0.25, repeats=2)
    # 10 + 25 rows, 25 + 62 rows, 40 + 100 rows
    expected = [(1 / n + 1 / m) / (1 / 40 + 1 / 100) for n, m in ((10, 25), (25, 62), (40, 100))]
    assert found.relative_sizes.tolist() == pytest.approx(expected)


def test_extrapolation_keeps_scenarios_together() -> None:
    x, y = torch.randn(2, 40, 3, dtype=torch.float64)
    ids = torch.arange(40) // 10
    thin = {"sizes": 2, "smallest": 0.5, "repeats": 6}
    found = frechet_distance_extrapolated(x, y, preds_clusters=ids, target_clusters=ids, **thin)
    possible = [
        frechet_distance_from_features(x[rows], y[rows]).distance.item()
        for i in range(4)
        for j in range(i)
        for rows in [(ids == i) | (ids == j)]
    ]
    one = frechet_distance_extrapolated(
        x, y, preds_clusters=ids, target_clusters=ids, sizes=2, smallest=0.5, repeats=1
    )
    assert min(abs(one.distances[0].item() - value) for value in possible) < 1e-12
    assert min(possible) <= found.distances[0].item() <= max(possible)


def test_floor_of_the_same_distribution() -> None:
    y = torch.randn(2, 120, 5, dtype=torch.float64)
    floor = same_distribution_floor(y, splits=20)
    assert floor.distances.shape == (20, 2)
    assert floor.rows == 60
    assert_close(floor.mean, floor.distances.mean(0))
    fresh = frechet_distance_from_features(
        torch.randn(400, 60, 5, dtype=torch.float64), torch.randn(400, 60, 5, dtype=torch.float64)
    )
    assert 0.5 < (floor.mean.mean() / fresh.distance.mean()).item() < 1.6
    kernel = same_distribution_floor(y, distance=partial(kernel_distance, unbiased=False))
    assert (kernel.mean > 0).all()


def test_floor_keeps_scenarios_together() -> None:
    """Rows of one scenario in both halves would hide how far apart two scenarios are."""
    scenario = 3 * torch.randn(10, 1, 4, dtype=torch.float64)
    y = (scenario + 0.1 * torch.randn(10, 20, 4, dtype=torch.float64)).flatten(0, 1)
    ids = torch.arange(10).repeat_interleave(20)
    apart = same_distribution_floor(y, clusters=ids).mean
    mixed = same_distribution_floor(y).mean
    assert apart > 10 * mixed


def test_windows() -> None:
    features = torch.arange(2 * 6 * 3).reshape(2, 6, 3).float()
    windows = window_samples(features, 2)
    assert windows.shape == (3, 4, 3)
    for window in range(3):
        expected = torch.cat([row[2 * window : 2 * window + 2] for row in features])
        assert windows[window].equal(expected)
    preds, target = torch.randn(9, 6, 3), torch.randn(5, 6, 3)
    for length in (1, 3):
        found = windowed_distance(preds, target, length=length).distance
        assert found.shape == (6 // length,)
        for window, value in enumerate(found):
            part = slice(window * length, (window + 1) * length)
            alone = frechet_distance_from_features(
                preds[:, part].flatten(0, 1), target[:, part].flatten(0, 1)
            )
            assert_close(value, alone.distance, rtol=1e-9, atol=0)
    by_kernel = windowed_distance(preds, target, distance=kernel_distance).distance
    assert by_kernel.shape == (6,)
    assert_close(by_kernel[2], kernel_distance(preds[:, 2], target[:, 2]).distance)


def test_names() -> None:
    digest = "0123456789abcdef" * 4
    assert distribution_name("kernel", "vae") == "kernel-distance[vae]"
    for measure, declared, name in (
        ("frechet", "i3d", "fvd"),
        ("kernel", "i3d", "kvd"),
        ("frechet", "inception-v3", "fid"),
        ("kernel", "inception-v3", "kid"),
    ):
        assert distribution_name(measure, "x", declared=declared, sha256=digest) == name
    # Being called i3d is no declaration.
    assert distribution_name("frechet", "i3d") == "frechet-distance[i3d]"


def test_bad_input() -> None:
    x = torch.randn(8, 3)
    for call, message in (
        (lambda: window_samples(x), r"shape \[B, T, D\].*got \(8, 3\)"),
        (lambda: window_samples(x[None], 3), r"multiple of length = 3, got \(1, 8, 3\)"),
        (lambda: windowed_distance(x[None], x[None, :4]), r"with one T, got \(1, 8, 3\) and"),
        (lambda: same_distribution_floor(x[:3]), "target must have .* N >= 4"),
        (lambda: frechet_distance_extrapolated(x, x, sizes=1), "sizes >= 2"),
        (lambda: frechet_distance_extrapolated(x, x, smallest=1.0), r"smallest in \(0, 1\)"),
        (
            lambda: frechet_distance_extrapolated(x, x, preds_clusters=torch.arange(8)),
            "go together, got only one",
        ),
        (lambda: distribution_name("fvd", "x"), "measure must be one of"),
        (lambda: distribution_name("frechet", "x", declared="i3d"), "sha256 must be the 64"),
        (lambda: distribution_name("frechet", "x", sha256="0" * 64), "declared must be one of"),
        (lambda: distribution_name("frechet", "x", declared="i3d", sha256="0"), "sha256 must be"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_subsets_that_are_the_whole_set_are_refused() -> None:
    x, y = torch.randn(24, 4), torch.randn(24, 4)
    with pytest.raises(ValueError, match=r"smallest: 0\.99 of these rows is all of them"):
        frechet_distance_extrapolated(x, y, smallest=0.99, sizes=3)
