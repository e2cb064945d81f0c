"""frame_quality: torch function, CPU kernel and CUDA kernel against numpy, in one body."""

import ctypes
import shutil
from collections.abc import Callable

import numpy as np
import pytest
import torch
from emulation import ELEMENTS, Images
from torch import Tensor

from wmscore.ops import QualitySums, frame_quality, kernels

DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]
SHAPES = [
    (0, 3, 8, 8),
    (2, 3, 0, 8),
    (2, 1, 8, 0),
    (2, 3, 1, 1),
    (3, 1, 5, 7),
    (2, 3, 1, 9),
    (2, 3, 9, 1),
    (2, 3, 2, 2),
    (2, 3, 16, 16),
    (2, 1, 33, 65),
    (1, 3, 40, 48),
    (1, 3, 21, 1025),  # more than one strip of the CPU kernel
    (1, 3, 110, 1300),  # more than one of its bands, more than one slice of the CUDA kernel
]
# From a tensor [N, C, H, W] to one of the same shape and values but other strides.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "columns_first": lambda x: x.mT.contiguous().mT,
    "every_other_pixel": lambda x: torch.stack([x, x], dim=-1).flatten(-2)[..., ::2],
    "cropped": lambda x: torch.nn.functional.pad(x, (1, 2, 1, 1))[..., 1:-1, 1:-2],
    "padded_rows": lambda x: torch.nn.functional.pad(x, (0, 16))[..., :-16],
    "unaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
    "rgb_of_interleaved_rgba": lambda x: torch.cat([x, x[:, :1]], dim=1).contiguous(
        memory_format=torch.channels_last
    )[:, : x.shape[1]],
}


