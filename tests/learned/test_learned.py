"""The two model families: what they promise, what they learn, and that their files hold them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from wmscore.manifest import Panel
from wmscore.replay import panel_items, render_truth, replay, replay_rows
from wmscore.scorer import Scorer
from wmscore.testing import check_world_model
from wmscore.worlds import Frozen, Reconstructing, TeacherForced, packaged_models
from wmscore.worlds.learned import FlowNet, FlowNetModel, fit_linear_latent
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


def test_the_linear_latent_is_in_the_rollouts(panel: Panel) -> None:
    model = packaged_models(panel)[0]
    truth = render_truth(panel, SpriteWorld(*model.capabilities.frame_size))
    found = replay_rows(panel, model, truth, [(0, 0)])
    assert found.latents is not None
    assert found.latents.shape[:2] == found.frames.shape[:2]
