"""Whether an answer answers what was asked."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.replay.items import fingerprint_of
from wmscore.rollouts import Rollouts
from wmscore.worlds import Item

__all__ = [
    "NoRolloutsError",
    "WrongAnswerError",
    "WrongScriptError",
    "WrongSizeError",
    "checked_answer",
]


class WrongAnswerError(ValueError):
    """A model answered something else than was asked; `reason` is the fault of its rows."""

    reason = Reason.WRONG_ANSWER


class WrongSizeError(WrongAnswerError):
    """Frames of another size than the panel's."""

    reason = Reason.WRONG_SIZE


class WrongScriptError(WrongAnswerError):
    """Rollouts under other actions than were commanded."""

    reason = Reason.WRONG_SCRIPT


class NoRolloutsError(WrongAnswerError, TypeError):
    """A model answered with something that is no `Rollouts`."""


def checked_answer(rollouts: object, name: str, items: Sequence[Item], panel: Panel) -> Rollouts:
    """The rollouts of model `name`, if they answer `items` under `panel`.

    Raises:
        WrongAnswerError: they have other rows, horizon or panel than was asked for; a
            `WrongScriptError` or `WrongSizeError` for other actions or another frame size; a
            `NoRolloutsError`, which is a TypeError too, where they are no `Rollouts`.
    """
    if not isinstance(rollouts, Rollouts):
        raise NoRolloutsError(
            f"model {name!r}: expected Rollouts in answer, got {type(rollouts).__name__}"
        )
    for key in ("scenario", "seed", "branch"):
        asked = [getattr(item, key) for item in items]
        if getattr(rollouts, key).tolist() != asked:
            raise WrongAnswerError(f"model {name!r}: answered other rows than asked ({key})")
    sent = torch.stack([item.actions for item in items])
    if not torch.equal(rollouts.actions.cpu(), sent):
        raise WrongScriptError(
            f"model {name!r}: expected the commanded actions {list(sent.shape)} back in "
            f"rollouts.actions, got others {list(rollouts.actions.shape)}"
        )
    if rollouts.horizon != panel.contract.horizon or rollouts.panel != fingerprint_of(panel):
        raise WrongAnswerError(
            f"model {name!r}: expected horizon {panel.contract.horizon} and panel "
            f"{fingerprint_of(panel)[:12]}, got {rollouts.horizon} and {rollouts.panel[:12]}"
        )
    size = panel.contract.observation
    if size is not None and rollouts.frames.shape[2:] != (size.channels, size.height, size.width):
        raise WrongSizeError(
            f"model {name!r}: expected frames [{size.channels}, {size.height}, "
            f"{size.width}] by contract.observation, got {list(rollouts.frames.shape[2:])}"
        )
    if rollouts.model != name:
        raise WrongAnswerError(
            f"model {name!r}: answered under another name, {rollouts.model!r} (rollouts.model)"
        )
    return rollouts
