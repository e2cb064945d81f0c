"""The CUDA kernel of label_pool on the CPU, and what a GPU alone shows.

The emulated kernel is the text of the .cu file, one fibre to a thread. test_label_pool.py runs the
real one through the op.
"""

import ctypes
from collections.abc import Callable

import pytest
import torch
from emulation import ELEMENTS, Pool
from test_label_pool import (
    DTYPES,
    IDS,
    LABEL_DTYPES,
    LAYOUTS,
    SIZES,
    assert_right,
    random_features,
    random_labels,
)
from torch import Tensor

from wmscore.ops import label_pool


@pytest.fixture
def emulated_pool(emulated) -> Callable[..., tuple[Tensor, Tensor]]:
    """The emulated kernel, called as the op is."""
    library = emulated("label_pool")
    library.wmscore_label_pool_parts.restype = ctypes.c_int64

    def run(features: Tensor, labels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        pool = Pool.of(features, labels, ids)
        parts = library.wmscore_label_pool_parts(pool)
        frames, count = ids.shape
        channels = features.shape[1]
        kind = torch.float64 if features.dtype == torch.float64 else torch.float32
        sums = torch.full((frames, parts, count, channels), torch.nan, dtype=torch.float64)
        counts = torch.full((frames, parts, count), -1, dtype=torch.int64)
        means = torch.full((frames, count, channels), -1, dtype=kind)
        pixels = torch.full((frames, count), -1, dtype=torch.int64)
        error = library.wmscore_label_pool_cuda(
            ctypes.c_int32(ELEMENTS.index(features.dtype)),
            pool,
            ctypes.c_int64(frames),
            *(ctypes.c_void_p(x.data_ptr()) for x in (sums, counts, means, pixels)),
            None,
        )
        assert error == 0
        return means, pixels

    return run


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "every_other_column"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_emulated_kernel(emulated_pool, size, layout, dtype):
    channels, cells, pixels = size
    features = LAYOUTS[layout](random_features((3, channels, *cells), dtype))
    labels = random_labels(3, pixels)
    expected = label_pool.__wrapped__(features.double(), labels, IDS)
    assert_right(emulated_pool(features, labels, IDS), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("size", [SIZES[2], SIZES[8]], ids=str)
def test_emulated_kernel_of_each_type(emulated_pool, size, layout, dtype):
    test_emulated_kernel(emulated_pool, size, layout, dtype)


@pytest.mark.parametrize("label_dtype", LABEL_DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_emulated_kernel_reads_labels_of_any_kind(emulated_pool, layout, label_dtype):
    features = random_features((2, 3, 20, 35), torch.uint8)
    labels = LAYOUTS[layout](random_labels(2, (20, 35), label_dtype)[:, None])[:, 0]
    ids = torch.tensor([[3, 200, 1]]).expand(2, -1)
    expected = label_pool.__wrapped__(features, labels, ids)
    assert_right(emulated_pool(features, labels, ids), expected)


@pytest.mark.parametrize("channels", [1, 33])
def test_emulated_kernel_has_several_parts_of_a_frame(emulated_pool, channels):
    """And of large maps of cells; results do not depend on other frames."""
    for cells, pixels in (((70, 61), (70, 61)), ((40, 30), (80, 45))):
        features = random_features((2, channels, *cells), torch.float32)
        labels = random_labels(2, pixels, torch.int32, blob=9)
        ids = torch.tensor([[1, 4, 2]]).expand(2, -1)
        found = emulated_pool(features, labels, ids)
        assert_right(found, label_pool.__wrapped__(features.double(), labels, ids))
        alone = emulated_pool(features[1:], labels[1:], ids[1:])
        torch.testing.assert_close(
            alone, tuple(x[1:] for x in found), rtol=0, atol=0, equal_nan=True
        )


@pytest.mark.parametrize("cells", [(30, 40), (6, 10)], ids=str)
def test_emulated_kernel_has_as_many_ids_as_there_may_be(emulated_pool, cells):
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(-(2**62), 2**62, (1, 255), generator=generator)
    ids[0, 7], ids[0, 9] = ids[0, 8], 0
    labels = ids[0, torch.randint(0, 255, (1, 30, 40), generator=generator)]
    features = random_features((1, 2, *cells), torch.float32)
    expected = label_pool.__wrapped__(features, labels, ids)
    assert_right(emulated_pool(features, labels, ids), expected)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("cells", [(8, 40), (4, 20)], ids=str)
def test_emulated_kernel_keeps_nan_in_its_object(emulated_pool, cells, layout):
    labels = torch.ones(1, 8, 40, dtype=torch.uint8)
    labels[0, 2:4, 30:32] = 3
    features = random_features((1, 20, *cells), torch.float32)
    features[0, 4, cells[0] // 4, cells[1] * 3 // 4] = torch.nan
    means, _ = emulated_pool(LAYOUTS[layout](features), labels, torch.tensor([[1, 3]]))
    assert means.isnan().nonzero().tolist() == [[0, 1, 4]]


def test_emulated_kernel_of_nothing(emulated_pool):
    for frames, count in ((0, 2), (2, 0), (2, 1)):
        for cells, pixels in (((4, 4), (0, 4)), ((0, 4), (0, 4)), ((2, 2), (3, 0))):
            features = torch.ones(frames, 3, *cells)
            labels = torch.ones(frames, *pixels, dtype=torch.int32)
            means, counts = emulated_pool(features, labels, torch.ones(frames, count).long())
            assert means.isnan().all()
            assert counts.eq(0).all()
    means, counts = emulated_pool(
        torch.ones(1, 0, 2, 2), torch.ones(1, 2, 2).int(), torch.ones(1, 1).long()
    )
    assert counts.tolist() == [[4]]


@pytest.mark.needs_cuda
@pytest.mark.parametrize("size", [SIZES[0], SIZES[2], SIZES[3]], ids=str)
def test_runs_in_a_cuda_graph(size):
    channels, cells, pixels = size
    features = random_features((3, channels, *cells), torch.float32).cuda()
    labels, ids = random_labels(3, pixels).cuda(), IDS.cuda()
    expected = label_pool(features, labels, ids)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = label_pool(features, labels, ids)
    features += 1
    graph.replay()
    torch.testing.assert_close(found[0], expected[0] + 1, equal_nan=True)
    assert found[1].equal(expected[1])
