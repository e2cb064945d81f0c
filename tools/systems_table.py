"""What `check_world_model` finds of every adapter with its tiny double, as a table.

    python tools/systems_table.py                           # print it
    python tools/systems_table.py --write docs/systems.md   # between its marks
    python tools/systems_table.py --only "DIAMOND's shape"

Doubles are in tests/tiny_systems.py. One that is not installed, or has no OpenGL to draw with, has
no row, and `--write` then refuses.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from document_tables import with_table

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from tests.tiny_systems import HORIZON, SYSTEMS, System
from wmscore.testing import ContractReport, check_world_model

__all__ = ["HEAD", "cells", "check", "table"]

HEAD = (
    "system, or its double",
    "adapter",
    "deterministic",
    "seeds",
    "batch against single",
    "prefix causal",
    "action effect",
    "frame 0",
    "kept promises",
)


def missing(system: System) -> list[str]:
    """Modules that a system needs and this machine lacks."""
    return [name for name in system.needs if importlib.util.find_spec(name) is None]


def check(system: System) -> ContractReport:
    """What the double keeps of its promises."""
    items = system.items()
    with ExitStack() as stack:
        return check_world_model(system.make(stack), items, HORIZON)


def cells(system: System, report: ContractReport) -> list[str]:
    """One row of the table."""
    if not report.ok:
        raise SystemExit(f"{system.name}\n{report.table()}")
    rows = {row.property: row for row in report.rows}

    def same(name: str, yes: str = "yes") -> str:
        row = rows[name]
        if row.observed in ("refused", "raised", "not measured"):
            return row.observed
        said = yes if row.observed == "bitwise equal" else row.observed.replace(" of 255", "")
        return said if row.promised else f"{said}, not promised"

    seeds = rows["seedable"]
    if seeds.observed == "bitwise equal":
        chance = "nothing is random"
    else:
        chance = "change pixels" if seeds.promised else "none, calls differ"
    effect = rows["action effect"]
    kept = sum(row.ok for row in report.rows)
    return [
        f"`{system.adapter}`",
        same("deterministic"),
        chance if seeds.observed != "refused" else "refused",
        same("batch invariant", "equal"),
        same("prefix causal"),
        effect.observed if effect.promised else "none, takes no actions",
        "given frame" if rows["frame 0"].ok else "another frame",
        f"{kept} of {len(report.rows)}",
    ]


def table(systems: Iterable[System]) -> str:
    """The rows of some systems, in Markdown."""
    lines = [f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
    for system in systems:
        print(system.name, file=sys.stderr)
        lines.append(f"| {' | '.join([system.name, *cells(system, check(system))])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", type=Path, help="document whose table to replace")
    parser.add_argument("--only", help="name of one row")
    parser.add_argument("--full", action="store_true", help="print the whole reports too")
    args = parser.parse_args()
    wanted = [system for system in SYSTEMS if args.only in (None, system.name)]
    absent = {system.name: found for system in wanted if (found := missing(system))}
    if absent and args.write:
        raise SystemExit(f"not installed: {absent}")
    wanted = [system for system in wanted if system.name not in absent]
    if args.full:
        for system in wanted:
            print(f"{system.name}\n{check(system).table()}\n")
        return
    text = table(wanted)
    if args.write and args.only is None:
        document = args.write.read_text(encoding="utf-8")
        args.write.write_text(with_table(document, "contract", text), encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
