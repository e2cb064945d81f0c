"""Identity persistence: hand-made rollouts, a brute-force oracle, properties, errors."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from wmscore.functional import IdentityState, ObjectIdentity, Reason, object_identity

STEPS, SIDE = 8, 40
OK, SWAP = IdentityState.OK, IdentityState.SWAP
VANISH, DUPLICATE = IdentityState.VANISH, IdentityState.DUPLICATE
MISLOCATED, NOT_VISIBLE = IdentityState.MISLOCATED, IdentityState.NOT_VISIBLE


def rollout(*boxes: tuple[int, int, int], steps: int = STEPS, size: int = 6) -> Tensor:
    """Labels ``[1, T, H, W]`` with squares (id, top, left) that move one pixel down per step."""
    labels = torch.zeros(1, steps, SIDE, SIDE, dtype=torch.int64)
    for t in range(steps):
        for name, top, left in boxes:
            labels[0, t, top + t : top + t + size, left : left + size] = name
    return labels


def two_objects() -> Tensor:
    return rollout((3, 4, 4), (9, 4, 24))


def swapped(labels: Tensor, first: int, second: int, start: int, stop: int = STEPS) -> Tensor:
    """Ids exchanged at the steps start..stop (1-based, inclusive)."""
    out = labels.clone()
    part = labels[:, start - 1 : stop]
    out[:, start - 1 : stop] = torch.where(
        part == first, second, torch.where(part == second, first, part)
    )
    return out


def erased(labels: Tensor, name: int, start: int, stop: int = STEPS) -> Tensor:
    out = labels.clone()
    out[:, start - 1 : stop][out[:, start - 1 : stop] == name] = 0
    return out


def no_break(result: ObjectIdentity) -> bool:
    names = ("first_break", "first_break_id", "first_break_event")
    names += ("object_first_break", "object_first_event")
    return not any(bool(getattr(result, name).any()) for name in names)


def first(result: ObjectIdentity) -> tuple[int, int, int]:
    return (
        int(result.first_break[0]),
        int(result.first_break_id[0]),
        int(result.first_break_event[0]),
    )


def test_perfect() -> None:
    target = two_objects()
    result = object_identity(target.clone(), target)
    assert result.ids.tolist() == [[3, 9]]
    assert (result.state == OK).all()
    assert (result.iou == 1).all()
    assert (result.area_ratio == 1).all()
    assert (result.area == 36).all()
    assert result.matched_id.equal(result.ids[:, None].expand(1, STEPS, 2))
    assert result.visible.all()
    assert result.present.all()
    assert (result.score == 1).all()
    assert (result.reason == Reason.DEFINED).all()
    assert no_break(result)
    assert result.state.dtype == torch.uint8
    assert result.score.dtype == torch.float64


@pytest.mark.parametrize("start", [1, 4, 7])
def test_swap(start: int) -> None:
    target = two_objects()
    result = object_identity(swapped(target, 3, 9, start), target)
    assert result.object_first_break.tolist() == [[start, start]]
    assert result.object_first_event.tolist() == [[SWAP, SWAP]]
    assert first(result) == (start, 3, SWAP)
    assert (result.state[0, start - 1 :] == SWAP).all()
    assert (result.state[0, : start - 1] == OK).all()
    assert result.matched_id[0, -1].tolist() == [9, 3]
    assert result.score[0].tolist() == [1.0] * (start - 1) + [0.0] * (STEPS - start + 1)


@pytest.mark.parametrize("start", [1, 5])
def test_vanish(start: int) -> None:
    target = two_objects()
    result = object_identity(erased(target, 9, start), target)
    assert first(result) == (start, 9, VANISH)
    assert result.object_first_break.tolist() == [[0, start]]
    assert result.score[0].tolist() == [1.0] * (start - 1) + [0.5] * (STEPS - start + 1)
    assert (~result.present[0, start - 1 :, 1]).all()
    assert (result.area_ratio[0, start - 1 :, 1] == 0).all()


def test_a_remnant_below_min_area_is_vanished_too() -> None:
    target = two_objects()
    preds = erased(target, 9, 3)
    preds[0, 2:, 0, :15] = 9
    assert first(object_identity(preds, target)) == (3, 9, VANISH)
    preds[0, 2:, 0, :16] = 9
    result = object_identity(preds, target)
    assert no_break(result)
    assert (result.state[0, 2:, 1] == MISLOCATED).all()


@pytest.mark.parametrize("start", [1, 6])
def test_duplicate(start: int) -> None:
    target = two_objects()
    preds = target.clone()
    preds[0, start - 1 :, 30:36, 30:36] = 3
    result = object_identity(preds, target)
    assert first(result) == (start, 3, DUPLICATE)
    assert result.object_first_break.tolist() == [[start, 0]]
    assert (result.area_ratio[0, start - 1 :, 0] == 2).all()


def test_duplicate_needs_half_an_object_a_full_size_away() -> None:
    target = rollout((3, 10, 10), steps=2, size=6)
    target[:, 1] = target[:, 0]  # rows and columns 10..15 at both steps
    near, far = target.clone(), target.clone()
    near[0, :, 10:16, 16:22] = 3  # columns 16..21: within one width
    far[0, :, 10:16, 22:25] = 3  # columns 22..24: beyond, and exactly half of the area
    assert no_break(object_identity(near, target))
    assert first(object_identity(far, target)) == (1, 3, DUPLICATE)
    far[0, :, 10, 24] = 0
    assert no_break(object_identity(far, target))


def test_exit_and_occlusion_of_both_are_no_event() -> None:
    target = erased(two_objects(), 9, 4)
    result = object_identity(target.clone(), target)
    assert no_break(result)
    assert (result.state[0, 3:, 1] == NOT_VISIBLE).all()
    assert (result.score == 1).all()

    occluded = two_objects()
    for t in range(3, 6):
        occluded[0, t, :, 26:] = 0  # 2 of 6 columns of object 9 stay: 12 pixels
    result = object_identity(occluded.clone(), occluded)
    assert no_break(result)
    assert result.state[0, :, 1].tolist() == [OK] * 3 + [NOT_VISIBLE] * 3 + [OK] * 2
    assert result.area[0, 3:6, 1].tolist() == [12] * 3


def test_an_object_only_in_the_generated_frames_is_not_the_references_fault() -> None:
    target = two_objects()
    preds = target.clone()
    preds[0, 2:, 30:36, 30:36] = 77
    result = object_identity(preds, target)
    assert result.ids.tolist() == [[3, 9, 77]]
    assert (result.state[..., 2] == NOT_VISIBLE).all()
    assert no_break(result)


@pytest.mark.parametrize(("shift", "state"), [(1, OK), (2, OK), (3, MISLOCATED), (12, MISLOCATED)])
def test_a_shift_never_breaks_identity(shift: int, state: IdentityState) -> None:
    target = two_objects()
    result = object_identity(target.roll(shift, dims=-1), target)
    assert (result.state == state).all()  # IoU of 6 x 6 squares: 5/7, 1/2, 1/3, 0
    assert (result.score == 1).all()
    assert no_break(result)
    assert_close(result.iou[0, 0, 0].item(), max(6 - shift, 0) / (6 + shift))


def test_an_object_in_its_place_is_not_swapped_by_a_neighbour_that_reaches_the_gate_too() -> None:
    target = two_objects()
    preds = target.clone()
    preds[..., 6:][preds[..., 6:] == 3] = 5  # 4 of its 6 columns: IoU 1/3 own, 2/3 other
    low = object_identity(preds, target, iou_gate=0.3)
    assert (low.state[..., 0] == OK).all()
    assert (low.matched_id[..., 0] == 5).all()
    assert first(object_identity(preds, target, iou_gate=0.5)) == (1, 3, SWAP)


def test_patience() -> None:
    target = two_objects()
    assert no_break(object_identity(swapped(target, 3, 9, 4, 4), target))
    assert no_break(object_identity(swapped(target, 3, 9, STEPS), target))  # too short at the end
    assert first(object_identity(swapped(target, 3, 9, 4, 5), target))[0] == 4
    assert no_break(object_identity(swapped(target, 3, 9, 4, 5), target, patience=3))
    assert first(object_identity(swapped(target, 3, 9, 4, 4), target, patience=1))[0] == 4
    twice = swapped(swapped(target, 3, 9, 2, 2), 3, 9, 5, 6)
    assert first(object_identity(twice, target))[0] == 5


def test_a_run_may_mix_events_and_is_named_by_its_start() -> None:
    target = two_objects()
    preds = erased(swapped(target, 3, 9, 4, 4), 3, 5)
    result = object_identity(preds, target)
    assert result.object_first_event.tolist() == [[SWAP, 0]]
    assert first(result) == (4, 3, SWAP)


def test_return_as_another_id() -> None:
    target = erased(two_objects(), 9, 3, 5)
    preds = target.clone()
    preds[:, 5:][preds[:, 5:] == 9] = 12
    result = object_identity(preds, target)
    assert first(result) == (6, 9, SWAP)
    assert result.matched_id[0, 5:, result.ids[0].tolist().index(9)].tolist() == [12] * 3


def test_unobservable_steps_neither_count_nor_reset() -> None:
    target = erased(two_objects(), 9, 5, 6)
    preds = swapped(target, 3, 9, 4, 4)
    preds = erased(preds, 9, 7, 7)  # 9 is broken at 4, unseen at 5 and 6, broken at 7
    result = object_identity(preds, target)
    assert result.object_first_break.tolist() == [[0, 4]]
    assert result.object_first_event.tolist() == [[0, SWAP]]


def test_invalid_steps_are_not_looked_at() -> None:
    target = two_objects()
    preds = swapped(target, 3, 9, 4, 4)
    preds = swapped(preds, 3, 9, 6, 6)
    valid = torch.ones(1, STEPS, dtype=torch.bool)
    assert no_break(object_identity(preds, target))
    valid[0, 4] = False
    result = object_identity(preds, target, valid=valid)
    assert first(result) == (4, 3, SWAP)
    assert result.reason[0].tolist() == [0, 0, 0, 0, Reason.NO_FRAME, 0, 0, 0]
    assert math.isnan(result.score[0, 4])
    assert (result.state[0, 4] == IdentityState.UNDEFINED).all()
    garbage = preds.clone(), target.clone()
    garbage[0][0, 4], garbage[1][0, 4] = 111, -5
    other = object_identity(*garbage, valid=valid)
    for field in fields(result):
        assert_close(getattr(other, field.name), getattr(result, field.name), equal_nan=True)


def test_no_object() -> None:
    empty = torch.zeros(2, 3, 20, 20, dtype=torch.uint8)
    result = object_identity(empty, empty)
    assert result.state.shape == (2, 3, 0)
    assert result.score.isnan().all()
    assert (result.reason == Reason.NO_OBJECT).all()
    assert result.first_break.tolist() == [0, 0]
    assert no_break(result)
    speck = empty.clone()
    speck[:, :, :3, :5] = 4  # 15 pixels: below min_area
    result = object_identity(empty, speck)
    assert result.score.isnan().all()
    assert (result.reason == Reason.NO_OBJECT).all()
    assert not object_identity(empty, speck, min_area=15).score.any()
    assert object_identity(empty[:0], empty[:0]).score.shape == (0, 3)


def test_first_break_of_a_tie_is_the_largest_object() -> None:
    target = two_objects()
    target[target == 9] = 0
    target[0, :, 2:12, 20:30] = 9
    preds = erased(erased(target, 3, 5), 9, 5)
    assert first(object_identity(preds, target)) == (5, 9, VANISH)


# --- properties -----------------------------------------------------------------------------------


def random_labels(
    rows: int, steps: int, seed: int, names: list[int], side: int = 14
) -> tuple[Tensor, Tensor]:
    """Rectangles that come, go, swap and double at random, in both label maps."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    target = torch.zeros(rows, steps, side, side, dtype=torch.int64)
    for b in range(rows):
        for name in names[: draw(0, len(names) + 1)]:
            top, left = draw(0, side - 3), draw(0, side - 3)
            height, width = draw(2, 6), draw(2, 6)
            for t in range(steps):
                if draw(0, 8):
                    target[b, t, top : top + height, left : left + width] = name
                left = max(0, left + draw(-1, 2))
    preds = target.clone()
    for b in range(rows):
        for t in range(steps):
            kind, first_id = draw(0, 7), names[draw(0, len(names))]
            second_id = names[draw(0, len(names))]
            frame, seen = preds[b, t], target[b, t]
            if kind == 0:
                frame[seen == first_id] = second_id
            elif kind == 1:
                frame[seen == first_id] = second_id
                frame[seen == second_id] = first_id
            elif kind == 2:
                frame[seen == first_id] = 0
            elif kind == 3:
                top, left = draw(0, side - 3), draw(0, side - 3)
                frame[top : top + 4, left : left + 4] = first_id
            elif kind == 4:
                preds[b, t] = seen.roll(draw(-3, 4), 1)
    return preds, target


