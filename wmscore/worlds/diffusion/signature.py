"""What a pipeline's `__call__` takes: how it is shown frames, told actions, sized and seeded."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

__all__ = ["PipelineInputs", "pipeline_inputs"]

# Names of one role over the pipelines of Diffusers, the most usual first.
_COUNTS = ("num_frames", "video_length")
_RATES = ("fps", "frame_rate")
_ACTIONS = ("action", "actions", "c2w")
# Where pipelines keep how many frames one latent stands for.
_RATIOS = (
    "vae_temporal_compression_ratio",
    "vae_scale_factor_temporal",
    "temporal_compression_ratio",
)


@dataclass(frozen=True, kw_only=True)
class PipelineInputs:
    """The argument that has each role, or None where a pipeline has none.

    Attributes:
        image: takes one frame.
        video: takes several frames.
        prompt: takes text.
        needs_prompt: the text has no default.
        prompt_embeds: takes encoded text.
        count: takes the number of frames to answer.
        rate: takes frames per second.
        whole_rate: the frame rate must be an integer.
        actions: takes actions.
        height: takes the height; there is a width too.
        generator: takes torch generators.
        output_type: takes the form of the answer.
        latent_context: takes the number of latents to look back on (Cosmos 2.5).
        every: names of all arguments.
        anything: it takes further arguments (`**kwargs`).
        frames_per_latent: frames that one latent stands for, 1 where it is not known.
    """

    image: str | None
    video: str | None
    prompt: str | None
    needs_prompt: bool
    prompt_embeds: str | None
    count: str | None
    rate: str | None
    whole_rate: bool
    actions: str | None
    height: str | None
    generator: str | None
    output_type: str | None
    latent_context: str | None
    every: tuple[str, ...]
    anything: bool
    frames_per_latent: int


def pipeline_inputs(pipe: Any) -> PipelineInputs:
    """Read the signature of a pipeline's `__call__`, and its temporal compression.

    Raises:
        TypeError: it cannot be called.

    Example:
        >>> class Pipe:
        ...     def __call__(self, image, prompt=None, num_frames=9, generator=None): ...
        >>> found = pipeline_inputs(Pipe())
        >>> found.image, found.video, found.count
        ('image', None, 'num_frames')
    """
    if not callable(pipe):
        raise TypeError(f"pipe: expected a pipeline to call, got {type(pipe).__name__}")
    parameters = inspect.signature(pipe).parameters

    def first(*names: str) -> str | None:
        return next((name for name in names if name in parameters), None)

    rate, prompt = first(*_RATES), first("prompt")
    annotation = "" if rate is None else str(parameters[rate].annotation)
    ratio = next((r for name in _RATIOS if (r := getattr(pipe, name, None))), 1)
    return PipelineInputs(
        image=first("image"),
        video=first("video"),
        prompt=prompt,
        needs_prompt=prompt is not None and parameters[prompt].default is inspect.Parameter.empty,
        prompt_embeds=first("prompt_embeds"),
        count=first(*_COUNTS),
        rate=rate,
        whole_rate=annotation in ("int", "<class 'int'>"),
        actions=first(*_ACTIONS),
        height="height" if {"height", "width"} <= parameters.keys() else None,
        generator=first("generator"),
        output_type=first("output_type"),
        latent_context=first("num_latent_conditional_frames"),
        every=tuple(parameters),
        anything=any(p.kind is p.VAR_KEYWORD for p in parameters.values()),
        frames_per_latent=int(ratio),
    )
