"""What the commands do in the reference: a linear map from commands to the response."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.functional.latency.scan import LEAST_STEPS
from wmscore.functional.latency.signals import Signals, signals_of

__all__ = ["expected_response"]

_RIDGE = 1e-6  # of the largest energy of a command, so that a command never given has no effect
_LEAST_ROWS = 8  # to be halved


def expected_response(
    commands: Tensor,
    present: Tensor,
    response: Signals,
    lags: Tensor,
    rows: Tensor,
    halves: Tensor,
    whitening: tuple[float | Tensor, ...],
) -> Tensor:
    """Commands times their effect, as if the reference answered at once: ``[2, B, T, D]``.

    The effect is fitted to the reference by least squares at the lag that explains most. The first
    answer uses all rollouts; in the second, the effect that a rollout's commands are taken to have
    is that of the other half of the panel, so that it cannot explain its noise.

    Args:
        commands: ``[B, T, A]`` float64.
        present: ``[B, T]`` bool.
        response: of the reference.
        lags: ``[K]`` to try.
        rows: ``[B]`` float64, 1 where the rollout counts.
        halves: ``[B]`` int64, 0 or 1.
        whitening: as in `response`.
    """
    steps, actions = commands.shape[1:]
    mask = present[..., None].expand_as(commands)
    given = signals_of(commands, mask, whitening).values  # [P, A, B, T]
    second = halves.to(torch.float64)
    # All rollouts, and for each half the other one.
    weights = torch.stack([torch.ones_like(rows), second, 1 - second]) * rows  # [3, B]
    # So few have no p-value that a fit to their own noise could spoil.
    weights = torch.where(rows.sum() >= _LEAST_ROWS, weights, rows)
    spectrum = torch.fft.rfft(given, 2 * steps).conj()
    answer = torch.fft.rfft(response.values, 2 * steps)
    crossed = torch.einsum("pabf,pdbf,wb->wpdaf", spectrum, answer, weights.to(answer.dtype))
    covariance = torch.fft.irfft(crossed, 2 * steps).index_select(-1, lags % (2 * steps))
    energy = torch.einsum("pabt,pcbt,wb->wpac", given, given, weights)
    ridge = _RIDGE * energy.diagonal(dim1=-2, dim2=-1).amax(-1)[..., None, None]
    identity = torch.eye(actions, dtype=torch.float64, device=commands.device)
    # Without any command that varies the ridge is 0 too; then any effect will do.
    inverse = torch.linalg.inv_ex(
        energy + torch.where(ridge > 0, ridge, 1.0) * identity
    ).inverse  # unchecked: a check would wait for the device
    effects = inverse[:, :, None] @ covariance  # [3, P, D, A, K]
    overlap = (steps - lags.abs()).to(torch.float64)
    explained = (effects * covariance).sum(-2) * (steps / overlap.clamp(min=1))  # [3, P, D, K]
    total = torch.einsum("pdbt,wb->wpd", response.values.square(), weights)[..., None]
    share = (explained / total.clamp(min=1e-300)).clamp(0, 1 - 1e-6)
    nats = -0.5 * overlap * torch.log1p(-share)
    best = nats.sum(2).amax(1)  # [3, K]
    best = torch.where(overlap >= LEAST_STEPS, best, -torch.inf).argmax(-1)
    level = effects[:, 0]  # [3, D, A, K], of the least whitened
    chosen = level.gather(-1, best[:, None, None, None].expand(*level.shape[:-1], 1))[..., 0]
    everywhere = torch.einsum("bta,da->btd", commands, chosen[0])
    crossed_over = torch.einsum("bta,bda->btd", commands, chosen[1 + halves])
    return torch.stack([everywhere, crossed_over])
