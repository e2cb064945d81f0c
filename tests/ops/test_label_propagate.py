"""label_propagate: torch function and kernels against oracles, in one body."""

import itertools
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from wmscore.ops import kernels, label_propagate

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]
# From a tensor [..., C, h, w] to one of the same shape and values but other strides.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.movedim(-3, -1).contiguous().movedim(-1, -3),
    "columns_first": lambda x: x.mT.contiguous().mT,
    "every_other_column": lambda x: torch.stack([x, x], dim=-1).flatten(-2)[..., ::2],
    "cropped": lambda x: torch.nn.functional.pad(x, (1, 2, 1, 1))[..., 1:-1, 1:-2],
    "batch_last": lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0),
}
# batch, memories, channels, labels, height, width, radius, topk: squares cut off everywhere, tiles
# of the kernels with and without a rest, more neighbours than positions, patches of a transformer,
# radii that need several passes.
CASES = [
    *((2, 3, 8, 4, 9, 7, 2, 5), (1, 1, 33, 2, 14, 13, 12, 10), (2, 2, 5, 1, 3, 20, 3, 16)),
    *((1, 2, 3, 3, 17, 40, 1, 3), (1, 1, 4, 2, 2, 2, 30, 16), (3, 1, 2, 5, 1, 33, 4, 1)),
    *((1, 1, 130, 9, 6, 35, 5, 4), (1, 5, 16, 40, 11, 1, 0, 5), (1, 2, 7, 3, 20, 68, 6, 5)),
]


