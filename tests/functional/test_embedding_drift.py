"""Similarity curves without a reference: plain loops, VBench's formula, undefined steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize
from torch.testing import assert_close

from wmscore.functional import (
    Reason,
    adjacent_similarity,
    first_frame_similarity,
    similarity_by_lag,
    subject_consistency,
)

CURVES = [first_frame_similarity, adjacent_similarity, subject_consistency]


def random_walk(rows: int = 3, frames: int = 9, size: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, frames, size, generator=generator).cumsum(1)


def cosine(left: Tensor, right: Tensor) -> float:
    return cosine_similarity(left.double(), right.double(), dim=-1).item()


def oracle(curve: Callable[..., Any], z: Tensor, context: int = 1) -> Tensor:
    """One rollout, step by step."""
    given = normalize(z[:context].double(), dim=-1).mean(0)
    values = []
    for step in range(1, len(z)):
        first, previous = cosine(z[step], given), cosine(z[step], z[step - 1])
        values.append(
            first
            if curve is first_frame_similarity
            else previous
            if curve is adjacent_similarity
            else (max(0.0, first) + max(0.0, previous)) / 2
        )
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("curve", CURVES)
def test_equals_a_plain_loop(curve: Callable[..., Any], dtype: torch.dtype) -> None:
    z = random_walk().to(dtype)
    found = curve(z)
    expected = torch.stack([oracle(curve, rollout) for rollout in z])
    assert found.values.dtype == torch.float64
    assert_close(found.values, expected, rtol=0, atol=1e-12)
    assert_close(found.mean, expected.mean(-1), rtol=0, atol=1e-12)
    assert found.reason.eq(0).all()
    assert found.reason.dtype == torch.uint8


def test_is_vbench() -> None:
    """Their definition, a pair of frames at a time, in float32 as they run it."""
    for seed in range(5):
        z = random_walk(1, 16, 768, seed=seed)
        f = normalize(z[0], dim=-1)
        total = 0.0
        for t in range(1, 16):
            previous, first = (cosine_similarity(f[t], other, dim=0) for other in (f[t - 1], f[0]))
            total += (max(0.0, previous.item()) + max(0.0, first.item())) / 2
        assert abs(subject_consistency(z).mean.item() - total / 15) < 1e-7


@pytest.mark.parametrize("context", [1, 2, 5, 9])
def test_more_than_one_given_frame(context: int) -> None:
    z = random_walk()
    found = first_frame_similarity(z, context=context)
    expected = torch.stack([oracle(first_frame_similarity, row, context) for row in z])
    assert_close(found.values, expected, rtol=0, atol=1e-12)


def test_a_frozen_video_scores_exactly_1() -> None:
    z = random_walk(4, 1).expand(4, 7, 6)
    for curve in CURVES:
        assert curve(z).values.eq(1).all()
    by_lag = similarity_by_lag(z, (1, 3, 6))
    assert by_lag.values.eq(1).all()
    assert by_lag.area.eq(1).all()


def test_slow_drift_is_seen_from_the_first_frame_and_not_from_the_one_before() -> None:
    angle = torch.arange(13, dtype=torch.float64) * math.pi / 24  # 90 degrees after 12 steps
    z = torch.stack([angle.cos(), angle.sin()], -1)[None]
    assert_close(first_frame_similarity(z).values, angle[None, 1:].cos(), rtol=0, atol=1e-12)
    step = math.cos(math.pi / 24)
    assert_close(adjacent_similarity(z).values, torch.full((1, 12), step, dtype=torch.float64))
    lags = torch.tensor([1, 4, 12])
    found = similarity_by_lag(z, lags.tolist())
    expected = (lags.double() * math.pi / 24).cos()[None]
    assert_close(found.values, expected, rtol=0, atol=1e-12)
    assert found.pairs.tolist() == [[12, 9, 1]]
    d1, d4, d12 = expected[0].tolist()
    assert_close(found.area, torch.tensor([(3 * (d1 + d4) + 8 * (d4 + d12)) / 2 / 11]).double())


@pytest.mark.parametrize("masked", [False, True])
def test_lags_are_a_plain_double_loop(masked: bool) -> None:
    z = random_walk(4, 11)
    valid = torch.rand(4, 11, generator=torch.Generator().manual_seed(3)) < 0.7
    lags = (1, 2, 5, 10, 11, 30)
    found = similarity_by_lag(z, lags, valid=valid if masked else None)
    for row in range(4):
        for place, lag in enumerate(lags):
            pairs = [
                cosine(z[row, t], z[row, t + lag])
                for t in range(11 - lag)
                if not masked or (valid[row, t] and valid[row, t + lag])
            ]
            assert found.pairs[row, place] == len(pairs)
            if pairs:
                expected = sum(pairs) / len(pairs)
                assert found.values[row, place].item() == pytest.approx(expected, abs=1e-12)
    empty = found.pairs == 0
    assert empty[:, 4:].all()
    assert found.values.isnan().equal(empty)
    assert found.reason.equal(empty.to(torch.uint8) * int(Reason.TOO_FEW_STEPS))
    assert found.area.isnan().all()  # not comparable with areas over all lags
    assert found.lags.tolist() == list(lags)
    assert similarity_by_lag(z, (2,)).area.isnan().all()


def test_undefined_steps_say_why_and_padding_does_not_matter() -> None:
    z = random_walk(5, 4)
    valid = torch.ones(5, 4, dtype=torch.bool)
    valid[0, 2:] = False
    valid[1, 0] = False
    z[2, 2, 0] = math.nan
    z[3, 2] = 0
    frame, previous = Reason.NO_FRAME, Reason.NO_PREVIOUS
    features, scale = Reason.NON_FINITE_FEATURES, Reason.NO_SCALE
    rows = {
        first_frame_similarity: [
            [0, frame, frame],
            [previous, previous, previous],
            [0, features, 0],
            [0, scale, 0],
            [0, 0, 0],
        ],
        adjacent_similarity: [
            [0, frame, frame],
            [previous, 0, 0],
            [0, features, features],
            [0, scale, scale],
            [0, 0, 0],
        ],
        subject_consistency: [
            [0, frame, frame],
            [previous, previous, previous],
            [0, features, features],
            [0, scale, scale],
            [0, 0, 0],
        ],
    }
    for curve, expected in rows.items():
        found = curve(z, valid=valid)
        assert found.reason.tolist() == expected
        assert found.values.isnan().equal(found.reason != 0)
        assert found.mean.isnan().tolist() == [all(row) for row in expected]
        assert found.mean[0] == found.values[0, 0]
        for padding in (math.nan, 7.0):
            again = curve(z.masked_fill(~valid[..., None], padding), valid=valid)
            assert_close(again.values, found.values, rtol=0, atol=0, equal_nan=True)
            assert again.reason.equal(found.reason)
    lags = similarity_by_lag(z, (1, 2), valid=valid)
    assert lags.pairs.tolist() == [[1, 0], [2, 1], [1, 1], [1, 1], [3, 2]]
    padded = similarity_by_lag(z.masked_fill(~valid[..., None], math.nan), (1, 2), valid=valid)
    assert_close(padded.values, lags.values, rtol=0, atol=0, equal_nan=True)


def test_context_with_an_undefined_frame_or_without_direction() -> None:
    z = torch.tensor([[[1.0, 0], [-1, 0], [0, 1]], [[1, 0], [math.nan, 0], [0, 1]]])
    found = first_frame_similarity(z, context=2)
    assert found.reason[0].tolist() == [Reason.NO_SCALE, Reason.NO_SCALE]
    assert found.reason[1].tolist() == [Reason.NON_FINITE_FEATURES] * 2
    assert found.values.isnan().all()


@pytest.mark.parametrize("function", [*CURVES, lambda z, **o: similarity_by_lag(z, (1, 4), **o)])
def test_neither_batch_nor_order_nor_scale_matter(function: Callable[..., Any]) -> None:
    z = random_walk(400, 30, 128)  # two pieces on a CPU
    whole = function(z).values
    order = torch.randperm(400)
    assert function(z[order]).values.equal(whole[order])
    assert function(z[7:8]).values.equal(whole[7:8])
    scales = torch.rand(400, 30, 1) + 0.1
    assert_close(function(z.double() * scales).values, whole, rtol=0, atol=1e-12)
    assert function(z[:0]).values.shape == (0, whole.shape[1])


@pytest.mark.parametrize("curve", CURVES)
def test_later_steps_do_not_change_earlier_ones(curve: Callable[..., Any]) -> None:
    z = random_walk()
    assert curve(z[:, :5]).values.equal(curve(z).values[:, :4])
    assert curve(z[:, :1]).values.shape == (3, 0)
    assert curve(z[:, :1]).mean.isnan().all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda z: adjacent_similarity(z[0]), ValueError, r"\[B, T \+ 1, D\]"),
        (lambda z: adjacent_similarity(z[:, :0]), ValueError, r"\[B, T \+ 1, D\]"),
        (lambda z: subject_consistency(z.long()), TypeError, "must be floating point"),
        (lambda z: subject_consistency([z]), TypeError, "embeddings must be a torch.Tensor"),
        (lambda z: first_frame_similarity(z, context=0), ValueError, "context must be at least 1"),
        (lambda z: first_frame_similarity(z, context=10), ValueError, "at most the 9 frames"),
        (lambda z: first_frame_similarity(z, context=1.0), TypeError, "context must be an int"),
        (lambda z: similarity_by_lag(z, ()), ValueError, "ascending, at least one"),
        (lambda z: similarity_by_lag(z, (2, 1)), ValueError, "ascending"),
        (lambda z: similarity_by_lag(z, (1, 1)), ValueError, "ascending"),
        (lambda z: similarity_by_lag(z, (0, 1)), ValueError, "lags must be at least 1"),
        (lambda z: adjacent_similarity(z, valid=torch.ones(3, 9)), TypeError, "must be bool"),
        (
            lambda z: adjacent_similarity(z, valid=torch.ones(3, 8, dtype=torch.bool)),
            ValueError,
            "broadcasts to",
        ),
    ],
)
def test_wrong_arguments(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(random_walk())
