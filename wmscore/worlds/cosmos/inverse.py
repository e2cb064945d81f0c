"""Cosmos 3 as a recogniser of actions, for the response axis of the scorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from wmscore.timeline import Converter, Timeline
from wmscore.worlds.cosmos.domains import cosmos_domain
from wmscore.worlds.cosmos.forward import PUBLISHED_CALL, action_condition
from wmscore.worlds.diffusion.model import pil_images
from wmscore.worlds.pixels import uint8_frames
from wmscore.worlds.randomness import contained_randomness

__all__ = ["CosmosActionRecogniser", "action_codebook"]


def action_codebook(
    converter: Converter[Tensor],
    names: Sequence[str],
    *,
    noop: int | str | None = None,
    fps: float = 1.0,
) -> Tensor:
    """What each of a panel's discrete actions is in a model's space, held for one step.

    Args:
        converter: the one that the panel's actions reach the model through.
        names: the panel's actions.
        noop: the one that commands nothing.
        fps: frames per second of the panel.

    Returns:
        `[A, D]` float32.

    Raises:
        ValueError: two actions become the same vector, so that no recogniser can tell them apart.

    Example:
        >>> from wmscore.timeline import ByTable
        >>> action_codebook(ByTable({"stop": {}, "go": {"x": 2.0}}), ("stop", "go")).tolist()
        [[0.0], [2.0]]
    """
    rows = []
    for index in range(len(names)):
        line = Timeline.of(torch.tensor([index]), names, noop=noop, fps=fps)
        rows.append(converter(line).value[0])
    book = torch.stack(rows).float()
    for i in range(len(names)):
        for j in range(i):
            if torch.equal(book[i], book[j]):
                raise ValueError(
                    f"converter: {names[j]!r} and {names[i]!r} become the same vector, "
                    f"{book[i].tolist()}"
                )
    return book


class CosmosActionRecogniser:
    """`Cosmos3OmniPipeline` in its mode "inverse_dynamics": which actions lie between frames.

    A `wmscore.functional.InverseDynamics`: give it to `Scorer(panel, inverse_dynamics=...)`. Long
    rollouts are looked at in windows of `chunk` steps; the last window ends with the rollout, and a
    rollout that is shorter is padded with its last frame. Every window is drawn with the same
    seed, so that equal frames give equal answers in whatever batch.

    Without a codebook it answers with the model's vectors `[B, T, D]`. With one, `[A, D]` (see
    `action_codebook`), with a score of each action `[B, T, A]`: minus the distance to its vector,
    each component divided by its range in the codebook and constant ones left out. Where a frame
    of a window is no picture (NaN, out of range) its answers are NaN: not recognised.
    """

    def __init__(
        self,
        pipe: Any,
        *,
        domain: str,
        fps: float | None = None,
        chunk: int | None = None,
        codebook: Tensor | None = None,
        resolution_tier: int = 480,
        view_point: str = "ego_view",
        prompt: str | None = None,
        seed: int = 0,
        call: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        """Wrap `pipe`.

        Args:
            pipe: the pipeline, with a transformer that was trained for actions.
            domain: the embodiment (`COSMOS_DOMAINS`).
            fps: frames per second of the frames; by default as published for the domain.
            chunk: steps of one window; by default as published for the domain.
            codebook: `[A, D]`, the vector of each discrete action.
            resolution_tier: see `Cosmos3Model`; likewise the next two.
            view_point: where the camera is.
            prompt: what the model is told.
            seed: of the noise.
            call: arguments of every call, over the published ones.
            name: by default `cosmos3-inverse-` and the domain.

        Raises:
            ValueError: an unknown domain, one without a published chunk, rate or prompt where none
                is given, or a codebook of another width.
        """
        self.pipe, self.domain = pipe, cosmos_domain(domain)
        chunk, fps = chunk or self.domain.chunk, fps or self.domain.fps
        prompt = prompt if prompt is not None else self.domain.prompt
        for field, value in (("chunk", chunk), ("fps", fps), ("prompt", prompt)):
            if value is None:
                raise ValueError(f"{field}: none is published for {domain!r}, expected one")
        assert chunk is not None
        if chunk < 1:
            raise ValueError(f"chunk: expected at least 1, got {chunk}")
        if codebook is not None and (
            codebook.ndim != 2 or codebook.shape[1] != self.domain.width or len(codebook) < 2
        ):
            raise ValueError(
                f"codebook: expected [A, {self.domain.width}] of at least 2 actions, "
                f"got {list(codebook.shape)}"
            )
        self._chunk, self._fps, self._prompt, self._seed = chunk, fps, prompt, seed
        self._codebook, self._tier, self._view = codebook, resolution_tier, view_point
        self._call = {**PUBLISHED_CALL, **(call or {})}
        self._name = name or f"cosmos3-inverse-{domain}"

    @property
    def name(self) -> str:
        """Short name."""
        return self._name

    @torch.no_grad()
    def recognise(self, frames: Tensor) -> Tensor:
        """The actions between `[B, T + 1, 3, H, W]` frames: `[B, T, D]`, or `[B, T, A]` scores."""
        steps = frames.shape[1] - 1
        vectors = torch.full((len(frames), steps, self.domain.width), torch.nan)
        for row, video in enumerate(frames):
            for start, first, last in _windows(steps, self._chunk):
                window = video[start : start + self._chunk + 1]
                try:
                    pictures = uint8_frames(window.cpu())
                except ValueError:
                    continue
                found = self._ask(pictures)[: last - start]
                vectors[row, first:last] = found[first - start :]
        return vectors if self._codebook is None else self._scores(vectors)

    def _ask(self, window: Tensor) -> Tensor:
        """`[chunk, D]` of at most `chunk + 1` frames."""
        missing = self._chunk + 1 - len(window)
        padded = torch.cat([window, window[-1:].expand(missing, -1, -1, -1)])
        condition = action_condition(
            mode="inverse_dynamics",
            chunk_size=self._chunk,
            domain_name=self.domain.name,
            resolution_tier=self._tier,
            view_point=self._view,
            video=pil_images(padded),
        )
        with contained_randomness(self._seed):
            output = self.pipe(
                prompt=self._prompt,
                action=condition,
                fps=self._fps,
                generator=torch.Generator().manual_seed(self._seed),
                output_type="latent",  # the video itself is not looked at
                **self._call,
            )
        found: Tensor = output.action[0]
        if tuple(found.shape) != (self._chunk, self.domain.width):
            raise ValueError(
                f"{self.name}: expected actions {[self._chunk, self.domain.width]}, "
                f"got {list(found.shape)}"
            )
        return found.float().cpu()

    def _scores(self, vectors: Tensor) -> Tensor:
        assert self._codebook is not None
        book = self._codebook.float().cpu()
        span = book.amax(0) - book.amin(0)
        told = span > 0
        return -torch.cdist(
            vectors[..., told] / span[told],
            (book[:, told] / span[told]).expand(len(vectors), -1, -1),
        )


def _windows(steps: int, size: int) -> list[tuple[int, int, int]]:
    """(start, first, last): the window from `start` answers for steps `first` to `last - 1`."""
    found = []
    for first in range(0, steps, size):
        last = min(first + size, steps)
        found.append((max(0, last - size), first, last))
    return found
