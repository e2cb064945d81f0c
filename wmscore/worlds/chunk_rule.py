"""What one call of a chunked model takes and gives: how many frames, from which context."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ChunkRule"]


@dataclass(frozen=True, kw_only=True)
class ChunkRule:
    """The frame counts of a model that generates many frames in one call.

    Attributes:
        frames: frames of one answer, the echoed context included, or None for a model that is
            asked once for the whole horizon.
        contexts: numbers of last frames that the model can look back on, in ascending order. Each
            call gets the largest one that there are frames for: with (1, 5) the first call sees the
            given frame and later ones five.
        echo: the answer begins with the context (as its autoencoder shows it); it is dropped.
        multiple: (k, b): frame counts of an answer are k * a + b, such as (4, 1) for 1, 5, 9, ...
        rows: most rows of one call, or None for all of a batch.
        pad_start: where even the smallest context is longer than what there is, repeat the given
            frame before itself. Otherwise that is refused.

    Example:
        >>> rule = ChunkRule(frames=9, contexts=(1, 5), multiple=(4, 1))
        >>> rule.context(1), rule.context(9), rule.answer(1, 100), rule.new_frames(1, 9)
        (1, 5, 9, 8)
        >>> ChunkRule(frames=None, multiple=(8, 1)).answer(1, 20)
        25
    """

    frames: int | None
    contexts: tuple[int, ...] = (1,)
    echo: bool = True
    multiple: tuple[int, int] = (1, 0)
    rows: int | None = None
    pad_start: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that no call could keep to."""
        sizes = self.contexts
        if not sizes or sizes[0] < 1 or list(sizes) != sorted(set(sizes)):
            raise ValueError(f"contexts: expected ascending sizes of at least 1, got {sizes}")
        if sizes[0] > 1 and not self.pad_start:
            raise ValueError(
                f"contexts: the first call has one frame, the smallest context is {sizes[0]}; "
                "pad_start=True repeats the given frame"
            )
        step, offset = self.multiple
        if step < 1 or offset < 0:
            raise ValueError(f"multiple: expected (k, b) with k >= 1, b >= 0, got {self.multiple}")
        if self.rows is not None and self.rows < 1:
            raise ValueError(f"rows: expected at least 1 or None, got {self.rows}")
        if self.frames is None:
            return
        if self.frames < offset or (self.frames - offset) % step:
            raise ValueError(
                f"frames: expected {step} * a + {offset}, got {self.frames}; "
                f"the next is {self.fitting(self.frames)}"
            )
        if self.new_frames(sizes[-1], self.frames) < 1:
            raise ValueError(
                f"frames: an answer of {self.frames} echoes a context of {sizes[-1]} and has no "
                "new frame"
            )

    def fitting(self, count: int) -> int:
        """The smallest frame count of an answer that is at least `count`."""
        step, offset = self.multiple
        return max(0, -(-(count - offset) // step)) * step + offset

    def context(self, available: int) -> int:
        """How many of `available` last frames a call looks back on."""
        return max((size for size in self.contexts if size <= available), default=self.contexts[0])

    def answer(self, context: int, missing: int) -> int:
        """How many frames a call is asked for while `missing` are still to come."""
        if self.frames is not None:
            return self.frames
        return self.fitting(missing + (context if self.echo else 0))

    def new_frames(self, context: int, answer: int) -> int:
        """How many frames of an answer go on from the context."""
        return answer - context if self.echo else answer

    @property
    def ahead(self) -> int:
        """Most actions that a call may need beyond the horizon."""
        step, offset = self.multiple
        return (self.frames or step + offset + self.contexts[-1]) + 1
