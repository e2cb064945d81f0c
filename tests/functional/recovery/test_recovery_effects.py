"""Effects of actions: known models, loops in numpy, scipy's permutation test, null, bad input."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm, permutation_test
from torch import Tensor
from torch.testing import assert_close

from wmscore.functional import ActionEffects, Reason, effect_table
from wmscore.functional.recovery._responses import by_scenario
from wmscore.functional.recovery._separation import separation
from wmscore.stats import sign_flip_norm_test

NOOP, LEFT, RIGHT, UP, DUD, RARE = range(6)
MOVES = torch.tensor([[0, 0], [0, 3], [0, -3], [4, 0], [0, 0], [0, 1]], dtype=torch.float64)


def sign_flip_p(differences: Tensor, present: Tensor, *, draws: int, seed: int) -> Tensor:
    """P-values `[...]` of differences `[..., S, D]`, as `effect_table` asks for them."""
    paired = differences.masked_fill(~present[..., None], torch.nan).movedim(-2, 0)
    return sign_flip_norm_test(paired, draws=draws, seed=seed).p_value


def reference(
    scenarios: int = 10, rows: int = 2, steps: int = 30, noise: float = 0.5, seed: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """Responses `[B, T, 3]` (dy, dx, something else), actions, scenarios."""
    generator = torch.Generator().manual_seed(seed)
    actions = torch.randint(5, (scenarios * rows, steps), generator=generator)
    shift = MOVES[actions]
    other = torch.zeros_like(shift[..., :1])
    responses = torch.cat([shift, other], -1)
    drawn = torch.randn(responses.shape, generator=generator, dtype=torch.float64)
    groups = torch.arange(scenarios).repeat_interleave(rows)
    drift = torch.randn(scenarios, 1, 3, generator=generator, dtype=torch.float64)[groups]
    return responses + noise * drawn + drift, actions, groups


def table(
    preds: Tensor, target: Tensor, actions: Tensor, groups: Tensor, **options: object
) -> ActionEffects:
    return effect_table(preds, target, actions, NOOP, groups, num_actions=6, **options)


def test_the_reference_itself_is_right() -> None:
    target, actions, groups = reference()
    found = table(target, target, actions, groups)
    assert found.reason.tolist() == [
        Reason.NO_EFFECT,
        *[Reason.DEFINED] * 3,
        Reason.NO_EFFECT,
        Reason.TOO_FEW_ACTIONS,
    ]
    assert found.excluded.tolist() == [True, False, False, False, True, True]
    assert_close(found.target_effect[1:4, :2], MOVES[1:4], atol=0.5, rtol=0)
    ones = torch.ones(3, dtype=torch.float64)
    assert_close(found.cosine[1:4], ones)
    assert_close(found.gain[1:4], ones)
    assert found.confused_with.tolist() == [-1, LEFT, RIGHT, UP, -1, -1]
    assert found.target_p[1:4].tolist() == [2.0**-9] * 3
    assert found.target_p[NOOP] == 1
    assert found.target_p[DUD] > 0.05
    assert_close(found.target_size[1:4], torch.tensor([6.0, 6.0, 8.0]).double(), atol=1, rtol=0)
    assert (found.target_separation[1:4] > 0.98).all()
    assert found.target_separation[NOOP] == 0.5
    assert abs(found.target_separation[DUD] - 0.5) < 0.05
    assert found.scenarios.tolist() == [10, 10, 10, 10, 10, 0]
    for name in ("target_effect", "target_size", "target_separation", "target_p", "gain"):
        assert getattr(found, name)[RARE].isnan().all(), name


def test_a_mirrored_model() -> None:
    target, actions, groups = reference()
    mirrored = target * torch.tensor([1.0, -1.0, 1.0])
    found = table(mirrored, target, actions, groups)
    assert found.confused_with.tolist() == [-1, RIGHT, LEFT, UP, -1, -1]
    assert (found.cosine[[LEFT, RIGHT]] < -0.98).all()
    assert (found.gain[[LEFT, RIGHT]] < -0.98).all()
    assert found.confusion[LEFT, RIGHT] > 0.98
    assert found.cosine[UP] > 0.98
    assert_close(found.preds_size[1:4], found.target_size[1:4])
    whole = table(-target, target, actions, groups)
    assert_close(whole.cosine[1:4], torch.full((3,), -1.0).double())
    assert_close(whole.gain[1:4], torch.full((3,), -1.0).double())


def test_a_frozen_model() -> None:
    target, actions, groups = reference()
    uneven = torch.tensor([0.1, 1e5 / 3, -7.7]).double().expand_as(target)  # rounds when averaged
    for still in (torch.zeros_like(target), uneven):
        found = table(still, target, actions, groups)
        assert (found.preds_effect[:5] == 0).all()
        assert (found.preds_p[:5] == 1).all()
        assert (found.preds_size[:5] == 0).all()
        assert (found.preds_separation[:5] == 0.5).all()
        assert (found.gain[1:4] == 0).all()
        assert found.cosine.isnan().all()
        assert (found.confused_with == -1).all()
        assert (found.reason[1:4] == Reason.NO_GENERATED_RESPONSE).all()
        assert not found.excluded[1:4].any()


def test_half_the_gain() -> None:
    target, actions, groups = reference()
    found = table(0.5 * target + 7, target, actions, groups)
    assert_close(found.gain[1:4], torch.full((3,), 0.5).double())
    assert_close(found.cosine[1:4], torch.ones(3).double())
    assert_close(found.preds_size, found.target_size / 2, equal_nan=True)


def test_an_action_blind_model_has_no_effect() -> None:
    target, actions, groups = reference(scenarios=16, rows=3)
    blind, _, _ = reference(scenarios=16, rows=3, seed=1)  # answers other scripts
    found = table(blind, target, actions, groups)
    assert (found.preds_p[1:4] > 0.01).all()
    assert (found.gain[1:4].abs() < 0.2).all()
    assert (found.preds_separation[:5] - 0.5).abs().max() < 0.03


def test_permuted_actions_are_confused_with_each_other() -> None:
    target, actions, groups = reference()
    swap = torch.tensor([NOOP, UP, LEFT, RIGHT, DUD, RARE])
    generated = target - torch.nn.functional.pad(MOVES[actions] - MOVES[swap[actions]], (0, 1))
    found = table(generated, target, actions, groups)
    assert found.confused_with.tolist() == [-1, UP, LEFT, RIGHT, -1, -1]
    assert (found.confusion[[LEFT, RIGHT, UP], [UP, LEFT, RIGHT]] > 0.98).all()


def test_a_world_without_noise() -> None:
    """Each action does exactly the same each time: nothing divides by zero."""
    _, actions, groups = reference(noise=0.0)
    target = MOVES[actions] + 0.1  # dims without noise, and one that only the model moves
    target = torch.nn.functional.pad(target, (0, 1), value=0.3)
    found = table(0.5 * target, target, actions, groups)
    assert (found.target_size[1:4] > 20).all()  # a unit is 1/20 of the deviation of all moves
    assert found.target_size.isfinite()[:5].all()
    assert found.target_size[DUD] == 0
    assert_close(found.gain[1:4], torch.full((3,), 0.5).double())
    assert (found.target_separation[1:4] == 1).all()
    sideways = target.clone()
    sideways[..., 2] += 2 * (actions == LEFT)
    wrong = table(sideways, target, actions, groups)
    assert wrong.cosine[LEFT] < 0.8
    assert_close(wrong.cosine[[RIGHT, UP]], torch.ones(2).double())


def plain_effects(
    responses: np.ndarray, actions: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Effect per scenario `[S, A, D]`, and the deviation within action and scenario."""
    scenarios = np.unique(groups)
    effect = np.full((len(scenarios), 6, responses.shape[-1]), np.nan)
    squares, freedom = 0.0, 0
    for s, scenario in enumerate(scenarios):
        x, a = responses[groups == scenario], actions[groups == scenario]
        for action in range(6):
            some = x[a == action]
            if len(some):
                squares = squares + ((some - some.mean(0)) ** 2).sum(0)
                freedom += len(some) - 1
                if (a == NOOP).any():
                    effect[s, action] = some.mean(0) - x[a == NOOP].mean(0)
    return effect, np.sqrt(squares / freedom)


