"""LPIPS as a class: the function's numbers, its network found by name or given."""

import pytest
import torch

from wmscore import functional as F
from wmscore.metrics import LPIPS
from wmscore.networks import LpipsNetwork, WeightsNotFoundError


def test_equals_the_function_in_pieces():
    network = LpipsNetwork.random("alex")
    preds, target = torch.randint(256, (2, 5, 3, 40, 40), dtype=torch.uint8)
    metric, mean = LPIPS(network), LPIPS(network, reduction="mean")
    for part in (slice(0, 2), slice(2, 5)):
        metric.update(preds[part], target[part])
        mean.update(preds[part], target[part])
    expected = F.lpips(preds, target, network)
    torch.testing.assert_close(metric.compute(), expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(mean.compute(), expected.mean(), rtol=0, atol=1e-7)
    assert (metric.higher_is_better, metric.is_differentiable) == (False, False)


def test_keeps_no_graph_and_no_weights_in_a_state_dict():
    metric = LPIPS(LpipsNetwork.random("alex"))
    preds = torch.rand(1, 3, 40, 40, requires_grad=True)
    metric.update(preds, torch.rand(1, 3, 40, 40))
    assert not metric.compute().requires_grad
    metric.persistent(True)
    assert list(metric.state_dict()) == ["values"]
    assert metric.to("meta").network.device.type == "meta"


def test_missing_weights_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(WeightsNotFoundError, match=r"trunk of LPIPS squeeze: .* does not exist"):
        LPIPS("squeeze")
