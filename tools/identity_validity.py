"""How often identity from pixels calls a break that is none, and misses one, where it is known.

    python tools/identity_validity.py --world sprites --rollouts 500
    python tools/identity_validity.py --world health_gathering --rollouts 60 --faults swap,vanish
    python tools/identity_validity.py --world sprites --rollouts 500 --write docs/identity.md

The true world is its own model: nothing in it ever breaks. Disturbances change all of its frames
and no object; faults change one object (a swap two) from a drawn step on. Rollouts are streamed;
what is kept are counts. Scenarios of the published tables begin at 100000, those that settings were
chosen on at 0 (`--first`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from document_tables import with_table
from torch import Tensor

from wmscore.functional import IdentityState, Reason
from wmscore.functional.appearance import AppearanceStates
from wmscore.functional.appearance.evidence import gather_evidence
from wmscore.functional.appearance.identity import states_of
from wmscore.functional.carry import carry_labels
from wmscore.functional.horizon import first_run
from wmscore.functional.label_ids import label_ids
from wmscore.rollouts import Rollouts
from wmscore.testing import Duplicate, Faulty, IdentitySwap, Morph, Vanish
from wmscore.testing.disturbances import Blur, Disturbance, Disturbed, Gain, Jitter, Jpeg, Noise
from wmscore.worlds import OtherSeed, SpriteWorld
from wmscore.worlds.protocol import Capabilities, Item, WorldModel

DISTURBANCES: dict[str, tuple[Disturbance, ...]] = {
    "none": (),
    "gain 0.85": (Gain(0.85),),
    "gain 1.15": (Gain(1.15),),
    "jitter 1 px": (Jitter(1),),
    "blur 1": (Blur(1.0),),
    "blur 2": (Blur(2.0),),
    "JPEG 50": (Jpeg(50),),
    "JPEG 30": (Jpeg(30),),
    "noise 8": (Noise(8.0),),
    "all": (Gain(0.85), Jitter(1), Blur(1.0), Jpeg(50)),
}
OTHER_SEED = "other seed"
FAULTS = {
    "swap": (IdentitySwap, IdentityState.SWAP),
    "vanish": (Vanish, IdentityState.VANISH),
    "morph": (Morph, IdentityState.MORPH),
    "duplicate": (Duplicate, IdentityState.DUPLICATE),
}
SENSITIVITIES = (0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
DEFAULT = 0.5
PATIENCE = 2
UNJUDGED = (  # reasons that the reference alone decides: such an object is not in the denominator
    Reason.LOST,
    Reason.TOO_FEW_PIXELS,
    Reason.TWIN,
    Reason.CAMOUFLAGED,
)
SPRITE_ACTIONS = ("noop", "left", "right", "up", "down")
DOOM_ACTIONS = ("noop", "left", "right", "forward", "back", "strafe_left", "strafe_right")


class Replayed:
    """Rollouts that were made before, as a world: for faults and disturbances of one truth."""

    def __init__(self, rollouts: Rollouts, capabilities: Capabilities) -> None:
        self.rollouts, self.capabilities, self.name = rollouts, capabilities, rollouts.model

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        assert len(items) == len(self.rollouts.frames)
        return self.rollouts


def make_world(name: str) -> WorldModel:
    """`sprites`, `sprites-96`, or a scenario of VizDoom."""
    if name.startswith("sprites"):
        size = int(name.partition("-")[2] or 64)
        return SpriteWorld(size, size)
    from wmscore.worlds.vizdoom import VizDoomWorld

    return VizDoomWorld(workers=1)


def make_items(name: str, first: int, count: int, steps: int) -> list[Item]:
    """Random scripts; in VizDoom an action is held for three steps."""
    items = []
    for number in range(first, first + count):
        draw = torch.Generator().manual_seed(number)
        if name.startswith("sprites"):
            names, reset = SPRITE_ACTIONS, {"seed": number}
            actions = torch.randint(len(names), (steps,), generator=draw)
        else:
            names, reset = DOOM_ACTIONS, {"scenario": name, "seed": number}
            held = torch.randint(len(names), (-(-steps // 3),), generator=draw)
            actions = held.repeat_interleave(3)[:steps]
        key = f"{name}-{number}"
        items.append(
            Item(
                panel="validity", scenario=number, scenario_id=key, initial_state_id=key,
                reset=reset, seed=0, branch=0, actions=actions, action_names=names, noop=0,
            )
        )  # fmt: skip
    return items


@dataclass
class Counts:
    """Counts of one world, mode, disturbance, fault and sensitivity."""

    rollouts: int = 0
    faults: int = 0  # objects that a fault breaks
    judged: int = 0  # of those, the reference lets two steps or more from the fault's on be judged
    found: int = 0
    right_kind: int = 0
    exact: int = 0  # of the found
    near: int = 0
    spurious: int = 0  # rollouts with a break that no fault explains
    spurious_objects: int = 0
    visible: int = 0  # object-steps
    undetermined: int = 0
    kinds: dict[str, int] = field(default_factory=dict)  # of spurious breaks

    def add(self, states: AppearanceStates, truth: tuple[Tensor, Tensor] | None, kind: int) -> None:
        """Count; `truth` is the step `[B]` and the objects `[B, 2]` of the fault."""
        state = states.state
        observable = (state == IdentityState.OK) | (state == IdentityState.MISLOCATED)
        broken = state >= IdentityState.SWAP
        observable = observable | broken
        run = first_run(broken.mT, observable.mT, PATIENCE)  # [B, N]
        at = (run.step - 1).clamp(min=0)
        event = state.gather(1, at[:, None])[:, 0]
        visible = states.area >= 16
        self.rollouts += len(state)
        self.visible += int(visible.sum())
        self.undetermined += int((visible & (state == IdentityState.UNDETERMINED)).sum())
        explained = torch.zeros_like(run.crossed)
        if truth is not None:
            step, objects = truth
            hit = (states.ids[:, :, None] == objects[:, None]) & (objects > 0)[:, None]
            hit = hit.any(2) & (step > 0)[:, None]  # [B, N] objects that the fault breaks
            time = torch.arange(1, state.shape[1] + 1)[:, None]
            hopeless = torch.isin(states.reason, torch.tensor(UNJUDGED, dtype=torch.uint8))
            able = (time >= step[:, None, None]) & visible & ~hopeless
            able = hit & (able.sum(1) >= PATIENCE)
            explained = hit & (run.step >= step[:, None])
            found = explained & run.crossed
            self.faults += int(hit.sum())
            self.judged += int(able.sum())
            found = found & able
            self.found += int(found.sum())
            self.right_kind += int((found & (event == kind)).sum())
            late = (run.step - step[:, None]).abs()
            self.exact += int((found & (late == 0)).sum())
            self.near += int((found & (late <= 1)).sum())
        stray = run.crossed & ~explained
        self.spurious += int(stray.any(1).sum())
        self.spurious_objects += int(stray.sum())
        for code in event[stray].tolist():
            name = IdentityState(code).name
            self.kinds[name] = self.kinds.get(name, 0) + 1


def cases(
    world: WorldModel, truth: Rollouts, items: Sequence[Item], steps: int,
    disturbances: Sequence[str], faults: Sequence[str],
) -> Iterator[tuple[str, str, Rollouts]]:  # fmt: skip
    """Disturbed rollouts, without and with each fault."""
    replayed = Replayed(truth, world.capabilities)
    for fault in faults:
        model: WorldModel = Faulty(replayed, FAULTS[fault][0]()) if fault else replayed
        made = model.rollout(items, steps)
        for name in disturbances:
            if name == OTHER_SEED:
                if not fault:
                    yield name, fault, OtherSeed(world).rollout(items, steps)
                continue
            chosen = DISTURBANCES[name]
            again = Replayed(made, world.capabilities)
            yield name, fault, Disturbed(again, *chosen).rollout(items, steps) if chosen else made


Key = tuple[str, str, str, float]  # mode, disturbance, fault, sensitivity


def study(
    name: str, first: int, rollouts: int, steps: int, batch: int, modes: Sequence[str],
    disturbances: Sequence[str], faults: Sequence[str], carry_preds: bool, file: Path | None,
) -> dict[Key, Counts]:  # fmt: skip
    """Stream rollouts and count."""
    world = make_world(name)
    counts: dict[Key, Counts] = {}
    frames_done, began = 0, time.time()
    for start in range(first, first + rollouts, batch):
        items = make_items(name, start, min(batch, first + rollouts - start), steps)
        truth = world.rollout(items, steps)
        assert truth.labels is not None
        labels = truth.labels.long()
        given = label_ids(labels[:, :1], labels[:, :1])
        every = label_ids(labels, labels)
        references = {}
        if "reference" in modes:
            references["reference"] = (labels[:, 1:], every, None)
        if "first" in modes:
            carried = carry_labels(truth.frames, labels[:, 0], ids=given)
            references["first"] = (carried.labels[:, 1:], given, carried.confidence[:, 1:] < 0.5)
        for disturbance, fault, made in cases(world, truth, items, steps, disturbances, faults):
            known = None
            if fault:
                others = made.info["fault_other_object"]
                if fault != "swap":
                    others = torch.zeros_like(others)
                pair = torch.stack([made.info["fault_object"], others], 1)
                known = (made.info["fault_step"], pair)
            own = carry_labels(made.frames, labels[:, 0]).labels[:, 1:] if carry_preds else None
            for mode, (places, ids, lost) in references.items():
                index = torch.arange(len(items))
                evidence = gather_evidence(
                    made.frames[:, 1:], truth.frames[:, 1:], places, ids, index, 2, own, None
                )
                frames_done += made.frames[:, 1:, 0, 0, 0].numel()
                valid = truth.valid[:, 1:] & made.valid[:, 1:]
                for sensitivity in SENSITIVITIES:
                    states = states_of(evidence, ids, valid, lost, sensitivity=sensitivity)
                    kind = FAULTS[fault][1] if fault else 0
                    key = (mode, disturbance, fault, sensitivity)
                    counts.setdefault(key, Counts()).add(states, known, kind)
        if file is not None:
            save(file, name, counts)  # after each batch: a run that is cut short counts as well
        speed = frames_done / (time.time() - began)
        print(f"{start + len(items) - first} rollouts, {speed:.0f} frames/s", file=sys.stderr)
    if hasattr(world, "close"):
        world.close()
    return counts


def share(part: int, whole: int, digits: int = 3) -> str:
    return f"{part / whole:.{digits}f}" if whole else "–"


def table(counts: dict[Key, Counts], mode: str) -> str:
    """Per disturbance: clean rollouts with a break, and per fault recall / exact / within one."""
    names = list(dict.fromkeys(key[1] for key in counts))
    faults = [f for f in dict.fromkeys(key[2] for key in counts) if f]
    head = ["disturbance", "clean rollouts", "with a break", "undetermined"]
    for fault in faults:
        head += [f"{fault}: recall", "as such", "exact", "within 1", "precision"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for name in names:
        clean = counts.get((mode, name, "", DEFAULT), Counts())
        row = [
            name, str(clean.rollouts),
            f"{clean.spurious} ({share(100 * clean.spurious, clean.rollouts, 1)} %)",
            share(clean.undetermined, clean.visible),
        ]  # fmt: skip
        for fault in faults:
            c = counts.get((mode, name, fault, DEFAULT))
            if c is None:
                row += ["–"] * 5
                continue
            called = c.found + c.spurious_objects
            row += [
                f"{share(c.found, c.judged)} of {c.judged}", share(c.right_kind, c.found),
                share(c.exact, c.found), share(c.near, c.found), share(c.found, called),
            ]  # fmt: skip
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def trade(counts: dict[Key, Counts], mode: str) -> str:
    """Per sensitivity: clean rollouts with a break, and recall of each fault, all disturbances."""
    faults = [f for f in dict.fromkeys(key[2] for key in counts) if f]
    head = ["sensitivity", "clean with a break", *(f"{f} recall" for f in faults), "precision"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for sensitivity in SENSITIVITIES:
        mine = {k: c for k, c in counts.items() if k[0] == mode and k[3] == sensitivity}
        clean = [c for k, c in mine.items() if not k[2]]
        row = [f"{sensitivity:g}"]
        bad, total = sum(c.spurious for c in clean), sum(c.rollouts for c in clean)
        row.append(f"{share(100 * bad, total, 2)} %")
        for fault in faults:
            some = [c for k, c in mine.items() if k[2] == fault]
            row.append(share(sum(c.found for c in some), sum(c.judged for c in some)))
        broken = [c for k, c in mine.items() if k[2]]
        found, stray = sum(c.found for c in broken), sum(c.spurious_objects for c in broken)
        row.append(share(found, found + stray))
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def save(file: Path, world: str, counts: dict[Key, Counts]) -> None:
    names = ("mode", "disturbance", "fault", "sensitivity")
    rows = [
        {"world": world, **dict(zip(names, key, strict=True)), **asdict(count)}
        for key, count in counts.items()
    ]
    file.write_text(json.dumps(rows, indent=1) + "\n")


def merged(files: Sequence[Path]) -> dict[Key, Counts]:
    """Counts of runs on different rollouts, or of different cases."""
    total: dict[Key, Counts] = {}
    for file in files:
        for row in json.loads(file.read_text()):
            del row["world"]
            key = (
                row.pop("mode"),
                row.pop("disturbance"),
                row.pop("fault"),
                row.pop("sensitivity"),
            )
            mine = total.setdefault(key, Counts())
            for name, value in row.items():
                if name == "kinds":
                    for kind, number in value.items():
                        mine.kinds[kind] = mine.kinds.get(kind, 0) + number
                else:
                    setattr(mine, name, getattr(mine, name) + value)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", default="sprites")
    parser.add_argument("--rollouts", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="first scenario")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--modes", default="reference,first")
    parser.add_argument("--disturbances", default=",".join(DISTURBANCES))
    parser.add_argument("--faults", default=",".join(("clean", *FAULTS)))
    parser.add_argument("--carry-preds", action="store_true", help="labels along generated frames")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tables", type=Path, nargs="+", help="print what these JSON files count")
    parser.add_argument("--write", type=Path, help="document whose tables are replaced")
    options = parser.parse_args()
    modes = options.modes.split(",")
    if options.tables:
        counts = merged(options.tables)
    else:
        faults = ["" if f == "clean" else f for f in options.faults.split(",")]
        counts = study(
            options.world, options.first, options.rollouts, options.steps, options.batch, modes,
            options.disturbances.split(","), faults, options.carry_preds, options.json,
        )  # fmt: skip
    for mode in modes:
        for kind, text in (("breaks", table(counts, mode)), ("trade", trade(counts, mode))):
            name = f"{options.world} {mode} {kind}"
            print(f"\n<!-- {name} -->\n{text}\n<!-- end -->")
            if options.write:
                document = with_table(options.write.read_text(), name, text)
                options.write.write_text(document)
        kinds: dict[str, int] = {}
        for key, count in counts.items():
            if key[0] == mode and key[3] == DEFAULT and not key[2]:
                for kind, number in count.kinds.items():
                    kinds[kind] = kinds.get(kind, 0) + number
        print(f"\nbreaks called in clean rollouts, by kind: {kinds or 'none'}")


if __name__ == "__main__":
    main()
