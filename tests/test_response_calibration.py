"""p-values of action response are uniform where there is nothing to find.

Quick here; `--run-slow` draws as many panels as the document of the study reports.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from response_rollouts import response_rollouts
from scipy.stats import kstest
from streaming import sprites
from torch import Tensor

from wmscore.functional import (
    ScriptCross,
    action_report,
    response_latency,
    script_cross,
    script_products,
    script_response,
    script_test,
)
from wmscore.stats import sign_flip_test
from wmscore.testing import Faulty, ShuffledScripts

LEVEL = 0.05
SLOW = pytest.mark.slow


class Uniform(NamedTuple):
    rejected: float
    ks: float


def uniform(p_values: Tensor, step: float) -> Uniform:
    """Of p-values that are multiples of a step: how many reject, and Kolmogorov and Smirnov's p."""
    assert bool(p_values.isfinite().all())
    spread = p_values - step * torch.rand(len(p_values), dtype=torch.float64)
    return Uniform(
        (p_values <= LEVEL + 1e-9).double().mean().item(),
        float(kstest(spread.numpy(), "uniform").pvalue),
    )


def band(panels: int) -> tuple[float, float]:
    """Shares that reject: the target for 500 panels and more, three standard deviations below."""
    if panels >= 500:
        return 0.03, 0.07
    wide = 3 * (LEVEL * (1 - LEVEL) / panels) ** 0.5
    return LEVEL - wide, LEVEL + wide


# ---- scripts that are dealt out at random ------------------------------------------------


@pytest.mark.parametrize("panels", [150, pytest.param(1000, marks=SLOW)])
def test_shuffled_scripts_on_sprites(panels: int) -> None:
    scenarios, draws, kept = 4, 199, []
    models = {"shuffled": lambda world: Faulty(world, ShuffledScripts(derange=False))}
    for truth, answers in response_rollouts(
        sprites(24, pan=4),
        models,
        scenarios=range(panels * scenarios),
        scripts="iid",
        horizon=4,
        batch_size=100,
    ):
        rows = torch.arange(len(truth)).view(-1, 4)
        for _, found in answers:
            products = script_products(
                found.frames[:, 1:], truth.frames[:, 1:], preds_rows=rows, target_rows=rows
            )
            kept.append(script_cross(products))
    parts = [torch.cat(part).unflatten(0, (panels, scenarios)) for part in zip(*kept, strict=True)]
    p_values = torch.stack(
        [
            script_test(ScriptCross(*(part[n] for part in parts)), draws=draws, seed=n).p_value
            for n in range(panels)
        ]
    )
    found = uniform(p_values, 1 / (draws + 1))
    low, high = band(panels)
    assert found.ks > 0.01
    assert low <= found.rejected <= high


# ---- two models that are alike -----------------------------------------------------------


@pytest.mark.parametrize("panels", [500, pytest.param(4000, marks=SLOW)])
def test_two_models_of_one_distribution(panels: int) -> None:
    scenarios, generator = 12, torch.Generator().manual_seed(0)
    differences = []
    for _ in range(panels // 500):
        shape = (500 * scenarios * 3, 2, 1, 4, 4)
        reference = torch.randn(shape, generator=generator)
        rows = torch.arange(shape[0]).view(-1, 3)
        # Scenarios differ in how hard they are, for both models alike.
        hard = torch.rand(500 * scenarios, generator=generator).repeat_interleave(3)
        agreements = []
        for _ in range(2):
            noise = hard[:, None, None, None, None] * torch.randn(shape, generator=generator)
            products = script_products(
                reference + noise, reference, preds_rows=rows, target_rows=rows
            )
            agreements.append(script_response(products).agreement.mean(1))
        differences.append((agreements[0] - agreements[1]).view(500, scenarios))
    found = sign_flip_test(torch.cat(differences).T)
    assert bool(found.exact.all())
    result = uniform(found.p_value, 2.0 ** (1 - scenarios))
    assert result.ks > 0.01
    assert 0.03 <= result.rejected <= 0.07


# ---- lags of models that do not listen ---------------------------------------------------


class Panel(NamedTuple):
    commands: Tensor  # [S, K, T, A]
    preds: Tensor  # [S, K, T, D]
    target: Tensor


def deaf_panel(
    generator: torch.Generator, scenarios: int, scripts: int, steps: int, *, noop: bool, held: bool
) -> Panel:
    """A reference that follows its script, and a model that moves as it likes."""

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    actions = torch.randint(3, (scenarios, scripts, steps), generator=generator)
    if held:
        actions = actions.repeat_interleave(4, -1)[..., :steps]
    if noop:
        actions[:, -1] = 0
    commands = torch.nn.functional.one_hot(actions, 3).double()
    target = commands @ noise(3, 2) + 0.5 * noise(scenarios, 1, steps, 2)
    target += 0.1 * noise(*target.shape)
    own = noise(*target.shape)
    own = own.cumsum(2) if held else own
    return Panel(commands, own + noise(scenarios, 1, steps, 2), target)


@pytest.mark.parametrize("panels", [100, pytest.param(500, marks=SLOW)])
@pytest.mark.parametrize(
    ("scenarios", "scripts", "noop", "held"),
    [
        (8, 3, False, False),
        pytest.param(12, 3, True, False, marks=SLOW),
        pytest.param(8, 6, False, False, marks=SLOW),
        pytest.param(10, 3, False, True, marks=SLOW),
        pytest.param(10, 6, True, True, marks=SLOW),
    ],
)
def test_lag_of_a_deaf_model(
    panels: int, scenarios: int, scripts: int, noop: bool, held: bool
) -> None:
    generator, draws = torch.Generator().manual_seed(1), 99
    p_values = torch.stack(
        [
            action_report(
                panel.preds,
                panel.target,
                panel.commands,
                torch.arange(scenarios),
                responses=2,
                draws=draws,
                seed=n,
            ).latency.excess.pooled.p_value
            for n in range(panels)
            if (panel := deaf_panel(generator, scenarios, scripts, 16, noop=noop, held=held))
        ]
    )
    found = uniform(p_values, 1 / (draws + 1))
    low, high = band(panels)
    assert found.ks > 0.01
    assert low <= found.rejected <= high


def test_exchanges_over_a_panel_of_centred_responses_reject_too_often() -> None:
    """Why scripts are exchanged within scenarios only."""
    generator, rejected = torch.Generator().manual_seed(1), 0
    for n in range(60):
        panel = deaf_panel(generator, 8, 3, 16, noop=False, held=False)
        preds, target = (v - v.mean(1, keepdim=True) for v in (panel.preds, panel.target))
        found = response_latency(
            panel.commands.flatten(0, 1),
            preds.flatten(0, 1),
            target.flatten(0, 1),
            draws=99,
            seed=n,
        )
        rejected += int(found.excess.pooled.p_value <= LEVEL)
    assert rejected >= 8  # three would be right
