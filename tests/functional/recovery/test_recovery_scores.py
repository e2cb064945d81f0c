"""Action recovery: scikit-learn, what fools other scores, curves, chance, continuous, networks."""

from __future__ import annotations

import math
import warnings
from dataclasses import fields

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    precision_score,
    r2_score,
    recall_score,
)
from torch import Tensor
from torch.testing import assert_close

from wmscore.functional import (
    InverseDynamics,
    Reason,
    RecoveryScores,
    action_recovery,
    recognise_actions,
    recognise_vectors,
    recovered_share,
    recovery_from_confusion,
    vector_recovery,
)

NAN = math.nan


def answers(
    *shape: int, actions: int = 5, skill: float = 0.5, idle: float = 0.6
) -> tuple[Tensor, Tensor]:
    """Recognised and commanded actions; the last action is never commanded."""
    commanded = torch.randint(actions - 1, shape).where(torch.rand(shape) > idle, 0)
    guess = torch.randint(-1, actions, shape)
    return commanded.where(torch.rand(shape) < skill, guess), commanded


def by_sklearn(recognised: np.ndarray, commanded: np.ndarray, actions: int) -> dict[str, object]:
    truth, answer = commanded.ravel(), recognised.ravel()
    present = np.unique(truth)
    labels = np.arange(actions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "y_pred contains classes not in y_true"
        absent = np.isin(labels, present, invert=True)
        per_action = {"labels": labels, "average": None, "zero_division": np.nan}
        f1 = f1_score(truth, answer, labels=labels, average=None, zero_division=0.0)
        recall = recall_score(truth, answer, **per_action)
        precision = precision_score(truth, answer, **per_action)
        return {
            "confusion": confusion_matrix(truth, answer, labels=labels),
            "unrecognised": np.array([((answer < 0) & (truth == a)).sum() for a in labels]),
            "recall": np.where(absent, NAN, recall),
            "precision": np.where(absent, NAN, precision),
            "f1": np.where(absent, NAN, f1),
            "score": balanced_accuracy_score(truth, answer, adjusted=True),
            "balanced_accuracy": balanced_accuracy_score(truth, answer),
            "kappa": cohen_kappa_score(truth, answer),
            "macro_f1": f1_score(truth, answer, labels=present, average="macro"),
            "accuracy": accuracy_score(truth, answer),
            "majority_accuracy": np.bincount(truth).max() / len(truth),
        }


def check(found: RecoveryScores, at: tuple[int, ...], expected: dict[str, object]) -> None:
    for name, value in expected.items():
        got = getattr(found, name)[at].numpy()
        np.testing.assert_allclose(got, value, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("skill", "idle"), [(0.0, 0.6), (0.5, 0.6), (0.9, 0.0), (0.3, 0.95)])
def test_scores_are_those_of_scikit_learn(skill: float, idle: float) -> None:
    recognised, commanded = answers(200, 20, skill=skill, idle=idle)
    found = action_recovery(recognised, commanded, 5)
    check(found, (), by_sklearn(recognised.numpy(), commanded.numpy(), 5))
    assert found.never_commanded.tolist() == [False] * 4 + [True]
    assert found.action_reason[4] == Reason.TOO_FEW_ACTIONS
    for step in (0, 7, 19):
        one = by_sklearn(recognised[:, step].numpy(), commanded[:, step].numpy(), 5)
        check(found.per_step, (step,), one)


def test_rows_and_leading_dims() -> None:
    recognised, commanded = answers(2, 3, 6, 30, idle=0.0)
    valid = torch.rand(3, 6, 30) < 0.8
    found = action_recovery(recognised, commanded, 5, valid=valid)
    assert found.score.shape == (2, 3)
    assert found.per_row.score.shape == (2, 3, 6)
    assert found.per_step.confusion.shape == (2, 3, 30, 5, 5)
    for at in ((0, 0), (1, 2)):
        mask = valid[at[1]]
        one = recognised[at][mask].numpy(), commanded[at][mask].numpy()
        check(found, at, by_sklearn(*one, 5))
        row = recognised[at][3][mask[3]].numpy(), commanded[at][3][mask[3]].numpy()
        check(found.per_row, (*at, 3), by_sklearn(*row, 5))
        assert found.per_step.confusion[at].sum() == (mask & (recognised[at] >= 0)).sum()
        step = commanded[at][:, 9][mask[:, 9]]
        assert_close(
            found.per_step.confusion[*at, 9].sum(-1) + found.per_step.unrecognised[*at, 9],
            step.bincount(minlength=5),
        )


def test_gameworlds_micro_precision_rewards_a_recogniser_that_always_answers_noop() -> None:
    """Bench76's label files are .760 idle: so is micro precision of "nothing pressed", .760."""
    commanded = torch.zeros(1, 1000, dtype=torch.int64)
    commanded[0, 760:880], commanded[0, 880:] = 1, 2
    found = action_recovery(torch.zeros_like(commanded), commanded, 3)
    micro = precision_score(commanded[0], torch.zeros(1000), average="micro")
    assert found.accuracy == micro == 0.76
    assert found.majority_accuracy == 0.76
    assert found.score == 0
    assert found.kappa == 0
    assert found.chance_z == 0
    assert found.macro_f1 > 0.25  # macro F1 is not corrected for chance either


@pytest.mark.parametrize("actions", [2, 3, 5, 7, 18])
def test_constant_answers_score_exactly_zero(actions: int) -> None:
    commanded = torch.cat([torch.arange(actions), torch.randint(actions, (97,))])[None]
    for answer in range(actions):
        found = action_recovery(torch.full_like(commanded, answer), commanded, actions)
        assert found.score == 0
        assert found.kappa == 0
        assert found.chance_z == 0
    perfect = action_recovery(commanded, commanded, actions)
    assert perfect.score == perfect.kappa == perfect.accuracy == perfect.macro_f1 == 1


def test_idle_steps_do_not_change_the_score() -> None:
    recognised = torch.tensor([[0, 0, 1, 2, 1, 1]])
    commanded = torch.tensor([[0, 0, 1, 2, 2, 1]])
    few = action_recovery(recognised, commanded, 3)
    many = action_recovery(
        torch.nn.functional.pad(recognised, (0, 1000)),
        torch.nn.functional.pad(commanded, (0, 1000)),
        3,
    )
    assert few.score == many.score == 0.75
    assert many.accuracy > 0.99 > few.accuracy


def test_an_unanswered_step_is_a_miss_and_an_invalid_one_is_none() -> None:
    commanded = torch.tensor([[0, 1, 0, 1]])
    recognised = torch.tensor([[0, -1, 0, 1]])
    found = action_recovery(recognised, commanded, 2)
    assert found.recall.tolist() == [1, 0.5]
    assert found.unrecognised.tolist() == [0, 1]
    assert found.accuracy == 0.75
    masked = action_recovery(recognised, commanded, 2, valid=recognised >= 0)
    assert masked.score == 1
    assert action_recovery(recognised, torch.tensor([[0, -1, 0, 1]]), 2).score == 1


def test_fewer_than_two_actions_are_undefined() -> None:
    commanded = torch.zeros(2, 3, dtype=torch.int64)
    found = action_recovery(commanded, commanded, 3)
    assert found.score.isnan()
    assert found.kappa.isnan()
    assert found.reason == Reason.TOO_FEW_ACTIONS
    assert found.accuracy == 1
    nothing = action_recovery(commanded, commanded, 3, valid=torch.tensor(False))
    for field in fields(RecoveryScores):
        value = getattr(nothing, field.name)
        if value.is_floating_point():
            assert value.isnan().all(), field.name
    empty = action_recovery(commanded[:0], commanded[:0], 3)
    assert empty.reason == Reason.TOO_FEW_ACTIONS


def test_counts_add_up_over_batches() -> None:
    recognised, commanded = answers(12, 8)
    whole = action_recovery(recognised, commanded, 5)
    parts = [action_recovery(recognised[i::3], commanded[i::3], 5) for i in range(3)]
    merged = recovery_from_confusion(
        sum(part.per_step.confusion for part in parts),
        unrecognised=sum(part.per_step.unrecognised for part in parts),
    )
    for name in ("score", "kappa", "macro_f1", "chance_z"):
        assert torch.equal(
            getattr(merged, name).nan_to_num(9), getattr(whole.per_step, name).nan_to_num(9)
        )


def test_chance_is_that_of_permuted_commands() -> None:
    """Mean and standard deviation of the score under permutations, against 20,000 of them."""
    recognised, commanded = answers(1, 60, skill=0.3)
    found = action_recovery(recognised, commanded, 5)
    shuffled = torch.stack([commanded[:, torch.randperm(60)] for _ in range(6_000)])
    scores = action_recovery(recognised.expand(6_000, 1, 60), shuffled, 5)
    z = (found.score - scores.score.mean()) / scores.score.std()
    assert found.chance_z.item() == pytest.approx(z.item(), rel=0.04, abs=0.06)
    assert scores.chance_z.mean().item() == pytest.approx(0, abs=0.05)
    assert scores.chance_z.std().item() == pytest.approx(1, abs=0.04)


def test_share_of_the_ceiling() -> None:
    commanded = torch.arange(3).repeat(4, 30)
    good, half = commanded.clone(), commanded.clone()
    half[:, ::2] = torch.randint(3, (4, 45))
    ceiling = action_recovery(half, commanded, 3)
    found = action_recovery(good, commanded, 3)
    share = recovered_share(found, ceiling)
    assert share.value.item() == pytest.approx(1 / ceiling.score.item())
    assert share.reason == Reason.DEFINED
    frozen = action_recovery(torch.zeros_like(commanded), commanded, 3)
    assert recovered_share(frozen, ceiling).value == 0
    none = recovered_share(found, frozen)
    assert none.value.isnan()
    assert none.reason == Reason.NO_EFFECT
    lucky = action_recovery(torch.randint(3, (4, 90)), commanded, 3)
    assert recovered_share(found, lucky).reason == Reason.NO_EFFECT
    rows = recovered_share(found.per_row, ceiling)
    assert rows.value.shape == (4,)
    few = action_recovery(good[:, :1], commanded[:, :1], 3)
    assert recovered_share(few, ceiling).reason == Reason.TOO_FEW_ACTIONS
    with pytest.raises(ValueError, match="min_z"):
        recovered_share(found, ceiling, min_z=-1.0)


def test_vectors_are_those_of_scikit_learn() -> None:
    commanded = torch.randn(2, 6, 9, 3, dtype=torch.float64)
    recognised = 0.5 * commanded + torch.randn_like(commanded) + 1
    valid = torch.rand(2, 6, 9) < 0.7
    recognised[0, 0, 0, 1] = NAN
    found = vector_recovery(recognised, commanded, valid=valid)
    valid[0, 0, 0] = False
    assert found.steps[:, 0].tolist() == valid.sum((1, 2)).tolist()
    for part in range(2):
        answer, truth = (x[part][valid[part]].numpy() for x in (recognised, commanded))
        expected = r2_score(truth, answer, multioutput="raw_values")
        np.testing.assert_allclose(found.r2[part], expected)
        for dim in range(3):
            line = np.polyfit(truth[:, dim], answer[:, dim], 1)
            assert found.slope[part, dim].item() == pytest.approx(line[0])
            correlation = np.corrcoef(truth[:, dim], answer[:, dim])[0, 1]
            assert found.correlation[part, dim].item() == pytest.approx(correlation)


def test_vectors_without_variation() -> None:
    commanded = torch.stack([torch.arange(6.0), torch.full((6,), 2.0)], -1)[None]
    found = vector_recovery(torch.full_like(commanded, 2.5), commanded)
    assert found.r2[0] == 0  # the mean of the commanded values
    assert found.slope[0] == 0
    assert found.correlation.isnan().all()
    assert found.r2[1].isnan()
    assert found.reason.tolist() == [Reason.NO_GENERATED_RESPONSE, Reason.TOO_FEW_ACTIONS]
    other = vector_recovery(torch.full_like(commanded, 9.0), commanded)
    assert other.r2[0] < 0


class Network:
    """Answers what it was made with."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.name = "made-up"

    def recognise(self, frames: Tensor) -> object:
        assert not torch.is_grad_enabled()
        return self.answer


FRAMES = torch.zeros(2, 4, 3, 8, 8, dtype=torch.uint8)


def test_networks_may_answer_actions_scores_or_values() -> None:
    assert isinstance(Network(0), InverseDynamics)
    actions = torch.tensor([[0, 1, 2], [-1, 2, 0]])
    assert torch.equal(recognise_actions(Network(actions), FRAMES, 3), actions)
    scores = torch.nn.functional.one_hot(actions.clamp(min=0), 3).float()
    scores[1, 0, 2] = NAN
    assert torch.equal(recognise_actions(Network(scores), FRAMES, 3), actions)
    values = torch.rand(2, 3, 7)
    assert torch.equal(recognise_vectors(Network(values), FRAMES, 7), values.double())


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (torch.zeros(2, 4).long(), ValueError, r"actions \[B, T\] = \(2, 3\)"),  # one per frame
        (torch.zeros(2, 3, 5), ValueError, r"scores \[B, T, A\] = \(2, 3, 3\)"),
        (torch.full((2, 3), 3), ValueError, r"in 0\.\.2, or -1 for none, got 3\.\.3"),
        (torch.zeros(2, 3).int(), TypeError, "int64.* or scores"),
        ([[0, 1, 2]], TypeError, r"made-up\.recognise must return a torch\.Tensor, got list"),
    ],
)
def test_bad_answers_of_networks(answer: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        recognise_actions(Network(answer), FRAMES, 3)


def test_bad_networks_and_values() -> None:
    with pytest.raises(TypeError, match=r"name and recognise\(frames\).*got int"):
        recognise_actions(3, FRAMES, 3)
    with pytest.raises(ValueError, match=r"frames must have shape \[B, T \+ 1, C, H, W\]"):
        recognise_actions(Network(0), FRAMES[0], 3)
    with pytest.raises(ValueError, match=r"values \[B, T, A\] = \(2, 3, 7\)"):
        recognise_vectors(Network(torch.zeros(2, 3, 6)), FRAMES, 7)
    with pytest.raises(TypeError, match=r"values .floating point., got torch\.int64"):
        recognise_vectors(Network(torch.zeros(2, 3, 7).long()), FRAMES, 7)


def test_bad_input() -> None:
    recognised, commanded = answers(3, 4)
    with pytest.raises(ValueError, match=r"commanded must lie in -1\.\.2"):
        action_recovery(recognised, commanded.where(commanded < 2, 3), 3)
    with pytest.raises(ValueError, match="recognised must lie in"):
        action_recovery(recognised + 5, commanded, 5)
    with pytest.raises(ValueError, match=r"recognised must have shape \(3, 4\)"):
        action_recovery(recognised[:2], commanded, 5)
    with pytest.raises(TypeError, match="recognised must be int64"):
        action_recovery(recognised.float(), commanded, 5)
    with pytest.raises(ValueError, match=r"commanded must have shape \[\.\.\., B, T\]"):
        action_recovery(recognised[0], commanded[0], 5)
    with pytest.raises(ValueError, match="num_actions must be at least 1"):
        action_recovery(recognised, commanded, 0)
    with pytest.raises(ValueError, match=r"confusion must have shape \[\.\.\., A, A\]"):
        recovery_from_confusion(torch.zeros(2, 3).long())
    with pytest.raises(TypeError, match="confusion must be int64 counts"):
        recovery_from_confusion(torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"unrecognised must have shape \[\.\.\., A\] = \(2,\)"):
        recovery_from_confusion(torch.zeros(2, 2).long(), unrecognised=torch.zeros(3).long())
    with pytest.raises(ValueError, match="one shape"):
        vector_recovery(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4))
    assert repr(action_recovery(recognised, commanded, 5)) == (
        "ActionRecovery(shape=[], num_actions=5)"
    )
