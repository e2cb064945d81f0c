"""Latency of a model's response to commands."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.functional._check import check_count, check_number, check_whole
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
    reference's own lag one that was fitted to the other half of the panel; its pooled p-value is
    that of one half).

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
        not): a panel in which fewer than 7 scripts can be exchanged (those that vary, less one of
        each group); for one rollout, fewer than 1 / `level` - 1 other scripts. Rollouts with a
        reason before NO_LAG are not part of the panel.

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

    last_stage = len(STAGES) - 1
    # Each half explained by the other's effect would be the same coincidence twice: one is tested.
    halved = exchange_of(script, of_target == last_stage, (halves, *keys), halves == 0)

    def exchange(stage: Tensor) -> Exchange:
        return exchange_of(script, stage == last_stage, keys)

    options = {"max_lag": max_lag, "draws": draws, "seed": seed}
    return ResponseLatency(
        estimate(reference, generated, both, exchange(both), level=level, **options),
        estimate(
            expected[1],
            reference_behind,
            of_target,
            halved,
            level=level,
            **options,
        ),
        estimate(
            expected[0], generated_behind, of_preds, exchange(of_preds), level=level, **options
        ),
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


def _stage(tests: tuple[Tensor, ...], reasons: tuple[Reason, ...]) -> Tensor:
    """Place in `STAGES` of the first test that fails, ``[B]``; the last place if none does."""
    stage = torch.full_like(tests[0], len(STAGES) - 1, dtype=torch.int64)
    for test, reason in reversed(list(zip(tests, reasons, strict=True))):
        stage = torch.where(test, stage, STAGES.index(reason))
    return stage
