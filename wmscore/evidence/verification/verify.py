"""`verify_evidence`: hashes, everything that follows from scores, and traces from pixels."""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wmscore.comparison import check_comparable
from wmscore.evidence.environment import same_machine
from wmscore.evidence.stress import read_stress
from wmscore.evidence.tracefile import KeptTrace, read_trace
from wmscore.evidence.traces import choose_traces
from wmscore.evidence.verification.alike import value_differences
from wmscore.evidence.verification.findings import Findings, Verification, shown
from wmscore.evidence.verification.listing import check_sums, list_files
from wmscore.evidence.verification.recomputing import check_derived, check_horizons, check_report
from wmscore.evidence.verification.rescoring import check_references, rescore
from wmscore.files import safe_name
from wmscore.ladder import Ladder, told_ladder
from wmscore.scores import Scores
from wmscore.worlds import WorldModel

__all__ = ["verify_evidence"]


def verify_evidence(
    folder: str | Path,
    *,
    world: WorldModel | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    **networks: Any,
) -> Verification:
    """Check that an evidence folder is whole, unchanged, and says what its frames say.

    First the hashes of all files: one that was changed, lost or added is a problem. Whoever changes
    a file may write its hash anew, so then everything is made again from what it follows from, and
    compared value by value: horizons from the stored curves; tables, comparison, causes,
    postmortem, plots and report from the scores; ladders from the shares of their scenarios;
    pictures from the traces; and the scores of every traced row from its frames, by a `Scorer`.
    Files, rows and columns that differ are named.

    On the machine that wrote the folder, with the same versions, every byte must come out again;
    elsewhere numbers may differ by a relative 1e-6 (scores from frames by 1e-4) and pictures are
    checked by their hashes only. Whatever else could not be checked is said in `unchecked`: rows
    without a trace, networks that were not given.

    A folder of unknown origin is safe to verify: links are not followed, nothing in it is run, and
    files that are much larger than they should be are not read.

    Args:
        folder: written by `write_evidence`.
        world: the true world; references of traces are rendered again.
        device: where traces are scored.
        progress: called with (parts done, parts in all): what follows from the scores, the traces
            of each model, and the report.
        networks: further arguments of `Scorer` (`lpips`, `encoder`, `latent_encoder`,
            `inverse_dynamics`, `oracle`), where the scores were made with them.

    Raises:
        FileNotFoundError: there is no such folder.

    Example:
        >>> found = verify_evidence("evidence")                           # doctest: +SKIP
        >>> found.sound, found.problems                                   # doctest: +SKIP
        (False, ["metrics.csv: line 7 (scenario arena, seed 1, model mine), column ..."])
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder: {folder} is no evidence folder")
    findings = Findings()
    try:
        _verify(folder, findings, world, device, networks, progress)
    except Exception as error:  # whatever a foreign file makes a reader say is said of the folder
        kind = type(error).__name__
        findings.problems.append(f"cannot be recomputed: {kind}: {shown(str(error), 400)}")
    return findings.result()


def _verify(
    folder: Path,
    findings: Findings,
    world: WorldModel | None,
    device: str,
    networks: Mapping[str, Any],
    progress: Callable[[int, int], None] | None,
) -> None:
    files = list_files(folder, findings)
    hashed = check_sums(folder, files, findings)
    environment = _environment(folder, files, findings)
    results = _results(folder, files, environment, findings)
    if environment is None or not results:
        return
    exact = same_machine(environment)
    done = itertools.count()

    def tell() -> None:
        if progress is not None:
            progress(next(done), len(results) + 2)

    tell()
    for scores in results:
        check_horizons(f"scores/{safe_name(scores.model)}", scores, findings, exact=exact)
    stored = _traces(folder, files, results[0].panel.fingerprint, findings)
    anchors = [name for name, role in environment["roles"].items() if role != "model"]
    traces = choose_traces(results, anchors=anchors)
    by_name = {found.trace.name: found for found in stored.values()}
    for name, found in stored.items():
        if found.trace not in traces or name != f"traces/{found.trace.name}.safetensors":
            findings.add(name, ["not the trace that the scores lead to: another row, step or why"])
    ladder = _ladder(folder, files, findings, exact=exact)
    check_derived(
        folder,
        files,
        results,
        findings,
        environment=environment,
        traces=traces,
        stored=by_name,
        ladder=ladder,
        exact=exact,
    )
    tell()
    known = {name: found for name, found in stored.items() if found.trace in traces}
    untraced = []
    for scores in results:
        own = {name: found for name, found in known.items() if found.trace.model == scores.model}
        again = rescore(
            scores,
            results,
            own,
            findings,
            exact=exact and environment["cuda"] is None,
            device=device,
            networks=networks,
        )
        if again < len(scores):
            untraced.append(f"{len(scores) - again} of {len(scores)} rows of {scores.model}")
        tell()
    if untraced:
        findings.unchecked.append(
            f"curves in scores/ of rows without a trace: {', '.join(untraced)}; all else was "
            "made again from them"
        )
    check_references(results[0].panel, known, findings, world)
    if hashed:
        check_report(folder, files, findings, exact=exact)
    tell()


def _environment(
    folder: Path, files: Mapping[str, os.stat_result], findings: Findings
) -> dict[str, Any] | None:
    name = "environment.json"
    if name not in files:
        findings.add(name, ["missing"])
        return None
    if files[name].st_size > 16 * 2**20:
        findings.add(name, [f"expected a few kilobytes, got {files[name].st_size:,}"])
        return None
    try:
        data = json.loads((folder / name).read_bytes())
        sound = all(isinstance(data[key], dict) for key in ("roles", "scores", "versions"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        findings.add(name, [f"cannot be read: {shown(str(error))}"])
        return None
    if not sound or not {"cuda", "diagnoses"} <= data.keys():
        findings.add(name, ["expected machine, versions, roles and scores"])
        return None
    return dict(data)


def _results(
    folder: Path,
    files: Mapping[str, os.stat_result],
    environment: Mapping[str, Any] | None,
    findings: Findings,
) -> list[Scores]:
    """All scores in the order of the comparison; none where one is broken."""
    found: dict[str, Scores] = {}
    names = [n for n in files if n.startswith("scores/") and n.endswith(".safetensors")]
    whole = True
    for name in names:
        try:
            scores = Scores.load(folder / name)
        except Exception as error:
            whole = findings.add(name, [f"cannot be read: {shown(str(error))}"])
            continue
        found[scores.model] = scores
        if name != f"scores/{safe_name(scores.model)}.safetensors":
            whole = findings.add(name, [f"holds the scores of {shown(scores.model)!r}"])
    if environment is None or not whole:
        return []
    about = environment["scores"]
    if list(environment["roles"]) != list(about) or found.keys() != about.keys():
        findings.add("environment.json", ["expected the models of scores/, each with its role"])
        return []
    results = [found[model] for model in about]
    for scores in results:
        if scores.provenance != about[scores.model]:
            findings.add("environment.json", [f"scores.{shown(scores.model)}: not as in scores/"])
    if not results:
        findings.add("scores/", ["expected at least one file, found none"])
        return []
    try:
        check_comparable(results)
    except ValueError as error:
        findings.add("scores/", [shown(str(error), 400)])
        return []
    findings.checked.append(
        f"{len(results)} models on panel {results[0].panel.fingerprint[:12]}: scores, manifest, "
        "seeds and traces belong together"
    )
    return results


def _traces(
    folder: Path, files: Mapping[str, os.stat_result], panel: str, findings: Findings
) -> dict[str, KeptTrace]:
    """All traces by file."""
    found = {}
    for name in files:
        if not name.startswith("traces/") or not name.endswith(".safetensors"):
            continue
        try:
            stored = read_trace(folder / name)
        except Exception as error:
            findings.add(name, [f"cannot be read: {shown(str(error))}"])
            continue
        if stored.panel != panel:
            findings.add(name, ["made for another panel"])
            continue
        found[name] = KeptTrace(stored.trace, functools.partial(read_trace, folder / name))
    return found


def _ladder(
    folder: Path, files: Mapping[str, os.stat_result], findings: Findings, *, exact: bool
) -> Ladder | None:
    """The ladder, its numbers and verdicts held against the shares that they follow from."""
    if "stress.json" not in files:
        return None
    ladder = read_stress(folder)
    if ladder is None:
        return None
    findings.unchecked.append(
        "stress.json: rollouts on stressed panels are not in the folder; what follows from the "
        "usable share of each scenario was made again"
    )
    told = told_ladder(ladder)
    findings.add("stress.json", value_differences(ladder.to_json(), told.to_json(), exact=exact))
    return ladder
