"""How people decide that two models differ: the chosen test and what is used instead.

Each procedure takes `Panels` and says for every panel whether it would reject at 5 %, `[P]` bool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from null_panels import STEPS, Panels
from torch import Tensor

from wmscore.stats import (
    BootstrapMeans,
    Interval,
    RiskTable,
    bootstrap_t_interval,
    cluster_bootstrap,
    log_rank_test,
    mean_interval,
    percentile_interval,
    risk_table,
    sign_flip_test,
    signed_rank_test,
    student_quantile,
)

__all__ = ["LEVEL", "PROCEDURES", "SURVIVAL"]

LEVEL = 0.05
DRAWS = 2000
BLOCK = 250  # panels that share their draws

Procedure = Callable[[Panels], Tensor]


def sign_flips(panels: Panels) -> Tensor:
    """The chosen test: signs of scenario means."""
    return sign_flip_test(panels.differences).p_value <= LEVEL


def t_scenarios(panels: Panels) -> Tensor:
    """The chosen interval: Student's t of scenario means."""
    return _excludes_zero(*mean_interval(panels.differences, 1 - LEVEL)[1:3])


def t_pairs(panels: Panels) -> Tensor:
    """Student's t of all pairs of seeds, as if each were a scenario."""
    pairs = (panels.values[1] - panels.values[0]).flatten(0, 1)
    return _excludes_zero(*mean_interval(pairs, 1 - LEVEL)[1:3])


def t_unpaired(panels: Panels) -> Tensor:
    """Student's t of two samples of rollouts, which forgets that scenarios are the same."""
    flat = panels.values.flatten(1, 2)  # [2, N, P]
    size = flat.shape[1]
    error = (flat.var(1).sum(0) / size).sqrt()
    t = (flat[1].mean(0) - flat[0].mean(0)) / error
    return t.abs() > _t_limit(2 * size - 2)


def wilcoxon(panels: Panels) -> Tensor:
    """Wilcoxon's signed ranks of scenario means."""
    return signed_rank_test(panels.differences).p_value <= LEVEL


def percentile_pairs(panels: Panels) -> Tensor:
    """Percentile bootstrap of all pairs of seeds."""
    return _bootstrap((panels.values[1] - panels.values[0]).flatten(0, 1), _percentile)


def percentile_scenarios(panels: Panels) -> Tensor:
    """Percentile bootstrap of scenarios."""
    return _bootstrap(panels.differences, _percentile)


def bootstrap_t(panels: Panels) -> Tensor:
    """Bootstrap-t of scenarios, the chosen sensitivity check."""
    return _bootstrap(panels.differences, _studentised)


def log_rank(panels: Panels) -> Tensor:
    """Log-rank test of all rollouts."""
    return _log_rank(panels, stratified=False)


def log_rank_stratified(panels: Panels) -> Tensor:
    """Log-rank test with scenarios as strata."""
    return _log_rank(panels, stratified=True)


def sign_flips_excess(panels: Panels) -> Tensor:
    """Sign flips of the excess failures of each scenario's log-rank test."""
    found = torch.cat([log_rank_test(*tables).excess for tables in _tables(panels, True)], 1)
    return sign_flip_test(found).p_value <= LEVEL


def _log_rank(panels: Panels, stratified: bool) -> Tensor:
    strata = -2 if stratified else None
    parts = [log_rank_test(*tables, strata=strata) for tables in _tables(panels, stratified)]
    return torch.cat([part.p_value for part in parts]) <= LEVEL


def _tables(panels: Panels, by_scenario: bool) -> Iterator[tuple[RiskTable, RiskTable]]:
    """Risk tables of both models, `[P]` or `[S, P]`, some panels at a time."""
    assert panels.failed is not None
    for values, failed in zip(
        panels.values.long().split(BLOCK, -1), panels.failed.split(BLOCK, -1), strict=True
    ):
        sides = []
        for side in (0, 1):
            times, ends = values[side].movedim(-1, 0), failed[side].movedim(-1, 0)  # [P, S, K]
            if by_scenario:
                times, ends = times.movedim(0, 1), ends.movedim(0, 1)  # [S, P, K]
            else:
                times, ends = times.flatten(1), ends.flatten(1)
            sides.append(risk_table(times, ends, STEPS))
        yield sides[0], sides[1]


def _t_limit(freedom: int) -> float:
    central = torch.tensor(1 - LEVEL / 2, dtype=torch.float64)
    return float(student_quantile(central, torch.tensor(float(freedom))))


def _excludes_zero(low: Tensor, high: Tensor) -> Tensor:
    return (low > 0) | (high < 0)


def _bootstrap(values: Tensor, interval: Callable[[BootstrapMeans], Interval]) -> Tensor:
    """Whether intervals of `[N, P]` exclude 0; the draws are anew for every block of panels."""
    parts = enumerate(values.split(BLOCK, dim=1))
    drawn = (cluster_bootstrap(part, draws=DRAWS, seed=number) for number, part in parts)
    return torch.cat([_excludes_zero(*interval(found)) for found in drawn])


def _percentile(found: BootstrapMeans) -> Interval:
    return percentile_interval(found.draws, 1 - LEVEL)


def _studentised(found: BootstrapMeans) -> Interval:
    return bootstrap_t_interval(found.draws, found.errors, found.mean, found.error, 1 - LEVEL)


PROCEDURES: dict[str, Procedure] = {
    "sign flips of scenario means": sign_flips,
    "t, scenario means": t_scenarios,
    "Wilcoxon of scenario means": wilcoxon,
    "bootstrap-t of scenarios": bootstrap_t,
    "percentile bootstrap of scenarios": percentile_scenarios,
    "t, pairs of seeds": t_pairs,
    "percentile bootstrap of pairs": percentile_pairs,
    "t, unpaired rollouts": t_unpaired,
}
SURVIVAL: dict[str, Procedure] = {
    "log-rank": log_rank,
    "log-rank, scenarios as strata": log_rank_stratified,
    "sign flips of log-rank excess": sign_flips_excess,
}
