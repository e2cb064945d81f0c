"""Models of GameNGen's shape: a latent diffusion UNet over the last frames and actions.

Valevski et al., "Diffusion Models Are Real-Time Game Engines", ICLR 2025, arXiv:2408.14837, which
published neither code nor weights; the shape was checked against arnaudstiegler/gameNgen-repro
(Apache-2.0). The objects are the user's: diffusers' `UNet2DConditionModel`, `AutoencoderKL` and a
scheduler, and an embedding of actions.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wmscore.timeline import GAMENGEN_ACTIONS, Converter, ToGameNGen
from wmscore.worlds.pixels import float_frames, rounded_frames
from wmscore.worlds.protocol import Capabilities
from wmscore.worlds.randomness import row_normal
from wmscore.worlds.windows import Padding, WindowModel

__all__ = ["GameNGenModel"]


class GameNGenModel(WindowModel):
    """`unet`, `vae`, `action_embedding` and `scheduler` as a `TeacherForced` world model.

    Of every frame the latents of the last K and the noise of the next go into the UNet side by side
    as channels, the embedded actions as tokens for its cross-attention, the level of noise that the
    context is said to have as class label. Latents stay latents while it goes, each frame is
    decoded for the answer only.

    Noise is drawn with one generator per row. Networks round differently in batches of another size
    (1.5e-5 was seen), so a row may differ by a level in another batch.

    Conventions in which GameNGen's followers differ, and which have to be those of the training:

    - `past_actions=0` gives the K actions that lead from the frames of the context, as in the
      paper; 1 also the action that led to the oldest one, as in the repro's dataset (its row t
      holds action and frame *after* it, and K + 1 rows are read).
    - frames are encoded in -1..1.
    - before frame 0 the repro puts black frames and action 0: `padding="black", pad_action=0`.

    Args of `__init__` are the objects, and how they are to be used.
    """

    def __init__(
        self,
        unet: Any,
        vae: Any,
        action_embedding: Any,
        scheduler: Any,
        *,
        action_names: Sequence[str] | None = None,
        fps: float,
        frame_size: tuple[int, int] = (240, 320),
        padded_size: tuple[int, int] | None = None,
        context_frames: int | None = None,
        past_actions: int = 0,
        steps: int = 4,
        guidance: float | None = None,
        noise_bucket: int = 0,
        converter: Converter[Tensor] | None = None,
        padding: Padding = "repeat",
        pad_action: int | None = None,
        name: str = "gamengen",
    ) -> None:
        """Wrap the objects, which are on one device.

        Args:
            unet: `UNet2DConditionModel` with `c (K + 1)` input channels, c those of a latent.
            vae: `AutoencoderKL`.
            action_embedding: `[B, K]` int64 to `[B, K, D]`, D the UNet's `cross_attention_dim`.
            scheduler: of diffusers. The paper uses DDIM and v-prediction.
            action_names: what the model's action numbers mean. None takes the 18 actions of the
                repro, and by default its converter, `ToGameNGen(rest=pad_action)`: there is no
                no-op and no way back among them.
            fps: frames per second that the model was trained for; 20 in the paper.
            frame_size: (height, width) of the frames.
            padded_size: (height, width) to which black pixels are added below and to the right
                before encoding, and cut off after decoding: (256, 320) in the paper, which does not
                say on which side.
            context_frames: K; by default from the UNet's input channels.
            past_actions: see above.
            steps: of the scheduler; 4 in the paper, 50 in the repro.
            guidance: weight of classifier-free guidance against a context of zeros, 1.5 in the
                paper; None for none, half the time.
            noise_bucket: class label, where the UNet has classes: 0 for a clean context.
            converter: from the panel's actions to the model's, see `WindowModel`.
            padding: what stands before frame 0.
            pad_action: see `WindowModel`.
            name: of the model.

        Raises:
            ValueError: channels, tokens or sizes that do not fit each other.
        """
        if action_names is None:
            action_names = ["+".join(buttons) for buttons in GAMENGEN_ACTIONS]
            converter = ToGameNGen(rest=pad_action) if converter is None else converter
        self.unet, self.vae, self.scheduler = unet, vae, scheduler
        self.action_embedding = action_embedding
        self.steps, self.guidance, self.noise_bucket = steps, guidance, noise_bucket
        channels = int(vae.config.latent_channels)
        into = int(unet.config.in_channels)
        if into % channels or into < 2 * channels:
            raise ValueError(
                f"unet: expected {channels} (K + 1) input channels, K at least 1, got {into}"
            )
        fitting = into // channels - 1
        if context_frames is not None and context_frames != fitting:
            raise ValueError(
                f"context_frames: {into} input channels of {channels}-channel latents hold "
                f"{fitting} frames of context, got {context_frames}"
            )
        if padding == "short":
            raise ValueError("padding: expected 'repeat' or 'black', the context is of one length")
        classes = unet.config.num_class_embeds
        if classes is not None and not 0 <= noise_bucket < classes:
            raise ValueError(f"noise_bucket: expected 0..{classes - 1}, got {noise_bucket}")
        if steps < 1:
            raise ValueError(f"steps: expected at least 1, got {steps}")
        known = getattr(action_embedding, "num_embeddings", len(action_names))
        if len(action_names) > known:
            raise ValueError(
                f"action_names: expected at most the {known} actions of the embedding, "
                f"got {len(action_names)}"
            )
        self.padded_size = _padded(frame_size, padded_size, vae)
        self._takes_generator = "generator" in inspect.signature(scheduler.step).parameters
        super().__init__(
            self._next,
            name=name,
            capabilities=Capabilities(
                actions="discrete",
                action_names=tuple(action_names),
                batch_invariant=False,
                context_frames=fitting,
                fps=fps,
                frame_size=frame_size,
            ),
            encode=self._encoded,
            decode=self._decoded,
            converter=converter,
            padding=padding,
            pad_action=pad_action,
            past_actions=past_actions,
            device=unet.device,
        )

    def _encoded(self, frames: Tensor) -> Tensor:
        """`[N, 3, H, W]` uint8 to scaled latents, without chance: the mode."""
        height, width = frames.shape[-2:]
        tall, wide = self.padded_size
        space = (0, wide - width, 0, tall - height)
        pixels = float_frames(torch.nn.functional.pad(frames, space), low=-1.0, high=1.0)
        latents: Tensor = self.vae.encode(pixels.to(self.vae.dtype)).latent_dist.mode()
        latents = latents * self.vae.config.scaling_factor
        return latents.to(self.unet.dtype)

    def _decoded(self, latents: Tensor) -> Tensor:
        scaled = latents.to(self.vae.dtype) / self.vae.config.scaling_factor
        height, width = self.capabilities.frame_size
        pixels = self.vae.decode(scaled).sample[..., :height, :width]
        # Image pipelines of diffusers cut off what lies outside.
        return rounded_frames(
            pixels.float(), f"model {self.name!r}", low=-1.0, high=1.0, clamp=True
        )

    def _next(
        self, context: Tensor, actions: Tensor, generators: Sequence[torch.Generator]
    ) -> Tensor:
        rows, _, *shape = context.shape
        history = context.flatten(1, 2)
        tokens = self.action_embedding(actions).to(context.dtype)
        latents = row_normal(shape, generators, context.dtype)
        self.scheduler.set_timesteps(self.steps, device=self.device)
        latents = latents * self.scheduler.init_noise_sigma
        classes = None
        if self.unet.config.num_class_embeds is not None:
            classes = torch.full((rows,), self.noise_bucket, device=self.device)
        chance = {"generator": list(generators)} if self._takes_generator else {}
        for step in self.scheduler.timesteps:
            noisy = self.scheduler.scale_model_input(latents, step)
            found = self._denoised(history, noisy, step, tokens, classes)
            denoised: Tensor = self.scheduler.step(found, step, latents, **chance).prev_sample
            latents = denoised
        return latents

    def _denoised(
        self, history: Tensor, noisy: Tensor, step: Tensor, tokens: Tensor, classes: Tensor | None
    ) -> Tensor:
        given = torch.cat([history, noisy], 1)
        if self.guidance is None:
            found: Tensor = self.unet(
                given, step, encoder_hidden_states=tokens, class_labels=classes
            ).sample
            return found
        blind = torch.cat([torch.zeros_like(history), noisy], 1)
        both = self.unet(
            torch.cat([blind, given]),
            step,
            encoder_hidden_states=torch.cat([tokens, tokens]),
            class_labels=None if classes is None else torch.cat([classes, classes]),
        ).sample
        without, with_history = both.chunk(2)
        guided: Tensor = without + self.guidance * (with_history - without)
        return guided


def _padded(
    frame_size: tuple[int, int], padded_size: tuple[int, int] | None, vae: Any
) -> tuple[int, int]:
    size = frame_size if padded_size is None else padded_size
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    if any(side % factor for side in size):
        raise ValueError(
            f"frame_size: expected sides that are multiples of {factor}, or such a padded_size, "
            f"got {size}"
        )
    if size[0] < frame_size[0] or size[1] < frame_size[1]:
        raise ValueError(f"padded_size: expected at least {frame_size}, got {size}")
    return size
