"""motion_agreement and motion_by_action: cases with known values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from wmscore.functional import BlockFlow, Reason, block_flow, motion_agreement, motion_by_action

NAN = math.nan


def vectors(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 4 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def turned(vectors: Tensor, degrees: float) -> Tensor:
    angle = math.radians(degrees)
    y, x = vectors.unbind(-1)
    return torch.stack(
        [y * math.cos(angle) - x * math.sin(angle), y * math.sin(angle) + x * math.cos(angle)], -1
    )


def close(value: Tensor, expected: object, **bounds: float) -> None:
    expected = torch.as_tensor(expected, dtype=torch.float64).expand_as(value)
    torch.testing.assert_close(
        value,
        expected,
        rtol=bounds.get("rtol", 1e-12),
        atol=bounds.get("atol", 1e-12),
        equal_nan=True,
    )


# --- agreement ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cosine", "angle", "ratio", "agreement"),
    [
        ("same", 1.0, 0.0, 1.0, 1.0),
        ("mirrored", -1.0, 180.0, 1.0, -1.0),
        ("half", 1.0, 0.0, 0.5, 0.8),
        ("double", 1.0, 0.0, 2.0, 0.8),
        ("a right angle", 0.0, 90.0, 1.0, 0.0),
        ("30 degrees", math.cos(math.pi / 6), 30.0, 1.0, math.cos(math.pi / 6)),
        ("half, mirrored", -1.0, 180.0, 0.5, -0.8),
    ],
)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_known_values(name, cosine, angle, ratio, agreement, dims):
    target = vectors(5, 4, 3, 2)
    target = target + target.sign()  # all move
    preds = {
        "same": target,
        "mirrored": -target,
        "half": target / 2,
        "double": 2 * target,
        "a right angle": turned(target, 90),
        "30 degrees": turned(target, -30),
        "half, mirrored": -target / 2,
    }[name]
    found = motion_agreement(preds, target, dims=dims)
    assert found.cosine.shape == (5, 4, 3)[: 4 - dims]
    close(found.cosine, cosine)
    close(found.angle, angle, atol=1e-5)
    close(found.ratio, ratio)
    close(found.agreement, agreement)
    errors = (preds - target).norm(dim=-1)
    close(found.endpoint_error, errors if dims == 1 else errors.flatten(4 - dims).mean(-1))
    assert found.reason.eq(Reason.DEFINED).all()


def test_matches_the_formulas():
    preds, target = vectors(50, 6, 2), vectors(50, 6, 2, seed=1)
    weight = vectors(50, 6, seed=2).abs()
    found = motion_agreement(preds, target, dims=2, weight=weight)
    both, generated, reference = (
        (weight * (x * y).sum(-1)).sum(-1)
        for x, y in ((preds, target), (preds, preds), (target, target))
    )
    close(found.cosine, both / (generated * reference).sqrt())
    close(found.ratio, (generated / reference).sqrt())
    close(found.agreement, 2 * both / (generated + reference))
    close(found.angle.deg2rad().cos(), found.cosine)
    error = (weight * (preds - target).norm(dim=-1)).sum(-1) / weight.sum(-1)
    close(found.endpoint_error, error)


@pytest.mark.parametrize("degrees", [1e-6, 1e-3, 180 - 1e-6])
def test_small_angles_are_exact(degrees):
    """The arc cosine has no digit left for them."""
    target = vectors(20, 2)
    close(motion_agreement(turned(target, degrees), target).angle, degrees, rtol=0, atol=1e-9)


def test_what_does_not_move():
    target = torch.tensor([[0.0, 3.0], [0.0, 0.05], [0.0, 0.0], [0.0, 3.0], [0.0, 0.0]])
    preds = torch.tensor([[0.0, 0.0], [0.0, 2.0], [0.0, 0.0], [0.0, 0.05], [0.0, 2.0]])
    found = motion_agreement(preds, target)
    still = Reason.NO_GENERATED_RESPONSE
    silent = Reason.NO_RESPONSE
    assert found.reason.tolist() == [still, silent, silent, still, silent]
    close(found.cosine, NAN)
    close(found.angle, NAN)
    small = 0.05000000074505806
    close(found.ratio, [0.0, NAN, NAN, small / 3, NAN])
    close(found.agreement, [0.0, NAN, NAN, 6 * small / (9 + small**2), NAN])
    close(found.endpoint_error, [3.0, 2 - small, 0.0, 3 - small, 2.0])
    always = motion_agreement(preds, target, min_motion=0.0)
    assert always.reason.tolist() == [still, 0, silent, 0, silent]


def test_vectors_of_a_field_that_are_not_there():
    preds, target = vectors(3, 4, 4, 2), vectors(3, 4, 4, 2, seed=1)
    there = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(3)) < 0.5
    expected = [motion_agreement(preds[n][there[n]], target[n][there[n]], dims=2) for n in range(3)]
    weighted = motion_agreement(preds, target, dims=3, weight=there)
    broken = target.masked_fill(~there[..., None], torch.nan)
    for found in (weighted, motion_agreement(preds, broken, dims=3)):
        for name in ("cosine", "angle", "ratio", "agreement", "endpoint_error"):
            close(getattr(found, name), torch.stack([getattr(one, name) for one in expected]))


def test_nothing_to_compare():
    preds = torch.ones(3, 2, 2)
    preds[0, 0, 0] = preds[1, :, 0] = torch.nan
    weight = torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    found = motion_agreement(preds, torch.ones(3, 2, 2), dims=2, weight=weight)
    assert found.reason.tolist() == [0, Reason.NON_FINITE, Reason.NO_REGION]
    for value in (found.cosine, found.angle, found.ratio, found.agreement, found.endpoint_error):
        assert value.isnan().tolist() == [False, True, True]
    single = motion_agreement(preds[:, 0], torch.ones(3, 2))
    assert single.reason.tolist() == [Reason.NON_FINITE, Reason.NON_FINITE, 0]


def test_fields_of_blocks():
    """A model that moves half as far, and one that mirrors, as seen by block flow."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, 3, 64, 64), generator=generator, dtype=torch.uint8)

    def flow(move: int) -> BlockFlow:
        return block_flow(frames, frames.roll(move, 3))

    target = flow(3).flow
    half = motion_agreement(flow(2).flow, target, dims=3)
    close(half.cosine, 1.0, atol=1e-3)
    close(half.ratio, 2 / 3, rtol=1e-3)
    mirrored = motion_agreement(flow(-3).flow, target, dims=3)
    close(mirrored.agreement, -1.0, atol=1e-3)
    close(mirrored.endpoint_error, 6.0, rtol=1e-2)


