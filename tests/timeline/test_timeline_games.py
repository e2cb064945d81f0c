"""Matrix-Game's conditions, VizDoom's buttons, GameNGen's table."""

import importlib.util
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wmscore.timeline import (
    DOOM_TABLE,
    GAMENGEN_ACTIONS,
    GAMENGEN_BUTTONS,
    MATRIX_GAME_KEYS,
    MatrixGameConditions,
    Timeline,
    ToGameNGen,
    ToMatrixGame,
    ToVizDoomButtons,
    read_gamengen,
    read_matrix_game,
    read_vizdoom_buttons,
)

needs_vizdoom = pytest.mark.skipif(
    importlib.util.find_spec("vizdoom") is None, reason="vizdoom is not installed"
)


def made(variant: str, rows: list[tuple[int, float, float]]) -> Timeline:
    keys = MATRIX_GAME_KEYS[variant]
    actions = [[float(i == key) for i in range(len(keys))] + [p, y] for key, p, y in rows]
    units = ["button"] * len(keys) + ["degree", "degree"]
    return Timeline.of(torch.tensor(actions), (*keys, "pitch", "yaw"), units=units, fps=25.0)


def test_conditions_have_a_row_per_frame() -> None:
    line = made("1.0", [(0, 5.0, 0.0), (5, 0.0, -2.5), (3, 0.0, 20.0)])
    found = ToMatrixGame("1.0", degrees=5.0)(line)
    assert found.value.keyboard.tolist() == [
        [1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    assert found.value.mouse is not None
    expected = torch.tensor([[0.05, 0], [0, -0.025], [0, 0.05], [0, 0]])
    assert torch.allclose(found.value.mouse, expected)
    assert found.sentences() == (
        "pitch: approximate at 1 step: what a mouse value turns by was given, not published",
        "yaw: clipped at 1 step, by up to 15 degree: to 5 degrees in a step",
        "yaw: approximate at 2 steps: what a mouse value turns by was given, not published",
    )


@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), *[st.integers(-64, 64).map(lambda n: n / 16)] * 2),
        min_size=1,
        max_size=6,
    )
)
def test_conditions_come_back(rows) -> None:
    line = made("universal", rows)
    there = ToMatrixGame("universal", degrees=4.0)(line)
    assert {loss.kind for loss in there.losses} <= {"approximate"}
    back = read_matrix_game(there.value, "universal", degrees=4.0, fps=25.0)
    assert torch.allclose(back.value.actions, line.actions, atol=1e-5)
    assert back.losses == there.losses
    batch = line.with_actions(torch.stack([line.actions, line.actions]))
    both = ToMatrixGame("universal", degrees=4.0)(batch).value
    assert torch.equal(both.keyboard[1], there.value.keyboard)


def test_temple_run_has_no_mouse() -> None:
    names = ("nomove", "slide")
    line = Timeline.of(torch.tensor([0, 1]), names, fps=25.0)
    table = {name: {name: 1} for name in names}
    found = ToMatrixGame("temple_run", table=table)(line)
    assert found.lossless
    assert found.value.mouse is None
    assert found.value.keyboard[:2].argmax(1).tolist() == [0, 2]
    back = read_matrix_game(found.value, "temple_run", fps=25.0).value
    assert back.component("slide").tolist() == [0, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ToMatrixGame("3.0", degrees=1.0), "variant: expected one of"),
        (lambda: ToMatrixGame("1.0"), "degrees: expected the turn that a mouse value of 0.05"),
        (lambda: ToMatrixGame("1.0", degrees=-1.0), "degrees: expected a positive"),
        (
            lambda: read_matrix_game(
                MatrixGameConditions(torch.zeros(3, 5), torch.zeros(3, 2)), "1.0", degrees=1, fps=25
            ),
            r"keyboard: expected \[N, 6\], got \[3, 5\]",
        ),
        (
            lambda: read_matrix_game(
                MatrixGameConditions(torch.zeros(3, 6), torch.zeros(2, 2)), "1.0", degrees=1, fps=25
            ),
            r"mouse: expected \[3, 2\], got \[2, 2\]",
        ),
        (
            lambda: read_matrix_game(
                MatrixGameConditions(torch.zeros(3, 6), None), "1.0", degrees=1, fps=25
            ),
            "mouse: expected one",
        ),
    ],
)
def test_wrong_conditions_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# ---- VizDoom -----------------------------------------------------------------------------


def test_doom_actions_are_buttons() -> None:
    names = ("noop", "left", "attack", "use")
    line = Timeline.of(torch.tensor([0, 1, 2, 3]), names, fps=8.75)
    found = ToVizDoomButtons(("ATTACK", "TURN_LEFT", "TURN_RIGHT"))(line)
    assert found.value.tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert found.sentences() == ("USE: dropped at 1 step, by up to 1: the model does not have it",)
    with pytest.raises(ValueError, match=r"got none for \['fly'\]"):
        ToVizDoomButtons(("ATTACK",))(Timeline.of(torch.tensor([0]), ("fly",), fps=1.0))
    with pytest.raises(ValueError, match="available: expected each once"):
        ToVizDoomButtons(("ATTACK", "ATTACK"))