def brute_force(
    preds: Tensor, target: Tensor, valid: Tensor, min_area: int, gate: float, patience: int
) -> dict[str, dict[object, object]]:
    """The definition, one object and one step at a time, with sets of pixels."""
    state: dict[object, object] = {}
    score: dict[object, object] = {}
    breaks: dict[object, object] = {}

    def pixels(frame: Tensor, name: int) -> set[tuple[int, int]]:
        return {(int(y), int(x)) for y, x in (frame == name).nonzero()}

    for b in range(target.shape[0]):
        exists = torch.cat([preds[b][valid[b]].flatten(), target[b][valid[b]].flatten()])
        names = sorted({int(name) for name in exists.unique()} - {0})
        runs = dict.fromkeys(names, 0)
        starts: dict[int, tuple[int, int]] = {}
        for t in range(target.shape[1]):
            if not valid[b, t]:
                continue
            generated = {name: pixels(preds[b, t], name) for name in names}
            good = visible = 0
            for name in names:
                shown, own = pixels(target[b, t], name), generated[name]

                def iou(a: set[tuple[int, int]], c: set[tuple[int, int]]) -> float:
                    return len(a & c) / len(a | c) if a | c else 0.0

                in_place = iou(shown, own) >= gate
                taken = any(iou(shown, generated[o]) >= gate for o in names if o != name)
                stray = 0
                if shown:
                    ys, xs = [y for y, _ in shown], [x for _, x in shown]
                    tall, wide = max(ys) - min(ys) + 1, max(xs) - min(xs) + 1
                    stray = sum(
                        not (
                            min(ys) - tall <= y <= max(ys) + tall
                            and min(xs) - wide <= x <= max(xs) + wide
                        )
                        for y, x in own
                    )
                if len(shown) < min_area:
                    value = NOT_VISIBLE
                elif taken and not in_place:
                    value = SWAP
                elif len(own) < min_area and not in_place:
                    value = VANISH
                elif 2 * stray >= len(shown) and 2 * len(shown & own) >= len(shown):
                    value = DUPLICATE
                else:
                    value = OK if in_place else MISLOCATED
                state[b, t, name] = value
                if value == NOT_VISIBLE:
                    continue
                visible += 1
                good += not value.is_break
                runs[name] = runs[name] + 1 if value.is_break else 0
                if runs[name] == 1:
                    starts[name] = (t + 1, value)
                if runs[name] == patience:
                    breaks.setdefault((b, name), starts[name])
            score[b, t] = good / visible if visible else math.nan
    return {"state": state, "score": score, "breaks": breaks}


