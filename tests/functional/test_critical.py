"""The critical threshold: known answers, a window at a time, and what it says about crossings."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wmscore.functional import critical_threshold, first_crossing

NAN, INF = math.nan, math.inf


def window_by_window(scores: list[float], patience: int) -> float:
    defined = [score for score in scores if not math.isnan(score)]
    if not defined:
        return NAN
    starts = range(len(defined) - patience + 1)
    return min((max(defined[i : i + patience]) for i in starts), default=INF)


def test_known_answers() -> None:
    scores = torch.tensor([1.0, 0.25, 0.875, 0.5, 0.75, 1.0])
    answers = [critical_threshold(scores, patience=p).item() for p in range(1, 8)]
    assert answers == [0.25, 0.75, 0.875, 0.875, 1.0, 1.0, INF]
    worse = critical_threshold(1 - scores, patience=2, direction="above")
    assert worse.item() == 0.25
    assert critical_threshold(torch.tensor([NAN, 0.5, NAN]), patience=1).item() == 0.5
    assert critical_threshold(torch.tensor([NAN, 0.5, NAN]), patience=2).item() == INF
    assert critical_threshold(torch.tensor([NAN, NAN]), patience=1).isnan()
    above = critical_threshold(torch.tensor([0.5]), patience=2, direction="above")
    assert above.item() == -INF


def test_undefined_steps_do_not_interrupt_a_window() -> None:
    scores = torch.tensor([1.0, 0.25, 0.0, 0.5, 1.0])
    valid = torch.tensor([True, True, False, True, True])
    assert critical_threshold(scores, patience=2, valid=valid).item() == 0.5
    scores[2] = NAN
    assert critical_threshold(scores, patience=2).item() == 0.5


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(st.floats(-2, 2, width=32), st.just(NAN), st.just(INF)), min_size=1),
    st.integers(1, 9),
)
def test_equals_one_window_after_the_other(values: list[float], patience: int) -> None:
    found = critical_threshold(torch.tensor(values), patience=patience).item()
    expected = window_by_window(values, patience)
    assert found == expected or (math.isnan(found) and math.isnan(expected))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("direction", ["below", "above"])
def test_a_curve_crosses_beyond_it_and_not_at_it(direction: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.rand(4, 50, 33, generator=generator).to(dtype)
    scores[torch.rand(scores.shape, generator=generator) < 0.2] = torch.nan
    valid = torch.rand(50, 33, generator=generator) < 0.8
    patience = torch.tensor([1, 2, 5, 40])[:, None]
    options = {"patience": patience, "direction": direction, "valid": valid}
    critical = critical_threshold(scores, **options)  # type: ignore[arg-type]
    assert critical.dtype == dtype
    assert critical[3].isinf().all()
    assert not first_crossing(scores, critical, **options).crossed.any()  # type: ignore[arg-type]
    towards = torch.tensor(INF if direction == "below" else -INF, dtype=dtype)
    beyond = critical.nextafter(towards) if dtype != torch.float16 else critical + towards.sign()
    crossed = first_crossing(scores, beyond, **options).crossed  # type: ignore[arg-type]
    assert crossed[:3].all()
    assert not crossed[3].any()


@pytest.mark.parametrize("direction", ["below", "above"])
def test_hysteresis_fails_beyond_it_and_not_at_it(direction: str) -> None:
    """Of thresholds on the failing side of the one to recover at."""
    generator = torch.Generator().manual_seed(5)
    scores = torch.rand(4, 60, 33, generator=generator, dtype=torch.float64)
    scores[torch.rand(scores.shape, generator=generator) < 0.2] = torch.nan
    recover = torch.full((4, 60), 0.8) if direction == "below" else torch.full((4, 60), 0.2)
    recover = recover.double()
    patience = torch.tensor([1, 2, 5, 40])[:, None]
    options = {"patience": patience, "direction": direction, "recover_threshold": recover}
    critical = critical_threshold(scores, **options)  # type: ignore[arg-type]
    bound = torch.minimum if direction == "below" else torch.maximum
    at = bound(critical, recover)
    assert not first_crossing(scores, at, **options).crossed.any()  # type: ignore[arg-type]
    beyond = critical.nextafter(torch.tensor(INF if direction == "below" else -INF).double())
    allowed = bound(beyond, recover) == beyond
    assert allowed[:3].double().mean() > 0.8
    crossed = first_crossing(scores, bound(beyond, recover), **options).crossed  # type: ignore[arg-type]
    assert torch.equal(crossed, allowed)
    plain = critical_threshold(scores, patience=patience, direction=direction)  # type: ignore[arg-type]
    assert (bound(plain, critical) == critical).all()  # hysteresis never helps
    assert not torch.equal(plain, critical)


def test_hysteresis_by_hand() -> None:
    scores = torch.tensor([1.0, 0.25, 0.875, 0.5, 0.75, 1.0])
    found = [critical_threshold(scores, patience=2, recover_threshold=r).item() for r in (0.8, 0.9)]
    assert found == [0.5, 0.25]
    limits = torch.tensor([NAN, 0.9])
    both = critical_threshold(scores.expand(2, -1), patience=2, recover_threshold=limits)
    assert both.tolist() == [0.75, 0.25]
    lone = torch.tensor([0.1, 0.95, NAN])
    assert critical_threshold(lone, patience=2, recover_threshold=0.9).item() == INF
    assert critical_threshold(lone, patience=1, recover_threshold=0.9).item() == pytest.approx(0.1)


def test_a_higher_patience_never_lowers_it_and_rows_are_their_own() -> None:
    scores = torch.rand(3, 20, 17, generator=torch.Generator().manual_seed(0))
    levels = [critical_threshold(scores, patience=p) for p in range(1, 18)]
    assert (torch.stack(levels).diff(dim=0) >= 0).all()
    assert critical_threshold(scores[1, 4:5], patience=4).equal(levels[3][1, 4:5])
    assert critical_threshold(scores[:, :0]).shape == (3, 0)


def test_errors() -> None:
    with pytest.raises(TypeError, match="scores must be floating point"):
        critical_threshold(torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="at least one step"):
        critical_threshold(torch.zeros(3, 0))
    with pytest.raises(ValueError, match="patience must be at least 1"):
        critical_threshold(torch.zeros(3), patience=0)
    with pytest.raises(ValueError, match="direction must be one of"):
        critical_threshold(torch.zeros(3), direction="down")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="valid must be bool"):
        critical_threshold(torch.zeros(3), valid=torch.ones(3))
