"""The stressors that there are."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from wmscore.manifest import Panel
from wmscore.stressors.actions import ActuatorDelay, DroppedActions, NoisyActions, StickyActions
from wmscore.stressors.base import Stressor
from wmscore.stressors.given import Blur, CameraJitter, Compression, Noise, Occlusion
from wmscore.stressors.horizon import HorizonExtension
from wmscore.stressors.light import CoolLight, OverExposure, Shadow, UnderExposure, WarmLight
from wmscore.stressors.prompts import PromptDistractor, PromptParaphrase
from wmscore.stressors.start import ResetJitter

__all__ = ["all_stressors", "applicable", "find"]


def all_stressors() -> tuple[Stressor, ...]:
    """One of each kind, in the order in which tables show them."""
    return (
        ActuatorDelay(),
        DroppedActions(),
        StickyActions(),
        NoisyActions(),
        HorizonExtension(),
        OverExposure(),
        UnderExposure(),
        WarmLight(),
        CoolLight(),
        Shadow(),
        CameraJitter(),
        Occlusion(),
        Blur(),
        Noise(),
        Compression(),
        PromptParaphrase(),
        PromptDistractor(),
        ResetJitter(),
    )


def find(name: str, **options: Any) -> Stressor:
    """The stressor of that name.

    Args:
        name: as in the manifest.
        options: its attributes, such as `rendered="simulator"` of light.

    Raises:
        ValueError: there is none of that name, or no such option; lists those that there are.

    Example:
        >>> find("actuator-delay").severities
        (1, 2, 3, 4, 6)
        >>> find("shadow", rendered="frames").rendered
        'frames'
    """
    known = {stressor.name: stressor for stressor in all_stressors()}
    if name not in known:
        raise ValueError(f"stressor: expected one of {list(known)}, got {name!r}")
    taken = [field.name for field in fields(known[name])]
    if unknown := sorted(options.keys() - set(taken)):
        raise ValueError(f"{name}: expected options out of {taken}, got {unknown}")
    return replace(known[name], **options)


def applicable(panel: Panel) -> dict[str, str | None]:
    """Of each stressor why it cannot be applied to `panel`, or None where its mildest rung can."""
    found: dict[str, str | None] = {}
    for stressor in all_stressors():
        try:
            stressor.apply(panel, stressor.severities[0])
        except ValueError as error:
            found[stressor.name] = str(error)
        else:
            found[stressor.name] = None
    return found
