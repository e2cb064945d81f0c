"""The threshold at which a curve would begin to fail: what calibrated thresholds are made from."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional._check import check_choice, check_curve, check_mask, check_per_curve

__all__ = ["critical_threshold"]


def critical_threshold(
    scores: Tensor,
    *,
    patience: int | Tensor = 3,
    direction: Literal["below", "above"] = "below",
    valid: Tensor | None = None,
    recover_threshold: float | Tensor | None = None,
) -> Tensor:
    r"""The largest threshold under which a curve does not fail.

    .. math:: c = \min_{w} \max_{t \in w} s_t

    over windows w of ``patience`` consecutive defined steps. `first_crossing` with the same
    arguments finds a crossing if and only if ``c < threshold``; at equality the curve passes, as a
    step does. With ``direction="above"`` it is the smallest such threshold, the largest of the
    minima, and a curve crosses if and only if ``c > threshold``.

    With hysteresis it is the smallest :math:`s_t` of those that ``patience - 1`` defined steps
    below ``recover_threshold`` follow. That answers for thresholds up to ``recover_threshold``,
    and others are not allowed.

    Args:
        scores: curves ``[..., T]``, floating point, in any unit; steps that are NaN are undefined
            and do not interrupt a window.
        patience: steps in a row that make a failure, 1 or more; an int, or an integer tensor that
            broadcasts to ``[...]``.
        direction: ``"below"`` where low values fail, ``"above"`` where high ones do.
        valid: bool, broadcasts to ``[..., T]``; other steps are undefined. ``None`` means all.
        recover_threshold: as of `first_crossing`, a number or a tensor that broadcasts to
            ``[...]``; ``None``, and NaN where it is, means the threshold itself.

    Returns:
        ``[...]`` in the dtype of ``scores``; higher is better (lower for ``"above"``). ``inf``
        (``-inf``) where fewer than ``patience`` steps are defined, so that nothing can fail; NaN
        where none is.

    Raises:
        ValueError: no step, a shape that does not broadcast, a patience below 1, an unknown
            direction.
        TypeError: not tensors, or of the wrong dtype.

    Source:
        The statistic of a conformal threshold over time to failure; Vovk et al., Algorithmic
        Learning in a Random World, 2005, for the calibration.

    Example:
        >>> import torch
        >>> scores = torch.tensor([1.0, 0.25, 0.875, 0.5, 0.75, 1.0])
        >>> [critical_threshold(scores, patience=p).item() for p in (1, 2, 3, 7)]
        [0.25, 0.75, 0.875, inf]
    """
    check_curve("scores", scores)
    check_per_curve("patience", patience, tuple(scores.shape[:-1]), whole=True)
    check_choice("direction", direction, ("below", "above"))
    if recover_threshold is not None:
        check_per_curve("recover_threshold", recover_threshold, tuple(scores.shape[:-1]))
    if direction == "above":
        recover = None if recover_threshold is None else -recover_threshold
        return -critical_threshold(
            -scores, patience=patience, valid=valid, recover_threshold=recover
        )
    defined = ~scores.isnan()
    if valid is not None:
        check_mask("valid", valid, tuple(scores.shape), scores.device)
        defined = defined & valid
    # Defined steps first, in order; what lies past the end has no maximum that could be low.
    steps = scores.shape[-1]
    place = (defined.cumsum(-1) - 1).where(defined, steps)
    room = scores.new_full((*scores.shape[:-1], steps + 1), math.inf)
    window = room.scatter(-1, place, scores.masked_fill(~defined, math.inf))[..., :-1]
    smallest = _smallest_maximum(window, patience)
    if recover_threshold is not None:
        recover = torch.as_tensor(recover_threshold).to(scores)
        held = _smallest_held(window, patience, recover)
        smallest = smallest.where(recover.isnan(), held)
    return smallest.masked_fill(~defined.any(-1), math.nan)


def _smallest_held(values: Tensor, patience: int | Tensor, recover: Tensor) -> Tensor:
    """Smallest value that `patience` - 1 values below `recover` follow, `inf` where none is."""
    steps = values.shape[-1]
    place = torch.arange(steps + 1, device=values.device)
    ended = pad(values, (0, 1), value=math.inf) >= recover.unsqueeze(-1)
    following = place.where(ended, steps).flip(-1).cummin(-1).values.flip(-1)[..., 1:]
    wanted = patience.to(values.device).unsqueeze(-1) if isinstance(patience, Tensor) else patience
    return values.where(following - place[:-1] >= wanted, math.inf).amin(-1)


def _smallest_maximum(values: Tensor, patience: int | Tensor) -> Tensor:
    """Smallest maximum of `patience` values in a row, `inf` where there are not as many.

    By maxima of 1, 2, 4, ... values: those of any number are the larger of two that overlap.
    """
    steps = values.shape[-1]
    if isinstance(patience, int):
        patience = torch.full((), patience, device=values.device)
    wanted = patience.to(values.device).clamp(max=steps + 1).unsqueeze(-1)
    start = torch.arange(steps, device=values.device)
    maxima, width = values, 1
    found = maxima
    while 2 * width <= steps:
        later = pad(maxima[..., width:], (0, width), value=math.inf)
        maxima, width = torch.maximum(maxima, later), 2 * width
        shift = (start + wanted - width).clamp(0, steps)
        second = pad(maxima, (0, 1), value=math.inf).gather(-1, shift.expand(values.shape))
        found = torch.maximum(maxima, second).where(wanted >= width, found)
    longest = found.amin(-1)
    return longest.masked_fill((wanted > steps).squeeze(-1), math.inf)
