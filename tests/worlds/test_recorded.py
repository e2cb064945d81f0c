"""Recorded worlds: rows by episode, frame 0, what does not fit, the contract of world models."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.clip_files import lossless, moving, write_clip
from tests.panels import sprite_panel
from wmscore.episodes import (
    ClipFolder,
    Episode,
    EpisodeError,
    EpisodeKey,
    SourceFacts,
)
from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.replay import freeze_panel, panel_items, render_truth, replay_rows
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.testing import check_world_model
from wmscore.worlds import Item, RecordedWorld, WorldModel
from wmscore.worlds.sprites import SpriteWorld

pytest.importorskip("av")
WORLD = SpriteWorld(height=48, width=48)


class Kept:
    """Episodes in memory."""

    name = "kept"

    def __init__(self, episodes: Sequence[Episode], **facts: object) -> None:
        self.episodes = {episode.key: episode for episode in episodes}
        first = episodes[0]
        height, width = first.frames.shape[-2:]
        given: dict[str, object] = {"fps": first.fps, "frame_size": (height, width), **facts}
        self.facts = SourceFacts(**given)  # type: ignore[arg-type]

    def keys(self) -> Sequence[EpisodeKey]:
        return list(self.episodes)

    def read(self, key: EpisodeKey, *, start: int = 0, frames: int | None = None) -> Episode:
        return self.episodes[key].window(start, frames)


@pytest.fixture(scope="module")
def scene() -> tuple[Panel, Rollouts]:
    panel = sprite_panel(scenarios=2, seeds=1, horizon=8)
    return freeze_panel(panel, render_truth(panel, WORLD), fps=10)


@pytest.fixture(scope="module")
def clips(scene: tuple[Panel, Rollouts], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The truth as lossless clips."""
    panel, truth = scene
    folder = tmp_path_factory.mktemp("truth")
    for frames, s, branch in zip(truth.frames, truth.scenario, truth.branch, strict=True):
        lossless(folder / f"{panel.scenarios[int(s)].id}_0_{int(branch)}.mkv", frames)
    return folder


def items_of(scene: tuple[Panel, Rollouts]) -> list[Item]:
    return panel_items(scene[0], truth=scene[1])


def episode(item: Item, frames: Tensor, **changes: object) -> Episode:
    key = EpisodeKey(id=f"{item.scenario_id}-{item.branch}", scenario=item.scenario_id,
                     branch=item.branch)  # fmt: skip
    return Episode(**{"key": key, "frames": frames, "fps": 10.0, **changes})  # type: ignore[arg-type]


def test_lossless_clips_of_the_truth_are_the_truth(
    scene: tuple[Panel, Rollouts], clips: Path
) -> None:
    panel, truth = scene
    model = RecordedWorld(ClipFolder(clips), name="films")
    assert isinstance(model, WorldModel)
    rollouts = model.rollout(items_of(scene), 8)
    assert torch.equal(rollouts.frames, truth.frames)
    assert bool(rollouts.valid.all())
    assert model.codec is None
    scorer = Scorer(panel)
    scorer.update(replay_rows(panel, model, truth, list(panel.rows())))
    scores = scorer.compute()
    assert not scores.fault.logical_and(scores.fault != int(Reason.NO_LABELS)).any()
    assert float(scores.axes["perceptual_drift"].values.min()) == pytest.approx(1.0)


@pytest.mark.parametrize("known", [False, True])
def test_the_contract_of_world_models(
    scene: tuple[Panel, Rollouts], clips: Path, known: bool
) -> None:
    model = RecordedWorld(ClipFolder(clips))
    if known:
        items = items_of(scene)
        episodes = [
            episode(item, frames, actions=item.actions)
            for item, frames in zip(items, scene[1].frames, strict=True)
        ]
        model = RecordedWorld(
            Kept(episodes, actions="discrete", action_names=items[0].action_names)
        )
    report = check_world_model(model, items_of(scene), 8)
    # Scripts under which nothing was recorded are refused where the actions are known.
    expected = [("action effect", "refused")] if known else []
    assert [(row.property, row.observed) for row in report.rows if not row.ok] == expected


def test_recordings_can_be_the_true_world(scene: tuple[Panel, Rollouts], clips: Path) -> None:
    panel, truth = scene
    again = render_truth(panel, RecordedWorld(ClipFolder(clips)))
    assert torch.equal(again.frames, truth.frames)
    item = replace(items_of(scene)[0], noise_seed=3)
    with pytest.raises(ValueError, match="cannot run again with other randomness"):
        RecordedWorld(ClipFolder(clips)).rollout([item], 8)