# --- by action ------------------------------------------------------------------------------------

MOVES = torch.tensor([[0.0, 0.0], [0.0, 3.0], [0.0, -3.0], [3.0, 0.0], [-3.0, 0.0]]).double()


@pytest.fixture
def actions() -> Tensor:
    return torch.randint(0, 5, (30, 20), generator=torch.Generator().manual_seed(0))


def test_each_action_has_its_own(actions):
    gain = torch.tensor([1.0, 0.5, -1.0, 0.0, 1.0]).double()  # calibrated ... mirrored, ignored
    found = motion_by_action(gain[actions, None] * MOVES[actions], MOVES[actions], actions, 5)
    close(found.ratio, [NAN, 0.5, -1.0, 0.0, 1.0])
    close(found.cosine, [NAN, 1.0, -1.0, NAN, 1.0])
    close(found.direction, [NAN, 1.0, 0.0, NAN, 1.0])
    counts = torch.bincount(actions.flatten(), minlength=5)
    assert found.steps.equal(counts)
    moving = counts.clone()
    moving[0] = 0
    assert found.moving.equal(moving)
    moving[3] = 0
    assert found.both_moving.equal(moving)
    silent, still = Reason.NO_RESPONSE, Reason.NO_GENERATED_RESPONSE
    assert found.reason.tolist() == [silent, 0, 0, still, 0]


def test_matches_a_loop(actions):
    preds, target = vectors(30, 20, 3), vectors(30, 20, 3, seed=1)
    preds[3, 4, 0], target[5, 6] = torch.nan, torch.inf
    target[7], preds[8] = 0, 0
    valid = torch.rand(30, 20, generator=torch.Generator().manual_seed(5)) < 0.8
    found = motion_by_action(preds, target, actions, 6, valid=valid, min_motion=2.0)
    for action in range(6):
        steps, cosines, products, energies = 0, [], [], []
        for b, t in (actions == action).nonzero().tolist():
            p, g = preds[b, t], target[b, t]
            if not valid[b, t] or not p.isfinite().all() or not g.isfinite().all():
                continue
            steps += 1
            if g.norm() < 2:
                continue
            products.append((p @ g).item())
            energies.append((g @ g).item())
            if p.norm() >= 2:
                cosines.append((p @ g / p.norm() / g.norm()).item())
        assert found.steps[action] == steps
        assert found.moving[action] == len(products)
        assert found.both_moving[action] == len(cosines)
        if not steps:
            assert action == 5
            assert found.reason[action] == Reason.TOO_FEW_STEPS
            assert found.direction[action].isnan()
            assert found.cosine[action].isnan()
            assert found.ratio[action].isnan()
            continue
        close(found.ratio[action], sum(products) / sum(energies))
        close(found.cosine[action], sum(cosines) / len(cosines))
        close(found.direction[action], sum(c > 0 for c in cosines) / len(cosines))


