"""Line charts as inline SVG, with the same numbers as a table.

A plot fills the width that it gets: lines are stretched, their widths and all text are not. So it
is drawn in two layers, one of 1000 units across for shapes and one in percent for text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wmscore.evidence.report.markup import Html, data_block, h, join, name_of
from wmscore.evidence.report.numbers import number, plain
from wmscore.evidence.report.table import data_table

__all__ = ["Line", "Plot", "draw"]

_WIDTH = 1000
_TABLE_STEPS = 40  # of a curve in its table; longer ones are thinned, which the table says
_MANY = 6  # with more lines their bands would be a fog; judged models keep theirs longest


@dataclass(frozen=True, kw_only=True)
class Line:
    """One model's line.

    Attributes:
        name: of the model.
        look: class that colours it (`models.look`).
        key: place of the model in the report, by which legends hide it.
        middle: a value at each x; NaN leaves a gap.
        low: lower end of its band, or None.
        high: upper end.
    """

    name: str
    look: str
    key: int
    middle: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A line chart.

    Attributes:
        title: heading of the figure.
        x: the places of all lines, increasing.
        lines: what is drawn.
        x_label: words below.
        y_label: words above the axis.
        note: a sentence below the title.
        x_names: names of the places where they are not numbers.
        bottom: lowest y, by default of the lines.
        top: highest y.
        threshold: a line across, with its words.
        steps: whether a value holds since the place before, so that areas are sums.
        tall: whether it is the section's large plot.
        form: of values in tables.
        marked: per line key the indices of places that get a ring, with `marks` in the legend.
    """

    title: str
    x: Sequence[float]
    lines: Sequence[Line]
    x_label: str
    y_label: str
    note: str | Html = ""
    x_names: Sequence[str] | None = None
    bottom: float | None = None
    top: float | None = None
    threshold: float | None = None
    steps: bool = False
    tall: bool = False
    form: str = ".3f"
    marked: tuple[tuple[int, int], ...] = ()


