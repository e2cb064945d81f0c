"""Does a reset reset: the same row twice, beside other rows, and after another history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from wmscore.manifest import Panel
from wmscore.replay.items import panel_items
from wmscore.replay.rolling import roll_out_rows
from wmscore.rollouts import Rollouts
from wmscore.worlds import Item, WorldModel
from wmscore.worlds.handing import handed

__all__ = ["ResetReport", "check_resets", "energy_test"]

Kind = Literal["bit-exact", "within 1e-6", "stochastic"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ResetReport:
    """How far a model's answer depends on what it was asked before.

    Attributes:
        model: its name.
        rows: the (scenario id, seed) rows that were asked for.
        again: `[R, T+1]` float64, largest difference of a value between two calls for the same
            rows, in data ranges; 0 = bit for bit.
        after: `[R, T+1]` the same, the second call after another history.
        kind: of each row, by `again`.
        first: `[R]` int64, first frame that differs in `again`; -1 = none.
        leak_p: p-value of the energy-distance permutation test that what was asked before does not
            matter, over seeds (exchangeable under no leak); NaN for a model that answers bit for
            bit, where `after` tells it exactly.
        leaks: the history matters beyond chance, or at all for a model that repeats itself exactly.
            None where that could not be tested.
    """

    model: str
    rows: tuple[tuple[str, int], ...]
    again: Tensor
    after: Tensor
    kind: tuple[Kind, ...]
    first: Tensor
    leak_p: float
    leaks: bool | None

    def sentences(self) -> list[str]:
        """What was found, a sentence each."""
        kinds = {kind: self.kind.count(kind) for kind in dict.fromkeys(self.kind)}
        found = ", ".join(f"{kind} in {n}" for kind, n in kinds.items())
        lines = [f"{self.model}: the same {len(self.rows)} rows twice: {found}."]
        moved = [row for row, step in zip(self.rows, self.first.tolist(), strict=True) if step >= 0]
        if moved:
            step = int(self.first[self.first >= 0].min())
            lines.append(
                f"They first differ at frame {step}; by {float(self.again.max()):.3g} of the data "
                "range at most."
            )
        if self.leaks is None:
            lines.append("Whether a reset forgets what came before could not be tested.")
        elif not self.leaks:
            how = "" if math.isnan(self.leak_p) else f" beyond chance (p = {self.leak_p:.2g})"
            lines.append(f"What was asked before makes no difference{how}.")
        else:
            how = (
                f"by up to {float(self.after.max()):.3g} of the data range"
                if math.isnan(self.leak_p)
                else f"beyond chance (p = {self.leak_p:.2g})"
            )
            lines.append(
                f"A reset does not forget: what was asked before changes the answer {how}."
            )
        return lines

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON; NaN is null."""
        data: dict[str, Any] = {
            "model": self.model,
            "rows": [list(row) for row in self.rows],
            "again": self.again.tolist(),
            "after": self.after.tolist(),
            "kind": list(self.kind),
            "first": self.first.tolist(),
            "leak_p": None if math.isnan(self.leak_p) else self.leak_p,
            "leaks": self.leaks,
        }
        return data


def check_resets(
    panel: Panel,
    model: WorldModel,
    truth: Rollouts,
    *,
    rows: Sequence[tuple[int, int]] | None = None,
    repeats: int = 12,
    level: float = 0.05,
    seed: int = 0,
) -> ResetReport:
    """Ask a model for the same rows twice, and once more after another history.

    A model that repeats itself bit for bit leaks exactly where its answer changes after other rows
    were asked for. Of a model that draws anew at each call, answers after one history and after
    another are compared over `repeats` seeds each: if the reset forgets, which history came before
    is a label without meaning, and exchanging labels gives the null distribution.

    Args:
        panel: the contract.
        model: the model.
        truth: from `render_truth` on the same panel.
        rows: (scenario index, seed) rows; by default the first seed of the first 8 scenarios.
        repeats: answers after each history, for models that draw anew.
        level: of the test.
        seed: of the permutations.

    Raises:
        ValueError: no rows, or too few repeats for a verdict.
    """
    if rows is None:
        rows = [(s, panel.seeds[0]) for s in range(min(8, len(panel.scenarios)))]
    if not rows:
        raise ValueError("rows: expected at least one, got none")
    if repeats < 4:
        raise ValueError(f"repeats: expected at least 4, got {repeats}")
    first = _answer(panel, model, truth, rows)
    again = _largest(first, _answer(panel, model, truth, rows))
    _other_history(panel, model, truth, rows)
    after = _largest(first, _answer(panel, model, truth, rows))
    kind = tuple(_kind(float(value)) for value in again.amax(1))
    differs = again > 0
    where = torch.where(differs.any(1), differs.int().argmax(1), -1)
    leak_p, leaks = math.nan, None
    if not bool(differs.any()):
        leaks = bool((after > 0).any())
    elif model.capabilities.seedable:
        leak_p = _leak(panel, model, truth, rows[0], repeats, seed)
        leaks = None if math.isnan(leak_p) else leak_p < level
    ids = [scenario.id for scenario in panel.scenarios]
    return ResetReport(
        model=model.name,
        rows=tuple((ids[s], row_seed) for s, row_seed in rows),
        again=again,
        after=after,
        kind=kind,
        first=where,
        leak_p=leak_p,
        leaks=leaks,
    )


