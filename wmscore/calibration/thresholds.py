"""`calibrate`: thresholds that a perfect model fails as seldom as asked, into the panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from wmscore.calibration.tolerance import TOLERANCE
from wmscore.functional import CalibratedThresholds, calibrate_thresholds, critical_threshold
from wmscore.manifest import AxisCalibration, AxisName, AxisSpec, Panel, PanelMismatchError
from wmscore.scores import Scores

__all__ = ["AxisThreshold", "Calibration", "calibrate"]


@dataclass(frozen=True, kw_only=True)
class AxisThreshold:
    """One axis of a `Calibration`.

    Attributes:
        axis: its name.
        gate: whether it ends the usable horizon.
        before: the panel's threshold.
        threshold: the calibrated one, or `before` where there is none.
        calibration: what is written into the panel; None where the threshold stays.
        sd: how much the choice of seeds matters, standard deviation of the threshold; NaN where
            it stays.
        scenarios: scenarios in which the axis is defined.
        units: what was counted: those scenarios, or with the estimand "seeds" the rollouts.
        needed: units that the asked alpha needs.
        why: a sentence for a person.
    """

    axis: AxisName
    gate: bool
    before: float
    threshold: float
    calibration: AxisCalibration | None
    sd: float
    scenarios: int
    units: int
    needed: int
    why: str


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What `calibrate` found.

    Attributes:
        panel: the panel with the thresholds and where they come from, under a new fingerprint.
        oracle: name of the perfect model.
        alpha: share of perfect rollouts whose usable horizon may end.
        axes: one result per axis, in panel order.
        rows: of the perfect model.
        faults: how many of these have an evaluation fault, by kind; they tell nothing.
    """

    panel: Panel
    oracle: str
    alpha: float
    axes: tuple[AxisThreshold, ...]
    rows: int = 0
    faults: dict[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every gated axis has a calibrated threshold."""
        return all(axis.calibration is not None for axis in self.axes if axis.gate)

    def table(self) -> str:
        """One line per axis: the threshold before and after, and why; and what rows are lost."""
        lines = []
        for axis in self.axes:
            name = axis.axis if axis.gate else f"{axis.axis} (no gate)"
            verdict = f"stays {axis.before:g}"
            if axis.calibration is not None:
                verdict = f"{axis.before:g} -> {axis.threshold:.4g}"
            lines.append(f"{name}: {verdict}. {axis.why}")
        if self.faults:
            kinds = ", ".join(f"{n} x {kind.replace('_', ' ')}" for kind, n in self.faults.items())
            lost = f"{sum(self.faults.values())} of {self.rows} rows"
            lines.append(f"{self.oracle}: {lost} tell nothing ({kinds}).")
        return "\n".join(lines)


def calibrate(
    oracle: Scores,
    *,
    alpha: float = 0.05,
    joint: bool = False,
    estimand: Literal["scenarios", "seeds"] = "scenarios",
    tolerance: Sequence[Scores] = (),
    redraws: int = 200,
    seed: int = 0,
) -> Calibration:
    """Thresholds that perfect rollouts fail with a chance of `alpha` at most.

    From the scores of a perfect model: the true world with its randomness drawn anew
    (`wmscore.worlds.OtherSeed`), on as many scenarios as the question needs. With a
    `recover_threshold` that hysteresis counts, and the threshold is not above it. An axis on which
    the oracle repeats the reference exactly has nothing to learn from: its threshold is then the
    lowest at which the changed reference (`tolerance_scores`) passes in every scenario. An axis
    with neither keeps the panel's threshold.

    Args:
        oracle: scores of the perfect model on the panel.
        alpha: share of perfect rollouts whose usable horizon may end, over all gated axes: each of
            m has alpha / m. An axis without a gate has alpha on its own.
        joint: calibrate the gated axes together (`wmscore.stats.joint_conformal_threshold`).
        estimand: whether the promise is for new scenarios, or for new seeds on the scenarios of
            this panel (`wmscore.functional.calibrate_thresholds`).
        tolerance: scores of the changed reference.
        redraws: draws of one seed per scenario.
        seed: of the draws.

    Returns:
        A `Calibration`.

    Raises:
        PanelMismatchError: scores of the changed reference on another panel.
        ValueError: no row without a fault, or an alpha outside (0, 1).

    Source:
        `wmscore.functional.calibrate_thresholds`.
    """
    panel = oracle.panel
    for scores in tolerance:
        if scores.panel.fingerprint != panel.fingerprint:
            fields = "\n".join(panel.differences(scores.panel))
            raise PanelMismatchError(f"tolerance: scored on another panel:\n{fields}")
    if bool((oracle.fault != 0).all()):
        raise ValueError(f"oracle: every row of {oracle.model!r} has a fault: {oracle.faults()}")
    found = calibrate_thresholds(
        _by_scenario(oracle),
        patience=torch.tensor([spec.patience for spec in panel.axes]),
        alpha=alpha,
        joint=joint,
        estimand=estimand,
        gated=torch.tensor([spec.gate for spec in panel.axes]),
        redraws=redraws,
        seed=seed,
        recover_thresholds=_recover_thresholds(panel),
    )
    limits = _tolerated(panel, tolerance)
    asked = _Asked(oracle.model, alpha, joint, estimand, redraws, seed)
    axes = tuple(_axis(spec, a, found, limits, asked) for a, spec in enumerate(panel.axes))
    changed = [axis for axis in axes if axis.calibration is not None]
    return Calibration(
        panel=panel.with_thresholds(
            {axis.axis: axis.threshold for axis in changed},
            {axis.axis: axis.calibration for axis in changed if axis.calibration is not None},
        ),
        oracle=oracle.model,
        alpha=alpha,
        axes=axes,
        rows=len(oracle),
        faults=oracle.faults(),
    )


def _by_scenario(scores: Scores) -> Tensor:
    """Scores of all axes `[A, S, K, T]`; rows with a fault tell nothing."""
    values = torch.stack([curve.values for curve in scores.axes.values()])
    values = values.masked_fill((scores.fault != 0)[:, None], torch.nan)
    seeds = len(scores.panel.seeds)
    return values.reshape(len(values), -1, seeds, values.shape[-1])


def _recover_thresholds(panel: Panel) -> Tensor:
    """`[A]`, NaN for an axis without hysteresis."""
    limits = [spec.recover_threshold for spec in panel.axes]
    none = float("nan")
    return torch.tensor([none if x is None else x for x in limits], dtype=torch.float64)


def _tolerated(panel: Panel, tolerance: Sequence[Scores]) -> tuple[Tensor, Tensor]:
    """The highest threshold `[A]` that every changed reference passes, and in how many scenarios.

    NaN where none is defined.
    """
    if not tolerance:
        nothing = torch.full((len(panel.axes),), torch.nan, dtype=torch.float64)
        return nothing, torch.zeros(len(panel.axes), dtype=torch.int64)
    patience = torch.tensor([spec.patience for spec in panel.axes])[:, None, None]
    recover = _recover_thresholds(panel)
    critical = torch.stack(
        [
            critical_threshold(
                _by_scenario(scores), patience=patience, recover_threshold=recover[:, None, None]
            )
            for scores in tolerance
        ]
    )  # [copies, A, S, K]
    known = critical.isfinite()  # with fewer steps than the patience nothing could fail
    lowest = critical.masked_fill(~known, torch.inf).amin((0, 2, 3))
    lowest = torch.minimum(lowest, recover.nan_to_num(1.0)).clamp(max=1.0)
    scenarios = known.any(3).any(0).sum(1)
    return lowest.masked_fill(scenarios == 0, torch.nan), scenarios


class _Asked(NamedTuple):
    """What the caller of `calibrate` chose."""

    oracle: str
    alpha: float
    joint: bool
    estimand: Literal["scenarios", "seeds"]
    redraws: int
    seed: int


def _axis(
    spec: AxisSpec,
    a: int,
    found: CalibratedThresholds,
    limits: tuple[Tensor, Tensor],
    asked: _Asked,
) -> AxisThreshold:
    oracle, share = asked.oracle, float(found.alpha[a])
    scenarios, units, needed = (
        int(count[a]) for count in (found.scenarios, found.units, found.needed)
    )
    seen = int(limits[1][a])
    threshold, sd, record = spec.threshold, float("nan"), None
    together = asked.joint and spec.gate
    kind = "scenarios" if asked.estimand == "scenarios" else "rollouts"
    part = f"{share:.3g}"
    if together:
        part += " over all gated axes together"
    elif share < asked.alpha:
        part += f" (alpha {asked.alpha:g}, shared by the gated axes)"
    if bool(found.perfect[a]) and seen:
        threshold = float(limits[0][a])
        record = AxisCalibration(
            method="tolerance", oracle=oracle, scenarios=seen, tolerance=TOLERANCE
        )
        why = (
            f"{oracle!r} repeats the reference, which tells nothing; the reference passes in "
            f"{seen} scenarios with {TOLERANCE}"
        )
    elif bool(found.perfect[a]):
        why = (
            f"{oracle!r} repeats the reference, so that a threshold from it would be 1; give "
            "scores of the changed reference (tolerance) for one"
        )
    elif scenarios == 0:
        why = f"{oracle!r} has no defined score on it"
    elif int(found.reason[a]):
        # So that the lowest of all, of 1 / (units + 1), is within the share of this axis.
        least = asked.alpha / share / (units + 1)
        why = f"{units} {kind} are too few for a share of {part}: {needed} are enough"
        if not together and least < 1:
            why += f"; with {units} the smallest alpha is {least:.3g}"
    else:
        threshold, sd = float(found.threshold[a]), float(found.sd[a])
        record = AxisCalibration(
            method="conformal_joint" if together else "conformal",
            oracle=oracle,
            scenarios=scenarios,
            estimand=asked.estimand,
            rollouts=units if asked.estimand == "seeds" else None,
            alpha=share,
            redraws=asked.redraws if asked.estimand == "scenarios" else None,
            seed=asked.seed if asked.estimand == "scenarios" else None,
        )
        why = f"a share of {part} of the rollouts of {oracle!r} fails, from {units} {kind}"
        if threshold == spec.recover_threshold:
            why = f"a share of at most {part} fails; it is held at recover_threshold"
        elif asked.estimand == "scenarios":
            why += f"; it varies by {sd:.2g} with the seeds that are drawn"
    if record is not None and threshold <= 0:
        why += "; no score is below 0, so that this axis ends no horizon at all"
    return AxisThreshold(
        axis=spec.axis,
        gate=spec.gate,
        before=spec.threshold,
        threshold=threshold,
        calibration=record,
        sd=sd,
        scenarios=scenarios,
        units=units,
        needed=needed,
        why=why,
    )
