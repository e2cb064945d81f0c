"""wmscore: how far a generative world model can be trusted, and why it breaks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> module. Resolved on first use: `import wmscore` costs next to nothing, and
# `wmscore.ops` and `wmscore.functional` need nothing but torch and numpy.
_EXPORTS = {
    "Comparison": "wmscore.comparison",
    "Curve": "wmscore.scores",
    "Panel": "wmscore.manifest",
    "PanelMismatchError": "wmscore.manifest",
    "Rollouts": "wmscore.rollouts",
    "Scorer": "wmscore.scorer",
    "Scores": "wmscore.scores",
    "compare": "wmscore.comparison",
}
_MODULES = (
    "actions",
    "attribution",
    "calibration",
    "comparison",
    "episodes",
    "evidence",
    "functional",
    "ladder",
    "manifest",
    "metrics",
    "networks",
    "ops",
    "plots",
    "protocols",
    "recordings",
    "replay",
    "rollouts",
    "scorer",
    "scores",
    "stats",
    "stressors",
    "testing",
    "timeline",
    "video",
    "worlds",
)

__all__ = [
    "Comparison",
    "Curve",
    "Panel",
    "PanelMismatchError",
    "Rollouts",
    "Scorer",
    "Scores",
    "__version__",
    "compare",
]

if TYPE_CHECKING:
    from wmscore.comparison import Comparison, compare
    from wmscore.manifest import Panel, PanelMismatchError
    from wmscore.rollouts import Rollouts
    from wmscore.scorer import Scorer
    from wmscore.scores import Curve, Scores


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _EXPORTS:
        value = getattr(importlib.import_module(_EXPORTS[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"wmscore.{name}")
    else:
        raise AttributeError(f"module 'wmscore' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, imported or not."""
    return sorted([*__all__, *_MODULES])