def test_permuted_actions_are_at_chance(actions):
    """What another rollout was told has no direction in common with what this one was."""
    other = actions.flatten()[torch.randperm(600, generator=torch.Generator().manual_seed(2))]
    found = motion_by_action(MOVES[other.view(30, 20)], MOVES[actions], actions, 5)
    assert found.cosine[1:].abs().max() < 0.25
    assert found.ratio[1:].abs().max() < 0.25


def test_rows_may_come_in_any_order(actions):
    preds, target = vectors(30, 20, 2), vectors(30, 20, 2, seed=1)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    one = motion_by_action(preds, target, actions, 5)
    other = motion_by_action(preds[order], target[order], actions[order], 5)
    close(one.ratio, other.ratio)
    assert one.both_moving.equal(other.both_moving)


def test_actions_of_steps_that_do_not_count_are_not_looked_at(actions):
    valid = torch.ones(30, 20, dtype=torch.bool)
    valid[:, -1] = False
    padded = actions.clone()
    padded[:, -1] = -1
    found = motion_by_action(MOVES[actions], MOVES[actions], padded, 5, valid=valid)
    assert found.steps.sum() == 30 * 19
    with pytest.raises(ValueError, match=r"0\.\.4, got -1 at \[row, step\] \[0, 19\]"):
        motion_by_action(MOVES[actions], MOVES[actions], padded, 5)


# --- arguments ------------------------------------------------------------------------------------


def test_no_value_is_read_on_the_device():
    moves = torch.empty(3, 4, 2, device="meta")
    weight = torch.empty(3, 4, device="meta")
    assert motion_agreement(moves, moves, weight=weight).reason.shape == (3, 4)
    actions = torch.empty(3, 4, dtype=torch.int64, device="meta")
    assert motion_by_action(moves, moves, actions, 5).ratio.shape == (5,)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"preds": torch.zeros(3, 4, 3)}, ValueError, r"one shape \[\.\.\., D\]"),
        ({"preds": torch.zeros(3, 4, 2).int()}, TypeError, "preds must be floating point"),
        ({"dims": 0}, ValueError, "dims must be at least 1, got 0"),
        ({"dims": 4}, ValueError, r"dims must be at most 3, the dims of preds \(3, 4, 2\), got 4"),
        ({"weight": torch.ones(4).int()}, TypeError, r"bool or floating point, got torch\.int32"),
        ({"weight": torch.ones(5)}, ValueError, r"weight must have a shape that broadcasts to"),
        ({"weight": -torch.ones(4)}, ValueError, r"weight must be 0 or more and finite, got -1\.0"),
        ({"weight": torch.full((4,), NAN)}, ValueError, "0 or more and finite, got nan"),
        ({"min_motion": -1.0}, ValueError, "min_motion must be a number at least 0"),
    ],
    ids=str,
)
def test_errors_of_agreement(changes, error, message):
    right = {"preds": torch.zeros(3, 4, 2), "target": torch.zeros(3, 4, 2)}
    motion_agreement(**right)
    with pytest.raises(error, match=message):
        motion_agreement(**(right | changes))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"preds": torch.zeros(12, 2), "target": torch.zeros(12, 2)}, ValueError, r"\[B, T, D\]"),
        ({"actions": torch.zeros(3, 4)}, TypeError, r"actions must be int64, got torch\.float32"),
        ({"actions": [0]}, TypeError, r"actions must be a torch\.Tensor, got list"),
        (
            {"actions": torch.zeros(3, 5, dtype=torch.int64)},
            ValueError,
            r"\[B, T\] = \(3, 4\) as preds, got \(3, 5\)",
        ),
        (
            {"actions": torch.full((3, 4), 2)},
            ValueError,
            r"actions must lie in 0\.\.1, got 2 at \[row, step\] \[0, 0\]",
        ),
        ({"num_actions": 0}, ValueError, "num_actions must be at least 1, got 0"),
        ({"valid": torch.ones(3, 4)}, TypeError, r"valid must be bool, got torch\.float32"),
    ],
    ids=str,
)
def test_errors_by_action(changes, error, message):
    right = {
        "preds": torch.zeros(3, 4, 2),
        "target": torch.zeros(3, 4, 2),
        "actions": torch.zeros(3, 4, dtype=torch.int64),
        "num_actions": 2,
    }
    motion_by_action(**right)
    with pytest.raises(error, match=message):
        motion_by_action(**(right | changes))