@pytest.mark.parametrize("seed", range(6))
def test_equals_brute_force(seed: int) -> None:
    names = [2, 5, 300, 32767]
    preds, target = random_labels(5, 7, seed, names)
    generator = torch.Generator().manual_seed(seed)
    valid = torch.rand(5, 7, generator=generator) < 0.9
    gate, patience, min_area = (0.5, 0.3)[seed % 2], 1 + seed % 3, 6
    result = object_identity(
        preds, target, valid=valid, min_area=min_area, iou_gate=gate, patience=patience
    )
    oracle = brute_force(preds, target, valid, min_area, gate, patience)
    for b in range(5):
        for n, name in enumerate(result.ids[b].tolist()):
            expected = oracle["breaks"].get((b, name), (0, 0))
            got = (result.object_first_break[b, n], result.object_first_event[b, n])
            assert tuple(int(value) for value in got) == expected
            for t in range(7):
                expected_state = oracle["state"].get((b, t, name), IdentityState.UNDEFINED)
                assert int(result.state[b, t, n]) == expected_state
        for t in range(7):
            expected_score = oracle["score"].get((b, t), math.nan)
            assert_close(result.score[b, t].item(), expected_score, equal_nan=True)
        steps = [s for (row, _), (s, _) in oracle["breaks"].items() if row == b]  # type: ignore[misc, has-type, attr-defined]
        assert int(result.first_break[b]) == min(steps, default=0)
    assert {int(s) for s in result.state.unique()} >= {OK, SWAP}


