"""The class door to distribution distances: batches, merged states, two processes, an encoder."""

import doctest
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor
from torch.testing import assert_close
from torchmetrics import Metric

from wmscore import functional as F
from wmscore.functional.distributions import GaussianKernel
from wmscore.metrics import FrechetDistance, KernelDistance, distributions

WIDTH = 6


def samples() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, 40, WIDTH, generator=generator) + torch.tensor([50.0, 50.3])[:, None, None]
    )


def frechet(preds: Tensor, target: Tensor) -> Tensor:
    return F.frechet_distance_from_features(preds, target).distance


def kernel(preds: Tensor, target: Tensor) -> Tensor:
    return F.kernel_distance(preds, target, kernel=GaussianKernel(3.0)).distance


def metric(name: str, **options: object) -> Metric:
    if name == "frechet":
        return FrechetDistance(WIDTH, **options)
    return KernelDistance(WIDTH, kernel=GaussianKernel(3.0), **options)


DOORS = {"frechet": frechet, "kernel": kernel}


@pytest.fixture(params=list(DOORS))
def door(request: pytest.FixtureRequest) -> tuple[Callable[..., Metric], Tensor]:
    preds, target = samples()
    return lambda **options: metric(request.param, **options), DOORS[request.param](preds, target)


def test_batches_of_any_size(door) -> None:
    make, expected = door
    preds, target = samples()
    whole = make()
    for rows, real in ((preds, False), (target, True)):
        for part in rows.split([1, 30, 9]):
            whole.update(part, real=real)
    assert_close(whole.compute(), expected, rtol=1e-10, atol=0)
    whole.reset()
    whole.update(target, real=False)
    whole.update(preds, real=True)
    assert_close(whole.compute(), expected, rtol=1e-10, atol=0)


def test_states_are_merged(door) -> None:
    make, expected = door
    preds, target = samples()
    parts = []
    for start in (0, 10, 25):
        part = make()
        part.update(preds[start : {0: 10, 10: 25, 25: 40}[start]], real=False)
        if start == 0:
            part.update(target, real=True)  # all of the reference in one of them
        parts.append(part)
    parts[2].merge_state(parts[0])
    parts[2].merge_state(parts[1])
    assert_close(parts[2].compute(), expected, rtol=1e-10, atol=0)


def _rank(rank: int, meeting: str, results) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    preds, target = samples()
    values = []
    for name in DOORS:
        part = metric(name)
        if rank == 0:  # rank 1 has no reference at all
            part.update(target, real=True)
        part.update(preds[:13] if rank == 0 else preds[13:], real=False)
        values.append(part.compute().item())
        part.update(preds[:0], real=False)  # its own state is back after a sync
        values.append(part.compute().item())
    torch.distributed.destroy_process_group()
    results.put((rank, values))


def test_two_processes(tmp_path: Path) -> None:
    meeting = f"file://{tmp_path}/meeting"
    results = mp.get_context("spawn").SimpleQueue()
    mp.spawn(_rank, args=(meeting, results), nprocs=2)
    preds, target = samples()
    expected = [value for f in DOORS.values() for value in [f(preds, target).item()] * 2]
    for _ in range(2):
        _, values = results.get()
        assert values == pytest.approx(expected, rel=1e-10)


def test_one_distance_per_step() -> None:
    preds, target = torch.randn(2, 3, 20, WIDTH)
    by_step = FrechetDistance(WIDTH, leading=(3,))
    for part in (slice(0, 5), slice(5, 20)):
        by_step.update(preds[:, part], real=False)
        by_step.update(target[:, part], real=True)
    assert_close(by_step.compute(), frechet(preds, target), rtol=1e-9, atol=0)
    with pytest.raises(ValueError, match=r"leading dims \(3,\), got \(\)"):
        by_step.update(preds[0], real=True)


def test_without_a_reference_it_is_undefined() -> None:
    alone = FrechetDistance(WIDTH)
    alone.update(samples()[0], real=False)
    assert alone.compute().isnan()


class MeanColour:
    """Embeds a frame as the means of its channels."""

    name = "mean-colour"

    def __init__(self, maps: int = 1) -> None:
        self.maps = maps

    def encode(self, frames: Tensor) -> list[Tensor]:
        assert len(frames) <= 3
        return [frames.double().mean((2, 3), keepdim=True)] * self.maps

    def chunk_frames(self, frames: Tensor) -> int:
        return 3


@pytest.mark.parametrize("kind", [FrechetDistance, KernelDistance])
def test_frames_with_an_encoder(kind: type[Metric]) -> None:
    preds, target = torch.randint(256, (2, 10, 3, 4, 5), dtype=torch.uint8)
    door = kind(3, encoder=MeanColour())
    door.update(preds, real=False)
    door.update(target, real=True)
    rows = [frames.double().mean((2, 3)) for frames in (preds, target)]
    function = frechet if kind is FrechetDistance else lambda *x: F.kernel_distance(*x).distance
    assert_close(door.compute(), function(*rows), rtol=1e-5, atol=0)
    with pytest.raises(ValueError, match=r"expected frames \[N, C, H, W\], got \(10, 3\)"):
        door.update(rows[0], real=True)
    with pytest.raises(ValueError, match=r"mean-colour: expected one map \[3, D, 1, 1\]"):
        kind(3, encoder=MeanColour(maps=2)).update(preds, real=False)
    with pytest.raises(ValueError, match=r"expected 4 features each, .* got \(10, 3\)"):
        kind(4, encoder=MeanColour()).update(preds, real=False)


def test_rows_are_not_dropped() -> None:
    door = KernelDistance(WIDTH, max_rows=40)
    door.update(samples()[0], real=False)
    door.update(samples()[1], real=True)
    expected = door.compute()
    with pytest.raises(ValueError, match=r"41 rows of 6 features \(984 bytes\).*max_rows = 40"):
        door.update(samples()[0][:1], real=False)
    door._computed = None
    assert_close(door.compute(), expected, rtol=0, atol=0)


def test_examples() -> None:
    assert doctest.testmod(distributions).failed == 0


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="features: expected their number D"):
        FrechetDistance(0)
    with pytest.raises(ValueError, match="leading: an encoder embeds frames into one set"):
        FrechetDistance(3, leading=(2,), encoder=MeanColour())
    with pytest.raises(ValueError, match=r"samples: expected \[N, 6\], got \(2, 4, 6\)"):
        KernelDistance(WIDTH).update(torch.zeros(2, 4, WIDTH), real=True)


def test_a_set_that_is_not_there_yet_is_undefined_and_buffers_may_be_reused() -> None:
    metric = KernelDistance(features=2)
    buffer = torch.zeros(3, 2)
    assert metric(buffer, real=True).isnan()
    buffer.fill_(5.0)
    metric.update(torch.zeros(3, 2), real=False)
    assert abs(metric.compute()) < 1e-12
