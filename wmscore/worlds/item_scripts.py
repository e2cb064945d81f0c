"""Scripts of items as simulators play them: by name, in their own order."""

from __future__ import annotations

from collections.abc import Sequence

from wmscore.worlds.protocol import Item

__all__ = ["check_names", "script_names", "script_vectors"]


def check_names(field: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raise ValueError unless all names are known; `field` says whose they are."""
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{field}: expected names out of {list(known)}, got {unknown}")


def script_names(item: Item, horizon: int, known: Sequence[str]) -> list[str]:
    """The names of an item's discrete actions, step by step.

    Raises:
        ValueError: the actions are vectors, or not among the `known` ones.
    """
    check_names("action_names", item.action_names, known)
    actions = item.actions[:horizon]
    if actions.dim() != 1 or actions.is_floating_point():
        raise ValueError(
            f"actions: expected [T] indices into {list(item.action_names)}, "
            f"got {list(actions.shape)} {actions.dtype}"
        )
    wrong = [i for i in actions.tolist() if not 0 <= i < len(item.action_names)]
    if wrong:
        raise ValueError(f"actions: expected 0..{len(item.action_names) - 1}, got {wrong}")
    return [item.action_names[i] for i in actions.tolist()]


def script_vectors(item: Item, horizon: int, known: Sequence[str]) -> list[list[float]]:
    """An item's vectors with their components in the order of `known`.

    Raises:
        ValueError: the actions are no vectors, or of other components.
    """
    check_names("action_names", item.action_names, known)
    if missing := [name for name in known if name not in item.action_names]:
        raise ValueError(f"action_names: expected {list(known)}, {missing} are missing")
    actions = item.actions[:horizon]
    if actions.dim() != 2 or actions.shape[1] != len(known):
        raise ValueError(
            f"actions: expected [T, {len(known)}] for {list(known)}, "
            f"got {list(actions.shape)} {actions.dtype}"
        )
    vectors: list[list[float]] = actions[:, [item.action_names.index(n) for n in known]].tolist()
    return vectors
