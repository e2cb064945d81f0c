"""`wmscore compare`: is one model better than another, and may it replace it?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmscore.cli.answers import Answer
from wmscore.cli.complete import complete_files
from wmscore.cli.options import Estimand, JsonFlag
from wmscore.cli.output import (
    RANKING,
    console,
    print_panel,
    print_sentences,
    print_table,
)

if TYPE_CHECKING:
    from wmscore.comparison import Comparison, Report
    from wmscore.evidence import StoredScores

__all__ = ["compare"]


def compare(
    baseline: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="evidence folder or score file",
            autocompletion=complete_files,
            show_default=False,
        ),
    ],
    candidate: Annotated[
        str | None,
        typer.Argument(
            metavar="B",
            help="another one; without it, all models of A, or the two that are named",
            autocompletion=complete_files,
        ),
    ] = None,
    model_a: Annotated[
        str | None,
        typer.Option("--model-a", metavar="NAME", help="which model of A is the baseline"),
    ] = None,
    model_b: Annotated[
        str | None,
        typer.Option("--model-b", metavar="NAME", help="which model of B is the candidate"),
    ] = None,
    gate: Annotated[
        str | None,
        typer.Option(
            "--gate",
            metavar="MARGIN",
            help="how much shorter B's mean usable horizon may be: steps (2), or a share of the "
            "panel's horizon (5%)",
        ),
    ] = None,
    gate_axis: Annotated[
        list[str] | None,
        typer.Option(
            "--gate-axis",
            metavar="AXIS=MARGIN",
            help="how much lower B's mean score of an axis may be, in [0, 1); repeatable",
        ),
    ] = None,
    estimand: Estimand = "scenarios",
    level: Annotated[float, typer.Option("--level", help="of confidence")] = 0.95,
    draws: Annotated[
        int, typer.Option("--draws", help="bootstrap draws and random patterns of signs")
    ] = 10_000,
    seed: Annotated[int, typer.Option("--seed", help="of these draws")] = 0,
    as_json: JsonFlag = False,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="write the JSON to a file too")
    ] = None,
) -> Answer:
    """Compare models on one panel, with a gate if wanted.

    Exit codes: 0 pass, or no gate; 1 fail; 3 undecided; 2 wrong usage, or scores that must not be
    compared. Undecided is no pass: a gate in CI should treat it as it treats a fail.
    """
    from wmscore.comparison import compare as compared
    from wmscore.comparison import compare_models
    from wmscore.evidence import read_scores

    gate_axes = dict(_axis_margin(text) for text in gate_axis or ())
    options: dict[str, Any] = {"estimand": estimand, "level": level, "draws": draws, "seed": seed}
    first = read_scores(baseline)
    if candidate is None and not (model_a or model_b):
        if gate is not None or gate_axes:
            raise ValueError(
                "--gate asks one candidate about one baseline: give B, or --model-a and --model-b"
            )
        if len(first.results) < 2:
            (only,) = first.results
            raise ValueError(f"{first.place}: it holds one model, {only.model}; B is missing")
        report = compare_models(first.results, roles=first.roles, **options)
        return _answer(out, report, lambda: _print_report(report), 0)
    if candidate is None and not (model_a and model_b):
        raise ValueError("B: expected another folder, or both --model-a and --model-b")
    if candidate is None and model_a == model_b:
        raise ValueError(f"--model-b: {model_b!r} is the baseline itself")
    second = first if candidate is None else read_scores(candidate)
    found = compared(
        *_picked(first, model_a, second, model_b), gate=gate, gate_axes=gate_axes, **options
    )
    code = found.gate.exit_code if found.gate else 0
    return _answer(out, found, lambda: _print_pair(found), code)


def _picked(
    first: StoredScores, model_a: str | None, second: StoredScores, model_b: str | None
) -> Any:
    return first.pick(model_a, option="--model-a"), second.pick(model_b, option="--model-b")


def _axis_margin(text: str) -> tuple[str, float]:
    name, _, margin = text.partition("=")
    try:
        return name, float(margin)
    except ValueError:
        raise ValueError(f"--gate-axis: expected AXIS=MARGIN, got {text!r}") from None


def _answer(out: str | None, found: Any, show: Callable[[], None], code: int) -> Answer:
    from wmscore.files import json_text, write_json

    document = found.to_json()
    if out:
        write_json(out, document)
    return Answer(json_text(document), show, code)


def _print_pair(found: Comparison) -> None:
    from wmscore.comparison import difference_table, scenario_table

    screen = console()
    print_panel(screen, found.panel, found.fingerprint)
    print_table(
        screen,
        "Usable horizon, mean over seeds",
        *scenario_table(found),
    )
    print_table(screen, "Differences, candidate - baseline", *difference_table(found))
    print_sentences(screen, found.verdict())


def _print_report(report: Report) -> None:
    from wmscore.comparison import difference_table, ranking_table

    screen, ranking = console(), report.ranking
    if ranking is not None:
        print_panel(screen, ranking.panel, ranking.fingerprint)
        print_table(screen, RANKING, *ranking_table(ranking))
        print_sentences(screen, [*ranking.verdict(), *report.verdict()])
    for found in report.comparisons:
        screen.print()
        title = f"{found.candidate.model} against {found.baseline.model}"
        print_table(screen, title, *difference_table(found))
        print_sentences(screen, found.verdict(brief=True))
