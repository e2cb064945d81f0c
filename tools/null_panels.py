"""Panels of two simulated models, many at once: S scenarios, K seeds, P panels.

A score of scenario s, model m and seed k is Y = u_s + v_sm + e_smk: how hard the scenario is for
both models, how it suits one of them, and luck. v is the reason why seeds do not replicate a
comparison: more of them tell ever more exactly how two models differ on these scenarios.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["INTERACTION", "SHAPES", "STEPS", "Panels", "horizons", "scores", "true_difference"]

SCENARIO, INTERACTION, LUCK = 1.0, 0.3, 0.5  # standard deviations of u, v and e
STEPS = 64  # horizons are censored there
FRAILTY, HORIZON_INTERACTION, SHAPE, SCALE = 0.5, 0.25, 1.3, 26.0
SHAPES = ("normal", "log-normal", "one skewed")


@dataclass(frozen=True)
class Panels:
    """Two models on the same panels.

    Attributes:
        values: `[2, S, K, P]` float64, baseline and candidate: scores, or horizons in steps.
        failed: `[2, S, K, P]` bool, False where a horizon is censored; None for scores.
    """

    values: Tensor
    failed: Tensor | None = None

    @property
    def differences(self) -> Tensor:
        """Candidate less baseline, mean over seeds, `[S, P]`."""
        return (self.values[1] - self.values[0]).mean(1)


def scores(
    scenarios: int, seeds: int, panels: int, *, interaction: float, shape: str, seed: int
) -> Panels:
    """Two models that are alike on average over scenarios.

    Args:
        scenarios: S.
        seeds: K.
        panels: P.
        interaction: standard deviation of v.
        shape: "normal" or "log-normal" noise, of standard deviation 1 before it is scaled; or "one
            skewed": the candidate's v and e are log-normal and the baseline's normal, so that
            differences are not symmetric about their mean, which is 0 all the same.
        seed: of the generator.
    """
    if shape not in SHAPES:
        raise ValueError(f"shape: expected one of {SHAPES}, got {shape!r}")
    generator = torch.Generator().manual_seed(seed)

    def noise(skewed: bool, *size: int) -> Tensor:
        drawn = torch.randn(*size, panels, generator=generator, dtype=torch.float64)
        return _standard_log_normal(drawn) if skewed else drawn

    own = []
    u = SCENARIO * noise(shape == "log-normal", scenarios, 1)
    for skewed in (shape == "log-normal", shape != "normal"):
        v = interaction * noise(skewed, scenarios, 1)
        own.append(u + v + LUCK * noise(skewed, scenarios, seeds))
    return Panels(torch.stack(own))


def _standard_log_normal(normal: Tensor) -> Tensor:
    """Mean 0, standard deviation 1, skewness 6.2."""
    return (normal.exp() - math.exp(0.5)) / math.sqrt((math.e - 1) * math.e)


def horizons(
    scenarios: int,
    seeds: int,
    panels: int,
    *,
    interaction: float,
    seed: int,
    longer: float = 1.0,
) -> Panels:
    """Horizons of whole steps, Weibull with a frailty of the scenario, censored at `STEPS`.

    Args:
        scenarios: S.
        seeds: K.
        panels: P.
        interaction: standard deviation of v, in the logarithm of the scale.
        seed: of the generator.
        longer: the candidate's scale over the baseline's.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, panels, generator=generator, dtype=torch.float64)

    u, v = FRAILTY * normal(scenarios, 1), interaction * normal(2, scenarios, 1)
    uniform = torch.rand(
        2, scenarios, seeds, panels, generator=generator, dtype=torch.float64
    ).clamp(min=1e-300)
    weibull = (-uniform.log()) ** (1 / SHAPE)
    scale = SCALE * torch.tensor([1.0, longer], dtype=torch.float64).view(2, 1, 1, 1)
    life = (scale * (u + v).exp() * weibull).floor()
    return Panels(life.clamp(max=STEPS), life < STEPS)


def true_difference(interaction: float, longer: float, draws: int = 4_000_000) -> float:
    """What the means of `horizons` differ by, over all scenarios; exact to 0.02 steps."""
    drawn = horizons(draws, 1, 1, interaction=interaction, seed=987_654_321, longer=longer)
    return float(drawn.differences.mean())
