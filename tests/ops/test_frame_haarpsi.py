"""frame_haarpsi: CPU and CUDA kernel against the torch function, and what follows by hand.

The torch function is compared with the paper's definition in tests/functional/test_haar.py.
"""

import ctypes
import math
import shutil
from collections.abc import Callable

import numpy as np
import pytest
import torch
from emulation import ELEMENTS, Images
from torch import Tensor

from wmscore.ops import HAARPSI_ALPHA, FrameHaarpsi, frame_haarpsi, kernels

DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]
SHAPES = [
    (0, 3, 8, 8),
    (1, 1, 1, 1),
    (1, 3, 1, 2),
    (2, 3, 1, 9),
    (2, 1, 9, 1),
    (3, 3, 5, 7),
    (2, 3, 16, 16),
    (2, 1, 33, 65),  # more than one tile of the CUDA kernel
    (2, 3, 64, 63),
    (1, 3, 131, 70),  # more than one tile of the CPU kernel, downwards
    (1, 1, 11, 515),  # and across
    (1, 3, 261, 522),  # and once halved
]
# From a tensor [N, C, H, W] to one of the same shape and values but other strides.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "columns_first": lambda x: x.mT.contiguous().mT,
    "every_other_pixel": lambda x: torch.stack([x, x], dim=-1).flatten(-2)[..., ::2],
    "cropped": lambda x: torch.nn.functional.pad(x, (1, 2, 1, 1))[..., 1:-1, 1:-2],
    "unaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
    "rgb_of_interleaved_rgba": lambda x: torch.cat([x, x[:, :1]], dim=1).contiguous(
        memory_format=torch.channels_last
    )[:, : x.shape[1]],
}


