"""frame_region_errors: torch function, CPU kernel and CUDA kernel against numpy, in one body."""

import ctypes
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from emulation import ELEMENTS, Frames, Region
from frame_cases import DEVICES, DTYPES, LAYOUTS, random_frames, terms
from torch import Tensor

from wmscore.ops import frame_errors, frame_region_errors, kernels

Result = tuple[Tensor, Tensor]
KINDS = ["mask", "previous", "both"]
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
    (1, 5, 33, 65),  # more channels than the CPU kernel keeps vectors of
    (1, 2, 131, 150),  # more than one chunk of the CUDA kernel
    (1, 3, 128, 136),
    (1, 3, 515, 513),  # more than one band of the CPU kernel
]
MASK_LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda m: m.contiguous(),
    "columns_first": lambda m: m.mT.contiguous().mT,
    "cropped": lambda m: torch.nn.functional.pad(m, (1, 2, 1, 1))[:, 1:-1, 1:-2],
    "every_other_pixel": lambda m: torch.stack([m, ~m], dim=-1).flatten(-2)[..., ::2],
    "unaligned": lambda m: torch.cat([m.new_zeros(1), m.flatten()])[1:].view(m.shape),
}


def case(shape: tuple[int, ...], dtype: torch.dtype, kind: str) -> dict[str, Tensor | None]:
    """Frames whose region has patches, so that whole vectors are inside, outside and mixed."""
    preds, target, other = (random_frames(shape, dtype) for _ in range(3))
    images, _, height, width = shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    patch = (x // 40 + y // 7) % 3 == 0
    scattered = torch.rand(images, height, width) < 0.1
    still = (y % 5 < 3) ^ scattered  # [N, H, W]
    # One channel moves at a time, for a pixel that moves in all is easily found.
    channel = torch.randint(0, max(1, shape[1]), (images, 1, height, width))
    one_channel = torch.arange(shape[1])[:, None, None] == channel
    previous = torch.where(one_channel & ~still[:, None], other, target)
    return {
        "preds": preds,
        "target": target,
        "mask": patch ^ scattered if kind != "previous" else None,
        "previous": previous if kind != "mask" else None,
    }


def to(arguments: dict[str, Tensor | None], device: str) -> dict[str, Tensor | None]:
    return {name: None if x is None else x.to(device) for name, x in arguments.items()}


def inside_of(
    target: Tensor, mask: Tensor | None, previous: Tensor | None, threshold: float
) -> np.ndarray:
    """`[N, H, W]` bool, by numpy."""
    inside = np.ones((target.shape[0], *target.shape[2:]), dtype=bool)
    if mask is not None:
        inside &= mask.cpu().numpy()
    if previous is not None:
        now, before = (x.cpu().double().numpy() for x in (target, previous))
        with np.errstate(invalid="ignore"):
            inside &= (np.abs(now - before) > threshold).any(axis=1)
    return inside


def assert_right(
    actual: Result,
    *,
    preds: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    previous: Tensor | None = None,
    threshold: float = 0.0,
) -> None:
    """Equal for uint8; else within pixels * 2^-52 * Σ|term|: the bound of any summation order."""
    sums, pixels = actual
    inside = inside_of(target, mask, previous, threshold)
    inside = inside.reshape(inside.shape[0], inside.shape[1] * inside.shape[2])
    counts = torch.from_numpy(np.stack([inside.sum(1), (~inside).sum(1)], axis=1).astype(np.int64))
    torch.testing.assert_close(pixels.cpu(), counts, rtol=0, atol=0)
    assert pixels.device == preds.device

    every = terms(preds, target)
    sides = [np.where(side[:, None, :, None], every, 0) for side in (inside, ~inside)]
    expected = torch.from_numpy(np.stack([side.sum(axis=2) for side in sides], axis=2))
    assert sums.shape == expected.shape
    assert sums.dtype == expected.dtype
    assert sums.device == preds.device
    if preds.dtype == torch.uint8:
        torch.testing.assert_close(sums.cpu(), expected, rtol=0, atol=0)
    else:
        largest = np.stack([np.abs(side).sum(axis=2) for side in sides], axis=2)
        bound = torch.from_numpy(largest) * (every.shape[2] + 2) * 2.0**-52
        assert ((sums.cpu() - expected).abs() <= bound).all()


@pytest.fixture(params=["dispatched", "torch"])
def run(request: pytest.FixtureRequest) -> Callable[..., Result]:
    """The op with whatever kernel the device has, and the torch function alone."""
    op = frame_region_errors
    return op if request.param == "dispatched" else op.__wrapped__


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_numpy(run, shape, dtype, kind, device):
    arguments = to(case(shape, dtype, kind), device)
    assert_right(run(**arguments), **arguments)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_inside_and_outside_add_up_to_frame_errors(layout, dtype, kind, device):
    arguments = to(case((2, 3, 65, 66), dtype, kind), device)
    arguments |= {n: LAYOUTS[layout](arguments[n]) for n in ("preds", "target")}
    sums, pixels = frame_region_errors(**arguments)
    whole = frame_errors(arguments["preds"], arguments["target"])
    if dtype == torch.uint8:
        torch.testing.assert_close(sums.sum(2), whole, rtol=0, atol=0)
    else:
        every = terms(arguments["preds"], arguments["target"])
        bound = torch.from_numpy(np.abs(every).sum(axis=2)) * (every.shape[2] + 2) * 2.0**-52
        assert ((sums.sum(2) - whole).abs().cpu() <= 2 * bound).all()
    assert pixels.sum(1).tolist() == [65 * 66] * 2


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("previous_layout", LAYOUTS)
@pytest.mark.parametrize("target_layout", LAYOUTS)
def test_strides_of_frames_do_not_matter(target_layout, previous_layout, dtype, device):
    arguments = to(case((2, 3, 24, 31), dtype, "both"), device)
    strided = arguments | {
        "preds": LAYOUTS[previous_layout](arguments["preds"]),
        "target": LAYOUTS[target_layout](arguments["target"]),
        "previous": LAYOUTS[previous_layout](arguments["previous"]),
    }
    assert_right(frame_region_errors(**strided), **arguments)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("mask_layout", MASK_LAYOUTS)
def test_strides_of_the_mask_do_not_matter(mask_layout, layout, device):
    arguments = to(case((2, 3, 24, 31), torch.uint8, "mask"), device)
    arguments |= {n: LAYOUTS[layout](arguments[n]) for n in ("preds", "target")}
    strided = MASK_LAYOUTS[mask_layout](arguments["mask"])
    assert strided.equal(arguments["mask"])
    assert_right(frame_region_errors(**arguments | {"mask": strided}), **arguments)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [(1, 24, 31), (2, 24, 1), (2, 1, 31), (1, 1, 31), (1, 1, 1)])
