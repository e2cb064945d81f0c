"""--json of the commands that need more than a panel: clips, a trunk, a protocol, the demo."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.test_cli_answers import documented_keys, strict
from tests.panels import sprite_panel
from wmscore.cli import main
from wmscore.manifest import Panel
from wmscore.networks.trunks import random_state
from wmscore.replay import render_truth
from wmscore.worlds.sprites import SpriteWorld

AXES = [{"axis": "perceptual_drift", "threshold": 0.6}]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    code = main([*words, "--json"])
    return code, strict(capsys.readouterr().out)


def test_ingest(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av")
    from wmscore.video import write_video

    panel = sprite_panel(scenarios=1, seeds=1, horizon=4, size=32, axes=AXES)
    panel.save("panel.json")
    truth = render_truth(panel, SpriteWorld(32, 32))
    for frames, branch in zip(truth.frames[:2], truth.branch[:2].tolist(), strict=True):
        write_video(Path("clips") / f"{panel.scenarios[0].id}_0_{branch}.mp4", frames, fps=10)
    code, found = answer(["ingest", "clips", "--panel", "panel.json", "--out", "runs"], capsys)
    assert code == 1  # a counterfactual script has no clip
    assert list(found) == documented_keys("replay")
    assert found["model"] == "clips"
    assert found["rows"] == 1
    assert found["faults"], found


def test_weights_convert(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({**random_state("alex", 0), "classifier.1.weight": torch.zeros(3, 4)}, "trunk.pth")
    code, found = answer(["weights", "convert", "trunk.pth", "trunk.safetensors"], capsys)
    assert code == 0
    assert list(found) == documented_keys("weights convert")
    assert (found["net"], found["source"]) == ("alex", "trunk.pth")
    assert found["bytes"] == Path("trunk.safetensors").stat().st_size
    assert re.fullmatch("[0-9a-f]{64}", found["source_sha256"])
    code, found = answer(["weights", "convert", "nowhere.pth", "t.safetensors"], capsys)
    assert code == 2
    assert "nowhere.pth" in found["error"]["message"]


def test_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    sprite_panel(scenarios=2, seeds=1, horizon=18, size=64, axes=AXES).save("panel.json")
    words = ["protocol", "gamengen", "panel.json", "--model", "frozen", "--windows", "16"]
    code, found = answer(words, capsys)
    assert code == 0, found
    assert (found["model"], found["scenarios"], found["rows"]) == ("frozen", 2, 2)
    assert found["forced"]["psnr"]["mean"] > 0


def test_demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    data = Panel.packaged("sprites").model_dump()
    data["scenarios"], data["seeds"] = data["scenarios"][:1], (0,)
    data["contract"]["horizon"] = 4
    small = Panel.from_dict(data)
    monkeypatch.setattr(Panel, "packaged", classmethod(lambda cls, name: small))
    code, found = answer(["demo", "--panel", "sprites", "--out", "evidence"], capsys)
    assert code == 0, found
    assert list(found) == documented_keys("demo")
    assert Path(found["report"]).is_file()
    assert found["panel"]["fingerprint"] == small.fingerprint
    assert {model["role"] for model in found["models"]} == {
        *("truth", "ceiling", "floor", "model"),
        *("one-step", "reconstruction"),
    }
    assert found["ladder"]["models"]
