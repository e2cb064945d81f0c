"""How GameNGen was evaluated, on a panel: teacher-forced and autoregressive, in windows.

Valevski et al., "Diffusion Models Are Real-Time Game Engines", ICLR 2025, arXiv:2408.14837,
section 5.1. What is comparable with the paper and what is not: docs/gamengen-protocol.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wmscore.functional import LpipsEncoder
from wmscore.manifest import Panel, PanelMismatchError
from wmscore.networks import ClipEncoder
from wmscore.protocols.gamengen_measure import Measured
from wmscore.protocols.gamengen_result import GameNGenResult
from wmscore.replay import panel_items
from wmscore.rollouts import Rollouts
from wmscore.worlds import Item, TeacherForced
from wmscore.worlds.windows import ContinuesFrom

__all__ = ["gamengen_protocol"]


def gamengen_protocol(
    panel: Panel,
    model: TeacherForced,
    truth: Rollouts,
    *,
    lpips_network: LpipsEncoder | None = None,
    clip_encoder: ClipEncoder | None = None,
    windows: Sequence[int] = (16, 32),
    start: int | None = None,
    batch_size: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> GameNGenResult:
    """Judge a model as GameNGen was: single frames after true ones, and windows of its own.

    - *Teacher-forced*: each frame is predicted from the true frames before it. PSNR and LPIPS
      against the true frame, mean over the steps of the longest window.
    - *Autoregressive*: after the true frames 0..`start` the model goes on with its own. PSNR and
      LPIPS at each step and over the first 16 and 32 frames, and the Fréchet distance between the
      clips that these frames are and the true ones, with the features of a video network.

    Commanded scripts only, no counterfactual branches. Scenarios are the unit: seeds and steps are
    averaged first. Rows whose true episode ends within the windows, and rows that the model answers
    with frames that are not finite, out of range or too few, are in no number and are counted.

    Args:
        panel: the contract; its horizon must reach `start` + the longest window.
        model: who is judged.
        truth: from `render_truth` on the same panel.
        lpips_network: of LPIPS, such as `LpipsNetwork.load("alex")`; None leaves it out.
        clip_encoder: of clips; an I3D makes the distance an FVD. None leaves it out.
        windows: lengths in frames.
        start: index of the last true frame. By default one that fills the model's context,
            `context_frames - 1`, where it can go on from there (`WindowModel.continue_from`), and
            else 0.
        batch_size: rows per call.
        progress: called with (rows done, rows in all).

    Raises:
        PanelMismatchError: the truth is that of another panel.
        ValueError: no one-step predictions, a scenario that is missing in the truth, a horizon that
            is too short, a start that the model cannot go on from, no row left to measure, or an
            answer to another question.
    """
    if not isinstance(model, TeacherForced):
        raise ValueError(f"model {model.name!r}: offers no one-step predictions (predict_next)")
    lengths = sorted(set(windows))
    if not lengths or lengths[0] < 1 or batch_size < 1:
        raise ValueError(
            f"windows, batch_size: expected at least 1 each, got {list(windows)} and {batch_size}"
        )
    begin = _start(model, start)
    end = begin + lengths[-1]
    if panel.contract.horizon < end:
        raise ValueError(
            f"panel {panel.name!r}: expected a horizon of at least {end} (start {begin} + window "
            f"{lengths[-1]}), got {panel.contract.horizon}"
        )
    if truth.panel != panel.fingerprint:
        raise PanelMismatchError(
            f"truth: expected panel {panel.fingerprint[:12]}, got {truth.panel[:12]}"
        )
    place = {
        (s, b): i
        for i, (s, b) in enumerate(zip(truth.scenario.tolist(), truth.branch.tolist(), strict=True))
    }
    rows = list(panel.rows())
    if missing := sorted({s for s, _ in rows if (s, 0) not in place}):
        ids = [panel.scenarios[s].id for s in missing[:4]]
        raise ValueError(
            f"truth: expected every scenario, {len(missing)} are missing, such as {ids}"
        )
    found = Measured(lengths, begin, lpips_network, clip_encoder)
    for low in range(0, len(rows), batch_size):
        part = rows[low : low + batch_size]
        items = [item for item in panel_items(panel, part, truth=truth) if item.branch == 0]
        index = torch.tensor([place[item.scenario, 0] for item in items])
        reference = truth.frames[index, : end + 1]
        there = truth.valid[index, : end + 1].all(1)
        forced = _answered(model.predict_next(items, reference, end), items, reference)
        if begin:
            assert isinstance(model, ContinuesFrom)
            rolled = model.continue_from(items, reference[:, : begin + 1], end)
        else:
            rolled = model.rollout(items, end)
        found.add(forced, _answered(rolled, items, reference), reference, there)
        if progress is not None:
            progress(min(low + batch_size, len(rows)), len(rows))
    if not found.scenario:
        raise ValueError(
            f"model {model.name!r}: none of {len(rows)} rows of panel {panel.name!r} can be "
            "measured: "
            + ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
        )
    observation = panel.contract.observation
    return found.result(
        model=model.name,
        panel=panel.fingerprint,
        fps=model.capabilities.fps if observation is None else observation.fps,
        frame_size=(truth.frames.shape[-2], truth.frames.shape[-1]),
    )


def _start(model: TeacherForced, start: int | None) -> int:
    goes_on = isinstance(model, ContinuesFrom)
    if start is None:
        return model.capabilities.context_frames - 1 if goes_on else 0
    if start < 0:
        raise ValueError(f"start: expected 0 or more, got {start}")
    if start and not goes_on:
        raise ValueError(
            f"start: model {model.name!r} cannot go on after true frames (continue_from), expected "
            f"0, got {start}"
        )
    return start


def _answered(rollouts: Rollouts, items: Sequence[Item], reference: Tensor) -> Rollouts:
    """Refuse an answer to another question."""
    asked = [(item.scenario, item.seed, item.branch) for item in items]
    keys = (rollouts.scenario.tolist(), rollouts.seed.tolist(), rollouts.branch.tolist())
    if list(zip(*keys, strict=True)) != asked or rollouts.frames.shape != reference.shape:
        raise ValueError(
            f"model {rollouts.model!r}: expected frames {list(reference.shape)} of the rows asked "
            f"for, got {list(rollouts.frames.shape)}"
        )
    return rollouts
