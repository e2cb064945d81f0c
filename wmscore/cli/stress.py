"""`wmscore stress`: how much of its horizon a model keeps under each stress."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wmscore.cli.answers import Answer
from wmscore.cli.complete import (
    MODELS,
    complete_files,
    complete_models,
    complete_panels,
    complete_stressors,
)
from wmscore.cli.models import ANCHORS, find_model, made_by, read_options
from wmscore.cli.options import PANEL, BatchSize, Device, JsonFlag, Settings
from wmscore.cli.output import console, print_sentences, print_table
from wmscore.cli.progress import Ticker
from wmscore.cli.reading import check_device, import_from_here, read_panel

if TYPE_CHECKING:
    from wmscore.ladder import Ladder
    from wmscore.manifest import Panel
    from wmscore.worlds import WorldModel

__all__ = ["stress"]

_RUNGS = "rungs"  # finished ones, until all are
_FILES = {"stress.csv", "stress.json", "stress.png", "stress.svg", _RUNGS}


def stress(
    panel: Annotated[
        str | None,
        typer.Argument(
            metavar="PANEL",
            help=f"{PANEL}; --list does without",
            autocompletion=complete_panels,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help=f"module:factory; or {', '.join(MODELS)}; repeatable. 'frozen' comes with them "
            "as a floor",
            autocompletion=complete_models,
        ),
    ] = None,
    settings: Settings = None,
    stressor: Annotated[
        list[str] | None,
        typer.Option(
            "--stressor",
            metavar="NAME",
            help="one of --list; repeatable (default: all that can be applied)",
            autocompletion=complete_stressors,
        ),
    ] = None,
    severity: Annotated[
        list[str] | None,
        typer.Option(
            "--severity",
            metavar="[NAME=]NUMBER",
            help="rungs of your own instead of the stressor's ladder; repeatable, with the "
            "stressor's name where there are several",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="folder for stress.csv, stress.json and a plot; `wmscore score --stress` takes it "
            "into the evidence",
            autocompletion=complete_files,
        ),
    ] = None,
    list_all: Annotated[
        bool, typer.Option("--list", help="list stressors, and which the panel can be put under")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="of what stressors draw")] = 0,
    device: Device = "cpu",
    batch_size: BatchSize = 8,
    as_json: JsonFlag = False,
) -> Answer:
    """Find the stress that breaks a model first.

    Replays and scores the models on the panel, and again under one stress after the other, each at
    rising severity. Breaking means: less usable horizon than on the clean panel, beyond chance over
    scenarios. The true world is that of the panel's contract, under the same stress. With --out,
    the same command again goes on where an interrupted one ended.

    Exit codes: 0 done, whatever breaks; 3 no rung could be judged; 2 wrong usage.
    """
    from wmscore.ladder import run_ladder
    from wmscore.stressors import all_stressors, find
    from wmscore.worlds.load import load_world

    asked = None if panel is None else read_panel(panel)
    if list_all:
        return _listed(asked)
    if asked is None:
        raise ValueError("PANEL: expected a panel; only --list does without")
    if not model:
        raise ValueError("--model: expected at least one model")
    check_device(device)
    chosen = [find(name) for name in dict.fromkeys(stressor or ())] or list(all_stressors())
    ladders = _severities(severity or [], [one.name for one in chosen])
    if out:
        _check_out(Path(out))
    import_from_here()
    options = read_options(settings)
    names = list(dict.fromkeys([*model, "frozen"]))
    roles: dict[str, str] = {}
    # What is not made of the world is made once, not on each rung.
    kept = {name: find_model(name, None, None, options) for name in names if name not in ANCHORS}

    def models(world: WorldModel) -> list[WorldModel]:
        made = []
        for name in names:
            found, role = kept[name] if name in kept else find_model(name, world, None, {})
            roles[found.name] = role
            made.append(found)
        return made

    world = load_world(asked)
    models(world)  # so that a mistake shows before the first rung
    rungs = 1 + sum(len(ladders.get(one.name, one.severities)) for one in chosen)
    seen: list[str] = []
    with Ticker("scenarios") as ticker:

        def tell(what: str, done: int, total: int) -> None:
            if what not in seen:
                seen.append(what)
            ticker.report("all rungs", (len(seen) - 1) * total + done, rungs * total)

        ladder = run_ladder(
            asked,
            models,
            world,
            chosen,
            severities=ladders,
            roles=roles,
            device=device,
            batch_size=batch_size,
            seed=seed,
            progress=tell,
            folder=Path(out) / _RUNGS if out else None,
            made_by="; ".join(made_by(name, options) for name in names),
        )
    if out:
        _write(Path(out), ladder)
    judged = any(r.broken is not None for m in ladder.models.values() for r in m.rungs)
    return Answer({"out": out, **ladder.to_json()}, lambda: _show(ladder, out), 0 if judged else 3)


def _listed(panel: Panel | None) -> Answer:
    from wmscore.stressors import all_stressors, applicable

    why = {} if panel is None else applicable(panel)
    rows = [
        {
            "name": one.name,
            "unit": one.unit,
            "severities": list(one.severities),
            **({"applicable": why[one.name] is None, "why": why[one.name]} if panel else {}),
        }
        for one in all_stressors()
    ]

    def show() -> None:
        body = [
            [one.name, one.unit, ", ".join(f"{s:g}" for s in one.severities)]
            for one in all_stressors()
        ]
        print_table(console(), "Stressors", ["stressor", "unit", "ladder"], body)
        print_sentences(
            console(), [f"Not {name} on this panel: {text}" for name, text in why.items() if text]
        )

    return Answer({"stressors": rows}, show)


def _severities(given: list[str], names: list[str]) -> dict[str, list[float]]:
    """Rungs by stressor, rising."""
    found: dict[str, list[float]] = {}
    for text in given:
        name, sign, number = text.rpartition("=")
        if not sign and len(names) != 1:
            raise ValueError(
                f"--severity: expected NAME=NUMBER where there are several stressors, got {text!r}"
            )
        name = name if sign else names[0]
        if name not in names:
            raise ValueError(f"--severity: expected one of {names} before '=', got {name!r}")
        try:
            found.setdefault(name, []).append(float(number))
        except ValueError:
            raise ValueError(f"--severity: expected a number, got {number!r}") from None
    return {name: sorted(set(values)) for name, values in found.items()}


def _check_out(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"--out: expected a folder, got the file {folder}")
    others = sorted(entry.name for entry in folder.iterdir() if entry.name not in _FILES)
    if others:
        raise ValueError(f"--out: {folder} holds more than a ladder ({others[:3]}); choose another")


def _write(folder: Path, ladder: Ladder) -> None:
    from wmscore.evidence.stress import write_stress
    from wmscore.plots import ladder_plot, save_plot

    folder.mkdir(parents=True, exist_ok=True)
    write_stress(folder, ladder)
    plot = ladder_plot(ladder)
    if plot is not None:
        for suffix in ("png", "svg"):
            save_plot(plot, folder / f"stress.{suffix}")
    shutil.rmtree(folder / _RUNGS)


def _show(ladder: Ladder, out: str | None) -> None:
    from wmscore.evidence.stress import rung_cell

    screen = console()
    body: list[list[str]] = []
    for name, model in ladder.models.items():
        for kind, about in model.stressors.items():
            kept = [rung_cell(rung) for rung in model.rungs if rung.stressor == kind]
            body.append(
                [
                    name,
                    kind,
                    ", ".join(kept),
                    _number(about.auc, ".2f"),
                    _number(about.corruption_error, ".2f"),
                    "-" if about.breakpoint is None else f"{about.breakpoint:g}",
                    _number(about.trend_p, ".2g"),
                ]
            )
    head = ["model", "stressor", "kept of the usable horizon,\n* breaks, ? cannot be told", "mean"]
    head += ["loss beside\nthe floor's", "breaks at", "trend p"]
    print_table(screen, f"Stress ladders, {ladder.scenarios} scenarios", head, body)
    print_sentences(screen, [f"Says nothing: {sentence}" for sentence in ladder.exclusions()])
    print_sentences(screen, ladder.sentences())
    if out:
        print_sentences(screen, [f"Ladder: {out}"])


def _number(value: float, form: str) -> str:
    return "-" if value != value else format(value, form)
