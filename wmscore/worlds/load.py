"""Find a world or a model by name: `vizdoom`, `sprites`, or `module:factory`."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import traceback
from typing import Any

from wmscore.manifest import Panel
from wmscore.worlds.protocol import WorldModel
from wmscore.worlds.stressed import stressed_world

__all__ = ["load_model", "load_world"]


def load_world(panel: Panel) -> WorldModel:
    """The true world that a panel's contract names, at its frame size and under its stress.

    Raises:
        ValueError: the contract names no world, or one that is not known.
        ImportError: the world needs an extra that is not installed.
    """
    return stressed_world(_load_world(panel), panel)


def _load_world(panel: Panel) -> WorldModel:
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
    return _world_model(name, "contract.world")


def load_model(name: str, /, **options: Any) -> WorldModel:
    """Call the factory that `module:factory` names, with `options` for keyword arguments.

    Raises:
        TypeError: the factory takes no such option.
        ValueError: `name` has another form, or what the factory returns is no `WorldModel`.
    """
    return _world_model(name, "model", **options)


def _world_model(name: str, role: str, /, **options: Any) -> WorldModel:
    model = call_factory(name, role, **options)
    if not isinstance(model, WorldModel):
        raise ValueError(
            f"{role}: {name} returned a {type(model).__name__}, expected a WorldModel with "
            "name, capabilities and rollout(items, horizon)"
        )
    return model


def call_factory(name: str, role: str, /, **options: Any) -> Any:
    """Call the factory that `module:factory` names, with `options`; `role` is for errors.

    Raises:
        TypeError: the factory takes no such options.
        ValueError: `name` has another form, there is no such module or factory, or one of them
            raises; the message says what and where.
    """
    module, colon, factory = name.partition(":")
    if not (module and colon and factory):
        raise ValueError(f"{role}: expected 'module:factory', got {name!r}")
    if "/" in module or module.endswith(".py"):
        raise ValueError(
            f"{role}: expected 'module:factory', such as 'my_models:wan' for my_models.py in the "
            f"current folder, got the path of a file, {name!r}"
        )
    try:
        found = importlib.import_module(module)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and module.startswith(error.name or "."):
            raise ValueError(
                f"{role}: {name!r} is not found: no module {error.name!r} is installed or in the "
                "current folder"
            ) from error
        raise ValueError(f"{role}: importing {module!r} raised {_told(error)}") from error
    if not hasattr(found, factory):
        raise ValueError(f"{role}: module {module!r} has no {factory!r}")
    make = getattr(found, factory)
    with contextlib.suppress(ValueError):  # no signature is known
        signature = inspect.signature(make)
        try:
            signature.bind(**options)
        except TypeError as error:
            raise TypeError(f"{role}: {name} takes {signature}: {error}") from None
    try:
        return make(**options)
    except Exception as error:
        raise ValueError(f"{role}: {name} raised {_told(error)}") from error


def _told(error: Exception) -> str:
    """What was raised, what it said, and the line that did."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
