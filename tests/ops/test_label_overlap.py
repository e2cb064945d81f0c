"""label_overlap: torch function, CPU kernel and CUDA kernel against numpy, in one body."""

import ctypes
from collections.abc import Callable

import numpy as np
import pytest
import torch
from emulation import LabelCounts, LabelMaps
from torch import Tensor

from wmscore.ops import kernels, label_overlap

DTYPES = [torch.uint8, torch.int16, torch.int32, torch.int64]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]
Result = tuple[Tensor, ...]
# Around words and blocks of the CPU kernel, and groups, warps and slices of the CUDA kernel.
SIZES = [
    *((1, 1), (1, 2), (3, 5), (8, 8), (1, 65), (65, 1), (1, 64), (5, 13), (7, 19), (16, 16)),
    *((33, 31), (16, 260), (2, 4099), (90, 131)),
]
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "without_first_step": lambda x: torch.cat([x[:, :1] * 0 + 3, x], 1)[:, 1:],
    "steps_first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "columns_first": lambda x: x.mT.contiguous().mT,
    "cropped": lambda x: torch.nn.functional.pad(x, (1, 2, 1, 1), value=1)[..., 1:-1, 1:-2],
    "every_other_pixel": lambda x: torch.stack([x, x * 0 + 2], -1).flatten(-2)[..., ::2],
    "unaligned": lambda x: torch.cat([x.new_ones(1), x.flatten()])[1:].view(x.shape),
}


def random_labels(
    shape: tuple[int, ...], names: list[int], dtype: torch.dtype, cell: int
) -> Tensor:
    """Cells of one label each, moved from frame to frame, half of them background."""
    rows, steps, height, width = shape
    tall, wide = height // cell + 2, width // cell + 2
    chosen = torch.randint(0, 2 * len(names), (rows, steps, tall, wide))
    table = torch.tensor([0] * len(names) + names)
    big = table[chosen].repeat_interleave(cell, 2).repeat_interleave(cell, 3)
    y, x = torch.randint(0, cell, (2,)).tolist()
    return big[:, :, y : y + height, x : x + width].contiguous().to(dtype)


