"""What each action does in the generated rollouts, against what it should do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from wmscore.comparison.horizons import ranked
from wmscore.plots.figures import add_note, make_figure
from wmscore.scores import Scores

__all__ = ["response_matrix_plot"]


def response_matrix_plot(results: Sequence[Scores], roles: Mapping[str, str] | None = None) -> Any:
    """Per model a matrix: the effect of each action sent (line) against that of each true action.

    A cell is the cosine of the generated effect of its line's action with the true effect of its
    column's, both against no action: 1 (blue) = the same effect, -1 (red) = the opposite one. A
    model that obeys is blue on the diagonal, which is framed; blue elsewhere is an action that does
    what another should. Where effects are not known (too few scenarios, no no-op) the cell is the
    share of the line's actions that the probe takes for its column's; its title says which. Cells
    that are undefined are crossed out. Models without either are left out.

    Args:
        results: scores of all models on one panel.
        roles: model name -> "truth", "ceiling" or "floor" for the anchors; stands in the title.

    Returns:
        A matplotlib figure, or None where no model has such a matrix.

    Example:
        >>> save_plot(response_matrix_plot(results), "actions.png")        # doctest: +SKIP
    """
    found = [(scores, *matrix) for scores in ranked(results) if (matrix := _matrix(scores))]
    if not found:
        return None
    names = results[0].panel.contract.actions.names
    side = max(2.6, 1.2 + 0.42 * len(names))
    columns = min(len(found), max(1, int(13 / side)))
    figure, plots = make_figure(len(found), columns, size=(side, side + 0.3))
    image = None
    for i, ((scores, kind, values), plot) in enumerate(zip(found, plots, strict=True)):
        lowest = -1.0 if kind == "effect" else 0.0
        picture = plot.imshow(values.numpy(), cmap="RdBu", vmin=-1, vmax=1, aspect="equal")
        image = image or picture
        plot.grid(visible=False)
        plot.spines[:].set_visible(False)
        plot.tick_params(length=0)
        plot.set_xticks(range(len(names)), names, rotation=90)
        plot.set_yticks(range(len(names)), names if i % columns == 0 else [])
        role = (roles or {}).get(scores.model, "")
        about = kind + (f", {role}" if role else "")
        plot.set_title(f"{scores.model}\n({about})", fontsize=9.5)
        for a in range(len(names)):
            box = {"fill": False, "edgecolor": "0.2", "linewidth": 1.1}
            plot.add_patch(_rectangle(a - 0.5, a - 0.5, **box))
        _write_cells(plot, values, lowest)
    plots[0].set_ylabel("action sent, as generated")
    figure.supxlabel("true action", fontsize=9.5)
    bar = figure.colorbar(image, ax=plots, shrink=0.7, pad=0.02, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["opposite", "none", "same"])
    bar.outline.set_visible(False)
    note = (
        "effect: cosine of each action's generated effect with each true one, both against no "
        "action; recovered: share of steps that a probe takes for that action. X: undefined."
    )
    add_note(figure, note)
    return figure


def _matrix(scores: Scores) -> tuple[str, torch.Tensor] | None:
    """What is drawn of a model, and its matrix `[A, A]`; None where it has none."""
    report = scores.actions
    if report is None:
        return None
    if report.effects is not None and bool(report.effects.confusion.isfinite().any()):
        return "effect", report.effects.confusion
    if report.recovery is None or not bool(report.recovery.confusion.any()):
        return None
    counts = report.recovery.confusion.double()
    sent = counts.sum(1, keepdim=True) + report.recovery.unrecognised.double()[:, None]
    return "recovered", torch.where(sent > 0, counts / sent, torch.nan)


def _write_cells(plot: Any, values: torch.Tensor, lowest: float) -> None:
    """Numbers where they are read without the colour; a cross where there are none."""
    for a, line in enumerate(values.tolist()):
        for b, value in enumerate(line):
            if value != value:
                plot.plot([b - 0.25, b + 0.25], [a - 0.25, a + 0.25], color="0.75", linewidth=0.8)
                plot.plot([b - 0.25, b + 0.25], [a + 0.25, a - 0.25], color="0.75", linewidth=0.8)
            elif len(values) <= 12 and (a == b or abs(value) >= 0.5 or lowest == 0 < value):
                colour = "white" if abs(value) > 0.6 else "0.15"
                plot.text(b, a, f"{value:z.1f}", ha="center", va="center", color=colour, size=7)


def _rectangle(x: float, y: float, **style: Any) -> Any:
    from wmscore.extras import require

    return require("matplotlib.patches", "harness").Rectangle((x, y), 1, 1, **style)
