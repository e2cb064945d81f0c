"""`wmscore check`: whether a model keeps to the protocol and to its own promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmscore.cli.advice import advice
from wmscore.cli.answers import Answer
from wmscore.cli.complete import MODELS, complete_models, complete_panels
from wmscore.cli.models import find_model, needs_world, read_options
from wmscore.cli.options import PANEL, JsonFlag, Settings, TruthFolders
from wmscore.cli.reading import import_from_here, read_panel

if TYPE_CHECKING:
    from wmscore.testing.report import ContractReport

__all__ = ["check"]


def check(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help=f"module:factory; or {', '.join(MODELS)}",
            autocompletion=complete_models,
            show_default=False,
        ),
    ],
    settings: Settings = None,
    panel: Annotated[
        str,
        typer.Option(
            "--panel",
            metavar="PANEL",
            help=PANEL,
            autocompletion=complete_panels,
        ),
    ] = "sprites",
    truth: TruthFolders = None,
    scenarios: Annotated[int, typer.Option("--scenarios", help="of the panel")] = 2,
    horizon: Annotated[
        int | None,
        typer.Option("--horizon", help="steps, at least 2 (default: the panel's)"),
    ] = None,
    resets: Annotated[
        bool,
        typer.Option(
            "--resets", help="also ask for the same rows twice, and after another history"
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> Answer:
    """Test whether a model keeps its promises, as a table.

    Rolls a model out over some rows of a panel, several times and in several ways, and compares it
    with its capabilities.

    Exit codes: 0 every promise is kept; 1 one is broken, or a reset forgets nothing; 2 usage.
    """
    from wmscore.recordings import Recording
    from wmscore.replay import check_resets, panel_items, render_scenarios
    from wmscore.testing import check_world_model
    from wmscore.worlds.load import load_world

    import_from_here()
    asked = read_panel(panel)
    most = asked.contract.horizon
    steps = most if horizon is None else horizon
    if not 2 <= steps <= most:
        raise ValueError(f"--horizon: expected 2..{most}, the panel's, got {steps}")
    if not 1 <= scenarios:
        raise ValueError(f"--scenarios: expected at least 1, got {scenarios}")
    chosen = range(min(scenarios, len(asked.scenarios)))
    # Another scenario's history is what a reset has to forget.
    rendered = range(min(scenarios + resets, len(asked.scenarios)))
    recording = Recording(truth, asked) if truth else None
    world = load_world(asked) if recording is None or needs_world(model) else None
    made, role = find_model(model, world, recording, read_options(settings))
    if recording is not None:
        asked, shown = recording.panel, recording.truth_of(rendered)
    else:
        assert world is not None
        shown = render_scenarios(asked, world, rendered)
    rows = [(s, asked.seeds[0]) for s in chosen]
    items = panel_items(asked, rows, truth=shown)
    if len(items) < 2:
        raise ValueError(
            "--scenarios: expected at least 2 rows to compare, got 1 scenario with 1 script"
        )
    report = check_world_model(made, items, steps)
    found = check_resets(asked, made, shown, rows=rows) if resets else None
    broken = [row.property for row in report.rows if not row.ok]
    notes = advice(asked, made) if role == "model" else []

    def show() -> None:
        print(f"{report.model} on {asked.name}, {len(rows)} scenarios, {steps} steps")
        print(report.table())
        print(f"Broken: {', '.join(broken)}" if broken else "Every promise is kept.")
        for line in [*(found.sentences() if found else ()), *notes]:
            print(line)

    document = _document(report, broken) | {
        "panel": asked.name,
        "scenarios": len(rows),
        "steps": steps,
        "resets": None if found is None else found.to_json(),
        "advice": notes,
    }
    if broken or (found is not None and found.leaks):
        return Answer(document, show, 1)
    return Answer(document, show, 3 if found is not None and found.leaks is None else 0)


def _document(report: ContractReport, broken: list[str]) -> dict[str, Any]:
    return {
        "model": report.model,
        "ok": not broken,
        "broken": broken,
        "action_effect": report.action_effect,
        "properties": {
            row.property: {
                "promised": row.promised,
                "observed": row.observed,
                "ok": row.ok,
                "detail": row.detail,
            }
            for row in report.rows
        },
    }
