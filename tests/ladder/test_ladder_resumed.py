"""A ladder that was interrupted goes on where it ended, and says what an uninterrupted one says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.panels import sprite_panel
from wmscore.evidence.stress import write_stress
from wmscore.ladder import Ladder, run_ladder
from wmscore.manifest import Panel
from wmscore.stressors import find
from wmscore.worlds import Frozen, WorldModel
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=32, width=32)


def small_panel() -> Panel:
    """One axis and one script each: what is scored does not matter here."""
    data = sprite_panel(scenarios=3, seeds=1, horizon=8, size=32).model_dump()
    data["axes"] = [{"axis": "perceptual_drift", "threshold": 0.6}]
    for scenario in data["scenarios"]:
        scenario["branches"] = []
    return Panel.from_dict(data)


PANEL = small_panel()
STRESSORS = [find("blur"), find("prompt-distractor"), find("horizon-extension")]
SEVERITIES = {"blur": (1, 2), "horizon-extension": (2,)}


class Killed(BaseException):
    """As from outside."""


class Mortal:
    """The true world, which dies when it is asked once more than it may; no horizon beyond 8."""

    name = "mortal"

    def __init__(self, world: WorldModel, lives: list[int], asked: list[str]) -> None:
        self.world, self.capabilities = world, world.capabilities
        self.lives, self.asked = lives, asked

    def rollout(self, items, horizon):
        if horizon > 8:
            raise NotImplementedError("8 steps at most")
        if not self.lives[0]:
            raise Killed
        self.lives[0] -= 1
        self.asked.append(items[0].panel)
        return replace(self.world.rollout(items, horizon), model=self.name)


def climb(lives: int = 99, **options: Any) -> tuple[Ladder, list[str]]:
    asked: list[str] = []
    left = [lives]

    def models(world: WorldModel) -> Sequence[WorldModel]:
        return [Mortal(world, left, asked), Frozen()]

    found = run_ladder(
        PANEL,
        models,
        WORLD,
        STRESSORS,
        severities=SEVERITIES,
        roles={"frozen": "floor"},
        batch_size=1,
        **options,
    )
    return found, asked


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[Ladder, list[str]]:
    """Three scenarios of the clean panel and of two rungs, one call each."""
    found, asked = climb()
    assert len(asked) == 9
    return found, asked


@pytest.mark.parametrize("lives", [1, 3, 4, 8])
def test_wherever_it_ends_it_goes_on_there_and_says_the_same(
    tmp_path: Path, lives: int, uninterrupted: tuple[Ladder, list[str]]
) -> None:
    whole, every = uninterrupted
    with pytest.raises(Killed):
        climb(lives, folder=tmp_path / "rungs")
    again, asked = climb(folder=tmp_path / "rungs")
    assert asked == every[lives - lives % 3 :]  # finished panels are not asked again
    for folder, ladder in (("whole", whole), ("again", again)):
        (tmp_path / folder).mkdir()
        write_stress(tmp_path / folder, ladder)
    for name in ("stress.csv", "stress.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_finished_ladder_asks_for_nothing_and_a_longer_one_for_what_is_new(
    tmp_path: Path,
) -> None:
    first, _ = climb(folder=tmp_path)
    told: list[tuple[str, int, int]] = []
    again, asked = climb(folder=tmp_path, progress=lambda *what: told.append(what))
    assert asked == []
    assert again.to_json() == first.to_json()
    assert again.exclusions() == [
        "prompt-distractor 1, 2, 4: " + again.exclusions()[0].split(": ", 1)[1],
        "horizon-extension 2 (mortal): 8 steps at most",
    ]
    whats = ["clean panel", "blur 1", "blur 2", "horizon-extension 2"]
    assert told == [(what, 3, 3) for what in whats]
    _, other = climb(folder=tmp_path, seed=1)  # drawn otherwise: other panels but for the clean one
    assert PANEL.fingerprint not in other
    assert len(other) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"made_by": "step 2000"}, "made_by: expected 'step 1000', got 'step 2000'"),
        ({"made_by": "step 1000", "scorer": {"takes_actions": True}}, "scorer: expected"),
    ],
)
def test_another_ladder_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    climb(folder=tmp_path, made_by="step 1000")
    with pytest.raises(ValueError, match=message):
        climb(folder=tmp_path, **change)


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something else"):
        climb(folder=tmp_path)
    (tmp_path / "ladder.json").write_text("[1]")
    with pytest.raises(ValueError, match="expected what a stress ladder wrote"):
        climb(folder=tmp_path)


MODELS = """
import os, signal
from dataclasses import replace
from wmscore.worlds import SpriteWorld

class Mortal:
    name, world = "mortal", SpriteWorld(32, 32)
    capabilities = world.capabilities
    calls = 0

    def rollout(self, items, horizon):
        Mortal.calls += 1
        with open("asked.txt", "a") as file:
            file.write(items[0].panel + "\\n")
        if os.environ.get("DIES") == str(Mortal.calls):
            os.kill(os.getpid(), signal.SIGKILL)
        found = self.world.rollout(items, horizon)
        frames = found.frames.clone()
        for row, item in enumerate(items):
            frames[row, 0] = item.frame
        return replace(found, frames=frames, model=self.name)

def mortal():
    return Mortal()
"""


def test_the_command_that_was_killed_goes_on_by_itself(tmp_path: Path) -> None:
    (tmp_path / "mortals.py").write_text(MODELS)
    PANEL.save(tmp_path / "panel.json")

    def run(out: str, dies: int | None = None) -> subprocess.CompletedProcess[str]:
        command = "-m wmscore stress panel.json --model mortals:mortal --stressor blur --stressor"
        command += f" noise --severity blur=1 --severity noise=8 --batch-size 1 --out {out}"
        return subprocess.run(
            [sys.executable, *command.split()],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "DIES": str(dies), "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    whole = run("whole")
    assert whole.returncode == 3, whole.stderr  # three scenarios: no verdict
    every = (tmp_path / "asked.txt").read_text().splitlines()
    assert len(every) == 9
    (tmp_path / "asked.txt").unlink()
    assert run("again", dies=5).returncode == -signal.SIGKILL
    assert {path.name for path in (tmp_path / "again").iterdir()} == {"rungs"}
    again = run("again")
    assert again.returncode == 3, again.stderr
    asked = (tmp_path / "asked.txt").read_text().splitlines()
    assert asked == every[:5] + every[3:]
    names = {path.name for path in (tmp_path / "whole").iterdir()}
    assert names == {path.name for path in (tmp_path / "again").iterdir()}
    assert "rungs" not in names
    for name in ("stress.csv", "stress.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert json.loads((tmp_path / "again" / "stress.json").read_text())["models"]["mortal"]
