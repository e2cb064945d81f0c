"""The batch container: what it checks, how rows are taken, joined, matched, saved and refused."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from wmscore.manifest import Panel, PanelMismatchError
from wmscore.rollouts import Rollouts

B, T, C, H, W = 4, 3, 3, 5, 6

PANEL = Panel.from_dict(
    {
        "name": "p",
        "contract": {"actions": {"names": ["a", "b"]}, "horizon": T},
        "scenarios": [{"id": "s", "initial_state_id": "s", "actions": ["a", "b", "a"]}],
        "seeds": [0, 1, 2, 3],
        "axes": [{"axis": "perceptual_drift", "threshold": 0.5}],
    }
)


def make(**changes: object) -> Rollouts:
    generator = torch.Generator().manual_seed(0)

    def pixels(n: int) -> Tensor:
        return torch.randint(256, (n, T + 1, C, H, W), dtype=torch.uint8, generator=generator)

    values = {
        "frames": pixels(B),
        "actions": torch.zeros(B, T, dtype=torch.int64),
        "scenario": torch.tensor([0, 0, 1, 1]),
        "seed": torch.tensor([0, 1, 0, 1]),
        "branch": torch.zeros(B, dtype=torch.int64),
        "labels": torch.randint(4, (B, T + 1, H, W), dtype=torch.int16, generator=generator),
        "reference": pixels(2),
        "reference_labels": torch.randint(4, (2, T + 1, H, W), generator=generator),
        "reference_index": torch.tensor([0, 0, 1, 1]),
        "info": {"fault_step": torch.arange(B)},
        "model": "m",
        "panel": PANEL.fingerprint,
    }
    return Rollouts(**{**values, **changes})  # type: ignore[arg-type]


def assert_same(a: Rollouts, b: Rollouts) -> None:
    for f in fields(a):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if f.name == "info":
            assert x.keys() == y.keys()
            for key in x:
                torch.testing.assert_close(x[key], y[key], rtol=0, atol=0)
        elif isinstance(x, Tensor):
            torch.testing.assert_close(x, y, rtol=0, atol=0, check_dtype=True)
        else:
            assert x == y


def shown(rollouts: Rollouts) -> Tensor:
    """The reference frames that each row stands beside."""
    assert rollouts.reference is not None
    assert rollouts.reference_index is not None
    return rollouts.reference[rollouts.reference_index]


def test_defaults_and_repr():
    rollouts = make()
    assert len(rollouts) == B
    assert rollouts.horizon == T
    assert rollouts.valid.all()
    assert rollouts.reference_valid is not None
    assert rollouts.reference_valid.shape == (2, T + 1)
    assert "frames=uint8[4, 4, 3, 5, 6]" in repr(rollouts)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"frames": None}, TypeError, "frames: expected a tensor"),
        ({"frames": torch.zeros(B, T + 1, C, H)}, ValueError, r"frames: expected \[B, T\+1, C"),
        ({"frames": torch.zeros(B, T + 1, C, H, W, dtype=torch.int32)}, TypeError, "frames"),
        (
            {"frames": torch.zeros(B, 1, C, H, W, dtype=torch.uint8)},
            ValueError,
            "at least one step",
        ),
        ({"actions": torch.zeros(B, T + 1, dtype=torch.int64)}, ValueError, r"actions.*T=3"),
        ({"actions": torch.zeros(B, T)}, TypeError, "actions: expected torch.int64"),
        ({"actions": torch.zeros(B, T, 2, dtype=torch.int64)}, TypeError, "actions"),
        ({"valid": torch.ones(B, T, dtype=torch.bool)}, ValueError, "valid"),
        ({"valid": torch.ones(B, T + 1)}, TypeError, "valid"),
        ({"labels": torch.zeros(B, T + 1, H, W)}, TypeError, "labels: expected an integer"),
        ({"labels": torch.zeros(B, T + 1, H, W + 1).long()}, ValueError, "labels"),
        ({"seed": torch.zeros(B)}, TypeError, "seed"),
        ({"branch": torch.zeros(B + 1).long()}, ValueError, "branch"),
        ({"reference": torch.zeros(2, T + 1, C, H, W)}, TypeError, "reference: expected the fr"),
        ({"reference": torch.zeros(2, T, C, H, W).byte()}, ValueError, "reference"),
        ({"reference_index": torch.tensor([0, 0, 1, 2])}, ValueError, r"reference_index.*0\.\.1"),
        ({"reference_index": None}, ValueError, "reference_index"),
        ({"reference": None}, ValueError, "reference_labels: given without a reference"),
        ({"info": {"x": torch.zeros(B + 1)}}, ValueError, "info"),
    ],
)
def test_checks_name_the_argument(changes: dict, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        make(**changes)


def test_taking_rows_keeps_only_their_references():
    rollouts = make()
    last = rollouts[2:]
    assert len(last) == 2
    assert last.reference is not None
    assert last.reference.shape[0] == 1
    torch.testing.assert_close(shown(last), shown(rollouts)[2:])
    torch.testing.assert_close(last.info["fault_step"], torch.tensor([2, 3]))
    assert_same(rollouts[[3, 0]], rollouts[torch.tensor([3, 0])])
    assert_same(rollouts[-1], rollouts[3:])
    assert_same(rollouts[torch.tensor([True, False, True, False])], rollouts[[0, 2]])
    with pytest.raises(IndexError):
        rollouts[B]


def test_split_then_concat_is_the_same_rows():
    rollouts = make()
    for size in (1, 3, 64):
        again = Rollouts.concat(list(rollouts.split(size)))
        torch.testing.assert_close(again.frames, rollouts.frames)
        torch.testing.assert_close(shown(again), shown(rollouts))
        torch.testing.assert_close(again.info["fault_step"], rollouts.info["fault_step"])


def test_concat_refuses_what_does_not_belong_together():
    rollouts = make()
    with pytest.raises(ValueError, match="model: expected one"):
        Rollouts.concat([rollouts, replace(rollouts, model="other")])
    with pytest.raises(ValueError, match="panel: expected one"):
        Rollouts.concat([rollouts, replace(rollouts, panel="other")])
    with pytest.raises(ValueError, match="labels: given in some parts"):
        Rollouts.concat([rollouts, replace(rollouts, labels=None)])
    with pytest.raises(ValueError, match="expected at least one"):
        Rollouts.concat([])


def test_truth_is_matched_by_scenario_and_branch():
    alone = make().without_reference()
    assert alone.reference is None
    truth = make(scenario=torch.tensor([1, 0, 1, 0]), branch=torch.tensor([0, 0, 1, 1]))
    truth = truth.without_reference()
    beside = alone.with_reference(truth)
    torch.testing.assert_close(shown(beside), truth.frames[[1, 1, 0, 0]])
    assert beside.reference is not None
    assert beside.reference.shape[0] == 2
    with pytest.raises(ValueError, match="scenario 1, branch 0 is missing"):
        alone.with_reference(truth[[1]])
    with pytest.raises(ValueError, match="is there twice"):
        alone.with_reference(Rollouts.concat([truth, truth]))
    with pytest.raises(PanelMismatchError, match="truth: expected panel"):
        alone.with_reference(replace(truth, panel="other"))


def test_float_rollouts_get_a_float_truth():
    truth = make(scenario=torch.tensor([0, 1, 2, 3])).without_reference()
    alone = replace(truth, frames=truth.frames.float() / 255)
    torch.testing.assert_close(shown(alone.with_reference(truth)), alone.frames)


def test_save_and_load(tmp_path: Path):
    rollouts = make(latents=torch.rand(B, T + 1, 2))
    path = tmp_path / "r.safetensors"
    rollouts.save(path)
    assert_same(Rollouts.load(path, PANEL), rollouts)
    assert [p.name for p in tmp_path.iterdir()] == ["r.safetensors"]


def test_another_panels_file_is_refused(tmp_path: Path):
    path = tmp_path / "r.safetensors"
    make().save(path)
    other = Panel.from_dict({**PANEL.model_dump(), "seeds": [9]})
    with pytest.raises(PanelMismatchError, match="made for panel"):
        Rollouts.load(path, other)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="expected wmscore rollouts"):
        Rollouts.load(path, PANEL)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "r.safetensors"
    rollouts = make()
    rollouts.save(path)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("wmscore.tensorfile.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        replace(rollouts, model="new").save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["r.safetensors"]
    assert Rollouts.load(path, PANEL).model == "m"


def test_keys_stay_on_the_host():
    moved = make().to("meta")
    assert moved.frames.device.type == "meta"
    assert moved.seed.device.type == "cpu"
    assert moved.reference_index is not None
    assert moved.reference_index.device.type == "cpu"
