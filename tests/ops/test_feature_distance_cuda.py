"""The CUDA kernels of feature_distance and of its gradient on the CPU, and what a GPU alone shows.

The emulated kernels are the text of the .cu files, one fibre to a thread. test_feature_distance.py
and test_feature_distance_backward.py run the real ones through the ops.
"""

import ctypes
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from emulation import ELEMENTS, FeatureGradients, Features
from test_feature_distance import (
    DTYPES,
    LAYOUTS,
    assert_gradient,
    assert_right,
    random_maps,
    random_pair,
    random_weight,
)
from torch import Tensor

from wmscore.ops import feature_distance, feature_distance_backward

# Layouts whose rows follow each other: the bindings copy the others.
FLAT = ["contiguous", "channels_last", "every_other_position", "some_channels"]
FLAT += ["some_channels_last"]
# One lane to a whole warp for a vector, vectors too long to hold; planes of few and of many
# channels, more than 16 warps hold; positions and maps that fill no block, and more than a warp's
# share of a mean.
SHAPES = [
    *(
        (3, 4, 3, 3),
        (2, 64, 5, 7),
        (2, 192, 3, 3),
        (1, 520, 2, 3),
        (1, 1040, 1, 3),
        (1, 2100, 1, 2),
    ),
    *((5, 384, 1, 1), (2, 3, 33, 35), (1, 130, 2, 17), (300, 8, 1, 1), (1, 7, 3, 1)),
]


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def with_float_weight(weight: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    return None if weight is None else weight.to(kind)


class Kernels(NamedTuple):
    """The emulated kernels, called as the ops are."""

    forward: Callable[..., Tensor]
    backward: Callable[..., tuple[Tensor | None, Tensor | None]]


@pytest.fixture
def emulated_distance(emulated) -> Kernels:
    def forward(
        preds: Tensor,
        target: Tensor,
        index: Tensor | None = None,
        weight: Tensor | None = None,
        normalize: bool = True,
        spatial: bool = False,
    ) -> Tensor:
        weight = with_float_weight(weight, preds.dtype)
        count, pixels = preds.shape[0], preds.shape[2:]
        kind = torch.float64 if preds.dtype == torch.float64 else torch.float32
        distances = torch.full((count, *pixels), torch.nan, dtype=kind)
        shape = (count, *pixels) if spatial else (count,)
        result = torch.full(shape, torch.nan, dtype=torch.float64)
        error = emulated("feature_distance").wmscore_feature_distance_cuda(
            ELEMENTS.index(preds.dtype),
            Features.of(preds, target, index, weight, normalize),
            ctypes.c_int64(count),
            ctypes.c_bool(spatial),
            pointer(distances),
            pointer(result),
            None,
        )
        assert error == 0
        return result

    def backward(
        gradient: Tensor,
        preds: Tensor,
        target: Tensor,
        index: Tensor | None = None,
        weight: Tensor | None = None,
        normalize: bool = True,
        spatial: bool = False,
        of_preds: bool = True,
        of_target: bool = True,
    ) -> tuple[Tensor | None, Tensor | None]:
        weight = with_float_weight(weight, preds.dtype)
        is_last = preds.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if is_last else torch.contiguous_format
        both = [
            torch.full(preds.shape, torch.nan, dtype=preds.dtype).contiguous(memory_format=layout)
            if wanted
            else None
            for wanted in (of_preds, of_target)
        ]
        error = emulated("feature_distance_backward").wmscore_feature_distance_backward_cuda(
            ELEMENTS.index(preds.dtype),
            Features.of(preds, target, index, weight, normalize),
            ctypes.c_int64(preds.shape[0]),
            pointer(gradient),
            ctypes.c_bool(spatial),
            FeatureGradients.of(*both),
            None,
        )
        assert error == 0
        return both[0], both[1]

    return Kernels(forward, backward)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_emulated_kernel(emulated_distance, shape, layout, dtype):
    preds, target = (LAYOUTS[layout](x) for x in random_pair(shape, dtype))
    weight = random_weight(shape[1])
    for normalize, spatial in ((True, False), (True, True), (False, False)):
        expected = feature_distance.__wrapped__(
            preds.double(), target.double(), None, weight, normalize, spatial
        )
        found = emulated_distance.forward(preds, target, None, weight, normalize, spatial)
        assert_right(found, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_emulated_gradient(emulated_distance, shape, layout, dtype):
    preds, target = (LAYOUTS[layout](x) for x in random_pair(shape, dtype))
    preds[..., 0] += 0.5
    weight = random_weight(shape[1])
    for normalize, spatial in ((True, False), (True, True), (False, False)):
        gradient = torch.randn(
            (shape[0], *shape[2:]) if spatial else shape[:1], dtype=torch.float64
        )
        arguments = None, weight, normalize, spatial
        found = emulated_distance.backward(gradient, preds, target, *arguments)
        expected = feature_distance_backward.__wrapped__(
            gradient, preds.double(), target.double(), *arguments
        )
        for of_maps, wanted in zip(found, expected, strict=True):
            assert_gradient(of_maps, wanted, dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("channels", [7, 40])
@pytest.mark.parametrize("target_layout", FLAT)
@pytest.mark.parametrize("preds_layout", FLAT)
def test_emulated_kernel_with_any_strides(
    emulated_distance, preds_layout, target_layout, channels, dtype
):
    preds, target = random_pair((2, channels, 3, 5), dtype)
    strided = LAYOUTS[preds_layout](preds), LAYOUTS[target_layout](target)
    weight = random_weight(channels + 1)[1:]  # not at 16 bytes
    expected = feature_distance.__wrapped__(preds.double(), target.double(), None, weight)
    assert_right(emulated_distance.forward(*strided, None, weight), expected, dtype)
    gradient = torch.randn(2, dtype=torch.float64)
    gradients = feature_distance_backward.__wrapped__(
        gradient, preds.double(), target.double(), None, weight
    )
    found = emulated_distance.backward(gradient, *strided, None, weight)
    for of_maps, wanted in zip(found, gradients, strict=True):
        assert_gradient(of_maps, wanted, dtype)


@pytest.mark.parametrize("layouts", [(x, y) for x in FLAT[:2] for y in FLAT[:2]], ids=str)
@pytest.mark.parametrize("shape", [(2, 40, 3, 5), (1, 600, 2, 2), (2, 5, 6, 7)], ids=str)
def test_emulated_kernel_of_identical_maps_is_0(emulated_distance, shape, layouts):
    maps = random_maps(shape, torch.float32)
    pair = [LAYOUTS[layout](maps) for layout in layouts]
    assert emulated_distance.forward(*pair).eq(0).all()
    gradient = torch.ones(shape[0], dtype=torch.float64)
    for of_maps in emulated_distance.backward(gradient, *pair):
        assert of_maps.eq(0).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_emulated_kernel_shares_targets(emulated_distance, layout, dtype):
    """The target of a map out of range is no memory at all."""
    preds, target = (LAYOUTS[layout](x) for x in random_pair((5, 32, 2, 3), dtype, targets=2))
    index = torch.tensor([1, 2**62, 0, -1, 1])
    for spatial in (False, True):
        found = emulated_distance.forward(preds, target, index, None, True, spatial)
        expected = feature_distance.__wrapped__(
            preds.double(), target.double(), index, None, True, spatial
        )
        assert_right(found, expected, dtype)
    gradient = torch.randn(5, dtype=torch.float64)
    found = emulated_distance.backward(gradient, preds, target, index)
    expected = feature_distance_backward.__wrapped__(
        gradient, preds.double(), target.double(), index
    )
    for of_maps, wanted in zip(found, expected, strict=True):
        assert_gradient(of_maps, wanted, dtype)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("where", [0, 1])
def test_emulated_kernel_keeps_nan_in_its_position(emulated_distance, where, layout):
    pair = [LAYOUTS[layout](x) for x in random_pair((3, 32, 4, 5), torch.float32)]
    pair[where][1, 31, 3, 4] = torch.nan
    pair[1 - where][0, :, 1, 1] = 0
    found = emulated_distance.forward(*pair, spatial=True)
    assert found.isnan().nonzero().tolist() == [[1, 3, 4]]
    assert emulated_distance.forward(*pair).isnan().tolist() == [False, True, False]
    gradients = emulated_distance.backward(torch.ones(3, dtype=torch.float64), *pair)
    for of_maps in gradients:
        assert of_maps.isnan().any(1).nonzero().tolist() == [[1, 3, 4]]
    assert gradients[1 - where][0, :, 1, 1].eq(0).all()


@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_emulated_gradient_of_one_side(emulated_distance, layout, wanted):
    pair = [LAYOUTS[layout](x) for x in random_pair((2, 32, 2, 3), torch.float32)]
    gradient = torch.randn(2, dtype=torch.float64)
    both = emulated_distance.backward(gradient, *pair)
    one = emulated_distance.backward(gradient, *pair, None, None, True, False, *wanted)
    for found, of_both, is_wanted in zip(one, both, wanted, strict=True):
        assert found is None if not is_wanted else found.equal(of_both)


def test_emulated_kernel_without_positions_or_channels(emulated_distance):
    nothing = torch.zeros(2, 8, 0, 3)
    assert emulated_distance.forward(nothing, nothing).isnan().tolist() == [True, True]
    no_channels = torch.zeros(2, 0, 3, 3)
    assert emulated_distance.forward(no_channels, no_channels).tolist() == [0, 0]
    none = torch.zeros(0, 8, 3, 3)
    assert emulated_distance.forward(none, none).shape == (0,)


# On a GPU.


@pytest.mark.needs_cuda
def test_runs_on_the_current_stream():
    host = [x.pin_memory() for x in random_pair((16, 256, 31, 31), torch.float32)]
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10**8)  # a kernel on another stream would run now, before the copies
        found = feature_distance(*(x.to("cuda", non_blocking=True) for x in host))
    stream.synchronize()
    assert_right(found, feature_distance(*host), torch.float32)


@pytest.mark.needs_cuda
def test_both_ways_are_captured_by_a_graph():
    """No call synchronises with the host, or capture would fail."""
    pair = [x.cuda() for x in random_pair((4, 64, 15, 15), torch.float32, targets=2)]
    index = torch.tensor([1, 0, 1, 1], device="cuda")
    weight = random_weight(64).cuda()
    gradient = torch.randn(4, dtype=torch.float64, device="cuda")

    def both() -> tuple[Tensor, ...]:
        of_both = feature_distance_backward(gradient, *pair, index, weight)
        return (feature_distance(*pair, index, weight), *of_both)

    both()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = both()
    for maps in pair:
        maps.copy_(maps.flip(0))
    graph.replay()
    torch.cuda.synchronize()
    torch.testing.assert_close(captured, both(), rtol=0, atol=0)


@pytest.mark.needs_cuda
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_two_runs_give_the_same_bits(layout, dtype):
    """Of the sum over those that share a target too."""
    maps = [
        LAYOUTS[layout](x.cuda()).requires_grad_()
        for x in random_pair((64, 64, 31, 31), dtype, targets=3)
    ]
    index = torch.arange(64, device="cuda") % 3

    def both() -> tuple[Tensor, ...]:
        distance = feature_distance(*maps, index)
        return (distance.detach(), *torch.autograd.grad(distance.sum(), maps))

    first = both()
    for _ in range(10):
        torch.testing.assert_close(both(), first, rtol=0, atol=0)


@pytest.mark.needs_cuda
@pytest.mark.parametrize("spatial", [False, True])
def test_launches(spatial):
    """One for the distances, and one for their means."""
    pair = [x.cuda() for x in random_pair((8, 64, 15, 15), torch.float16)]
    feature_distance(*pair, spatial=spatial)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        feature_distance(*pair, spatial=spatial)
        torch.cuda.synchronize()
    names = [
        event.name
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
    ]
    assert len(names) == (1 if spatial else 2)
