"""Chance: what the evidence would be if each rollout had followed another rollout's script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

from wmscore.functional._chunks import piece_elements
from wmscore.functional.latency.scan import Moments, evidence_of
from wmscore.functional.latency.signals import Signals

__all__ = ["Chance", "Exchange", "chance_of", "exchange_of"]

LEAST_FREEDOM = 7
"""Scripts that could be exchanged, less one per group: 8 different ones in one group."""

_CHUNK = 100  # rollouts that exchange scripts with each other
_SAME = 1e-9  # distance of two fingerprints of scripts below which the scripts are one
_SLACK = 1e-6  # nats below which two evidences are tied


@dataclass(frozen=True, eq=False)
class Exchange:
    """Which scripts may stand for which.

    Attributes:
        keys: ``[B]`` each; rollouts that agree in all of them may exchange scripts.
        eligible: ``[B]`` bool, whether the rollout counts at all.
        script: ``[B]`` float64 fingerprint: rollouts with the same script have the same.
        tested: ``[B]`` bool, whether it counts in the p-value of the panel.
        enough: ``[]`` bool, whether there are scripts enough for a verdict on the panel.
    """

    keys: tuple[Tensor, ...]
    eligible: Tensor
    script: Tensor
    tested: Tensor
    enough: Tensor


def exchange_of(
    script: Tensor, eligible: Tensor, keys: tuple[Tensor, ...], tested: Tensor | None = None
) -> Exchange:
    """Exchange within rollouts that are eligible and agree in all keys ``[B]``."""
    tested = eligible if tested is None else eligible & tested
    keys = (*keys, (~eligible).to(torch.int64))
    order = _ordered(script.argsort(), keys)
    begins = _begins(order, keys)
    listed = script[order]
    differs = pad((listed[1:] - listed[:-1]).abs() > _SAME, (1, 0), value=False)
    freedom = (differs & ~begins & eligible[order]).sum()
    return Exchange(keys, eligible, script, tested, freedom >= LEAST_FREEDOM)


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
    lagged: Tensor = response.index_select(-1, index).reshape(*response.shape[:-1], *at.shape)
    return lagged * inside


class Chance(NamedTuple):
    """P-values.

    Attributes:
        pooled: ``[]``, share of random exchanges of scripts with as much evidence as was seen; NaN
            where there are too few scripts.
        rollouts: ``[B]``, share of other scripts that would have explained a response as well; NaN
            where there are too few for a p-value at the level.
    """

    pooled: Tensor
    rollouts: Tensor


def chance_of(
    source: Signals,
    response: Signals,
    together: Moments,
    moments: Moments,
    seen: tuple[Tensor, Tensor],
    lags: Tensor,
    exchange: Exchange,
    *,
    draws: int,
    level: float,
    seed: int,
) -> Chance:
    """P-values of a panel and of its rollouts, from exchanges within chunks of rollouts.

    All pairs of a script and a response in a chunk are correlated once, for both kinds.

    Args:
        source: of B rollouts, each of which follows a script.
        response: likewise.
        together: of the rollouts that are tested, ``[P, D, K]``.
        moments: of each rollout, ``[P, D, B, K]``.
        seen: evidence of the best lag, of those together ``[]`` and of each rollout ``[B]``.
        lags: ``[K]``.
        exchange: which scripts may stand for which.
        draws: number of exchanges of the panel.
        level: of significance.
        seed: of the draws.
    """
    ways, dims, rows, _ = source.values.shape
    if rows == 0:
        nothing = torch.full_like(seen[1], torch.nan)
        return Chance(nothing.sum() + torch.nan, nothing)
    generator = torch.Generator().manual_seed(seed)
    chunks, used = _chunks(exchange, generator)
    alike = _have_the_same_steps(source, response)
    extreme, others = torch.zeros(2, rows, dtype=torch.int64, device=lags.device)
    sums: list[Tensor] = []
    for chunk, there in zip(chunks, used, strict=True):
        script, answer = source.rows(chunk), response.rows(chunk)
        covariance = _of_pairs(script.values, answer.values, lags)
        if alike:
            mine = [part.index_select(2, chunk) for part in moments]
            first, second = ([part.unsqueeze(dim) for part in mine] for dim in (3, 2))
            paired = Moments(first[0], second[1], first[2], second[3], second[4])
        else:
            paired = _moments_of_pairs(script, answer, lags)
        null = _best_of_pairs(covariance, paired)
        other = _exchangeable(exchange, chunk, there)
        reached = (null >= seen[1][chunk] - _SLACK) & other
        extreme.index_add_(0, chunk, reached.sum(0))
        others.index_add_(0, chunk, other.sum(0))
        keys = torch.rand(draws, len(chunk), dtype=torch.float64, generator=generator)
        drawn = _exchanged(exchange, chunk, there, keys.to(lags.device))
        places = drawn * len(chunk) + torch.arange(len(chunk), device=lags.device)
        counted = (there & exchange.tested[chunk])[:, None]  # of the response
        summed = [covariance] if alike else [covariance, *paired]
        for number, part in enumerate(summed):
            table = (part * counted).permute(2, 3, 0, 1, 4).flatten(0, 1).flatten(1)
            found = embedding_bag(places, table, mode="sum")  # [draws, P D K]
            if number < len(sums):
                sums[number] += found
            else:
                sums.append(found)
    shape = (draws, ways, dims, len(lags))
    drawn_sums = [part.reshape(shape).permute(1, 2, 0, 3) for part in sums]
    if alike:
        of_draws = Moments(*(part[:, :, None] for part in together))
    else:
        of_draws = Moments(*drawn_sums[1:])
    null = evidence_of(drawn_sums[0], of_draws).amax(-1)
    count = (null >= seen[0] - _SLACK).sum()
    pooled = (1 + count).to(torch.float64) / (1 + draws)
    total = 1 + others.to(torch.float64)
    return Chance(
        torch.where(exchange.enough, pooled, torch.nan),
        torch.where(total * level >= 1, (1 + extreme) / total, torch.nan),
    )


def _have_the_same_steps(source: Signals, response: Signals) -> bool:
    """Whether all rollouts miss the same steps, so that an exchange leaves all moments as they are.

    Reading values is free on the CPU only; elsewhere the answer is no, which is slower but right.
    """
    return source.values.device.type == "cpu" and all(
        bool((present == present[:, :, :1]).all()) for present in (source.present, response.present)
    )


def _of_pairs(script: Tensor, answer: Tensor, lags: Tensor) -> Tensor:
    """Sums of script[t] * answer[t + lag], ``[P, D, n, T]`` each to ``[P, D, n, n, K]``."""
    size = script.shape[2]
    lagged = _lagged(answer, lags).transpose(2, 3).flatten(3)  # [P, D, T, n K]
    return (script @ lagged).reshape(*script.shape[:3], size, len(lags))


def _best_of_pairs(covariance: Tensor, moments: Moments) -> Tensor:
    """Evidence of the best lag, ``[script, response]``, a few scripts at a time."""
    scripts = covariance.shape[2]
    size = max(1, piece_elements(covariance.device) // max(1, covariance[:, :, :1].numel()))

    def taken(values: Tensor, start: int) -> Tensor:
        return values if values.shape[2] == 1 else values[:, :, start : start + size]

    best = [
        evidence_of(
            taken(covariance, start), Moments(*(taken(part, start) for part in moments))
        ).amax(-1)
        for start in range(0, scripts, size)
    ]
    return torch.cat(best)


def _moments_of_pairs(script: Signals, answer: Signals, lags: Tensor) -> Moments:
    steps = _of_pairs(script.present, answer.present, lags)
    return Moments(
        _of_pairs(script.values.square(), answer.present, lags),
        _of_pairs(script.present, answer.values.square(), lags),
        script.floor[..., None, None] * steps,
        answer.floor[:, None, :, None] * steps,
        steps,
    )


def _chunks(exchange: Exchange, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Eligible rollouts in random chunks of equal size, ``[C, n]``, and which places are filled.

    Rollouts that may exchange scripts lie side by side, so that few are parted.
    """
    device = exchange.script.device
    rows = len(exchange.script)
    count = -(-rows // _CHUNK)
    size = -(-rows // count)
    order = _ordered(torch.randperm(rows, generator=generator).to(device), exchange.keys)
    number = torch.arange(count + 1, device=device)
    bounds = number * exchange.eligible.sum() // count  # the eligible come first
    place = bounds[:-1, None] + torch.arange(size, device=device)
    there = place < bounds[1:, None]
    return order[torch.where(there, place, 0)], there


def _exchangeable(exchange: Exchange, chunk: Tensor, there: Tensor) -> Tensor:
    """Whether a script could have been given to a rollout, and differs from its own, ``[n, n]``."""
    script = exchange.script[chunk]
    fits = ((script[:, None] - script).abs() > _SAME) & there[:, None] & there
    for key in exchange.keys:
        listed = key[chunk]
        fits &= listed[:, None] == listed
    return fits


def _exchanged(exchange: Exchange, chunk: Tensor, there: Tensor, keys: Tensor) -> Tensor:
    """For each response of a chunk the place of the script that it is given, ``[draws, n]``."""
    listed = (*(key[chunk] for key in exchange.keys), (~there).to(torch.int64))
    base = _ordered(torch.arange(len(chunk), device=chunk.device), listed)
    drawn = torch.empty_like(keys, dtype=torch.int64)
    drawn[:, base] = _ordered(keys.argsort(dim=-1), listed)
    return drawn
