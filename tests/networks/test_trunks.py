"""The trunks are torchvision's feature layers: names, weights, values, addresses."""

import pytest
import torch
from torchvision import models

from wmscore.networks.trunks import TRUNKS, random_state, skeleton, state_shapes

BUILDERS = {
    "alex": (models.alexnet, models.AlexNet_Weights.IMAGENET1K_V1),
    "vgg": (models.vgg16, models.VGG16_Weights.IMAGENET1K_V1),
    "squeeze": (models.squeezenet1_1, models.SqueezeNet1_1_Weights.IMAGENET1K_V1),
}


@pytest.mark.parametrize("net", TRUNKS)
def test_layers_are_torchvisions(net: str):
    build, weights = BUILDERS[net]
    with torch.device("meta"):
        features = build(weights=None).features[: TRUNKS[net].taps[-1] + 1]
    state = random_state(net, 0)
    assert {f"features.{k}": v.shape for k, v in features.state_dict().items()} == state_shapes(net)
    own = {name.removeprefix("features."): value for name, value in state.items()}
    theirs, ours = features.eval().to_empty(device="cpu"), skeleton(net)
    theirs.load_state_dict(own)
    ours.load_state_dict(own, assign=True)
    a = b = torch.randn(2, 3, 67, 91, generator=torch.Generator().manual_seed(1))
    places = []
    for place, (left, right) in enumerate(zip(theirs, ours, strict=True)):
        a, b = left(a), right(b)
        torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-6)
        places.append(place)
    assert places[-1] == TRUNKS[net].taps[-1]
    assert TRUNKS[net].url == weights.url
    assert TRUNKS[net].channels[-1] == a.shape[1]


@pytest.mark.parametrize("net", TRUNKS)
def test_the_smallest_frame_leaves_one_position_at_the_last_tap(net: str):
    side = TRUNKS[net].min_size
    layers = skeleton(net)
    assert layers(torch.empty(1, 3, side, side, device="meta")).shape[-2:].numel() >= 1
    with pytest.raises(RuntimeError):
        layers(torch.empty(1, 3, side - 1, side - 1, device="meta"))