def test_turns_are_delta_buttons() -> None:
    available = ("ATTACK", "TURN_LEFT_RIGHT_DELTA", "LOOK_UP_DOWN_DELTA")
    line = Timeline.of(
        torch.tensor([[5.0, -2.0, 1.0]]),
        ("yaw", "pitch", "ATTACK"),
        units=("degree", "degree", "button"),
        fps=35.0,
    )
    found = ToVizDoomButtons(available)(line)
    assert found.lossless
    assert found.value.tolist() == [[1, 5, -2]]
    back = read_vizdoom_buttons(found.value, available, fps=35.0).value
    assert back.names == ("ATTACK", "yaw", "pitch")
    assert torch.equal(ToVizDoomButtons(available)(back).value, found.value)
    no_look = ToVizDoomButtons(("ATTACK", "TURN_LEFT_RIGHT_DELTA"))(line)
    assert [(loss.component, loss.largest) for loss in no_look.losses] == [("pitch", 2)]
    with pytest.raises(ValueError, match=r"rows: expected \[T, 3\], got \[1, 2\]"):
        read_vizdoom_buttons(no_look.value, available, fps=35.0)


@needs_vizdoom
@pytest.mark.vizdoom
def test_the_engine_knows_the_buttons_and_turns_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vizdoom = pytest.importorskip("vizdoom")
    monkeypatch.chdir(tmp_path)
    buttons = {name for entry in DOOM_TABLE.values() for name in entry}
    for name in (*buttons, *GAMENGEN_BUTTONS):
        assert hasattr(vizdoom.Button, name)
    available = ("TURN_LEFT_RIGHT_DELTA", "LOOK_UP_DOWN_DELTA", "TURN_RIGHT")
    game = vizdoom.DoomGame()
    game.load_config(str(Path(vizdoom.scenarios_path) / "my_way_home.cfg"))
    game.set_doom_config_path(str(tmp_path / "doom.ini"))
    game.set_window_visible(False)
    game.set_available_buttons([getattr(vizdoom.Button, name) for name in available])
    game.set_available_game_variables([vizdoom.GameVariable.ANGLE, vizdoom.GameVariable.PITCH])
    game.add_game_args("+freelook 1")
    game.init()
    try:
        turned = {}
        for name, unit in (("yaw", "degree"), ("pitch", "degree"), ("TURN_RIGHT", "button")):
            line = Timeline.of(torch.ones(1, 1), (name,), units=(unit,), fps=35.0)
            game.set_seed(3)
            game.new_episode()
            before = torch.tensor(game.get_state().game_variables)
            game.make_action(ToVizDoomButtons(available)(line).value[0].tolist())
            game.make_action([0.0] * 3, 2)
            turned[name] = (torch.tensor(game.get_state().game_variables) - before).tolist()
    finally:
        game.close()
    # The engine counts angles to the left and its pitch downwards.
    assert turned["yaw"] == pytest.approx([-1, 0], abs=0.01)
    assert turned["pitch"] == pytest.approx([0, -1], abs=0.01)
    assert turned["TURN_RIGHT"][0] < 0


# ---- GameNGen ----------------------------------------------------------------------------


def test_the_table_has_the_reproduction_s_eighteen_actions() -> None:
    assert len(GAMENGEN_ACTIONS) == 18
    assert GAMENGEN_ACTIONS[0] == ("TURN_LEFT",)
    assert GAMENGEN_ACTIONS[1] == ("TURN_RIGHT",)
    assert GAMENGEN_ACTIONS[8] == ("MOVE_FORWARD",)
    assert GAMENGEN_ACTIONS[-1] == ("ATTACK",)
    assert len(set(GAMENGEN_ACTIONS)) == 18


@settings(deadline=None, max_examples=20)
@given(ids=st.lists(st.integers(0, 17), min_size=1, max_size=8))
def test_ids_come_back(ids) -> None:
    line = read_gamengen(torch.tensor(ids), fps=35.0)
    assert line.lossless
    found = ToGameNGen()(line.value)
    assert found.lossless
    assert found.value.tolist() == ids


def test_what_the_table_lacks_is_stated() -> None:
    rows = [[1.0, 1, 0, 0, 0, 0], [0.0, 1, 1, 1, 0, 0], [0.0, 0, 0, 0, 1, 1]]
    line = Timeline.of(torch.tensor(rows), GAMENGEN_BUTTONS, units=["button"] * 6, fps=35.0)
    found = ToGameNGen(rest=8)(line)
    assert found.value.tolist() == [17, 8, 8]
    assert found.sentences() == (
        "MOVE_LEFT, MOVE_RIGHT: dropped at 1 step: they cancel each other out",
        "TURN_RIGHT, TURN_LEFT: dropped at 1 step: they cancel each other out",
        "MOVE_FORWARD: dropped at 1 step: the table has attack alone only",
        "rest: approximate at 1 step: became MOVE_FORWARD: no action does nothing",
    )
    words = Timeline.of(torch.tensor([[0, 1]]), ("noop", "back"), fps=35.0)
    with pytest.raises(ValueError, match="rest: expected the id of an action for the 2 steps"):
        ToGameNGen()(words)
    there = ToGameNGen(rest=0)(words)
    assert there.value.tolist() == [[0, 0]]
    assert [loss.component for loss in there.losses] == ["MOVE_BACKWARD", "rest"]
    for call, message in (
        (lambda: ToGameNGen(rest=18), r"rest: expected 0\.\.17, got 18"),
        (lambda: read_gamengen(torch.tensor([18]), fps=1.0), r"expected 0\.\.17, got 18\.\.18"),
        (lambda: read_gamengen(torch.tensor([1.0]), fps=1.0), "ids: expected integer"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
