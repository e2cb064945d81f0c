"""Tables of a comparison, as (head, body): for the terminal, Markdown and plain text."""

from __future__ import annotations

from collections.abc import Sequence

from wmscore.comparison.phrases import interval, names, number, p_text, readable, share, signed
from wmscore.comparison.ranking import Ranking
from wmscore.comparison.result import Comparison, ScenarioLine

__all__ = ["as_text", "difference_table", "ranking_table", "scenario_table"]

Table = tuple[list[str], list[list[str]]]

_MOST = 40  # lines of scenarios; beyond, those with the largest differences


def difference_table(found: Comparison) -> Table:
    """One line per quantity: both means, their difference, how sure it is."""
    old, new = names(found)
    head = ["mean over scenarios", old, new, "difference", f"{found.level:.0%} interval"]
    head += ["p", "p (Holm)", "better / worse"]
    body = [
        [
            readable(part.name) + (", steps" if part.unit == "steps" else ""),
            number(part.baseline, part.unit),
            number(part.candidate, part.unit),
            signed(part.estimate, part.unit),
            interval(part) if part.low == part.low else "n/a",
            p_text(part.p_value),
            p_text(part.p_holm) if part.unit == "1" else "-",
            f"{part.better} / {part.worse}",
        ]
        for part in (found.horizon, *found.axes)
    ]
    return head, body


def scenario_table(found: Comparison) -> Table:
    """The matched table: mean usable horizon of each scenario over the pairs of both models.

    Of a large panel the scenarios with the largest differences, worst first.
    """
    old, new = names(found)
    lines = list(found.scenarios)
    if len(lines) > _MOST:
        known = sorted((s for s in lines if s.pairs), key=lambda line: line.difference)
        lines = [*known[: _MOST // 2], *known[-_MOST // 2 :]] if len(known) > _MOST else known
    body = [_line(line) for line in lines]
    if len(body) < len(found.scenarios):
        left = len(found.scenarios) - len(body)
        body.insert(len(body) // 2, [f"... {left} more", "", "", "", ""])
    return ["scenario", "pairs", old, new, "difference"], body


def ranking_table(found: Ranking) -> Table:
    """One line per model, longest horizon first, with how sure its place is."""
    head = ["model", "role", f"horizon of {found.steps}", f"{found.level:.0%} interval"]
    head += ["first", "mean rank", "ahead of the next, p (Holm)"]
    # Pairs are in order: the first of a model is the one with the next that is judged.
    ahead: dict[str, float] = {}
    for pair in found.pairs:
        ahead.setdefault(pair.better, pair.p_holm)
    body = [
        [
            model.model,
            model.role,
            number(model.mean, "steps"),
            f"{number(model.low, 'steps')} to {number(model.high, 'steps')}",
            "-" if model.first != model.first else share(model.first),
            "-" if model.expected_rank != model.expected_rank else f"{model.expected_rank:.1f}",
            p_text(ahead[model.model]) if model.model in ahead else "-",
        ]
        for model in found.models
    ]
    body += [[name, "not ranked", *["n/a"] * 5] for name in found.unranked]
    return head, body


def _line(line: ScenarioLine) -> list[str]:
    return [
        line.scenario,
        str(line.pairs),
        number(line.baseline, "steps"),
        number(line.candidate, "steps"),
        signed(line.difference, "steps"),
    ]


def as_text(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Columns by spaces; the first to the left, numbers to the right."""
    lines = [head, *body]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
