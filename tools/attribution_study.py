"""Whether the cause of a failure is named rightly: faults of known stages, injected and diagnosed.

    python tools/attribution_study.py run --out docs/attribution-study.json
    python tools/attribution_study.py tables docs/attribution-study.json

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
from typing import Any

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.attribution import (
    CAUSES,
    STAGES,
    Signal,
    accumulates,
    companion_signal,
    decide,
    evaluation_signal,
    outcome_of,
    stage_signal,
    state_probe,
    threshold_signal,
)
from wmscore.manifest import Panel
from wmscore.replay import (
    delivered_scripts,
    freeze_panel,
    panel_items,
    reconstruct_rows,
    render_truth,
    replay_rows,
)
from wmscore.replay.rolling import predict_rows
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.stats import conformal_threshold
from wmscore.testing.staged import STAGE_FAULTS, StagedSprites, stage_fault
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
WITHHELD = ("nothing", "reconstruction", "one-step", "latents", "true world", "all but rollouts")
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

    def __init__(self, panel: Panel, truth: Rollouts, model: StagedSprites) -> None:
        self.panel, self.truth, self.model = panel, truth, model
        self.rows = list(panel.rows())
        self.rollouts = replay_rows(panel, model, truth, self.rows)
        self.scores = scored(panel, [self.rollouts])
        one_step = predict_rows(panel, model, truth, self.rows).with_reference(truth)
        rebuilt = reconstruct_rows(panel, model, truth, self.rows).with_reference(truth)
        self.one_step, self.rebuilt = scored(panel, [one_step]), scored(panel, [rebuilt])
        items = panel_items(panel, self.rows, truth=truth)
        latents, state = model.latents(items, HORIZON)
        groups = torch.arange(len(self.rows))
        others = panel_items(study_panel(PROBE_FROM, PROBE_ROWS))
        fit = model.latents(others, HORIZON)
        self.probe = state_probe(latents, state, groups, fit=fit)[:, 1:]
        self.true_scores = scored(panel, [replay_rows(panel, WORLD, truth, self.rows)])


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
    lines: dict[str, dict[str, float]] = {}
    share = {"rollout": ALPHA / len(AXES), "one-step": ALPHA, "reconstruction": ALPHA}
    runs = {"rollout": found.scores, "one-step": found.one_step, "reconstruction": found.rebuilt}
    for name, scores in runs.items():
        lines[name] = {axis: conformal(scores.axes[axis].values, share[name]) for axis in AXES}
    lines["probe"] = {"state": conformal(found.probe, ALPHA)}
    told = delivered_scripts(panel, WORLD, found.rollouts)
    lines["delivered"] = {"haarpsi": conformal(told.explained, ALPHA)}
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
    lines: dict[str, dict[str, float]],
    withheld: str,
    *,
    regret: Tensor | None = None,
    control: tuple[Tensor, Tensor] | None = None,
) -> tuple[list[str], Tensor]:
    """The cause of each row, and whether the rollout failed."""
    scores = evidence.scores
    outcome = outcome_of(scores)
    only = withheld == "all but rollouts"
    signals: dict[str, Signal] = {
        "evaluation": evaluation_signal(
            scores, None if withheld == "true world" or only else evidence.true_scores
        )
    }
    if withheld != "reconstruction" and not only:
        signals["perception"] = companion_signal(scores, evidence.rebuilt, lines["reconstruction"])
    if withheld not in ("true world",) and not only and control is not None:
        signals["control"] = control_signal(control, outcome, lines["delivered"]["haarpsi"])
    if withheld != "latents" and not only:
        signals["representation"] = stage_signal(
            evidence.probe, outcome, lines["probe"]["state"], patience=2
        )
    if regret is not None and not only:
        signals["planning"] = threshold_signal(-regret, -0.1)
    one_step = None
    if withheld != "one-step" and not only:
        one_step = companion_signal(scores, evidence.one_step, lines["one-step"])
    pick = scores.horizon.axis.clamp_min(0)
    curves = torch.stack([scores.axes[axis].values for axis in AXES])
    grows = accumulates(curves[pick, torch.arange(len(scores))], outcome)
    found = decide(outcome, signals, one_step=one_step, compounding=grows)
    return [CAUSES[c] for c in found.cause.tolist()], outcome.failed


def control_signal(curves: tuple[Tensor, Tensor], outcome: object, threshold: float) -> Signal:
    """Other actions explain what the commanded ones do not, up to the failure."""
    plain, explained = (stage_signal(c, outcome, threshold, patience=2) for c in curves)  # type: ignore[arg-type]
    return replace(plain, implicates=plain.implicates & explained.excludes, direct=True)


def told(evidence: Evidence) -> tuple[Tensor, Tensor]:
    """How well the commanded and the delivered scripts explain the frames."""
    found = delivered_scripts(evidence.panel, WORLD, evidence.rollouts)
    return found.plain, found.explained


def cases(
    count: int, start: int, lines: dict[str, dict[str, float]]
) -> Iterator[dict[str, object]]:
    """Every fault at every strength, with the verdicts under every set of signals."""
    panel, truth = prepared(study_panel(start, count, lines["rollout"]))
    for kind in (None, *STAGE_FAULTS):
        for strength in STRENGTHS if kind else (1.0,):
            model = StagedSprites(SIDE, SIDE, stage_fault(kind, strength) if kind else None)
            found = Evidence(panel, truth, model)
            control = told(found)
            for withheld in WITHHELD:
                causes, failed = verdicts(found, lines, withheld, control=control)
                yield line(kind or "none", strength, withheld, causes, failed)
            if kind is None:
                yield from evaluation_cases(found, lines, control)
                yield from planning_cases(found, lines, control)


def line(
    kind: str, strength: float, withheld: str, causes: Sequence[str], failed: Tensor
) -> dict[str, object]:
    """One record: how many rows have which cause."""
    stage = "none" if kind == "none" else STAGE_FAULTS.get(kind)
    stage = stage or ("evaluation" if kind in EVALUATION else "planning")
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
    clean: Evidence, lines: dict[str, dict[str, float]], control: tuple[Tensor, Tensor]
) -> Iterator[dict[str, object]]:
    """Sound rollouts, evaluated wrongly: in the same way for the true world's self-check."""
    panel, truth = clean.panel, clean.truth
    true = replay_rows(panel, WORLD, truth, clean.rows)
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
    clean: Evidence, lines: dict[str, dict[str, float]], control: tuple[Tensor, Tensor]
) -> Iterator[dict[str, object]]:
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


