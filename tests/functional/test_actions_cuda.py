"""Plain torch of action response: a device agrees with the CPU. Needs torch and numpy only."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.functional.scripted_panels import panel
from wmscore.functional import (
    action_recovery,
    action_report,
    effect_table,
    fit_probe,
    motion_features,
    response_latency,
    script_cross,
    script_delta_psnr,
    script_match,
    script_products,
    script_response,
    script_test,
)
from wmscore.nested import flatten

pytestmark = pytest.mark.needs_cuda


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def scenes(scenarios: int = 20, steps: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    """Responses `[B, T, 4]` that show their action, actions, and scenarios of two rows each."""
    actions = torch.randint(4, (2 * scenarios, steps), generator=generator())
    means = torch.randn(4, 4, generator=generator(), dtype=torch.float64)
    noise = torch.randn(*actions.shape, 4, generator=generator(), dtype=torch.float64)
    return means[actions] + 0.3 * noise, actions, torch.arange(scenarios).repeat_interleave(2)


def clips(groups: int = 3, scripts: int = 4, steps: int = 5) -> tuple[Tensor, Tensor]:
    shape = (2, groups, scripts, steps, 3, 32, 40)
    preds, target = torch.randint(256, shape, dtype=torch.uint8, generator=generator())
    return preds, target


def assert_same(there: object, here: object, tolerance: float = 1e-9) -> None:
    found, wanted = flatten("", there), flatten("", here)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert_close(
            found[name].cpu(), value, rtol=tolerance, atol=tolerance, equal_nan=True, msg=name
        )


def test_responses_of_scripts() -> None:
    preds, target = clips()
    here, there = script_products(preds, target), script_products(preds.cuda(), target.cuda())
    random = torch.tensor([False, False, True, True])
    assert_same(script_response(there), script_response(here))
    assert_same(script_match(there), script_match(here))
    assert_same(script_cross(there), script_cross(here))
    assert_same(script_delta_psnr(there, random.cuda()), script_delta_psnr(here, random))
    assert_same(script_test(there, draws=200), script_test(here, draws=200))


def test_motion() -> None:
    frames = torch.nn.functional.interpolate(
        torch.rand(2, 3, 24, 24, generator=generator()), 96, mode="bicubic"
    ).clamp(0, 1)
    moving = torch.stack([frames[..., t : t + 48, 2 * t : 2 * t + 64] for t in range(5)], 1)
    moving = (moving * 255).byte()
    assert_same(motion_features(moving.cuda()), motion_features(moving), 1e-3)


def test_latency() -> None:
    inputs = panel(150, 32, 3, seed=1, noise=1.0)
    gaps = torch.rand(150, 32, 3, generator=generator()) > 0.95
    inputs[1][gaps] = math.nan
    groups = torch.arange(150) // 50
    there = response_latency(*(value.cuda() for value in inputs), groups=groups.cuda())
    assert_same(there, response_latency(*inputs, groups=groups), 1e-6)


def test_recovery_and_effects() -> None:
    features, actions, groups = scenes()
    inputs = features, actions, groups
    device = tuple(value.cuda() for value in inputs)
    here, there = fit_probe(*inputs, 4), fit_probe(*device, 4)
    assert_close(there.weight.cpu(), here.weight, rtol=1e-9, atol=1e-9)
    found = here.predict(features, groups)
    assert there.predict(device[0], device[2]).cpu().equal(found)
    assert_same(action_recovery(found.cuda(), device[1], 4), action_recovery(found, actions, 4))
    preds = 0.5 * features
    options = {"noop": 0, "num_actions": 4, "draws": 500}
    assert_same(
        effect_table(preds.cuda(), device[0], device[1], groups=device[2], **options),
        effect_table(preds, features, actions, groups=groups, **options),
        1e-6,
    )


def test_report() -> None:
    features, actions, _ = scenes()
    target, sent = features.view(10, 4, 24, 4), actions.view(10, 4, 24)
    preds, scenario = target.roll(2, 2), torch.arange(10)
    options = {"num_actions": 4, "noop": 0, "draws": 199}
    here = action_report(preds, target, sent, scenario, **options)
    there = action_report(*(value.cuda() for value in (preds, target, sent, scenario)), **options)
    assert_same(there, here, 1e-6)
