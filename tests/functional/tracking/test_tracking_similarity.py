"""HOTA, CLEAR and identity F1 of any similarities: TrackEval, invariances, what is undefined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from trackeval_oracle import evaluate, sequence

from wmscore.functional import Reason
from wmscore.functional.tracking import HOTA_ALPHAS, clear, hota, identity_f1

METRICS: list[Callable[..., Any]] = [hota, clear, identity_f1]
HOTA_NAMES = {
    "hota": "HOTA",
    "det_a": "DetA",
    "ass_a": "AssA",
    "det_re": "DetRe",
    "det_pr": "DetPr",
    "ass_re": "AssRe",
    "ass_pr": "AssPr",
    "loc_a": "LocA",
}
CLEAR_NAMES = {
    "mota": "MOTA",
    "motp": "MOTP",
    "tp": "CLR_TP",
    "fn": "CLR_FN",
    "fp": "CLR_FP",
    "id_switches": "IDSW",
    "fragmentations": "Frag",
    "mostly_tracked": "MT",
    "partly_tracked": "PT",
    "mostly_lost": "ML",
}
IDENTITY_NAMES = {name: name.upper() for name in ("idf1", "idp", "idr", "idtp", "idfp", "idfn")}
Case = tuple[np.ndarray, np.ndarray, np.ndarray]


def random_case(kind: str, shape: tuple[int, int, int, int], seed: int = 0) -> Case:
    """Similarities and presences; each rollout has shares of its own, some steps are empty."""
    rows, steps, objects, tracks = shape
    generator = np.random.default_rng(seed)
    similarity = {
        "random": lambda: generator.random(shape),
        "ties": lambda: generator.integers(0, 5, shape) / 4,
        "thresholds": lambda: generator.choice(np.arange(0.05, 0.99, 0.05), shape),
        "bits": lambda: generator.integers(0, 2, shape) * 1.0,
        "equal": lambda: np.full(shape, 0.7),
        "crossing": lambda: crossing(shape),
    }[kind]()
    share = generator.random((2, rows, 1, 1)) * 1.4
    target = generator.random((rows, steps, objects)) < share[0]
    preds = generator.random((rows, steps, tracks)) < share[1]
    target &= generator.random((rows, steps, 1)) < 0.9
    preds &= generator.random((rows, steps, 1)) < 0.9
    return similarity, target, preds


def crossing(shape: tuple[int, int, int, int]) -> np.ndarray:
    """IoU of unit boxes on lines that meet half-way, generated ones a little behind."""
    _, steps, objects, tracks = shape
    time = np.linspace(-1, 1, steps)[:, None]
    target, preds = time * np.arange(objects), (time - 0.02) * np.arange(tracks)
    overlap = np.clip(1 - np.abs(target[:, :, None] - preds[:, None]), 0, None)
    return np.broadcast_to(overlap / (2 - overlap), shape).copy()


def tensors(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    similarity, target, preds = (torch.from_numpy(x) for x in case)
    return similarity, target, preds


def assert_equals_trackeval(case: Case, threshold: float = 0.5) -> int:
    """Each rollout that has an object in the reference; returns how many have."""
    arguments = tensors(case)
    of_hota = hota(*arguments)
    of_clear = clear(*arguments, threshold=threshold)
    of_identity = identity_f1(*arguments, threshold=threshold)
    compared = 0
    for b in range(len(case[0])):
        oracle = evaluate(sequence(*(x[b] for x in case)), threshold)
        for name in ("tp", "fn", "fp"):
            expected = oracle["hota"]["HOTA_" + name.upper()]
            assert getattr(of_hota, name)[b].tolist() == expected.tolist()
        if not case[1][b].any():
            assert int(of_clear.fp[b]) == oracle["clear"]["CLR_FP"]
            assert int(of_identity.idfp[b]) == oracle["identity"]["IDFP"]
            continue
        compared += 1
        for name, other in HOTA_NAMES.items():
            values = getattr(of_hota.per_alpha, name)[b].numpy()
            np.testing.assert_allclose(values, oracle["hota"][other], rtol=0, atol=1e-9)
            mean = float(getattr(of_hota.mean, name)[b])
            assert mean == pytest.approx(oracle["hota"][other].mean(), abs=1e-9)
        for result, names, key in (
            (of_clear, CLEAR_NAMES, "clear"),
            (of_identity, IDENTITY_NAMES, "identity"),
        ):
            for name, other in names.items():
                value = float(getattr(result, name)[b])
                assert value == pytest.approx(float(oracle[key][other]), abs=1e-9), name
    return compared


@pytest.mark.parametrize("shape", [(20, 9, 4, 5), (12, 30, 3, 2), (20, 1, 3, 3), (8, 6, 1, 7)])
@pytest.mark.parametrize("kind", ["random", "ties", "thresholds", "bits", "equal", "crossing"])
def test_equals_trackeval(kind: str, shape: tuple[int, int, int, int]) -> None:
    assert assert_equals_trackeval(random_case(kind, shape)) > shape[0] // 3


@pytest.mark.parametrize("threshold", [0.25, 0.75, 1.0])
def test_equals_trackeval_at_other_thresholds(threshold: float) -> None:
    assert assert_equals_trackeval(random_case("ties", (20, 8, 4, 4)), threshold) > 10


def test_equals_trackeval_with_many_objects() -> None:
    assert assert_equals_trackeval(random_case("random", (4, 6, 17, 23))) == 4


def test_alphas() -> None:
    assert list(HOTA_ALPHAS) == np.arange(0.05, 0.99, 0.05).tolist()


def test_undefined_without_an_object_in_the_reference() -> None:
    """TrackEval has 0 for all of them, 1 for LocA."""
    case = random_case("random", (2, 5, 3, 2))
    case[1][0], case[1][1], case[2][:] = False, True, True
    oracle = evaluate(sequence(*(x[0] for x in case)))
    assert oracle["hota"]["HOTA"].tolist() == [0.0] * 19
    assert oracle["hota"]["LocA"].tolist() == [1.0] * 19
    assert oracle["clear"]["MOTA"] == oracle["identity"]["IDF1"] == 0
    arguments = tensors(case)
    of_hota, of_clear, of_identity = (metric(*arguments) for metric in METRICS)
    for result in (of_hota, of_clear, of_identity):
        assert result.reason.tolist() == [Reason.NO_OBJECT, Reason.DEFINED]
        assert result.reason.dtype == torch.uint8
    for scores in (of_hota.mean, of_hota.per_alpha):
        for field in fields(scores):
            value = getattr(scores, field.name)
            assert value[0].isnan().all()
            assert not value[1].isnan().any()
    for value in (of_clear.mota, of_clear.motp, of_identity.idf1, of_identity.idp, of_identity.idr):
        assert value.isnan().tolist() == [True, False]
    assert of_clear.lifetime[0].isnan().all()
    assert of_clear.fp.tolist()[0] == of_identity.idfp.tolist()[0] == 10
    assert of_hota.fp[0].eq(10).all()


@pytest.mark.parametrize("tracks", [0, 2])
def test_nothing_generated_is_no_undefined_score(tracks: int) -> None:
    similarity = torch.zeros(1, 4, 3, tracks)
    target, preds = torch.ones(1, 4, 3).bool(), torch.zeros(1, 4, tracks).bool()
    of_hota, of_clear, of_identity = (metric(similarity, target, preds) for metric in METRICS)
    assert of_hota.mean.hota.tolist() == of_hota.mean.det_pr.tolist() == [0.0]
    assert of_hota.mean.loc_a.tolist() == [1.0]  # TrackEval's convention
    assert of_hota.fn.eq(12).all()
    assert of_clear.mota.tolist() == of_clear.motp.tolist() == of_identity.idf1.tolist() == [0.0]
    assert of_clear.lifetime.tolist() == [[0.0] * 3]
    assert of_clear.mostly_lost.tolist() == [3]
    assert of_clear.match.eq(-1).all()


@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 3, 0, 2), (2, 3, 0, 0)])
def test_no_rows_or_no_slots(shape: tuple[int, int, int, int]) -> None:
    rows, steps, objects, tracks = shape
    arguments = (
        torch.zeros(shape),
        torch.ones(rows, steps, objects).bool(),
        torch.ones(rows, steps, tracks).bool(),
    )
    for metric in METRICS:
        assert metric(*arguments).reason.tolist() == [Reason.NO_OBJECT] * rows
    assert hota(*arguments).mean.hota.shape == (rows,)


def leaves(result: Any) -> dict[str, Tensor]:
    """Every tensor of nested results by name."""
    found = {}
    for field in fields(result):
        value = getattr(result, field.name)
        if is_dataclass(value):
            found |= {f"{field.name}.{name}": leaf for name, leaf in leaves(value).items()}
        elif value is not None:
            found[field.name] = value
    return found


def assert_same(result: Any, expected: Any, rows: slice = slice(None)) -> None:
    for name, leaf in leaves(expected).items():
        torch.testing.assert_close(
            leaves(result)[name][rows], leaf, rtol=0, atol=0, equal_nan=True, msg=name
        )


@pytest.mark.parametrize("metric", METRICS)
def test_rollouts_do_not_depend_on_each_other(metric: Callable[..., Any]) -> None:
    for shape in ((7, 9, 4, 5), (5, 12, 1, 1)):
        arguments = tensors(random_case("random", shape))
        together = metric(*arguments)
        for b in range(shape[0]):
            one = slice(b, b + 1)
            assert_same(together, metric(*(x[one] for x in arguments)), one)


@pytest.mark.parametrize("metric", METRICS)
def test_steps_without_anything_do_not_exist(metric: Callable[..., Any]) -> None:
    """But for results per step. They may lie anywhere and hold anything."""
    similarity, target, preds = tensors(random_case("ties", (20, 8, 4, 4)))
    places = torch.tensor([0, 1, 3, 4, 5, 8, 9, 11])
    padded = torch.full((20, 12, 4, 4), torch.nan, dtype=torch.float64)
    there = torch.zeros(2, 20, 12, 4, dtype=torch.bool)
    padded[:, places] = similarity
    there[0][:, places], there[1][:, places] = target, preds
    found, expected = metric(padded, *there), metric(similarity, target, preds)
    for name, leaf in leaves(expected).items():
        value = leaves(found)[name]
        if name in ("match", "switched"):
            value = value[:, places]
        torch.testing.assert_close(value, leaf, rtol=0, atol=0, equal_nan=True, msg=name)


@pytest.mark.parametrize("metric", METRICS)
def test_slots_of_nobody_and_values_of_the_absent_play_no_part(metric: Callable[..., Any]) -> None:
    similarity, target, preds = tensors(random_case("ties", (20, 8, 4, 4)))
    wide = torch.nn.functional.pad(similarity, (0, 2, 0, 3), value=1.0)
    found = metric(
        wide, torch.nn.functional.pad(target, (0, 3)), torch.nn.functional.pad(preds, (0, 2))
    )
    expected = metric(similarity, target, preds)
    for name, leaf in leaves(expected).items():
        value = leaves(found)[name]
        if name == "lifetime":
            assert value[:, 4:].isnan().all()
            value = value[:, :4]
        if name in ("match", "switched"):
            assert not value[..., 4:].ge(0).any() or name == "switched"
            value = value[..., :4]
        torch.testing.assert_close(value, leaf, rtol=0, atol=0, equal_nan=True, msg=name)


def test_clear_is_the_same_of_a_prefix() -> None:
    """What happens later changes no earlier match."""
    similarity, target, preds = tensors(random_case("ties", (20, 9, 4, 4)))
    whole = clear(similarity, target, preds)
    for steps in (1, 4, 8):
        part = clear(similarity[:, :steps], target[:, :steps], preds[:, :steps])
        assert part.match.equal(whole.match[:, :steps])
        assert part.switched.equal(whole.switched[:, :steps])


def test_renaming_tracks_changes_nothing() -> None:
    similarity, target, preds = tensors(random_case("random", (20, 9, 4, 5)))
    order = torch.tensor([3, 0, 4, 1, 2])
    before, after = (
        (hota(*x).mean.hota, clear(*x).mota, identity_f1(*x).idf1)
        for x in ((similarity, target, preds), (similarity[..., order], target, preds[..., order]))
    )
    torch.testing.assert_close(after, before, rtol=0, atol=1e-12, equal_nan=True)


def test_float32_similarities() -> None:
    similarity, target, preds = tensors(random_case("ties", (5, 9, 4, 5)))  # quarters: exact
    for metric in METRICS:
        assert_same(metric(similarity.float(), target, preds), metric(similarity, target, preds))


@pytest.mark.parametrize("metric", METRICS)
def test_no_value_is_read_on_the_device(metric: Callable[..., Any]) -> None:
    meta = [
        torch.empty(2, 5, 3, 4, device="meta"),
        torch.empty(2, 5, 3, dtype=torch.bool, device="meta"),
        torch.empty(2, 5, 4, dtype=torch.bool, device="meta"),
    ]
    assert metric(*meta).reason.shape == (2,)


@pytest.mark.needs_cuda
@pytest.mark.parametrize("metric", METRICS)
def test_cuda_equals_cpu(metric: Callable[..., Any]) -> None:
    for kind in ("random", "ties"):
        arguments = tensors(random_case(kind, (20, 9, 4, 5)))
        found, expected = metric(*(x.cuda() for x in arguments)), metric(*arguments)
        for name, leaf in leaves(expected).items():
            torch.testing.assert_close(
                leaves(found)[name].cpu(), leaf, rtol=0, atol=1e-12, equal_nan=True, msg=name
            )


SIMILARITY, TARGET, PREDS = (
    torch.zeros(2, 5, 3, 4),
    torch.ones(2, 5, 3) > 0,
    torch.ones(2, 5, 4) > 0,
)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1.0], TARGET, PREDS), TypeError, "similarity must be a torch.Tensor, got list"),
        ((SIMILARITY.long(), TARGET, PREDS), TypeError, "similarity must be floating point, got"),
        ((SIMILARITY[0], TARGET, PREDS), ValueError, r"shape \[B, T, N, M\] with at least one"),
        ((SIMILARITY[:, :0], TARGET, PREDS), ValueError, r"at least one step, got \(2, 0, 3, 4\)"),
        ((SIMILARITY, TARGET.int(), PREDS), TypeError, "target_present must be bool, got"),
        ((SIMILARITY, PREDS, TARGET), ValueError, r"target_present must have shape \(2, 5, 3\), "),
        ((SIMILARITY, TARGET, TARGET), ValueError, r"preds_present must have shape \(2, 5, 4\), "),
        ((SIMILARITY, TARGET.to("meta"), PREDS), ValueError, "target_present must be on cpu like"),
    ],
)
def test_errors(
    metric: Callable[..., Any], arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        metric(*arguments)


@pytest.mark.parametrize("metric", [clear, identity_f1])
@pytest.mark.parametrize("threshold", [0.0, 1.5, float("nan")])
def test_threshold_out_of_range(metric: Callable[..., Any], threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold must be a number above"):
        metric(SIMILARITY, TARGET, PREDS, threshold=threshold)
