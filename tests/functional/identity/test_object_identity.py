"""Identity persistence: hand-made rollouts, a brute-force oracle, properties, errors."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.testing import assert_close

from tests.functional.identity.scenes import STEPS, erased, rollout, swapped, two_objects
from wmscore.functional import IdentityState, ObjectIdentity, Reason, object_identity

OK, SWAP = IdentityState.OK, IdentityState.SWAP
VANISH, DUPLICATE = IdentityState.VANISH, IdentityState.DUPLICATE
MISLOCATED, NOT_VISIBLE = IdentityState.MISLOCATED, IdentityState.NOT_VISIBLE
MORPH, MERGE, SPLIT = IdentityState.MORPH, IdentityState.MERGE, IdentityState.SPLIT
REENTRY, SPAWN = IdentityState.REENTRY, IdentityState.SPAWN
UNDETERMINED = IdentityState.UNDETERMINED


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
    preds[0, 2:, 33:39, 30:36] = 77
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


def test_a_region_of_another_shape_in_the_place_of_two_is_a_swap() -> None:
    target = rollout((3, 4, 4), (9, 4, 24))
    preds = torch.zeros_like(target)
    for t in range(STEPS):  # each in the other's place, in a shape whose IoU is 16 / 36 < 0.5
        preds[0, t, 5 + t : 9 + t, 5:9] = 9
        preds[0, t, 5 + t : 9 + t, 25:29] = 3
    result = object_identity(preds, target)
    assert (result.state == SWAP).all()
    assert result.other_id[0, 0].tolist() == [9, 3]


def test_objects_one_place_further_on_are_mislocated_not_swapped() -> None:
    target = rollout((1, 4, 4), (2, 4, 14), (3, 4, 24))
    result = object_identity(target.roll(10, dims=-1), target)  # 1 in 2's place, 2 in 3's
    assert (result.state[..., :2] == MISLOCATED).all()
    assert no_break(result)
    ring = torch.where(target > 0, target % 3 + 1, 0)  # all around: each in another's place
    assert (object_identity(ring, target).state == SWAP).all()


def test_one_that_replaces_another_swaps_it() -> None:
    target = two_objects()
    preds = target.clone()
    preds[:, 3:][target[:, 3:] == 9] = 3  # 3 is there twice now, and 9 is not
    result = object_identity(preds, target)
    assert result.object_first_event.tolist() == [[DUPLICATE, SWAP]]
    assert result.object_first_break.tolist() == [[4, 4]]
    assert result.other_id[0, 3:, 1].tolist() == [3] * 5


def test_morph_is_a_stranger_in_the_place() -> None:
    target = two_objects()
    preds = target.clone()
    preds[:, 4:][target[:, 4:] == 3] = 21
    result = object_identity(preds, target)
    assert first(result) == (5, 3, MORPH)
    assert result.other_id[0, 4:, 0].tolist() == [21] * 4
    assert not (result.state == SPAWN).any()  # it came in the place of one


def test_merge() -> None:
    target = rollout((3, 4, 14), (9, 4, 21))
    preds = torch.where(target == 9, 3, target)
    result = object_identity(preds, target)
    assert first(result) == (1, 9, MERGE)
    assert result.other_id[0, :, 1].tolist() == [3] * STEPS
    assert (result.state[..., 0] == OK).all()  # 36 of 72 pixels


def test_split() -> None:
    target = two_objects()
    preds = target.clone()
    preds[:, 2:, :, 7:10][target[:, 2:, :, 7:10] == 3] = 50  # its right half is a thing of its own
    result = object_identity(preds, target)
    assert first(result) == (3, 3, SPLIT)
    assert result.other_id[0, 2:, 0].tolist() == [50] * 6
    assert not (result.state == SPAWN).any()
    speck = target.clone()
    speck[:, 2:, :, 9:10][target[:, 2:, :, 9:10] == 3] = 50  # a sixth of it is not
    assert no_break(object_identity(speck, target))


def test_spawn_breaks_no_object_and_needs_to_come_out_of_nothing() -> None:
    target = two_objects()
    preds = target.clone()
    preds[0, 2:, 20:26, 14:20] = 77
    result = object_identity(preds, target)
    assert result.state[0, :, 2].tolist() == [NOT_VISIBLE] * 2 + [SPAWN] * 6
    assert no_break(result)
    assert (result.score == 1).all()
    drifting = target.clone()
    for t in range(STEPS):  # comes in from the left
        drifting[0, t, 20:26, max(0, 3 * t - 5) : 3 * t + 1] = 77
    assert (object_identity(drifting, target).state[..., 2] == NOT_VISIBLE).all()
    known = object_identity(preds, target, first_labels=preds[:, -1])
    assert (known.state[..., 2] == NOT_VISIBLE).all()  # the given frame shows it


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


def test_return_as_another() -> None:
    target = erased(two_objects(), 9, 3, 5)
    preds = target.clone()
    preds[:, 5:][preds[:, 5:] == 9] = 12
    result = object_identity(preds, target)
    slot = result.ids[0].tolist().index(9)
    assert first(result) == (6, 9, REENTRY)
    assert result.matched_id[0, 5:, slot].tolist() == [12] * 3
    assert result.other_id[0, 5:, slot].tolist() == [12] * 3
    assert (result.state[0, 5:, slot] == REENTRY).all()

    late = preds.clone()
    late[:, 5][late[:, 5] == 12] = 9  # itself for one step: it returned, then it changed
    assert first(object_identity(late, target)) == (7, 9, MORPH)

    never = erased(preds, 12, 1)
    assert first(object_identity(never, target)) == (6, 9, VANISH)  # did not come back at all


def test_return_after_being_seen_in_the_given_frame_only() -> None:
    shown = two_objects()
    target = erased(shown, 9, 1, 4)
    preds = target.clone()
    preds[preds == 9] = 12
    assert first(object_identity(preds, target)) == (5, 9, MORPH)
    seen = object_identity(preds, target, first_labels=shown[:, 0])
    assert first(seen) == (5, 9, REENTRY)


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
        until = 0
        for t in range(steps):
            if t >= until:  # a fault lasts for some steps
                until = t + draw(1, 5)
                kind, first_id = draw(0, 12), names[draw(0, len(names))]
                second_id = names[draw(0, len(names))]
                top, left = draw(0, side - 3), draw(0, side - 3)
            frame, seen = preds[b, t], target[b, t]
            if kind == 0:
                frame[seen == first_id] = second_id
            elif kind == 1:
                frame[seen == first_id] = second_id
                frame[seen == second_id] = first_id
            elif kind == 2:
                frame[seen == first_id] = 0
            elif kind == 3:
                frame[top : top + 4, left : left + 4] = first_id
            elif kind == 4:
                preds[b, t] = seen.roll(left - 5, 1)
            elif kind == 5:  # something that never was
                frame[5:8, 6:9] = 77
            elif kind == 6:
                frame[seen == first_id] = 88
            elif kind == 7:
                frame[:, : left + 2][seen[:, : left + 2] == first_id] = 77
            elif kind in (8, 9) and (seen == first_id).any():  # hidden behind one that is elsewhere
                y, x = (seen == first_id).nonzero().amin(0).tolist()
                frame[frame == second_id] = 0
                frame[max(0, y - 2) : y + 7, max(0, x - 2) : x + 7] = second_id
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
        known = {int(name) for name in target[b][valid[b]].unique()} - {0}
        runs = dict.fromkeys(names, 0)
        starts: dict[int, tuple[int, int]] = {}
        last: dict[int, IdentityState] = {}  # when last in view
        hidden = dict.fromkeys(names, False)  # since then
        spawned: dict[int, bool] = {}
        returned = dict.fromkeys(names, False)  # its run of broken steps began as it came back
        for t in range(target.shape[1]):
            if not valid[b, t]:
                continue
            shown = {name: pixels(target[b, t], name) for name in names}
            own = {name: pixels(preds[b, t], name) for name in names}
            here, other = frame_states(names, known, shown, own, min_area, gate)
            good = visible = 0
            for name in names:
                value = here[name]
                if value == NOT_VISIBLE:
                    hidden[name] = True
                    state[b, t, name] = value
                    if name not in known and len(own[name]) >= min_area:
                        if name not in spawned:
                            claims = [other[n] for n in names if here[n] in (MORPH, SPLIT)]
                            spawned[name] = not (
                                near_border(own[name], target.shape[2:])
                                or any(name in claim for claim in claims)
                            )
                        if spawned[name]:
                            state[b, t, name] = SPAWN
                    continue
                if value.is_break and not (name in last and last[name].is_break):
                    returned[name] = name in last and hidden[name]
                if value in (SWAP, MORPH, MERGE) and returned[name]:
                    value = REENTRY
                state[b, t, name] = value
                last[name], hidden[name] = value, False
                if value == UNDETERMINED:
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


Pixels = dict[int, set[tuple[int, int]]]


def frame_states(
    names: list[int], known: set[int], shown: Pixels, own: Pixels, min_area: int, gate: float
) -> tuple[dict[int, IdentityState], dict[int, set[int]]]:
    def iou(a: int, c: int) -> float:
        union = shown[a] | own[c]
        return len(shown[a] & own[c]) / len(union) if union else 0.0

    def centre(points: set[tuple[int, int]]) -> tuple[float, float]:
        return tuple(sum(p[k] for p in points) / len(points) for k in (0, 1))  # type: ignore[return-value]

    def stray(name: int) -> int:
        if not shown[name]:
            return 0
        ys, xs = [y for y, _ in shown[name]], [x for _, x in shown[name]]
        tall, wide = max(ys) - min(ys) + 1, max(xs) - min(xs) + 1
        return sum(
            not (min(ys) - tall <= y <= max(ys) + tall and min(xs) - wide <= x <= max(xs) + wide)
            for y, x in own[name]
        )

    weight = np.zeros((len(names), len(names)))
    for i, a in enumerate(names):
        for j, c in enumerate(names):
            if len(shown[a]) < min_area or len(own[c]) < min_area:
                continue
            near = 1 - math.dist(centre(shown[a]), centre(own[c])) / math.sqrt(len(shown[a]))
            weight[i, j] = 1 + iou(a, c) if iou(a, c) >= gate else max(0.0, near)
            weight[i, j] += 1e-6 * (a == c and weight[i, j] > 0)
    place = {}
    for i, j in zip(*linear_sum_assignment(weight, maximize=True), strict=True):
        if weight[i, j] > 0:
            place[names[i]] = names[j]  # who is there
    where = {there: name for name, there in place.items()}

    def rings(name: int) -> bool:
        step = where.get(name)
        for _ in names:
            if step is None or step == name:
                break
            step = where.get(step)
        return step == name

    def at_home(name: int) -> bool:
        return len(shown[name]) >= min_area and 2 * len(shown[name] & own[name]) >= len(shown[name])

    def box(points: set[tuple[int, int]]) -> tuple[int, int, int, int]:
        ys, xs = [y for y, _ in points], [x for _, x in points]
        return min(ys), min(xs), max(ys) + 1, max(xs) + 1

    def occupant(name: int) -> tuple[int, int | None]:
        covers = {u: len(shown[name] & own[u]) for u in names if u != name}
        covers = {u: n for u, n in covers.items() if n and 2 * n >= len(shown[name])}
        covering = max(covers, key=lambda u: (covers[u], -u)) if covers else None
        other = place.get(name, name)
        if other == name and len(own[name]) < min_area and covering is not None:
            other = covering
        return other, covering

    def merges(name: int, other: int, covering: int | None) -> bool:
        if covering is None or len(own[name]) >= min_area or iou(name, name) >= gate:
            return False
        if not (len(shown[name]) >= min_area and other != name and at_home(other)):
            return False
        one, two = box(shown[name]), box(shown[other])
        return all(max(one[k], two[k]) - min(one[k + 2], two[k + 2]) <= 1 for k in (0, 1))

    def twice(name: int) -> bool:
        grown = 0
        for u in names:
            other, covering = occupant(u)
            if covering == name and merges(u, other, covering):
                grown += len(shown[u] & own[name])
        return 2 * min(stray(name) - grown, len(shown[name] & own[name])) >= len(shown[name])

    found: dict[int, IdentityState] = {}
    claimed: dict[int, set[int]] = {}
    for name in names:
        area, mine = len(shown[name]), len(shown[name] & own[name])
        present, in_place = len(own[name]) >= min_area, iou(name, name) >= gate
        matched = place.get(name, name) != name
        other, covering = occupant(name)
        parts = [
            len(shown[name] & own[u])
            for u in names
            if u != name and u not in known and 2 * len(shown[name] & own[u]) >= len(own[u])
        ]
        hidden = other in known and not matched and not at_home(other)
        if area < min_area:
            value = NOT_VISIBLE
        elif 4 * mine >= area and 4 * sum(parts) >= area:
            value = SPLIT
        elif twice(name):
            value = DUPLICATE
        elif in_place:
            value = OK
        elif merges(name, other, covering):
            value = MERGE
        elif other != name and other in known and not hidden and (not present or rings(name)):
            value = SWAP
        elif not present and other != name and other not in known:
            value = MORPH
        elif not present and other != name and hidden:
            value = UNDETERMINED
        else:
            value = MISLOCATED if present else VANISH
        found[name] = value
        if value == SPLIT:
            claimed[name] = {
                u
                for u in names
                if u != name
                and u not in known
                and shown[name] & own[u]
                and 2 * len(shown[name] & own[u]) >= len(own[u])
            }
        else:
            claimed[name] = {other}
    return found, claimed


def near_border(points: set[tuple[int, int]], size: torch.Size) -> bool:
    near = False
    for k in (0, 1):
        low, high = min(p[k] for p in points), max(p[k] for p in points) + 1
        near |= low - (high - low) // 2 < 0 or high + (high - low) // 2 > size[k]
    return near


@pytest.mark.parametrize("seed", range(12))
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


def test_random_cases_reach_every_state() -> None:
    reached = set()
    for seed in range(30):
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
    rename = torch.arange(100)
    rename[1:5] = torch.tensor(order) * 11
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
    monkeypatch.setattr("wmscore.functional._chunks.piece_elements", lambda device: 40)
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


def test_what_a_row_knows_does_not_depend_on_the_rows_beside_it() -> None:
    target = two_objects()
    target[:, :3][target[:, :3] == 9] = 0  # 9 comes at step 4
    preds = torch.cat([torch.where(target == 3, 9, target), target])  # 9 in 3's place from step 1
    valid = torch.ones(2, STEPS, dtype=torch.bool)
    valid[0, 3:] = False  # row 0 never sees that the reference has a 9
    index = torch.zeros(2, dtype=torch.int64)
    both = object_identity(preds, target, target_index=index, valid=valid)
    alone = object_identity(preds[:1], target, valid=valid[:1])
    assert first(alone) == (1, 3, MORPH)
    assert first(both) == first(alone)
    there = torch.ones(1, STEPS, dtype=torch.bool)
    for rows in (slice(0, 1), slice(0, 2)):  # unless the reference's own steps are told
        found = object_identity(
            preds[rows], target, target_index=index[rows], valid=valid[rows], target_valid=there
        )
        assert int(found.first_break_event[0]) == SWAP


def test_a_region_that_lies_on_the_border_has_come_from_there_however_thin() -> None:
    target = two_objects()
    preds = target.clone()
    for t in range(STEPS):
        preds[0, t, : t + 1, 10:30][preds[0, t, : t + 1, 10:30] == 0] = 77
    assert not (object_identity(preds, target).state == SPAWN).any()


def test_of_equal_objects_that_break_at_once_the_smallest_id_is_named() -> None:
    target = two_objects()
    gone = torch.zeros_like(target)
    for ids in (None, torch.tensor([[9, 3]]), torch.tensor([[9, 0, 3]])):
        assert first(object_identity(gone, target, ids=ids)) == (1, 3, VANISH)
