"""What was done to a panel to make it harder."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, StrictFloat, StrictInt, StrictStr

from wmscore.manifest.fields import Frozen, Name

__all__ = ["Stress"]


class Stress(Frozen):
    """The one way in which a panel was made harder than the panel that it comes from.

    Scripts, horizon, prompts and reset parameters of the stressed panel are already the harder
    ones; what the true world must be rendered with (light, what is wrong with the given frame) is
    told by `parameters`, which `wmscore.worlds.stressed_world` reads. `clean` is the fingerprint of
    the panel without the stress.
    """

    stressor: Name
    severity: Annotated[StrictFloat, Field(gt=0.0)]
    seed: Annotated[StrictInt, Field(ge=0)] = 0
    parameters: dict[Name, JsonValue] = Field(default_factory=dict)
    clean: Annotated[StrictStr, Field(pattern="^[0-9a-f]{64}$")]
