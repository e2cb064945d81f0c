"""Lift a model that generates many frames per call into a `WorldModel`, call after call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.timeline import Converter
from wmscore.worlds.chunk_actions import ChunkActions
from wmscore.worlds.chunk_rule import ChunkRule
from wmscore.worlds.given import given_frames, item_words
from wmscore.worlds.pixels import uint8_frames
from wmscore.worlds.protocol import Capabilities, Item, item_keys
from wmscore.worlds.randomness import contained_randomness, row_generators, row_seed
from wmscore.worlds.step import stack_actions

__all__ = ["Chunk", "ChunkModel"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """One call of a chunked model: what it sees, and what it must answer.

    Attributes:
        items: the rows of the call.
        context: `[B, K, 3, H, W]` uint8, the last frames before the chunk, oldest first.
        actions: per row, what the converter made of the N actions of the chunk's N new frames
            (their tensor, `[N]` int64 or `[N, A]`, without a converter); None for a model that
            takes no actions. Action i acts before new frame i, the first one on the last frame of
            the context.
        generators: one per row, seeded by the row's seed and the number of the call.
        frames: frames to answer, echoed context included.
        call: number of the call, from 0.
        fps: frames per second at which the model generates.
    """

    items: tuple[Item, ...]
    context: Tensor
    actions: tuple[Any, ...] | None
    generators: tuple[torch.Generator, ...]
    frames: int
    call: int
    fps: float

    @property
    def prompts(self) -> tuple[str | None, ...]:
        """The prompt of each row."""
        return tuple(item.prompt for item in self.items)


class ChunkModel:
    """A `WorldModel` that asks `generate` for one chunk after the other.

    Frame 0 is the given frame bit for bit; echoed context is dropped. Whole chunks are generated
    and trimmed to the horizon. Past the end of a script the no-op is commanded (the last action is
    held where there is none); such frames are seen by no one, but a model that is not causal within
    a chunk may react to them.

    Example:
        >>> from wmscore.testing import sprite_items
        >>> still = ChunkModel(  # repeats the last frame 4 times and echoes it first
        ...     lambda chunk: chunk.context[:, -1:].repeat(1, chunk.frames, 1, 1, 1),
        ...     ChunkRule(frames=5), name="still", fps=10.0, frame_size=(64, 64))
        >>> still.rollout(sprite_items(horizon=7), 7).frames.shape
        torch.Size([4, 8, 3, 64, 64])
    """

    def __init__(
        self,
        generate: Callable[[Chunk], Tensor],
        rule: ChunkRule,
        *,
        name: str,
        fps: float,
        frame_size: tuple[int, int],
        actions: Literal["none", "discrete", "continuous", "text"] = "none",
        action_names: tuple[str, ...] = (),
        action_units: tuple[str, ...] = (),
        actions_exact: bool = True,
        converter: Converter[Any] | None = None,
        deterministic: bool = True,
        seedable: bool = True,
        prefix_causal: bool | None = None,
        batch_invariant: bool | None = None,
        reads_prompt: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        """Wrap `generate`.

        Args:
            generate: answers a `Chunk` with `[B, F, 3, H, W]` frames, F = `chunk.frames`, uint8 or
                floating point in [0, 1].
            rule: how many frames a call takes and gives.
            name: short name.
            fps: frames per second that it generates; `AtFrameRate` shows it at a panel's lower one.
            frame_size: (height, width) of what it takes and gives. A panel of another size needs
                `FitSize`.
            actions: the kind of action that it takes, as `Capabilities.actions`.
            action_names: names of the actions, or of the components of vectors.
            action_units: unit of each component.
            actions_exact: False where it is only roughly known which action acts when.
            converter: turns a `wmscore.timeline.Timeline` of a chunk's actions into what the model
                takes, and states what is lost (`wmscore.timeline.Converter`); by default actions
                go by name.
            deterministic: see `Capabilities`; likewise the next three.
            seedable: another seed changes what is random.
            prefix_causal: by default true only of whole chunks without actions: frames of a chunk
                may depend on all its actions, and on its length.
            batch_invariant: by default true where rows are generated one at a time.
            reads_prompt: `generate` looks at `chunk.prompts`.
            device: where frames are kept and generators draw. CPU generators give a model the same
                noise on every device.
        """
        self._generate, self.rule, self._name = generate, rule, name
        self._actions = ChunkActions(
            kind=actions,
            names=action_names,
            units=action_units,
            converter=converter,
            fps=fps,
            who=f"model {name!r}",
        )
        self._device = torch.device(device)
        size = rule.contexts[0]
        self._capabilities = Capabilities(
            actions=actions,
            action_names=action_names,
            action_units=action_units,
            actions_exact=actions_exact,
            deterministic=deterministic,
            seedable=seedable,
            prefix_causal=(
                actions == "none" and rule.frames is not None
                if prefix_causal is None
                else prefix_causal
            ),
            batch_invariant=rule.rows == 1 if batch_invariant is None else batch_invariant,
            frames_per_call=None if rule.frames is None else rule.new_frames(size, rule.frames),
            context_frames=rule.contexts[-1],
            reads_prompt=reads_prompt,
            fps=fps,
            frame_size=frame_size,
        )

    @property
    def name(self) -> str:
        """Short name."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """What the model promises; `frames_per_call` is that of the first call."""
        return self._capabilities

    @property
    def conversion_losses(self) -> tuple[str, ...]:
        """What was lost of the actions asked for so far, as sentences."""
        return self._actions.losses

    @torch.no_grad()
    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Generate chunks until every row has `horizon` steps.

        `info["echo_gap"]`, of models that echo, is each row's mean absolute difference between the
        given frame and its echo in the first answer, in levels of 255: the autoencoder's loss, or
        the sign of an answer that does not begin with its context.

        Raises:
            ValueError: an item without a frame or of another size, actions that the model does not
                take, or an answer of another shape, or with values that are no pixels; the row is
                named where it is one row's fault.
        """
        commanded = stack_actions(items, horizon)
        first = given_frames(items, self._capabilities.frame_size, f"model {self.name!r}")
        first = first.to(self._device)
        rows, rule = len(items), self.rule
        shown = first.new_empty((rows, horizon + 1, *first.shape[1:]))
        shown[:, 0] = first
        scripts = self._actions.scripts(items, horizon, rule.ahead)
        gaps = torch.zeros(rows)
        done, call = 1, 0
        while done <= horizon:
            size = rule.context(done)
            context = shown[:, max(0, done - size) : done]
            if context.shape[1] < size:
                padding = context[:, :1].expand(-1, size - context.shape[1], -1, -1, -1)
                context = torch.cat([padding, context], 1)
            answer = rule.answer(size, horizon + 1 - done)
            fresh = rule.new_frames(size, answer)
            kept = min(fresh, horizon + 1 - done)
            for start in range(0, rows, rule.rows or rows):
                part = slice(start, min(rows, start + (rule.rows or rows)))
                chunk = Chunk(
                    items=tuple(items[part]),
                    context=context[part],
                    actions=self._actions.of_chunk(scripts and scripts[part], done - 1, fresh),
                    generators=tuple(row_generators(items[part], call, device=self._device)),
                    frames=answer,
                    call=call,
                    fps=self._capabilities.fps,
                )
                frames = self._ask(chunk)
                if rule.echo and call == 0:
                    # In 16 bits: differences of uint8 wrap around.
                    given = first[part].to(torch.int16)
                    gaps[part] = (frames[:, size - 1] - given).abs().float().mean((1, 2, 3)).cpu()
                shown[part, done : done + kept] = frames[:, answer - fresh :][:, :kept]
            done, call = done + kept, call + 1
        return Rollouts(
            frames=shown,
            actions=commanded.to(shown.device),
            info={"echo_gap": gaps} if rule.echo else {},
            model=self.name,
            **item_keys(items),
        )

    def _ask(self, chunk: Chunk) -> Tensor:
        """The answer to one call as `[B, F, 3, H, W]` uint8."""
        with contained_randomness(row_seed(chunk.items[0].seed, chunk.call)):
            frames: object = self._generate(chunk)
        who = f"{self.name}, call {chunk.call}"
        if not isinstance(frames, Tensor):
            raise TypeError(f"{who}: expected a tensor of frames, got {type(frames).__name__}")
        wanted = [len(chunk.items), chunk.frames, *chunk.context.shape[2:]]
        if list(frames.shape) != wanted:
            raise ValueError(
                f"{who}: expected frames [B, F, C, H, W] = {wanted}, got {list(frames.shape)}"
            )
        if frames.dtype != torch.uint8:
            frames = torch.stack(
                [self._pixels(who, *pair) for pair in zip(chunk.items, frames, strict=True)]
            )
        return frames.to(self._device)

    @staticmethod
    def _pixels(who: str, item: Item, frames: Tensor) -> Tensor:
        try:
            return uint8_frames(frames)
        except ValueError as error:
            raise ValueError(f"{who}: {item_words(item)}: {error}") from None
