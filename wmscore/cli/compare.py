"""`wmscore compare`: is one model better than another, and may it replace it?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from wmscore.cli.output import (
    RANKING,
    console,
    print_panel,
    print_sentences,
    print_table,
)
from wmscore.cli.parsing import Command

if TYPE_CHECKING:
    from wmscore.comparison import Comparison, Report
    from wmscore.evidence import StoredScores

__all__ = ["add"]

_EPILOG = """exit code: 0 pass, or no gate; 1 fail; 3 undecided; 2 wrong usage, or scores that must
not be compared. Undecided is no pass: a gate in CI should treat it as it treats a fail."""


def add(command: Command) -> None:
    """Add it to the parser."""
    compare = command("compare", _compare, "compare models on one panel, with a gate if wanted")
    compare.epilog = _EPILOG
    compare.add_argument("baseline", metavar="A", help="evidence folder or score file")
    compare.add_argument(
        "candidate",
        metavar="B",
        nargs="?",
        help="another one; without it, all models of A, or the two that are named",
    )
    compare.add_argument("--model-a", metavar="NAME", help="which model of A is the baseline")
    compare.add_argument("--model-b", metavar="NAME", help="which model of B is the candidate")
    compare.add_argument(
        "--gate",
        metavar="MARGIN",
        help="how much shorter B's mean usable horizon may be: steps (2), or a share of the "
        "panel's horizon (5%%)",
    )
    compare.add_argument(
        "--gate-axis",
        metavar="AXIS=MARGIN",
        action="append",
        default=[],
        help="how much lower B's mean score of an axis may be, in [0, 1); repeatable",
    )
    compare.add_argument(
        "--estimand",
        choices=["scenarios", "seeds"],
        default="scenarios",
        help="what it is to hold for: new scenarios of the kind (default), or new seeds on these",
    )
    compare.add_argument("--level", type=float, default=0.95, help="of confidence (default 0.95)")
    compare.add_argument(
        "--draws", type=int, default=10_000, help="bootstrap draws and random patterns of signs"
    )
    compare.add_argument("--seed", type=int, default=0, help="of these draws")
    compare.add_argument("--json", action="store_true", help="print JSON instead of tables")
    compare.add_argument("--out", metavar="FILE", help="write the JSON to a file too")


def _compare(args: argparse.Namespace) -> int:
    from wmscore.comparison import compare, compare_models
    from wmscore.evidence import read_scores

    gate_axes = dict(_axis_margin(text) for text in args.gate_axis)
    options: dict[str, Any] = {
        "estimand": args.estimand,
        "level": args.level,
        "draws": args.draws,
        "seed": args.seed,
    }
    first = read_scores(args.baseline)
    if args.candidate is None and not (args.model_a or args.model_b):
        if args.gate is not None or gate_axes:
            raise ValueError(
                "--gate asks one candidate about one baseline: give B, or --model-a and --model-b"
            )
        if len(first.results) < 2:
            (only,) = first.results
            raise ValueError(f"{first.place}: it holds one model, {only.model}; B is missing")
        report = compare_models(first.results, roles=first.roles, **options)
        return _finish(args, report, lambda: _print_report(report), 0)
    second = first if args.candidate is None else read_scores(args.candidate)
    baseline, candidate = _picked(args, first, second)
    found = compare(baseline, candidate, gate=args.gate, gate_axes=gate_axes, **options)
    code = found.gate.exit_code if found.gate else 0
    return _finish(args, found, lambda: _print_pair(found), code)


def _picked(args: argparse.Namespace, first: StoredScores, second: StoredScores) -> Any:
    if args.candidate is None and not (args.model_a and args.model_b):
        raise ValueError("B: expected another folder, or both --model-a and --model-b")
    if args.candidate is None and args.model_a == args.model_b:
        raise ValueError(f"--model-b: {args.model_b!r} is the baseline itself")
    return (
        first.pick(args.model_a, option="--model-a"),
        second.pick(args.model_b, option="--model-b"),
    )


def _axis_margin(text: str) -> tuple[str, float]:
    name, _, margin = text.partition("=")
    try:
        return name, float(margin)
    except ValueError:
        raise ValueError(f"--gate-axis: expected AXIS=MARGIN, got {text!r}") from None


def _finish(args: argparse.Namespace, found: Any, show: Any, code: int) -> int:
    from wmscore.comparison.result import to_text
    from wmscore.files import atomic_file

    if args.out or args.json:
        text = to_text(found.to_json())
    if args.out:
        with atomic_file(args.out) as draft:
            draft.write_text(text, encoding="utf-8")
    if args.json:
        print(text, end="")
    else:
        show()
    return code


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
