"""The class door of action response: the numbers of the functions, in pieces, joined over ranks."""

import os
import socket
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.functional.response.scripts import random_scripts, shuffled
from wmscore import functional as F
from wmscore.metrics import ActionLatency, ActionResponse

CURVES = ("agreement", "cosine", "gain", "leak", "script_match")


def frames(groups: int = 6, scripts: int = 3) -> tuple[Tensor, Tensor]:
    """Frames of which a half follows the script, and those of the reference."""
    target = random_scripts(groups, scripts, 4)
    noise = random_scripts(groups, scripts, 4, seed=1)
    preds = torch.where(torch.arange(8) < 5, target, noise)
    target[..., :3, :3] = 7  # the same under all scripts
    return preds, target


def test_class_and_functions_agree_in_pieces():
    preds, target = frames()
    products = F.script_products(preds, target, still=2 / 255)
    found, match = F.script_response(products), F.script_match(products)
    scenario = torch.tensor([0, 0, 1, 1, 2, 2])
    test = F.script_test(products, scenario=scenario, draws=500, seed=3)
    door = ActionResponse(draws=500, seed=3)
    for piece in (slice(0, 1), slice(1, 6)):
        door.update(preds[piece], target[piece], scenario[piece])
    result = door.compute()
    wanted = {name: getattr(found, name).nanmean(1) for name in CURVES[:4]}
    wanted |= {"script_match": match.match.nanmean(1), "p_value": test.p_value}
    wanted |= {"smallest_p_value": test.smallest}
    assert result.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(result[name], value, rtol=0, atol=0, msg=name)
    assert 0.1 < result["agreement"].min() < result["agreement"].max() < 0.9
    assert (result["leak"] > 0).all()
    assert result["p_value"] < 0.05


def test_a_perfect_a_blind_and_a_shuffled_model():
    target = random_scripts(12, 3, 4)
    results = []
    for preds in (target, target[:, :1].expand_as(target), shuffled(target, 2)):
        door = ActionResponse(draws=999)
        door.update(preds, target)
        results.append(door.compute())
    assert (results[0]["agreement"] == 1).all()
    assert (results[0]["script_match"] == 1).all()
    assert results[0]["p_value"] == 0.001
    assert (results[1]["agreement"] == 0).all()
    assert results[1]["cosine"].isnan().all()
    assert results[1]["p_value"] == 1
    assert results[2]["agreement"].abs().mean() > 0.1  # each is far from 0, but not their mean
    assert results[2]["p_value"] > 0.05


def test_seeds_of_one_scenario_are_one_piece_of_evidence():
    target = random_scripts(1, 3, 4).expand(8, -1, -1, -1, -1, -1)
    own, shared = ActionResponse(draws=999), ActionResponse(draws=999)
    own.update(target, target)
    shared.update(target, target, torch.zeros(8, dtype=torch.int64))
    assert own.compute()["p_value"] == 0.001
    assert shared.compute()["p_value"] > 0.1
    torch.testing.assert_close(shared.compute()["smallest_p_value"].item(), 1 / 6)
    # What is a scenario by itself is none of the numbered ones.
    mixed = ActionResponse(draws=999)
    mixed.update(target[:1], target[:1])
    mixed.update(target[:1], target[:1], torch.tensor([0]))
    torch.testing.assert_close(mixed.compute()["smallest_p_value"].item(), 1 / 36)


def test_groups_may_have_different_numbers_of_scripts():
    preds, target = frames(4, 4)
    door = ActionResponse(draws=300)
    door.update(preds[:2, :2], target[:2, :2])
    door.update(preds[2:], target[2:])
    result = door.compute()
    for groups, scripts in ((slice(0, 2), 2), (slice(2, 4), 4)):
        alone = ActionResponse(draws=300)
        alone.update(preds[groups, :scripts], target[groups, :scripts])
        for name in CURVES:
            assert result[name][groups].equal(alone.compute()[name])
    torch.testing.assert_close(result["smallest_p_value"].item(), 1 / 301)
    # The same groups by rows, with -1 where a script is not there, and steps that are absent.
    rows = torch.arange(16).view(4, 4)
    rows[:2, 2:] = -1
    by_rows = ActionResponse(draws=300)
    flat = {"preds_rows": rows, "target_rows": rows}
    by_rows.update(preds.flatten(0, 1), target.flatten(0, 1), **flat)
    for name, value in by_rows.compute().items():
        torch.testing.assert_close(value, result[name], rtol=0, atol=0, equal_nan=True)
    present = torch.ones(4, 4, 4, dtype=torch.bool)
    present[:, :, 2:] = False
    cut, short = ActionResponse(), ActionResponse()
    cut.update(preds, target, present=present)
    short.update(preds[:, :, :2], target[:, :, :2])
    for name, value in cut.compute().items():
        torch.testing.assert_close(value, short.compute()[name], rtol=0, atol=0, equal_nan=True)


def test_reset_and_nothing():
    preds, target = frames()
    door = ActionResponse()
    door.update(preds, target)
    door.reset()
    with pytest.warns(UserWarning, match="before the ``update``"):
        empty = door.compute()
    assert all(empty[name].shape == (0,) for name in CURVES)
    assert empty["p_value"].isnan()
    assert empty["smallest_p_value"].isnan()
    door.update(preds[:2], target[:2])
    assert len(door.compute()["agreement"]) == 2
    # A reference that does not react has nothing to follow.
    silent = ActionResponse()
    silent.update(preds, target[:, :1].expand_as(target))
    assert silent.compute()["agreement"].isnan().all()
    assert silent.compute()["p_value"].isnan()


