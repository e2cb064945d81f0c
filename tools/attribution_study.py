"""Whether the cause of a failure is named rightly: faults of known stages, injected and diagnosed.

    python tools/attribution_study.py --out docs/attribution-study.json
    python tools/attribution_study.py --out part-0.json --shard 0/2   (and 1/2, then)
    python tools/attribution_study.py --out docs/attribution-study.json --join part-*.json
    python tools/attribution_tables.py

Every rollout is of a scenario of its own. Thresholds come from fault-free rollouts of other
scenarios (conformal, alpha 1 %). Signals are then withheld, to see whether the verdict abstains.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.attribution import (
    CAUSES,
    Normal,
    assign,
    delivered_signal,
    evaluation_signal,
    misaligned_evaluation,
    misalignment,
    on_rows,
    outcome_of,
    stage_signal,
    state_probe,
)
from wmscore.files import atomic_file
from wmscore.manifest import Panel
from wmscore.replay import (
    delivered_scripts,
    freeze_panel,
    panel_items,
    predict_rows,
    reconstruct_rows,
    render_truth,
    replay_rows,
)
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.stats import conformal_threshold
from wmscore.testing.staged import STAGE_FAULTS, StagedSprites, StageFault, stage_fault
from wmscore.worlds import sprite_scene
from wmscore.worlds.sprites import SpriteWorld

SIDE, HORIZON, ALPHA = 48, 14, 0.01
PROBE_FROM, PROBE_ROWS = 3_000_000, 100  # scenarios on which a probe of the state is fitted
NAMES = ["noop", "left", "right", "up", "down"]
STRENGTHS = (1.0, 0.5, 0.25)
EVALUATION = (
    "reference-shifted",
    "channels-swapped",
    "nan-frame",
    "missing-row",
    "short-row",
    "wrong-script",
    "wrong-scenario",
    "wrong-rate",
)
PLANNING = ("random-planner", "short-sighted-planner")
ADAPTER = ("adapter-late", "adapter-moved")  # the model's frames alone, all of them
MIXTURES: dict[str, tuple[StageFault, StageFault]] = {
    f"{one.kind} {one.strength:g} + {other.kind} {other.strength:g}": (one, other)
    for one, other in (
        (stage_fault("decoder-levels", 0.5), stage_fault("fast-objects", 1.0)),
        (stage_fault("decoder-blur", 0.25), stage_fault("slow-objects", 0.5)),
        (stage_fault("decoder-tint", 0.25), stage_fault("delay", 0.5)),
        (stage_fault("no-velocity", 0.25), stage_fault("drifting-objects", 1.0)),
        (stage_fault("ignored", 0.25), stage_fault("slow-objects", 0.5)),
    )
}
WITHHELD = (
    "nothing",
    "fitted lines",
    "reconstruction",
    "one-step",
    "latents",
    "true world",
    "all but rollouts",
)
Record = dict[str, object]
Lines = dict[str, dict[str, float]]
WORLD = SpriteWorld(SIDE, SIDE)
AXES = ("perceptual_drift", "identity_persistence")


def study_panel(first: int, count: int, thresholds: dict[str, float] | None = None) -> Panel:
    """Scenarios `first` .. `first + count - 1`: there and back with some chance moves."""
    scenarios = []
    for i in range(first, first + count):
        rng = random.Random(f"study/{i}")
        way = rng.choice(NAMES[1:])
        back = {"left": "right", "right": "left", "up": "down", "down": "up"}[way]
        half = HORIZON // 2
        script = [way] * half + [back] * (HORIZON - half)
        script = [rng.choice(NAMES) if rng.random() < 0.3 else action for action in script]
        if len(set(script)) < 2:
            script[0] = back
        scenarios.append(
            {
                "id": f"study-{i}",
                "initial_state_id": f"study-{i}",
                "reset": {"seed": i, "noise": 0},
                "actions": script,
            }
        )
    lines = thresholds or dict.fromkeys(AXES, 0.5)
    return Panel.from_dict(
        {
            "name": "attribution-study",
            "contract": {
                "world": "sprites",
                "observation": {"height": SIDE, "width": SIDE, "fps": 10},
                "actions": {"names": NAMES, "noop": "noop"},
                "horizon": HORIZON,
            },
            "scenarios": scenarios,
            "axes": [{"axis": axis, "threshold": lines[axis], "patience": 2} for axis in AXES],
        }
    )


class Evidence:
    """All that is measured of one model on one panel."""

    def __init__(
        self,
        panel: Panel,
        truth: Rollouts,
        model: StagedSprites,
        mistake: str = "",
        like: Evidence | None = None,
    ) -> None:
        """Roll out and score; with a mistake, all frames of the model are spoiled alike.

        Args:
            panel: frozen.
            truth: of the panel.
            model: of the testbed.
            mistake: one of `ADAPTER`, or none.
            like: evidence on the same panel, for what does not depend on the model.
        """
        self.panel, self.truth, self.model = panel, truth, model
        self.rows = list(panel.rows())
        self.rollouts = spoiled(replay_rows(panel, model, truth, self.rows), mistake)
        one_step = predict_rows(panel, model, truth, self.rows).with_reference(truth)
        rebuilt = reconstruct_rows(panel, model, truth, self.rows).with_reference(truth)
        rebuilt = spoiled(rebuilt, mistake)
        self.scores = scored(panel, [self.rollouts])
        self.one_step = scored(panel, [spoiled(one_step, mistake)])
        self.rebuilt = scored(panel, [rebuilt])
        self.aligned = misalignment(rebuilt)
        items = panel_items(panel, self.rows, truth=truth)
        latents, state = model.latents(items, HORIZON)
        groups = torch.arange(len(self.rows))
        others = panel_items(study_panel(PROBE_FROM, PROBE_ROWS))
        fit = model.latents(others, HORIZON)
        self.probe = state_probe(latents, state, groups, fit=fit)[:, 1:]
        self.true_rollouts = (
            replay_rows(panel, WORLD, truth, self.rows) if like is None else (like.true_rollouts)
        )
        self.true_scores = scored(panel, [self.true_rollouts]) if like is None else like.true_scores


def spoiled(rollouts: Rollouts, mistake: str) -> Rollouts:
    """Frames as an adapter with a mistake would hand them over."""
    frames = rollouts.frames
    if mistake == "adapter-late":
        frames = torch.cat([frames[:, :1], frames[:, :-1]], 1)
    elif mistake == "adapter-moved":
        frames = torch.cat([frames[:, :1], frames[:, 1:].roll(1, -1)], 1)
    return replace(rollouts, frames=frames)


def scored(panel: Panel, batches: Iterable[Rollouts]) -> Scores:
    """Scores, without a panel of actions."""
    scorer = Scorer(panel)
    for rollouts in batches:
        scorer.update(rollouts)
    return scorer.compute()


def calibrate(first: int, count: int) -> dict[str, dict[str, float]]:
    """Thresholds of every signal from fault-free rollouts, by signal and axis."""
    panel, truth = prepared(study_panel(first, count))
    found = Evidence(panel, truth, StagedSprites(SIDE, SIDE))
    lines: Lines = {}
    share = {"rollout": ALPHA / len(AXES), "one-step": ALPHA, "reconstruction": ALPHA}
    runs = {"rollout": found.scores, "one-step": found.one_step, "reconstruction": found.rebuilt}
    for name, scores in runs.items():
        lines[name] = {axis: conformal(scores.axes[axis].values, share[name]) for axis in AXES}
    lines["probe"] = {"state": conformal(found.probe, ALPHA)}
    every = delivered_scripts(panel, WORLD, found.rollouts)
    lines["delivered"] = {"haarpsi": conformal(every.explained, ALPHA)}
    return lines


def conformal(curves: Tensor, alpha: float) -> float:
    """The threshold that a share alpha of such curves fails, with a patience of 2."""
    critical = F.critical_threshold(curves.double(), patience=2)
    return float(conformal_threshold(critical[:, None], alpha, redraws=1).threshold)


def prepared(panel: Panel) -> tuple[Panel, Rollouts]:
    """Frozen, with its truth."""
    return freeze_panel(panel, render_truth(panel, WORLD, batch_size=64), fps=10.0)


def verdicts(
    evidence: Evidence,
    lines: Lines,
    withheld: str,
    *,
    regret: Tensor | None = None,
    control: tuple[Tensor, Tensor] | None = None,
) -> tuple[list[str], Tensor]:
    """The cause of each row, and whether the rollout failed.

    Where the panel's thresholds are withheld from nobody but the fitted ones are ("fitted lines"),
    companions are judged as `diagnose` does it by itself.
    """
    scores = evidence.scores
    outcome = outcome_of(scores)
    only = withheld == "all but rollouts"
    fitted = withheld != "fitted lines"
    drift = evidence.panel.axes[0].threshold
    results, roles, signals = [], {}, {}
    if withheld != "true world" and not only:
        results.append(replace(evidence.true_scores, model="sprites"))
        roles["sprites"] = "truth"
        if control is not None:
            least = lines["delivered"]["haarpsi"] if fitted else drift
            signals["control"] = delivered_signal(*control, outcome, least, patience=2)
    if withheld != "one-step" and not only:
        results.append(evidence.one_step)
    if withheld != "reconstruction" and not only:
        results.append(evidence.rebuilt)
        true = evidence.true_scores if roles else None
        signals["evaluation"] = misaligned_evaluation(
            evaluation_signal(scores, true), evidence.aligned, outcome, drift, patience=2
        )
    if withheld != "latents" and not only:
        least = lines["probe"]["state"]
        signals["representation"] = stage_signal(evidence.probe, outcome, least, patience=2)
    normal = Normal(reconstruction=lines["reconstruction"], one_step=lines["one-step"])
    found = assign(
        scores,
        results,
        roles=roles,
        signals=signals,
        regret=None if only else regret,
        normal=normal if fitted else None,
    )
    return [CAUSES[c] for c in found.decision.cause.tolist()], outcome.failed


def told(evidence: Evidence) -> tuple[Tensor, Tensor]:
    """How well the commanded and the delivered scripts explain the frames of rows that failed."""
    failed = outcome_of(evidence.scores).failed.nonzero()[:, 0]
    count = len(evidence.rows)
    if not len(failed):
        blank = torch.full((count, HORIZON), torch.nan, dtype=torch.float64)
        return blank, blank
    found = delivered_scripts(evidence.panel, WORLD, evidence.rollouts[failed])
    return on_rows(found.plain, failed, count), on_rows(found.explained, failed, count)


Job = tuple[str, float, int]  # name of a fault or of a mixture, strength, block of scenarios


def jobs(blocks: int) -> list[Job]:
    """Everything that is run: all strengths of a fault; what has no strength, on as many blocks."""
    found: list[Job] = [("none", 1.0, block) for block in range(blocks)]
    found += [(mistake, 1.0, block) for mistake in ADAPTER for block in range(blocks)]
    found += [(kind, strength, 0) for kind in STAGE_FAULTS for strength in STRENGTHS]
    return found + [(mixture, 1.0, 0) for mixture in MIXTURES]


def cases(job: Job, count: int, lines: Lines, known: dict[int, Evidence]) -> Iterator[Record]:
    """The records of one job: verdicts under every set of signals."""
    kind, strength, block = job
    if block not in known:
        panel, truth = prepared(study_panel(block * count, count, lines["rollout"]))
        known[block] = Evidence(panel, truth, StagedSprites(SIDE, SIDE))
    clean = known[block]
    if kind in MIXTURES:
        yield from mixture_cases(kind, clean, lines)
        return
    if kind in STAGE_FAULTS:
        model = StagedSprites(SIDE, SIDE, stage_fault(kind, strength))
        found = Evidence(clean.panel, clean.truth, model, like=clean)
    elif kind in ADAPTER:
        found = Evidence(clean.panel, clean.truth, clean.model, kind, like=clean)
    else:
        found = clean
    control = told(found)
    for withheld in WITHHELD:
        causes, failed = verdicts(found, lines, withheld, control=control)
        yield line(kind, strength, withheld, causes, failed)
    if kind == "none":
        yield from evaluation_cases(found, lines, control)
        yield from planning_cases(found, lines, control)


def mixture_cases(kind: str, clean: Evidence, lines: Lines) -> Iterator[Record]:
    """Two faults at once; a verdict is right where the fault that it names decides the row.

    It decides where the row fails with it alone; where it fails with neither alone, both do.
    """
    faults = MIXTURES[kind]
    stages = [fault.stage for fault in faults]
    both = Evidence(clean.panel, clean.truth, StagedSprites(SIDE, SIDE, *faults), like=clean)
    alone = [
        outcome_of(
            scored(
                clean.panel,
                [replay_rows(clean.panel, StagedSprites(SIDE, SIDE, f), clean.truth, clean.rows)],
            )
        ).failed
        for f in faults
    ]
    control = told(both)
    for withheld in WITHHELD:
        causes, failed = verdicts(both, lines, withheld, control=control)
        right = 0
        for row, cause in enumerate(causes):
            enough = [bool(a[row]) for a in alone]
            decide_it = [s for s, e in zip(stages, enough, strict=True) if e or not any(enough)]
            right += cause in decide_it
        yield line(kind, 1.0, withheld, causes, failed) | {"stages": stages, "right": right}


def line(
    kind: str, strength: float, withheld: str, causes: Sequence[str], failed: Tensor
) -> Record:
    """One record: how many rows have which cause."""
    stage = "none" if kind == "none" else STAGE_FAULTS.get(kind)
    stage = stage or ("planning" if kind in PLANNING else "evaluation")
    counts = {cause: causes.count(cause) for cause in CAUSES if cause in causes}
    return {
        "fault": kind,
        "stage": stage,
        "strength": strength,
        "withheld": withheld,
        "rollouts": len(causes),
        "failed": int(failed.sum()),
        "causes": counts,
    }


def evaluation_cases(
    clean: Evidence, lines: Lines, control: tuple[Tensor, Tensor]
) -> Iterator[Record]:
    """Sound rollouts, evaluated wrongly: in the same way for the true world's self-check."""
    panel = clean.panel
    true = clean.true_rollouts
    for kind in EVALUATION:
        broken = copy_of(clean)
        broken.scores = spoiled_scores(panel, clean.rollouts, kind)
        broken.true_scores = (
            spoiled_scores(panel, true, kind)
            if kind in ("reference-shifted", "channels-swapped")
            else clean.true_scores
        )
        for withheld in WITHHELD:
            causes, failed = verdicts(broken, lines, withheld, control=control)
            yield line(kind, 1.0, withheld, causes, failed | (broken.scores.fault != 0))


