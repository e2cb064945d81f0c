"""The ops of global motion: torch functions, CPU and CUDA kernels, against numpy and each other."""

import ctypes

import numpy as np
import pytest
import torch
from emulation import ELEMENTS, Images
from frame_cases import DEVICES, DTYPES, LAYOUTS
from torch import Tensor

from wmscore.ops import (
    correlation_peak,
    cross_power,
    edge_orientation,
    shift_refine,
)

SHAPES = [(0, 3, 8, 8), (2, 3, 1, 1), (2, 1, 1, 7), (2, 3, 5, 1), (3, 3, 9, 70), (1, 1, 37, 65)]
SIZES = [(1, 1), (1, 8), (7, 1), (16, 16), (9, 14), (21, 33)]
REAL = [torch.float32, torch.float64]


def random_frames(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    if dtype == torch.uint8:
        return torch.randint(0, 256, shape, dtype=dtype)
    return torch.rand(shape, dtype=torch.float64).to(dtype)


def smooth_pairs(
    count: int, height: int, width: int, reach: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Cuts of a smooth picture at random whole places, some pixels changed, and their shift."""
    big = torch.rand(count, 1, height + 2 * reach, width + 2 * reach, dtype=torch.float64)
    big = 255 * torch.nn.functional.avg_pool2d(big, 5, 1, 2)[:, 0]
    shift = torch.randint(-reach, reach + 1, (count, 2))
    middle = big[:, reach : reach + height, reach : reach + width].clone()
    following = torch.stack(
        [
            x[reach - dy : reach - dy + height, reach - dx : reach - dx + width]
            for x, (dy, dx) in zip(big, shift.tolist(), strict=True)
        ]
    ) + 3 * torch.rand(height, width, dtype=torch.float64)
    following[:, : height // 3, : width // 3] = 40
    return middle.to(dtype), following.to(dtype), shift


@pytest.fixture(params=["op", "torch function"])
def torch_or_op(request: pytest.FixtureRequest):
    return (lambda op: op) if request.param == "op" else (lambda op: op.__wrapped__)


def orientation_oracle(frame: np.ndarray, window: bool) -> tuple[np.ndarray, np.ndarray]:
    """One frame `[C, H, W]` in levels, a pixel at a time."""
    luma = frame[0] if len(frame) == 1 else np.tensordot([77 / 256, 150 / 256, 29 / 256], frame, 1)
    height, width = luma.shape
    field, smooth = np.zeros((height, width, 2)), np.zeros((height, width))

    def at(y: int, x: int, wrap: bool) -> float:
        if wrap:
            return luma[y % height, x % width]
        return luma[min(max(y, 0), height - 1), min(max(x, 0), width - 1)]

    for y in range(height):
        for x in range(width):
            gx = (at(y, x + 1, not window) - at(y, x - 1, not window)) / 2
            gy = (at(y + 1, x, not window) - at(y - 1, x, not window)) / 2
            weight = np.sin(np.pi * (y + 1) / (height + 1)) ** 2
            weight *= np.sin(np.pi * (x + 1) / (width + 1)) ** 2
            scale = (weight if window else 1) / np.sqrt(gx**2 + gy**2 + 0.05**2)
            field[y, x] = gx * scale, gy * scale
            smooth[y, x] = sum(
                a * b * at(y + i - 2, x + j - 2, False)
                for i, a in enumerate((1, 4, 6, 4, 1))
                for j, b in enumerate((1, 4, 6, 4, 1))
            )
    return field, smooth / 256


def assert_oriented(found: tuple[Tensor, Tensor], frames: Tensor, window: bool) -> None:
    field, luma = (x.cpu().double() for x in found)
    levels = frames.cpu().double() * (1 if frames.dtype == torch.uint8 else 255)
    assert field.shape == (len(frames), *frames.shape[2:], 2)
    for n, frame in enumerate(levels.numpy()):
        of_field, of_luma = orientation_oracle(frame, window)
        np.testing.assert_allclose(
            field[n], of_field, rtol=0, atol=1e-5 if len(frame) == 1 else 5e-4
        )
        np.testing.assert_allclose(luma[n], of_luma, rtol=0, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("window", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_orientation(torch_or_op, shape, dtype, window, device):
    frames = random_frames(shape, dtype).to(device)
    assert_oriented(torch_or_op(edge_orientation)(frames, window), frames, window)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_orientation_of_any_layout(dtype, layout, device):
    frames = random_frames((3, 3, 18, 40), dtype).to(device)
    expected = edge_orientation(frames.contiguous(), True)
    torch.testing.assert_close(
        edge_orientation(LAYOUTS[layout](frames), True), expected, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("device", DEVICES)
def test_orientation_does_not_see_contrast(device):
    frames = (random_frames((2, 1, 20, 20), torch.float64) / 2).to(device)
    field = edge_orientation(frames, False)[0]
    dark = edge_orientation(frames / 8, False)[0]
    assert (field - dark).norm(dim=-1).median() < 1e-3
    assert edge_orientation(frames.new_ones(1, 1, 9, 9), True)[0].abs().max() == 0


def power_oracle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The correlation of one pair of complex spectra, through the whole inverse transform."""
    product = b * a.conj()
    fy, fx = np.meshgrid(*(np.fft.fftfreq(side) for side in a.shape), indexing="ij")
    gauss = np.exp(-(fy**2 + fx**2) / (2 * 0.2**2))
    power = product / np.sqrt(np.abs(product)) * gauss
    return np.fft.ifft2(power).real, np.abs(power).sum()


def spectra(count: int, size: tuple[int, int], dtype: torch.dtype) -> list[Tensor]:
    return [torch.randn(count, *size, 2, dtype=dtype) for _ in range(2)]


def assert_power(found: tuple[Tensor, Tensor], a: Tensor, b: Tensor) -> None:
    power, total = (x.cpu() for x in found)
    half = torch.view_as_complex(power.double())
    surface = torch.fft.irfft2(half, s=a.shape[1:3])
    one, two = (torch.view_as_complex(x.cpu().double()).numpy() for x in (a, b))
    for n in range(len(a)):
        expected, size = power_oracle(one[n], two[n])
        np.testing.assert_allclose(surface[n], expected, rtol=0, atol=2e-6)
        np.testing.assert_allclose(total[n], size, rtol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_cross_power(torch_or_op, size, dtype, device):
    pair = [x.to(device) for x in spectra(3, size, dtype)]
    assert_power(torch_or_op(cross_power)(*pair), *pair)


@pytest.mark.parametrize("device", DEVICES)
def test_cross_power_of_nothing_is_nothing(torch_or_op, device):
    nothing = torch.zeros(2, 6, 5, 2, device=device)
    for result in torch_or_op(cross_power)(nothing, nothing):
        assert result.abs().max() == 0


def peak_oracle(surface: np.ndarray, reach: tuple[int, int]) -> tuple[int, int]:
    height, width = surface.shape
    best, where = -np.inf, (0, 0)
    for y in range(height):
        for x in range(width):
            dy, dx = (y if 2 * y < height else y - height), (x if 2 * x < width else x - width)
            far = 1e-4 * 4 * (dy * dy + dx * dx) / (height**2 + width**2)
            if abs(dy) <= reach[0] and abs(dx) <= reach[1] and surface[y, x] * (1 - far) > best:
                best, where = surface[y, x] * (1 - far), (dy, dx)
    return where


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("reach", [(0, 0), (2, 50), (50, 50), (50, 1)])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_peak(torch_or_op, size, reach, dtype, device):
    surface = torch.randn(4, *size, dtype=dtype).to(device)
    shift, value = torch_or_op(correlation_peak)(surface, *reach)
    for n, plane in enumerate(surface.cpu().numpy()):
        dy, dx = peak_oracle(plane, reach)
        assert shift[n].tolist() == [dy, dx]
        assert value[n].item() == plane[dy, dx]


@pytest.mark.parametrize("device", DEVICES)
def test_the_nearest_of_equal_peaks(torch_or_op, device):
    surface = torch.zeros(1, 12, 12, device=device)
    surface[:, ::3, 2] = 1  # a grating: dy = 0, 3, -6, -3
    assert torch_or_op(correlation_peak)(surface, 6, 6)[0].tolist() == [[0, 2]]
    nan = torch.full_like(surface, torch.nan)
    shift, value = torch_or_op(correlation_peak)(nan, 6, 6)
    assert shift.tolist() == [[0, 0]]
    assert value.isnan().all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("size", [(16, 16), (40, 33), (64, 64), (25, 300)], ids=str)
def test_refine_equals_its_torch_function(size, dtype, device):
    luma, following, shift = (x.to(device) for x in smooth_pairs(6, *size, 3, dtype))
    found = shift_refine(luma, following, shift)
    expected = shift_refine.__wrapped__(luma, following, shift)
    tolerance = 1e-3 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    assert (expected[:, 2] > 0.05).all()
    alone = torch.cat(
        [shift_refine(*(x[n : n + 1] for x in (luma, following, shift))) for n in range(6)]
    )
    torch.testing.assert_close(alone, found, rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("step", [(0.0, 0.0), (0.3, -0.4), (-0.5, 0.5), (1.2, -1.1)])
def test_refine_finds_the_shift_of_waves(torch_or_op, step, device):
    y, x = torch.meshgrid(*(torch.arange(48, dtype=torch.float64),) * 2, indexing="ij")

    def picture(dy: float, dx: float) -> Tensor:
        return (
            40 * torch.sin((y - dy) / 4)
            + 40 * torch.cos((x - dx) / 5)
            + 30 * torch.sin((x - dx + y - dy) / 3)
        )[None].to(device)

    following = picture(2 + step[0], -3 + step[1])
    shift = torch.tensor([[2, -3]], device=device)
    found = torch_or_op(shift_refine)(picture(0, 0), following, shift)[0]
    expected = torch.tensor([2 + step[0], -3 + step[1]], dtype=torch.float64, device=device)
    torch.testing.assert_close(found[:2], expected, rtol=0, atol=2e-3)
    following[:, :20, :20] = 1000  # an object before the picture
    found = torch_or_op(shift_refine)(picture(0, 0), following, shift)[0]
    torch.testing.assert_close(found[:2], expected, rtol=0, atol=2e-3)
    assert 0.5 < found[2] < 0.98


@pytest.mark.parametrize("device", DEVICES)
def test_refine_of_what_cannot_be_refined(torch_or_op, device):
    luma, following, _ = (x.to(device) for x in smooth_pairs(4, 16, 16, 2, torch.float32))
    shift = torch.tensor([[0, 0], [12, 0], [0, -400], [2**62, 3]], device=device)
    flat = torch.zeros_like(luma)
    assert torch_or_op(shift_refine)(flat, flat, shift)[:, :2].tolist() == shift.tolist()
    found = torch_or_op(shift_refine)(luma, following, shift)[1:]
    assert found.tolist() == [[*map(float, place), 0] for place in shift[1:].tolist()]
    luma[0, 8, 8] = torch.nan
    assert torch_or_op(shift_refine)(luma, following, shift)[0].isnan().all()


@pytest.mark.parametrize("device", DEVICES)
def test_opcheck(device):
    frames = random_frames((2, 3, 16, 18), torch.uint8).to(device)
    ops = torch.ops.wmscore
    torch.library.opcheck(ops.edge_orientation.default, (frames, True))
    torch.library.opcheck(
        ops.cross_power.default, tuple(x.to(device) for x in spectra(2, (6, 7), torch.float32))
    )
    torch.library.opcheck(ops.correlation_peak.default, (torch.rand(2, 6, 7, device=device), 3, 3))
    pair = tuple(x.to(device) for x in smooth_pairs(2, 16, 16, 2, torch.float32))
    torch.library.opcheck(ops.shift_refine.default, pair)


@pytest.mark.parametrize("device", DEVICES)
def test_compiles_whole(device):
    torch.compiler.reset()

    def motion(frames: Tensor) -> Tensor:
        field, luma = edge_orientation(frames, True)
        power, total = cross_power(field[:-1], field[1:])
        shift, _ = correlation_peak(power[..., 0] / total[:, None, None], 3, 3)
        return shift_refine(luma[:-1], luma[1:], shift)

    compiled = torch.compile(motion, fullgraph=True, backend="aot_eager")
    frames = random_frames((3, 3, 16, 20), torch.uint8).to(device)
    torch.testing.assert_close(compiled(frames), motion(frames), rtol=0, atol=0, equal_nan=True)


@pytest.mark.needs_cuda
def test_is_captured_by_a_graph():
    frames = random_frames((3, 3, 64, 64), torch.uint8).cuda()
    spectrum = [x.cuda() for x in spectra(3, (64, 64), torch.float32)]

    def run() -> tuple[Tensor, ...]:
        field, luma = edge_orientation(frames, True)
        power, total = cross_power(*spectrum)
        shift, value = correlation_peak(power[..., 0].contiguous(), 9, 9)
        return field, luma, power, total, shift, value, shift_refine(luma, luma.flip(0), shift)

    expected = run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = run()
    graph.replay()
    torch.cuda.synchronize()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


FLOAT = torch.zeros(2, 4, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: edge_orientation(1, True), TypeError, r"frames must be a torch\.Tensor, got int"),
        (lambda: edge_orientation(torch.zeros(1, 2, 4, 4), True), ValueError, "C = 1 or C = 3"),
        (lambda: edge_orientation(torch.zeros(1, 3, 0, 4), True), ValueError, "at least one pixel"),
        (lambda: cross_power(FLOAT, FLOAT), ValueError, r"\[N, H, W, 2\]"),
        (lambda: cross_power(torch.zeros(1, 4, 4, 3), torch.zeros(1, 4, 4, 3)), ValueError, "imag"),
        (lambda: correlation_peak(FLOAT.half(), 1, 1), TypeError, "float32 or float64"),
        (lambda: correlation_peak(FLOAT, -1, 1), ValueError, "reach_y must be 0 or more, got -1"),
        (lambda: shift_refine(FLOAT, FLOAT, FLOAT[:, 0, :2]), TypeError, "int64"),
        (
            lambda: shift_refine(FLOAT, FLOAT, torch.zeros(3, 2, dtype=torch.int64)),
            ValueError,
            r"shape \(2, 2\)",
        ),
        (lambda: shift_refine(FLOAT, FLOAT.double(), FLOAT), ValueError, "one dtype and device"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


# The CUDA kernels on the CPU: the text of the .cu file, one fibre to a thread.


def pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def sizes(*values: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(value) for value in values]


@pytest.mark.parametrize("window", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "cropped"])
def test_emulated_orientation(emulated, layout, dtype, window):
    for shape in SHAPES[1:]:
        frames = LAYOUTS[layout](random_frames(shape, dtype))
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        field = torch.full((shape[0], *shape[2:], 2), torch.nan, dtype=wide)
        luma = torch.full((shape[0], *shape[2:]), torch.nan, dtype=wide)
        error = emulated("phase").wmscore_edge_orientation_cuda(
            ELEMENTS.index(dtype),
            Images.of(frames),
            *sizes(*shape),
            window,
            pointer(field),
            pointer(luma),
            None,
        )
        assert error == 0
        assert_oriented((field, luma), frames, window)


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_emulated_power_and_peak(emulated, size, dtype):
    is_double = dtype == torch.float64
    a, b = spectra(2, size, dtype)
    power = torch.full((2, size[0], size[1] // 2 + 1, 2), torch.nan, dtype=dtype)
    total = torch.full((2,), torch.nan, dtype=dtype)
    library = emulated("phase")
    error = library.wmscore_cross_power_cuda(
        is_double, pointer(a), pointer(b), *sizes(2, *size), pointer(power), pointer(total), None
    )
    assert error == 0
    assert_power((power, total), a, b)
    surface = a[..., 0].contiguous()
    surface[1] = surface[1].round()  # ties
    for reach in ((50, 50), (2, 1)):
        shift, value = torch.full((2, 2), -99), torch.full((2,), torch.nan, dtype=dtype)
        error = library.wmscore_correlation_peak_cuda(
            is_double,
            pointer(surface),
            *sizes(2, *size, *reach),
            pointer(shift),
            pointer(value),
            None,
        )
        assert error == 0
        torch.testing.assert_close(
            (shift, value), correlation_peak.__wrapped__(surface, *reach), rtol=0, atol=0
        )


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("size", [(16, 16), (40, 33), (25, 300)], ids=str)
def test_emulated_refine(emulated, size, dtype):
    luma, following, shift = smooth_pairs(3, *size, 3, dtype)
    shift[2, 0] = 400
    result = torch.full((3, 3), torch.nan, dtype=torch.float64)
    error = emulated("phase").wmscore_shift_refine_cuda(
        dtype == torch.float64,
        pointer(luma),
        pointer(following),
        pointer(shift),
        *sizes(3, *size),
        pointer(result),
        None,
    )
    assert error == 0
    expected = shift_refine.__wrapped__(luma, following, shift)
    tolerance = 1e-3 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(result, expected, rtol=0, atol=tolerance)
