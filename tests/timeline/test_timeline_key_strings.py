"""Key-duration strings: round trips, columns of errors, and the published parser beside ours."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wmscore.timeline import (
    HY_WORLDPLAY,
    SANA_WM,
    KeysToMotion,
    MotionToKeys,
    MotionToPoses,
    Timeline,
    ToKeyString,
    read_key_string,
    vector_space,
)


def buttons(rows: list[list[str]], keys: tuple[str, ...], fps: float = 16.0) -> Timeline:
    actions = torch.tensor([[float(key in row) for key in keys] for row in rows])
    return Timeline(actions, vector_space(keys, ["button"] * len(keys)), fps)


def test_strings_are_read_and_written() -> None:
    found = read_key_string("w-2,jw-1, none-1", SANA_WM)
    assert found.lossless
    assert found.value.fps == 16
    assert found.value.names == SANA_WM.keys
    held = [
        {key for key, on in zip(SANA_WM.keys, row, strict=True) if on}
        for row in found.value.actions.tolist()
    ]
    assert held == [{"w"}, {"w"}, {"j", "w"}, set()]
    assert ToKeyString(SANA_WM)(found.value).value == "w-2,jw-1,none-1"

    latents = read_key_string("w-3, right-1, d-4", HY_WORLDPLAY, fps=12.0).value
    assert (latents.steps, latents.fps) == (32, 12)
    assert latents.component("right").nonzero().flatten().tolist() == [12, 13, 14, 15]
    assert ToKeyString(HY_WORLDPLAY)(latents).value == "w-3, right-1, d-4"


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.lists(st.sampled_from(SANA_WM.keys), unique=True, max_size=4), min_size=1, max_size=12
    )
)
def test_what_is_written_is_read_again(rows) -> None:
    line = buttons(rows, SANA_WM.keys)
    found = ToKeyString(SANA_WM)(line)
    assert found.lossless
    assert read_key_string(found.value, SANA_WM).value.same_as(line)


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(st.sampled_from(HY_WORLDPLAY.keys), min_size=1, max_size=14))
def test_losses_of_latents_are_the_differences(rows) -> None:
    line = buttons([[key] for key in rows], HY_WORLDPLAY.keys, 24.0)
    found = ToKeyString(HY_WORLDPLAY)(line)
    back = read_key_string(found.value, HY_WORLDPLAY).value.actions[: len(rows)]
    changed = int((back != line.actions).any(1).sum())
    assert [loss.steps for loss in found.losses] == ([changed] if changed else [])
    assert all(loss.kind == "merged" for loss in found.losses)


def test_one_key_at_a_time_is_stated() -> None:
    found = ToKeyString(HY_WORLDPLAY)(buttons([["w", "d", "left"]] * 4, HY_WORLDPLAY.keys))
    assert found.value == "w-1"
    assert found.sentences() == (
        "d: dropped at 4 steps: HY-WorldPlay holds one key at a time",
        "left: dropped at 4 steps: HY-WorldPlay holds one key at a time",
    )


def test_discrete_actions_need_a_table() -> None:
    names = ("go", "turn", "jump")
    line = Timeline.of(torch.tensor([0, 0, 1, 2]), names, fps=16.0)
    convert = ToKeyString(SANA_WM, table={"go": {"w": 1}, "turn": {"j": 1}, "jump": None})
    found = convert(line)
    assert found.value == "w-2,j-1,none-1"
    assert [loss.kind for loss in found.losses] == ["dropped"]
    with pytest.raises(ValueError, match="SANA-WM expected one for the discrete actions"):
        ToKeyString(SANA_WM)(line)
    with pytest.raises(ValueError, match=r"SANA-WM knows .* got \['x'\]"):
        ToKeyString(SANA_WM, table={"go": {"x": 1}, "turn": {}, "jump": {}})(line)


@pytest.mark.parametrize(
    ("text", "grammar", "message"),
    [
        ("", SANA_WM, "column 1 of '': expected <keys>-<duration>, got 'nothing'"),
        ("w-8,", SANA_WM, "column 5 .*expected <keys>-<duration>, got 'nothing'"),
        ("w-8,,a-1", SANA_WM, "column 5 "),
        ("w-8, jx-4", SANA_WM, "column 7 .*expected keys of ijklwasd, got 'x'"),
        ("W-8", SANA_WM, "column 1 .*got 'W'"),
        ("ww-8", SANA_WM, "column 2 .*each key once, got 'w'"),
        ("w8", SANA_WM, "column 1 .*got 'w8'"),
        ("-8", SANA_WM, "column 1 .*expected keys"),
        ("w-", SANA_WM, "column 3 .*a whole number from 1, got 'nothing'"),
        ("w-0", SANA_WM, "column 3 .*got '0'"),
        ("w-3,a-1.5", SANA_WM, "column 7 .*got '1.5'"),
        ("w-٣", SANA_WM, "column 3 "),
        ("w-3, right-0.5", HY_WORLDPLAY, "column 12 .*got '0.5'"),
        ("w-3, jump-1", HY_WORLDPLAY, "column 6 .*one of w, s, .*got 'jump'"),
        ("wd-1", HY_WORLDPLAY, "column 1 .*got 'wd'"),
    ],
)
def test_errors_point_at_the_column(text, grammar, message) -> None:
    with pytest.raises(ValueError, match=message):
        read_key_string(text, grammar)


def test_what_a_grammar_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="HY-WorldPlay has no word for holding no key"):
        ToKeyString(HY_WORLDPLAY)(buttons([[]] * 4, HY_WORLDPLAY.keys))
    with pytest.raises(ValueError, match="SANA-WM takes one row"):
        ToKeyString(SANA_WM)(Timeline.of(torch.zeros(2, 3, dtype=torch.int64), ("a",), fps=1.0))
    with pytest.raises(ValueError, match="at least one step"):
        ToKeyString(SANA_WM)(buttons([["w"]], SANA_WM.keys).with_actions(torch.zeros(0, 8)))
    with pytest.raises(ValueError, match=r"got none of them but \['throttle'\]; see Timeline"):
        ToKeyString(SANA_WM)(Timeline.of(torch.zeros(1, 1), ("throttle",), fps=1.0))


# ---- keys and motion ---------------------------------------------------------------------


def published() -> ModuleType:
    """The camera tools of diffusers' SANA-WM, without importing all of diffusers."""
    found = importlib.util.find_spec("diffusers")
    if found is None or not found.submodule_search_locations:
        pytest.skip("diffusers is not installed")
    path = Path(found.submodule_search_locations[0]) / "pipelines" / "sana_wm" / "cam_utils.py"
    if not path.exists():
        pytest.skip("this diffusers has no SANA-WM")
    pytest.importorskip("PIL")
    spec = importlib.util.spec_from_file_location("sana_cam_utils", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "text", ["w-8,jw-4,none-2,dl-5,as-3", "ik-3,jl-2", "i-4", "w-3,k-4", "jlw-3"]
)
def test_paths_are_those_of_sana_wm(text) -> None:
    """As long as nothing moves while the view is not level."""
    line = read_key_string(text, SANA_WM).value
    poses = MotionToPoses()(KeysToMotion(SANA_WM.motion)(line).value).value
    theirs = torch.from_numpy(published().action_string_to_c2w(text))
    assert torch.allclose(poses, theirs, atol=1e-5)


