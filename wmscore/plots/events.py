"""What happened to objects, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wmscore.comparison.horizons import ranked
from wmscore.plots.figures import add_legend, add_note, make_figure
from wmscore.scores import Scores

__all__ = ["events_plot"]

# Kind of event -> mark and colour. In the legend in this order.
_LOOKS = {
    "swap": ("o", "#D55E00"),
    "vanish": ("X", "#0072B2"),
    "merge": ("s", "#CC79A7"),
    "split": ("D", "#009E73"),
    "spawn": ("^", "#56B4E9"),
    "duplicate": ("P", "#332288"),
    "reentry": ("<", "#882255"),
    "morph": ("v", "#E69F00"),
}
_OTHER = (".", "0.4")


def events_plot(results: Sequence[Scores], roles: Mapping[str, str] | None = None) -> Any:
    """Which object lost its identity in which row at which step, and for how long.

    One plot per model that is judged and has object identities, one line per row of the panel that
    has an event; a mark at its first step, a bar to its last. Rows are named by scenario and seed.

    Args:
        results: scores of all models on one panel.
        roles: model name -> "truth", "ceiling" or "floor" for the anchors, which are left out.

    Returns:
        A matplotlib figure, or None where no judged model has an event.
    """
    judged = [s for s in ranked(results) if s.model not in (roles or {})]
    found = [(scores, events) for scores in judged if (events := scores.events())]
    if not found:
        return None
    panel = results[0].panel
    rows = sorted({int(event["row"]) for _, events in found for event in events})
    keys = list(panel.rows())
    names = [f"{panel.scenarios[keys[r][0]].id}, {keys[r][1]}" for r in rows]
    high = max(2.6, 1.1 + 0.17 * len(rows))
    figure, plots = make_figure(len(found), columns=min(len(found), 3), size=(4.6, high))
    for i, ((scores, events), plot) in enumerate(zip(found, plots, strict=True)):
        for kind in [*_LOOKS, *sorted({str(e["event"]) for e in events} - set(_LOOKS))]:
            mark, colour = _LOOKS.get(kind, _OTHER)
            some = [event for event in events if event["event"] == kind]
            places = [rows.index(int(event["row"])) for event in some]
            first = [int(event["first_step"]) for event in some]
            last = [int(event["last_step"]) for event in some]
            if not some:
                continue
            plot.hlines(places, first, last, color=colour, linewidth=2.2, alpha=0.45)
            plot.plot(first, places, mark, color=colour, markersize=4.5, label=kind)
        plot.set(title=scores.model, xlabel="step", xlim=(0, panel.contract.horizon + 1))
        plot.set_ylim(len(rows) - 0.4, -0.6)
        small = 8 if len(rows) <= 40 else 5
        plot.set_yticks(range(len(rows)), names if i % 3 == 0 else [], fontsize=small)
    for plot in plots[::3]:
        plot.set_ylabel("scenario, seed")
    add_note(
        figure,
        "Marks: first step of an event; bars: until its last. Rows without any are left out.",
    )
    add_legend(figure, plots)
    return figure
