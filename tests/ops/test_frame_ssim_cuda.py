"""The CUDA kernels of frame_ssim and of its gradient on the CPU, and what only a GPU can show.

The emulated kernels are the text of the .cu files, one fibre to a thread. test_frame_ssim.py runs
the real ones through the op.
"""

import ctypes
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from emulation import ELEMENTS, Images
from test_frame_ssim import (
    DTYPES,
    GRADIENT_BOUNDS,
    LAYOUTS,
    assert_right,
    by_numpy,
    random_pair,
    range_of,
)
from torch import Tensor

from wmscore.ops import FrameSsim, frame_ssim, frame_ssim_backward

GUARD = 64  # bytes after the scratch, which no kernel may touch


class Kernels(NamedTuple):
    """The emulated kernels, called as the ops are."""

    forward: Callable[..., Tensor]
    backward: Callable[..., tuple[Tensor, Tensor]]


def allocate_scratch(size: int) -> Tensor:
    return torch.full((size + GUARD,), 0xFF, dtype=torch.uint8)  # NaN, where it is read unset


def sizes_of(frames: Tensor) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(side) for side in frames.shape]


def pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


@pytest.fixture
def emulated_ssim(emulated) -> Kernels:
    def forward(
        preds: Tensor, target: Tensor, data_range: float, uniform: bool = False, scales: int = 1
    ) -> Tensor:
        kernel = emulated("frame_ssim")
        kernel.wmscore_frame_ssim_scratch.restype = ctypes.c_int64
        shared = (ctypes.c_bool(uniform), ctypes.c_int64(scales))
        element = ELEMENTS.index(preds.dtype)
        size = kernel.wmscore_frame_ssim_scratch(element, *sizes_of(preds), *shared)
        scratch = allocate_scratch(size)
        result = torch.full((*preds.shape[:2], scales, 3), torch.nan, dtype=torch.float64)
        error = kernel.wmscore_frame_ssim_cuda(
            element,
            Images.of(preds),
            Images.of(target),
            *sizes_of(preds),
            ctypes.c_double(data_range),
            *shared,
            pointer(scratch),
            pointer(result),
            None,
        )
        assert error == 0
        assert scratch[size:].eq(0xFF).all()
        return result

    def backward(
        gradient: Tensor,
        preds: Tensor,
        target: Tensor,
        data_range: float,
        uniform: bool = False,
        scales: int = 1,
    ) -> tuple[Tensor, Tensor]:
        kernel = emulated("frame_ssim_backward")
        kernel.wmscore_frame_ssim_backward_scratch.restype = ctypes.c_int64
        element = ELEMENTS.index(preds.dtype)
        size = kernel.wmscore_frame_ssim_backward_scratch(
            element, *sizes_of(preds), ctypes.c_int64(scales)
        )
        scratch = allocate_scratch(size)
        of_both = [torch.full(preds.shape, torch.nan, dtype=preds.dtype) for _ in range(2)]
        error = kernel.wmscore_frame_ssim_backward_cuda(
            element,
            Images.of(preds),
            Images.of(target),
            *sizes_of(preds),
            ctypes.c_double(data_range),
            ctypes.c_bool(uniform),
            ctypes.c_int64(scales),
            pointer(gradient),
            pointer(scratch),
            *(pointer(x) for x in of_both),
            None,
        )
        assert error == 0
        assert scratch[size:].eq(0xFF).all()
        return of_both[0], of_both[1]

    return Kernels(forward, backward)


