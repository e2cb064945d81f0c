"""label_present: torch function, CPU kernel and CUDA kernel against numpy, in one body."""

import ctypes
import importlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from emulation import LabelMap, PresentLabels
from torch import Tensor

from wmscore.ops import kernels, label_present

LABEL_IDS = importlib.import_module("wmscore.functional.label_ids")
LARGEST = 32767
DTYPES = [torch.uint8, torch.int16, torch.int32, torch.int64]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]
Result = tuple[Tensor, Tensor]
# Around words and blocks of the CPU kernel, and groups, batches and slices of the CUDA kernel.
SIZES = [
    *((1, 1), (1, 2), (3, 5), (8, 8), (1, 65), (65, 1), (1, 64), (5, 13), (7, 19), (16, 16)),
    *((33, 31), (16, 260), (2, 4099), (90, 131), (101, 331)),
]
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "without_first_step": lambda x: torch.cat([x[:, :1] * 0 + 3, x], 1)[:, 1:],
    "steps_first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "columns_first": lambda x: x.mT.contiguous().mT,
    "cropped": lambda x: torch.nn.functional.pad(x, (1, 2, 1, 1), value=1)[..., 1:-1, 1:-2],
    "every_other_pixel": lambda x: torch.stack([x, x * 0 + 2], -1).flatten(-2)[..., ::2],
    "unaligned": lambda x: torch.cat([x.new_full((1,), 2), x.flatten()])[1:].view(x.shape),
}
IN_PLACE = ["contiguous", "without_first_step", "steps_first", "unaligned"]


def values_of(dtype: torch.dtype) -> Tensor:
    """Ids, and labels that the type can hold and that are none."""
    values = [4, 5, 17, 31, 32, 33, 63, 64, 127, 128, 254, 255]
    if dtype != torch.uint8:
        values += [256, 8191, 32766, 32767, -1, -2, -32768]
    if dtype in (torch.int32, torch.int64):
        values += [32768, 65536 + 5, 2**31 - 1, -(2**31)]
    if dtype == torch.int64:
        values += [2**32 + 5, 2**32, -(2**40), 2**63 - 1, -(2**63), 5 - 2**63]
    return torch.tensor(values)


def case(shape: tuple[int, ...], dtype: torch.dtype, *, cell: int = 6) -> Tensor:
    """Cells of one label each, half of them background; each row has few of the values."""
    _, steps, height, width = shape
    tall, wide = height // cell + 2, width // cell + 2
    values = values_of(dtype)
    labels = torch.zeros(shape, dtype=torch.int64)
    for row in labels:
        some = values[torch.randperm(len(values))[: int(torch.randint(0, 6, ()))]]
        table = torch.cat([torch.zeros(1 + len(some), dtype=torch.int64), some])
        chosen = table[torch.randint(0, len(table), (steps, tall, wide))]
        big = chosen.repeat_interleave(cell, 1).repeat_interleave(cell, 2)
        y, x = torch.randint(0, cell, (2,)).tolist()
        row.copy_(big[:, y : y + height, x : x + width])
    return labels.to(dtype)


def by_numpy(labels: Tensor, valid: Tensor | None = None) -> Result:
    array = labels.cpu().numpy().astype(np.int64)
    present = torch.zeros(len(array), LARGEST + 1, dtype=torch.bool)
    extremes = torch.zeros(len(array), 2, dtype=torch.int64)
    for b, row in enumerate(array):
        met = np.unique(row if valid is None else row[valid[b].cpu().numpy()])
        for label in met.tolist():
            if 1 <= label <= LARGEST:
                present[b, label] = True
        extremes[b] = torch.tensor([min([0, *met.tolist()]), max([0, *met.tolist()])])
    return present, extremes


