"""`wmscore aa`: a model against itself, to see what its seeds and the panel are good for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wmscore.cli.answers import Answer
from wmscore.cli.complete import complete_files
from wmscore.cli.options import JsonFlag, Places
from wmscore.cli.output import console, print_panel, print_sentences, print_table

if TYPE_CHECKING:
    from wmscore.comparison import SelfCheck
    from wmscore.evidence import StoredScores
    from wmscore.scores import Scores

__all__ = ["aa"]

_LEAST_WORLDS = 500
_CODES = {"pass": 0, "fail": 1, "undecided": 3}


def aa(
    scores: Places,
    second: Annotated[
        str | None,
        typer.Argument(
            metavar="SECOND",
            help="another recording of the same checkpoint",
            autocompletion=complete_files,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="which model, where there are several")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="MODEL", help="another model: its name or its place"),
    ] = None,
    worlds: Annotated[
        int, typer.Option("--worlds", help="how often seeds are dealt, at least 500")
    ] = 2000,
    level: Annotated[float, typer.Option("--level", help="of the tests")] = 0.05,
    seed: Annotated[int, typer.Option("--seed", help="of what is dealt")] = 0,
    as_json: JsonFlag = False,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="write the JSON there too")
    ] = None,
) -> Answer:
    """Compare a model with itself: are its seeds and tests sound?

    Exit codes: 0 pass; 1 fail; 3 undecided; 2 wrong usage.
    """
    from wmscore.comparison import self_check
    from wmscore.evidence import read_scores
    from wmscore.files import json_text, write_json

    if worlds < _LEAST_WORLDS:
        raise ValueError(
            f"--worlds: expected at least {_LEAST_WORLDS}, got {worlds}; with fewer the share "
            "of rejections says nothing"
        )
    place = read_scores(scores)
    found = self_check(
        place.pick(model, option="--model"),
        read_scores(second).pick(model, option="--model") if second else None,
        against=_against(place, against) if against else None,
        worlds=worlds,
        level=level,
        seed=seed,
    )
    document = found.to_json()
    if out:
        write_json(out, document)
    return Answer(json_text(document), lambda: _show(found), _CODES[found.outcome])


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
