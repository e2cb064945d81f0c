"""Distances per step or per window of a rollout, instead of one for all of its frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

from wmscore.functional._check import check_count
from wmscore.functional.distributions._rows import check_features
from wmscore.functional.distributions.frechet import frechet_distance_from_features

__all__ = ["window_samples", "windowed_distance"]

Result = TypeVar("Result")


def window_samples(features: Tensor, length: int = 1) -> Tensor:
    """Sets of samples, one for each window of steps.

    Args:
        features: ``[B, T, D]``, of frames at steps 1..T, or of clips with one for each window.
        length: steps in a window, 16 or 32 by custom; 1 for one set per step, and for features
            of clips. T must be a multiple: a rest would be dropped, so cut it off yourself.

    Returns:
        ``[T / length, B * length, D]``, row ``b * length + t`` from rollout b: for intervals repeat
        the clusters, ``clusters.repeat_interleave(length)``.

    Raises:
        TypeError: not a tensor, or of the wrong dtype.
        ValueError: not ``[B, T, D]``, or T is not a multiple of ``length``.
    """
    check_features("features", features)
    check_count("length", length)
    if features.ndim != 3 or features.shape[1] % length:
        raise ValueError(
            f"features must have shape [B, T, D] with T a multiple of length = {length}, "
            f"got {tuple(features.shape)}"
        )
    rollouts, steps, width = features.shape
    windows = features.reshape(rollouts, steps // length, length, width)
    return windows.transpose(0, 1).flatten(1, 2)


def windowed_distance(
    preds: Tensor,
    target: Tensor,
    *,
    length: int = 1,
    distance: Callable[[Tensor, Tensor], Result] = frechet_distance_from_features,  # type: ignore[assignment]
) -> Result:
    """A distribution distance for each window of steps: how a model's distribution drifts.

    A world model's rollouts have a reference each (same state, same actions), and a distance of
    distributions forgets who belongs to whom: a model that answers every action with another
    action's true frames scores a perfect 0. Per-frame metrics against the own reference say more;
    take this one beside them, for stochastic worlds.

    Args:
        preds: features of generated rollouts ``[B, T, D]``.
        target: features of reference rollouts ``[S, T, D]``; S need not be B.
        length: steps in a window, see :func:`window_samples`.
        distance: what to compute, from ``[W, N, D]`` and ``[W, M, D]``.

    Returns:
        What ``distance`` gives, with one leading dim ``[W]``, W = T / length.

    Raises:
        TypeError: not tensors, or of the wrong dtype.
        ValueError: not ``[B, T, D]``, another T or D, or T is not a multiple of ``length``.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> target = torch.randn(64, 32, 4)
        >>> drift = torch.linspace(0, 2, 32)[:, None]
        >>> by_window = windowed_distance(target + drift, target, length=16).distance
        >>> [round(value, 2) for value in by_window.tolist()]  # about 4 x the squared mean drift
        [0.97, 9.22]
    """
    for name, features in (("preds", preds), ("target", target)):
        check_features(name, features)
        if features.ndim != 3 or features.shape[1] != preds.shape[1]:
            raise ValueError(
                "preds and target must have shapes [B, T, D] and [S, T, D] with one T, "
                f"got {tuple(preds.shape)} and {tuple(target.shape)}"
            )
    return distance(window_samples(preds, length), window_samples(target, length))
