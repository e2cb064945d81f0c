"""feature_distance and its gradient: torch function and kernels against oracles, in one body."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from wmscore.ops import feature_distance, feature_distance_backward, kernels

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]
# From a tensor [N, C, H, W] to one of the same shape and values but other strides.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "columns_first": lambda x: x.mT.contiguous().mT,
    "every_other_position": lambda x: torch.stack([x, x], dim=-1).flatten(-2)[..., ::2],
    "cropped": lambda x: torch.nn.functional.pad(x, (1, 2, 1, 1))[..., 1:-1, 1:-2],
    "some_channels": lambda x: torch.cat([x, x[:, :1]], dim=1)[:, : x.shape[1]],
    "some_channels_last": lambda x: LAYOUTS["channels_last"](torch.cat([x, x[:, :1]], dim=1))[
        :, : x.shape[1]
    ],
}
# Around vectors, tiles, blocks and bands of the kernels, and what networks have.
SHAPES = [
    *((2, 64, 7, 9), (2, 33, 5, 40), (3, 384, 1, 1), (2, 512, 3, 3), (1, 23, 1, 1), (2, 15, 3, 5)),
    *((2, 4, 33, 40), (1, 3, 100, 101), (1, 16, 64, 65), (2, 192, 7, 7), (1, 96, 60, 61)),
    *((1, 130, 2, 17), (2, 1100, 2, 2)),
]
# Of square roots, which are lengths of differences of unit vectors, and of gradients, relative to
# the largest: float32 inside.
ROOT_BOUND = dict.fromkeys(DTYPES[:3], 1e-6) | {torch.float64: 1e-14}
GRADIENT_BOUND = {
    torch.float16: 1e-3,
    torch.bfloat16: 8e-3,
    torch.float32: 5e-6,
    torch.float64: 1e-13,
}


def random_maps(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Like features after a ReLU: half of them zero, some large."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).relu().to(dtype)


def random_pair(
    shape: tuple[int, ...], dtype: torch.dtype, targets: int | None = None
) -> tuple[Tensor, Tensor]:
    target_shape = (shape[0] if targets is None else targets, *shape[1:])
    return random_maps(shape, dtype), random_maps(target_shape, dtype, 1)


def random_weight(channels: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(channels, generator=torch.Generator().manual_seed(2), dtype=dtype)


def by_numpy(
    preds: Tensor,
    target: Tensor,
    index: Tensor | None = None,
    weight: Tensor | None = None,
    normalize: bool = True,
    spatial: bool = False,
) -> Tensor:
    """The definition in float64, one map and one position at a time."""
    p, t = (x.detach().cpu().double().numpy() for x in (preds, target))
    count, channels, height, width = p.shape
    w = np.ones(channels) if weight is None else weight.cpu().double().numpy()
    out = np.full((count, height, width), np.nan)
    for n in range(count):
        m = n if index is None else int(index[n])
        if not 0 <= m < len(t):
            continue
        for y, x in itertools.product(range(height), range(width)):
            u, v = p[n, :, y, x], t[m, :, y, x]
            if normalize:
                u, v = u / (np.linalg.norm(u) + 1e-10), v / (np.linalg.norm(v) + 1e-10)
            out[n, y, x] = (w * (u - v) ** 2).sum()
    return torch.from_numpy(out if spatial else out.mean((1, 2)))


def assert_right(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert found.dtype == torch.float64
    bound = ROOT_BOUND[dtype]
    roots = [x.cpu().sqrt() for x in (found, expected)]
    torch.testing.assert_close(*roots, rtol=bound, atol=bound, equal_nan=True)


def assert_gradient(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert found.dtype == dtype
    largest = expected.abs().nan_to_num(0).max() if expected.numel() else torch.zeros(())
    torch.testing.assert_close(
        found.double().cpu(),
        expected.double().cpu(),
        rtol=0,
        atol=GRADIENT_BOUND[dtype] * float(largest),
        equal_nan=True,
    )


@pytest.fixture(params=["dispatched", "torch"])
def run(request: pytest.FixtureRequest) -> Callable[..., Tensor]:
    """The op with whatever kernel the device has, and the torch function alone."""
    return feature_distance if request.param == "dispatched" else feature_distance.__wrapped__


# --- the definition -------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("with_weight", [False, True])
@pytest.mark.parametrize("with_index", [False, True])
def test_matches_numpy(run, with_index, with_weight, normalize, spatial, dtype, device):
    preds, target = random_pair((3, 5, 3, 4), dtype, targets=2 if with_index else None)
    index = torch.tensor([1, 0, 1]) if with_index else None
    weight = random_weight(5) if with_weight else None
    expected = by_numpy(preds, target, index, weight, normalize, spatial)
    there = [None if x is None else x.to(device) for x in (preds, target, index, weight)]
    assert_right(run(*there, normalize, spatial), expected, dtype)


def test_matches_the_lpips_package():
    """Its own functions, in the order of its forward."""
    lpips = pytest.importorskip("lpips")
    preds, target = random_pair((2, 192, 7, 6), torch.float64)
    weight = random_weight(192, torch.float64)
    difference = (lpips.normalize_tensor(preds) - lpips.normalize_tensor(target)) ** 2
    layer = torch.nn.functional.conv2d(difference, weight[None, :, None, None])
    found = feature_distance(preds, target, None, weight)
    torch.testing.assert_close(
        found, lpips.spatial_average(layer, keepdim=False)[:, 0], rtol=1e-12, atol=0
    )
    torch.testing.assert_close(
        feature_distance(preds, target, None, weight, spatial=True), layer[:, 0], rtol=1e-12, atol=0
    )


def test_half_of_it_is_the_cosine_distance():
    preds, target = random_pair((4, 20, 1, 1), torch.float64)
    cosine = torch.nn.functional.cosine_similarity(preds, target)[:, 0, 0]
    torch.testing.assert_close(feature_distance(preds, target) / 2, 1 - cosine)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernels_match_the_torch_function(shape, layout, dtype, device):
    preds, target = (LAYOUTS[layout](x.to(device)) for x in random_pair(shape, dtype))
    weight = random_weight(shape[1]).to(device)
    for spatial in (False, True):
        expected = feature_distance.__wrapped__(
            preds.double(), target.double(), None, weight, spatial=spatial
        )
        found = feature_distance(preds, target, None, weight, spatial=spatial)
        assert_right(found, expected, dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("channels", [7, 40])
@pytest.mark.parametrize("target_layout", LAYOUTS)
@pytest.mark.parametrize("preds_layout", LAYOUTS)
def test_strides_do_not_matter(preds_layout, target_layout, channels, dtype, device):
    preds, target = (x.to(device) for x in random_pair((2, channels, 9, 11), dtype))
    strided = LAYOUTS[preds_layout](preds), LAYOUTS[target_layout](target)
    expected = feature_distance.__wrapped__(preds.double(), target.double(), spatial=True)
    assert_right(feature_distance(*strided, spatial=True), expected, dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[2], SHAPES[6]], ids=str)
@pytest.mark.parametrize(
    "layouts",
    [*((x, x) for x in LAYOUTS), ("channels_last", "contiguous"), ("contiguous", "channels_last")],
    ids=str,
)
def test_identical_maps_are_exactly_0(layouts, shape, dtype, device):
    maps = random_maps(shape, dtype).to(device)
    weight = random_weight(shape[1]).to(device)
    pair = [LAYOUTS[layout](maps) for layout in layouts]
    assert feature_distance(*pair, None, weight).eq(0).all()
    assert feature_distance.__wrapped__(*pair, None, weight).eq(0).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("difference", [1e-2, 1e-4])
def test_near_maps_do_not_cancel(difference, layout, device):
    """Their distance is 2e-4 and 2e-8: 2 - 2 cos in float32 has few digits of it, or none."""
    target = random_maps((2, 256, 6, 6), torch.float32)
    preds = target + difference * torch.randn(target.shape)
    found = feature_distance(*(LAYOUTS[layout](x.to(device)) for x in (preds, target)))
    expected = by_numpy(preds, target)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-6 / difference, atol=0)
    assert expected.max() < 3 * difference**2


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(2, 40, 9, 11), (2, 5, 9, 11)], ids=str)
def test_is_symmetric(run, shape, device):
    preds, target = (x.to(device) for x in random_pair(shape, torch.float32))
    torch.testing.assert_close(run(preds, target), run(target, preds), rtol=1e-6, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_length_does_not_matter_unless_asked(run, layout, device):
    preds, target = (LAYOUTS[layout](x.to(device)) for x in random_pair((2, 40, 5, 5), DTYPES[2]))
    torch.testing.assert_close(run(8 * preds, target), run(preds, target), rtol=1e-5, atol=0)
    plain = run(4 * preds, 4 * target, normalize=False)
    torch.testing.assert_close(plain, 16 * run(preds, target, normalize=False), rtol=1e-5, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_zero_vectors_stay_zero(run, layout, dtype, device):
    preds, target = (LAYOUTS[layout](x.to(device)) for x in random_pair((2, 32, 4, 5), dtype))
    preds[0] = 0
    found = run(preds, target, spatial=True)[0]
    torch.testing.assert_close(found, torch.ones_like(found), rtol=1e-6, atol=0)
    torch.testing.assert_close(run(target, preds, spatial=True)[0], found, rtol=1e-6, atol=0)
    assert run(preds, torch.zeros_like(preds), spatial=True)[0].eq(0).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", [0, 1])
def test_nan_and_infinity_stay_in_their_position(run, where, value, layout, dtype, device):
    pair = [LAYOUTS[layout](x.to(device)) for x in random_pair((3, 32, 4, 5), dtype)]
    pair[where][1, 31, 3, 4] = value
    assert run(*pair).isnan().tolist() == [False, True, False]
    assert run(*pair, spatial=True).isnan().nonzero().tolist() == [[1, 3, 4]]
    assert run(*pair, normalize=False).isfinite().tolist() == [True, False, True]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("where", [0, 1])
def test_a_length_that_overflows_is_nan(run, where, layout, device):
    pair = [LAYOUTS[layout](x.to(device)) for x in random_pair((2, 32, 2, 2), torch.float32)]
    pair[where][0, 0] = 3e19
    assert run(*pair).isnan().tolist() == [True, False]


# --- the index ------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_shared_targets(run, layout, dtype, device):
    preds, target = (
        LAYOUTS[layout](x.to(device)) for x in random_pair((6, 32, 4, 5), dtype, targets=3)
    )
    index = torch.tensor([2, 0, 0, 1, 2, 0], device=device)
    torch.testing.assert_close(run(preds, target, index), run(preds, target[index]), rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("outside", [-1, 3, 2**62, -(2**62)])
def test_an_index_out_of_range_is_nan(run, outside, layout, device):
    preds, target = (
        LAYOUTS[layout](x.to(device)) for x in random_pair((3, 32, 4, 5), torch.float32, targets=3)
    )
    index = torch.tensor([0, outside, 2], device=device)
    assert run(preds, target, index).isnan().tolist() == [False, True, False]
    assert run(preds, target, index, spatial=True).isnan().any((1, 2)).tolist() == [0, 1, 0]
    none = run(preds, target[:0], index)
    assert none.isnan().all()


@pytest.mark.parametrize("device", DEVICES)
def test_expanded_maps_are_read_in_place(run, device):
    preds, target = (x.to(device) for x in random_pair((4, 32, 4, 5), torch.float32, targets=1))
    expected = run(preds, target, torch.zeros(4, dtype=torch.int64, device=device))
    assert run(preds, target.expand(4, -1, -1, -1)).equal(expected)


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
def test_empty_sizes(run, device):
    def maps(*shape: int) -> Tensor:
        return torch.ones(shape, device=device)

    assert run(maps(0, 8, 3, 3), maps(0, 8, 3, 3)).shape == (0,)
    assert run(maps(0, 8, 3, 3), maps(0, 8, 3, 3), spatial=True).shape == (0, 3, 3)
    assert run(maps(2, 8, 0, 3), maps(2, 8, 0, 3)).isnan().tolist() == [True, True]
    assert run(maps(2, 8, 0, 3), maps(2, 8, 0, 3), spatial=True).shape == (2, 0, 3)
    assert run(maps(2, 0, 3, 3), maps(2, 0, 3, 3)).tolist() == [0, 0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", [(5, 64, 9, 9), (5, 3, 50, 51), (5, 384, 1, 1)], ids=str)
def test_a_map_does_not_see_its_batch(shape, layout, device):
    preds, target = (LAYOUTS[layout](x.to(device)) for x in random_pair(shape, torch.float32))
    together = feature_distance(preds, target)
    alone = [
        feature_distance(*(LAYOUTS[layout](x[n : n + 1]) for x in (preds, target)))
        for n in range(5)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=0)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", [(1, 64, 150, 90), (7, 5, 120, 90), (9, 384, 5, 5)], ids=str)
def test_the_number_of_threads_does_not_matter(shape, layout):
    pair = [LAYOUTS[layout](x) for x in random_pair(shape, torch.float32)]
    gradient = torch.randn(shape[0], dtype=torch.float64)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            of_both = feature_distance_backward(gradient, *pair)
            results.append((feature_distance(*pair), *of_both))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.slow
def test_more_than_2_to_the_31_elements(device):
    if device not in kernels().ops["feature_distance"]:
        pytest.skip(f"no {device} kernel; the torch function would take 100 GB")
    preds, target = (x.to(device) for x in random_pair((1, 512, 32, 32), torch.float16))
    many = 2**12 + 1
    found = feature_distance(*(x.expand(many, -1, -1, -1) for x in (preds, target)))
    expected = feature_distance(preds, target).expand(many)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


# --- torch's machinery ----------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's
def test_opcheck(spatial, dtype, device):
    preds, target = (x.to(device) for x in random_pair((3, 24, 4, 5), dtype, targets=2))
    preds = LAYOUTS["channels_last"](preds)
    index = torch.tensor([1, 0, 1], device=device)
    weight = random_weight(24).to(device)
    maps = preds.clone().requires_grad_(), target.clone().requires_grad_()
    torch.library.opcheck(
        torch.ops.wmscore.feature_distance.default, (*maps, index, weight, True, spatial)
    )
    gradient = torch.randn((3, 4, 5) if spatial else (3,), dtype=torch.float64, device=device)
    torch.library.opcheck(
        torch.ops.wmscore.feature_distance_backward.default,
        (gradient, preds, target, index, weight, True, spatial, True, False),
    )


def maps(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([0.0], maps(1, 3, 2, 2)), TypeError, r"preds must be a torch\.Tensor, got list"),
        ((maps(1, 3, 2, 2, dtype=torch.uint8),) * 2, TypeError, "preds must be floating point"),
        ((maps(1, 3, 2, 2), maps(1, 3, 2, 2).half()), TypeError, "must have one dtype"),
        ((maps(1, 3, 2), maps(1, 3, 2)), ValueError, r"preds must have shape \[N, C, H, W\]"),
        ((maps(1, 3, 2, 2), maps(1, 4, 2, 2)), ValueError, r"the same \[C, H, W\]"),
        ((maps(2, 3, 2, 2), maps(1, 3, 2, 2)), ValueError, "as many maps as preds, 2, got 1"),
        (
            (maps(2, 3, 2, 2), maps(1, 3, 2, 2), torch.zeros(2)),
            TypeError,
            r"index must be int64, got torch\.float32",
        ),
        (
            (maps(2, 3, 2, 2), maps(1, 3, 2, 2), torch.zeros(3, dtype=torch.int64)),
            ValueError,
            r"index must have shape \(2,\), got \(3,\)",
        ),
        (
            (maps(1, 3, 2, 2), maps(1, 3, 2, 2), None, torch.ones(4)),
            ValueError,
            r"weight must have shape \(3,\), got \(4,\)",
        ),
        (
            (maps(1, 3, 2, 2), maps(1, 3, 2, 2), None, torch.ones(3).half()),
            TypeError,
            "weight must be float32 or float64",
        ),
    ],
)
def test_errors_say_what_was_expected_and_what_came(arguments, error, message):
    with pytest.raises(error, match=message):
        feature_distance(*arguments)
