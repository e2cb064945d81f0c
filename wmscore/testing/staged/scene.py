"""The state of a sprite world, and pictures of any state: what a perfect encoder and decoder do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wmscore.worlds.protocol import Item
from wmscore.worlds.sprite_scene import Scene
from wmscore.worlds.sprites import SpriteStepper
from wmscore.worlds.step import StepOutput

__all__ = ["TrueState", "Painter", "true_state"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrueState:
    """What there is to know of `B` rollouts.

    Attributes:
        places: float64 `[B, T+1, N, 2]`, pixels (x, y) of each object on the torus.
        camera: int64 `[B, T+1, 2]`, 1/256 pixel.
        shown: bool `[B, T+1, N]`, objects of which something is in view.
        exists: bool `[B, N]`, objects that the row has.
    """

    places: Tensor
    camera: Tensor
    shown: Tensor
    exists: Tensor


class Painter(SpriteStepper):
    """Paints objects and camera where it is told."""

    def __init__(self, height: int, width: int) -> None:
        """Of frames of this size."""
        super().__init__(height, width)
        self._put: Tensor | None = None

    def scene_of(self, items: Sequence[Item]) -> Scene:
        """The scene of the items, ready to be painted."""
        self._put = None
        self.reset(items)
        assert self._scene is not None
        return self._scene

    def moves(self) -> Tensor:
        """`[B, A, 2]`, how each action moves the camera, in 1/256 pixel."""
        assert self._scene is not None
        return self._scene.moves

    def true_places(self, step: int) -> Tensor:
        """`[B, N, 2]` where the objects are at a step, in pixels."""
        assert self._scene is not None
        self._put, self._step = None, step
        return self._places(self._scene)

    def paint(self, camera: Tensor, places: Tensor, there: Tensor) -> StepOutput:
        """Frames and labels of camera `[B, 2]`, objects at `[B, N, 2]` where `there` `[B, N]`."""
        assert self._scene is not None
        scene = replace(self._scene, masks=self._scene.masks & there[:, :, None, None])
        self._camera, self._put = camera, places.round().long()
        return self._render(scene)

    def _places(self, scene: Scene) -> Tensor:
        return super()._places(scene) if self._put is None else self._put


def true_state(painter: Painter, items: Sequence[Item], scripts: Tensor) -> TrueState:
    """The state under the scripts `[B, T]` from each item's start."""
    scene = painter.scene_of(items)
    steps = scripts.shape[1]
    moves = scene.moves.gather(1, scripts[:, :, None].expand(-1, -1, 2))
    camera = torch.cat([torch.zeros_like(moves[:, :1]), moves.cumsum(1)], 1)
    places = torch.stack([painter.true_places(t) for t in range(steps + 1)], 1)
    count = places.shape[2]
    exists = scene.masks.flatten(2).any(2)
    ids = torch.arange(1, count + 1)
    shown = []
    for t in range(steps + 1):
        out = painter.paint(camera[:, t], places[:, t], exists)
        assert out.labels is not None
        shown.append((out.labels.flatten(1)[:, :, None] == ids).any(1))
    return TrueState(
        places=places.double(), camera=camera, shown=torch.stack(shown, 1), exists=exists
    )
