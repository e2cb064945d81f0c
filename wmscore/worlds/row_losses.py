"""What the conversion of scripts lost, counted once however often a row is asked for."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from wmscore.timeline import Loss, loss_sentences
from wmscore.worlds.protocol import Item

__all__ = ["RowLosses"]


class RowLosses:
    """Losses by script, which rows of several seeds share; safe to fill from several threads.

    Example:
        >>> from wmscore.testing import sprite_items
        >>> losses, items = RowLosses(), sprite_items(1, 3)
        >>> for item in (items[0], items[1], items[0]):
        ...     losses.note(item, [Loss("dropped", "jump", 2)])
        >>> losses.sentences()
        ('jump: dropped at 4 steps',)
    """

    def __init__(self) -> None:
        self._scripts: dict[tuple[str, int, int], tuple[Loss, ...]] = {}
        self._lock = threading.Lock()

    def note(self, item: Item, losses: Sequence[Loss]) -> None:
        """Remember what a row's script lost, in place of what was known of it."""
        with self._lock:
            self._scripts[item.panel, item.scenario, item.branch] = tuple(losses)

    def sentences(self) -> tuple[str, ...]:
        """The losses of all scripts so far, added up by kind and component."""
        with self._lock:
            scripts = list(self._scripts.values())
        return loss_sentences(scripts)
