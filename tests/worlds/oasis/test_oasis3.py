"""Oasis 3 through the real `decart-oasis` package, against a server on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

pytest.importorskip("decart_oasis")

from tests.worlds.oasis.oasis3_server import SIZE, OasisServer, serving_oasis
from wmscore.testing import check_world_model, sprite_items
from wmscore.worlds import Item, SpriteWorld
from wmscore.worlds.oasis import oasis3_model
from wmscore.worlds.servers import RowsFailedError, ServerModel

HORIZON = 6
TABLE = {
    "noop": {},
    "left": {"steering": -0.5},
    "right": {"steering": 0.5},
    "up": {"throttle": 0.3},
    "down": {"throttle": -0.3},
}


@pytest.fixture(scope="module")
def items() -> list[Item]:
    made = sprite_items(2, HORIZON, world=SpriteWorld(height=SIZE[0], width=SIZE[1]))
    return [replace(i, prompt=f"road {i.scenario}.{i.branch}", fps=30.0) for i in made]


@pytest.fixture
def server() -> Iterator[tuple[OasisServer, str]]:
    with serving_oasis() as found:
        yield found


@pytest.fixture
def ask(
    server: tuple[OasisServer, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., ServerModel]:
    monkeypatch.setenv("WMSCORE_TEST_KEY", "key-123")

    def model(**options: Any) -> ServerModel:
        made = oasis3_model(
            **{
                "table": TABLE,
                "endpoint": server[1],
                "api_key_env": "WMSCORE_TEST_KEY",
                "frame_size": SIZE,
                "fps": 30.0,
                "timeout": 20.0,
                **options,
            }
        )
        made._patience["first_wait"] = 0.01
        return made

    return model


def test_a_session_per_row(server, ask, items):
    state, _ = server
    model = ask()
    rollouts = model.rollout(items, HORIZON)
    assert rollouts.frames.shape == (4, HORIZON + 1, 3, *SIZE)
    for i, item in enumerate(items):
        assert torch.equal(rollouts.frames[i, 0], item.frame)
    assert state.asked == {"Initialize": 4, "Prompt": 4, "Infer": 8, "Finish": 4}
    session = next(s for s in state.sessions.values() if s["prompt"] == "road 0.0")
    names = [items[0].action_names[a] for a in items[0].actions.tolist()]
    told = [(TABLE[n].get("throttle", 0), TABLE[n].get("steering", 0)) for n in names]
    told += [told[-1]] * 2  # whole chunks of four
    assert torch.equal(torch.tensor(session["actions"]), torch.tensor(told).float())
    session["offset"] = 20 * sum(t for t, _ in told[:1]) + 50 * sum(s for _, s in told[:1])
    picture = torch.from_numpy(state.picture(session, 1)).permute(2, 0, 1)
    assert (rollouts.frames[0, 1].float() - picture.float()).abs().mean() < 4
    assert not model.capabilities.starts_from_frame
    assert any("initial frame" in loss for loss in model.conversion_losses)
    assert model.codec["codec"] == "vp9"
    assert 0.001 < model.codec["bits_per_pixel"] < 10


def test_contract(ask, items):
    report = check_world_model(ask(workers=4), items[:2], 4)
    report.raise_on_failure()
    assert report.action_effect > 1
    assert "does not go on from the given frame" in report.table()


def test_cameras(ask, items):
    front = ask().rollout(items[:1], 4).frames[0, 1:].float()
    left = ask(camera="left_forward").rollout(items[:1], 4).frames[0, 1:].float()
    assert (front[:, 2] - left[:, 2]).mean() == pytest.approx(60, abs=6)
    with pytest.raises(ValueError, match="camera: expected one of"):
        ask(camera="back")


def test_sessions_at_once_are_bounded(server, ask, items):
    ask(workers=2).rollout(items, 4)
    assert server[0].most_open <= 2
    assert server[0].open == 0


@pytest.mark.parametrize("method", ["Initialize", "Prompt", "Infer"])
def test_a_lost_session_begins_anew(server, ask, items, method):
    state, _ = server
    state.unavailable = {method: 2}
    rollouts = ask().rollout(items[:1], HORIZON)
    assert bool(rollouts.valid.all())
    assert state.asked["Initialize"] == 3
    assert state.open == 0
    assert len(state.sessions[list(state.sessions)[-1]]["actions"]) == 8


def test_errors_are_those_of_their_row(server, ask, items):
    state, _ = server
    state.errors = {"road 0.1": "no such road (key-123)"}
    state.short = {"road 1.0"}
    with pytest.raises(RowsFailedError) as caught:
        ask().rollout(items, HORIZON)
    rows = caught.value.rows
    assert sorted(rows) == [1, 2]
    assert str(rows[1]) == "A2V error 3: no such road (***)"
    assert str(rows[2]) == "expected 4 frames for 4 actions, got 3"
    assert state.open == 0


def test_full_for_ever(server, ask, items):
    server[0].unavailable = {"Initialize": 99}
    with pytest.raises(RowsFailedError, match=r"UNAVAILABLE: full house \(asked 2 times\)"):
        ask(attempts=2).rollout(items[:1], HORIZON)


def test_a_wrong_key_is_final_and_not_told(server, ask, items, monkeypatch):
    monkeypatch.setenv("WMSCORE_TEST_KEY", "wrong")
    with pytest.raises(RowsFailedError, match=r"UNAUTHENTICATED: bad key \*\*\*"):
        ask().rollout(items[:1], HORIZON)
    assert server[0].asked["Initialize"] == 1
    monkeypatch.delenv("WMSCORE_TEST_KEY")
    with pytest.raises(RowsFailedError, match="environment variable WMSCORE_TEST_KEY"):
        ask().rollout(items[:1], HORIZON)


def test_frames_of_another_size(server, ask, items):
    server[0].size = (48, 96)
    with pytest.raises(RowsFailedError, match=r"\[n, 3, 64, 96\], got torch.uint8 \[4, 3, 48, 96"):
        ask().rollout(items[:1], 4)


def test_a_slow_service(server, ask, items):
    server[0].slow = 0.5
    with pytest.raises(RowsFailedError, match="gRPC DEADLINE_EXCEEDED"):
        ask(request_timeout=0.1).rollout(items[:1], 4)
    assert server[0].asked["Initialize"] == 1  # the session may be paid for


def test_a_missing_stream(server, ask, items):
    server[0].cameras = ("left_forward",)
    with pytest.raises(RowsFailedError, match="did not advertise required streams: front"):
        ask().rollout(items[:1], 4)


def test_vectors(server, ask, items):
    script = torch.tensor([[0.5, -1.0], [0.5, -1.5], [0.0, 0.0], [0.0, 0.0]])
    item = replace(items[0], actions=script, action_names=("throttle", "steering"), noop=(0.0, 0.0))
    with pytest.raises(RowsFailedError, match=r"actions: expected -1\.\.1, got -1\.5\.\.0\.5"):
        ask(table=None).rollout([item], 4)
    model = ask(table=None, limits=True)
    model.rollout([item], 4)
    (session,) = [s for s in server[0].sessions.values() if s["actions"]]
    assert session["actions"][1] == (0.5, -1.0)
    assert any("clipped at 1 step" in loss for loss in model.conversion_losses)


def test_rows_that_cannot_be_asked(ask, items):
    with pytest.raises(RowsFailedError, match="prompt: scenario 'sprites-0' has none"):
        ask().rollout([replace(items[0], prompt=None)], 4)
    with pytest.raises(RowsFailedError, match="is at 10 frames per second, model 'oasis-3' takes"):
        ask().rollout([replace(items[0], fps=10.0)], 4)
    ask(prompt="a road").rollout([replace(items[0], prompt=None)], 4)
