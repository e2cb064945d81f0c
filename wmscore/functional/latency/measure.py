"""Latency of a model's response to commands."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.functional._check import check_count, check_number, check_whole
from wmscore.functional._check import (
    check_count,
    check_mask,
    check_number,
    check_tensor,
    check_whole,
)
from wmscore.functional.latency.effects import expected_response
from wmscore.functional.latency.estimate import STAGES, estimate
from wmscore.functional.latency.inputs import (
    as_vectors,
    check_inputs,
    fingerprint,
    what_is_there,
)
from wmscore.functional.latency.null import Exchange, exchange_of
from wmscore.functional.latency.result import ResponseLatency
from wmscore.functional.latency.scan import LEAST_STEPS, lag_grid
from wmscore.functional.latency.signals import Signals, autocorrelation, signals_of
from wmscore.functional.reasons import Reason

__all__ = ["response_latency"]

_HELD = 0.3  # autocorrelation of commands from which they count as held


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
    r"""How many steps the generated response lags behind the reference's, under the same commands.

    The lag d is the one at which the reference's response r explains the generated one g best:

    .. math:: g_{b, t + d} = \beta_i \, r_{b, t} + \varepsilon_{b, t + d}

    in each dim i, about the mean of each rollout b, over the steps that both have. The evidence at
    a lag is the log-likelihood ratio against :math:`\beta = 0`, summed over dims: dims need no
    common unit, sign or gain, and one that only holds noise adds none. The lag is positive where
    the model is late, negative where it anticipates. Walls, inertia and any other state are in r
    already, so that they do not blur the peak.

    Held commands and inertia make neighbouring lags nearly as good, and slow drift fakes
    correlation. So the noise :math:`\varepsilon` is taken to be white or a random walk (correlating
    levels or changes), in each dim whichever is likelier. For a lag behind the *commands*, where
    the response to one command may last, series are prewhitened instead: less :math:`\rho` times
    their previous value, :math:`\rho` the commands' lag-1 autocorrelation, if that is above 0.3.
    The commands are first multiplied with their effect in the reference, a ridge map (for the
    reference's own lag one that was fitted to the other half of the panel).

    Chance is what the best lag's evidence would be if scripts were permuted across rollouts, which
    keeps how each response wanders; shifting scripts in time does not, and rejects too often.
    Rollouts exchange scripts within random chunks of 100. A lag whose p-value is above `level`, or
    that is surpassed by one beyond `max_lag`, is NaN with NO_LAG: no response is not latency 0.
    Seeds of one script are not independent: average them, or give one of each.

    Lags at which two series share fewer than 8 steps are not tried, so that the window is
    ``min(max_lag, T - 8)``. The floor of noise is 0.1 % of a response's energy.

    Args:
        commands: what was commanded, int64 ids of actions ``[B, T]``, or ``[B, T, A]`` of any real
            dtype, say one-hot or continuous; commands[:, t] acts in the step that response[:, t]
            measures.
        preds: generated motion response ``[B, T, D]``, floating point, say dy, dx and zoom per
            step; NaN where undefined. Each dim in its own unit.
        target: the reference's, likewise.
        max_lag: largest lag that is tried, both ways.
        valid: bool, broadcasts to ``[B, T]``; other steps do not count. ``None`` means all.
        groups: integers ``[B]``, say scenarios: scripts are exchanged only within a group, so that
            what a scenario shows under any script is no evidence. ``None``: within the panel.
        num_actions: number of action ids; ``None`` reads it from the commands (on a device, that
            waits for it).
        draws: permutations for the p-value of the panel.
        seed: of the permutations.
        prewhiten: "auto" as above, or the one :math:`\rho` in 0..1 for all series.
        level: of significance, of each p-value.
        min_response: share of the usual size of the reference's response (root mean square
            about the mean) up to which a rollout's response counts as none.

    Returns:
        `ResponseLatency` with the model's excess lag, and the absolute lags of reference and model
        behind the commands; each for the panel and for each rollout. Reasons, in this order:
        TOO_FEW_STEPS (fewer than 8), NO_EXCITATION (the script is constant), NO_RESPONSE (of the
        reference), NO_GENERATED_RESPONSE, NO_LAG. TOO_FEW_SAMPLES (the lag stands, its p-value does
        not): a panel of fewer than 8 different scripts; for one rollout, fewer than 1 / `level` - 1
        other scripts. Rollouts with a reason before NO_LAG are not part of the panel.

    Raises:
        ValueError: shapes that do not fit, an id out of range, or an option out of range.
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> commands = torch.randint(0, 3, (32, 24), generator=generator)
        >>> target = torch.tensor([0.0, -4.0, 4.0])[commands][..., None]  # nothing, left, right
        >>> preds = torch.cat([torch.zeros(32, 2, 1), -0.5 * target[:, :-2]], 1)
        >>> found = response_latency(commands, preds, target).excess.pooled
        >>> found.lag.item(), found.polarity.item(), round(found.gain.item(), 2)
        (2.0, -1.0, -0.5)
        >>> found.p_value.item()
        0.001
    """
    check_inputs(commands, preds, target, valid, groups, num_actions)
    check_whole("max_lag", max_lag)
    check_count("draws", draws)
    check_whole("seed", seed)
    check_number("level", level, low=0.0, high=1.0, low_is_allowed=False)
    check_number("min_response", min_response, low=0.0)
    rows, steps = preds.shape[:2]
    there = torch.ones(rows, steps, dtype=torch.bool, device=preds.device)
    if valid is not None:
        there = there & valid
    given = as_vectors(commands, num_actions)
    there_given = there & given.isfinite().all(-1)
    given = torch.where(there_given[..., None], given, 0.0)
    between = _whitening(prewhiten)
    generated, reference = (_signals(values, there, between) for values in (preds, target))
    enough, excited, answers, generated_answers = what_is_there(
        given, there_given, generated, reference, (preds, target), min_response
    )
    names = (Reason.TOO_FEW_STEPS, Reason.NO_EXCITATION)
    last = (Reason.NO_RESPONSE, Reason.NO_GENERATED_RESPONSE)
    both = _stage((enough, excited, answers, generated_answers), (*names, *last))
    of_target = _stage((enough, excited, answers), (*names, last[0]))
    of_preds = _stage((enough, excited, generated_answers), (*names, last[1]))

    generator = torch.Generator().manual_seed(seed)
    halves = _halves(of_target == len(STAGES) - 1, generator)
    script = fingerprint(given, generator)
    lags = lag_grid(min(max_lag, max(0, steps - LEAST_STEPS)), preds.device)
    counted = (of_target == len(STAGES) - 1).to(torch.float64)
    if prewhiten == "auto":
        held = autocorrelation(given, there_given[..., None].expand_as(given), counted)
        behind: tuple[float | Tensor, ...] = (torch.where(held > _HELD, held, 0.0),)
        generated_behind, reference_behind = (
            _signals(values, there, behind) for values in (preds, target)
        )
    else:
        behind, generated_behind, reference_behind = between, generated, reference
    effects = expected_response(given, there_given, reference_behind, lags, counted, halves, behind)
    expected = [_signals(answer, there_given, behind) for answer in effects]
    keys = () if groups is None else (groups,)

    def exchange(stage: Tensor, *more: Tensor) -> Exchange:
        return exchange_of(script, stage == len(STAGES) - 1, (*more, *keys))

    options = {"max_lag": max_lag, "draws": draws, "seed": seed}
    return ResponseLatency(
        estimate(reference, generated, both, exchange(both), level=level, **options),
        estimate(
            expected[1],
            reference_behind,
            of_target,
            exchange(of_target, halves),
            level=level,
            **options,
        ),
        estimate(
            expected[0], generated_behind, of_preds, exchange(of_preds), level=level, **options
        ),
            expected[1], reference, of_target, exchange(of_target, halves), level=level, **options
        ),
        estimate(expected[0], generated, of_preds, exchange(of_preds), level=level, **options),
    )


def _signals(values: Tensor, there: Tensor, whitening: tuple[float | Tensor, ...]) -> Signals:
    return signals_of(values.to(torch.float64), there[..., None] & values.isfinite(), whitening)


def _whitening(prewhiten: str | float) -> tuple[float, ...]:
    if prewhiten == "auto":
        return (0.0, 1.0)
    if isinstance(prewhiten, str):
        raise ValueError(f"prewhiten must be 'auto' or a number in 0..1, got {prewhiten!r}")
    check_number("prewhiten", prewhiten, low=0.0, high=1.0)
    return (float(prewhiten),)


def _halves(counted: Tensor, generator: torch.Generator) -> Tensor:
    """0 or 1 at random, ``[B]`` int64, for as many rollouts that count."""
    order = torch.randperm(len(counted), generator=generator).to(counted.device)
    return torch.empty_like(order).scatter_(0, order, counted[order].cumsum(0) % 2)
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
