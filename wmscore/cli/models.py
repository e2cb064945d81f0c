"""The model that a command names, and the options that it is made with."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmscore.recordings import Recording
    from wmscore.worlds import Capabilities, WorldModel

__all__ = ["ANCHORS", "find_model", "made_by", "needs_world", "read_options"]

_SECRET = re.compile(r"key|token|secret|password", re.IGNORECASE)

ANCHORS = {
    "world": "truth",
    "other-seed": "ceiling",
    "action-blind": "floor",
    "frozen": "floor",
}
"""Names of what a world gives by itself, and the role of each."""


def read_options(given: Sequence[str] | None) -> dict[str, Any]:
    """Keyword arguments out of `KEY=VALUE` texts.

    Example:
        >>> read_options(["steps=10", "checkpoint=model.safetensors", "size=[64, 96]"])
        {'steps': 10, 'checkpoint': 'model.safetensors', 'size': [64, 96]}

    Raises:
        ValueError: a text has another form, or a key comes twice.
    """
    options: dict[str, Any] = {}
    for text in given or ():
        key, sign, value = text.partition("=")
        if not sign or not key.isidentifier():
            raise ValueError(
                f"--set: expected KEY=VALUE with a Python name for a key, got {text!r}"
            )
        if key in options:
            raise ValueError(f"--set: expected each key once, got {key!r} more than once")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def made_by(name: str, options: dict[str, Any]) -> str:
    """How a model was made, for its recording; what may be a secret is left out.

    Example:
        >>> made_by("mine:model", {"steps": 10, "api_key": "x"})
        'mine:model steps=10 api_key=(not kept)'
    """
    told = [
        f"{key}=(not kept)" if _SECRET.search(key) else f"{key}={json.dumps(value)}"
        for key, value in options.items()
    ]
    return " ".join([name, *told])


def needs_world(name: str) -> bool:
    """Whether a model is made of the true world, so that a recorded truth does not do."""
    return name in ANCHORS and name != "frozen"


def find_model(
    name: str, world: WorldModel | None, truth: Recording | None, options: dict[str, Any]
) -> tuple[WorldModel, str]:
    """A model and its role; anchors are made of `world`, or in its absence like `truth`.

    Raises:
        ValueError: there is no such model, or an anchor without a world or with options.
    """
    from wmscore.worlds import ActionBlind, Frozen, OtherSeed
    from wmscore.worlds.load import load_model

    if name not in ANCHORS:
        return load_model(name, **options), "model"
    if options:
        raise ValueError(f"--set: {name!r} takes no options, got {sorted(options)}")
    if name == "frozen":
        return Frozen(_like(truth) if world is None and truth else world), ANCHORS[name]
    if world is None:
        raise ValueError(f"--model: {name!r} needs the true world")
    made: dict[str, WorldModel] = {
        "world": world,
        "other-seed": OtherSeed(world),
        "action-blind": ActionBlind(world),
    }
    return made[name], ANCHORS[name]


def _like(truth: Recording) -> Capabilities:
    """Rate, frame size and labels of a recorded truth."""
    from wmscore.worlds import Capabilities

    observation = truth.panel.contract.observation
    assert observation is not None  # a recorded panel is frozen
    return Capabilities(
        actions="none",
        labels=truth.truth_of([0]).labels is not None,
        fps=observation.fps,
        frame_size=(observation.height, observation.width),
    )
