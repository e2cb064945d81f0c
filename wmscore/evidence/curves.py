"""Every score and raw measure at every step, model beside model, anchors included."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wmscore.evidence.figures import make_figure, save_figure
from wmscore.evidence.table import ranked
from wmscore.files import atomic_file
from wmscore.scores import Curve, Scores

__all__ = ["write_curve_table", "write_curves", "write_measures"]

_QUARTILES = (0.25, 0.5, 0.75)

# What the picture of raw measures shows of those that were measured, in this order: distances to
# the reference first, then what frames look like on their own.
_SHOWN = (
    "psnr_moving",
    "skill",
    "lpips",
    "feature_cosine",
    "feature_l2",
    "latent_cosine",
    "latent_l2",
    "similarity_first",
    "brightness_ratio",
    "saturation_ratio",
    "sharpness_gradient_ratio",
    "change",
)


def write_curves(path: Path, results: Sequence[Scores], roles: Mapping[str, str]) -> None:
    """Write a PNG: per axis the median over defined rows, quartiles as a band, the threshold.

    Anchors (models with a role) are dashed. Steps at which no row is defined leave a gap.
    """
    specs = results[0].panel.axes
    figure, plots = make_figure(len(specs), columns=len(specs))
    for spec, plot in zip(specs, plots, strict=True):
        for i, scores in enumerate(ranked(results)):
            _draw(plot, scores.axes[spec.axis], f"C{i}", scores.model, scores.model in roles)
        plot.axhline(spec.threshold, color="black", linewidth=0.8, label="threshold")
        last = results[0].panel.contract.horizon
        plot.set(title=spec.axis.replace("_", " "), xlabel="step", ylim=(-0.02, 1.02))
        plot.set_xlim(0, last + 1)
    figure.axes[0].set_ylabel("score (median and quartiles over rows)")
    save_figure(figure, path)


def write_measures(path: Path, results: Sequence[Scores], roles: Mapping[str, str]) -> None:
    """Write a PNG like that of the axes, of the raw measures that all models have."""
    common = set.intersection(*(set(scores.measures) for scores in results))
    names = [n for start in _SHOWN for n in sorted(common) if n == start or _extends(n, start)]
    if not names:
        return
    figure, plots = make_figure(len(names), columns=4 if len(names) > 6 else 3)
    for name, plot in zip(names, plots, strict=True):
        for i, scores in enumerate(ranked(results)):
            curve = scores.measures[name]
            _draw(plot, curve, f"C{i}", scores.model, scores.model in roles)
        title = name.replace("_", " ")
        plot.set(title=title, xlabel="step", ylabel="" if curve.unit == "1" else curve.unit)
    save_figure(figure, path)


def write_curve_table(path: Path, results: Sequence[Scores], roles: Mapping[str, str]) -> None:
    """Write `curves.csv`: quartiles over rows of every score and raw measure at every step."""
    with atomic_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            (
                "model,role,kind,name,unit,higher_is_better,step,defined_rows,"
                "lower_quartile,median,upper_quartile"
            ).split(",")
        )
        for scores in results:
            for kind, curves in (("score", scores.axes), ("measure", scores.measures)):
                for name, curve in curves.items():
                    better = "" if curve.higher_is_better is None else curve.higher_is_better
                    head = (scores.model, roles.get(scores.model, "model"), kind, name)
                    for line in _steps(curve):
                        writer.writerow((*head, curve.unit, better, *line))


def _steps(curve: Curve) -> Iterator[tuple[Any, ...]]:
    """Step, defined rows and quartiles, empty where no row is defined."""
    defined = (~curve.values.isnan()).sum(0).tolist()
    for step, (count, points) in enumerate(zip(defined, _quartiles(curve).T, strict=True), 1):
        yield step, count, *(f"{value:.6g}" if count else "" for value in points.tolist())


def _quartiles(curve: Curve) -> Tensor:
    """`[3, T]` over the defined rows of each step; infinite values sort like any others."""
    ordered = curve.values.sort(0).values  # NaN last
    last = (~curve.values.isnan()).sum(0).to(ordered.dtype) - 1
    rows = []
    for q in _QUARTILES:
        place = (last * q).clamp_min(0)
        low = ordered.gather(0, place.floor().long()[None])[0]
        high = ordered.gather(0, place.ceil().long()[None])[0]
        # Equal neighbours first: between two infinities there is no difference to weigh.
        rows.append(torch.where(low == high, low, torch.lerp(low, high, place - place.floor())))
    return torch.stack(rows)


def _extends(name: str, start: str) -> bool:
    """Whether a name is a variant of another: `lpips_alex` of `lpips`."""
    return name.startswith(start + "_") and name not in _SHOWN


def _draw(plot: Any, curve: Curve, colour: str, label: str, anchor: bool) -> None:
    # Infinite decibels of identical frames have no place on a plot.
    points = _quartiles(curve)
    low, middle, high = points.masked_fill(points.isinf(), float("nan"))
    steps = range(1, curve.values.shape[1] + 1)
    plot.plot(steps, middle, "--" if anchor else "-", color=colour, label=label)
    plot.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)
