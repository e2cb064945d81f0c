"""first_crossing: torch function, CPU kernel and CUDA kernel against a machine of single steps."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from emulation import ELEMENTS, FoundCrossings, ScoreCurves
from torch import Tensor

from tests.crossing_machine import watch
from wmscore.ops import Crossings, RolloutCrossings, first_crossing, kernels

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]
NAN = math.nan
Result = tuple[Tensor, Tensor, Tensor]
RUNS = {"op": first_crossing, "torch": first_crossing.__wrapped__}  # type: ignore[attr-defined]
# Around words, groups of 16 bytes, warps of rollouts.
SIZES = [
    *((1, 1, 1), (1, 3, 2), (2, 5, 7), (3, 33, 31), (1, 32, 32), (2, 31, 33), (1, 4, 63)),
    *((2, 3, 64), (1, 3, 65), (4, 35, 100), (1, 2, 127), (2, 40, 128), (1, 3, 200), (1, 2, 700)),
]
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "steps_first": lambda x: x.permute(2, 0, 1).contiguous().permute(1, 2, 0),
    "rollouts_first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "without_first_step": lambda x: torch.cat([x[..., :1], x], -1)[..., 1:],
    "every_other_step": lambda x: torch.stack([x, torch.zeros_like(x)], -1).flatten(-2)[..., ::2],
    "unaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
}


def case(
    shape: tuple[int, int, int], dtype: torch.dtype = torch.float32, *, kind: str = "noise"
) -> dict[str, Any]:
    """Arguments with ties, NaN and infinities, of curves that come and go."""
    axes, rollouts, steps = shape
    if kind == "noise":
        scores = torch.randint(0, 5, shape) / 4
    else:  # long runs
        jumps = torch.rand(shape) < 3 / max(4, steps)
        scores = (jumps.cumsum(-1) % 3) / 2
    scores[torch.rand(shape) < 0.15] = NAN
    scores[torch.rand(shape) < 0.03] = math.inf
    scores[torch.rand(shape) < 0.03] = -math.inf
    threshold = torch.tensor([0.5, 0.25, 0.75])[torch.randint(0, 3, (axes, rollouts, 1))]
    return {
        "scores": scores.to(dtype),
        "threshold": threshold.to(dtype),
        "patience": torch.randint(1, 5, (axes, rollouts)),
    }


def options(shape: tuple[int, int, int], dtype: torch.dtype) -> list[dict[str, Any]]:
    axes, rollouts, steps = shape
    valid = torch.rand(1, rollouts, steps) < 0.8
    ends = torch.arange(steps) < torch.randint(0, steps + 1, (rollouts, 1))
    gated = torch.rand(axes) < 0.7
    per_step = torch.rand(axes, rollouts, steps).to(dtype)
    recover = torch.full((1, 1, 1), 0.75, dtype=dtype)
    return [
        {},
        {"above": True, "valid": ends[None]},
        {"recover_threshold": recover, "recovery_patience": torch.full((1, 1), 2)},
        {"recovery_patience": torch.randint(1, 4, (axes, 1)), "valid": valid, "gated": gated},
        {
            "threshold": per_step,
            "recover_threshold": per_step + 0.25,
            "recovery_patience": torch.randint(1, 4, (axes, rollouts)),
            "valid": torch.rand(shape) < 0.9,
        },
        {"threshold": per_step[:, :1], "above": True, "gated": gated},
        {"threshold": per_step[:1, :, :1], "recover_threshold": per_step[:, :1, :1] - 0.1},
    ]


def by_machine(
    scores: Tensor,
    threshold: Tensor,
    patience: Tensor,
    recover_threshold: Tensor | None = None,
    recovery_patience: Tensor | None = None,
    valid: Tensor | None = None,
    gated: Tensor | None = None,
    above: bool = False,
) -> Result:
    shape = scores.shape
    axes, rollouts, steps = shape
    wide = {
        name: None if value is None else value.expand(shape).tolist()
        for name, value in (
            ("scores", scores.double()),
            ("threshold", threshold.double()),
            ("recover", None if recover_threshold is None else recover_threshold.double()),
            ("valid", valid),
        )
    }
    wait = patience.expand(axes, rollouts).tolist()
    wait_back = None if recovery_patience is None else recovery_patience.expand(axes, rollouts)
    curves = torch.zeros(len(Crossings._fields), axes, rollouts, dtype=torch.int64)
    margins = torch.full((2, axes, rollouts), NAN, dtype=torch.float64)
    of_rollouts = torch.zeros(len(RolloutCrossings._fields), rollouts, dtype=torch.int64)
    for b in range(rollouts):
        exists, judged, lost = set(), set(), set()
        failed, lasting = [], []  # (step, axis)
        for a in range(axes):
            found = watch(
                wide["scores"][a][b],
                wide["threshold"][a][b],
                wait[a][b],
                recover=None if wide["recover"] is None else wide["recover"][a][b],
                recovery_patience=1 if wait_back is None else int(wait_back[a, b]),
                valid=None if wide["valid"] is None else wide["valid"][a][b],
                above=above,
            )
            failures = found.failures
            begin = [first for first, _ in failures]
            back = failures[0][1] if failures else 0
            after = [t for t in found.defined if back and back <= t < (begin + [steps + 1] * 2)[1]]
            own = found.lost(steps)
            row = Crossings(
                step=begin[0] if begin else 0,
                recovery=back,
                recovered_steps=len(after),
                last_failure=begin[-1] if begin else 0,
                last_recovery=failures[-1][1] if failures else 0,
                failures=len(failures),
                defined_steps=len(found.defined),
                failing_steps=len(found.failing),
                lost_steps=len(own.intersection(found.defined)),
                pending_steps=found.pending,
            )
            curves[:, a, b] = torch.tensor(row)
            if begin:
                margins[0, a, b] = found.margins[begin[0]]
            if found.margins:
                known = [x for x in found.margins.values() if not math.isnan(x)]
                margins[1, a, b] = min(known, default=math.inf)
            exists |= {
                t + 1 for t in range(steps) if wide["valid"] is None or wide["valid"][a][b][t]
            }
            if gated is None or gated[a]:
                judged |= set(found.defined)
                lost |= own
                failed += [(begin[0], a)] if begin else []
                lasting += [(begin[-1], a)] if begin and failures[-1][1] == 0 else []
        of_rollout = (len(exists), max(exists, default=0), len(judged), len(judged - lost))
        of_rollout += min(failed, default=(0, -1)) + min(lasting, default=(0, -1))
        of_rollouts[:, b] = torch.tensor(of_rollout)
    return curves, margins, of_rollouts


def assert_equal(actual: Result, expected: Result) -> None:
    """Whole numbers exactly, and margins in the type that they have."""
    for name, one, other in zip(Crossings._fields, actual[0].cpu(), expected[0].cpu(), strict=True):
        assert one.equal(other), (name, (one != other).nonzero()[:3].tolist())
    assert actual[2].cpu().equal(expected[2].cpu())
    torch.testing.assert_close(
        actual[1].cpu(), expected[1].to(actual[1].dtype).cpu(), rtol=1e-6, atol=0, equal_nan=True
    )


def assert_same(actual: Result, expected: Result) -> None:
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other.cpu(), rtol=0, atol=0, equal_nan=True)


def to(arguments: dict[str, Any], device: str) -> dict[str, Any]:
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in arguments.items()}


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Callable[..., Result]:
    return RUNS[request.param]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["noise", "runs"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_the_machine(run, size, kind, device):
    for some in options(size, torch.float32):
        arguments = case(size, kind=kind) | some
        assert_equal(run(**to(arguments, device)), by_machine(**arguments))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_dtype_and_strides(run, layout, dtype, device):
    for size in ((3, 34, 40), (2, 3, 128), (2, 5, 13)):
        for some in options(size, dtype):
            arguments = case(size, dtype, kind="runs") | some
            expected = first_crossing.__wrapped__(**arguments)
            strided = to(arguments, device)
            strided["scores"] = LAYOUTS[layout](strided["scores"])
            if "valid" in strided:
                strided["valid"] = LAYOUTS[layout](strided["valid"])
            if strided["threshold"].shape == size:
                strided["threshold"] = LAYOUTS[layout](strided["threshold"])
            assert_same(run(**strided), expected)
    expanded = torch.rand(1, 1, 40).to(dtype).expand(2, 35, 40)
    fixed = {"threshold": torch.full((1, 1, 1), 0.3, dtype=dtype), "patience": torch.ones(1, 1)}
    fixed["patience"] = fixed["patience"].long()
    one = run(expanded[:1, :1].to(device), **to(fixed, device))
    many = run(expanded.to(device), **to(fixed, device))
    assert_same(many, tuple(x.expand(y.shape) for x, y in zip(one, many, strict=True)))


def test_known_failures_and_recoveries(run):
    good, bad = 1.0, 0.0
    scores = [good] * 2 + [bad] * 2 + [good, bad] + [good] * 3 + [NAN] + [bad] * 3 + [good]
    arguments = {
        "scores": torch.tensor([[scores]]),
        "threshold": torch.full((1, 1, 1), 0.5),
        "patience": torch.full((1, 1), 2),
        "recovery_patience": torch.full((1, 1), 2),
    }
    curves, margins, counts = run(**arguments)
    assert Crossings(*curves[:, 0, 0].tolist()) == Crossings(
        step=3,
        recovery=7,  # one good step is none
        recovered_steps=3,  # 7, 8, 9; 10 is undefined
        last_failure=11,
        last_recovery=0,
        failures=2,
        defined_steps=13,
        failing_steps=6,
        lost_steps=8,  # 3..6 and 11..14
        pending_steps=0,
    )
    assert margins[:, 0, 0].tolist() == [-0.5, -0.5]
    of_rollout = RolloutCrossings(*counts[:, 0].tolist())
    assert of_rollout == RolloutCrossings(14, 14, 13, 5, 3, 0, 11, 0)


def test_hysteresis_holds_between_the_thresholds(run):
    scores = torch.tensor([[[0.9, 0.6, 0.4, 0.6, NAN, 0.6, 0.8, 0.6, 0.9]]])
    arguments = {
        "scores": scores,
        "threshold": torch.full((1, 1, 1), 0.5),
        "patience": torch.full((1, 1), 3),
    }
    assert int(run(**arguments)[0][0]) == 0
    curves = run(**arguments, recover_threshold=torch.full((1, 1, 1), 0.8))[0]
    found = Crossings(*curves[:, 0, 0].tolist())
    assert (found.step, found.recovery, found.failing_steps) == (3, 7, 3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("steps", [3, 64, 70])
def test_any_byte_but_0_is_true(run, steps, device):
    """A mask of 0 and 255, say, that is looked at as bool."""
    arguments = case((2, 33, steps))
    valid = torch.rand(1, 33, steps) < 0.7
    bytes_ = (valid * torch.tensor([255, 2, 128]).repeat(steps)[:steps]).to(torch.uint8)
    expected = run(**to(arguments | {"valid": valid}, device))
    odd = bytes_.to(device).view(torch.bool)
    assert_same(run(**to(arguments, device), valid=odd), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_a_rollout_does_not_see_its_batch(device):
    arguments = to(case((3, 70, 130), kind="runs"), device)
    together = first_crossing(**arguments)
    for order in ([5], [69, 0, 33, 32]):
        part = {k: v[:, order] for k, v in arguments.items()}
        assert_same(first_crossing(**part), tuple(x[..., order] for x in together))


def test_threads_do_not_change_a_bit():
    arguments = case((4, 2000, 64), kind="runs")
    expected = first_crossing(**arguments)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3, 8):
            torch.set_num_threads(count)
            assert_same(first_crossing(**arguments), expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("device", DEVICES)
def test_no_rollouts(run, device):
    curves, margins, counts = run(**to(case((2, 0, 5)), device))
    assert (curves.shape, margins.shape, counts.shape) == ((10, 2, 0), (2, 2, 0), (8, 0))


@pytest.mark.parametrize("device", DEVICES)
def test_long_curves(device):
    """More steps than the fast memory of a block holds marks of."""
    arguments = case((2, 40, 70_001), kind="runs")
    expected = first_crossing.__wrapped__(**arguments)
    assert_same(first_crossing(**to(arguments, device)), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [DTYPES[0], DTYPES[-1]], ids=str)
def test_opcheck(dtype, device):
    for some in options((2, 3, 7), dtype)[3:5]:
        arguments = to(case((2, 3, 7), dtype) | some, device)
        # Each curve fails at its first step, since opcheck takes no NaN for equal to another.
        arguments["scores"][..., 0] = 4.0 if some.get("above") else -4.0
        arguments["patience"].fill_(1)
        if "valid" in some:
            arguments["valid"][..., 0] = True
        names = ("scores", "threshold", "patience", "recover_threshold", "recovery_patience")
        values = tuple(arguments.get(name) for name in (*names, "valid", "gated"))
        torch.library.opcheck(
            torch.ops.wmscore.first_crossing.default, (*values, arguments.get("above", False))
        )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_whole(dynamic, device):
    def total(scores: Tensor, threshold: Tensor, patience: Tensor) -> Tensor:
        curves, _, counts = first_crossing(scores, threshold, patience)
        return curves.sum((0, 1)) + counts.sum(0)

    torch.compiler.reset()
    compiled = torch.compile(total, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for rollouts in (2, 3):
        arguments = to(case((2, rollouts, 12)), device)
        assert compiled(**arguments).equal(total(**arguments))


GIVEN = {
    "scores": torch.zeros(2, 3, 4),
    "threshold": torch.zeros(2, 1, 1),
    "patience": torch.ones(2, 1, dtype=torch.int64),
}


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"scores": [1.0]}, TypeError, r"scores must be a torch\.Tensor, got list"),
        ({"scores": torch.zeros(2, 3, 4).int()}, TypeError, "scores must have one of the dtypes"),
        ({"threshold": torch.zeros(2, 1, 1).double()}, TypeError, "one dtype"),
        ({"scores": torch.zeros(3, 4)}, ValueError, r"shape \[A, B, T\].*got \(3, 4\)"),
        ({"scores": torch.zeros(2, 3, 0)}, ValueError, "at least one axis and step"),
        ({"threshold": torch.zeros(2)}, ValueError, r"threshold .*\[A, B, T\] = \(2, 3, 4\)"),
        ({"patience": torch.ones(2, 1)}, TypeError, "patience must be int64, got torch.float32"),
        ({"patience": torch.ones(3, 1).long()}, ValueError, r"patience must have shape \[A, B\]"),
        (
            {"recovery_patience": 3},
            TypeError,
            r"recovery_patience must be a torch\.Tensor, got int",
        ),
        ({"valid": torch.ones(1, 3, 4)}, TypeError, "valid must be bool, got torch.float32"),
        ({"valid": torch.ones(3, 4) > 0}, ValueError, r"valid must have shape .*got \(3, 4\)"),
        ({"gated": torch.ones(1) > 0}, ValueError, r"gated must have shape \[A\] = \(2,\), got"),
        ({"valid": torch.ones(1, 3, 4, device="meta") > 0}, ValueError, "one device"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(wrong, error, message):
    with pytest.raises(error, match=message):
        first_crossing(**GIVEN | wrong)


@pytest.mark.needs_cuda
def test_is_captured_by_a_graph():
    """No call synchronises with the host, or capture would fail."""
    arguments = to(case((4, 500, 128), kind="runs"), "cuda")
    first_crossing(**arguments)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = first_crossing(**arguments)
    later = case((4, 500, 128), kind="runs")
    for name, value in later.items():
        arguments[name].copy_(value)
    graph.replay()
    torch.cuda.synchronize()
    assert_same(result, first_crossing.__wrapped__(**later))


@pytest.mark.needs_cuda
def test_no_temporary_of_the_size_of_the_scores():
    if "cuda" not in kernels().ops["first_crossing"]:
        pytest.skip("no CUDA kernel")
    arguments = to(case((4, 20_000, 128)), "cuda")
    first_crossing(**arguments)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = first_crossing(**arguments)
    torch.cuda.synchronize()
    own = sum(x.numel() * x.element_size() for x in result)
    assert torch.cuda.max_memory_allocated() - before <= own + (1 << 20)


# The CUDA kernel on the CPU: the text of the .cu file, one fibre to a thread.


def run_emulated(kernel: ctypes.CDLL, **arguments: Any) -> Result:
    scores = arguments["scores"]
    axes, rollouts, steps = scores.shape
    of_margins = torch.float64 if scores.dtype == torch.float64 else torch.float32
    curves = torch.full((10, axes, rollouts), -7)
    margins = torch.full((2, axes, rollouts), -7, dtype=of_margins)
    counts = torch.full((8, rollouts), -7)
    size = kernel.wmscore_first_crossing_scratch
    size.argtypes, size.restype = [ctypes.c_int64] * 2, ctypes.c_int64
    scratch = torch.full((max(1, size(rollouts, steps)),), -1, dtype=torch.int32)
    error = kernel.wmscore_first_crossing_cuda(
        ELEMENTS.index(scores.dtype),
        ScoreCurves.of(**arguments),
        ctypes.c_void_p(scratch.data_ptr()),
        FoundCrossings(curves.data_ptr(), margins.data_ptr(), counts.data_ptr()),
        None,
    )
    assert error == 0
    return curves, margins, counts


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 5, 7), (3, 33, 31), (2, 40, 128), (2, 33, 100)])
def test_emulated_cuda_kernel(emulated, size):
    kernel = emulated("first_crossing")
    for some in options(size, torch.float32):
        for kind in ("noise", "runs"):
            arguments = case(size, kind=kind) | some
            expected = first_crossing.__wrapped__(**arguments)
            assert_same(run_emulated(kernel, **arguments), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_emulated_cuda_kernel_reads_any_strides(emulated, layout, dtype):
    kernel = emulated("first_crossing")
    for size in ((2, 34, 64), (1, 3, 13)):
        for some in options(size, dtype)[3:5]:
            arguments = case(size, dtype, kind="runs") | some
            expected = first_crossing.__wrapped__(**arguments)
            arguments["scores"] = LAYOUTS[layout](arguments["scores"])
            arguments["valid"] = LAYOUTS[layout](arguments["valid"])
            assert_same(run_emulated(kernel, **arguments), expected)


def test_emulated_cuda_kernel_with_marks_in_device_memory(emulated):
    arguments = case((2, 35, 9000), kind="runs")
    expected = first_crossing.__wrapped__(**arguments)
    assert_same(run_emulated(emulated("first_crossing"), **arguments), expected)
