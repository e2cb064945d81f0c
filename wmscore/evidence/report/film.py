"""Filmstrips and clips: reference beside generated, step by step, around the first failure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from wmscore.evidence.report.markup import Html, h, join
from wmscore.evidence.report.player import Clip, player
from wmscore.evidence.report.reading import Evidence
from wmscore.tensorfile import load_tensors

__all__ = ["Clip", "PICTURES", "VIDEOS", "clips", "film"]

PICTURES = 4_500_000
"""Bytes that the pictures of all traces may take together."""

VIDEOS = 2_000_000
"""Bytes that the videos may; further ones are left in the folder, which the page says."""

_MOST = 24  # traces that are shown


def clips(evidence: Evidence) -> list[Clip]:
    """The folder's traces, judged models first.

    Raises:
        ValueError: a file is no trace.
    """
    found = []
    for i, path in enumerate(evidence.paths("traces/*.safetensors")):
        header, _ = _load(path, lambda name: False)
        about = header.get("trace")
        if not isinstance(about, dict):
            raise ValueError(f"{path}: expected a trace with a header, got {about!r}")
        step = about.get("step")
        found.append(
            Clip(
                place=f"trace-{i + 1}",
                model=str(about.get("model")),
                scenario=str(about.get("scenario_id")),
                seed=str(about.get("seed")),
                step=step if isinstance(step, int) else 1,
                why=str(about.get("why", "")),
                path=path,
            )
        )
    found.sort(key=lambda clip: _order(evidence, clip))
    return found


def _order(evidence: Evidence, clip: Clip) -> tuple[bool, int, bool, int]:
    """Judged models as they are ranked; of each the rollout that fails first, then by step."""
    for i, model in enumerate(evidence.models):
        if model.name == clip.model:
            first = model.failure
            leads = first is not None and (first.scenario, str(first.seed), first.step) == (
                clip.scenario,
                clip.seed,
                clip.step,
            )
            return (
                not model.judged,
                i,
                not (leads and not clip.why.startswith("object ")),
                clip.step,
            )
    return True, len(evidence.models), True, clip.step


def _load(path: Path, wanted: Callable[[str], bool]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        return load_tensors(path, "trace", wanted=wanted)
    except (SafetensorError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: expected a trace: {error}") from None


def _shown(name: str) -> bool:
    """Whether a page shows a tensor: the commanded rollout's, no other script's."""
    return not name.startswith(("branches.", "curves.measures.", "latents", "reference_latents"))


def film(evidence: Evidence, found: list[Clip]) -> Html:
    """Section: a player for each trace."""
    if not found:
        return h("p", "The folder has no traces.", class_="empty")
    left = VIDEOS
    cards = []
    shown = found[:_MOST]
    for clip in shown:
        video = clip.path.with_suffix(".mp4")
        size = evidence.files.get(f"traces/{video.name}", ("", 0))[1]
        inline = 0 < size * 4 / 3 <= left and _is_video(video)
        left -= size * 4 // 3 if inline else 0
        _, tensors = _load(clip.path, _shown)  # one trace after the other
        cards.append(player(evidence, clip, tensors, PICTURES // len(shown), inline))
    note = (
        "Reference on the left, generated on the right. Play, or step with the arrow keys; the "
        "marked step is where the failure starts. Outlines are the objects, red the ones that are "
        "broken. Pictures are compressed for this page; the numbers come from the .safetensors."
    )
    more = len(found) - len(shown)
    rest = h("p", f"{more} more traces are in the folder traces/.", class_="lead") if more else None
    return join([h("p", note, class_="lead"), *cards, rest])


def _is_video(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(12)[4:8] == b"ftyp"
