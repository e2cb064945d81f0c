"""The CUDA kernel of label_propagate on the CPU, and what a GPU alone shows.

The emulated kernel is the text of the .cu file, one fibre to a thread. test_label_propagate.py runs
the real one through the op.
"""

import ctypes
from collections.abc import Callable

import pytest
import torch
from emulation import ELEMENTS, Propagation
from test_label_propagate import (
    CASES,
    DTYPES,
    LAYOUTS,
    assert_right,
    assert_same,
    random_case,
)
from torch import Tensor

from wmscore.ops import label_propagate

# As CASES: the tiles of double are half as wide.
NARROW = (1, 2, 5, 2, 10, 16, 3, 5)
HELD = (1, 1, 64, 2, 5, 33, 2, 5)


@pytest.fixture
def emulated_propagate(emulated) -> Callable[..., tuple[Tensor, Tensor]]:
    """The emulated kernel, called as the op is."""
    library = emulated("label_propagate")
    library.wmscore_label_propagate_cuda_step.restype = ctypes.c_int64

    def run(
        query: Tensor,
        memory: Tensor,
        memory_labels: Tensor,
        radius: int,
        topk: int,
        temperature: float,
        usable: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        kind = torch.float64 if query.dtype == torch.float64 else torch.float32
        their_labels = memory_labels.to(kind)
        task = Propagation.of(query, memory, their_labels, radius, topk, temperature, usable)
        batch, memories, channels, height, width = memory.shape
        steps = [library.wmscore_label_propagate_cuda_step(task, x) for x in (False, True)]
        packed = [
            torch.full((count, height, channels, step), torch.nan, dtype=kind)
            for count, step in zip((batch, batch * memories), steps, strict=True)
        ]
        labels = torch.full((batch, memory_labels.shape[2], height, width), -9, dtype=kind)
        similarity = torch.full((batch, height, width), -9, dtype=kind)
        error = library.wmscore_label_propagate_cuda(
            ctypes.c_int32(ELEMENTS.index(query.dtype)),
            task,
            *(ctypes.c_void_p(x.data_ptr()) for x in (*packed, labels, similarity)),
            None,
        )
        assert error == 0
        return labels, similarity

    return run


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", [*CASES, NARROW, HELD], ids=str)
def test_emulated_kernel(emulated_propagate, case, dtype):
    *sizes, radius, topk = case
    inputs = random_case(*sizes, dtype)
    expected = label_propagate.__wrapped__(*(x.double() for x in inputs), radius, topk, 0.1)
    assert_right(emulated_propagate(*inputs, radius, topk, 0.1), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_emulated_kernel_reads_any_strides(emulated_propagate, layout, dtype):
    query, memory, labels = random_case(2, 2, 6, 3, 5, 11, dtype)
    expected = emulated_propagate(query, memory, labels, 2, 4, 0.1)
    assert_right(
        expected,
        label_propagate.__wrapped__(*(x.double() for x in (query, memory, labels)), 2, 4, 0.1),
    )
    strided = [LAYOUTS[layout](x) for x in (query, memory, labels)]
    assert_same(emulated_propagate(*strided, 2, 4, 0.1), expected)


@pytest.mark.parametrize("channels", [3, 70])
def test_emulated_kernel_leaves_out_frames_that_are_not_there(emulated_propagate, channels):
    query, memory, labels = random_case(3, 4, channels, 2, 8, 9, torch.float32)
    usable = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]]).bool()
    expected = label_propagate.__wrapped__(query, memory, labels, 2, 5, 0.1, usable)
    memory[~usable], labels[~usable] = torch.nan, torch.nan
    found = emulated_propagate(query, memory, labels, 2, 5, 0.1, usable)
    assert_right(found, expected)
    assert found[1][1].isnan().all()


@pytest.mark.parametrize("topk", [1, 3, 9, 14])
def test_emulated_kernel_takes_the_lower_index_of_equal_cosines(emulated_propagate, topk):
    memory = torch.tensor([0.6, 0.8, 0.3])[:, None, None].expand(1, 2, 3, 6, 37)
    places = torch.arange(2.0 * 6 * 37).reshape(1, 2, 1, 6, 37)
    found, _ = emulated_propagate(memory[:, 0], memory, places, 2, topk, 0.1)
    expected, _ = label_propagate.__wrapped__(memory[:, 0], memory, places, 2, topk, 0.1)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    assert found[0, 0, 5, 36] == places[0, :, 0, 3:, 34:].flatten()[:topk].mean()


@pytest.mark.parametrize("topk", [1, 5, 9])
def test_emulated_kernel_keeps_nan_where_it_is_seen(emulated_propagate, topk):
    query, memory, labels = random_case(1, 2, 4, 2, 9, 40, torch.float32)
    query[0, 3, 4, 13] = torch.nan
    memory[0, 1, 2, 5, 35] = torch.inf
    found, similarity = emulated_propagate(query, memory, labels, 2, topk, 0.1)
    seen = torch.zeros(1, 9, 40, dtype=torch.bool)
    seen[0, 3:8, 33:38] = seen[0, 4, 13] = True
    assert similarity.isnan().equal(seen)
    assert found.isnan().equal(seen[:, None].expand(-1, 2, -1, -1))


def test_emulated_kernel_carries_labels_that_agree_exactly(emulated_propagate):
    query, memory, labels = random_case(1, 3, 8, 3, 9, 9, torch.float32)
    labels = torch.zeros_like(labels)
    labels[:, :, 2] = 1
    query[0, :, 4, 4] = 0
    found, similarity = emulated_propagate(query, memory, labels, 3, 7, 0.3)
    assert found[:, 2].eq(1).all()
    assert found.sum() == 81
    assert similarity[0, 4, 4] == 0


def test_emulated_kernel_of_nothing(emulated_propagate):
    def carry(b: int, m: int, c: int, k: int, h: int, w: int) -> tuple[Tensor, Tensor]:
        shapes = (b, c, h, w), (b, m, c, h, w), (b, m, k, h, w)
        return emulated_propagate(*(torch.ones(shape) for shape in shapes), 2, 3, 0.1)

    assert carry(0, 2, 3, 4, 5, 6)[0].shape == (0, 4, 5, 6)
    assert carry(1, 2, 3, 4, 0, 6)[0].shape == (1, 4, 0, 6)
    torch.testing.assert_close(carry(1, 2, 3, 0, 5, 6)[1], torch.ones(1, 5, 6))
    assert all(x.isnan().all() for x in carry(1, 0, 3, 4, 5, 6))
    labels, similarity = carry(1, 2, 0, 4, 5, 6)
    assert labels.eq(1).all()
    assert similarity.eq(0).all()


@pytest.mark.needs_cuda
def test_runs_in_a_cuda_graph():
    inputs = [x.cuda() for x in random_case(*CASES[0][:6], torch.float32)]
    label_propagate(*inputs, 2, 5, 0.1)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = label_propagate(*inputs, 2, 5, 0.1)
    inputs[0].copy_(inputs[1][:, 1])
    graph.replay()
    assert_same(found, label_propagate(*inputs, 2, 5, 0.1))
