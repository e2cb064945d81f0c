"""The class door of the usable horizon: the numbers of the functions, in pieces, over ranks."""

import os
import socket
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.metrics import UsableHorizon
from wmscore.stats import (
    cluster_restricted_mean,
    cluster_survival,
    cumulative_incidence,
    pool_tables,
    risk_table,
    survival_quantile,
    table_shares,
)

THRESHOLDS = [0.2, 0.15, 0.3]
OPTIONS = {"patience": [2, 2, 3], "gated": [True, True, False]}


def curves(rollouts: int = 24, steps: int = 16) -> tuple[Tensor, Tensor]:
    """Scores of 3 axes, one of them not gated and bad, and 4 seeds of each scenario."""
    generator = torch.Generator().manual_seed(5)
    scores = torch.rand(3, rollouts, steps, generator=generator)
    drift = torch.rand(3, rollouts, 1, generator=generator) * torch.linspace(0, 0.8, steps)
    scores = (scores - drift).clamp(0, 1)
    scores[2] *= 0.3
    scores[:, -1] = torch.nan
    return scores, torch.arange(rollouts) // 4


def make(**options: object) -> UsableHorizon:
    return UsableHorizon(THRESHOLDS, **(OPTIONS | options))


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, equal_nan=True, msg=name)


def test_class_and_functions_agree_in_pieces():
    scores, scenario = curves()
    door = make(level=0.9, until=12)
    for piece in (slice(0, 3), slice(3, 24)):
        door.update(scores[:, piece], scenario[piece])
    result = door.compute()
    horizon = F.usable_horizon(
        scores,
        torch.tensor(THRESHOLDS).double(),
        patience=torch.tensor([2, 2, 3]),
        gated=torch.tensor([True, True, False]),
    )
    assert result["steps"].equal(horizon.steps)
    assert result["axis"].equal(horizon.axis)
    assert result["undefined"] == 1
    kept = horizon.steps.reshape(6, 4)
    table = risk_table(kept, ~horizon.censored.reshape(6, 4), 16)
    curve = cluster_survival(table, level=0.9)
    mean = cluster_restricted_mean(table, 12, level=0.9)
    median = survival_quantile(curve)
    wanted = {
        "survival": curve.survival,
        "survival_low": curve.low,
        "survival_high": curve.high,
        "mean": mean.mean,
        "low": mean.low,
        "high": mean.high,
        "median": median.step,
        "median_low": median.low,
        "median_high": median.high,
    }
    for name, value in wanted.items():
        torch.testing.assert_close(result[name], value, msg=name)
    assert 0 < result["low"] < result["mean"] < result["high"] < 12
    cause = (horizon.axis + 1).reshape(6, 4)
    shares = table_shares(risk_table(kept, cause, 16, causes=3))
    assert result["incidence"].equal(cumulative_incidence(pool_tables(shares)).incidence)
    total = result["incidence"].sum(0) + result["survival"]
    torch.testing.assert_close(total, torch.ones_like(total))
    assert (result["incidence"][:2, -1] > 0.1).all()
    assert not result["incidence"][2].any()  # not gated


def test_rollouts_alone_are_scenarios_of_their_own():
    scores, scenario = curves()
    alone, grouped, mixed = make(), make(), make()
    alone.update(scores)
    grouped.update(scores, torch.arange(24))
    mixed.update(scores[:, :4])
    mixed.update(scores[:, 4:], torch.arange(20))
    for name, value in grouped.compute().items():  # scenarios are summed in another order
        torch.testing.assert_close(value, alone.compute()[name], msg=name)
    for name, value in mixed.compute().items():
        torch.testing.assert_close(value, alone.compute()[name])
    seeds = make()
    seeds.update(scores, scenario)
    pooled, found = alone.compute(), seeds.compute()
    assert found["low"] != pooled["low"]
    known = pooled["steps"][pooled["steps"] >= 0].double()
    assert pooled["mean"].item() == pytest.approx(known.mean().item())


def test_lengths_may_differ():
    scores, scenario = curves()
    door, by_mask = make(), make()
    door.update(scores[:, :8, :10], scenario[:8])
    door.update(scores[:, 8:], scenario[8:])
    valid = (torch.arange(16) < 10) | (torch.arange(24) >= 8)[:, None]
    by_mask.update(scores, scenario, valid=valid)
    assert_same(door.compute(), by_mask.compute())
    assert door.compute()["survival"].shape == (17,)


def test_reset_nothing_and_one_scenario():
    scores, scenario = curves()
    door = make()
    door.update(scores, scenario)
    door.reset()
    with (
        pytest.warns(UserWarning, match="before the ``update``"),
        pytest.raises(ValueError, match="expected at least one rollout, got none"),
    ):
        door.compute()
    door.update(scores[:, :4, :6], scenario[:4])
    found = door.compute()
    assert found["survival"].shape == (7,)  # the longer rollouts are forgotten too
    assert not found["mean"].isnan()
    assert found["low"].isnan()


def test_state_is_small_and_survives_a_file(tmp_path: Path):
    scores, scenario = curves()
    door, again = make(), make()
    door.persistent(True)
    again.persistent(True)
    door.update(scores[:, :10], scenario[:10])
    kept = [v for state in door.metric_state.values() if isinstance(state, list) for v in state]
    assert sum(v.numel() * v.element_size() for v in kept) == 24 * 10
    torch.save(door.state_dict(), tmp_path / "state.pt")
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    again._update_count = 1
    assert_same(again.compute(), door.compute())
    for part in (door, again):
        part.update(scores[:, 10:], scenario[10:])
    assert_same(again.compute(), door.compute())


def test_states_are_merged():
    scores, scenario = curves()
    whole, first, second = make(), make(), make()
    for part in (whole, first):
        part.update(scores[:, :9], scenario[:9])
    for part in (whole, second):
        part.update(scores[:, 9:], scenario[9:])
    second.merge_state(first)
    assert_same(second.compute(), whole.compute())


def _rank(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    scores, scenario = curves()
    door = make()
    if rank == 0:  # of another length, and a part of a scenario that the other rank has too
        door.update(scores[:, :6, :9], scenario[:6])
    else:
        door.update(scores[:, 6:], scenario[6:])
    torch.save(door.compute(), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes(tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(_rank, (port, str(tmp_path)), nprocs=2)
    scores, scenario = curves()
    whole = make()
    whole.update(scores[:, :6, :9], scenario[:6])
    whole.update(scores[:, 6:], scenario[6:])
    for rank in (0, 1):
        assert_same(torch.load(tmp_path / f"{rank}.pt", weights_only=True), whole.compute())


def test_what_does_not_fit_is_refused():
    scores, scenario = curves()
    door = make()
    with pytest.raises(ValueError, match="thresholds must have one number per axis"):
        UsableHorizon(0.5)
    with pytest.raises(ValueError, match="thresholds must have shape"):
        door.update(scores[:2], scenario)
    with pytest.raises(TypeError, match="scores must be"):
        door.update([0.1])
    with pytest.raises(ValueError, match="scenario must be 0 or more, got -1"):
        door.update(scores, scenario - 1)
    with pytest.raises(ValueError, match=r"scenario must have shape .*= \(24,\), got \(3,\)"):
        door.update(scores, scenario[:3])
    with pytest.raises(TypeError, match="scenario must be an int64 tensor"):
        door.update(scores, scenario.int())
    assert not door.steps  # a refused update leaves no trace
    assert door.length == 0
    with pytest.raises(ValueError, match="patience must be at least 1"):
        UsableHorizon(THRESHOLDS, patience=0).update(scores)
