"""Scripts that are made: random counterfactuals, and the way back."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any

from wmscore.manifest.contract import ActionSpace
from wmscore.manifest.fields import Action
from wmscore.manifest.scenario import Scenario
from wmscore.opposites import opposites

__all__ = ["random_branches", "undoing"]


def random_branches(
    space: ActionSpace, horizon: int, count: int, seed: int, scenario: Scenario
) -> list[dict[str, Any]]:
    """So many scripts more, each another one; the same for the same seed and scenario."""
    if len(space.names) < 2:
        raise ValueError(
            f"actions: a counterfactual needs at least two different ones, got {list(space.names)}"
        )
    # random.Random is seeded with text and stable across Python versions, unlike torch's.
    rng = random.Random(f"{seed}/{scenario.id}")
    known = {branch.script(horizon, space) for branch in scenario.scripts}
    if len(known) + count > len(space.names) ** horizon:
        raise ValueError(
            f"count: {count} more scripts than the {len(known)} there are, but {len(space.names)} "
            f"actions and {horizon} steps make only {len(space.names) ** horizon}"
        )
    names = {branch.name for branch in scenario.scripts}
    free = (name for i in itertools.count() if (name := f"random-{i}") not in names)
    branches: list[dict[str, Any]] = []
    while len(branches) < count:
        actions = rng.choices(space.names, k=horizon)
        if tuple(actions) not in known:
            known.add(tuple(actions))
            branches.append({"name": next(free), "actions": actions})
    return branches


def undoing(space: ActionSpace, inverses: Mapping[str, str] | None) -> Callable[[Action], Action]:
    """What undoes an action."""
    if space.kind == "continuous":
        if inverses is not None:
            raise ValueError(
                "inverses: continuous actions are mirrored at the no-op; expected none by name, "
                f"got {dict(inverses)}"
            )
        units = space.units or ("number",) * len(space.names)
        rest = space.noop if isinstance(space.noop, tuple) else (0.0,) * len(space.names)

        def mirrored(action: Action) -> Action:
            return tuple(
                value if unit == "button" else 2 * still - value
                for value, still, unit in zip(_vector(action), rest, units, strict=True)
            )

        return mirrored
    by_name = opposites(space.names) if inverses is None else dict(inverses)
    both = {**{b: a for a, b in by_name.items()}, **by_name}
    for name in both:
        space.check_action("inverses", name)
    if isinstance(space.noop, str):
        both.setdefault(space.noop, space.noop)

    def undo(action: Action) -> Action:
        if action not in both:
            raise ValueError(
                f"inverses: expected the inverse of {action!r}, which is commanded, got only "
                f"{both}; map an action to itself that is to be repeated on the way back"
            )
        return both[str(action)]

    return undo


def _vector(action: Action) -> tuple[float, ...]:
    """A continuous action: names are refused where a panel is made."""
    assert not isinstance(action, str)
    return action
