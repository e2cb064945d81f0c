"""Evidence folders for tests of the report, without pictures that it does not read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tests.made_scores import made_panel, made_scores
from tests.panels import sprite_panel
from wmscore.comparison import compare_models
from wmscore.demo import Simulator
from wmscore.evidence.actions import write_actions
from wmscore.evidence.comparison import write_comparison
from wmscore.evidence.curves import write_curve_table
from wmscore.evidence.postmortem import postmortem
from wmscore.evidence.survival import write_survival_table
from wmscore.evidence.traces import Trace, choose_traces, write_trace
from wmscore.files import sha256_file
from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.replay import freeze_panel, render_truth, replay, replay_rows
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.testing.faults import DelayedActions, Faulty, IdentitySwap
from wmscore.worlds import Frozen, OtherSeed
from wmscore.worlds.load import load_world

__all__ = [
    "HOSTILE",
    "causes",
    "demo_folder",
    "folder_of",
    "hostile_folder",
    "ladder",
    "large_folder",
    "rollouts",
]

HOSTILE = (
    '<script>window.pwned = "script"</script>',
    '"><img src=x onerror="window.pwned = 1">',
    "'-alert(1)-'</style></title><svg onload=window.pwned=2>",
    "</script><script>window.pwned = 3</script>",
    "javascript:window.pwned=4//[a](javascript:alert(1))",
    "\u202eright-to-left \u0000 NUL \ud800 lone | `code` **bold** | # heading",
)


def folder_of(
    path: Path,
    results: Sequence[Scores],
    *,
    roles: Mapping[str, str] | None = None,
    traces: Sequence[Trace] = (),
    fetch: Callable[[str, int, int], Rollouts] | None = None,
    extra: Mapping[str, Any] | None = None,
    compared: bool = True,
) -> Path:
    """Write the files that a report reads, with their checksums. `extra`: JSON files by name."""
    path.mkdir(parents=True)
    anchors = dict(roles or {})
    report = compare_models(results, roles=anchors, draws=200) if compared else None
    results[0].panel.save(path / "manifest.json")
    for i, scores in enumerate(results):
        scores.save(path / "scores" / f"{i:02}.safetensors")
    for trace in traces:
        assert fetch is not None
        scores = next(s for s in results if s.model == trace.model)
        write_trace(path / "traces", trace, scores, fetch)
    write_curve_table(path / "curves.csv", results, anchors)
    write_survival_table(path / "survival.csv", results, anchors)
    if report is not None:
        write_comparison(path / "comparison.json", report)
    else:
        about = {"roles": {s.model: anchors.get(s.model, "model") for s in results}}
        (path / "comparison.json").write_text(json.dumps(about), encoding="utf-8")
    if any(scores.chance is not None for scores in results):
        write_actions(path, results)
    text = postmortem(results, traces, roles=anchors, report=report)
    (path / "postmortem.md").write_text(text, encoding="utf-8", errors="replace")
    for name, data in (extra or {}).items():
        (path / name).write_text(json.dumps(data), encoding="utf-8")
    files = sorted(p for p in path.rglob("*") if p.is_file())
    sums = {p.relative_to(path).as_posix(): sha256_file(p) for p in files}
    (path / "checksums.json").write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")
    return path


def rollouts(panel: Panel, model: str, scenario: int, seed: int) -> Rollouts:
    """A square that moves over a plain ground, one step late in the generated frames."""
    steps = panel.contract.horizon
    reference = torch.full((1, steps + 1, 3, 48, 64), 40, dtype=torch.uint8)
    labels = torch.zeros(1, steps + 1, 48, 64, dtype=torch.int64)
    for t in range(steps + 1):
        reference[0, t, 0, 20:30, 2 + 3 * t : 12 + 3 * t] = 220
        labels[0, t, 20:30, 2 + 3 * t : 12 + 3 * t] = 1
    frames = torch.cat([reference[:, :1], reference[:, :-1]], 1)
    own = torch.cat([labels[:, :1], labels[:, :-1]], 1)
    return Rollouts(
        frames=frames,
        actions=torch.ones(1, steps, dtype=torch.int64),
        scenario=torch.tensor([scenario]),
        seed=torch.tensor([seed]),
        branch=torch.tensor([0]),
        model=model,
        panel=panel.fingerprint,
        labels=own,
        reference=reference,
        reference_labels=labels,
        reference_index=torch.tensor([0]),
    )


def trace_of(scores: Scores, row: int, step: int, why: str) -> Trace:
    """A trace of one row."""
    s, seed = list(scores.panel.rows())[row]
    name = scores.panel.scenarios[s].id
    return Trace(
        model=scores.model, row=row, scenario=s, scenario_id=name, seed=seed, step=step, why=why
    )


def demo_folder(path: Path) -> Path:
    """Models with known faults on a small sprite panel, scored, with traces, causes and ladders."""
    panel = sprite_panel(scenarios=3, seeds=2, horizon=16)
    world = load_world(panel)
    panel, truth = freeze_panel(panel, render_truth(panel, world), fps=world.capabilities.fps)
    models = {
        model.name: model
        for model in (
            Simulator(world),
            OtherSeed(world),
            Faulty(world, DelayedActions(2)),
            Faulty(world, IdentitySwap()),
            Frozen(),
        )
    }
    results = []
    for model in models.values():
        scorer = Scorer(panel)
        for some in replay(panel, model, truth, batch_size=8):
            scorer.update(some)
        results.append(scorer.compute())
    return folder_of(
        path,
        results,
        roles={"simulator": "truth", "other-seed": "ceiling", "frozen": "floor"},
        traces=choose_traces(results, anchors=["simulator", "other-seed", "frozen"]),
        fetch=lambda name, s, seed: replay_rows(panel, models[name], truth, [(s, seed)]),
        extra={"attribution.json": causes(list(models)), "stress.json": ladder(list(models))},
    )


def hostile_folder(path: Path) -> Path:
    """Models, scenarios, messages and other files whose words try to be markup."""
    panel = made_panel(scenarios=len(HOSTILE), seeds=1, horizon=12)
    data = panel.model_dump(mode="json", exclude_none=True)
    data["name"] = HOSTILE[0]
    names = [text.replace("\x00", "").replace("\ud800", "") for text in HOSTILE]
    for scenario, name in zip(data["scenarios"], names, strict=True):
        scenario["id"] = name
    panel = Panel.from_dict(data)
    fault = torch.zeros(len(HOSTILE), 1, dtype=torch.uint8)
    fault[-1] = int(Reason.MODEL_ERROR)
    results = []
    for i, name in enumerate(names):
        ends = torch.full((len(HOSTILE), 1), 2 + i)
        scores = made_scores(panel, ends, model=name, fault=fault, provenance={name: name})
        scores.messages[len(HOSTILE) - 1] = name
        results.append(scores)
    traces = [trace_of(results[0], 0, 3, HOSTILE[1])]
    models = causes([s.model for s in results])
    for entry in models["models"].values():
        entry["for"] = [*HOSTILE[:-1]]
        entry["settles"] = {HOSTILE[1]: HOSTILE[0], "run": f"wmscore {HOSTILE[3]}"}
        entry["cause"] = HOSTILE[1]
    stressed = ladder([s.model for s in results], kinds=(HOSTILE[0], HOSTILE[2]))
    return folder_of(
        path,
        results,
        roles={results[1].model: "floor"},
        traces=traces,
        fetch=lambda model, s, seed: rollouts(panel, model, s, seed),
        extra={
            "attribution.json": models,
            "stress.json": stressed,
            "environment.json": {HOSTILE[0]: HOSTILE[3]},
        },
    )


def large_folder(path: Path, models: int = 20, scenarios: int = 300) -> Path:
    """Many of everything."""
    panel = made_panel(scenarios=scenarios, seeds=1, horizon=24)
    generator = torch.Generator().manual_seed(0)
    results = [
        made_scores(
            panel,
            torch.randint(0, 27, (scenarios, 1), generator=generator),
            model=f"a-model-with-a-rather-long-name-{i}",
            by=torch.randint(0, 3, (scenarios, 1), generator=generator),
        )
        for i in range(models)
    ]
    roles = {results[0].model: "ceiling", results[1].model: "floor"}
    return folder_of(path, results, roles=roles, compared=False)  # 190 pairs would take long


def causes(models: Sequence[str], cause: str = "control") -> dict[str, Any]:
    """`attribution.json` as it is written."""
    entry = {
        "cause": cause,
        "candidates": [cause],
        "weak": True,
        "for": ["the responses are 2 steps late (p = 0.005)", "agreement 0.50"],
        "against": ["one-step predictions hold 0.98"],
        "missing": ["no reconstruction was given"],
        "settles": ["wmscore replay panel.json --model my:model --reconstruct --out recon"],
        "first_failure": {"axis": "perceptual_drift", "step": 1},
        "rows": {cause: 5, "none": 1},
    }
    return {"models": {model: dict(entry) for model in models}}


def ladder(models: Sequence[str], kinds: Sequence[str] = ("actuator-delay", "exposure")) -> Any:
    """`stress.json` as it is written: each rung takes a share, the last of a kind is left out."""
    found: dict[str, Any] = {}
    for i, model in enumerate(models):
        clean = max(0.1, 0.9 - 0.15 * i)
        rungs = []
        for kind in kinds:
            for k, severity in enumerate((1, 2, 4)):
                share = clean * (0.8 - 0.1 * i) ** k
                out = "the truth does not change" if k == 2 and kind == kinds[-1] else None
                rungs.append(
                    {
                        "stressor": kind,
                        "severity": severity,
                        "unit": "steps",
                        "index": k,
                        "panel": "f" * 64,
                        "horizon": 12,
                        "usable_share": None if out else share,
                        "low": None if out else share - 0.05,
                        "high": None if out else share + 0.05,
                        "p_joint": 0.01,
                        "broken": None if out else k > 0,
                        "ended_by": {"perceptual_drift": 3},
                        "excluded": out,
                    }
                )
        about = {"auc": 0.5, "corruption_error": 0.9, "breakpoint": 2, "trend_p": 0.004}
        found[model] = {
            "role": "model",
            "clean": {"usable_share": clean, "low": clean - 0.05, "high": clean + 0.05},
            "rungs": rungs,
            "stressors": {kind: about for kind in kinds},
            "first_break": {"stressor": kinds[0], "severity": 2} if i == 0 else None,
            "why": "Loses a third of its horizon at the second rung.",
        }
    return {"panel": "e" * 64, "seed": 0, "models": found}