def test_an_episode_without_a_seed_answers_every_seed(scene: tuple[Panel, Rollouts]) -> None:
    item = items_of(scene)[0]
    model = RecordedWorld(Kept([episode(item, moving(9, 48, 48))]))
    assert not model.capabilities.seedable
    rollouts = model.rollout([item, replace(item, seed=77)], 8)
    assert torch.equal(rollouts.frames[0], rollouts.frames[1])
    assert rollouts.seed.tolist() == [item.seed, 77]


def test_rows_without_an_episode_are_named(scene: tuple[Panel, Rollouts]) -> None:
    item, branch = items_of(scene)[:2]
    model = RecordedWorld(Kept([episode(item, moving(9, 48, 48))]), name="films")
    with pytest.raises(EpisodeError, match="films: expected an episode for scenario 'scene-1'"):
        model.rollout([replace(item, scenario_id="scene-1")], 8)
    with pytest.raises(EpisodeError, match=r"branch 1.*`Panel.without_actions` asks"):
        model.rollout([branch], 8)
    twice = [replace_key(episode(item, moving(9, 48, 48)), name) for name in "ab"]
    with pytest.raises(EpisodeError, match="one episode for each row, got 'a' and 'b'"):
        RecordedWorld(Kept(twice))


def replace_key(episode: Episode, name: str) -> Episode:
    return replace(episode, key=replace(episode.key, id=name))


def test_a_short_episode_has_no_frames_from_its_end_on(scene: tuple[Panel, Rollouts]) -> None:
    panel, truth = scene
    items = items_of(scene)
    short = {items[0].scenario_id: 5}
    episodes = [
        episode(item, truth.frames[row, : short.get(item.scenario_id, 9)])
        for row, item in enumerate(items)
    ]
    rollouts = RecordedWorld(Kept(episodes)).rollout(items, 8)
    assert rollouts.valid[0].tolist() == [True] * 5 + [False] * 4
    assert torch.equal(rollouts.frames[0, 5:], truth.frames[0, 4:5].expand(4, -1, -1, -1))
    assert bool(rollouts.valid[-1].all())
    scorer = Scorer(panel)
    scorer.update(rollouts.with_reference(truth))
    assert scorer.compute().fault.tolist()[0] == int(Reason.SHORT)


# ---- frame 0 ---------------------------------------------------------------------------------


def started(
    scene: tuple[Panel, Rollouts], tmp_path: Path, frames: Tensor, **options: object
) -> Rollouts:
    item = items_of(scene)[0]
    write_clip(tmp_path / f"{item.scenario_id}_0_0.mp4", frames, options={"crf": "24"})
    model = RecordedWorld(ClipFolder(tmp_path), **options)  # type: ignore[arg-type]
    assert model.codec is not None
    return model.rollout([item], 8)


def test_a_codec_may_change_the_given_frame(scene: tuple[Panel, Rollouts], tmp_path: Path) -> None:
    truth = scene[1].frames[0]
    rollouts = started(scene, tmp_path, truth)
    assert torch.equal(rollouts.frames[0, 0], truth[0])
    assert not torch.equal(rollouts.frames[0, 1], truth[1])
    assert 24 < float(rollouts.info["first_frame_psnr"]) < 60


def test_another_moment_is_not_taken_for_the_given_frame(
    scene: tuple[Panel, Rollouts], tmp_path: Path
) -> None:
    panel, truth = scene
    # The clip begins two frames before the given one.
    shifted = torch.cat([moving(2, 48, 48, seed=9), truth.frames[0]])
    rollouts = started(scene, tmp_path, shifted)
    assert not torch.equal(rollouts.frames[0, 0], truth.frames[0, 0])
    assert float(rollouts.info["first_frame_psnr"]) < 20
    # and the scorer says what is wrong
    scorer = Scorer(panel.without_actions())
    own = replace(truth, panel=panel.without_actions().fingerprint)
    rollouts = replace(rollouts, panel=own.panel)
    scorer.update(rollouts.with_reference(own))
    assert scorer.compute().fault.tolist()[0] == int(Reason.RESET_MISMATCH)


def test_a_clip_that_begins_a_moment_early_is_found_out(
    scene: tuple[Panel, Rollouts], tmp_path: Path
) -> None:
    truth = scene[1].frames[0]
    early = truth[:1].roll(1, dims=-1)  # nearly the given frame, which comes right after
    rollouts = started(scene, tmp_path, torch.cat([early, truth]), first_frame_psnr=10.0)
    assert float(rollouts.info["first_frame_psnr"]) > 10
    assert not torch.equal(rollouts.frames[0, 0], truth[0])
    # The same frame is close enough where none after it is closer.
    rollouts = started(
        scene, tmp_path, torch.cat([early, truth[7:].repeat(4, 1, 1, 1)]), first_frame_psnr=10.0
    )
    assert torch.equal(rollouts.frames[0, 0], truth[0])


