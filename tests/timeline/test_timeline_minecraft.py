"""Oasis' 25 columns and VPT's lines: order, signs, buckets, quirks, round trips."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wmscore.timeline import (
    MINECRAFT_BUTTONS,
    OASIS_COLUMNS,
    Timeline,
    ToOasis,
    ToVpt,
    align,
    minecraft_space,
    read_oasis,
    read_vpt,
    vpt_timeline,
    write_vpt,
)

SPACE = minecraft_space()


def made(*steps: dict[str, float]) -> Timeline:
    rows = [[step.get(name, 0.0) for name in SPACE.names] for step in steps]
    return Timeline(torch.tensor(rows), SPACE, 20.0)


steps = st.lists(
    st.dictionaries(st.sampled_from(MINECRAFT_BUTTONS), st.just(1.0), max_size=4),
    min_size=1,
    max_size=6,
)
buckets = st.lists(st.tuples(*[st.integers(0, 80)] * 2), min_size=6, max_size=6)


def test_columns_are_in_the_published_order() -> None:
    """One column after the other, by the number that open-oasis' own table gives it."""
    assert len(OASIS_COLUMNS) == 25
    places = {"inventory": 0, "ESC": 1, "hotbar.1": 2, "hotbar.9": 10, "forward": 11, "right": 14}
    places |= {"jump": 17, "swapHands": 20, "attack": 21, "use": 22, "pickItem": 23, "drop": 24}
    for name, place in places.items():
        rows = ToOasis()(made({name: 1.0})).value
        assert rows.shape == (2, 25)
        assert rows[0].tolist() == [0] * 25
        assert rows[1].nonzero().flatten().tolist() == [place]
    down_right = ToOasis()(made({"pitch": -10.0, "yaw": 5.0})).value[1]
    assert down_right[15] == 0.5  # cameraX: down is positive
    assert down_right[16] == 0.25  # cameraY: right is positive


def test_camera_is_clipped_and_rounded_to_buckets() -> None:
    found = ToOasis(align="transition")(made({"yaw": 25.0}, {"yaw": 0.3}, {"pitch": -1.1}))
    assert found.value[:, 16].tolist() == [1.0, pytest.approx(1 / 40), 0.0]
    assert found.value[2, 15] == pytest.approx(2 / 40)
    losses = {(loss.kind, loss.component): loss for loss in found.losses}
    assert set(losses) == {("clipped", "yaw"), ("rounded", "yaw"), ("rounded", "pitch")}
    assert losses["clipped", "yaw"].largest == 5
    assert losses["rounded", "yaw"].largest == pytest.approx(0.2)
    assert losses["rounded", "pitch"].largest == pytest.approx(0.1)
    assert [loss.steps for loss in losses.values()] == [1, 1, 1]


@pytest.mark.parametrize("turn", [0.1, -0.25, 0.7, -1.3])
def test_small_turns_add_up(turn: float) -> None:
    """Each alone would be rounded to nothing, or too far, every time."""
    line = made(*[{"yaw": turn, "pitch": -turn}] * 40)
    back = read_oasis(ToOasis()(line).value).value
    for name in ("yaw", "pitch"):
        path = back.component(name).cumsum(0) - line.component(name).double().cumsum(0)
        assert path.abs().max() <= 0.25 + 1e-6
        assert back.component(name).sum().abs() > 3.5
    still = ToOasis()(made(*[{"yaw": turn}] * 3, *[{}] * 3)).value
    assert not still[4:, 15:17].any()  # nothing is made up for where nothing is commanded


@settings(deadline=None, max_examples=40)
@given(steps=steps, buckets=buckets)
def test_oasis_rows_come_back(steps, buckets) -> None:
    line = made(
        *(
            {**step, "pitch": pitch * 0.5 - 20, "yaw": yaw * 0.5 - 20}
            for step, (pitch, yaw) in zip(steps, buckets, strict=False)
        )
    )
    found = ToOasis()(line)
    assert found.lossless
    back = read_oasis(found.value)
    assert back.lossless
    assert back.value.same_as(line)
    plain = ToOasis(align="transition")(line).value
    assert torch.equal(plain, found.value[1:])
    assert read_oasis(plain, align="transition").value.same_as(line)


