"""What a conversion loses, said in numbers and words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar, get_args

from torch import Tensor

__all__ = ["Conversion", "Loss", "LossKind", "gap_losses", "gather_losses", "loss_sentences"]

# What float32 and a change of units alter, relative to a format's own scale, is no loss.
_ROUNDING = 1e-6

V_co = TypeVar("V_co", covariant=True)
W = TypeVar("W")

LossKind = Literal["dropped", "rounded", "clipped", "merged", "resampled", "approximate"]


@dataclass(frozen=True)
class Loss:
    """One thing that a conversion could not carry over.

    Attributes:
        kind: "dropped" (the format has no place for it), "rounded" (to the nearest that it has),
            "clipped" (beyond its range), "merged" (several became one), "resampled" (another frame
            rate) or "approximate" (it stands for it, but is not it).
        component: what is concerned: an action, a vector component, a key.
        steps: at how many steps.
        largest: the largest difference at one step, in `unit`; None where that is no number.
        unit: unit of `largest`.
        text: why, or to what, in a few words.

    Example:
        >>> print(Loss("rounded", "yaw", 3, 0.25, "degree", "to whole camera buckets"))
        yaw: rounded at 3 steps, by up to 0.25 degree: to whole camera buckets
    """

    kind: LossKind
    component: str
    steps: int
    largest: float | None = None
    unit: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(LossKind):
            raise ValueError(f"kind: expected one of {get_args(LossKind)}, got {self.kind!r}")
        if self.steps < 1:
            raise ValueError(f"steps: expected at least 1, got {self.steps}")

    def __str__(self) -> str:
        steps = "1 step" if self.steps == 1 else f"{self.steps} steps"
        said = f"{self.component}: {self.kind} at {steps}"
        if self.largest is not None:
            unit = f" {self.unit}" if self.unit not in ("", "number") else ""
            said += f", by up to {self.largest:.4g}{unit}"
        return f"{said}: {self.text}" if self.text else said


@dataclass(frozen=True)
class Conversion(Generic[V_co]):
    """What a timeline became, and what was lost on the way.

    Nothing is lost without a `Loss`: with no losses, the way back gives the timeline again, as
    far as its float32 numbers go.
    """

    value: V_co
    losses: tuple[Loss, ...] = ()

    @property
    def lossless(self) -> bool:
        """Whether nothing was lost."""
        return not self.losses

    def then(self, other: Conversion[W]) -> Conversion[W]:
        """What a second conversion, of this one's value, gives; with the losses of both."""
        return Conversion(other.value, gather_losses((self.losses, other.losses)))

    def sentences(self) -> tuple[str, ...]:
        """The losses as sentences."""
        return tuple(str(loss) for loss in self.losses)


def gather_losses(losses: Iterable[Iterable[Loss]]) -> tuple[Loss, ...]:
    """Losses of several conversions as one list: those of one kind, component and reason are added.

    Steps are summed and the largest difference is kept, in the order of first appearance.
    """
    found: dict[tuple[str, ...], Loss] = {}
    for loss in (loss for group in losses for loss in group):
        key = (loss.kind, loss.component, loss.unit, loss.text)
        if key not in found:
            found[key] = loss
            continue
        seen = found[key]
        sizes = [size for size in (seen.largest, loss.largest) if size is not None]
        found[key] = replace(seen, steps=seen.steps + loss.steps, largest=max(sizes, default=None))
    return tuple(found.values())


def loss_sentences(losses: Iterable[Iterable[Loss]]) -> tuple[str, ...]:
    """Losses of several conversions, added up as `gather_losses` does, as sentences."""
    return tuple(str(loss) for loss in gather_losses(losses))


def gap_losses(
    kind: LossKind, component: str, gap: Tensor, scale: float, unit: str, text: str
) -> tuple[Loss, ...]:
    """The loss of a component whose values differ by `gap` step by step, if there is any.

    Args:
        kind: as of `Loss`, and so on.
        component: what is concerned.
        gap: differences, of any shape, one per step.
        scale: the largest value that the format knows; a millionth of it is no difference.
        unit: of the differences.
        text: why.
    """
    steps = int((gap.abs() > _ROUNDING * scale).sum())
    if not steps:
        return ()
    return (Loss(kind, component, steps, float(gap.abs().max()), unit, text),)
