"""How much of a ranking is the panel's: Kendall's tau against numbers of scenarios and seeds.

    python tools/ranking_stability.py /tmp/ranking-sprites /tmp/ranking-vizdoom \
        --json ranking.json --write docs/comparison-validity.md --figure docs/ranking-stability.png

Each folder holds what `ranking_rollouts.py` wrote. Panels are drawn from a recording: some of its
scenarios, and of each model some seeds of its own, as models that share no luck have them.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from ranking_rollouts import FAMILIES
from study_command import run_study
from torch import Tensor

from wmscore.comparison.null_checks import null_check, null_check_pair
from wmscore.comparison.seed_checks import shared_luck_test
from wmscore.comparison.self_checks import horizon_cells
from wmscore.extras import require
from wmscore.files import atomic_file
from wmscore.scores import Scores
from wmscore.stats import kendall_tau

__all__ = ["Recorded", "known_pairs", "read", "stability"]

DRAWS = 2000
SCENARIOS = (2, 4, 6, 8, 12, 16)
SEEDS = (1, 2, 4, 8, 16)
ENOUGH = 0.9

Row = dict[str, Any]


@dataclass(frozen=True)
class Recorded:
    """Horizons of several models on one panel.

    Attributes:
        panel: its name.
        models: names.
        cells: `[M, S, K]` float64, usable horizon in steps.
    """

    panel: str
    models: tuple[str, ...]
    cells: Tensor


def read(folder: Path) -> Recorded:
    """The models of a folder of scores; all of them must have a horizon in every row."""
    scores = [Scores.load(path) for path in sorted(folder.glob("*.safetensors"))]
    cells = torch.stack([horizon_cells(s) for s in scores])
    if bool(cells.isnan().any()):
        raise ValueError(f"{folder}: {int(cells.isnan().sum())} rows have no usable horizon")
    return Recorded(scores[0].panel.name, tuple(s.model for s in scores), cells)


def known_pairs(models: tuple[str, ...]) -> list[tuple[int, int]]:
    """(better, worse) by construction: of one fault the smaller and the larger share."""
    pairs = []
    for kind, shares in FAMILIES.items():
        for less, more in itertools.combinations(shares, 2):
            names = f"{kind}-{less:g}", f"{kind}-{more:g}"
            if all(name in models for name in names):
                pairs.append((models.index(names[0]), models.index(names[1])))
    return pairs


def draw(recorded: Recorded, scenarios: int, seeds: int, draws: int, seed: int) -> Row:
    """Rank the models on panels of a size, and again on what else was recorded.

    Returns:
        Tau with a panel of the same size and no scenario in common, with all other scenarios and
        all seeds, and with the whole recording; the share of pairs of known order that come out
        right; and how often the model that is best on the whole recording comes first.
    """
    models, total, available = recorded.cells.shape
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(draws, total, generator=generator).argsort(1)
    keys = torch.rand(draws, 2, models, total, available, generator=generator)
    picked = keys.argsort(-1)[..., :seeds]  # of each scenario, too: its seeds are its own
    means = recorded.cells.expand(draws, 2, -1, -1, -1).gather(-1, picked).mean(-1)
    full = recorded.cells.mean(-1).T  # [S, M]

    def panel(copy: int, start: int) -> Tensor:
        chosen = order[:, start : start + scenarios]  # [R, S']
        index = chosen[:, None].expand(-1, models, -1)
        return means[:, copy].gather(-1, index).mean(-1)

    one = panel(0, 0)
    row: Row = {"scenarios": scenarios, "seeds": seeds}
    row["whole"] = _mean(kendall_tau(one, full.mean(0).expand_as(one)))
    if 2 * scenarios <= total:
        row["again"] = _mean(kendall_tau(one, panel(1, scenarios)))
        row["rest"] = _mean(kendall_tau(one, full[order[:, scenarios:]].mean(1)))
    better, worse = zip(*known_pairs(recorded.models), strict=True)
    row["known"] = float((one[:, list(better)] > one[:, list(worse)]).double().mean())
    row["first"] = float((one.argmax(1) == full.mean(0).argmax()).double().mean())
    return row


def stability(recorded: Recorded, draws: int = DRAWS) -> list[Row]:
    """All sizes that the recording allows."""
    _, total, available = recorded.cells.shape
    return [
        draw(recorded, scenarios, seeds, draws, 1000 * scenarios + seeds)
        for scenarios in (*(s for s in SCENARIOS if 2 * s <= total), total)
        for seeds in (*(k for k in SEEDS if k < available), available)
    ]


def alike(recorded: Recorded, worlds: int) -> dict[str, Any]:
    """Every model against itself, and every pair of models alike on average."""
    splits = [null_check(cells, worlds=worlds) for cells in recorded.cells]
    flips = [
        null_check_pair(a, b, worlds=worlds) for a, b in itertools.combinations(recorded.cells, 2)
    ]
    found: dict[str, Any] = {"models": len(splits), "pairs": len(flips), "worlds": worlds}
    for name, checks in (("itself", splits), ("alike", flips)):
        for test in ("chosen", "pairs", "unpaired"):
            rates = torch.tensor([getattr(c, test).rejected for c in checks], dtype=torch.float64)
            low, middle, high = (float(f) for f in (rates.min(), rates.median(), rates.max()))
            found[f"{name} {test}"] = [low, middle, high]
    luck = [shared_luck_test(cells).p_value for cells in recorded.cells]
    found["luck"] = dict(zip(recorded.models, luck, strict=True))
    return found


def _mean(values: Tensor) -> float:
    return float(values.nanmean())


def study(folders: list[Path], draws: int, worlds: int) -> dict[str, Any]:
    """Everything, of every folder."""
    found: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "draws": draws,
        "panels": {},
    }
    for folder in folders:
        recorded = read(folder)
        horizons = recorded.cells.mean((1, 2))
        known = known_pairs(recorded.models)
        found["panels"][recorded.panel] = {
            "size": list(recorded.cells.shape),
            "horizons": dict(zip(recorded.models, horizons.tolist(), strict=True)),
            "known": [len(known), sum(bool(horizons[a] > horizons[b]) for a, b in known)],
            "rows": stability(recorded, draws),
            "alike": alike(recorded, worlds),
        }
    return found


# ---- tables and figure -------------------------------------------------------------------


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """Name of a table in the document -> its text."""
    made = {"ranking run": _run_table(found), "real nulls": _null_table(found)}
    for panel, part in found["panels"].items():
        made[f"ranking {panel}"] = _rank_table(part)
        made[f"models {panel}"] = _model_table(part)
    return made


def _run_table(found: Mapping[str, Any]) -> str:
    lines = [["panel", "models", "scenarios", "seeds", "rollouts", "panels drawn per cell", "date"]]
    lines[0].append("machine")
    machine = f"{found['cores']} CPU cores, torch {found['torch']}"
    for panel, part in found["panels"].items():
        models, scenarios, seeds = part["size"]
        size = [str(n) for n in (models, scenarios, seeds, models * scenarios * seeds)]
        lines.append([panel, *size, str(found["draws"]), found["date"], machine])
    return _markdown(lines)


def _rank_table(part: Mapping[str, Any]) -> str:
    head = ["S x K", "tau, another panel of this size", "tau, all other scenarios"]
    lines = [[*head, "tau, the whole recording", "known order right, %", "the best comes first, %"]]
    for row in part["rows"]:
        taus = [f"{row[k]:.2f}" if k in row else "-" for k in ("again", "rest", "whole")]
        shares = [f"{100 * row[k]:.0f}" for k in ("known", "first")]
        lines.append([f"{row['scenarios']} x {row['seeds']}", *taus, *shares])
    return _markdown(lines)


def _model_table(part: Mapping[str, Any]) -> str:
    ranked = sorted(part["horizons"].items(), key=lambda item: -item[1])
    lines = [["model", "mean horizon, steps", "p, seeds lucky together"]]
    luck = part["alike"]["luck"]
    lines += [[name, f"{value:.2f}", f"{luck[name]:.3f}"] for name, value in ranked]
    return _markdown(lines)


def _null_table(found: Mapping[str, Any]) -> str:
    lines = [["rejected at 5 %, %: median (smallest to largest)", *found["panels"]]]
    tests = {
        "chosen": "sign flips of scenario means",
        "pairs": "t, pairs of seeds",
        "unpaired": "t, unpaired rollouts",
    }
    whole = {"itself": "a model with itself", "alike": "two models, alike on average"}
    for kind, about in whole.items():
        for test, name in tests.items():
            cells = []
            for part in found["panels"].values():
                low, middle, high = (100 * value for value in part["alike"][f"{kind} {test}"])
                cells.append(f"{middle:.1f} ({low:.1f} to {high:.1f})")
            lines.append([f"{about}: {name}", *cells])
    return _markdown(lines)


def _markdown(lines: list[list[str]]) -> str:
    head, *body = lines
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *body])


def write_figure(path: Path, found: Mapping[str, Any]) -> None:
    """Tau with another panel of the same size, against seeds, one line for each S."""
    matplotlib = require("matplotlib.figure", "harness")
    panels = found["panels"]
    figure = matplotlib.Figure(figsize=(5 * len(panels) + 1, 4), layout="constrained")
    plots = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for plot, (name, part) in zip(plots, panels.items(), strict=True):
        for number, scenarios in enumerate(SCENARIOS):
            rows = [r for r in part["rows"] if r["scenarios"] == scenarios and "again" in r]
            if rows:
                seeds = [row["seeds"] for row in rows]
                taus = [row["again"] for row in rows]
                plot.plot(seeds, taus, "o-", color=f"C{number}", label=f"{scenarios} scenarios")
        plot.axhline(ENOUGH, color="black", linewidth=0.8)
        plot.set(title=name, xlabel="seeds per scenario", xscale="log", ylim=(0, 1))
        plot.set_xticks(SEEDS, [str(s) for s in SEEDS])
        plot.set_xticks([], minor=True)
        plot.legend(loc="lower right", fontsize=8)
    plots[0].set_ylabel("Kendall's tau of two panels of this size")
    with atomic_file(path) as draft:
        figure.savefig(draft, format="png", dpi=90, metadata={"Software": None})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--worlds", type=int, default=2000)
    run_study(
        parser,
        lambda options: study(options.folders, options.draws, options.worlds),
        tables,
        write_figure,
    )


if __name__ == "__main__":
    main()
