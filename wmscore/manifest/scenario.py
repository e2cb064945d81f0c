"""Scenarios: an initial state, the script commanded from it, and its counterfactuals."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, StrictBool, StrictStr

from wmscore.manifest.contract import ActionSpace
from wmscore.manifest.fields import Action, Frozen, Name

__all__ = ["MOST_SCRIPTS", "Branch", "Scenario"]

Continuation = Literal["hold", "cycle", "noop"]

# Scripts that a counterfactual group may have, the commanded one among them; ops refuse more.
MOST_SCRIPTS = 16


class Branch(Frozen):
    """An action script. Branch 0 is commanded; the others are its counterfactuals."""

    name: Name
    actions: Annotated[tuple[Action, ...], Field(min_length=1)]
    then: Continuation | None = None

    def script(self, horizon: int, space: ActionSpace) -> tuple[Action, ...]:
        """The `horizon` actions that are sent: the script, cut or continued as `then` says."""
        script = self.actions[:horizon]
        missing = horizon - len(script)
        if missing <= 0:
            return script
        if self.then == "hold":
            return script + script[-1:] * missing
        if self.then == "cycle":
            return tuple(script[i % len(script)] for i in range(horizon))
        if self.then == "noop" and space.noop is not None:
            return script + (space.noop,) * missing
        raise ValueError(f"actions: {len(script)} actions do not reach horizon {horizon}")


class Scenario(Branch):
    """An initial state and the action script commanded from it.

    `still=True` says that nothing is meant to move there, so that a reference that does not is no
    evaluation fault.
    """

    name: Name = "commanded"
    id: Name
    initial_state_id: Name
    reset: dict[Name, JsonValue] = Field(default_factory=dict)
    branches: tuple[Branch, ...] = ()
    prompt: StrictStr | None = None
    still: StrictBool | None = None
    initial_frame_sha256: Annotated[StrictStr, Field(pattern="^[0-9a-f]{64}$")] | None = None

    @property
    def scripts(self) -> tuple[Branch, ...]:
        """All scripts of the counterfactual group, the commanded one first."""
        return (self, *self.branches)