def assert_equal(actual: Result, expected: Result) -> None:
    for one, other, name in zip(actual, expected, ("present", "extremes"), strict=True):
        torch.testing.assert_close(
            one.cpu(), other.cpu(), rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


def in_pieces(labels: Tensor, valid: Tensor | None = None) -> Result:
    """What `wmscore.functional` runs where there is no kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LABEL_IDS, "has_kernel", lambda name, device: False)
        patch.setattr(LABEL_IDS, "label_present", label_present.__wrapped__)
        return LABEL_IDS.present_ids(labels, valid)


RUNS = {"op": label_present, "torch": label_present.__wrapped__, "pieces": in_pieces}


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Callable[..., Result]:
    return RUNS[request.param]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cell", [1, 6, 40])
def test_equals_numpy(run, cell, dtype, device):
    for height, width in SIZES:
        labels = case((3, 2, height, width), dtype, cell=cell)
        valid = torch.rand(3, 2) < 0.5
        assert_equal(run(labels.to(device)), by_numpy(labels))
        assert_equal(run(labels.to(device), valid.to(device)), by_numpy(labels, valid))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_noise_of_all_labels(run, dtype, device):
    low, high = (0, 256) if dtype == torch.uint8 else (-32768, 32768)
    labels = torch.randint(low, high, (2, 3, 70, 90)).to(dtype)
    assert_equal(run(labels.to(device)), by_numpy(labels))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_label_in_turn(run, dtype, device):
    """Each label alone marks itself and nothing else, wherever it lies."""
    values = torch.cat([values_of(dtype), torch.arange(1, 20)])
    labels = torch.zeros(len(values), 1, 3, 51, dtype=torch.int64)
    places = torch.randint(0, 153, (len(values), 1))
    labels.view(len(values), -1).scatter_(1, places, values[:, None])
    present, extremes = run(labels.to(dtype).to(device))
    is_id = (values >= 1) & (values <= LARGEST)
    assert present.nonzero().tolist() == [[i, int(values[i])] for i in is_id.nonzero()[:, 0]]
    assert extremes.tolist() == [[min(0, v), max(0, v)] for v in values.tolist()]


def alike(dtype: torch.dtype) -> Tensor:
    """Two labels in turn, long runs of each; they are equal in some of their bytes."""
    pairs = {
        torch.uint8: [(5, 0x15), (0, 5), (255, 254)],
        torch.int16: [(5, 0x0505), (0x0505, 5), (-1, 255), (0, 256)],
        torch.int32: [(5, 0x00050005), (5, 0x05050505), (5, 0x10005), (-1, 0xFFFF)],
        torch.int64: [(5, 0x500000005), (5, 0x100000005), (0x100000005, 5), (-1, 0xFFFFFFFF)],
    }[dtype]
    rows = [torch.tensor(pair).repeat_interleave(8192) for pair in pairs]
    return torch.stack(rows).view(len(pairs), 1, 128, 128).to(dtype)


def lone(dtype: torch.dtype) -> Tensor:
    """One label, but for a pixel of another, at each place of a word or group."""
    labels = torch.full((64, 16384), 7, dtype=dtype)
    rows = torch.arange(64)
    labels[rows, 8192 + rows] = 200
    return labels.view(64, 1, 128, 128)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_labels_that_are_alike(run, dtype, device):
    for labels in (alike(dtype), lone(dtype)):
        assert_equal(run(labels.to(device)), by_numpy(labels))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides(run, layout, dtype, device):
    for height, width in ((16, 32), (9, 13)):
        labels = case((3, 4, height, width), dtype)
        valid = torch.rand(4, 3) < 0.5
        strided = LAYOUTS[layout](labels.to(device))
        assert_equal(run(strided, valid.to(device).T), by_numpy(labels, valid.T))
        expanded = strided[:1].expand(3, -1, -1, -1)
        assert_equal(run(expanded), by_numpy(labels[:1].expand(3, -1, -1, -1)))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_steps_that_are_not_valid_are_not_looked_at(run, dtype, device):
    labels = torch.zeros(2, 3, 4, 5, dtype=dtype, device=device)
    labels[0, 1], labels[0, 2], labels[1] = 7, 9, 200
    valid = torch.tensor([[True, False, True], [False, False, False]], device=device)
    present, extremes = run(labels, valid)
    assert present.nonzero().tolist() == [[0, 9]]
    assert extremes.tolist() == [[0, 9], [0, 0]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(0, 2, 3, 3), (2, 0, 3, 3), (2, 2, 0, 3), (2, 2, 3, 0)], ids=str)
def test_nothing_to_see(shape, device):
    labels = torch.ones(shape, dtype=torch.uint8, device=device)
    valid = torch.ones(shape[:2], dtype=torch.bool, device=device)
    for function in (label_present, label_present.__wrapped__):
        for present, extremes in (function(labels), function(labels, valid)):
            assert present.shape == (shape[0], LARGEST + 1)
            assert extremes.shape == (shape[0], 2)
            assert not present.any()
            assert extremes.eq(0).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_does_not_see_its_batch(dtype, device):
    labels = case((5, 3, 20, 21), dtype).to(device)
    together = label_present(labels)
    for order in ([3], [0, 4, 1]):
        assert_equal(label_present(labels[order]), tuple(x[order] for x in together))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", [1, 3])
def test_threads_do_not_change_a_bit(rows, dtype):
    labels = case((rows, 7, 500, 401), dtype, cell=3)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3, 8):
            torch.set_num_threads(count)
            assert_equal(label_present(labels), by_numpy(labels))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("device", DEVICES)
def test_more_than_2_to_the_31_labels(device):
    if device not in kernels().ops["label_present"]:
        pytest.skip(f"no {device} kernel; the torch function would take 50 GB")
    labels = case((1, 1, 1024, 1024), torch.uint8, cell=200).to(device)
    many = 2**11 + 1
    present, extremes = label_present(labels)
    for expanded in (labels.expand(1, many, -1, -1), labels.expand(many, -1, -1, -1)):
        rows = len(expanded)
        result = label_present(expanded)
        assert_equal(result, (present.expand(rows, -1), extremes.expand(rows, -1)))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [DTYPES[0], DTYPES[-1]], ids=str)
def test_opcheck(dtype, device):
    labels = case((2, 2, 7, 11), dtype).to(device)
    valid = torch.tensor([[True, False], [True, True]], device=device)
    for layout in ("contiguous", "columns_first"):
        for mask in (None, valid):
            torch.library.opcheck(
                torch.ops.wmscore.label_present.default, (LAYOUTS[layout](labels), mask)
            )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_meta_knows_shapes_and_dtypes(dtype):
    labels = torch.empty(2, 3, 2**14, 2**14, dtype=dtype, device="meta")
    present, extremes = label_present(labels, torch.empty(2, 3, dtype=torch.bool, device="meta"))
    assert (present.shape, present.dtype) == ((2, LARGEST + 1), torch.bool)
    assert (extremes.shape, extremes.dtype) == ((2, 2), torch.int64)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_whole(dynamic, device):
    def objects(labels: Tensor, valid: Tensor) -> Tensor:
        present, extremes = label_present(labels, valid)
        return present.sum(1) + extremes.sum(1)

    torch.compiler.reset()
    compiled = torch.compile(objects, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for batch in (2, 3):
        labels = case((batch, 2, 12, 13), torch.int16).to(device)
        valid = torch.rand(batch, 2, device=device) < 0.7
        torch.testing.assert_close(compiled(labels, valid), objects(labels, valid), rtol=0, atol=0)


LABELS = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
VALID = torch.ones(2, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"labels": LABELS.numpy()}, TypeError, r"labels must be a torch\.Tensor, got ndarray"),
        ({"labels": LABELS.float()}, TypeError, r"labels must .* uint8, int16.*torch\.float32"),
        ({"labels": LABELS.to(torch.int8)}, TypeError, r"labels must .* got torch\.int8"),
        ({"labels": LABELS[0]}, ValueError, r"shape \[B, T, H, W\], got \(3, 4, 5\)"),
        ({"valid": [True]}, TypeError, r"valid must be a torch\.Tensor or None, got list"),
        ({"valid": VALID.int()}, TypeError, r"valid must be bool, got torch\.int32"),
        ({"valid": VALID[:1]}, ValueError, r"valid .* \[B, T\] = \(2, 3\), got \(1, 3\)"),
        ({"valid": VALID.to("meta")}, ValueError, "valid must be on cpu like labels, got meta"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(wrong, error, message):
    with pytest.raises(error, match=message):
        label_present(**{"labels": LABELS, "valid": VALID} | wrong)


@pytest.mark.needs_cuda
def test_is_captured_by_a_graph():
    """No call synchronises with the host, or capture would fail."""
    for shape in ((64, 2, 40, 41), (1, 2, 400, 401)):  # several frames of a block, and slices
        labels = case(shape, torch.int16).cuda()
        label_present(labels)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = label_present(labels)
        labels.copy_(case(shape, torch.int16))
        graph.replay()
        torch.cuda.synchronize()
        assert_equal(result, by_numpy(labels))


# The CUDA kernel on the CPU: the text of the .cu file, one fibre to a thread.


def run_emulated(kernel: ctypes.CDLL, labels: Tensor, valid: Tensor | None = None) -> Result:
    present = torch.zeros(len(labels), LARGEST + 1, dtype=torch.bool)
    extremes = torch.zeros(len(labels), 2, dtype=torch.int64)
    error = kernel.wmscore_label_present_cuda(
        LabelMap.of(labels, valid),
        PresentLabels(present.data_ptr(), extremes.data_ptr()),
        None,
    )
    assert error == 0
    return present, extremes


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cell", [1, 6, 40])
def test_emulated_cuda_kernel(emulated, cell, dtype):
    kernel = emulated("label_present")
    for height, width in [(1, 1), (5, 13), (7, 19), (16, 16), (33, 31), (2, 4099), (40, 64)]:
        labels = case((2, 2, height, width), dtype, cell=cell)
        assert_equal(run_emulated(kernel, labels), by_numpy(labels))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", IN_PLACE)
def test_emulated_cuda_kernel_reads_strided_maps(emulated, layout, dtype):
    for height, width in ((9, 32), (9, 13)):
        labels = case((3, 4, height, width), dtype)
        valid = torch.rand(3, 4) < 0.5
        strided = LAYOUTS[layout](labels)
        assert_equal(run_emulated(emulated("label_present"), strided), by_numpy(labels))
        assert_equal(
            run_emulated(emulated("label_present"), strided, valid), by_numpy(labels, valid)
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_emulated_cuda_kernel_with_labels_that_are_alike(emulated, dtype):
    for labels in (alike(dtype), lone(dtype)[:16]):
        assert_equal(run_emulated(emulated("label_present"), labels), by_numpy(labels))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64], ids=str)
def test_emulated_cuda_kernel_cuts_large_frames(emulated, dtype):
    labels = case((2, 1, 150, 451), dtype, cell=11)
    labels[0, 0, -1, -1] = 77
    assert_equal(run_emulated(emulated("label_present"), labels), by_numpy(labels))


def test_emulated_cuda_kernel_joins_small_frames(emulated):
    """Two steps to a block, the last block of a row with one."""
    labels = torch.zeros(2, 1025, 2, 3, dtype=torch.int16)
    labels[0, ::5, 1, 2] = (torch.arange(205) * 150).short()
    labels[1, -1] = 99
    valid = torch.rand(2, 1025) < 0.5
    valid[1, -1] = True
    expected = by_numpy(labels, valid)
    assert 50 < expected[0][0].sum() < 170
    assert_equal(run_emulated(emulated("label_present"), labels, valid), expected)
