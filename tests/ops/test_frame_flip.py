"""frame_flip: torch function against numpy, kernels against the torch function."""

import ctypes
import math
import shutil
from collections.abc import Callable

import numpy as np
import pytest
import torch
from emulation import ELEMENTS, Images
from torch import Tensor
from torch.testing import assert_close

from wmscore.ops import frame_flip, kernels
from wmscore.ops.frame_flip import flip_errors

DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]
PPD = 3840 * math.pi / 180  # 67.02
SHAPES = [
    (0, 3, 8, 8),
    (5, 3, 1, 1),
    (3, 3, 1, 9),
    (3, 3, 9, 1),
    (2, 3, 5, 7),  # smaller than the filters
    (2, 3, 16, 16),
    (1, 3, 21, 64),
    (2, 3, 33, 31),
    (1, 3, 64, 64),
    (1, 3, 70, 515),  # bands and strips of the CPU kernel, and what is left over
]
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "columns_first": lambda x: x.mT.contiguous().mT,
    "every_other_pixel": lambda x: torch.stack([x, x], dim=-1).flatten(-2)[..., ::2],
    "every_other_row": lambda x: torch.stack([x, x], dim=-2).flatten(2, 3)[:, :, ::2],
    "cropped": lambda x: torch.nn.functional.pad(x, (1, 2, 1, 1))[..., 1:-1, 1:-2],
    "unaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
    "rgb_of_interleaved_rgba": lambda x: torch.cat([x, x[:, :1]], dim=1).contiguous(
        memory_format=torch.channels_last
    )[:, :3],
}


def random_frames(shape: tuple[int, ...], dtype: torch.dtype = torch.uint8) -> Tensor:
    if dtype == torch.uint8:
        return torch.randint(0, 256, shape, dtype=dtype)
    return torch.rand(shape, dtype=torch.float64).to(dtype)


def smooth_frames(shape: tuple[int, ...]) -> Tensor:
    coarse = torch.rand(*shape[:2], 4, 4)
    return torch.nn.functional.interpolate(coarse, size=shape[2:], mode="bilinear")


# --- the torch function ---------------------------------------------------------------------------


