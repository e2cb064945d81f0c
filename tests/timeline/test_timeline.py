"""Timelines: what they hold, how they are made, and which are refused."""

from dataclasses import replace

import pytest
import torch

from wmscore.manifest import Panel
from wmscore.testing import sprite_items
from wmscore.timeline import Conversion, Loss, Timeline, gather_losses, vector_space

NAMES = ("stay", "left", "right")


def panel(**observation: object) -> Panel:
    contract: dict[str, object] = {
        "actions": {"names": list(NAMES), "noop": "stay"},
        "horizon": 4,
    }
    if observation:
        contract["observation"] = observation
    scenario = {
        "id": "a",
        "initial_state_id": "a",
        "actions": ["left", "right"],
        "then": "noop",
        "branches": [{"name": "other", "actions": ["right"], "then": "hold"}],
    }
    axes = [{"axis": "perceptual_drift", "threshold": 0.5}]
    return Panel.model_validate(
        {
            "schema_version": 1,
            "name": "p",
            "contract": contract,
            "scenarios": [scenario],
            "axes": axes,
        }
    )


def test_discrete_actions_have_names_and_rest() -> None:
    line = Timeline.of(torch.tensor([1, 0, 2], dtype=torch.int32), NAMES, noop=0, fps=10.0)
    assert line.words() == ("left", "stay", "right")
    assert (line.steps, line.batched, line.discrete, line.units) == (3, False, True, ())
    assert line.actions.dtype == torch.int64
    assert line.rest is not None
    assert line.rest.item() == 0
    assert Timeline.of(line.actions, NAMES, noop="stay", fps=10.0).same_as(line)
    assert not Timeline.of(line.actions, NAMES, fps=10.0).same_as(line)
    assert Timeline.of(line.actions, NAMES, fps=10.0).rest is None
    assert repr(line) == "Timeline([3] discrete ['stay', 'left', 'right'] at 10 fps)"


def test_vectors_have_components_units_and_rest() -> None:
    actions = torch.tensor([[1.0, 2.5], [0.0, -1.0]], dtype=torch.float64)
    line = Timeline.of(actions, ("w", "yaw"), units=("button", "degree"), fps=10.0)
    assert line.component("yaw").tolist() == [2.5, -1.0]
    assert line.units == ("button", "degree")
    assert line.rest is not None
    assert line.rest.tolist() == [0, 0]
    plain = Timeline.of(actions, ("w", "yaw"), noop=(0.0, 1.0), fps=10.0)
    assert plain.units == ("number", "number")
    assert plain.rest is not None
    assert plain.rest.tolist() == [0, 1]
    renamed = line.renamed({"w": "forward"})
    assert renamed.names == ("forward", "yaw")
    assert torch.equal(renamed.actions, line.actions)


def test_a_batch_has_rows() -> None:
    line = Timeline.of(torch.tensor([[0, 1], [2, 2]]), NAMES, fps=10.0)
    assert line.batched
    assert [row.words() for row in line.rows()] == [("stay", "left"), ("right", "right")]
    (row,) = next(line.rows()).rows()
    assert row.words() == ("stay", "left")
    with pytest.raises(ValueError, match=r"words takes one row, got \[2, 2\]"):
        line.words()


def test_items_and_panels_give_timelines() -> None:
    items = sprite_items(2, seeds=(0,), branches=2)
    with pytest.raises(ValueError, match="the items leave it open"):
        Timeline.of_items(items)
    line = Timeline.of_items(items, fps=10.0)
    assert torch.equal(line.actions, torch.stack([item.actions for item in items]))
    assert line.names == items[0].action_names
    known = [replace(item, fps=12.0) for item in items]
    assert Timeline.of_items(known).fps == 12
    with pytest.raises(ValueError, match=r"fps: the items have 12\.0, got 10\.0"):
        Timeline.of_items(known, fps=10.0)
    with pytest.raises(ValueError, match=r"expected one fps, got 12\.0 and, of item 1, None"):
        Timeline.of_items([known[0], items[1]])
    with pytest.raises(ValueError, match="at least one"):
        Timeline.of_items([])
    mixed = [items[0], *sprite_items(1, seeds=(0,), branches=1, horizon=2)]
    with pytest.raises(ValueError, match="expected actions of one shape"):
        Timeline.of_items(mixed, fps=10.0)

    with pytest.raises(ValueError, match="the panel leaves it open"):
        Timeline.of_panel(panel(), 0)
    first = Timeline.of_panel(panel(), 0, fps=5.0)
    assert first.words() == ("left", "right", "stay", "stay")
    clocked = panel(height=8, width=8, fps=8.0)
    assert Timeline.of_panel(clocked, 0, 1).words() == ("right",) * 4
    assert Timeline.of_panel(clocked, 0, 1).fps == 8
    with pytest.raises(ValueError, match="the panel has 8"):
        Timeline.of_panel(clocked, 0, fps=9.0)