def test_brute_force_cases_reach_every_state() -> None:
    reached = set()
    for seed in range(6):
        preds, target = random_labels(5, 7, seed, [2, 5, 300, 32767])
        reached |= set(object_identity(preds, target, min_area=6).state.unique().tolist())
    assert reached >= {int(state) for state in IdentityState}


def same_objects(one: ObjectIdentity, other: ObjectIdentity, slots: Tensor) -> None:
    """``other`` is ``one`` with object slots taken in the order of ``slots`` ``[N]``."""
    for name in ("state", "iou", "area", "area_ratio", "visible", "present"):
        assert_close(getattr(other, name), getattr(one, name)[..., slots], equal_nan=True)
    for name in ("object_first_break", "object_first_event"):
        assert getattr(other, name).equal(getattr(one, name)[:, slots])
    for name in ("score", "reason", "first_break"):
        assert_close(getattr(other, name), getattr(one, name), equal_nan=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.permutations([1, 2, 3, 4]))
def test_common_relabelling_changes_nothing(seed: int, order: list[int]) -> None:
    preds, target = random_labels(2, 5, seed, [1, 2, 3, 4])
    rename = torch.zeros(5, dtype=torch.int64)
    rename[1:] = torch.tensor(order) * 11
    every = torch.tensor([[1, 2, 3, 4]] * 2)
    one = object_identity(preds, target, ids=every, min_area=4)
    other = object_identity(rename[preds], rename[target], min_area=4, ids=every * 11)
    slots = torch.tensor(order).argsort()
    same_objects(one, other, slots)
    assert other.matched_id.equal(
        torch.where(one.matched_id > 0, rename[one.matched_id], 0)[..., slots]
    ) or bool((one.iou == 0.5).any())  # an exact tie at the gate goes to the smaller id


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_label_dtypes(dtype: torch.dtype) -> None:
    preds, target = random_labels(3, 6, 1, [2, 5, 90, 255])
    expected = object_identity(preds, target, min_area=6)
    result = object_identity(preds.to(dtype), target.to(dtype), min_area=6)
    mixed = object_identity(preds.to(dtype), target, min_area=6)
    for field in fields(result):
        for other in (result, mixed):
            assert_close(getattr(other, field.name), getattr(expected, field.name), equal_nan=True)


