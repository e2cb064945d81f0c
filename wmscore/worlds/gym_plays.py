"""What a row of a gymnasium world's pixels depends on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from wmscore.worlds.gym_actions import ActionTable
from wmscore.worlds.protocol import Item

__all__ = ["Play", "group_plays", "read_play"]


@dataclass(frozen=True)
class Play:
    """All that a row's pixels depend on. Rows that agree in it are played once."""

    seed: int
    options_json: str
    warmup: tuple[Any, ...]
    script: tuple[Any, ...]
    noise_seed: int | None
    scenario: str = field(compare=False)

    @property
    def options(self) -> dict[str, Any] | None:
        """Options of the reset, anew each time: environments take out what they have used."""
        options: dict[str, Any] | None = json.loads(self.options_json)
        return options


def read_play(item: Item, horizon: int, table: ActionTable) -> Play:
    """What to play for an item.

    Raises:
        ValueError: names the field that is not the environment's.
    """
    reset = item.reset
    unknown = sorted(reset.keys() - {"seed", "options", "warmup"})
    if unknown:
        raise ValueError(f"reset: expected the keys seed, options and warmup, got {unknown}")
    seed, warmup, options = reset.get("seed"), reset.get("warmup", []), reset.get("options")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"reset.seed: expected an integer of at least 0, got {seed!r}")
    if not isinstance(warmup, list | tuple):
        raise ValueError(f"reset.warmup: expected a list of actions, got {warmup!r}")
    if options is not None and not isinstance(options, dict):
        raise ValueError(f"reset.options: expected an object, got {options!r}")
    return Play(
        seed=seed,
        options_json=json.dumps(options, sort_keys=True),
        warmup=table.warmup(warmup),
        script=table.script(item, horizon),
        noise_seed=item.noise_seed,
        scenario=item.scenario_id,
    )


def group_plays(plays: Sequence[Play], size: int) -> Iterator[list[int]]:
    """Rows that can be played side by side, at most `size` at a time.

    One reset has one `options` for all environments, and warm-ups end together.
    """
    groups: dict[tuple[str, int], list[int]] = {}
    for row, play in enumerate(plays):
        groups.setdefault((play.options_json, len(play.warmup)), []).append(row)
    for rows in groups.values():
        for start in range(0, len(rows), size):
            yield rows[start : start + size]
