"""Object identity from pixels, where the generated frames have no label maps."""

from __future__ import annotations

from wmscore.functional.appearance.identity import identity_from_appearance
from wmscore.functional.appearance.states import AppearanceStates

__all__ = ["AppearanceStates", "identity_from_appearance"]