def test_effects_are_those_of_plain_loops() -> None:
    target, actions, groups = reference(scenarios=9, rows=2, steps=12)
    preds = 0.7 * target + torch.randn_like(target)
    actions[0, :5] = RARE
    actions[groups == 3] = actions[groups == 3].where(actions[groups == 3] != UP, NOOP)
    actions[groups == 4] = actions[groups == 4].where(actions[groups == 4] != NOOP, LEFT)
    actions[2, 7] = -1
    valid = torch.rand(18, 12) < 0.9
    actions[1, 0], valid[1, 0], valid[0, :5] = NOOP, True, True
    preds[5, 5, 1], valid[5, 5] = math.nan, True
    groups[17] = groups[14]  # scenarios of three rows and of one
    order = torch.randperm(18)
    found = table(
        preds[order], target[order], actions[order], 10 * groups[order] - 3, valid=valid[order]
    )
    kept = actions.where(valid & preds.isfinite().all(-1), -1).numpy()
    (reference_effect, within), (effect, _) = (
        plain_effects(x.numpy(), kept, groups.numpy()) for x in (target, preds)
    )
    expected = [np.nanmean(x, 0) for x in (reference_effect[:, :5], effect[:, :5])]
    expected = [
        np.concatenate([e, x[:1, RARE]])
        for e, x in zip(expected, (reference_effect, effect), strict=True)
    ]
    np.testing.assert_allclose(found.target_effect, expected[0], rtol=1e-10)
    np.testing.assert_allclose(found.preds_effect, expected[1], rtol=1e-10)
    np.testing.assert_array_equal(found.scenarios, (~np.isnan(effect[..., 0])).sum(0))
    for name, e in zip(("target_size", "preds_size"), expected, strict=True):
        np.testing.assert_allclose(getattr(found, name), np.linalg.norm(e / within, axis=-1))
    assert found.scenarios[[NOOP, UP, RARE]].tolist() == [8, 7, 1]
    assert found.reason[RARE] == Reason.TOO_FEW_SAMPLES
    assert found.target_p[RARE].isnan()
    assert found.gain[RARE].isnan()
    assert found.target_size[RARE] > 0
    r, g = expected[0] / within, expected[1] / within
    for a in (LEFT, RIGHT, UP):
        cosine = r[a] @ g[a] / np.linalg.norm(r[a]) / np.linalg.norm(g[a])
        assert found.cosine[a].item() == pytest.approx(cosine)
        assert found.gain[a].item() == pytest.approx(r[a] @ g[a] / (r[a] @ r[a]))
        cross = r[UP] @ g[a] / np.linalg.norm(r[UP]) / np.linalg.norm(g[a])
        assert found.confusion[a, UP].item() == pytest.approx(cross)


