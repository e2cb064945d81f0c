"""Faults of action response: each is, bit for bit, the true world under another script or gain."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import wmscore
from wmscore.manifest import Panel
from wmscore.replay import panel_items
from wmscore.rollouts import Rollouts
from wmscore.testing import (
    DroppedActions,
    Fault,
    Faulty,
    HalfSpeed,
    MirroredActions,
    NoisyActions,
    PermutedActions,
    ScaledActions,
    ShortRollout,
    ShuffledScripts,
    StickyActions,
    TimeReversed,
    sprite_items,
)
from wmscore.testing.faults.scrambled import mirror_name
from wmscore.worlds import Item, SpriteWorld, WorldModel, item_keys

HORIZON = 16
WORLD = SpriteWorld()
NAMES = ("noop", "left", "right", "up", "down")
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
FROM_THE_START: tuple[type[Fault], ...] = (
    PermutedActions,
    MirroredActions,
    ShuffledScripts,
    DroppedActions,
    NoisyActions,
    StickyActions,
    ScaledActions,
    HalfSpeed,
    TimeReversed,
)


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return sprite_items(3, HORIZON, seeds=(0, 1), branches=4)


@pytest.fixture(scope="module")
def truth(items: list[Item]) -> Rollouts:
    return WORLD.rollout(items, HORIZON)


class Spy:
    """Remembers what it was asked, and shows nothing; it has no other gain."""

    name = "spy"
    capabilities = WORLD.capabilities

    def __init__(self) -> None:
        self.seen: list[Item] = []

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        self.seen = list(items)
        return Rollouts(
            frames=torch.zeros(len(items), horizon + 1, 3, 1, 1, dtype=torch.uint8),
            actions=torch.stack([item.actions for item in items]),
            model="spy",
            **item_keys(items),
        )


def sent(fault: Fault, items: Sequence[Item]) -> Tensor:
    """What arrives, `[B, T]` or `[B, T, A]`."""
    spy = Spy()
    rollouts = Faulty(spy, fault).rollout(items, len(items[0].actions))
    commanded = torch.stack([item.actions for item in items])
    assert torch.equal(rollouts.actions, commanded)
    arrived = torch.stack([item.actions for item in spy.seen])
    differs = (arrived != commanded).flatten(2).any(2) if arrived.dim() == 3 else None
    differs = arrived != commanded if differs is None else differs
    onset = torch.where(differs.any(1), differs.int().argmax(1) + 1, 0)
    assert torch.equal(rollouts.info["fault_step"], onset)
    return arrived


def vectors(*rows: list[float], noop: tuple[float, ...] = (0.5, 0.0)) -> Item:
    names = ("x", "y", "z")[: len(noop)]
    item = sprite_items(1, len(rows), branches=1)[0]
    return replace(item, actions=torch.tensor(rows), action_names=names, noop=noop)


def script(*indices: int, names: tuple[str, ...] = NAMES) -> Item:
    item = sprite_items(1, len(indices), branches=1)[0]
    return replace(item, actions=torch.tensor(indices), action_names=names)


def labels_of(rollouts: Rollouts) -> Tensor:
    assert rollouts.labels is not None
    return rollouts.labels


def is_the_world_under(rollouts: Rollouts, items: Sequence[Item], scripts: Tensor) -> None:
    """Frames, labels and fault steps are those of the true world under other scripts."""
    edited = [replace(item, actions=s) for item, s in zip(items, scripts, strict=True)]
    other = WORLD.rollout(edited, HORIZON)
    assert torch.equal(rollouts.frames, other.frames)
    assert torch.equal(labels_of(rollouts), labels_of(other))
    true = WORLD.rollout(items, HORIZON)
    wrong = (rollouts.frames != true.frames).flatten(2).any(2)
    onset = torch.where(wrong.any(1), wrong.int().argmax(1), 0)
    assert torch.equal(rollouts.info["fault_step"], onset)  # a pan of the camera always shows


@pytest.mark.parametrize("fault", FROM_THE_START)
def test_they_begin_with_the_first_frame(fault: type[Fault]) -> None:
    with pytest.raises(ValueError, match="step: "):
        fault(step=2)


# ---- other actions -----------------------------------------------------------------------


def test_mirrored_is_the_world_under_the_mirrored_script(items: list[Item]) -> None:
    rollouts = Faulty(WORLD, MirroredActions()).rollout(items, HORIZON)
    mirror = torch.tensor([0, 2, 1, 4, 3])
    is_the_world_under(rollouts, items, torch.stack([mirror[i.actions] for i in items]))
    assert rollouts.info["fault_step"][1::4].tolist() == [0] * 6  # no-op has no opposite
    # Twice mirrored is the truth.
    twice = Faulty(Faulty(WORLD, MirroredActions()), MirroredActions()).rollout(items, HORIZON)
    assert torch.equal(twice.frames, WORLD.rollout(items, HORIZON).frames)


@pytest.mark.parametrize(
    ("name", "names", "opposite"),
    [
        ("strafe_left", ("noop", "strafe_left", "strafe_right"), "strafe_right"),
        ("look left", ("look left", "look right"), "look right"),
        ("lookLeft", ("lookLeft", "lookRight"), "lookRight"),
        ("TURN_LEFT", ("TURN_LEFT", "TURN_RIGHT"), "TURN_RIGHT"),
        ("forward", ("forward", "back"), "back"),
        ("forward", ("forward", "backward"), "backward"),
        ("backward", ("forward", "backward"), "forward"),
        ("forward-left", ("forward-left", "back-right", "back-left"), "back-right"),
        ("jump", ("jump", "left", "right"), "jump"),
        ("upper", ("upper", "lower"), "upper"),  # no word of its own
    ],
)
def test_mirror_names(name: str, names: tuple[str, ...], opposite: str) -> None:
    assert mirror_name(name, names) == opposite


def test_mirrored_by_hand() -> None:
    names = ("noop", "forward", "back", "strafe_left", "strafe_right", "attack")
    assert sent(MirroredActions(), [script(*range(6), names=names)]).tolist() == [
        [0, 2, 1, 4, 3, 5]
    ]
    (vector,) = sent(MirroredActions(), [vectors([1.0, -1.0], [0.5, 0.25])]).tolist()
    assert vector == [[0.0, 1.0], [0.5, -0.25]]
    with pytest.raises(ValueError, match=r"opposite of 'left', right, in \['noop', 'left'\]"):
        sent(MirroredActions(), [script(0, 1, names=("noop", "left"))])
    with pytest.raises(ValueError, match="needs actions with opposites"):
        sent(MirroredActions(), [script(0, 1, names=("noop", "jump"))])
    with pytest.raises(ValueError, match="no noop"):
        sent(MirroredActions(), [replace(vectors([1.0, 0.0]), noop=None)])


def test_permuted_is_one_derangement_of_all_but_noop(items: list[Item]) -> None:
    rollouts = Faulty(WORLD, PermutedActions()).rollout(items, HORIZON)
    (table,) = sent(PermutedActions(), [script(*range(5))]).tolist()
    assert table[0] == 0
    assert sorted(table) == [*range(5)]
    assert all(table[i] != i for i in range(1, 5))
    assert table != [0, 2, 1, 4, 3]  # which would be the mirror
    is_the_world_under(
        rollouts, items, torch.tensor(table)[torch.stack([i.actions for i in items])]
    )
    drawn = {str(sent(PermutedActions(draw=d), [script(*range(5))]).tolist()) for d in range(60)}
    assert len(drawn) == 9  # all derangements of four


def test_permuted_by_hand() -> None:
    turn = PermutedActions(mapping={"left": "up", "up": "right", "right": "left"})
    assert sent(turn, [script(0, 1, 2, 3, 4)]).tolist() == [[0, 3, 1, 2, 4]]
    noop = PermutedActions(mapping={"noop": "left", "left": "noop"})
    assert sent(noop, [replace(script(0, 1, 2), noop=None)]).tolist() == [[1, 0, 2]]
    item = vectors([1.0, 2.0, 4.0], [0.5, 0.0, 0.25], noop=(0.5, 0.0, 0.0))
    shift = PermutedActions(mapping={"x": "y", "y": "z", "z": "x"})
    expected = [[4.5, 0.5, 2.0], [0.75, 0.0, 0.0]]
    assert sent(shift, [item]).tolist() == [expected]
    drawn = sent(PermutedActions(), [item])[0, 0] - torch.tensor([0.5, 0.0, 0.0])
    assert sorted(drawn.tolist()) == [0.5, 2.0, 4.0]
    assert all(a != b for a, b in zip(drawn.tolist(), [0.5, 2.0, 4.0], strict=True))
    with pytest.raises(ValueError, match="mapping: expected a permutation"):
        PermutedActions(mapping={"left": "up"})
    with pytest.raises(ValueError, match="mapping: expected names that change"):
        PermutedActions(mapping={"left": "left"})
    with pytest.raises(ValueError, match=r"mapping: expected names out of .*\['jump'\]"):
        sent(PermutedActions(mapping={"left": "jump", "jump": "left"}), [script(0)])
    with pytest.raises(ValueError, match="needs two actions besides no-op"):
        sent(PermutedActions(), [script(0, names=("noop", "left"))])


# ---- other scripts of the group ----------------------------------------------------------


def test_shuffled_rows_are_those_of_the_group(items: list[Item], truth: Rollouts) -> None:
    orders = set()
    rollouts = Faulty(WORLD, ShuffledScripts()).rollout(items, HORIZON)
    for start in range(0, len(items), 4):
        own = truth.frames[start : start + 4]
        order = []
        for row in range(4):
            same = (own == rollouts.frames[start + row]).flatten(1).all(1).nonzero().flatten()
            assert len(same) == 1
            order.append(int(same))
        assert sorted(order) == [0, 1, 2, 3]
        assert all(order[row] != row for row in range(4))
        orders.add(tuple(order))
    assert len(orders) > 1  # drawn by scenario and seed
    assert bool((rollouts.info["fault_step"] > 0).all())


def test_any_shuffle_is_uniform_and_a_derangement_never_keeps() -> None:
    kept, rows = 0, 0
    branches = sprite_items(1, 1, branches=3)
    for derange in (False, True):
        found: dict[tuple[int, ...], int] = {}
        for seed in range(1200):
            group = [
                replace(item, seed=seed, actions=torch.full((1,), item.branch)) for item in branches
            ]
            order = ShuffledScripts(derange=derange).send_all(group, 1, None)
            key = tuple(int(s) for s in order)
            found[key] = found.get(key, 0) + 1
            if not derange:
                kept, rows = kept + sum(i == k for i, k in enumerate(key)), rows + 3
        assert len(found) == (2 if derange else 6)
        assert all(
            abs(n - 1200 / len(found)) < 5 * (1200 / len(found)) ** 0.5 for n in found.values()
        )
    assert abs(kept / rows - 1 / 3) < 0.05


def test_parts_of_a_group_need_the_panel() -> None:
    panel = Panel.load(Path(wmscore.__file__).parent / "panels" / "sprites.json")
    horizon = 6
    group = panel_items(panel, [(2, 0)])
    whole = Faulty(WORLD, ShuffledScripts()).rollout(group, horizon)
    known = Faulty(WORLD, ShuffledScripts(), panel=panel)
    for part in ([0], [2], [2, 0], [1, 2, 0]):
        rollouts = known.rollout([group[i] for i in part], horizon)
        assert torch.equal(rollouts.frames, whole.frames[part])
        assert torch.equal(rollouts.info["fault_step"], whole.info["fault_step"][part])
    with pytest.raises(ValueError, match=r"all branches of .*seed 0\), got \[0, 2\]"):
        Faulty(WORLD, ShuffledScripts()).rollout([group[0], group[2]], horizon)
    with pytest.raises(ValueError, match="panel: expected panel sprite-items"):
        known.rollout(sprite_items(1, 4), 4)
    # One script has nothing to be shuffled with.
    alone = Faulty(WORLD, ShuffledScripts()).rollout(sprite_items(1, 4, branches=1), 4)
    assert alone.info["fault_step"].tolist() == [0]


# ---- graded ------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [DroppedActions, NoisyActions, StickyActions])
def test_a_larger_share_corrupts_more_of_the_same(
    fault: type[DroppedActions], items: list[Item]
) -> None:
    commanded = torch.stack([item.actions for item in items])
    last = torch.zeros_like(commanded, dtype=torch.bool)
    for share in SHARES:
        stuck = torch.stack([fault(share).draws(item)[0] for item in items])
        assert bool((last <= stuck).all())
        assert float(stuck.float().mean()) == pytest.approx(share, abs=0.08)
        assert (
            bool((sent(fault(share), items) == commanded)[~stuck].all()) or fault is StickyActions
        )
        last = stuck
    assert torch.equal(sent(fault(0.0), items), commanded)
    # Every row has draws of its own; a longer script begins with the same.
    assert len({str(fault(0.5).draws(item)[0].tolist()) for item in items}) == len(items)
    longer = replace(items[0], actions=torch.cat([items[0].actions, items[0].actions]))
    assert torch.equal(fault(0.5).draws(longer)[0][:HORIZON], fault(0.5).draws(items[0])[0])
    for share in (-0.1, 1.1, float("nan"), True):
        with pytest.raises(ValueError, match=r"share: expected a number in 0\.\.1"):
            fault(share)


def test_dropped_noisy_and_sticky_by_definition(items: list[Item]) -> None:
    for item in items:
        wrong, _ = DroppedActions(0.4).draws(item)
        (dropped,) = sent(DroppedActions(0.4), [item])
        assert torch.equal(dropped, torch.where(wrong, 0, item.actions))
        (noisy,) = sent(NoisyActions(0.4), [item])
        assert torch.equal(noisy != item.actions, wrong)
        assert torch.equal(noisy[wrong], sent(NoisyActions(1.0), [item])[0, wrong])
        (sticky,) = sent(StickyActions(0.4), [item])
        expected = item.actions.tolist()
        for t in range(1, HORIZON):
            expected[t] = expected[t - 1] if wrong[t] else expected[t]
        assert sticky.tolist() == expected
    assert sent(DroppedActions(1.0), items).unique().tolist() == [0]
    first = torch.stack([item.actions[0] for item in items])[:, None].expand(-1, HORIZON)
    assert torch.equal(sent(StickyActions(1.0), items), first)
    rollouts = Faulty(WORLD, NoisyActions(0.4)).rollout(items, HORIZON)
    is_the_world_under(rollouts, items, sent(NoisyActions(0.4), items))


def test_noise_is_uniform_over_the_other_actions() -> None:
    many = [replace(script(*[2] * 1000), seed=seed) for seed in range(10)]
    taken = sent(NoisyActions(1.0), many).flatten().bincount(minlength=5)
    assert int(taken[2]) == 0
    assert bool(((taken[[0, 1, 3, 4]] - 2500).abs() < 200).all())
    with pytest.raises(ValueError, match="needs discrete actions"):
        sent(NoisyActions(0.5), [vectors([1.0, 0.0])])
    with pytest.raises(ValueError, match="needs two actions"):
        sent(NoisyActions(0.5), [script(0, names=("noop",))])
    vector = vectors(*[[1.0, 2.0]] * 40)
    (dropped,) = sent(DroppedActions(0.5), [vector])
    lost, _ = DroppedActions(0.5).draws(vector)
    assert torch.equal(dropped[lost], torch.tensor([[0.5, 0.0]]).expand(int(lost.sum()), 2))
    assert torch.equal(dropped[~lost], vector.actions[~lost])


# ---- gain --------------------------------------------------------------------------------


@pytest.mark.parametrize("gain", [0.25, 0.5, 0.75, 1.25, 1.5])
def test_a_gain_scales_the_path_of_the_camera(gain: float, items: list[Item]) -> None:
    """Shift the frames of a world without sprites' motion by the path that the gain makes."""
    still = [replace(i, reset={**i.reset, "objects": 1, "noise": 0}) for i in items[:4]]
    rollouts = Faulty(WORLD, ScaledActions(gain)).rollout(still, HORIZON)
    moves = torch.tensor([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]], dtype=torch.float64)
    actions = torch.stack([item.actions for item in still])
    camera = (moves[actions].cumsum(1) * 3 * gain + 0.5).floor().long()
    compared = 0
    first, sprites = rollouts.frames[:, 0], labels_of(rollouts)
    for row in range(4):
        for t in range(1, HORIZON + 1):
            dx, dy = camera[row, t - 1].tolist()
            if max(abs(dx), abs(dy)) >= 64:
                continue
            here = (slice(max(-dy, 0), 64 - max(dy, 0)), slice(max(-dx, 0), 64 - max(dx, 0)))
            there = (slice(max(dy, 0), 64 + min(dy, 0)), slice(max(dx, 0), 64 + min(dx, 0)))
            empty = (sprites[row, t][*here] == 0) & (sprites[row, 0][*there] == 0)
            assert torch.equal(
                rollouts.frames[row, t][:, *here] * empty, first[row][:, *there] * empty
            )
            compared += int(empty.sum())
    assert compared > 50_000
    moved = actions != 0
    onset = torch.where(moved.any(1), moved.int().argmax(1) + 1, 0)
    assert torch.equal(rollouts.info["fault_step"], onset)
    assert Faulty(WORLD, ScaledActions(gain)).name == f"scaled-actions-{gain:g}"


