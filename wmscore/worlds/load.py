"""Find a world or a model by name: `vizdoom`, `sprites`, or `module:factory`."""

from __future__ import annotations

import importlib
from typing import Any

from wmscore.manifest import Panel
from wmscore.worlds.protocol import WorldModel

__all__ = ["load_model", "load_world"]


def load_world(panel: Panel) -> WorldModel:
    """The true world that a panel's contract names, at the contract's frame size.

    Raises:
        ValueError: the contract names no world, or one that is not known.
        ImportError: the world needs an extra that is not installed.
    """
    name = panel.contract.world
    if name is None:
        raise ValueError(
            f"contract.world: panel {panel.name!r} names no world; save it with "
            "`Panel.load(...).save(path)` and set contract.world to 'vizdoom', 'sprites' or "
            "'module:factory'"
        )
    size = panel.contract.observation
    shape: dict[str, Any] = {} if size is None else {"height": size.height, "width": size.width}
    if name == "vizdoom":
        from wmscore.worlds.vizdoom import VizDoomWorld

        return VizDoomWorld(**shape)
    if name == "sprites":
        from wmscore.worlds.sprites import SpriteWorld

        return SpriteWorld(**shape)
    return load_model(name)


def load_model(name: str, /, **options: Any) -> WorldModel:
    """Call the factory that `module:factory` names, with `options` for keyword arguments.

    Raises:
        TypeError: the factory takes no such option.
        ValueError: `name` has another form, or what the factory returns is no `WorldModel`.
    """
    model = call_factory(name, "model", **options)
    if not isinstance(model, WorldModel):
        raise ValueError(
            f"model: {name} returned a {type(model).__name__}, expected a WorldModel with "
            "name, capabilities and rollout(items, horizon)"
        )
    return model


def call_factory(name: str, role: str, /, **options: Any) -> Any:
    """Call the factory that `module:factory` names, with `options`; `role` is for errors.

    Raises:
        ValueError: `name` has another form, or there is no such factory.
    """
    module, colon, factory = name.partition(":")
    if not (module and colon and factory):
        raise ValueError(f"{role}: expected 'module:factory', got {name!r}")
    if not hasattr(importlib.import_module(module), factory):
        raise ValueError(f"{role}: module {module!r} has no {factory!r}")
    return getattr(importlib.import_module(module), factory)(**options)