@pytest.mark.parametrize("scenarios", [6, 9, 12])
def test_p_values_are_those_of_scipy(scenarios: int) -> None:
    differences = torch.randn(20, scenarios, 1, dtype=torch.float64) + 0.5
    present = torch.ones(20, scenarios, dtype=torch.bool)
    found = sign_flip_p(differences, present, draws=10, seed=0)
    for values, p in zip(differences[..., 0].numpy(), found.tolist(), strict=True):
        oracle = permutation_test(
            (values,),
            lambda x, axis: np.abs(x.mean(axis)),
            permutation_type="samples",
            vectorized=True,
            n_resamples=np.inf,
            alternative="greater",
        )
        assert p == pytest.approx(oracle.pvalue)


def test_absent_scenarios_do_not_count() -> None:
    differences = torch.randn(5, 12, 4, dtype=torch.float64) + 0.3
    present = torch.zeros(5, 12, dtype=torch.bool)
    present[:, 3:11] = True
    found = sign_flip_p(differences.where(present[..., None], 99.0), present, draws=10, seed=0)
    few = sign_flip_p(differences[:, 3:11], present[:, 3:11], draws=10, seed=0)
    assert_close(found, few)
    assert (
        sign_flip_p(differences, present & (present.cumsum(1) < 6), draws=9, seed=0).isnan().all()
    )
    assert sign_flip_p(differences[:, :5], present[:, :5], draws=9, seed=0).isnan().all()


def test_random_sign_flips_are_near_the_exact_ones() -> None:
    differences = torch.randn(8, 16, 3, dtype=torch.float64) + 0.25
    present = torch.ones(8, 16, dtype=torch.bool)
    exact = sign_flip_p(differences, present, draws=1, seed=0)
    more = torch.nn.functional.pad(differences, (0, 0, 0, 1))  # 17: drawn, the last one is 0
    there = torch.nn.functional.pad(present, (0, 1), value=True)
    drawn = sign_flip_p(more, there, draws=10_000, seed=0)
    error = (exact * (1 - exact) / 10_000).sqrt()
    assert ((drawn - exact).abs() < 4 * error + 1e-4).all()
    assert torch.equal(drawn, sign_flip_p(more, there, draws=10_000, seed=0))
    assert not torch.equal(drawn, sign_flip_p(more, there, draws=10_000, seed=1))
    far = sign_flip_p(more + 100, there, draws=99, seed=0)
    assert (far == 1 / 100).all()