def run(out: Path, count: int, calibration: int) -> None:
    """Run all of it and write the records."""
    begin = time.time()
    lines = calibrate(1_000_000, calibration)
    print("thresholds", json.dumps(lines))
    records = []
    for record in cases(count, 0, lines):
        records.append(record)
        if record["withheld"] == WITHHELD[0]:
            print(
                f"{time.time() - begin:.0f} s",
                record["fault"],
                record["strength"],
                record["causes"],
            )
    data = {
        "calibration_rollouts": calibration,
        "alpha": ALPHA,
        "horizon": HORIZON,
        "side": SIDE,
        "thresholds": lines,
        "records": records,
    }
    out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def tables(data: dict[str, Any]) -> dict[str, str]:
    """The tables of docs/attribution.md, by name, as Markdown."""
    records = data["records"]
    full = [r for r in records if r["withheld"] == WITHHELD[0]]
    stages = ("none", *STAGES)
    matrix = ["| injected | rollouts | that failed | " + " | ".join(CAUSES) + " |"]
    matrix.append("| --- " * (len(CAUSES) + 3) + "|")
    for stage in stages:
        some = [r for r in full if r["stage"] == stage]
        total, failed = (sum(r[key] for r in some) for key in ("rollouts", "failed"))
        counts = [sum(r["causes"].get(cause, 0) for r in some) for cause in CAUSES]
        shares = [f"{n / total:.1%}" if n else "0" for n in counts]
        matrix.append(f"| {stage} | {total} | {failed} | " + " | ".join(shares) + " |")
    by_fault = ["| fault | stage | rollouts | failed | right | undetermined | wrong |"]
    by_fault.append("| --- " * 7 + "|")
    for kind in dict.fromkeys(r["fault"] for r in full):
        some = [r for r in full if r["fault"] == kind]
        n = sum(r["rollouts"] for r in some)
        failed, right, open_, wrong = (sum(part) for part in zip(*map(judged, some), strict=True))
        base = max(1, failed)
        by_fault.append(
            f"| {kind} | {some[0]['stage']} | {n} | {failed} | {right / base:.1%} | "
            f"{open_ / base:.1%} | {wrong / base:.1%} |"
        )
    held = ["| withheld | right | undetermined | wrong |", "| --- " * 4 + "|"]
    for withheld in WITHHELD:
        some = [r for r in records if r["withheld"] == withheld and r["fault"] != "none"]
        failed, right, open_, wrong = (sum(part) for part in zip(*map(judged, some), strict=True))
        held.append(
            f"| {withheld} | {right / failed:.1%} | {open_ / failed:.1%} | {wrong / failed:.1%} |"
        )
    return {"matrix": "\n".join(matrix), "faults": "\n".join(by_fault), "held": "\n".join(held)}


def judged(record: dict[str, Any]) -> tuple[int, int, int, int]:
    """Rollouts that failed (or were hit), and of them: right, undetermined, wrong.

    A rollout with a fault that did not fail has nothing to be named: "none" is right there, and
    any stage is wrong.
    """
    causes, stage = record["causes"], record["stage"]
    named = sum(n for c, n in causes.items() if c not in ("none", "undetermined", stage))
    right, open_ = causes.get(stage, 0), causes.get("undetermined", 0)
    if stage == "none":
        return record["rollouts"], right, open_, named
    return right + open_ + named, right, open_, named


def main() -> None:
    """Run, or print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("--out", type=Path, required=True)
    runner.add_argument("--count", type=int, default=200, help="rollouts per fault and strength")
    runner.add_argument("--calibration", type=int, default=400)
    printer = commands.add_parser("tables")
    printer.add_argument("study", type=Path)
    args = parser.parse_args()
    if args.command == "tables":
        for name, table in tables(json.loads(args.study.read_text("utf-8"))).items():
            print(f"{name}\n\n{table}\n")
        return
    run(args.out, args.count, args.calibration)


if __name__ == "__main__":
    main()