def test_a_row_alone_equals_the_row_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    preds, target = random_labels(6, 5, 4, [2, 5, 300, 32767])
    whole = object_identity(preds, target, min_area=6)
    assert (whole.ids == 0).any()  # rows differ in their number of objects
    for b in range(6):
        alone = object_identity(preds[b : b + 1], target[b : b + 1], min_area=6)
        count = alone.ids.shape[1]
        for field in fields(alone):
            value = getattr(whole, field.name)[b : b + 1]
            single = getattr(alone, field.name)
            if single.ndim == 3 or field.name in (
                "ids",
                "object_first_break",
                "object_first_event",
            ):
                value = value[..., :count]
            assert_close(value, single, equal_nan=True, rtol=0, atol=0)
    monkeypatch.setattr("wmscore.functional.overlap.piece_elements", lambda device: 14 * 14 * 2)
    pieces = object_identity(preds, target, min_area=6)
    for field in fields(pieces):
        assert_close(getattr(pieces, field.name), getattr(whole, field.name), equal_nan=True)


def test_given_ids_save_the_search_and_the_rest_is_background() -> None:
    target = two_objects()
    preds = swapped(target, 3, 9, 4)
    found = object_identity(preds, target)
    given_ids = object_identity(preds, target, ids=torch.tensor([[9, 0, 3]]))
    same_objects(found, given_ids_without_padding(given_ids), torch.tensor([1, 0]))
    assert given_ids.state[..., 1].eq(IdentityState.UNDEFINED).all()
    only = object_identity(preds, target, ids=torch.tensor([[3]], dtype=torch.int16))
    assert (only.state[0, 3:, 0] == MISLOCATED).all()  # nobody that is listed took its place


