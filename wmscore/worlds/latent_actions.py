"""Genie-like models: a tokenizer, a dynamics model, and latent actions without a meaning.

Bruce et al., "Genie: Generative Interactive Environments", ICML 2024, arXiv:2402.15391. The shape
was checked against AlmondGod/tinyworlds (MIT); the objects are the user's. What each latent action
does is found by `wmscore.worlds.calibrate_latent_actions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wmscore.timeline import Converter
from wmscore.worlds.pixels import float_frames
from wmscore.worlds.protocol import Capabilities
from wmscore.worlds.rounding import rounded_frames
from wmscore.worlds.row_noise import contained_row_noise
from wmscore.worlds.windows import Padding, WindowModel

__all__ = ["LatentActionModel"]


class LatentActionModel(WindowModel):
    """`tokenizer`, `dynamics`, `latent_actions` of Genie's kind as a `TeacherForced` world model.

    Each call tokenizes the last frames (in -1..1), takes the codes of the last latent actions and
    lets the dynamics model fill in the tokens of the next frame, which are decoded. What the
    tokenizer decodes is the context of the next call, in 8 bits. Frames are cut off at -1 and 1, as
    the published code does before it shows them.

    Actions are `latent-0`, `latent-1`, ... until a converter, such as that of a calibration, says
    which of them a panel's actions are.
    """

    def __init__(
        self,
        tokenizer: Any,
        dynamics: Any,
        latent_actions: Any,
        *,
        frame_size: tuple[int, int],
        fps: float,
        count: int | None = None,
        context_frames: int = 2,
        steps: int = 10,
        temperature: float = 0.0,
        converter: Converter[Tensor] | None = None,
        padding: Padding = "short",
        pad_action: int | None = None,
        name: str = "latent-actions",
        device: torch.device | str = "cpu",
    ) -> None:
        """Wrap the objects, which are on one device.

        Args:
            tokenizer: `tokenize(frames [B, K, 3, H, W] in -1..1)` to indices `[B, K, P]`,
                `quantizer.get_latents_from_indices(indices, dim=-1)` to codes `[B, K, P, L]`, and
                `detokenize(codes)` back to frames.
            dynamics: `forward_inference(context_latents=, prediction_horizon=, num_steps=,
                index_to_latents_fn=, conditioning=, temperature=)` to codes `[B, K + 1, P, L]`.
            latent_actions: `quantizer.codebook_size` and
                `quantizer.get_latents_from_indices(actions [B, K])` to codes `[B, K, A]`.
            frame_size: (height, width).
            fps: frames per second.
            count: number of latent actions; by default the codebook's size.
            context_frames: K, most frames that the dynamics model looks back on.
            steps: in which the tokens of a frame are filled in.
            temperature: of sampling tokens; 0 takes the likeliest, and nothing is random.
            converter: from the panel's actions to latent ones.
            padding: what stands before frame 0; by default nothing, the context grows.
            pad_action: latent action that stands there.
            name: of the model.
            device: where the objects live.

        Raises:
            ValueError: no size of a codebook, or an option out of range.
        """
        if count is None:
            count = getattr(latent_actions.quantizer, "codebook_size", None)
        if count is None or count < 1:
            raise ValueError(f"count: expected the number of latent actions, got {count}")
        if steps < 1 or temperature < 0:
            raise ValueError(
                f"steps, temperature: expected at least 1 and 0, got {steps} and {temperature}"
            )
        self.tokenizer, self.dynamics = tokenizer, dynamics
        self.latent_actions = latent_actions
        self.steps, self.temperature = steps, temperature
        super().__init__(
            self._next,
            name=name,
            capabilities=Capabilities(
                actions="discrete",
                action_names=tuple(f"latent-{i}" for i in range(count)),
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
        codes = self.tokenizer.quantizer.get_latents_from_indices
        with contained_row_noise(generators):
            indices = self.tokenizer.tokenize(float_frames(context, low=-1.0, high=1.0))
            latents = self.dynamics.forward_inference(
                context_latents=codes(indices, dim=-1),
                prediction_horizon=1,
                num_steps=self.steps,
                index_to_latents_fn=lambda index: codes(index, dim=-1),
                conditioning=self.latent_actions.quantizer.get_latents_from_indices(actions),
                temperature=self.temperature,
            )
            frames = self.tokenizer.detokenize(latents)[:, -1]
        return rounded_frames(frames, self.name, low=-1.0, high=1.0, clamp=True)
