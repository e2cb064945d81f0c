"""response_products: torch function, CPU kernel and CUDA kernel against numpy, in one body."""

import ctypes
from collections.abc import Callable

import numpy as np
import pytest
import torch
from emulation import ELEMENTS, Responses
from torch import Tensor

from wmscore.ops import kernels, response_products

DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]
Result = tuple[Tensor, Tensor]
Arguments = dict[str, Tensor | float | None]
# (C, H, W): around lines, blocks and channels of the CPU kernel, pieces and segments of the CUDA
# kernel.
SHAPES = [
    *((1, 1, 1), (3, 1, 2), (1, 5, 3), (3, 8, 8), (2, 7, 15), (3, 5, 16), (1, 9, 17), (3, 4, 33)),
    *((4, 16, 40), (1, 3, 700), (300, 3, 9), (3, 40, 64)),
]
# From frames [B, T, C, H, W] to some of the same shape and values but other strides.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.movedim(2, -1).contiguous().movedim(-1, 2),
    "columns_first": lambda x: x.mT.contiguous().mT,
    "steps_first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "window": lambda x: torch.nn.functional.pad(x, (3, 2, 1, 1), value=1)[..., 1:-1, 3:-2],
    "every_other_pixel": lambda x: torch.stack([x, x * 0 + 2], -1).flatten(-2)[..., ::2],
    "unaligned": lambda x: torch.cat([x.new_ones(1), x.flatten()])[1:].view(x.shape),
    "without_first_step": lambda x: torch.cat([x[:, :1] * 0, x], 1)[:, 1:],
}