def test_a_mask_may_be_expanded(run, size, device):
    arguments = to(case((2, 3, 24, 31), torch.uint8, "mask"), device)
    arguments["mask"] = (torch.rand(size, device=device) < 0.5).expand(2, 24, 31)
    assert_right(run(**arguments), **arguments)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_channels_last_of_any_channel_count(channels, device):
    arguments = to(case((2, channels, 96, 97), torch.uint8, "both"), device)
    last = LAYOUTS["channels_last"]
    strided = {n: x if n == "mask" else last(x) for n, x in arguments.items()}
    assert_right(frame_region_errors(**strided), **arguments)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("dtype", "threshold"),
    [(torch.uint8, t) for t in (0.0, 0.5, 1.0, 1.5, 100.0, 254.0, 254.9, 255.0, 256.0, 1e300)]
    + [(torch.uint8, 3), *((d, 0.25) for d in DTYPES[1:])],
)
def test_a_change_must_exceed_the_threshold(run, dtype, threshold, device):
    """Every grey level, and floats one step below, at and above the threshold."""
    if dtype == torch.uint8:
        changes = torch.arange(256, dtype=torch.uint8)
    else:
        at = torch.tensor([threshold], dtype=dtype)
        step = torch.finfo(dtype).eps * threshold
        changes = torch.cat([torch.zeros(1, dtype=dtype), at - step / 2, at, at + step])
        assert changes.unique().numel() == 4
    for now, before in ((changes, torch.zeros_like(changes)), (torch.zeros_like(changes), changes)):
        target, previous = (
            x.to(device).view(-1, 1, 1, 1).expand(-1, 1, 3, 33) for x in (now, before)
        )
        _, pixels = run(target, target, previous=previous, threshold=threshold)
        moves = changes.double() > threshold
        expected = torch.stack([moves, ~moves], 1).long() * 99
        torch.testing.assert_close(pixels.cpu(), expected, rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("side", [0, 1])
def test_a_region_that_is_all_or_nothing_is_frame_errors(run, side, dtype, device):
    preds, target = (random_frames((2, 3, 40, 41), dtype).to(device) for _ in range(2))
    mask = torch.full((1, 1, 1), side == 0, device=device).expand(2, 40, 41)
    sums, pixels = run(preds, target, mask)
    whole = frame_errors(preds, target)
    torch.testing.assert_close(sums[:, :, side], whole, rtol=1e-12, atol=1e-11)
    assert sums[:, :, 1 - side].eq(0).all()
    assert pixels[:, side].tolist() == [1640] * 2
    # Frames that do not change have no moving pixel.
    sums, pixels = run(preds, target, previous=target)
    torch.testing.assert_close(sums[:, :, 1], whole, rtol=1e-12, atol=1e-11)
    assert pixels.tolist() == [[0, 1640]] * 2


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_what_is_not_finite_stays_on_its_side(run, side, value, dtype, device):
    arguments = to(case((2, 2, 40, 40), dtype, "mask"), device)
    y, x = (int(i) for i in (arguments["mask"][1] == (side == 0)).nonzero()[7])
    arguments["preds"][1, 0, y, x] = value
    sums, _ = run(**arguments)
    expected = torch.zeros(2, 2, 2, 6, dtype=torch.bool, device=device)
    columns = [column not in {3, 5} for column in range(6)]  # all but the target's own
    expected[1, 0, side] = torch.tensor(columns, device=device)
    torch.testing.assert_close(~sums.isfinite(), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("where", ["target", "previous"])
def test_nan_does_not_move(run, where, device):
    frames = {n: torch.rand(1, 1, 8, 8, device=device) for n in ("preds", "target", "previous")}
    frames[where][0, 0, 3, 4] = math.nan
    _, pixels = run(**frames)
    assert pixels.tolist() == [[63, 1]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_large_planes_of_the_largest_error(run, layout, device):
    """Longer than any running sum of 32 bits lasts."""
    black = LAYOUTS[layout](torch.zeros(1, 3, 1030, 520, dtype=torch.uint8, device=device))
    white = torch.full_like(black, 255)
    half = torch.arange(1030, device=device)[None, :, None] < 515
    sums, pixels = run(black, white, half.expand(1, -1, 520))
    side = 515 * 520
    assert pixels.tolist() == [[side, side]]
    assert sums.tolist() == [[[[side * 65025, side * 255, 0, side * 255, 0, side * 65025]] * 2] * 3]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_frame_does_not_see_its_batch(dtype, device):
    arguments = to(case((5, 3, 140, 141), dtype, "both"), device)
    together = frame_region_errors(**arguments)
    for order in ([3], [0, 4, 1]):
        some = frame_region_errors(**{name: x[order] for name, x in arguments.items()})
        for actual, expected in zip(some, together, strict=True):
            torch.testing.assert_close(actual, expected[order], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_threads_do_not_change_a_bit(dtype):
    arguments = case((2, 3, 520, 1030), dtype, "both")  # three bands to a frame
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results += [frame_region_errors(**arguments) for _ in range(2)]
    finally:
        torch.set_num_threads(threads)
    for sums, pixels in results[1:]:
        torch.testing.assert_close(sums, results[0][0], rtol=0, atol=0)
        torch.testing.assert_close(pixels, results[0][1], rtol=0, atol=0)


@pytest.mark.needs_cuda
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_two_runs_on_a_device_give_the_same_bits(dtype):
    arguments = to(case((2, 3, 200, 201), dtype, "both"), "cuda")
    first = frame_region_errors(**arguments)
    for _ in range(3):
        for actual, expected in zip(frame_region_errors(**arguments), first, strict=True):
            torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_more_than_2_to_the_31_elements_in_a_batch(device):
    if device not in kernels().ops["frame_region_errors"]:
        pytest.skip(f"no {device} kernel; the torch function would take 50 GB")
    arguments = to(case((1, 1, 1024, 1024), torch.uint8, "both"), device)
    many = 2**11 + 1
    expanded = {n: x.expand(many, *([-1] * (x.dim() - 1))) for n, x in arguments.items()}
    expected = frame_region_errors(**arguments)
    for actual, one in zip(frame_region_errors(**expanded), expected, strict=True):
        torch.testing.assert_close(actual, one.expand_as(actual), rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [DTYPES[0], DTYPES[-1]], ids=str)
def test_opcheck(dtype, kind, device):
    for layout in ("contiguous", "channels_last", "columns_first"):
        arguments = to(case((2, 3, 9, 11), dtype, kind), device)
        strided = {
            n: x if x is None or n == "mask" else LAYOUTS[layout](x) for n, x in arguments.items()
        }
        torch.library.opcheck(
            torch.ops.wmscore.frame_region_errors.default, (*strided.values(), 0.5)
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_meta_knows_shapes_and_dtypes(dtype):
    frames = torch.empty(2, 3, 2**20, 2**20, dtype=dtype, device="meta")
    sums, pixels = frame_region_errors(frames, frames, previous=frames)
    assert sums.shape == (2, 3, 2, 6)
    assert sums.dtype == (torch.int64 if dtype == torch.uint8 else torch.float64)
    assert pixels.shape == (2, 2)
    assert pixels.dtype == torch.int64


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_whole(dynamic, device):
    def region_error(preds: Tensor, target: Tensor, previous: Tensor) -> Tensor:
        sums, pixels = frame_region_errors(preds, target, previous=previous, threshold=150)
        return sums[..., 0].sum(1) / pixels

    torch.compiler.reset()
    compiled = torch.compile(region_error, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for batch in (2, 3):
        frames = [random_frames((batch, 3, 12, 13), torch.uint8).to(device) for _ in range(3)]
        torch.testing.assert_close(compiled(*frames), region_error(*frames), rtol=0, atol=0)


FRAMES = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
MASK = torch.ones(2, 4, 5, dtype=torch.bool)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"mask": None}, ValueError, "needs a mask, previous frames or both, got neither"),
        ({"preds": FRAMES[:1]}, ValueError, r"one shape \[N, C, H, W\], got \(1, 3, 4, 5\)"),
        ({"mask": MASK.numpy()}, TypeError, r"mask must be a torch\.Tensor or None, got ndarray"),
        ({"mask": MASK.to(torch.uint8)}, TypeError, r"mask must be bool, got torch\.uint8"),
        (
            {"mask": MASK[:, None]},
            ValueError,
            r"mask must have the shape \[N, H, W\] = \(2, 4, 5\) .* got \(2, 1, 4, 5\)",
        ),
        ({"mask": MASK[:1]}, ValueError, r"mask must .* got \(1, 4, 5\)"),
        ({"mask": MASK.to("meta")}, ValueError, "mask must be on cpu like the frames, got meta"),
        ({"previous": 0}, TypeError, r"previous must be a torch\.Tensor or None, got int"),
        (
            {"previous": FRAMES.float()},
            TypeError,
            r"previous must have the dtype of target, torch\.uint8, got torch\.float32",
        ),
        (
            {"previous": FRAMES[:1]},
            ValueError,
            r"previous must .* \(2, 3, 4, 5\) .* \(1, 3, 4, 5\)",
        ),
        ({"previous": FRAMES.to("meta")}, ValueError, "previous must be on cpu like target"),
        ({"threshold": 1.0}, ValueError, r"threshold 1\.0 needs previous frames"),
        ({"previous": FRAMES, "threshold": "1"}, TypeError, "threshold must be a number, got str"),
        *(
            ({"previous": FRAMES, "threshold": value}, ValueError, "threshold must be finite and")
            for value in (-1.0, math.nan, math.inf)
        ),
    ],
)
def test_errors_say_what_was_expected_and_what_came(wrong, error, message):
    with pytest.raises(error, match=message):
        frame_region_errors(**{"preds": FRAMES, "target": FRAMES, "mask": MASK} | wrong)


@pytest.mark.parametrize("name", ["preds", "target", "previous"])
def test_a_gradient_is_refused_not_cut(name):
    arguments = {n: torch.rand(1, 3, 4, 4) for n in ("preds", "target", "previous")}
    arguments[name].requires_grad_()
    with pytest.raises(RuntimeError, match=r"frame_region_errors has no gradient.*detach\(\)"):
        frame_region_errors(**arguments)


@pytest.mark.needs_cuda
def test_is_captured_by_a_graph():
    """No call synchronises with the host, or capture would fail."""
    arguments = to(case((2, 3, 200, 201), torch.uint8, "both"), "cuda")
    frame_region_errors(**arguments)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = frame_region_errors(**arguments)
    arguments["preds"].copy_(random_frames((2, 3, 200, 201), torch.uint8))
    graph.replay()
    torch.cuda.synchronize()
    assert_right(result, **arguments)


# The CUDA kernel on the CPU: the text of the .cu file, one fibre to a thread.


def run_emulated(
    kernel: ctypes.CDLL,
    preds: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    previous: Tensor | None = None,
    threshold: float = 0.0,
) -> Result:
    images, channels, height, width = preds.shape
    total = torch.int64 if preds.dtype == torch.uint8 else torch.float64
    kernel.wmscore_frame_region_errors_chunks.restype = ctypes.c_int64
    chunks = kernel.wmscore_frame_region_errors_chunks(ctypes.c_int64(height * width))
    unset = torch.iinfo(torch.int64).min if total == torch.int64 else torch.nan
    scratch = chunks if chunks > 1 else 0
    partials = torch.full((images, channels, scratch, 2, 6), unset, dtype=total)
    partial_counts = torch.full((images, scratch, 2), -1)
    sums = torch.full((images, channels, 2, 6), unset, dtype=total)
    counts = torch.full((images, 2), -1)
    error = kernel.wmscore_frame_region_errors_cuda(
        ELEMENTS.index(preds.dtype),
        Frames.of(preds),
        Frames.of(target),
        Region.of(mask, previous, threshold),
        *(ctypes.c_int64(n) for n in (images, channels, height * width)),
        *(ctypes.c_void_p(x.data_ptr()) for x in (partials, partial_counts, sums, counts)),
        None,
    )
    assert error == 0
    return sums, counts


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "unaligned"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 3, 17, 16), (2, 3, 128, 129)], ids=str)
def test_emulated_cuda_kernel(emulated, shape, layout, dtype):
    kernel = emulated("frame_region_errors")
    for kind in KINDS:
        arguments = case(shape, dtype, kind)
        strided = {
            n: x if x is None or n == "mask" else LAYOUTS[layout](x) for n, x in arguments.items()
        }
        assert_right(run_emulated(kernel, **strided), **arguments)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16], ids=str)
