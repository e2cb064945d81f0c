"""Where in the whole frame an object is seen: its template at every displacement at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Found", "search"]

_COVERAGE = 0.6  # of the object that must lie inside the frame
_FEWEST = 6.0  # cells of an object from which a place that looks like it says that it is there
_FLOOR = 1.5e-3  # squared difference of template and reference below which a place says nothing


class Found(NamedTuple):
    """What :func:`search` returns, each ``[F, N]`` float32, up to 1.

    Attributes:
        elsewhere: how well the best place but its own shows the object: the share of the squared
            difference between the object and what the reference shows there that is gone.
        again: the same, at least one object away and off all objects of the reference.
    """

    elsewhere: Tensor
    again: Tensor


def search(
    preds: Tensor, target: Tensor, ground: Tensor, masks: Tensor, near: int, reach: Tensor
) -> Found:
    r"""Look for each object of the reference in the whole generated frame.

    With the object's pixels m and displacement d, both means over the part that is in the frame,

    .. math:: s(d) = 1 - \frac{\sum_p m(p) |X(p + d) - Y(p)|^2}
                           {\min(\sum_p m(p) |Y(p + d) - Y(p)|^2, \sum_p m(p) |G(p) - Y(p)|^2)}

    is 1 where the generated frame shows the object although the reference shows something else
    there, and 0 or less where it shows what the reference shows, or what differs from the object
    as much as the background behind it does. All displacements come from one product of spectra
    per term.

    Args:
        preds: generated frames X ``[F, C, h, w]`` float32, aligned in brightness.
        target: reference frames Y of the same shape.
        ground: G, the reference without its objects, of the same shape.
        masks: ``[F, N, h, w]`` float32, share of each pixel that the object covers.
        near: displacements of up to so many pixels are its own place.
        reach: ``[F, N]`` float32, how large the object is at its largest: closer displacements
            may show another part of the same.
    """
    height, width = preds.shape[-2:]
    size = (_smooth(2 * height - 1), _smooth(2 * width - 1))

    def spectrum(value: Tensor) -> Tensor:
        transformed: Tensor = torch.fft.rfft2(value, s=size)
        return transformed

    mask = spectrum(masks).conj()  # [F, N, ...]
    own = spectrum(masks[:, :, None] * target[:, None]).conj()  # [F, N, C, ...]
    square = target.square().sum(1, keepdim=True)
    constant = spectrum(masks * square).conj() * spectrum(torch.ones_like(square))

    def difference(frames: Tensor) -> Tensor:
        cross = (own * spectrum(frames)[:, None]).sum(2)
        energy = mask * spectrum(frames.square().sum(1, keepdim=True))
        sums: Tensor = torch.fft.irfft2(energy - 2 * cross + constant, s=size)
        return sums.clamp(min=0)

    inside = torch.fft.irfft2(mask * spectrum(torch.ones_like(square)), s=size)
    anything = masks.sum(1, keepdim=True).clamp(max=1)
    occupied = torch.fft.irfft2(mask * spectrum(anything), s=size)
    itself = torch.fft.irfft2(mask * spectrum(masks), s=size)
    shown, before = difference(preds), difference(target)

    area = masks.sum((2, 3))[..., None, None]
    inside = inside.clamp(min=1e-6)
    whole = (inside >= _COVERAGE * area) & (area > 0)
    telling = before >= _FLOOR * inside
    relief = (masks * (target - ground).square().sum(1, keepdim=True)).sum((2, 3))[..., None, None]
    relief = relief * inside / area.clamp(min=1e-6)
    score = 1 - shown / torch.minimum(before, relief).clamp(min=1e-9)
    score = score.where(whole & telling, -torch.inf)

    device = preds.device
    dy, dx = (torch.fft.fftfreq(n, 1 / n, device=device).abs() for n in size)
    dy = dy[:, None]
    far = torch.maximum(dy, dx)
    moved = far > near
    others = occupied - itself
    elsewhere = score.where(moved & (others <= 0.3 * inside), -torch.inf)
    beyond = (occupied <= 0.15 * inside) & (far >= reach[..., None, None])
    again = score.where(beyond & (area >= _FEWEST), -torch.inf)
    return Found(*(value.amax((2, 3)).clamp(min=-1) for value in (elsewhere, again)))


def _smooth(size: int) -> int:
    """The next size whose transform is fast: of no prime factor above 5."""
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1