def copy_of(evidence: Evidence) -> Evidence:
    """A shallow copy."""
    new = object.__new__(Evidence)
    new.__dict__.update(evidence.__dict__)
    return new


def spoiled_scores(panel: Panel, rollouts: Rollouts, kind: str) -> Scores:
    """Scores after one mistake of the evaluation, in every row."""
    assert rollouts.reference is not None
    if kind == "reference-shifted":
        late = torch.cat([rollouts.reference[:, :1], rollouts.reference[:, :-1]], 1)
        return scored(panel, [replace(rollouts, reference=late)])
    if kind == "channels-swapped":
        frames = torch.cat([rollouts.frames[:, :1], rollouts.frames[:, 1:].flip(2)], 1)
        return scored(panel, [replace(rollouts, frames=frames)])
    if kind == "nan-frame":
        frames = rollouts.frames.float() / 255
        frames[:, 3] = torch.nan
        return scored(
            panel, [replace(rollouts, frames=frames, reference=rollouts.reference.float() / 255)]
        )
    if kind == "missing-row":
        return scored(panel, [])
    if kind == "short-row":
        valid = rollouts.valid.clone()
        valid[:, -3:] = False
        return scored(panel, [replace(rollouts, valid=valid)])
    if kind == "wrong-script":
        return scored(panel, [replace(rollouts, actions=(rollouts.actions + 1) % len(NAMES))])
    if kind == "wrong-scenario":
        return scored(panel, [replace(rollouts, frames=rollouts.frames.roll(1, 0))])
    rate = torch.full((len(rollouts),), 25.0)
    return scored(panel, [replace(rollouts, info={"fps": rate})])


