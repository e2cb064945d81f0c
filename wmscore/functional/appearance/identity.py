"""Object identity from pixels: no label map of the generated frames is needed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional._check import (
    check_count,
    check_frames,
    check_ids,
    check_labels,
    check_mask,
    check_number,
    check_tensor,
    check_whole,
)
from wmscore.functional.appearance.decide import decide
from wmscore.functional.appearance.evidence import Evidence, gather_evidence
from wmscore.functional.appearance.states import AppearanceStates
from wmscore.functional.references import Encoder
from wmscore.ops.label_overlap import LARGEST_ID

__all__ = ["identity_from_appearance", "states_of"]


@torch.no_grad()
def identity_from_appearance(
    preds: Tensor,
    target: Tensor,
    target_labels: Tensor,
    ids: Tensor,
    *,
    target_index: Tensor | None = None,
    valid: Tensor | None = None,
    target_confidence: Tensor | None = None,
    preds_labels: Tensor | None = None,
    encoder: Encoder | None = None,
    sensitivity: float = 0.5,
    min_confidence: float = 0.5,
    min_area: int = 16,
    min_core: int = 12,
    radius: int = 2,
) -> AppearanceStates:
    r"""State of every object at every step, told from the generated pixels.

    The reference shows the same step of the true world, so that for each of its objects there is a
    place to look at and a picture of what should be there. What the generated frame shows in that
    place is compared with the hypotheses

    - *itself*: what the reference shows there now, and its first, last and largest view so far;
    - *another object*: the same views of each other object;
    - *the background*: what the reference's surroundings let expect behind the object;
    - and none of these.

    Before that the generated frame is brought to the reference's brightness and contrast, fitted
    per channel on the background, and each place is taken at the displacement of up to ``radius``
    pixels at which it agrees most with the reference. With D the distance of descriptors (see
    ``appearance/maps.py``: Cramér's distance of the colours' distributions, blind to where in the
    object they are), the score of a hypothesis a against itself o for what is shown, u, is

    .. math:: c_a = 1 - \frac{|u - a|}{|o - a|}

    0 where the object is itself and 1 where it is a. Blur, compression, noise and brightness move u
    off o, but rarely towards one certain a, and all in units of how different the two are. A break
    is called where the score reaches a threshold: SWAP 0.50; VANISH 0.60, of the descriptor and of
    the pixels; MORPH where u is far from itself both in absolute terms and against the other
    objects of the frame, while nothing else is nearer; DUPLICATE where the object is in its place
    and again elsewhere, off all objects of the reference, at 0.58 of

    .. math:: s(d) = 1 - \frac{\sum_p |X(p + d) - Y(p)|^2}{\sum_p |Y(p + d) - Y(p)|^2}

    over all displacements d. An object that is found elsewhere in that way, that its carried label
    has followed, or that covers another one, is MISLOCATED, which is no break.

    Where a break would not show, nothing is claimed: UNDETERMINED, with an
    :class:`Reason`. It does not say that an object is OK that looks like another visible
    one (TWIN: a swap would not show) or like the background (CAMOUFLAGED), but still sees it
    replaced by something else.

    One step is little evidence: call breaks over two observable steps or more in a row.

    Args:
        preds: generated frames ``[B, T, C, H, W]``, C of 1 or 3, ``uint8`` or floating point in
            [0, 1]; steps 1..T, without the given frame 0.
        target: reference frames ``[S, T, C, H, W]`` of the same dtype.
        target_labels: ``[S, T, H, W]``, integers in 0..32767, 0 = background: of a simulator, or
            carried along the reference (:func:`wmscore.functional.carry_labels`).
        ids: ``[B, N]`` distinct object ids of each row, 0 = padding.
        target_index: ``[B]`` int64, which reference each row has; ``None`` means its own.
        valid: ``[B, T]`` bool, steps that exist; ``None`` means all.
        target_confidence: ``[S, T, N]`` float, of carried reference labels, for the objects of
            ``ids``; below ``min_confidence`` an object is LOST. ``None`` means that all are known.
        preds_labels: ``[B, T, H, W]``, labels carried along the generated frames: another way to
            find a MISLOCATED object. ``None`` leaves it out.
        encoder: any :class:`Encoder`: the features of its last layer, of length 1, are added to the
            descriptor.
        sensitivity: in [0, 1]; breaks whose confidence is at least 1 - sensitivity are called.
            Higher finds more breaks and calls more that are none; see docs/identity.md.
        min_confidence: of carried labels.
        min_area: reference pixels from which an object is visible.
        min_core: pixels farther than one from its edge without which it is TOO_SMALL.
        radius: displacement in pixels that is still in place.

    Returns:
        An :class:`AppearanceStates`. A row does not depend on the rows beside it; a step does not
        depend on later ones.

    Raises:
        ValueError: shapes or devices do not fit, an id or an option is out of range.
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> from wmscore.functional import IdentityState
        >>> target = torch.full((1, 2, 3, 48, 48), 90, dtype=torch.uint8)
        >>> labels = torch.zeros(1, 2, 48, 48, dtype=torch.int64)
        >>> labels[..., 4:14, 4:14], labels[..., 28:38, 28:38] = 1, 2
        >>> target[:, :, 0][labels == 1] = 250  # a red square
        >>> target[:, :, 2][labels == 2] = 250  # a blue one
        >>> preds = target.clone()
        >>> preds[:, 1] = target[:, 1].flip(-1, -2).roll((-6, -6), (-1, -2))  # that change places
        >>> found = identity_from_appearance(preds, target, labels, torch.tensor([[1, 2]]))
        >>> [[IdentityState(s).name for s in step] for step in found.state[0].tolist()]
        [['OK', 'OK'], ['SWAP', 'SWAP']]
    """
    _check(preds, target, target_labels, ids)
    rows, steps = preds.shape[:2]
    index = torch.arange(rows, device=preds.device) if target_index is None else target_index
    _check_index(index, target, preds)
    if preds_labels is not None:
        check_labels(preds_labels=preds_labels)
        _check_labels_of("preds_labels", preds_labels, preds)
    if valid is None:
        valid = torch.ones(rows, steps, dtype=torch.bool, device=preds.device)
    else:
        check_mask("valid", valid, (rows, steps), preds.device, like="preds")
        valid = valid.expand(rows, steps)
    for name, value in (("sensitivity", sensitivity), ("min_confidence", min_confidence)):
        check_number(name, value, low=0.0, high=1.0)
    for name, count in (("min_area", min_area), ("min_core", min_core)):
        check_count(name, count)
    check_whole("radius", radius)
    lost = None
    if target_confidence is not None:
        expected = (target.shape[0], steps, ids.shape[1])
        check_tensor("target_confidence", target_confidence)
        if target_confidence.shape != expected:
            raise ValueError(
                f"target_confidence must have shape [S, T, N] = {expected}, "
                f"got {tuple(target_confidence.shape)}"
            )
        lost = ~(target_confidence >= min_confidence)[index]
    if ids.numel() == 0:
        return _nothing(preds, ids)
    evidence = gather_evidence(
        preds, target, target_labels, ids.long(), index, radius, preds_labels, encoder
    )
    return states_of(
        evidence,
        ids.long(),
        valid,
        lost,
        sensitivity=sensitivity,
        min_area=min_area,
        min_core=min_core,
    )


def states_of(
    evidence: Evidence,
    ids: Tensor,
    valid: Tensor,
    lost: Tensor | None,
    *,
    sensitivity: float = 0.5,
    min_area: int = 16,
    min_core: int = 12,
) -> AppearanceStates:
    """Decide on evidence that is there, say for several sensitivities; all in double precision."""
    shape = evidence.area.shape
    evidence = Evidence(
        *(value.double() if value.is_floating_point() else value for value in evidence)
    )
    if lost is None:
        lost = torch.zeros(shape, dtype=torch.bool, device=ids.device)
    found = decide(
        evidence, ids, valid, lost, sensitivity=sensitivity, min_area=min_area, min_core=min_core
    )
    missing = ~(valid[..., None] & (ids > 0)[:, None])
    names = pad(ids, (1, 0))[:, None].expand(-1, shape[1], -1)
    return AppearanceStates(
        ids=ids,
        state=found.state,
        other_id=names.gather(2, found.other),
        confidence=found.confidence,
        reason=found.reason,
        area=evidence.area.masked_fill(missing, 0),
        own=found.hypotheses.own.masked_fill(missing, torch.nan),
        other=found.hypotheses.toward.masked_fill(missing[..., None], torch.nan),
        ground=found.hypotheses.toward_ground.masked_fill(missing, torch.nan),
        elsewhere=evidence.elsewhere.masked_fill(missing, torch.nan),
        again=evidence.again.masked_fill(missing, torch.nan),
    )


def _nothing(preds: Tensor, ids: Tensor) -> AppearanceStates:
    shape = (*preds.shape[:2], ids.shape[1])
    empty = torch.zeros(shape, dtype=torch.float64, device=preds.device)
    return AppearanceStates(
        ids=ids.long(),
        state=empty.to(torch.uint8),
        other_id=empty.long(),
        confidence=empty,
        reason=empty.to(torch.uint8),
        area=empty.long(),
        own=empty,
        other=empty[..., None].expand(*shape, shape[-1]),
        ground=empty,
        elsewhere=empty,
        again=empty,
    )


def _check(preds: Tensor, target: Tensor, target_labels: Tensor, ids: Tensor) -> None:
    for name, frames, layout in (("preds", preds, "[B, T"), ("target", target, "[S, T")):
        check_frames(**{name: frames})
        if frames.ndim != 5 or frames.shape[2] not in (1, 3) or frames.shape[1] == 0:
            raise ValueError(
                f"{name} must have shape {layout}, C, H, W] with C of 1 or 3 and at least one "
                f"step, got {tuple(frames.shape)}"
            )
        if min(frames.shape[3:]) < 16:
            raise ValueError(
                f"{name} must be at least 16 x 16 pixels, got {tuple(frames.shape[3:])}"
            )
    if preds.shape[1:] != target.shape[1:]:
        raise ValueError(
            "preds and target must have one T and one size of frames, "
            f"got {tuple(preds.shape)} and {tuple(target.shape)}"
        )
    if preds.dtype != target.dtype or preds.device != target.device:
        raise TypeError(
            "preds and target must have one dtype and device (uint8 is 0..255, floats are 0..1), "
            f"got {preds.dtype} on {preds.device} and {target.dtype} on {target.device}"
        )
    check_labels(target_labels=target_labels)
    _check_labels_of("target_labels", target_labels, target)
    check_tensor("ids", ids)
    check_ids(ids, preds, LARGEST_ID)


def _check_labels_of(name: str, labels: Tensor, frames: Tensor) -> None:
    expected = (*frames.shape[:2], *frames.shape[3:])
    if labels.shape != expected:
        raise ValueError(
            f"{name} must have the shape {expected} of its frames, got {tuple(labels.shape)}"
        )
    if labels.device != frames.device:
        raise ValueError(f"{name} must be on {frames.device} like the frames, got {labels.device}")


def _check_index(index: Tensor, target: Tensor, preds: Tensor) -> None:
    check_tensor("target_index", index)
    if index.dtype != torch.int64 or index.shape != preds.shape[:1]:
        raise ValueError(
            f"target_index must be int64 [B] = ({preds.shape[0]},), "
            f"got {index.dtype} {tuple(index.shape)}"
        )
    if index.device.type == "cpu" and len(index):
        low, high = (int(value) for value in index.aminmax())
        if low < 0 or high >= len(target):
            raise ValueError(
                f"target has {len(target)} references, but target_index asks for {low}..{high}"
            )