def test_their_parser_agrees_on_what_is_held() -> None:
    line = buttons([["w"], ["j", "w"], [], ["a", "i"]], SANA_WM.keys)
    theirs = published()._parse_action_string(ToKeyString(SANA_WM)(line).value)
    assert theirs == [["w"], ["j", "w"], [], ["a", "i"]]


def test_keys_add_up_and_opposite_ones_are_stated() -> None:
    motion = {"w": {"forward": 1.0}, "s": {"forward": -1.0}, "j": {"yaw": -2.0}}
    found = KeysToMotion(motion)(buttons([["w", "j"], ["w", "s"], [], []], ("w", "s", "j")))
    assert found.value.names == ("forward", "yaw")
    assert found.value.units == ("metre", "degree")
    assert found.value.actions.tolist() == [[1, -2], [0, 0], [0, 0], [0, 0]]
    assert found.sentences() == ("none, w+s: merged at 3 steps: they move alike",)


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(st.sampled_from(["", "w", "s", "l", "j", "wl"]), min_size=1, max_size=8))
def test_motion_finds_its_keys_again(rows) -> None:
    motion = {key: SANA_WM.motion[key] for key in ("w", "s", "j", "l")}
    line = buttons([list(row) for row in rows], tuple(motion))
    there = KeysToMotion(motion)(line)
    back = MotionToKeys(motion)(there.value)
    assert back.lossless
    assert back.value.same_as(line)


def test_other_speeds_are_rounded_to_a_key() -> None:
    line = Timeline.of(torch.tensor([[-12.0], [0.5], [0.7]]), ("yaw",), units=("degree",), fps=16.0)
    found = MotionToKeys(SANA_WM.motion)(line)
    assert ToKeyString(SANA_WM)(found.value).value == "j-1,none-1,l-1"
    (loss,) = found.losses
    assert (loss.kind, loss.component, loss.steps, loss.unit) == ("rounded", "yaw", 3, "degree")
    assert loss.largest == pytest.approx(10.8)
    for make, message in (
        (lambda: KeysToMotion({}), "at least one key"),
        (lambda: KeysToMotion({"w": {"north": 1.0}}), r"motion\['w'\]: expected components"),
        (lambda: MotionToKeys({"w": {"forward": 1.0, "yaw": 1.0}}), "expected one component"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