def given_ids_without_padding(result: ObjectIdentity) -> ObjectIdentity:
    kept = torch.tensor([0, 2])
    values = {}
    for field in fields(result):
        value = getattr(result, field.name)
        per_object = value.ndim == 3 or field.name in ("ids", "object_first_break")
        per_object |= field.name == "object_first_event"
        values[field.name] = value[..., kept] if per_object else value
    return ObjectIdentity(**values)


def test_prefix_consistency() -> None:
    preds, target = random_labels(4, 8, 2, [2, 5, 7])
    ids = torch.tensor([[2, 5, 7]] * 4)
    whole = object_identity(preds, target, ids=ids, min_area=6)
    part = object_identity(preds[:, :5], target[:, :5], ids=ids, min_area=6)
    assert part.state.equal(whole.state[:, :5])
    assert_close(part.score, whole.score[:, :5], equal_nan=True)


def test_errors() -> None:
    labels = torch.zeros(2, 3, 8, 8, dtype=torch.int64)
    cases = [
        (TypeError, "preds_labels must be an integer label map", (labels.float(), labels), {}),
        (ValueError, r"preds_labels must have shape \[B, T, H, W\]", (labels[0], labels[0]), {}),
        (
            ValueError,
            "preds_labels and target_labels must have one shape",
            (labels, labels[:1]),
            {},
        ),
        (ValueError, "at least one step", (labels[:, :0], labels[:, :0]), {}),
        (ValueError, r"labels must lie in 0..32767, got -1..0", (labels - 1, labels), {}),
        (ValueError, "got 0..40000", (labels, labels + 40000), {}),
        (ValueError, r"ids must have shape \[B, N\]", (labels, labels), {"ids": labels[0, 0]}),
        (ValueError, "ids must lie in", (labels, labels), {"ids": labels[:, 0, 0] - 1}),
        (TypeError, "ids must be integers", (labels, labels), {"ids": torch.zeros(2, 1)}),
        (ValueError, "iou_gate", (labels, labels), {"iou_gate": 0.0}),
        (ValueError, "iou_gate", (labels, labels), {"iou_gate": 1.5}),
        (ValueError, "min_area must be at least 1", (labels, labels), {"min_area": 0}),
        (TypeError, "patience must be an int", (labels, labels), {"patience": 2.0}),
        (TypeError, "valid must be bool", (labels, labels), {"valid": torch.ones(2, 3)}),
        (ValueError, "valid must have", (labels, labels), {"valid": torch.ones(2, 4) > 0}),
    ]
    for error, message, arguments, options in cases:
        with pytest.raises(error, match=message):
            object_identity(*arguments, **options)  # type: ignore[arg-type]
