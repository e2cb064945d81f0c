"""What a panel's rollouts say about actions: when the world answers, to which, and how well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import check_mask, check_tensor
from wmscore.functional.latency import ResponseLatency, response_latency
from wmscore.functional.motion.compare import MotionByAction, motion_by_action
from wmscore.functional.recovery import (
    ActionEffects,
    ActionRecovery,
    RecoveredShare,
    VectorRecovery,
    action_recovery,
    effect_table,
    fit_probe,
    recovered_share,
    vector_recovery,
)

__all__ = ["ActionReport", "action_report"]

_FOLDS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionReport:
    """How a model's rollouts answer the actions that they were sent, beside their reference.

    `R` rows of a panel, `K` scripts each, row-major: rollout ``r * K + k`` is script k of row r.

    Attributes:
        latency: pooled over scenarios (seeds averaged), and of each rollout ``[R * K]``.
        motion: per discrete action, direction and size of the picture's motion.
        recovery: discrete actions as they are recognised in the generated rollouts ``[R * K]``, by
            a linear inverse-dynamics probe or by the user's network.
        ceiling: the same of the reference rollouts; the probe has not seen their scenario.
        recovered: score of the first relative to that of the second.
        vectors: values of continuous actions as the probe recognises them, over all rollouts.
        vectors_ceiling: the same of the reference rollouts.
        effects: per discrete action against no-op; None without a no-op.
    """

    latency: ResponseLatency
    motion: MotionByAction | None = None
    recovery: ActionRecovery | None = None
    ceiling: ActionRecovery | None = None
    recovered: RecoveredShare | None = None
    vectors: VectorRecovery | None = None
    vectors_ceiling: VectorRecovery | None = None
    effects: ActionEffects | None = None


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
    recognised: tuple[Tensor, Tensor] | None = None,
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
        valid: bool, broadcasts to ``[R, K, T]``, steps that count. A step that counts and has no
            generated features, though the reference has, is an action that was not recognised:
            leave out what was never generated.
        recognised: int64 ``[R, K, T]`` twice, the actions that a network recognises in the
            generated and in the reference rollouts (:func:`recognise_actions`), -1 = none;
            ``None``: a linear probe on the features recognises them.
        responses: the first so many features are the response that a lag is found by.
        draws: permutations behind each p-value.
        seed: of the permutations.

    Raises:
        ValueError: shapes do not fit, an action is out of range, or ``num_actions`` is missing.
        TypeError: not tensors, or of the wrong dtype.
    """
    _check(preds, target, actions, scenario, num_actions)
    rows, scripts = preds.shape[:2]
    mask = torch.ones(preds.shape[:3], dtype=torch.bool, device=preds.device)
    if valid is not None:
        check_mask("valid", valid, tuple(mask.shape), preds.device, like="preds")
        mask = mask & valid
    generated, reference = (value.flatten(0, 1) for value in (preds, target))
    sent, counted = actions.flatten(0, 1), mask.flatten(0, 1)
    of_row = scenario.to(preds.device).repeat_interleave(scripts)

    once = _means_over_seeds(preds, target, mask, scenario)
    told, truth = actions[once.row].flatten(0, 1), target[once.row].flatten(0, 1)
    counted_once = once.counted.flatten(0, 1)
    fold = of_row.view(rows, scripts)[once.row].flatten()

    latency = _latency(
        preds[..., :responses],
        target[..., :responses],
        actions,
        mask,
        scenario,
        num_actions=num_actions,
        draws=draws,
        seed=seed,
    )
    probe = fit_probe(truth, told, fold, num_actions, folds=_FOLDS, valid=counted_once)
    able, able_once = (probe.can_judge(of, len(of))[:, None] for of in (of_row, fold))
    able = able & counted & reference.isfinite().all(-1)
    able_once = able_once & counted_once & truth.isfinite().all(-1)
    if actions.dim() == 4 or num_actions is None:
        return ActionReport(
            latency=latency,
            vectors=_vectors(probe.predict(generated, of_row), sent, able),
            vectors_ceiling=_vectors(probe.predict(truth, fold), told, able_once),
        )
    if recognised is None:
        answers = probe.predict(generated, of_row), probe.predict(truth, fold)
    else:
        _check_recognised(recognised, actions)
        answers = recognised[0].flatten(0, 1), recognised[1][once.row].flatten(0, 1)
        able, able_once = counted, counted_once
    recovery = action_recovery(answers[0], sent, num_actions, valid=able)
    ceiling = action_recovery(answers[1], told, num_actions, valid=able_once)
    return ActionReport(
        latency=latency,
        motion=motion_by_action(
            generated[..., :2], reference[..., :2], sent, num_actions, valid=counted
        ),
        recovery=recovery,
        ceiling=ceiling,
        recovered=recovered_share(recovery, ceiling),
        effects=None
        if noop is None
        else effect_table(
            generated,
            reference,
            sent,
            noop,
            of_row,
            num_actions=num_actions,
            valid=counted,
            draws=draws,
            seed=seed,
        ),
    )


