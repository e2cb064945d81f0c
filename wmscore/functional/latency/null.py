"""Chance: what the evidence would be if each rollout had followed another rollout's script."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional.latency.scan import Moments, evidence_of
from wmscore.functional.latency.signals import Signals

__all__ = ["Exchange", "exchange_of", "pooled_p_value", "rollout_p_values"]

LEAST_FREEDOM = 7
"""Scripts that could be exchanged, less one per group: 8 different ones in one group."""

_PARTNERS = 199  # other scripts that each rollout is compared with at most
_SAME = 1e-9  # distance of two fingerprints of scripts below which the scripts are one
_SLACK = 1e-6  # nats below which two evidences are tied
_PIECE = 1 << 22  # values that are gathered at a time


@dataclass(frozen=True, eq=False)
class Exchange:
    """Which scripts may stand for which.

    Attributes:
        keys: ``[B]`` each; rollouts that agree in all of them may exchange scripts.
        eligible: ``[B]`` bool, whether the rollout counts at all.
        script: ``[B]`` float64 fingerprint: rollouts with the same script have the same.
        enough: ``[]`` bool, whether there are scripts enough for a verdict on the panel.
    """

    keys: tuple[Tensor, ...]
    eligible: Tensor
    script: Tensor
    enough: Tensor


def exchange_of(script: Tensor, eligible: Tensor, keys: tuple[Tensor, ...]) -> Exchange:
    """Exchange within rollouts that are eligible and agree in all keys ``[B]``."""
    keys = (*keys, (~eligible).to(torch.int64))
    order = _ordered(script.argsort(), keys)
    begins = _begins(order, keys)
    listed = script[order]
    differs = pad((listed[1:] - listed[:-1]).abs() > _SAME, (1, 0), value=False)
    freedom = (differs & ~begins & eligible[order]).sum()
    return Exchange(keys, eligible, script, freedom >= LEAST_FREEDOM)


def _ordered(order: Tensor, keys: tuple[Tensor, ...]) -> Tensor:
    """Rows ``[..., B]`` in an order, sorted by the keys; ties stay in that order."""
    for key in keys:
        order = order.gather(-1, key[order].argsort(dim=-1, stable=True))
    return order


def _begins(order: Tensor, keys: tuple[Tensor, ...]) -> Tensor:
    """Where a new class begins in a sorted list ``[B]`` of rows."""
    begins = torch.zeros_like(order, dtype=torch.bool)
    for key in keys:
        listed = key[order]
        begins |= pad(listed[1:] != listed[:-1], (1, 0), value=True)[: len(order)]
    return begins


def _lagged(response: Tensor, lags: Tensor) -> Tensor:
    """``[..., T]`` as ``[..., T, K]``: its value at t + lag, 0 where there is none."""
    steps = response.shape[-1]
    at = torch.arange(steps, device=lags.device)[:, None] + lags  # [T, K]
    inside = (at >= 0) & (at < steps)
    index = at.clamp(0, steps - 1).flatten()
    return response.index_select(-1, index).unflatten(-1, at.shape) * inside


def pooled_p_value(
    source: Signals,
    response: Signals,
    moments: Moments,
    seen: Tensor,
    lags: Tensor,
    exchange: Exchange,
    *,
    draws: int,
    seed: int,
) -> Tensor:
    """Share of random exchanges of scripts with as much evidence as was seen, ``[]``.

    Args:
        source: of B rollouts, each of which follows a script.
        response: likewise.
        moments: of the eligible rollouts together, ``[P, D, K]``: an exchange does not alter them.
        seen: ``[]`` evidence of the best lag.
        lags: ``[K]``.
        exchange: which scripts may stand for which.
        draws: number of exchanges.
        seed: of the draws.
    """
    ways, dims, rows, steps = source.values.shape
    generator = torch.Generator().manual_seed(seed)
    keys = torch.rand(draws, rows, dtype=torch.float64, generator=generator).to(lags.device)
    base = _ordered(torch.arange(rows, device=lags.device), exchange.keys)
    drawn = torch.empty_like(keys, dtype=torch.int64)
    drawn[:, base] = _ordered(keys.argsort(dim=-1), exchange.keys)
    counted = response.values * exchange.eligible[:, None]
    covariance = torch.zeros(ways, dims, draws, len(lags), dtype=torch.float64, device=lags.device)
    block = max(1, _PIECE // (ways * dims * steps * len(lags)))
    for row in range(0, rows, block):
        part = counted[:, :, row : row + block]
        lagged = _lagged(part, lags).flatten(2, 3)  # [P, D, n T, K]
        piece = max(1, _PIECE // (ways * dims * steps * part.shape[2]))
        for draw in range(0, draws, piece):
            index = drawn[draw : draw + piece, row : row + block]
            scripts = source.values.index_select(2, index.flatten())
            scripts = scripts.reshape(ways, dims, len(index), lagged.shape[2])
            covariance[:, :, draw : draw + piece] += scripts @ lagged
    moments = Moments(*(part[:, :, None] for part in moments.parts))
    null = evidence_of(covariance, moments).amax(-1)
    count = (null >= seen - _SLACK).sum()
    p_value = (1 + count).to(torch.float64) / (1 + draws)
    return torch.where(exchange.enough, p_value, torch.nan)


def rollout_p_values(
    source: Signals,
    response: Signals,
    moments: Moments,
    seen: Tensor,
    lags: Tensor,
    exchange: Exchange,
    *,
    level: float,
    seed: int,
) -> Tensor:
    """Share of other scripts that would have explained each response as well, ``[B]``.

    NaN where there are too few other scripts for a p-value at the level.

    Args:
        source: of B rollouts, each of which follows a script.
        response: likewise.
        moments: ``[P, D, B, K]``.
        seen: ``[B]`` evidence of the best lag.
        lags: ``[K]``.
        exchange: which scripts may stand for which.
        level: of significance.
        seed: of the choice of other scripts.
    """
    ways, dims, rows, steps = source.values.shape
    partner, other = _partners(exchange, seed)  # [B, J]
    count = torch.zeros(rows, dtype=torch.int64, device=lags.device)
    width = partner.shape[1]
    block = max(1, _PIECE // (ways * dims * max(1, width) * (steps + 8 * len(lags))))
    for row in range(0, rows if width else 0, block):
        index = partner[row : row + block]
        size = (ways, dims, *index.shape, -1)
        scripts = source.values.index_select(2, index.flatten()).reshape(size)
        lagged = _lagged(response.values[:, :, row : row + block], lags)
        here = [part[:, :, row : row + block, None] for part in moments.parts]
        there = [
            part.index_select(2, index.flatten()).reshape(size)
            for part in (moments.source, moments.source_floor, moments.source_steps)
        ]
        paired = Moments(there[0], here[1], there[1], here[3], there[2], here[5])
        null = evidence_of(scripts @ lagged, paired).amax(-1)  # [n, J]
        extreme = (null >= seen[row : row + block, None] - _SLACK) & other[row : row + block]
        count[row : row + block] = extreme.sum(-1)
    others = 1 + other.sum(-1).to(torch.float64)
    return torch.where(others * level >= 1, (1 + count) / others, torch.nan)


def _partners(exchange: Exchange, seed: int) -> tuple[Tensor, Tensor]:
    """Rows whose scripts could have been given, and whether they could, ``[B, J]`` each."""
    script, device = exchange.script, exchange.script.device
    rows = len(script)
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(rows, generator=generator).to(device)
    order = _ordered(shuffled, exchange.keys)
    place = torch.arange(rows, device=device)
    begins = _begins(order, exchange.keys)
    first = torch.where(begins, place, 0).cummax(0).values
    ends = pad(begins[1:], (0, 1), value=True)[:rows]
    last = torch.where(ends, place, rows).flip(0).cummin(0).values.flip(0)
    size = (last - first + 1)[:, None]
    shift = torch.arange(1, min(max(rows - 1, 0), _PARTNERS) + 1, device=device)
    listed = order[first[:, None] + (place - first)[:, None].add(shift) % size]
    partner, fits = torch.empty_like(listed), torch.empty_like(listed, dtype=torch.bool)
    partner[order], fits[order] = listed, shift < size
    differs = (script[partner] - script[:, None]).abs() > _SAME
    return partner, fits & differs & exchange.eligible[:, None]
