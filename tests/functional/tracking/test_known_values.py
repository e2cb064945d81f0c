"""The faults whose scores are known in closed form, and what TrackEval and motmetrics give them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from trackeval_oracle import evaluate, sequence

from wmscore.functional.tracking import clear, hota, identity_f1

Case = tuple[Tensor, Tensor, Tensor]
STEPS, FAULT = 10, 6  # the first 6 steps are right


def perfect(steps: int = STEPS, tracks: int = 2) -> Case:
    """Two objects, similarity 1 with themselves and 0 with the other."""
    similarity = torch.eye(2, tracks, dtype=torch.float64).repeat(1, steps, 1, 1)
    preds = torch.ones(1, steps, tracks, dtype=torch.bool)
    preds[..., 2:] = False
    return similarity, torch.ones(1, steps, 2, dtype=torch.bool), preds


def exit_of_both() -> Case:
    similarity, target, preds = perfect()
    target[:, FAULT:, 0] = preds[:, FAULT:, 0] = False
    return similarity, target, preds


def swap(at: int = FAULT, steps: int = STEPS, until: int | None = None) -> Case:
    similarity, target, preds = perfect(steps)
    similarity[:, at:until] = similarity[:, at:until].flip(-1)
    return similarity, target, preds


def vanish(at: int = FAULT, steps: int = STEPS) -> Case:
    similarity, target, preds = perfect(steps)
    preds[:, at:, 0] = False
    return similarity, target, preds


def duplicate() -> Case:
    similarity, target, preds = perfect(tracks=3)
    preds[:, FAULT:, 2] = True
    return similarity, target, preds


def morph() -> Case:
    similarity, target, preds = perfect(tracks=3)
    preds[:, FAULT:, 0], preds[:, FAULT:, 2] = False, True
    similarity[:, :, 0, 2] = 1
    return similarity, target, preds


def shifted() -> Case:
    similarity, target, preds = perfect()
    return similarity * 0.6, target, preds


# case: HOTA, DetA, AssA, MOTA, identity switches, IDF1, first events of motmetrics
TABLE: dict[str, tuple[Callable[[], Case], tuple[float, ...], list[tuple[int, str]]]] = {
    "perfect": (perfect, (1, 1, 1, 1, 0, 1), []),
    "exit of both": (exit_of_both, (1, 1, 1, 1, 0, 1), []),
    "swap": (swap, (0.597614, 1, 0.357143, 0.9, 2, 0.6), [(6, "SWITCH")] * 2),
    "vanish": (
        vanish,
        (0.824621, 0.8, 0.85, 0.8, 0, 0.888889),
        [(t, "MISS") for t in range(6, 10)],
    ),
    "duplicate": (
        duplicate,
        (0.912871, 0.833333, 1, 0.8, 0, 0.909091),
        [(t, "FP") for t in range(6, 10)],
    ),
    "morph": (morph, (0.871780, 1, 0.76, 0.95, 1, 0.8), [(6, "SWITCH")]),
    "swap for one step": (
        lambda: swap(until=FAULT + 1),
        (0.861178, 1, 0.741627, 0.8, 4, 0.9),
        [(t, "SWITCH") for t in (6, 6, 7, 7)],
    ),
    "IoU 0.6": (shifted, (12 / 19, 12 / 19, 12 / 19, 1, 0, 1), []),
}


@pytest.mark.parametrize("case", TABLE)
def test_table(case: str) -> None:
    make, expected, _ = TABLE[case]
    similarity, target, preds = make()
    of_hota = hota(similarity, target, preds).mean
    of_clear = clear(similarity, target, preds)
    found = [
        *(of_hota.hota, of_hota.det_a, of_hota.ass_a, of_clear.mota, of_clear.id_switches),
        identity_f1(similarity, target, preds).idf1,
    ]
    assert [float(value) for value in found] == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize("case", TABLE)
def test_trackeval_gives_the_same(case: str) -> None:
    make, _, _ = TABLE[case]
    similarity, target, preds = (x[0].numpy() for x in make())
    oracle = evaluate(sequence(similarity, target, preds))
    found = hota(*make()).mean
    assert float(found.hota) == pytest.approx(oracle["hota"]["HOTA"].mean(), abs=1e-12)
    assert float(found.loc_a) == pytest.approx(oracle["hota"]["LocA"].mean(), abs=1e-12)


@pytest.mark.parametrize("case", TABLE)
def test_motmetrics_gives_the_same_events(case: str) -> None:
    """Switches with their steps, misses, false positives, IDF1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        motmetrics = pytest.importorskip("motmetrics")
        make, _, events = TABLE[case]
        similarity, target, preds = (x[0].numpy() for x in make())
        accumulator = motmetrics.MOTAccumulator()
        for t in range(STEPS):
            row, col = np.flatnonzero(target[t]), np.flatnonzero(preds[t])
            near = similarity[t][np.ix_(row, col)]
            accumulator.update(row, col, np.where(near >= 0.5, 1 - near, np.nan), frameid=t)
        table = accumulator.mot_events
        kinds = table[table.Type.isin(["SWITCH", "MISS", "FP"])]
        assert [(int(t), kind) for (t, _), kind in kinds.Type.items()] == events
        summary = motmetrics.metrics.create().compute(
            accumulator, metrics=["idf1", "num_switches", "mota", "num_fragmentations"]
        )
    result = clear(*make())
    steps, _ = result.switched[0].nonzero(as_tuple=True)
    assert steps.tolist() == [t for t, kind in events if kind == "SWITCH"]
    assert int(result.fn) == sum(kind == "MISS" for _, kind in events)
    assert int(result.fp) == sum(kind == "FP" for _, kind in events)
    assert int(result.id_switches) == int(summary.num_switches.iloc[0])
    assert float(result.mota) == pytest.approx(float(summary.mota.iloc[0]), abs=1e-12)
    assert float(identity_f1(*make()).idf1) == pytest.approx(float(summary.idf1.iloc[0]), abs=1e-12)


