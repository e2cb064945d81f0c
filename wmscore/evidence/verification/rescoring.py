"""Traces scored again, from pixels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.actions import takes_no_actions
from wmscore.evidence.tracefile import KeptTrace, scored_tensors
from wmscore.evidence.verification.findings import Findings
from wmscore.evidence.verification.recomputing import same_values
from wmscore.files import sha256_tensor
from wmscore.functional import UsableHorizon
from wmscore.manifest import Panel
from wmscore.replay import render_scenarios
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer, cover_ignored
from wmscore.scores import Scores
from wmscore.worlds import WorldModel

__all__ = ["DEVICE_SLACK", "check_references", "rescore"]

DEVICE_SLACK = 1e-4
"""Difference of a score, relative to 1 or its size, that another device or version may make."""


def rescore(
    scores: Scores,
    results: Sequence[Scores],
    traces: Mapping[str, KeptTrace],
    findings: Findings,
    *,
    exact: bool,
    device: str,
    networks: Mapping[str, Any],
) -> int:
    """Score a model's traces from their frames, and compare with its scores and the traces' own.

    Args:
        scores: of the model, as stored.
        results: of all models; one may be the oracle.
        traces: of the model, by file.
        findings: what is found.
        exact: on the same machine; else up to `DEVICE_SLACK`.
        device: where to score.
        networks: further arguments of `Scorer`.

    Returns:
        How many rows were scored again.
    """
    if not traces:
        return 0
    try:
        scorer = _scorer(scores, results, device, networks)
    except (ValueError, FileNotFoundError) as error:
        findings.unchecked.append(f"traces of {scores.model}: not scored again: {error}")
        return 0
    rows: list[tuple[str, int]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same that were said when it was scored
        for name, kept in traces.items():
            stored, row = kept.load(), kept.trace.row
            own = scored_tensors(scores, row)
            findings.add(name, _unlike(stored.tensors, own, 0.0))
            told = {key for key in stored.tensors if key.startswith(("curves.", "identity."))}
            findings.add(name, [f"{key}: not among the scores" for key in sorted(told - {*own})])
            try:
                scorer.update(stored.rollouts())
            except (ValueError, TypeError, RuntimeError) as error:
                findings.add(name, [f"cannot be scored: {error}"])
                continue
            rows.append((name, row))
        again = scorer.compute()
    slack = 0.0 if exact and str(device) == scores.provenance.get("device") else DEVICE_SLACK
    missing = sorted(scores.measures.keys() - again.measures.keys())
    if missing:
        findings.unchecked.append(
            f"traces of {scores.model}: {', '.join(missing)}: made by a network that was not given"
        )
    sound = 0
    for name, row in rows:
        old, new = _row(scores, row, again), _row(again, row, scores)
        sound += findings.add(name, _unlike(old, new, slack))
    how = "exactly" if slack == 0 else f"up to {slack:g}"
    findings.checked.append(
        f"{sound} of {len(rows)} traces of {scores.model} scored again from their frames, equal "
        f"{how}"
    )
    return len({row for _, row in rows})


def _scorer(
    scores: Scores, results: Sequence[Scores], device: str, networks: Mapping[str, Any]
) -> Scorer:
    given = dict(networks)
    oracle = scores.provenance.get("oracle", "none given")
    if "oracle" not in given and not oracle.startswith("none given"):
        given["oracle"] = next((s for s in results if s.model == oracle), None)
        if given["oracle"] is None:
            raise ValueError(f"expected the oracle {oracle!r}; pass its scores as oracle=")
    return Scorer(scores.panel, device=device, takes_actions=not takes_no_actions(scores), **given)


def _row(scores: Scores, row: int, other: Scores) -> dict[str, Tensor]:
    """All that a row alone decides, of measures that both have."""
    found = {"fault": scores.fault[row]}
    for group in ("axes", "measures"):
        for name, curve in getattr(scores, group).items():
            if name in getattr(other, group):
                found[f"{group}.{name}"] = curve.values[row]
                found[f"{group}.{name}.reason"] = curve.reason[row]
    for f in fields(UsableHorizon):
        value = getattr(scores.horizon, f.name)
        found[f"horizon.{f.name}"] = value[row] if value.dim() == 1 else value[:, row]
    for part in ("identity", "identity_truth"):
        objects = getattr(scores, part)
        if objects is not None:
            found |= {f"{part}.{f.name}": getattr(objects, f.name)[row] for f in fields(objects)}
    found |= {f"summary.{name}": value[row] for name, value in scores.summary.items()}
    return found | {f"info.{name}": value[row] for name, value in scores.info.items()}


def _unlike(
    stored: Mapping[str, Tensor], found: Mapping[str, Tensor], slack: float
) -> Iterator[str]:
    """A sentence for each tensor of `found` that is another in `stored`."""
    for name, new in found.items():
        old = stored.get(name)
        if old is None:
            yield f"{name}: missing"
            continue
        if old.dim() == new.dim() and old.dim() and name.startswith("identity"):
            old, new = _as_wide(old, new), _as_wide(new, old)  # other rows show more objects
        if old.shape != new.shape or old.dtype != new.dtype:
            yield (
                f"{name}: expected {new.dtype} {list(new.shape)}, got {old.dtype} {list(old.shape)}"
            )
            continue
        apart = ~same_values(old, new, slack)
        if bool(apart.any()):
            place = apart.reshape(-1).nonzero()[0, 0]
            step = f" at step {int(apart.nonzero()[0, 0]) + 1}" if apart.dim() else ""
            sides = [t.reshape(-1)[place].item() for t in (old, new)]
            yield f"{name}{step}: stored {sides[0]}, recomputed {sides[1]}"


def _as_wide(value: Tensor, other: Tensor) -> Tensor:
    fill = float("nan") if value.is_floating_point() else 0
    return pad(value, (0, max(0, other.shape[-1] - value.shape[-1])), value=fill)


def check_references(
    panel: Panel,
    traces: Mapping[str, KeptTrace],
    findings: Findings,
    world: WorldModel | None,
) -> None:
    """References against each other, the panel's frozen frames, and the true world where given."""
    seen: dict[tuple[int, int, str], tuple[str, str]] = {}
    for name, kept in traces.items():
        try:
            rollouts = kept.load().rollouts()
        except ValueError:
            continue  # told already
        if rollouts.reference is None or not 0 <= kept.trace.scenario < len(panel.scenarios):
            continue
        for branch, frames in zip(rollouts.branch.tolist(), rollouts.reference, strict=True):
            key = (kept.trace.scenario, branch, str(frames.dtype))
            first, digest = seen.setdefault(key, (name, sha256_tensor(frames)))
            if digest != sha256_tensor(frames):
                findings.add(name, [f"its reference of script {branch} is not that of {first}"])
        findings.add(name, _start(panel, rollouts))
        if world is not None:
            findings.add(name, _against(panel, rollouts, world))
    if world is not None:
        findings.checked.append(f"references of traces rendered again by {world.name!r}")
    elif traces:
        findings.unchecked.append(
            "references of traces: not rendered again; give the true world (world=) to do so"
        )


