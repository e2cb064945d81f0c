"""Cosmos 3 as a world model: the next frames under given actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from wmscore.extras import require
from wmscore.timeline import Converter
from wmscore.worlds.chunk_rule import ChunkRule
from wmscore.worlds.chunks import Chunk, ChunkModel
from wmscore.worlds.cosmos.domains import cosmos_domain
from wmscore.worlds.diffusion.model import pil_images
from wmscore.worlds.diffusion.output import pipeline_frames
from wmscore.worlds.protocol import Item

__all__ = ["Cosmos3Model"]

# As published for action-conditioned calls.
PUBLISHED_CALL = {"num_inference_steps": 30, "guidance_scale": 1.0, "use_system_prompt": False}


class Cosmos3Model(ChunkModel):
    """`Cosmos3OmniPipeline` in its mode "forward_dynamics", chunk after chunk.

    Each call sees one frame and `chunk` actions and gives the frames after each of them; the last
    one begins the next call. The pipeline is taken as it is, its guardrail included: whether one
    runs is the user's choice when the pipeline is made (`enable_safety_checker`), never changed
    here.

    Example:
        >>> def run(pipe):  # a Cosmos3OmniPipeline with its weights
        ...     return Cosmos3Model(pipe, domain="av", frame_size=(480, 832))
    """

    def __init__(
        self,
        pipe: Any,
        *,
        domain: str,
        frame_size: tuple[int, int],
        fps: float | None = None,
        chunk: int | None = None,
        resolution_tier: int = 480,
        view_point: str = "ego_view",
        prompt: str | None = None,
        actions: Literal["discrete", "continuous"] = "continuous",
        action_names: tuple[str, ...] = (),
        action_units: tuple[str, ...] = (),
        converter: Converter[Tensor] | None = None,
        call: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        """Wrap `pipe`.

        Args:
            pipe: the pipeline, with a transformer that was trained for actions.
            domain: the embodiment (`COSMOS_DOMAINS`).
            frame_size: (height, width) of the panel's frames. The answer has the size of the given
                frame, if that fits into the tier's canvas and divides by the autoencoder's factor;
                otherwise wrap the model in `FitSize`.
            fps: frames per second; by default as published for the domain.
            chunk: actions per call; by default as published for the domain.
            resolution_tier: 256, 480, 704 or 720, which chooses the canvas.
            view_point: "ego_view", "third_person_view", "wrist_view" or "concat_view".
            prompt: text for items without one; by default the domain's, where it has one.
            actions: the kind of the panel's actions.
            action_names: names of the panel's actions that the model knows.
            action_units: their units.
            converter: from the panel's actions to `[N, width]` in the model's own normalised
                space. None takes vectors of that width as they are.
            call: arguments of every call, over the published ones (30 steps, no guidance, no
                system prompt).
            name: by default `cosmos3-` and the domain.

        Raises:
            ValueError: an unknown domain, or one without a published chunk or rate where none is
                given.
        """
        self.pipe, self.domain = pipe, cosmos_domain(domain)
        chunk, fps = chunk or self.domain.chunk, fps or self.domain.fps
        for field, value in (("chunk", chunk), ("fps", fps)):
            if value is None:
                raise ValueError(f"{field}: none is published for {domain!r}, expected one")
        assert chunk is not None
        assert fps is not None
        self._tier, self._view = resolution_tier, view_point
        self._prompt = prompt if prompt is not None else self.domain.prompt
        self._call = {**PUBLISHED_CALL, **(call or {})}
        super().__init__(
            self._generate_frames,
            ChunkRule(
                frames=chunk + 1,
                multiple=(int(getattr(pipe, "vae_scale_factor_temporal", 4)), 1),
                rows=1,
            ),
            name=name or f"cosmos3-{domain}",
            fps=fps,
            frame_size=frame_size,
            actions=actions,
            action_names=action_names,
            action_units=action_units,
            converter=converter,
            reads_prompt="prompt" not in self._call,
        )

    def _generate_frames(self, chunk: Chunk) -> Tensor:
        (item,) = chunk.items
        assert chunk.actions is not None
        condition = action_condition(
            mode="forward_dynamics",
            chunk_size=chunk.frames - 1,
            domain_name=self.domain.name,
            resolution_tier=self._tier,
            view_point=self._view,
            raw_actions=self._vectors(item, chunk.actions[0]),
            image=pil_images(chunk.context[0])[0],
        )
        output = self.pipe(
            prompt=self._text(item),
            action=condition,
            fps=chunk.fps,
            generator=chunk.generators[0],
            output_type="pt",
            **self._call,
        )
        return pipeline_frames(output)

    def _vectors(self, item: Item, vectors: Any) -> Tensor:
        width = self.domain.width
        if not isinstance(vectors, Tensor) or vectors.ndim != 2 or vectors.shape[1] != width:
            found = list(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
            raise ValueError(
                f"items: {self.name} takes {width} numbers per action ({self.domain.parts}), "
                f"{item.scenario_id!r} gives {found}; a converter says what its actions become"
            )
        return vectors.float()

    def _text(self, item: Item) -> str:
        prompt = item.prompt if item.prompt is not None else self._prompt
        if prompt is None:
            raise ValueError(
                f"prompt: {item.scenario_id!r} has none, and none is published for "
                f"{self.domain.name!r}; prompt= says what the model is told"
            )
        return prompt


def action_condition(**fields: Any) -> Any:
    """A `CosmosActionCondition`, which checks its fields."""
    with torch.no_grad():
        return require("diffusers", "diffusers").CosmosActionCondition(**fields)
