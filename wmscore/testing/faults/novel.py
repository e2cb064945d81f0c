"""Textures that belong to no object of a rollout, for things that were not there before."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.testing.faults.object_fault import Plan
from wmscore.testing.faults.regions import mean_colours
from wmscore.worlds.sprite_art import below, draw

__all__ = ["novel_texture"]

_SIDE = 32
_LEVELS = (16, 96, 160, 240)
_APART = 120  # least distance of a texture's two colours
_GRAIN = 10  # levels up or down


def novel_texture(plan: Plan) -> tuple[Tensor, Tensor]:
    """One texture per row, in two colours that nothing in the group's commanded rollout has.

    The two are drawn from the pairs with distance 120 or more on a lattice of 64 colours that are
    far from everything: the distance to the nearest mean colour of an object (its own included)
    or of the background, counted from either colour and from their middle, is at least 70 % of
    the best pair's. The pattern (stripes in four directions, or squares; two sizes) and a fine
    grain are drawn too.

    Returns:
        `[B, 3, 32, 32]` in the frames' dtype and range, and `[B, 4]` int64, all of it.

    Raises:
        ValueError: the frames do not have three channels.
    """
    frames, labels = plan.anchors.frames, plan.anchors.labels
    if labels is None or frames.shape[2] != 3:
        raise ValueError(f"world: expected labels and RGB frames, got {list(frames.shape)}")
    groups, back = torch.unique(plan.anchor, return_inverse=True)
    pair = _unlike(*mean_colours(frames[groups], labels[groups]), back, plan.key)
    place = torch.arange(_SIDE, device=labels.device)
    y, x = place[:, None], place
    key = plan.key[:, None, None]
    half = 4 << below(draw(key, 1), 2)  # 4 or 8 of 32 texels
    across = torch.stack([y + 0 * x, x + 0 * y, y + x, y + _SIDE - x])
    stripes = across[below(draw(plan.key, 2), 4)] // half
    squares = y // half + x // half
    second = torch.where(below(draw(key, 3), 5) == 0, squares, stripes) % 2
    channel = torch.arange(3, device=labels.device)[:, None, None]
    texture = torch.where(
        second[:, None] == 1, pair[:, 1, :, None, None], pair[:, 0, :, None, None]
    )
    grain = below(draw(plan.key[:, None, None, None], 4, channel, y, x), 2 * _GRAIN + 1) - _GRAIN
    texture = (texture + grain).clamp(0, 255)
    whole = torch.tensor([0, 0, _SIDE, _SIDE], device=labels.device).expand(len(texture), -1)
    if frames.dtype == torch.uint8:
        return texture.to(torch.uint8), whole
    return (texture / 255.0).to(frames.dtype), whole


def _unlike(means: Tensor, there: Tensor, group: Tensor, key: Tensor) -> Tensor:
    """Two colours `[B, 2, 3]` per row, far from the `means` `[R, L, 3]` that exist in its group."""
    device = means.device
    level = torch.tensor(_LEVELS, device=device)
    colours = torch.cartesian_prod(level, level, level)
    first, second = torch.triu_indices(len(colours), len(colours), 1, device=device)
    wide = (colours[first] - colours[second]).square().sum(1) >= _APART**2
    first, second = first[wide], second[wide]

    def nearest(candidates: Tensor) -> Tensor:
        """Squared distance to the nearest mean, `[R, K]`."""
        gap = (candidates[:, None] - means[:, None]).square().sum(3)
        return gap.masked_fill(~there[:, None], 3 * 255**2 + 1).amin(2)

    single = nearest(colours)
    middle = nearest((colours[first] + colours[second]) // 2)
    score = torch.minimum(torch.minimum(single[:, first], single[:, second]), middle)
    far = (score * 2 >= score.amax(1, keepdim=True))[group]  # of squares: 70 % of the distance
    wanted = below(draw(key, 5), far.sum(1))
    chosen = (far.cumsum(1) > wanted[:, None]).int().argmax(1)
    return torch.stack([colours[first[chosen]], colours[second[chosen]]], 1)
