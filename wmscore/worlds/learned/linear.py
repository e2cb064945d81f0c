"""The inspectable baseline: principal components for a latent, a linear map for the dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from wmscore.rollouts import Rollouts
from wmscore.worlds.action_intake import ActionIntake
from wmscore.worlds.learned.objects import erased, given_labels, shown_by_change
from wmscore.worlds.protocol import Capabilities, Item, item_keys
from wmscore.worlds.step import stack_actions

__all__ = ["LinearLatentModel", "fit_linear_latent"]


@dataclass(frozen=True, eq=False)
class LinearLatentModel:
    r"""Frames are projected on principal components, and a linear map per action moves them on.

    .. math:: z_t = W^T (x_t - \mu), \qquad z_{t+1} = A_{a_t} z_t + b_{a_t}, \qquad
        \hat x_t = \mu + W z_t

    with x the frame, averaged down to a small one. Everything can be looked at: `basis` are
    pictures, `maps` matrices. What the latent keeps is what a few dozen pictures add up to; what it
    does not keep no dynamics can bring back, and `reconstruct` shows it. Items with labels get
    labels: an object is where the picture would be another one, had it not been in the given frame.

    Attributes:
        mean: float32 `[3 h w]`, in [0, 1].
        basis: float32 `[3 h w, K]`, orthonormal columns.
        maps: float32 `[A, K, K]`.
        offsets: float32 `[A, K]`.
        small: (h, w).
        size: (height, width) of the frames.
        action_names: of the A actions.
        fps: frames per second.
        name: short name.
    """

    mean: Tensor
    basis: Tensor
    maps: Tensor
    offsets: Tensor
    small: tuple[int, int]
    size: tuple[int, int]
    action_names: tuple[str, ...]
    fps: float
    name: str = "linear-latent"

    @property
    def capabilities(self) -> Capabilities:
        """Deterministic; starts from the frame, knows no other past."""
        return Capabilities(
            actions="discrete",
            action_names=self.action_names,
            seedable=False,
            # Sums in another order differ in the last bit, which rounding may show.
            batch_invariant=True,
            fps=self.fps,
            frame_size=self.size,
        )

    def encode(self, frames: Tensor) -> Tensor:
        """`[N, 3, H, W]` uint8 to latents `[N, K]`."""
        small = adaptive_avg_pool2d(frames.float() / 255, self.small).flatten(1)
        # Row by row: one product for all would sum in an order that depends on the batch.
        return torch.stack([(row - self.mean) @ self.basis for row in small])

    def decode(self, latents: Tensor) -> Tensor:
        """Latents `[N, K]` to `[N, 3, H, W]` uint8."""
        small = torch.stack([self.mean + self.basis @ z for z in latents])
        picture = interpolate(
            small.view(-1, 3, *self.small), self.size, mode="bilinear", align_corners=False
        )
        return (picture * 255).round().clamp(0, 255).to(torch.uint8)

    def step(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Latents `[N, K]` under actions `[N]`, one step on."""
        moved = [
            self.maps[a] @ z + self.offsets[a]
            for z, a in zip(latents, actions.tolist(), strict=True)
        ]
        return torch.stack(moved)

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Encode the given frame, then go on in latents alone."""
        actions = self._actions(items, horizon)
        given = self._given(items)
        latents = [self.encode(given)]
        frames = [given]
        for t in range(horizon):
            latents.append(self.step(latents[-1], actions[:, t]))
            frames.append(self.decode(latents[-1]))
        found = self._answer(items, horizon, frames, latents)
        labels = given_labels(items)
        if labels is None:
            return found
        rows = [self._objects(*row) for row in zip(given, labels, latents[0], actions, strict=True)]
        return replace(found, labels=torch.stack(rows))

    def predict_next(
        self, items: Sequence[Item], reference_frames: Tensor, horizon: int
    ) -> Rollouts:
        """Encode each true frame and go on from it by one step."""
        actions = self._actions(items, horizon)
        given = self._given(items)
        latents, frames = [self.encode(given)], [given]
        for t in range(horizon):
            seen = given if t == 0 else reference_frames[:, t].cpu()
            latents.append(self.step(self.encode(seen), actions[:, t]))
            frames.append(self.decode(latents[-1]))
        return self._answer(items, horizon, frames, latents)

    def reconstruct(
        self, items: Sequence[Item], reference_frames: Tensor, horizon: int
    ) -> Rollouts:
        """Encode and decode each true frame."""
        given = self._given(items)
        latents = [self.encode(given)]
        latents += [self.encode(reference_frames[:, t].cpu()) for t in range(1, horizon + 1)]
        frames = [given, *(self.decode(z) for z in latents[1:])]
        return self._answer(items, horizon, frames, latents)

    def tensors(self) -> dict[str, Tensor]:
        """What was learned, for a file."""
        return {name: getattr(self, name) for name in ("mean", "basis", "maps", "offsets")}

    def _objects(self, frame: Tensor, labels: Tensor, latent: Tensor, actions: Tensor) -> Tensor:
        """Labels `[T+1, H, W]` of one rollout, by the difference that each object makes."""
        ids = torch.unique(labels)
        ids = ids[ids != 0]
        difference = self.encode(erased(frame, labels, ids)) - latent if len(ids) else None
        shown = [labels]
        for a in actions.tolist():
            if difference is None:
                shown.append(torch.zeros_like(labels))
                continue
            # Offsets cancel: the dynamics of a difference are the map alone.
            difference = torch.stack([self.maps[a] @ z for z in difference])
            small = torch.stack([self.basis @ z for z in difference]).view(-1, 3, *self.small)
            change = interpolate(
                small.abs().mean(1, keepdim=True), self.size, mode="bilinear", align_corners=False
            )
            shown.append(shown_by_change(change[:, 0], ids))
        return torch.stack(shown)

    def _given(self, items: Sequence[Item]) -> Tensor:
        frames = [item.frame for item in items if item.frame is not None]
        if len(frames) < len(items):
            raise ValueError(f"items: {self.name} needs item.frame, got None")
        return torch.stack(frames).cpu()

    def _actions(self, items: Sequence[Item], horizon: int) -> Tensor:
        return ActionIntake(self.capabilities, None, f"model {self.name!r}").actions(items, horizon)

    def _answer(
        self,
        items: Sequence[Item],
        horizon: int,
        frames: Sequence[Tensor],
        latents: Sequence[Tensor],
    ) -> Rollouts:
        return Rollouts(
            frames=torch.stack(list(frames), 1),
            latents=torch.stack(list(latents), 1),
            actions=stack_actions(items, horizon),
            model=self.name,
            **item_keys(items),
        )


def fit_linear_latent(
    frames: Tensor,
    actions: Tensor,
    *,
    components: int,
    small: tuple[int, int],
    strength: float = 1e-2,
    **about: Any,
) -> LinearLatentModel:
    """Learn it in closed form, in float64: an eigenproblem and a ridge regression per action.

    Args:
        frames: `[N, T+1, 3, H, W]` uint8, rollouts of the true world.
        actions: `[N, T]` int64, which lead from each frame to the next.
        components: K.
        small: (h, w) to which frames are averaged down.
        strength: of the ridge, relative to the mean variance of a component.
        about: `action_names`, `fps` and `name` of the model.

    Raises:
        ValueError: fewer frames than components.
    """
    flat = frames.flatten(0, 1)
    x = adaptive_avg_pool2d(flat.float() / 255, small).flatten(1).double()
    if len(x) < components:
        raise ValueError(f"components: expected at most {len(x)}, got {components}")
    mean = x.mean(0)
    _, vectors = torch.linalg.eigh((x - mean).T @ (x - mean))
    basis = vectors.flip(1)[:, :components]
    # The sign of a component is free: its largest entry is positive.
    largest = basis.abs().argmax(0)
    basis = basis * basis.gather(0, largest[None]).sign()
    z = ((x - mean) @ basis).view(*frames.shape[:2], components)
    before, after = z[:, :-1].flatten(0, 1), z[:, 1:].flatten(0, 1)
    sent = actions.flatten()
    ridge = strength * before.square().mean() * len(before) / len(about["action_names"])
    maps, offsets = [], []
    for action in range(len(about["action_names"])):
        here = torch.cat([before[sent == action], torch.ones(int((sent == action).sum()), 1)], 1)
        penalty = ridge * torch.eye(components + 1, dtype=torch.float64)
        penalty[-1, -1] = 1e-9
        # Shrunk towards standing still, not towards the mean picture.
        gain = torch.linalg.solve(
            here.T @ here + penalty, here.T @ (after - before)[sent == action]
        )
        maps.append(gain[:-1].T + torch.eye(components, dtype=torch.float64))
        offsets.append(gain[-1])
    return LinearLatentModel(
        mean=mean.float(),
        basis=basis.float().contiguous(),
        maps=torch.stack(maps).float(),
        offsets=torch.stack(offsets).float(),
        small=small,
        size=(frames.shape[-2], frames.shape[-1]),
        **about,
    )
