"""`wmscore panel check`: what a panel asks, and whether it can answer anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmscore.cli.answers import Answer
from wmscore.cli.options import BatchSize, Device, JsonFlag, PanelArgument
from wmscore.cli.output import console, print_panel, print_sentences, print_table
from wmscore.cli.progress import Ticker
from wmscore.cli.reading import check_device, import_from_here, read_panel
from wmscore.cli.results import about_panel

if TYPE_CHECKING:
    from wmscore.manifest import Panel

__all__ = ["panel_check", "warnings_of"]

_LEAST = 6  # scenarios: of fewer no two-sided test by flipping signs is below .05
_FEW = 20
_SHOWN = 12  # actions of a script


def panel_check(
    panel: PanelArgument,
    anchors: Annotated[
        bool,
        typer.Option(
            "--anchors",
            help="render the true world, and show floor and ceiling of each axis; takes a while",
        ),
    ] = False,
    device: Device = "cpu",
    batch_size: BatchSize = 8,
    as_json: JsonFlag = False,
) -> Answer:
    """Say what a panel asks of models, and what to know of it before it is used.

    Exit codes: 0 it can be used, perhaps with warnings; 2 it is no panel; says which field.
    """
    check_device(device)
    import_from_here()
    asked = read_panel(panel)
    warnings = warnings_of(asked)
    found = _anchors(asked, device, batch_size) if anchors else None
    document = about_panel(asked) | {
        "world": asked.contract.world,
        "actions": asked.contract.actions.model_dump(mode="json", exclude_none=True),
        "axes": [spec.model_dump(mode="json", exclude_none=True) for spec in asked.axes],
        "scripts": {scenario.id: _scripts(asked, s) for s, scenario in enumerate(asked.scenarios)},
        "rows": len(asked.scenarios) * len(asked.seeds),
        "warnings": warnings,
        "anchors": found,
    }
    return Answer(document, lambda: _show(asked, warnings, found))


def warnings_of(panel: Panel) -> list[str]:
    """What to know of a panel before it is used; one sentence each."""
    lines, horizon = [], panel.contract.horizon
    count = len(panel.scenarios)
    if count < _LEAST:
        lines.append(
            f"{count} scenarios: no test can tell two models apart (p is at least "
            f"{2 / 2**count:.2g}); take {_LEAST} or more."
        )
    elif count < _FEW:
        lines.append(f"{count} scenarios: intervals are wide; {_FEW} or more are better.")
    if len(panel.seeds) < 2:
        lines.append("One seed: what is luck of a seed cannot be told from what is not.")
    if panel.contract.world is None:
        lines.append("The contract names no world: it needs recorded truth (`--truth`).")
    space = panel.contract.actions
    scripts = {scenario.script(horizon, space) for scenario in panel.scenarios}
    if len(scripts) < count:
        lines.append(f"{count} scenarios have {len(scripts)} different commanded scripts.")
    still = [s.id for s in panel.scenarios if len(set(s.script(horizon, space))) < 2]
    if still:
        lines.append(
            f"{len(still)} of {count} commanded scripts never change their action, the first of "
            f"{still[0]!r}: a delay or a dropped action does not show there."
        )
    if any(spec.axis == "action_response" for spec in panel.axes):
        lone = [s.id for s in panel.scenarios if len(s.branches) < 2]
        if lone:
            lines.append(
                f"{len(lone)} of {count} scenarios have fewer than 2 counterfactual scripts, the "
                f"first {lone[0]!r}; `wmscore panel new --branches` adds some."
            )
    bare = [spec.axis for spec in panel.axes if spec.gate and spec.calibration is None]
    if bare:
        lines.append(
            f"Thresholds of {', '.join(bare)} are not calibrated; `wmscore calibrate` sets them."
        )
    return lines


def _scripts(panel: Panel, index: int) -> dict[str, str]:
    horizon, space = panel.contract.horizon, panel.contract.actions
    return {
        branch.name: _short(branch.script(horizon, space))
        for branch in panel.scenarios[index].scripts
    }


def _short(script: tuple[Any, ...]) -> str:
    """Runs of the same action, `left x3, noop x2`.

    Example:
        >>> _short(("left", "left", "noop"))
        'left x2, noop'
    """
    runs: list[tuple[Any, int]] = []
    for action in script:
        if runs and runs[-1][0] == action:
            runs[-1] = (action, runs[-1][1] + 1)
        else:
            runs.append((action, 1))
    words = [f"{action}{f' x{n}' if n > 1 else ''}" for action, n in runs]
    more = len(words) - _SHOWN
    return ", ".join(words[:_SHOWN]) + (f", ... ({more} more)" if more > 0 else "")


def _show(panel: Panel, warnings: list[str], found: dict[str, Any] | None) -> None:
    screen = console()
    print_panel(screen, panel.name, panel.fingerprint)
    contract = panel.contract
    size = contract.observation
    lines = [
        f"World {contract.world or 'not named'}; "
        + ("frame size open" if size is None else f"{size.width}x{size.height}, {size.fps:g} fps")
        + f"; {contract.horizon} steps.",
        f"{contract.actions.kind} actions: {', '.join(contract.actions.names)}.",
        _counts(panel),
    ]
    if panel.stress is not None:
        lines.append(f"Under stress: {panel.stress.stressor} {panel.stress.severity:g}.")
    print_sentences(screen, lines)
    print_table(
        screen,
        "Axes",
        ["axis", "measure", "threshold", "patience", "ends horizons"],
        [
            [s.axis, s.measure, f"{s.threshold:g}", str(s.patience), "yes" if s.gate else "no"]
            for s in panel.axes
        ],
    )
    body = []
    for s, scenario in enumerate(panel.scenarios):
        for name, script in _scripts(panel, s).items():
            body.append([scenario.id if name == scenario.name else "", name, script])
    print_table(screen, "Scripts", ["scenario", "script", "actions"], body)
    if found is not None:
        _show_anchors(screen, found)
    print_sentences(screen, [f"Note: {line}" for line in warnings])


def _counts(panel: Panel) -> str:
    seeds = len(panel.seeds)
    scripts = sum(len(scenario.scripts) for scenario in panel.scenarios) * seeds
    return (
        f"{len(panel.scenarios)} scenarios x {seeds} seeds = {len(panel.scenarios) * seeds} rows, "
        f"{scripts} rollouts with the counterfactual scripts."
    )


def _show_anchors(screen: Any, found: dict[str, Any]) -> None:
    axes = list(next(iter(found["models"].values()))["axes"])
    body = [
        [name, about["role"], f"{about['horizon']:.1f}"]
        + ["undefined" if (v := about["axes"][axis]) is None else f"{v:.3f}" for axis in axes]
        for name, about in found["models"].items()
    ]
    print_table(
        screen, "Anchors: mean scores of each axis", ["model", "role", "horizon", *axes], body
    )
    moving = [name for name, still in found["still"].items() if still]
    if moving:
        print_sentences(screen, [f"Note: the true world does not move in {', '.join(moving)}."])


def _anchors(panel: Panel, device: str, batch_size: int) -> dict[str, Any]:
    """Scores of floors and ceiling, by running the true world."""
    from wmscore.cli.models import find_model
    from wmscore.comparison.horizons import mean_horizon
    from wmscore.replay import freeze_panel, render_truth, replay
    from wmscore.scorer import Scorer
    from wmscore.worlds.load import load_world

    world = load_world(panel)
    models: dict[str, Any] = {}
    with Ticker() as ticker:
        truth = render_truth(
            panel,
            world,
            batch_size=batch_size,
            progress=lambda done, total: ticker.report("true world", done, total),
        )
        panel, truth = freeze_panel(panel, truth, fps=world.capabilities.fps)
        for name in ("other-seed", "action-blind", "frozen"):
            model, role = find_model(name, world, None, {})
            scorer = Scorer(panel, device=device)

            def tell(done: int, total: int, name: str = name) -> None:
                ticker.report(name, done, total)

            for rollouts in replay(panel, model, truth, batch_size=batch_size, progress=tell):
                scorer.update(rollouts)
            scores = scorer.compute()
            models[name] = {
                "role": role,
                "horizon": mean_horizon(scores)[0],
                "axes": {
                    axis: None if (mean := float(c.values.nanmean())) != mean else mean
                    for axis, c in scores.axes.items()
                },
            }
    commanded = truth[truth.branch == 0]
    moves = (commanded.frames[:, 1:] != commanded.frames[:, :1]).flatten(1).any(1)
    still = {
        panel.scenarios[int(s)].id: not bool(m)
        for s, m in zip(commanded.scenario, moves, strict=True)
    }
    return {"models": models, "still": still}