def random_case(
    batch: int,
    memories: int,
    channels: int,
    labels: int,
    height: int,
    width: int,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    size = height, width
    query, memory = normal(batch, channels, *size), normal(batch, memories, channels, *size)
    soft = normal(batch, memories, labels, *size).softmax(2)
    return (
        query.to(dtype),
        memory.to(dtype),
        soft.to(torch.float64 if dtype == torch.float64 else torch.float32),
    )


def by_numpy(
    query: Tensor,
    memory: Tensor,
    memory_labels: Tensor,
    radius: int,
    topk: int,
    temperature: float,
    use_memory: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The definition in float64, one position at a time."""
    q, m, labels = (x.detach().cpu().double().numpy() for x in (query, memory, memory_labels))

    def unit(vector: np.ndarray) -> np.ndarray:
        length = np.sqrt((vector**2).sum())
        return vector / length if length else vector

    batch, frames, classes, height, width = labels.shape
    mixed = np.full((batch, classes, height, width), np.nan)
    similarity = np.full((batch, height, width), np.nan)
    for b, y, x in itertools.product(range(batch), range(height), range(width)):
        u = unit(q[b, :, y, x])
        near = [
            (-float(unit(m[b, i, :, v, w]) @ u), i, v, w)
            for i in range(frames)
            if use_memory is None or use_memory[b, i]
            for v in range(max(0, y - radius), min(height, y + radius + 1))
            for w in range(max(0, x - radius), min(width, x + radius + 1))
        ]
        near = sorted(near)[:topk]  # of equal ones the lower index
        if not near:
            continue
        cosines = -np.array([n[0] for n in near])
        weights = np.exp((cosines - cosines[0]) / temperature)
        weights /= weights.sum()
        similarity[b, y, x] = weights @ cosines
        mixed[b, :, y, x] = sum(
            g * labels[b, i, :, v, w] for g, (_, i, v, w) in zip(weights, near, strict=True)
        )
    return torch.from_numpy(mixed), torch.from_numpy(similarity)


def by_whole_affinity(
    query: Tensor, memory: Tensor, labels: Tensor, radius: int, topk: int, temperature: float
) -> Tensor:
    """As DINO's eval_video_segmentation: all positions with all, a mask, what topk leaves."""
    batch, _, height, width = query.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y, x = y.flatten(), x.flatten()
    near = ((y[:, None] - y).abs() <= radius) & ((x[:, None] - x).abs() <= radius)
    unit_query = torch.nn.functional.normalize(query.flatten(2), dim=1)
    unit_memory = torch.nn.functional.normalize(memory.flatten(3), dim=2)
    affinity = torch.einsum("bcq,bmcp->bqmp", unit_query, unit_memory).div(temperature).exp()
    affinity = (affinity * near[:, None]).flatten(2)
    least = affinity.topk(topk, dim=-1).values[..., -1:]
    affinity = affinity * (affinity >= least)
    affinity = affinity / affinity.sum(-1, keepdim=True)
    every = labels.movedim(2, -3).flatten(3).movedim(1, 2).flatten(2)
    return torch.einsum("bqp,blp->blq", affinity, every).reshape(batch, -1, height, width)


def assert_right(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    kind = found[0].dtype
    bound = 1e-11 if kind == torch.float64 else 2e-5
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(
            x.cpu(), y.to(kind).cpu(), rtol=bound, atol=bound, equal_nan=True
        )


def assert_same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """The same bits."""
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@pytest.fixture(params=["dispatched", "torch"])
def run(request: pytest.FixtureRequest) -> Callable[..., tuple[Tensor, Tensor]]:
    """The op with whatever kernel the device has, and the torch function alone."""
    return label_propagate if request.param == "dispatched" else label_propagate.__wrapped__


# --- the definition -------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES[:6], ids=str)
def test_matches_numpy(run, case, dtype, device):
    *sizes, radius, topk = case
    inputs = random_case(*sizes, dtype)
    expected = by_numpy(*inputs, radius, topk, 0.2)
    found = run(*(x.to(device) for x in inputs), radius, topk, 0.2)
    assert [x.dtype for x in found] == [
        torch.float64 if dtype == torch.float64 else torch.float32
    ] * 2
    assert_right(found, expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", [CASES[0], CASES[3], CASES[8]], ids=str)
def test_matches_the_whole_affinity_matrix(run, case, device):
    """Of random features no two cosines are equal, so topk is the same as DINO's."""
    *sizes, radius, topk = case
    inputs = random_case(*sizes)
    expected = by_whole_affinity(*inputs, radius, topk, 0.1)
    found, _ = run(*(x.to(device) for x in inputs), radius, topk, 0.1)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_match_the_torch_function(case, dtype, device):
    *sizes, radius, topk = case
    inputs = random_case(*sizes, dtype)
    expected = label_propagate.__wrapped__(*(x.double() for x in inputs), radius, topk, 0.1)
    assert_right(label_propagate(*(x.to(device) for x in inputs), radius, topk, 0.1), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("memory_layout", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_do_not_matter(layout, memory_layout, dtype, device):
    query, memory, labels = (x.to(device) for x in random_case(2, 2, 6, 3, 9, 11, dtype))
    expected = label_propagate(query, memory, labels, 2, 4, 0.1)
    found = label_propagate(
        LAYOUTS[layout](query),
        LAYOUTS[memory_layout](memory),
        LAYOUTS[layout](labels),
        2,
        4,
        0.1,
    )
    assert_same(found, expected)


@pytest.mark.parametrize("device", DEVICES)
def test_expanded_memory_is_read_in_place(run, device):
    query, memory, labels = (x.to(device) for x in random_case(3, 2, 6, 3, 9, 11))
    memory, labels = memory[:1].expand(3, -1, -1, -1, -1), labels[:1].expand(3, -1, -1, -1, -1)
    found = run(query, memory, labels, 2, 4, 0.1)
    assert_same(found, run(query, memory.contiguous(), labels.contiguous(), 2, 4, 0.1))


# --- what must come out ---------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_frame_like_its_memory_has_its_labels(run, dtype, device):
    query, _, labels = (x.to(device) for x in random_case(2, 1, 12, 4, 15, 18, dtype))
    found, similarity = run(query, query[:, None], labels, 3, 1, 0.1)
    assert found.equal(labels[:, 0])
    torch.testing.assert_close(similarity, torch.ones_like(similarity), rtol=0, atol=1e-6)
    assert similarity.max() <= 1


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shift", [(0, 0), (2, -3), (-4, 4), (0, 5)])
def test_labels_move_with_the_image(run, shift, device):
    """By whole positions: all that comes from inside the memory is exactly there."""
    rows, columns = shift
    query, _, labels = (x.to(device) for x in random_case(1, 1, 8, 3, 24, 30, torch.float32))
    memory = query.roll((-rows, -columns), (2, 3))[:, None]  # query is memory, moved by shift
    found, similarity = run(query, memory, labels, 5, 1, 0.07)
    moved = labels[:, 0].roll(shift, (2, 3))
    inside = slice(max(0, rows), 24 + min(0, rows)), slice(max(0, columns), 30 + min(0, columns))
    assert found[..., *inside].equal(moved[..., *inside])
    assert similarity[..., *inside].min() > 1 - 1e-6
    if shift != (0, 0):
        beyond = run(query, memory, labels, max(map(abs, shift)) - 1, 1, 0.07)[1]
        assert beyond[..., *inside].max() < 0.999


@pytest.mark.parametrize("device", DEVICES)
def test_labels_that_agree_are_carried_exactly(run, device):
    """Whatever the weights are: 1 stays 1 and 0 stays 0."""
    query, memory, labels = (x.to(device) for x in random_case(1, 3, 8, 4, 9, 9, torch.float32))
    labels = torch.zeros_like(labels)
    labels[:, :, 2] = 1
    found, _ = run(query, memory, labels, 3, 7, 0.3)
    assert found[:, 2].eq(1).all()
    assert found.sum() == 81


@pytest.mark.parametrize("device", DEVICES)
def test_temperature_decides_between_the_nearest_and_the_mean(run, device):
    query, memory, labels = (x.to(device) for x in random_case(1, 2, 8, 4, 6, 6))
    sharp, similarity = run(query, memory, labels, 2, 5, 1e-7)
    assert_right((sharp, similarity), run(query, memory, labels, 2, 1, 1.0))
    flat, _ = run(query, memory, labels, 20, 16, 1e6)
    best = torch.nn.functional.cosine_similarity(
        query.flatten(2)[:, None, :, :, None], memory.flatten(3)[:, :, :, None], dim=2
    )
    chosen = best.movedim(1, 2).flatten(2).topk(16).indices
    every = labels.movedim(1, 2).flatten(2)
    mean = every[0][:, chosen[0]].mean(-1).reshape(1, 4, 6, 6)
    torch.testing.assert_close(flat, mean, rtol=1e-5, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("topk", [1, 3, 9])
def test_of_equal_cosines_the_lower_index_counts(run, topk, device):
    """All features are equal but for a length: memory, then row, then column decide."""
    height, width, radius = 6, 37, 2
    lengths = torch.tensor([1.0, 2.0, 0.5, 4.0]).repeat(2 * height * width // 4)
    direction = torch.tensor([0.6, 0.8, 0.3])[:, None, None]
    memory = direction * lengths.reshape(1, 2, 1, height, width)
    query = memory[:, 1]
    places = torch.arange(2.0 * height * width, dtype=torch.float64)
    labels = places.reshape(1, 2, 1, height, width)
    found, _ = run(*(x.to(device) for x in (query, memory, labels)), radius, topk, 0.1)
    for y, x in itertools.product(range(height), range(width)):
        square = labels[
            0, :, 0, max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1
        ]
        expected = square.flatten()[:topk].mean().item()
        assert found[0, 0, y, x].item() == pytest.approx(expected, rel=1e-6)


# --- what is not there ----------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_frames_that_are_not_there_do_not_count(run, dtype, device):
    query, memory, labels = random_case(3, 4, 6, 2, 8, 9, dtype)
    usable = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]]).bool()
    expected = by_numpy(query, memory, labels, 2, 5, 0.1, usable)
    memory[~usable], labels[~usable] = torch.nan, torch.nan  # it is not looked at
    found = run(*(x.to(device) for x in (query, memory, labels)), 2, 5, 0.1, usable.to(device))
    assert_right(found, expected)
    assert found[0][1].isnan().all()
    assert found[1][1].isnan().all()
    every = run(*(x.to(device) for x in random_case(3, 4, 6, 2, 8, 9, dtype)), 2, 5, 0.1)
    assert_same(
        [
            x[:1]
            for x in run(
                *(x[:1].to(device) for x in random_case(3, 4, 6, 2, 8, 9, dtype)),
                2,
                5,
                0.1,
                torch.ones(1, 4, dtype=torch.bool, device=device),
            )
        ],
        [x[:1] for x in every],
    )


@pytest.mark.parametrize("device", DEVICES)
def test_zero_vectors_have_cosine_0(run, device):
    query, memory, labels = (x.to(device) for x in random_case(1, 1, 4, 2, 5, 5))
    query[0, :, 2, 2] = 0
    _, similarity = run(query, memory, labels, 1, 9, 0.1)
    assert similarity[0, 2, 2] == 0
    found, similarity = run(query, torch.zeros_like(memory), labels, 1, 1, 0.1)
    assert similarity.eq(0).all()
    first = [max(0, y - 1) * 5 + max(0, x - 1) for y in range(5) for x in range(5)]
    assert found.flatten(2).equal(labels[:, 0].flatten(2)[..., first])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 3e38])
def test_nan_and_infinity_reach_who_sees_them(run, value, device):
    query, memory, labels = (x.to(device) for x in random_case(1, 2, 4, 2, 9, 40, torch.float32))
    broken = query.clone()
    broken[0, 3, 4, 33] = value
    found, similarity = run(broken, memory, labels, 2, 3, 0.1)
    assert similarity.isnan().nonzero().tolist() == [[0, 4, 33]]
    memory[0, 1, 2, 5, 35] = value
    found, similarity = run(query, memory, labels, 2, 3, 0.1)
    seen = torch.zeros(1, 9, 40, dtype=torch.bool, device=device)
    seen[0, 3:8, 33:38] = True
    assert similarity.isnan().equal(seen)
    assert found.isnan().equal(seen[:, None].expand(-1, 2, -1, -1))


@pytest.mark.parametrize("device", DEVICES)
def test_empty_sizes(run, device):
    def carry(b: int, m: int, c: int, k: int, h: int, w: int) -> tuple[Tensor, Tensor]:
        shapes = (b, c, h, w), (b, m, c, h, w), (b, m, k, h, w)
        return run(*(torch.ones(shape, device=device) for shape in shapes), 2, 3, 0.1)

    assert [x.shape for x in carry(0, 2, 3, 4, 5, 6)] == [(0, 4, 5, 6), (0, 5, 6)]
    assert [x.shape for x in carry(1, 2, 3, 4, 0, 6)] == [(1, 4, 0, 6), (1, 0, 6)]
    labels, similarity = carry(1, 2, 3, 0, 5, 6)
    assert labels.shape == (1, 0, 5, 6)
    torch.testing.assert_close(similarity, torch.ones_like(similarity))
    assert [x.isnan().all() for x in carry(1, 0, 3, 4, 5, 6)] == [True, True]
    labels, similarity = carry(1, 2, 0, 4, 5, 6)
    assert labels.eq(1).all()
    assert similarity.eq(0).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", [CASES[0], CASES[2]], ids=str)
def test_an_item_does_not_see_its_batch(run, case, device):
    _, *sizes, radius, topk = case
    inputs = [x.to(device) for x in random_case(5, *sizes, torch.float32)]
    together = run(*inputs, radius, topk, 0.1)
    for n in range(5):
        alone = run(*(x[n : n + 1] for x in inputs), radius, topk, 0.1)
        assert_same(alone, tuple(x[n : n + 1] for x in together))


def test_the_number_of_threads_does_not_matter():
    inputs = random_case(2, 2, 16, 3, 30, 33, torch.float32)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(label_propagate(*inputs, 4, 5, 0.1))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert_same(result, results[0])


def test_the_torch_function_may_cut_anywhere(monkeypatch):
    """Into single rows of single items, with the same result."""
    inputs = random_case(3, 2, 5, 3, 8, 9, torch.float32)
    whole = label_propagate.__wrapped__(*inputs, 2, 5, 0.1)
    module = sys.modules[label_propagate.__module__]
    monkeypatch.setattr(module, "_CHUNK", 1)
    assert_same(label_propagate.__wrapped__(*inputs, 2, 5, 0.1), whole)


# --- torch's machinery ----------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("with_usable", [False, True])
def test_opcheck(with_usable, device):
    inputs = [x.to(device) for x in random_case(2, 2, 4, 3, 5, 6)]
    usable = torch.tensor([[1, 0], [1, 1]], device=device).bool() if with_usable else None
    torch.library.opcheck(torch.ops.wmscore.label_propagate.default, (*inputs, 2, 3, 0.1, usable))


def test_there_is_no_gradient():
    query, memory, labels = random_case(1, 1, 3, 2, 4, 4)
    with pytest.raises(RuntimeError, match="label_propagate has no gradient"):
        label_propagate(query, memory, labels.requires_grad_(), 1, 1, 0.1)


QUERY, MEMORY, LABELS = (
    torch.zeros(1, 3, 4, 4),
    torch.zeros(1, 2, 3, 4, 4),
    torch.zeros(1, 2, 5, 4, 4),
)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"query": [0.0]}, TypeError, r"query must be a torch\.Tensor, got list"),
        ({"query": QUERY.byte()}, TypeError, "query must be floating point, got torch.uint8"),
        ({"memory": MEMORY.half()}, TypeError, "query and memory must have one dtype"),
        ({"memory": QUERY}, ValueError, r"memory must have shape \[B, M, C, h, w\], got \(1, 3,"),
        ({"memory": MEMORY[..., :3]}, ValueError, r"memory must have shape .* \(1, 2, 3, 4, 3\)"),
        ({"memory_labels": LABELS[:, :1]}, ValueError, r"memory_labels must have the \[B, M\]"),
        ({"memory_labels": LABELS.int()}, TypeError, "memory_labels must be floating point"),
        ({"radius": -1}, ValueError, "radius must be at least 0, got -1"),
        ({"radius": 1.5}, TypeError, "radius must be an int, got float"),
        ({"topk": 0}, ValueError, r"topk must be 1\.\.16, got 0"),
        ({"topk": 17}, ValueError, r"topk must be 1\.\.16, got 17"),
        ({"topk": True}, TypeError, "topk must be an int, got bool"),
        ({"temperature": 0.0}, ValueError, r"temperature must be positive and finite, got 0\.0"),
        ({"temperature": "1"}, TypeError, "temperature must be a number, got str"),
        ({"use_memory": torch.ones(1, 2)}, TypeError, r"use_memory must be bool, got torch\.float"),
        (
            {"use_memory": torch.ones(1, 3, dtype=torch.bool)},
            ValueError,
            r"use_memory must have shape \[B, M\] = \(1, 2\), got \(1, 3\)",
        ),
    ],
    ids=str,
)
def test_errors_say_what_was_expected_and_what_came(changes, error, message):
    right = {
        "query": QUERY,
        "memory": MEMORY,
        "memory_labels": LABELS,
        "radius": 1,
        "topk": 1,
        "temperature": 0.1,
    }
    label_propagate(**right)
    with pytest.raises(error, match=message):
        label_propagate(**(right | changes))


@pytest.mark.parametrize("device", DEVICES)
def test_there_is_a_kernel(device):
    if not kernels().ops["frame_errors"]:
        pytest.skip("no kernels are built")
    assert device in kernels().ops["label_propagate"]