@pytest.mark.parametrize(
    ("actions", "options", "message"),
    [
        (torch.tensor([0, 3]), {}, r"expected 0\.\.2, got 0\.\.3"),
        (torch.tensor([-1, 1]), {}, r"expected 0\.\.2, got -1\.\.1"),
        (torch.zeros(2, 2, 2, dtype=torch.int64), {}, r"\[T\] or \[B, T\], got \[2, 2, 2\]"),
        (torch.tensor(1), {}, r"got \[\]"),
        (torch.zeros(2, 2), {}, r"\[T, 3\] or \[B, T, 3\], got \[2, 2\]"),
        (torch.zeros(3), {}, r"got \[3\]"),
        (torch.full((2, 3), torch.nan), {}, "NaN or infinity"),
        (torch.full((2, 3), 0.5), {"units": ["button"] * 3}, "button 'stay', got 0.5"),
        (torch.zeros(2, 3), {"units": ["degree"]}, "units"),
        (torch.zeros(2, 3), {"units": ["mile"] * 3}, "units"),
        (torch.tensor([0]), {"noop": 3}, r"noop: expected 0\.\.2, got 3"),
        (torch.tensor([0]), {"noop": "jump"}, "noop"),
        (torch.tensor([0]), {"fps": 0.0}, "fps: expected a positive number, got 0"),
        (torch.tensor([0]), {"fps": float("nan")}, "fps"),
    ],
)
def test_bad_actions_are_refused(actions, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        Timeline.of(actions, NAMES, **{"fps": 10.0, **options})


def test_bad_kinds_are_refused() -> None:
    with pytest.raises(TypeError, match=r"got torch\.bool"):
        Timeline.of(torch.tensor([True]), NAMES, fps=10.0)
    with pytest.raises(TypeError, match=r"expected torch\.float32 of a continuous space"):
        Timeline(torch.zeros(2, 1, dtype=torch.float64), vector_space(["x"]), 10.0)
    with pytest.raises(ValueError, match="names: expected at least one"):
        Timeline.of(torch.tensor([0]), (), fps=10.0)
    line = Timeline.of(torch.zeros(2, 1), ("x",), fps=10.0)
    with pytest.raises(ValueError, match=r"one of \['x'\], got 'y'"):
        line.component("y")
    with pytest.raises(ValueError, match="words needs discrete actions"):
        line.words()
    with pytest.raises(ValueError, match=r"names: expected some of \['x'\], got \['y'\]"):
        line.renamed({"y": "z"})
    two = Timeline.of(torch.zeros(2, 2), ("x", "y"), fps=10.0)
    with pytest.raises(ValueError, match="each once"):
        two.renamed({"x": "y"})


def test_losses_are_sentences_and_add_up() -> None:
    one = Loss("rounded", "yaw", 2, 0.25, "degree", "to buckets")
    assert str(one) == "yaw: rounded at 2 steps, by up to 0.25 degree: to buckets"
    assert str(Loss("dropped", "attack", 1)) == "attack: dropped at 1 step"
    two = Loss("rounded", "yaw", 3, 0.5, "degree", "to buckets")
    other = Loss("rounded", "yaw", 3, 0.5, "degree", "to more buckets")
    found = gather_losses([[one], [other, two]])
    assert found == (Loss("rounded", "yaw", 5, 0.5, "degree", "to buckets"), other)
    assert Conversion(1, (one,)).then(Conversion("x", (two,))).losses == found[:1]
    assert Conversion(1).lossless
    assert not Conversion(1, (one,)).lossless
    assert Conversion(1, (one,)).sentences() == (str(one),)
    with pytest.raises(ValueError, match="steps: expected at least 1, got 0"):
        Loss("dropped", "x", 0)
    with pytest.raises(ValueError, match="kind: expected one of"):
        Loss("lost", "x", 1)  # type: ignore[arg-type]
