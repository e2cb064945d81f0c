"""The action probe: scikit-learn, folds, streams, masking, gaps, invariances, bad input."""

from __future__ import annotations

import doctest
import importlib
import math

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import balanced_accuracy_score, r2_score
from torch import Tensor
from torch.testing import assert_close

from wmscore.functional import (
    ProbeStatistics,
    action_recovery,
    fit_probe,
    vector_recovery,
    with_context,
)
from wmscore.testing import Faulty, IgnoredActions, sprite_items
from wmscore.worlds import SpriteWorld

MODULES = ("statistics", "probe", "scores", "discrete", "continuous", "effects")


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"wmscore.functional.recovery.{module}"))
    assert found.failed == 0
    assert found.attempted > 0


def scenes(
    scenarios: int = 10, steps: int = 24, actions: int = 4, width: int = 6, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Features `[B, T, D]` that show their action, actions, and a scenario for every two rows."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.tensor([6.0] + [1.0] * (actions - 1))  # idle-heavy
    chosen = torch.multinomial(weights, 2 * scenarios * steps, True, generator=generator)
    chosen = chosen.view(2 * scenarios, steps)
    means = torch.randn(actions, width, generator=generator, dtype=torch.float64)
    means[0] = 0
    noise = torch.randn(2 * scenarios, steps, width, generator=generator, dtype=torch.float64)
    noise = noise * torch.tensor([0.5, 1.0, 2.0, 30.0, 0.1, 1.0])[:width]
    groups = torch.arange(scenarios).repeat_interleave(2)
    return means[chosen] + noise * (0.3 + chosen[..., None]) / 2, chosen, groups


class Penalised(BaseEstimator):
    """Covariance of a class plus a fixed ridge, for scikit-learn."""

    def __init__(self, ridge: np.ndarray) -> None:
        self.ridge = ridge

    def fit(self, values: np.ndarray) -> Penalised:
        self.covariance_ = np.cov(values.T, bias=True) + np.diag(self.ridge)
        return self


def balanced_variance(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Variance of each feature with all classes weighing the same."""
    weight = np.array([1 / (labels == label).sum() for label in labels])
    weight /= weight.sum()
    mean = weight @ values
    return weight @ (values - mean) ** 2


@pytest.mark.parametrize("strength", [1e-9, 0.03, 2.0])
def test_discriminants_are_those_of_scikit_learn(strength: float) -> None:
    features, actions, groups = scenes()
    probe = fit_probe(features, actions, groups, 4, folds=5, strengths=(strength,))
    x, y = features.flatten(0, 1).numpy(), actions.flatten().numpy()
    fold = (groups % 5).repeat_interleave(24).numpy()
    for held, train in [(None, fold >= 0), (0, fold != 0), (3, fold != 3)]:
        ridge = strength * balanced_variance(x[train], y[train])
        oracle = LinearDiscriminantAnalysis(
            solver="lsqr", covariance_estimator=Penalised(ridge), priors=np.full(4, 0.25)
        ).fit(x[train], y[train])
        expected = oracle.decision_function(x)
        which = None if held is None else torch.full((20,), held)
        found = probe.outputs(features, which).flatten(0, 1).numpy()
        # Discriminants are defined up to what is common to all actions.
        np.testing.assert_allclose(
            found - found.mean(1, keepdims=True),
            expected - expected.mean(1, keepdims=True),
            rtol=1e-8,
            atol=1e-8,
        )
        judged = probe.predict(features, which).flatten().numpy()
        np.testing.assert_array_equal(judged, oracle.predict(x))


@pytest.mark.parametrize("strength", [0.01, 3.0])
def test_values_are_those_of_scikit_learns_ridge(strength: float) -> None:
    features, _, groups = scenes()
    mixing = torch.randn(6, 2, dtype=torch.float64)
    actions = features @ mixing + 5 * torch.randn(20, 24, 2, dtype=torch.float64) + 3
    probe = fit_probe(features, actions, groups, folds=3, strengths=(strength,))
    fold = groups % 3
    found = probe.predict(features, groups)
    for held in range(3):
        x = features[fold != held].flatten(0, 1).numpy()
        y = actions[fold != held].flatten(0, 1).numpy()
        mean, scale = x.mean(0), x.std(0)
        oracle = Ridge(alpha=strength * len(x)).fit((x - mean) / scale, y)
        rows = features[fold == held]
        expected = oracle.predict((rows.flatten(0, 1).numpy() - mean) / scale)
        assert_close(found[fold == held].flatten(0, 1), torch.from_numpy(expected))
    scored = vector_recovery(found, actions)
    truth, answer = (x.flatten(0, 1).numpy() for x in (actions, found))
    assert_close(scored.r2.numpy(), r2_score(truth, answer, multioutput="raw_values"))


def one_hot(labels: np.ndarray, actions: int) -> np.ndarray:
    return np.eye(actions)[labels]


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("noise", [0.5, 20.0])
def test_strength_is_chosen_on_folds_that_were_not_fitted(continuous: bool, noise: float) -> None:
    strengths = (1e-3, 1e-1, 1.0, 10.0, 100.0)
    features, ids, groups = scenes(scenarios=8, steps=10)
    extra = torch.randn(16, 10, 30, dtype=torch.float64)  # nothing in them: ridge pays
    features = torch.cat([features + noise * torch.randn_like(features), extra], -1)
    values = torch.stack([features[..., 0] + ids, 100.0 * ids], -1)
    actions = values if continuous else ids
    probe = fit_probe(
        features, actions, groups, None if continuous else 4, folds=4, strengths=strengths
    )
    x, fold = features.flatten(0, 1).numpy(), (groups % 4).repeat_interleave(10).numpy()
    labels = ids.flatten().numpy()
    y = values.flatten(0, 1).numpy() if continuous else one_hot(labels, 4)

    def weights(rows: np.ndarray) -> np.ndarray:
        if continuous:
            return np.ones(rows.sum())
        share = np.bincount(labels[rows], minlength=4) * (labels[rows].max() + 1)
        return rows.sum() / share[labels[rows]]

    for outer in (0, 2, 4):
        errors = np.zeros(len(strengths))
        for inner in set(range(4)) - {outer}:
            train, test = (fold != outer) & (fold != inner), fold == inner
            weight = weights(train)
            mean = np.average(x[train], 0, weight)
            scale = np.sqrt(np.average((x[train] - mean) ** 2, 0, weight))
            whole = fold != outer
            middle = np.average(y[whole], 0, weights(whole))
            unit = np.average((y[whole] - middle) ** 2, 0, weights(whole))
            for level, strength in enumerate(strengths):
                oracle = Ridge(alpha=strength * train.sum())
                oracle.fit((x[train] - mean) / scale, y[train], sample_weight=weight)
                missed = (oracle.predict((x[test] - mean) / scale) - y[test]) ** 2 / unit
                errors[level] += np.average(missed.sum(1), 0, weights(test))
        assert probe.strength[outer].item() == strengths[errors.argmin()]


def test_an_action_between_others_is_not_masked() -> None:
    """One-hot ridge never answers "idle" between "left" and "right"; the probe does."""
    generator = torch.Generator().manual_seed(0)
    actions = torch.randint(3, (12, 30), generator=generator)  # left, idle, right
    shift = (actions - 1.0)[..., None] + 0.1 * torch.randn(12, 30, 1, generator=generator)
    probe = fit_probe(shift, actions, torch.arange(12), 3)
    assert action_recovery(probe.predict(shift, torch.arange(12)), actions, 3).score == 1
    masked = RidgeClassifier(class_weight="balanced").fit(
        shift.flatten(0, 1).numpy(), actions.flatten().numpy()
    )
    answers = masked.predict(shift.flatten(0, 1).numpy())
    assert (answers == 1).mean() < 0.1
    assert balanced_accuracy_score(actions.flatten(), answers, adjusted=True) < 0.6


def test_idle_steps_do_not_outweigh_the_rest() -> None:
    features, actions, groups = scenes(scenarios=20)
    more = actions.clone()
    probe = fit_probe(features, actions, groups, 4)
    idle = torch.cat([features, features.where((more == 0)[..., None], torch.nan)])
    again = fit_probe(idle, torch.cat([actions, actions]), torch.cat([groups, groups]), 4)
    assert_close(again.weight, probe.weight)
    assert_close(again.bias, probe.bias)


@pytest.mark.parametrize("continuous", [False, True])
def test_streams_and_ranks_agree_with_one_call(continuous: bool) -> None:
    features, actions, groups = scenes()
    features = 1e4 + features  # far from 0: sums of squares would lose half of their digits
    valid = torch.rand(20, 24) < 0.8
    given = features[..., :3].clone() if continuous else actions
    kind = {"dimensions": 3} if continuous else {"num_actions": 4}
    whole = fit_probe(features, given, groups, None if continuous else 4, valid=valid)
    for batch in (1, 3, 20):
        ranks = [ProbeStatistics(6, **kind), ProbeStatistics(6, **kind)]
        for number, rows in enumerate(torch.randperm(20).split(batch)):
            ranks[number % 2].update(features[rows], given[rows], groups[rows], valid=valid[rows])
        ranks[0].merge(ranks[1])
        probe = ranks[0].fit()
        assert torch.equal(probe.strength, whole.strength)
        largest = whole.weight.abs().max().item()
        assert_close(probe.weight, whole.weight, rtol=0, atol=1e-9 * largest)
        found, expected = probe.outputs(features, groups), whole.outputs(features, groups)
        assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_large_batches_are_worked_on_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    features, actions, groups = scenes()
    whole = fit_probe(features, actions, groups, 4)
    monkeypatch.setattr("wmscore.functional.recovery.statistics._PIECE", 2000)
    pieces = fit_probe(features, actions, groups, 4)
    assert_close(pieces.weight, whole.weight)


def test_a_scenario_does_not_judge_itself() -> None:
    features, actions, groups = scenes()
    probe = fit_probe(features, actions, groups, 4)
    own = (groups % 5 == 2)[:, None, None]
    other = fit_probe(features.where(~own, 7 * features.flip(0)), actions, groups, 4)
    judged = groups % 5 == 2
    assert_close(
        other.outputs(features[judged], groups[judged]),
        probe.outputs(features[judged], groups[judged]),
        rtol=1e-9,
        atol=1e-9,
    )
    assert torch.equal(other.strength[2], probe.strength[2])
    assert (other.outputs(features) - probe.outputs(features)).abs().max() > 0.1


def test_noise_is_at_chance_out_of_fold_and_not_within() -> None:
    """Thirty features of pure noise: the fitted rows look recognised, held-out ones do not."""
    actions = torch.randint(3, (40, 10))
    features = torch.randn(40, 10, 30)
    groups = torch.arange(40)
    probe = fit_probe(features, actions, groups, 3, strengths=(1e-3,))
    held_out = action_recovery(probe.predict(features, groups), actions, 3)
    within = action_recovery(probe.predict(features), actions, 3)
    assert abs(held_out.score) < 0.15
    assert held_out.chance_z < 2
    assert within.score > held_out.score + 0.15
    assert within.chance_z > 4


def test_units_and_offsets_do_not_matter() -> None:
    features, actions, groups = scenes()
    probe = fit_probe(features, actions, groups, 4)
    unit = torch.tensor([1e-6, 1e5, 3.0, -1.0, 0.5, 1e3], dtype=torch.float64)
    offset = torch.tensor([0.0, 1e6, -5.0, 1.0, 1e3, 0.0], dtype=torch.float64)
    moved = features * unit + offset
    other = fit_probe(moved, actions, groups, 4)
    assert_close(
        other.outputs(moved, groups), probe.outputs(features, groups), rtol=1e-5, atol=1e-5
    )


def test_constant_features_are_ignored() -> None:
    features, actions, groups = scenes()
    constant = torch.full((20, 24, 2), 0.1, dtype=torch.float64)
    constant[..., 1] = 0
    probe = fit_probe(features, actions, groups, 4)
    more = fit_probe(torch.cat([features, constant], -1), actions, groups, 4)
    assert (more.weight[:, -2:] == 0).all()
    generated = torch.cat([features, 100 * torch.rand(20, 24, 2, dtype=torch.float64)], -1)
    assert_close(more.outputs(generated, groups), probe.outputs(features, groups))
    frozen = fit_probe(constant, actions, groups, 4)
    recognised = frozen.predict(constant, groups)
    assert action_recovery(recognised, actions, 4).score == 0


def test_steps_that_are_not_finite_are_left_out() -> None:
    features, actions, groups = scenes()
    broken = torch.rand(20, 24) < 0.2
    dirty = features.clone()
    dirty[broken] = torch.inf
    dirty[broken & (torch.rand(20, 24) < 0.5), 0] = torch.nan
    probe = fit_probe(dirty, actions, groups, 4)
    masked = fit_probe(features, actions, groups, 4, valid=~broken)
    assert torch.equal(probe.weight, masked.weight)
    found = probe.predict(dirty, groups)
    assert (found[broken] == -1).all()
    assert torch.equal(found[~broken], masked.predict(features, groups)[~broken])
    assert probe.outputs(dirty)[broken].isnan().all()


def test_an_action_that_a_fold_never_saw_is_never_its_answer() -> None:
    features, actions, groups = scenes()
    actions = actions.where((actions != 3) | (groups % 5 == 1)[:, None], 0)
    probe = fit_probe(features, actions, groups, 5)
    assert probe.bias[1].tolist()[3:] == [-math.inf, -math.inf]
    assert probe.bias[0].tolist()[4:] == [-math.inf]
    answers = probe.predict(features, groups)
    assert not (answers[groups % 5 == 1] == 3).any()
    assert not (answers == 4).any()
    assert (answers[groups % 5 != 1] == 3).any()


def test_one_scenario_cannot_be_held_out() -> None:
    features, actions, _ = scenes()
    groups = torch.full((20,), 7)
    probe = fit_probe(features, actions, groups, 4)
    assert not probe.can_judge(groups, 20).any()
    assert probe.can_judge(None, 20).all()
    assert (probe.predict(features, groups) == -1).all()
    assert (probe.predict(features) >= 0).all()
    two = fit_probe(features, actions, groups + torch.arange(20) % 2, 4)
    assert two.can_judge(groups + torch.arange(20) % 2, 20).all()
    assert two.strength[[2, 3]].tolist() == [1.0, 1.0]  # one fold is left: nothing to choose by


def test_nothing_to_fit() -> None:
    statistics = ProbeStatistics(2, num_actions=3)
    probe = statistics.fit()
    assert not probe.fitted.any()
    assert (probe.predict(torch.rand(1, 4, 2)) == -1).all()
    statistics.update(torch.empty(0, 4, 2), torch.empty(0, 4).long(), torch.empty(0).long())
    assert statistics.moments.count.sum() == 0


def test_context() -> None:
    features = torch.arange(1.0, 5.0).view(1, 4, 1).expand(2, 4, 1)
    valid = torch.tensor([[True] * 4, [True, True, False, True]])
    found = with_context(features, 1, valid=valid)
    assert found[0].tolist() == [[1, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 4]]
    assert found[1].tolist() == [[1, 1, 2], [1, 2, 2], [2, 3, 4], [4, 4, 4]]
    assert with_context(features, 2)[0, 1].tolist() == [2, 1, 2, 3, 4]  # nothing before the first
    assert torch.equal(with_context(features, 0), features)
    assert with_context(features, 9).shape == (2, 4, 19)


def test_context_shows_what_inertia_hides() -> None:
    """A move that answers the action one step late is not recognised but with its neighbours."""
    actions = torch.randint(3, (24, 32))
    late = torch.nn.functional.pad(actions, (1, 0))[:, :-1]
    features = torch.nn.functional.one_hot(late, 3) + 0.1 * torch.randn(24, 32, 3)
    groups = torch.arange(24)
    for shown, score in ((features, 0.0), (with_context(features, 1), 0.95)):
        probe = fit_probe(shown, actions, groups, 3)
        found = action_recovery(probe.predict(shown, groups), actions, 3)
        assert found.score.item() == pytest.approx(score, abs=0.1)


def match_errors(frames: Tensor, pan: int) -> Tensor:
    """Mean square error of each move against a shift by the pan of each action, `[B, T, 5]`."""
    x = frames.double() / 255
    errors = []
    for dy, dx in ((0, 0), (0, pan), (0, -pan), (pan, 0), (-pan, 0)):
        moved = torch.roll(x[:, :-1], (dy, dx), (-2, -1))
        inner = (x[:, 1:] - moved)[..., pan:-pan, pan:-pan]
        errors.append(inner.square().mean((-3, -2, -1)))
    return torch.stack(errors, -1)


def test_sprites_are_recognised_and_ignored_actions_are_not() -> None:
    world, items = SpriteWorld(48, 48), sprite_items(5, 16, branches=3, world=SpriteWorld(48, 48))
    truth = world.rollout(items, 16)
    ignored = Faulty(world, IgnoredActions(step=1)).rollout(items, 16)
    groups, actions = truth.scenario, truth.actions
    features = match_errors(truth.frames, world.pan)
    probe = fit_probe(features, actions, groups, 5)
    ceiling = action_recovery(probe.predict(features, groups), actions, 5)
    assert ceiling.score > 0.9
    generated = match_errors(ignored.frames, world.pan)
    found = action_recovery(probe.predict(generated, groups), actions, 5)
    assert abs(found.score) < 0.05
    assert found.accuracy > 0.4  # a third of the rows is idle throughout


def test_bad_input() -> None:
    features, actions, groups = scenes()
    with pytest.raises(ValueError, match=r"features must have shape \[B, T, D\]"):
        fit_probe(features[0], actions, groups, 4)
    with pytest.raises(ValueError, match=r"actions must lie in 0\.\.2, got 0\.\.3"):
        fit_probe(features, actions, groups, 3)
    with pytest.raises(TypeError, match=r"actions must be int64, got torch\.float64"):
        fit_probe(features, actions.double(), groups, 4)
    with pytest.raises(
        TypeError, match=r"continuous ones must be floating point, got torch\.int64"
    ):
        fit_probe(features, actions, groups)
    with pytest.raises(ValueError, match=r"actions must have shape \(20, 24\)"):
        fit_probe(features, actions[:, :-1], groups, 4)
    with pytest.raises(ValueError, match=r"groups must have shape \[B\] = \(20,\)"):
        fit_probe(features, actions, groups[:-1], 4)
    with pytest.raises(TypeError, match="groups must be int64"):
        fit_probe(features, actions, groups.int(), 4)
    with pytest.raises(ValueError, match="folds must be at least 2, got 1"):
        fit_probe(features, actions, groups, 4, folds=1)
    with pytest.raises(ValueError, match="num_actions must be at least 2, got 1"):
        fit_probe(features, actions, groups, 1)
    with pytest.raises(ValueError, match="strengths must be numbers above 0"):
        fit_probe(features, actions, groups, 4, strengths=(0.0, 1.0))
    with pytest.raises(ValueError, match="expected either num_actions"):
        ProbeStatistics(3)
    with pytest.raises(TypeError, match="valid must be bool"):
        fit_probe(features, actions, groups, 4, valid=actions)
    probe = fit_probe(features, actions, groups, 4)
    with pytest.raises(ValueError, match="features must have D = 6, as the probe was fitted on"):
        probe.predict(features[..., :5])
    with pytest.raises(ValueError, match="statistics to merge must have the same features"):
        ProbeStatistics(3, num_actions=4).merge(ProbeStatistics(4, num_actions=4))
    assert repr(probe) == "ActionProbe(features=6, num_actions=4, folds=5)"
