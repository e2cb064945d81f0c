"""How often tests call two models different that are alike, and what finds a longer horizon.

    python tools/null_calibration.py --json null.json      # ten minutes on one core
    python tools/null_calibration.py --tables null.json --write docs/comparison-validity.md \
        --figure docs/null-calibration.png

Panels are simulated (`null_panels.py`), many at once; every procedure of `null_procedures.py`
judges the same ones.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from null_panels import (
    HORIZON_INTERACTION,
    INTERACTION,
    SHAPES,
    Panels,
    horizons,
    scores,
    true_difference,
)
from null_procedures import LEVEL, PROCEDURES, SURVIVAL
from study_command import run_study

from wmscore.extras import require
from wmscore.files import atomic_file
from wmscore.stats import mean_interval

PANELS = 10_000
SCENARIOS = (6, 8, 12, 20, 50)
SEEDS = 8
LONGER = 1.25
STRONG = 2 * HORIZON_INTERACTION
SIZES = ((6, 8), (8, 8), (8, 16), (12, 8), (20, 4), (20, 8), (50, 1), (50, 4), (50, 8))
FINDERS = ("sign flips of scenario means", "t, scenario means", "Wilcoxon of scenario means")
PART = 2_000  # panels that are held at a time

Row = dict[str, Any]


def null_row(noise: str, interaction: float, scenarios: int, panels: int, seed: int) -> Row:
    """What every procedure does where both models are alike on average."""
    names = PROCEDURES | (SURVIVAL if noise == "horizons" else {})
    rejected, covered = dict.fromkeys(names, 0), 0
    for part, count in enumerate(_parts(panels)):
        drawn = _draw(noise, interaction, scenarios, SEEDS, count, seed + part)
        for name, procedure in names.items():
            rejected[name] += int(procedure(drawn).sum())
        covered += _covered(drawn, 0.0)
    share = {name: count / panels for name, count in rejected.items()}
    about = {"noise": noise, "interaction": interaction, "scenarios": scenarios, "seeds": SEEDS}
    return {**about, "panels": panels, "rejected": share, "covered": covered / panels}


def power_row(scenarios: int, seeds: int, panels: int, truth: float, seed: int) -> Row:
    """How often a horizon that is `LONGER` is found, and how often the interval holds the truth."""
    found, covered = {name: 0 for name in FINDERS if name in PROCEDURES}, 0
    for part, count in enumerate(_parts(panels)):
        drawn = horizons(
            scenarios,
            seeds,
            count,
            interaction=HORIZON_INTERACTION,
            seed=seed + part,
            longer=LONGER,
        )
        for name in found:
            found[name] += int(PROCEDURES[name](drawn).sum())
        covered += _covered(drawn, truth)
    share = {name: count / panels for name, count in found.items()}
    size = {"scenarios": scenarios, "seeds": seeds, "panels": panels}
    return {**size, "found": share, "covered": covered / panels}


def study(panels: int, sizes: Sequence[int] = SCENARIOS) -> dict[str, Any]:
    """All cells."""
    start = time.perf_counter()
    cells = [(shape, level) for shape in SHAPES for level in (0.0, INTERACTION)]
    cells += [("horizons", level) for level in (0.0, HORIZON_INTERACTION, STRONG)]
    nulls = []
    for number, (noise, interaction) in enumerate(cells):
        for scenarios in sizes:
            seed = 1_000_000 * (number + 1) + 1_000 * scenarios
            nulls.append(null_row(noise, interaction, scenarios, panels, seed))
            _say(nulls[-1], time.perf_counter() - start)
    truth = true_difference(HORIZON_INTERACTION, LONGER)
    powers = []
    for scenarios, seeds in SIZES:
        if scenarios in sizes:
            seed = 50_000_000 + 1_000 * scenarios + 100 * seeds
            powers.append(power_row(scenarios, seeds, panels, truth, seed))
            _say(powers[-1], time.perf_counter() - start)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "seconds": round(time.perf_counter() - start),
        "panels": panels,
        "longer by": truth,
        "null": nulls,
        "power": powers,
    }


def _draw(
    noise: str, interaction: float, scenarios: int, seeds: int, panels: int, seed: int
) -> Panels:
    if noise == "horizons":
        return horizons(scenarios, seeds, panels, interaction=interaction, seed=seed)
    return scores(scenarios, seeds, panels, interaction=interaction, shape=noise, seed=seed)


def _covered(panels: Panels, truth: float) -> int:
    """Panels of which the chosen interval holds the truth."""
    found = mean_interval(panels.differences, 1 - LEVEL)
    return int(((found.low <= truth) & (found.high >= truth)).sum())


def _parts(panels: int) -> list[int]:
    return [min(PART, panels - start) for start in range(0, panels, PART)]


def _say(row: Row, seconds: float) -> None:
    print(f"{seconds:5.0f} s {row}", file=sys.stderr, flush=True)


# ---- tables ------------------------------------------------------------------------------


def tables(found: dict[str, Any]) -> dict[str, str]:
    """Name of a table in the document -> its text."""
    made = {"run": _run_table(found), "power": _power_table(found), "null": _summary(found)}
    for noise in dict.fromkeys(row["noise"] for row in found["null"]):
        made[f"null {noise}"] = _null_table([r for r in found["null"] if r["noise"] == noise])
    return made


def _null_table(rows: list[Row]) -> str:
    """Procedures by interaction and number of scenarios, in per cent."""
    heads = [f"{_suits(r)}, S = {r['scenarios']}" for r in rows]
    lines = [["rejected at 5 %, %", *heads]]
    for name in rows[0]["rejected"]:
        lines.append([name, *(f"{100 * row['rejected'][name]:.1f}" for row in rows)])
    lines.append(["interval covers, %", *(f"{100 * row['covered']:.1f}" for row in rows)])
    return _markdown(lines)


def _suits(row: Row) -> str:
    return f"v {row['interaction']:g}" if row["interaction"] else "no v"


def _power_table(found: dict[str, Any]) -> str:
    names = list(found["power"][0]["found"])
    lines = [["S x K", "rollouts per model", *(f"{n}, found %" for n in names), "covers, %"]]
    for row in found["power"]:
        rates = [f"{100 * row['found'][name]:.1f}" for name in names]
        size = f"{row['scenarios']} x {row['seeds']}"
        total = str(row["scenarios"] * row["seeds"])
        lines.append([size, total, *rates, f"{100 * row['covered']:.1f}"])
    return _markdown(lines)


def _summary(found: dict[str, Any]) -> str:
    """Smallest and largest rate over the cells of a kind."""
    few = [row for row in found["null"] if row["scenarios"] == min(SCENARIOS)]
    more = [row for row in found["null"] if row["scenarios"] > min(SCENARIOS)]
    suits = [row for row in more if row["interaction"]]
    survival = [row for row in suits if row["noise"] == "horizons"]

    def rates(rows: list[Row], name: str) -> list[float]:
        return [row["rejected"][name] for row in rows]

    chosen = "sign flips of scenario means"
    asked = [
        (f"chosen test, S = {min(SCENARIOS)}", "3.1 %, as the signs allow", rates(few, chosen)),
        ("chosen test, S of 8 to 50", "4 to 6 %", rates(more, chosen)),
        ("chosen interval covers, all S", "94 to 96 %", [r["covered"] for r in found["null"]]),
        ("chosen interval, 25 % longer", "94 to 96 %", [r["covered"] for r in found["power"]]),
        ("bootstrap-t of scenarios, all S", "", rates(found["null"], "bootstrap-t of scenarios")),
        ("pairs of seeds, with v, S of 8 to 50", "wrong", rates(suits, "t, pairs of seeds")),
        (
            "bootstrap of pairs, with v, S of 8 to 50",
            "wrong",
            rates(suits, "percentile bootstrap of pairs"),
        ),
        (
            "percentile bootstrap of scenarios, S of 6 to 12",
            "wrong",
            rates(
                [r for r in found["null"] if r["scenarios"] <= 12],
                "percentile bootstrap of scenarios",
            ),
        ),
        ("log-rank, with v, S of 8 to 50", "wrong", rates(survival, "log-rank")),
        (
            "log-rank in strata, with v, S of 8 to 50",
            "wrong",
            rates(survival, "log-rank, scenarios as strata"),
        ),
    ]
    lines = [["what", "should be", "smallest to largest of the cells"]]
    lines += [
        [what, wanted, f"{100 * min(seen):.1f} to {100 * max(seen):.1f} %"]
        for what, wanted, seen in asked
        if seen
    ]
    return _markdown(lines)


def _run_table(found: dict[str, Any]) -> str:
    error = 100 * math.sqrt(LEVEL * (1 - LEVEL) / found["panels"])
    lines = [
        ["date", "machine", "longer by, steps", "panels per cell", "standard error at 5 %", "took"],
        [
            found["date"],
            f"{found['cores']} CPU cores, {found['threads']} thread, torch {found['torch']}",
            f"{found['longer by']:.2f}",
            f"{found['panels']}",
            f"{error:.2f} %",
            f"{found['seconds']} s",
        ],
    ]
    return _markdown(lines)


def _markdown(lines: list[list[str]]) -> str:
    head, *body = lines
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *body])


# ---- figure ------------------------------------------------------------------------------


def write_figure(path: Path, found: dict[str, Any]) -> None:
    """Rejections against the number of scenarios, one plot for each kind of panel."""
    shown = [
        ("normal", 0.0, "scores, no interaction"),
        ("normal", INTERACTION, "scores, interaction 0.3"),
        ("horizons", HORIZON_INTERACTION, "horizons, interaction 0.25"),
        ("horizons", STRONG, "horizons, interaction 0.5"),
    ]
    figure = require("matplotlib.figure", "harness").Figure(figsize=(14, 4.4), layout="constrained")
    plots = figure.subplots(1, len(shown), sharey=True)
    names = [*PROCEDURES, *SURVIVAL]
    for plot, (noise, interaction, title) in zip(plots, shown, strict=True):
        rows = [r for r in found["null"] if r["noise"] == noise and r["interaction"] == interaction]
        for number, name in enumerate(names):
            if name not in rows[0]["rejected"]:
                continue
            chosen = name in ("sign flips of scenario means", "t, scenario means")
            plot.plot(
                [row["scenarios"] for row in rows],
                [100 * row["rejected"][name] for row in rows],
                "o-",
                color=f"C{number % 10}" if number < 10 else "black",
                linewidth=2.5 if chosen else 1,
                markersize=4,
                label=name,
            )
        plot.axhspan(4, 6, color="grey", alpha=0.25, linewidth=0)
        plot.set(title=title, xlabel="scenarios", xscale="log", yscale="symlog", ylim=(0, 60))
        plot.set_xticks(SCENARIOS, [str(s) for s in SCENARIOS])
        plot.set_xticks([], minor=True)
        plot.set_yticks([0, 1, 2, 5, 10, 20, 50], ["0", "1", "2", "5", "10", "20", "50"])
    plots[0].set_ylabel("called different, % (should be 5)")
    handles = plots[-1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4)
    with atomic_file(path) as draft:
        figure.savefig(draft, format="png", dpi=90, metadata={"Software": None})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--panels", type=int, default=PANELS)
    run_study(parser, lambda options: study(options.panels), tables, write_figure)


if __name__ == "__main__":
    main()
