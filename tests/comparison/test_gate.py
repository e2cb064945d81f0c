"""The gate: where an interval lies against a margin, and never a pass for want of data."""

from __future__ import annotations

import math

import pytest
import torch

from wmscore.comparison import Outcome, gate_outcome, paired_difference, parse_margin


def test_exit_codes() -> None:
    assert {o.name: int(o) for o in Outcome} == {"PASS": 0, "FAIL": 1, "UNDECIDED": 3}


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (-1.9, 5.0, Outcome.PASS),
        (-2.0, 5.0, Outcome.UNDECIDED),  # exactly at the margin is not above it
        (-2.1, 5.0, Outcome.UNDECIDED),
        (-9.0, -2.0, Outcome.UNDECIDED),
        (-9.0, -2.1, Outcome.FAIL),
        (0.0, 0.0, Outcome.PASS),
        (math.nan, math.nan, Outcome.UNDECIDED),
        (-math.inf, math.inf, Outcome.UNDECIDED),
    ],
)
def test_where_the_interval_lies(low: float, high: float, outcome: Outcome) -> None:
    found = gate_outcome(torch.tensor(low), torch.tensor(high), 2.0, torch.tensor(8))
    assert Outcome(int(found)) == outcome
    few = gate_outcome(torch.tensor(low), torch.tensor(high), 2.0, torch.tensor(5))
    assert Outcome(int(few)) == Outcome.UNDECIDED


def test_a_baseline_that_cannot_be_missed_passes_nothing() -> None:
    zero = torch.tensor(0.0)
    for baseline, outcome in ((1.5, 3), (2.0, 3), (2.1, 0)):
        found = gate_outcome(zero, zero, 2.0, torch.tensor(9), baseline=torch.tensor(baseline))
        assert int(found) == outcome
    worse = gate_outcome(
        torch.tensor(-4.0), torch.tensor(-3.0), 2.0, torch.tensor(9), baseline=torch.tensor(1.0)
    )
    assert int(worse) == Outcome.FAIL


def test_rates_at_the_margin() -> None:
    """A candidate worse by exactly the margin passes in 2.5 % of panels and fails in as many."""
    generator = torch.Generator().manual_seed(0)
    gain = torch.randn(12, 1, 4000, dtype=torch.float64, generator=generator) - 2
    found = paired_difference(torch.zeros_like(gain), gain, draws=10)
    outcome = gate_outcome(found.low, found.high, 2.0, found.scenarios)
    for verdict in (Outcome.PASS, Outcome.FAIL):
        assert 0.017 <= (outcome == verdict).double().mean().item() <= 0.033


def test_margins_as_words() -> None:
    assert parse_margin("2", 32) == 2.0
    assert parse_margin(1.5, 32) == 1.5
    assert parse_margin(" 5% ", 32) == pytest.approx(1.6)
    assert parse_margin("0", 32) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("many", "expected steps"),
        ("%", "expected steps"),
        ("-1", "at least 0"),
        ("nan", "finite number"),
        ("inf", "finite number"),
        ("32", "lets everything pass"),
        ("100%", "lets everything pass"),
    ],
)
def test_bad_margins(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_margin(text, 32)


def test_bad_input() -> None:
    one = torch.tensor(1.0)
    with pytest.raises(TypeError, match=r"low must be a torch\.Tensor, got float"):
        gate_outcome(1.0, one, 2.0, one)
    with pytest.raises(ValueError, match="margin must be a finite number of at least 0, got -1"):
        gate_outcome(one, one, -1, one)
    with pytest.raises(TypeError, match="margin must be a number, got str"):
        gate_outcome(one, one, "2", one)
