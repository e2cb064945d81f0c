"""Prompt drift: other words for the same scene, or words that have nothing to do with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wmscore.manifest import Panel
from wmscore.stressors.base import Stressor, script_random

__all__ = ["PromptDistractor", "PromptParaphrase"]

# From a frame around the prompt to a loose retelling: each keeps what the prompt names.
PARAPHRASES = (
    "A video of the following scene: {prompt}",
    "First-person footage, continuous and uncut. What can be seen: {prompt}",
    "Somebody holds a camera and describes, in passing, what is there: {prompt} That is all.",
)

DISTRACTORS = (
    "Somewhere far away a train is late.",
    "A blue umbrella is mentioned in a letter.",
    "The recipe calls for two onions.",
    "Yesterday the library closed early.",
)


@dataclass(frozen=True)
class PromptStressor(Stressor):
    """Changes the prompt of every scenario; what the world shows stays."""

    whole, only_words = True, True

    def _prompts(self, panel: Panel) -> list[str]:
        without = [s.id for s in panel.scenarios if not s.prompt]
        if without:
            raise ValueError(
                f"scenarios[].prompt: {self.name} needs a prompt in each scenario, "
                f"got none in {without[:5]}"
            )
        return [str(s.prompt) for s in panel.scenarios]


@dataclass(frozen=True)
class PromptParaphrase(PromptStressor):
    """The n-th paraphrase, of one's own lists by prompt or of the packaged frames of words.

    Attributes:
        paraphrases: by prompt, the mildest first; by default the packaged frames, which keep the
            prompt's own words and put others around them.
    """

    name, unit, severities = "prompt-paraphrase", "number of the paraphrase", (1, 2, 3)
    paraphrases: Mapping[str, Sequence[str]] | None = None

    def change(
        self, panel: Panel, data: dict[str, Any], severity: float, seed: int
    ) -> dict[str, Any]:
        """Replace every prompt."""
        for scenario, prompt in zip(data["scenarios"], self._prompts(panel), strict=True):
            if self.paraphrases is None:
                choices = [text.format(prompt=prompt) for text in PARAPHRASES]
            else:
                choices = list(self.paraphrases.get(prompt, ()))
            if len(choices) < severity:
                raise ValueError(
                    f"severity: {self.name} has {len(choices)} paraphrases of {prompt!r}, got "
                    f"{severity:g}"
                )
            if choices[int(severity) - 1] == prompt:
                raise ValueError(f"paraphrases: number {severity:g} of {prompt!r} is the prompt")
            scenario["prompt"] = choices[int(severity) - 1]
        return {}


@dataclass(frozen=True)
class PromptDistractor(PromptStressor):
    """So many sentences that have nothing to do with the scene come behind the prompt.

    Attributes:
        distractors: sentences of one's own instead of the packaged ones.
    """

    name, unit, severities = "prompt-distractor", "sentences", (1, 2, 4)
    distractors: Sequence[str] = DISTRACTORS

    def change(
        self, panel: Panel, data: dict[str, Any], severity: float, seed: int
    ) -> dict[str, Any]:
        """Add sentences in an order that is drawn by scenario."""
        if severity > len(self.distractors):
            raise ValueError(
                f"severity: {self.name} has {len(self.distractors)} sentences, got {severity:g}"
            )
        for own, scenario, prompt in zip(
            panel.scenarios, data["scenarios"], self._prompts(panel), strict=True
        ):
            order = list(self.distractors)
            script_random(seed, self.name, own, "prompt").shuffle(order)
            scenario["prompt"] = " ".join([prompt, *order[: int(severity)]])
        return {}
