"""From the actions of items to those that a model takes, with what is lost kept on record."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wmscore.timeline import ByName, Converter, Loss, SameVector, Timeline, gather_losses
from wmscore.worlds.protocol import Capabilities, Item

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
        >>> ActionIntake(able).actions(items, 3)[1].tolist()  # no-ops
        [1, 1, 1]
    """

    def __init__(
        self, capabilities: Capabilities, converter: Converter[Tensor] | None = None
    ) -> None:
        """For a model with these capabilities."""
        self.capabilities = capabilities
        self.converter = converter
        names, units = capabilities.action_names, capabilities.action_units
        if converter is None and names and capabilities.actions == "discrete":
            self.converter = ByName(names)
        if converter is None and names and capabilities.actions == "continuous":
            self.converter = SameVector(names, units=units)
        self._lost: dict[tuple[str, int, int], tuple[Loss, ...]] = {}

    def actions(self, items: Sequence[Item], horizon: int) -> Tensor:
        """What the model is given: `[B, horizon]` int64 or `[B, horizon, A]` floating point.

        Raises:
            ValueError: a script has actions that the model does not, or lasts less than the
                horizon; the message names the row.
        """
        if not items:
            raise ValueError("items: expected at least one, got none")
        rows = []
        for item in items:
            if item.actions.shape[0] < horizon:
                raise ValueError(
                    f"items: the script of {item.scenario_id!r} has {item.actions.shape[0]} "
                    f"actions, expected at least horizon = {horizon}"
                )
            self._check_rate(item)
            rows.append(self._convert(item, item.actions[:horizon], keep=True))
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
            rows.append(self._convert(item, still, keep=False)[0])
        return torch.stack(rows)

    @property
    def losses(self) -> tuple[str, ...]:
        """What the conversions so far have lost, as sentences; a script counts once."""
        return tuple(str(loss) for loss in gather_losses(self._lost.values()))

    def _convert(self, item: Item, actions: Tensor, *, keep: bool) -> Tensor:
        wanted = self.capabilities.actions
        kind = "continuous" if item.actions.is_floating_point() else "discrete"
        if self.converter is None:
            if wanted in ("discrete", "continuous") and kind != wanted:
                raise ValueError(
                    f"items: {item.scenario_id!r} has {kind} actions, expected {wanted} ones, or "
                    "a converter"
                )
            return actions
        try:
            found = self.converter(
                Timeline.of(
                    actions,
                    item.action_names,
                    units=item.action_units,
                    noop=item.noop,
                    fps=item.fps or self.capabilities.fps,
                )
            )
        except ValueError as error:
            raise ValueError(f"items: {item.scenario_id!r}, actions: {error}") from error
        if keep and found.losses:
            self._lost[item.panel, item.scenario, item.branch] = found.losses
        return found.value

    def _check_rate(self, item: Item) -> None:
        if item.fps is not None and item.fps != self.capabilities.fps:
            raise ValueError(
                f"items: {item.scenario_id!r} is at {item.fps:g} frames per second, expected the "
                f"model's {self.capabilities.fps:g}"
            )
