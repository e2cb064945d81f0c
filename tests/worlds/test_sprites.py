"""`SpriteWorld`: exactness, labels that agree with pixels, occlusion, and the shipped panel."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import wmscore
from wmscore.files import sha256_tensor
from wmscore.manifest import Panel
from wmscore.replay import panel_items, render_truth
from wmscore.rollouts import Rollouts
from wmscore.testing import sprite_items
from wmscore.worlds import Item, SpriteWorld, WorldModel
from wmscore.worlds.sprite_art import draw

HORIZON = 20
ROOT = Path(wmscore.__file__).parents[1]
PANEL = Path(wmscore.__file__).parent / "panels" / "sprites.json"


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return sprite_items(4, HORIZON, seeds=(0, 1), branches=3)


@pytest.fixture(scope="module")
def rollouts(items: list[Item]) -> Rollouts:
    return SpriteWorld().rollout(items, HORIZON)


def equal(mine: Rollouts, theirs: Rollouts) -> bool:
    return torch.equal(mine.frames, theirs.frames) and torch.equal(
        labels_of(mine), labels_of(theirs)
    )


def labels_of(rollouts: Rollouts) -> Tensor:
    assert rollouts.labels is not None
    return rollouts.labels


# ---- exactness ---------------------------------------------------------------------------


def test_is_a_world_model_with_the_promised_shapes(rollouts: Rollouts) -> None:
    world = SpriteWorld(height=20, width=48)
    assert isinstance(world, WorldModel)
    small = world.rollout(sprite_items(1, 3, world=world), 3)
    assert small.frames.shape == (2, 4, 3, 20, 48)
    assert labels_of(small).shape == (2, 4, 20, 48)
    assert (rollouts.frames.dtype, labels_of(rollouts).dtype) == (torch.uint8, torch.uint8)


def test_pixels_are_pinned() -> None:
    # A change of any pixel makes every published panel of this world another panel.
    script = torch.tensor([1, 3, 0, 2, 4])
    items = [replace(item, actions=script) for item in sprite_items(2, 5, branches=1)]
    rollouts = SpriteWorld().rollout(items, 5)
    assert sha256_tensor(rollouts.frames)[:16] == "4f3cb5cad6763527"
    assert sha256_tensor(labels_of(rollouts))[:16] == "954c5f81d96db406"


def test_equal_calls_are_equal(items: list[Item], rollouts: Rollouts) -> None:
    assert equal(rollouts, SpriteWorld().rollout(items, HORIZON))


def test_a_row_does_not_depend_on_its_batch(items: list[Item], rollouts: Rollouts) -> None:
    world = SpriteWorld()
    for i in (0, 7, 23):
        assert equal(rollouts[i], world.rollout([items[i]], HORIZON))
    # A row with more objects in the batch widens all tables; the others stay as they were.
    crowd = replace(items[5], reset={"seed": 99, "objects": 8})
    assert equal(rollouts[3], world.rollout([crowd, items[3]], HORIZON)[1])
    short = world.rollout(items[:2], 7)
    torch.testing.assert_close(short.frames, rollouts.frames[:2, :8], rtol=0, atol=0)


def test_a_row_does_not_depend_on_the_seed_of_the_model(items: list[Item]) -> None:
    other = [replace(item, seed=item.seed + 17) for item in items[:3]]
    world = SpriteWorld()
    assert equal(world.rollout(items[:3], 5), world.rollout(other, 5))


@pytest.mark.needs_cuda
def test_cuda_gives_the_same_bits(items: list[Item], rollouts: Rollouts) -> None:
    there = SpriteWorld(device="cuda").rollout(items, HORIZON)
    assert there.frames.is_cuda
    assert equal(rollouts, there.to("cpu"))


def test_noise_seed_keeps_the_first_frame_and_the_background(items: list[Item]) -> None:
    world = SpriteWorld()
    own, zero, one = (
        world.rollout([replace(items[0], noise_seed=seed)], HORIZON) for seed in (None, 0, 1)
    )
    for a, b in ((own, zero), (own, one), (zero, one)):
        assert torch.equal(a.frames[:, 0], b.frames[:, 0])
        assert not torch.equal(a.frames[:, 6:], b.frames[:, 6:])
        empty = (labels_of(a) == 0) & (labels_of(b) == 0)
        assert torch.equal(
            a.frames * empty[:, :, None], b.frames * empty[:, :, None]
        )  # only sprites moved


def test_without_noise_the_noise_seed_changes_nothing(items: list[Item]) -> None:
    quiet = replace(items[0], reset={"seed": 0, "noise": 0})
    world = SpriteWorld()
    again = world.rollout([replace(quiet, noise_seed=5)], HORIZON)
    assert equal(world.rollout([quiet], HORIZON), again)


def test_branches_share_all_but_the_camera(items: list[Item], rollouts: Rollouts) -> None:
    """Where two cameras see the same place of the world, they see the same pixels."""
    pan, size = SpriteWorld().pan, 64
    moves = torch.tensor([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]])
    compared = 0
    for group in range(0, len(items), 3):
        camera = moves[rollouts.actions[group : group + 3]].cumsum(1) * pan
        for t in range(1, HORIZON + 1):
            for branch in (1, 2):
                dx, dy = (camera[branch, t - 1] - camera[0, t - 1]).tolist()
                if max(abs(dx), abs(dy)) >= size:
                    continue
                here = (slice(max(dy, 0), size + min(dy, 0)), slice(max(dx, 0), size + min(dx, 0)))
                there = (
                    slice(max(-dy, 0), size + min(-dy, 0)),
                    slice(max(-dx, 0), size + min(-dx, 0)),
                )
                commanded, other = rollouts.frames[group, t], rollouts.frames[group + branch, t]
                assert torch.equal(commanded[:, *here], other[:, *there])
                mine, theirs = labels_of(rollouts)[group, t], labels_of(rollouts)[group + branch, t]
                assert torch.equal(mine[*here], theirs[*there])
                compared += int((mine[*here] > 0).sum())
    assert compared > 10_000


def test_the_hash_is_uniform_and_never_leaves_32_bits() -> None:
    bits = draw(torch.arange(20_000), 3, torch.arange(20_000) * 7)
    assert 0 <= int(bits.min()) <= int(bits.max()) < 2**32
    assert len(set(bits.tolist())) > 19_990
    ones = torch.stack([(bits >> k) & 1 for k in range(32)]).double().mean(1)
    torch.testing.assert_close(ones, torch.full_like(ones, 0.5), rtol=0, atol=0.02)


@pytest.mark.parametrize("pan", [0, 0.75, 1.5, 3, 4.5])
def test_another_pan_moves_the_camera_only(pan: float, items: list[Item]) -> None:
    """Six actions of half a pan are three whole ones, under sprites that do not know."""
    still = [replace(item, actions=torch.zeros_like(item.actions)) for item in items[:2]]
    there = [replace(item, actions=torch.full_like(item.actions, 2)) for item in items[:2]]
    world, half = SpriteWorld(pan=pan), SpriteWorld(pan=pan / 2)
    assert (world.pan, world.stepper.pan, half.pan) == (pan, pan, pan / 2)
    default = SpriteWorld()
    assert equal(world.rollout(still, 6), default.rollout(still, 6))
    whole, slow = world.rollout(there, 6), half.rollout(there, 6)
    assert torch.equal(whole.frames[:, 0], default.rollout(there, 1).frames[:, 0])
    # After 2 and 4 steps the slow camera is where the other one is after 1 and 2.
    empty = (labels_of(slow)[:, [2, 4, 6]] == 0) & (labels_of(whole)[:, [1, 2, 3]] == 0)
    gap = slow.frames[:, [2, 4, 6]] != whole.frames[:, [1, 2, 3]]
    assert not bool((gap & empty[:, :, None]).any())
    assert equal(world.scaled(0.5).rollout(there, 6), slow)


def test_bad_pan() -> None:
    for pan in (-1, 65, float("nan"), float("inf"), True, "3"):
        with pytest.raises(ValueError, match="pan: expected"):
            SpriteWorld(pan=pan)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"pan: expected 0\.\.64"):
        SpriteWorld().scaled(22)


# ---- what is to be seen ------------------------------------------------------------------


def test_labels_agree_with_pixels() -> None:
    """Each object has its own two colours, and shows them wherever its label is, nowhere else."""
    items = [replace(i, reset={"seed": 3, "objects": 8}) for i in sprite_items(1, HORIZON)]
    rollouts = SpriteWorld().rollout(items, HORIZON)
    colours: dict[int, set[tuple[int, ...]]] = {}
    pixels = rollouts.frames.permute(0, 1, 3, 4, 2)
    for label in range(1, 9):
        found = pixels[labels_of(rollouts) == label].tolist()
        colours[label] = {tuple(colour) for colour in found}
        assert 1 <= len(colours[label]) <= 2
    every = [colour for two in colours.values() for colour in two]
    assert len(every) == len(set(every))
    ground = {tuple(c) for c in pixels[labels_of(rollouts) == 0].tolist()}
    assert not ground & set(every)


def test_objects_are_visible() -> None:
    rollouts = SpriteWorld().rollout(sprite_items(24, 32), 32)
    area = torch.stack([(labels_of(rollouts) == i).flatten(2).sum(2) for i in range(1, 6)], 2)
    enough = (area >= 16).sum(2) >= 3
    assert enough.float().mean() > 0.9
    assert bool(enough[:, 0].all())
    assert int(area.amax((0, 1)).min()) >= 64  # an object that is whole


def test_nearer_sprites_and_pillars_hide_what_is_behind() -> None:
    items = sprite_items(12, HORIZON, branches=1)
    crowd = labels_of(SpriteWorld().rollout(items, HORIZON))
    alone = [replace(item, reset={**item.reset, "objects": 1}) for item in items]
    single = labels_of(SpriteWorld().rollout(alone, HORIZON))
    # The first object moves the same way whether or not there are others.
    hidden = (single == 1) & (crowd != 1)
    assert bool(((crowd == 1) <= (single == 1)).all())
    assert 0 < int(hidden.sum()) < int((single == 1).sum())
    assert bool((crowd[hidden] > 1).all())
    # Pillars: with no other object, the visible area still shrinks inside the view.
    columns = (single == 1).any(2)
    inside = ~columns[:, :, 0] & ~columns[:, :, -1]
    rows_inside = ~(single == 1).any(3)[:, :, 0] & ~(single == 1).any(3)[:, :, -1]
    area = (single == 1).flatten(2).sum(2)
    whole = area.amax(1, keepdim=True)
    assert bool(((area < whole * 3 // 4) & (area > 0) & inside & rows_inside).any())


def test_no_sprite_is_ever_drawn_twice_or_split() -> None:
    rollouts = SpriteWorld(16, 40).rollout(sprite_items(8, 30), 30)
    for label in range(1, 6):
        columns = (labels_of(rollouts) == label).any(2)
        index = torch.arange(40)
        last = torch.where(columns, index, -1).amax(2)
        first = torch.where(columns, index, 40).amin(2)
        assert int((last - first).max()) <= 5  # a sprite's width at this size


# ---- the panel ---------------------------------------------------------------------------


def test_the_shipped_panel_is_what_its_generator_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    spec = importlib.util.spec_from_file_location("b", ROOT / "tools" / "build_sprites_panel.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    panel = Panel.load(PANEL)
    assert len(panel.scenarios) == 8
    assert panel.seeds == (0, 1, 2, 3)
    assert (panel.contract.horizon, panel.contract.world) == (32, "sprites")
    for scenario in panel.scenarios:
        assert [branch.name for branch in scenario.branches] == ["noop", "random-0"]
    again = tool.assemble(
        [tool.scenario(scenario.id, scenario.reset["seed"]) for scenario in panel.scenarios]
    )
    frames = {s.id: s.initial_frame_sha256 for s in panel.scenarios}
    assert panel.differences(again.with_initial_frames(frames)) == []


def test_objects_leave_and_return_where_the_panel_says_so() -> None:
    panel = Panel.load(PANEL)
    truth = render_truth(panel, SpriteWorld())  # also compares the frozen first frames
    area = torch.stack([(labels_of(truth) == i).flatten(2).sum(2) for i in range(1, 6)], 2)
    assert bool((((area >= 40).sum(2) >= 3).float().mean(1) > 0.5)[truth.branch == 0].all())
    named = [s for s, scenario in enumerate(panel.scenarios) if "leave-and-return" in scenario.id]
    assert len(named) == 2
    for s in named:
        commanded, still = (
            area[(truth.scenario == s) & (truth.branch == branch)][0] for branch in (0, 1)
        )
        gone = (commanded == 0).int().unfold(0, 4, 1).sum(-1).amax(0) == 4
        both_ends = (commanded[0] >= 40) & (commanded[-1] >= 40)
        assert int((gone & both_ends & (still > 0).all(0)).sum()) >= 2


def test_panel_items_run_as_they_are() -> None:
    panel = Panel.load(PANEL)
    rollouts = SpriteWorld().rollout(panel_items(panel, [(0, 0)]), 3)
    assert rollouts.panel == panel.fingerprint
    assert rollouts.branch.tolist() == [0, 1, 2]


# ---- errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reset", "message"),
    [
        ({}, "reset.seed"),
        ({"seed": -1}, "reset.seed"),
        ({"seed": 2**63}, "reset.seed"),
        ({"seed": True}, "reset.seed"),
        ({"seed": "0"}, "reset.seed"),
        ({"seed": 0, "objects": 0}, "reset.objects"),
        ({"seed": 0, "objects": 9}, "reset.objects"),
        ({"seed": 0, "objects": 2.0}, "reset.objects"),
        ({"seed": 0, "noise": -1}, "reset.noise"),
        ({"seed": 0, "noise": float("nan")}, "reset.noise"),
        ({"seed": 0, "noise": "much"}, "reset.noise"),
        ({"seed": 0, "sprites": 3}, "reset: .*sprites"),
    ],
)
def test_bad_reset(reset: dict[str, object], message: str) -> None:
    item = replace(sprite_items(1, 2)[0], reset=reset)
    with pytest.raises(ValueError, match=message):
        SpriteWorld().rollout([item], 2)


def test_bad_actions_and_sizes() -> None:
    item = sprite_items(1, 2)[0]
    with pytest.raises(ValueError, match=r"action_names.*jump"):
        SpriteWorld().rollout([replace(item, action_names=("noop", "jump"))], 2)
    with pytest.raises(ValueError, match=r"actions: expected 0\.\.4, got 7\.\.7"):
        SpriteWorld().rollout([replace(item, actions=torch.full((2,), 7))], 2)
    with pytest.raises(ValueError, match="actions: expected int64"):
        SpriteWorld().rollout([replace(item, actions=torch.zeros(2, 1))], 2)
    with pytest.raises(ValueError, match=r"height: .*15"):
        SpriteWorld(height=15)
    with pytest.raises(ValueError, match="items"):
        SpriteWorld().rollout([], 2)


def test_action_names_may_come_in_any_order() -> None:
    item = sprite_items(1, 2)[0]
    moved = replace(item, actions=torch.tensor([2, 2]), action_names=item.action_names)
    renamed = replace(item, actions=torch.tensor([0, 0]), action_names=("right", "noop"))
    world = SpriteWorld()
    mixed = world.rollout([moved, renamed], 2)
    assert torch.equal(mixed.frames[0], mixed.frames[1])