def random_pair(
    shape: tuple[int, ...], dtype: torch.dtype, noise: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Frames with structure at all scales, and the same with noise."""
    target = torch.rand(shape)
    target += torch.nn.functional.avg_pool2d(torch.rand(shape), 7, 1, 3)
    target = 0.5 * target
    preds = (target + noise * torch.randn(shape)).clamp(0, 1)
    if dtype == torch.uint8:
        return (255 * preds).round().to(dtype), (255 * target).round().to(dtype)
    return preds.to(dtype), target.to(dtype)


def score(sums: Tensor) -> Tensor:
    """HaarPSI as the paper writes it."""
    weight, loss = sums.unbind(-1)
    top = 1 / (1 + math.exp(-HAARPSI_ALPHA))
    similarity = top - loss / weight
    return ((similarity / (1 - similarity)).log() / HAARPSI_ALPHA) ** 2


def assert_close(actual: Tensor, expected: Tensor) -> None:
    """Float32 per pixel, float64 per frame."""
    assert actual.shape == expected.shape
    assert actual.dtype == torch.float64
    assert actual.device == expected.device
    actual, expected = FrameHaarpsi(*actual.unbind(-1)), FrameHaarpsi(*expected.unbind(-1))
    torch.testing.assert_close(actual.weight, expected.weight, rtol=1e-6, atol=0)
    bound = 1e-6 * expected.loss + 1e-9 * expected.weight
    assert ((actual.loss - expected.loss).abs() <= bound).all()
    torch.testing.assert_close(
        score(torch.stack(actual, -1)), score(torch.stack(expected, -1)), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("subsample", [False, True], ids=["full", "halved"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernel_matches_torch(shape, subsample, dtype, device):
    preds, target = (x.to(device) for x in random_pair(shape, dtype))
    expected = frame_haarpsi.__wrapped__(preds, target, subsample)
    assert_close(frame_haarpsi(preds, target, subsample), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("noise", [1e-3, 1e-2, 0.5])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64], ids=str)
def test_kernel_matches_torch_at_any_similarity(dtype, noise, device):
    preds, target = (x.to(device) for x in random_pair((4, 3, 48, 50), dtype, noise))
    for pair in ((preds, target), (preds, 1 - target if dtype.is_floating_point else ~target)):
        assert_close(frame_haarpsi(*pair, False), frame_haarpsi.__wrapped__(*pair, False))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("subsample", [False, True], ids=["full", "halved"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("target_layout", LAYOUTS)
@pytest.mark.parametrize("preds_layout", LAYOUTS)
def test_strides_do_not_matter(preds_layout, target_layout, dtype, subsample, device):
    preds, target = (x.to(device) for x in random_pair((2, 3, 21, 31), dtype))
    strided = LAYOUTS[preds_layout](preds), LAYOUTS[target_layout](target)
    torch.testing.assert_close(
        strided, (preds, target), rtol=0, atol=0
    )  # the layouts keep the values
    expected = frame_haarpsi(preds, target, subsample)
    torch.testing.assert_close(frame_haarpsi(*strided, subsample), expected, rtol=0, atol=0)


@pytest.fixture(params=["dispatched", "torch"])
def run(request: pytest.FixtureRequest) -> Callable[[Tensor, Tensor, bool], Tensor]:
    """The op with whatever kernel the device has, and the torch function alone."""
    return frame_haarpsi if request.param == "dispatched" else frame_haarpsi.__wrapped__


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-HAARPSI_ALPHA * value))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("subsample", [False, True], ids=["full", "halved"])
@pytest.mark.parametrize("levels", [(200, 100), (255, 0), (7, 7)])
def test_one_pixel_by_hand(run, levels, subsample, device):
    """Each window holds the pixel and zeros: the responses are its value over 2, 4 and 8."""
    pair = [torch.full((1, 1, 1, 1), v, dtype=torch.uint8, device=device) for v in levels]
    a, b = (v / 4 if subsample else v for v in levels)
    similarities = [(2 * a * b / n + 30) / ((a * a + b * b) / n + 30) for n in (4, 16)]
    weight = 2 * max(a, b) / 8
    loss = weight * (sigmoid(1) - sigmoid(sum(similarities) / 2))
    sums = FrameHaarpsi(*run(*pair, subsample)[0].tolist())
    assert sums.weight == pytest.approx(weight, rel=1e-6)
    assert sums.loss == pytest.approx(loss, rel=1e-6, abs=0)


@pytest.mark.parametrize("device", DEVICES)
def test_one_coloured_pixel_by_hand(run, device):
    """Red against the same luma without colour: nothing but chroma differs."""
    red = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64, device=device).view(1, 3, 1, 1)
    grey = torch.full_like(red, 0.299)
    mean_i, mean_q = 0.596 * 255 / 4, 0.211 * 255 / 4  # of grey both are 0
    similarity = (30 / (mean_i**2 + 30) + 30 / (mean_q**2 + 30)) / 2
    each = 0.299 * 255 / 8
    sums = FrameHaarpsi(*run(red, grey, False)[0].tolist())
    assert sums.weight == pytest.approx(3 * each, rel=1e-6)
    assert sums.loss == pytest.approx(each * (sigmoid(1) - sigmoid(similarity)), rel=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("subsample", [False, True], ids=["full", "halved"])
def test_equal_frames_lose_nothing(run, subsample, dtype, device):
    frames = random_pair((3, 3, 37, 40), dtype)[0].to(device)
    sums = FrameHaarpsi(*run(frames, frames.clone(), subsample).unbind(-1))
    assert (sums.loss == 0).all()
    assert (sums.weight > 0).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("subsample", [False, True], ids=["full", "halved"])
@pytest.mark.parametrize("side", [1, 8, 9, 40])
def test_only_black_frames_weigh_nothing(run, side, subsample, device):
    """The borders respond to the black around the frame, so a flat frame has a weight."""
    black = torch.zeros(1, 3, side, side, dtype=torch.uint8, device=device)
    assert run(black, black, subsample).tolist() == [[0.0, 0.0]]
    dot = black.clone()
    dot[0, 2, side // 2, side // 2] = 1
    for frames in (black + 1, dot):
        assert run(frames, frames, subsample)[0, 0] > 0
        assert (run(frames, black, subsample) > 0).all()


@pytest.mark.parametrize("device", DEVICES)
def test_halving_undoes_doubling(device):
    """Exactly, for uint8: means of four equal pixels."""
    preds, target = (x.to(device) for x in random_pair((2, 3, 23, 40), torch.uint8))
    double = [x.repeat_interleave(2, -1).repeat_interleave(2, -2) for x in (preds, target)]
    expected = frame_haarpsi(preds, target, False)
    torch.testing.assert_close(frame_haarpsi(*double, True), expected, rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("subsample", [False, True], ids=["full", "halved"])
def test_swapping_and_transposing_change_nothing(run, subsample, device):
    preds, target = (x.to(device) for x in random_pair((2, 3, 45, 38), torch.uint8))
    expected = run(preds, target, subsample)
    for pair in ((target, preds), (preds.mT, target.mT)):
        torch.testing.assert_close(run(*pair, subsample), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [(0, 0), (32, 40), (40, 41)])
@pytest.mark.parametrize("where", ["preds", "target"])
def test_a_value_that_is_not_finite_reaches_its_frame_and_no_other(
    run, where, place, value, dtype, device
):
    preds, target = (x.to(device) for x in random_pair((4, 3, 41, 42), dtype))
    # Not the last frame that a thread takes: its rows must not live on in the next one.
    {"preds": preds, "target": target}[where][2, 2, place[0], place[1]] = value
    for subsample in (False, True):
        loss = run(preds, target, subsample)[:, 1]
        assert loss.isnan().tolist() == [False, False, True, False]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("subsample", [False, True], ids=["full", "halved"])
def test_a_frame_does_not_see_its_batch(subsample, dtype, device):
    preds, target = (x.to(device) for x in random_pair((5, 3, 70, 71), dtype))
    together = frame_haarpsi(preds, target, subsample)
    alone = [frame_haarpsi(p[None], t[None], subsample) for p, t in zip(preds, target, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=0)
    order = torch.tensor([3, 0, 4, 1, 2], device=device)
    reordered = frame_haarpsi(preds[order], target[order], subsample)
    torch.testing.assert_close(reordered, together[order], rtol=0, atol=0)


def test_the_number_of_threads_does_not_matter():
    pairs = [random_pair(shape, torch.uint8) for shape in ((7, 3, 40, 41), (1, 3, 300, 600))]
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3, 8):
            torch.set_num_threads(count)
            results.append([frame_haarpsi(*pair, False) for pair in pairs])
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_two_runs_give_the_same_bits(device):
    preds, target = (x.to(device) for x in random_pair((2, 3, 200, 201), torch.uint8))
    first = frame_haarpsi(preds, target, True)
    for _ in range(3):
        torch.testing.assert_close(frame_haarpsi(preds, target, True), first, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_more_than_2_to_the_31_elements_in_a_batch(device):
    if device not in kernels().ops["frame_haarpsi"]:
        pytest.skip(f"no {device} kernel; the torch function would take 500 GB")
    preds, target = (x.to(device) for x in random_pair((1, 3, 1024, 1024), torch.uint8))
    many = 2**31 // preds.numel() + 1
    sums = frame_haarpsi(*(x.expand(many, -1, -1, -1) for x in (preds, target)), True)
    expected = frame_haarpsi(preds, target, True).expand(many, -1)
    torch.testing.assert_close(sums, expected, rtol=0, atol=0)


@pytest.mark.slow
def test_offsets_within_a_frame_exceed_2_to_the_31():
    """Rows a gigabyte apart, in a file that holds almost nothing."""
    rows, stride = 4, 2**30
    storage = torch.empty(0, dtype=torch.uint8)
    storage.set_(torch.UntypedStorage(rows * stride))
    preds = storage.as_strided((1, 1, rows, 64), (rows * stride, 0, stride, 1))
    target = torch.randint(0, 256, (1, 1, rows, 64), dtype=torch.uint8)
    preds.copy_(255 - target)
    assert_close(
        frame_haarpsi(preds, target, False),
        frame_haarpsi.__wrapped__(preds.contiguous(), target, False),
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [DTYPES[0], DTYPES[-1]], ids=str)
def test_opcheck(dtype, device):
    for layout in ("contiguous", "channels_last", "columns_first"):
        pair = [LAYOUTS[layout](x).to(device) for x in random_pair((2, 3, 9, 11), dtype)]
        torch.library.opcheck(torch.ops.wmscore.frame_haarpsi.default, (*pair, True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_meta_knows_shape_and_dtype(dtype):
    frames = torch.empty(2, 3, 2**20, 2**20, dtype=dtype, device="meta")
    sums = frame_haarpsi(frames, frames, True)
    assert sums.shape == (2, 2)
    assert sums.dtype == torch.float64
    assert sums.device.type == "meta"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_whole(backend, dynamic, device):
    if backend == "inductor" and shutil.which("g++") is None:
        pytest.skip("inductor needs a C++ compiler")

    def mean_loss(preds: Tensor, target: Tensor) -> Tensor:
        sums = frame_haarpsi(preds, target, True)
        return sums[:, 1] / sums[:, 0]

    torch.compiler.reset()
    compiled = torch.compile(mean_loss, fullgraph=True, backend=backend, dynamic=dynamic)
    for batch in (2, 3):
        pair = [x.to(device) for x in random_pair((batch, 3, 12, 13), torch.uint8)]
        torch.testing.assert_close(compiled(*pair), mean_loss(*pair), rtol=0, atol=0)


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
        (
            frames(1, 3, 4, 4),
            frames(1, 3, 4, 4, dtype=torch.int16),
            TypeError,
            r"target must have one of the dtypes uint8, .*, got torch\.int16",
        ),
        (
            frames(1, 3, 4, 4),
            frames(1, 3, 4, 5),
            ValueError,
            r"one shape \[N, C, H, W\], got \(1, 3, 4, 4\) and \(1, 3, 4, 5\)",
        ),
        (
            frames(1, 2, 4, 4),
            frames(1, 2, 4, 4),
            ValueError,
            r"1 channel \(luma\) or 3 \(RGB\), got 2",
        ),
        (
            frames(1, 3, 0, 4),
            frames(1, 3, 0, 4),
            ValueError,
            "at least one pixel, got 0 x 4",
        ),
    ],
)
def test_errors_say_what_was_expected_and_what_came(preds, target, error, message):
    with pytest.raises(error, match=message):
        frame_haarpsi(preds, target, True)


def test_a_gradient_is_refused_not_cut():
    preds = torch.rand(1, 3, 4, 4, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"frame_haarpsi has no gradient.*detach\(\)"):
        frame_haarpsi(preds, preds.detach(), True)


@pytest.mark.needs_cuda
def test_is_captured_by_a_graph():
    """No call synchronises with the host, or capture would fail."""
    preds, target = (x.cuda() for x in random_pair((2, 3, 200, 201), torch.uint8))
    frame_haarpsi(preds, target, True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        sums = frame_haarpsi(preds, target, True)
    preds.copy_(random_pair((2, 3, 200, 201), torch.uint8)[0])
    graph.replay()
    torch.cuda.synchronize()
    assert_close(sums, frame_haarpsi.__wrapped__(preds, target, True))


# The CUDA kernel on the CPU: the text of the .cu file, one fibre to a thread.


def run_emulated(
    kernel: ctypes.CDLL, preds: Tensor, target: Tensor, subsample: bool = False
) -> Tensor:
    images, channels, height, width = preds.shape
    size = [ctypes.c_int64(n) for n in (height, width)]
    kernel.wmscore_frame_haarpsi_tiles.restype = ctypes.c_int64
    tiles = kernel.wmscore_frame_haarpsi_tiles(*size, ctypes.c_bool(subsample))
    scratch = (images, tiles if tiles > 1 else 0, 2)
    partials = torch.full(scratch, torch.nan, dtype=torch.float64)
    sums = torch.full((images, 2), torch.nan, dtype=torch.float64)
    error = kernel.wmscore_frame_haarpsi_cuda(
        ELEMENTS.index(preds.dtype),
        Images.of(preds),
        Images.of(target),
        *(ctypes.c_int64(n) for n in (images, channels)),
        *size,
        ctypes.c_bool(subsample),
        ctypes.c_void_p(partials.data_ptr()),
        ctypes.c_void_p(sums.data_ptr()),
        None,
    )
    assert error == 0
    return sums


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "columns_first"])
@pytest.mark.parametrize("subsample", [False, True], ids=["full", "halved"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (2, 3, 5, 7), (1, 3, 32, 32), (1, 1, 33, 65), (2, 3, 65, 37)], ids=str
)
def test_emulated_cuda_kernel(emulated, shape, subsample, layout, dtype):
    pair = [LAYOUTS[layout](x) for x in random_pair(shape, dtype)]
    sums = run_emulated(emulated("frame_haarpsi"), *pair, subsample)
    assert_close(sums, frame_haarpsi.__wrapped__(*pair, subsample))


def test_emulated_cuda_kernel_on_equal_black_and_unfinished_frames(emulated):
    kernel = emulated("frame_haarpsi")
    frames = random_pair((3, 3, 40, 41), torch.float32)[0]
    frames[1] = 0
    assert run_emulated(kernel, frames, frames.clone())[:, 1].tolist() == [0, 0, 0]
    assert run_emulated(kernel, frames, frames.clone())[1, 0] == 0
    other = frames.clone()
    other[0, 2, 39, 40] = torch.nan
    other[2, 0, 0, 0] = torch.inf
    loss = run_emulated(kernel, other, frames)[:, 1]
    assert loss.isnan().tolist() == [True, False, True]


def test_emulated_cuda_kernel_reads_an_expanded_batch(emulated):
    preds = random_pair((3, 3, 20, 20), torch.uint8)[0]
    target = random_pair((1, 3, 20, 20), torch.uint8)[1].expand(3, -1, -1, -1)
    sums = run_emulated(emulated("frame_haarpsi"), preds, target)
    assert_close(sums, frame_haarpsi.__wrapped__(preds, target, False))
