"""The truth of a recording as a world, for panels on the same scenarios that ask for less."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from wmscore.manifest import Stress
from wmscore.recordings.reading import Recording
from wmscore.rollouts import Rollouts
from wmscore.worlds import Capabilities, Item, item_keys
from wmscore.worlds.step import stack_actions

__all__ = ["RecordedTruth"]


class RecordedTruth:
    """Answers items with the true frames of `recording`, scenario by id and script by actions.

    Example:
        >>> panel = recording.panel.without_actions()                     # doctest: +SKIP
        >>> record("out", panel, RecordedTruth(recording), clips)         # doctest: +SKIP
    """

    def __init__(self, recording: Recording) -> None:
        """Take the truth of `recording`."""
        self.recording = recording
        self.name = "recorded-truth"
        self._places = {s.id: i for i, s in enumerate(recording.panel.scenarios)}
        observation = recording.panel.contract.observation
        if observation is None:
            raise ValueError("recording: expected one of a frozen panel")
        self._observation = observation

    @property
    def stress(self) -> Stress | None:
        """The stress that the recorded frames are under."""
        return self.recording.panel.stress

    @property
    def capabilities(self) -> Capabilities:
        """What the recording keeps."""
        space = self.recording.panel.contract.actions
        return Capabilities(
            actions=space.kind,
            action_names=space.names,
            action_units=space.units or (),
            labels=self.recording.truth_of([0]).labels is not None,
            fps=self._observation.fps,
            frame_size=(self._observation.height, self._observation.width),
        )

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """The true frames of each item.

        Raises:
            ValueError: a scenario, initial state or script that the recording does not have, or
                more steps.
        """
        actions = stack_actions(items, horizon)
        truth = Rollouts.concat([self._row(item, horizon) for item in items])
        return Rollouts(
            frames=truth.frames[:, : horizon + 1],
            labels=None if truth.labels is None else truth.labels[:, : horizon + 1],
            valid=truth.valid[:, : horizon + 1],
            actions=actions,
            model=self.name,
            **item_keys(items),
        )

    def _row(self, item: Item, horizon: int) -> Rollouts:
        where = f"{self.recording.folder}: scenario {item.scenario_id!r}"
        if item.scenario_id not in self._places:
            raise ValueError(f"{where}: expected in the recorded panel, which does not have it")
        if item.reset != self.recording.panel.scenarios[self._places[item.scenario_id]].reset:
            raise ValueError(
                f"{where}: was recorded from another initial state (scenarios[].reset)"
            )
        if item.noise_seed is not None:
            raise ValueError(f"{where}: a recording cannot run again with other randomness")
        truth = self.recording.truth_of([self._places[item.scenario_id]])
        if truth.horizon < horizon:
            raise ValueError(f"{where}: expected {horizon} recorded steps, got {truth.horizon}")
        for row in range(len(truth)):
            if torch.equal(truth.actions[row, :horizon].cpu(), item.actions[:horizon]):
                return truth[row]
        raise ValueError(f"{where}: was not recorded under the actions of branch {item.branch}")
