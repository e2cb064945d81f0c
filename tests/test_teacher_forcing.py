"""One-step predictions from the true history: protocol, lifter, replay, recording, command line."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.panels import sprite_panel
from wmscore.cli import main
from wmscore.functional import error_accumulation, mse
from wmscore.manifest import Panel
from wmscore.recordings import Recording, record
from wmscore.replay import freeze_panel, render_truth, replay, replay_teacher_forced
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.testing import check_world_model, sprite_items
from wmscore.worlds import (
    Capabilities,
    Frozen,
    Item,
    ObservingStepModel,
    SpriteWorld,
    StepModel,
    StepOutput,
    TeacherForced,
    WorldModel,
)

HORIZON, SIZE = 8, 32
MOVES = torch.tensor([(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)])


class Panning:
    """A noise picture that is rolled by the action; the frame is all of the state."""

    name = "panning"
    capabilities = Capabilities(actions="discrete", fps=10.0, frame_size=(SIZE, SIZE))

    def __init__(self, brighter: int = 0) -> None:
        """Make each frame brighter than the one before: 0 is the true world."""
        self.brighter = brighter
        self.frames = torch.zeros(0)
        self.observed: list[Tensor] = []

    def reset(self, items: Sequence[Item]) -> StepOutput:
        shape = (3, SIZE, SIZE)
        self.frames = torch.stack(
            [
                torch.randint(200, shape, generator=torch.Generator().manual_seed(item.scenario))
                if item.frame is None
                else item.frame.long()
                for item in items
            ]
        )
        self.observed = []
        return self._show()

    def step(self, actions: Tensor) -> StepOutput:
        moved = [
            frame.roll(tuple(MOVES[action].tolist()), (-2, -1))
            for frame, action in zip(self.frames, actions, strict=True)
        ]
        self.frames = torch.stack(moved) + self.brighter
        return self._show()

    def observe(self, frames: Tensor) -> None:
        self.observed.append(frames)
        self.frames = frames.long()

    def _show(self) -> StepOutput:
        return StepOutput(frames=self.frames.to(torch.uint8))


WORLD = StepModel(Panning())


@pytest.fixture(scope="module")
def scene() -> tuple[Panel, Rollouts]:
    panel = sprite_panel(scenarios=2, seeds=2, horizon=HORIZON, size=SIZE)
    return freeze_panel(panel, render_truth(panel, WORLD), fps=10)


def batches(parts: Sequence[Rollouts]) -> tuple[Tensor, Tensor]:
    """Frames beside their references."""
    references = [part.reference[part.reference_index] for part in parts]  # type: ignore[index]
    return torch.cat([part.frames for part in parts]), torch.cat(references)


# ---- what offers it ----------------------------------------------------------------------


def test_who_is_teacher_forced() -> None:
    assert isinstance(Frozen(), TeacherForced)
    assert isinstance(ObservingStepModel(Panning()), TeacherForced)
    assert isinstance(ObservingStepModel(Panning()), WorldModel)
    assert not isinstance(StepModel(Panning()), TeacherForced)
    assert not isinstance(SpriteWorld(), TeacherForced)


def test_frozen_repeats_the_true_frame_before(scene) -> None:
    panel, truth = scene
    parts = list(replay_teacher_forced(panel, Frozen(WORLD), truth))
    frames, reference = batches(parts)
    assert frames[:, 0].equal(reference[:, 0])
    assert frames[:, 1:].equal(reference[:, :-1])
    assert all(part.labels is None for part in parts)


def test_the_lifter_steps_from_true_frames(scene) -> None:
    panel, truth = scene
    stepper = Panning(brighter=1)
    parts = list(replay_teacher_forced(panel, ObservingStepModel(stepper), truth, batch_size=4))
    frames, reference = batches(parts)
    assert frames[:, 0].equal(reference[:, 0])
    assert frames[:, 1:].equal(reference[:, 1:] + 1)
    # The stepper has seen frames 1..T - 1 of the last batch, in order, and not the last one.
    assert len(stepper.observed) == HORIZON - 1
    for t, seen in enumerate(stepper.observed, start=1):
        assert seen.equal(reference[-len(seen) :, t])


def test_a_rollout_observes_nothing(scene) -> None:
    panel, truth = scene
    stepper = Panning(brighter=1)
    list(replay(panel, ObservingStepModel(stepper), truth))
    assert stepper.observed == []


# ---- replay ------------------------------------------------------------------------------


def test_keys_and_references_are_those_of_the_replay(scene) -> None:
    panel, truth = scene
    model = ObservingStepModel(Panning(brighter=1))
    calls: list[tuple[int, int]] = []
    rolled = list(replay(panel, model, truth, batch_size=3))
    forced = list(
        replay_teacher_forced(
            panel, model, truth, batch_size=3, progress=lambda *done: calls.append(done)
        )
    )
    assert calls == [(3, 4), (4, 4)]
    assert [part.model for part in forced] == ["panning (teacher-forced)"] * 2
    for one, other in zip(rolled, forced, strict=True):
        for name in ("scenario", "seed", "branch", "actions", "reference", "reference_index"):
            assert getattr(one, name).equal(getattr(other, name))
        assert one.panel == other.panel == panel.fingerprint


def test_errors_of_a_known_step_accumulate_linearly(scene) -> None:
    """One level of brightness a step: t levels when rolled out, one when forced."""
    panel, truth = scene
    model = ObservingStepModel(Panning(brighter=1))

    def levels(parts: Sequence[Rollouts]) -> Tensor:
        frames, reference = batches(parts)
        return mse(frames[:, 1:], reference[:, 1:]).sqrt() * 255

    step = torch.arange(1, HORIZON + 1, dtype=torch.float64)
    rolled = levels(list(replay(panel, model, truth)))
    forced = levels(list(replay_teacher_forced(panel, model, truth)))
    torch.testing.assert_close(rolled, step.expand_as(rolled))
    torch.testing.assert_close(forced, torch.ones_like(forced))
    found = error_accumulation(rolled, forced)
    torch.testing.assert_close(found.ratio, step.expand_as(rolled))
    torch.testing.assert_close(found.slope, torch.ones(len(rolled), dtype=torch.float64))
    torch.testing.assert_close(found.exponent, torch.ones(len(rolled), dtype=torch.float64))


class Answering(Frozen):
    """Answers something else than it was asked."""

    def __init__(self, **changes: object) -> None:
        super().__init__(WORLD)
        self.changes = changes

    def predict_next(
        self, items: Sequence[Item], reference_frames: Tensor, horizon: int
    ) -> Rollouts:
        answer = super().predict_next(items, reference_frames, horizon)
        return replace(answer, **{k: v(answer) for k, v in self.changes.items()})  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": lambda r: r.seed + 1}, r"answered other rows than asked \(seed\)"),
        ({"actions": lambda r: r.actions * 0}, "expected the commanded actions"),
        ({"panel": lambda r: "other"}, "expected horizon 8 and panel"),
        ({"frames": lambda r: r.frames[..., :16]}, r"expected frames \[3, 32, 32\]"),
    ],
)
def test_an_answer_to_another_question_is_refused(scene, changes, message) -> None:
    panel, truth = scene
    with pytest.raises(ValueError, match=message):
        list(replay_teacher_forced(panel, Answering(**changes), truth))


def test_no_rollouts_is_no_answer(scene) -> None:
    class Silent(Frozen):
        """Answers with nothing."""

        def predict_next(self, items, reference_frames, horizon):
            return None

    with pytest.raises(
        TypeError, match="model 'frozen': expected Rollouts in answer, got NoneType"
    ):
        list(replay_teacher_forced(*scene[:1], Silent(), scene[1]))


def test_a_model_without_it_is_refused(scene, tmp_path: Path) -> None:
    panel, truth = scene
    message = r"model 'panning': offers no one-step predictions, expected a method predict_next"
    with pytest.raises(ValueError, match=message):
        list(replay_teacher_forced(panel, WORLD, truth))
    with pytest.raises(ValueError, match=message):
        record(tmp_path / "r", panel, WORLD, WORLD, teacher_forced=True)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        list(replay_teacher_forced(panel, Frozen(), truth, batch_size=0))


# ---- the contract ------------------------------------------------------------------------


class Forced(StepModel):
    """The panning world with a way of its own to predict the next frame."""

    def __init__(self, take: str) -> None:
        super().__init__(Panning())
        self.take = take

    def predict_next(
        self, items: Sequence[Item], reference_frames: Tensor, horizon: int
    ) -> Rollouts:
        rollouts = self.rollout(items, horizon)
        if self.take == "the frame itself":
            return replace(rollouts, frames=reference_frames.clone())
        if self.take == "the last frame":
            last = reference_frames[:, -1:].expand_as(reference_frames).clone()
            last[:, 0] = reference_frames[:, 0]
            return replace(rollouts, frames=last)
        if self.take == "no frame":
            return rollouts
        if self.take == "another seed":
            return replace(rollouts, seed=rollouts.seed + 1, frames=rollouts.frames[..., :-1])
        if self.take == "chance":
            noisy = rollouts.frames.clone()
            noisy[:, 1:] = torch.randint(256, noisy[:, 1:].shape)
            return replace(rollouts, frames=noisy)
        assert self.take == "another first frame"
        return replace(rollouts, frames=rollouts.frames + 1)


@pytest.fixture
def items() -> list[Item]:
    return sprite_items(2, HORIZON, world=SpriteWorld(SIZE, SIZE))


def broken(model: WorldModel, items: Sequence[Item]) -> list[str]:
    return [row.property for row in check_world_model(model, items, HORIZON).rows if not row.ok]


def test_honest_models_pass(items: list[Item]) -> None:
    for model in (ObservingStepModel(Panning()), ObservingStepModel(Panning(brighter=1)), Frozen()):
        if isinstance(model, Frozen):
            model = Frozen(SpriteWorld(SIZE, SIZE))
        report = check_world_model(model, items, HORIZON)
        report.raise_on_failure()
        assert [row.property for row in report.rows][-3:] == [
            "teacher-forced: answer",
            "teacher-forced: no leak",
            "teacher-forced: history",
        ]
    plain = check_world_model(StepModel(Panning()), items, HORIZON)
    assert not any("teacher" in row.property for row in plain.rows)


@pytest.mark.parametrize(
    ("take", "wrong"),
    [
        ("the frame itself", ["teacher-forced: no leak", "teacher-forced: history"]),
        ("the last frame", ["teacher-forced: no leak", "teacher-forced: history"]),
        ("no frame", ["teacher-forced: history"]),
        ("chance", ["teacher-forced: history"]),  # which hides a leak, and is no history
        ("another seed", ["teacher-forced: answer"]),
        ("another first frame", ["teacher-forced: answer"]),
    ],
)
def test_dishonest_models_do_not(take: str, wrong: list[str], items: list[Item]) -> None:
    assert broken(Forced(take), items) == wrong


def test_float_models_are_given_uint8(items: list[Item]) -> None:
    class Floating(ObservingStepModel):
        """Shows floating point frames."""

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            rollouts = super().rollout(items, horizon)
            return replace(rollouts, frames=rollouts.frames / 255)

        def predict_next(
            self, items: Sequence[Item], reference_frames: Tensor, horizon: int
        ) -> Rollouts:
            assert reference_frames.dtype == torch.uint8
            rollouts = super().predict_next(items, reference_frames, horizon)
            return replace(rollouts, frames=rollouts.frames / 255)

    check_world_model(Floating(Panning()), items, HORIZON).raise_on_failure()


# ---- recordings and the command line -----------------------------------------------------


def test_a_recording_says_so(scene, tmp_path: Path) -> None:
    model = ObservingStepModel(Panning(brighter=1))
    panel = record(tmp_path / "f", scene[0], WORLD, model, teacher_forced=True, batch_size=3)
    recording = Recording(tmp_path / "f", panel)
    assert (recording.model, recording.role) == ("panning (teacher-forced)", "model")
    frames, reference = batches(list(recording))
    assert frames[:, 1:].equal(reference[:, 1:] + 1)
    scorer = Scorer(panel)
    for rollouts in recording:
        scorer.update(rollouts)
    assert scorer.compute().model == "panning (teacher-forced)"


def test_both_side_by_side_from_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    monkeypatch.setenv("COLUMNS", "200")
    shutil.copy(__file__, tmp_path / "forced_models.py")
    axes = [{"axis": "perceptual_drift", "threshold": 0.6}]
    panel = sprite_panel(scenarios=2, seeds=1, horizon=HORIZON, size=SIZE, axes=axes)
    contract = panel.model_dump()["contract"] | {"world": "forced_models:make_world"}
    Panel.from_dict({**panel.model_dump(), "contract": contract}).save("panel.json")
    replayed = ["replay", "panel.json", "--model", "forced_models:make_model", "--out"]
    assert main([*replayed, "rolled"]) == 0
    assert main([*replayed, "forced", "--teacher-forced"]) == 0
    assert main(["score", "rolled", "forced", "--out", "evidence"]) == 0
    printed = capsys.readouterr().out
    assert "panning (teacher-forced)" in printed
    assert (tmp_path / "evidence" / "metrics.csv").exists()
    refused = ["replay", "panel.json", "--model", "world", "--out", "x", "--teacher-forced"]
    assert main(refused) == 2
    assert "offers no one-step predictions" in capsys.readouterr().err


def make_world() -> WorldModel:
    return StepModel(Panning())


def make_model() -> WorldModel:
    return ObservingStepModel(Panning(brighter=20))
