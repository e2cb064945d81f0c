"""Feature distances and embeddings: torch as the oracle, shared references, undefined values."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, cosine_similarity, interpolate
from torch.testing import assert_close

from wmscore.functional import (
    Reason,
    ReferenceFeatures,
    embed,
    feature_cosine,
    feature_l2,
    feature_reason,
)

METRICS = [feature_cosine, feature_l2]


class Layers:
    """Two maps: signed pixels and their products, at two sizes. Counts what it encodes."""

    name = "layers"

    def __init__(self, size: int = 3) -> None:
        self.size = size
        self.encoded: list[int] = []

    def encode(self, frames: Tensor) -> list[Tensor]:
        self.encoded.append(len(frames))
        given = frames.double() / (255 if frames.dtype == torch.uint8 else 1) - 0.4
        small = avg_pool2d(given, 2)
        return [given, torch.cat([small, small.roll(1, 1) * small], 1)]

    def chunk_frames(self, frames: Tensor) -> int:
        return self.size


def random_frames(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def oracle(metric: Callable[..., Tensor], preds: Tensor, target: Tensor) -> Tensor:
    """Frame by frame, layer by layer."""
    values = []
    for ours, theirs in zip(preds.flatten(0, -4), target.flatten(0, -4), strict=True):
        layers = []
        for p, t in zip(Layers().encode(ours[None]), Layers().encode(theirs[None]), strict=True):
            if metric is feature_cosine:
                layers.append((1 - cosine_similarity(p, t, dim=1)).mean())
            else:
                layers.append((p - t).square().mean().sqrt())
        values.append(sum(layers) / len(layers))
    return torch.stack(values).reshape(preds.shape[:-3])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("leading", [(5,), (2, 4), ()])
def test_equals_torch(metric: Callable[..., Tensor], leading: tuple[int, ...]) -> None:
    preds, target = (random_frames(*leading, 3, 8, 10, seed=s) for s in range(2))
    expected = oracle(metric, preds[None], target[None])[0]
    found = metric(preds, target, Layers())
    assert found.dtype == torch.float64
    assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_shared_references_are_encoded_once(metric: Callable[..., Tensor]) -> None:
    preds, target = random_frames(6, 4, 3, 8, 8), random_frames(2, 4, 3, 8, 8, seed=1)
    index = torch.tensor([1, 0, 1, 1, 0, 1])
    encoder = Layers(size=100)
    found = metric(preds, target, encoder, target_index=index)
    assert sum(encoder.encoded) == 6 * 4 + 2 * 4
    assert found.equal(metric(preds, target[index], Layers()))


@pytest.mark.parametrize("metric", METRICS)
def test_kept_references_are_not_encoded_again(metric: Callable[..., Tensor]) -> None:
    preds, target = random_frames(6, 4, 3, 8, 8), random_frames(2, 4, 3, 8, 8, seed=1)
    index = torch.tensor([1, 0, 1, 1, 0, 1])
    encoder = Layers()
    kept = ReferenceFeatures(target, encoder, budget_bytes=1 << 20)
    encoder.encoded.clear()
    found = metric(preds, kept, encoder, target_index=index)
    assert sum(encoder.encoded) == 6 * 4
    assert found.equal(metric(preds, target, Layers(), target_index=index))
    assert feature_reason(found, preds, kept, target_index=index).eq(0).all()


@pytest.mark.parametrize("metric", METRICS)
def test_neither_batch_nor_order_nor_chunk_matter(metric: Callable[..., Tensor]) -> None:
    preds, target = (random_frames(5, 3, 3, 8, 8, seed=s) for s in range(2))
    whole = metric(preds, target, Layers())
    for chunk in (1, 2, 100):
        encoder = Layers()
        assert metric(preds, target, encoder, chunk=chunk).equal(whole)
        assert max(encoder.encoded) <= chunk
    order = torch.randperm(5)
    assert metric(preds[order], target[order], Layers()).equal(whole[order])
    assert metric(preds[2:3], target[2:3], Layers()).equal(whole[2:3])
    assert_close(metric(target, preds, Layers()), whole)  # symmetric
    wide = torch.zeros(5, 4, 3, 8, 8, dtype=torch.uint8)
    wide[:, 1:] = preds
    assert metric(wide[:, 1:], target, Layers()).equal(whole)  # not one run in memory


@pytest.mark.parametrize("metric", METRICS)
def test_identical_frames_are_exactly_0(metric: Callable[..., Tensor]) -> None:
    """Even by a network that rounds differently in batches of different sizes."""

    class Rounding(Layers):
        def encode(self, frames: Tensor) -> list[Tensor]:
            return [maps * (1 + 1e-7 * len(frames)) for maps in super().encode(frames)]

    frames = random_frames(1, 4, 3, 8, 8)
    index = torch.zeros(3, dtype=torch.int64)
    same = frames.repeat(3, 1, 1, 1, 1)
    assert metric(same, frames, Rounding(), target_index=index).eq(0).all()
    assert metric(frames, frames.clone(), Layers()).eq(0).all()


class Given:
    """Gives maps that were made beforehand, for the frames whose first pixel says which."""

    name = "given"

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps

    def encode(self, frames: Tensor) -> list[Tensor]:
        return [self.maps[frames[:, 0, 0, 0].long()]]

    def chunk_frames(self, frames: Tensor) -> int:
        return 8


def numbered(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)


def test_known_directions() -> None:
    maps = torch.tensor([[1.0, 0], [0, 2], [-3, 0], [0, 0], [1, 1]])[:, :, None, None]
    encoder = Given(maps)
    cosine = feature_cosine(numbered(0, 0, 0, 0, 3, 0), numbered(1, 2, 4, 3, 3, 0), encoder)
    assert_close(cosine, torch.tensor([1, 2, 1 - math.sqrt(0.5), 0.5, 0, 0]).double())
    l2 = feature_l2(numbered(0, 0, 0, 0), numbered(1, 2, 4, 3), encoder)
    assert_close(l2, (torch.tensor([5, 16, 1, 1]).double() / 2).sqrt())


def test_l2_does_not_grow_with_dimensions_nor_positions() -> None:
    for shape in ((1, 1, 1), (7, 1, 1), (7, 3, 5)):
        maps = torch.stack([torch.zeros(shape), torch.full(shape, 0.5)])
        assert_close(
            feature_l2(numbered(0), numbered(1), Given(maps)), torch.tensor([0.5]).double()
        )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("fault", ["noise", "blur", "shift", "grey"])
def test_worse_frames_are_further_away(metric: Callable[..., Tensor], fault: str) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(8, 3, 8, 8, generator=generator)
    target = interpolate(target, scale_factor=4.0, mode="bilinear")
    noise = torch.randn(target.shape, generator=generator)
    means = [0.0]
    for level in (1, 2, 3, 4):
        if fault == "noise":
            preds = target + level / 20 * noise
        elif fault == "blur":
            preds = avg_pool2d(target, 2 * level + 1, 1, level, count_include_pad=False)
        elif fault == "shift":
            preds = target.roll(level, -1)
        else:
            preds = target.lerp(target.mean(1, keepdim=True).expand_as(target), level / 4)
        means.append(metric(preds, target, Layers()).mean().item())
    assert all(low < high for low, high in pairwise(means))


@pytest.mark.parametrize("metric", METRICS)
def test_undefined_rows_say_why_and_leave_others_alone(metric: Callable[..., Tensor]) -> None:
    maps = torch.rand(4, 5, 2, 2)
    maps[1, 3, 1, 0] = math.nan
    maps[2, 0, 0, 0] = math.inf
    preds, target = numbered(0, 1, 2, 0, 0, 0).float(), numbered(3, 3, 3, 1, 3, 3).float()
    preds, target = preds.clone(), target.clone()
    preds[4, 0, 3, 3] = math.nan  # which this encoder does not see
    target[5, 1, 2, 2] = -math.inf
    found = metric(preds, target, Given(maps))
    assert found.isnan().tolist() == [False, True, True, True, True, True]
    reason = feature_reason(found, preds, target)
    features, frames = Reason.NON_FINITE_FEATURES, Reason.NON_FINITE
    assert reason.tolist() == [0, features, features, features, frames, frames]
    assert reason.dtype == torch.uint8
    assert found[0] == metric(preds[:1], target[:1], Given(maps))[0]
    index = torch.tensor([1, 0])
    shared = metric(preds[[0, 0]], target[[0, 5]], Given(maps), target_index=index)
    assert shared.isnan().tolist() == [True, False]
    codes = feature_reason(shared, preds[[0, 0]], target[[0, 5]], target_index=index)
    assert codes.tolist() == [frames, 0]
    assert feature_reason(torch.zeros(1), numbered(0), numbered(1)).tolist() == [0]


def test_half_precision_features_that_overflow_are_undefined() -> None:
    maps = torch.full((2, 3, 1, 1), 6e4, dtype=torch.float16)
    maps[1] *= 2
    assert feature_l2(numbered(0), numbered(1), Given(maps)).isnan().all()


@pytest.mark.parametrize("metric", METRICS)
def test_gradients_are_those_of_torch(metric: Callable[..., Tensor]) -> None:
    preds, target = (random_frames(3, 3, 8, 8, seed=s).double() / 255 for s in range(2))
    target[2] = preds[2]  # equal frames: no direction in which the distance falls
    preds.requires_grad_()
    metric(preds, target, Layers()).sum().backward()
    found = preds.grad
    preds.grad = None
    oracle(metric, preds[:2], target[:2]).sum().backward()
    assert found is not None
    assert preds.grad is not None
    assert_close(found[:2], preds.grad[:2], rtol=1e-6, atol=1e-9)
    assert found[2].eq(0).all()


def test_embeddings_are_the_last_layer_averaged() -> None:
    frames = random_frames(3, 4, 3, 8, 10)
    encoder = Layers(size=5)
    found = embed(frames, encoder)
    assert found.shape == (3, 4, 6)
    assert max(encoder.encoded) == 5
    expected = Layers().encode(frames.flatten(0, 1))[-1].mean((2, 3))
    assert_close(found.flatten(0, 1), expected)
    assert embed(frames[0, 0], Layers()).shape == (6,)
    assert embed(frames[:0], Layers()).shape == (0, 4, 0)
    half = Given(torch.rand(3, 5, 2, 2).half())
    assert embed(numbered(0, 1, 2), half).dtype == torch.float32
    assert_close(embed(numbered(2), half), half.maps[2:].float().mean((2, 3)))


def test_embeddings_of_frames_that_are_not_finite() -> None:
    frames = numbered(0, 1).float().clone()
    frames[1, 2, 3, 3] = math.inf
    found = embed(frames, Given(torch.rand(2, 5, 2, 2)))
    assert found.isnan().all(1).tolist() == [False, True]
    assert not found[0].isnan().any()


def test_wrong_arguments() -> None:
    frames = random_frames(2, 3, 8, 8)
    with pytest.raises(ValueError, match="preds and target must have one shape"):
        feature_cosine(frames, frames[:1], Layers())
    with pytest.raises(ValueError, match=r"target_index must be in 0\.\.1"):
        feature_l2(frames, frames, Layers(), target_index=torch.tensor([0, 2]))
    with pytest.raises(TypeError, match="frames must be uint8"):
        embed(frames.int(), Layers())

    class Short(Layers):
        def encode(self, frames: Tensor) -> list[Tensor]:
            return [maps[1:] for maps in super().encode(frames)]

    for call in (lambda: embed(frames, Short()), lambda: feature_l2(frames, frames, Short())):
        with pytest.raises(ValueError, match=r"encoder layers: expected maps \[2, D, h, w\]"):
            call()


def test_equal_frames_do_not_hide_a_broken_encoder() -> None:
    class Broken:
        name = "broken"

        def encode(self, frames: Tensor) -> list[Tensor]:
            return [frames.float() * float("nan")]

        def chunk_frames(self, frames: Tensor) -> int:
            return 4

    frames = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    assert feature_cosine(frames, frames, Broken()).isnan().all()
    assert feature_l2(frames, frames, Broken()).isnan().all()
