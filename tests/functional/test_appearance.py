"""Identity from pixels: what is known by construction, invariances, errors."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad
from torch.testing import assert_close

from tests.functional.objects_on_texture import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    Disc,
    background,
    three,
    video,
)
from wmscore.functional import IdentityState, Reason
from wmscore.functional.appearance import AppearanceStates, identity_from_appearance

OK, SWAP, VANISH = IdentityState.OK, IdentityState.SWAP, IdentityState.VANISH
DUPLICATE, MORPH = IdentityState.DUPLICATE, IdentityState.MORPH
UNDETERMINED, MISLOCATED = IdentityState.UNDETERMINED, IdentityState.MISLOCATED
IDS = torch.tensor([[3, 7, 9]])
STEPS, BEGIN = 8, 4  # the first wrong step is BEGIN, 1-based


def after(first: Tensor, second: Tensor) -> Tensor:
    """The first video up to step BEGIN - 1, then the second."""
    return torch.cat([first[:, : BEGIN - 1], second[:, BEGIN - 1 :]], 1)


def with_disc(which: int, **changes: object) -> list[Disc]:
    return [replace(d, **changes) if d.name == which else d for d in three()]  # type: ignore[arg-type]


def states(made: Tensor, **options: object) -> AppearanceStates:
    target, labels = video(three())
    return identity_from_appearance(made, target, labels, IDS, **options)  # type: ignore[arg-type]


def disturbed(frames: Tensor, name: str) -> Tensor:
    x = frames.flatten(0, 1).float()
    if name == "gain":
        x = 0.85 * x
    elif name == "bias":
        x = x + 20
    elif name == "shift":
        x = pad(x, (1, 1, 1, 1), mode="replicate")[..., 2:, :-2]
    elif name == "blur":
        x = avg_pool2d(pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    elif name == "noise":
        x = x + 8 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    return x.round().clamp(0, 255).to(torch.uint8).view_as(frames)


DISTURBANCES = ("none", "gain", "bias", "shift", "blur", "noise")


@pytest.mark.parametrize("name", DISTURBANCES)
def test_nothing_breaks(name: str) -> None:
    target, _ = video(three())
    found = states(disturbed(target, name))
    assert (found.state == OK).all()
    assert (found.reason == Reason.DEFINED).all()
    assert (found.confidence > 0.5).all()
    assert (found.other_id == 0).all()


@pytest.mark.parametrize("name", DISTURBANCES)
def test_swap(name: str) -> None:
    target, _ = video(three())
    other, _ = video([*with_disc(3, colour=GREEN)[:1], *with_disc(7, colour=RED)[1:]])
    found = states(disturbed(after(target, other), name))
    assert (found.state[0, : BEGIN - 1] == OK).all()
    assert (found.state[0, BEGIN - 1 :, :2] == SWAP).all()
    assert (found.state[0, :, 2] == OK).all()
    assert found.other_id[0, BEGIN - 1 :].unique(dim=0).tolist() == [[7, 3, 0]]
    assert (found.confidence[0, BEGIN - 1 :, :2] >= 0.5).all()


@pytest.mark.parametrize("name", DISTURBANCES)
def test_vanish(name: str) -> None:
    target, _ = video(three())
    other, _ = video([d for d in three() if d.name != 7])
    found = states(disturbed(after(target, other), name))
    assert (found.state[0, : BEGIN - 1] == OK).all()
    assert (found.state[0, BEGIN - 1 :, 1] == VANISH).all()
    assert (found.state[0, :, [0, 2]] == OK).all()


@pytest.mark.parametrize("name", DISTURBANCES)
def test_duplicate(name: str) -> None:
    target, _ = video(three())
    twin = Disc(7, GREEN, (52, 52))
    other, _ = video([*three(), twin])
    found = states(disturbed(after(target, other), name))
    assert (found.state[0, BEGIN - 1 :, 1] == DUPLICATE).all()
    assert (found.state[0, : BEGIN - 1] == OK).all()
    assert (found.state[0, :, [0, 2]] == OK).all()


@pytest.mark.parametrize("name", DISTURBANCES)
def test_morph(name: str) -> None:
    target, _ = video(three())
    other, _ = video(with_disc(9, colour=(255, 235, 250), stripe=2))
    found = states(disturbed(after(target, other), name))
    assert (found.state[0, BEGIN - 1 :, 2] == MORPH).all()
    assert (found.state[0, : BEGIN - 1] == OK).all()


def test_displaced_is_no_break() -> None:
    target, _ = video(three())
    for far in (3, 5, 9):
        moved, _ = video(with_disc(9, start=(20, 46 + far)))
        found = states(after(target, moved))
        assert not (found.state >= SWAP).any()
        assert (found.state[0, :, :2] == OK).all()
        if far > 5:
            assert (found.state[0, BEGIN - 1 :, 2] == MISLOCATED).all()


def test_hidden_by_a_displaced_object_is_no_break() -> None:
    target, _ = video(three())
    # The blue disc comes to lie in front of the red one.
    moved, _ = video([*three()[:2], replace(three()[2], start=(16, 14), speed=(1, 1))])
    found = states(after(target, moved))
    assert not (found.state >= SWAP).any()
    assert (found.state[0, BEGIN - 1 :, 0] == UNDETERMINED).all()
    assert (found.reason[0, BEGIN - 1 :, 0] == Reason.HIDDEN).all()
    assert (found.other_id[0, BEGIN - 1 :, 0] == 9).all()
    assert (found.state[0, BEGIN - 1 :, 2] == MISLOCATED).all()


def test_more_of_an_object_than_the_reference_shows_is_no_duplicate() -> None:
    hidden = Disc(3, RED, (30, 26), radius=9)
    passing = Disc(9, BLUE, (30, 64), (0, -5), radius=12)
    target, labels = video([hidden, passing])
    labels = labels.masked_fill(labels == 9, 0)  # as a part of the scene that is no object
    made, _ = video([hidden])
    found = identity_from_appearance(made, target, labels, IDS)
    sliver = (found.area[0, :, 0] >= 16) & (found.area[0, :, 0] < 160)
    assert sliver.any()
    assert (found.elsewhere[0, sliver, 0] > 0.6).any()  # another part of it looks the same
    assert (found.again[0, sliver, 0] < 0.5).all()
    assert not (found.state[0, :, 0] >= SWAP).any()


def test_an_object_is_known_by_how_it_looked_before() -> None:
    target, labels = video(three())
    turned, _ = video(with_disc(7, colour=YELLOW))
    target = torch.cat([target[:, :2], turned[:, 2:]], 1)  # a change of the true world
    other, _ = video([replace(d, colour=GREEN if d.name == 3 else d.colour) for d in three()])
    made = after(target, other)
    made[0, BEGIN - 1 :] = torch.where(
        (labels[0, BEGIN - 1 :] == 7)[:, None], target[0, BEGIN - 1 :], made[0, BEGIN - 1 :]
    )
    found = identity_from_appearance(made, target, labels, IDS)
    assert (found.state[0, BEGIN - 1 :, 0] == SWAP).all()
    assert (found.other_id[0, BEGIN - 1 :, 0] == 7).all()
    assert (found.state[0, :, 1:] == OK).all()


def test_twins_are_undetermined_but_can_vanish() -> None:
    discs = [Disc(3, RED, (16, 14)), Disc(7, RED, (44, 44)), Disc(9, BLUE, (16, 46))]
    target, labels = video(discs)
    found = identity_from_appearance(target, target, labels, IDS)
    assert (found.state[0, :, :2] == UNDETERMINED).all()
    assert (found.reason[0, :, :2] == Reason.TWIN).all()
    assert found.other_id[0].unique(dim=0).tolist() == [[7, 3, 0]]
    assert (found.state[0, :, 2] == OK).all()
    gone, _ = video(discs[1:])
    found = identity_from_appearance(after(target, gone), target, labels, IDS)
    assert (found.state[0, BEGIN - 1 :, 0] == VANISH).all()


def test_camouflage_is_undetermined_but_can_be_replaced() -> None:
    ground = torch.full((3, 64, 64), 110.0)
    grey = Disc(3, (112, 112, 112), (16, 14), stripe=99)
    discs = [grey, Disc(7, GREEN, (44, 44)), Disc(9, BLUE, (16, 46))]
    target, labels = video(discs, ground=ground)
    found = identity_from_appearance(target, target, labels, IDS)
    assert (found.state[0, :, 0] == UNDETERMINED).all()
    assert (found.reason[0, :, 0] == Reason.CAMOUFLAGED).all()
    assert (found.state[0, :, 1:] == OK).all()
    other, _ = video([replace(grey, colour=GREEN, stripe=3), *discs[1:]], ground=ground)
    found = identity_from_appearance(after(target, other), target, labels, IDS)
    assert (found.state[0, BEGIN - 1 :, 0] == SWAP).all()


def test_small_hidden_and_lost_objects() -> None:
    discs = [Disc(3, RED, (16, 14), radius=1.5), Disc(7, GREEN, (44, 44), radius=2.5), three()[2]]
    target, labels = video(discs)
    found = identity_from_appearance(target, target, labels, IDS)
    assert (found.state[0, :, 0] == IdentityState.NOT_VISIBLE).all()
    assert found.confidence[0, :, 0].isnan().all()
    assert (found.reason[0, :, 1] == Reason.TOO_FEW_PIXELS).all()
    sure = torch.ones(1, STEPS, 3)
    sure[0, 5:, 2] = 0.3
    found = identity_from_appearance(target, target, labels, IDS, target_confidence=sure)
    assert (found.state[0, :5, 2] == OK).all()
    assert (found.reason[0, 5:, 2] == Reason.LOST).all()


def test_another_scene_leaves_nothing_to_say() -> None:
    target, labels = video(three())
    elsewhere = background(seed=5, contrast=240).round().clamp(0, 255).to(torch.uint8)
    made = torch.cat([target[:, :3], elsewhere.expand(1, 5, -1, -1, -1)], 1)
    found = identity_from_appearance(made, target, labels, IDS)
    assert (found.state[0, 3:] < SWAP).all()
    assert (found.state[0, 3:] == OK).float().mean() < 0.5


def test_padding_and_invalid_steps() -> None:
    target, labels = video(three())
    valid = torch.ones(1, STEPS, dtype=torch.bool)
    valid[0, 6:] = False
    found = identity_from_appearance(
        target, target, labels, torch.tensor([[3, 0, 7, 9, 12]]), valid=valid
    )
    assert (found.state[0, 6:] == IdentityState.UNDEFINED).all()
    assert (found.state[0, :, 1] == IdentityState.UNDEFINED).all()
    assert (found.state[0, :6, 4] == IdentityState.NOT_VISIBLE).all()
    assert (found.state[0, :6][:, [0, 2, 3]] == OK).all()
    assert found.own[0, 6:].isnan().all()
    assert found.confidence[0, :, 1].isnan().all()


def test_no_objects_and_no_rows() -> None:
    target, labels = video(three(), steps=2)
    found = identity_from_appearance(target, target, labels, IDS[:, :0])
    assert found.state.shape == (1, 2, 0)
    assert found.other.shape == (1, 2, 0, 0)
    none = torch.zeros(0, dtype=torch.int64)
    found = identity_from_appearance(target[:0], target, labels, IDS[:0], target_index=none)
    assert found.state.shape == (0, 2, 3)


def test_nan_frame_is_undetermined() -> None:
    target, labels = video(three())
    target = target.float() / 255
    made = target.clone()
    made[0, 2, 0, 5, 5] = torch.nan
    found = identity_from_appearance(made, target, labels, IDS)
    assert (found.reason[0, 2] == Reason.NON_FINITE).all()
    assert (found.state[0, [0, 1, 3]] == OK).all()


def broken_batch() -> tuple[Tensor, Tensor, Tensor]:
    target, labels = video(three())
    swapped, _ = video([*with_disc(3, colour=GREEN)[:1], *with_disc(7, colour=RED)[1:]])
    gone, _ = video(three()[1:])
    made = torch.cat([target, after(target, swapped), after(target, gone)])
    return disturbed(made, "noise"), target, labels


def same(a: AppearanceStates, b: AppearanceStates, exact: bool = True) -> None:
    for field in fields(AppearanceStates):
        x, y = getattr(a, field.name), getattr(b, field.name)
        tolerance = 0.0 if exact or not x.is_floating_point() else 2e-3
        assert_close(x, y, rtol=0, atol=tolerance, equal_nan=True, msg=field.name)


def rows(found: AppearanceStates, which: slice) -> AppearanceStates:
    return AppearanceStates(**{f.name: getattr(found, f.name)[which] for f in fields(found)})


def test_batches_shared_references_and_prefixes_agree() -> None:
    made, target, labels = broken_batch()
    index = torch.zeros(3, dtype=torch.int64)
    ids = IDS.expand(3, -1)
    whole = identity_from_appearance(made, target, labels, ids, target_index=index)
    assert (whole.state[1] == SWAP).any()
    assert (whole.state[2] == VANISH).any()
    for row in range(3):
        one = identity_from_appearance(made[row : row + 1], target, labels, IDS)
        same(rows(whole, slice(row, row + 1)), one, exact=False)
    first = identity_from_appearance(
        made[:, :5], target[:, :5], labels[:, :5], ids, target_index=index
    )
    for field in fields(first):
        if field.name != "ids":
            x, y = getattr(whole, field.name)[:, :5], getattr(first, field.name)
            assert_close(x, y, rtol=0, atol=2e-3 if x.is_floating_point() else 0, equal_nan=True)


def test_dtypes_names_and_mirrors_agree() -> None:
    made, target, labels = broken_batch()
    index = torch.zeros(3, dtype=torch.int64)
    ids = IDS.expand(3, -1)
    whole = identity_from_appearance(made, target, labels, ids, target_index=index)
    floats = identity_from_appearance(
        made.float() / 255, target.float() / 255, labels, ids, target_index=index
    )
    same(whole, floats)
    renamed = identity_from_appearance(
        made, target, labels.to(torch.int16) * 100, ids * 100, target_index=index
    )
    assert_close(renamed.state, whole.state)
    assert_close(renamed.other_id, whole.other_id * 100)
    mirrored = identity_from_appearance(
        made.flip(-1), target.flip(-1), labels.flip(-1), ids, target_index=index
    )
    assert_close(mirrored.state, whole.state)


def test_grey_frames() -> None:
    made, target, labels = broken_batch()
    found = identity_from_appearance(made[2:, :, :1], target[:, :, :1], labels, IDS)
    assert (found.state[0, BEGIN - 1 :, 0] == VANISH).all()
    assert (found.state[0, : BEGIN - 1] != VANISH).all()


def test_sensitivity_only_adds_breaks() -> None:
    made, target, labels = broken_batch()
    index = torch.zeros(3, dtype=torch.int64)
    before = torch.zeros(3, STEPS, 3, dtype=torch.bool)
    for sensitivity in (0.0, 0.2, 0.4, 0.5, 0.6, 0.8):
        found = identity_from_appearance(
            made, target, labels, IDS.expand(3, -1), target_index=index, sensitivity=sensitivity
        )
        broken = found.state >= SWAP
        assert (broken | ~before).all()
        before = broken
    assert before.any()


class Colours:
    """Cell means as an encoder's features."""

    name = "colours"

    def encode(self, frames: Tensor) -> list[Tensor]:
        x = frames.float() / 255 if frames.dtype == torch.uint8 else frames
        return [avg_pool2d(x, 4)]

    def chunk_frames(self, frames: Tensor) -> int:
        return 8


