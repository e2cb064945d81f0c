"""Whether measures of action response find what is known: delays, gains, wrong actions, floors.

    python tools/response_validity.py --settings sprites-64 --scenarios 500 --json sprites.json
    python tools/response_validity.py --settings my_way_home health_gathering --scenarios 48
    python tools/response_validity.py --tables sprites.json doom.json --write docs/response.md

The true world is its own model, and models with one known fault answer the same groups of scripts
(`response_rollouts.py`). Rollouts are streamed, and only what `measure` returns of them is kept.
Scenarios of published tables begin at 100000, those that settings were chosen on at 0 (`--first`).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from document_tables import with_table
from response_measures import SCORES, features_of, judge, measure
from response_rollouts import SCRIPTS, SETTINGS, Known, known_models, response_rollouts
from response_tables import Row, tables
from torch import Tensor

from wmscore.files import atomic_file
from wmscore.stats import mean_interval

NEAR = 0.1  # a gain counts as recovered within this share of itself


def study(
    setting: str,
    scripts: str,
    *,
    scenarios: int,
    first: int = 0,
    randoms: int = 2,
    horizon: int = 32,
    batch_size: int = 8,
    models: Mapping[str, Known] | None = None,
) -> list[Row]:
    """Stream rollouts of all models of one setting, and say what was found, one row a model."""
    known = known_models(horizon) if models is None else dict(models)
    kept: dict[str, dict[str, list[Tensor]]] = {name: {} for name in known}
    spent = {"generate": 0.0, "measure": 0.0, "judge": 0.0}
    last = time.perf_counter()

    def spend(what: str) -> None:
        nonlocal last
        now = time.perf_counter()
        spent[what], last = spent[what] + now - last, now

    rollouts = 0
    for truth, answers in response_rollouts(
        setting,
        {name: model.make for name, model in known.items()},
        scenarios=range(first, first + scenarios),
        scripts=scripts,
        randoms=randoms,
        horizon=horizon,
        batch_size=batch_size,
    ):
        target = features_of(truth)
        for name, answer in answers:
            spend("generate")
            for key, value in measure(answer, target).items():
                kept[name].setdefault(key, []).append(value)
            rollouts += len(truth)
            spend("measure")
        speed = rollouts / sum(spent.values())
        print(f"{setting} {scripts}: {rollouts} rollouts, {speed:.0f}/s", file=sys.stderr)
    found = {}
    for name, parts in kept.items():
        joined = {key: torch.cat(values) for key, values in parts.items()}
        found[name] = judge(joined, len(SETTINGS[setting].names))
    spend("judge")
    run = {"setting": setting, "scripts": scripts, "horizon": horizon, "randoms": randoms}
    rows = [{**run, **row} for row in summaries(found, known)]
    about = {"rollouts": rollouts, "seconds": {k: round(v, 1) for k, v in spent.items()}}
    return [*rows, {**run, "model": "", **monotone(found, known), **about}]


def summaries(found: Mapping[str, Mapping[str, Tensor]], known: Mapping[str, Known]) -> list[Row]:
    """One row for each model: numbers that JSON can hold, None where undefined."""
    rows = []
    ceiling = found.get("other-seed", found.get("truth"))
    for name, values in found.items():
        row: Row = {"model": name, "kind": known[name].kind, "value": known[name].value}
        row["scenarios"] = len(values["agreement"])
        row["rollouts"] = len(values["delay"])  # whose script varies
        for score in SCORES:
            mean = mean_interval(values[score])
            row[score] = {
                "mean": _number(mean.mean),
                "low": _number(mean.low),
                "high": _number(mean.high),
                "largest": _number(values[score].abs().nan_to_num(0).max()),
                "undefined": int(values[score].isnan().sum()),
            }
            if ceiling is not None:
                both = ~(values[score].isnan() | ceiling[score].isnan())
                below = (values[score] < ceiling[score]) & both
                row[score]["below the ceiling"] = [int(below.sum()), int(both.sum())]
        wanted = known[name].value if known[name].kind == "delay" else 0
        there = ~values["delay"].isnan()
        row["delay"] = {
            "exact": int((values["delay"] == wanted).sum()),
            "defined": int(there.sum()),
            "pooled": _number(values["pooled_delay"]),
        }
        scale = known[name].value if known[name].kind == "gain" else 1
        there = ~values["gain"].isnan()
        row["gain"] = {
            "near": int(((values["gain"] - scale).abs() <= NEAR * scale).sum()),
            "defined": int(there.sum()),
            "median": _number(values["gain"].nanmedian()),
            "pooled": _number(values["pooled_gain"]),
        }
        row["turned"] = int((values["turned"] < 0).sum())
        for what in ("polarity", "p_value", "script_p", "recovered", "ceiling", "effects"):
            row[what] = _number(values[what])
        rows.append(row)
    return rows


def monotone(found: Mapping[str, Mapping[str, Tensor]], known: Mapping[str, Known]) -> Row:
    """Spearman's rank correlation of score and share of noise, with the truth at share 0."""
    graded = {"truth": 0.0} | {n: m.value for n, m in known.items() if m.kind == "noise"}
    graded = {name: share for name, share in graded.items() if name in found}
    if len(graded) < 3:
        return {}
    shares = torch.tensor(list(graded.values()), dtype=torch.float64)
    row: Row = {"shares": list(graded.values())}
    for score in SCORES:
        values = torch.stack([found[name][score] for name in graded])  # [shares, G]
        values = values[:, ~values.isnan().any(0)]
        each = torch.tensor([spearman(shares, column) for column in values.unbind(1)])
        row[score] = {
            "means": [_number(mean) for mean in values.mean(1)],
            "of the means": spearman(shares, values.mean(1)) if values.numel() else None,
            "per scenario": _number(each.mean()) if len(each) else None,
            "falling at each share": int((values.diff(dim=0) <= 0).all(0).sum()),
            "scenarios": values.shape[1],
        }
    return row


