"""The reference with a change that nobody should mind: what a world that repeats itself must pass.

A deterministic simulator scores 1 against itself at every step, so that no threshold can be learnt
from it. Its own frames, moved by a pixel and rounded to every other grey level, are then the worst
that still has to pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from wmscore.manifest import Panel
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores

__all__ = ["TOLERANCE", "reference_copies", "tolerance_scores"]

TOLERANCE = "1 px to each side, 1 grey level"
"""What is done to the reference, as the panel records it."""

_SIDES = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}


def tolerance_scores(panel: Panel, batches: Iterable[Rollouts], **options: Any) -> list[Scores]:
    """Scores of the changed reference, one for each side to which it is moved.

    Args:
        panel: the contract.
        batches: rollouts of any model beside their reference, say a recording; only the reference
            is used, once per scenario.
        options: of the `Scorer`: device and networks.

    Returns:
        Four `Scores`; rows of further seeds, which would repeat the first one's, are missing.

    Raises:
        ValueError: no rollouts of the panel's first seed, or none with a reference.
    """
    scorers = {side: Scorer(panel, **options) for side in _SIDES}
    empty = True
    for rollouts in batches:
        first = rollouts.seed == panel.seeds[0]
        if not bool(first.any()):
            continue
        empty = False
        for scorer, copy in zip(scorers.values(), reference_copies(rollouts[first]), strict=True):
            scorer.update(copy)
    if empty:
        raise ValueError(f"batches: expected rollouts of seed {panel.seeds[0]}, got none")
    return [scorer.compute() for scorer in scorers.values()]


def reference_copies(rollouts: Rollouts) -> Iterator[Rollouts]:
    """The reference in place of the generated frames, moved to each side by a pixel, and rounded.

    Pixels at the border are repeated. Labels move along. Frame 0 stays the given one. There are no
    latents, since nothing encoded the changed frames.

    Args:
        rollouts: with a reference.

    Yields:
        Four `Rollouts` with the same rows and reference.

    Raises:
        ValueError: no reference.
    """
    if rollouts.reference is None or rollouts.reference_index is None:
        raise ValueError("rollouts: expected a reference; add one with `with_reference(truth)`")
    index = rollouts.reference_index.to(rollouts.device)
    frames, labels = rollouts.reference[index], rollouts.reference_labels
    labels = None if labels is None else labels[index]
    assert rollouts.reference_valid is not None  # all of it where none was given
    for side, (down, right) in _SIDES.items():
        yield replace(
            rollouts,
            frames=_after_first(frames, _every_other_level(_moved(frames, down, right))),
            labels=None if labels is None else _after_first(labels, _moved(labels, down, right)),
            valid=rollouts.reference_valid[index],
            latents=None,
            info={},
            model=f"reference, 1 px {side}",
        )


def _after_first(given: Tensor, changed: Tensor) -> Tensor:
    return torch.cat([given[:, :1], changed[:, 1:]], 1)


def _moved(pixels: Tensor, down: int, right: int) -> Tensor:
    """`[..., H, W]` moved by whole pixels; the border is repeated."""
    height, width = pixels.shape[-2:]
    rows, columns = (torch.arange(n, device=pixels.device) for n in (height, width))
    pixels = pixels.index_select(-2, (rows - down).clamp(0, height - 1))
    return pixels.index_select(-1, (columns - right).clamp(0, width - 1))


def _every_other_level(frames: Tensor) -> Tensor:
    """Down to even levels of 0..255."""
    if frames.dtype == torch.uint8:
        return frames & 254
    return (frames.double() * 127.5).floor().div(127.5).clamp(0, 1).to(frames.dtype)
