"""Networks, oracles and one-step predictions from the command line to the evidence folder."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.panels import sprite_panel
from wmscore.cli import main
from wmscore.evidence.accumulation import accumulation_lines
from wmscore.evidence.folder import write_evidence
from wmscore.replay import freeze_panel, render_truth, replay
from wmscore.rollouts import TEACHER_FORCED
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.worlds import Frozen
from wmscore.worlds.sprites import SpriteWorld

ENCODER = """
import torch
from wmscore.networks import ModuleEncoder

def make():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, 4), torch.nn.ReLU())
    return ModuleEncoder(network.eval(), name="tiny")
"""


def test_score_takes_networks_and_an_oracle(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("encoder_of_this_test.py").write_text(ENCODER)
    axis = {"axis": "perceptual_drift", "measure": "feature_cosine", "encoder": "tiny"}
    panel = sprite_panel(
        scenarios=1, seeds=2, horizon=6, axes=[{**axis, "score": "skill", "threshold": 0.5}]
    )
    panel.save("panel.json")
    for name in ("world", "other-seed", "frozen"):
        assert main(["replay", "panel.json", "--model", name, "--out", f"runs/{name}"]) == 0
    folders = [f"runs/{name}" for name in ("world", "other-seed", "frozen")]
    assert main(["score", *folders, "--out", "without"]) == 2
    assert "pass it as Scorer(panel, encoder=...)" in capsys.readouterr().err
    by = ["--encoder", "encoder_of_this_test:make"]
    assert main(["score", *folders, *by, "--out", "alone"]) == 0
    assert main(["score", *folders, *by, "--oracle", "runs/other-seed", "--out", "ev"]) == 0
    scores = {s.model: s for s in map(Scores.load, Path("ev/scores").iterdir())}
    assert {s.provenance["oracle"] for s in scores.values()} == {"other-seed"}
    assert {s.provenance["encoder"] for s in scores.values()} == {
        Scores.load("alone/scores/frozen.safetensors").provenance["encoder"]
    }
    frozen = scores["frozen"].axes["perceptual_drift"].values
    assert frozen.nan_to_num().count_nonzero() == 0
    assert frozen.isfinite().any()
    with Path("ev/curves.csv").open() as file:
        roles = {row["model"]: row["role"] for row in csv.DictReader(file)}
    assert roles == {"sprites": "truth", "other-seed": "ceiling", "frozen": "floor"}


def scored() -> Scores:
    panel = sprite_panel(
        scenarios=2, seeds=1, horizon=8, axes=[{"axis": "perceptual_drift", "threshold": 0.5}]
    )
    world = SpriteWorld(height=48, width=48)
    panel, truth = freeze_panel(panel, render_truth(panel, world), fps=10)
    scorer = Scorer(panel)
    for rollouts in replay(panel, Frozen(), truth):
        scorer.update(rollouts)
    return scorer.compute()


def test_one_evidence_folder_takes_one_network(tmp_path: Path):
    first = scored()
    for part in ("lpips trunk", "encoder", "latent encoder", "oracle"):
        one, other = (
            replace(first, model=name, provenance={**first.provenance, part: value})
            for name, value in (("a", "11"), ("b", "22"))
        )
        with pytest.raises(ValueError, match=rf"'b' was scored with another {part} \(22\)"):
            write_evidence(tmp_path / "evidence", [one, other], lambda *_: None)


def test_the_postmortem_tells_how_errors_accumulate():
    """Rolled-out distances grow like the step, one-step distances stay: p = 1, ratio = steps."""
    scores = scored()
    assert list(accumulation_lines(scores, [scores])) == []
    steps = torch.arange(1.0, 9.0, dtype=torch.float64).expand(2, 8)

    def with_distance(distance: torch.Tensor, model: str) -> Scores:
        curve = replace(scores.measures["haarpsi_full"], values=1 - distance)
        return replace(scores, model=model, measures={"haarpsi_full": curve})

    rolled = with_distance(steps / 16, "model")
    forced = with_distance(torch.full_like(steps, 1 / 16), "model" + TEACHER_FORCED)
    (line,) = accumulation_lines(rolled, [rolled, forced])
    assert "distance by haarpsi_full at step 8 is 0.5 rolled out, 0.0625 one step" in line
    assert "history: 8 times as much" in line
    assert "with p = 1 " in line
    assert list(accumulation_lines(forced, [rolled, forced])) == []
    empty = replace(forced, measures={})
    assert list(accumulation_lines(rolled, [rolled, empty])) == []
