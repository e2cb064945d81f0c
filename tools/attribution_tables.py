"""Tables of the studies of attribution, between the marks of docs/attribution-validity.md.

python tools/attribution_tables.py            # print them
python tools/attribution_tables.py --write
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from document_tables import with_table

from wmscore.attribution import CAUSES, STAGES

__all__ = ["Tally", "of_faults", "of_stages", "tables", "tally"]

DOCS = Path(__file__).parents[1] / "docs"
Record = dict[str, Any]


class Tally(NamedTuple):
    """Rollouts of some records; of those that failed, how many have which verdict."""

    rollouts: int
    failed: int
    right: int
    undetermined: int

    @property
    def wrong(self) -> int:
        """Failed rollouts of which another stage, or none, is named."""
        return self.failed - self.right - self.undetermined

    def cells(self) -> list[str]:
        """As cells of a table."""
        shares = (self.right, self.undetermined, self.wrong)
        return [str(self.rollouts), str(self.failed), *(share(n, self.failed) for n in shares)]


def share(count: int, of: int) -> str:
    """A percentage; 0 and 100 without decimals only where all or none are counted."""
    if not of:
        return "-"
    return f"{100 * count / of:.{1 if 0 < count < of else 0}f} %"


def tally(records: Iterable[Record]) -> Tally:
    """Add up; what is right is the record's stage, or said by `right` for mixtures."""
    rollouts = failed = right = undetermined = 0
    for record in records:
        causes = record["causes"]
        rollouts += record["rollouts"]
        failed += record["failed"]
        right += record["right"] if "right" in record else causes.get(record["stage"], 0)
        undetermined += causes.get("undetermined", 0)
    return Tally(rollouts, failed, right, undetermined)


def of_stages(records: Sequence[Record], withheld: str = "nothing") -> dict[str, Tally]:
    """By stage; mixtures left out."""
    single = [r for r in records if r["withheld"] == withheld and "right" not in r]
    return {stage: tally(r for r in single if r["stage"] == stage) for stage in STAGES}


def of_faults(records: Sequence[Record], withheld: str = "nothing") -> dict[str, Tally]:
    """By fault, all strengths together; mixtures and sound rollouts left out."""
    some = [
        r
        for r in records
        if r["withheld"] == withheld and "right" not in r and r["stage"] in STAGES
    ]
    kinds = dict.fromkeys(r["fault"] for r in some)
    return {kind: tally(r for r in some if r["fault"] == kind) for kind in kinds}


def tables(study: Record, boxes: Record) -> dict[str, str]:
    """All tables, by name."""
    records: list[Record] = study["records"]
    full = [r for r in records if r["withheld"] == "nothing"]
    single = [r for r in full if "right" not in r]
    judged = ("rollouts", "failed", "right", "undetermined", "wrong")
    stage_of = {r["fault"]: r["stage"] for r in records}
    graded = {r["fault"] for r in single if r["strength"] != 1}
    stages = of_stages(records)
    made = {
        "matrix": (
            ["fault of", *CAUSES],
            [
                [stage, *(str(_named(single, stage, cause)) for cause in CAUSES)]
                for stage in ("none", *STAGES)
            ],
        ),
        "stages": (["fault of", *judged], [[s, *t.cells()] for s, t in stages.items()]),
        "faults": (
            ["fault", "stage", *judged],
            [[f, stage_of[f], *t.cells()] for f, t in of_faults(records).items()],
        ),
        "strengths": (
            ["fault", "strength", *judged],
            [
                [r["fault"], f"{r['strength']:g}", *tally([r]).cells()]
                for kind in of_faults(records)
                for r in sorted(single, key=lambda r: -r["strength"])
                if r["fault"] == kind and kind in graded
            ],
        ),
        "withheld": (
            ["withheld", *STAGES],
            [
                [withheld, *(_silent(t) for t in of_stages(records, withheld).values())]
                for withheld in dict.fromkeys(r["withheld"] for r in records)
            ],
        ),
        "mixtures": (
            ["two faults at once", *judged, "verdicts"],
            [[r["fault"], *tally([r]).cells(), _counts(r["causes"])] for r in full if "right" in r],
        ),
        "black boxes": (
            ["fault", "may be named", "rollouts", "failed", "verdicts", "without the true world"],
            [
                [
                    r["fault"],
                    r["named"] or "nothing",
                    str(r["rollouts"]),
                    str(r["failed"]),
                    _counts(r["causes"]),
                    _counts(r["without_true_world"]),
                ]
                for r in boxes["records"]
            ],
        ),
    }
    return {name: _table(head, body) for name, (head, body) in made.items()}


def _named(records: Sequence[Record], stage: str, cause: str) -> int:
    return sum(r["causes"].get(cause, 0) for r in records if r["stage"] == stage)


def _silent(found: Tally) -> str:
    return f"{share(found.undetermined, found.failed)} / {share(found.wrong, found.failed)}"


def _counts(causes: dict[str, int]) -> str:
    return ", ".join(f"{cause} {n}" for cause, n in causes.items())


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print, or write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    study, boxes = (
        json.loads((DOCS / f"attribution-{name}.json").read_text("utf-8"))
        for name in ("study", "blackbox")
    )
    path = DOCS / "attribution-validity.md"
    document = path.read_text("utf-8") if args.write else ""
    for name, table in tables(study, boxes).items():
        if args.write:
            document = with_table(document, name, table)
        else:
            print(f"{name}\n{table}\n")
    if args.write:
        path.write_text(document, "utf-8")


if __name__ == "__main__":
    main()
