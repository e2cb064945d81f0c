"""Cumulative incidence against statsmodels, lifelines, plain sums and the worked example."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from tests.stats.survival_data import COMPETING, random_horizons
from wmscore.functional import Reason
from wmscore.stats import cumulative_incidence, kaplan_meier, risk_table

EXACT = {"rtol": 1e-9, "atol": 1e-12}


def test_worked_example() -> None:
    times, cause = (torch.tensor(part) for part in COMPETING)
    table = risk_table(times, cause, 32, causes=3)
    found = cumulative_incidence(table)
    assert found.incidence[:, 32].tolist() == pytest.approx([0.2, 0.3, 0.2], abs=1e-15)
    naive = [1 - kaplan_meier(risk_table(times, cause == k, 32)).survival[32] for k in (1, 2, 3)]
    assert [round(float(share), 4) for share in naive] == [0.25, 0.3778, 0.3571]
    times[4], cause[4] = 10, 0
    found = cumulative_incidence(risk_table(times, cause, 32, causes=3))
    assert found.incidence[:, 32].tolist() == pytest.approx([0.1, 0.32, 0.22], abs=1e-15)


@pytest.mark.parametrize("count", [3, 12, 200, 5000])
@pytest.mark.parametrize("early", [0.0, 0.4])
def test_equals_statsmodels(count: int, early: float) -> None:
    survfunc = pytest.importorskip("statsmodels.duration.survfunc")
    for seed in range(3):
        times, cause = random_horizons(count, early=early, seed=seed)
        if not cause.any():
            continue
        other = survfunc.CumIncidenceRight(times.numpy(), cause.numpy())
        found = cumulative_incidence(risk_table(times, cause, 20, causes=3), band="plain")
        steps = other.times.astype(int)
        for k, (share, error) in enumerate(zip(other.cinc, other.cinc_se, strict=True)):
            np.testing.assert_allclose(found.incidence[k, steps].numpy(), share, **EXACT)
            np.testing.assert_allclose(
                found.variance[k, steps].numpy(), error**2, rtol=1e-9, atol=1e-14
            )
            z = 1.959963984540054
            ends = (share - z * error).clip(0, 1), (share + z * error).clip(0, 1)
            np.testing.assert_allclose(found.low[k, steps].numpy(), ends[0], rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(found.high[k, steps].numpy(), ends[1], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_equals_lifelines_without_ties(level: float) -> None:
    """With ties lifelines jitters the data; without, its band is the log-log one."""
    lifelines = pytest.importorskip("lifelines")
    times = torch.randperm(60) + 1
    cause = torch.randint(0, 4, (60,))
    cause[times == 60] = 0
    found = cumulative_incidence(risk_table(times, cause, 60, causes=3), level=level)
    for k in (1, 2, 3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = lifelines.AalenJohansenFitter(alpha=1 - level).fit(
                times.numpy(), cause.numpy(), event_of_interest=k
            )
        np.testing.assert_allclose(
            found.incidence[k - 1].numpy(), fitted.cumulative_density_.values[:, 0], **EXACT
        )
        np.testing.assert_allclose(found.variance[k - 1].numpy(), fitted.variance_.values, **EXACT)
        ends = fitted.confidence_interval_.to_numpy()
        known = ~np.isnan(ends).any(1)
        assert known.sum() > 40
        mine = torch.stack([found.low[k - 1], found.high[k - 1]], 1).numpy()
        np.testing.assert_allclose(mine[known], np.sort(ends, 1)[known], **EXACT)


def test_equals_plain_sums() -> None:
    """With ties, and with a curve that reaches 0, the variance summed as it is written."""
    for seed in range(5):
        times, cause = random_horizons(30, horizon=8, seed=seed)
        if seed % 2:
            cause = cause.clamp(min=1)  # all fail, the last at T
        table = risk_table(times, cause, 8, causes=3)
        found = cumulative_incidence(table)
        count, ends = table.at_risk.tolist(), table.by_cause.tolist()
        for k in range(3):
            survival, share, shares, pieces = 1.0, 0.0, [], []
            for t in range(9):
                fail = sum(ends[c][t] for c in range(3))
                share += survival * ends[k][t] / count[t]
                shares.append(share)
                left = count[t] - fail
                whole = fail / (count[t] * left) if left else 0.0
                own = survival**2 * ends[k][t] * (count[t] - ends[k][t]) / count[t] ** 3
                pieces.append((whole, own, survival * ends[k][t] / count[t] ** 2))
                survival *= left / count[t]
            for t in range(9):
                variance = sum(
                    (shares[t] - shares[u]) ** 2 * whole + own - 2 * (shares[t] - shares[u]) * mixed
                    for u, (whole, own, mixed) in enumerate(pieces[: t + 1])
                )
                assert found.incidence[k, t].item() == pytest.approx(shares[t], rel=1e-12)
                assert found.variance[k, t].item() == pytest.approx(variance, rel=1e-9, abs=1e-15)


def test_shares_and_survival_sum_to_1() -> None:
    times, cause = random_horizons(7 * 40, early=0.4)
    table = risk_table(times.reshape(7, 40), cause.reshape(7, 40), 20, causes=3)
    found = cumulative_incidence(table)
    total = found.incidence.sum(-2) + kaplan_meier(table).survival
    known = ~total.isnan()
    assert known.sum() > 100
    torch.testing.assert_close(total[known], torch.ones_like(total[known]), rtol=0, atol=1e-14)
    assert (found.low <= found.incidence)[~found.low.isnan()].all()
    assert (found.high >= found.incidence)[~found.low.isnan()].all()


def test_one_cause_is_what_survival_leaves() -> None:
    times, cause = random_horizons(60, early=0.3)
    table = risk_table(times, cause > 0, 20)
    found, curve = cumulative_incidence(table, band="plain"), kaplan_meier(table, band="plain")
    torch.testing.assert_close(found.incidence[0], 1 - curve.survival)
    torch.testing.assert_close(found.variance[0], curve.variance, rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(found.low[0], 1 - curve.high)


def test_edges() -> None:
    times = torch.tensor([[2, 3, 3], [1, 2, 2], [-1, -1, -1]])
    cause = torch.tensor([[1, 0, 0], [1, 2, 2], [1, 1, 1]])
    found = cumulative_incidence(risk_table(times, cause, 5, causes=2))
    assert found.incidence.isnan().sum(-1).tolist() == [[2, 2], [0, 0], [6, 6]]
    for part in found[1:4]:
        assert torch.equal(part.isnan(), found.incidence.isnan())
    assert torch.equal(found.reason == Reason.TOO_FEW_SAMPLES, found.incidence.isnan())
    assert found.incidence[1, :, 5].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert (found.low[0, 1, :4] == 0).all()  # nothing ended by the second cause
    assert (found.high[0, 1, :4] == 0).all()
    with pytest.raises(ValueError, match="band must be 'log-log' or 'plain'"):
        cumulative_incidence(risk_table(times, cause, 5, causes=2), band="log")
    with pytest.raises(TypeError, match="table must be a RiskTable"):
        cumulative_incidence(times)
