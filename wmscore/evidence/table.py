"""The matched metric table: one line per (scenario, seed, model), and its summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from wmscore.actions import action_summary, takes_no_actions
from wmscore.comparison.horizons import ranked
from wmscore.comparison.report import role_of, rolled_out
from wmscore.evidence.columns import write_columns
from wmscore.evidence.horizons import mean_horizon_cell
from wmscore.evidence.parquet import write_parquet
from wmscore.files import write_csv
from wmscore.manifest import Panel
from wmscore.scorer.recorded import CONVERSION
from wmscore.scores import Scores

__all__ = [
    "action_table",
    "codec_lines",
    "conversion_lines",
    "horizon_table",
    "metric_lines",
    "ranked",
    "summary_table",
    "unjudged",
    "unmatched_rows",
    "write_metrics",
]

Table = tuple[list[str], list[list[str]]]


def metric_lines(results: Sequence[Scores]) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and lines of the metric table: rows matched by scenario and seed, models below."""
    lines: list[dict[str, Any]] = [line for scores in results for line in scores.records()]
    order = {scores.model: i for i, scores in enumerate(results)}
    places = {key: i for i, key in enumerate(results[0].panel.rows())}
    ids = {scenario.id: i for i, scenario in enumerate(results[0].panel.scenarios)}
    lines.sort(key=lambda line: (places[ids[line["scenario"]], line["seed"]], order[line["model"]]))
    return list(dict.fromkeys(key for line in lines for key in line)), lines


def write_metrics(folder: Path, results: Sequence[Scores]) -> None:
    """Write `metrics.csv`, `metrics.parquet` (the same, typed), and what the columns mean."""
    columns, lines = metric_lines(results)
    write_csv(folder / "metrics.csv", columns, lines)
    write_columns(folder / "columns.csv", columns, results[0].panel)
    about = {"panel": results[0].panel.fingerprint}
    write_parquet(folder / "metrics.parquet", columns, lines, about)


def summary_table(results: Sequence[Scores], roles: dict[str, str] | None = None) -> Table:
    """One line per model: horizon, how it ended, and each axis' score with its quartiles.

    Horizon: mean [95 % interval over scenarios], each scenario counting alike, and the median row.
    "never failed": rows in which no axis stayed below its threshold for its patience. "steps
    below": mean share of steps at which some gated axis is below, however briefly. Axes: means
    over defined steps per row, then median [quartiles] over rows. A cell may hold a line break.
    """
    panel = results[0].panel
    axes = [spec.axis for spec in panel.axes]
    head = ["model", "role", f"horizon\nof {panel.contract.horizon}, mean", "median"]
    head += [
        "never\nfailed",
        "steps\nbelow",
        *(axis.replace("_", "\n") for axis in axes),
        "ended by",
    ]
    body = []
    for scores in ranked(results):
        horizon, known = scores.horizon, bool(scores.horizon.defined.any())
        ends = Counter(filter(None, (scores.failing_axis(r) for r in range(len(scores)))))
        ended = [f"{axis.split('_')[0]} x{n}" for axis, n in ends.most_common()]
        ended += [f"evaluation fault: {kind} x{n}" for kind, n in scores.faults().items()]
        if not known and takes_no_actions(scores):
            ended.append("n/a: takes no actions")
        body.append(
            [
                scores.model,
                role_of(scores.model, roles),
                mean_horizon_cell(scores),
                scores.horizon_text(),
                f"{int(horizon.censored.sum())}/{len(scores)}",
                f"{float(scores.failing_steps().nanmean()):.0%}" if known else "undefined",
                *(_axis_cell(scores, axis) for axis in axes),
                "\n".join(ended) or "-",
            ]
        )
    return head, body


def unmatched_rows(results: Sequence[Scores]) -> list[str]:
    """A sentence where models lack different rows, so that their means do not compare.

    Companions, which may lack what a rollout has, are compared with nobody.
    """
    faulty = {scores.model: scores.fault != 0 for scores in rolled_out(results)}
    first = next(iter(faulty.values()), None)
    if first is None or all(torch.equal(fault, first) for fault in faulty.values()):
        return []
    lost = [f"{name} lacks {int(n.sum())} of {len(n)}" for name, n in faulty.items() if n.any()]
    text = (
        f"Each model is shown on the rows that it has ({', '.join(lost)}): a model that loses hard "
        "rows looks better here. The ranking and the comparisons take rows that both have."
    )
    return [text]


