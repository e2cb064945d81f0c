"""Any image- or video-to-video pipeline object as a `WorldModel`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor

from wmscore.extras import require
from wmscore.timeline import Converter
from wmscore.worlds.chunk_rule import ChunkRule
from wmscore.worlds.chunks import Chunk, ChunkModel
from wmscore.worlds.diffusion.output import pipeline_frames
from wmscore.worlds.diffusion.signature import pipeline_inputs

__all__ = ["DiffusersModel"]


class DiffusersModel(ChunkModel):
    """A pipeline object, called chunk after chunk: Cosmos 2 and 2.5, Wan, SANA-WM, LTX, SVD, ...

    What `pipe.__call__` takes is read from its signature: `image` or `video` (the context as PIL
    images, so that every pipeline's own preprocessing applies), `prompt`, `num_frames`, `height`,
    `width`, `fps`, `generator` (one per row) and an `action`. Everything else is `call`'s. The
    pipeline is taken as it is: its weights, dtype, device, scheduler and safety checker are the
    user's.

    Example:
        >>> def run(pipe):  # a WanImageToVideoPipeline with its weights
        ...     return DiffusersModel(
        ...         pipe, fps=16.0, frame_size=(480, 832), frames=81,
        ...         call={"num_inference_steps": 40, "guidance_scale": 5.0})
    """

    def __init__(
        self,
        pipe: Any,
        *,
        fps: float,
        frame_size: tuple[int, int],
        frames: int | None = None,
        call: Mapping[str, Any] | None = None,
        contexts: Sequence[int] = (1,),
        echo: bool = True,
        multiple: tuple[int, int] | None = None,
        rows: int | None = 1,
        pad_start: bool = False,
        prompt: str | None = None,
        actions: Literal["none", "discrete", "continuous", "text"] = "none",
        action_names: tuple[str, ...] = (),
        action_units: tuple[str, ...] = (),
        actions_exact: bool = True,
        converter: Converter[Any] | None = None,
        action_argument: str | None = None,
        arguments: Callable[[Chunk], Mapping[str, Any]] | None = None,
        deterministic: bool = True,
        batch_invariant: bool | None = None,
        reads_prompt: bool | None = None,
        name: str | None = None,
    ) -> None:
        """Wrap `pipe`.

        Args:
            pipe: the pipeline.
            fps: frames per second that it generates, and is told, if it takes a frame rate, unless
                `call` says another. `AtFrameRate` shows the model at a panel's lower rate.
            frame_size: (height, width) of the panel's frames, which the pipeline must answer in.
                Wrap the model in `FitSize` where its native size is another.
            frames: frames of one call, the echoed context included; None asks for the whole
                horizon in one call.
            call: further arguments of every call, such as `num_inference_steps` or
                `prompt_embeds`. Tensors that end in `_embeds` or `_mask` with one row are repeated
                for every row.
            contexts: see `ChunkRule`; with more than one frame the pipeline is given a `video`.
                Sizes are k * a + 1 for an autoencoder of temporal compression k: what goes beyond
                whole latents is not looked at, and the pipeline goes on from an earlier frame.
            echo: see `ChunkRule`; pipelines answer with the frames that they were shown first.
            multiple: (k, b) of legal frame counts k * a + b; by default (the temporal compression
                of the pipeline's autoencoder, 1) where it is known.
            rows: rows of one call. One by default, since many image pipelines take one image per
                call whatever their prompts; None for all rows of a batch.
            pad_start: see `ChunkRule`.
            prompt: text for items without a prompt.
            actions: the kind of action that reaches the pipeline through `converter`; the rest of
                the action arguments are as in `ChunkModel`.
            action_names: names of the actions that it knows.
            action_units: units of their components.
            actions_exact: whether it is known which action acts when.
            converter: from the panel's actions to what the pipeline takes, row by row.
            action_argument: which argument takes it, by default `action`, `actions` or `c2w`, or
                `prompt` where actions are "text".
            arguments: replaces everything said here by your own: from a `Chunk` to the arguments
                of the call, to which only `call` is added.
            deterministic: see `Capabilities`.
            batch_invariant: see `ChunkModel`.
            reads_prompt: see `Capabilities`; by default whether the pipeline takes a prompt that
                `call` does not fix, and false with `arguments` of your own.
            name: by default the class of the pipeline.

        Raises:
            ValueError: the pipeline takes no frames, no frame count, or no actions, and `arguments`
                does not say how it is called.
        """
        self.pipe, self.inputs = pipe, pipeline_inputs(pipe)
        self._call, self._prompt, self._own = dict(call or {}), prompt, arguments
        inputs, own = self.inputs, name or type(pipe).__name__
        self._action_argument = action_argument or (
            inputs.prompt if actions == "text" else inputs.actions
        )
        if arguments is None:
            if not inputs.anything:
                for key in (*self._call, *([action_argument] if action_argument else [])):
                    if key not in inputs.every:
                        raise ValueError(f"call: {own} takes {list(inputs.every)}, got {key!r}")
            if (inputs.image if tuple(contexts) == (1,) else inputs.video) is None:
                if inputs.video is None:
                    raise ValueError(
                        f"pipe: expected one that takes an image or a video, {own} takes "
                        f"{list(inputs.every)}; arguments= says how it is called"
                    )
            if frames is None and inputs.count is None:
                raise ValueError(f"frames: {own} takes no frame count, give that of its answers")
            if actions != "none" and self._action_argument is None:
                raise ValueError(
                    f"actions: {own} takes {list(inputs.every)}; action_argument= says which of "
                    "them takes actions"
                )
        ratio = inputs.frames_per_latent
        if strays := [n for n in contexts if arguments is None and n % ratio != 1 % ratio]:
            raise ValueError(
                f"contexts: {own} encodes {ratio} frames as one after the first, expected sizes of "
                f"{ratio} a + 1, got {strays}: of the last frames it would see nothing"
            )
        if inputs.whole_rate and inputs.rate not in self._call and not float(fps).is_integer():
            raise ValueError(
                f"fps: {own} takes whole frames per second, got {fps:g}; "
                f"call={{{inputs.rate!r}: ...}} says what it is told"
            )
        super().__init__(
            self._generate_frames,
            ChunkRule(
                frames=frames,
                contexts=tuple(contexts),
                echo=echo,
                multiple=multiple or ((ratio, 1) if ratio > 1 else (1, 0)),
                rows=rows,
                pad_start=pad_start,
            ),
            name=own,
            fps=fps,
            frame_size=frame_size,
            actions=actions,
            action_names=action_names,
            action_units=action_units,
            actions_exact=actions_exact,
            converter=converter,
            deterministic=deterministic,
            batch_invariant=batch_invariant,
            reads_prompt=(
                arguments is None and self._takes_prompts if reads_prompt is None else reads_prompt
            ),
        )

    @property
    def _takes_prompts(self) -> bool:
        """The pipeline takes a text that `call` does not fix, encoded or not."""
        prompt = self.inputs.prompt
        return prompt is not None and not {prompt, self.inputs.prompt_embeds} & {*self._call}

    def arguments(self, chunk: Chunk) -> dict[str, Any]:
        """The arguments of one call of the pipeline."""
        if self._own is not None:
            return {**self._call, **self._own(chunk)}
        inputs, rows = self.inputs, len(chunk.items)
        found: dict[str, Any] = {}
        found |= self._shown(chunk)
        if inputs.count is not None:
            found[inputs.count] = chunk.frames
        if inputs.height is not None:
            found["height"], found["width"] = chunk.context.shape[-2:]
        if inputs.rate is not None:
            found[inputs.rate] = int(chunk.fps) if inputs.whole_rate else chunk.fps
        if inputs.generator is not None:
            generators = list(chunk.generators)
            found[inputs.generator] = generators[0] if rows == 1 else generators
        if inputs.output_type is not None:
            found[inputs.output_type] = "pt"
        if inputs.prompt is not None and self._takes_prompts:
            prompts = [self._prompt if p is None else p for p in chunk.prompts]
            self._check_prompts(chunk, prompts)
            if None not in prompts:
                found[inputs.prompt] = prompts[0] if rows == 1 else prompts
        if chunk.actions is not None and self._action_argument is not None:
            said = list(chunk.actions)
            if self._action_argument == inputs.prompt:  # what is done, after what is seen
                scenes = [self._prompt if p is None else p for p in chunk.prompts]
                said = [
                    f"{scene or ''} {words}".strip()
                    for scene, words in zip(scenes, said, strict=True)
                ]
            found[self._action_argument] = said[0] if rows == 1 else said
        return found | {key: _for_rows(key, value, rows) for key, value in self._call.items()}

    def _check_prompts(self, chunk: Chunk, prompts: Sequence[str | None]) -> None:
        """Refuse rows without a text beside rows with one, and where there has to be one."""
        needed = self.inputs.needs_prompt or any(prompt is not None for prompt in prompts)
        if None not in prompts or not needed or self._action_argument == self.inputs.prompt:
            return
        item = chunk.items[list(prompts).index(None)]
        raise ValueError(
            f"prompt: {item.scenario_id!r} has none, expected one there, or prompt= or call= to "
            f"say what {self.name} is told"
        )

    def _shown(self, chunk: Chunk) -> dict[str, Any]:
        """The context, as the image or the video of each row."""
        inputs, size = self.inputs, chunk.context.shape[1]
        videos = [pil_images(frames) for frames in chunk.context]
        if size == 1 and inputs.image is not None:
            images = [video[0] for video in videos]
            return {inputs.image: images[0] if len(images) == 1 else images}
        if inputs.video is None:
            raise ValueError(f"contexts: {self.name} takes one frame, got {size}")
        shown: dict[str, Any] = {inputs.video: videos[0] if len(videos) == 1 else videos}
        if inputs.latent_context is not None:
            shown[inputs.latent_context] = math.ceil(size / inputs.frames_per_latent)
        return shown

    def _generate_frames(self, chunk: Chunk) -> Tensor:
        return pipeline_frames(self.pipe(**self.arguments(chunk)), len(chunk.items))


def pil_images(frames: Tensor) -> list[Any]:
    """Frames `[K, 3, H, W]` uint8 as PIL images, pixel for pixel."""
    image = require("PIL.Image", "diffusers")
    return [image.fromarray(frame.movedim(0, -1).contiguous().cpu().numpy()) for frame in frames]


def _for_rows(key: str, value: Any, rows: int) -> Any:
    """Encoded text of one row, repeated for all."""
    if isinstance(value, Tensor) and rows > 1 and len(value) == 1:
        if key.endswith(("_embeds", "_mask")):
            return value.expand(rows, *value.shape[1:])
    return value
