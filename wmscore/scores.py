"""`Scores`: what a scorer found for one model on one panel, row by row and step by step."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wmscore.functional import (
    ActionReport,
    BreakAgreement,
    IdentityState,
    ObjectIdentity,
    Reason,
    ScriptTest,
    UsableHorizon,
    break_agreement,
    drift_shape,
    identity_events,
)
from wmscore.manifest import Panel, PanelMismatchError
from wmscore.nested import flatten, rebuild
from wmscore.tensorfile import load_tensors, save_tensors

__all__ = ["Curve", "Scores"]

_OF_ROWS = ("steps", "censored", "axis", "defined", "reason", "usable_share")  # of a horizon
_RECOVERY = ("recovered_at", "recovered_steps")


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """One measure of every row at every step.

    Attributes:
        values: `[R, T]` float64; NaN where undefined.
        reason: `[R, T]` uint8, `Reason` of each undefined value, 0 where defined.
        unit: "1" for a ratio, else the unit.
        low: smallest possible value.
        high: largest possible value.
        higher_is_better: direction; None where neither end is better by itself.
    """

    values: Tensor
    reason: Tensor
    unit: str = "1"
    low: float = 0.0
    high: float = 1.0
    higher_is_better: bool | None = True

    def __repr__(self) -> str:
        """Shape and what is undefined, no values."""
        rows, steps = self.values.shape
        return f"Curve([{rows}, {steps}], unit={self.unit!r}, undefined={self.undefined()})"

    def undefined(self) -> dict[str, int]:
        """How many values are undefined, by reason."""
        counts = torch.bincount(self.reason.flatten().long(), minlength=len(Reason)).tolist()
        return {r.name.lower(): counts[r] for r in Reason if r and counts[r]}


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """All results of one model on one panel; rows are `panel.rows()`, always all of them.

    Attributes:
        panel: the contract that was kept.
        model: name of the model.
        axes: per axis its score in [0, 1], 1 = perfect, `[R, T]`, in panel order.
        measures: the raw curves behind the scores, with their own units.
        horizon: usable horizon per row, `[R]`, and per axis, `[A, R]`.
        fault: `[R]` uint8, the evaluation fault of a row as `Reason`, 0 for none. A row with a
            fault has no usable horizon: the evaluation failed, not the model.
        identity: per object and step, or None where the panel has no identity axis or no labels.
        identity_truth: the same from labels, where `identity` is told without and there are labels.
        actions: latency, recovery and effects of actions, or None where the panel has no axis
            action_response; its rollouts are rows x scripts.
        chance: whether the response to the scripts is more than chance, likewise.
        summary: further numbers of each row `[R]` float64, by name (`idf1`, `hota`, ... of
            tracking); NaN where undefined.
        info: per-row values that came with the rollouts.
        provenance: versions, device and kernels that made the numbers.
        messages: of rows that the model failed to answer, what it said, by row.
    """

    panel: Panel
    model: str
    axes: dict[str, Curve]
    measures: dict[str, Curve]
    horizon: UsableHorizon
    fault: Tensor
    identity: ObjectIdentity | None = None
    identity_truth: ObjectIdentity | None = None
    actions: ActionReport | None = None
    chance: ScriptTest | None = None
    summary: dict[str, Tensor] = field(default_factory=dict)
    info: dict[str, Tensor] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    messages: dict[int, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Model, panel and size, no values; `table()` shows the results."""
        return (
            f"Scores(model={self.model!r}, panel={self.panel.name!r}, rows={len(self)}, "
            f"axes={list(self.axes)}, horizon={self.horizon_text()}, faults={self.faults()})"
        )

    def __len__(self) -> int:
        """Number of rows `R` = scenarios x seeds."""
        return self.fault.shape[0]

    @property
    def complete(self) -> bool:
        """True when no row has an evaluation fault."""
        return not bool(self.fault.any())

    def faults(self) -> dict[str, int]:
        """How many rows have an evaluation fault, by kind."""
        counts = torch.bincount(self.fault.long(), minlength=len(Reason)).tolist()
        return {r.name.lower(): counts[r] for r in Reason if r and counts[r]}

    def row(self, scenario_id: str, seed: int) -> int:
        """Index of a row by scenario id and seed."""
        ids = [scenario.id for scenario in self.panel.scenarios]
        if scenario_id not in ids or seed not in self.panel.seeds:
            raise ValueError(f"row: no scenario {scenario_id!r} with seed {seed} in the panel")
        return ids.index(scenario_id) * len(self.panel.seeds) + self.panel.seeds.index(seed)

    def failing_steps(self) -> Tensor:
        """Share of the steps at which some gated axis is below its threshold, `[R]` float64.

        Beside the horizon, since failures shorter than the patience end no horizon: a score that
        comes and goes has many. NaN for a row without a horizon.
        """
        below = torch.stack(
            [(self.axes[spec.axis].values < spec.threshold) & spec.gate for spec in self.panel.axes]
        ).any(0)
        share = below.double().mean(1)
        return share.masked_fill(~self.horizon.defined, float("nan"))

    def failing_axis(self, row: int) -> str | None:
        """The axis that ends a row's usable horizon, or None when it is censored or undefined."""
        index = int(self.horizon.axis[row])
        return None if index < 0 else list(self.axes)[index]

    def recovery(self, row: int) -> tuple[int, int] | None:
        """When a row recovers from the end of its horizon, and for how many defined steps.

        None where the axis that ended it does not come back, or none ended it.
        """
        index = int(self.horizon.axis[row])
        if index < 0 or not int(self.horizon.recovery[index, row]):
            return None
        found = (self.horizon.recovery[index, row], self.horizon.recovered_steps[index, row])
        return int(found[0]), int(found[1])

    def identity_break(self, row: int) -> tuple[int, int, str] | None:
        """A row's first object identity break as (step, object id, event), or None."""
        if self.identity is None or not int(self.identity.first_break[row]):
            return None
        event = IdentityState(int(self.identity.first_break_event[row])).name.lower()
        return int(self.identity.first_break[row]), int(self.identity.first_break_id[row]), event

    def identity_error(self) -> BreakAgreement | None:
        """Which breaks that were told without labels are ones; None without true labels."""
        if self.identity is None or self.identity_truth is None:
            return None
        found = break_agreement(self.identity, self.identity_truth)
        known = (self.identity_truth.reason != int(Reason.MISSING)).any(1, keepdim=True)
        return BreakAgreement(*(kind & known for kind in found))

    def events(self) -> list[dict[str, Any]]:
        """What happened to objects, one record per event (`functional.identity_events`)."""
        return [] if self.identity is None else identity_events(self.identity).records()

    def records(self) -> list[dict[str, Any]]:
        """One flat record per row: the lines of the matched metric table."""
        horizon, failing = self.horizon, self.failing_steps()
        shapes: dict[str, dict[str, Tensor]] = {
            spec.axis: drift_shape(
                self.axes[spec.axis].values, higher_is_better=True, threshold=spec.threshold
            )._asdict()
            for spec in self.panel.axes
            if spec.axis.endswith("_drift")
        }
        lines: list[dict[str, Any]] = []
        for r, (s, seed) in enumerate(self.panel.rows()):
            fault = Reason(int(self.fault[r]))
            line: dict[str, Any] = {
                "scenario": self.panel.scenarios[s].id,
                "seed": seed,
                "model": self.model,
                "fault": fault.name.lower() if fault else "",
                **({"fault_message": self.messages.get(r, "")} if self.messages else {}),
                "horizon_steps": int(horizon.steps[r]) if horizon.defined[r] else "",
                "horizon_censored": bool(horizon.censored[r]) if horizon.defined[r] else "",
                "first_failing_axis": self.failing_axis(r) or "",
                "failing_steps_share": float(failing[r]) if horizon.defined[r] else "",
                "usable_steps_share": float(horizon.usable_share[r]) if horizon.defined[r] else "",
            }
            line |= dict(zip(_RECOVERY, self.recovery(r) or ("", ""), strict=True))
            for a, (axis, curve) in enumerate(self.axes.items()):
                known = curve.values[r][~curve.values[r].isnan()]
                defined = bool(horizon.axis_defined[a, r])
                judged = len(known) and not fault  # what a broken rollout shows is no evidence
                line[f"{axis}_mean_score"] = float(known.mean()) if judged else ""
                line[f"{axis}_horizon_steps"] = int(horizon.axis_steps[a, r]) if defined else ""
                line[f"{axis}_censored"] = bool(horizon.axis_censored[a, r]) if defined else ""
                line |= self._failures_record(axis, a, r)
                line[f"{axis}_undefined_steps"] = int(curve.reason[r].bool().sum())
                for name, values in shapes.get(axis, {}).items():
                    line[f"{axis}_{name}"] = "" if values[r].isnan() else float(values[r])
            for name, curve in self.measures.items():
                known = curve.values[r][curve.values[r].isfinite()]
                line[f"{name}_mean"] = float(known.mean()) if len(known) else ""
            if "psnr" in self.measures:  # of identical frames it is infinite, and not in the mean
                same = self.measures["psnr"].values[r].isposinf()
                line["identical_steps"] = int(same.sum())
            line |= self._identity_record(r)
            line |= self._action_record(r)
            # Sorted: files do not keep the order of what is looked up by name.
            summary, info = sorted(self.summary.items()), sorted(self.info.items())
            line |= {k: "" if v[r].isnan() else float(v[r]) for k, v in summary}
            line |= {f"info_{k}": v[r].item() for k, v in info if v.dim() == 1}
            lines.append(line)
        return lines

    def _failures_record(self, axis: str, index: int, row: int) -> dict[str, Any]:
        """How often an axis fails, when and for how long it is back, and by how much it fails."""
        horizon = self.horizon
        defined = bool(horizon.axis_defined[index, row])
        back = int(horizon.recovery[index, row])
        margins = {
            "margin_at_failure": float(horizon.margin[index, row]),
            "smallest_margin": float(horizon.smallest_margin[index, row]),
        }
        return {
            f"{axis}_failures": int(horizon.failures[index, row]) if defined else "",
            f"{axis}_lost_steps": int(horizon.lost_steps[index, row]) if defined else "",
            f"{axis}_recovered_at": back or "",
            f"{axis}_recovered_steps": int(horizon.recovered_steps[index, row]) if back else "",
        } | {f"{axis}_{k}": v if isfinite(v) else "" for k, v in margins.items()}

    def _identity_record(self, row: int) -> dict[str, Any]:
        names = ("first_object_identity_break", "broken_object", "broken_how")
        found = self.identity_break(row)
        return dict(zip(names, found or ("", "", ""), strict=True))

    def _action_record(self, row: int) -> dict[str, Any]:
        """Latency of the commanded rollout behind its reference, and its actions recovered.

        A rollout without a p-value of its own has no lag where the panel as a whole has none above
        chance: some lag is always the best.
        """
        if self.actions is None:
            return {}
        pooled, lag = self.actions.latency.excess
        index = row * (lag.lag.shape[0] // len(self))
        reason = Reason(int(lag.reason[index]))
        if reason == Reason.TOO_FEW_SAMPLES and int(pooled.reason) == Reason.NO_LAG:
            reason = Reason.NO_LAG
        recovery = self.actions.recovery
        values = {
            "latency_steps": lag.lag[index],
            "latency_p_value": lag.p_value[index],
            "latency_polarity": lag.polarity[index],
            "latency_gain": lag.gain[index],
        }
        if reason == Reason.NO_LAG:
            values |= dict.fromkeys(
                ("latency_steps", "latency_polarity", "latency_gain"), torch.tensor(torch.nan)
            )
        if recovery is not None:
            values["actions_recovered"] = recovery.per_row.score[index]
        record: dict[str, Any] = {k: "" if v.isnan() else float(v) for k, v in values.items()}
        for name in ("latency_steps", "latency_polarity"):  # whole numbers
            record[name] = "" if record[name] == "" else int(record[name])
        doubt = "" if record["latency_steps"] == "" else int(lag.ambiguous[index])
        return record | {
            "latency_ambiguous": doubt,
            "latency_reason": reason.name.lower() if reason else "",
        }

    def table(self) -> str:
        """Scenario x axis as text: usable horizon and each axis' median score [quartiles]."""
        head = ["scenario", "horizon", *self.axes]
        body: list[list[str]] = []
        seeds = len(self.panel.seeds)
        for s, scenario in enumerate(self.panel.scenarios):
            rows = slice(s * seeds, (s + 1) * seeds)
            cells = [scenario.id, self.horizon_text(rows)]
            for curve in self.axes.values():
                cells.append(_quartiles(curve.values[rows][self.fault[rows] == 0]))
            body.append(cells)
        widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
        lines = [
            "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True))
            for line in [head, *body]
        ]
        for axis, curve in self.axes.items():
            if curve.undefined():
                why = ", ".join(
                    f"{n} x {Reason[k.upper()].description}" for k, n in curve.undefined().items()
                )
                lines.append(f"undefined {axis}: {why}")
        if not self.complete:
            lines.append(f"evaluation faults: {self.faults()}")
        return "\n".join(lines)

    def horizon_text(self, rows: slice = slice(None)) -> str:
        """Median usable horizon of some rows, with `>=` where the median row is censored.

        A row that was censored early counts with the steps that it was seen for.
        """
        defined = self.horizon.defined[rows]
        steps = self.horizon.steps[rows][defined]
        if not len(steps):
            return "undefined"
        order = steps.sort(stable=True).indices
        middle = order[(len(order) - 1) // 2]
        mark = ">=" if bool(self.horizon.censored[rows][defined][middle]) else ""
        return f"{mark}{int(steps[middle])}"

    # ---- files ---------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, atomically, with the whole panel inside."""
        tensors: dict[str, Tensor] = {"fault": self.fault}
        curves: dict[str, dict[str, Any]] = {}
        for group in ("axes", "measures"):
            for name, curve in getattr(self, group).items():
                key = f"{group}.{name}"
                tensors |= {f"{key}.values": curve.values, f"{key}.reason": curve.reason}
                curves[key] = {
                    f.name: getattr(curve, f.name)
                    for f in fields(curve)
                    if f.name not in ("values", "reason")
                }
        for part in ("horizon", "identity", "identity_truth", "actions", "chance"):
            tensors |= flatten(part, getattr(self, part))
        tensors |= {f"summary.{k}": v for k, v in self.summary.items()}
        tensors |= {f"info.{k}": v for k, v in self.info.items()}
        header = {
            "model": self.model,
            "panel": json.loads(self.panel.canonical_json()),
            "curves": curves,
            "provenance": self.provenance,
            **({"messages": self.messages} if self.messages else {}),
        }
        save_tensors(path, "scores", tensors, header)

    @classmethod
    def load(cls, path: str | Path, panel: Panel | None = None) -> Scores:
        """Read a file that `save` wrote; with `panel` given, refuse another panel's.

        Raises:
            PanelMismatchError: the file was made for another panel; says which fields differ.
            ValueError: the file is no scores file, lacks a part, or has one of another shape.
        """
        try:
            scores = cls._load(path, panel)
        except KeyError as error:
            raise ValueError(f"{path}: expected {error.args[0]} in the scores file") from None
        _check_shapes(path, scores)
        return scores

    @classmethod
    def _load(cls, path: str | Path, panel: Panel | None) -> Scores:
        header, tensors = load_tensors(path, "scores")
        own = Panel.from_dict(header["panel"])
        if panel is not None and panel.fingerprint != own.fingerprint:
            raise PanelMismatchError(
                f"{path}: made for another panel:\n" + "\n".join(own.differences(panel))
            )

        def part(prefix: str) -> dict[str, Tensor]:
            start = f"{prefix}."
            return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}

        groups: dict[str, dict[str, Curve]] = {"axes": {}, "measures": {}}
        for key, about in header["curves"].items():
            group, name = key.split(".", 1)
            groups[group][name] = Curve(**{**part(key), **about})
        return cls(
            panel=own,
            model=header["model"],
            axes=groups["axes"],
            measures=groups["measures"],
            horizon=_horizon_of(path, part("horizon")),
            fault=tensors["fault"],
            identity=rebuild(ObjectIdentity, "identity", tensors),
            identity_truth=rebuild(ObjectIdentity, "identity_truth", tensors),
            actions=rebuild(ActionReport, "actions", tensors),
            chance=rebuild(ScriptTest, "chance", tensors),
            summary=part("summary"),
            info=part("info"),
            provenance=header["provenance"],
            messages={int(row): text for row, text in header.get("messages", {}).items()},
        )


def _check_shapes(path: str | Path, scores: Scores) -> None:
    """Axes, rows and steps as the panel has them: torch would broadcast some that are not."""
    wanted, found = [spec.axis for spec in scores.panel.axes], list(scores.axes)
    if wanted != found:
        raise ValueError(f"{path}: expected the panel's axes {wanted}, got {found}")
    rows: tuple[int, ...] = (len(scores.panel.scenarios) * len(scores.panel.seeds),)
    curve = (*rows, scores.panel.contract.horizon)
    parts: list[tuple[str, Tensor, tuple[int, ...]]] = [("fault", scores.fault, rows)]
    for name, axis in scores.axes.items():
        parts += [(f"axes.{name}.{p}", getattr(axis, p), curve) for p in ("values", "reason")]
    for part in fields(UsableHorizon):
        shape = rows if part.name in _OF_ROWS else (len(wanted), *rows)
        parts.append((f"horizon.{part.name}", getattr(scores.horizon, part.name), shape))
    for name, value, shape in parts:
        if value.shape != shape:
            raise ValueError(f"{path}: {name}: expected shape {shape}, got {tuple(value.shape)}")
    horizon = scores.horizon
    for name, value, last in (
        ("steps", horizon.steps, curve[1]),
        ("axis", horizon.axis, len(wanted) - 1),
    ):
        if value.dtype != torch.int64 or bool(((value < -1) | (value > last)).any()):
            raise ValueError(
                f"{path}: horizon.{name}: expected int64 from -1 to {last}, got others"
            )
    for name in ("censored", "defined"):
        if getattr(horizon, name).dtype != torch.bool:
            raise ValueError(f"{path}: horizon.{name}: expected bool")


def _horizon_of(path: str | Path, tensors: dict[str, Tensor]) -> UsableHorizon:
    missing = [f.name for f in fields(UsableHorizon) if f.name not in tensors]
    if missing:
        raise ValueError(
            f"{path}: expected horizon.{missing[0]} in the file, got a file of an earlier version "
            "of wmscore that did not look for recoveries; score the rollouts again"
        )
    return UsableHorizon(**tensors)


def _quartiles(values: Tensor) -> str:
    """Median [lower, upper quartile] over the defined steps of some rows."""
    known = values[~values.isnan()]
    if not len(known):
        return "undefined"
    points = torch.tensor([0.25, 0.5, 0.75], dtype=known.dtype, device=known.device)
    low, middle, high = torch.quantile(known, points).tolist()
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"
