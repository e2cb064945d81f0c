"""What `response_latency` returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Lag", "LagEstimate", "ResponseLatency"]


class Lag(NamedTuple):
    """A lag and how far to trust it, each ``[...]``: ``[]`` for a panel, ``[B]`` for its rollouts.

    All values but `p_value` are NaN (the flags False) where `reason` is neither DEFINED nor
    TOO_FEW_SAMPLES.

    Attributes:
        lag: float64, whole steps; positive = the response comes later than its source.
        p_value: float64 in (0, 1], of an evidence as large as this at any lag by chance: from
            scripts permuted across rollouts. NaN where the panel has too few.
        margin: float64, nats by which the lag is more likely than the second best, both judged on
            the same number of steps; 0 or less where another explains the steps it has as well.
        polarity: float64, 1, or -1 where the response goes the other way than its source: mirrored
            controls. The sign of most of the evidence: see `gains` for single dims.
        correlation: float64 in [-1, 1], at the lag: mean over dims, weighted by their evidence.
        gain: float64, size of the response at the lag relative to its source: mean over dims,
            weighted by the inverse of their relative variance, (1 - r^2) / r^2.
        correlations: float64 ``[..., D]``, of each dim.
        gains: float64 ``[..., D]``, of each dim.
        ambiguous: bool, whether `margin` is below log 20 (a twentieth as likely would be clear):
            noise, or a script that repeats itself.
        at_edge: bool, whether the best lag is the first or last that was tried, or lies beyond:
            then `max_lag` is too small for the delay.
        reason: uint8, a `Reason`.
    """

    lag: Tensor
    p_value: Tensor
    margin: Tensor
    polarity: Tensor
    correlation: Tensor
    gain: Tensor
    correlations: Tensor
    gains: Tensor
    ambiguous: Tensor
    at_edge: Tensor
    reason: Tensor


class LagEstimate(NamedTuple):
    """One kind of lag.

    Attributes:
        pooled: of all rollouts together, ``[]``.
        rollouts: of each, ``[B]``.
    """

    pooled: Lag
    rollouts: Lag


class ResponseLatency(NamedTuple):
    """What `response_latency` returns.

    Attributes:
        excess: of the generated response behind the reference's under the same commands. This is
            the model's own latency.
        reference: of the reference's response behind the commands.
        generated: of the generated response behind the commands.
    """

    excess: LagEstimate
    reference: LagEstimate
    generated: LagEstimate