def test_no_frame_is_kept():
    preds, target = frames()
    door = ActionResponse()
    door.update(preds, target)
    kept = sum(v.numel() * v.element_size() for s in door.metric_state.values() for v in s)
    assert kept <= 2400 * len(preds)


@pytest.mark.parametrize("kind", [ActionResponse, ActionLatency])
def test_state_survives_a_file(kind: type, tmp_path: Path):
    door, again = make(kind), make(kind)
    door.persistent(True)
    again.persistent(True)
    feed(door, slice(0, 8))
    torch.save(door.state_dict(), tmp_path / "state.pt")
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    again._update_count = 1
    assert_same(again.compute(), door.compute())
    for part in (door, again):
        feed(part, slice(8, 16))
    assert_same(again.compute(), door.compute())


@pytest.mark.parametrize("kind", [ActionResponse, ActionLatency])
def test_states_are_merged(kind: type):
    whole, first, second = make(kind), make(kind), make(kind)
    feed(whole, slice(0, 8))
    feed(whole, slice(8, 16))
    feed(first, slice(0, 8))
    feed(second, slice(8, 16))
    second.merge_state(first)
    assert_same(second.compute(), whole.compute())


def _rank(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    found = {}
    for kind in (ActionResponse, ActionLatency):
        door = make(kind)
        feed(door, slice(0, 6) if rank == 0 else slice(6, 16))
        found[kind.__name__] = flat(door.compute())
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes(tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(_rank, (port, str(tmp_path)), nprocs=2)
    for kind in (ActionResponse, ActionLatency):
        whole = make(kind)
        feed(whole, slice(0, 16))
        for rank in (0, 1):
            found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)[kind.__name__]
            for mine, wanted in zip(found, flat(whole.compute()), strict=True):
                torch.testing.assert_close(mine, wanted, rtol=0, atol=0, equal_nan=True)


def test_latency_is_that_of_all_rollouts():
    commands, preds, target = motion()
    door = make(ActionLatency)
    feed(door, slice(0, 6))
    feed(door, slice(6, 16))
    found = door.compute()
    assert found.excess.pooled.lag == 2
    assert found.excess.pooled.polarity == -1
    wanted = F.response_latency(commands, preds, target, num_actions=3, draws=99, max_lag=4)
    assert_same(found, wanted)
    # Steps that do not count, and continuous commands.
    mask = torch.arange(24) < 16
    door = ActionLatency(options={"draws": 99})
    vectors = torch.nn.functional.one_hot(commands, 3)
    door.update(vectors, preds, target, valid=mask)
    wanted = F.response_latency(vectors, preds, target, valid=mask, draws=99)
    assert_same(door.compute(), wanted)


def test_what_does_not_fit_is_refused():
    preds, target = frames()
    door = ActionResponse()
    with pytest.raises(ValueError, match=r"scenario must have shape \[G\] = \(6,\), got \(5,\)"):
        door.update(preds, target, torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match="scenario must be 0 or more, got -2"):
        door.update(preds, target, torch.tensor([-2, 0, 0, 0, 0, 0]))
    with pytest.raises(TypeError, match=r"scenario must be an int64 tensor, got torch\.float32"):
        door.update(preds, target, torch.zeros(6))
    with pytest.raises(ValueError, match=r"preds must have shape \[G, K, T, C, H, W\]"):
        door.update(preds[0], target[0])
    with pytest.raises(ValueError, match="preds and target must have the same shape"):
        door.update(preds[:1], target)
    assert not door.table  # a refused update leaves no trace
    assert not door.agreement
    commands, preds, target = motion()
    late = make(ActionLatency)
    with pytest.raises(ValueError, match="num_actions must be given"):
        ActionLatency().update(commands, preds, target)
    late.update(commands, preds, target)
    with pytest.raises(ValueError, match=r"expected steps and dims .*\[24\].* got .*\[23\]"):
        late.update(commands[:, 1:], preds[:, 1:], target[:, 1:])
    late.reset()
    late.update(commands[:, 1:], preds[:, 1:], target[:, 1:])
    with (
        pytest.warns(UserWarning, match="before the ``update``"),
        pytest.raises(ValueError, match="at least one rollout"),
    ):
        make(ActionLatency).compute()


def motion() -> tuple[Tensor, Tensor, Tensor]:
    """Mirrored, and two steps late."""
    generator = torch.Generator().manual_seed(0)
    commands = torch.randint(0, 3, (16, 24), generator=generator)
    target = torch.tensor([[0.0, 0.0], [0.0, -4.0], [2.0, 4.0]])[commands]
    preds = torch.cat([torch.zeros(16, 2, 2), -target[:, :-2]], 1)
    return commands, preds, target


def make(kind: type) -> ActionResponse | ActionLatency:
    if kind is ActionResponse:
        return ActionResponse(draws=99)
    return ActionLatency(num_actions=3, options={"draws": 99, "max_lag": 4})


def feed(door: ActionResponse | ActionLatency, rows: slice) -> None:
    if isinstance(door, ActionResponse):
        preds, target = frames(16)
        door.update(preds[rows], target[rows], torch.arange(16)[rows] // 2)
    else:
        door.update(*(value[rows] for value in motion()))


def flat(result: object) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    parts = result.values() if isinstance(result, dict) else result
    return [tensor for part in parts for tensor in flat(part)]


def assert_same(a: object, b: object) -> None:
    for mine, other in zip(flat(a), flat(b), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0, equal_nan=True)