def test_emulated_cuda_kernel_with_a_mask_that_is_not_aligned(emulated, dtype):
    arguments = case((1, 2, 16, 16), dtype, "mask")
    strided = arguments | {"mask": MASK_LAYOUTS["unaligned"](arguments["mask"])}
    assert_right(run_emulated(emulated("frame_region_errors"), **strided), **arguments)


@pytest.mark.parametrize("threshold", [0.0, 1.0, 1.5, 100.0, 255.0, 1e300])
def test_emulated_cuda_kernel_compares_with_the_threshold(emulated, threshold):
    target = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    for previous in (torch.zeros_like(target), 255 - target):
        arguments = {"preds": 255 - target, "target": target, "previous": previous}
        result = run_emulated(emulated("frame_region_errors"), **arguments, threshold=threshold)
        assert_right(result, **arguments, threshold=threshold)


def test_emulated_cuda_kernel_at_its_largest_sums(emulated):
    """A full chunk of the largest error: the 32-bit sums must hold it."""
    black = torch.zeros(1, 1, 128, 130, dtype=torch.uint8)
    arguments = {"preds": torch.full_like(black, 255), "target": black}
    for value in (True, False):
        arguments["mask"] = torch.full((1, 128, 130), value)
        assert_right(run_emulated(emulated("frame_region_errors"), **arguments), **arguments)


def test_emulated_cuda_kernel_without_channels(emulated):
    arguments = case((2, 0, 128, 130), torch.uint8, "both")
    _, pixels = run_emulated(emulated("frame_region_errors"), **arguments)
    assert pixels.tolist() == [[0, 128 * 130]] * 2


def test_emulated_cuda_kernel_reads_expanded_tensors(emulated):
    arguments = case((3, 2, 8, 8), torch.uint8, "both")
    expanded = {
        n: x if n == "preds" else x[:1].expand(3, *([-1] * (x.dim() - 1)))
        for n, x in arguments.items()
    }
    assert_right(run_emulated(emulated("frame_region_errors"), **expanded), **expanded)
