"""The measures that `response_validity.py` studies: what is kept of each batch, and the verdict.

They are those of the Scorer, of the same inputs: all scripts of a group side by side.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from wmscore.functional import (
    ActionReport,
    Reason,
    ScriptCross,
    action_report,
    motion_features,
    recovery_from_confusion,
    script_cross,
    script_match,
    script_products,
    script_response,
    script_test,
)
from wmscore.rollouts import Rollouts
from wmscore.scorer.motion import motion_curves

__all__ = ["SCORES", "features_of", "judge", "measure"]

SCORES = ("agreement", "match", "motion", "recovery")
"""Scores of `judge`: 1 = the reference's response (of recovery: its ceiling is less), 0 = none."""

_NOOP = 0
_DRAWS = 999
_LEVEL = 0.05


def features_of(truth: Rollouts) -> Tensor:
    """Motion features ``[B, T, D]`` float32 of the true rollouts of a batch, for `measure`."""
    return motion_features(truth.frames, valid=truth.valid).values.float()


def measure(rollouts: Rollouts, target: Tensor) -> dict[str, Tensor]:
    """What is kept of a batch of one model's groups, all scripts of a scenario side by side.

    Args:
        rollouts: with the truth as their reference.
        target: `features_of` the truth.

    Returns:
        Tensors ``[G, ...]``, which are joined over batches and given to `judge`.
    """
    scripts = int(rollouts.branch.max()) + 1
    rows = torch.arange(len(rollouts)).view(-1, scripts)
    assert rollouts.reference is not None
    assert rollouts.reference_index is not None
    assert rollouts.reference_valid is not None
    there = rollouts.reference_index.view(-1, scripts)
    shown = rollouts.valid[rows] & rollouts.reference_valid[there]
    products = script_products(
        rollouts.frames[:, 1:],
        rollouts.reference[:, 1:],
        preds_rows=rows,
        target_rows=there,
        present=shown[..., 1:],
    )
    cross = script_cross(products)
    preds = motion_features(rollouts.frames, valid=rollouts.valid).values.float()[rows]
    absent = torch.zeros_like(products.present[:, 0], dtype=torch.uint8)
    absent = absent.masked_fill(~products.present[:, 0], int(Reason.NO_FRAME))
    curves = motion_curves(preds[:, 0], target[there][:, 0], absent)
    return {
        "agreement": script_response(products).agreement,
        "match": script_match(products).match,
        "motion": curves["motion"][0],
        "preds": preds,
        "target": target[there],
        "actions": rollouts.actions[rows],
        "present": shown[..., 1:],
        **{f"cross_{name}": value for name, value in zip(cross._fields, cross, strict=True)},
    }


def judge(measured: Mapping[str, Tensor], num_actions: int, **options: int) -> dict[str, Tensor]:
    """Per scenario ``[G]`` the `SCORES`; of each rollout whose script varies ``[R]``: lag and gain.

    Args:
        measured: of `measure`, all batches.
        num_actions: number of actions; the first is no-op.
        options: of `action_report`.

    Returns:
        Besides, of all scenarios together ``[]``: ``pooled_delay``, ``pooled_gain`` and
        ``polarity``, the ``p_value`` of there being a lag, ``script_p`` that frames follow their
        own script, ``recovered`` (share of the ceiling), ``ceiling``, and of the actions that do
        something in the reference the share that significantly do something, most like
        themselves (``effects``).
    """
    scenario = torch.arange(len(measured["actions"]))
    report = action_report(
        measured["preds"].double(),
        measured["target"].double(),
        measured["actions"],
        scenario,
        num_actions=num_actions,
        noop=_NOOP,
        valid=measured["present"],
        **{"draws": _DRAWS, **options},
    )
    cross = ScriptCross(*(measured[f"cross_{name}"] for name in ScriptCross._fields))
    test = script_test(cross, draws=_DRAWS)
    # Scripts that never vary have no lag to find.
    varies = (measured["actions"] != measured["actions"][..., :1]).any(-1).flatten()
    lag = report.latency.excess
    return {
        **{name: measured[name].nanmean(1) for name in ("agreement", "match", "motion")},
        **_recovery(report, len(scenario)),
        "delay": lag.rollouts.lag[varies],
        "gain": lag.rollouts.gain[varies],
        "turned": lag.rollouts.polarity[varies],
        "pooled_delay": lag.pooled.lag,
        "pooled_gain": lag.pooled.gain,
        "polarity": lag.pooled.polarity,
        "p_value": lag.pooled.p_value,
        "script_p": test.p_value,
    }


def _recovery(report: ActionReport, scenarios: int) -> dict[str, Tensor]:
    found, ceiling = report.recovery, report.ceiling
    assert found is not None
    assert ceiling is not None
    assert report.recovered is not None
    assert report.effects is not None
    counts, missed = found.per_row.confusion, found.per_row.unrecognised
    each = recovery_from_confusion(
        counts.unflatten(0, (scenarios, -1)).sum(1),
        unrecognised=missed.unflatten(0, (scenarios, -1)).sum(1),
    )
    named = report.effects.confused_with
    shown = ~report.effects.excluded
    own = (named == torch.arange(len(named))) & (report.effects.preds_p <= _LEVEL)
    return {
        "recovery": each.score,
        "recovered": report.recovered.value,
        "ceiling": ceiling.score,
        "effects": (own & shown).sum().double() / shown.sum(),
    }
