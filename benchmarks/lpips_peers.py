"""How LPIPS is asked of other libraries: per frame, with one set of weights, at their best.

Each call starts from uint8 frames and pays for the conversion that the library needs; networks are
built once, outside the clock. (torchmetrics' function builds a new one on every call.)
"""

from __future__ import annotations

import importlib
import importlib.metadata
import unittest.mock
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from wmscore.networks import LpipsNetwork
from wmscore.networks.trunks import TRUNKS, skeleton
from wmscore.networks.weights import find_heads

__all__ = ["lpips_peers", "per_frame_loop"]

_BUILDERS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}  # in torchvision

Judge = Callable[[Tensor, Tensor], Tensor]


def lpips_peers(network: LpipsNetwork) -> dict[str, Judge]:
    """Each library that is installed, as a function of uint8 frames `[n, 3, H, W]`."""
    makers: dict[str, Callable[[LpipsNetwork], Judge]] = {
        "lpips": _lpips,
        "torchmetrics": _torchmetrics,
        "pyiqa": _pyiqa,
    }
    if network.net == "vgg":
        makers["piq"] = _piq
    found = {}
    for name, maker in makers.items():
        try:
            judge = maker(network)
        except Exception as error:  # absent, or a dependency of it is broken: many kinds
            print(f"not compared: {name} ({type(error).__name__}: {str(error).splitlines()[0]})")
        else:
            found[f"{name} {importlib.metadata.version(name)}"] = judge
    return found


def per_frame_loop(judge: Judge) -> Judge:
    """One call and one `item()` for each frame, as evaluation scripts are often written."""

    def call(preds: Tensor, target: Tensor) -> Tensor:
        pairs = zip(preds, target, strict=True)
        return torch.tensor([judge(p[None], t[None]).item() for p, t in pairs])

    return call


def _lpips(network: LpipsNetwork) -> Judge:
    module = importlib.import_module("lpips")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        judge = module.LPIPS(net=network.net, pnet_rand=True, verbose=False)
    return _on_unit_range(_with_trunk(judge, network))


def _torchmetrics(network: LpipsNetwork) -> Judge:
    module = importlib.import_module("torchmetrics.functional.image.lpips")
    judge = module._LPIPS(pretrained=True, net=network.net, pnet_rand=True).eval()
    return _on_unit_range(_with_trunk(judge, network))


def _pyiqa(network: LpipsNetwork) -> Judge:
    module = importlib.import_module("pyiqa.archs.lpips_arch")
    builder = _BUILDERS[network.net]
    build = getattr(module.models, builder)
    with (
        warnings.catch_warnings(),
        # It would download the trunk even for `pnet_rand=True`.
        unittest.mock.patch.object(module.models, builder, return_value=build(weights=None)),
    ):
        warnings.simplefilter("ignore")
        judge = module.LPIPS(net=network.net, pnet_rand=True, pretrained=False)
    heads = torch.load(find_heads(network.net, "0.1"), map_location="cpu", weights_only=True)
    judge.load_state_dict(heads, strict=False)
    return _on_unit_range(_with_trunk(judge, network))


def _piq(network: LpipsNetwork) -> Judge:
    """What `piq.LPIPS` is, without its download."""
    module = importlib.import_module("piq")
    features = skeleton("vgg")
    state = {name.removeprefix("features."): w for name, w in network._trunk.items()}
    features.load_state_dict(state, assign=True)
    judge = module.perceptual.ContentLoss(
        features,
        layers=[str(place) for place in TRUNKS["vgg"].taps],
        weights=[w.view(1, -1, 1, 1) for w in network.heads if w is not None],
        normalize_features=True,
        reduction="none",
    ).to(network.device)

    def call(preds: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            return judge(preds.float() / 255, target.float() / 255).flatten()

    return call


def _with_trunk(judge: nn.Module, network: LpipsNetwork) -> nn.Module:
    names = judge.net.state_dict().keys()  # in torchvision's order
    judge.net.load_state_dict(dict(zip(names, network._trunk.values(), strict=True)))
    return judge.to(network.device)


def _on_unit_range(judge: nn.Module) -> Judge:
    def call(preds: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            return judge(preds.float() / 255, target.float() / 255, normalize=True).flatten()

    return call
