"""How well identity with labels finds known faults: recall, exact steps, and false events.

    python tools/identity_validity_labels.py --settings sprites-64 --json sprites.json
    python tools/identity_validity_labels.py --tables sprites.json doom.json     # of earlier runs

Each fault is injected into true rollouts and recorded with its step and object. Found is an event
of that object and of the kind that the fault makes; exact if it begins at the recorded step. A
swap, morph or merge that falls on the step at which the object comes back to view is a re-entry
mismatch by definition, and counts as found.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import torch
from identity_rollouts import SETTINGS, identity_rollouts

from wmscore import functional as F
from wmscore.files import atomic_file
from wmscore.functional import IdentityState
from wmscore.rollouts import Rollouts
from wmscore.testing import (
    DelayedActions,
    Duplicate,
    Faulty,
    IdentitySwap,
    Merge,
    Morph,
    Reentry,
    Spawn,
    Split,
    Vanish,
)
from wmscore.testing.disturbances import Disturbed, Jitter
from wmscore.worlds import OtherSeed

S = IdentityState
FAULTS = {
    "swap": (IdentitySwap(), {S.SWAP, S.REENTRY}),
    "vanish": (Vanish(), {S.VANISH}),
    "duplicate": (Duplicate(), {S.DUPLICATE}),
    "re-entry mismatch": (Reentry(min_area=16), {S.REENTRY}),
    "morph": (Morph(), {S.MORPH, S.REENTRY}),
    "merge": (Merge(), {S.MERGE, S.REENTRY}),
    "split": (Split(), {S.SPLIT}),
    "spawn": (Spawn(), {S.SPAWN}),
}
CLEAN = ("clean", "jitter 1 px", "other chance", "2 steps late")


def judge(rollouts: Rollouts) -> F.IdentityEvents:
    """Events of a batch."""
    assert rollouts.labels is not None
    assert rollouts.reference_labels is not None
    assert rollouts.reference_valid is not None
    found = F.object_identity(
        rollouts.labels[:, 1:],
        rollouts.reference_labels[:, 1:],
        first_labels=rollouts.labels[:, 0],
        target_index=rollouts.reference_index,
        valid=(rollouts.valid & rollouts.reference_valid[rollouts.reference_index])[:, 1:],
    )
    return F.identity_events(found)


def tally(name: str, rollouts: Rollouts, count: Counter[str]) -> None:
    """Add a batch to the counts of one model."""
    events = judge(rollouts)
    breaks = events.event != S.SPAWN
    count["rollouts"] += len(rollouts)
    if name not in FAULTS:
        count["with an event"] += len(events.row[breaks].unique())
        count["with a spawn"] += len(events.row[~breaks].unique())
        return
    kinds = torch.tensor(sorted(FAULTS[name][1]))
    for row, step in enumerate(rollouts.info["fault_step"].tolist()):
        here = events.row == row
        if not step:
            count["nothing to break"] += 1
            count["false"] += bool((here & breaks).any())
            continue
        one, other = (int(rollouts.info[f"fault_{k}object"][row]) for k in ("", "other_"))
        objects = {"swap": {one, other}, "merge": {other}}.get(name, {one})
        count["injected"] += 1
        thing = torch.isin(events.object_id, torch.tensor(sorted(objects - {0})))
        right = here & torch.isin(events.event, kinds) & (thing | (name == "spawn"))
        steps = set(events.first_step[right].tolist())
        count["found"] += bool(steps)
        count["exact"] += step in steps
        count["before"] += bool((here & breaks & (events.first_step < step)).any())


def tables(records: list[dict[str, int | str]]) -> str:
    """Markdown: a line per fault, a column per world; then the worlds without a fault."""
    worlds = list(dict.fromkeys(str(r["setting"]) for r in records))
    cells = {(r["model"], r["setting"]): Counter({k: v for k, v in r.items()}) for r in records}
    head = ["", *worlds]
    lines = [head, ["---"] * len(head)]
    for name in FAULTS:
        row = [cells[name, world] for world in worlds]
        lines.append([name, *(f"{c['exact']} of {c['injected']}" for c in row)])
    for name in CLEAN:
        row = [cells[name, world] for world in worlds]
        lines.append([f"*{name}*", *(f"{c['with an event']} of {c['rollouts']}" for c in row)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--scenarios", type=int, default=256)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--horizon", type=int, default=32)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tables", type=Path, nargs="+", help="print those of earlier runs")
    options = parser.parse_args()
    if options.tables:
        print(tables([r for path in options.tables for r in json.loads(path.read_text())]))
        return
    models = {name: lambda world, f=fault: Faulty(world, f) for name, (fault, _) in FAULTS.items()}
    models |= {
        "clean": lambda world: world,
        "jitter 1 px": lambda world: Disturbed(world, Jitter(1)),
        "other chance": OtherSeed,
        "2 steps late": lambda world: Faulty(world, DelayedActions(2)),
    }
    records = []
    scenarios = range(options.first, options.first + options.scenarios)
    for setting in options.settings:
        counts: dict[str, Counter[str]] = {name: Counter() for name in models}
        for _, answers in identity_rollouts(
            setting, models, scenarios=scenarios, horizon=options.horizon
        ):
            for name, rollouts in answers.items():
                tally(name, rollouts, counts[name])
        records += [{"setting": setting, "model": n, **c} for n, c in counts.items()]
    print(tables(records))
    if options.json:
        with atomic_file(options.json) as draft:
            draft.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
