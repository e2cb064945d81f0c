"""What a panel's rollouts say about actions: when the world answers, to which, and how well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

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
        latency: pooled over scenarios (seeds averaged), and of each rollout ``[R * K]``. The
            p-value of the pooled excess lag is of exchanges of scripts within scenarios, wherever
            one has several that vary; below 7 such exchanges it is NaN (TOO_FEW_SAMPLES).
        motion: per discrete action, direction and size of the picture's motion. A step without
            generated features counts as one that stands still.
        recovery: discrete actions as they are recognised in the generated rollouts ``[R * K]``, by
            a linear inverse-dynamics probe or by the user's network.
        ceiling: the same of the reference rollouts; the probe has not seen their scenario.
        recovered: score of the first relative to that of the second.
        vectors: values of continuous actions as the probe, or the user's network, recognises them,
            over all rollouts. Where nothing is recognised (no generated features, NaN) it counts as
            the mean value.
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

    The latency is that of the response to the *script*: features less their mean over the scripts
    of a row, which is all that a model blind to actions shows. Recovery and effects are those of
    the features themselves.

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
        recognised: twice, what a network recognises in the generated and in the reference
            rollouts: int64 ``[R, K, T]`` (:func:`recognise_actions`), -1 = none, or floating point
            ``[R, K, T, A]`` (:func:`recognise_vectors`), NaN = none; ``None``: a linear probe on
            the features recognises them.
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
    mask = torch.ones(preds.shape[:3], dtype=torch.bool, device=preds.device)
    if valid is not None:
        check_mask("valid", valid, tuple(mask.shape), preds.device, like="preds")
        mask = mask & valid
    generated, reference = (value.flatten(0, 1) for value in (preds, target))
    sent, counted = actions.flatten(0, 1), mask.flatten(0, 1)
    of_row = scenario.to(preds.device).repeat_interleave(scripts)

    once = _once(target, mask, scenario)
    told, truth = actions[once.row].flatten(0, 1), target[once.row].flatten(0, 1)
    counted_once = once.counted.flatten(0, 1)
    fold = of_row.view(rows, scripts)[once.row].flatten()
    latency = _latency(
        *_beyond_shared(preds[..., :responses], target[..., :responses], mask),
        actions,
        once,
        {"num_actions": num_actions, "draws": draws, "seed": seed},
    )
    probe = fit_probe(truth, told, fold, num_actions, folds=_FOLDS, valid=counted_once)
    able, able_once = (probe.can_judge(of, len(of))[:, None] for of in (of_row, fold))
    able = able & counted & reference.isfinite().all(-1)
    able_once = able_once & counted_once & truth.isfinite().all(-1)
    if recognised is None:
        answers = probe.predict(generated, of_row), probe.predict(truth, fold)
    else:
        _check_recognised(recognised, actions)
        answers = recognised[0].flatten(0, 1), recognised[1][once.row].flatten(0, 1)
        able, able_once = counted, counted_once
    if actions.dim() == 4 or num_actions is None:
        return ActionReport(
            latency=latency,
            vectors=_vectors(answers[0], sent, able),
            vectors_ceiling=_vectors(answers[1], told, able_once),
        )
    recovery = action_recovery(answers[0], sent, num_actions, valid=able)
    ceiling = action_recovery(answers[1], told, num_actions, valid=able_once)
    return ActionReport(
        latency=latency,
        motion=motion_by_action(
            # What has dissolved stands still.
            generated[..., :2].nan_to_num(0.0),
            reference[..., :2],
            sent,
            num_actions,
            valid=counted,
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


def _vectors(recognised: Tensor, commanded: Tensor, valid: Tensor) -> VectorRecovery:
    """Where nothing is recognised, the mean of what was commanded: what knows nothing would say."""
    told = commanded.double()
    asked = valid[..., None] & told.isfinite().all(-1, keepdim=True)
    mean = told.where(asked, 0.0).sum((0, 1)) / asked.sum((0, 1)).clamp(min=1)
    answer = recognised.double()
    answer = answer.where(answer.isfinite().all(-1, keepdim=True), mean)
    return vector_recovery(answer, told, valid=valid)


class _Once(NamedTuple):
    """Each scenario once.

    Attributes:
        place: `[R]` int64, scenario of each row.
        row: `[S]` int64, of each scenario the row whose reference has the most steps.
        counted: `[S, K, T]` bool, steps that count in some row.
    """

    place: Tensor
    row: Tensor
    counted: Tensor


def _once(target: Tensor, mask: Tensor, scenario: Tensor) -> _Once:
    names, place = torch.unique(scenario.to(target.device), return_inverse=True)
    rows = torch.arange(len(scenario), device=target.device)
    known = (mask & target.isfinite().all(-1)).flatten(1).sum(1)
    most = known.new_zeros(len(names)).scatter_reduce(0, place, known, "amax")
    best = torch.where(known == most[place], rows, len(rows))
    row = torch.full_like(most, len(rows)).scatter_reduce(0, place, best, "amin")
    count = known.new_zeros(len(names), *mask.shape[1:]).index_add_(0, place, mask.long())
    return _Once(place=place, row=row, counted=count > 0)


def _beyond_shared(preds: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Features less their mean over the scripts of a row, float64, NaN where one of both is absent.

    What moves by itself moves under all scripts alike, in a model that is blind to actions too: it
    is no response. A lone script has nothing to be held against, and stays as it is.
    """
    there = mask & preds.isfinite().all(-1) & target.isfinite().all(-1)
    count = there.sum(1, keepdim=True)[..., None]
    first = there.int().argmax(1, keepdim=True)[..., None]  # argmax takes the first of equals
    found = []
    for values in (preds.double(), target.double()):
        known = values.masked_fill(~there[..., None], 0.0)
        if preds.shape[1] > 1:
            # From the first script, so that equal ones leave exactly nothing.
            known = known - known.gather(1, first.expand_as(known[:, :1]))
            known = known.masked_fill(~there[..., None], 0.0)
            known = known - known.sum(1, keepdim=True) / count
            known = known.masked_fill(count < 2, torch.nan)
        found.append(known.masked_fill(~there[..., None], torch.nan))
    return found[0], found[1]


