"""Paired differences on a device, beside those on the CPU."""

from __future__ import annotations

import math

import pytest
import torch


@pytest.mark.needs_cuda
@pytest.mark.parametrize("estimand", ["scenarios", "seeds"])
@pytest.mark.parametrize("scenarios", [9, 30])
def test_on_a_device(estimand: str, scenarios: int) -> None:
    pytest.importorskip("pydantic")  # which names are put to the numbers with
    from wmscore.comparison import gate_outcome, paired_difference

    generator = torch.Generator().manual_seed(0)
    old, new = (
        torch.randn(scenarios, 4, 5, dtype=torch.float64, generator=generator) for _ in range(2)
    )
    old[2], new[3, 1] = math.nan, math.inf
    old[:, 1:, 4], new[:, 1:, 4] = old[:, :1, 4], new[:, :1, 4]  # seeds that repeat themselves
    here = paired_difference(old, new, estimand=estimand, draws=500)
    there = paired_difference(old.cuda(), new.cuda(), estimand=estimand, draws=500)
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(a, b.cpu(), equal_nan=True)
    outcome = gate_outcome(there.low, there.high, 0.5, there.scenarios)
    assert torch.equal(outcome.cpu(), gate_outcome(here.low, here.high, 0.5, here.scenarios))