def energy_test(
    first: Tensor, second: Tensor, *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    r"""Energy distance of two samples, and its permutation p-value.

    .. math:: E = 2 \, \overline{d(x, y)} - \overline{d(x, x')} - \overline{d(y, y')}

    Args:
        first: ``[n, ...]``, floating point.
        second: ``[m, ...]``.
        draws: random ways to deal out the labels.
        seed: of them.

    Returns:
        Distance, and (1 + #) / (1 + draws).

    Raises:
        ValueError: fewer than two samples on a side.

    Source:
        Szekely and Rizzo, J. Stat. Plan. Inference 143 (2013); Phipson and Smyth (2010) for + 1.
    """
    n, m = len(first), len(second)
    if n < 2 or m < 2:
        raise ValueError(f"first, second: expected at least 2 samples each, got {n} and {m}")
    values = torch.cat([first, second]).double().flatten(1)
    distances = torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist")

    def energy(mine: Tensor) -> Tensor:
        """Of labels `[D, n + m]` float64, 1 for the first sample."""
        theirs = 1 - mine
        across = torch.einsum("di,ij,dj->d", mine, distances, theirs) / (n * m)
        inside = torch.einsum("di,ij,dj->d", mine, distances, mine) / n**2
        other = torch.einsum("di,ij,dj->d", theirs, distances, theirs) / m**2
        return 2 * across - inside - other

    label = torch.zeros(n + m, dtype=torch.float64)
    label[:n] = 1
    generator = torch.Generator().manual_seed(seed)
    dealt = torch.stack([label[torch.randperm(n + m, generator=generator)] for _ in range(draws)])
    seen = energy(label[None])[0]
    # Ties within rounding count as at least as far.
    beyond = (energy(dealt) >= seen - 1e-12 * seen.abs()).sum()
    return float(seen), float((1 + beyond) / (1 + draws))


def _answer(
    panel: Panel, model: WorldModel, truth: Rollouts, rows: Sequence[tuple[int, int]]
) -> Tensor:
    """Commanded frames of the rows, `[R, T+1, C, H, W]` on the host."""
    found = roll_out_rows(panel, model, truth, rows)
    return found.frames[(found.branch == 0).to(found.device)].cpu().clone()


def _largest(first: Tensor, second: Tensor) -> Tensor:
    """`[R, T+1]` largest difference of a value, in data ranges; inf for a NaN on one side."""
    scale = 255.0 if first.dtype == torch.uint8 else 1.0
    gap = (first.double() - second.double()).abs() / scale
    both = first.isnan() & second.isnan() if first.is_floating_point() else torch.zeros(())
    gap = gap.masked_fill(both.bool(), 0.0).nan_to_num(math.inf)
    return gap.flatten(2).amax(2)


def _kind(gap: float) -> Kind:
    if gap == 0:
        return "bit-exact"
    return "within 1e-6" if gap <= 1e-6 else "stochastic"


def _other_history(
    panel: Panel, model: WorldModel, truth: Rollouts, rows: Sequence[tuple[int, int]]
) -> None:
    """Ask for what none of the rows ask for: scripts backwards, and other scenarios."""
    items = panel_items(panel, rows[:1], truth=truth)[:1]
    back = replace(items[0], actions=items[0].actions.flip(0))
    model.rollout(handed([back]), panel.contract.horizon)
    others = [s for s in range(len(panel.scenarios)) if all(s != row[0] for row in rows)]
    for s in others[:1]:
        roll_out_rows(panel, model, truth, [(s, panel.seeds[0])])


def _leak(
    panel: Panel,
    model: WorldModel,
    truth: Rollouts,
    row: tuple[int, int],
    repeats: int,
    seed: int,
) -> float:
    """Answers of new seeds after two histories, compared."""
    horizon = panel.contract.horizon
    item = panel_items(panel, [row], truth=truth)[0]
    samples: list[list[Tensor]] = [[], []]
    for n in range(2 * repeats):
        # The two histories take turns, so that what drifts with time is on both sides.
        history = n % 2
        before = item if history == 0 else replace(item, actions=item.actions.flip(0))
        _ask(model, replace(before, seed=seed + 2 * n), horizon)
        frames = _ask(model, replace(item, seed=seed + 2 * n + 1), horizon)
        # Downsized: the distance of pictures is told by their coarse parts.
        samples[history].append(_coarse(frames))
    return energy_test(torch.stack(samples[0]), torch.stack(samples[1]), seed=seed)[1]


def _ask(model: WorldModel, item: Item, horizon: int) -> Tensor:
    return model.rollout(handed([item]), horizon).frames[0].cpu()


def _coarse(frames: Tensor) -> Tensor:
    scale = 255.0 if frames.dtype == torch.uint8 else 1.0
    return torch.nn.functional.adaptive_avg_pool2d(frames.double() / scale, 8)
