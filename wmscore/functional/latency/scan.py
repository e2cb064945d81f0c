"""How well one series explains another at each lag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional.latency.signals import Signals

__all__ = [
    "LEAST_STEPS",
    "Moments",
    "Scan",
    "correlate",
    "covariances",
    "evidence_of",
    "lag_grid",
    "moments_of",
    "pooled",
    "scan_of",
]

LEAST_STEPS = 8
"""Steps that two series must share at a lag for it to be tried."""

_TINY = 1e-300


class Moments(NamedTuple):
    """What the evidence needs besides covariances, ``[P, D, ..., K]`` each, where both are present.

    Attributes:
        source: sum of squares of the source.
        response: sum of squares of the response.
        source_floor: sum of squares that is noise at least.
        response_floor: likewise.
        steps: steps that both have.
    """

    source: Tensor
    response: Tensor
    source_floor: Tensor
    response_floor: Tensor
    steps: Tensor


@dataclass(frozen=True, eq=False)
class Scan:
    """One series explained by another at each lag.

    Attributes:
        evidence: ``[..., K]`` nats, log-likelihood ratio against no relation; -inf where the two
            share too few steps.
        steps: ``[..., K]`` that they share.
        weights: ``[..., K, D]`` evidence of each dim, at least 0.
        correlations: ``[..., K, D]`` in the better way of whitening.
        gains: ``[..., K, D]``.
    """

    evidence: Tensor
    steps: Tensor
    weights: Tensor
    correlations: Tensor
    gains: Tensor


def lag_grid(largest: int, device: torch.device) -> Tensor:
    """Lags 0, 1, -1, 2, -2, ...: where two are equally good, the first and smaller one wins."""
    place = torch.arange(2 * largest + 1, device=device)
    half = (place + 1) // 2
    return torch.where(place % 2 == 1, half, -half)


def correlate(source: Tensor, response: Tensor, lags: Tensor) -> Tensor:
    """Sums over t of source[t] * response[t + lag], ``[..., T]`` to ``[..., K]``."""
    steps = source.shape[-1]
    spectrum = torch.fft.rfft(source, 2 * steps).conj() * torch.fft.rfft(response, 2 * steps)
    sums: Tensor = torch.fft.irfft(spectrum, 2 * steps)
    return sums.index_select(-1, lags % (2 * steps))


def covariances(source: Signals, response: Signals, lags: Tensor) -> Tensor:
    """Of each rollout, ``[P, D, B, K]``."""
    return correlate(source.values, response.values, lags)


def moments_of(source: Signals, response: Signals, lags: Tensor) -> Moments:
    """Of each rollout, ``[P, D, B, K]``."""
    steps = correlate(source.present, response.present, lags).round()
    return Moments(
        correlate(source.values.square(), response.present, lags).clamp(min=0),
        correlate(source.present, response.values.square(), lags).clamp(min=0),
        source.floor[..., None] * steps,
        response.floor[..., None] * steps,
        steps,
    )


def pooled(moments: Moments, weight: Tensor) -> Moments:
    """Sums ``[P, D, K]`` over rollouts, of which ``weight [B]`` says whether they count."""
    return Moments(*(torch.einsum("pdbk,b->pdk", part, weight) for part in moments))


def likelihoods(covariance: Tensor, moments: Moments) -> tuple[Tensor, Tensor]:
    """Evidence of each dim ``[D, ..., K]``, and log-likelihoods ``[P, D, ..., K]``.

    A way of whitening is a model of the noise, so that the likeliest one counts, with the source
    and without it.
    """
    total = moments.response + moments.response_floor
    explained = covariance.square() / (moments.source + moments.source_floor).clamp(min=_TINY)
    # Rounding must not explain more than all.
    rest = torch.maximum(total - explained, moments.response_floor)
    each = moments.steps
    steps, each = each[:1], each.clamp(min=1)
    fitted = -0.5 * steps * (rest / each).clamp(min=_TINY).log()
    plain = -0.5 * steps * (total / each).clamp(min=_TINY).log()
    return fitted.amax(0) - plain.amax(0), fitted


def evidence_of(covariance: Tensor, moments: Moments) -> Tensor:
    """Evidence over all dims, ``[..., K]``."""
    evidence, _ = likelihoods(covariance, moments)
    steps = moments.steps[0].amax(0)
    return torch.where(steps >= LEAST_STEPS, evidence.sum(0), -torch.inf)


def scan_of(covariance: Tensor, moments: Moments) -> Scan:
    """From covariances ``[P, D, ..., K]``."""
    weights, fitted = likelihoods(covariance, moments)
    steps = moments.steps[0].amax(0)
    best = fitted.argmax(0, keepdim=True)
    sizes = (moments.source * moments.response).clamp(min=_TINY).sqrt()
    correlations = (covariance / sizes).gather(0, best)[0].clamp(-1, 1)
    gains = (covariance / moments.source.clamp(min=_TINY)).gather(0, best)[0]
    return Scan(
        torch.where(steps >= LEAST_STEPS, weights.sum(0), -torch.inf),
        steps,
        weights.movedim(0, -1).clamp(min=0),
        correlations.movedim(0, -1),
        gains.movedim(0, -1),
    )