def test_how_close_is_close_can_be_said(scene: tuple[Panel, Rollouts], tmp_path: Path) -> None:
    truth = scene[1].frames[0]
    rollouts = started(scene, tmp_path, truth, first_frame_psnr=60.0)
    assert not torch.equal(rollouts.frames[0, 0], truth[0])


def test_an_ignored_box_does_not_count(scene: tuple[Panel, Rollouts], tmp_path: Path) -> None:
    marked = scene[1].frames[0].clone()
    marked[:, :, :16, :16] = 255
    assert not torch.equal(started(scene, tmp_path, marked).frames[0, 0], scene[1].frames[0, 0])
    rollouts = started(scene, tmp_path, marked, ignore=[(0, 0, 16, 16)])
    assert torch.equal(rollouts.frames[0, 0], scene[1].frames[0, 0])


def test_an_exact_recording_must_begin_exactly(scene: tuple[Panel, Rollouts]) -> None:
    item = items_of(scene)[0]
    frames = scene[1].frames[0].clone()
    frames[0, 0, 0, 0] ^= 1
    rollouts = RecordedWorld(Kept([episode(item, frames)])).rollout([item], 8)
    assert torch.equal(rollouts.frames[0], frames)


# ---- what does not fit -----------------------------------------------------------------------


def test_another_size_is_refused(scene: tuple[Panel, Rollouts]) -> None:
    item = items_of(scene)[0]
    model = RecordedWorld(Kept([episode(item, moving(9, 32, 48))]))
    with pytest.raises(EpisodeError, match=r"expected frames of 48x48 .* got 32x48"):
        model.rollout([item], 8)


def test_another_rate_is_refused_or_resampled(scene: tuple[Panel, Rollouts]) -> None:
    item = items_of(scene)[0]
    frames = moving(30, 48, 48)
    source = Kept([episode(item, frames, fps=30.0)])
    with pytest.raises(EpisodeError, match=r"expected 10 frames per second .* got 30"):
        RecordedWorld(source).rollout([item], 8)
    rollouts = RecordedWorld(source, resample=True).rollout([item], 8)
    assert torch.equal(rollouts.frames[0], frames[0:25:3])
    source = Kept([episode(item, frames[:5], fps=5.0)])
    rollouts = RecordedWorld(source, resample=True).rollout([item], 8)
    assert torch.equal(rollouts.frames[0], frames[[0, 0, 1, 1, 2, 2, 3, 3, 4]])
    assert bool(rollouts.valid.all())


def test_other_actions_than_commanded_are_refused(scene: tuple[Panel, Rollouts]) -> None:
    item = items_of(scene)[0]
    known = {"actions": "discrete", "action_names": item.action_names}
    frames = moving(9, 48, 48)
    right = Kept([episode(item, frames, actions=item.actions)], **known)
    assert RecordedWorld(right).capabilities.actions == "discrete"
    RecordedWorld(right).rollout([item], 8)
    other = item.actions.clone()
    other[3] = (other[3] + 1) % len(item.action_names)
    wrong = Kept([episode(item, frames, actions=other)], **known)
    with pytest.raises(EpisodeError, match="under other actions than commanded, the first at st"):
        RecordedWorld(wrong).rollout([item], 8)
    model = RecordedWorld(wrong, actions="ignore")
    model.rollout([item], 8)
    assert "recorded actions were not compared with the commanded ones" in model.conversion_losses


def test_actions_by_hand_may_come_a_little_early_or_late(scene: tuple[Panel, Rollouts]) -> None:
    item = replace(items_of(scene)[0], actions=torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]))
    facts = {"actions": "discrete", "action_names": item.action_names, "actions_exact": False}

    def at(first: int, **options: int) -> RecordedWorld:
        late = torch.tensor([0] * first + [1] * (8 - first))
        return RecordedWorld(
            Kept([episode(item, moving(9, 48, 48), actions=late)], **facts), **options
        )

    for first in (2, 3, 5, 6):  # a quarter of a second at 10 frames per second
        at(first).rollout([item], 8)
    for first in (1, 7):
        with pytest.raises(EpisodeError, match="and not 2 steps off"):
            at(first).rollout([item], 8)
    with pytest.raises(EpisodeError, match="under other actions"):
        at(3, action_slack=0).rollout([item], 8)
    at(1, action_slack=3).rollout([item], 8)


def test_nothing_is_promised_about_actions_that_are_not_known(clips: Path) -> None:
    model = RecordedWorld(ClipFolder(clips))
    assert model.capabilities.actions == "none"
    assert "the actions under which the frames were made are not known" in model.conversion_losses
