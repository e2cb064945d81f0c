"""What the drift summaries say about drifts that are known, and how often they see one in noise.

    python tools/drift_suite.py                     # print the tables
    python tools/drift_suite.py --write docs/drift.md

In the document, a table stands between `<!-- name -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import torch
from document_tables import Rows, rows_of, with_table
from torch import Tensor

from wmscore.functional import (
    Reason,
    drift_onset,
    drift_slope,
    end_drift,
    haarpsi,
    segment_drift,
    skill,
    time_tolerant,
)
from wmscore.testing import sprite_items
from wmscore.worlds import OtherSeed, SpriteWorld

__all__ = ["TABLES", "false_alarms", "rows_of", "suite"]

STEPS, SCENES, WINDOW = 64, 4, 3
LENGTHS = (8, 16, 32, 64, 128)
CORRELATIONS = (0.0, 0.3, 0.6, 0.9)
CURVES = 2000


# --- false alarms --------------------------------------------------------------------------------


def noise(steps: int, correlation: float) -> Tensor:
    """Flat curves of Gaussian noise with the lag-1 autocorrelation."""
    generator = torch.Generator().manual_seed(steps)
    curves = torch.randn(CURVES, steps, dtype=torch.float64, generator=generator)
    for t in range(1, steps):
        fresh = math.sqrt(1 - correlation**2) * curves[:, t]
        curves[:, t] = correlation * curves[:, t - 1] + fresh
    return curves


def false_alarms(lengths: tuple[int, ...] = LENGTHS) -> Rows:
    """Share of flat curves in which a drift sets in: autocorrelation estimated / given."""
    rows = {}
    for steps in lengths:
        cells = []
        for correlation in CORRELATIONS:
            curves = noise(steps, correlation)
            shares = [
                (drift_onset(curves, autocorrelation=given).reason == Reason.DEFINED)
                .double()
                .mean()
                .item()
                for given in (None, correlation)
            ]
            cells.append(" / ".join(f"{100 * share:.1f} %" for share in shares))
        rows[str(steps)] = cells
    return rows


# --- known drifts --------------------------------------------------------------------------------


def mixed(frames: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Frames mixed with others by a share `[T + 1]` of each step."""
    share = share.view(-1, 1, 1, 1)
    return ((1 - share) * frames + share * other).round().to(torch.uint8)


def known_drifts() -> tuple[Tensor, dict[str, Tensor]]:
    """The true world under a panning camera, and models of it, `[B, T + 1, 3, 64, 64]`."""
    world = SpriteWorld()
    items = sprite_items(SCENES, STEPS, branches=1, world=world)
    truth = world.rollout(items, STEPS).frames
    t = torch.arange(STEPS + 1)
    slow = (0.95 * t).round().long()
    grey, scene = torch.tensor(128.0), truth.roll(1, 0)
    models = {
        "the true world, other chance": OtherSeed(world).rollout(items, STEPS).frames,
        "frozen": truth[:, :1].expand_as(truth),
        "ramp: another scene shines through from step 17 on": mixed(
            truth, scene, ((t - 16) / 96).clamp(min=0)
        ),
        "step: half faded from step 33 on": mixed(truth, grey, 0.5 * (t >= 33)),
        "collapse: grey in steps 25 to 40": mixed(truth, grey, 0.9 * ((t >= 25) & (t <= 40))),
        "late dip: grey in steps 57 to 64": mixed(truth, grey, 0.9 * (t >= 57)),
        "phase: 5 % too slow": truth[:, slow],
    }
    return truth, models


def distance(preds: Tensor, target: Tensor) -> Tensor:
    return 1 - haarpsi(preds, target)


def suite() -> Rows:
    """Medians over the scenes."""
    truth, models = known_drifts()
    curves = {name: distance(frames[:, 1:], truth[:, 1:]) for name, frames in models.items()}
    floor, ceiling = curves["frozen"], curves["the true world, other chance"]
    rows = {}
    for name, curve in curves.items():
        onset, parts = drift_onset(curve), segment_drift(curve)
        found = onset.reason == Reason.DEFINED
        starts = "-"
        if found.any():
            starts = f"{onset.step[found].median():.0f} to {onset.end[found].median():.0f}"
        score = skill(curve, floor, ceiling, min_headroom=0.05).score
        near = time_tolerant(distance, models[name], truth, WINDOW).values
        rows[name] = [
            f"{curve.mean(-1).median():.2f}",
            f"{100 * drift_slope(curve).slope.median():.2f}",
            f"{int(found.sum())} of {len(found)}",
            starts,
            f"{parts.drift.median():.2f}",
            f"{parts.worst.median() + 1}",
            f"{end_drift(curve).drift.median():.2f}",
            f"{near.mean(-1).median():.2f}",
            f"{score.nanmean(-1).median():.2f}",
        ]
    return rows


# --- the document --------------------------------------------------------------------------------

HEADS = {
    "false-alarms": ["steps", *(f"noise of autocorrelation {c:g}" for c in CORRELATIONS)],
    "suite": [
        "model",
        "mean distance",
        "slope per 100 steps",
        "drifts",
        "onset to end",
        "segment drift",
        "worst of 8",
        "end drift",
        f"mean within {WINDOW} steps",
        "mean score",
    ],
}
TABLES: dict[str, Callable[[], Rows]] = {"false-alarms": false_alarms, "suite": suite}


def markdown(name: str, rows: Rows) -> str:
    head = HEADS[name]
    lines = [head, ["---"] * len(head), *([row, *cells] for row, cells in rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="put the tables into this document")
    path = parser.parse_args().write
    text = {name: markdown(name, rows()) for name, rows in TABLES.items()}
    print("\n\n".join(text.values()))
    if path is None:
        return
    document = path.read_text(encoding="utf-8")
    for name, table in text.items():
        document = with_table(document, name, table)
    path.write_text(document, encoding="utf-8")


if __name__ == "__main__":
    main()