def case(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    *,
    reference: int = 5,
    generated: int = 4,
    cell: int = 6,
    shared: bool = False,
    index: bool = False,
) -> dict[str, Tensor | None]:
    """Labels with listed, unlisted and (where the type can) impossible values, and padded ids."""
    rows = shape[0]
    largest = 255 if dtype == torch.uint8 else 32767
    odd = [1, 9, largest] if dtype == torch.uint8 else [1, 9, 32767, -1, -32768]
    if dtype in (torch.int32, torch.int64):
        odd += [32768, 65536 + 1, 2**31 - 1]
    if dtype == torch.int64:
        odd += [2**32 + 9, -(2**40), 2**63 - 1, 2**16]
    some = (torch.randperm(min(largest, 3 * max(reference, generated) + 8))[:12] + 1).tolist()
    preds, target = (random_labels(shape, odd + some, dtype, cell) for _ in range(2))
    target[:, 1::2, shape[2] // 4 + 1 :] = 0  # so that generated pixels are far from their object
    target[:, 1::2, :, shape[3] // 4 + 1 :] = 0

    def lists(objects: int) -> Tensor:
        pool = torch.tensor([1, 9, largest, *some])
        ids = torch.zeros(rows, objects, dtype=torch.int64)
        for row in range(rows):
            chosen = pool[torch.randperm(len(pool))].unique()[: max(1, objects)]
            extra = torch.arange(300, 300 + objects)
            listed = torch.cat([chosen[torch.randperm(len(chosen))], extra])[:objects]
            ids[row] = listed[torch.randperm(objects)]
            ids[row, objects // 2 : objects // 2 + row % 2] = 0  # padding amid the others
        return ids

    target_ids = lists(reference)
    preds_ids = target_ids if shared else lists(generated)
    found: dict[str, Tensor | None] = {
        "preds": preds,
        "target": target,
        "preds_ids": preds_ids,
        "target_ids": target_ids,
    }
    if index:
        found["target"] = target[:2]
        found["target_index"] = torch.randint(0, min(2, rows), (rows,))
    return found


def by_numpy(
    preds: Tensor,
    target: Tensor,
    preds_ids: Tensor,
    target_ids: Tensor,
    target_index: Tensor | None = None,
) -> Result:
    """The definition, one object of one frame at a time."""
    p, t, p_ids, t_ids = (
        x.cpu().numpy().astype(np.int64) for x in (preds, target, preds_ids, target_ids)
    )
    (rows, steps, _, _), generated, reference = p.shape, p_ids.shape[1], t_ids.shape[1]
    common = min(generated, reference)
    joint = np.zeros((rows, steps, reference + 1, generated + 1), np.int32)
    target_shapes = np.zeros((rows, steps, reference, 6), np.int64)
    preds_shapes = np.zeros((rows, steps, generated, 6), np.int64)
    stray = np.zeros((rows, steps, common), np.int64)

    def masks(labels: np.ndarray, ids: np.ndarray) -> list[np.ndarray]:
        of_objects = [
            (labels == i) & (0 < i <= 32767) & (i not in ids[n + 1 :]) for n, i in enumerate(ids)
        ]
        return [~np.any([np.zeros_like(labels, bool), *of_objects], axis=0), *of_objects]

    def shape(mask: np.ndarray) -> list[int]:
        y, x = mask.nonzero()
        if not len(y):
            return [0] * 6
        return [y.sum(), x.sum(), y.min(), x.min(), y.max() + 1, x.max() + 1]

    for b in range(rows):
        s = b if target_index is None else int(target_index[b])
        if not 0 <= s < len(t):
            continue
        for k in range(steps):
            of_preds, of_target = masks(p[b, k], p_ids[b]), masks(t[s, k], t_ids[b])
            joint[b, k] = [[(i & j).sum() for j in of_preds] for i in of_target]
            target_shapes[b, k] = np.reshape([shape(m) for m in of_target[1:]], (-1, 6))
            preds_shapes[b, k] = np.reshape([shape(m) for m in of_preds[1:]], (-1, 6))
            for n in range(common):
                far = of_preds[n + 1].copy()
                if of_target[n + 1].any():
                    _, _, top, left, bottom, right = target_shapes[b, k, n]
                    tall, wide = bottom - top, right - left
                    far[max(0, top - tall) : bottom + tall, max(0, left - wide) : right + wide] = 0
                stray[b, k, n] = far.sum()
    return tuple(torch.from_numpy(x) for x in (joint, target_shapes, preds_shapes, stray))


def assert_equal(actual: Result, expected: Result) -> None:
    for one, other, name in zip(
        actual, expected, ("joint", "target_shapes", "preds_shapes", "stray"), strict=True
    ):
        torch.testing.assert_close(
            one.cpu(), other.cpu(), rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


def to(arguments: dict[str, Tensor | None], device: str) -> dict[str, Tensor | None]:
    return {name: None if x is None else x.to(device) for name, x in arguments.items()}


@pytest.fixture(params=["op", "torch"])
def run(request: pytest.FixtureRequest) -> Callable[..., Result]:
    return label_overlap if request.param == "op" else label_overlap.__wrapped__


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cell", [1, 6, 40])
def test_equals_numpy(run, cell, dtype, device):
    for height, width in SIZES:
        arguments = case((2, 2, height, width), dtype, cell=cell)
        assert_equal(run(**to(arguments, device)), by_numpy(**arguments))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("reference", "generated"), [(0, 0), (0, 3), (3, 0), (1, 1), (2, 7), (60, 60), (255, 255)]
)
def test_lists_of_any_length(run, reference, generated, dtype, device):
    arguments = case((3, 2, 20, 30), dtype, reference=reference, generated=generated, cell=3)
    assert_equal(run(**to(arguments, device)), by_numpy(**arguments))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides(run, layout, dtype, device):
    for height, width in ((16, 32), (9, 13)):
        arguments = to(case((2, 3, height, width), dtype), device)
        strided = arguments | {n: LAYOUTS[layout](arguments[n]) for n in ("preds", "target")}
        assert_equal(run(**strided), by_numpy(**arguments))
        ids = {n: torch.stack([arguments[n]] * 2, -1)[..., 0] for n in ("preds_ids", "target_ids")}
        assert_equal(run(**(arguments | ids)), by_numpy(**arguments))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_target_of_each_row(run, dtype, device):
    arguments = case((5, 2, 12, 15), dtype, index=True)
    assert_equal(run(**to(arguments, device)), by_numpy(**arguments))
    outside = arguments | {"target_index": torch.tensor([-1, 0, 2, 1, 2**40])}
    result = run(**to(outside, device))
    assert_equal(result, by_numpy(**outside))
    assert all(x[[0, 2, 4]].eq(0).all() for x in result)
    nothing = outside | {"target": arguments["target"][:0]}
    assert all(x.eq(0).all() for x in run(**to(nothing, device)))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(0, 2, 3, 3), (2, 0, 3, 3), (2, 2, 0, 3), (2, 2, 3, 0)], ids=str)
def test_nothing_to_count(run, shape, device):
    labels = torch.ones(shape, dtype=torch.uint8, device=device)
    ids = torch.ones(shape[0], 1, dtype=torch.int64, device=device)
    result = run(labels, labels, ids, ids.expand(-1, 2))
    rows, steps = shape[:2]
    assert [tuple(x.shape[:2]) for x in result] == [(rows, steps)] * 4
    assert [tuple(x.shape[2:]) for x in result] == [(3, 2), (2, 6), (1, 6), (1,)]
    assert all(x.eq(0).all() for x in result)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_of_equal_ids_the_last_has_the_pixels(run, dtype, device):
    labels = torch.full((1, 1, 4, 6), 7, dtype=dtype, device=device)
    ids = torch.tensor([[7, 3, 7, 0]], device=device)
    joint, target_shapes, preds_shapes, stray = run(labels, labels, ids, ids)
    assert joint.nonzero().tolist() == [[0, 0, 3, 3]]
    assert target_shapes[0, 0].tolist() == [[0] * 6, [0] * 6, [36, 60, 0, 0, 4, 6], [0] * 6]
    torch.testing.assert_close(preds_shapes, target_shapes, rtol=0, atol=0)
    assert stray.eq(0).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_label_in_turn(run, dtype, device):
    """Each id finds itself and no other, whatever the table that holds the ids."""
    labels = torch.arange(256, device=device).view(1, 1, 16, 16)
    if dtype != torch.uint8:
        labels = labels * 128 + 127  # up to 32767, and many of them equal in their last bits
    ids = labels.flatten()[1:][None].clone()
    labels = labels.to(dtype)
    joint, target_shapes, _, _ = run(labels, labels.flip(3), ids, ids)
    flipped = torch.arange(256, device=device).view(16, 16).flip(1).flatten()
    expected = torch.zeros(256, 256, dtype=torch.int32, device=device)
    expected[flipped, torch.arange(256, device=device)] = 1
    torch.testing.assert_close(joint[0, 0], expected, rtol=0, atol=0)
    assert target_shapes[0, 0, :, 4].sub(target_shapes[0, 0, :, 2]).eq(1).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_stray_pixels(run, dtype, device):
    """Boxes that tell at once, and boxes that need a look at the pixels."""
    target = torch.zeros(1, 1, 40, 70, dtype=dtype, device=device)
    target[0, 0, 12:14, 20:25] = 3  # grown to rows 10..15 and columns 15..29
    ids = torch.tensor([[3]], device=device)
    for places, expected in [
        ([(10, 15), (15, 29)], 0),
        ([(9, 15)], 1),
        ([(16, 15)], 1),
        ([(10, 14)], 1),
        ([(10, 30)], 1),
        ([(0, 0), (39, 69)], 2),
        ([(0, 0), (12, 22), (39, 69)], 2),
        ([(9, 20), (10, 20), (15, 20), (16, 20), (12, 14), (12, 15), (12, 29), (12, 30)], 4),
    ]:
        preds = torch.zeros_like(target)
        for y, x in places:
            preds[0, 0, y, x] = 3
        assert run(preds, target, ids, ids)[3].tolist() == [[[expected]]]
    full = torch.full_like(target, 3)
    assert run(full, target, ids, ids)[3].tolist() == [[[2800 - 6 * 15]]]
    assert run(full, target * 0, ids, ids)[3].tolist() == [[[2800]]]


@pytest.mark.parametrize("device", DEVICES)
def test_large_frames(device):
    """Sums beyond 32 bits, and more than one slice of the CUDA kernel."""
    if device not in kernels().ops["label_overlap"]:
        pytest.skip(f"no {device} kernel; the torch function would take gigabytes")
    height, width = 2160, 3840
    labels = torch.full((1, 1, height, width), 9, dtype=torch.uint8, device=device)
    labels[0, 0, -1, -1] = 0
    ids = torch.tensor([[4, 9]], device=device)
    joint, target_shapes, preds_shapes, stray = label_overlap(labels, labels, ids, ids)
    count = height * width - 1
    assert joint[0, 0].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, count]]
    sum_y = width * height * (height - 1) // 2 - (height - 1)
    sum_x = height * width * (width - 1) // 2 - (width - 1)
    expected = [[[[0] * 6, [sum_y, sum_x, 0, 0, height, width]]]]
    assert target_shapes.tolist() == preds_shapes.tolist() == expected
    assert stray.tolist() == [[[0, 0]]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("frames", [1, 3])
def test_frames_of_many_pixels(dtype, frames, device):
    arguments = case((1, frames, 300, 411), dtype, reference=20, generated=20, cell=17, shared=True)
    result = label_overlap(**to(arguments, device))
    assert_equal(result, by_numpy(**arguments))
    assert frames == 1 or result[3][:, 1].gt(0).any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_does_not_see_its_batch(dtype, device):
    arguments = to(case((5, 3, 20, 21), dtype), device)
    together = label_overlap(**arguments)
    for order in ([3], [0, 4, 1]):
        some = label_overlap(**{name: x[order] for name, x in arguments.items()})
        assert_equal(some, tuple(x[order] for x in together))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_threads_do_not_change_a_bit(dtype):
    arguments = case((3, 3, 150, 301), dtype)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(label_overlap(**arguments))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert_equal(result, results[0])


@pytest.mark.needs_cuda
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_two_runs_on_a_device_give_the_same_bits(dtype):
    arguments = to(case((2, 3, 200, 201), dtype, reference=40, generated=30), "cuda")
    first = label_overlap(**arguments)
    for _ in range(3):
        assert_equal(label_overlap(**arguments), first)


@pytest.mark.parametrize("device", DEVICES)
def test_more_than_2_to_the_31_labels(device):
    if device not in kernels().ops["label_overlap"]:
        pytest.skip(f"no {device} kernel; the torch function would take 50 GB")
    arguments = to(case((1, 1, 1024, 1024), torch.uint8, cell=200), device)
    many = 2**11 + 1
    expanded = {n: x.expand(many, *([-1] * (x.dim() - 1))) for n, x in arguments.items()}
    expected = label_overlap(**arguments)
    assert_equal(label_overlap(**expanded), tuple(x.expand(many, *x.shape[1:]) for x in expected))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [DTYPES[0], DTYPES[-1]], ids=str)