def test_encoder_and_carried_labels_take_part() -> None:
    made, target, labels = broken_batch()
    index = torch.zeros(3, dtype=torch.int64)
    ids = IDS.expand(3, -1)
    plain = identity_from_appearance(made, target, labels, ids, target_index=index)
    found = identity_from_appearance(
        made, target, labels, ids, target_index=index, encoder=Colours(),
        preds_labels=labels.expand(3, -1, -1, -1),
    )  # fmt: skip
    assert_close(found.state[1:] >= SWAP, plain.state[1:] >= SWAP)
    assert not torch.equal(found.own, plain.own)


def test_a_carried_label_tells_where_an_object_went() -> None:
    target, labels = video(three())
    # Turned: the template does not fit, the colours do.
    moved, moved_labels = video(with_disc(9, start=(51, 52), speed=(0, 0), lying=True))
    made = after(target, moved)
    alone = identity_from_appearance(made, target, labels, IDS, preds_labels=None)
    told = identity_from_appearance(
        made, target, labels, IDS, preds_labels=after(labels, moved_labels)
    )
    assert (told.state[0, BEGIN - 1 :, 2] == MISLOCATED).all()
    assert (alone.state[0, BEGIN - 1 :, 2] >= SWAP).any()


def test_errors() -> None:
    target, labels = video(three())
    call = identity_from_appearance
    with pytest.raises(ValueError, match=r"preds must have shape \[B, T, C, H, W\]"):
        call(target[0], target, labels, IDS)
    with pytest.raises(ValueError, match="one T and one size"):
        call(target[:, 1:], target, labels, IDS)
    with pytest.raises(TypeError, match="one dtype"):
        call(target.float(), target, labels, IDS)
    with pytest.raises(ValueError, match="target_labels must have the shape"):
        call(target, target, labels[:, 1:], IDS)
    with pytest.raises(ValueError, match="preds_labels must have the shape"):
        call(target, target, labels, IDS, preds_labels=labels[..., 1:])
    with pytest.raises(ValueError, match="at least 16 x 16"):
        call(target[..., :8], target[..., :8], labels[..., :8], IDS)
    with pytest.raises(ValueError, match="target has 1 references"):
        call(target, target, labels, IDS, target_index=torch.tensor([1]))
    with pytest.raises(ValueError, match=r"int64 \[B\]"):
        call(target, target, labels, IDS, target_index=torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="target_confidence must have shape"):
        call(target, target, labels, IDS, target_confidence=torch.ones(1, 2, 3))
    with pytest.raises(ValueError, match="sensitivity must be a number"):
        call(target, target, labels, IDS, sensitivity=1.5)
    with pytest.raises(ValueError, match="min_core must be at least 1"):
        call(target, target, labels, IDS, min_core=0)
    with pytest.raises(ValueError, match=r"ids must have shape \[B, N\]"):
        call(target, target, labels, IDS[0])


def test_no_value_is_read_on_the_device() -> None:
    frames = torch.empty(2, 3, 3, 32, 32, dtype=torch.uint8, device="meta")
    labels = torch.empty(2, 3, 32, 32, dtype=torch.int16, device="meta")
    ids = torch.empty(2, 4, dtype=torch.int64, device="meta")
    found = identity_from_appearance(frames, frames, labels, ids, preds_labels=labels)
    assert found.state.shape == (2, 3, 4)
    assert found.state.device.type == "meta"


@pytest.mark.needs_cuda
def test_cuda_agrees_with_the_cpu() -> None:
    made, target, labels = broken_batch()
    index = torch.zeros(3, dtype=torch.int64)
    tensors = (made, target, labels, IDS.expand(3, -1))
    here = identity_from_appearance(*tensors, target_index=index)
    there = identity_from_appearance(*(x.cuda() for x in tensors), target_index=index.cuda())
    back = AppearanceStates(**{f.name: getattr(there, f.name).cpu() for f in fields(there)})
    same(here, back, exact=False)


def test_colours_of_discs_differ() -> None:
    assert len({RED, GREEN, BLUE, YELLOW}) == 4
