"""assignment: torch function, kernels and emulated CUDA kernel against scipy and brute force."""

import ctypes
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from emulation import ELEMENTS
from torch import Tensor

from wmscore.ops import assignment

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]
Solve = Callable[..., Tensor]
# Values of costs; those of few kinds have ties, those of fractions near ties.
KINDS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "random": lambda g, shape: g.random(shape),
    "constant": lambda g, shape: np.full(shape, 0.3),
    "huge": lambda g, shape: g.integers(-3, 9, shape) * 1e15,
    "small_integers": lambda g, shape: g.integers(0, 3, shape).astype(float),
    "bits": lambda g, shape: g.integers(0, 2, shape) * 1000.0 + g.integers(0, 2, shape) * 0.5,
    "fractions": lambda g, shape: g.integers(0, 4, shape) * 0.1 - g.integers(0, 3, shape) * 0.3,
    "negative_sevenths": lambda g, shape: g.integers(-5, 2, shape) / 7,
    "products": lambda g, shape: (
        (1.0 + np.arange(shape[1]))[:, None] * np.arange(shape[2]) + 0 * g.random(shape)
    ),
}
SIDES = [(1, 1), (1, 7), (3, 3), (5, 8), (8, 5), (9, 9)]


class Problems(ctypes.Structure):
    """`wmscore::AssignmentProblems` of kernels.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("problem", ctypes.c_int64),
        ("row", ctypes.c_int64),
        ("col", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("cols", ctypes.c_int64),
        ("use_rows", ctypes.c_void_p),
        ("use_cols", ctypes.c_void_p),
    ]


@pytest.fixture
def emulated_assignment(emulated) -> Solve:
    def solve(
        cost: Tensor,
        maximize: bool = False,
        use_rows: Tensor | None = None,
        use_cols: Tensor | None = None,
    ) -> Tensor:
        match = torch.full(cost.shape[:2], -7)
        masks = [None if mask is None else mask.contiguous() for mask in (use_rows, use_cols)]
        error = emulated("assignment").wmscore_assignment_cuda(
            ELEMENTS.index(cost.dtype),
            Problems(
                cost.data_ptr(),
                *cost.stride(),
                *cost.shape[1:],
                *(None if mask is None else mask.data_ptr() for mask in masks),
            ),
            ctypes.c_int64(cost.shape[0]),
            ctypes.c_bool(maximize),
            ctypes.c_void_p(match.data_ptr()),
            None,
        )
        assert error == 0
        return match

    return solve


@pytest.fixture(params=["torch function", "kernel", "emulated kernel"])
def solve(request) -> Solve:
    """Each implementation; the kernel is the torch function where none was built."""
    if request.param == "emulated kernel":
        found: Solve = request.getfixturevalue("emulated_assignment")
        return found
    return assignment.__wrapped__ if request.param == "torch function" else assignment


def masks_of(generator: np.random.Generator, problems: int, length: int) -> np.ndarray:
    """Some of all, all, none."""
    mask = generator.random((problems, length)) < generator.random((problems, 1)) * 1.5
    mask[::11] = False
    return mask


def scipys(cost: np.ndarray, maximize: bool, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    optimize = pytest.importorskip("scipy.optimize")
    match = np.full(cost.shape[:2], -1)
    for problem, (use_rows, use_cols) in enumerate(zip(rows, cols, strict=True)):
        row, col = np.flatnonzero(use_rows), np.flatnonzero(use_cols)
        of_row, of_col = optimize.linear_sum_assignment(cost[problem][np.ix_(row, col)], maximize)
        match[problem, row[of_row]] = col[of_col]
    return match


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("sides", SIDES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_scipy_under_ties_too(solve, kind, sides, dtype):
    generator = np.random.default_rng(sum(sides))
    cost = torch.from_numpy(KINDS[kind](generator, (12, *sides))).to(dtype)
    rows, cols = (masks_of(generator, 12, side) for side in sides)
    everything = np.ones_like(rows), np.ones_like(cols)
    for maximize in (False, True):
        expected = scipys(cost.double().numpy(), maximize, *everything)
        assert solve(cost, maximize).numpy().tolist() == expected.tolist()
        expected = scipys(cost.double().numpy(), maximize, rows, cols)
        found = solve(cost, maximize, torch.from_numpy(rows), torch.from_numpy(cols))
        assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("sides", [(33, 70), (129, 40), (64, 64), (10, 700)], ids=str)
@pytest.mark.parametrize("kind", ["random", "small_integers"])
def test_larger_problems(request, kind, sides):
    """Costs that shared memory holds and that it does not, one warp and several."""
    generator = np.random.default_rng(1)
    cost = KINDS[kind](generator, (2, *sides))
    rows, cols = (np.ones((2, side), dtype=bool) for side in sides)
    rows[1, ::3] = cols[1, 1::2] = False
    expected = scipys(cost, False, rows, cols).tolist()
    solvers = [assignment, request.getfixturevalue("emulated_assignment")]
    if max(sides) < 100:
        solvers.append(assignment.__wrapped__)
    for solve in solvers:
        arguments = torch.from_numpy(cost), False, torch.from_numpy(rows), torch.from_numpy(cols)
        assert solve(*arguments).tolist() == expected


def test_longest_side(emulated_assignment):
    cost = torch.rand(1, 3, 1024, dtype=torch.float64)
    for costs in (cost, cost.mT):
        everything = (np.ones((1, side), dtype=bool) for side in costs.shape[1:])
        expected = scipys(costs.numpy(), False, *everything).tolist()
        assert assignment(costs).tolist() == expected
        assert emulated_assignment(costs).tolist() == expected


@pytest.mark.parametrize("sides", [(2, 2), (3, 5), (5, 3), (4, 4)], ids=str)
def test_no_matching_is_better(solve, sides):
    """By trying all of them."""
    cost = torch.randint(-4, 5, (30, *sides)).double()
    for costs in (cost, cost.mT):
        rows, cols = costs.shape[1:]
        for maximize in (False, True):
            match = solve(costs, maximize)
            matched = match >= 0
            assert matched.sum(1).eq(min(rows, cols)).all()
            sums = costs.gather(2, match.clamp(min=0)[..., None])[..., 0].where(matched, 0).sum(1)
            for problem, found in zip(costs, sums, strict=True):
                small = problem if rows <= cols else problem.T
                sums_of_all = [
                    sum(float(small[i, j]) for i, j in enumerate(chosen))
                    for chosen in itertools.permutations(range(small.shape[1]), small.shape[0])
                ]
                assert float(found) == (max if maximize else min)(sums_of_all)


def test_by_hand(solve):
    cost = torch.tensor([[[4.0, 1, 3], [2, 0, 5], [3, 2, 2]]])
    assert solve(cost).tolist() == [[1, 0, 2]]
    assert solve(cost, True).tolist() == [[0, 2, 1]]
    assert solve(torch.zeros(1, 4, 4)).tolist() == [[0, 1, 2, 3]]
    assert solve(torch.tensor([[[5.0], [3.0], [4.0]]])).tolist() == [[-1, 0, -1]]


@pytest.mark.parametrize("forbidden", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("maximize", [False, True])
def test_forbidden_pairs(solve, forbidden, maximize):
    x = forbidden
    sign = -1.0 if maximize else 1.0
    cost = sign * torch.tensor(
        [
            [[x, 1.0, x], [x, 5.0, 9.0], [x, x, x]],  # row 2 has no column: alone
            [[1.0, 2.0, x], [3.0, x, x], [x, 7.0, x]],  # row 0 would like 0, which row 1 needs
            [[x, 8.0, x], [x, 1.0, x], [2.0, 3.0, x]],  # rows 0 and 1 need 1: row 0 is the earlier
            [[x] * 3] * 3,
        ]
    )
    assert solve(cost, maximize).tolist() == [[1, 2, -1], [1, 0, -1], [1, -1, 0], [-1, -1, -1]]


@pytest.mark.parametrize("sides", [(4, 6), (6, 4), (5, 5)], ids=str)
def test_forbidden_pairs_equal_scipy_without_those_left_alone(solve, sides):
    """Members of the shorter side that stay alone might as well not be there."""
    optimize = pytest.importorskip("scipy.optimize")
    generator = np.random.default_rng(0)
    cost = generator.integers(0, 4, (60, *sides)).astype(float)
    cost[generator.random(cost.shape) < 0.6] = np.inf
    matches = solve(torch.from_numpy(cost)).numpy()
    alone = 0
    for problem, match in zip(cost, matches, strict=True):
        row = np.flatnonzero(match >= 0)
        alone += min(sides) - len(row)
        if sides[0] <= sides[1]:
            assert optimize.linear_sum_assignment(problem[row])[1].tolist() == match[row].tolist()
        else:
            col = np.sort(match[row])
            of_row, of_col = optimize.linear_sum_assignment(problem[:, col])
            assert of_row.tolist() == row.tolist()
            assert col[of_col].tolist() == match[row].tolist()
    assert alone > 0


def test_most_pairs_are_matched_with_forbidden_pairs(solve):
    sparse = pytest.importorskip("scipy.sparse")
    generator = np.random.default_rng(2)
    allowed = generator.random((80, 6, 6)) < 0.3
    cost = np.where(allowed, generator.random(allowed.shape), np.nan)
    for pairs, match in zip(allowed, solve(torch.from_numpy(cost)), strict=True):
        most = sparse.csgraph.maximum_bipartite_matching(sparse.csr_matrix(pairs))
        assert int((match >= 0).sum()) == int((most >= 0).sum())


@pytest.mark.parametrize("sides", [(0, 3), (3, 0), (0, 0), (2, 3)], ids=str)
@pytest.mark.parametrize("problems", [0, 2])
def test_nothing(solve, problems, sides):
    cost = torch.zeros(problems, *sides)
    expected = [list(range(sides[0])) if sides == (2, 3) else [-1] * sides[0]] * problems
    assert solve(cost).tolist() == expected


STRIDES: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda x: x.mT.contiguous().mT,
    "problems_last": lambda x: x.permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "every_other": lambda x: torch.stack([x, x + 1], -1).flatten(-2)[..., ::2],
    "cropped": lambda x: torch.nn.functional.pad(x, (1, 2, 3, 1), value=-9.0)[:, 3:-1, 1:-2],
    "backwards": lambda x: x.flip(0),
}


@pytest.mark.parametrize("strides", STRIDES)
def test_any_strides(solve, strides):
    cost = STRIDES[strides](torch.rand(7, 4, 6))
    mask = torch.rand(6, 7).gt(0.3).mT  # not contiguous either
    expected = assignment.__wrapped__(cost.contiguous(), True, None, mask.contiguous())
    assert solve(cost, True, None, mask).tolist() == expected.tolist()
    shared = torch.rand(1, 4, 6).expand(3, -1, -1)
    assert solve(shared).tolist() == [solve(shared[:1])[0].tolist()] * 3


def test_problems_do_not_depend_on_each_other(solve):
    cost = torch.randint(0, 3, (9, 5, 7)).float()
    rows, cols = torch.rand(9, 5) < 0.7, torch.rand(9, 7) < 0.7
    together = solve(cost, False, rows, cols)
    for p in range(9):
        one = slice(p, p + 1)
        assert solve(cost[one], False, rows[one], cols[one])[0].equal(together[p])


def test_threads_do_not_matter():
    cost = torch.randint(0, 3, (4000, 6, 6)).float()
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(assignment(cost))
    finally:
        torch.set_num_threads(before)
    assert results[0].equal(results[1])


@pytest.mark.parametrize("device", DEVICES)
def test_kernel_equals_torch_function(device):
    for sides in [(6, 6), (3, 9), (9, 3), (40, 41)]:
        cost = torch.randint(0, 4, (50, *sides)).double()
        rows, cols = (torch.rand(50, side) < 0.8 for side in sides)
        expected = assignment.__wrapped__(cost, False, rows, cols)
        found = assignment(cost.to(device), False, rows.to(device), cols.to(device))
        assert found.device.type == device
        assert found.cpu().equal(expected)


@pytest.mark.needs_cuda
@pytest.mark.parametrize("sides", [(70, 70), (150, 200), (300, 140), (512, 512)], ids=str)
def test_cuda_equals_cpu_on_long_sides(sides):
    for cost in (torch.rand(3, *sides), torch.randint(0, 5, (3, *sides)).float()):
        assert assignment(cost.cuda()).cpu().equal(assignment(cost))


@pytest.mark.needs_cuda
def test_is_captured_by_a_graph():
    """No call synchronises with the host, or capture would fail."""
    cost = torch.rand(64, 6, 7, device="cuda")
    mask = torch.rand(64, 6, device="cuda") < 0.7
    assignment(cost, True, mask)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = assignment(cost, True, mask)
    cost.copy_(cost.flip(0))
    graph.replay()
    torch.cuda.synchronize()
    assert captured.equal(assignment(cost, True, mask))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_opcheck(dtype, device):
    cost = torch.rand(3, 4, 5, dtype=dtype, device=device)
    mask = torch.rand(3, 4, device=device) < 0.5
    operator = torch.ops.wmscore.assignment.default
    torch.library.opcheck(operator, (cost,))
    torch.library.opcheck(operator, (cost.mT, True, None, mask))


def test_meta_knows_shape_and_dtype():
    match = assignment(torch.empty(5, 1000, 1000, device="meta"))
    assert match.shape == (5, 1000)
    assert match.dtype == torch.int64


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_whole(dynamic, device):
    def matched(cost: Tensor) -> Tensor:
        return assignment(cost * 2, True) + 1

    compiled = torch.compile(matched, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for shape in ((3, 4, 5), (2, 6, 3)):
        cost = torch.rand(shape, device=device)
        assert compiled(cost).equal(matched(cost))


COST = torch.zeros(2, 3, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1.0],), TypeError, r"cost must be a torch.Tensor, got list"),
        ((COST.long(),), TypeError, r"cost must be float32 or float64, got torch.int64"),
        ((COST[0],), ValueError, r"cost must have shape \[P, N, M\], got \(3, 4\)"),
        ((torch.zeros(1, 1025, 1),), ValueError, r"at most 1024 rows and columns, got \(1, 1025"),
        ((COST, False, [True]), TypeError, r"use_rows must be a torch.Tensor or None, got list"),
        ((COST, False, torch.zeros(2, 3)), TypeError, r"use_rows must be bool, got torch.float32"),
        (
            (COST, False, None, torch.zeros(2, 3, dtype=torch.bool)),
            ValueError,
            r"use_cols must have shape \(2, 4\), got \(2, 3\)",
        ),
        (
            (COST, False, torch.zeros(2, 3, dtype=torch.bool, device="meta")),
            ValueError,
            r"use_rows must be on cpu like cost, got meta",
        ),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        assignment(*arguments)


def test_has_no_gradient():
    with pytest.raises(RuntimeError, match="assignment has no gradient"):
        assignment(COST.clone().requires_grad_())
