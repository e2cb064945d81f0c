"""Chunked models: which action makes which frame, across calls, echoes and paddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from wmscore.testing import check_world_model
from wmscore.timeline import ByTable, Conversion, SameVector, Timeline
from wmscore.worlds import AtFrameRate, Chunk, ChunkModel, ChunkRule, Item

SIZE = (4, 6)


def level_items(
    scripts: Sequence[Sequence[float]], *, start: int = 10, **fields: Any
) -> list[Item]:
    """Rows whose actions are numbers that are added to a grey level."""
    return [
        Item(
            panel="levels",
            scenario=i,
            scenario_id=f"s{i}",
            initial_state_id=f"s{i}",
            seed=7,
            branch=0,
            actions=torch.tensor(script, dtype=torch.float32)[:, None],
            action_names=("up",),
            frame=torch.full((3, *SIZE), start + 20 * i, dtype=torch.uint8),
            **fields,
        )
        for i, script in enumerate(scripts)
    ]


class Adder:
    """Adds each action to the last frame's level; echoes its context one level too bright."""

    def __init__(self, rule: ChunkRule) -> None:
        self.rule, self.calls = rule, []

    def __call__(self, chunk: Chunk) -> Tensor:
        self.calls.append(chunk)
        context = chunk.context
        assert chunk.actions is not None
        steps = torch.stack(list(chunk.actions))[..., 0]
        fresh = self.rule.new_frames(context.shape[1], chunk.frames)
        assert steps.shape == (len(chunk.items), fresh)
        level = context[:, -1, 0, 0, 0].float()[:, None] + steps.cumsum(1)
        new = level[:, :, None, None, None].expand(-1, -1, *context.shape[2:]).to(torch.uint8)
        return torch.cat([context + 1, new], 1) if self.rule.echo else new


def adding(rule: ChunkRule, **options: Any) -> tuple[ChunkModel, Adder]:
    adder = Adder(rule)
    fields = {"name": "adder", "fps": 10.0, "frame_size": SIZE, "actions": "continuous"}
    return ChunkModel(adder, rule, **fields | options), adder


def expected(items: Sequence[Item], horizon: int) -> Tensor:
    actions = torch.stack([item.actions[:horizon, 0] for item in items])
    start = torch.stack([item.frame[0, 0, 0] for item in items if item.frame is not None])
    return torch.cat([start[:, None], start[:, None] + actions.cumsum(1)], 1).to(torch.uint8)


SCRIPTS = [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [0, 1, 0, 1, 0, 1, 0, 1, 0, 1], [3] * 10]


@pytest.mark.parametrize(
    "rule",
    [
        ChunkRule(frames=5),
        ChunkRule(frames=5, rows=1),
        ChunkRule(frames=5, rows=2),
        ChunkRule(frames=2),
        ChunkRule(frames=9, contexts=(1, 5), multiple=(4, 1)),
        ChunkRule(frames=9, contexts=(3, 4), pad_start=True),
        ChunkRule(frames=4, echo=False),
        ChunkRule(frames=None, multiple=(4, 1)),
        ChunkRule(frames=None, contexts=(3,), pad_start=True, multiple=(8, 1)),
        ChunkRule(frames=100),
    ],
    ids=str,
)
@pytest.mark.parametrize("horizon", [1, 4, 9, 10])
def test_every_action_makes_its_frame(rule: ChunkRule, horizon: int) -> None:
    model, adder = adding(rule)
    items = level_items(SCRIPTS)
    found = model.rollout(items, horizon)
    assert torch.equal(found.frames[:, :, 0, 0, 0], expected(items, horizon))
    assert all(torch.equal(found.frames[i, 0], item.frame) for i, item in enumerate(items))
    assert torch.equal(found.actions, torch.stack([i.actions[:horizon] for i in items]))
    if rule.echo:
        assert found.info["echo_gap"].tolist() == [1.0, 1.0, 1.0]
    for chunk in adder.calls:
        assert chunk.context.shape[1] in rule.contexts
        assert len(chunk.items) <= (rule.rows or 3)
        assert rule.frames is None or chunk.frames == rule.frames


