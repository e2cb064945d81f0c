"""Rankings: shares of draws against a plain bootstrap, Kendall's tau against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from wmscore.functional import Reason
from wmscore.stats import kendall_tau, rank_shares, resample_counts


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def plain(scores: np.ndarray, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Share of ranks [M, M] and of wins [M, M], draw by draw."""
    models = scores.shape[1]
    share, better = np.zeros((models, models)), np.zeros((models, models))
    for counts in torch.cat(list(resample_counts(len(scores), draws))).long().numpy():
        means = np.repeat(scores, counts, axis=0).mean(0).round(9)
        low, high = (stats.rankdata(-means, method=m).astype(int) for m in ("min", "max"))
        for model in range(models):
            ranks = np.arange(low[model] - 1, high[model])
            share[model, ranks] += 1 / len(ranks)
            better[model] += (means[model] > means) + 0.5 * (means[model] == means)
    return share / draws, better / draws


@pytest.mark.parametrize("ties", [False, True])
def test_shares_equal_a_plain_bootstrap(ties: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = normal(9, 4, seed=1) + torch.tensor([0.0, 0.2, 0.4, 0.1])
    if ties:
        scores = scores.round()
        scores[:, 3] = scores[:, 0]
    found = rank_shares(scores, draws=500)
    share, better = plain(scores.numpy(), 500)
    np.testing.assert_allclose(found.share, share, atol=1e-12)
    np.testing.assert_allclose(found.better, better, atol=1e-12)
    np.testing.assert_allclose(found.first, share[:, 0], atol=1e-12)
    np.testing.assert_allclose(found.expected_rank, share @ np.arange(1, 5), atol=1e-12)
    for total in (found.share.sum(0), found.share.sum(1), found.first.sum()):
        torch.testing.assert_close(total, torch.ones_like(total))
    torch.testing.assert_close(found.better + found.better.T, torch.ones(4, 4).double())
    if ties:
        assert found.first[0] == found.first[3]
    monkeypatch.setattr("wmscore.stats.ranking._PIECE", 50)
    for one, other in zip(found, rank_shares(scores, draws=500), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


def test_ties_that_rounding_separates_are_ties() -> None:
    """0.1 and 0.3 in another order over the scenarios: equal means, unequal sums of floats."""
    left = torch.tensor([0.1, 0.2, 0.3, 0.7, 0.1, 0.2], dtype=torch.float64)
    scores = torch.stack([left, left + 1e-17], 1)
    found = rank_shares(scores * 3, draws=200)
    assert found.first.tolist() == [0.5, 0.5]


def test_scenarios_that_a_model_lacks_are_left_out() -> None:
    scores = normal(8, 3, seed=2)
    scores[2, 1], scores[5, 0] = math.nan, math.inf
    kept = scores[[0, 1, 3, 4, 6, 7]]
    found, expected = rank_shares(scores, draws=300), rank_shares(kept, draws=300)
    assert found.scenarios == 6
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    for few in (0, 1):
        none = rank_shares(kept[:few], draws=10)
        assert none.reason == Reason.TOO_FEW_SAMPLES
        assert none.first.isnan().all()
        assert none.better.isnan().all()


def test_share_follows_the_evidence() -> None:
    """Of a mean difference of z standard errors the better model leads in about Phi(z) draws."""
    base = normal(400, 1, seed=3)
    apart = normal(400, 1, seed=4)
    apart = (apart - apart.mean()) / apart.std() + 0.05  # z = 1
    found = rank_shares(torch.cat([base, base + apart], 1))
    assert found.first[1].item() == pytest.approx(stats.norm.cdf(1), abs=0.02)


def test_tau_equals_scipy() -> None:
    x, y = normal(6, 12, seed=5), normal(6, 12, seed=6)
    x[1:3], y[2:4] = x[1:3].round(), y[2:4].round()
    y[4, 3] = x[4, 7] = math.nan
    x[5, 0] = math.inf
    found = kendall_tau(x, y)
    for row in range(6):
        kept = ~(x[row].isnan() | y[row].isnan())
        theirs = stats.kendalltau(x[row, kept].numpy(), y[row, kept].numpy()).statistic
        assert found[row].item() == pytest.approx(theirs, abs=1e-12)
    torch.testing.assert_close(kendall_tau(x[:, None], y)[2, 3], kendall_tau(x[2], y[3]))


def test_tau_edges() -> None:
    line = torch.arange(5.0)
    assert kendall_tau(line, line.exp()) == 1
    assert kendall_tau(line, -line) == -1
    assert kendall_tau(line, torch.ones(5)).isnan()
    assert kendall_tau(line[:1], line[:1]).isnan()
    assert kendall_tau(line[:0], line[:0]).isnan()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: rank_shares(torch.ones(3)), ValueError, r"shape \[S, M\], got \(3,\)"),
        (lambda: rank_shares(torch.ones(3, 0)), ValueError, r"shape \[S, M\], got \(3, 0\)"),
        (lambda: rank_shares(torch.ones(3, 2), draws=0), ValueError, "draws must be at least 1"),
        (lambda: rank_shares([1.0]), TypeError, "scores must be a torch.Tensor, got list"),
        (lambda: kendall_tau(torch.tensor(1.0), torch.ones(2)), ValueError, r"shape \[..., N\]"),
        (lambda: kendall_tau(torch.ones(3), torch.ones(2)), ValueError, "as many items as x, 3"),
        (lambda: kendall_tau(torch.ones(3), [1.0]), TypeError, "y must be a torch.Tensor"),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