@settings(deadline=None, max_examples=40)
@given(turns=st.lists(st.tuples(*[st.floats(-60, 60, width=32)] * 2), min_size=1, max_size=5))
def test_losses_of_oasis_are_the_differences(turns) -> None:
    line = made(*({"pitch": pitch, "yaw": yaw} for pitch, yaw in turns))
    found = ToOasis()(line)
    back = read_oasis(found.value).value
    for name in ("pitch", "yaw"):
        gap = (line.component(name) - back.component(name)).abs()
        losses = {loss.kind: loss for loss in found.losses if loss.component == name}
        seen = gap > 2e-5
        assert bool(losses) == bool(seen.any())
        inside = gap[line.component(name).abs() <= 20]
        if "rounded" in losses:
            assert losses["rounded"].largest == pytest.approx(float(inside.max()), abs=1e-6)
            assert losses["rounded"].steps == int((inside > 2e-5).sum())
        if "clipped" in losses:
            outside = gap[line.component(name).abs() > 20 + 2e-5]
            assert losses["clipped"].largest == pytest.approx(float(outside.max()), abs=1e-5)
            assert losses["clipped"].steps == len(outside)


def test_discrete_actions_and_batches_become_rows() -> None:
    table = {"forward": {"forward": 1}, "left": {"yaw": -12}, "stop": {}}
    line = Timeline.of(torch.tensor([[0, 1], [2, 0]]), tuple(table), fps=20.0)
    rows = ToOasis(table=table)(line).value
    assert rows.shape == (2, 3, 25)
    assert not rows[:, 0].any()
    assert rows[0, 2, 16] == pytest.approx(-24 / 40)
    assert rows[1, 2, 11] == 1
    with pytest.raises(ValueError, match=r"Oasis knows .* got \['fly'\]"):
        ToOasis(table={**table, "stop": {"fly": 1}})(line)
    with pytest.raises(ValueError, match="takes none for vector actions"):
        ToOasis(table=table)(made({}))
    radians = Timeline.of(torch.tensor([[0.1]]), ("yaw",), units=("radian",), fps=20.0)
    assert ToOasis()(radians).value[1, 16] == pytest.approx(11 / 40)
    exact = radians.with_actions(torch.deg2rad(torch.tensor([[12.0], [20.0], [-0.5]])))
    assert ToOasis()(exact).lossless  # float32 is no loss


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.zeros(3, 24), r"\[N, 25\], got torch.float32 \[3, 24\]"),
        (torch.zeros(3, 25, dtype=torch.int64), "floating point"),
        (torch.full((3, 25), 0.5), "button 'inventory', got 0.5"),
        (torch.zeros(3, 25).index_fill(1, torch.tensor([15]), 1.5), "cameraX in -1..1, got .* 1.5"),
    ],
)
def test_other_rows_are_refused(rows, message) -> None:
    with pytest.raises(ValueError, match=message):
        read_oasis(rows)


# ---- VPT ---------------------------------------------------------------------------------


def vpt(*, keys=(), buttons=(), new=(), dx=0.0, dy=0.0, hotbar=0, gui=False):
    return {
        "mouse": {"dx": dx, "dy": dy, "buttons": list(buttons), "newButtons": list(new)},
        "keyboard": {"keys": [f"key.keyboard.{key}" for key in keys], "chars": ""},
        "hotbar": hotbar,
        "isGuiOpen": gui,
    }


def pressed(line: Timeline, step: int) -> set[str]:
    row = line.actions[step].tolist()
    return {name for name, value in zip(line.names, row, strict=True) if value}


def test_vpt_lines_are_read() -> None:
    lines = [
        vpt(keys=["w", "left.shift", "space"], dx=40, dy=-20),
        vpt(buttons=[0, 1, 2], new=[0, 1, 2]),
        vpt(),
    ]
    found = vpt_timeline(lines)
    assert found.lossless
    assert found.value.steps == 2
    assert pressed(found.value, 0) == {"forward", "sneak", "jump", "yaw", "pitch"}
    assert found.value.component("yaw").tolist() == [6, 0]  # 360 / 2400 degrees a unit
    assert found.value.component("pitch").tolist() == [3, 0]  # the mouse went up
    assert pressed(found.value, 1) == {"attack", "use", "pickItem"}


