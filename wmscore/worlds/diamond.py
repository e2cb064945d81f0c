"""DIAMOND-like models: a diffusion sampler over the last observations and actions.

Checked against eloialonso/diamond (MIT), `src/models/diffusion/diffusion_sampler.py`; Alonso et
al., "Diffusion for World Modeling: Visual Details Matter in Atari", NeurIPS 2024, arXiv:2405.12399.
Nothing of it is in this package: the sampler object is the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from wmscore.timeline import Converter
from wmscore.worlds.pixels import float_frames
from wmscore.worlds.protocol import Capabilities
from wmscore.worlds.rounding import rounded_frames
from wmscore.worlds.row_noise import contained_row_noise
from wmscore.worlds.windows import Padding, WindowModel

__all__ = ["DiamondModel", "ObservationSampler"]


class ObservationSampler(Protocol):
    """Samples the next observation."""

    def sample(self, prev_obs: Tensor, prev_act: Tensor, /) -> Any:
        """Sample.

        Args:
            prev_obs: `[B, K, 3, H, W]` float32 in -1..1, oldest first.
            prev_act: `[B, K]` int64 or `[B, K, A]`, the last one leads to what is sampled.

        Returns:
            `[B, 3, H, W]` in -1..1, or a tuple that begins with it.
        """
        ...


class DiamondModel(WindowModel):
    """A DIAMOND-like sampler as a `TeacherForced` world model.

    The context is kept in 8 bits, as the published denoiser quantises what it predicts. Its noise
    comes from `torch.randn` without a generator: `RowNoise` gives each row its own, and what it
    cannot cut into rows is seeded and contained, so equal calls are equal. Networks may still round
    differently in batches of another size, which quantising and feeding back make larger: no
    promise is given that a row is the same in another batch.

    Example:
        >>> class Still:
        ...     def sample(self, prev_obs, prev_act):
        ...         return prev_obs[:, -1], [prev_obs[:, -1]]
        >>> model = DiamondModel(Still(), action_names=("noop", "left"), fps=15.0)
        >>> model.capabilities.context_frames, model.capabilities.frame_size
        (4, (64, 64))
    """

    def __init__(
        self,
        sampler: ObservationSampler,
        *,
        action_names: Sequence[str] = (),
        action_units: Sequence[str] = (),
        continuous: bool = False,
        fps: float,
        frame_size: tuple[int, int] = (64, 64),
        context_frames: int = 4,
        converter: Converter[Tensor] | None = None,
        padding: Padding = "repeat",
        pad_action: int | Sequence[float] | None = None,
        clamp: bool = False,
        name: str = "diamond",
        device: torch.device | str = "cpu",
    ) -> None:
        """Wrap a sampler.

        Args:
            sampler: the user's object, on `device`.
            action_names: what the model's action numbers mean, in its order, or the components of
                its vectors (the CSGO model has 51 columns).
            action_units: of vector components.
            continuous: actions are vectors.
            fps: frames per second of what the model predicts; Atari with 4 skipped frames has 15.
            frame_size: (height, width).
            context_frames: frames that the model was trained to look back on.
            converter: from the panel's actions to the model's, see `WindowModel`.
            padding: what stands before frame 0. DIAMOND itself starts from recorded frames.
            pad_action: see `WindowModel`.
            clamp: cut off what lies outside -1..1 instead of refusing it.
            name: of the model.
            device: where the sampler lives.
        """
        self.sampler = sampler
        self.clamp = clamp
        super().__init__(
            self._next,
            name=name,
            capabilities=Capabilities(
                actions="continuous" if continuous else "discrete",
                action_names=tuple(action_names),
                action_units=tuple(action_units),
                batch_invariant=False,
                context_frames=context_frames,
                fps=fps,
                frame_size=frame_size,
            ),
            converter=converter,
            padding=padding,
            pad_action=pad_action,
            device=device,
        )

    def _next(
        self, context: Tensor, actions: Tensor, generators: Sequence[torch.Generator]
    ) -> Tensor:
        with contained_row_noise(generators):
            found = self.sampler.sample(float_frames(context, low=-1.0, high=1.0), actions)
        frames = found[0] if isinstance(found, tuple) else found
        if not isinstance(frames, Tensor) or frames.ndim != 4:
            raise ValueError(
                f"model {self.name!r}: expected frames [B, 3, H, W] of sample, got "
                f"{list(frames.shape) if isinstance(frames, Tensor) else type(frames).__name__}"
            )
        return rounded_frames(frames, self.name, low=-1.0, high=1.0, clamp=self.clamp)
