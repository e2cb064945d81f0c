"""What an adapter takes a timeline through."""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

from wmscore.timeline.loss import Conversion
from wmscore.timeline.timeline import Timeline

__all__ = ["Converter"]

V_co = TypeVar("V_co", covariant=True)


@runtime_checkable
class Converter(Protocol[V_co]):
    """Turns a timeline into what a model takes, and says what is lost.

    Those that give tensors take batches, `[B, T, ...]` in and out; those that give text take one
    row, see `Timeline.rows`.
    """

    def __call__(self, timeline: Timeline, /) -> Conversion[V_co]:
        """Convert.

        Raises:
            ValueError: an action that the model's format does not know at all.
        """
        ...
