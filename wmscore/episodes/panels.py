"""A panel whose true world is recorded episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wmscore.episodes.episode import Episode, EpisodeError, EpisodeKey, EpisodeSource
from wmscore.files import sha256_tensor
from wmscore.manifest import ActionUnit, Panel

__all__ = ["panel_from_episodes"]


def panel_from_episodes(
    source: EpisodeSource,
    *,
    axes: Sequence[str | Mapping[str, Any]],
    horizon: int,
    name: str | None = None,
    names: Sequence[str] | None = None,
    units: Sequence[ActionUnit] | None = None,
    noop: str | Sequence[float] | None = None,
    seeds: Sequence[int] = (0,),
    keys: Sequence[EpisodeKey] | None = None,
    world: str | None = None,
    without_actions: bool = False,
    patience: int = 3,
    threshold: float = 0.5,
) -> Panel:
    """A panel with a scenario per recorded episode, judged against what was recorded.

    The commanded script of a scenario is the recorded one, and its prompt the episode's. Episodes
    of one scenario with other branches (`EpisodeKey.branch`) are its counterfactual scripts. The
    true world is `RecordedWorld(source)`, and the hashes of the first frames hold the panel to it.
    For several scenarios of a long episode, give `EpisodeWindows(source, steps=horizon)`.

    A recording shows one script only, unless there are branches: of the measures of
    `action_response` just `motion` needs no more. Labels and latents are there if the source has
    them.

    Args:
        source: where the episodes are.
        axes: names of axes, or the fields of an `AxisSpec` for each.
        horizon: number of steps; shorter episodes are an error that names them.
        name: of the panel; by default the source's.
        names: of the actions or components, instead of the source's, in the same order.
        units: unit of each component, instead of the source's.
        noop: the action that commands nothing, if there is one.
        seeds: of models; a recording is the same for each.
        keys: the episodes to use; by default all.
        world: `module:factory` that makes the true world, for the command line.
        without_actions: leave the actions out, or do without where they are not known: scripts have
            the one action "as-recorded", and models that take none are judged by the film alone.
            The true world of a source with actions is then `RecordedWorld(source,
            actions="ignore")`.
        patience: of axes that are given by name.
        threshold: likewise; calibrate it (`wmscore.calibration`) or say your own.

    Returns:
        The panel, with first frames frozen.

    Raises:
        EpisodeError: an episode is too short, or cannot be read.
        ValueError: actions are not known, or the parts make no panel.

    Example:
        >>> panel = panel_from_episodes(                                      # doctest: +SKIP
        ...     source, axes=["perceptual_drift"], horizon=16
        ... )
    """
    facts = source.facts
    if facts.actions == "none" and not without_actions:
        raise ValueError(
            f"source: expected episodes with actions, {source.name} has none; without_actions=True "
            "makes a panel for models that take none"
        )
    kind, own = facts.actions, facts.action_names
    if without_actions:
        if units or noop is not None:
            raise ValueError("units, noop: expected none without actions")
        kind, own, units = "discrete", ("as-recorded",), ()
    if names is not None and len(names) != len(own):
        raise ValueError(
            f"names: expected {len(own)}, one for each of {list(own)}, got {list(names)}"
        )
    space = {
        "kind": kind,
        "names": tuple(own if names is None else names),
        "units": tuple(facts.action_units if units is None else units) or None,
        "noop": noop if noop is None or isinstance(noop, str) else tuple(map(float, noop)),
    }
    groups: dict[str, dict[int, EpisodeKey]] = {}
    for key in source.keys() if keys is None else keys:
        branches = groups.setdefault(key.scenario or key.id, {})
        if key.branch in branches:
            raise ValueError(
                f"source: expected one true episode for each script, got "
                f"{branches[key.branch].id!r} and {key.id!r} for branch {key.branch} of "
                f"{key.scenario or key.id!r}"
            )
        branches[key.branch] = key
    scenarios = [
        _scenario(source, scenario, branches, horizon, space, without_actions)
        for scenario, branches in groups.items()
    ]
    height, width = facts.frame_size
    return Panel.from_dict(
        {
            "name": name or source.name,
            "contract": {
                "world": world,
                "observation": {"height": height, "width": width, "fps": float(facts.fps)},
                "actions": space,
                "horizon": horizon,
                "reset": "the recorded episode's first frame",
                "versions": {"episodes": source.name},
            },
            "scenarios": scenarios,
            "seeds": tuple(seeds),
            "axes": [
                {"axis": axis, "threshold": threshold, "patience": min(patience, horizon)}
                if isinstance(axis, str)
                else dict(axis)
                for axis in axes
            ],
        }
    )


def _scenario(
    source: EpisodeSource,
    name: str,
    keys: Mapping[int, EpisodeKey],
    horizon: int,
    space: Mapping[str, Any],
    without_actions: bool,
) -> dict[str, Any]:
    """One scenario: the recorded script of each branch, and the hash of the first frame."""
    if sorted(keys) != list(range(len(keys))):
        raise ValueError(
            f"source: expected branches 0, 1, ... of scenario {name!r}, got {sorted(keys)}"
        )
    scripts, first = [], ""
    prompt = None
    for branch in sorted(keys):
        episode = source.read(keys[branch], frames=horizon + 1)
        found = sha256_tensor(episode.frames[0])
        if branch == 0:
            first, prompt = found, episode.prompt
        elif found != first:
            raise EpisodeError(
                f"{source.name}: {keys[branch].id!r}: expected the first frame of "
                f"{keys[0].id!r}, its branch 0, got another"
            )
        scripts.append(
            list(space["names"]) * horizon
            if without_actions
            else _script(source, episode, space["kind"], space["names"])
        )
    return {
        "id": name,
        "initial_state_id": name,
        "actions": scripts[0],
        "branches": [
            {"name": f"branch-{i}", "actions": script} for i, script in enumerate(scripts) if i
        ],
        "prompt": prompt,
        "initial_frame_sha256": first,
    }


def _script(source: EpisodeSource, episode: Episode, kind: str, names: Any) -> list[Any]:
    if episode.actions is None:
        raise EpisodeError(f"{source.name}: {episode.key.id!r}: expected actions, got none")
    if kind == "discrete":
        return [names[i] for i in episode.actions.tolist()]
    return [tuple(row) for row in episode.actions.tolist()]
