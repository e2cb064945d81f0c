"""What a trace file holds: all that its row's scores were made of, and what they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor

from wmscore.files import safe_name
from wmscore.rollouts import Rollouts
from wmscore.scores import Scores
from wmscore.tensorfile import load_tensors, save_tensors

__all__ = ["KeptTrace", "StoredTrace", "Trace", "read_trace", "save_trace", "trace_tensors"]

_ROWS = ("frames", "valid", "actions", "labels", "latents")
_REFERENCES = ("reference", "reference_valid", "reference_labels", "reference_latents")
_OTHERS = "branches."
_INFO = "info."


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A row worth keeping, and why.

    Attributes:
        model: whose rollout.
        row: row of the panel.
        scenario: index of the scenario.
        scenario_id: its id.
        seed: its seed.
        step: the step to look at, 1-based.
        why: what happens there.
    """

    model: str
    row: int
    scenario: int
    scenario_id: str
    seed: int
    step: int
    why: str

    @property
    def name(self) -> str:
        """File name without ending."""
        return safe_name(f"{self.model}.{self.scenario_id}.seed{self.seed}")


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredTrace:
    """A trace file, read.

    Attributes:
        trace: which row, and why it was kept.
        panel: fingerprint of its panel.
        tensors: all that the file holds, by name: `frames`, `reference`, `labels`, `actions`, ...
            of the commanded rollout, `branches.*` of the other scripts of its group, `curves.*` and
            `identity.*` what was found.
    """

    trace: Trace
    panel: str
    tensors: dict[str, Tensor]

    def rollouts(self) -> Rollouts:
        """The row's rollouts, all scripts that are kept, each beside its own reference.

        Raises:
            ValueError: a tensor is missing or has another shape.
        """
        try:
            return self._rollouts()
        except (KeyError, TypeError, RuntimeError, IndexError) as error:
            raise ValueError(f"expected the tensors of a rollout, got {error}") from None

    def _rollouts(self) -> Rollouts:
        own = self.tensors
        others = "branches.branch" in own
        branch = torch.zeros(1, dtype=torch.int64)
        if others:
            branch = torch.cat([branch, own["branches.branch"]])
        count = len(branch)
        joined: dict[str, Any] = {}
        for name in (*_ROWS, *_REFERENCES):
            if name not in own:
                continue
            value = own[name][None]
            if count > 1:
                # Of other scripts only what is judged is kept: no labels, no latents.
                rest = own.get(_OTHERS + name, value.new_zeros(count - 1, *value.shape[1:]))
                value = torch.cat([value, rest])
            joined[name] = value
        info = {}
        for name in (name for name in own if name.startswith(_INFO)):
            some = [own[name][None], *([own[_OTHERS + name]] if count > 1 else [])]
            info[name.removeprefix(_INFO)] = torch.cat(some)
        return Rollouts(
            **joined,
            info=info,
            scenario=torch.full((count,), self.trace.scenario),
            seed=torch.full((count,), self.trace.seed),
            branch=branch,
            reference_index=torch.arange(count) if "reference" in own else None,
            model=self.trace.model,
            panel=self.panel,
        )


class KeptTrace(NamedTuple):
    """A trace file that is read when it is needed: all of them at once may be too many.

    Attributes:
        trace: which row, and why it was kept.
        load: reads the file.
    """

    trace: Trace
    load: Callable[[], StoredTrace]


def trace_tensors(rollouts: Rollouts, scores: Scores, row: int) -> dict[str, Tensor]:
    """What a trace keeps of a row: enough to score it again, and its scores.

    Args:
        rollouts: of that row alone, all its scripts, beside their reference.
        scores: of the model.
        row: of the panel.
    """
    specs = {spec.axis for spec in scores.panel.axes}
    if "latent_drift" not in specs:
        rollouts = replace(rollouts, latents=None, reference_latents=None)
    tensors = _of(rollouts[rollouts.branch == 0])
    others = rollouts[rollouts.branch > 0]
    if "action_response" in specs and len(others):
        kept = _of(others, alone=False)
        tensors |= {
            _OTHERS + name: value
            for name, value in kept.items()
            if "labels" not in name and "latents" not in name
        }
        tensors[_OTHERS + "branch"] = others.branch
    return tensors | scored_tensors(scores, row)


def scored_tensors(scores: Scores, row: int) -> dict[str, Tensor]:
    """The curves and objects of a row, as a trace keeps them."""
    tensors = {}
    for group in ("axes", "measures"):
        for name, curve in getattr(scores, group).items():
            tensors[f"curves.{group}.{name}"] = curve.values[row]
    if scores.identity is not None:
        for name in ("ids", "state", "iou", "other_id", "confidence"):
            tensors[f"identity.{name}"] = getattr(scores.identity, name)[row]
    return tensors


def _of(rollouts: Rollouts, *, alone: bool = True) -> dict[str, Tensor]:
    tensors = {name: value for name in _ROWS if (value := getattr(rollouts, name)) is not None}
    if rollouts.reference_index is not None:
        for name in _REFERENCES:
            value = getattr(rollouts, name)
            if value is not None:
                tensors[name] = value[rollouts.reference_index.to(value.device)]
    tensors |= {_INFO + name: value for name, value in rollouts.info.items()}
    return {name: value[0] for name, value in tensors.items()} if alone else tensors


def save_trace(path: Path, trace: Trace, panel: str, tensors: dict[str, Tensor]) -> None:
    """Write a trace file."""
    save_tensors(path, "trace", tensors, {"panel": panel, "trace": asdict(trace)})


def read_trace(path: str | Path) -> StoredTrace:
    """Read a trace file.

    Raises:
        ValueError: it is none, or its header is broken.
    """
    try:
        header, tensors = load_tensors(path, "trace")
    except (SafetensorError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: expected a trace, got {error}") from None
    about = header.get("trace")
    kinds = {f.name: str if "str" in str(f.type) else int for f in fields(Trace)}
    if (
        not isinstance(about, dict)
        or about.keys() != kinds.keys()
        or any(type(about[name]) is not kind for name, kind in kinds.items())
        or not isinstance(header.get("panel"), str)
    ):
        raise ValueError(f"{path}: expected the header of a trace, got {about!r:.200}")
    return StoredTrace(trace=Trace(**about), panel=header["panel"], tensors=tensors)