def test_opcheck(dtype, device):
    for index in (False, True):
        for layout in ("contiguous", "columns_first"):
            arguments = to(case((2, 2, 7, 11), dtype, index=index), device)
            strided = arguments | {n: LAYOUTS[layout](arguments[n]) for n in ("preds", "target")}
            torch.library.opcheck(torch.ops.wmscore.label_overlap.default, tuple(strided.values()))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_meta_knows_shapes_and_dtypes(dtype):
    labels = torch.empty(2, 3, 2**14, 2**14, dtype=dtype, device="meta")
    ids = torch.empty(2, 5, dtype=torch.int64, device="meta")
    index = torch.empty(2, dtype=torch.int64, device="meta")
    result = label_overlap(labels, labels[:1], ids[:, :4], ids, index)
    assert [tuple(x.shape) for x in result] == [
        *((2, 3, 6, 5), (2, 3, 5, 6), (2, 3, 4, 6), (2, 3, 4))
    ]
    assert [x.dtype for x in result] == [torch.int32, torch.int64, torch.int64, torch.int64]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_whole(dynamic, device):
    def shared(preds: Tensor, target: Tensor, ids: Tensor) -> Tensor:
        joint, _, _, stray = label_overlap(preds, target, ids, ids)
        return joint[..., 1:, 1:].sum((-2, -1)) + stray.sum(-1)

    torch.compiler.reset()
    compiled = torch.compile(shared, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for batch in (2, 3):
        arguments = to(case((batch, 2, 12, 13), torch.int16, shared=True), device)
        del arguments["target_ids"]
        torch.testing.assert_close(
            compiled(*arguments.values()), shared(*arguments.values()), rtol=0, atol=0
        )


LABELS = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
IDS = torch.ones(2, 4, dtype=torch.int64)
INDEX = torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"preds": LABELS.numpy()}, TypeError, r"preds must be a torch\.Tensor, got ndarray"),
        ({"target": LABELS.float()}, TypeError, r"target must .* uint8, int16.*got torch\.float32"),
        ({"preds": LABELS.to(torch.int8)}, TypeError, r"preds must .* got torch\.int8"),
        ({"target": LABELS.int()}, TypeError, r"one dtype, got torch\.uint8 and torch\.int32"),
        (
            {"preds": LABELS[0]},
            ValueError,
            r"preds must have shape \[B, T, H, W\], got \(3, 4, 5\)",
        ),
        ({"target": LABELS.to("meta")}, ValueError, "on one device, got cpu and meta"),
        ({"target": LABELS[:, 1:]}, ValueError, r"same \[T, H, W\], got \(2, 3, 4, 5\) and \(2, 2"),
        (
            {n: LABELS[:1, :1, :1, :1].expand(2, 1, 2**16, 2**15) for n in ("preds", "target")},
            ValueError,
            r"fewer than 2\^31 pixels .* got 65536 x 32768",
        ),
        (
            {n: LABELS[:1, :1, :1, :1].expand(2, 1, 1, 2**24 + 1) for n in ("preds", "target")},
            ValueError,
            r"sides of at most 2\^24, got 1 x 16777217",
        ),
        ({"preds_ids": [1]}, TypeError, r"preds_ids must be a torch\.Tensor, got list"),
        ({"target_ids": IDS.int()}, TypeError, r"target_ids must be int64, got torch\.int32"),
        ({"target_ids": IDS[0]}, ValueError, r"target_ids .* \[B, objects\] with B = 2.*\(4,\)"),
        ({"preds_ids": IDS[:1]}, ValueError, r"preds_ids .* with B = 2.*\(1, 4\)"),
        ({"preds_ids": IDS.repeat(1, 64)}, ValueError, "preds_ids must list at most 255.*got 256"),
        ({"target_ids": IDS.to("meta")}, ValueError, "target_ids must be on cpu like preds"),
        ({"target": LABELS[:1]}, ValueError, "without target_index, target must have as many rows"),
        ({"target_index": 0}, TypeError, r"target_index must be a torch\.Tensor or None, got int"),
        ({"target_index": INDEX.int()}, TypeError, r"target_index must be int64, got torch\.int32"),
        ({"target_index": INDEX[:1]}, ValueError, r"target_index .* \[B\] = \(2,\), got \(1,\)"),
        ({"target_index": INDEX.to("meta")}, ValueError, "target_index must be on cpu like preds"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(wrong, error, message):
    arguments = {"preds": LABELS, "target": LABELS, "preds_ids": IDS, "target_ids": IDS}
    with pytest.raises(error, match=message):
        label_overlap(**arguments | wrong)


@pytest.mark.needs_cuda
def test_is_captured_by_a_graph():
    """No call synchronises with the host, or capture would fail."""
    for shape in ((64, 2, 40, 41), (1, 2, 400, 401)):  # one slice for each frame, and several
        arguments = to(case(shape, torch.uint8, shared=True), "cuda")
        label_overlap(**arguments)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = label_overlap(**arguments)
        arguments["preds"].copy_(case(shape, torch.uint8)["preds"])
        graph.replay()
        torch.cuda.synchronize()
        assert_equal(result, label_overlap.__wrapped__(**arguments))


# The CUDA kernel on the CPU: the text of the .cu file, one fibre to a thread.


def run_emulated(
    kernel: ctypes.CDLL,
    preds: Tensor,
    target: Tensor,
    preds_ids: Tensor,
    target_ids: Tensor,
    target_index: Tensor | None = None,
) -> Result:
    rows, steps = preds.shape[:2]
    reference, generated = target_ids.shape[1], preds_ids.shape[1]
    maps = LabelMaps.of(preds, target, preds_ids, target_ids, target_index)
    kernel.wmscore_label_overlap_slices.restype = ctypes.c_int64
    kernel.wmscore_label_overlap_adds.restype = ctypes.c_bool
    slices = kernel.wmscore_label_overlap_slices(maps)
    first = 0 if slices > 1 else -1  # what is not set is seen
    joint = torch.full(
        (rows, steps, reference + 1, generated + 1),
        0 if kernel.wmscore_label_overlap_adds(maps) else -1,
        dtype=torch.int32,
    )
    target_shapes = torch.full((rows, steps, reference, 6), -1)
    preds_shapes = torch.full((rows, steps, generated, 6), -1)
    stray = torch.full((rows, steps, min(reference, generated)), first)
    extents = torch.zeros(rows * steps if slices > 1 else 0, reference + generated, 7).long()
    results = (joint, target_shapes, preds_shapes, stray)
    error = kernel.wmscore_label_overlap_cuda(
        maps,
        ctypes.c_void_p(extents.data_ptr()),
        LabelCounts(*(x.data_ptr() for x in results)),
        None,
    )
    assert error == 0
    return results


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cell", [1, 6, 40])
def test_emulated_cuda_kernel(emulated, cell, dtype):
    kernel = emulated("label_overlap")
    for height, width in [(1, 1), (5, 13), (7, 19), (16, 16), (33, 31), (2, 4099), (40, 64)]:
        arguments = case((1, 2, height, width), dtype, cell=cell)
        assert_equal(run_emulated(kernel, **arguments), by_numpy(**arguments))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["without_first_step", "steps_first", "unaligned"])
