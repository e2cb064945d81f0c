"""Risk tables against plain counting, and sums of them against tables of the sums."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.stats.survival_data import BASELINE, HORIZON, random_horizons
from wmscore.stats import RiskTable, kaplan_meier, pool_tables, risk_table, table_shares


def plain_table(times: list[int], causes: list[int], horizon: int, kinds: int) -> list[list[int]]:
    """At risk, then failures of each cause, one rollout after the other."""
    rows = [[0] * (horizon + 1) for _ in range(1 + kinds)]
    for time, cause in zip(times, causes, strict=True):
        if time < 0:
            continue
        for step in range(min(time, horizon) + 1):
            rows[0][step] += 1
        if cause and time <= horizon:
            rows[cause][time] += 1
    return rows


def assert_same(found: RiskTable, expected: RiskTable) -> None:
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("horizon", [1, 7, 20, 33])
def test_table_equals_plain_counting(horizon: int) -> None:
    times, causes = random_horizons(200)
    times[::17] = -1
    table = risk_table(times, causes, horizon, causes=3)
    expected = torch.tensor(plain_table(times.tolist(), causes.tolist(), horizon, 3)).double()
    assert torch.equal(table.at_risk, expected[0])
    assert torch.equal(table.by_cause, expected[1:])
    assert torch.equal(table.failures, expected[1:].sum(0))
    assert table.missing.item() == 12
    assert table.at_risk.dtype == table.missing.dtype == torch.float64


def test_rows_are_independent_and_any_integer_will_do() -> None:
    times, causes = random_horizons(240)
    times, causes = times.reshape(4, 3, 20), causes.reshape(4, 3, 20)
    table = risk_table(times, causes, 20, causes=3)
    assert table.by_cause.shape == (4, 3, 3, 21)
    for i in range(4):
        for j in range(3):
            one = risk_table(
                times[i, j].to(torch.int16), causes[i, j].to(torch.uint8), 20, causes=3
            )
            assert_same(one, RiskTable(*(part[i, j] for part in table)))
    strided = risk_table(times.transpose(0, 2), causes.transpose(0, 2), 20, causes=3)
    copied = risk_table(
        times.transpose(0, 2).contiguous(), causes.transpose(0, 2).contiguous(), 20, causes=3
    )
    assert_same(strided, copied)


def test_what_is_missing_is_left_out_and_counted() -> None:
    times = torch.tensor([3, -1, 2, 5, 4, 1, 1])
    failed = torch.tensor([1, 1, 0, 1, 7, -1, 1])
    present = torch.tensor([True, True, True, False, True, True, True])
    weights = torch.tensor([1.0, 1.0, 2.0, 1.0, 1.0, 1.0, math.nan])
    table = risk_table(times, failed, 6, present=present, weights=weights)
    assert table.missing.item() == 5
    assert table.at_risk.tolist() == [3, 3, 3, 1, 0, 0, 0]
    assert table.failures.tolist() == [0, 0, 0, 1, 0, 0, 0]
    none = risk_table(torch.zeros(2, 0).long(), torch.zeros(2, 0).bool(), 6)
    assert none.at_risk.shape == (2, 7)
    assert not none.at_risk.any()


def test_beyond_the_horizon_is_censored_at_it() -> None:
    times = torch.tensor([3, 4, 9])
    table = risk_table(times, torch.ones(3).bool(), 4)
    assert table.at_risk.tolist() == [3, 3, 3, 3, 2]
    assert table.failures.tolist() == [0, 0, 0, 1, 1]


def test_who_was_cut_could_not_be_seen_to_fail() -> None:
    times = torch.tensor([0, 0, 1, 1, 3, 3, 4, 4, 9], dtype=torch.uint8)
    failed = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1, 0]).bool()
    plain = risk_table(times, failed, 4)
    found = risk_table(times, failed, 4, ties="censored")
    assert plain.at_risk.tolist() == [9, 7, 5, 5, 3]
    assert found.at_risk.tolist() == [8, 6, 5, 4, 3]
    assert torch.equal(found.failures, plain.failures)
    assert (plain.missing.item(), found.missing.item()) == (0, 1)
    times, causes = random_horizons(50, early=0.0)
    assert_same(
        risk_table(times, causes, 20, causes=3, ties="censored"),
        risk_table(times, causes, 20, causes=3),
    )


def test_weights_are_repetition() -> None:
    times, causes = random_horizons(60)
    counts = torch.randint(0, 4, (60,))
    repeated = risk_table(
        times.repeat_interleave(counts), causes.repeat_interleave(counts), 20, causes=3
    )
    weighted = risk_table(times, causes, 20, causes=3, weights=counts.double())
    assert_same(weighted, repeated)


def test_groups_are_tables_of_their_own() -> None:
    times, causes = random_horizons(200)
    group = torch.randint(-1, 6, (200,))
    times[::9] = -1
    table = risk_table(times, causes, 20, causes=3, groups=group, group_count=5)
    assert table.missing.shape == (5,)
    assert 0 < table.missing.sum() < 23
    for g in range(5):
        own = risk_table(times[group == g], causes[group == g], 20, causes=3)
        assert_same(RiskTable(*(part[g] for part in table)), own)
    batched = risk_table(
        times.reshape(2, 100),
        causes.reshape(2, 100),
        20,
        causes=3,
        groups=group.reshape(2, 100),
        group_count=5,
    )
    assert batched.at_risk.shape == (2, 5, 21)
    assert torch.equal(batched.at_risk.sum(0), table.at_risk)


def test_pooled_tables_are_tables_of_the_pooled() -> None:
    times, causes = random_horizons(8 * 5 * 3)
    times, causes = times.reshape(8, 3, 5), causes.reshape(8, 3, 5)
    table = risk_table(times, causes, 20, causes=3)  # [8, 3]
    everything = risk_table(
        times.transpose(0, 1).reshape(3, 40), causes.transpose(0, 1).reshape(3, 40), 20, causes=3
    )
    assert_same(pool_tables(table), everything)
    counts = torch.randint(0, 3, (6, 8))
    drawn = pool_tables(table, counts)
    assert drawn.by_cause.shape == (6, 3, 3, 21)
    for r in range(6):
        pick = torch.arange(8).repeat_interleave(counts[r])
        resampled = risk_table(
            times[pick].transpose(0, 1).reshape(3, -1),
            causes[pick].transpose(0, 1).reshape(3, -1),
            20,
            causes=3,
        )
        assert_same(RiskTable(*(part[r] for part in drawn)), resampled)
    assert_same(pool_tables(table, dim=-2), pool_tables(table))
    across = pool_tables(table, torch.tensor([1, 0, 2]), dim=1)
    assert torch.equal(across.at_risk, table.at_risk[:, 0] + 2 * table.at_risk[:, 2])


def test_shares_count_each_table_alike() -> None:
    times, causes = random_horizons(60)
    times, causes = times.reshape(4, 15), causes.reshape(4, 15)
    times[0, 3:] = -1
    times[2] = -1
    table = risk_table(times, causes, 20, causes=3)
    shares = table_shares(table)
    assert shares.at_risk[:, 0].tolist() == [1, 1, 0, 1]
    for row, count in ((0, 3), (1, 15), (2, 1)):
        for part, whole in zip(shares[:3], table[:3], strict=True):
            assert torch.equal(part[row], whole[row] / count)
    assert shares.missing.tolist() == [12, 0, 15, 0]


def test_no_rollout_sees_what_the_others_do() -> None:
    times, causes = random_horizons(100)
    order = torch.randperm(100)
    assert_same(
        risk_table(times, causes, 20, causes=3),
        risk_table(times[order], causes[order], 20, causes=3),
    )


def call(times: object = None, failed: object = None, horizon: object = HORIZON, **rest: object):
    of: Tensor = torch.tensor(BASELINE)
    return risk_table(
        of if times is None else times, of < 32 if failed is None else failed, horizon, **rest
    )


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"times": [1]}, TypeError, "times must be a torch.Tensor, got list"),
        ({"times": torch.ones(10)}, TypeError, "times must be an integer tensor, got torch.float"),
        ({"times": torch.tensor(3)}, ValueError, r"times must have shape \[..., N\]"),
        ({"failed": torch.ones(10)}, TypeError, "failed must be bool or integer"),
        ({"failed": torch.ones(3).bool()}, ValueError, r"failed must have the shape of times \(10"),
        ({"failed": 1}, TypeError, "failed must be a torch.Tensor, got int"),
        ({"horizon": 0}, ValueError, "horizon must be at least 1, got 0"),
        ({"horizon": 3.0}, TypeError, "horizon must be an int"),
        ({"ties": "none"}, ValueError, "ties must be 'failures' or 'censored', got 'none'"),
        ({"causes": 0}, ValueError, "causes must be at least 1"),
        (
            {"present": torch.ones(10)},
            TypeError,
            "present must be a bool tensor, got torch.float32",
        ),
        ({"present": torch.ones(3).bool()}, ValueError, "present must broadcast to the shape"),
        ({"weights": torch.ones(10).int()}, TypeError, "weights must be floating point"),
        ({"weights": torch.ones(2, 10)}, ValueError, "weights must broadcast"),
        ({"weights": -torch.ones(10)}, ValueError, "weights must be 0 or more, got -1.0"),
        ({"groups": torch.zeros(10).long()}, ValueError, "must be given together"),
        ({"group_count": 3}, ValueError, "must be given together"),
        ({"groups": torch.zeros(10), "group_count": 3}, TypeError, "groups must be an integer"),
    ],
)
def test_bad_input(bad: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(**bad)


def test_bad_pools() -> None:
    table = call(times=torch.tensor([BASELINE] * 3), failed=torch.ones(3, 10).bool())
    with pytest.raises(TypeError, match="table must be a RiskTable, got Tensor"):
        pool_tables(table.at_risk)
    with pytest.raises(TypeError, match="table must be a RiskTable, got list"):
        kaplan_meier([])
    with pytest.raises(ValueError, match="dim must be one of the 1 batch dims of table, got 1"):
        pool_tables(table, dim=1)
    with pytest.raises(ValueError, match=r"\[S\] or \[R, S\] with S = 3, got \(4,\)"):
        pool_tables(table, torch.ones(4))
    with pytest.raises(TypeError, match="weights must be a torch"):
        pool_tables(table, [1, 2, 3])
