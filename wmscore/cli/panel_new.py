"""`wmscore panel new`: a panel from one that there is, or from a world."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmscore.cli.answers import Answer
from wmscore.cli.complete import complete_files, complete_panels
from wmscore.cli.options import PANEL, JsonFlag
from wmscore.cli.reading import import_from_here, read_panel
from wmscore.cli.results import about_panel

if TYPE_CHECKING:
    from wmscore.manifest import Panel

__all__ = ["panel_new"]

_GATES = {"perceptual_drift": 0.6, "identity_persistence": 0.9, "action_response": 0.5}
# A world is asked for its names and size by a panel that says as little as a panel can.
_STUB_SCENARIO = {"id": "stub", "initial_state_id": "stub", "actions": ["stub"], "then": "hold"}


def panel_new(
    out: Annotated[
        str,
        typer.Option("--out", metavar="FILE", help="where to, JSON", autocompletion=complete_files),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PANEL",
            help=f"begin with this one: {PANEL}; or a one-scenario manifest",
            autocompletion=complete_panels,
        ),
    ] = None,
    world: Annotated[
        str | None,
        typer.Option(
            "--world",
            metavar="WORLD",
            help="true world: 'sprites', 'vizdoom' or module:factory. Without --from, scenarios "
            "with random scripts are drawn for it",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="of the panel")] = None,
    scenarios: Annotated[
        int | None,
        typer.Option("--scenarios", help="how many; of --from the first ones (default: 24)"),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", help="seeds per scenario, 0 to N-1 (default: 4)")
    ] = None,
    horizon: Annotated[int | None, typer.Option("--horizon", help="steps (default: 32)")] = None,
    branches: Annotated[
        int | None,
        typer.Option("--branches", help="random counterfactual scripts more (default: 2)"),
    ] = None,
    actions: Annotated[
        list[str] | None,
        typer.Option(
            "--actions", metavar="NAME...", help="discrete actions (default: the world's own)"
        ),
    ] = None,
    reset: Annotated[
        str | None,
        typer.Option(
            "--reset",
            metavar="JSON",
            help='what the world\'s reset is told beside a seed, say {"scenario": "basic"}',
        ),
    ] = None,
    there_and_back: Annotated[
        list[str] | None,
        typer.Option(
            "--there-and-back",
            metavar="ACTION=INVERSE...",
            help="half of each script, then its inverse; adds the axis reset_consistency",
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            "--measure",
            metavar="AXIS=MEASURE...",
            help="judge an axis by another measure, say identity_persistence=carried for models "
            "without object labels",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="of what is drawn")] = 0,
    as_json: JsonFlag = False,
) -> Answer:
    """Make a panel: from one that there is, from a manifest, or for a world.

    Thresholds are those of --from, or values to begin with: `wmscore calibrate` sets them from the
    true world.
    """
    from wmscore.manifest import Panel

    import_from_here()
    if (source is None) == (world is None) and source is None:
        raise ValueError("--from, --world: expected one of them, to begin with")
    for option, count in (
        ("--scenarios", scenarios),
        ("--seeds", seeds),
        ("--horizon", horizon),
        ("--branches", branches),
    ):
        least = 0 if option == "--branches" else 1
        if count is not None and count < least:
            raise ValueError(f"{option}: expected at least {least}, got {count}")
    if source is None:
        assert world is not None
        panel = _of_world(
            world,
            scenarios or 24,
            horizon or 32,
            2 if branches is None else branches,
            actions or [],
            _reset(reset),
            seed,
        )
    else:
        if actions or reset:
            raise ValueError("--actions, --reset: expected with --world alone, not with --from")
        panel = _of_panel(read_panel(source), world, scenarios, horizon, branches or 0, seed)
    data = panel.model_dump()
    data["name"] = name or data["name"]
    if seeds is not None or source is None:
        data["seeds"] = list(range(seeds or 4))
    _measured(data["axes"], measure or [])
    panel = Panel.from_dict(data)
    if there_and_back:
        panel = _returning(panel, there_and_back)
    panel.save(out)
    document = {"out": out, **about_panel(panel)}

    def show() -> None:
        rows = len(panel.scenarios) * len(panel.seeds)
        print(
            f"{panel.name}: {len(panel.scenarios)} scenarios x {len(panel.seeds)} seeds = {rows} "
            f"rows of {panel.contract.horizon} steps"
        )
        print(f"Panel: {out}, fingerprint {panel.fingerprint[:12]}")

    return Answer(document, show)


def _measured(axes: Sequence[dict[str, Any]], given: list[str]) -> None:
    """Change the measures of axes."""
    by_name = {axis["axis"]: axis for axis in axes}
    for text in given:
        name, sign, measure = text.partition("=")
        if not sign or name not in by_name:
            raise ValueError(f"--measure: expected AXIS=MEASURE of {list(by_name)}, got {text!r}")
        by_name[name]["measure"] = measure


def _of_panel(
    panel: Panel,
    world: str | None,
    scenarios: int | None,
    horizon: int | None,
    branches: int,
    seed: int,
) -> Panel:
    """Another one with some fields changed."""
    from wmscore.manifest import Panel

    data = panel.model_dump()
    if scenarios is not None:
        if scenarios > len(panel.scenarios):
            raise ValueError(
                f"--scenarios: expected 1..{len(panel.scenarios)}, those of --from; got {scenarios}"
            )
        data["scenarios"] = data["scenarios"][:scenarios]
    if world is not None:
        data["contract"]["world"] = world
    if horizon is not None:
        data["contract"]["horizon"] = horizon
        for axis in data["axes"]:
            axis["patience"] = min(axis["patience"], horizon)
    changed = Panel.from_dict(data)
    return changed.with_random_branches(branches, seed=seed) if branches else changed


def _of_world(
    world: str,
    scenarios: int,
    horizon: int,
    branches: int,
    actions: list[str],
    reset: dict[str, Any],
    seed: int,
) -> Panel:
    """Scenarios with seeds 0, 1, ... and scripts that change what is done now and then."""
    from wmscore.manifest import Panel
    from wmscore.worlds.load import load_world

    stub = {
        "name": "stub",
        "contract": {"world": world, "actions": {"names": ["stub"]}, "horizon": 1},
        "scenarios": [_STUB_SCENARIO],
        "axes": [{"axis": "perceptual_drift", "threshold": 0.5, "patience": 1}],
    }
    able = load_world(Panel.from_dict(stub)).capabilities
    names = actions or list(able.action_names)
    if able.actions == "continuous":
        raise ValueError(
            f"--world: {world} takes continuous actions, whose scale is not known here; write the "
            "scripts yourself"
        )
    if not names:
        raise ValueError("--actions: expected the names of its actions, which the world leaves out")
    noop = next((n for n in names if n in ("noop", "no-op", "none", "stop", "idle")), None)
    # random.Random is seeded with text and stable across Python versions.
    scripts = [
        _script(random.Random(f"{seed}/{world}/{number}"), names, horizon)
        for number in range(scenarios)
    ]
    axes = ["perceptual_drift", *["identity_persistence"] * able.labels]
    respond = branches > 0 and len(names) > 1
    data = {
        "name": f"{world.replace(':', '-')}-random",
        "contract": {
            "world": world,
            "actions": {"names": names, "noop": noop},
            "observation": {
                "height": able.frame_size[0],
                "width": able.frame_size[1],
                "fps": float(able.fps),
            },
            "horizon": horizon,
        },
        "scenarios": [
            {
                "id": f"random-{number:03d}",
                "initial_state_id": f"{world}/{number}",
                "reset": {**reset, "seed": number},
                "actions": script,
            }
            for number, script in enumerate(scripts)
        ],
        "axes": [
            {"axis": axis, "threshold": _GATES[axis], "patience": min(3, horizon)} for axis in axes
        ],
    }
    panel = Panel.from_dict(data)
    if not respond:
        return panel
    data = panel.with_random_branches(branches, seed=seed).model_dump()
    gate = {
        "axis": "action_response",
        "threshold": _GATES["action_response"],
        "patience": min(3, horizon),
    }
    return Panel.from_dict({**data, "axes": [*data["axes"], gate]})


def _script(rng: random.Random, names: list[str], horizon: int) -> list[str]:
    """Each action is held for 1 to 6 steps, as a player holds a key."""
    script: list[str] = []
    while len(script) < horizon:
        script += [rng.choice(names)] * rng.randint(1, 6)
    return script[:horizon]


def _returning(panel: Panel, pairs: list[str]) -> Panel:
    """There and back, judged by reset_consistency too."""
    from wmscore.manifest import Panel

    inverses = {}
    for pair in pairs:
        action, sign, inverse = pair.partition("=")
        if not (action and sign and inverse):
            raise ValueError(f"--there-and-back: expected ACTION=INVERSE, got {pair!r}")
        inverses[action] = inverse
    panel = panel.with_there_and_back(inverses)
    if any(spec.axis == "reset_consistency" for spec in panel.axes):
        return panel
    data = panel.model_dump()
    axis = {
        "axis": "reset_consistency",
        "threshold": 0.5,
        "patience": min(3, panel.contract.horizon),
        "gate": False,
    }
    return Panel.from_dict({**data, "axes": [*data["axes"], axis]})


def _reset(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--reset: expected a JSON object, got {text!r}: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"--reset: expected a JSON object, got {text!r}")
    return found
