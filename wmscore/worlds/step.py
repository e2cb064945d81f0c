"""Lift a step model (reset, then step by step, batched) into a `WorldModel`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.worlds.protocol import Capabilities, Item, item_keys

if TYPE_CHECKING:
    from wmscore.worlds.action_intake import ActionIntake

__all__ = ["ObservingStepModel", "ObservingStepper", "StepModel", "StepOutput", "Stepper"]


@dataclass(frozen=True, kw_only=True, eq=False)
class StepOutput:
    """What a batch of worlds shows after a reset or a step.

    Attributes:
        frames: `[B, C, H, W]` uint8 or floating point.
        labels: `[B, H, W]` integer, or None.
        alive: `[B]` bool, False from the first frame that no longer exists (episode over), or
            None for all.
    """

    frames: Tensor
    labels: Tensor | None = None
    alive: Tensor | None = None


class Stepper(Protocol):
    """A batched world with a state: what gymnasium-like and recurrent models look like.

    Example:
        >>> class Still:
        ...     name = "still"
        ...     capabilities = Capabilities(
        ...         actions="discrete", action_names=("noop", "left"), fps=10.0, frame_size=(64, 64)
        ...     )
        ...
        ...     def reset(self, items):
        ...         self.frames = torch.stack([item.frame for item in items])
        ...         return StepOutput(frames=self.frames)
        ...
        ...     def step(self, actions):  # [B]: indices of the names above
        ...         return StepOutput(frames=self.frames)
        >>> StepModel(Still()).name
        'still'
    """

    @property
    def name(self) -> str:
        """Short name."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    def reset(self, items: Sequence[Item]) -> StepOutput:
        """Put row `i` into the initial state of `items[i]` and show it."""
        ...

    def step(self, actions: Tensor) -> StepOutput:
        """Apply one action per row, `[B]` int64 or `[B, A]`, and show the next frame.

        Where the capabilities name actions, these are the numbers: a panel that names the same
        actions in another order is brought to it.
        """
        ...


class ObservingStepper(Stepper, Protocol):
    """A step model that can be told what the true world shows, and goes on from there.

    Recurrent models do so with their posterior, models of a few context frames by replacing the
    last one.
    """

    def observe(self, frames: Tensor) -> None:
        """Take the true frames `[B, C, H, W]` for what the last step has shown."""
        ...


class StepModel:
    """A `WorldModel` that drives a `Stepper` along each item's script.

    Actions go by name, as with every lifter: a script with an action that the stepper does not name
    is refused. A row that ends early keeps its last frame as padding, and `valid` says so.
    """

    def __init__(self, stepper: Stepper) -> None:
        """Wrap `stepper`; its protocol, `Stepper`, says what it needs."""
        self.stepper = stepper
        self._intake: ActionIntake | None = None

    @property
    def name(self) -> str:
        """The stepper's name."""
        return self.stepper.name

    @property
    def capabilities(self) -> Capabilities:
        """The stepper's capabilities."""
        return self.stepper.capabilities

    @property
    def conversion_losses(self) -> tuple[str, ...]:
        """What the stepper's own vectors could not hold of those commanded so far."""
        return () if self._intake is None else self._intake.losses

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Reset all rows, then step them together `horizon` times."""
        return self._drive(items, horizon)

    def _drive(
        self,
        items: Sequence[Item],
        horizon: int,
        after_step: Callable[[int], None] = lambda t: None,
    ) -> Rollouts:
        """Roll out; `after_step(t)` may change the stepper's state once it has shown frame t."""
        actions = stack_actions(items, horizon)
        taken = self._taken_actions(items, horizon)
        out = self.stepper.reset(items)
        frames = out.frames.new_empty((len(items), horizon + 1, *out.frames.shape[1:]))
        labels = None
        if out.labels is not None:
            labels = out.labels.new_empty((len(items), horizon + 1, *out.labels.shape[1:]))
        valid = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
        first = out
        for t in range(horizon + 1):
            if t:
                if t > 1:
                    after_step(t - 1)
                out = self.stepper.step(taken[:, t - 1])
                self._check_like(out, first, t)
            if out.alive is not None:
                valid[:, t] = out.alive.to(valid.device)
            if t:
                valid[:, t] &= valid[:, t - 1]
            frames[:, t] = out.frames
            if labels is not None and out.labels is not None:
                labels[:, t] = out.labels
            if t and out.alive is not None:
                ended = ~valid[:, t]
                frames[:, t] = torch.where(
                    ended[:, None, None, None], frames[:, t - 1], frames[:, t]
                )
                if labels is not None:
                    labels[:, t] = torch.where(ended[:, None, None], labels[:, t - 1], labels[:, t])
        return Rollouts(
            frames=frames,
            labels=labels,
            valid=valid,
            actions=actions.to(frames.device),
            model=self.name,
            **item_keys(items),
        )

    def _taken_actions(self, items: Sequence[Item], horizon: int) -> Tensor:
        """What the stepper is given: `[B, T]` or `[B, T, A]`, in its own order of actions."""
        from wmscore.worlds.action_intake import ActionIntake

        able = self.stepper.capabilities
        if able.actions == "none" or not able.action_names:
            return stack_actions(items, horizon)
        if self._intake is None:
            self._intake = ActionIntake(able, None, f"model {self.name!r}")
        return self._intake.actions(items, horizon)

    def _check_like(self, out: StepOutput, first: StepOutput, step: int) -> None:
        """Refuse a step that shows something of another kind than the reset did."""
        for name in ("frames", "labels"):
            now, then = getattr(out, name), getattr(first, name)
            kinds = [None if x is None else (x.dtype, tuple(x.shape)) for x in (then, now)]
            if kinds[0] != kinds[1]:
                raise ValueError(
                    f"stepper {self.name!r}, step {step}, {name}: expected {kinds[0]} as after "
                    f"reset, got {kinds[1]}"
                )


class ObservingStepModel(StepModel):
    """A `StepModel` that offers one-step predictions too: a `TeacherForced` world model."""

    stepper: ObservingStepper

    def __init__(self, stepper: ObservingStepper) -> None:
        """Wrap `stepper`."""
        super().__init__(stepper)

    def predict_next(
        self, items: Sequence[Item], reference_frames: Tensor, horizon: int
    ) -> Rollouts:
        """Step all rows together, each step from the true frame before it.

        The stepper sees true frame t once it has predicted it, and never the last one.
        """
        return self._drive(items, horizon, lambda t: self.stepper.observe(reference_frames[:, t]))


def stack_actions(items: Sequence[Item], horizon: int) -> Tensor:
    """The first `horizon` actions of every item: `[B, T]` int64 or `[B, T, A]`.

    Raises:
        ValueError: there are no items, or a script is shorter than the horizon.
    """
    if not items:
        raise ValueError("items: expected at least one, got none")
    for item in items:
        if item.actions.shape[0] < horizon:
            raise ValueError(
                f"items: the script of {item.scenario_id!r} has {item.actions.shape[0]} actions, "
                f"expected at least horizon = {horizon}"
            )
    return torch.stack([item.actions[:horizon] for item in items])
