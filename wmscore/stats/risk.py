"""Risk tables: how many rollouts are still usable at each step, and how many end there."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import check_count, check_values
from wmscore.stats._check_risk import check_like, check_whole, expand_to, kind

__all__ = ["RiskTable", "pool_tables", "risk_table", "table_shares"]


class RiskTable(NamedTuple):
    """What `risk_table` returns, and what all survival estimators start from.

    All float64: counts, or sums of weights. Tables add up: that of a panel is the sum of those of
    its scenarios, and that of a resampled panel a weighted sum (`pool_tables`).

    Attributes:
        at_risk: ``[..., T + 1]``, rollouts with a horizon of t or more, t = 0..T.
        failures: ``[..., T + 1]``, rollouts whose horizon was seen to end at t.
        by_cause: ``[..., C, T + 1]``, the same for each cause; they sum to `failures`.
        missing: ``[...]``, rollouts that were left out.
    """

    at_risk: Tensor
    failures: Tensor
    by_cause: Tensor
    missing: Tensor


def risk_table(
    times: Tensor,
    failed: Tensor,
    horizon: int,
    *,
    causes: int = 1,
    ties: Literal["failures", "censored"] = "failures",
    present: Tensor | None = None,
    weights: Tensor | None = None,
    groups: Tensor | None = None,
    group_count: int | None = None,
) -> RiskTable:
    r"""Count rollouts at risk and failures at each step.

    .. math:: n_t = \sum_i w_i \, [H_i \ge t], \qquad
        d_{k,t} = \sum_i w_i \, [H_i = t \text{ and } c_i = k]

    Args:
        times: ``[..., N]`` integer, last usable step of each rollout, 0 = fails at step 1. A
            rollout with a negative one (how `UsableHorizon.steps` says undefined) is missing.
            Beyond ``horizon`` a rollout is censored at it.
        failed: ``[..., N]``: bool, whether the horizon was seen to end, False = right-censored; or
            integer causes, 0 = censored, 1..C. A number outside 0..C makes a rollout missing.
        horizon: T, the last step that is asked about.
        causes: C.
        ties: which come first where some end and others are censored at one t. ``"failures"``: the
            censored ones are still at risk there, as everywhere in survival analysis.
            ``"censored"``: they are not, unless t is T. That is right where rollouts have different
            lengths: one that was cut at t was never seen at step t + 1, so that it could not have
            been seen to end at t. One that was cut at 0 is missing. Where all are cut at T, or
            none earlier, it makes no difference.
        present: ``[..., N]`` bool, rollouts that count; broadcasts. ``None`` means all.
        weights: ``[..., N]`` floating point, not negative; broadcasts. NaN or infinite means
            missing. ``None`` means 1. Sums of whole numbers are exact in any order.
        groups: ``[..., N]`` integer, the group (say, scenario) of each rollout; broadcasts. One
            outside 0..G-1 makes a rollout missing from all groups, and it is counted in none.
        group_count: G, with `groups` only; the tables have a last batch dim of it, ``[..., G]``.

    Returns:
        A `RiskTable`.

    Raises:
        TypeError: tensors of another kind, or counts that are not ints.
        ValueError: shapes that do not fit, a horizon or a number of causes below 1, other ties,
            groups without their count, or (on the CPU) a negative weight.

    Source:
        Klein and Moeschberger, Survival Analysis (2003), section 4.2.

    Example:
        >>> import torch
        >>> table = risk_table(torch.tensor([1, 3, 3, 0]), torch.tensor([1, 1, 0, 1]).bool(), 3)
        >>> table.at_risk.tolist(), table.failures.tolist()
        ([4.0, 3.0, 2.0, 2.0], [1.0, 1.0, 0.0, 1.0])
    """
    check_count("horizon", horizon)
    check_count("causes", causes)
    check_whole("times", times)
    check_like("failed", failed, times)
    if ties not in ("failures", "censored"):
        raise ValueError(f"ties must be 'failures' or 'censored', got {ties!r}")
    if ties == "censored":
        times = times.to(torch.int64)
        times = torch.where((failed == 0) & (times < horizon), times - 1, times)
    keep = times >= 0
    if failed.dtype != torch.bool:
        keep = keep & (failed >= 0) & (failed <= causes)
    if present is not None:
        if not isinstance(present, Tensor) or present.dtype != torch.bool:
            raise TypeError(f"present must be a bool tensor, got {kind(present)}")
        keep = keep & expand_to("present", present, times)
    worth: Tensor | None = None
    if weights is not None:
        check_values("weights", weights)
        worth = expand_to("weights", weights, times).to(torch.float64)
        if worth.device.type == "cpu" and bool((worth < 0).any()):
            raise ValueError(f"weights must be 0 or more, got {worth[worth < 0].min().item()}")
        keep = keep & worth.isfinite()
    if (groups is None) != (group_count is None):
        raise ValueError("groups and group_count must be given together")

    shape = times.shape[:-1]
    row = torch.zeros((), dtype=torch.int64, device=times.device)
    inside: Tensor | None = None
    if groups is not None and group_count is not None:
        check_count("group_count", group_count)
        check_whole("groups", groups)
        groups = expand_to("groups", groups, times).to(torch.int64)
        inside = (groups >= 0) & (groups < group_count)
        row = groups.clamp(0, group_count - 1)
        shape = torch.Size((*shape, group_count))
    count = 1 if group_count is None else group_count

    # One count of all (group, cause, step); what is left out goes to a cell behind them.
    length = horizon + 1
    cause = failed.to(torch.int64).clamp(0, causes).where(times <= horizon, 0)
    cell = (row * (causes + 2) + cause) * length + times.to(torch.int64).clamp(0, horizon)
    cell = torch.where(keep, cell, (row * (causes + 2) + causes + 1) * length)
    value = torch.ones((), dtype=torch.float64, device=times.device).expand(times.shape)
    if worth is not None:
        value = torch.where(worth.isfinite(), worth, 1.0)
    if inside is not None:
        value = torch.where(inside, value, 0.0)
    # Along one dim, in which a device too can add in a fixed order.
    batches, size = times.shape[:-1].numel(), count * (causes + 2) * length
    first = torch.arange(batches, device=times.device).reshape(*times.shape[:-1], 1) * size
    cells = torch.zeros(batches * size, dtype=torch.float64, device=times.device)
    cells.scatter_add_(0, (first + cell).flatten(), value.flatten())
    cells = cells.reshape(*shape, causes + 2, length)
    by_cause = cells[..., 1 : causes + 1, :]
    ends = cells[..., : causes + 1, :].sum(-2)
    at_risk = ends.flip(-1).cumsum(-1).flip(-1)
    return RiskTable(at_risk, by_cause.sum(-2), by_cause, cells[..., causes + 1, 0])


def pool_tables(table: RiskTable, weights: Tensor | None = None, dim: int = 0) -> RiskTable:
    r"""Sum of the tables of scenarios, or weighted sums: one for each row of weights.

    .. math:: n_r = \sum_s w_{r,s} \, n_s

    With how often each draw of a bootstrap picks each scenario, these are the tables of the
    resampled panels: one matrix product, however many rollouts there are.

    Args:
        table: one with a dim of S scenarios, as of ``[S, ...]``.
        weights: ``[S]`` or ``[R, S]``, a real dtype. ``None`` means 1.
        dim: the batch dim of the scenarios; negative ones count from the last batch dim.

    Returns:
        A `RiskTable` without that dim; with weights ``[R, S]``, with R in front of what is left.

    Raises:
        TypeError: not a `RiskTable`, or weights that are not a tensor.
        ValueError: no such dim, or weights that do not fit it.

    Example:
        >>> import torch
        >>> times = torch.tensor([[1, 3], [2, 2]])  # two scenarios of two seeds
        >>> table = risk_table(times, times < 3, 3)
        >>> pool_tables(table).at_risk.tolist()
        [4.0, 4.0, 3.0, 1.0]
        >>> pool_tables(table, torch.tensor([[2, 0]])).at_risk.tolist()
        [[4.0, 4.0, 2.0, 2.0]]
    """
    check_table(table)
    batch = table.missing.ndim
    if not -batch <= dim < batch:
        raise ValueError(f"dim must be one of the {batch} batch dims of table, got {dim}")
    dim %= batch
    scenarios = table.missing.shape[dim]
    if weights is None:
        weights = torch.ones(scenarios, dtype=torch.float64, device=table.at_risk.device)
    if not isinstance(weights, Tensor):
        raise TypeError(f"weights must be a torch.Tensor, got {type(weights).__name__}")
    if weights.ndim not in (1, 2) or weights.shape[-1] != scenarios:
        raise ValueError(
            f"weights must have shape [S] or [R, S] with S = {scenarios}, "
            f"got {tuple(weights.shape)}"
        )
    weights = weights.to(table.at_risk)

    def pooled(part: Tensor) -> Tensor:
        result: Tensor = torch.tensordot(weights, part, ([-1], [dim]))
        return result

    by_cause = pooled(table.by_cause)
    failures = by_cause.sum(-2)
    return RiskTable(pooled(table.at_risk), failures, by_cause, pooled(table.missing))


def table_shares(table: RiskTable) -> RiskTable:
    """Tables as shares of their own rollouts, so that each counts alike in a pool of them.

    Args:
        table: ``[...]``, say of scenarios of which some lack rollouts.

    Returns:
        The `RiskTable` divided by `at_risk` at t = 0. One without rollouts stays 0, and counts for
        nothing. `missing` stays a count.

    Raises:
        TypeError: not a `RiskTable`.

    Example:
        >>> import torch
        >>> times = torch.tensor([[1, 3, -1, -1], [2, 2, 2, 2]])
        >>> pool_tables(table_shares(risk_table(times, times < 3, 3))).at_risk.tolist()
        [2.0, 2.0, 1.5, 0.5]
    """
    check_table(table)
    count = table.at_risk[..., :1]
    count = torch.where(count > 0, count, 1.0)
    return RiskTable(
        table.at_risk / count,
        table.failures / count,
        table.by_cause / count[..., None],
        table.missing,
    )


def check_table(table: object, name: str = "table") -> None:
    """A `RiskTable`."""
    if not isinstance(table, RiskTable):
        raise TypeError(f"{name} must be a RiskTable, got {type(table).__name__}")
