"""block_flow: torch function and kernels against a search by numpy, and against known motion."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from emulation import ELEMENTS, ROOT, BlockMatching
from torch import Tensor

from wmscore.ops import BlockCosts, block_flow, kernels

DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]
# From a tensor [B, T, C, H, W] to one of the same shape and values but other strides.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.movedim(2, -1).contiguous().movedim(-1, 2),
    "columns_first": lambda x: x.mT.contiguous().mT,
    "every_other_pixel": lambda x: torch.stack([x, x], dim=-1).flatten(-2)[..., ::2],
    "cropped": lambda x: torch.nn.functional.pad(x, (1, 2, 1, 1))[..., 1:-1, 1:-2],
    "steps_first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "unaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
}
# Shape, block, radius: grids that fill the frame and that do not, frames smaller than the search,
# one block, blocks whose bytes are not a multiple of 8, several of the kernels' groups.
CASES = [
    *(((2, 2, 3, 24, 24), 8, 3), ((1, 2, 1, 19, 30), 4, 2), ((1, 1, 2, 9, 8), 8, 5)),
    *(((1, 1, 3, 26, 50), 12, 4), ((1, 1, 3, 33, 67), 16, 9), ((2, 1, 1, 4, 5), 4, 1)),
    *(((1, 1, 2, 40, 70), 32, 16), ((1, 1, 1, 21, 120), 20, 7), ((1, 1, 5, 8, 140), 4, 3)),
]


def random_case(
    shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Frames, what follows them, half of it moved and half of it new, with plain parts; starts."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, shape, generator=generator)
    other = torch.randint(0, 256, shape, generator=generator)
    following = frames.roll((1, -2), (3, 4))
    following = torch.where(torch.arange(shape[-1]) < shape[-1] // 2, following, other)
    third = shape[-1] // 3
    frames[..., :third], following[..., :third] = 7, 9  # where all displacements are equal
    start = torch.randint(-4, 5, (*shape[:2], 2), generator=generator)
    if dtype == torch.uint8:
        return frames.to(dtype), following.to(dtype), start
    return (frames / 255).to(dtype), (following / 255).to(dtype), start


def by_numpy(
    frames: Tensor, following: Tensor, block: int, radius: int, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The definition, one displacement of one block at a time, in float64 or exact integers."""
    real = torch.float64 if frames.dtype == torch.float64 else torch.float32
    a, b = (
        x.cpu().numpy().astype(np.int64)
        if x.dtype == torch.uint8
        else x.cpu().to(real).numpy().astype(np.float64)
        for x in (frames, following)
    )
    rows, steps, _, height, width = a.shape
    grid = height // block, width // block
    top, left = (height - grid[0] * block) // 2, (width - grid[1] * block) // 2
    displacement = np.zeros((rows, steps, *grid, 2), np.int32)
    costs = np.full((rows, steps, *grid, 16), np.nan)

    def cost(now: np.ndarray, then: np.ndarray, y: int, x: int, dy: int, dx: int, least: int):
        y0, y1 = max(0, -(y + dy)), min(block, height - y - dy)
        x0, x1 = max(0, -(x + dx)), min(block, width - x - dx)
        if y1 <= y0 or x1 <= x0 or (y1 - y0) * (x1 - x0) * 2 < least:
            return np.inf
        here = now[:, y + y0 : y + y1, x + x0 : x + x1]
        there = then[:, y + dy + y0 : y + dy + y1, x + dx + x0 : x + dx + x1]
        return np.abs(here - there).mean()

    for n, t, i, j in np.ndindex(rows, steps, *grid):
        now, then, y, x = a[n, t], b[n, t], top + i * block, left + j * block
        origin = (0, 0) if start is None else tuple(start[n, t].tolist())
        around = [(v, w) for v in range(-radius, radius + 1) for w in range(-radius, radius + 1)]
        found = {
            (v, w): cost(now, then, y, x, origin[0] + v, origin[1] + w, block**2) for v, w in around
        }
        order = sorted(around, key=lambda d: (found[d], d[0] ** 2 + d[1] ** 2, d))
        best = order[0]
        out = costs[n, t, i, j]
        if found[best] < np.inf:
            displacement[n, t, i, j] = np.add(origin, best)
            near = [(best[0] + v, best[1] + w) for v in (-1, 0, 1) for w in (-1, 0, 1)]
            out[:9] = [found.get(d, np.inf) for d in near]
            out[9] = min((found[d] for d in around if d not in near), default=np.inf)
        own = ((-1, 0), (0, -1), (0, 1), (1, 0), (1, -1), (1, 1))
        out[10:] = [cost(now, now, y, x, *move, 0) for move in own]
    costs[np.isinf(costs)] = np.nan
    return torch.from_numpy(displacement), torch.from_numpy(costs).to(real)


