"""What a diagnosis says to do next fits what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.panels import sprite_panel
from wmscore.replay import examine, freeze_panel, render_truth
from wmscore.worlds import Capabilities, WindowModel
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(48, 48)


def mirrored(context: Tensor, actions: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Wrong in every step, also after true frames."""
    return context[:, -1].flip(-1)


def test_one_step_that_fails_is_not_said_to_be_fine() -> None:
    axes = [{"axis": "perceptual_drift", "threshold": 0.7, "patience": 2}]
    panel = sprite_panel(scenarios=2, seeds=1, horizon=6, size=48, axes=axes)
    panel, truth = freeze_panel(panel, render_truth(panel, WORLD), fps=10)
    able = Capabilities(actions="discrete", context_frames=1, fps=10.0, frame_size=(48, 48))
    model = WindowModel(mirrored, name="mirrored", capabilities=able)
    found = examine(panel, model, WORLD, truth).diagnosis
    assert found.cause == "undetermined"
    assert any("one-step predictions from the true history fail" in text for text in found.for_)
    (advice,) = (text for text in found.settles if text.startswith("dynamics: "))
    assert "fails already" in advice
    assert "every stage is fine" not in advice
    assert "replay.examine" not in " ".join(found.settles)  # control was measured by it
