"""Latency of a model's response to commands."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.functional._check import (
    check_count,
    check_mask,
    check_number,
    check_tensor,
    check_whole,
)
from wmscore.functional.latency.effects import expected_response
from wmscore.functional.latency.estimate import STAGES, estimate
from wmscore.functional.latency.null import Exchange, exchange_of
from wmscore.functional.latency.result import ResponseLatency
from wmscore.functional.latency.scan import LEAST_STEPS, lag_grid
from wmscore.functional.latency.signals import Signals, signals_of
from wmscore.functional.reasons import Reason

__all__ = ["response_latency"]

_EXACT = 1e-18  # energy, as a share of the square of the values, that is rounding


def response_latency(
    commands: Tensor,
    preds: Tensor,
    target: Tensor,
    *,
    max_lag: int = 12,
    valid: Tensor | None = None,
    groups: Tensor | None = None,
    num_actions: int | None = None,
    draws: int = 999,
    seed: int = 0,
    prewhiten: str | float = "auto",
    level: float = 0.05,
    min_response: float = 0.02,
) -> ResponseLatency:
    check_inputs(commands, preds, target, valid, groups, num_actions)
    check_whole("max_lag", max_lag)
    check_count("draws", draws)
    check_whole("seed", seed)
    check_number("level", level, low=0.0, high=1.0, low_is_allowed=False)
    check_number("min_response", min_response, low=0.0)
    whitening = _whitening(prewhiten)
    rows, steps = preds.shape[:2]
    there = torch.ones(rows, steps, dtype=torch.bool, device=preds.device)
    if valid is not None:
        there = there & valid
    given = _as_vectors(commands, num_actions)
    there_given = there & given.isfinite().all(-1)
    given = torch.where(there_given[..., None], given, 0.0)
    generated, reference = (
        signals_of(values.to(torch.float64), there[..., None] & values.isfinite(), whitening)
        for values in (preds, target)
    )
    enough, excited, answers, generated_answers = _what_is_there(
        given, there_given, generated, reference, (preds, target), min_response
    )
    names = (Reason.TOO_FEW_STEPS, Reason.NO_EXCITATION)
    last = (Reason.NO_RESPONSE, Reason.NO_GENERATED_RESPONSE)
    both = _stage((enough, excited, answers, generated_answers), (*names, *last))
    of_target = _stage((enough, excited, answers), (*names, last[0]))
    of_preds = _stage((enough, excited, generated_answers), (*names, last[1]))

    generator = torch.Generator().manual_seed(seed)
    halves = torch.randperm(rows, generator=generator).to(preds.device) % 2
    script = _fingerprint(given, generator)
    lags = lag_grid(min(max_lag, max(0, steps - LEAST_STEPS)), preds.device)
    counted = (of_target == len(STAGES) - 1).to(torch.float64)
    expected = [
        signals_of(answer, there_given[..., None].expand_as(answer), whitening)
        for answer in expected_response(
            given, there_given, reference, lags, counted, halves, whitening
        )
    ]
    keys = () if groups is None else (groups,)

    def exchange(stage: Tensor, *more: Tensor) -> Exchange:
        return exchange_of(script, stage == len(STAGES) - 1, (*more, *keys))

    options = {"max_lag": max_lag, "draws": draws, "seed": seed}
    return ResponseLatency(
        estimate(reference, generated, both, exchange(both), level=level, **options),
        estimate(
            expected[1], reference, of_target, exchange(of_target, halves), level=level, **options
        ),
        estimate(expected[0], generated, of_preds, exchange(of_preds), level=level, **options),
    )


def _whitening(prewhiten: str | float) -> tuple[float, ...]:
    if prewhiten == "auto":
        return (0.0, 1.0)
    if isinstance(prewhiten, str):
        raise ValueError(f"prewhiten must be 'auto' or a number in 0..1, got {prewhiten!r}")
    check_number("prewhiten", prewhiten, low=0.0, high=1.0)
    return (float(prewhiten),)


def check_inputs(
    commands: Tensor,
    preds: Tensor,
    target: Tensor,
    valid: Tensor | None,
    groups: Tensor | None,
    num_actions: int | None,
) -> None:
    """Commands ``[B, T]`` or ``[B, T, A]``, responses ``[B, T, D]``, on one device."""
    for name, value in (("preds", preds), ("target", target)):
        check_tensor(name, value)
        if not value.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {value.dtype}")
        if value.ndim != 3 or 0 in value.shape[1:]:
            raise ValueError(
                f"{name} must have shape [B, T, D] with at least one step and dim, "
                f"got {tuple(value.shape)}"
            )
    if preds.shape != target.shape:
        raise ValueError(
            "preds and target must have one shape [B, T, D], got "
            f"{tuple(preds.shape)} and {tuple(target.shape)}"
        )
    check_tensor("commands", commands)
    discrete = commands.ndim == 2
    if discrete and commands.dtype != torch.int64:
        raise TypeError(f"commands [B, T] must be int64 ids of actions, got {commands.dtype}")
    if not discrete and (commands.is_complex() or commands.ndim != 3 or commands.shape[2] == 0):
        raise ValueError(
            f"commands must have shape [B, T] or [B, T, A] with A >= 1, got {tuple(commands.shape)}"
        )
    if commands.shape[:2] != preds.shape[:2]:
        raise ValueError(
            f"commands must have the [B, T] of preds, {tuple(preds.shape[:2])}, one command per "
            f"step, got {tuple(commands.shape[:2])}"
        )
    if num_actions is not None:
        check_count("num_actions", num_actions)
    # Reading values is free on the CPU only; elsewhere it would stall the device.
    if discrete and commands.device.type == "cpu" and commands.numel():
        low, high = (int(value) for value in commands.aminmax())
        if low < 0 or (num_actions is not None and high >= num_actions):
            upper = "" if num_actions is None else str(num_actions - 1)
            raise ValueError(f"commands must lie in 0..{upper}, got {low}..{high}")
    if groups is not None:
        check_tensor("groups", groups)
        if groups.is_floating_point() or groups.dtype == torch.bool or groups.is_complex():
            raise TypeError(f"groups must be integers, got {groups.dtype}")
        if groups.shape != preds.shape[:1]:
            raise ValueError(
                f"groups must have shape [B] with B = {preds.shape[0]}, got {tuple(groups.shape)}"
            )
    if valid is not None:
        check_mask("valid", valid, tuple(preds.shape[:2]), preds.device, like="preds")
    others = {"target": target, "commands": commands, "groups": groups}
    for name, tensor in others.items():
        if tensor is not None and tensor.device != preds.device:
            raise ValueError(f"{name} must be on {preds.device} like preds, got {tensor.device}")


def _as_vectors(commands: Tensor, num_actions: int | None) -> Tensor:
    """Commands ``[B, T, A]`` float64; ids one-hot."""
    if commands.ndim == 3:
        return commands.to(torch.float64)
    if num_actions is None:
        num_actions = 1 + int(commands.max()) if commands.numel() else 1
    ids = torch.arange(num_actions, device=commands.device)
    return (commands[..., None] == ids).to(torch.float64)


def _what_is_there(
    given: Tensor,
    there: Tensor,
    generated: Signals,
    reference: Signals,
    raw: tuple[Tensor, Tensor],
    min_response: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Whether a rollout has steps enough, a script that varies, and responses, ``[B]`` each."""
    counts = [signals.present[0].amax(0).sum(-1) for signals in (generated, reference)]
    enough = torch.minimum(*counts) >= LEAST_STEPS
    varies = signals_of(given, there[..., None].expand_as(given), (0.0,)).mean_square.sum(0)
    size = given.square().sum((1, 2)) / there.sum(1).clamp(min=1)
    excited = varies > _EXACT * size
    of_preds, of_target = (
        _energy(signals, values)
        for signals, values in zip((generated, reference), raw, strict=True)
    )
    usual = of_target.mean(1, keepdim=True)
    counts_dim = (usual > 0).to(torch.float64)
    dims = counts_dim.sum(0).clamp(min=1)
    relative = [
        (counts_dim * energy / torch.where(usual > 0, usual, 1.0)).sum(0) / dims
        for energy in (of_target, of_preds)
    ]
    answers = relative[0] > min_response**2
    return enough, excited, answers, relative[1] > min_response**2 * relative[0]


def _energy(signals: Signals, values: Tensor) -> Tensor:
    """Mean square about the mean, ``[D, B]``; 0 where it is rounding."""
    energy = signals.floor
    finite = torch.where(values.isfinite(), values, 0.0).to(torch.float64)
    return torch.where(energy > _EXACT * finite.square().amax(1).T, energy, 0.0)


def _stage(tests: tuple[Tensor, ...], reasons: tuple[Reason, ...]) -> Tensor:
    """Place in `STAGES` of the first test that fails, ``[B]``; the last place if none does."""
    stage = torch.full_like(tests[0], len(STAGES) - 1, dtype=torch.int64)
    for test, reason in reversed(list(zip(tests, reasons, strict=True))):
        stage = torch.where(test, stage, STAGES.index(reason))
    return stage


def _fingerprint(given: Tensor, generator: torch.Generator) -> Tensor:
    """A number for each script ``[B]``: a random projection, in units of the usual script."""
    flat = given.flatten(1)
    direction = torch.randn(flat.shape[1], dtype=torch.float64, generator=generator)
    size = flat.square().sum(1).mean().sqrt().clamp(min=1e-300)
    return (flat * direction.to(flat.device)).cumsum(1)[:, -1] / size
