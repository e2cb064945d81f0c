"""The neural family: a small network says where each pixel comes from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, grid_sample, interpolate

from wmscore.worlds.protocol import Capabilities
from wmscore.worlds.windows import WindowModel

__all__ = ["FlowNet", "FlowNetModel"]

_FIELD = (6, 8)  # of the flow that an action has whatever is seen


class FlowNet(nn.Module):
    """Optical flow and a correction of colours from the last two frames and the action.

    The flow is that of the action alone, a coarse field that is learned per action, and what a
    convolutional network adds from what it sees (Walker et al., arXiv:1606.07873, on predicting
    motion rather than pixels; Finn et al., arXiv:1605.07157, on warping the last frame).
    """

    def __init__(self, actions: int, channels: int = 24, small: tuple[int, int] = (60, 80)) -> None:
        """For so many actions; the network looks at frames of the size `small`."""
        super().__init__()
        self.small = small
        self.field = nn.Parameter(torch.zeros(actions, 2, *_FIELD))
        self.embed = nn.Embedding(actions, channels)
        self.into = nn.Conv2d(8, channels, 5, stride=2, padding=2)
        self.deep = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(channels, channels, 3, padding=2, dilation=2)
        self.out = nn.Conv2d(channels, 5, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(torch.as_tensor(self.out.bias))

    def forward(self, last: Tensor, before: Tensor, action: Tensor) -> Tensor:
        """The next frame.

        Args:
            last: `[B, 3, H, W]` float, in [0, 1].
            before: the frame before it.
            action: `[B]` int64.

        Returns:
            `[B, 3, H, W]`, about in [0, 1].
        """
        height, width = last.shape[-2:]
        pair = adaptive_avg_pool2d(torch.cat([last, before], 1), self.small)
        y = torch.linspace(-1, 1, self.small[0], device=last.device)
        x = torch.linspace(-1, 1, self.small[1], device=last.device)
        place = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))])
        seen = torch.cat([pair, place.expand(len(last), -1, -1, -1)], 1)
        hidden = torch.relu(self.into(seen))
        hidden = torch.relu(self.deep(hidden) + self.embed(action)[:, :, None, None])
        hidden = torch.relu(hidden + self.wide(hidden))
        coarse = self.out(hidden)
        flow = _grow(self.field[action], (height, width)) + _grow(coarse[:, :2], (height, width))
        base = torch.stack(
            [
                torch.linspace(-1, 1, width, device=last.device).expand(height, -1),
                torch.linspace(-1, 1, height, device=last.device)[:, None].expand(-1, width),
            ],
            -1,
        )
        source = base + flow.permute(0, 2, 3, 1)
        warped = grid_sample(last, source, padding_mode="border", align_corners=True)
        return warped + 0.2 * _grow(coarse[:, 2:], (height, width))


class FlowNetModel(WindowModel):
    """`FlowNet` as a world model: rolled out frame by frame, each from the last two."""

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
        )

    def _next_frames(
        self, context: Tensor, actions: Tensor, generators: Sequence[torch.Generator]
    ) -> Tensor:
        # Row by row, so that a frame does not depend on the rows beside it.
        found = [
            self._one(context[row : row + 1], actions[row : row + 1, -1])
            for row in range(len(context))
        ]
        return torch.cat(found)

    @torch.no_grad()
    def _one(self, context: Tensor, action: Tensor) -> Tensor:
        last, before = (context[:, k].float() / 255 for k in (-1, -2))
        found: Tensor = self.network(last, before, action)
        return (found * 255).round().clamp(0, 255).to(torch.uint8)


def _grow(field: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(field, size, mode="bilinear", align_corners=True)
