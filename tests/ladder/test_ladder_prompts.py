"""Prompt drift: the words themselves reach a model that is told text, and say nothing of others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.panels import sprite_panel
from wmscore.ladder import Ladder, run_ladder
from wmscore.manifest import Panel
from wmscore.stressors import PromptParaphrase, find
from wmscore.worlds import DiffusersModel, Frozen, WorldModel
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=32, width=32)
TEXT = "a red ball, {id}"


class Painter:
    """A pipeline that answers with its image, with a ramp where it does not know its prompt."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, image: Any, prompt: str | None = None, num_frames: int = 5) -> Any:
        self.told.append(str(prompt))
        start = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        known = str(prompt).startswith("a red ball, scene-") and len(str(prompt)) < 20
        shown = start if known else torch.linspace(0, 1, 32).expand(3, 32, 32)
        frames = torch.stack([start, *[shown] * (num_frames - 1)])
        return SimpleNamespace(frames=frames[None])


def text_panel() -> Panel:
    """Nothing moves: no-op only, so that a model which stands still is right."""
    data = sprite_panel(scenarios=8, seeds=1, horizon=4, size=32).model_dump()
    data["axes"] = [{"axis": "perceptual_drift", "threshold": 0.6}]
    for scenario in data["scenarios"]:
        scenario.update(actions=["noop"] * 4, branches=[], prompt=TEXT.format(**scenario))
    return Panel.from_dict(data)


def painting(pipe: Painter, **options: Any) -> DiffusersModel:
    return DiffusersModel(pipe, fps=10, frame_size=(32, 32), frames=5, multiple=(1, 0), **options)


def climb(model: WorldModel, *stressors: Any) -> Ladder:
    return run_ladder(text_panel(), [model, Frozen()], WORLD, stressors, roles={"frozen": "floor"})


def test_the_stressed_words_reach_the_pipeline_and_can_break_it() -> None:
    pipe = Painter()
    paraphrase = PromptParaphrase(
        {TEXT.format(id=f"scene-{s}"): ["a ball that is red"] for s in range(8)}
    )
    found = run_ladder(
        text_panel(),
        [painting(pipe), Frozen()],
        WORLD,
        [paraphrase, find("prompt-distractor")],
        severities={"prompt-paraphrase": (1,), "prompt-distractor": (1, 4)},
        roles={"frozen": "floor"},
    )
    stressed = find("prompt-distractor").apply(text_panel(), 4)
    assert set(pipe.told) >= {s.prompt for s in stressed.scenarios} | {"a ball that is red"}
    model = found.models["Painter"]
    assert model.clean["usable_share"] > 0.7
    assert [rung.broken for rung in model.rungs] == [True] * 3
    assert all(rung.excluded is None for rung in found.models["frozen"].rungs)  # floors do not read


@pytest.mark.parametrize(
    "call",
    [{"prompt": "a red ball, scene-0"}, {"prompt_embeds": torch.zeros(1, 2, 2)}],
    ids=lambda call: next(iter(call)),
)
def test_a_pipeline_that_is_always_told_the_same_is_not_called_robust(call: Any) -> None:
    class Encoded(Painter):
        def __call__(
            self, image: Any, prompt: Any = None, num_frames: int = 5, prompt_embeds: Any = None
        ) -> Any:
            return super().__call__(image, "a red ball, scene-0", num_frames)

    model = painting(Encoded(), call=call)
    assert not model.capabilities.reads_prompt
    found = climb(model, find("prompt-distractor"))
    for rung in found.models["Encoded"].rungs:
        assert rung.broken is None
        assert "reads no prompt" in str(rung.excluded)
    assert "reads no prompt" in found.exclusions()[0]


def test_a_model_without_words_is_not_asked_again() -> None:
    asked = []

    class Deaf:
        name, capabilities = "deaf", WORLD.capabilities

        def rollout(self, items: Any, horizon: int) -> Any:
            from dataclasses import replace

            asked.append(len(items))
            return replace(WORLD.rollout(items, horizon), model="deaf")

    found = climb(Deaf(), find("prompt-distractor"))
    assert sum(asked) == 8
    assert "reads no prompt" in str(found.models["deaf"].rungs[0].excluded)


def test_who_reads_prompts() -> None:
    assert painting(Painter()).capabilities.reads_prompt
    own = {"arguments": lambda chunk: {"image": None}}
    assert not painting(Painter(), **own).capabilities.reads_prompt
    assert painting(Painter(), **own, reads_prompt=True).capabilities.reads_prompt
    assert not WORLD.capabilities.reads_prompt