# Sides of one tile, of several, and of one pixel more: tiles step by 22 to 246 columns and by up to
# 66 rows.
SIZES = [
    *((11, 11), (12, 21), (32, 32), (33, 33), (54, 22), (64, 64), (76, 118), (77, 119)),
    *((142, 257), (143, 247), (20, 600)),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_emulated_kernel(emulated_ssim, size, uniform, dtype):
    pair = random_pair((2, 1, *size), dtype)
    expected = frame_ssim.__wrapped__(*pair, range_of(dtype), uniform)
    assert_right(emulated_ssim.forward(*pair, range_of(dtype), uniform), expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("size", "uniform"),
    [((161, 161), False), ((170, 181), False), ((97, 301), True), ((323, 190), False)],
    ids=str,
)
def test_emulated_kernel_at_five_scales(emulated_ssim, size, uniform, dtype):
    pair = random_pair((1, 2, *size), dtype)
    expected = frame_ssim.__wrapped__(*pair, range_of(dtype), uniform, 5)
    assert_right(emulated_ssim.forward(*pair, range_of(dtype), uniform, 5), expected, dtype)


def test_emulated_kernel_at_its_largest_sums(emulated_ssim):
    """The fifth scale's pixels are 65280, their squared error fills 32 bits."""
    black = torch.zeros(1, 1, 400, 176, dtype=torch.uint8)
    white = torch.full_like(black, 255)
    expected = frame_ssim.__wrapped__(white, black, 255.0, scales=5)
    found = emulated_ssim.forward(white, black, 255.0, scales=5)
    assert_right(found, expected, torch.uint8)
    assert FrameSsim(*found.unbind(-1)).contrast_structure.eq(1).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("target_layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("preds_layout", LAYOUTS)
def test_emulated_kernel_with_any_strides(emulated_ssim, preds_layout, target_layout, dtype):
    preds, target = random_pair((2, 3, 24, 31), dtype)
    strided = LAYOUTS[preds_layout](preds), LAYOUTS[target_layout](target)
    expected = emulated_ssim.forward(preds, target, range_of(dtype), scales=2)
    found = emulated_ssim.forward(*strided, range_of(dtype), scales=2)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_emulated_kernel_reads_an_expanded_batch(emulated_ssim):
    preds = random_pair((3, 2, 12, 13), torch.uint8)[0]
    target = random_pair((1, 2, 12, 13), torch.uint8)[1].expand(3, -1, -1, -1)
    expected = frame_ssim.__wrapped__(preds, target, 255.0)
    assert_right(emulated_ssim.forward(preds, target, 255.0), expected, torch.uint8)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_emulated_kernel_does_not_see_the_batch(emulated_ssim, dtype):
    preds, target = random_pair((3, 2, 80, 71), dtype)
    together = emulated_ssim.forward(preds, target, range_of(dtype), scales=2)
    for image in range(3):
        piece = slice(image, image + 1)
        alone = emulated_ssim.forward(preds[piece], target[piece], range_of(dtype), scales=2)
        torch.testing.assert_close(alone, together[piece], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("where", [0, 1])
def test_emulated_kernel_keeps_nan_in_its_plane(emulated_ssim, where, dtype):
    pair = random_pair((2, 2, 40, 40), dtype)
    pair[where][1, 0, 39, 39] = torch.nan
    is_nan = emulated_ssim.forward(*pair, 1.0, scales=2).isnan().all((-1, -2))
    assert is_nan.tolist() == [[False, False], [True, False]]


def levels(first: int, count: int, step: int) -> Tensor:
    """Noise of `count` levels from `first` on."""
    return torch.arange(4900).view(70, 70) * step % 4903 % count + float(first)


# Where E[v^2] - E[v]^2 goes wrong in float32: frames nearly flat, dark, bright or far apart.
HARD: dict[str, tuple[Tensor, Tensor]] = {
    "flat and far apart": (torch.full((70, 70), 3.0), torch.full((70, 70), 250.0)),
    "flat and dark": (torch.full((70, 70), 2.0), torch.full((70, 70), 9.0)),
    "one half far apart": (torch.zeros(70, 70), torch.arange(70).ge(35).expand(70, 70) * 255.0),
    "dark noise": (levels(0, 20, 7919), levels(0, 20, 104729)),
    "bright noise": (levels(236, 20, 7919), levels(236, 20, 104729)),
    "noise on an offset": (levels(150, 3, 7919), levels(50, 3, 104729)),
    "opposite ramps": (
        (torch.arange(70)[:, None] + 2 * torch.arange(70.0)).round(),
        250 - (torch.arange(70)[:, None] + 2 * torch.arange(70.0)).round(),
    ),
}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("name", HARD)
def test_emulated_kernel_does_not_cancel(emulated_ssim, name, dtype):
    pair = [(x if dtype == torch.uint8 else x / 255).to(dtype)[None, None] for x in HARD[name]]
    found = emulated_ssim.forward(*pair, range_of(dtype))
    assert_right(found, by_numpy(*pair, False, 1), dtype)


@pytest.mark.parametrize("data_range", [1e-18, 3.0, 1e18])
@pytest.mark.parametrize("uniform", [False, True])
def test_emulated_kernel_takes_any_data_range(emulated_ssim, uniform, data_range):
    preds, target = (data_range * x for x in random_pair((1, 1, 30, 30), torch.float32))
    expected = frame_ssim.__wrapped__(preds, target, data_range, uniform, 2)
    found = emulated_ssim.forward(preds, target, data_range, uniform, 2)
    assert_right(found, expected, torch.float32)


# Tiles of gradients step by 12 to 108 columns and by up to 122 rows.
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize(
    ("size", "scales"),
    [
        *(((11, 11), 1), ((12, 13), 1), ((64, 76), 1), ((65, 77), 1), ((122, 33), 1)),
        *(((123, 230), 1), ((21, 24), 2), ((163, 171), 5)),
    ],
    ids=str,
)
def test_emulated_gradient(emulated_ssim, size, scales, uniform, dtype):
    pair = random_pair((1, 2, *size), dtype)
    gradient = torch.randn(1, 2, scales, 3, dtype=torch.float64)
    gradient[..., 2] /= 1000
    found = emulated_ssim.backward(gradient, *pair, 1.0, uniform, scales)
    exact = [x.double() for x in pair]
    expected = frame_ssim_backward.__wrapped__(gradient, *exact, 1.0, uniform, scales)
    for of_frames, wanted in zip(found, expected, strict=True):
        bound = GRADIENT_BOUNDS[dtype] * float(wanted.abs().max())
        torch.testing.assert_close(of_frames.double(), wanted, rtol=0, atol=bound)


@pytest.mark.parametrize("preds_layout", LAYOUTS)
def test_emulated_gradient_with_any_strides(emulated_ssim, preds_layout):
    preds, target = random_pair((2, 3, 24, 31), torch.float32)
    gradient = torch.randn(2, 3, 2, 3, dtype=torch.float64)
    expected = emulated_ssim.backward(gradient, preds, target, 1.0, scales=2)
    strided = LAYOUTS[preds_layout](preds), LAYOUTS["channels_last"](target)
    found = emulated_ssim.backward(gradient, *strided, 1.0, scales=2)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("data_range", [1e-6, 3.0, 1e6])
def test_emulated_gradient_takes_any_data_range(emulated_ssim, data_range):
    pair = [data_range * x for x in random_pair((1, 1, 30, 30), torch.float32)]
    gradient = torch.randn(1, 1, 2, 3, dtype=torch.float64)
    gradient[..., 2] /= 1000 * data_range**2
    found = emulated_ssim.backward(gradient, *pair, data_range, scales=2)
    exact = [x.double() for x in pair]
    expected = frame_ssim_backward.__wrapped__(gradient, *exact, data_range, scales=2)
    for of_frames, wanted in zip(found, expected, strict=True):
        bound = GRADIENT_BOUNDS[torch.float32] * float(wanted.abs().max())
        torch.testing.assert_close(of_frames.double(), wanted, rtol=0, atol=bound)


# On a GPU.


@pytest.mark.needs_cuda
def test_runs_on_the_current_stream():
    host = [x.pin_memory() for x in random_pair((4, 3, 256, 256), torch.uint8)]
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10**8)  # a kernel on another stream would run now, before the copies
        preds, target = (x.to("cuda", non_blocking=True) for x in host)
        found = frame_ssim(preds, target, 255.0, scales=3)
    stream.synchronize()
    assert_right(found, frame_ssim(*host, 255.0, scales=3), torch.uint8)


@pytest.mark.needs_cuda
def test_both_ways_are_captured_by_a_graph():
    """No call synchronises with the host, or capture would fail."""
    pair = [x.cuda() for x in random_pair((2, 3, 100, 201), torch.float32)]
    gradient = torch.randn(2, 3, 3, 3, dtype=torch.float64, device="cuda")

    def both() -> tuple[Tensor, ...]:
        of_both = frame_ssim_backward(gradient, *pair, 1.0, scales=3)
        return (frame_ssim(*pair, 1.0, scales=3), *of_both)

    both()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = both()
    for frames, other in zip(pair, random_pair((2, 3, 100, 201), torch.float32, 1), strict=True):
        frames.copy_(other)
    graph.replay()
    torch.cuda.synchronize()
    torch.testing.assert_close(captured, both(), rtol=0, atol=0)


@pytest.mark.needs_cuda
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_two_runs_give_the_same_bits(dtype):
    pair = [x.cuda() for x in random_pair((8, 3, 200, 301), dtype)]
    first = frame_ssim(*pair, range_of(dtype), scales=4)
    for _ in range(10):
        torch.testing.assert_close(
            frame_ssim(*pair, range_of(dtype), scales=4), first, rtol=0, atol=0
        )


@pytest.mark.needs_cuda
def test_more_images_than_a_grid_has_rows():
    frames = [x.cuda() for x in random_pair((5, 1, 12, 12), torch.float32)]
    many = [x.expand(-1, 13109, -1, -1).reshape(-1, 1, 12, 12) for x in frames]
    gradient = torch.randn(5, 1, 1, 3, dtype=torch.float64, device="cuda")
    of_many = gradient.expand(-1, 13109, -1, -1).reshape(-1, 1, 1, 3)
    few = (frame_ssim(*frames, 1.0), *frame_ssim_backward(gradient, *frames, 1.0))
    found = (frame_ssim(*many, 1.0), *frame_ssim_backward(of_many, *many, 1.0))
    for of_all, of_one in zip(found, few, strict=True):
        expected = of_one.expand(-1, 13109, -1, -1).reshape(of_all.shape)
        torch.testing.assert_close(of_all, expected, rtol=0, atol=0)


@pytest.mark.needs_cuda
@pytest.mark.slow
def test_rows_further_apart_than_2_to_the_31():
    """Kernels step over rows in 32 bits; such frames are copied."""
    apart = 2**31
    if torch.cuda.mem_get_info()[0] < 11 * apart:
        pytest.skip("needs 24 GB of free memory")
    rows = torch.empty(10 * apart + 11, dtype=torch.uint8, device="cuda")
    frames = rows.as_strided((1, 1, 11, 11), (1, 1, apart, 1))
    preds, target = (x.cuda() for x in random_pair((1, 1, 11, 11), torch.uint8))
    frames.copy_(preds)
    assert_right(frame_ssim(frames, target, 255.0), frame_ssim(preds, target, 255.0), torch.uint8)


@pytest.mark.needs_cuda
@pytest.mark.parametrize("scales", [1, 5])
def test_launches(scales):
    """One for each scale, and one for the sums."""
    pair = [x.cuda() for x in random_pair((2, 3, 170, 170), torch.uint8)]
    frame_ssim(*pair, 255.0, scales=scales)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        frame_ssim(*pair, 255.0, scales=scales)
        torch.cuda.synchronize()
    names = [
        event.name
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
    ]
    assert sum("score_tiles" in name for name in names) == scales
    assert sum("finish" in name for name in names) == 1
    assert len(names) == scales + 1