def planning_cases(
    clean: Evidence, lines: Lines, control: tuple[Tensor, Tensor]
) -> Iterator[Record]:
    """Sound rollouts of the scripts of a planner that is worse than an oracle."""
    moves = {"noop": (0, 0), "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
    for kind in PLANNING:
        regret = []
        for scenario in clean.panel.scenarios:
            rng = random.Random(f"goal/{kind}/{scenario.id}")
            goal = [rng.choice((-1, 1)) * rng.randint(3, 6) for _ in range(2)]
            if kind == "random-planner":
                plan = [rng.choice(NAMES) for _ in range(HORIZON)]
            else:  # it only sees the way to the right or left, and stops there
                plan = [NAMES[1] if goal[0] < 0 else NAMES[2]] * abs(goal[0])
            place = [sum(moves[a][k] for a in plan) for k in range(2)]
            missed = sum(abs(g - p) for g, p in zip(goal, place, strict=True))
            # An oracle reaches every goal within the horizon.
            regret.append(min(1.0, missed / sum(map(abs, goal))))
        for withheld in WITHHELD:
            causes, failed = verdicts(
                clean,
                lines,
                withheld,
                regret=torch.tensor(regret, dtype=torch.float64),
                control=control,
            )
            lost = torch.tensor(regret) > 0.1
            yield line(kind, 1.0, withheld, causes, failed | lost)


def remember_textures() -> None:
    """Keep the ground of every scenario: most of the time of the study would go into it."""
    draw, kept = sprite_scene.tiling_texture, {}

    def remembered(key: Tensor, height: int, width: int, spacing: int) -> Tensor:
        size = (height, width, spacing)
        missing = [k for k in dict.fromkeys(key.tolist()) if (k, size) not in kept]
        if missing:
            for k, one in zip(missing, draw(torch.tensor(missing), *size), strict=True):
                kept[k, size] = one
        return torch.stack([kept[k, size] for k in key.tolist()])

    vars(sprite_scene)["tiling_texture"] = remembered


def run(out: Path, count: int, calibration: int, blocks: int, shard: tuple[int, int]) -> None:
    """Run a share of the jobs; what `out` has already is kept."""
    remember_textures()
    begin = time.time()
    if out.exists():
        data = json.loads(out.read_text("utf-8"))
    else:
        data = {
            "calibration_rollouts": calibration,
            "alpha": ALPHA,
            "horizon": HORIZON,
            "side": SIDE,
            "thresholds": calibrate(1_000_000, calibration),
            "done": [],
            "records": [],
        }
    print("thresholds", json.dumps(data["thresholds"]), flush=True)
    known: dict[int, Evidence] = {}
    for job in jobs(blocks)[shard[0] :: shard[1]]:
        if list(job) in data["done"]:
            continue
        for record in cases(job, count, data["thresholds"], known):
            data["records"].append(record)
            if record["withheld"] == WITHHELD[0]:
                took = f"{time.time() - begin:.0f} s"
                told_ = (record["fault"], record["strength"], record["failed"], record["causes"])
                print(took, *told_, record.get("right", ""), flush=True)
        data["done"].append(list(job))
        with atomic_file(out) as draft:
            draft.write_text(json.dumps(data) + "\n", encoding="utf-8")


def joined(parts: Sequence[Path]) -> Record:
    """Parts of a study as one; what ran on several blocks of scenarios is added up."""
    data = [json.loads(part.read_text("utf-8")) for part in parts]
    whole: dict[tuple[str, float, str], Record] = {}
    for part in data:
        if part["thresholds"] != data[0]["thresholds"]:
            raise ValueError("parts: expected one set of thresholds")
        for record in part["records"]:
            key = (record["fault"], record["strength"], record["withheld"])
            before = whole.setdefault(key, {**record, "rollouts": 0, "failed": 0, "causes": {}})
            counts = before["causes"]
            assert isinstance(counts, dict)
            for cause, n in record["causes"].items():
                counts[cause] = counts.get(cause, 0) + n
            for field in ("rollouts", "failed"):
                before[field] = int(str(before[field])) + record[field]
    order = {"none": 0, **{kind: 1 for kind in EVALUATION + ADAPTER}}
    order |= {**{kind: 2 for kind in PLANNING}, **{kind: 3 for kind in STAGE_FAULTS}}
    records = sorted(whole.values(), key=lambda r: order.get(str(r["fault"]), 4))
    del data[0]["done"]
    return {**data[0], "records": records}


def main() -> None:
    """Run, or join what was run in parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=180, help="rollouts per fault and strength")
    parser.add_argument("--blocks", type=int, default=3, help="of so many, without strengths")
    parser.add_argument("--calibration", type=int, default=400)
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--join", type=Path, nargs="+")
    args = parser.parse_args()
    first, of = map(int, args.shard.split("/"))
    if args.join is None:
        run(args.out, args.count, args.calibration, args.blocks, (first, of))
    if args.join is not None or of == 1:
        whole = joined(args.join or [args.out])
        args.out.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
