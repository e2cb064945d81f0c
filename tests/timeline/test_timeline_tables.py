"""Tables and vectors: what arrives, what is lost, and what is refused."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wmscore.timeline import (
    ByName,
    ByTable,
    Chain,
    Converter,
    Loss,
    NearestAction,
    SameVector,
    Timeline,
)

TABLE = {
    "forward": {"w": 1.0},
    "left": {"yaw": -12.0},
    "right": {"yaw": 12.0},
    "arc": {"w": 1.0, "yaw": 12.0},
    "stop": {},
}
NAMES = tuple(TABLE)


def line(*words: str, names: tuple[str, ...] = NAMES) -> Timeline:
    return Timeline.of(torch.tensor([names.index(w) for w in words]), names, fps=20.0)


def test_a_table_gives_vectors() -> None:
    convert = ByTable(TABLE, components=("yaw", "w"), units=("degree", "button"))
    assert isinstance(convert, Converter)
    found = convert(line("forward", "arc", "stop"))
    assert found.value.tolist() == [[0, 1], [12, 1], [0, 0]]
    assert found.value.dtype == torch.float32
    assert found.lossless
    batch = Timeline.of(torch.tensor([[0, 1], [4, 3]]), NAMES, noop="stop", fps=20.0)
    assert convert(batch).value.shape == (2, 2, 2)
    vectors = convert.timeline(batch).value
    assert vectors.names == ("yaw", "w")
    assert vectors.units == ("degree", "button")
    assert vectors.space.noop == (0.0, 0.0)


def test_what_a_table_cannot_say_is_stated() -> None:
    convert = ByTable({**TABLE, "attack": None, "wait": {}})
    names = (*NAMES, "attack", "wait")
    found = convert(line("attack", "wait", "attack", "stop", names=names))
    assert found.value.tolist() == [[0, 0]] * 4
    assert found.losses == (
        Loss("dropped", "attack", 2, text="the model cannot express it, all components at 0"),
        Loss("merged", "stop, wait", 2, text="the model sees one action"),
    )
    assert convert(line("forward", names=names)).lossless


@settings(deadline=None, max_examples=30)
@given(words=st.lists(st.sampled_from(NAMES), min_size=1, max_size=8))
def test_the_nearest_action_undoes_a_table(words) -> None:
    start = line(*words)
    vectors = ByTable(TABLE, units=("button", "degree")).timeline(start)
    back = NearestAction(TABLE, noop="stop")(vectors.value)
    assert back.lossless
    assert back.value.words() == start.words()


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([0.0, 1.0]), st.floats(-30, 30, width=32)), min_size=1, max_size=6
    )
)
def test_losses_of_the_nearest_action_are_the_differences(rows) -> None:
    start = Timeline.of(torch.tensor(rows), ("w", "yaw"), units=("button", "degree"), fps=20.0)
    found = NearestAction(TABLE)(start)
    table = ByTable(TABLE, components=("w", "yaw"))
    gap = (table(found.value).value - start.actions).abs()
    for i, name in enumerate(("w", "yaw")):
        losses = [loss for loss in found.losses if loss.component == name]
        seen = gap[:, i] > 1e-6 * (1, 12)[i]
        assert len(losses) == int(bool(seen.any()))
        for loss in losses:
            assert loss.kind == "rounded"
            assert loss.steps == int(seen.sum())
            assert loss.largest == gap[:, i].max().item()
    # No action of the table is nearer.
    scale = torch.tensor([1.0, 12.0])
    known = torch.tensor([table.vector(name) for name in NAMES])
    every = ((start.actions[:, None] - known) / scale).norm(dim=-1)
    chosen = ((table(found.value).value - start.actions) / scale).norm(dim=-1)
    assert bool((chosen <= every.amin(1) + 1e-5).all())


def test_names_become_other_indices() -> None:
    convert = ByName(
        ("noop", "up", "left"), {"forward": "up", "stop": "noop", "jump": None}, fallback="noop"
    )
    names = ("left", "forward", "stop", "jump")
    found = convert(line("left", "forward", "jump", "jump", "stop", names=names))
    assert found.value.tolist() == [2, 1, 0, 0, 0]
    assert found.sentences() == (
        "jump: dropped at 2 steps: the model cannot express it, became 'noop'",
    )
    merged = ByName(("go",), {"a": "go", "b": "go"})(line("a", "b", "b", names=("a", "b")))
    assert merged.sentences() == ("a, b: merged at 3 steps: the model sees one action",)


def test_vectors_are_reordered_converted_scaled_and_clipped() -> None:
    start = Timeline.of(
        torch.tensor([[1.0, 9.0, -30.0], [0.0, 0.0, 45.0]]),
        ("w", "roll", "yaw"),
        units=("button", "degree", "degree"),
        fps=20.0,
    )
    convert = SameVector(
        ("yaw", "w", "gear"),
        units=("radian", "button", "number"),
        fill={"gear": 2.0},
        scale={"yaw": 2.0},
        limits={"yaw": (-math.pi, math.pi / 3)},
    )
    found = convert(start)
    assert found.value.tolist() == [
        [pytest.approx(-math.pi / 3), 1.0, 2.0],
        [pytest.approx(math.pi / 3), 0.0, 2.0],
    ]
    assert found.sentences() == (
        "yaw: clipped at 1 step, by up to 15 degree: to -90..30",
        "roll: dropped at 1 step, by up to 9 degree: the model does not have it",
    )
    assert found.losses[0].largest == pytest.approx(15, abs=1e-4)
    low = SameVector(("yaw",), limits={"yaw": (-20.0, 60.0)})(start)
    assert [(loss.kind, loss.steps, loss.largest) for loss in low.losses[:1]] == [
        ("clipped", 1, 10)
    ]
    turned = SameVector(("yaw",), scale={"yaw": -1.0}, limits={"yaw": (-20.0, 60.0)})(start)
    assert turned.losses[0].text == "to -60..20"
    assert (turned.losses[0].steps, turned.losses[0].largest) == (1, 25)


@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(st.tuples(*[st.floats(-1e3, 1e3, width=32)] * 3), min_size=1, max_size=5),
    order=st.permutations(["a", "b", "c"]),
)
def test_reordering_is_undone(rows, order) -> None:
    start = Timeline.of(torch.tensor(rows), ("a", "b", "c"), fps=20.0)
    there = SameVector(order)(start)
    back = SameVector(("a", "b", "c"))(Timeline.of(there.value, order, fps=20.0))
    assert there.lossless
    assert torch.equal(back.value, start.actions)


def test_chains_keep_all_losses() -> None:
    convert = Chain(
        ByTable({"go": {"w": 1.0, "x": 5.0}, "fly": None}, units=("button", "metre")).timeline,
        SameVector(("w",)),
    )
    found = convert(line("go", "fly", names=("go", "fly")))
    assert found.value.tolist() == [[1], [0]]
    assert [loss.kind for loss in found.losses] == ["dropped", "dropped"]
    assert [loss.component for loss in found.losses] == ["fly", "x"]
    with pytest.raises(TypeError, match="expected a Timeline from number 0, got Tensor"):
        Chain(ByTable(TABLE), ByTable(TABLE))(line("stop"))
    with pytest.raises(ValueError, match="at least one"):
        Chain()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ByTable({}), "table: expected at least one action"),
        (lambda: ByTable({"a": {}}), "table: expected at least one component"),
        (lambda: ByTable({"a": {"w": 1}}, components=("x",)), r"got also \['w'\]"),
        (lambda: ByTable({"a": {"w": 1}}, components=("w", "w")), "each once"),
        (lambda: ByTable({"a": {"w": 1}}, units=("button", "degree")), "units: expected one"),
        (lambda: ByTable({"a": {"w": math.nan}}), r"table\['a'\]\['w'\]: expected a number"),
        (lambda: ByTable(TABLE)(line("a", names=("a", "stop"))), r"got none for \['a'\]"),
        (
            lambda: ByTable(TABLE)(Timeline.of(torch.zeros(1, 1), ("w",), fps=1.0)),
            "ByTable needs discrete",
        ),
        (lambda: ByName(("a", "a")), "names: expected each once"),
        (lambda: ByName(("a",), {"x": "b"}), r"table\['x'\]: expected one of \['a'\]"),
        (lambda: ByName(("a",), {"x": None}), "fallback: expected the model's action"),
        (lambda: ByName(("a",), fallback="b"), "fallback: expected one of"),
        (lambda: ByName(("a",))(line("b", names=("b",))), r"got none for \['b'\]"),
        (lambda: NearestAction(TABLE, noop="jump"), "noop: expected one of"),
        (lambda: NearestAction(TABLE)(line("stop")), "NearestAction needs continuous"),
        (
            lambda: NearestAction(TABLE)(Timeline.of(torch.zeros(1, 1), ("w",), fps=1.0)),
            r"without \['yaw'\]",
        ),
        (lambda: SameVector(()), "names: expected"),
        (lambda: SameVector(("a",), units=("degree", "degree")), "units: expected one"),
        (lambda: SameVector(("a",), scale={"b": 1.0}), r"scale: .* got \['b'\]"),
        (lambda: SameVector(("a",), scale={"a": 0.0}), "other than 0"),
        (lambda: SameVector(("a",), limits={"a": (1.0, 0.0)}), "low <= high"),
        (lambda: SameVector(("a",))(line("stop")), "SameVector needs continuous"),
        (
            lambda: SameVector(("a", "b"))(Timeline.of(torch.zeros(1, 1), ("a",), fps=1.0)),
            r"without \['b'\]; fill=",
        ),
        (
            lambda: SameVector(("a",), units=("degree",))(
                Timeline.of(torch.zeros(1, 1), ("a",), fps=1.0)
            ),
            "expected 'a' in degree, got number",
        ),
    ],
)
def test_bad_input_is_refused(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()
