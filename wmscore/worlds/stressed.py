"""The true world of a stressed panel."""

from __future__ import annotations

from wmscore.manifest import Panel
from wmscore.worlds.protocol import WorldModel

__all__ = ["stressed_world"]


def stressed_world(world: WorldModel, panel: Panel) -> WorldModel:
    """`world` as `panel.stress` has it rendered; `world` itself where there is nothing to render.

    What is stressed already is not stressed twice.

    Raises:
        ValueError: the world cannot be stressed in this way; says why.
    """
    if panel.stress is None:
        return world
    raise ValueError(f"stress: unknown stressor {panel.stress.stressor!r}")
