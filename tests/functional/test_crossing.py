"""Failures and recoveries of curves of any shape, against a machine of single steps."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.crossing_machine import watch
from wmscore.functional import Reason, first_crossing, first_run, relative_threshold
from wmscore.functional import crossing as crossing_module

NAN = math.nan


def assert_is(found: object, curve: int, expected: object) -> None:
    failures = expected.failures  # type: ignore[attr-defined]
    got = {name: int(getattr(found, name)[curve]) for name in ("step", "failures", "recovery")}
    first, back = failures[0] if failures else (0, 0)
    assert got == {"step": first, "failures": len(failures), "recovery": back}
    assert bool(found.crossed[curve]) == bool(failures)  # type: ignore[attr-defined]
    assert int(found.last_failure[curve]) == (failures[-1][0] if failures else 0)  # type: ignore[attr-defined]
    assert int(found.failing_steps[curve]) == len(expected.failing)  # type: ignore[attr-defined]
    pending = not failures and expected.pending > 0  # type: ignore[attr-defined]
    assert bool(found.pending[curve]) == pending  # type: ignore[attr-defined]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, NAN]), min_size=9, max_size=9),
        min_size=1,
        max_size=3,
    ),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from([None, 0.5, 0.75]),
    st.booleans(),
)
def test_equals_the_machine(
    rows: list[list[float]], patience: int, back: int, recover: float | None, above: bool
) -> None:
    scores = torch.tensor(rows)
    given_scores = 1 - scores if above else scores
    found = first_crossing(
        given_scores,
        0.5,
        patience=patience,
        direction="above" if above else "below",
        recover_threshold=None if recover is None else 1 - recover if above else recover,
        recovery_patience=back,
    )
    for curve, row in enumerate(rows):
        expected = watch(row, 0.5, patience, recover=recover, recovery_patience=back)
        assert_is(found, curve, expected)


def test_recovery_takes_as_long_as_failure_unless_told() -> None:
    scores = torch.tensor([1.0, 0, 0, 1, 0, 0, 1, 1, 0, 0])
    found = first_crossing(scores, 0.5, patience=2)
    assert (int(found.step), int(found.recovery), int(found.failures)) == (2, 7, 2)
    assert (int(found.recovered_steps), int(found.last_failure)) == (2, 9)
    assert (int(found.lost_steps), int(found.last_recovery)) == (7, 0)
    hasty = first_crossing(scores, 0.5, patience=2, recovery_patience=1)
    assert (int(hasty.recovery), int(hasty.failures)) == (4, 3)


def test_margins() -> None:
    scores = torch.tensor([[0.75, 0.25, 0.875, 0.375, 0.4375], [NAN] * 5], dtype=torch.float64)
    found = first_crossing(scores, 0.5, patience=2)
    assert found.margin.dtype == torch.float64
    assert found.margin[0].item() == -0.125
    assert found.smallest_margin[0].item() == -0.25
    assert found.margin[1].isnan()
    assert found.smallest_margin[1].isnan()
    above = first_crossing(scores, 0.5, patience=1, direction="above")
    assert (above.step[0].item(), above.margin[0].item()) == (1, -0.25)
    assert first_crossing(scores.half(), 0.5, patience=2).margin.dtype == torch.float32


def test_thresholds_of_steps_and_of_curves() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(3, 4, 11, generator=generator)
    of_steps = torch.rand(3, 1, 11, generator=generator)
    together = first_crossing(scores, of_steps, patience=2)
    for a in range(3):
        for b in range(4):
            alone = first_crossing(scores[a, b] - of_steps[a, 0], 0.0, patience=2)
            assert together.step[a, b] == alone.step
    of_curves = of_steps[..., 0].expand(3, 4)
    for whole, part in (
        (
            first_crossing(scores, of_curves, patience=2),
            first_crossing(scores[2], of_curves[2], patience=2),
        ),
    ):
        assert whole.step[2].equal(part.step)


@pytest.mark.parametrize("shape", [(7,), (5, 7), (3, 5, 7), (2, 3, 5, 7), (2, 3, 2, 5, 7)])
def test_any_number_of_sides_and_pieces(shape: tuple[int, ...], monkeypatch) -> None:
    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(shape, generator=generator)
    thresholds = torch.rand(shape[:-1], generator=generator)
    patience = torch.randint(1, 4, shape[:-1], generator=generator)
    valid = torch.rand(shape[-2:], generator=generator) < 0.8
    whole = first_crossing(scores, thresholds, patience=patience, valid=valid)
    assert whole.step.shape == whole.margin.shape == shape[:-1]
    flat = scores.reshape(-1, shape[-1])
    masks = valid.expand(shape).reshape(flat.shape)
    for i in range(len(flat)):
        alone = first_crossing(
            flat[i],
            float(thresholds.flatten()[i]),
            patience=int(patience.flatten()[i]),
            valid=masks[i],
        )
        assert whole.step.flatten()[i] == alone.step
        assert whole.lost_steps.flatten()[i] == alone.lost_steps
    monkeypatch.setattr(crossing_module, "has_kernel", lambda *_: False)
    monkeypatch.setattr(crossing_module, "piece_elements", lambda _: 40)
    pieces = first_crossing(scores, thresholds, patience=patience, valid=valid)
    for name in ("step", "failures", "pending", "recovery"):
        assert getattr(pieces, name).equal(getattr(whole, name))


def test_first_run_reads_defined_steps_only() -> None:
    failing = torch.tensor([[True, False, True, True, False, True]])
    defined = torch.tensor([[True, False, True, True, True, False]])
    found = first_run(failing, defined, 3)
    assert (int(found.step), int(found.defined_steps)) == (1, 4)


def test_a_gradient_is_not_asked_for() -> None:
    scores = torch.rand(4, 6, requires_grad=True)
    assert first_crossing(scores, torch.rand(4, requires_grad=True)).step.shape == (4,)


def test_errors() -> None:
    scores = torch.rand(2, 3, 4)
    with pytest.raises(ValueError, match=r"recover_threshold must be at least the threshold, 0\.5"):
        first_crossing(scores, 0.5, recover_threshold=0.4)
    with pytest.raises(ValueError, match="recover_threshold must be at most the threshold"):
        first_crossing(scores, 0.5, recover_threshold=0.6, direction="above")
    with pytest.raises(ValueError, match="recovery_patience must be at least 1"):
        first_crossing(scores, 0.5, recovery_patience=0)
    with pytest.raises(ValueError, match="threshold must have a shape that broadcasts"):
        first_crossing(scores, torch.zeros(2, 3, 5))
    with pytest.raises(TypeError, match="recover_threshold must hold real numbers"):
        first_crossing(scores, 0.5, recover_threshold=torch.ones(2, 3) > 0)


def of(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_relative_thresholds() -> None:
    found = relative_threshold(of([0.0, 0.5, 0.5, NAN]), of([1.0, 1.0, 0.5, 1.0]), 0.25)
    assert found.threshold[:2].tolist() == [0.25, 0.625]
    assert found.threshold[2:].isnan().all()
    assert found.reason.tolist() == [0, 0, Reason.NO_HEADROOM, Reason.MISSING]
    wide = relative_threshold(torch.zeros(3, 1), torch.ones(2), torch.tensor([0.5, 1.0]))
    assert wide.threshold.tolist() == [[0.5, 1.0]] * 3
    with pytest.raises(ValueError, match="share must be a number at least 0"):
        relative_threshold(of([0.0]), of([1.0]), 1.5)
    with pytest.raises(
        ValueError, match=r"shapes must broadcast, got floor \(2,\), ceiling \(3,\)"
    ):
        relative_threshold(torch.zeros(2), torch.ones(3))
    with pytest.raises(TypeError, match="ceiling must be floating point"):
        relative_threshold(torch.zeros(2), torch.ones(2).int())
