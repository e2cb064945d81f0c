"""The two model families: what they promise, what they learn, and that their files hold them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wmscore.attribution import companion_signal, diagnose
from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.replay import (
    panel_items,
    render_truth,
    replay,
    replay_reconstruction,
    replay_rows,
    replay_teacher_forced,
)
from wmscore.scorer import Scorer
from wmscore.testing import check_world_model
from wmscore.worlds import Frozen, Item, Reconstructing, TeacherForced, packaged_models
from wmscore.worlds.learned import FlowNet, FlowNetModel, fit_linear_latent
from wmscore.worlds.learned.flow import HELD, held
from wmscore.worlds.learned.objects import erased, shown_by_change
from wmscore.worlds.learned.packaged import read_models, write_models
from wmscore.worlds.sprites import SpriteWorld

NAMES = ("noop", "left", "right", "up", "down")


def turning(rows: int = 6, steps: int = 12) -> tuple[Tensor, Tensor]:
    """Frames whose brightness goes up under action 1 and down under action 2."""
    generator = torch.Generator().manual_seed(0)
    actions = torch.randint(0, 3, (rows, steps), generator=generator)
    level = torch.cat([torch.zeros(rows, 1), ((actions == 1).float() - (actions == 2).float())], 1)
    level = 128 + 6 * level.cumsum(1)
    frames = level[:, :, None, None, None].expand(-1, -1, 3, 16, 16).round().to(torch.uint8)
    return frames.clone(), actions


def test_linear_dynamics_are_found_in_closed_form() -> None:
    frames, actions = turning()
    model = fit_linear_latent(
        frames,
        actions,
        components=2,
        small=(4, 4),
        strength=1e-6,
        action_names=NAMES[:3],
        fps=10.0,
    )
    latents = model.encode(frames[0, :1])
    for t in range(actions.shape[1]):
        latents = model.step(latents, actions[0, t : t + 1])
        shown = model.decode(latents)
        assert (shown.int() - frames[0, t + 1].int()).abs().max() <= 1
    assert torch.allclose(model.basis.T @ model.basis, torch.eye(2), atol=1e-5)
    with pytest.raises(ValueError, match="components"):
        fit_linear_latent(
            frames[:1, :2],
            actions[:1, :1],
            components=9,
            small=(4, 4),
            action_names=NAMES[:3],
            fps=10.0,
        )


@pytest.fixture(scope="module")
def panel() -> Panel:
    data = Panel.packaged("sprites").model_dump()
    data["scenarios"] = data["scenarios"][:3]
    data["seeds"] = [0]
    return Panel.from_dict(data)


@pytest.mark.parametrize("which", [0, 1], ids=["linear-latent", "flow-net"])
def test_the_packaged_models_keep_their_promises(panel: Panel, which: int) -> None:
    model = packaged_models(panel)[which]
    assert isinstance(model, TeacherForced)
    assert isinstance(model, Reconstructing) == (which == 0)
    size = model.capabilities.frame_size
    truth = render_truth(panel, SpriteWorld(*size))
    report = check_world_model(model, panel_items(panel, truth=truth)[:2], 6)
    assert report.ok, report.table()


def test_the_packaged_models_beat_a_photograph(panel: Panel) -> None:
    models = packaged_models(panel)
    world = SpriteWorld(*models[0].capabilities.frame_size)
    truth = render_truth(panel, world)
    found = {}
    for model in (*models, Frozen()):
        scorer = Scorer(panel)
        for rollouts in replay(panel, model, truth):
            scorer.update(rollouts)
        scores = scorer.compute()
        found[model.name] = {a: float(c.values[:, :8].nanmean()) for a, c in scores.axes.items()}
    assert found["flow-net"]["action_response"] > 0.3
    assert found["flow-net"]["perceptual_drift"] > found["frozen"]["perceptual_drift"]
    assert found["linear-latent"]["action_response"] > found["frozen"]["action_response"]


def test_a_file_holds_the_models(tmp_path: Path, panel: Panel) -> None:
    frames, actions = turning()
    linear = fit_linear_latent(
        frames, actions, components=2, small=(4, 4), action_names=NAMES[:3], fps=10.0
    )
    torch.manual_seed(0)
    network = FlowNet(3, channels=4, small=(8, 8))
    write_models(tmp_path / "x.safetensors", linear, network, {"seed": 0})
    again, flow = read_models(tmp_path / "x.safetensors")
    assert torch.allclose(again.maps, linear.maps, atol=2e-3)
    assert again.action_names == NAMES[:3]
    assert isinstance(flow, FlowNetModel)
    before = network.state_dict()
    for name, value in flow.network.state_dict().items():
        assert torch.allclose(value, before[name], atol=1e-3)


def test_models_of_another_world_are_refused(panel: Panel) -> None:
    data = panel.model_dump()
    data["contract"]["world"] = "mine:world"
    with pytest.raises(ValueError, match="no trained models"):
        packaged_models(Panel.from_dict(data))
    data["contract"]["world"] = "sprites"
    data["contract"]["observation"] = {"height": 32, "width": 32, "fps": 10.0}
    with pytest.raises(ValueError, match="trained at"):
        packaged_models(Panel.from_dict(data))
    turned = panel.model_dump(mode="json", exclude_none=True)
    turned["contract"]["actions"]["names"].reverse()
    with pytest.raises(ValueError, match="were trained with"):
        packaged_models(Panel.from_dict(turned))


def test_the_linear_latent_is_in_the_rollouts(panel: Panel) -> None:
    model = packaged_models(panel)[0]
    truth = render_truth(panel, SpriteWorld(*model.capabilities.frame_size))
    found = replay_rows(panel, model, truth, [(0, 0)])
    assert found.latents is not None
    assert found.latents.shape[:2] == found.frames.shape[:2]


def asked(frame: Tensor, labels: Tensor, actions: list[int], names: tuple[str, ...]) -> Item:
    return Item(
        panel="p",
        scenario=0,
        scenario_id="s",
        initial_state_id="s",
        seed=0,
        branch=0,
        actions=torch.tensor(actions),
        action_names=names,
        noop=0,
        frame=frame,
        labels=labels,
    )


def test_how_long_an_action_is_held_is_counted() -> None:
    actions = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 1], [1, 0, 1]])
    assert held(actions).tolist() == [0, 1, 2, 0]


def test_the_flow_takes_labels_along() -> None:
    network = FlowNet(2, channels=4, small=(8, 8))
    with torch.no_grad():  # action 1 shows what lies two pixels further right
        network.field[HELD : 2 * HELD, 0] = 2 * 2 / 16
    model = FlowNetModel(network, action_names=("noop", "right"), fps=10.0, size=(16, 16))
    labels = torch.zeros(16, 16, dtype=torch.int16)
    labels[4:8, 6:10] = 7
    frame = (labels[None].expand(3, -1, -1) * 30).to(torch.uint8)
    item = asked(frame, labels, [0, 1, 1], ("noop", "right"))
    found = model.rollout([item], 3)
    assert found.labels is not None
    assert found.labels.dtype == labels.dtype
    for t, shift in enumerate((0, 0, 2, 4)):
        assert torch.equal(found.labels[0, t], torch.roll(labels, -shift, 1))
        assert torch.equal(found.frames[0, t, 0] > 100, found.labels[0, t] == 7)
    assert model.rollout([replace(item, labels=None)], 3).labels is None
    with pytest.raises(ValueError, match="labels in all or none, got 1 of 2"):
        model.rollout([item, replace(item, labels=None)], 3)


def test_what_has_left_the_picture_is_lost() -> None:
    network = FlowNet(3, channels=4, small=(8, 8))
    with torch.no_grad():
        network.field[HELD : 2 * HELD, 0] = 1.0
        network.field[2 * HELD :, 0] = -1.0
    names = ("noop", "right", "left")
    model = FlowNetModel(network, action_names=names, fps=10.0, size=(16, 16))
    labels = torch.zeros(16, 16, dtype=torch.int16)
    labels[4:8, 2:6] = 7
    frame = torch.zeros(3, 16, 16, dtype=torch.uint8)
    item = asked(frame, labels, [1, 2], names)
    shown = model.rollout([item], 2).labels
    assert shown is not None
    assert [int((shown[0, t] == 7).sum()) for t in range(3)] == [16, 0, 0]


def test_an_object_is_where_the_picture_would_be_another_without_it() -> None:
    labels = torch.zeros(8, 8, dtype=torch.int64)
    labels[1:3, 1:3], labels[5:7, 5:7] = 3, 9
    frame = torch.full((3, 8, 8), 50, dtype=torch.uint8)
    frame[:, labels == 3], frame[:, labels == 9] = 200, 10
    ids = torch.tensor([3, 9])
    without = erased(frame, labels, ids)
    assert torch.equal(without[0] != frame, (labels == 3).expand(3, -1, -1))
    assert int(without[0, 0, 1, 1]) == 50
    change = (without.double() - frame.double()).abs().mean(1) / 255
    assert torch.equal(shown_by_change(change, ids), labels)
    assert not shown_by_change(change / 200, ids).any()  # less than can be seen
    assert shown_by_change(change[:0], ids[:0]).shape == (8, 8)
    whole = torch.ones_like(labels)
    assert torch.equal(erased(frame, whole, torch.tensor([1]))[0], frame)


def test_companions_without_labels_still_tell_of_pictures(panel: Panel) -> None:
    model = packaged_models(panel)[0]
    truth = render_truth(panel, SpriteWorld(*model.capabilities.frame_size))
    found = []
    for how in (replay, replay_reconstruction, replay_teacher_forced):
        scorer = Scorer(panel)
        for rollouts in how(panel, model, truth):
            scorer.update(rollouts)
        found.append(scorer.compute())
    assert set(found[1].fault.tolist()) == {int(Reason.NO_LABELS)}
    signal = companion_signal(found[0], found[1])
    assert bool(signal.available.all())
    assert bool(signal.implicates.all())  # a picture of 48 numbers is too coarse by itself
    verdict = diagnose(found[0], found)
    assert "perception" in verdict.candidates
    assert "perception" not in verdict.missing
    # A companion with another fault tells nothing.
    short = replace(found[1], fault=torch.full_like(found[1].fault, int(Reason.SHORT)))
    assert not companion_signal(found[0], short).available.any()
