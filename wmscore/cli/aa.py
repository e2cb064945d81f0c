"""`wmscore aa`: a model against itself, to see what its seeds and the panel are good for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from wmscore.cli.output import console
from wmscore.cli.parsing import Command
from wmscore.cli.stored import read_scores
from wmscore.extras import require

if TYPE_CHECKING:
    from wmscore.comparison.self_check import SelfCheck
    from wmscore.scores import Scores

__all__ = ["add"]

_CODES = {"pass": 0, "fail": 1, "undecided": 3}


def add(command: Command) -> None:
    """Add it to the parser."""
    aa = command("aa", _run, "compare a model with itself: are its seeds and tests sound?")
    aa.add_argument("scores", help="evidence folder, or file or folder of scores")
    aa.add_argument("second", nargs="?", help="another recording of the same checkpoint")
    aa.add_argument("--model", help="which model, where there are several")
    aa.add_argument("--against", metavar="MODEL", help="another model: its name or its place")
    aa.add_argument("--worlds", type=int, default=2000, help="how often seeds are dealt")
    aa.add_argument("--level", type=float, default=0.05)
    aa.add_argument("--seed", type=int, default=0)
    aa.add_argument("--json", action="store_true", help="print JSON instead of tables")
    aa.add_argument("--out", metavar="FILE", help="write the JSON there too")


def _run(args: argparse.Namespace) -> int:
    from wmscore.comparison.self_check import self_check
    from wmscore.files import atomic_file

    found = self_check(
        read_scores(args.scores, args.model),
        read_scores(args.second, args.model) if args.second else None,
        against=_other(args.scores, args.against),
        worlds=args.worlds,
        level=args.level,
        seed=args.seed,
    )
    text = json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
    if args.out:
        with atomic_file(Path(args.out)) as draft:
            draft.write_text(text + "\n", encoding="utf-8")
    if args.json:
        print(text)
    else:
        _show(found)
    return _CODES[found.outcome]


def _other(place: str, against: str | None) -> Scores | None:
    if against is None:
        return None
    if Path(against).exists():
        return read_scores(against)
    return read_scores(place, against, "--against")


def _show(found: SelfCheck) -> None:
    table, box = require("rich.table", "harness"), require("rich.box", "harness")
    screen = console()
    grid = table.Table(
        title=f"{found.model}: {found.scenarios} scenarios, {found.seeds} seeds",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in ("compared", "test", f"rejects at {found.splits.level:.0%}", "95 % interval"):
        grid.add_column(name)
    for what, test in found.tests():
        known = test.worlds > 0
        rate = f"{test.rejected:.1%}" if known else "-"
        grid.add_row(
            what, test.procedure, rate, f"{test.low:.1%} to {test.high:.1%}" if known else "-"
        )
    screen.print(grid)
    for sentence in found.sentences():
        screen.print(sentence, highlight=False)
    screen.print(f"Outcome: {found.outcome}", highlight=False)
