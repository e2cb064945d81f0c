"""Tracking summaries of label maps: TrackEval from the same maps, DAVIS J and F, steps, ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_tracking_similarity import leaves
from torch import Tensor
from trackeval_oracle import evaluate, evaluate_masks, labelled_sequence

from wmscore.functional import Reason
from wmscore.functional.tracking import boundary_f, region_and_boundary, tracking_summary
from wmscore.functional.tracking.boundary import _count_bits

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]
NAMES = [3, 5, 900, 32767, 7, 8, 9, 10, 11, 12]


def scene(
    generator: np.random.Generator, steps: int, height: int, width: int, objects: int
) -> np.ndarray:
    """Boxes that wander, hide each other, and are away at some steps."""
    labels = np.zeros((steps, height, width), dtype=np.int16)
    for k in range(objects):
        y, x = generator.integers(0, height), generator.integers(0, width)
        for t in range(steps):
            if generator.random() < 0.2:
                continue
            top, left = (max(0, int(p + generator.integers(-3, 4))) for p in (y, x))
            high, wide = generator.integers(3, 14, 2)
            labels[t, top : top + high, left : left + wide] = NAMES[k]
    return labels


def pair(kind: str, seed: int, steps: int = 7) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    size = 37, 50
    target = scene(generator, steps, *size, objects=4)
    preds = np.roll(target, 1, -1)
    if kind == "unrelated":
        preds = scene(generator, steps, *size, objects=3)
    elif kind == "many predictions":  # more than a byte has bits
        preds = np.where(
            generator.random((steps, 1, 1)) < 0.5, preds, scene(generator, steps, *size, 10)
        )
    elif kind == "many objects":
        target = scene(generator, steps, *size, objects=10)
        preds = np.roll(target, 1, -2)
    elif kind == "swap":
        names = np.arange(32768)
        names[[3, 5]] = 5, 3
        preds[steps // 2 :] = names[preds[steps // 2 :]]
    elif kind == "empty frames":
        target[1], preds[2], target[4], preds[4] = 0, 0, 0, 0
    elif kind == "nothing generated":
        preds[:] = 0
    elif kind == "one step":
        target, preds = target[:1], preds[:1]
    elif kind == "whole frame":
        preds[:, :, :] = 3
    return preds, target


KINDS = [
    *("shifted", "unrelated", "many predictions", "many objects", "swap", "empty frames"),
    *("nothing generated", "one step", "whole frame"),
]


def values(summary: Any, row: int = 0) -> dict[str, float]:
    regions = summary.regions
    found = {
        "HOTA": summary.hota.mean.hota,
        "AssA": summary.hota.mean.ass_a,
        "LocA": summary.hota.mean.loc_a,
        "MOTA": summary.clear.mota,
        "MOTP": summary.clear.motp,
        "IDSW": summary.clear.id_switches,
        "Frag": summary.clear.fragmentations,
        "IDF1": summary.identity.idf1,
        "J-Mean": regions.mean_j,
        "F-Mean": regions.mean_f,
        "J&F": regions.mean_jf,
    }
    return {name: float(value[row]) for name, value in found.items() if value is not None}


def trackevals(preds: np.ndarray, target: np.ndarray) -> dict[str, float]:
    data = labelled_sequence(preds, target)
    of_all = evaluate(data)
    of_masks = evaluate_masks(data)
    return {
        **{name: float(of_all["hota"][name].mean()) for name in ("HOTA", "AssA", "LocA")},
        **{name: float(of_all["clear"][name]) for name in ("MOTA", "MOTP", "IDSW", "Frag")},
        "IDF1": float(of_all["identity"]["IDF1"]),
        **{name: float(of_masks[name]) for name in ("J-Mean", "F-Mean", "J&F")},
    }


def tensors(*labels: np.ndarray) -> list[Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(x))[None] for x in labels]


@pytest.mark.parametrize("kind", KINDS)
def test_equals_trackeval(kind: str) -> None:
    for seed in range(4):
        preds, target = pair(kind, seed)
        found = values(tracking_summary(*tensors(preds, target), boundary=True))
        assert found == pytest.approx(trackevals(preds, target), rel=0, abs=1e-9)


def test_equals_trackeval_on_a_larger_frame() -> None:
    """The disk has a radius of 3."""
    generator = np.random.default_rng(0)
    target = np.kron(scene(generator, 2, 30, 45, 4), np.ones((1, 7, 7), dtype=np.int16))
    preds = np.roll(target, (2, 3), (-1, -2))
    found = values(tracking_summary(*tensors(preds, target), boundary=True))
    assert found == pytest.approx(trackevals(preds, target), rel=0, abs=1e-9)


def test_recorded_values_of_j_and_f() -> None:
    target = torch.zeros(1, 10, 40, 40, dtype=torch.uint8)
    target[:, :, 5:15, 5:15], target[:, :, 25:35, 25:35] = 1, 2
    swapped = target.clone()
    swapped[:, 6:] = swapped[:, 6:].flip(-1, -2)
    result = region_and_boundary(swapped, target)
    assert result.mean_j.tolist() == result.mean_f.tolist() == result.mean_jf.tolist() == [0.6]
    shifted = target.clone()
    shifted[:, :, :20] = shifted[:, :, :20].roll(2, -1)
    result = region_and_boundary(shifted, target)
    assert result.j[0, 0].tolist() == [80 / 120, 1.0]
    assert float(result.mean_j) == pytest.approx((80 / 120 + 1) / 2, abs=1e-12)
    assert float(result.mean_f) == pytest.approx(0.775, abs=1e-12)


def brute_force_f(preds: np.ndarray, target: np.ndarray) -> float:
    """Of two masks, by all pairs of boundary pixels."""

    def boundary(mask: np.ndarray) -> np.ndarray:
        height, width = mask.shape
        found = []
        for y in range(height):
            for x in range(width):
                others = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
                inside = [(a, b) for a, b in others if a < height and b < width]
                if any(mask[a, b] != mask[y, x] for a, b in inside):
                    found.append((y, x))
        return np.array(found, dtype=float).reshape(-1, 2)

    of_preds, of_target = boundary(preds), boundary(target)
    if not len(of_preds) or not len(of_target):
        return float(len(of_preds) == len(of_target))
    radius = np.ceil(0.008 * np.hypot(*preds.shape))
    near = ((of_preds[:, None] - of_target) ** 2).sum(-1) <= radius**2
    precision, recall = near.any(1).mean(), near.any(0).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (17, 23), (10, 131)], ids=str)
def test_boundary_by_brute_force(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(sum(size))
    labels = torch.randint(0, 4, (2, 2, 2, *((n + 4) // 5 for n in size)), generator=generator)
    labels = labels.repeat_interleave(5, -1).repeat_interleave(5, -2)[..., : size[0], : size[1]]
    preds, target = labels[0], labels[1].contiguous()
    ids = torch.tensor([[1, 2, 3], [3, 0, 1]])
    others = torch.tensor([[2, 3, 1], [1, 2, 3]])
    found = boundary_f(preds, target, others, ids)
    assert found.shape == (2, 2, 3)
    for b, t, n in np.ndindex(2, 2, 3):
        one = (preds[b, t] == others[b, n]) & (others[b, n] > 0)
        other = (target[b, t] == ids[b, n]) & (ids[b, n] > 0)
        expected = brute_force_f(one.numpy(), other.numpy())
        assert float(found[b, t, n]) == pytest.approx(expected, abs=1e-12)


def test_more_bits_than_a_byte_counts() -> None:
    maps = torch.randint(0, 256, (3, 5001), dtype=torch.uint8)
    maps[0] = 255
    expected = torch.stack([(maps >> bit & 1).long().sum(-1) for bit in range(7)], -1)
    assert _count_bits(maps, 7).equal(expected)


@pytest.mark.parametrize("pixels", [2000, 1 << 20])
def test_pieces_do_not_matter(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = batch()
    expected = tracking_summary(*maps, boundary=True)
    for module in ("_chunks", "tracking.boundary"):
        monkeypatch.setattr(f"wmscore.functional.{module}.piece_elements", lambda device: pixels)
    assert_same(tracking_summary(*maps, boundary=True), expected)


def batch() -> list[Tensor]:
    pairs = [pair(kind, 1) for kind in KINDS if kind != "one step"]
    return [torch.from_numpy(np.stack(maps)) for maps in zip(*pairs, strict=True)]


def assert_same(result: Any, expected: Any) -> None:
    for name, leaf in leaves(expected).items():
        torch.testing.assert_close(
            leaves(result)[name], leaf, rtol=0, atol=0, equal_nan=True, msg=name
        )


def test_rollouts_do_not_depend_on_each_other() -> None:
    preds, target = batch()
    together = tracking_summary(preds, target, boundary=True)
    for b in range(len(preds)):
        one = slice(b, b + 1)
        alone = tracking_summary(preds[one], target[one], boundary=True)
        assert values(alone) == values(together, b)


def test_invalid_steps_do_not_exist() -> None:
    """TrackEval on the sequence without them; they hold labels that nothing else has."""
    generator = np.random.default_rng(3)
    for kind in KINDS:
        if kind == "one step":
            continue
        preds, target = pair(kind, 2, steps=9)
        valid = generator.random(9) < 0.6
        valid[4] = True
        expected = trackevals(preds[valid], target[valid])
        preds[~valid], target[~valid] = 77, 78
        summary = tracking_summary(
            *tensors(preds, target), valid=torch.from_numpy(valid)[None], boundary=True
        )
        assert values(summary) == pytest.approx(expected, rel=0, abs=1e-9)
        assert 77 not in summary.preds_ids.tolist()[0]
        regions = summary.regions
        assert regions.j[0, ~torch.from_numpy(valid)].isnan().all()
        assert regions.f[0, ~torch.from_numpy(valid)].isnan().all()


def test_a_prefix_is_the_sequence_cut() -> None:
    preds, target = tensors(*pair("swap", 0))
    for steps in (1, 3, 6):
        valid = torch.arange(7)[None] < steps
        part = tracking_summary(preds[:, :steps], target[:, :steps], boundary=True)
        assert values(tracking_summary(preds, target, valid=valid, boundary=True)) == values(part)


def test_id_spaces_of_their_own() -> None:
    preds, target = tensors(*pair("swap", 1))
    expected = tracking_summary(preds, target, boundary=True)
    renamed = torch.zeros_like(preds)
    for old, new in {3: 41, 5: 3, 900: 5, 32767: 1}.items():
        renamed[preds == old] = new
    for ids in (
        {},
        {"preds_ids": torch.tensor([[41, 3, 5, 1]])},
        {"preds_ids": torch.tensor([[0, 1, 41, 0, 5, 3]]), "target_ids": torch.tensor([NAMES[:4]])},
        {"target_ids": torch.tensor([[900, 5, 32767, 3, 0]])},
    ):
        summary = tracking_summary(renamed, target, boundary=True, **ids)
        assert values(summary) == pytest.approx(values(expected), rel=0, abs=1e-12)
    partners = dict(
        zip(summary.target_ids[0].tolist(), summary.regions.matched_id[0].tolist(), strict=True)
    )
    of_expected = dict(
        zip(expected.target_ids[0].tolist(), expected.regions.matched_id[0].tolist(), strict=True)
    )
    for name, partner in of_expected.items():
        assert partners[name] == {3: 41, 5: 3, 900: 5, 32767: 1}[partner]
    # What is not listed is background.
    few = tracking_summary(preds, target, target_ids=torch.tensor([[3]]), boundary=True)
    only = target.where(target == 3, 0)
    assert values(few) == pytest.approx(
        values(tracking_summary(preds, only, boundary=True)), abs=1e-12
    )


def test_undefined_without_an_object() -> None:
    """TrackEval has 0 for all, 1 for LocA, and a mean of nothing for J and F."""
    preds, target = tensors(*pair("shifted", 0))
    summary = tracking_summary(preds, torch.zeros_like(target), boundary=True)
    found = values(summary)
    assert {name for name, value in found.items() if value != value} == found.keys() - {
        *("IDSW", "Frag")
    }
    assert int(summary.clear.fp) > 0
    regions = summary.regions
    for part in (summary.hota, summary.clear, summary.identity, regions):
        assert part.reason.tolist() == [Reason.NO_OBJECT]
    assert regions.j.isnan().all()
    assert regions.f.isnan().all()
    assert regions.matched_id.eq(0).all()
    nothing = torch.zeros_like(target)
    assert tracking_summary(nothing, nothing, boundary=True).regions.j.shape == (1, 7, 0)
    never = tracking_summary(preds, target, valid=torch.zeros(1, 7).bool(), boundary=True)
    assert never.hota.reason.tolist() == [Reason.NO_OBJECT]


def test_boundary_only_where_asked_for() -> None:
    preds, target = tensors(*pair("shifted", 0))
    for result in (
        tracking_summary(preds, target).regions,
        region_and_boundary(preds, target, boundary=False),
    ):
        assert result.f is result.mean_f is result.mean_jf is None
        assert result.mean_j.equal(region_and_boundary(preds, target).mean_j)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64], ids=str)
def test_label_dtypes(dtype: torch.dtype) -> None:
    preds, target = (x.remainder(100).to(dtype) for x in tensors(*pair("swap", 0)))
    expected = tracking_summary(preds.long(), target.long(), boundary=True)
    assert_same(tracking_summary(preds, target, boundary=True), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_devices(device: str) -> None:
    maps = batch()
    ids = torch.tensor([NAMES]).expand(len(maps[0]), -1)
    found = tracking_summary(
        *(x.to(device) for x in maps),
        preds_ids=ids.to(device),
        target_ids=ids.to(device),
        boundary=True,
    )
    expected = tracking_summary(*maps, boundary=True)
    for row in range(len(maps[0])):
        assert values(found, row) == pytest.approx(values(expected, row), abs=1e-12)


@pytest.mark.needs_cuda
def test_waits_for_no_device() -> None:
    """With ids given no call synchronises, or capture would fail."""
    preds, target = (x.cuda() for x in batch())
    ids = torch.tensor([NAMES], device="cuda").expand(len(preds), -1).contiguous()

    def summary() -> Any:
        return tracking_summary(preds, target, preds_ids=ids, target_ids=ids, boundary=True)

    summary()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = summary()
    preds.copy_(preds.flip(0))
    target.copy_(target.flip(0))
    graph.replay()
    torch.cuda.synchronize()
    assert_same(captured, summary())


def test_no_value_is_read_on_the_device() -> None:
    labels = torch.empty(2, 4, 20, 24, dtype=torch.int16, device="meta")
    ids = torch.empty(2, 5, dtype=torch.int64, device="meta")
    summary = tracking_summary(labels, labels, preds_ids=ids[:, :3], target_ids=ids, boundary=True)
    assert summary.regions.f.shape == (2, 4, 5)
    assert summary.hota.mean.hota.device.type == "meta"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"valid": torch.ones(1, 7)}, TypeError, "valid must be bool, got torch.float32"),
        ({"valid": torch.ones(3, 7).bool()}, ValueError, "broadcasts to"),
        ({"preds_ids": torch.tensor([[-1]])}, ValueError, "ids must lie in"),
        ({"target_ids": torch.tensor([3])}, ValueError, r"ids must have shape \[B, [NM]\]"),
        ({"threshold": 0}, ValueError, "threshold must be a number above"),
    ],
)
def test_errors(options: dict[str, Any], error: type[Exception], message: str) -> None:
    preds, target = tensors(*pair("shifted", 0))
    with pytest.raises(error, match=message):
        tracking_summary(preds, target, **options)
    with pytest.raises(ValueError, match="must have one shape"):
        tracking_summary(preds[..., :-1], target)
