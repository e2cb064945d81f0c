"""Objects outlined on frames, and the ones that have lost their identity marked."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from wmscore.plots.palette import palette

__all__ = ["outline_objects"]

_RED, _WHITE = (230, 0, 0), (255, 255, 255)
_DARK = 120  # a colour of less luma than this is seen on white rather than on black


def outline_objects(
    frames: Tensor,
    labels: Tensor,
    ids: Sequence[int] | Tensor,
    *,
    width: int = 1,
    marked: Sequence[Collection[int]] | Tensor | None = None,
) -> Tensor:
    """Draw a line around every object, and a red mark on those that are marked.

    The line lies around the object, `width` pixels in the colour that `paint_labels` gives its
    label and then one pixel of black (white beside dark colours), so that it is seen on any
    ground and hides nothing of the object; only where the object reaches the border of the frame
    the line lies on the object. Of lines that cross, that of the later id is on top.

    A marked object that is visible gets a thick red box with white beside it; one that is not
    gets a red cross where it was visible last (or will be first, if it never was).

    Args:
        frames: `[T, 3, H, W]` uint8; not changed.
        labels: `[T, H, W]` integer, 0 = background.
        ids: `N` labels to draw, each above 0; one that is nowhere draws nothing.
        width: of the line in pixels; boxes are twice as thick.
        marked: for each step the ids to mark (others than `ids` are refused), or `[T, N]` bool.

    Returns:
        `[T, 3, H, W]` uint8.

    Raises:
        TypeError: frames are not uint8, or labels not integers.
        ValueError: shapes do not fit, an id is below 1 or twice there, or marked is not among ids.

    Example:
        >>> labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
        >>> labels[0, 3:5, 3:5] = 1
        >>> drawn = outline_objects(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), labels, [1])
        >>> int((drawn != 0).any(1).sum())  # 12 pixels of line, 20 of white around it
        32
    """
    names = [int(i) for i in ids]
    _check(frames, labels, names, width)
    device, (height, width_px) = frames.device, frames.shape[2:]
    chosen = torch.tensor(names, dtype=torch.int64, device=device)
    mark = _marked(marked, names, len(frames)).to(device)
    if not names:
        return frames.clone()
    colours = palette(max(names) + 1).to(device)[chosen]
    mask = labels.to(device)[:, None] == chosen.to(labels.dtype)[:, None, None]
    y = torch.arange(height, device=device)[:, None]
    x = torch.arange(width_px, device=device)

    near = _grown(mask, width)
    edge = torch.minimum(torch.minimum(y, height - 1 - y), torch.minimum(x, width_px - 1 - x))
    line = near & (~mask | (edge < width))
    luma = (colours.double() * torch.tensor([0.299, 0.587, 0.114], device=device)).sum(1)
    beside = torch.where(luma < _DARK, 255, 0).to(torch.uint8)[:, None].expand(-1, 3)
    drawn = _paint(frames, _grown(near, 1) & ~near, beside)
    drawn = _paint(drawn, line, colours)

    red, white = _marks(mask, mark, y, x, width)
    drawn = torch.where(white[:, None], _colour(_WHITE, drawn), drawn)
    return torch.where(red[:, None], _colour(_RED, drawn), drawn)


def _check(frames: Tensor, labels: Tensor, ids: list[int], width: int) -> None:
    if frames.dtype != torch.uint8:
        raise TypeError(f"frames: expected uint8, got {frames.dtype}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels: expected integers, got {labels.dtype}")
    if frames.dim() != 4 or frames.shape[1] != 3:
        raise ValueError(f"frames: expected [T, 3, H, W], got {list(frames.shape)}")
    expected = [frames.shape[0], *frames.shape[2:]]
    if list(labels.shape) != expected:
        raise ValueError(f"labels: expected [T, H, W] = {expected}, got {list(labels.shape)}")
    most = torch.iinfo(labels.dtype).max
    if len(set(ids)) < len(ids) or any(not 1 <= i <= most for i in ids):
        raise ValueError(f"ids: expected different labels in 1..{most}, got {ids}")
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        raise ValueError(f"width: expected an integer of at least 1, got {width!r}")


def _marked(
    marked: Sequence[Collection[int]] | Tensor | None, ids: list[int], steps: int
) -> Tensor:
    """Which object is marked at which step, `[T, N]` bool."""
    if marked is None:
        return torch.zeros(steps, len(ids), dtype=torch.bool)
    if isinstance(marked, Tensor):
        if marked.dtype != torch.bool or list(marked.shape) != [steps, len(ids)]:
            raise ValueError(
                f"marked: expected bool [T, N] = [{steps}, {len(ids)}], "
                f"got {marked.dtype} {list(marked.shape)}"
            )
        return marked
    strange = sorted({i for some in marked for i in some} - set(ids))
    if len(marked) != steps or strange:
        raise ValueError(
            f"marked: expected ids out of {ids} for {steps} steps, "
            f"got {strange or 'none other'} for {len(marked)}"
        )
    table = [[i in some for i in ids] for some in marked]
    return torch.tensor(table, dtype=torch.bool).view(steps, len(ids))


def _grown(mask: Tensor, by: int) -> Tensor:
    """`mask` `[..., H, W]` grown by so many pixels in all eight directions."""
    for _ in range(by):
        for dim in (-2, -1):
            size = mask.shape[dim] - 1
            grown = mask.clone()
            grown.narrow(dim, 1, size).logical_or_(mask.narrow(dim, 0, size))
            grown.narrow(dim, 0, size).logical_or_(mask.narrow(dim, 1, size))
            mask = grown
    return mask


def _paint(frames: Tensor, where: Tensor, colours: Tensor) -> Tensor:
    """Paint `where` `[T, N, H, W]` in `colours` `[N, 3]`, later objects over earlier ones."""
    order = torch.arange(1, where.shape[1] + 1, device=where.device)[:, None, None]
    top = (where * order).amax(1)
    painted = torch.cat([colours[:1], colours])[top].movedim(-1, 1)
    return torch.where((top > 0)[:, None], painted, frames)


def _marks(mask: Tensor, mark: Tensor, y: Tensor, x: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Red and white pixels of the marks, `[T, H, W]` bool each."""
    rows, columns, there = mask.any(3), mask.any(2), mask.flatten(2).any(2)
    sides = []
    for line in (rows, columns):
        first = line.to(torch.uint8).argmax(2)
        last = line.shape[2] - 1 - line.flip(2).to(torch.uint8).argmax(2)
        sides += [first, last]
    # The step at which an object that is hidden now was visible last, or will be first.
    step = torch.arange(len(mask), device=mask.device)[:, None]
    seen = torch.where(there, step, -1).cummax(0).values
    seen = torch.where(seen < 0, there.to(torch.uint8).argmax(0), seen)
    top, bottom, left, right = (side.gather(0, seen) for side in sides)
    top, bottom, left, right = (side[:, :, None, None] for side in (top, bottom, left, right))
    drawn = mark & there.any(0)

    thick, away = 2 * width, width + 1  # clear of the line and of what is beside it
    high, low = (top - away - thick).clamp(min=0), (bottom + away + thick).clamp(max=len(y) - 1)
    start, end = (left - away - thick).clamp(min=0), (right + away + thick).clamp(max=len(x) - 1)
    # How far a pixel is inside the outer border of the box; negative outside.
    depth = torch.minimum(torch.minimum(y - high, low - y), torch.minimum(x - start, end - x))
    box = (depth >= 0) & (depth < thick)
    beside_box = (depth >= -1) & (depth <= thick)

    tall, wide = low - high + 1.0, end - start + 1.0
    across = (y - (high + low) / 2) * wide
    along = (x - (start + end) / 2) * tall
    far = torch.minimum((across - along).abs(), (across + along).abs()) / torch.hypot(tall, wide)
    cross = (far <= thick / 2) & (depth >= 0)
    beside_cross = (far <= thick / 2 + 1) & (depth >= -1)

    visible = (drawn & there)[:, :, None, None]
    hidden = (drawn & ~there)[:, :, None, None]
    red = ((box & visible) | (cross & hidden)).any(1)
    white = ((beside_box & visible) | (beside_cross & hidden)).any(1)
    return red, white


def _colour(rgb: tuple[int, int, int], like: Tensor) -> Tensor:
    return torch.tensor(rgb, dtype=like.dtype, device=like.device)[:, None, None]