@pytest.mark.parametrize("steps", [2, 7, 10, 33])
def test_closed_forms(steps: int) -> None:
    for k in range(1, steps):
        scores = hota(*swap(k, steps)).mean
        ass_a = (k**2 / (2 * steps - k) + (steps - k) ** 2 / (steps + k)) / steps
        assert float(scores.ass_a) == pytest.approx(ass_a, abs=1e-12)
        assert float(scores.hota) == pytest.approx(math.sqrt(ass_a), abs=1e-12)
        assert float(clear(*swap(k, steps)).mota) == pytest.approx(1 - 1 / steps, abs=1e-12)
        idf1 = float(identity_f1(*swap(k, steps)).idf1)
        assert idf1 == pytest.approx(max(k, steps - k) / steps, abs=1e-12)

        scores = hota(*vanish(k, steps)).mean
        det_a, ass_a = (steps + k) / (2 * steps), (steps + k**2 / steps) / (steps + k)
        assert float(scores.det_a) == pytest.approx(det_a, abs=1e-12)
        assert float(scores.ass_a) == pytest.approx(ass_a, abs=1e-12)
        assert float(scores.hota) == pytest.approx(math.sqrt(det_a * ass_a), abs=1e-12)
        assert clear(*vanish(k, steps)).lifetime.tolist() == [[k / steps, 1.0]]


def test_lifetime_counts_steps_at_which_the_object_is_there() -> None:
    similarity, target, preds = perfect()
    target[:, :4, 0] = False
    preds[:, 7:, 0] = False
    target[..., 1] = False
    result = clear(similarity, target, preds)
    assert result.lifetime[0, 0].item() == 0.5  # steps 4 5 6 of 4 .. 9
    assert result.lifetime[0, 1].isnan()
    assert [int(x) for x in (result.mostly_tracked, result.partly_tracked, result.mostly_lost)] == [
        *(0, 1, 0)
    ]
    assert result.match[0, :, 0].tolist() == [-1] * 4 + [0] * 3 + [-1] * 3


def test_which_of_equal_matchings_is_taken_matters_to_hota() -> None:
    """Two equal objects under one generated region each way: the first of the list is matched."""
    similarity = torch.full((1, 3, 2, 1), 0.8, dtype=torch.float64)
    target, preds = torch.ones(1, 3, 2, dtype=torch.bool), torch.ones(1, 3, 1, dtype=torch.bool)
    oracle = evaluate(sequence(*(x[0].numpy() for x in (similarity, target, preds))))
    assert clear(similarity, target, preds).match[0].tolist() == [[0, -1]] * 3
    assert float(hota(similarity, target, preds).mean.hota) == pytest.approx(
        oracle["hota"]["HOTA"].mean(), abs=1e-12
    )