def test_p_values_of_actions_without_effect_are_uniform() -> None:
    """2,000 panels in which nothing has an effect: autocorrelated, skewed, scenarios apart."""
    panels, scenarios, steps = 2000, 10, 12
    noise = torch.randn(panels * scenarios, steps, 2, dtype=torch.float64)
    noise = noise + 0.8 * noise.roll(1, 1)
    noise[..., 1] = noise[..., 1].exp()
    responses = noise + 5 * torch.randn(panels * scenarios, 1, 2, dtype=torch.float64)
    actions = torch.randint(2, (panels * scenarios, steps))
    actions[:, 0], actions[:, 5] = 0, 1
    member = actions[..., None] == torch.arange(2)
    _, found, _ = by_scenario(member, responses, responses, torch.arange(len(actions)), 0)
    effect = found.effect[:, 1].view(panels, scenarios, 2)
    p = sign_flip_p(effect, torch.ones(panels, scenarios).bool(), draws=1, seed=0).numpy()
    # p takes multiples of 2 ** -9: spread each over its step before comparing with the uniform.
    spread = p - np.random.default_rng(0).random(panels) * 2.0**-9
    assert kstest(spread, "uniform").pvalue > 0.01
    assert 0.04 < (p <= 0.05).mean() < 0.06
    one = slice(0, scenarios)  # and the table takes the very same steps
    table = effect_table(
        responses[one], responses[one], actions[one], 0, torch.arange(scenarios), num_actions=2
    )
    _, whole, _ = by_scenario(
        member[one], responses[one], responses[one], torch.arange(scenarios), 0
    )
    effect = whole.effect[None, :, 1] / whole.unit
    p = sign_flip_p(effect, torch.ones(1, scenarios).bool(), draws=1, seed=0)
    assert table.target_p[1] == p[0]


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 2.0])
def test_separation_of_normal_responses(shift: float) -> None:
    """In one dimension, P = Phi(d / 2)^2 + Phi(-d / 2)^2 for a shift of d standard deviations."""
    member = torch.nn.functional.one_hot(torch.arange(200) % 2, 2).bool().expand(60, 200, 2)
    values = torch.randn(60, 200, 1, dtype=torch.float64) + shift * member[..., 1:].double()
    expected = norm.cdf(shift / 2) ** 2 + norm.cdf(-shift / 2) ** 2
    assert separation(values, member, 0)[1].item() == pytest.approx(expected, abs=0.01)


def plain_separation(values: np.ndarray, actions: np.ndarray, action: int) -> float:
    within, between = [], []
    for i, j in combinations(range(len(values)), 2):
        distance = np.round(np.linalg.norm(values[i] - values[j]), 9)
        pair = {actions[i], actions[j]}
        if pair in ({action}, {NOOP}):
            within.append(distance)
        elif pair == {action, NOOP}:
            between.append(distance)
    b, w = np.array(between)[:, None], np.array(within)[None]
    return float(((b > w) + 0.5 * (b == w)).mean()) if b.size and w.size else math.nan


def test_separation_is_that_of_plain_loops() -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.randint(3, (4, 25, 2), generator=generator).double()  # many ties
    actions = torch.randint(-1, 4, (4, 25), generator=generator)
    actions[2] = actions[2].where(actions[2] != NOOP, 1)  # a scenario without no-op
    member = actions[..., None] == torch.arange(5)
    found = separation(values, member, NOOP)
    for action in range(1, 5):
        each = [plain_separation(values[s].numpy(), actions[s].numpy(), action) for s in range(4)]
        expected = np.nanmean(each) if not np.isnan(each).all() else math.nan
        assert found[action].item() == pytest.approx(expected, nan_ok=True)


def test_separation_of_long_scenarios_takes_evenly_spaced_steps() -> None:
    actions = torch.randint(2, (3, 900))
    late = 3 * (torch.arange(900) > 450)  # no effect before
    values = torch.randn(3, 900, 2, dtype=torch.float64) + (late * actions)[..., None]
    kept = torch.rand(3, 900) < 0.8
    kept[2, 200:] = False  # fewer than the most
    member = (actions[..., None] == torch.arange(2)) & kept[..., None]
    found = separation(values, member, 0)[1]
    parts = [separation(values[:, i::4], member[:, i::4], 0)[1] for i in range(4)]
    assert found.item() == pytest.approx(torch.stack(parts).mean().item(), abs=0.02)
    last = separation(values[2:], member[2:], 0)
    assert_close(last, separation(values[2:, :200], member[2:, :200], 0))


