"""The neural family: a small network says where each pixel comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, grid_sample, interpolate

from wmscore.rollouts import Rollouts
from wmscore.worlds.learned.objects import given_labels
from wmscore.worlds.protocol import Capabilities, Item
from wmscore.worlds.windows import WindowModel

__all__ = ["FlowNet", "FlowNetModel"]

_FIELD = (8, 12)  # of the flow that an action has whatever is seen
HELD = 3  # an action that is sent anew, for the second step, for longer: games speed up


class FlowNet(nn.Module):
    """Optical flow and a correction of colours from the last two frames and the action.

    The flow is that of the action alone, a coarse field that is learned per action and for how long
    it has been held, and what a convolutional network adds from what it sees (Walker et al.,
    arXiv:1606.07873, on predicting motion rather than pixels; Finn et al., arXiv:1605.07157, on
    warping the last frame).
    """

    def __init__(self, actions: int, channels: int = 24, small: tuple[int, int] = (60, 80)) -> None:
        """For so many actions; the network looks at frames of the size `small`."""
        super().__init__()
        self.small = small
        self.field = nn.Parameter(torch.zeros(actions * HELD, 2, *_FIELD))
        self.embed = nn.Embedding(actions, channels)
        self.into = nn.Conv2d(8, channels, 5, stride=2, padding=2)
        self.deep = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(channels, channels, 3, padding=2, dilation=2)
        self.out = nn.Conv2d(channels, 5, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(torch.as_tensor(self.out.bias))

    def forward(self, last: Tensor, before: Tensor, actions: Tensor) -> Tensor:
        """The next frame.

        Args:
            last: `[B, 3, H, W]` float, in [0, 1].
            before: the frame before it.
            actions: `[B, HELD]` int64, oldest first; the last one leads to what is predicted.

        Returns:
            `[B, 3, H, W]`, about in [0, 1].
        """
        source, colours = self.motion(last, before, actions)
        warped = grid_sample(last, source, padding_mode="border", align_corners=False)
        return warped + colours

    def motion(self, last: Tensor, before: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Where in the last frame each pixel comes from, and what is added to its colour.

        Returns:
            `[B, H, W, 2]` (x, y) in [-1, 1], and `[B, 3, H, W]`.
        """
        height, width = last.shape[-2:]
        action = actions[:, -1]
        pair = adaptive_avg_pool2d(torch.cat([last, before], 1), self.small)
        y = torch.linspace(-1, 1, self.small[0], device=last.device)
        x = torch.linspace(-1, 1, self.small[1], device=last.device)
        place = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))])
        seen = torch.cat([pair, place.expand(len(last), -1, -1, -1)], 1)
        hidden = torch.relu(self.into(seen))
        hidden = torch.relu(self.deep(hidden) + self.embed(action)[:, :, None, None])
        hidden = torch.relu(hidden + self.wide(hidden))
        coarse = self.out(hidden)
        field = self.field[action * HELD + held(actions)]
        flow = _grow(field, (height, width)) + _grow(coarse[:, :2], (height, width))
        base = torch.stack(
            [
                _centres(width, last).expand(height, -1),
                _centres(height, last)[:, None].expand(-1, width),
            ],
            -1,
        )
        return base + flow.permute(0, 2, 3, 1), 0.2 * _grow(coarse[:, 2:], (height, width))


def held(actions: Tensor) -> Tensor:
    """For how many steps the last of `[B, K]` actions has been sent before, `[B]`, in 0..K - 1."""
    same = (actions[:, :-1] == actions[:, -1:]).flip(1)
    return same.long().cumprod(1).sum(1)


class FlowNetModel(WindowModel):
    """`FlowNet` as a world model: rolled out frame by frame, each from the last two.

    Objects of the given frame are where its own flow takes them: rollouts of items with labels have
    labels. What leaves the picture is lost for good, since nothing is kept outside of it.
    """

    def __init__(
        self,
        network: FlowNet,
        *,
        action_names: Sequence[str],
        fps: float,
        size: tuple[int, int],
        name: str = "flow-net",
    ) -> None:
        """Lift a network for the actions that it was trained with."""
        self.network = network.eval()
        super().__init__(
            self._next_frames,
            name=name,
            capabilities=Capabilities(
                actions="discrete",
                action_names=tuple(action_names),
                seedable=False,
                context_frames=2,
                fps=fps,
                frame_size=size,
            ),
            past_actions=HELD - 2,
        )

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """As of `WindowModel`, with the labels of the given frame carried along.

        Raises:
            ValueError: as there, or only some items have labels.
        """
        found = super().rollout(items, horizon)
        labels = given_labels(items)
        if labels is None:
            return found
        sent = self._intake.actions(items, horizon)
        before = self._intake.rest(items).to(sent)[:, None].expand(-1, HELD - 1)
        carried = self._carried(found.frames, torch.cat([before, sent], 1), labels)
        return replace(found, labels=carried)

    @torch.no_grad()
    def _carried(self, frames: Tensor, actions: Tensor, labels: Tensor) -> Tensor:
        """`[B, T+1, H, W]`, the labels `[B, H, W]` under the flow of every step."""
        shown = [labels]
        for t in range(frames.shape[1] - 1):
            rows = []
            for row in range(len(frames)):
                last, before = (frames[row, [max(0, k)]].float() / 255 for k in (t, t - 1))
                source, _ = self.network.motion(last, before, actions[[row], t : t + HELD])
                ids = shown[-1][row].to(last)[None, None]
                rows.append(grid_sample(ids, source, mode="nearest", align_corners=False)[0, 0])
            shown.append(torch.stack(rows).to(labels))
        return torch.stack(shown, 1)

    def _next_frames(
        self, context: Tensor, actions: Tensor, generators: Sequence[torch.Generator]
    ) -> Tensor:
        # Row by row, so that a frame does not depend on the rows beside it.
        found = [
            self._one(context[row : row + 1], actions[row : row + 1]) for row in range(len(context))
        ]
        return torch.cat(found)

    @torch.no_grad()
    def _one(self, context: Tensor, actions: Tensor) -> Tensor:
        last, before = (context[:, k].float() / 255 for k in (-1, -2))
        found: Tensor = self.network(last, before, actions)
        return (found * 255).round().clamp(0, 255).to(torch.uint8)


def _centres(count: int, like: Tensor) -> Tensor:
    """Where the centres of so many pixels lie in [-1, 1]."""
    return (2 * torch.arange(count, device=like.device) + 1) / count - 1


def _grow(field: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(field, size, mode="bilinear", align_corners=True)