def test_emulated_cuda_kernel_reads_strided_maps(emulated, layout, dtype):
    arguments = case((3, 2, 9, 32), dtype, index=True)
    strided = arguments | {n: LAYOUTS[layout](arguments[n]) for n in ("preds", "target")}
    assert_equal(run_emulated(emulated("label_overlap"), **strided), by_numpy(**arguments))
    outside = strided | {"target_index": torch.tensor([-1, 2, 1])}
    assert_equal(run_emulated(emulated("label_overlap"), **outside), by_numpy(**outside))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("reference", "generated"), [(0, 0), (0, 3), (3, 0), (60, 60), (130, 120), (255, 255)]
)
def test_emulated_cuda_kernel_with_lists_of_any_length(emulated, reference, generated, dtype):
    arguments = case((1, 2, 20, 30), dtype, reference=reference, generated=generated, cell=3)
    assert_equal(run_emulated(emulated("label_overlap"), **arguments), by_numpy(**arguments))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64], ids=str)
@pytest.mark.parametrize("objects", [6, 255])
def test_emulated_cuda_kernel_adds_slices(emulated, objects, dtype):
    kernel = emulated("label_overlap")
    arguments = case(
        (1, 2, 150, 231), dtype, reference=objects, generated=objects, cell=11, shared=True
    )
    result = run_emulated(kernel, **arguments)
    assert_equal(result, by_numpy(**arguments))
    assert result[3].gt(0).any()
    outside = arguments | {"target_index": torch.tensor([1])}
    assert_equal(run_emulated(kernel, **outside), by_numpy(**outside))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_emulated_cuda_kernel_finds_every_label(emulated, dtype):
    """Ids that meet in the table of ids, and equal ones."""
    labels = (torch.arange(256).view(1, 1, 16, 16) * (1 if dtype == torch.uint8 else 128)).to(dtype)
    ids = labels.flatten()[1:][None].long()
    ids[0, 7] = ids[0, 100]
    arguments = {"preds": labels, "target": labels.flip(2), "preds_ids": ids, "target_ids": ids}
    arguments["target"] = arguments["target"].contiguous()
    assert_equal(run_emulated(emulated("label_overlap"), **arguments), by_numpy(**arguments))


def test_emulated_cuda_kernel_at_its_largest_sums(emulated):
    """Slices whose sums of coordinates just fit 32 bits."""
    kernel = emulated("label_overlap")
    width = 2**20
    labels = torch.full((1, 1, 1, width), 5, dtype=torch.uint8)
    ids = torch.tensor([[5]])
    maps = LabelMaps.of(labels.expand(2**11, 1, 1, width), labels, ids, ids, None)
    kernel.wmscore_label_overlap_slices.restype = ctypes.c_int64
    assert kernel.wmscore_label_overlap_slices(maps) > width / (2**32 / width)
    _, target_shapes, preds_shapes, stray = run_emulated(kernel, labels, labels, ids, ids)
    expected = [[[[0, width * (width - 1) // 2, 0, 0, 1, width]]]]
    assert target_shapes.tolist() == preds_shapes.tolist() == expected
    assert stray.tolist() == [[[0]]]