def test_quirks_of_vpt_are_kept() -> None:
    stuck = [vpt(buttons=[0], new=[0]), vpt(buttons=[0]), vpt(buttons=[0], new=[0]), vpt()]
    found = vpt_timeline(stuck)
    assert [pressed(found.value, t) for t in range(3)] == [set(), set(), {"attack"}]
    (loss,) = found.losses
    assert (loss.component, loss.steps) == ("attack", 2)
    held = vpt_timeline([vpt(buttons=[0]), vpt()])  # held from before, never newly pressed
    assert pressed(held.value, 0) == {"attack"}

    wheel = vpt_timeline([vpt(hotbar=4), vpt(hotbar=4), vpt(hotbar=2), vpt(hotbar=2), vpt()])
    assert [pressed(wheel.value, t) for t in range(4)] == [set(), set(), {"hotbar.3"}, set()]

    unknown = vpt_timeline([vpt(keys=["f3", "w"], buttons=[4]), vpt(keys=["f3"])])
    assert pressed(unknown.value, 0) == {"forward"}
    assert [(loss.kind, loss.component, loss.steps) for loss in unknown.losses] == [
        ("dropped", "key.keyboard.f3", 1),
        ("dropped", "mouse button 4", 1),
    ]

    screen = vpt_timeline([vpt(dx=10, gui=True), vpt(gui=True), vpt()], gui_scale=0.5)
    assert screen.value.component("yaw").tolist() == [0.75, 0]
    assert [(loss.kind, loss.steps) for loss in screen.losses] == [("approximate", 1)]

    last = vpt_timeline([vpt(), vpt(keys=["w"])])
    assert [loss.component for loss in last.losses] == ["last action"]


@settings(deadline=None, max_examples=40)
@given(steps=steps, turns=st.lists(st.floats(-90, 90, width=32), min_size=6, max_size=6))
def test_vpt_lines_come_back(steps, turns) -> None:
    line = made(
        *({**s, "yaw": turn, "pitch": -turn / 3} for s, turn in zip(steps, turns, strict=False))
    )
    there = ToVpt()(line)
    assert there.lossless
    text = json.loads(json.dumps(there.value))
    assert len(text) == line.steps + 1
    back = vpt_timeline(text)
    assert back.lossless
    assert torch.allclose(back.value.actions, line.actions, rtol=1e-6, atol=0)
    assert torch.equal(back.value.actions[:, :23], line.actions[:, :23])


def test_vpt_files_are_whole_and_become_oasis_rows(tmp_path) -> None:
    line = made({"forward": 1.0, "yaw": 4.5}, {"attack": 1.0}, {"hotbar.3": 1.0})
    path = tmp_path / "a.jsonl"
    assert write_vpt(path, line).value == path
    assert [child.name for child in tmp_path.iterdir()] == ["a.jsonl"]
    found = read_vpt(path, frame_count=4)
    assert found.value.same_as(line)
    # What open-oasis makes of such a file: a zero row in front, then the lines but the last.
    rows = ToOasis()(found.value).value
    assert torch.equal(align(rows, 4, "produced").value, ToOasis(align="transition")(line).value)

    with pytest.raises(ValueError, match="a line for each of the 3 frames, got 4"):
        read_vpt(path, frame_count=3)
    text = path.read_text().splitlines()
    for number, broken, message in (
        (1, "{", "line 2: expected a JSON object"),
        (1, "[]", "line 2: expected an object, got list"),
        (2, '{"mouse": {}}', "line 3: expected mouse.dx, got none"),
        (0, text[0].replace('"dx": 30.0', '"dx": "x"'), "line 1: expected a number in mouse.dx"),
        (0, text[0].replace('"buttons": []', '"buttons": 0'), "line 1: .* a list in mouse.buttons"),
    ):
        assert text[number] != broken
        path.write_text("\n".join([*text[:number], broken, *text[number + 1 :]]))
        with pytest.raises(ValueError, match=message):
            read_vpt(path)
    path.write_text("")
    with pytest.raises(ValueError, match="lines: expected at least one"):
        read_vpt(path)
