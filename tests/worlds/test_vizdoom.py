"""VizDoom: determinism, counterfactual branches, labels, redrawn randomness, and tidiness."""

from __future__ import annotations

import gc
import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wmscore.manifest import Panel
from wmscore.replay import panel_items, render_truth
from wmscore.worlds import Item, OtherSeed, WorldModel
from wmscore.worlds.doom_game import ACTIONS, DoomGame
from wmscore.worlds.vizdoom import VizDoomWorld

pytestmark = [
    pytest.mark.vizdoom,
    pytest.mark.skipif(
        importlib.util.find_spec("vizdoom") is None, reason="vizdoom is not installed"
    ),
]
MIXED = ("left", "attack", "forward", "strafe_right", "right", "back", "noop", "forward")


def item(
    script: Sequence[str],
    game: str = "health_gathering",
    seed: int = 3,
    *,
    warmup: Sequence[str] = (),
    branch: int = 0,
    row_seed: int = 0,
    noise_seed: int | None = None,
    **changes: Any,
) -> Item:
    """A row of VizDoom."""
    return Item(
        **{
            "panel": "p",
            "scenario": 0,
            "scenario_id": game,
            "initial_state_id": f"{game}/{seed}",
            "reset": {"scenario": game, "seed": seed, "warmup": list(warmup)},
            "seed": row_seed,
            "branch": branch,
            "actions": torch.tensor([ACTIONS.index(name) for name in script]),
            "action_names": ACTIONS,
            "noop": 0,
            "noise_seed": noise_seed,
        }
        | changes
    )


@pytest.fixture(scope="module")
def world() -> Iterator[VizDoomWorld]:
    """One world for the whole file, so that every test also plays on used games."""
    with VizDoomWorld(workers=2) as world:
        yield world