def _start(panel: Panel, rollouts: Rollouts) -> Iterator[str]:
    """The given frame against the hash that the panel froze."""
    observation = panel.contract.observation
    frozen = panel.scenarios[int(rollouts.scenario[0])].initial_frame_sha256
    assert rollouts.reference is not None
    if frozen is None or (observation is not None and observation.ignore is not None):
        return
    frame = rollouts.reference[0, 0]
    if frame.dtype != torch.uint8:
        frame = (frame.double() * 255).round().clamp(0, 255).to(torch.uint8)
    if sha256_tensor(frame) != frozen:
        yield "its reference does not begin with the frame that the panel froze"


def _against(panel: Panel, rollouts: Rollouts, world: WorldModel) -> Iterator[str]:
    assert rollouts.reference is not None
    assert rollouts.reference_valid is not None
    truth = render_scenarios(panel, world, [int(rollouts.scenario[0])])
    again = rollouts.without_reference().with_reference(truth)
    shown = cover_ignored(again, panel.contract.observation)
    assert shown.reference_index is not None
    there = rollouts.reference_valid
    for what in ("reference", "reference_labels"):
        stored, made = getattr(rollouts, what), getattr(shown, what)
        if stored is None or made is None:
            continue
        # Labels are kept of the commanded script alone.
        branches = rollouts.branch.tolist()[: 1 if what == "reference_labels" else None]
        made = made[shown.reference_index]
        for row, branch in enumerate(branches):
            steps = (stored[row] != made[row]).flatten(1).any(1) & there[row]
            if bool(steps.any()):
                step = int(steps.nonzero()[0, 0])
                name = what.replace("_", " ")
                yield f"{name} of script {branch} at step {step}: {world.name!r} shows another"
