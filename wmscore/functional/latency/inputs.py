"""Arguments of `response_latency`: whether they fit, and what they hold."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.functional._check import check_count, check_mask, check_tensor
from wmscore.functional.latency.scan import LEAST_STEPS
from wmscore.functional.latency.signals import Signals, signals_of

__all__ = ["as_vectors", "check_inputs", "fingerprint", "what_is_there"]

_EXACT = 1e-18  # energy, as a share of the square of the values, that is rounding


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


def as_vectors(commands: Tensor, num_actions: int | None) -> Tensor:
    """Commands ``[B, T, A]`` float64; ids one-hot."""
    if commands.ndim == 3:
        return commands.to(torch.float64)
    if num_actions is None:
        num_actions = 1 + int(commands.max()) if commands.numel() else 1
    ids = torch.arange(num_actions, device=commands.device)
    return (commands[..., None] == ids).to(torch.float64)


def what_is_there(
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


def fingerprint(given: Tensor, generator: torch.Generator) -> Tensor:
    """A number for each script ``[B]``: a random projection, in units of the usual script."""
    flat = given.flatten(1)
    direction = torch.randn(flat.shape[1], dtype=torch.float64, generator=generator)
    size = flat.square().sum(1).mean().sqrt().clamp(min=1e-300)
    return (flat * direction.to(flat.device)).cumsum(1)[:, -1] / size
