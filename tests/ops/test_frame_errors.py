"""frame_errors: torch function, CPU kernel and CUDA kernel against numpy, in one body."""

import ctypes
import shutil
from collections.abc import Callable

import numpy as np
import pytest
import torch
from emulation import ELEMENTS, Frames
from frame_cases import DEVICES, DTYPES, LAYOUTS, random_frames, terms
from torch import Tensor

from wmscore.ops import FrameErrors, frame_errors, kernels

SHAPES = [
    (0, 3, 8, 8),
    (2, 0, 8, 8),
    (2, 3, 0, 8),
    (1, 1, 1, 1),
    (3, 1, 5, 7),
    (2, 3, 1, 9),
    (2, 3, 9, 1),
    (2, 3, 16, 16),
    (2, 4, 33, 65),
    (
        1,
        2,
        131,
        150,
    ),  # more than one chunk of the CUDA kernel, more than one block of the CPU kernel
    (1, 3, 128, 136),
]


def assert_right(actual: Tensor, preds: Tensor, target: Tensor) -> None:
    """Equal for uint8; else within pixels * 2^-52 * Σ|term|: the bound of any summation order."""
    every = terms(preds, target)
    expected = torch.from_numpy(every.sum(axis=2))
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    assert actual.device == preds.device
    if preds.dtype == torch.uint8:
        torch.testing.assert_close(actual.cpu(), expected, rtol=0, atol=0)
    else:
        bound = torch.from_numpy(np.abs(every).sum(axis=2)) * (every.shape[2] + 2) * 2.0**-52
        assert ((actual.cpu() - expected).abs() <= bound).all()


@pytest.fixture(params=["dispatched", "torch"])
def run(request: pytest.FixtureRequest) -> Callable[[Tensor, Tensor], Tensor]:
    """The op with whatever kernel the device has, and the torch function alone."""
    return frame_errors if request.param == "dispatched" else frame_errors.__wrapped__


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_numpy(run, shape, dtype, device):
    preds, target = (random_frames(shape, dtype).to(device) for _ in range(2))
    assert_right(run(preds, target), preds, target)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("target_layout", LAYOUTS)
@pytest.mark.parametrize("preds_layout", LAYOUTS)
def test_strides_do_not_matter(preds_layout, target_layout, dtype, device):
    shape = (2, 3, 24, 31)
    preds, target = (random_frames(shape, dtype).to(device) for _ in range(2))
    strided = LAYOUTS[preds_layout](preds), LAYOUTS[target_layout](target)
    torch.testing.assert_close(
        strided, (preds, target), rtol=0, atol=0
    )  # the layouts keep the values
    assert_right(frame_errors(*strided), preds, target)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_channels_last_of_any_channel_count(channels, device):
    preds, target = (random_frames((2, channels, 96, 97), torch.uint8).to(device) for _ in range(2))
    interleaved = [x.contiguous(memory_format=torch.channels_last) for x in (preds, target)]
    assert_right(frame_errors(*interleaved), preds, target)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", [(1, 3, 520, 513), (1, 3, 1100, 256)], ids=str)
def test_large_planes_of_the_largest_error(run, shape, layout, device):
    """Longer than any running sum of 32 bits lasts, and than float32 rows do."""
    black = torch.zeros(shape, dtype=torch.uint8, device=device)
    black, white = (LAYOUTS[layout](x) for x in (black, torch.full_like(black, 255)))
    pixels = shape[2] * shape[3]
    expected = [pixels * 65025, pixels * 255, 0, pixels * 255, 0, pixels * 65025]
    assert run(black, white).tolist() == [[expected] * 3]


@pytest.mark.parametrize("device", DEVICES)
def test_uint8_does_not_wrap(run, device):
    black = torch.zeros(1, 1, 16, 16, dtype=torch.uint8, device=device)
    white = torch.full_like(black, 255)
    assert run(black, white).flatten().tolist() == [
        256 * 65025,
        256 * 255,
        0,
        256 * 255,
        0,
        256 * 65025,
    ]
    assert run(white, black).flatten().tolist() == [
        256 * 65025,
        256 * 255,
        256 * 255,
        0,
        256 * 65025,
        0,
    ]