def spearman(left: Tensor, right: Tensor) -> float:
    """Rank correlation of two vectors, ties at their mean rank."""
    ranks = []
    for values in (left, right):
        less = (values[:, None] > values).sum(1)
        equal = (values[:, None] == values).sum(1)
        rank = less + (equal + 1) / 2
        ranks.append((rank - rank.mean()).double())
    scale = ranks[0].norm() * ranks[1].norm()
    return float(ranks[0] @ ranks[1] / scale) if scale else math.nan


def _number(value: Tensor) -> float | None:
    return float(value) if math.isfinite(float(value)) else None


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--settings", nargs="+", default=["sprites-64"], choices=list(SETTINGS))
    parser.add_argument("--scripts", nargs="+", default=list(SCRIPTS), choices=SCRIPTS)
    parser.add_argument("--scenarios", type=int, default=64)
    parser.add_argument("--first", type=int, default=0, help="first scenario")
    parser.add_argument("--randoms", type=int, default=2, help="random scripts of a group")
    parser.add_argument("--horizon", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--models", nargs="+", help="only these")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tables", type=Path, nargs="+", help="print what these JSON files hold")
    parser.add_argument("--write", type=Path, help="document whose tables are replaced")
    options = parser.parse_args()
    rows: list[Row] = []
    if options.tables:
        rows = [row for file in options.tables for row in json.loads(file.read_text())]
    else:
        known = known_models(options.horizon)
        if options.models:
            known = {name: known[name] for name in options.models}
        for setting in options.settings:
            for scripts in options.scripts:
                rows += study(
                    setting,
                    scripts,
                    scenarios=options.scenarios,
                    first=options.first,
                    randoms=options.randoms,
                    horizon=options.horizon,
                    batch_size=options.batch_size,
                    models=known,
                )
                if options.json:  # after each setting: a run that is cut short counts as well
                    with atomic_file(options.json) as draft:
                        draft.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for name, text in tables(rows).items():
        print(f"\n<!-- {name} -->\n{text}\n<!-- end -->")
        if options.write and f"<!-- {name} -->" in options.write.read_text():
            options.write.write_text(with_table(options.write.read_text(), name, text))
    for row in rows:
        if not row["model"]:
            place = f"{row['setting']} {row['scripts']}"
            print(f"\n{place}: {row['rollouts']} rollouts, seconds: {row['seconds']}")


if __name__ == "__main__":
    main()
