"""Latent distances: torch and hand-computed cases, undefined values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torch.testing import assert_close

from wmscore.functional import Reason, latent_cosine, latent_l2, latent_reason


def random_latents(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (2, 3, 4)])
def test_equals_torch(dtype: torch.dtype, leading: tuple[int, ...]) -> None:
    preds, target = (random_latents(*leading, 7, seed=s, dtype=dtype) for s in range(2))
    p, t = preds.double(), target.double()
    cosine, l2 = latent_cosine(preds, target), latent_l2(preds, target)
    assert cosine.dtype == l2.dtype == torch.float64
    assert_close(cosine, 1 - cosine_similarity(p, t, dim=-1), rtol=1e-9, atol=1e-12)
    assert_close(l2, (p - t).norm(dim=-1) / t.norm(dim=-1), rtol=1e-12, atol=0)


def test_known_values() -> None:
    z = torch.tensor([3.0, 4.0])
    others = torch.tensor([[3.0, 4.0], [6.0, 8.0], [-3.0, -4.0], [4.0, -3.0], [0.0, 0.0]])
    reference = z.expand(5, 2)
    nan = math.nan
    assert_close(
        latent_cosine(others, reference),
        torch.tensor([0, 0, 2, 1, nan], dtype=torch.float64),
        equal_nan=True,
    )
    expected = torch.tensor([0, 1, 2, math.sqrt(2), 1], dtype=torch.float64)
    assert_close(latent_l2(others, reference), expected)
    assert latent_l2(reference[:1], others[-1:]).isnan().all()  # relative to nothing


def test_equal_latents_are_exactly_0_and_scale_is_seen_by_one_only() -> None:
    z = random_latents(50, 9)
    assert latent_cosine(z, z).eq(0).all()
    assert latent_l2(z, z).eq(0).all()
    small = z * 1e-18  # a constant added to norms would hide these
    assert_close(latent_cosine(small, z), torch.zeros(50).double(), rtol=0, atol=1e-13)
    assert_close(latent_l2(small * 3, small), torch.full((50,), 2.0).double(), rtol=1e-6, atol=0)
    assert_close(latent_l2(1.5 * z, z), torch.full((50,), 0.5).double(), rtol=1e-6, atol=0)


def test_undefined_rows_say_why() -> None:
    preds, target = random_latents(5, 4), random_latents(5, 4, seed=1)
    preds[1, 2] = math.nan
    target[2, 0] = math.inf
    preds[3] = 0
    target[4] = 0
    cosine, l2 = latent_cosine(preds, target), latent_l2(preds, target)
    finite, scale = Reason.NON_FINITE_FEATURES, Reason.NO_SCALE
    assert latent_reason(cosine, preds, target).tolist() == [0, finite, finite, scale, scale]
    assert latent_reason(l2, preds, target).tolist() == [0, finite, finite, 0, scale]
    for values in (cosine, l2):
        assert values.isnan().equal(latent_reason(values, preds, target) != 0)


def test_many_rows_in_pieces() -> None:
    preds, target = (random_latents(3000, 1024, seed=s) for s in range(2))  # 3 pieces on a CPU
    found = latent_cosine(preds, target)
    assert_close(found, 1 - cosine_similarity(preds.double(), target.double()), rtol=1e-9, atol=0)
    assert latent_cosine(preds[1500:], target[1500:]).equal(found[1500:])
    assert latent_l2(preds[:0], target[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("preds", "target", "error", "message"),
    [
        (torch.ones(3, 4), torch.ones(3, 5), ValueError, "one shape"),
        (torch.ones(3, 4), torch.ones(3, 4).half(), TypeError, "one dtype"),
        (torch.ones(3, 4).long(), torch.ones(3, 4).long(), TypeError, "floating point"),
        (torch.ones(3, 0), torch.ones(3, 0), ValueError, "D >= 1"),
        (torch.tensor(1.0), torch.tensor(1.0), ValueError, "D >= 1"),
        ([1.0], torch.ones(1), TypeError, "preds must be a torch.Tensor"),
    ],
)
def test_wrong_arguments(preds: Tensor, target: Tensor, error: type, message: str) -> None:
    for metric in (latent_cosine, latent_l2):
        with pytest.raises(error, match=message):
            metric(preds, target)
