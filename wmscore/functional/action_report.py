"""What a panel's rollouts say about actions: when the world answers, to which, and how well."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import check_tensor
from wmscore.functional.latency import ResponseLatency, response_latency
from wmscore.functional.motion.compare import MotionByAction, motion_by_action
from wmscore.functional.recovery import (
    ActionEffects,
    ActionRecovery,
    RecoveredShare,
    action_recovery,
    effect_table,
    fit_probe,
    recovered_share,
)

__all__ = ["ActionReport", "action_report"]

_FOLDS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionReport:
    """How a model's rollouts answer the actions that they were sent, beside their reference.

    `R` rows of a panel, `K` scripts each, row-major: rollout ``r * K + k`` is script k of row r.

    Attributes:
        latency: pooled over scenarios (seeds averaged), and of each rollout ``[R * K]``. The
            p-value of the pooled excess lag is of exchanges of scripts within scenarios, wherever
            one has several that vary; below 7 such exchanges it is NaN (TOO_FEW_SAMPLES).
        motion: per action, direction and size of the picture's motion.
        recovery: actions as a linear inverse-dynamics probe recognises them in the generated
            rollouts ``[R * K]``; None for continuous actions.
        ceiling: the same of the reference rollouts, by a probe that has not seen their scenario.
        recovered: score of the first relative to that of the second.
        effects: per action against no-op; None for continuous actions or without a no-op.
    """

    latency: ResponseLatency
    motion: MotionByAction | None
    recovery: ActionRecovery | None
    ceiling: ActionRecovery | None
    recovered: RecoveredShare | None
    effects: ActionEffects | None


@torch.no_grad()
def action_report(
    preds: Tensor,
    target: Tensor,
    actions: Tensor,
    scenario: Tensor,
    *,
    num_actions: int | None = None,
    noop: int | None = None,
    valid: Tensor | None = None,
    responses: int = 4,
    draws: int = 999,
    seed: int = 0,
) -> ActionReport:
    """Latency, recovery of actions and their effects, from motion features of a whole panel.

    Args:
        preds: features of generated rollouts ``[R, K, T, D]`` floating point, such as those of
            :func:`motion_features`; NaN where there is no step.
        target: of the reference rollouts under the same scripts, likewise.
        actions: what was commanded, int64 ids ``[R, K, T]`` or floating point ``[R, K, T, A]``.
        scenario: ``[R]`` int64, rows of one scenario share a number (its place among scenarios).
        num_actions: of discrete actions; required for them.
        noop: the action that does nothing; None where there is none.
        valid: bool, broadcasts to ``[R, K, T]``, steps that count.
        responses: the first so many features are the response that a lag is found by. With those of
            `motion_features`: 2 are the shift, 4 zoom and roll besides, 22 the flow of 3 x 3 cells.
            Of 432 walks in a maze of VizDoom, delayed by 1..6 steps, they find a lag in 341, 356
            and 357, the right one in 337, 349 and 352; of turns and on sprites, each finds all.
            Cells move further than the view's middle as it turns, and are looked for
            nearby only: 22 take a quarter of the turn for 0.30 of it, 4 for 0.23 to 0.26.
        draws: permutations behind each p-value.
        seed: of the permutations.

    Raises:
        ValueError: shapes do not fit, an action is out of range, or ``num_actions`` is missing.
        TypeError: not tensors, or of the wrong dtype.
    """
    _check(preds, target, actions, scenario, num_actions)
    rows, scripts = preds.shape[:2]
    there = preds.isfinite().all(-1) & target.isfinite().all(-1)
    mask = torch.ones_like(there) if valid is None else valid.expand_as(there)
    generated, reference = (value.flatten(0, 1) for value in (preds, target))
    sent, counted = actions.flatten(0, 1), mask.flatten(0, 1)
    of_row = scenario.to(preds.device).repeat_interleave(scripts)

    # What a scenario shows under any script is no response: objects that move by themselves.
    answers, expected = (
        _beyond_scripts(value[..., :responses], there & mask) for value in (preds, target)
    )

    def lags(commands: Tensor, *values: Tensor, groups: Tensor | None = None) -> ResponseLatency:
        generated, reference, there = (value.flatten(0, 1) for value in values)
        return response_latency(
            commands.flatten(0, 1),
            generated,
            reference,
            valid=there,
            groups=groups,
            num_actions=num_actions,
            draws=draws,
            seed=seed,
        )

    latency = lags(actions, answers, expected, mask)
    # Seeds share a script and a reference: one mean of each scenario's is one piece of evidence.
    first, means, kept = _means_over_seeds(answers, expected, mask, scenario)
    pooled = actions[first], means, expected[first], kept
    if len(first) < rows:
        latency = _with_pooled(latency, lags(*pooled))
    # Responses of a scenario sum to 0 over its scripts, so that chance is larger than exchanges
    # over the panel, which break the sum, would have it: at K = 3 they reject 22 of 100 at 5 %.
    if _several_scripts(actions[first]):
        within = torch.arange(len(first), device=preds.device).repeat_interleave(scripts)
        latency = latency._replace(
            excess=_with_pooled(latency, lags(*pooled, groups=within)).excess
        )
    discrete = actions.dim() == 3
    motion = recovery = ceiling = recovered = effects = None
    if discrete and num_actions is not None:
        motion = motion_by_action(
            generated[..., :2], reference[..., :2], sent, num_actions, valid=counted
        )
        there_once = mask[first].flatten(0, 1)
        fold = scenario.to(preds.device)[first].repeat_interleave(scripts)
        truth, told = target[first].flatten(0, 1), actions[first].flatten(0, 1)
        probe = fit_probe(truth, told, fold, num_actions, folds=_FOLDS, valid=there_once)
        known = truth.isfinite().all(-1) & probe.can_judge(fold, len(fold))[:, None]
        ceiling = action_recovery(
            probe.predict(truth, fold), told, num_actions, valid=there_once & known
        )
        known = reference.isfinite().all(-1) & probe.can_judge(of_row, len(of_row))[:, None]
        recovery = action_recovery(
            probe.predict(generated, of_row), sent, num_actions, valid=counted & known
        )
        recovered = recovered_share(recovery, ceiling)
        if noop is not None:
            effects = effect_table(
                generated,
                reference,
                sent,
                noop,
                of_row,
                num_actions=num_actions,
                valid=counted,
                draws=draws,
                seed=seed,
            )
    return ActionReport(
        latency=latency,
        motion=motion,
        recovery=recovery,
        ceiling=ceiling,
        recovered=recovered,
        effects=effects,
    )


def _beyond_scripts(values: Tensor, there: Tensor) -> Tensor:
    """Responses `[R, K, T, D]` less their mean over the scripts of the row; as they are for one.

    NaN where fewer than two scripts have the step.
    """
    if values.shape[1] == 1:
        return values.double()
    known = values.double().masked_fill(~there[..., None], torch.nan)
    several = (there.sum(1, keepdim=True) >= 2)[..., None]
    return (known - known.nanmean(1, keepdim=True)).where(several, torch.nan)


def _with_pooled(latency: ResponseLatency, other: ResponseLatency) -> ResponseLatency:
    return ResponseLatency(
        *(one._replace(pooled=two.pooled) for one, two in zip(latency, other, strict=True))
    )


def _several_scripts(actions: Tensor) -> bool:
    """Whether a scenario has two scripts that vary, so that it can exchange them."""
    steps = actions.flatten(3) if actions.dim() > 3 else actions[..., None]
    varies = (steps != steps[:, :, :1]).flatten(2).any(-1)
    return bool((varies.sum(1) > 1).any())


def _means_over_seeds(
    preds: Tensor, target: Tensor, mask: Tensor, scenario: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The first row of each scenario, features meaned over its rows `[S, K, T, D]`, and where."""
    scenario = scenario.to(preds.device)
    names, place = torch.unique(scenario, return_inverse=True)
    first = torch.full_like(names, len(scenario)).scatter_reduce(
        0, place, torch.arange(len(scenario), device=preds.device), "amin"
    )
    here = mask & preds.isfinite().all(-1)
    values = preds.double().masked_fill(~here[..., None], 0.0)
    total = values.new_zeros(len(names), *values.shape[1:]).index_add_(0, place, values)
    count = values.new_zeros(len(names), *here.shape[1:]).index_add_(0, place, here.double())
    return first, total / count[..., None], count > 0


def _check(
    preds: Tensor, target: Tensor, actions: Tensor, scenario: Tensor, num_actions: int | None
) -> None:
    for name, value in (("preds", preds), ("target", target)):
        check_tensor(name, value)
        if value.ndim != 4 or not value.is_floating_point():
            raise ValueError(
                f"{name} must be floating point of shape [R, K, T, D], got {value.dtype} "
                f"{tuple(value.shape)}"
            )
    if preds.shape != target.shape:
        raise ValueError(
            "preds and target must have one shape [R, K, T, D], got "
            f"{tuple(preds.shape)} and {tuple(target.shape)}"
        )
    for name, value, dims in (("actions", actions, 3), ("scenario", scenario, 1)):
        check_tensor(name, value)
        if value.shape[:dims] != preds.shape[:dims]:
            raise ValueError(
                f"{name} must have the shape {tuple(preds.shape[:dims])} of preds, "
                f"got {tuple(value.shape)}"
            )
    if actions.dim() == 3 and num_actions is None:
        raise ValueError("num_actions must be given for discrete actions [R, K, T]")
