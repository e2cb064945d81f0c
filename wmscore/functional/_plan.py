"""An order of frames in which each reference frame is encoded once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["SharedPlan"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedPlan:
    """An order of frames in which those of one reference frame follow each other.

    All of it is computed on the host and copied to the device once.

    Attributes:
        steps: frames `T` in each row.
        order: `[B * T]` int64, flat positions of generated frames, by their reference frame.
        reference: `[B * T]` int64, which of `used` belongs to each frame of `order`.
        used: `[U]` int64, flat positions of the reference frames that are used, ascending.
        known: how many of `used` have their features kept already: they come first.
        first: where the frames of each of `used` begin in `order`, and the end; on the host.
        place: `[B * T]` int64, where each generated frame went.
    """

    steps: int
    order: Tensor
    reference: Tensor
    used: Tensor
    known: int
    first: list[int]
    place: Tensor

    @classmethod
    def of(
        cls, target_index: Tensor, steps: int, device: torch.device, kept: int = 0
    ) -> SharedPlan:
        """Plan rows of `steps` frames, of which row b has the reference `target_index[b]`.

        Of the reference frames, in flat order, the first `kept` have their features kept.
        """
        index = target_index.cpu()
        wanted = (index[:, None] * steps + torch.arange(steps)).flatten()
        order = wanted.argsort(stable=True)
        used, reference, counts = torch.unique_consecutive(
            wanted[order], return_inverse=True, return_counts=True
        )
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))

        def there(value: Tensor) -> Tensor:
            return value.to(device, non_blocking=True)

        return cls(
            steps=steps,
            order=there(order),
            reference=there(reference),
            used=there(used),
            known=int((used < kept).sum()),
            first=[0, *counts.cumsum(0).tolist()],
            place=there(place),
        )

    def chunks(self, size: int) -> Iterator[tuple[Tensor, int, list[tuple[Tensor, Tensor]]]]:
        """Reference frames, how many of them are known, and the generated frames of them.

        The latter in groups, with the place of each one's reference. At most `size` frames each; a
        reference frame is in one chunk only.
        """
        start, count = 0, len(self.first) - 1
        while start < count:
            stop = start + 1
            while stop < count and self.first[stop + 1] - self.first[start] <= size:
                stop += 1
            groups = []
            for low in range(self.first[start], self.first[stop], size):
                part = slice(low, min(low + size, self.first[stop]))
                groups.append((self.order[part], self.reference[part] - start))
            known = min(max(self.known - start, 0), stop - start)
            yield self.used[start:stop], known, groups
            start = stop

    def frames(self, frames: Tensor, places: Tensor) -> Tensor:
        """The frames at some flat positions, `[n, C, H, W]`, out of `[rows, ..., C, H, W]`."""
        if frames.dim() == 4:
            return frames[places]
        if frames.dim() == 5:
            return frames[places // self.steps, places % self.steps]
        return frames.flatten(1, -4)[places // self.steps, places % self.steps]
