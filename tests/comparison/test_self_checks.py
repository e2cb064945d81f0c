"""`wmscore aa`: one recording, two recordings, another model, and what a person is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.panels import sprite_panel
from wmscore.cli import main
from wmscore.comparison.self_checks import SelfCheck, horizon_cells, self_check
from wmscore.functional import Reason
from wmscore.manifest import Panel, PanelMismatchError
from wmscore.replay import freeze_panel, render_truth, replay
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.testing import DroppedActions, Faulty, NoisyActions
from wmscore.worlds import SpriteWorld, WorldModel

SCENARIOS, SEEDS = 7, 4


def scored(panel: Panel, model: WorldModel) -> Scores:
    world = SpriteWorld(48, 48)
    panel, truth = freeze_panel(panel, render_truth(panel, world), fps=10.0)
    scorer = Scorer(panel)
    for rollouts in replay(panel, model, truth, batch_size=14):
        scorer.update(rollouts)
    return scorer.compute()


def model(share: float = 0.3) -> WorldModel:
    return Faulty(SpriteWorld(48, 48), NoisyActions(share))


@pytest.fixture(scope="module")
def first() -> Scores:
    return scored(sprite_panel(SCENARIOS, SEEDS), model())


@pytest.fixture(scope="module")
def second() -> Scores:
    panel = sprite_panel(SCENARIOS, SEEDS).model_copy(update={"seeds": (10, 11, 12, 13)})
    return scored(panel, model())


@pytest.fixture(scope="module")
def weaker() -> Scores:
    return scored(sprite_panel(SCENARIOS, SEEDS), Faulty(SpriteWorld(48, 48), DroppedActions(0.6)))


def with_steps(scores: Scores, steps: torch.Tensor) -> Scores:
    return replace(scores, horizon=replace(scores.horizon, steps=steps.flatten()))


def test_cells_are_the_rows(first: Scores) -> None:
    cells = horizon_cells(first)
    assert cells.shape == (SCENARIOS, SEEDS)
    for r, (s, seed) in enumerate(first.panel.rows()):
        assert cells[s, first.panel.seeds.index(seed)] == first.horizon.steps[r]
    unknown = replace(first.horizon, defined=first.horizon.defined.clone())
    unknown.defined[5] = False
    gone = horizon_cells(replace(first, horizon=unknown))
    assert gone.isnan().flatten().nonzero().flatten().tolist() == [5]
    assert self_check(replace(first, horizon=unknown), worlds=50).undefined == 1


def test_rows_that_tell_nothing_say_why(first: Scores) -> None:
    """What the model failed to answer is no row that never came, nor one without an axis."""
    kinds = [Reason.MODEL_ERROR, Reason.MODEL_ERROR, Reason.MISSING, Reason.DEFINED]
    horizon = replace(first.horizon, defined=first.horizon.defined.clone())
    horizon.defined[:4] = False
    fault = first.fault.clone()
    fault[:4] = torch.tensor([int(kind) for kind in kinds], dtype=torch.uint8)
    found = self_check(replace(first, horizon=horizon, fault=fault), worlds=50)
    assert (found.undefined, found.faults) == (4, {"missing": 1, "model_error": 2})
    assert (
        "4 rows without a usable horizon (1 x missing, 2 x model error, 1 x no axis to judge by) "
        "tell nothing here."
    ) in found.sentences()


def test_one_recording(first: Scores) -> None:
    found = self_check(first, worlds=500)
    assert (found.model, found.scenarios, found.seeds) == (first.model, SCENARIOS, SEEDS)
    assert found.outcome == "pass"
    assert found.recordings is None
    assert found.flips is None
    text = " ".join(found.sentences())
    assert "called different in" in text
    assert "No seed is lucky" in text
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["outcome"] == "pass"
    assert data["splits"]["chosen"]["rejected"] == found.splits.chosen.rejected
    assert data["luck"]["p_value"] == found.luck.p_value


def test_two_recordings(first: Scores, second: Scores) -> None:
    found = self_check(first, second, worlds=500)
    assert found.outcome == "pass"
    assert (found.seeds, found.repeated) == (2 * SEEDS, 0)
    assert "differ no more than seeds do" in " ".join(found.sentences())
    cells = horizon_cells(second).long() + torch.arange(SCENARIOS)[:, None].remainder(2) * 30
    other = self_check(first, with_steps(second, cells), worlds=50)
    assert other.outcome == "fail"
    assert other.recordings is not None
    assert other.recordings.p_value < 0.01
    assert "more has changed than the seed" in " ".join(other.sentences())


def test_a_recording_that_repeats_another(first: Scores) -> None:
    found = self_check(first, first, worlds=50)
    assert found.repeated == SCENARIOS * SEEDS
    assert f"{SCENARIOS * SEEDS} rows have the same seed and the same scores" in " ".join(
        found.sentences()
    )


def test_seeds_that_are_lucky_together(first: Scores) -> None:
    lucky = torch.tensor([0, 3, 6, 9]).expand(SCENARIOS, -1)
    found = self_check(with_steps(first, lucky), worlds=50)
    assert found.outcome == "fail"
    assert found.luck.p_value < 0.001
    assert "Some seeds are lucky in many scenarios at once" in " ".join(found.sentences())


def test_seeds_that_are_not_used(first: Scores) -> None:
    still = with_steps(first, torch.arange(SCENARIOS)[:, None].expand(-1, SEEDS))
    found = self_check(still, worlds=50)
    assert found.outcome == "undecided"
    assert "Seeds make no difference in any scenario" in " ".join(found.sentences())


def test_another_model(first: Scores, weaker: Scores) -> None:
    found = self_check(first, against=weaker, worlds=500)
    assert found.against == weaker.model
    assert [name for name, _ in found.tests()][3] == f"as {weaker.model}, alike on average"
    assert "alike on average, and each suited some scenarios" in found.sentences()[-1]


def test_what_cannot_be_compared(first: Scores, second: Scores) -> None:
    short = scored(sprite_panel(3, 2), model())
    with pytest.raises(PanelMismatchError, match="scenarios"):
        self_check(first, short)
    with pytest.raises(PanelMismatchError, match="seeds"):
        self_check(first, against=second)
    few = self_check(short, worlds=50)
    assert few.outcome == "undecided"
    assert "6 are needed" in few.sentences()[0]
    one = scored(sprite_panel(6, 1), model())
    with pytest.raises(ValueError, match="expected two seeds or more of the model, got 1"):
        self_check(one)


# ---- command -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, first: Scores, weaker: Scores) -> Path:
    (tmp_path / "scores").mkdir()
    for scores in (first, weaker):
        scores.save(tmp_path / "scores" / f"{scores.model}.safetensors")
    return tmp_path


def test_command(folder: Path, first: Scores, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["aa", str(folder), "--model", first.model, "--worlds", "500"]
    assert main([*call, "--against", "dropped-actions-0.6"]) == 0
    text = capsys.readouterr().out
    assert "sign flips of scenario means" in text
    assert "alike on average" in text
    assert "Outcome: pass" in text
    assert main([*call, "--json", "--out", str(folder / "aa.json")]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data == json.loads((folder / "aa.json").read_text(encoding="utf-8"))
    assert data == self_check(first, worlds=500).to_json()


def test_command_says_fail_and_undecided(
    tmp_path: Path, first: Scores, capsys: pytest.CaptureFixture[str]
) -> None:
    lucky = torch.tensor([0, 3, 6, 9]).expand(SCENARIOS, -1)
    with_steps(first, lucky).save(tmp_path / "lucky.safetensors")
    assert main(["aa", str(tmp_path / "lucky.safetensors"), "--worlds", "500"]) == 1
    with_steps(first, torch.full((SCENARIOS, SEEDS), 3)).save(tmp_path / "still.safetensors")
    assert main(["aa", str(tmp_path / "still.safetensors"), "--worlds", "500"]) == 3
    assert "Outcome: undecided" in capsys.readouterr().out


def test_command_asks_which_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["aa", str(folder)]) == 2
    assert "which model? It has" in capsys.readouterr().err
    assert main(["aa", str(folder), "--model", "none"]) == 2
    assert "no model 'none'; it has" in capsys.readouterr().err
    assert main(["aa", str(folder / "nowhere")]) == 2
    assert "no such evidence folder or score file" in capsys.readouterr().err


def test_result_is_frozen(first: Scores) -> None:
    found = self_check(first, worlds=20)
    assert isinstance(found, SelfCheck)
    with pytest.raises(AttributeError):
        found.model = "x"  # type: ignore[misc]