def draw(plot: Plot) -> Html:
    """The figure: heading, plot, and a table of its numbers that opens."""
    low, high = _range(plot)
    height = 300 if plot.tall else 190

    def x(value: float) -> float:
        first, last = plot.x[0], plot.x[-1]
        return 0.5 if first == last else (value - first) / (last - first)

    def y(value: float) -> float:
        return height * (1 - (min(max(value, low), high) - low) / (high - low))

    ticks_y, ticks_x = _ticks(low, high, 5), _places(plot)
    back = [h("line", x1="0", x2="100%", y1=_n(y(v)), y2=_n(y(v)), class_="grid") for v in ticks_y]
    texts = [
        h("text", plain(v), x="-8", y=_n(y(v) + 4), text_anchor="end", class_="tick")
        for v in ticks_y
    ]
    for i in ticks_x:
        at = x(plot.x[i])
        anchor = "start" if at < 0.02 and plot.x_names else "end" if at > 0.98 else "middle"
        text = plot.x_names[i] if plot.x_names else plain(plot.x[i])
        texts.append(
            h("text", text, x=f"{at:.2%}", y=height + 18, text_anchor=anchor, class_="tick")
        )
    shapes: list[Html] = []
    judged = [line for line in plot.lines if not _beside(line)]
    crowd = "many" if len(judged) > _MANY else "several" if len(plot.lines) > _MANY else ""
    if plot.threshold is not None and low <= plot.threshold <= high:
        at = y(plot.threshold)
        back.append(h("line", x1="0", x2="100%", y1=_n(at), y2=_n(at), class_="threshold"))
        texts.append(
            h(
                "text",
                f"threshold {plain(plot.threshold)}",
                x="100%",
                y=_n(at + 13 if at < 16 else at - 5),
                text_anchor="end",
                class_="mark",
            )
        )
    # Anchors below, models on top of them.
    ordered = sorted(plot.lines, key=lambda line: "anchor" not in line.look)
    for line in ordered:
        inside = [_band(line, plot, x, y)] if line.low is not None else []
        inside.append(
            h("path", d=_path(line.middle, plot, x, y), class_="line", vector_effect=_FIXED)
        )
        rings = [i for key, i in plot.marked if key == line.key and _known(line.middle[i])]
        if rings:
            dots = "".join(f"M{_n(_WIDTH * x(plot.x[i]))} {_n(y(line.middle[i]))}h0" for i in rings)
            inside.append(h("path", d=dots, class_="ring", vector_effect=_FIXED))
            inside.append(h("path", d=dots, class_="hole", vector_effect=_FIXED))
        shapes.append(h("g", *inside, class_=f"series {line.look}", data_m=line.key))
    svg = h(
        "svg",
        *back,
        h(
            "svg",
            *shapes,
            viewBox=f"0 0 {_WIDTH} {height}",
            preserveAspectRatio="none",
            width="100%",
            height=height,
            class_="shapes",
        ),
        *texts,
        h("line", x1="0", x2="0", y1="0", y2=height, class_="cursor"),
        h("text", plot.y_label, x="-40", y="-12", class_="axis"),
        h("text", plot.x_label, x="100%", y=height + 36, text_anchor="end", class_="axis"),
        width="100%",
        height=height,
        role="img",
        aria_label=f"{plot.title}. {_summary(plot)} The numbers are in the table below.",
    )
    known = any(_known(v) for line in plot.lines for v in line.middle)
    notes: list[object] = [plot.note] if plot.note else []
    if crowd and any(line.low is not None for line in plot.lines):
        notes.append(_CROWDS[crowd])
    empty = None if known else h("p", "No value is defined.", class_="empty")
    return h(
        "figure",
        h("figcaption", h("h3", plot.title), h("p", *notes) if notes else None),
        h(
            "div",
            svg,
            empty,
            data_block(_hover(plot, low, high)),
            class_="plot" + (" tall" if plot.tall else "") + (f" {crowd}" if crowd else ""),
            tabindex="0",
            role="group",
            aria_label=f"{plot.title}: plot. Left and right arrow keys read values.",
        ),
        _numbers(plot),
        class_="chart" + (" wide" if plot.tall else ""),
    )


_FIXED = "non-scaling-stroke"
_CROWDS = {
    "many": " Each band shows when its name in the legend is pointed at.",
    "several": " Bands of anchors and companions show when their name in the legend is pointed at.",
}


def _beside(line: Line) -> bool:
    """Whether a line is there to compare judged models with."""
    return not {"anchor", "companion"}.isdisjoint(line.look.split())


