"""`wmscore panel new`, `wmscore panel check`, `wmscore check --resets`, plain torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from wmscore import replay
from wmscore.cli import main
from wmscore.cli.panel_check import warnings_of
from wmscore.manifest import Panel

MANIFEST = {
    "chapter": 39,
    "initial_state_id": "warehouse-turn-07",
    "action_script": ["forward", "forward", "left", "stop"],
    "max_horizon": 16,
    "evaluation_axis": "controllability",
    "accept_threshold": 0.7,
}
LEAKY = """
from dataclasses import replace
from wmscore.worlds import SpriteWorld

class Leaky(SpriteWorld):
    name = "leaky"
    last = 0

    def rollout(self, items, horizon):
        found = super().rollout(items, horizon)
        frames = found.frames.clone()
        frames[:, 1:] -= frames[:, 1:].clamp_max(self.last)
        Leaky.last = 9 * (items[0].scenario + 1 + int(items[0].actions[0]) % 2)
        return replace(found, frames=frames, model=self.name)

def model():
    return Leaky(64, 64)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def new(*words: str) -> Panel:
    assert main(["panel", "new", *words, "--out", "new.json"]) == 0
    return Panel.load("new.json")


def test_of_a_packaged_one() -> None:
    panel = new("--from", "sprites", "--scenarios", "3", "--seeds", "2", "--horizon", "10")
    whole = Panel.packaged("sprites")
    assert [s.id for s in panel.scenarios] == [s.id for s in whole.scenarios[:3]]
    assert (panel.seeds, panel.contract.horizon, panel.axes) == ((0, 1), 10, whole.axes)
    assert new("--from", "sprites").fingerprint == whole.fingerprint  # nothing is changed unasked


def test_a_measure_for_models_without_labels(capsys: pytest.CaptureFixture[str]) -> None:
    panel = new("--from", "sprites", "--measure", "identity_persistence=carried")
    assert [axis.measure for axis in panel.axes] == ["haarpsi", "carried", "agreement"]
    capsys.readouterr()
    for wrong, said in (
        ("identity=carried", "--measure: expected AXIS=MEASURE of"),
        ("identity_persistence=carry", "identity_persistence has the measures"),
    ):
        words = ["panel", "new", "--from", "sprites", "--measure", wrong, "--out", "x.json"]
        assert main(words) == 2
        assert said in capsys.readouterr().err


def test_of_a_manifest_with_a_world() -> None:
    Path("manifest.json").write_text(json.dumps(MANIFEST))
    panel = new("--from", "manifest.json", "--world", "mine:world", "--name", "warehouse")
    assert (panel.chapter, panel.contract.world, panel.name) == (39, "mine:world", "warehouse")
    assert panel.axes[0].threshold == 0.7


def test_of_a_world_scripts_are_drawn_by_the_seed() -> None:
    words = ("--world", "sprites", "--scenarios", "5", "--horizon", "12")
    panel = new(*words)
    assert panel.fingerprint == new(*words, "--seed", "0").fingerprint
    assert panel.fingerprint != new(*words, "--seed", "1").fingerprint
    assert [axis.axis for axis in panel.axes] == [
        *("perceptual_drift", "identity_persistence", "action_response")
    ]
    assert {len(scenario.scripts) for scenario in panel.scenarios} == {3}
    assert len({scenario.actions for scenario in panel.scenarios}) == 5
    assert [scenario.reset["seed"] for scenario in panel.scenarios] == [0, 1, 2, 3, 4]
    bare = new(*words, "--branches", "0", "--actions", "left", "right")
    assert [axis.axis for axis in bare.axes] == ["perceptual_drift", "identity_persistence"]
    assert bare.contract.actions.names == ("left", "right")
    assert main(["check", "world", "--panel", "new.json"]) in (0, 2)  # it can be rendered


def test_there_and_back_asks_for_reset_consistency() -> None:
    words = ("--world", "sprites", "--scenarios", "2", "--horizon", "12")
    panel = new(*words, "--there-and-back", "left=right", "up=down")
    assert "reset_consistency" in [axis.axis for axis in panel.axes]
    script = panel.scenarios[0].actions
    inverse = {"left": "right", "right": "left", "up": "down", "down": "up", "noop": "noop"}
    assert [inverse[str(a)] for a in script[:6]] == list(reversed(script[6:]))


def test_too_few_scenarios_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    few = new("--from", "sprites", "--scenarios", "3", "--seeds", "1")
    lines = " ".join(warnings_of(few))
    assert "no test can tell two models apart (p is at least 0.25)" in lines
    assert "One seed" in lines
    assert "no test" not in " ".join(warnings_of(new("--from", "sprites", "--scenarios", "6")))
    many = new("--world", "sprites", "--scenarios", "20", "--horizon", "32", "--seeds", "2")
    assert all("scenarios: " not in line for line in warnings_of(many))
    capsys.readouterr()
    assert main(["panel", "check", "new.json"]) == 0
    said = capsys.readouterr().out
    assert many.fingerprint[:12] in said
    assert "20 scenarios x 2 seeds = 40 rows, 120 rollouts" in " ".join(said.split())


def test_a_reset_that_forgets_nothing_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    Path("leaky_model.py").write_text(LEAKY)
    new("--from", "sprites", "--seeds", "1", "--horizon", "4", "--scenarios", "3")
    capsys.readouterr()
    assert main(["check", "leaky_model:model", "--panel", "new.json", "--resets", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["resets"]["leaks"]
    assert main(["check", "world", "--panel", "new.json", "--resets", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["resets"]
    assert (found["kind"], found["leaks"]) == (["bit-exact", "bit-exact"], False)


@pytest.mark.parametrize(("leaks", "code"), [(True, 1), (False, 0), (None, 3)])
def test_a_leak_alone_is_a_no(
    leaks: bool | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a model that keeps every promise; what could not be told is undecided."""
    check = replay.check_resets
    monkeypatch.setattr(
        replay, "check_resets", lambda *a, **b: replace(check(*a, **b), leaks=leaks)
    )
    new("--from", "sprites", "--seeds", "1", "--horizon", "4", "--scenarios", "2")
    assert main(["check", "world", "--panel", "new.json", "--resets", "--json"]) == code


def test_plain_torch_loads_no_kernels() -> None:
    code = "from wmscore.ops import kernels; print(any(kernels().ops.values()))"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    env.pop("WMSCORE_REQUIRE_KERNELS", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**env, "WMSCORE_PLAIN_TORCH": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