def oracle(preds: Tensor, target: Tensor, ppd: float) -> np.ndarray:
    """FLIP as the paper writes it, in numpy: dense two-dimensional filters, colours by name."""
    # sRGB's primaries and FLIP's white, D65, to the matrix from linear RGB to XYZ.
    xy = np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]])
    white = np.array([0.950428545, 1.0, 1.088900371])
    matrix = np.column_stack([xy, 1 - xy.sum(1)]).T
    matrix = matrix * np.linalg.solve(matrix, white)

    def correlate(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        r = kernel.shape[0] // 2
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(plane, r, "edge"), kernel.shape)
        return np.einsum("ijkl,kl->ij", windows, kernel)

    def grid(radius: int) -> tuple[np.ndarray, np.ndarray]:
        axis = np.arange(-radius, radius + 1, dtype=np.float64)
        return np.meshgrid(axis, axis)

    def sensitivity(terms: list[tuple[float, float]]) -> np.ndarray:
        x, y = grid(math.ceil(3 * math.sqrt(0.04 / (2 * math.pi**2)) * ppd))
        squares = (x**2 + y**2) / ppd**2
        kernel = sum(
            a * math.sqrt(math.pi / b) * np.exp(-(math.pi**2) * squares / b) for a, b in terms
        )
        return kernel / kernel.sum()

    def lab(rgb: np.ndarray) -> np.ndarray:
        t = np.einsum("ck,k...->c...", matrix, rgb) / white[:, None, None]
        f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
        lightness = 116 * f[1] - 16
        a, b = 500 * (f[0] - f[1]), 200 * (f[1] - f[2])
        return np.stack([lightness, 0.01 * lightness * a, 0.01 * lightness * b])

    def hyab(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        d = one - other
        return np.abs(d[0]) + np.hypot(d[1], d[2])

    def look(srgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        x, y, z = np.einsum("ck,khw->chw", matrix, linear) / white[:, None, None]
        luma, cx, cz = 116 * y - 16, 500 * (x - y), 200 * (y - z)
        y = (correlate(luma, sensitivity([(1, 0.0047)])) + 16) / 116
        x = y + correlate(cx, sensitivity([(1, 0.0053)])) / 500
        z = y - correlate(cz, sensitivity([(34.1, 0.04), (13.5, 0.025)])) / 200
        rgb = np.linalg.solve(matrix, (np.stack([x, y, z]) * white[:, None, None]).reshape(3, -1))
        sigma = 0.5 * 0.082 * ppd
        gx, gy = grid(math.ceil(3 * sigma))
        bell = np.exp(-(gx**2 + gy**2) / (2 * sigma**2))
        lengths = []
        for kernel in (-gx * bell, (gx**2 / sigma**2 - 1) * bell):
            kernel = np.where(
                kernel > 0, kernel / kernel[kernel > 0].sum(), -kernel / kernel[kernel < 0].sum()
            )
            gray = (luma + 16) / 116
            lengths.append(np.hypot(correlate(gray, kernel), correlate(gray, kernel.T)))
        return lab(rgb.clip(0, 1).reshape(linear.shape)), lengths[0], lengths[1]

    green, blue = np.zeros((2, 3, 1, 1))
    green[1], blue[2] = 1, 1
    largest = hyab(lab(green), lab(blue)) ** 0.7
    means = []
    for pair in zip(preds, target, strict=True):
        (colour_p, edge_p, point_p), (colour_t, edge_t, point_t) = (
            look((x.double() / 255 if x.dtype == torch.uint8 else x.double()).numpy()) for x in pair
        )
        share = hyab(colour_p, colour_t) ** 0.7 / largest
        error = np.where(share < 0.4, share / 0.4 * 0.95, 0.95 + (share - 0.4) / 0.6 * 0.05)
        feature = np.maximum(np.abs(edge_p - edge_t), np.abs(point_p - point_t))
        means.append((error ** (1 - (feature / math.sqrt(2)) ** 0.5)).mean())
    return np.array(means)


@pytest.mark.parametrize("ppd", [1.0, 7.5, 20, PPD, 100])
@pytest.mark.parametrize("shape", [(3, 3, 1, 1), (2, 3, 5, 7), (2, 3, 24, 31)], ids=str)
def test_torch_function_matches_numpy(shape, ppd):
    preds, target = random_frames(shape), random_frames(shape)
    actual = frame_flip.__wrapped__(preds, target, ppd)
    assert_close(actual, torch.from_numpy(oracle(preds, target, ppd)), rtol=0, atol=1e-7)


def test_torch_function_of_smooth_frames_matches_numpy():
    target = smooth_frames((2, 3, 30, 28))
    preds = (0.9 * target + 0.02 * torch.randn(target.shape)).clamp(0, 1)
    actual = frame_flip.__wrapped__(preds, target, PPD)
    assert_close(actual, torch.from_numpy(oracle(preds, target, PPD)), rtol=0, atol=1e-7)


# --- analytic cases, of every kernel --------------------------------------------------------------


@pytest.fixture(params=["dispatched", "torch"])
def run(request: pytest.FixtureRequest) -> Callable[[Tensor, Tensor, float], Tensor]:
    """The op with whatever kernel the device has, and the torch function alone."""
    return frame_flip if request.param == "dispatched" else frame_flip.__wrapped__


def flat(*colour: float, size: tuple[int, int] = (20, 17), device: str = "cpu") -> Tensor:
    return torch.tensor(colour, device=device).view(1, 3, 1, 1).expand(1, 3, *size)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_identical_frames_are_zero(run, dtype, device):
    frames = torch.cat(
        [random_frames((2, 3, 40, 40), dtype), random_frames((1, 3, 40, 40), dtype) * 0]
    ).to(device)
    assert run(frames, frames.clone(), PPD).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("one", "other", "error"),
    [
        # Lightness 0 and 100, and the value that flip-evaluator 1.7 gives to 5 digits.
        ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.96738),
        ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), 1.0),  # the two colours furthest apart
        ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.96508),
    ],
)
def test_flat_colours(run, one, other, error, device):
    """No edge, no point: the difference of the colours alone, whatever the size."""
    for size in ((1, 1), (20, 17)):
        pair = flat(*one, size=size, device=device), flat(*other, size=size, device=device)
        for ppd in (1.0, PPD, 200.0):
            assert run(*pair, ppd).item() == pytest.approx(error, abs=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_grey_levels_have_a_closed_form(run, device):
    """Flat greys differ in lightness alone: 0.95 / 0.4 * (ΔL^0.7 / largest) below the knee."""
    largest = 1e2**0.7 / (0.4 + (0.9673797617 - 0.95) * 12)  # from black against white
    for low, high in ((0.2, 0.25), (0.5, 0.51)):
        linear = [((value + 0.055) / 1.055) ** 2.4 for value in (low, high)]
        difference = 116 * (linear[1] ** (1 / 3) - linear[0] ** (1 / 3))
        expected = 0.95 / 0.4 * difference**0.7 / largest
        pair = flat(low, low, low, device=device), flat(high, high, high, device=device)
        assert run(*pair, PPD).item() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_is_symmetric_and_does_not_know_left_from_right(run, device):
    preds, target = (random_frames((2, 3, 30, 41)).to(device) for _ in range(2))
    value = run(preds, target, PPD)
    assert_close(run(target, preds, PPD), value, rtol=0, atol=0)
    for change in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.mT):
        assert_close(run(change(preds), change(target), PPD), value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_lies_in_zero_to_one_and_falls_with_distance(run, device):
    """From further away, noise is blurred more."""
    target = smooth_frames((2, 3, 48, 48)).to(device)
    preds = (target + 0.1 * torch.randn(target.shape, device=device)).clamp(0, 1)
    values = torch.stack([run(preds, target, ppd) for ppd in (1.0, 20.0, 40.0, 67.0, 100.0)])
    assert ((values > 0) & (values < 1)).all()
    assert (values.diff(dim=0) < 0).all()


def test_errors_of_pixels_have_the_mean_of_the_frame():
    preds, target = random_frames((2, 3, 12, 15)), random_frames((2, 3, 12, 15))
    errors = flip_errors(preds, target, PPD)
    assert errors.shape == (2, 12, 15)
    assert_close(errors.mean((1, 2)), frame_flip.__wrapped__(preds, target, PPD), rtol=0, atol=0)


# --- kernels against the torch function -----------------------------------------------------------


def assert_right(actual: Tensor, preds: Tensor, target: Tensor, ppd: float = PPD) -> None:
    expected = frame_flip.__wrapped__(preds.contiguous(), target.contiguous(), ppd)
    assert actual.dtype == torch.float64
    assert actual.device == preds.device
    assert_close(actual, expected, rtol=0, atol=5e-6, equal_nan=True)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernel_matches_torch_function(shape, dtype, device):
    preds, target = (random_frames(shape, dtype).to(device) for _ in range(2))
    assert_right(frame_flip(preds, target, PPD), preds, target)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("ppd", [1.0, 2.5, 20.0, 40.0, 100.0, 200.0])
def test_kernel_matches_torch_function_at_any_resolution(ppd, device):
    preds, target = (random_frames((2, 3, 66, 70)).to(device) for _ in range(2))
    assert_right(frame_flip(preds, target, ppd), preds, target, ppd)


@pytest.mark.parametrize("device", DEVICES)
def test_kernel_matches_torch_function_where_little_differs(device):
    target = (255 * smooth_frames((4, 3, 50, 40))).to(torch.uint8).to(device)
    one_level = (target.int() + torch.randint_like(target.int(), 2)).clamp(0, 255).to(torch.uint8)
    dark, less_dark = (random_frames((2, 3, 50, 40)).to(device) // 16 for _ in range(2))
    colour = target.clone()
    colour[:, 2] //= 2
    for preds, reference in ((one_level, target), (dark, less_dark), (colour, target)):
        assert_right(frame_flip(preds, reference, PPD), preds, reference)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_do_not_matter(layout, dtype, device):
    preds, target = (random_frames((2, 3, 24, 31), dtype).to(device) for _ in range(2))
    value = frame_flip(preds, target, PPD)
    strided = LAYOUTS[layout](preds), LAYOUTS[layout](target)
    assert_close(strided, (preds, target), rtol=0, atol=0)  # the layouts keep the values
    assert_close(frame_flip(*strided, PPD), value, rtol=0, atol=0)
    assert_close(frame_flip(strided[0], target, PPD), value, rtol=0, atol=0)
    assert_close(frame_flip(preds, target[:1].expand(2, -1, -1, -1), PPD)[0], value[0])


def test_offsets_beyond_2_to_the_31():
    storage = torch.empty(2**32 + 256, dtype=torch.uint8)  # hardly a page is touched
    frames = storage.as_strided((2, 3, 4, 4), (2**31, 2**30 + 64, 8, 2))
    values = random_frames((2, 3, 4, 4))
    frames.copy_(values)
    target = random_frames((2, 3, 4, 4))
    assert_right(frame_flip(frames, target, PPD), values, target)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_floats_outside_their_range_are_clamped(run, dtype, device):
    target = random_frames((1, 3, 9, 9), dtype).to(device)
    wild = torch.randn((1, 3, 9, 9), device=device).mul(3).to(dtype)
    wild[0, :, 0, :2] = torch.tensor([torch.inf, -torch.inf], dtype=dtype, device=device)
    assert_close(run(wild, target, PPD), run(wild.clamp(0, 1), target, PPD), rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("where", [(0, 0, 0, 0), (0, 1, 39, 39), (0, 2, 20, 39)], ids=str)
@pytest.mark.parametrize("which", [0, 1])
def test_nan_reaches_its_frame_and_no_other(run, which, where, dtype, device):
    pair = [random_frames((2, 3, 40, 40), dtype).to(device) for _ in range(2)]
    pair[which][where] = torch.nan
    assert run(*pair, PPD).isnan().tolist() == [True, False]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_a_frame_does_not_see_its_batch(dtype, device):
    preds, target = (random_frames((5, 3, 70, 71), dtype).to(device) for _ in range(2))
    together = frame_flip(preds, target, PPD)
    alone = [frame_flip(p[None], t[None], PPD) for p, t in zip(preds, target, strict=True)]
    assert_close(torch.cat(alone), together, rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_two_runs_give_the_same_bits(device):
    preds, target = (random_frames((2, 3, 200, 201)).to(device) for _ in range(2))
    first = frame_flip(preds, target, PPD)
    for _ in range(3):
        assert_close(frame_flip(preds, target, PPD), first, rtol=0, atol=0)


def test_the_number_of_threads_does_not_matter():
    preds, target = random_frames((3, 3, 200, 90)), random_frames((3, 3, 200, 90))
    threads = torch.get_num_threads()
    values = []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            values.append(frame_flip(preds, target, PPD))
    finally:
        torch.set_num_threads(threads)
    assert_close(values[1], values[0], rtol=0, atol=0)
    assert_close(values[2], values[0], rtol=0, atol=0)


# --- the op ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("dtype", "layout"),
    [(torch.uint8, "contiguous"), (torch.float16, "columns_first"), (torch.float64, "cropped")],
)
def test_opcheck(layout, dtype, device):
    pair = [LAYOUTS[layout](random_frames((2, 3, 9, 11), dtype)).to(device) for _ in range(2)]
    torch.library.opcheck(torch.ops.wmscore.frame_flip.default, (*pair, PPD))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_meta_knows_shape_and_dtype(dtype):
    frames = torch.empty(2, 3, 2**20, 2**20, dtype=dtype, device="meta")
    value = frame_flip(frames, frames, PPD)
    assert value.shape == (2,)
    assert value.dtype == torch.float64
    assert value.device.type == "meta"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_whole(backend, dynamic, device):
    if backend == "inductor" and shutil.which("g++") is None:
        pytest.skip("inductor needs a C++ compiler")

    def percent(preds: Tensor, target: Tensor) -> Tensor:
        return 100 * frame_flip(preds, target, PPD)

    torch.compiler.reset()
    compiled = torch.compile(percent, fullgraph=True, backend=backend, dynamic=dynamic)
    for batch in (2, 3):
        pair = [random_frames((batch, 3, 12, 13)).to(device) for _ in range(2)]
        assert_close(compiled(*pair), percent(*pair), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("preds", "target", "ppd", "error", "message"),
    [
        (None, torch.zeros(1, 3, 4, 4), PPD, TypeError, r"preds must be a torch\.Tensor"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5), PPD, ValueError, "one shape"),
        (*torch.zeros(2, 1, 1, 4, 4), PPD, ValueError, r"3 channels .*got \(1, 1, 4, 4\)"),
        (*torch.zeros(2, 1, 3, 0, 4), PPD, ValueError, r"at least one pixel, got \(1, 3, 0, 4\)"),
        (*torch.zeros(2, 1, 3, 4, 4), "67", TypeError, "pixels_per_degree must be a number, got s"),
        (*torch.zeros(2, 1, 3, 4, 4), 0.99, ValueError, r"pixels_per_degree .*1\.\.200, got 0.99"),
        (*torch.zeros(2, 1, 3, 4, 4), 201, ValueError, r"pixels_per_degree .*1\.\.200, got 201"),
        (*torch.zeros(2, 1, 3, 4, 4), math.nan, ValueError, "pixels_per_degree .*got nan"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(preds, target, ppd, error, message):
    with pytest.raises(error, match=message):
        frame_flip(preds, target, ppd)


def test_a_kernel_checks_what_the_compiled_graph_did_not():
    if "cpu" not in kernels().ops["frame_flip"]:
        pytest.skip("no kernel")
    for shape, ppd in (((1, 1, 4, 4), PPD), ((1, 3, 0, 4), PPD), ((1, 3, 4, 4), 1000.0)):
        with pytest.raises(RuntimeError, match=r"frames must be|pixels_per_degree must be"):
            torch.ops.wmscore.frame_flip(torch.zeros(shape), torch.zeros(shape), ppd)


def test_a_gradient_is_refused_not_cut():
    preds = torch.rand(1, 3, 4, 4, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"frame_flip has no gradient.*detach\(\)"):
        frame_flip(preds, preds.detach(), PPD)


@pytest.mark.needs_cuda
def test_is_captured_by_a_graph():
    """No call synchronises with the host, or capture would fail."""
    preds, target = (random_frames((2, 3, 100, 101)).cuda() for _ in range(2))
    for ppd in (PPD, 200.0):
        frame_flip(preds, target, ppd)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            value = frame_flip(preds, target, ppd)
        preds.copy_(random_frames((2, 3, 100, 101)))
        graph.replay()
        torch.cuda.synchronize()
        assert_right(value, preds, target, ppd)


# --- the CUDA kernel on the CPU: the text of the .cu file, one fibre to a thread ------------------


def run_emulated(kernel: ctypes.CDLL, preds: Tensor, target: Tensor, ppd: float = PPD) -> Tensor:
    images, _, height, width = preds.shape
    sizes = [ctypes.c_int64(n) for n in (images, height, width)]
    kernel.wmscore_frame_flip_tiles.restype = ctypes.c_int64
    tiles = kernel.wmscore_frame_flip_tiles(*sizes[1:])
    partials = torch.full((images, tiles), torch.nan, dtype=torch.float64)
    means = torch.full((images,), torch.nan, dtype=torch.float64)
    error = kernel.wmscore_frame_flip_cuda(
        ELEMENTS.index(preds.dtype),
        Images.of(preds),
        Images.of(target),
        *sizes,
        ctypes.c_double(ppd),
        ctypes.c_void_p(partials.data_ptr()),
        ctypes.c_void_p(means.data_ptr()),
        None,
    )
    assert error == 0
    return means


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "every_other_row"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 3, 16, 32), (1, 3, 35, 70)], ids=str)
def test_emulated_cuda_kernel(emulated, shape, layout, dtype):
    preds, target = (LAYOUTS[layout](random_frames(shape, dtype)) for _ in range(2))
    assert_right(run_emulated(emulated("frame_flip"), preds, target), preds, target)


@pytest.mark.parametrize("ppd", [1.0, 20.0, 100.0, 200.0])
def test_emulated_cuda_kernel_at_any_resolution(emulated, ppd):
    """At 200 the tile takes nearly all of the shared memory that every device has."""
    preds, target = random_frames((1, 3, 20, 35)), random_frames((1, 3, 20, 35))
    assert_right(run_emulated(emulated("frame_flip"), preds, target, ppd), preds, target, ppd)


def test_emulated_cuda_kernel_keeps_what_must_be_exact(emulated):
    kernel = emulated("frame_flip")
    frames = random_frames((2, 3, 20, 40))
    assert run_emulated(kernel, frames, frames.clone()).tolist() == [0.0, 0.0]
    floats = random_frames((2, 3, 20, 40), torch.float32)
    with_nan = floats.clone()
    with_nan[1, 2, 19, 39] = torch.nan
    assert run_emulated(kernel, with_nan, floats).isnan().tolist() == [False, True]