def _known(value: float) -> bool:
    return math.isfinite(value)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _range(plot: Plot) -> tuple[float, float]:
    values = [
        v
        for line in plot.lines
        for part in (line.middle, line.low or (), line.high or ())
        for v in part
        if _known(v)
    ] or [0.0, 1.0]
    low = min(values) if plot.bottom is None else plot.bottom
    high = max(values) if plot.top is None else plot.top
    if high <= low:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    return low, high


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round values within a range."""
    size = (high - low) / about
    power = 10.0 ** math.floor(math.log10(size))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= size * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _places(plot: Plot) -> list[int]:
    """Which places are named below the plot."""
    last = len(plot.x) - 1
    if plot.x_names is not None or last <= 6:
        return list(range(last + 1))
    wanted = [v for v in _ticks(plot.x[0], plot.x[-1], 6) if v == int(v)]
    near = [min(range(last + 1), key=lambda i: abs(plot.x[i] - v)) for v in wanted]
    return sorted(
        {*near, 0, last} - {i for i in near if 0 < last - i < last / 12 or 0 < i < last / 25}
    )


def _path(values: Sequence[float], plot: Plot, x: Any, y: Any) -> str:
    parts, pen = [], False
    for i, value in enumerate(values):
        if not _known(value):
            pen = False
            continue
        here = f"{_n(_WIDTH * x(plot.x[i]))}"
        if not pen:
            alone = i + 1 == len(values) or not _known(values[i + 1])
            parts.append(f"M{here} {_n(y(value))}" + ("h0" if alone else ""))
        elif plot.steps:
            parts.append(f"V{_n(y(value))}H{here}")
        else:
            parts.append(f"L{here} {_n(y(value))}")
        pen = True
    return "".join(parts)


def _band(line: Line, plot: Plot, x: Any, y: Any) -> Html:
    """Its pieces between gaps, each there and back."""
    low, high = line.low or (), line.high or ()
    pieces: list[list[int]] = [[]]
    for i, (a, b) in enumerate(zip(low, high, strict=True)):
        if _known(a) and _known(b):
            pieces[-1].append(i)
        elif pieces[-1]:
            pieces.append([])
    parts = []
    for piece in pieces:
        there: list[tuple[float, float]] = []
        back: list[tuple[float, float]] = []
        for i in piece:
            at = _WIDTH * x(plot.x[i])
            if plot.steps and there:  # the value holds since the place before
                there.append((there[-1][0], y(high[i])))
                back.append((back[-1][0], y(low[i])))
            there.append((at, y(high[i])))
            back.append((at, y(low[i])))
        points = there + back[::-1]
        if len(piece) > 1:
            parts.append("M" + "L".join(f"{_n(a)} {_n(b)}" for a, b in points) + "Z")
    return h("path", d="".join(parts), class_="band", vector_effect=_FIXED)


def _summary(plot: Plot) -> str:
    """The lines' last values in words."""
    told = []
    for line in plot.lines[:8]:
        known = [v for v in line.middle if _known(v)]
        told.append(f"{line.name} {number(known[-1]) if known else 'undefined'}")
    left = len(plot.lines) - len(told)
    more = f", and {left} more" if left > 0 else ""
    return f"Last values: {', '.join(told)}{more}." if told else ""


def _hover(plot: Plot, low: float, high: float) -> dict[str, Any]:
    def short(values: Sequence[float] | None) -> list[float | None] | None:
        return (
            None if values is None else [float(f"{v:.5g}") if _known(v) else None for v in values]
        )

    return {
        "x": [float(f"{v:.6g}") for v in plot.x],
        "names": list(plot.x_names) if plot.x_names else None,
        "label": plot.x_label,
        "lines": [
            {
                "m": line.key,
                "name": line.name[:80],
                "look": line.look,
                "y": short(line.middle),
                "lo": short(line.low),
                "hi": short(line.high),
            }
            for line in plot.lines
        ],
    }


def _numbers(plot: Plot) -> Html:
    """The table behind the plot."""
    every = max(1, math.ceil(len(plot.x) / _TABLE_STEPS))
    chosen = [*range(0, len(plot.x), every)]
    if chosen[-1] != len(plot.x) - 1:
        chosen.append(len(plot.x) - 1)
    body = []
    for i in chosen:
        place = plot.x_names[i] if plot.x_names else plain(plot.x[i])
        body.append([place, *(_cell(line, i, plot.form) for line in plot.lines)])
    note = f" 1 in {every} of {len(plot.x)} places; all are in the CSV files." if every > 1 else ""
    caption = f"{plot.title}: value [band] by {plot.x_label}.{note}"
    head: list[object] = [plot.x_label, *(name_of(line.name) for line in plot.lines)]
    return h(
        "details",
        h("summary", "Numbers", h("span", f" of {plot.title}", class_="sr")),
        data_table(head, body, caption=caption),
        class_="numbers",
    )


def _cell(line: Line, i: int, form: str) -> Html:
    text = number(line.middle[i], form)
    if line.low is None or line.high is None or not _known(line.low[i]):
        return join([text])
    return join([text, h("small", f" [{number(line.low[i], form)}, {number(line.high[i], form)}]")])
