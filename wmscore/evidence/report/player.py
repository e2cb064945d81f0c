"""One trace in the page: frames that play and step, a filmstrip, its scores and its files."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from torch import Tensor

from wmscore.evidence.report.charts import Line, Plot, draw
from wmscore.evidence.report.frames import Pictures, pictures
from wmscore.evidence.report.markup import Html, h, label, name_of
from wmscore.evidence.report.numbers import plain, words
from wmscore.evidence.report.reading import Evidence

__all__ = ["Clip", "player"]

_AXES = 6  # colours of axes


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A trace as the page shows it.

    Attributes:
        place: id of its element.
        model: whose rollout.
        scenario: id of the scenario.
        seed: its seed.
        step: the step to look at.
        why: what happens there.
        path: its file.
    """

    place: str
    model: str
    scenario: str
    seed: str
    step: int
    why: str
    path: Path


def player(
    evidence: Evidence, clip: Clip, tensors: dict[str, Tensor], budget: int, inline: bool
) -> Html:
    """The card of a trace.

    Args:
        evidence: the folder.
        clip: which trace.
        tensors: what it holds.
        budget: bytes that its pictures may take.
        inline: whether its video is put into the page.
    """
    shown = pictures(tensors, clip.step, budget)
    look = evidence.looks.get(clip.model, "c0")
    title = h(
        "h3",
        label(look, clip.model),
        h("small", " on ", name_of(clip.scenario), f", seed {clip.seed}"),
    )
    sides = ["reference", "generated"] if shown.reference is not None else ["generated"]
    panes = [_pane(side, shown) for side in sides]
    if shown.reference is not None:
        panes.append(_difference(shown))
    has_lines = any(shown.generated_lines) or any(shown.reference_lines)
    controls = h(
        "div",
        _button("play", "Play", "Play"),
        _button("back", "‹", "One step back"),
        h(
            "input",
            type="range",
            min=shown.steps[0],
            max=shown.steps[-1],
            value=_start(clip, shown),
            step="1",
            class_="seek",
            aria_label="Step",
        ),
        _button("on", "›", "One step on"),
        _button("failure", f"Step {clip.step}", "Go to the failure"),
        h("label", h("input", type="checkbox", class_="outlines", checked=True), "Outlines")
        if has_lines
        else None,
        class_="controls",
    )
    return h(
        "article",
        h("div", title, h("p", _why(clip.why), class_="why"), class_="head"),
        h("div", *panes, class_=f"panes n{len(panes)}"),
        h("p", class_="now", aria_live="off"),
        controls,
        _strip(evidence, clip, tensors, shown),
        _curves(tensors),
        _files(evidence, clip, shown, inline),
        class_="film" + (" small" if max(shown.width, shown.height) <= 200 else ""),
        id=clip.place,
        data_failure=clip.step,
        data_fps=plain(_fps(evidence)),
    )


def _why(text: str) -> str:
    return text.replace("_", " ")


def _fps(evidence: Evidence) -> float:
    size = evidence.panel.contract.observation
    return 10.0 if size is None else float(size.fps)


def _start(clip: Clip, shown: Pictures) -> int:
    return min(shown.steps, key=lambda s: abs(s - clip.step))


def _button(name: str, text: str, label: str) -> Html:
    return h(
        "button", text, type="button", class_=name, aria_label=label if label != text else None
    )


def _pane(side: str, shown: Pictures) -> Html:
    ratio = {"width": shown.width, "height": shown.height}
    return h(
        "figure",
        h(
            "div",
            h("img", alt=f"{side} frame", class_="frame", data_side=side, **ratio),
            h("img", alt="", class_="over", data_side=side, hidden=True, **ratio),
            class_="screen",
        ),
        h("figcaption", side),
    )


def _difference(shown: Pictures) -> Html:
    """Both frames on one another, subtracted by the browser."""
    ratio = {"width": shown.width, "height": shown.height}
    return h(
        "figure",
        h(
            "div",
            h(
                "img",
                alt="difference of the two frames",
                class_="frame",
                data_side="reference",
                **ratio,
            ),
            h("img", alt="", class_="frame minus", data_side="generated", **ratio),
            class_="screen difference",
        ),
        h("figcaption", "difference"),
    )


