"""`wmscore aa`: a model against itself, to see what its seeds and the panel are good for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wmscore.cli.output import console, print_panel, print_sentences, print_table
from wmscore.cli.parsing import Command

if TYPE_CHECKING:
    from wmscore.comparison import SelfCheck
    from wmscore.evidence import StoredScores
    from wmscore.scores import Scores

__all__ = ["add"]

_LEAST_WORLDS = 500
_CODES = {"pass": 0, "fail": 1, "undecided": 3}


def add(command: Command) -> None:
    """Add it to the parser."""
    aa = command("aa", _run, "compare a model with itself: are its seeds and tests sound?")
    aa.add_argument("scores", help="evidence folder or score file")
    aa.add_argument("second", nargs="?", help="another recording of the same checkpoint")
    aa.add_argument("--model", help="which model, where there are several")
    aa.add_argument("--against", metavar="MODEL", help="another model: its name or its place")
    aa.add_argument(
        "--worlds", type=int, default=2000, help="how often seeds are dealt, at least 500"
    )
    aa.add_argument("--level", type=float, default=0.05)
    aa.add_argument("--seed", type=int, default=0)
    aa.add_argument("--json", action="store_true", help="print JSON instead of tables")
    aa.add_argument("--out", metavar="FILE", help="write the JSON there too")


def _run(args: argparse.Namespace) -> int:
    from wmscore.comparison import self_check
    from wmscore.comparison.result import to_text
    from wmscore.evidence import read_scores
    from wmscore.files import atomic_file

    if args.worlds < _LEAST_WORLDS:
        raise ValueError(
            f"--worlds: expected at least {_LEAST_WORLDS}, got {args.worlds}; with fewer the share "
            "of rejections says nothing"
        )
    place = read_scores(args.scores)
    found = self_check(
        place.pick(args.model, option="--model"),
        read_scores(args.second).pick(args.model, option="--model") if args.second else None,
        against=_against(place, args.against) if args.against else None,
        worlds=args.worlds,
        level=args.level,
        seed=args.seed,
    )
    text = to_text(found.to_json())
    if args.out:
        with atomic_file(args.out) as draft:
            draft.write_text(text, encoding="utf-8")
    if args.json:
        print(text, end="")
    else:
        _show(found)
    return _CODES[found.outcome]


def _against(place: StoredScores, name: str) -> Scores:
    """A model of the same place, or the only one of another."""
    from wmscore.evidence import read_scores

    return read_scores(name).pick() if Path(name).exists() else place.pick(name)


def _show(found: SelfCheck) -> None:
    screen = console()
    print_panel(screen, found.panel, found.fingerprint)
    head = ["compared", "test", f"called different at {found.splits.level:.0%}", "95 % interval"]
    body = [
        [what, test.procedure, f"{test.rejected:.1%}", f"{test.low:.1%} to {test.high:.1%}"]
        if test.worlds
        else [what, test.procedure, "-", "-"]
        for what, test in found.tests()
    ]
    title = f"{found.model}: {found.scenarios} scenarios, {found.seeds} seeds"
    print_table(screen, title, head, body)
    print_sentences(screen, [*found.sentences(), f"Outcome: {found.outcome}"])