def play(world: WorldModel, *items: Item) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frames, labels and valid of some items, over the whole of their scripts."""
    out = world.rollout(items, len(items[0].actions))
    assert out.labels is not None
    return out.frames, out.labels, out.valid


# ---- contract ----------------------------------------------------------------------------


def test_shapes_types_and_keys(world: VizDoomWorld) -> None:
    rows = [item(MIXED, branch=1, row_seed=5), item(MIXED[::-1], "my_way_home", scenario=2)]
    out = world.rollout(rows, 6)
    assert out.frames.shape == (2, 7, 3, 120, 160)
    assert out.frames.dtype == torch.uint8
    assert out.labels is not None
    assert out.labels.shape == (2, 7, 120, 160)
    assert out.labels.dtype == torch.int16
    assert (out.branch.tolist(), out.seed.tolist(), out.scenario.tolist()) == (
        [1, 0],
        [5, 0],
        [0, 2],
    )
    assert out.actions.tolist() == [row.actions[:6].tolist() for row in rows]
    assert isinstance(world, WorldModel)
    assert world.capabilities.fps == 8.75
    assert world.capabilities.action_names == ACTIONS


def test_panel_names_choose_the_buttons(world: VizDoomWorld) -> None:
    names = ("right", "noop", "left")
    mine = item(["noop"] * 3, action_names=names, actions=torch.tensor([2, 0, 1]))
    torch.testing.assert_close(
        play(world, mine)[0], play(world, item(["left", "right", "noop"]))[0]
    )


def test_another_size_is_drawn_and_not_resized() -> None:
    with VizDoomWorld(240, 320, frame_skip=2, workers=1) as large:
        frames, labels, _ = play(large, item(MIXED[:3]))
        assert frames.shape[2:] == (3, 240, 320)
        assert labels.shape[2:] == (240, 320)
        assert large.capabilities.fps == 17.5


# ---- determinism -------------------------------------------------------------------------


def test_same_items_twice_and_in_a_fresh_world(world: VizDoomWorld) -> None:
    rows = [item(MIXED * 2, s, 4) for s in ("defend_the_center", "deathmatch", "take_cover")]
    first = play(world, *rows)
    # The weapon's swing used to survive the episode: end one in full run.
    play(world, *(item(["forward"] * 12, row.reset["scenario"], 9) for row in rows))
    again = play(world, *rows)
    with VizDoomWorld(workers=1) as fresh:
        other = play(fresh, *rows)
    for one, two, three in zip(first, again, other, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
        torch.testing.assert_close(one, three, rtol=0, atol=0)


def test_batch_equals_single_and_equal_rows_are_equal(world: VizDoomWorld) -> None:
    rows = [
        item(MIXED),
        item(MIXED, row_seed=1),
        item(MIXED[::-1]),
        item(MIXED, "defend_the_line", noise_seed=2),
        item(MIXED, "defend_the_line", noise_seed=2, row_seed=1),
    ]
    batch = play(world, *rows)
    for i, row in enumerate(rows):
        for together, alone in zip(batch, play(world, row), strict=True):
            torch.testing.assert_close(together[i], alone[0], rtol=0, atol=0)
    torch.testing.assert_close(batch[0][0], batch[0][1], rtol=0, atol=0)
    torch.testing.assert_close(batch[0][3], batch[0][4], rtol=0, atol=0)


def test_horizon_cuts_and_changes_nothing(world: VizDoomWorld) -> None:
    row = item(MIXED, "defend_the_center")
    long, short = world.rollout([row], 8), world.rollout([row], 5)
    torch.testing.assert_close(long.frames[:, :6], short.frames, rtol=0, atol=0)


def test_branches_share_frame_0_and_then_differ(world: VizDoomWorld) -> None:
    scripts = (["left"] * 4, ["right"] * 4, ["noop"] * 4)
    rows = [item(s, "my_way_home", warmup=["left", "forward"]) for s in scripts]
    frames, labels, _ = play(world, *rows)
    torch.testing.assert_close(frames[1:, 0], frames[:1, 0].expand(2, -1, -1, -1))
    torch.testing.assert_close(labels[1:, 0], labels[:1, 0].expand(2, -1, -1))
    assert not torch.equal(frames[0, 1], frames[1, 1])
    assert not torch.equal(frames[0, 1], frames[2, 1])


def test_warmup_is_a_prefix(world: VizDoomWorld) -> None:
    # A last no-op lets the turn button go, which the start of an episode does as well.
    whole = play(world, item([*MIXED, "noop", *MIXED], "defend_the_line"))
    after = play(world, item(MIXED, "defend_the_line", warmup=[*MIXED, "noop"]))
    torch.testing.assert_close(whole[0][:, 9:], after[0], rtol=0, atol=0)


# ---- randomness --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scenario", ["defend_the_line", "deadly_corridor", "health_gathering", "deathmatch"]
)
def test_noise_seed_redraws_chance_from_the_same_frame(world: VizDoomWorld, scenario: str) -> None:
    script, turn = ["noop"] * 8, ["left"] * 3
    rows = [item(script, scenario, warmup=turn, noise_seed=n) for n in (None, 1, 1, 2)]
    frames, labels, _ = play(world, *rows)
    for tensor in (frames, labels):
        torch.testing.assert_close(tensor[1:, 0], tensor[:1, 0].expand_as(tensor[1:, 0]))
    torch.testing.assert_close(frames[1], frames[2], rtol=0, atol=0)
    alone = play(world, rows[1])[0][0]
    torch.testing.assert_close(frames[1], alone, rtol=0, atol=0)
    if scenario in ("defend_the_line", "deadly_corridor"):  # monsters act within these steps
        assert not torch.equal(frames[0], frames[1])
        assert not torch.equal(frames[1], frames[3])


def test_a_world_without_chance_ignores_the_noise_seed(world: VizDoomWorld) -> None:
    frames, _, _ = play(world, *(item(MIXED, "my_way_home", noise_seed=n) for n in (None, 1)))
    torch.testing.assert_close(frames[0], frames[1], rtol=0, atol=0)


def test_other_seed_differs_between_seeds_only_by_chance(world: VizDoomWorld) -> None:
    turn = ["left"] * 3
    rows = [item(["noop"] * 8, "deadly_corridor", warmup=turn, row_seed=n) for n in (0, 0, 1)]
    frames = OtherSeed(world).rollout(rows, 8).frames
    torch.testing.assert_close(frames[0], frames[1], rtol=0, atol=0)
    torch.testing.assert_close(frames[0, 0], frames[2, 0], rtol=0, atol=0)
    assert not torch.equal(frames[0], frames[2])


@pytest.mark.parametrize("frame_skip", [1, 4])
@pytest.mark.parametrize("first", ["left", "attack", "noop"])
def test_going_over_to_a_savegame_changes_nothing_by_itself(frame_skip: int, first: str) -> None:
    shape = (len(MIXED) + 2, 3, 120, 160)
    outs = []
    for scenario in ("defend_the_line", "deathmatch"):
        game = DoomGame(scenario, 120, 160, frame_skip)
        for rewrite in (None, bytes):
            frames, labels = np.empty(shape, np.uint8), np.empty((shape[0], 120, 160), np.int16)
            warmup = ["right", "forward", "right"]
            script = [first, *MIXED]
            game.play(5, warmup, script, frames=frames, labels=labels, rewrite=rewrite)
            outs.append((frames, labels))
        game.close()
    for plain, loaded in (outs[:2], outs[2:]):
        np.testing.assert_array_equal(plain[0], loaded[0])
        np.testing.assert_array_equal(plain[1], loaded[1])


# ---- labels ------------------------------------------------------------------------------


def test_labels_stay_with_objects_that_leave_and_return(world: VizDoomWorld) -> None:
    # There and back again: the same heading shows the same, motionless medkits, and new ones.
    script = ["left"] * 12 + ["noop"] + ["right"] * 12 + ["noop"]
    frames, labels, _ = play(world, item(script, seed=2, warmup=["noop"] * 3))
    start, turned, back = labels[0, 0], labels[0, 13], labels[0, 26]
    same = (frames[0, 0] == frames[0, 26]).all(0)
    assert same.float().mean() > 0.99
    torch.testing.assert_close(start[same], back[same])
    assert len(start[same].unique()) > 5
    gone = set(start.unique().tolist()) - set(turned.unique().tolist())
    assert len(gone) >= 2
    assert len(turned.unique()) > 1


def test_branches_call_the_same_object_by_the_same_label(world: VizDoomWorld) -> None:
    # One branch turns away at once and sees other objects first, then both look the same way.
    there_and_back = ["left"] * 5 + ["noop"] + ["right"] * 5 + ["noop"]
    other_way = ["right"] * 5 + ["noop"] + ["left"] * 5 + ["noop"]
    wait = ["noop"] * 12
    rows = [item(s, seed=1) for s in (there_and_back, other_way, wait)]
    frames, labels, _ = play(world, *rows)
    assert torch.equal(frames[0, -1], frames[2, -1])
    assert torch.equal(frames[1, -1], frames[2, -1])
    assert labels[2, -1].any()
    torch.testing.assert_close(labels[0, -1], labels[2, -1])
    torch.testing.assert_close(labels[1, -1], labels[2, -1])


def test_moving_monsters_keep_their_labels(world: VizDoomWorld) -> None:
    labels = play(world, item(["noop"] * 12, "defend_the_line"))[1][0]
    for label in labels.unique().tolist()[1:]:
        middles = [m.nonzero().float().mean(0) for m in labels == label if m.any()]
        steps = torch.stack(middles).diff(dim=0).norm(dim=1)
        assert len(middles) == 13
        assert steps.max() < 20  # pixels: nobody jumps to another's place
        assert steps.sum() > 0


def test_weapon_and_walls_are_background(world: VizDoomWorld) -> None:
    _, labels, _ = play(world, item(["attack"] * 6, "my_way_home"))
    assert labels.unique().tolist() == [0]
    _, labels, _ = play(world, item(["attack"] * 6, "basic"))
    assert labels.unique().tolist() == [0, 1]  # the one monster


# ---- the end of an episode ---------------------------------------------------------------


def test_an_early_end_is_marked_and_padded(world: VizDoomWorld) -> None:
    # The monster of this scenario needs about a second to kill who stands before it.
    rows = [item(["attack"] * 30, "basic", 2), item(["noop"] * 30, "deadly_corridor", 6)]
    for noise in (None, 0):
        frames, labels, valid = play(world, *(item_with(row, noise_seed=noise) for row in rows))
        lengths = valid.sum(1).tolist()
        assert min(lengths) < 31
        for row, length in enumerate(lengths):
            assert valid[row, :length].all()
            last = frames[row, length - 1]
            torch.testing.assert_close(frames[row, length:], last.expand_as(frames[row, length:]))
            last = labels[row, length - 1]
            torch.testing.assert_close(labels[row, length:], last.expand_as(labels[row, length:]))


def item_with(row: Item, **changes: Any) -> Item:
    """The item with some fields changed."""
    return Item(**{**vars(row), **changes})


def test_a_warmup_that_ends_the_episode_is_refused(world: VizDoomWorld) -> None:
    row = item(["noop"], "deadly_corridor", 6, warmup=["noop"] * 40)
    with pytest.raises(ValueError, match=r"reset\.warmup: the episode of seed 6 ends at action"):
        world.rollout([row], 1)


# ---- errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reset": {"seed": 1}}, r"reset\.scenario: expected one of \['basic'"),
        ({"reset": {"scenario": "doom2", "seed": 1}}, r"reset\.scenario.*got 'doom2'"),
        ({"reset": {"scenario": "basic"}}, r"reset\.seed.*got None"),
        ({"reset": {"scenario": "basic", "seed": True}}, r"reset\.seed.*got True"),
        ({"reset": {"scenario": "basic", "seed": -1}}, r"reset\.seed.*got -1"),
        ({"reset": {"scenario": "basic", "seed": 1, "map": 2}}, r"reset: .*got \['map'\]"),
        ({"reset": {"scenario": "basic", "seed": 1, "warmup": "left"}}, r"reset\.warmup.*'left'"),
        (
            {"reset": {"scenario": "basic", "seed": 1, "warmup": ["jump"]}},
            r"reset\.warmup: expected names out of \['noop', 'left'.*got \['jump'\]",
        ),
        ({"action_names": ("noop", "fly")}, r"action_names: expected.*got \['fly'\]"),
        ({"actions": torch.tensor([0, 8])}, r"actions: expected 0\.\.7, got \[8\]"),
        ({"actions": torch.zeros(2, 3)}, r"actions: expected \[T\] indices"),
    ],
)
def test_wrong_items_name_the_field(
    world: VizDoomWorld, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        world.rollout([item(["noop"] * 2, **changes)], 2)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sizes 120 x 160, 125 x 200, .*; got 64 x 64"):
        VizDoomWorld(64, 64)
    with pytest.raises(ValueError, match="frame_skip: expected an integer of at least 1, got 0"):
        VizDoomWorld(frame_skip=0)
    with pytest.raises(ValueError, match=r"workers: .*got 2\.0"):
        VizDoomWorld(workers=2.0)  # type: ignore[arg-type]


# ---- tidiness ----------------------------------------------------------------------------


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return [path.name for path in folder.iterdir()]


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, temporary = tmp_path / "here", tmp_path / "tmp"
    here.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    (here / "_vizdoom.cfg").write_text("not a setting that VizDoom knows\n")
    world = VizDoomWorld(workers=2)
    play(world, item(MIXED, noise_seed=1), item(MIXED))
    assert Path.cwd() == here
    assert names(here) == ["_vizdoom.cfg"]
    assert len(names(temporary)) == 2
    world.close()
    assert names(temporary) == []
    play(world, item(MIXED))  # a closed world starts again
    assert len(names(temporary)) == 1
    del world
    gc.collect()
    assert names(temporary) == []


# ---- the packaged panel ------------------------------------------------------------------


def test_packaged_panel_keeps_its_promises(world: VizDoomWorld) -> None:
    spec = importlib.util.find_spec("wmscore")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "panels" / "vizdoom.json"
    panel = Panel.from_dict(json.loads(path.read_text(encoding="utf-8")))
    assert panel.contract.actions.names == ACTIONS
    assert len(panel.scenarios) * len(panel.seeds) == 32
    truth = render_truth(panel, world)
    assert truth.labels is not None
    assert truth.valid.all()
    commanded = truth.labels[truth.branch == 0]
    labelled = (commanded > 0).flatten(2).any(2).float().mean(1)
    assert (labelled > 0.9).all()
    items = panel_items(panel, [(0, panel.seeds[0])])
    redrawn = play(world, *(item_with(row, noise_seed=1) for row in items))[0]
    torch.testing.assert_close(redrawn[:, 0], truth.frames[truth.scenario == 0][:, 0])


# ---- other gains -------------------------------------------------------------------------


@pytest.mark.parametrize("noise_seed", [None, 7])
def test_analogue_axes_do_what_the_buttons_do(world: VizDoomWorld, noise_seed: int | None) -> None:
    held = [name for name in ACTIONS for _ in range(3)]
    rows = [
        item(script, game, 4, warmup=["forward", "left"], noise_seed=noise_seed)
        for game in ("health_gathering", "my_way_home", "deathmatch")
        for script in (MIXED * 3, held, held[::-1])
    ]
    for mine, theirs in zip(play(world.scaled(1.0), *rows), play(world, *rows), strict=True):
        assert torch.equal(mine, theirs)


def test_gains_scale_turns_exactly() -> None:
    """A turn is slow in its first tics: so many single tics are a turn of as many times the gain.

    Nothing moves in this scenario, so that only the direction of view counts.
    """

    def last(world: VizDoomWorld, *script: str) -> torch.Tensor:
        return play(world, item(script, "my_way_home", warmup=["noop"] * 8))[0][0, -1]

    with VizDoomWorld(frame_skip=1, workers=1) as world:
        for turn in ("left", "right"):
            one, two, three, six = (last(world, *(turn, "noop") * n) for n in (1, 2, 3, 6))
            assert bool((one != two).any())
            for gain, frames in (
                (0.25, (4, one)),
                (0.5, (2, one)),
                (1.5, (2, three)),
                (2, (3, six)),
            ):
                assert torch.equal(last(world.scaled(gain), *(turn, "noop") * frames[0]), frames[1])
        # And held turns become fast after as many tics as they do at a gain of 1.
        slow, fast = last(world, *["left"] * 5), last(world, *["left"] * 9)
        half = world.scaled(0.5)
        assert torch.equal(last(half, *["left", "noop"] * 10), slow)
        assert torch.equal(last(half, *["left"] * 5, *["noop", "left"] * 5), slow)
        assert torch.equal(last(half, *["left"] * 5, *["left"] * 4, *["noop", "left"] * 13), fast)


def test_gains_scale_walking(world: VizDoomWorld) -> None:
    for name in ("forward", "back", "strafe_left", "strafe_right"):
        row = item([name] * 3, "health_gathering", 5, warmup=["noop"] * 3)
        still, whole = play(
            world, item(["noop"] * 3, "health_gathering", 5, warmup=["noop"] * 3), row
        )[0]
        for gain in (0.0, 0.5, 1.5):
            frames = play(world.scaled(gain), row)[0][0]
            assert torch.equal(frames[0], whole[0])
            assert torch.equal(frames, still) == (gain == 0)
            assert bool((frames[1:] != whole[1:]).any())
    assert torch.equal(play(world.scaled(0.5).scaled(2), row)[0], play(world.scaled(1.0), row)[0])


def test_worlds_with_other_gains_share_their_games() -> None:
    world = VizDoomWorld(workers=1)
    play(world, item(MIXED))
    play(world.scaled(0.5), item(MIXED))
    play(world.scaled(1.5), item(MIXED))
    assert sorted((key, len(games)) for key, games in world._idle.items()) == [
        (("health_gathering", False), 1),
        (("health_gathering", True), 1),
    ]
    world.scaled(0.25).close()
    assert world._idle == {}
    for gain in (-0.1, 2.1, float("nan"), "1", True):
        with pytest.raises(ValueError, match=r"gain: expected a number in 0\.\.2"):
            world.scaled(gain)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"gain: expected a number in 0\.\.2, got 3"):
        world.scaled(2).scaled(1.5)