def _strip(evidence: Evidence, clip: Clip, tensors: dict[str, Tensor], shown: Pictures) -> Html:
    """All steps side by side; one of them can be reached by tab, the others by arrow keys."""
    chosen = _start(clip, shown)
    cells = []
    for i, step in enumerate(shown.steps):
        sides = []
        for side, urls, lines in (
            ("reference", shown.reference, shown.reference_lines),
            ("generated", shown.generated, shown.generated_lines),
        ):
            if urls is None:
                continue
            over = lines[i] if lines else ""
            sides.append(
                h(
                    "span",
                    h(
                        "img",
                        src=urls[i],
                        alt="",
                        class_=f"thumb {side}",
                        decoding="async",
                        width=shown.width,
                        height=shown.height,
                    ),
                    h(
                        "img",
                        src=over,
                        alt="",
                        class_=f"thumb over {side}-lines",
                        decoding="async",
                        width=shown.width,
                        height=shown.height,
                    )
                    if over
                    else None,
                    class_="cell",
                )
            )
        failing = step == clip.step
        action = _action(evidence, tensors, step)
        label = (
            f"Step {step}"
            + (f", after {action}" if action else "")
            + (", the failure" if failing else "")
        )
        cells.append(
            h(
                "div",
                *sides,
                h("span", step, class_="number"),
                role="option",
                tabindex="0" if step == chosen else "-1",
                aria_selected="true" if step == chosen else "false",
                aria_label=label,
                class_="step"
                + (" failing" if failing else "")
                + ("" if abs(step - clip.step) <= 4 else " far"),
                data_step=step,
                data_action=action or None,
            )
        )
    rows = "reference above generated" if shown.reference is not None else "generated"
    return h(
        "div",
        *cells,
        class_="strip",
        role="listbox",
        aria_orientation="horizontal",
        aria_label=f"Filmstrip, {rows}. Arrow keys step.",
    )


def _action(evidence: Evidence, tensors: dict[str, Tensor], step: int) -> str:
    """The action that led to a step."""
    actions = tensors.get("actions")
    space = evidence.panel.contract.actions
    if actions is None or step < 1 or step > actions.shape[-1 if actions.dim() == 1 else -2]:
        return ""
    value = actions[step - 1]
    if value.dim() == 0 and not value.is_floating_point():
        index = int(value)
        return space.names[index] if 0 <= index < len(space.names) else f"action {index}"
    if value.dim() == 1 and len(value) <= 4:
        return ", ".join(f"{number:.2f}" for number in value.tolist())
    return ""


def _curves(tensors: dict[str, Tensor]) -> Html | None:
    """The row's own scores; the plot's cursor follows the player."""
    start = "curves.axes."
    names = [name for name in tensors if name.startswith(start) and tensors[name].dim() == 1]
    if not names:
        return None
    lines = [
        Line(
            name=words(name.removeprefix(start)),
            look=f"a{i % _AXES} axis",
            key=-1 - i,
            middle=[float(v) for v in tensors[name].tolist()],
        )
        for i, name in enumerate(names)
    ]
    steps = max(len(line.middle) for line in lines)
    keys = h(
        "p",
        *(
            h("span", h("span", class_=f"key a{i % _AXES}", aria_hidden="true"), line.name)
            for i, line in enumerate(lines)
        ),
        class_="keys",
    )
    plot = Plot(
        title="Scores of this rollout",
        x=[float(i + 1) for i in range(steps)],
        lines=lines,
        x_label="step",
        y_label="score",
        note=keys,
        bottom=0.0,
        top=1.0,
    )
    return draw(plot)


def _files(evidence: Evidence, clip: Clip, shown: Pictures, inline: bool) -> Html:
    video = clip.path.with_suffix(".mp4")
    parts: list[object] = []
    size = evidence.files.get(f"traces/{video.name}", ("", 0))[1]
    if inline:
        data = base64.b64encode(video.read_bytes()).decode("ascii")
        parts.append(
            h(
                "video",
                src=f"data:video/mp4;base64,{data}",
                controls=True,
                loop=True,
                muted=True,
                playsinline=True,
                preload="metadata",
                aria_label=f"Clip of {clip.model}: reference left, generated right",
            )
        )
    elif size:
        parts.append(
            h(
                "p",
                f"The clip is too large for this page ({size / 1e6:.1f} MB); it is in the folder.",
            )
        )
    if shown.note:
        parts.append(h("p", shown.note.strip()))
    links = []
    for ending, what in (
        (".mp4", "clip"),
        (".png", "strip"),
        (".safetensors", "all tensors and scores"),
    ):
        name = f"{clip.path.stem}{ending}"
        if f"traces/{name}" in evidence.files:
            links.append(h("li", h("a", name, href=f"traces/{quote(name)}"), f" {what}"))
    title = "Clip as video, and files" if inline else "Files"
    return h("details", h("summary", title), h("div", *parts, h("ul", *links)), class_="files")