def test_gains_of_whole_pixels_are_worlds_with_another_pan(
    items: list[Item], truth: Rollouts
) -> None:
    wide = SpriteWorld(128, 128)
    assert wide.pan == 6
    for gain, pan in ((0.5, 3), (1.5, 9)):
        scaled = Faulty(wide, ScaledActions(gain)).rollout(items[:2], 6)
        assert torch.equal(
            scaled.frames, SpriteWorld(128, 128, pan=pan).rollout(items[:2], 6).frames
        )
    same = Faulty(WORLD, ScaledActions(1.0)).rollout(items, HORIZON)
    assert torch.equal(same.frames, truth.frames)
    assert same.info["fault_step"].tolist() == [0] * len(items)
    none = Faulty(WORLD, ScaledActions(0.0)).rollout(items, HORIZON)
    still = WORLD.rollout([replace(i, actions=torch.zeros_like(i.actions)) for i in items], HORIZON)
    assert torch.equal(none.frames, still.frames)
    # Nested gains multiply.
    nested = WORLD.scaled(0.5).scaled(0.5).rollout(items[:1], 6)
    assert torch.equal(nested.frames, WORLD.scaled(0.25).rollout(items[:1], 6).frames)


def test_gains_of_vectors_and_what_has_none() -> None:
    (half,) = sent(ScaledActions(1.5), [vectors([1.0, -1.0], [0.5, 0.0])]).tolist()
    assert half == [[1.25, -1.5], [0.5, 0.0]]
    with pytest.raises(ValueError, match=r"needs a world with scaled\(gain\).*'spy' has none"):
        sent(ScaledActions(0.5), [script(0, 1)])
    for gain in (-1, float("inf"), "2", True):
        with pytest.raises(ValueError, match="gain: expected a"):
            ScaledActions(gain)  # type: ignore[arg-type]


