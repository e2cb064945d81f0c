"""`StepModel`: the lifter from reset and step to rollouts."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from wmscore.testing import sprite_items
from wmscore.worlds import Capabilities, Item, StepModel, StepOutput, WorldModel
from wmscore.worlds.step import stack_actions


class Counter:
    """Frame value = sum of the actions so far; a row ends when it has seen `ends[row]` steps."""

    name = "counter"
    capabilities = Capabilities(actions="discrete", fps=1.0, frame_size=(2, 2))

    def __init__(self, ends: list[int] | None = None, *, labels: bool = True) -> None:
        self.ends = ends
        self.labels = labels
        self.total = torch.zeros(0)
        self.steps = 0

    def reset(self, items: Sequence[Item]) -> StepOutput:
        self.total, self.steps = torch.zeros(len(items), dtype=torch.int64), 0
        return self._show()

    def step(self, actions: Tensor) -> StepOutput:
        self.total, self.steps = self.total + actions, self.steps + 1
        return self._show()

    def _show(self) -> StepOutput:
        frames = self.total.to(torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
        return StepOutput(
            frames=frames,
            labels=frames[:, 0].to(torch.int16) if self.labels else None,
            alive=None if self.ends is None else self.steps < torch.tensor(self.ends),
        )


@pytest.fixture
def items() -> list[Item]:
    scripts = (torch.tensor([1, 2, 3, 4]), torch.tensor([4, 0, 0, 1]))
    pair = sprite_items(1, 4)
    return [replace(i, actions=s) for i, s in zip(pair, scripts, strict=True)]


def test_steps_follow_the_script(items: list[Item]) -> None:
    model = StepModel(Counter())
    assert isinstance(model, WorldModel)
    rollouts = model.rollout(items, 4)
    assert rollouts.frames[:, :, 0, 0, 0].tolist() == [[0, 1, 3, 6, 10], [0, 4, 4, 4, 5]]
    assert rollouts.labels is not None
    assert rollouts.labels[:, :, 1, 1].tolist() == [[0, 1, 3, 6, 10], [0, 4, 4, 4, 5]]
    assert bool(rollouts.valid.all())
    assert (rollouts.model, rollouts.panel) == ("counter", "sprite-items")
    assert rollouts.branch.tolist() == [0, 1]
    assert StepModel(Counter(labels=False)).rollout(items, 4).labels is None


class Named(Counter):
    """Names its actions in another order than the panel: 1 is `right`, 2 is `left`."""

    capabilities = Capabilities(
        actions="discrete",
        action_names=("noop", "right", "left", "up", "down"),
        fps=10.0,
        frame_size=(2, 2),
    )


def test_actions_go_by_name_and_not_by_number(items: list[Item]) -> None:
    model = StepModel(Named())
    rollouts = model.rollout(items, 2)
    assert items[0].action_names[1:3] == ("left", "right")
    assert rollouts.frames[0, :, 0, 0, 0].tolist() == [0, 2, 3]  # left, then right
    assert rollouts.actions[0].tolist() == [1, 2]  # as the panel commands them
    assert model.conversion_losses == ()


def test_an_action_that_the_stepper_does_not_name_is_refused(items: list[Item]) -> None:
    names = ("noop", "jump", "right", "up", "down")
    strange = [replace(item, action_names=names) for item in items]
    with pytest.raises(ValueError, match=r"takes the actions .*others: \['jump'\]"):
        StepModel(Named()).rollout(strange, 2)


def test_a_shorter_horizon_cuts_the_script(items: list[Item]) -> None:
    rollouts = StepModel(Counter()).rollout(items, 2)
    assert rollouts.frames[:, :, 0, 0, 0].tolist() == [[0, 1, 3], [0, 4, 4]]
    assert rollouts.actions.tolist() == [[1, 2], [4, 0]]


def test_ended_rows_keep_their_last_frame(items: list[Item]) -> None:
    rollouts = StepModel(Counter(ends=[2, 9])).rollout(items, 4)
    assert rollouts.valid.tolist() == [[True, True, False, False, False], [True] * 5]
    assert rollouts.frames[:, :, 0, 0, 0].tolist() == [[0, 1, 1, 1, 1], [0, 4, 4, 4, 5]]
    assert rollouts.labels is not None
    assert rollouts.labels[0, :, 0, 0].tolist() == [0, 1, 1, 1, 1]


def test_stack_actions_refuses_short_scripts(items: list[Item]) -> None:
    with pytest.raises(ValueError, match="4 actions, expected at least horizon = 5"):
        stack_actions(items, 5)
    with pytest.raises(ValueError, match="items: expected at least one"):
        stack_actions([], 5)


def test_what_has_ended_does_not_come_back(items: list[Item]) -> None:
    class Reviving(Counter):
        """Says that row 0 is dead in step 2 only."""

        def _show(self) -> StepOutput:
            alive = torch.tensor([self.steps != 2, True])
            return replace(super()._show(), alive=alive)

    rollouts = StepModel(Reviving()).rollout(items, 4)
    assert rollouts.valid[0].tolist() == [True, True, False, False, False]
    assert rollouts.frames[0, :, 0, 0, 0].tolist() == [0, 1, 1, 1, 1]


class Fickle:
    """Shows something of another kind from its first step on."""

    name = "fickle"
    capabilities = Capabilities(actions="discrete", fps=1.0, frame_size=(4, 4))

    def __init__(self, later: StepOutput) -> None:
        self.later = later

    def reset(self, items: Sequence[Item]) -> StepOutput:
        return StepOutput(
            frames=torch.zeros(1, 3, 4, 4, dtype=torch.uint8), labels=torch.ones(1, 4, 4).long()
        )

    def step(self, actions: Tensor) -> StepOutput:
        return self.later


@pytest.mark.parametrize(
    ("later", "message"),
    [
        (StepOutput(frames=torch.zeros(1, 3, 4, 4).byte()), "step 1, labels: expected"),
        (StepOutput(frames=torch.ones(1, 3, 4, 4), labels=torch.ones(1, 4, 4).long()), "frames"),
    ],
)
def test_a_step_of_another_kind_than_the_reset_is_refused(later: StepOutput, message: str):
    item = Item(
        panel="p",
        scenario=0,
        scenario_id="s",
        initial_state_id="s",
        seed=0,
        branch=0,
        actions=torch.zeros(2, dtype=torch.int64),
        action_names=("noop",),
    )
    with pytest.raises(ValueError, match=message):
        StepModel(Fickle(later)).rollout([item], 2)