def assert_right(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    bound = 1e-13 if found[1].dtype == torch.float64 else 2e-6
    assert found[0].cpu().equal(expected[0])
    torch.testing.assert_close(found[1].cpu(), expected[1], rtol=bound, atol=0, equal_nan=True)


def assert_same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """The same bits."""
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x.cpu(), y.cpu(), rtol=0, atol=0, equal_nan=True)


@pytest.fixture(params=["dispatched", "torch"])
def run(request: pytest.FixtureRequest) -> Callable[..., tuple[Tensor, Tensor]]:
    """The op with whatever kernel the device has, and the torch function alone."""
    return block_flow if request.param == "dispatched" else block_flow.__wrapped__


# --- the definition -------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_matches_numpy(case, dtype, device):
    shape, block, radius = case
    frames, following, start = random_case(shape, dtype)
    on_device = [x.to(device) for x in (frames, following, start)]
    expected = by_numpy(frames, following, block, radius)
    assert_right(block_flow(*on_device[:2], block, radius), expected)
    expected = by_numpy(frames, following, block, radius, start)
    assert_right(block_flow(*on_device[:2], block, radius, on_device[2]), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_have_the_bits_of_the_torch_function(case, dtype, device):
    shape, block, radius = case
    *pair, start = (x.to(device) for x in random_case(shape, dtype))
    for around in (None, 2 * start):
        found = block_flow(*pair, block, radius, around)
        assert found[1].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert_same(found, block_flow.__wrapped__(*pair, block, radius, around))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("other_layout", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_do_not_matter(layout, other_layout, dtype, device):
    *pair, start = (x.to(device) for x in random_case((2, 2, 3, 17, 29), dtype))
    expected = block_flow(*pair, 8, 3, start)
    strided = LAYOUTS[layout](pair[0]), LAYOUTS[other_layout](pair[1])
    flipped = start.flip(-1).contiguous().flip(-1)
    assert_same(block_flow(*strided, 8, 3, flipped), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_frames_of_a_rollout_are_read_in_place(run, device):
    rollouts = torch.randint(0, 256, (3, 5, 3, 16, 24), dtype=torch.uint8, device=device)
    found = run(rollouts[:, :-1], rollouts[:, 1:], 8, 2)
    pairs = rollouts[:, :-1].contiguous(), rollouts[:, 1:].contiguous()
    assert_same(found, run(*pairs, 8, 2))


# --- known motion ---------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("move", [(0, 0), (3, -2), (-4, 4), (1, 0)])
def test_finds_a_shift(run, move, dtype, device):
    frames, _, _ = random_case((1, 1, 3, 40, 48), dtype, seed=2)
    frames = frames.to(device).clone()
    frames[..., :16] = frames[..., 16:32].flip(-1)  # no plain part
    displacement, costs = run(frames, frames.roll(move, (3, 4)), 8, 4)
    inner = displacement[0, 0, 1:-1, 1:-1]
    assert inner.equal(torch.tensor(move, dtype=torch.int32, device=device).expand_as(inner))
    named = BlockCosts(*costs[0, 0, 1:-1, 1:-1].unbind(-1))
    assert named.best.eq(0).all()
    assert named.second.gt(0).all()
    # A block at an edge is compared by what is left of it, if that is half of it or more.
    edges = displacement[0, 0].clone()
    if (8 - abs(move[0])) * (8 - abs(move[1])) < 32:
        edges[:: len(edges) - 1, :: edges.shape[1] - 1] = edges[1, 1]  # less in a corner
    assert edges.eq(edges[1, 1]).all()


@pytest.mark.parametrize("device", DEVICES)
def test_columns_of_costs_are_where_their_names_say(run, device):
    """A cost that grows with the displacement: of one bright row, then of one bright column."""
    frames = torch.zeros(1, 1, 1, 8, 8, dtype=torch.uint8, device=device)
    following = torch.zeros(1, 1, 1, 8, 8, dtype=torch.uint8, device=device)
    frames[..., 3, :], following[..., 3, :] = 64, 64
    # One pixel away 7 of 8 rows are compared, of which 2 differ.
    step = pytest.approx(2 * 64 / 7, rel=1e-6)
    costs = BlockCosts(*run(frames, following, 8, 2)[1][0, 0, 0, 0].tolist())
    assert costs.best == costs.left == costs.right == costs.second == 0
    assert costs.up == costs.down == costs.up_left == costs.down_right == step
    assert costs.own_up == costs.own_down == step
    assert costs.own_left == costs.own_right == 0
    across = BlockCosts(*run(frames.mT, following.mT, 8, 2)[1][0, 0, 0, 0].tolist())
    assert across.best == across.up == across.down == across.own_up == across.own_down == 0
    assert across.left == across.right == across.own_left == across.own_right == step
    assert costs.own_down_left == costs.own_down_right == step
    ramp = torch.arange(24, device=device).mul(10).byte().expand(1, 1, 1, 24, 24)
    steps = BlockCosts(*run(ramp, ramp.mT, 8, 2)[1][0, 0, 1, 1].tolist())
    assert steps.best < steps.up_left  # up and left: darker than the block in both
    slope = torch.arange(24, device=device).byte()
    slope = (slope[:, None] + slope).mul(5)[None, None, None]
    steps = BlockCosts(*run(slope, slope, 8, 2)[1][0, 0, 1, 1].tolist())
    assert (steps.own_up, steps.own_down_left, steps.own_down_right) == (5, 0, 10)
    assert (steps.up_right, steps.down_left, steps.up_left, steps.second) == (0, 0, 10, 0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_of_equal_costs_the_nearest_counts(run, dtype, device):
    plain = torch.ones(1, 2, 1, 24, 24, dtype=dtype, device=device)
    start = torch.tensor([[[0, 0], [3, -2]]], device=device)
    displacement, costs = run(plain, plain, 8, 4, start)
    assert displacement[0, 0].eq(0).all()
    assert displacement[0, 1, 1, 1].tolist() == [3, -2]
    assert BlockCosts(*costs.unbind(-1)).second.eq(0).all()
    # With period 2 in both axes, 1 up and 1 left of it are as near as the other three.
    pattern = torch.tensor([[1, 9], [5, 30]]).repeat(12, 12).to(dtype).to(device)[None, None, None]
    displacement, _ = run(pattern, pattern.roll((1, 1), (3, 4)), 8, 4)
    assert displacement[0, 0, 1, 1].tolist() == [-1, -1]
    displacement, _ = run(pattern, pattern.roll(1, 4), 8, 4)
    assert displacement[0, 0, 1, 1].tolist() == [0, -1]


@pytest.mark.parametrize("device", DEVICES)
def test_white_on_black_does_not_overflow(run, device):
    """The largest differences of bytes that there are."""
    for block in (4, 8, 16, 20, 32):
        black = torch.zeros(1, 1, 7, 64, 64, dtype=torch.uint8, device=device)
        costs = run(black, black + 255, block, 2)[1]
        assert costs[..., 4].eq(255).all()
        assert costs[..., 9].eq(255).all()


# --- what does not count --------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("away", [(500, 0), (0, -500), (-(2**62), 2**62)])
def test_a_start_beyond_the_frame_finds_nothing(run, away, device):
    *pair, _ = (x.to(device) for x in random_case((1, 1, 3, 24, 24), torch.uint8))
    start = torch.tensor([[away]], device=device)
    displacement, costs = run(*pair, 8, 3, start)
    assert displacement.eq(0).all()
    assert costs[..., :10].isnan().all()
    assert not costs[..., 10:].isnan().any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_does_not_count(run, value, dtype, device):
    frames, following, _ = (x.to(device) for x in random_case((1, 1, 2, 24, 24), dtype, seed=3))
    following[..., 12, 12] = value
    displacement, costs = run(frames, following, 8, 2)
    assert_right((displacement, costs), by_numpy(frames, following, 8, 2))
    assert costs[0, 0, 1, 1, 4].isnan()  # 12 is in all of the middle block's displacements
    assert displacement[0, 0, 1, 1].eq(0).all()
    assert not costs[0, 0, 0, 0, 4].isnan()
    costs = run(following, frames, 8, 2)[1]
    assert costs[0, 0, 1, 1].isnan().all()
    assert not costs[0, 0, [0, 0, 2, 2], [0, 2, 0, 2], 4].isnan().any()


@pytest.mark.parametrize("device", DEVICES)
def test_empty_sizes(run, device):
    for shape in ((0, 2, 3, 16, 16), (2, 0, 3, 16, 16), (1, 2, 3, 7, 16), (1, 2, 3, 16, 0)):
        frames = torch.zeros(shape, dtype=torch.uint8, device=device)
        displacement, costs = run(frames, frames, 8, 2)
        grid = (*shape[:2], shape[3] // 8, shape[4] // 8)
        assert (displacement.shape, costs.shape) == ((*grid, 2), (*grid, 16))
        assert (displacement.dtype, costs.dtype) == (torch.int32, torch.float32)


# --- which frames, how many, on how many threads --------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_frame_does_not_see_its_batch(run, dtype, device):
    *pair, start = (x.to(device) for x in random_case((3, 2, 3, 16, 30), dtype))
    together = run(*pair, 8, 3, start)
    for n in range(3):
        alone = run(*(x[n : n + 1] for x in pair), 8, 3, start[n : n + 1])
        assert_same(alone, tuple(x[n : n + 1] for x in together))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_the_number_of_threads_does_not_matter(dtype):
    frames, following, _ = random_case((4, 4, 3, 64, 64), dtype)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(block_flow(frames, following, 8, 4))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert_same(result, results[0])


# --- torch's machinery ----------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "with_start"), [(torch.uint8, True), (torch.float16, False)])
def test_opcheck(with_start, dtype, device):
    frames, _, start = (x.to(device) for x in random_case((1, 2, 1, 9, 10), dtype))
    # Alike, so that no cost is NaN, which opcheck cannot compare.
    inputs = (frames, frames.clone(), 4, 2, start * 0 if with_start else None)
    torch.library.opcheck(torch.ops.wmscore.block_flow.default, inputs)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_whole(dynamic):
    def mean(frames: Tensor, following: Tensor) -> Tensor:
        return block_flow(frames, following, 4, 1)[0].double().mean((1, 2, 3))

    torch.compiler.reset()
    compiled = torch.compile(mean, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for batch in (2, 3):
        frames, following, _ = random_case((batch, 2, 1, 9, 10), torch.uint8)
        torch.testing.assert_close(compiled(frames, following), mean(frames, following))


def test_meta_knows_shape_and_dtype():
    frames = torch.empty(2, 3, 1, 100, 90, dtype=torch.float64, device="meta")
    displacement, costs = block_flow(frames, frames, 4, 1)
    assert (displacement.shape, costs.shape) == ((2, 3, 25, 22, 2), (2, 3, 25, 22, 16))
    assert (displacement.dtype, costs.dtype) == (torch.int32, torch.float64)


def test_there_is_no_gradient():
    frames = torch.rand(1, 1, 1, 8, 8, requires_grad=True)
    with pytest.raises(RuntimeError, match="block_flow has no gradient"):
        block_flow(frames, frames.detach(), 4, 1)


FRAMES = torch.zeros(1, 2, 3, 8, 8, dtype=torch.uint8)
START = torch.zeros(1, 2, 2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"frames": [0]}, TypeError, r"frames must be a torch\.Tensor, got list"),
        ({"following": FRAMES.int()}, TypeError, "following must have one of the dtypes uint8,"),
        ({"following": FRAMES.float()}, TypeError, "frames and following must have one dtype"),
        ({"following": FRAMES[:, :1]}, ValueError, r"one shape \[B, T, C, H, W\], got \(1, 2, 3"),
        ({"frames": FRAMES[0], "following": FRAMES[0]}, ValueError, r"\[B, T, C, H, W\]"),
        (
            {"frames": FRAMES[:, :, :0], "following": FRAMES[:, :, :0]},
            ValueError,
            r"1\.\.4096 channels, got 0",
        ),
        ({"following": FRAMES.to("meta")}, ValueError, "on one device, got cpu and meta"),
        ({"block": 6}, ValueError, r"block must be a multiple of 4 in 4\.\.32, got 6"),
        ({"block": 36}, ValueError, r"block must be a multiple of 4 in 4\.\.32, got 36"),
        ({"block": 8.0}, TypeError, "block must be an int, got float"),
        ({"radius": 0}, ValueError, r"radius must be 1\.\.16, got 0"),
        ({"radius": 17}, ValueError, r"radius must be 1\.\.16, got 17"),
        ({"radius": True}, TypeError, "radius must be an int, got bool"),
        ({"start": (0, 0)}, TypeError, r"start must be a torch\.Tensor or None, got tuple"),
        ({"start": START.int()}, TypeError, r"start must be int64, got torch\.int32"),
        ({"start": START[:, :1]}, ValueError, r"\[B, T, 2\] = \(1, 2, 2\), got \(1, 1, 2\)"),
        ({"start": START.to("meta")}, ValueError, "start must be on cpu like frames, got meta"),
    ],
    ids=str,
)
def test_errors_say_what_was_expected_and_what_came(changes, error, message):
    right = {"frames": FRAMES, "following": FRAMES, "block": 4, "radius": 1, "start": START}
    block_flow(**right)
    with pytest.raises(error, match=message):
        block_flow(**(right | changes))


def test_sides_have_a_limit():
    frames = torch.empty(1, 1, 1, 1, 2**28, dtype=torch.uint8, device="meta")
    with pytest.raises(ValueError, match=r"below 2\^28, got \(1, 1, 1, 1, 268435456\)"):
        block_flow(frames, frames, 4, 1)


@pytest.mark.parametrize("device", DEVICES)
def test_there_is_a_kernel(device):
    if not kernels().ops["frame_errors"]:
        pytest.skip("no kernels are built")
    assert device in kernels().ops["block_flow"]


@pytest.mark.needs_cuda
def test_is_captured_by_a_graph():
    """No call synchronises with the host, or capture would fail."""
    pair = [x.cuda() for x in random_case((2, 2, 3, 32, 40), torch.uint8)[:2]]
    block_flow(*pair, 8, 4)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = block_flow(*pair, 8, 4)
    pair[1].copy_(pair[0].roll((2, 1), (3, 4)))
    graph.replay()
    torch.cuda.synchronize()
    assert_same(found, block_flow.__wrapped__(*(x.cpu() for x in pair), 8, 4))


@pytest.mark.needs_cuda
def test_runs_on_the_current_stream():
    host = [x.pin_memory() for x in random_case((2, 2, 3, 32, 40), torch.uint8)[:2]]
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10**8)  # a kernel on another stream would run now, before the copies
        found = block_flow(*(x.to("cuda", non_blocking=True) for x in host), 8, 4)
    stream.synchronize()
    assert_same(found, block_flow.__wrapped__(*host, 8, 4))


# --- the other kernels on this CPU ----------------------------------------------------------------


def run_kernel(
    kernel: Callable[..., object],
    frames: Tensor,
    following: Tensor,
    block: int,
    radius: int,
    start: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Call `kernel(element, task, displacements, costs)` with the arguments of the op."""
    grid = (*frames.shape[:2], frames.shape[3] // block, frames.shape[4] // block)
    real = torch.float64 if frames.dtype == torch.float64 else torch.float32
    displacement = torch.full((*grid, 2), -9, dtype=torch.int32)
    costs = torch.full((*grid, 16), -9, dtype=real)
    kernel(
        ctypes.c_int32(ELEMENTS.index(frames.dtype)),
        BlockMatching.of(frames, following, block, radius, start),
        *(ctypes.c_void_p(x.data_ptr()) for x in (displacement, costs)),
    )
    return displacement, costs


@pytest.fixture
def emulated_flow(emulated) -> Callable[..., tuple[Tensor, Tensor]]:
    """The CUDA kernel: the text of the .cu file, one fibre to a thread."""
    library = emulated("block_flow")

    def kernel(*arguments: object) -> None:
        assert library.wmscore_block_flow_cuda(*arguments, None) == 0

    return lambda *inputs: run_kernel(kernel, *inputs)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_emulated_cuda_kernel(emulated_flow, case, dtype):
    shape, block, radius = case
    *pair, start = random_case(shape, dtype)
    for around in (None, 2 * start):
        expected = block_flow.__wrapped__(*pair, block, radius, around)
        assert_same(emulated_flow(*pair, block, radius, around), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_emulated_cuda_kernel_reads_any_strides(emulated_flow, layout, dtype):
    *pair, start = random_case((2, 2, 3, 17, 29), dtype)
    expected = block_flow.__wrapped__(*pair, 8, 3, start)
    assert_same(emulated_flow(*(LAYOUTS[layout](x) for x in pair), 8, 3, start), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64], ids=str)
def test_emulated_cuda_kernel_takes_channels_in_turns(emulated_flow, dtype):
    """More of them than fit into shared memory."""
    *pair, _ = random_case((1, 1, 15, 16, 64), dtype)
    expected = block_flow.__wrapped__(*pair, 16, 3)
    assert_same(emulated_flow(*pair, 16, 3), expected)


def test_emulated_cuda_kernel_of_what_is_not_finite(emulated_flow):
    frames, following, _ = random_case((1, 1, 2, 24, 24), torch.float32, seed=3)
    following[..., 12, 12], frames[..., 0, 23] = torch.nan, torch.inf
    expected = block_flow.__wrapped__(frames, following, 8, 2)
    assert_same(emulated_flow(frames, following, 8, 2), expected)
    far = torch.tensor([[[2**62, -(2**62)]]])
    expected = block_flow.__wrapped__(frames, following, 8, 2, far)
    assert_same(emulated_flow(frames, following, 8, 2, far), expected)


@pytest.fixture(scope="module")
def portable_flow(tmp_path_factory) -> Callable[..., tuple[Tensor, Tensor]]:
    """The CPU kernel as it is for processors without AVX2."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ to compile the kernel with")
    library: Path = tmp_path_factory.mktemp("portable") / "block_flow.so"
    source = ROOT / "csrc/cpu/block_flow.cpp"
    flags = ("-std=c++17", "-O1", "-shared", "-fPIC", "-DWMSCORE_PORTABLE", "-Wno-psabi")
    subprocess.run(["g++", *flags, source, "-o", library], check=True)
    loaded = ctypes.CDLL(str(library))

    def kernel(element: object, task: BlockMatching, *out: object) -> None:
        rows = task.batch * task.steps * (task.height // task.block)
        loaded.wmscore_block_flow_cpu(element, task, *map(ctypes.c_int64, (0, rows)), *out)

    return lambda *inputs: run_kernel(kernel, *inputs)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_portable_kernel(portable_flow, case):
    shape, block, radius = case
    *pair, start = random_case(shape, torch.uint8)
    for around in (None, 2 * start):
        expected = block_flow.__wrapped__(*pair, block, radius, around)
        assert_same(portable_flow(*pair, block, radius, around), expected)