def test_the_context_is_the_last_frames_and_padding_repeats_the_given_one() -> None:
    model, adder = adding(ChunkRule(frames=6, contexts=(3,), pad_start=True))
    model.rollout(level_items([[1, 2, 3, 4, 5, 6]]), 6)
    seen = [chunk.context[0, :, 0, 0, 0].tolist() for chunk in adder.calls]
    assert seen == [[10, 10, 10], [11, 13, 16]]


def test_past_the_end_of_a_script_the_noop_or_the_last_action_is_commanded() -> None:
    model, adder = adding(ChunkRule(frames=5))
    model.rollout(level_items([[1, 2]]), 2)  # vectors rest at zero
    model.rollout(level_items([[1, 2]], noop=(9.0,)), 2)
    model.rollout(level_items([[1, 2, 3]]), 2)  # what is commanded later is commanded
    assert [c.actions[0][:, 0].tolist() for c in adder.calls if c.actions] == [
        [1, 2, 0, 0],
        [1, 2, 9, 9],
        [1, 2, 3, 0],
    ]


def test_a_model_of_three_times_the_frame_rate_behind_the_panels() -> None:
    # Turns are shared out, what is a plain number is held.
    for unit, each in (("degree", 1.0), ("number", 3.0)):
        model, adder = adding(ChunkRule(frames=5), fps=30.0)
        items = level_items([[3, 6, 9]], action_units=(unit,))
        found = AtFrameRate(model, 10.0).rollout(items, 3)
        assert found.frames[0, :, 0, 0, 0].tolist() == [
            10,
            *(10 + 3 * each * total for total in (1, 3, 6)),
        ]
        assert adder.calls[0].fps == 30.0
        sent = torch.cat([c.actions[0][:, 0] for c in adder.calls if c.actions])
        assert sent[:9].tolist() == [each] * 3 + [2 * each] * 3 + [3 * each] * 3


def test_noise_belongs_to_the_row_and_the_call() -> None:
    def noise(chunk: Chunk) -> Tensor:
        draws = [torch.rand(chunk.frames, 3, *SIZE, generator=g) for g in chunk.generators]
        return torch.stack(draws)

    model = ChunkModel(noise, ChunkRule(frames=3, echo=False), name="n", fps=10.0, frame_size=SIZE)
    items = level_items(SCRIPTS[:2])
    both = model.rollout(items, 6).frames
    assert torch.equal(both[0, 1:], both[1, 1:])  # one seed: branches differ by actions only
    assert not torch.equal(both[0, 1:4], both[0, 4:7])
    other = model.rollout([items[0], replace(items[1], seed=8)], 6).frames
    assert torch.equal(other[0], both[0])
    assert not torch.equal(other[1], both[1])


def test_global_randomness_of_a_model_is_seeded_and_does_not_leak() -> None:
    model = ChunkModel(
        lambda chunk: torch.rand(1, chunk.frames, 3, *SIZE),
        ChunkRule(frames=3, echo=False, rows=1),
        name="global",
        fps=10.0,
        frame_size=SIZE,
    )
    items = level_items(SCRIPTS[:2])
    torch.manual_seed(3)
    first = model.rollout(items, 4)
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(1))
    torch.manual_seed(4)
    assert torch.equal(model.rollout(items, 4).frames, first.frames)
    assert check_world_model(model, items, 4).ok


def test_a_converter_makes_the_actions_and_its_losses_are_counted_once() -> None:
    def converter(line: Timeline) -> Conversion[Tensor]:
        return SameVector(("up",), limits={"up": (0.0, 2.0)})(line)

    model, adder = adding(ChunkRule(frames=5), converter=converter)
    items = level_items([[1, 5, 1, 9, 1]])
    for _ in range(2):  # asked for again, nothing more is lost
        model.rollout([*items, replace(items[0], seed=8)], 4)
    assert adder.calls[0].actions[0][:, 0].tolist() == [1, 2, 1, 2]
    assert model.conversion_losses == ("up: clipped at 2 steps, by up to 7: to 0..2",)


