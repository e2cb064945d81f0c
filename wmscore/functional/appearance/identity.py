"""Object identity from pixels: no label map of the generated frames is needed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from wmscore.functional._check import (
    check_count,
    check_frames,
    check_ids,
    check_labels,
    check_mask,
    check_number,
    check_whole,
)
from wmscore.functional._chunks import piece_elements
from wmscore.functional.appearance.decide import decide
from wmscore.functional.appearance.evidence import Evidence, frame_evidence
from wmscore.functional.appearance.states import AppearanceStates
from wmscore.functional.overlap import LARGEST_ID, slot_maps
from wmscore.functional.references import Encoder, encode

__all__ = ["identity_from_appearance"]

_PIECES = 4  # a frame takes that many times the temporaries that a piece is meant for


def identity_from_appearance(
    preds: Tensor,
    target: Tensor,
    target_labels: Tensor,
    ids: Tensor,
    *,
    target_index: Tensor | None = None,
    valid: Tensor | None = None,
    preds_labels: Tensor | None = None,
    target_confidence: Tensor | None = None,
    encoder: Encoder | None = None,
    sensitivity: float = 0.5,
    min_confidence: float = 0.5,
    min_area: int = 16,
    min_core: int = 12,
    radius: int = 2,
) -> AppearanceStates:
    """State of every object at every step, told from pixels.

    TODO
    """
    check_frames(preds=preds)
    check_frames(target=target)
    for name, frames in (("preds", preds), ("target", target)):
        if frames.ndim != 5 or frames.shape[2] not in (1, 3) or frames.shape[1] == 0:
            raise ValueError(
                f"{name} must have shape [B, T, C, H, W] with C = 1 or C = 3 and at least one "
                f"step, got {tuple(frames.shape)}"
            )
    check_labels(target_labels=target_labels)
    rows, steps, _, height, width = preds.shape
    index = target_index
    if index is None:
        index = torch.arange(rows, device=preds.device)
    check_ids(ids, preds, LARGEST_ID)
    check_number("sensitivity", sensitivity, low=0.0, high=1.0)
    if valid is None:
        valid = torch.ones(rows, steps, dtype=torch.bool, device=preds.device)
    valid = valid.expand(rows, steps)
    encoding = None if encoder is None else _encoding(encoder)
    ids = ids.long()
    objects = ids.shape[1]
    area = height * width
    at_once = max(1, piece_elements(preds.device) // (_PIECES * area))
    slot_ids = torch.arange(1, objects + 1, device=ids.device).where(ids > 0, 0)
    pieces = []
    row_size = max(1, at_once // steps)
    for row in range(0, rows, row_size):
        some = slice(row, row + row_size)
        for first in range(0, steps, at_once):
            then = slice(first, first + at_once)
            which = index[some]
            gen = preds[some, then]
            shape = gen.shape[:2]
            slots = slot_maps(target_labels[which, then], ids[some])
            carried = None
            if preds_labels is not None:
                carried = slot_maps(preds_labels[some, then], ids[some])
            found = frame_evidence(
                _as_float(gen.flatten(0, 1)),
                _as_float(target[which, then].flatten(0, 1)),
                slots,
                slot_ids[some].repeat_interleave(shape[1], 0),
                radius,
                carried=carried,
                encode=encoding,
            )
            pieces.append([value.unflatten(0, shape) for value in found])
    # pieces are row-major
    evidence = _joined(pieces, rows, steps, row_size, at_once)
    lost = torch.zeros(rows, steps, objects, dtype=torch.bool, device=ids.device)
    if target_confidence is not None:
        lost = target_confidence < min_confidence
    d = decide(
        evidence, ids, valid, lost, sensitivity=sensitivity, min_area=min_area, min_core=min_core
    )
    names = torch.nn.functional.pad(ids, (1, 0))[:, None].expand(-1, steps, -1)
    return AppearanceStates(
        ids=ids, state=d.state, other_id=names.gather(2, d.other), confidence=d.confidence.double(), reason=d.reason,
        area=evidence.area, own=d.own.double(), other=d.toward.double(), ground=d.ground.double(), elsewhere=evidence.elsewhere.double(), again=evidence.again.double()
    )


def _joined(pieces, rows, steps, row_size, at_once):
    per_row = -(-steps // at_once)
    lines = [pieces[i:i + per_row] for i in range(0, len(pieces), per_row)]
    return Evidence(*(torch.cat([torch.cat([p[k] for p in line], 1) for line in lines]) for k in range(len(Evidence._fields))))


def _as_float(frames: Tensor) -> Tensor:
    return frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()


def _encoding(encoder: Encoder) -> Callable[[Tensor], Tensor]:
    def last(frames: Tensor) -> Tensor:
        return encode(encoder, frames, "frames")[-1].to(frames.device)
    return last
