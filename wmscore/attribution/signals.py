"""Signals of a failure, each per row: what replacing one stage by an oracle changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore import functional as F

__all__ = [
    "Outcome",
    "Signal",
    "accumulates",
    "no_signal",
    "stage_signal",
    "state_probe",
    "threshold_signal",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Signal:
    """One signal of `R` rows.

    Attributes:
        available: bool `[R]`, whether it could be measured.
        implicates: bool `[R]`, whether it speaks against its stage; False where unavailable.
        onset: int64 `[R]`, step of the first failure that it sees; 0 = none.
        value: float64 `[R]`, what was measured; NaN where unavailable.
        threshold: float64 `[R]`, below which it implicates.
        direct: its evidence is an intervention on this stage alone, so that it may be believed
            while stages before it are unknown.
        unclear: bool `[R]`, measured, and worse than without a fault, but not so bad that the
            rollout would have failed of it alone: neither implicates nor excludes.
    """

    available: Tensor
    implicates: Tensor
    onset: Tensor
    value: Tensor
    threshold: Tensor
    direct: bool = False
    unclear: Tensor | None = None

    @property
    def excludes(self) -> Tensor:
        """Bool `[R]`: measured, and its stage is fine."""
        fine = self.available & ~self.implicates
        return fine if self.unclear is None else fine & ~self.unclear

    @property
    def weak(self) -> Tensor:
        """Bool `[R]`: within a tenth of the threshold of saying the opposite."""
        return self.available & ((self.value - self.threshold).abs() < 0.1 * self.threshold.abs())


class Outcome(NamedTuple):
    """How rollouts ended.

    Attributes:
        failed: bool `[R]`.
        step: int64 `[R]`, first failing step, 1-based; 0 = none.
        patience: int64 `[R]`, of the axis that failed.
    """

    failed: Tensor
    step: Tensor
    patience: Tensor


def no_signal(rows: int) -> Signal:
    """A signal that was not measured in any of `rows` rows."""
    nan = torch.full((rows,), torch.nan, dtype=torch.float64)
    no = torch.zeros(rows, dtype=torch.bool)
    return Signal(
        available=no, implicates=no, onset=torch.zeros(rows).long(), value=nan, threshold=nan
    )


def stage_signal(
    scores: Tensor,
    outcome: Outcome,
    threshold: float | Tensor,
    *,
    patience: int | Tensor,
    known: Tensor | None = None,
    normal: float | Tensor | None = None,
) -> Signal:
    """Whether the scores of a run with some stages replaced fail too, by when the rollout did.

    Args:
        scores: float64 `[R, T]`, 1 = perfect, NaN where undefined: of the reconstruction, of
            one-step predictions, ...
        outcome: of the rollouts.
        threshold: number or `[R]`.
        patience: number or `[R]`.
        known: bool `[R]`, rows that were measured; by default those with a defined step.
        normal: number or `[R]`, at least the threshold: what such scores keep without a fault. A
            row between the two is unclear. By default the threshold.

    Returns:
        A `Signal`: it implicates where the scores fail at a step not later than the rollout's
        failing run (onset rule: what sets in afterwards is no cause).
    """
    rows, steps = scores.shape
    limit = torch.where(outcome.failed, outcome.step + outcome.patience - 1, steps)
    time = torch.arange(1, steps + 1)
    seen = time <= limit[:, None] + outcome.patience[:, None]
    critical = F.critical_threshold(scores, patience=patience, valid=seen)
    line = torch.as_tensor(threshold, dtype=torch.float64).expand(rows)
    first = F.first_crossing(scores, line, patience=patience, valid=seen).step
    available = scores.isfinite().any(1) if known is None else known
    fails = available & (first > 0) & (first <= limit)
    unclear = None
    if normal is not None:
        usual = torch.as_tensor(normal, dtype=torch.float64).expand(rows)
        dips = F.first_crossing(scores, usual, patience=patience, valid=seen).step
        unclear = available & ~fails & (dips > 0) & (dips <= limit)
    return Signal(
        available=available,
        implicates=fails,
        onset=torch.where(fails, first, 0),
        value=critical.nan_to_num(posinf=1.0).masked_fill(~available, torch.nan),
        threshold=line,
        unclear=unclear,
    )


def threshold_signal(value: Tensor, threshold: float | Tensor, *, direct: bool = False) -> Signal:
    """A signal of one number a row, `[R]`, which implicates below its threshold; NaN = unknown."""
    value = value.double()
    line = torch.as_tensor(threshold, dtype=torch.float64).expand(value.shape)
    known = value.isfinite()
    return Signal(
        available=known,
        implicates=known & (value < line),
        onset=torch.zeros_like(value, dtype=torch.int64),
        value=value,
        threshold=line,
        direct=direct,
    )


def accumulates(scores: Tensor, outcome: Outcome, share: float = 0.7) -> Tensor:
    """Bool `[R]`: errors grow up to the failure, at most of the steps (Kendall's sign over pairs).

    Args:
        scores: float64 `[R, T]` of the rollouts, 1 = perfect.
        outcome: of the rollouts.
        share: of the pairs of steps before the end of the failing run that go down, less those
            that go up.
    """
    time = torch.arange(scores.shape[1])
    seen = (time < (outcome.step + outcome.patience)[:, None]) & scores.isfinite()
    pairs = seen[:, :, None] & seen[:, None] & (time[:, None] < time)
    change = torch.sign(scores[:, :, None] - scores[:, None]).nan_to_num(0.0)
    count = pairs.flatten(1).sum(1)
    trend = (change * pairs).flatten(1).sum(1) / count.clamp_min(1)
    return outcome.failed & (count >= 3) & (trend >= share)


def state_probe(
    latents: Tensor,
    state: Tensor,
    groups: Tensor,
    *,
    fit: tuple[Tensor, Tensor] | None = None,
    folds: int = 5,
    strength: float = 1e-3,
) -> Tensor:
    r"""How well the true state can be read from latents of the true frames.

    Ridge regression, by a probe that has not seen the scenario: fitted on other rollouts of the
    same model (`fit`), which is best, or on these with whole groups held out, which takes many
    groups: with few the probe itself errs.

    .. math:: s_{rt} = 1 - \frac{1}{Q} \sum_q \min\Bigl(1,
        \frac{(\hat y_{rtq} - y_{rtq})^2}{\mathrm{Var}\, y_q}\Bigr)

    Args:
        latents: `[R, T, D]`, floating point, of the reference frames.
        state: `[R, T, Q]`, floating point, what should be readable; NaN is left out.
        groups: int64 `[R]`, rows that are alike (scenario).
        fit: latents `[R', T', D]` and state `[R', T', Q]` of other scenarios to fit the probe on.
        folds: groups are dealt into so many parts, without `fit`.
        strength: of the ridge, relative to the mean variance of a latent.

    Returns:
        Float64 `[R, T]` in [0, 1], 1 = all of it; NaN where no state is known, or nothing to fit
        on.

    Raises:
        ValueError: shapes do not fit.
    """
    if latents.shape[:2] != state.shape[:2] or groups.shape != latents.shape[:1]:
        raise ValueError(
            f"latents, state, groups: expected [R, T, D], [R, T, Q] and [R], got "
            f"{list(latents.shape)}, {list(state.shape)} and {list(groups.shape)}"
        )
    x, y = latents.double(), state.double()
    score = torch.full(x.shape[:2], torch.nan, dtype=torch.float64)
    if fit is not None:
        others = fit[0].double(), fit[1].double()
        if others[0].shape[2:] != x.shape[2:] or others[1].shape[2:] != y.shape[2:]:
            raise ValueError(
                f"fit: expected [R', T', {x.shape[2]}] and [R', T', {y.shape[2]}], got "
                f"{list(others[0].shape)} and {list(others[1].shape)}"
            )
        return _read(others, (x, y), strength)
    members = torch.tensor(sorted(set(groups.tolist())))
    folds = min(folds, len(members))
    if folds < 2:
        return score
    part = (groups[:, None] == members).int().argmax(1) % folds
    for fold in range(folds):
        seen, held = part != fold, part == fold
        score[held] = _read((x[seen], y[seen]), (x[held], y[held]), strength)
    return score


def _read(fit: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor], strength: float) -> Tensor:
    """Score `[R, T]` of a probe fitted on the first pair, on the second."""
    inputs, outputs = (part.flatten(0, 1) for part in fit)
    whole = outputs.isfinite().all(1) & inputs.isfinite().all(1)
    inputs, outputs = inputs[whole], outputs[whole]
    if not len(inputs):
        return torch.full(held[0].shape[:2], torch.nan, dtype=torch.float64)
    centre, offset = inputs.mean(0), outputs.mean(0)
    variance = (outputs - offset).square().mean(0)
    a = inputs - centre
    gram = a.T @ a
    ridge = strength * gram.diagonal().mean().clamp_min(1e-12)
    eye = torch.eye(len(gram), dtype=torch.float64)
    weights = torch.linalg.solve(gram + ridge * eye, a.T @ (outputs - offset))
    error = ((held[0] - centre) @ weights + offset - held[1]).square()
    lost = torch.where(variance > 0, error / variance, torch.where(error > 1e-12, 1.0, 0.0))
    return 1 - lost.clamp(max=1).nanmean(2)
