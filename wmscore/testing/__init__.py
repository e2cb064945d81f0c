"""Test tools for users: the world-model contract, known faults, ready-made items."""

from wmscore.testing.contract import check_world_model
from wmscore.testing.faults import (
    Blur,
    ColourDrift,
    DelayedActions,
    Duplicate,
    Fault,
    Faulty,
    Freeze,
    HalfGain,
    IdentitySwap,
    IgnoredActions,
    NanFrame,
    ResetMismatch,
    ShortRollout,
    Vanish,
    all_faults,
)
from wmscore.testing.items import sprite_items
from wmscore.testing.report import ContractError, ContractReport, ContractRow

__all__ = [
    "Blur",
    "ColourDrift",
    "ContractError",
    "ContractReport",
    "ContractRow",
    "DelayedActions",
    "Duplicate",
    "Fault",
    "Faulty",
    "Freeze",
    "HalfGain",
    "IdentitySwap",
    "IgnoredActions",
    "NanFrame",
    "ResetMismatch",
    "ShortRollout",
    "Vanish",
    "all_faults",
    "check_world_model",
    "sprite_items",
]
