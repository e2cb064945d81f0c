"""The lag between two series of a panel, pooled and for each rollout."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wmscore.functional.latency.null import Exchange, chance_of
from wmscore.functional.latency.result import Lag, LagEstimate
from wmscore.functional.latency.scan import (
    LEAST_STEPS,
    Moments,
    Scan,
    covariances,
    lag_grid,
    moments_of,
    pooled,
    scan_of,
)
from wmscore.functional.latency.signals import Signals
from wmscore.functional.reasons import Reason

__all__ = ["CLEAR", "STAGES", "estimate"]

CLEAR = math.log(20.0)
"""Nats from which a lag is clear of the second best."""

STAGES = (
    Reason.TOO_FEW_STEPS,
    Reason.NO_EXCITATION,
    Reason.NO_RESPONSE,
    Reason.NO_GENERATED_RESPONSE,
    Reason.DEFINED,
)
"""What can be missing, in the order in which it is asked."""


def estimate(
    source: Signals,
    response: Signals,
    stage: Tensor,
    exchange: Exchange,
    *,
    max_lag: int,
    draws: int,
    seed: int,
    level: float,
) -> LagEstimate:
    """Lag of a response behind its source.

    Args:
        source: of B rollouts.
        response: likewise.
        stage: ``[B]`` int64, place in `STAGES` of what each rollout lacks.
        exchange: which scripts may stand for which.
        max_lag: largest lag.
        draws: exchanges of scripts.
        seed: of the draws.
        level: of significance.
    """
    steps = source.values.shape[-1]
    furthest = max(0, steps - LEAST_STEPS)
    window = min(max_lag, furthest)
    lags = lag_grid(furthest, stage.device)
    inside = lags[: 2 * window + 1]  # the grid begins with the smallest
    covariance = covariances(source, response, lags)
    moments = moments_of(source, response, lags)
    weight = exchange.eligible.to(torch.float64)
    of_panel = scan_of(torch.einsum("pdbk,b->pdk", covariance, weight), pooled(moments, weight))
    of_rows = scan_of(covariance, moments)
    tested = exchange.tested.to(torch.float64)
    together = pooled(moments, tested)
    of_tested = scan_of(torch.einsum("pdbk,b->pdk", covariance, tested), together)
    seen_panel, seen_rows = (
        scan.evidence[..., : len(inside)].amax(-1) for scan in (of_tested, of_rows)
    )
    together, moments = (
        Moments(*(part[..., : len(inside)] for part in whole)) for whole in (together, moments)
    )
    chance = chance_of(
        source,
        response,
        together,
        moments,
        (seen_panel, seen_rows),
        inside,
        exchange,
        draws=draws,
        level=level,
        seed=seed,
    )
    furthest_stage = torch.cat([stage, stage.new_zeros(1)]).amax()
    return LagEstimate(
        _lag(of_panel, lags, window, chance.pooled, furthest_stage, level),
        _lag(of_rows, lags, window, chance.rollouts, stage, level),
    )


def _lag(
    scan: Scan, lags: Tensor, window: int, p_value: Tensor, stage: Tensor, level: float
) -> Lag:
    """The best lag of each scan ``[..., K]``."""
    count = 2 * window + 1
    evidence, steps = scan.evidence[..., :count], scan.steps[..., :count]
    found = evidence.max(-1)
    best, place = found.values, found.indices[..., None]
    lag = lags.take(place[..., 0]).to(torch.float64)
    beyond = (scan.evidence[..., count:] > best[..., None]).any(-1)
    own = steps.gather(-1, place)
    rate = evidence / steps.clamp(min=1)
    gap = (best[..., None] / own.clamp(min=1) - rate) * torch.minimum(own, steps)
    gap = torch.where(evidence.isfinite(), gap, torch.inf)
    margin = gap.scatter(-1, place, torch.inf).amin(-1)

    def at_best(values: Tensor) -> Tensor:
        """``[..., D]``."""
        index = place[..., None].expand(*place.shape, values.shape[-1])
        return values.gather(-2, index)[..., 0, :]

    weights, correlations, gains = map(at_best, (scan.weights, scan.correlations, scan.gains))
    # Slopes by the inverse of their relative variance, (1 - r^2) / (n r^2): noise in the source
    # flattens the slope of a dim that holds more of it.
    exact = torch.expm1(2 * weights / own.clamp(min=1))
    gain = (exact * gains).sum(-1) / exact.sum(-1).clamp(min=1e-300)
    weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-300)
    polarity = torch.where((weights * correlations.sign()).sum(-1) < 0, -1.0, 1.0)

    codes = torch.tensor(STAGES, dtype=torch.uint8, device=lags.device)
    reason = codes.take(stage)

    def further(undefined: Tensor, code: Reason) -> Tensor:
        return torch.where((reason == Reason.DEFINED) & undefined, int(code), reason)

    reason = further(best.isinf(), Reason.TOO_FEW_STEPS).to(torch.uint8)
    asked = reason == Reason.DEFINED
    reason = further(beyond | (p_value > level), Reason.NO_LAG).to(torch.uint8)
    reason = further(p_value.isnan(), Reason.TOO_FEW_SAMPLES).to(torch.uint8)
    stands = (reason == Reason.DEFINED) | (reason == Reason.TOO_FEW_SAMPLES)
    edge = beyond | ((lag.abs() == window) & stands)

    def standing(values: Tensor) -> Tensor:
        mask = stands if values.ndim == stands.ndim else stands[..., None]
        return torch.where(mask, values, torch.nan)

    return Lag(
        standing(lag),
        torch.where(asked, p_value, torch.nan),
        standing(margin),
        standing(polarity),
        standing((weights * correlations).sum(-1)),
        standing(gain),
        standing(correlations),
        standing(gains),
        stands & (margin < CLEAR),
        asked & edge,
        reason,
    )
