"""Ask a model for more than was agreed on: it may refuse, and it may fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.rowfaults import NO_FAULTS, message_of, one_line
from wmscore.testing.report import ContractRow
from wmscore.worlds.baselines import noop_script
from wmscore.worlds.handing import handed, own
from wmscore.worlds.protocol import Item, WorldModel

__all__ = ["Failure", "ask", "failed", "other_actions", "other_script"]

_LONGEST = 4000  # characters of a message, of which one line is told


@dataclass(frozen=True)
class Failure:
    """A model that raised instead of answering.

    Attributes:
        refused: it said so with a ValueError.
        error: type of the exception.
        message: what it said.
    """

    refused: bool
    error: str
    message: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """What an exception says."""
        message = one_line(message_of(error, _LONGEST))
        return cls(isinstance(error, ValueError), type(error).__name__, message)


def ask(
    model: WorldModel, items: Sequence[Item], horizon: int, *, any_shape: bool = False
) -> Rollouts | Failure:
    """Roll out, or say how that failed.

    The answer is kept in memory of its own: a model that fills one buffer again would else be
    compared with itself.

    Args:
        model: who is asked.
        items: the rows.
        horizon: number of steps.
        any_shape: take rollouts of other rows, steps or size too.
    """
    try:
        answer: object = model.rollout(handed(items), horizon)
        if isinstance(answer, Rollouts):
            answer = own(answer)
    except NO_FAULTS:
        raise
    except BaseException as error:
        return Failure.of(error)
    if not isinstance(answer, Rollouts):
        return Failure(False, "TypeError", f"expected Rollouts, got {type(answer).__name__}")
    wanted = (len(items), horizon + 1, 3, *model.capabilities.frame_size)
    if answer.frames.shape != wanted and not any_shape:
        found = list(answer.frames.shape)
        return Failure(False, "WrongAnswer", f"expected frames {list(wanted)}, got {found}")
    return answer


def failed(name: str, promised: bool, failure: Failure) -> ContractRow:
    """The row of a property that a failure left unmeasured; only an unpromised one may be."""
    return ContractRow(
        property=name,
        promised=promised,
        observed="refused" if failure.refused else "raised",
        ok=failure.refused and not promised,
        detail=f"{failure.error}: {failure.message}",
    )


def other_actions(items: Sequence[Item], after: int = 0) -> list[Item]:
    """The items that have another script, with it (`other_script`)."""
    scripts = [other_script(item, after) for item in items]
    return [
        replace(item, actions=script)
        for item, script in zip(items, scripts, strict=True)
        if script is not None
    ]


def other_script(item: Item, after: int = 0) -> Tensor | None:
    """A script that differs from action `after` on: no-op, or where that is commanded, a move."""
    actions = item.actions
    if item.noop is not None:
        still = noop_script(item)
        if not torch.equal(still[after:], actions[after:]):
            return torch.cat([actions[:after], still[after:]])
    if actions.is_floating_point():
        return torch.cat([actions[:after], _moved(item)[after:]])
    if len(item.action_names) < 2:
        return None
    return torch.cat([actions[:after], (actions[after:] + 1) % len(item.action_names)])


def _moved(item: Item) -> Tensor:
    """Vector actions with every component changed; a button stays one, pressed or not."""
    if not item.action_units:
        return item.actions + 1
    buttons = torch.tensor([unit == "button" for unit in item.action_units])
    return torch.where(buttons, 1 - item.actions, item.actions + 1)
