"""A picture of all axes: the score at every step, model beside model, anchors included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from wmscore.evidence.table import ranked
from wmscore.extras import require
from wmscore.files import atomic_file
from wmscore.scores import Scores

__all__ = ["write_curves"]


def write_curves(path: Path, results: Sequence[Scores], roles: Mapping[str, str]) -> None:
    """Write a PNG: per axis the median over defined rows, quartiles as a band, the threshold.

    Anchors (models with a role) are dashed. Steps at which no row is defined leave a gap.
    """
    matplotlib = require("matplotlib.figure", "harness")
    specs = results[0].panel.axes
    figure = matplotlib.Figure(figsize=(5 * len(specs), 4), layout="constrained")
    steps = range(1, results[0].panel.contract.horizon + 1)
    points = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    for spec, plot in zip(specs, figure.subplots(1, len(specs), squeeze=False)[0], strict=True):
        for i, scores in enumerate(ranked(results)):
            low, middle, high = torch.nanquantile(scores.axes[spec.axis].values, points, dim=0)
            style = "--" if scores.model in roles else "-"
            plot.plot(steps, middle, style, color=f"C{i}", label=scores.model)
            plot.fill_between(steps, low, high, color=f"C{i}", alpha=0.12, linewidth=0)
        plot.axhline(spec.threshold, color="black", linewidth=0.8, label="threshold")
        plot.set(title=spec.axis.replace("_", " "), xlabel="step", ylim=(-0.02, 1.02))
    figure.axes[0].set_ylabel("score (median and quartiles over rows)")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=7)
    with atomic_file(path) as draft:
        # No date or version inside: the same scores give the same bytes.
        figure.savefig(draft, format="png", dpi=100, metadata={"Software": None})
