"""How often perfect rollouts fail under calibrated thresholds, by simulation.

    python tools/calibration_study.py                     # print the tables
    python tools/calibration_study.py --write docs/calibration.md

In the document, a table stands between `<!-- name -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from document_tables import Rows, rows_of, with_table
from torch import Tensor

from wmscore.stats import conformal_threshold, joint_conformal_threshold

__all__ = ["HEADS", "TABLES", "joint", "panels", "rows_of", "scenarios"]

ALPHA = 0.05
SIZES = ((20, 1), (20, 8), (50, 8), (100, 4), (200, 8))
CORRELATIONS = (0.0, 0.5, 0.9)
SHARES = (0.0, 0.5, 0.95)
CALIBRATIONS = 1000
FRESH = 20_000

HEADS = {
    "scenarios": [
        "scenarios x seeds",
        "one seed, 200 redraws",
        "one seed, once",
        "all seeds pooled",
        "worst seed of each",
    ],
    "joint": [
        "correlation of axes",
        "fail, alpha / 3 each",
        "fail, jointly",
        "threshold, alpha / 3 each",
        "threshold, jointly",
    ],
    "panels": [
        "variance between scenarios",
        "fail, new seeds",
        "fail, hardest scenario",
        "fail, new scenarios",
    ],
}


def scenarios(calibrations: int = CALIBRATIONS) -> Rows:
    """Share of fresh rollouts of fresh scenarios that fail, mean ± deviation over calibrations.

    Half of the variance of a critical threshold is the scenario's, so that the share under a
    threshold is that of a standard normal: it needs no fresh rollouts.
    """
    rows = {}
    for size, seeds in SIZES:
        values = critical(size, seeds, calibrations, share=0.5, seed=size + seeds)
        found = [
            conformal_threshold(values, ALPHA),
            conformal_threshold(values, ALPHA, redraws=1),
            conformal_threshold(values.flatten(0, 1)[:, None], ALPHA),
            conformal_threshold(values.amin(1, keepdim=True), ALPHA),
        ]
        rows[f"{size} x {seeds}"] = [spread(torch.special.ndtr(f.threshold)) for f in found]
    return rows


def joint(calibrations: int = CALIBRATIONS) -> Rows:
    """Three gated axes, 100 scenarios: share that fails on any, and the mean threshold."""
    rows = {}
    for correlation in CORRELATIONS:
        generator = torch.Generator().manual_seed(round(10 * correlation))
        values, fresh = (
            correlated(number, correlation, generator) for number in (100 * calibrations, FRESH)
        )
        values = values.reshape(100, 1, calibrations, 3)
        cells = []
        for found in (
            conformal_threshold(values, ALPHA / 3),
            joint_conformal_threshold(values, ALPHA),
        ):
            shares = torch.stack([(fresh < t).any(1).double().mean() for t in found.threshold])
            cells.append((spread(shares), f"{float(found.threshold.mean()):.2f}"))
        rows[f"{correlation:g}"] = [*(c[0] for c in cells), *(c[1] for c in cells)]
    return rows


def panels(calibrations: int = CALIBRATIONS) -> Rows:
    """The estimand "seeds", 8 scenarios with 8 seeds: on the panel, its hardest one, others."""
    rows = {}
    for share in SHARES:
        generator = torch.Generator().manual_seed(round(100 * share))
        own = math.sqrt(share) * normal((8, 1, calibrations), generator)
        values = own + math.sqrt(1 - share) * normal((8, 8, calibrations), generator)
        found = conformal_threshold(values.flatten(0, 1)[:, None], ALPHA).threshold
        each = torch.special.ndtr((found - own[:, 0]) / math.sqrt(1 - share))
        others = torch.special.ndtr(found)
        rows[f"{share:.0%}"] = [spread(each.mean(0)), spread(each.amax(0)), spread(others)]
    return rows


TABLES = {"scenarios": scenarios, "joint": joint, "panels": panels}


def critical(size: int, seeds: int, calibrations: int, *, share: float, seed: int) -> Tensor:
    """Critical thresholds `[S, K, calibrations]` in standard deviations."""
    generator = torch.Generator().manual_seed(seed)
    own = normal((size, 1, calibrations), generator)
    rest = normal((size, seeds, calibrations), generator)
    return math.sqrt(share) * own + math.sqrt(1 - share) * rest


def correlated(number: int, correlation: float, generator: torch.Generator) -> Tensor:
    """`[number, 3]` normal values."""
    common, own = normal((number, 1), generator), normal((number, 3), generator)
    return math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own


def normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def spread(shares: Tensor) -> str:
    return f"{float(shares.mean()):.3f} ± {float(shares.std()):.3f}"


def as_table(name: str, rows: Rows) -> str:
    """Markdown."""
    head = HEADS[name]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    lines += ["| " + " | ".join([key, *cells]) + " |" for key, cells in rows.items()]
    return "\n".join(lines)


def main() -> None:
    """Print the tables, or write them into the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, metavar="DOCUMENT")
    args = parser.parse_args()
    tables = {name: as_table(name, make()) for name, make in TABLES.items()}
    if args.write is None:
        print("\n\n".join(tables.values()))
        return
    document = args.write.read_text(encoding="utf-8")
    for name, table in tables.items():
        document = with_table(document, name, table)
    args.write.write_text(document, encoding="utf-8")


if __name__ == "__main__":
    main()