# ---- time --------------------------------------------------------------------------------


def test_half_speed_shows_every_frame_twice(items: list[Item], truth: Rollouts) -> None:
    rollouts = Faulty(WORLD, HalfSpeed()).rollout(items, HORIZON)
    for t in range(HORIZON + 1):
        assert torch.equal(rollouts.frames[:, t], truth.frames[:, t // 2])
        assert torch.equal(labels_of(rollouts)[:, t], labels_of(truth)[:, t // 2])
    assert rollouts.info["fault_step"].tolist() == [1] * len(items)
    short = Faulty(Faulty(WORLD, ShortRollout(step=4)), HalfSpeed()).rollout(items[:1], HORIZON)
    assert short.valid[0].tolist() == [True] * 8 + [False] * 9  # frames 0..3, each twice
    assert Faulty(WORLD, HalfSpeed()).capabilities.prefix_causal


def test_time_reversed_visits_the_same_states_backwards(items: list[Item], truth: Rollouts) -> None:
    rollouts = Faulty(WORLD, TimeReversed()).rollout(items, HORIZON)
    assert torch.equal(rollouts.frames[:, 0], truth.frames[:, 0])
    assert torch.equal(rollouts.frames[:, 1:], truth.frames[:, 1:].flip(1))
    assert torch.equal(labels_of(rollouts)[:, 1:], labels_of(truth)[:, 1:].flip(1))
    assert rollouts.info["fault_step"].tolist() == [1] * len(items)
    assert not Faulty(WORLD, TimeReversed()).capabilities.prefix_causal
    # What exists of a short rollout is reversed; the rest stays padding.
    ended = Faulty(WORLD, ShortRollout(step=4))
    short = Faulty(ended, TimeReversed()).rollout(items[:1], HORIZON)
    order = [0, 3, 2, 1, *[1] * (HORIZON - 3)]
    assert torch.equal(short.frames[0], truth.frames[0, order])
    assert short.valid[0].tolist() == [True] * 4 + [False] * 13
    for step, onset in ((1, 0), (2, 0), (3, 1)):
        ended = Faulty(WORLD, ShortRollout(step=step))
        brief = Faulty(ended, TimeReversed()).rollout(items[:1], HORIZON)
        assert brief.info["fault_step"].tolist() == [onset]


# ---- all ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [kind() for kind in FROM_THE_START], ids=lambda fault: fault.name)
def test_groups_do_not_depend_on_their_batch(fault: Fault, items: list[Item]) -> None:
    model = Faulty(WORLD, fault)
    assert isinstance(model, WorldModel)
    whole = model.rollout(items, HORIZON)
    order = [15, 12, 14, 13]
    part = model.rollout([items[i] for i in order], HORIZON)
    assert torch.equal(whole.frames[order], part.frames)
    assert torch.equal(whole.info["fault_step"][order], part.info["fault_step"])
    assert torch.equal(whole.frames[:, 0], WORLD.rollout(items, 1).frames[:, 0])
