"""Plots of results, one function each: they return a matplotlib figure, which notebooks show.

`save_plot` writes one as PNG or SVG, the same bytes for the same data.
"""

from wmscore.plots.actions import response_matrix_plot
from wmscore.plots.curves import drift_plot, measures_plot
from wmscore.plots.events import events_plot
from wmscore.plots.figures import save_plot
from wmscore.plots.film import filmstrip
from wmscore.plots.ladders import ladder_plot
from wmscore.plots.survival import survival_plot

__all__ = [
    "drift_plot",
    "events_plot",
    "filmstrip",
    "ladder_plot",
    "measures_plot",
    "response_matrix_plot",
    "save_plot",
    "survival_plot",
]
