"""`comparison.json`, and what the postmortem says of the models' differences."""

from __future__ import annotations

from pathlib import Path

from wmscore.comparison import Comparison, Report, ranking_table
from wmscore.evidence.markdown import markdown_table
from wmscore.files import write_json

__all__ = ["comparison_lines", "write_comparison"]

_TOLD = 6  # comparisons that are told in words


def write_comparison(path: Path, report: Report) -> None:
    """Write `comparison.json`: roles, ranking, comparisons, each with its verdict in words."""
    write_json(path, report.to_json())


def comparison_lines(report: Report) -> list[str]:
    """Lines of the postmortem: the ranking, and judged models against each other."""
    if report.ranking is None:
        return []
    lines = ["", "## Ranking", "", *markdown_table(*ranking_table(report.ranking)), ""]
    sentences = [*report.ranking.verdict(), *report.verdict()]
    lines += [f"- {sentence}" for sentence in sentences]
    judged = [found for found in report.comparisons if _is_judged(found, report.roles)]
    for found in judged[:_TOLD]:
        lines += ["", f"### {found.candidate.model} against {found.baseline.model}", ""]
        lines += [f"- {sentence}" for sentence in found.verdict(brief=True)]
    left = len(report.comparisons) - len(judged[:_TOLD])
    if left:
        lines += ["", f"{left} more comparisons are in `comparison.json`."]
    return lines


def _is_judged(found: Comparison, roles: dict[str, str]) -> bool:
    sides = (found.baseline.model, found.candidate.model)
    return all(roles.get(model, "model") == "model" for model in sides)