def _latency(
    preds: Tensor, target: Tensor, actions: Tensor, once: _Once, options: dict[str, Any]
) -> ResponseLatency:
    """Of each rollout, and of all together, seeds averaged."""

    def lags(
        told: Tensor, generated: Tensor, reference: Tensor, groups: Tensor | None = None
    ) -> ResponseLatency:
        return response_latency(
            *(value.flatten(0, 1) for value in (told, generated, reference)),
            groups=groups,
            **options,
        )

    found = lags(actions, preds, target)
    pooled = actions[once.row], preds, target[once.row]
    if len(once.row) < len(preds):
        # Seeds share a script and a reference: their mean is one piece of evidence.
        here = preds.isfinite().all(-1)
        size = (len(once.row), *preds.shape[1:])
        total = preds.new_zeros(size).index_add_(0, once.place, preds.nan_to_num(0.0))
        count = preds.new_zeros(size[:3]).index_add_(0, once.place, here.double())
        pooled = actions[once.row], total / count[..., None], target[once.row]
        found = _with_pooled(found, lags(*pooled))
    # Responses of a scenario sum to 0 over its scripts, so that chance is larger than exchanges
    # over the panel, which break the sum, would have it: at K = 3 they reject 22 of 100 at 5 %.
    if _several_scripts(pooled[0]):
        names = torch.arange(len(once.row), device=preds.device)
        within = lags(*pooled, groups=names.repeat_interleave(preds.shape[1]))
        found = found._replace(excess=_with_pooled(found, within).excess)
    return found


def _with_pooled(latency: ResponseLatency, other: ResponseLatency) -> ResponseLatency:
    return ResponseLatency(
        *(one._replace(pooled=two.pooled) for one, two in zip(latency, other, strict=True))
    )


def _several_scripts(actions: Tensor) -> bool:
    """Whether a scenario has two scripts that vary, so that it can exchange them."""
    steps = actions.flatten(3) if actions.dim() > 3 else actions[..., None]
    varies = (steps != steps[:, :, :1]).flatten(2).any(-1)
    return bool((varies.sum(1) > 1).any())


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
        floats = actions.is_floating_point()
        kind = "floating point" if floats else "int64"
        right = value.is_floating_point() if floats else value.dtype == torch.int64
        if not right or value.shape != actions.shape:
            raise ValueError(
                f"{name} must be {kind} of the shape of actions, {tuple(actions.shape)}, got "
                f"{value.dtype} {tuple(value.shape)}"
            )
