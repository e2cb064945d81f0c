"""What a world model is to the harness: something that rolls out items for a horizon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypedDict, runtime_checkable

import torch
from torch import Tensor

from wmscore.rollouts import Rollouts

__all__ = [
    "Capabilities",
    "Item",
    "ItemKeys",
    "Reconstructing",
    "TeacherForced",
    "WorldModel",
    "item_keys",
]


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a model can do, so that the harness can feed it and record what it cannot promise.

    Attributes:
        actions: the kind of action it takes; "none" ignores them, "text" takes them as words.
        action_names: names of discrete actions it knows, or of vector components.
        action_units: unit of each vector component (`wmscore.manifest.ActionUnit`), or empty.
        actions_exact: False where it is only roughly known which action acts between which frames.
        deterministic: same items give the same pixels.
        seedable: `Item.seed` changes what is random, and only it does.
        prefix_causal: the first frames do not depend on the horizon or on later actions.
        batch_invariant: a row's pixels do not depend on the rows beside it.
        frames_per_call: frames that one call of a chunked model generates, 1 for step models, or
            None where it is any number.
        context_frames: frames that it looks back on.
        starts_from_frame: it goes on from the given frame; False where it is told a prompt only, so
            that what follows the given frame shows another place.
        reads_prompt: `Item.prompt` reaches it. Prompt stressors say nothing of a model that reads
            none, and are not climbed with it.
        labels: rollouts carry object labels.
        fps: frames per second.
        frame_size: (height, width).
    """

    actions: Literal["none", "discrete", "continuous", "text"]
    action_names: tuple[str, ...] = ()
    action_units: tuple[str, ...] = ()
    actions_exact: bool = True
    deterministic: bool = True
    seedable: bool = True
    prefix_causal: bool = True
    batch_invariant: bool = True
    frames_per_call: int | None = None
    context_frames: int = 1
    starts_from_frame: bool = True
    reads_prompt: bool = False
    labels: bool = False
    fps: float
    frame_size: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """One row to roll out: an initial state, a script and a seed.

    Attributes:
        panel: fingerprint of the panel.
        scenario: index of the scenario in the panel.
        scenario_id: its id.
        initial_state_id: name of the initial state.
        reset: parameters by which a simulator reaches the initial state.
        seed: the row's seed.
        branch: which script of the counterfactual group; 0 = commanded.
        actions: `[T]` int64 or `[T, A]` floating point.
        action_names: what the numbers in discrete `actions` mean, or the names of the components.
        action_units: unit of each component of vector actions, or empty where the panel names none.
        fps: frames per second of the panel's observation, or None where it is open.
        noop: the action that commands nothing, as index or vector, or None if there is none.
        noise_seed: for simulators: None replays the scenario's own randomness (the reference);
            a number draws the world's randomness anew from the same initial state.
        frame: `[C, H, W]` uint8, the given initial observation; None only while the true world
            itself is asked for it.
        labels: `[H, W]` integer, the object labels of `frame`, where the true world has them.
        prompt: text, for models that take one.
    """

    panel: str
    scenario: int
    scenario_id: str
    initial_state_id: str
    seed: int
    branch: int
    actions: Tensor
    action_names: tuple[str, ...]
    action_units: tuple[str, ...] = ()
    fps: float | None = None
    noop: int | tuple[float, ...] | None = None
    reset: dict[str, Any] = field(default_factory=dict)
    noise_seed: int | None = None
    frame: Tensor | None = None
    labels: Tensor | None = None
    prompt: str | None = None


class ItemKeys(TypedDict):
    """The keys of `Rollouts` that answer some items."""

    scenario: Tensor
    seed: Tensor
    branch: Tensor
    panel: str


def item_keys(items: Sequence[Item]) -> ItemKeys:
    """The keys that rollouts of `items` carry; items of one call belong to one panel."""
    return {
        "scenario": torch.tensor([item.scenario for item in items]),
        "seed": torch.tensor([item.seed for item in items]),
        "branch": torch.tensor([item.branch for item in items]),
        "panel": items[0].panel,
    }


@runtime_checkable
class WorldModel(Protocol):
    """A model, simulator, recording or server that answers items with rollouts.

    `rollout` is the one primary method, since pipelines, recordings and servers have no step;
    lifters in this package turn other shapes into it.
    """

    @property
    def name(self) -> str:
        """Short name, used in tables and file names."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""
        ...

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Roll out every item for `horizon` steps; row `i` of the result answers `items[i]`."""
        ...


@runtime_checkable
class TeacherForced(WorldModel, Protocol):
    """A world model that can also predict each frame from the true frames before it.

    Optional. Its one-step errors beside those of its rollouts say how errors accumulate. In
    `check_world_model` the promise is tested that no prediction has seen what it predicts.
    """

    def predict_next(
        self, items: Sequence[Item], reference_frames: Tensor, horizon: int
    ) -> Rollouts:
        """Predict frame t + 1 of every item from true frames 0..t and actions 0..t, for each t.

        Args:
            items: the rows; row `i` of the result answers `items[i]`, under the model's name.
            reference_frames: `[n, T + 1, C, H, W]` uint8, what the true world shows under each
                item's actions. A prediction must depend neither on its own true frame nor on
                later ones.
            horizon: T.

        Returns:
            Frame 0 as given, then the predictions of frames 1..T.
        """
        ...


@runtime_checkable
class Reconstructing(WorldModel, Protocol):
    """A world model that can also show what its own encoder and decoder make of true frames.

    Optional. Its error beside that of its rollouts says what perception alone costs.
    """

    def reconstruct(
        self, items: Sequence[Item], reference_frames: Tensor, horizon: int
    ) -> Rollouts:
        """Encode and decode the true frames of every item, with no dynamics in between.

        Args:
            items: the rows; row `i` of the result answers `items[i]`, under the model's name.
            reference_frames: `[n, T + 1, C, H, W]` uint8, what the true world shows under each
                item's actions.
            horizon: T.

        Returns:
            Frame 0 as given, then the model's picture of frames 1..T.
        """
        ...