def test_the_contract_of_a_chunked_model() -> None:
    rule = ChunkRule(frames=5)
    model, _ = adding(rule)
    report = check_world_model(model, level_items(SCRIPTS), 8)
    assert report.ok, report.table()
    assert not model.capabilities.prefix_causal
    assert model.capabilities.frames_per_call == 4
    blind = ChunkModel(
        lambda chunk: chunk.context[:, -1:].repeat(1, chunk.frames, 1, 1, 1),
        rule,
        name="blind",
        fps=10.0,
        frame_size=SIZE,
    )
    # Whole chunks without actions do not depend on the horizon.
    assert blind.capabilities.prefix_causal
    assert check_world_model(blind, level_items(SCRIPTS), 8).ok


def answering(answer: Any, rule: ChunkRule | None = None) -> ChunkModel:
    return ChunkModel(
        lambda chunk: answer, rule or ChunkRule(frames=3), name="m", fps=10.0, frame_size=SIZE
    )


def test_answers_that_are_none() -> None:
    items = level_items(SCRIPTS[:1])
    fine = torch.zeros(1, 3, 3, *SIZE)
    assert answering(fine).rollout(items, 2).frames.dtype == torch.uint8
    with pytest.raises(ValueError, match=r"m, call 0: expected frames .*= \[1, 3, 3, 4, 6\], got"):
        answering(fine[:, :2]).rollout(items, 2)
    with pytest.raises(ValueError, match=r"got \[1, 3, 3, 4, 4\]"):
        answering(fine[..., :4]).rollout(items, 2)
    with pytest.raises(TypeError, match="expected a tensor of frames, got NoneType"):
        answering(None).rollout(items, 2)
    for wrong, found in ((float("nan"), "nan"), (2.0, "0..2"), (-1.0, "-1..0")):
        bad = fine.clone()
        bad[0, 1, 0, 0, 0] = wrong
        with pytest.raises(
            ValueError, match=f"scenario 's0', seed 7, branch 0: frames: expected .*{found}"
        ):
            answering(bad).rollout(items, 2)


def test_items_that_it_cannot_take() -> None:
    model, _ = adding(ChunkRule(frames=5))
    items = level_items(SCRIPTS[:1])
    with pytest.raises(ValueError, match=r"model 'adder' needs item\.frame, 's0' has None"):
        model.rollout([replace(items[0], frame=None)], 2)
    with pytest.raises(ValueError, match=r"takes frames uint8 \[3, 4, 6\].*FitSize"):
        model.rollout([replace(items[0], frame=torch.zeros(3, 4, 4, dtype=torch.uint8))], 2)
    with pytest.raises(ValueError, match="is at 35 frames per second, model 'adder' takes 10"):
        model.rollout([replace(items[0], fps=35.0)], 2)
    keys = replace(items[0], actions=torch.zeros(10, dtype=torch.int64), action_names=("a", "b"))
    with pytest.raises(ValueError, match=r"takes continuous actions, 's0' has discrete ones"):
        model.rollout([keys], 2)
    named, _ = adding(ChunkRule(frames=5), action_names=("down",))
    with pytest.raises(ValueError, match=r"'s0', actions: .*\['down'\], got \['up'\]"):
        named.rollout(items, 2)
    told, _ = adding(ChunkRule(frames=5), converter=SameVector(("yaw",)))
    with pytest.raises(ValueError, match=r"items: 's0', actions: timeline: expected .* \['yaw'\]"):
        told.rollout(items, 2)
    with pytest.raises(ValueError, match="converter: expected none for a model without actions"):
        ChunkModel(
            lambda chunk: chunk.context,
            ChunkRule(frames=3),
            name="m",
            fps=10.0,
            frame_size=SIZE,
            converter=ByTable({"a": {"x": 1.0}}),
        )