def _latency(
    preds: Tensor,
    target: Tensor,
    actions: Tensor,
    mask: Tensor,
    scenario: Tensor,
    *,
    num_actions: int | None,
    draws: int,
    seed: int,
) -> ResponseLatency:
    """Of responses `[R, K, T, D]` beyond what a row shows under any script; pooled over scenarios.

    What moves by itself in a scenario moves alike in both videos, and is no response.
    """
    there = mask & preds.isfinite().all(-1) & target.isfinite().all(-1)
    answers, expected = (_beyond_scripts(value, there) for value in (preds, target))
    each = response_latency(
        actions.flatten(0, 1),
        answers.flatten(0, 1),
        expected.flatten(0, 1),
        valid=mask.flatten(0, 1),
        num_actions=num_actions,
        draws=draws,
        seed=seed,
    )
    # Seeds share a script and a reference: one mean of each scenario's is one piece of evidence.
    once = _means_over_seeds(answers, expected, mask, scenario)
    if len(once.row) == len(scenario):
        return each
    pooled = response_latency(
        actions[once.row].flatten(0, 1),
        once.preds.flatten(0, 1),
        expected[once.row].flatten(0, 1),
        valid=once.counted.flatten(0, 1),
        num_actions=num_actions,
        draws=draws,
        seed=seed,
    )
    return ResponseLatency(
        *(one._replace(pooled=other.pooled) for one, other in zip(each, pooled, strict=True))
    )


def _beyond_scripts(values: Tensor, there: Tensor) -> Tensor:
    """Less their mean over the scripts of the row; as they are where a row has but one.

    NaN where fewer than two scripts have the step.
    """
    if values.shape[1] == 1:
        return values.double()
    known = values.double().masked_fill(~there[..., None], torch.nan)
    several = (there.sum(1, keepdim=True) >= 2)[..., None]
    return (known - known.nanmean(1, keepdim=True)).where(several, torch.nan)


def _vectors(recognised: Tensor, commanded: Tensor, valid: Tensor) -> VectorRecovery:
    return vector_recovery(recognised.double(), commanded.double(), valid=valid)


class _Once(NamedTuple):
    """Each scenario once.

    Attributes:
        row: `[S]` int64, of each scenario the row whose reference has the most steps.
        preds: `[S, K, T, D]` float64, mean of the rows' features; NaN where no row has any.
        counted: `[S, K, T]` bool, steps that count in some row.
    """

    row: Tensor
    preds: Tensor
    counted: Tensor


def _means_over_seeds(preds: Tensor, target: Tensor, mask: Tensor, scenario: Tensor) -> _Once:
    names, place = torch.unique(scenario.to(preds.device), return_inverse=True)
    rows = torch.arange(len(scenario), device=preds.device)
    known = (mask & target.isfinite().all(-1)).flatten(1).sum(1)
    most = known.new_zeros(len(names)).scatter_reduce(0, place, known, "amax")
    best = torch.where(known == most[place], rows, len(rows))
    row = torch.full_like(most, len(rows)).scatter_reduce(0, place, best, "amin")
    here = mask & preds.isfinite().all(-1)
    values = preds.double().masked_fill(~here[..., None], 0.0)
    total = values.new_zeros(len(names), *values.shape[1:]).index_add_(0, place, values)
    count, counted = (
        values.new_zeros(len(names), *here.shape[1:]).index_add_(0, place, which.double())
        for which in (here, mask)
    )
    return _Once(row=row, preds=total / count[..., None], counted=counted > 0)


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
        most = dims + 1 if name == "actions" else dims  # continuous ones have components
        if value.shape[:dims] != preds.shape[:dims] or value.ndim > most:
            raise ValueError(
                f"{name} must have the shape {tuple(preds.shape[:dims])} of preds, "
                f"got {tuple(value.shape)}"
            )
    if scenario.dtype != torch.int64:
        raise TypeError(f"scenario must be int64, got {scenario.dtype}")
    if actions.dim() == 3 and num_actions is None:
        raise ValueError("num_actions must be given for discrete actions [R, K, T]")


def _check_recognised(recognised: tuple[Tensor, Tensor], actions: Tensor) -> None:
    for name, value in zip(("recognised[0]", "recognised[1]"), recognised, strict=True):
        check_tensor(name, value)
        if value.dtype != torch.int64 or value.shape != actions.shape:
            raise ValueError(
                f"{name} must be int64 of the shape of actions, {tuple(actions.shape)}, got "
                f"{value.dtype} {tuple(value.shape)}"
            )