def test_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    target, actions, groups = reference(scenarios=20)
    preds = target + torch.randn_like(target)
    whole = table(preds, target, actions, groups, draws=500)
    monkeypatch.setattr("wmscore.functional.recovery._separation.piece_elements", lambda _: 0)
    monkeypatch.setattr("wmscore.stats.sign_flip._PIECE", 1000)
    pieces = table(preds, target, actions, groups, draws=500)
    for name in ("target_p", "preds_p", "preds_separation"):
        assert_close(getattr(pieces, name), getattr(whole, name), rtol=0, atol=0, equal_nan=True)


def test_order_of_rows_units_and_steps_do_not_matter() -> None:
    target, actions, groups = reference()
    preds = 0.8 * target + torch.randn_like(target)
    found = table(preds, target, actions, groups)
    order = torch.randperm(20)
    unit = torch.tensor([1e-3, 50.0, -2.0], dtype=torch.float64)
    other = table(
        (preds * unit)[order].flip(1),
        (target * unit)[order].flip(1),
        actions[order].flip(1),
        groups[order],
    )
    for name in ("target_p", "cosine", "gain", "preds_size", "preds_separation", "confusion"):
        assert_close(getattr(other, name), getattr(found, name), equal_nan=True)


def test_noise_of_the_measurement_has_a_smallest_scale() -> None:
    target, actions, groups = reference()
    target[..., 2] *= 1e-7  # nothing but noise of the measurement
    preds = target.clone()
    preds[..., 2] += 1e-4 * (actions == LEFT)
    assert table(preds, target, actions, groups).cosine[LEFT] < 0.1
    for least in (0.01, torch.full((3,), 0.01)):
        assert table(preds, target, actions, groups, min_scale=least).cosine[LEFT] > 0.99


def test_records() -> None:
    target, actions, groups = reference()
    names = ["noop", "left", "right", "up", "dud", "rare"]
    mirrored = target * torch.tensor([1.0, -1.0, 1.0])
    records = table(mirrored, target, actions, groups).records(names)
    assert [record["action"] for record in records] == names
    assert records[LEFT]["confused_with"] == "right"
    assert records[DUD]["confused_with"] is None
    assert records[RARE]["reason"] == "TOO_FEW_ACTIONS"
    with pytest.raises(ValueError, match="names must be 6 action names, got 5"):
        table(target, target, actions, groups).records(names[1:])


def test_nothing_to_compare() -> None:
    target, actions, groups = reference()
    none = table(target, target, actions, groups, valid=torch.tensor(False))
    assert (none.reason == Reason.TOO_FEW_ACTIONS).all()
    assert none.target_effect.isnan().all()
    assert (none.confused_with == -1).all()
    empty = table(target[:0], target[:0], actions[:0], groups[:0])
    assert (empty.reason == Reason.TOO_FEW_ACTIONS).all()
    few = groups < 5
    found = table(target[few], target[few], actions[few], groups[few])
    assert (found.reason[:5] == Reason.TOO_FEW_SAMPLES).all()
    assert found.target_p.isnan().all()
    assert found.target_size[LEFT] > 5


def test_bad_input() -> None:
    target, actions, groups = reference()
    with pytest.raises(ValueError, match="preds and target must have one shape"):
        table(target[:, 1:], target, actions, groups)
    with pytest.raises(ValueError, match=r"preds must have shape \[B, T, D\]"):
        table(target[0], target[0], actions[0], groups)
    with pytest.raises(ValueError, match=r"actions must lie in -1\.\.5, got 0\.\.6"):
        table(target, target, actions.where(actions < 4, 6), groups)
    with pytest.raises(ValueError, match=r"noop must lie in 0\.\.5, got 6"):
        effect_table(target, target, actions, 6, groups, num_actions=6)
    with pytest.raises(TypeError, match="noop must be an int"):
        effect_table(target, target, actions, None, groups, num_actions=6)
    with pytest.raises(ValueError, match="significance must be a number above 0"):
        table(target, target, actions, groups, significance=0.0)
    with pytest.raises(ValueError, match=r"min_scale must have shape \[D\] = \(3,\)"):
        table(target, target, actions, groups, min_scale=torch.ones(2))
    with pytest.raises(ValueError, match="draws must be at least 1"):
        table(target, target, actions, groups, draws=0)
    with pytest.raises(ValueError, match=r"groups must have shape \[B\]"):
        table(target, target, actions, groups[1:])
    assert repr(table(target, target, actions, groups)) == (
        "ActionEffects(num_actions=6, features=3)"
    )