def horizon_table(results: Sequence[Scores]) -> Table:
    """Scenario x model: the median usable horizon over seeds, `>=` where it is censored."""
    order = ranked(results)
    seeds = len(order[0].panel.seeds)
    body = [
        [
            scenario.id,
            *(scores.horizon_text(slice(s * seeds, (s + 1) * seeds)) for scores in order),
        ]
        for s, scenario in enumerate(order[0].panel.scenarios)
    ]
    return ["scenario", *(scores.model for scores in order)], body


def action_table(results: Sequence[Scores], roles: dict[str, str] | None = None) -> Table:
    """One line per model: whether, how well and how late it follows actions. "n/a" = undefined.

    Agreement: mean [95 % interval] over scenarios, 1 = the reference's response, 0 = chance; p of
    the same by scripts dealt out at random. Latency in steps behind the reference, and its gain,
    negative where the response is the wrong way round. Actions recovered by a probe or network, 1 =
    all, 0 = chance, beside what it recovers from the reference. No lines where no model was judged.
    """
    head = ["model", "role", "agreement\n[interval]", "p against\nchance"]
    head += ["latency,\nsteps", "gain", "actions recovered\n/ ceiling"]
    body = []
    for scores in ranked(results):
        summary = action_summary(scores)
        if takes_no_actions(scores):
            body.append([scores.model, role_of(scores.model, roles), *["n/a"] * (len(head) - 2)])
        if summary is None:
            continue
        agreement = summary["curves"].get("agreement", dict.fromkeys(("mean", "low", "high")))
        mean, low, high = (_cell(agreement[key], "z.3f") for key in ("mean", "low", "high"))
        lag = summary.get("latency", {}).get("excess", dict.fromkeys(("steps", "gain")))
        recovery = summary.get("recovery", {"score": None, "ceiling": {"score": None}})
        own, best = (_cell(part["score"], "z.2f") for part in (recovery, recovery["ceiling"]))
        body.append(
            [
                scores.model,
                role_of(scores.model, roles),
                mean if "n/a" in (mean, low) else f"{mean}\n[{low}, {high}]",
                _cell(summary["chance"]["p_value"], ".2g"),
                _cell(lag["steps"], "+.0f" if lag["steps"] else ".0f"),
                _cell(lag["gain"], "z.2f"),
                "n/a" if own == best == "n/a" else f"{own} / {best}",
            ]
        )
    return head, body


def unjudged(panel: Panel) -> list[str]:
    """What the panel leaves out, one sentence each: no number of it stands anywhere."""
    lines = []
    if all(spec.axis != "action_response" for spec in panel.axes):
        lines.append("Action response: n/a, the panel does not ask for it.")
    observation = panel.contract.observation
    if observation is not None and observation.ignore is not None:
        boxes = ", ".join(str(list(box)) for box in observation.ignore)
        share = float(observation.ignored().double().mean())
        lines.append(
            f"Ignored by every metric: {share:.1%} of the picture, [top, left, bottom, right] "
            f"{boxes}."
        )
    return lines


def conversion_lines(results: Sequence[Scores]) -> list[str]:
    """What was changed or lost between the panel and each model, one sentence for each."""
    return [
        f"Between the panel and {scores.model}: {scores.provenance[CONVERSION]}."
        for scores in results
        if CONVERSION in scores.provenance
    ]


def codec_lines(results: Sequence[Scores]) -> list[str]:
    """What the codec of lossy clips costs by itself, one sentence for each model that has them."""
    lines = []
    for scores in results:
        about = scores.provenance
        if "codec" not in about:
            continue
        floors = ", ".join(
            f"{spec.axis} {about[key]}"
            for spec in scores.panel.axes
            if (key := f"codec floor {spec.axis}") in about
        )
        lines.append(
            f"Codec of {scores.model}: {about['codec']}. Mean score of the truth after it, which "
            f"is what the codec leaves of 1: {floors}."
        )
    return lines


def _cell(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)


def _axis_cell(scores: Scores, axis: str) -> str:
    """Median [quartiles] over rows of the row's mean score; undefined rows are counted.

    A row with an evaluation fault is undefined, whatever it still shows.
    """
    if axis == "action_response" and takes_no_actions(scores):
        return "n/a"
    rows = scores.axes[axis].values.nanmean(1).masked_fill(scores.fault != 0, float("nan"))
    known = rows[~rows.isnan()]
    if not len(known):
        return "undefined"
    points = torch.tensor([0.25, 0.5, 0.75], dtype=known.dtype)
    low, middle, high = torch.quantile(known, points).tolist()
    lost = len(rows) - len(known)
    note = f"\n{lost} undefined" if lost else ""
    return f"{middle:.2f}\n[{low:.2f}, {high:.2f}]{note}"