@pytest.mark.parametrize("device", DEVICES)
def test_half_does_not_overflow(run, device):
    high = torch.full((1, 1, 1, 1), 60000.0, dtype=torch.float16, device=device)
    low = -high
    value = high.item()
    expected = [4 * value**2, 2 * value, value, -value, value**2, value**2]
    assert run(high, low).flatten().tolist() == expected


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_16_bit_float(run, dtype, device):
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    preds = (
        bits.view(dtype).reshape(-1, 1, 1, 1).to(device)
    )  # one pixel to a frame: nothing is summed
    sums = FrameErrors(*run(preds, torch.zeros_like(preds)).unbind(-1))
    expected = bits.view(dtype).double().reshape(-1, 1).to(device)
    torch.testing.assert_close(sums.preds_sum, expected, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(sums.absolute_error, expected.abs(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize(("where", "clean"), [("preds", {3, 5}), ("target", {2, 4})])
def test_nan_reaches_its_sums_and_no_other(run, where, clean, dtype, device):
    pair = {name: random_frames((2, 2, 40, 40), dtype).to(device) for name in ("preds", "target")}
    pair[where][1, 0, 39, 39] = torch.nan
    is_nan = run(pair["preds"], pair["target"]).isnan()
    expected = torch.zeros(2, 2, 6, dtype=torch.bool, device=device)
    expected[1, 0] = torch.tensor([column not in clean for column in range(6)], device=device)
    torch.testing.assert_close(is_nan, expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_frame_does_not_see_its_batch(run, dtype, device):
    preds, target = (random_frames((5, 3, 70, 71), dtype).to(device) for _ in range(2))
    together = run(preds, target)
    alone = torch.cat([run(p[None], t[None]) for p, t in zip(preds, target, strict=True)])
    order = torch.tensor([3, 0, 4, 1, 2], device=device)
    if run is frame_errors:  # to the bit: the kernels promise one order of summation
        torch.testing.assert_close(together, alone, rtol=0, atol=0)
        torch.testing.assert_close(
            run(preds[order], target[order]), together[order], rtol=0, atol=0
        )
    assert_right(alone, preds, target)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_two_runs_give_the_same_bits(dtype, device):
    preds, target = (random_frames((2, 3, 200, 201), dtype).to(device) for _ in range(2))
    first = frame_errors(preds, target)
    for _ in range(3):
        torch.testing.assert_close(frame_errors(preds, target), first, rtol=0, atol=0)


def need_kernel(device: str) -> None:
    if device not in kernels().ops["frame_errors"]:
        pytest.skip(f"no {device} kernel; the torch function would take 50 GB")


@pytest.mark.parametrize("device", DEVICES)
def test_more_than_2_to_the_31_elements_in_a_batch(device):
    need_kernel(device)
    preds, target = (random_frames((1, 1, 1024, 1024), torch.uint8).to(device) for _ in range(2))
    many = 2**11 + 1
    sums = frame_errors(preds.expand(many, -1, -1, -1), target.expand(many, -1, -1, -1))
    expected = torch.from_numpy(terms(preds, target).sum(axis=2)).to(device).expand(many, -1, -1)
    torch.testing.assert_close(sums, expected, rtol=0, atol=0)


@pytest.mark.slow
def test_more_than_2_to_the_31_pixels_in_a_plane():
    need_kernel("cpu")
    height, width = 2**16, 2**15 + 1
    black = torch.zeros(1, 1, 1, 1, dtype=torch.uint8)
    white = torch.full_like(black, 255)
    sums = frame_errors(*(x.expand(1, 1, height, width) for x in (black, white)))
    pixels = height * width
    expected = [pixels * 65025, pixels * 255, 0, pixels * 255, 0, pixels * 65025]
    assert sums.flatten().tolist() == expected


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [DTYPES[0], DTYPES[-1]], ids=str)
def test_opcheck(dtype, device):
    for layout in ("contiguous", "channels_last", "columns_first"):
        pair = [LAYOUTS[layout](random_frames((2, 3, 9, 11), dtype)).to(device) for _ in range(2)]
        torch.library.opcheck(torch.ops.wmscore.frame_errors.default, pair)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_meta_knows_shape_and_dtype(dtype):
    frames = torch.empty(2, 3, 2**20, 2**20, dtype=dtype, device="meta")
    sums = frame_errors(frames, frames)
    assert sums.shape == (2, 3, 6)
    assert sums.dtype == (torch.int64 if dtype == torch.uint8 else torch.float64)
    assert sums.device.type == "meta"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_whole(backend, dynamic, device):
    if backend == "inductor" and shutil.which("g++") is None:
        pytest.skip("inductor needs a C++ compiler")

    def mean_squared_error(preds: Tensor, target: Tensor) -> Tensor:
        return frame_errors(preds, target)[..., 0].sum(-1) / preds[0].numel()

    torch.compiler.reset()
    compiled = torch.compile(mean_squared_error, fullgraph=True, backend=backend, dynamic=dynamic)
    for batch in (2, 3):
        pair = [random_frames((batch, 3, 12, 13), torch.uint8).to(device) for _ in range(2)]
        torch.testing.assert_close(compiled(*pair), mean_squared_error(*pair), rtol=0, atol=0)


def frames(*shape: int, dtype: torch.dtype = torch.uint8, device: str = "cpu") -> Tensor:
    return torch.zeros(shape, dtype=dtype, device=device)


@pytest.mark.parametrize(
    ("preds", "target", "error", "message"),
    [
        (
            np.zeros((1, 3, 4, 4)),
            frames(1, 3, 4, 4),
            TypeError,
            r"preds must be a torch\.Tensor, got ndarray",
        ),
        (frames(1, 3, 4, 4), None, TypeError, r"target must be a torch\.Tensor, got NoneType"),
        (
            frames(1, 3, 4, 4, dtype=torch.int64),
            frames(1, 3, 4, 4),
            TypeError,
            r"preds must have one of the dtypes uint8, .*, got torch\.int64",
        ),
        (
            frames(1, 3, 4, 4),
            frames(1, 3, 4, 4, dtype=torch.float32),
            TypeError,
            r"one dtype, got torch\.uint8 and torch\.float32",
        ),
        (
            frames(1, 3, 4, 4),
            frames(1, 1, 4, 4),
            ValueError,
            r"one shape \[N, C, H, W\], got \(1, 3, 4, 4\) and \(1, 1, 4, 4\)",
        ),
        (
            frames(3, 4, 4),
            frames(3, 4, 4),
            ValueError,
            r"one shape \[N, C, H, W\], got \(3, 4, 4\)",
        ),
        (
            frames(1, 3, 4, 4),
            frames(1, 3, 4, 4, device="meta"),
            ValueError,
            "on one device, got cpu and meta",
        ),
    ],
)
def test_errors_say_what_was_expected_and_what_came(preds, target, error, message):
    with pytest.raises(error, match=message):
        frame_errors(preds, target)


def test_a_gradient_is_refused_not_cut():
    preds = torch.rand(1, 3, 4, 4, requires_grad=True)
    target = torch.rand(1, 3, 4, 4)
    with pytest.raises(RuntimeError, match=r"frame_errors has no gradient.*detach\(\)"):
        frame_errors(preds, target)
    with torch.no_grad():
        sums = frame_errors(preds, target)
    torch.testing.assert_close(sums, frame_errors(preds.detach(), target), rtol=0, atol=0)
    assert not sums.requires_grad


@pytest.mark.needs_cuda
def test_runs_on_the_current_stream():
    host = [random_frames((4, 3, 256, 256), torch.uint8).pin_memory() for _ in range(2)]
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10**8)  # a kernel on another stream would run now, before the copies
        preds, target = (x.to("cuda", non_blocking=True) for x in host)
        sums = frame_errors(preds, target)
    stream.synchronize()
    assert_right(sums, preds, target)


@pytest.mark.needs_cuda
def test_is_captured_by_a_graph():
    """No call synchronises with the host, or capture would fail."""
    preds, target = (random_frames((2, 3, 200, 201), torch.uint8).cuda() for _ in range(2))
    frame_errors(preds, target)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        sums = frame_errors(preds, target)
    preds.copy_(random_frames((2, 3, 200, 201), torch.uint8))
    graph.replay()
    torch.cuda.synchronize()
    assert_right(sums, preds, target)


# The CUDA kernel on the CPU: the text of the .cu file, one fibre to a thread.


def run_emulated(kernel: ctypes.CDLL, preds: Tensor, target: Tensor) -> Tensor:
    images, channels, height, width = preds.shape
    total = torch.int64 if preds.dtype == torch.uint8 else torch.float64
    kernel.wmscore_frame_errors_chunks.restype = ctypes.c_int64
    chunks = kernel.wmscore_frame_errors_chunks(ctypes.c_int64(height * width))
    unset = torch.iinfo(torch.int64).min if total == torch.int64 else torch.nan
    partials = torch.full((images, channels, chunks if chunks > 1 else 0, 6), unset, dtype=total)
    sums = torch.full((images, channels, 6), unset, dtype=total)
    error = kernel.wmscore_frame_errors_cuda(
        ELEMENTS.index(preds.dtype),
        Frames.of(preds),
        Frames.of(target),
        *(ctypes.c_int64(n) for n in (images, channels, height * width)),
        ctypes.c_void_p(partials.data_ptr()),
        ctypes.c_void_p(sums.data_ptr()),
        None,
    )
    assert error == 0
    return sums


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "unaligned"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 3, 17, 16), (2, 3, 128, 129)], ids=str)
def test_emulated_cuda_kernel(emulated, shape, layout, dtype):
    preds, target = (LAYOUTS[layout](random_frames(shape, dtype)) for _ in range(2))
    assert_right(run_emulated(emulated("frame_errors"), preds, target), preds, target)


def test_emulated_cuda_kernel_at_its_largest_sums(emulated):
    """A full chunk of the largest error: the 32-bit sums must hold it."""
    black = torch.zeros(1, 1, 128, 130, dtype=torch.uint8)
    white = torch.full_like(black, 255)
    assert_right(run_emulated(emulated("frame_errors"), white, black), white, black)


def test_emulated_cuda_kernel_reads_an_expanded_batch(emulated):
    preds = random_frames((3, 2, 8, 8), torch.uint8)
    target = random_frames((1, 2, 8, 8), torch.uint8).expand(3, -1, -1, -1)
    assert_right(run_emulated(emulated("frame_errors"), preds, target), preds, target)
