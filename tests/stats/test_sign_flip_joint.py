"""The joint sign-flip test against its definition, and how often it errs."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from wmscore.stats import holm, joint_sign_flip_test, sign_flip_test


def by_definition(values: Tensor) -> list[float]:
    """Step-down maxT, pattern by pattern."""
    lines = values.T.tolist()
    sizes = [math.sqrt(sum(v * v for v in line)) or 1.0 for line in lines]

    def statistics(signs: tuple[int, ...]) -> list[float]:
        return [
            sum(s * v for s, v in zip(signs, line, strict=True)) / size
            for line, size in zip(lines, sizes, strict=True)
        ]

    seen = statistics((1,) * len(values))
    order = sorted(range(len(lines)), key=lambda m: -seen[m])
    patterns = [statistics(s) for s in itertools.product((1, -1), repeat=len(values))]
    found, least = [0.0] * len(lines), 0.0
    for place, m in enumerate(order):
        rest = order[place:]
        hits = sum(max(p[k] for k in rest) >= seen[m] - 1e-9 for p in patterns)
        least = max(least, hits / len(patterns))
        found[m] = least
    return found


@pytest.mark.parametrize("seed", range(4))
def test_is_its_definition(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    values += torch.tensor([0.0, 0.3, 0.6, 1.5, 0.0])
    values[:, 4] = values[:, 3]  # a question that is asked twice
    if seed == 3:
        values = values.round()
    assert joint_sign_flip_test(values).p_value.tolist() == pytest.approx(by_definition(values))


def test_one_question_is_the_sign_flip_test() -> None:
    values = torch.randn(9, 1, generator=torch.Generator().manual_seed(0))
    alone = sign_flip_test(values, alternative="greater")
    assert joint_sign_flip_test(values).p_value.tolist() == pytest.approx(alone.p_value.tolist())


def test_the_same_question_many_times_costs_nothing() -> None:
    values = torch.tensor([0.5, 0.4, 0.6, 0.5, 0.3])[:, None].expand(5, 20)
    assert joint_sign_flip_test(values).p_value.tolist() == [1 / 32] * 20
    alone = sign_flip_test(values, alternative="greater").p_value
    assert holm(alone).min() > 0.5


def test_missing_pairs_are_as_if_the_scenario_were_not_there() -> None:
    values = torch.randn(8, 2, generator=torch.Generator().manual_seed(1)) + 0.5
    values[6:] = math.nan
    found = joint_sign_flip_test(values)
    assert found.p_value.tolist() == pytest.approx(joint_sign_flip_test(values[:6]).p_value)
    assert found.scenarios.tolist() == [6, 6]


def test_a_question_with_too_few_pairs_is_not_asked() -> None:
    values = torch.ones(6, 2)
    values[4:, 1] = math.nan
    found = joint_sign_flip_test(values)
    assert found.p_value[0] == 1 / 64
    assert math.isnan(found.p_value[1])
    assert math.isnan(found.attainable[1])
    assert found.reason.tolist() == [0, 24]
    assert joint_sign_flip_test(torch.ones(4, 3)).p_value.isnan().all()
    assert joint_sign_flip_test(torch.ones(6, 0)).p_value.shape == (0,)


def test_what_could_not_be_found_is_known() -> None:
    """Beside many other questions five pairs are not enough, whatever they say."""
    others = torch.where(torch.rand(5, 40, generator=torch.Generator().manual_seed(0)) < 0.5, -1, 1)
    values = torch.cat([torch.ones(5, 1), others.float()], 1)
    found = joint_sign_flip_test(values)
    assert found.attainable[0] > 0.05
    assert found.p_value[0] >= found.attainable[0]
    alone = joint_sign_flip_test(torch.cat([torch.ones(5, 2), torch.zeros(5, 3)], 1))
    assert alone.attainable.tolist() == [1 / 32] * 5
    assert alone.p_value.tolist() == [1 / 32, 1 / 32, 1, 1, 1]


@pytest.mark.parametrize("seed", range(3))
def test_what_is_attainable_is_attained(seed: int) -> None:
    values = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    bound = joint_sign_flip_test(values).attainable
    for m in range(4):
        best = values.clone()
        best[:, m] = 1
        assert joint_sign_flip_test(best).p_value[m] <= bound[m] + 1e-12


def test_random_patterns_are_near_all_patterns() -> None:
    values = torch.randn(17, 3, generator=torch.Generator().manual_seed(2)) + 0.3
    drawn = joint_sign_flip_test(values)
    assert not drawn.exact
    assert torch.equal(drawn.p_value, joint_sign_flip_test(values).p_value)
    # One scenario says nothing at all, so that the other sixteen have the same p-values.
    values[16] = 0
    exact = joint_sign_flip_test(values[:16])
    assert exact.exact
    torch.testing.assert_close(
        joint_sign_flip_test(values).p_value, exact.p_value, atol=0.02, rtol=0
    )


def test_errs_as_often_as_it_says_and_keeps_its_power() -> None:
    """Ten dependent true nulls beside one false: any false rejection in at most 5 %."""
    generator = torch.Generator().manual_seed(0)
    wrong, right, right_holm, runs = 0, 0, 0, 600
    for _ in range(runs):
        shared = torch.randn(8, 1, generator=generator)
        values = 0.7 * shared + 0.7 * torch.randn(8, 11, generator=generator)
        values[:, 0] += 1.6
        p = joint_sign_flip_test(values).p_value
        wrong += bool((p[1:] < 0.05).any())
        right += bool(p[0] < 0.05)
        right_holm += bool(holm(sign_flip_test(values, alternative="greater").p_value)[0] < 0.05)
    assert wrong / runs < 0.07
    assert right > 1.2 * right_holm
    assert right / runs > 0.6


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (torch.ones(5), ValueError, "differences must have shape"),
        (torch.ones(5, 2, dtype=torch.int64), TypeError, "floating point"),
    ],
)
def test_bad_arguments_are_named(values: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        joint_sign_flip_test(values)
    with pytest.raises(ValueError, match="draws"):
        joint_sign_flip_test(torch.ones(5, 2), draws=0)


def test_a_weaker_answer_is_never_more_certain() -> None:
    """Two equal pairs have the larger statistic, but one in four patterns reaches it."""
    values = torch.zeros(8, 2, dtype=torch.float64)
    values[:2, 0] = 1
    values[:, 1] = torch.tensor([1, 1, 1, 1, 1, -1, -1, 0.9])
    found = joint_sign_flip_test(values)
    assert found.statistic[0] > found.statistic[1]
    assert sign_flip_test(values[:, 1], alternative="greater").p_value < 0.25
    assert found.p_value[1] == found.p_value[0] >= 0.25
    assert found.p_value.tolist() == pytest.approx(by_definition(values))
