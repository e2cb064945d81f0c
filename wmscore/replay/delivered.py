"""Which actions would the true world have needed to show what a model shows?

The action path of a model is replaced by an oracle: where the true world shows the generated frames
under another script than the commanded one, the model moves as it should and was told something
else. Delays, dropped, stuck, mirrored and permuted actions are found alike, and read off step by
step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wmscore.functional import haarpsi, mse
from wmscore.manifest import Panel
from wmscore.replay.items import panel_items
from wmscore.rollouts import Rollouts
from wmscore.worlds import Item, WorldModel, stressed_world

__all__ = ["Delivered", "delivered_scripts"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Delivered:
    """Scripts that explain rollouts, of `n` commanded rollouts.

    Attributes:
        actions: int64 `[n, T]`, the script under which the true world comes closest, step by step.
        commanded: int64 `[n, T]`, what was commanded.
        explained: float64 `[n, T]`, HaarPSI of the generated frames and the true world's under
            `actions`; 1 = all of it.
        plain: float64 `[n, T]`, the same under `commanded`.
    """

    actions: Tensor
    commanded: Tensor
    explained: Tensor
    plain: Tensor

    @property
    def changed(self) -> Tensor:
        """Bool `[n, T]`: another action explains the step better than the commanded one."""
        return self.actions != self.commanded


def delivered_scripts(
    panel: Panel,
    world: WorldModel,
    rollouts: Rollouts,
    *,
    batch_size: int = 256,
    margin: float = 0.05,
) -> Delivered:
    """Read off generated frames which actions the true world would have been sent.

    Greedy, a step at a time for all rollouts together: the true world goes on from the script found
    so far under each action in turn, and the one whose next frame is closest (mean squared error)
    is taken; the commanded one unless another is better by a share of `margin`. Takes A T^2 / 2
    frames of the true world for each rollout.

    Args:
        panel: the contract; discrete actions.
        world: the true world, which must answer any script.
        rollouts: commanded ones (branch 0), all frames of them.
        batch_size: how many rollouts of the world at a time.
        margin: see above; what the squared error must fall by for another action to be believed.

    Raises:
        ValueError: continuous actions, no commanded rollout, or another horizon.
    """
    if panel.contract.actions.kind != "discrete":
        raise ValueError("contract.actions.kind: delivered scripts need 'discrete' actions")
    mine = rollouts[rollouts.branch == 0]
    if not len(mine):
        raise ValueError("rollouts: expected commanded ones (branch 0), got none")
    if mine.horizon != panel.contract.horizon:
        raise ValueError(f"rollouts: expected horizon {panel.contract.horizon}, got {mine.horizon}")
    rows = list(zip(mine.scenario.tolist(), mine.seed.tolist(), strict=True))
    items = [item for item in panel_items(panel, rows) if item.branch == 0]
    true = stressed_world(world, panel)
    count = len(panel.contract.actions.names)
    commanded = torch.stack([item.actions for item in items])
    found = commanded.clone()
    for t in range(mine.horizon):
        asked: list[Item] = []
        for row, item in enumerate(items):
            for action in range(count):
                script = torch.cat(
                    [found[row, :t], torch.tensor([action]), commanded[row, t + 1 :]]
                )
                asked.append(replace(item, actions=script))
        frame = mine.frames[:, t + 1].cpu()
        shown = torch.cat(
            [
                _last(true, asked[first : first + batch_size], t + 1)
                for first in range(0, len(asked), batch_size)
            ]
        ).view(len(items), count, *frame.shape[1:])
        gap = mse(frame[:, None].expand_as(shown), shown).double()
        own = gap.gather(1, commanded[:, t : t + 1])[:, 0]
        best = gap.min(1)
        better = best.values < (1 - margin) * own
        found[:, t] = torch.where(better, best.indices, commanded[:, t])
    frames = mine.frames.cpu()
    return Delivered(
        actions=found,
        commanded=commanded,
        explained=_likeness(true, items, found, frames, batch_size),
        plain=_likeness(true, items, commanded, frames, batch_size),
    )


def _last(world: WorldModel, items: Sequence[Item], horizon: int) -> Tensor:
    return world.rollout(items, horizon).frames[:, -1].cpu()


def _likeness(
    world: WorldModel, items: Sequence[Item], scripts: Tensor, frames: Tensor, batch_size: int
) -> Tensor:
    """HaarPSI of frames and of the world under scripts, `[n, T]`."""
    parts = []
    for first in range(0, len(items), batch_size):
        some = slice(first, first + batch_size)
        asked = [
            replace(item, actions=script)
            for item, script in zip(items[some], scripts[some], strict=True)
        ]
        shown = world.rollout(asked, scripts.shape[1]).frames.cpu()
        parts.append(haarpsi(frames[some, 1:], shown[:, 1:]).double())
    return torch.cat(parts)