def random_frames(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Noise of which about a third is clipped, from 0 to 255 or 1."""
    frames = torch.randint(-40, 296, shape).clamp(0, 255)
    return frames.to(dtype) if dtype == torch.uint8 else (frames / 255).to(dtype)


def wide(frames: Tensor) -> np.ndarray:
    """`[N, 3, H, W]` in int64 or float64."""
    if frames.dtype == torch.uint8:
        array = frames.cpu().numpy().astype(np.int64)
    else:
        array = frames.double().cpu().numpy()
    return np.broadcast_to(array, (len(array), 3, *array.shape[2:]))


def oracle(frames: Tensor, previous: Tensor | None = None) -> Tensor:
    """The columns by numpy, one frame and one formula at a time."""
    top = 255 if frames.dtype == torch.uint8 else 1.0
    rows = []
    for n, frame in enumerate(wide(frames)):
        luma = np.tensordot(np.array([77, 150, 29]), frame, axes=1)  # [H, W]
        height, width = luma.shape
        second = np.einsum("ihw,jhw->ij", frame, frame)
        steps = [  # the step, and whether it leaves a cell of the grid
            (luma[y + dy, x + dx] - luma[y, x], (x + dx) % 8 * dx == 0 and (y + dy) % 8 * dy == 0)
            for dy, dx in ((0, 1), (1, 0))
            for y in range(height - dy)
            for x in range(width - dx)
        ]
        size = np.abs([step for step, _ in steps])
        is_border = np.array([border for _, border in steps], dtype=bool)
        laplacian = [
            4 * luma[1:-1, 1:-1],
            -luma[1:-1, :-2],
            -luma[1:-1, 2:],
            -luma[:-2, 1:-1],
            -luma[2:, 1:-1],
        ]
        change = frame - wide(previous)[n] if previous is not None else np.zeros_like(frame)
        rows.append(
            QualitySums(
                *frame.sum((1, 2)),
                *(second[i, i] for i in range(3)),
                *(second[i, (i + 1) % 3] for i in range(3)),
                (frame.max(0) - frame.min(0)).sum(),
                (frame <= 0).sum(),
                (frame >= top).sum(),
                (size**2).sum(),
                (sum(laplacian) ** 2).sum(),
                size[is_border].sum(),
                size[~is_border].sum(),
                np.abs(change).sum(),
                (change**2).sum(),
            )
        )
    dtype = torch.int64 if frames.dtype == torch.uint8 else torch.float64
    return torch.tensor(rows, dtype=dtype).reshape(len(frames), len(QualitySums._fields))


def assert_right(actual: Tensor, frames: Tensor, previous: Tensor | None = None) -> None:
    """Equal for uint8; else within rounding: all terms are 0 or more, so no sum cancels."""
    expected = oracle(frames, previous)
    assert actual.device == frames.device
    tolerance = 0 if frames.dtype == torch.uint8 else 1e-12
    torch.testing.assert_close(actual.cpu(), expected, rtol=tolerance, atol=tolerance)


def sums_of(row: Tensor) -> QualitySums:
    """One frame's columns as numbers."""
    return QualitySums(*row.tolist())


@pytest.fixture(params=["dispatched", "torch"])
def run(request: pytest.FixtureRequest) -> Callable[..., Tensor]:
    """The op with whatever kernel the device has, and the torch function alone."""
    return frame_quality if request.param == "dispatched" else frame_quality.__wrapped__


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_numpy(run, shape, dtype, device):
    frames, previous = (random_frames(shape, dtype).to(device) for _ in range(2))
    assert_right(run(frames), frames)
    assert_right(run(frames, previous), frames, previous)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("previous_layout", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_do_not_matter(layout, previous_layout, dtype, device):
    for shape in ((2, 3, 11, 32), (1, 1, 10, 21)):
        pair = [random_frames(shape, dtype).to(device) for _ in range(2)]
        strided = [
            LAYOUTS[name](x) for name, x in zip((layout, previous_layout), pair, strict=True)
        ]
        torch.testing.assert_close(strided, pair, rtol=0, atol=0)  # the layouts keep the values
        assert_right(frame_quality(*strided), *pair)


@pytest.mark.parametrize("device", DEVICES)
def test_one_channel_counts_as_three_equal_ones(run, device):
    for dtype in DTYPES:
        grey = random_frames((2, 1, 20, 30), dtype).to(device)
        expected = run(grey.expand(-1, 3, -1, -1), grey.flip(0).expand(-1, 3, -1, -1))
        torch.testing.assert_close(run(grey, grey.flip(0)), expected, rtol=1e-14, atol=0)


# Frames whose sums are known.


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_constant_frame(run, dtype, device):
    value = 100 if dtype == torch.uint8 else 0.375
    frames = torch.full((1, 3, 30, 40), value, dtype=dtype, device=device)
    sums = sums_of(run(frames, frames)[0])
    assert sums[:9] == (*(3 * [1200 * value]), *(6 * [1200 * value**2]))
    assert sums[9:] == (0,) * 9


@pytest.mark.parametrize("device", DEVICES)
def test_checkerboard_of_black_and_white_and_its_negative(run, device):
    """The largest gradient, Laplacian and change there are: nothing wraps or overflows."""
    height, width = 258, 1040
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    board = ((x + y) % 2 * 255).to(torch.uint8).expand(1, 3, -1, -1).to(device)
    sums = sums_of(run(board, 255 - board)[0])
    pixels = height * width
    steps = height * (width - 1) + (height - 1) * width
    borders = height * ((width - 1) // 8) + (height - 1) // 8 * width
    assert sums.gradient == 65280**2 * steps
    assert sums.laplacian == (4 * 65280) ** 2 * (height - 2) * (width - 2)
    assert (sums.border, sums.inner) == (65280 * borders, 65280 * (steps - borders))
    assert (sums.absolute_change, sums.squared_change) == (3 * 255 * pixels, 3 * 255**2 * pixels)
    assert sums.low == sums.high == 3 * pixels // 2
    assert sums.red_green == 255**2 * pixels // 2
    assert sums.chroma == 0


@pytest.mark.parametrize("device", DEVICES)
def test_ramps(run, device):
    """A ramp has one gradient and no curvature, whichever way it runs."""
    ramp = torch.arange(100, dtype=torch.uint8, device=device).expand(1, 3, 37, 100)
    for frames in (ramp, ramp.mT, ramp.flip(-1)):
        sums = sums_of(run(frames)[0])
        assert sums.gradient == 37 * 99 * 256**2
        assert sums.laplacian == 0
        assert sums.border == 37 * 12 * 256
        assert sums.inner == 37 * (99 - 12) * 256


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_blocks_on_the_grid_have_steps_at_its_borders_only(run, dtype, device):
    blocks = random_frames((1, 3, 5, 40), dtype).to(device)
    frames = blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)
    sums = sums_of(run(frames)[0])
    assert sums.inner == 0  # not a rounding error either
    assert sums.border > 0
    shifted = sums_of(run(frames[..., 4:, 4:])[0])
    assert shifted.border == 0
    assert shifted.inner > 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_bright_pixel(run, dtype, device):
    """A pixel's luma shows in four steps and in its own and its neighbours' Laplacians."""
    top = 255 if dtype == torch.uint8 else 1
    for channel, weight in enumerate((77, 150, 29)):
        frames = torch.zeros(1, 3, 20, 20, dtype=dtype, device=device)
        frames[0, channel, 7, 10] = top
        sums = sums_of(run(frames)[0])
        luma = weight * top
        assert sums[channel] == sums.chroma == top
        assert sums.gradient == 4 * luma**2
        assert sums.laplacian == (16 + 4) * luma**2
        assert (sums.border, sums.inner) == (luma, 3 * luma)  # only the step to row 8 crosses
        assert (sums.low, sums.high) == (3 * 400 - 1, 1)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_values_out_of_range_count_as_clipped(run, dtype, device):
    frames = torch.tensor([-0.5, 0.0, 0.5, 1.0, 1.5, torch.nan]).to(dtype).to(device)
    sums = QualitySums(*run(frames.view(1, 1, 1, -1)).unbind(-1))
    assert (sums.low.item(), sums.high.item()) == (6, 6)


@pytest.mark.parametrize("device", DEVICES)
def test_half_does_not_overflow(run, device):
    frames = torch.tensor([60000.0, -60000.0], dtype=torch.float16, device=device)
    sums = sums_of(run(frames.view(1, 1, 1, 2), -frames.view(1, 1, 1, 2))[0])
    value = frames[0].item()
    assert sums.blue_red == 2 * value**2
    assert sums.gradient == (2 * 256 * value) ** 2
    assert (sums.absolute_change, sums.squared_change) == (6 * 2 * value, 6 * (2 * value) ** 2)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_16_bit_float(run, dtype, device):
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    frames = bits.view(dtype).reshape(-1, 1, 1, 1).to(device)  # one pixel to a frame: no sum
    sums = QualitySums(*run(frames, torch.zeros_like(frames)).unbind(-1))
    expected = bits.view(dtype).double().to(device)
    for column in (sums.red, sums.green, sums.blue):
        torch.testing.assert_close(column, expected, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(
        sums.absolute_change, 3 * expected.abs(), rtol=0, atol=0, equal_nan=True
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("where", ["frames", "previous"])
def test_nan_reaches_its_sums_and_no_other(run, where, dtype, device):
    pair = {
        name: random_frames((2, 3, 40, 40), dtype).to(device) for name in ("frames", "previous")
    }
    pair[where][1, 0, 8, 8] = torch.nan  # red, at a border and inside of a cell
    clean = {"green", "blue", "green_green", "blue_blue", "green_blue", "low", "high"}
    if where == "previous":
        clean = set(QualitySums._fields) - {"absolute_change", "squared_change"}
    is_nan = run(pair["frames"], pair["previous"]).isnan()
    assert not is_nan[0].any()
    assert sums_of(is_nan[1]) == QualitySums(*(name not in clean for name in QualitySums._fields))


# Which frames, how many, how often, on how many threads.


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_frame_does_not_see_its_batch(run, dtype, device):
    frames, previous = (random_frames((5, 3, 70, 71), dtype).to(device) for _ in range(2))
    together = run(frames, previous)
    alone = torch.cat([run(f[None], p[None]) for f, p in zip(frames, previous, strict=True)])
    order = torch.tensor([3, 0, 4, 1, 2], device=device)
    if run is frame_quality:  # to the bit: the kernels promise one order of summation
        torch.testing.assert_close(together, alone, rtol=0, atol=0)
        torch.testing.assert_close(
            run(frames[order], previous[order]), together[order], rtol=0, atol=0
        )
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_two_runs_give_the_same_bits(dtype, device):
    frames, previous = (random_frames((2, 3, 200, 201), dtype).to(device) for _ in range(2))
    first = frame_quality(frames, previous)
    for _ in range(3):
        torch.testing.assert_close(frame_quality(frames, previous), first, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_the_number_of_threads_does_not_matter(dtype):
    frames, previous = (random_frames((3, 3, 300, 900), dtype) for _ in range(2))
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(frame_quality(frames, previous))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=0)


def need_kernel(device: str) -> None:
    if device not in kernels().ops["frame_quality"]:
        pytest.skip(f"no {device} kernel; the torch function would take 50 GB")


@pytest.mark.parametrize("device", DEVICES)
def test_more_than_2_to_the_31_elements_in_a_batch(device):
    need_kernel(device)
    frames = random_frames((1, 1, 1024, 1024), torch.uint8).to(device)
    many = 2**11 + 1
    sums = frame_quality(frames.expand(many, -1, -1, -1))
    expected = frame_quality.__wrapped__(frames).expand(many, -1)
    torch.testing.assert_close(sums, expected, rtol=0, atol=0)


@pytest.mark.slow
def test_more_than_2_to_the_31_pixels_in_a_plane():
    need_kernel("cpu")
    height, width = 2**16, 2**15 + 1
    white = torch.full((1, 1, 1, 1), 255, dtype=torch.uint8).expand(1, 1, height, width)
    sums = sums_of(frame_quality(white)[0])
    assert sums.red == 255 * height * width
    assert sums.high == 3 * height * width
    assert sums.gradient == 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [DTYPES[0], DTYPES[-1]], ids=str)
def test_opcheck(dtype, device):
    for layout in ("contiguous", "channels_last", "columns_first"):
        pair = [LAYOUTS[layout](random_frames((2, 3, 9, 11), dtype)).to(device) for _ in range(2)]
        torch.library.opcheck(torch.ops.wmscore.frame_quality.default, pair)
        torch.library.opcheck(torch.ops.wmscore.frame_quality.default, pair[:1])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_meta_knows_shape_and_dtype(dtype):
    frames = torch.empty(2, 3, 2**20, 2**20, dtype=dtype, device="meta")
    for arguments in ((frames,), (frames, frames)):
        sums = frame_quality(*arguments)
        assert sums.shape == (2, len(QualitySums._fields))
        assert sums.dtype == (torch.int64 if dtype == torch.uint8 else torch.float64)
        assert sums.device.type == "meta"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_whole(backend, dynamic, device):
    if backend == "inductor" and shutil.which("g++") is None:
        pytest.skip("inductor needs a C++ compiler")

    def share_of_white(frames: Tensor, previous: Tensor) -> Tensor:
        return frame_quality(frames, previous)[:, 11] / frames[0].numel()

    torch.compiler.reset()
    compiled = torch.compile(share_of_white, fullgraph=True, backend=backend, dynamic=dynamic)
    for batch in (2, 3):
        pair = [random_frames((batch, 3, 12, 13), torch.uint8).to(device) for _ in range(2)]
        torch.testing.assert_close(compiled(*pair), share_of_white(*pair), rtol=0, atol=0)


def frames(*shape: int, dtype: torch.dtype = torch.uint8, device: str = "cpu") -> Tensor:
    return torch.zeros(shape, dtype=dtype, device=device)


@pytest.mark.parametrize(
    ("given", "previous", "error", "message"),
    [
        (np.zeros((1, 3, 4, 4)), None, TypeError, r"frames must be a torch\.Tensor, got ndarray"),
        (frames(1, 3, 4, 4), 1, TypeError, r"previous must be a torch\.Tensor, got int"),
        (
            frames(1, 3, 4, 4, dtype=torch.int64),
            None,
            TypeError,
            r"frames must have one of the dtypes uint8, .*, got torch\.int64",
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
            r"one shape, got \(1, 3, 4, 4\) and \(1, 1, 4, 4\)",
        ),
        (frames(3, 4, 4), None, ValueError, r"\[N, C, H, W\] with C = 1 or C = 3, got \(3, 4, 4\)"),
        (frames(1, 4, 4, 4), None, ValueError, r"with C = 1 or C = 3, got \(1, 4, 4, 4\)"),
        (
            frames(1, 3, 4, 4),
            frames(1, 3, 4, 4, device="meta"),
            ValueError,
            "on one device, got cpu and meta",
        ),
    ],
)
def test_errors_say_what_was_expected_and_what_came(given, previous, error, message):
    with pytest.raises(error, match=message):
        frame_quality(given, previous)


def test_a_gradient_is_refused_not_cut():
    given = torch.rand(1, 3, 4, 4, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"frame_quality has no gradient.*detach\(\)"):
        frame_quality(given)
    with torch.no_grad():
        sums = frame_quality(given)
    torch.testing.assert_close(sums, frame_quality(given.detach()), rtol=0, atol=0)
    assert not sums.requires_grad


@pytest.mark.needs_cuda
def test_runs_on_the_current_stream():
    host = [random_frames((4, 3, 64, 64), torch.uint8).pin_memory() for _ in range(2)]
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10**8)  # a kernel on another stream would run now, before the copies
        pair = [x.to("cuda", non_blocking=True) for x in host]
        sums = frame_quality(*pair)
    stream.synchronize()
    assert_right(sums, *pair)


@pytest.mark.needs_cuda
def test_is_captured_by_a_graph():
    """No call synchronises with the host, or capture would fail."""
    pair = [random_frames((2, 3, 100, 101), torch.uint8).cuda() for _ in range(2)]
    frame_quality(*pair)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        sums = frame_quality(*pair)
    pair[0].copy_(random_frames((2, 3, 100, 101), torch.uint8))
    graph.replay()
    torch.cuda.synchronize()
    assert_right(sums, *pair)


# The CUDA kernel on the CPU: the text of the .cu file, one fibre to a thread.


def run_emulated(kernel: ctypes.CDLL, frames: Tensor, previous: Tensor | None = None) -> Tensor:
    def view_of(x: Tensor | None) -> Images:
        if x is None:
            return Images()
        images = Images.of(x)
        if x.shape[1] == 1:
            images.channel = 0
        return images

    count, _, height, width = frames.shape
    columns = len(QualitySums._fields)
    total = torch.int64 if frames.dtype == torch.uint8 else torch.float64
    element = ELEMENTS.index(frames.dtype)
    kernel.wmscore_frame_quality_slices.restype = ctypes.c_int64
    size = [ctypes.c_int64(n) for n in (height, width)]
    slices = kernel.wmscore_frame_quality_slices(element, *size)
    unset = torch.iinfo(torch.int64).min if total == torch.int64 else torch.nan
    partials = torch.full((count, slices if slices > 1 else 0, columns), unset, dtype=total)
    sums = torch.full((count, columns), unset, dtype=total)
    error = kernel.wmscore_frame_quality_cuda(
        element,
        view_of(frames),
        view_of(previous),
        ctypes.c_int64(count),
        *size,
        ctypes.c_void_p(partials.data_ptr()),
        ctypes.c_void_p(sums.data_ptr()),
        None,
    )
    assert error == 0
    return sums


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "shape", [(2, 3, 1, 1), (2, 1, 5, 7), (2, 3, 19, 16), (1, 3, 70, 80), (1, 3, 33, 100)], ids=str
)
def test_emulated_cuda_kernel(emulated, shape, layout, dtype):
    pair = [LAYOUTS[layout](random_frames(shape, dtype)) for _ in range(2)]
    assert_right(run_emulated(emulated("frame_quality"), *pair), *pair)
    assert_right(run_emulated(emulated("frame_quality"), pair[0]), pair[0])


def test_emulated_cuda_kernel_with_layouts_that_differ(emulated):
    pair = [random_frames((1, 3, 20, 32), torch.uint8) for _ in range(2)]
    for first in LAYOUTS.values():
        for second in LAYOUTS.values():
            sums = run_emulated(emulated("frame_quality"), first(pair[0]), second(pair[1]))
            assert_right(sums, *pair)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "cropped"])
def test_emulated_cuda_kernel_at_its_largest_sums(emulated, layout):
    """Bands of the full height in a full warp: the 32-bit sums must hold them."""
    y, x = torch.meshgrid(torch.arange(130), torch.arange(512), indexing="ij")
    board = LAYOUTS[layout](((x + y) % 2 * 255).to(torch.uint8).expand(1, 3, -1, -1))
    white = torch.full_like(board, 255)
    for pair in ((board, 255 - board), (white, 255 - white)):
        assert run_emulated(emulated("frame_quality"), *pair).equal(
            frame_quality.__wrapped__(*pair)
        )


def test_emulated_cuda_kernel_reads_an_expanded_batch(emulated):
    frames = random_frames((3, 3, 8, 16), torch.uint8)
    previous = frames[:1].expand(3, -1, -1, -1)
    assert_right(run_emulated(emulated("frame_quality"), frames, previous), frames, previous)
