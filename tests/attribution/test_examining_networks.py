"""A panel that is judged by a network is examined with it."""

import pytest
import torch

from tests.panels import sprite_panel
from wmscore.manifest import Panel
from wmscore.networks import ModuleEncoder
from wmscore.replay import examine, render_truth
from wmscore.testing import DelayedActions, Faulty
from wmscore.worlds import SpriteWorld


def test_the_encoder_that_the_panel_names_is_handed_on() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5, 4), torch.nn.ReLU())
    encoder = ModuleEncoder(network.eval(), name="mine")
    axis = {"axis": "perceptual_drift", "measure": "feature_cosine", "encoder": "mine"}
    data = sprite_panel(scenarios=1, seeds=1, horizon=8).model_dump()
    panel = Panel.from_dict({**data, "axes": [{**axis, "threshold": 0.5}]})
    world = SpriteWorld(48, 48)
    truth = render_truth(panel, world)
    model = Faulty(world, DelayedActions(2))
    with pytest.raises(ValueError, match="needs the encoder 'mine'"):
        examine(panel, model, world, truth)
    found = examine(panel, model, world, truth, scorer={"encoder": encoder})
    assert all(scores.provenance["encoder"].startswith("mine") for scores in found.results)
