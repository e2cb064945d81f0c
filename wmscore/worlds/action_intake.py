"""From the actions of items to those that a model takes, with what is lost kept on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wmscore.timeline import Conversion, Converter
from wmscore.worlds.given import (
    check_kind,
    check_rate,
    default_converter,
    item_timeline,
    naming_item,
)
from wmscore.worlds.protocol import Capabilities, Item
from wmscore.worlds.row_losses import RowLosses
from wmscore.worlds.step import stack_actions

__all__ = ["ActionIntake"]


class ActionIntake:
    """Takes the scripts of items through a converter, row by row.

    Without a converter actions go by name: a panel's action, or component, is the model's of that
    name. A model that names no actions takes numbers as they are.

    Example:
        >>> from wmscore.testing import sprite_items
        >>> able = Capabilities(actions="discrete", action_names=("up", "noop", "down", "left",
        ...                     "right"), fps=10.0, frame_size=(64, 64))
        >>> items = sprite_items(1, 3, branches=2)
        >>> ActionIntake(able, None, "m").actions(items, 3)[1].tolist()  # no-ops
        [1, 1, 1]
    """

    def __init__(
        self, capabilities: Capabilities, converter: Converter[Tensor] | None, who: str
    ) -> None:
        """For a model with these capabilities; `who` names it in errors."""
        self._able, self._who = capabilities, who
        self._own = converter is None
        self._converter = converter or default_converter(
            capabilities.actions, capabilities.action_names, capabilities.action_units
        )
        self._losses = RowLosses()

    def actions(self, items: Sequence[Item], horizon: int) -> Tensor:
        """What the model is given: `[B, horizon]` int64 or `[B, horizon, A]` floating point.

        Raises:
            ValueError: a script has actions that the model does not, or lasts less than the
                horizon; the message names the row.
        """
        stack_actions(items, horizon)  # long enough
        rows = []
        for item in items:
            check_rate(item, self._able.fps, self._who)
            found = self._convert(item, item.actions[:horizon])
            self._losses.note(item, found.losses)
            rows.append(found.value)
        return torch.stack(rows)

    def rest(self, items: Sequence[Item]) -> Tensor:
        """What the model is given where nothing is commanded: `[B]` or `[B, A]`.

        Raises:
            ValueError: an item has no no-op.
        """
        rows = []
        for item in items:
            if item.noop is None and not item.actions.is_floating_point():
                raise ValueError(
                    f"items: {item.scenario_id!r} has no noop, expected one to fill the time "
                    "before frame 0 with; pad_action says what to take instead"
                )
            still = torch.zeros_like(item.actions[:1])
            if item.noop is not None:
                still = torch.as_tensor(item.noop).to(item.actions).expand_as(still)
            rows.append(self._convert(item, still).value[0])
        return torch.stack(rows)

    @property
    def losses(self) -> tuple[str, ...]:
        """What the conversions so far have lost, as sentences; a script counts once."""
        return self._losses.sentences()

    def _check_names(self, item: Item) -> None:
        """Refuse discrete actions that the model does not name, where no table was written."""
        known = self._able.action_names
        if self._able.actions != "discrete" or not known:
            return
        if strange := [name for name in item.action_names if name not in known]:
            raise ValueError(
                f"items: {self._who} takes the actions {list(known)}, {item.scenario_id!r} has "
                f"others: {strange}; a converter says what they become"
            )

    def _convert(self, item: Item, actions: Tensor) -> Conversion[Tensor]:
        if self._own:
            check_kind(item, self._able.actions, self._who)
            self._check_names(item)
        if self._converter is None:
            return Conversion(actions)
        with naming_item(item):
            return self._converter(item_timeline(replace(item, actions=actions), self._able.fps))
