"""The package lpips with the weights of one of our networks."""

from __future__ import annotations

import functools
import warnings

import torch
from torch import Tensor

from wmscore.networks import LpipsNetwork


@functools.cache
def _peer(net: str, version: str) -> torch.nn.Module:
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision: `pretrained` is deprecated
        return lpips.LPIPS(net=net, version=version, pnet_rand=True, verbose=False)


def peer(network: LpipsNetwork, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """`lpips.LPIPS` with the trunk of a network, and its own heads."""
    module = _peer(network.net, network.version).to(dtype)
    module.lpips = network.linear
    names = module.net.state_dict().keys()  # in torchvision's order
    module.net.load_state_dict(dict(zip(names, network._trunk.values(), strict=True)))
    module.spatial = False
    return module


def peer_values(network: LpipsNetwork, preds: Tensor, target: Tensor) -> Tensor:
    """Its values of frames `[n, 3, H, W]` in 0..1, in their dtype."""
    with torch.no_grad():
        return peer(network, preds.dtype)(preds, target, normalize=True).flatten()


def peer_map(network: LpipsNetwork, preds: Tensor, target: Tensor) -> Tensor:
    """Its map `[n, H, W]`."""
    module = peer(network, preds.dtype)
    module.spatial = True
    with torch.no_grad():
        return module(preds, target, normalize=True)[:, 0]