def frames_of(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Frames of few values, so that scripts agree in some pixels and not in others."""
    if dtype == torch.uint8:
        return torch.randint(0, 3, shape, dtype=dtype) * 127
    return (torch.randint(0, 3, shape).double() - 0.7).div(3).to(dtype)


def case(
    shape: tuple[int, int, int],
    dtype: torch.dtype,
    *,
    scripts: int = 3,
    groups: int = 3,
    steps: int = 2,
    reach: int = 0,
    absent: bool = False,
    still: float = 0.0,
) -> Arguments:
    rows = groups * scripts
    preds, target = frames_of((rows, steps, *shape), dtype), frames_of((4, steps, *shape), dtype)
    # Scripts that agree in the upper half, one more than the others do.
    target[:, :, :, : shape[1] // 2] = target[:1, :, :, : shape[1] // 2]
    target[3, :, :, : shape[1] // 4] = frames_of((steps, shape[0], shape[1] // 4, shape[2]), dtype)
    arguments: Arguments = {
        "preds": preds,
        "target": target,
        "preds_rows": torch.randperm(rows).view(groups, scripts),
        "target_rows": torch.randint(0, 4, (groups, scripts)),
        "still": still,
    }
    if absent:
        for name in ("preds_rows", "target_rows"):
            lost = torch.rand(groups, scripts) < 0.2
            wrong = torch.tensor([-1, rows, 2**40, -(2**63)])[torch.randint(0, 4, lost.shape)]
            arguments[name] = arguments[name].where(~lost, wrong)
        arguments["present"] = torch.rand(groups, scripts, steps) > 0.2
    if reach:
        arguments["shift"] = torch.randint(-reach, reach + 1, (groups, steps, 2))
    return arguments


def by_numpy(
    preds: Tensor,
    target: Tensor,
    preds_rows: Tensor,
    target_rows: Tensor,
    present: Tensor | None = None,
    shift: Tensor | None = None,
    still: float = 0.0,
) -> Result:
    """The definition, in int64 for uint8 frames and float64 for others, one step at a time."""
    wide = np.int64 if preds.dtype == torch.uint8 else np.float64
    p, t = (
        (x if x.dtype == torch.uint8 else x.double()).cpu().numpy().astype(wide)
        for x in (preds, target)
    )
    (groups, scripts), steps = preds_rows.shape, p.shape[1]
    height, width = p.shape[3:]
    products = np.zeros((groups, steps, 2 * scripts, 2 * scripts))
    statistics = np.zeros((groups, steps, 3))
    for g in range(groups):
        for step in range(steps):
            dy, dx = (0, 0) if shift is None else shift[g, step].tolist()
            y = [i for i in range(height) if 0 <= i + dy < height] if abs(dy) < height else []
            x = [i for i in range(width) if 0 <= i + dx < width] if abs(dx) < width else []
            fields: list[np.ndarray | None] = []
            for frames, rows, by in ((p, preds_rows, (dy, dx)), (t, target_rows, (0, 0))):
                for k, row in enumerate(rows[g].tolist()):
                    is_there = present is None or bool(present[g, k, step])
                    if not is_there or not 0 <= row < len(frames):
                        fields.append(None)
                        continue
                    where = np.ix_([i + by[0] for i in y], [i + by[1] for i in x])
                    fields.append(np.stack([plane[where] for plane in frames[row, step]]))
            for i, one in enumerate(fields):
                for j, other in enumerate(fields):
                    if one is not None and other is not None:
                        products[g, step, i, j] = (one * other).sum()
            statistics[g, step, 0] = len(y) * len(x)
            of_preds, of_target = (
                [field for field in half if field is not None]
                for half in (fields[:scripts], fields[scripts:])
            )
            if of_target:
                spread = np.max(of_target, axis=0) - np.min(of_target, axis=0)
                is_still = (spread <= still).all(0)
                statistics[g, step, 1] = is_still.sum()
                if of_preds:
                    stack = np.stack(of_preds)[:, :, is_still].astype(np.float64)
                    statistics[g, step, 2] = ((stack - stack.mean(0)) ** 2).sum()
    return torch.from_numpy(products), torch.from_numpy(statistics)


def assert_right(actual: Result, arguments: Arguments) -> None:
    """Exact for uint8 but for the last division; for others within rounding."""
    products, statistics = by_numpy(**arguments)
    is_whole = arguments["preds"].dtype == torch.uint8
    sums = 0 if is_whole else 1e-12
    largest = products.diagonal(dim1=2, dim2=3).amax(-1)[..., None, None]
    scale = largest.where(largest > 0, 1)
    torch.testing.assert_close(actual[0].cpu() / scale, products / scale, rtol=0, atol=sums)
    torch.testing.assert_close(actual[1][..., :2].cpu(), statistics[..., :2], rtol=0, atol=0)
    torch.testing.assert_close(actual[1][..., 2].cpu(), statistics[..., 2], rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(actual[0], actual[0].mT, rtol=0, atol=0)


def to(arguments: Arguments, device: str) -> Arguments:
    return {name: x.to(device) if isinstance(x, Tensor) else x for name, x in arguments.items()}


def with_layout(arguments: Arguments, layout: str) -> Arguments:
    change = LAYOUTS[layout]
    return arguments | {name: change(arguments[name]) for name in ("preds", "target")}


@pytest.fixture(params=["op", "torch"])
def run(request: pytest.FixtureRequest) -> Callable[..., Result]:
    return response_products if request.param == "op" else response_products.__wrapped__


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("still", [0, 0.4, 127, 1e9])
def test_equals_numpy(run, still, dtype, device):
    for shape in SHAPES:
        arguments = case(shape, dtype, still=still)
        assert_right(run(**to(arguments, device)), arguments)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scripts", range(1, 17))
def test_any_number_of_scripts_some_absent(run, scripts, dtype, device):
    for shape in ((3, 6, 21), (1, 9, 40)):
        arguments = case(shape, dtype, scripts=scripts, absent=True, reach=3)
        assert_right(run(**to(arguments, device)), arguments)
        whole = case(shape, dtype, scripts=scripts)
        assert_right(run(**to(whole, device)), whole)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides(run, layout, dtype, device):
    for shape in ((3, 6, 48), (3, 5, 19)):
        arguments = case(shape, dtype, absent=True, reach=2)
        strided = with_layout(to(arguments, device), layout)
        torch.testing.assert_close(strided["preds"].cpu(), arguments["preds"], rtol=0, atol=0)
        assert_right(run(**strided), arguments)
        mixed = to(arguments, device) | {"target": strided["target"]}
        mixed["preds_rows"] = torch.stack([mixed["preds_rows"]] * 2, -1)[..., 0]
        mixed["present"] = mixed["present"].mT.contiguous().mT
        mixed["shift"] = torch.stack([mixed["shift"]] * 2, -1)[..., 0]
        assert_right(run(**mixed), arguments)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [5, 16, 23, 33])
def test_windows_at_any_place(width, dtype, device):
    arguments = case((3, 7, 52), dtype)
    for x in (0, 1, 2, 3, 4, 7, 19):
        window = {n: arguments[n][..., 1:5, x : x + width] for n in ("preds", "target")}
        assert_right(
            response_products(**to(arguments, device) | to(window, device)), arguments | window
        )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_shifts(run, dtype, device):
    height, width = 6, 18
    shifts = [
        *((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (2, -3), (-5, 17), (5, -17), (0, 7), (0, -9)),
        *((6, 0), (0, 18), (-6, 1), (1, -18), (100, 0), (-(2**63), 3), (2, 2**63 - 1)),
    ]
    arguments = case((2, height, width), dtype, scripts=2, groups=len(shifts), steps=1)
    arguments["shift"] = torch.tensor(shifts)[:, None]
    result = run(**to(arguments, device))
    assert_right(result, arguments)
    pixels = result[1][:, 0, 0].tolist()
    assert pixels[:7] == [108, 90, 90, 102, 102, 4 * 15, 1]
    assert pixels[10:] == [0] * 7
    assert result[0][10:].eq(0).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_shift_undoes_a_shift(run, dtype, device):
    """Content that moved by (dy, dx) meets itself."""
    target = frames_of((3, 1, 3, 20, 30), dtype).to(device)
    preds = target.roll((2, -5), (-2, -1))
    rows = torch.arange(3, device=device)[None]
    shift = torch.tensor([[[2, -5]]], device=device)
    products, _ = run(preds, target, rows, rows, shift=shift)
    inner = target[..., :18, 5:].double().flatten(1)
    expected = (inner @ inner.T)[None, None].repeat(1, 1, 2, 2)
    torch.testing.assert_close(products, expected, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_differences_of_fields(run, dtype, device):
    """What the products are for: a distance is the sum of squares that `torch` finds."""
    arguments = to(case((3, 12, 20), dtype, scripts=4), device)
    products, _ = run(**arguments)
    of_preds = arguments["preds"][arguments["preds_rows"]].double()  # [G, K, T, C, H, W]
    of_target = arguments["target"][arguments["target_rows"]].double()
    distance = (of_preds - of_target).square().sum((3, 4, 5)).mT  # [G, T, K]
    energy = products.diagonal(dim1=2, dim2=3)
    cross = products[..., :4, 4:].diagonal(dim1=2, dim2=3)
    torch.testing.assert_close(
        energy[..., :4] + energy[..., 4:] - 2 * cross, distance, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_frozen_frames_do_nothing(run, dtype, device):
    """Frames that do not depend on the script: spread 0 to the bit, however many scripts."""
    frozen = frames_of((1, 2, 3, 9, 35), dtype).to(device)
    if dtype != torch.uint8:
        frozen = frozen * 1.7 + 0.3
    for scripts in (2, 3, 7, 16):
        rows = torch.arange(scripts, device=device)[None]
        preds = frozen.expand(scripts, -1, -1, -1, -1)
        products, statistics = run(preds, preds, rows, rows)
        assert statistics.tolist() == [[[9 * 35, 9 * 35, 0]] * 2]
        assert (products == products[..., :1, :1]).all() or dtype != torch.uint8


@pytest.mark.parametrize("device", DEVICES)
def test_still_threshold_and_channels(run, device):
    """A pixel is still where every channel is; the threshold itself is still."""
    target = torch.zeros(2, 1, 2, 1, 4, dtype=torch.uint8, device=device)
    target[1, 0, 0, 0] = torch.tensor([0, 3, 4, 3], dtype=torch.uint8)
    target[1, 0, 1, 0] = torch.tensor([3, 3, 0, 255], dtype=torch.uint8)
    preds = torch.zeros_like(target)
    preds[1] = torch.tensor([2, 4, 6, 8], dtype=torch.uint8)
    rows = torch.tensor([[0, 1]], device=device)
    for still, pixels, spread in ((0, 0, 0), (2.999, 0, 0), (3, 2, 20), (3.9, 2, 20), (4, 3, 56)):
        _, statistics = run(preds, target, rows, rows, still=still)
        assert statistics.tolist() == [[[4, pixels, spread]]]
    assert run(preds, target, rows, rows, still=1e300)[1].tolist() == [[[4, 4, 120]]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_absent_fields_are_not_read(run, dtype, device):
    """Zeros, also where what is absent is NaN; without a reference no pixel is still."""
    arguments = to(case((3, 5, 20), dtype, groups=1), device)
    if dtype != torch.uint8:
        arguments["preds"][arguments["preds_rows"][0, 1]] = torch.nan
    present = torch.ones(1, 3, 2, dtype=torch.bool, device=device)
    present[0, 1, 0] = False
    products, statistics = run(**arguments, present=present)
    for i in range(6):
        assert (products[0, 0, i].eq(0).all() and products[0, 0, :, i].eq(0).all()) == (i % 3 == 1)
    others = [0, 2, 3, 5]
    assert not products[0, 0].isnan().any()
    assert not statistics[0, 0].isnan().any()
    if dtype != torch.uint8:
        assert products[0, 1, 1].isnan().all()
        assert not products[0, 1][[0, 2, 3, 4, 5]][:, [0, 2, 3, 4, 5]].isnan().any()
    alone = arguments | {n: arguments[n][:, [0, 2]] for n in ("preds_rows", "target_rows")}
    expected = run(**alone)
    torch.testing.assert_close(
        products[0, 0][others][:, others], expected[0][0, 0], rtol=1e-12, atol=0
    )
    torch.testing.assert_close(statistics[0, 0], expected[1][0, 0], rtol=1e-12, atol=0)
    nothing = arguments | {"target_rows": torch.full((1, 3), -1, device=device)}
    assert run(**nothing)[1].tolist() == [[[100, 0, 0]] * 2]
    nothing = arguments | {"preds_rows": torch.full((1, 3), 99, device=device)}
    assert run(**nothing)[1][..., 2].eq(0).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_nan_and_infinity(run, dtype, device):
    target = torch.zeros(2, 1, 1, 4, 40, dtype=dtype, device=device)
    preds = target.clone()
    target[0, ..., 1, 2] = torch.nan
    target[1, ..., 1, 3] = torch.inf
    target[:, ..., 1, 4] = torch.inf
    rows = torch.tensor([[0, 1]], device=device)
    products, statistics = run(preds, target, rows, rows, still=1e30)
    assert statistics.tolist() == [[[160, 157, 0]]]
    assert products[0, 0, 2].isnan().all()
    assert products[0, 0, 3, 3] == torch.inf
    preds[0, ..., 1, 2] = torch.nan  # where the reference is not still
    assert run(preds, target, rows, rows)[1].tolist() == [[[160, 157, 0]]]
    preds[1, ..., 3, 39] = torch.nan
    assert run(preds, target, rows, rows)[1][0, 0, 2].isnan()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scripts", [1, 2, 9])
def test_white_frames(scripts, device):
    """The largest sums there are, beyond 2^32 and what 32 bits of a kernel's parts hold."""
    channels, height, width = 3, 301, 400
    white = torch.full((1, 1, channels, 1, 1), 255, dtype=torch.uint8, device=device)
    white = white.expand(scripts, 1, channels, height, width)
    black = torch.zeros_like(white)
    rows = torch.arange(scripts, device=device)[None]
    products, statistics = response_products(white, white, rows, rows)
    assert products.unique().tolist() == [255**2 * channels * height * width]
    assert statistics.tolist() == [[[height * width, height * width, 0]]]
    half = torch.cat([white, black])[: scripts + 1]
    both = torch.tensor([[0] * scripts + [scripts]], device=device)
    _, statistics = response_products(half, black[:1], both, both * 0)
    spread = 255**2 * (scripts - scripts**2 / (scripts + 1)) * channels * height * width
    torch.testing.assert_close(statistics[0, 0, 2].item(), spread, rtol=1e-15, atol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_many_channels_of_white(device):
    """More channels than 32 bits of a kernel hold."""
    white = torch.full((2, 1, 1, 1, 1), 255, dtype=torch.uint8, device=device)
    white = white.expand(2, 1, 40000, 3, 41)
    rows = torch.tensor([[0, 1]], device=device)
    products, statistics = response_products(white, white, rows, rows)
    assert products.unique().tolist() == [255**2 * 40000 * 3 * 41]
    assert statistics.tolist() == [[[123, 123, 0]]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("groups", "steps", "shape"),
    [(0, 2, (3, 4, 4)), (2, 0, (3, 4, 4)), (2, 2, (3, 0, 4)), (2, 2, (3, 4, 0))],
)
def test_nothing_to_sum(run, groups, steps, shape, device):
    frames = torch.ones(2, steps, *shape, dtype=torch.uint8, device=device)
    rows = torch.zeros(groups, 2, dtype=torch.int64, device=device)
    products, statistics = run(frames, frames, rows, rows)
    assert products.shape == (groups, steps, 4, 4)
    assert statistics.shape == (groups, steps, 3)
    assert products.eq(0).all()
    pixels = shape[1] * shape[2]
    expected = torch.tensor([pixels, pixels, 0.0], device=device).double()
    assert (statistics == expected).all()
    nothing = run(frames[:0], frames[:0], rows, rows)
    assert nothing[0].eq(0).all()
    assert nothing[1][..., 1:].eq(0).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_large_frames(dtype, device):
    """More than one band of the CPU kernel and one chunk of the CUDA kernel."""
    arguments = case((2, 230, 301), dtype, groups=1, steps=1, scripts=2, reach=9)
    assert_right(response_products(**to(arguments, device)), arguments)
    window = {n: arguments[n][..., 1:, 3:-1] for n in ("preds", "target")}
    assert_right(response_products(**to(arguments | window, device)), arguments | window)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_group_does_not_see_the_others(dtype, device):
    arguments = to(case((3, 20, 33), dtype, groups=5, reach=2, absent=True), device)
    together = response_products(**arguments)
    for order in ([3], [0, 4, 1]):
        of_groups = ("preds_rows", "target_rows", "present", "shift")
        some = response_products(**arguments | {n: arguments[n][order] for n in of_groups})
        for one, other in zip(some, together, strict=True):
            torch.testing.assert_close(one, other[order], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_threads_do_not_change_a_bit(dtype):
    arguments = case((3, 150, 501), dtype, reach=2)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(response_products(**arguments))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_more_than_2_to_the_31_values(device):
    if device not in kernels().ops["response_products"]:
        pytest.skip(f"no {device} kernel; the torch function would take minutes")
    arguments = to(case((1, 512, 512), torch.uint8, groups=1, steps=1), device)
    rows = 2**13
    preds = arguments["preds"][:1].expand(rows, -1, -1, -1, -1)
    last = arguments | {"preds": preds, "preds_rows": torch.tensor([[rows - 1] * 3], device=device)}
    first = arguments | {"preds_rows": torch.zeros(1, 3, dtype=torch.int64, device=device)}
    torch.testing.assert_close(
        response_products(**last), response_products(**first), rtol=0, atol=0
    )


@pytest.mark.needs_cuda
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_two_runs_on_a_device_give_the_same_bits(dtype):
    arguments = to(case((3, 200, 201), dtype, reach=3, scripts=9), "cuda")
    first = response_products(**arguments)
    for _ in range(3):
        torch.testing.assert_close(response_products(**arguments), first, rtol=0, atol=0)


@pytest.mark.needs_cuda
def test_is_captured_by_a_graph():
    """No call synchronises with the host, or capture would fail."""
    arguments = to(case((3, 20, 33), torch.uint8, reach=2, absent=True), "cuda")
    response_products(**arguments)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = response_products(**arguments)
    arguments["preds"].copy_(frames_of(arguments["preds"].shape, torch.uint8))
    graph.replay()
    torch.cuda.synchronize()
    torch.testing.assert_close(result, response_products.__wrapped__(**arguments), rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [DTYPES[0], DTYPES[-1]], ids=str)
def test_opcheck(dtype, device):
    for layout in ("contiguous", "channels_last", "window"):
        for absent, reach in ((False, 0), (True, 1)):
            arguments = to(case((3, 5, 9), dtype, absent=absent, reach=reach), device)
            torch.library.opcheck(
                torch.ops.wmscore.response_products.default,
                (),
                with_layout(arguments, layout),
            )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_meta_knows_shapes_and_dtypes(dtype):
    frames = torch.empty(2, 3, 3, 2**14, 2**14, dtype=dtype, device="meta")
    rows = torch.empty(5, 4, dtype=torch.int64, device="meta")
    products, statistics = response_products(frames, frames[:1], rows, rows)
    assert products.shape == (5, 3, 8, 8)
    assert statistics.shape == (5, 3, 3)
    assert products.dtype == statistics.dtype == torch.float64


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_whole(dynamic, device):
    def energy(preds: Tensor, target: Tensor, rows: Tensor) -> Tensor:
        products, statistics = response_products(preds, target, rows, rows)
        return products.diagonal(dim1=2, dim2=3).sum(-1) / statistics[..., 0]

    torch.compiler.reset()
    compiled = torch.compile(energy, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for groups in (2, 3):
        arguments = to(case((3, 12, 13), torch.uint8, groups=groups), device)
        rows = arguments["target_rows"]
        given = (arguments["preds"], arguments["target"], rows)
        torch.testing.assert_close(compiled(*given), energy(*given), rtol=0, atol=0)


FRAMES = torch.zeros(2, 3, 3, 4, 5, dtype=torch.uint8)
ROWS = torch.zeros(2, 4, dtype=torch.int64)
PRESENT = torch.ones(2, 4, 3, dtype=torch.bool)
SHIFT = torch.zeros(2, 3, 2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"preds": FRAMES.numpy()}, TypeError, r"preds must be a torch\.Tensor, got ndarray"),
        ({"target": FRAMES.int()}, TypeError, r"target must .* uint8, .*, got torch\.int32"),
        ({"target": FRAMES.float()}, TypeError, r"one dtype, got torch\.uint8 and torch\.float32"),
        ({"preds": FRAMES[0]}, ValueError, r"preds must have shape \[B, T, C, H, W\], got \(3, 3"),
        ({"target": FRAMES[:, 1:]}, ValueError, r"same \[T, C, H, W\], got \(2, 3.*\(2, 2"),
        ({"target": FRAMES.to("meta")}, ValueError, "on one device, got cpu and meta"),
        (
            {n: FRAMES[..., :1, :1].expand(2, 3, 3, 2**16, 2**15) for n in ("preds", "target")},
            ValueError,
            r"fewer than 2\^31 pixels, got 65536 x 32768",
        ),
        (
            {n: FRAMES[:, :, :0] for n in ("preds", "target")},
            ValueError,
            r"a frame must have a channel, got shape \(2, 3, 0, 4, 5\)",
        ),
        ({"preds_rows": [0]}, TypeError, r"preds_rows must be a torch\.Tensor, got list"),
        ({"target_rows": ROWS.int()}, TypeError, r"target_rows must be int64, got torch\.int32"),
        ({"preds_rows": ROWS[0]}, ValueError, r"preds_rows must have shape \[G, K\].*got \(4,\)"),
        ({"preds_rows": ROWS[:, :0]}, ValueError, r"preds_rows .* K of 1\.\.16 .*got \(2, 0\)"),
        ({"target_rows": ROWS.repeat(1, 5)}, ValueError, r"target_rows .* got \(2, 20\)"),
        ({"target_rows": ROWS[:, 1:]}, ValueError, r"one shape \[G, K\], got \(2, 4\) and \(2, 3"),
        ({"preds_rows": ROWS.to("meta")}, ValueError, "preds_rows must be on cpu like preds"),
        ({"present": 1}, TypeError, r"present must be a torch\.Tensor or None, got int"),
        ({"present": PRESENT.int()}, TypeError, r"present must be bool, got torch\.int32"),
        (
            {"present": PRESENT[:, 1:]},
            ValueError,
            r"present must have shape \[G, K, T\] = \(2, 4, 3\), got \(2, 3, 3\)",
        ),
        ({"present": PRESENT.to("meta")}, ValueError, "present must be on cpu like preds"),
        ({"shift": SHIFT.float()}, TypeError, r"shift must be int64, got torch\.float32"),
        ({"shift": SHIFT[..., :1]}, ValueError, r"shift .* \[G, T, 2\] = \(2, 3, 2\), got \(2, 3"),
        ({"still": None}, TypeError, "still must be a number, got NoneType"),
        ({"still": -1}, ValueError, "still must be finite and at least 0, got -1"),
        ({"still": torch.nan}, ValueError, "still must be finite and at least 0, got nan"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(wrong, error, message):
    arguments = {"preds": FRAMES, "target": FRAMES, "preds_rows": ROWS, "target_rows": ROWS}
    with pytest.raises(error, match=message):
        response_products(**arguments | wrong)


def test_gradients_are_refused():
    frames = torch.zeros(1, 1, 1, 2, 2, requires_grad=True)
    rows = torch.zeros(1, 1, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="response_products has no gradient"):
        response_products(frames, frames, rows, rows)


# The CUDA kernel on the CPU: the text of the .cu file, one fibre to a thread.


def run_emulated(
    kernel: ctypes.CDLL,
    preds: Tensor,
    target: Tensor,
    preds_rows: Tensor,
    target_rows: Tensor,
    present: Tensor | None = None,
    shift: Tensor | None = None,
    still: float = 0.0,
) -> Result:
    (groups, scripts), steps = preds_rows.shape, preds.shape[1]
    task = Responses.of(preds, target, preds_rows, target_rows, present, shift, still)
    element = ELEMENTS.index(preds.dtype)
    kernel.wmscore_response_products_scratch.restype = ctypes.c_int64
    scratch = kernel.wmscore_response_products_scratch(element, task)
    partials = torch.full(
        (scratch // 8,), torch.nan, dtype=torch.float64
    )  # what is not set is seen
    products = torch.full((groups, steps, 2 * scripts, 2 * scripts), torch.nan).double()
    statistics = torch.full((groups, steps, 3), torch.nan).double()
    pointers = (ctypes.c_void_p(x.data_ptr()) for x in (partials, products, statistics))
    assert kernel.wmscore_response_products_cuda(element, task, *pointers, None) == 0
    return products, statistics


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scripts", [1, 2, 3, 4, 5, 9, 16])
def test_emulated_cuda_kernel(emulated, scripts, dtype):
    kernel = emulated("response_products")
    for shape in ((3, 3, 17), (1, 5, 64), (2, 4, 3)):
        arguments = case(
            shape, dtype, scripts=scripts, groups=2, absent=True, reach=2, still=scripts % 3 * 100
        )
        assert_right(run_emulated(kernel, **arguments), arguments)
    whole = case((3, 8, 33), dtype, scripts=scripts, groups=1)
    assert_right(run_emulated(kernel, **whole), whole)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["steps_first", "window", "unaligned", "without_first_step"])
def test_emulated_cuda_kernel_reads_strided_frames(emulated, layout, dtype):
    for width in (48, 19):
        arguments = case((3, 4, width), dtype, groups=1, reach=2, absent=True)
        strided = with_layout(arguments, layout)
        assert_right(run_emulated(emulated("response_products"), **strided), arguments)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_emulated_cuda_kernel_adds_chunks(emulated, dtype):
    arguments = case((1, 70, 131), dtype, scripts=2, groups=1, steps=1, reach=1)
    assert_right(run_emulated(emulated("response_products"), **arguments), arguments)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_emulated_cuda_kernel_knows_nan(emulated, dtype):
    test_nan_and_infinity(
        lambda *given, still=0.0: run_emulated(emulated("response_products"), *given, still=still),
        dtype,
        "cpu",
    )


def test_emulated_cuda_kernel_at_its_largest_sums(emulated):
    """More steps than sums of 32 bits can take."""
    white = torch.full((2, 1, 1, 1, 1), 255, dtype=torch.uint8)
    white = white.expand(2, 1, 1200, 2, 128)
    rows = torch.tensor([[0, 1, 0, 1]])
    kernel = emulated("response_products")
    products, _ = run_emulated(kernel, white.contiguous(), white.contiguous(), rows, rows)
    assert products.unique().tolist() == [255**2 * 1200 * 2 * 128]
