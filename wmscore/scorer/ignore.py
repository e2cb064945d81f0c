"""Regions of the picture in which no metric looks: watermarks, overlays."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from wmscore.manifest import Observation
from wmscore.rollouts import Rollouts
from wmscore.scorer.groups import of_reference

__all__ = ["cover_ignored", "ignored_share"]


def cover_ignored(rollouts: Rollouts, observation: Observation | None) -> Rollouts:
    """Rollouts and references with the ignored boxes filled alike, and without labels there.

    Each box gets its mean colour in the reference's first frame, in all frames of the rollout and
    of the reference, so that there is nothing in it that moves, responds or differs. Latents that a
    model brought are what they are.

    Raises:
        ValueError: frames of another size than the boxes are for, or no reference.
    """
    if observation is None or observation.ignore is None:
        return rollouts
    size = (observation.height, observation.width)
    if tuple(rollouts.frames.shape[-2:]) != size:
        raise ValueError(
            f"rollouts.frames: expected {size[0]}x{size[1]} as observation.ignore is for, got "
            f"{list(rollouts.frames.shape[-2:])}"
        )
    if rollouts.reference is None:
        raise ValueError("rollouts: expected a reference; add one with `with_reference(truth)`")
    frames, reference = rollouts.frames.clone(), rollouts.reference.clone()
    for top, left, bottom, right in observation.ignore:
        box = (..., slice(top, bottom), slice(left, right))
        colour = rollouts.reference[:, 0][box].double().mean((-2, -1))  # [S, C]
        if reference.dtype == torch.uint8:
            colour = colour.round()
        colour = colour.to(reference.dtype)[:, None, :, None, None]
        reference[box] = colour
        frames[box] = of_reference(rollouts, colour)
    return replace(
        rollouts,
        frames=frames,
        reference=reference,
        labels=_cleared(rollouts.labels, observation),
        reference_labels=_cleared(rollouts.reference_labels, observation),
    )


def ignored_share(observation: Observation | None) -> float:
    """The share of the pixels in ignored boxes."""
    if observation is None or observation.ignore is None:
        return 0.0
    return float(observation.ignored().double().mean())


def _cleared(labels: Tensor | None, observation: Observation) -> Tensor | None:
    if labels is None:
        return None
    return labels.masked_fill(observation.ignored().to(labels.device), 0)
