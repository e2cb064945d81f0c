"""Diffusion forcing in a sliding window: the sampler of open-oasis, for any model of its shape."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["FrameDenoiser", "WindowSampler", "sigmoid_alphas"]


class FrameDenoiser(Protocol):
    """What open-oasis' `DiT` looks like: it predicts the velocity of every frame of a window."""

    @property
    def max_frames(self) -> int:
        """Frames of a window, the one that is denoised among them."""
        ...

    def __call__(self, x: Tensor, t: Tensor, external_cond: Tensor, /) -> Tensor:
        """Velocity `[B, F, C, h, w]`.

        Args:
            x: `[B, F, C, h, w]` latents.
            t: `[B, F]` int64 noise levels.
            external_cond: `[B, F, A]` the action that produced each frame.
        """
        ...


def sigmoid_alphas(levels: int = 1000, *, start: float = -3.0, end: float = 3.0) -> Tensor:
    """Share of the signal's variance that is left at each noise level, `[levels]` float32.

    The sigmoid schedule of Jabri et al. 2022 (arXiv 2212.11972, figure 8), by way of betas that are
    cut at 0.999, as etched-ai/open-oasis has it (`utils.py`).
    """
    time = torch.linspace(0, levels, levels + 1, dtype=torch.float64) / levels
    low, high = torch.tensor([start, end], dtype=torch.float32).sigmoid()
    left = (high - (time * (end - start) + start).sigmoid()) / (high - low)
    left = left / left[0]
    betas = (1 - left[1:] / left[:-1]).clamp(0, 0.999)
    alphas: Tensor = (1 - betas.float()).cumprod(0)
    return alphas


class WindowSampler:
    """Denoises one frame after the other, with the frames before it as a nearly clean context.

    The loop of etched-ai/open-oasis (`generate.py`, commit f59deef of 2024-11-08): deterministic
    DDIM steps on the newest frame; the context is told to the model at a low noise level, and no
    noise is added to it.

    Args:
        dit: the model.
        steps: DDIM steps per frame.
        stabilisation: noise level that the context is said to have, 1..levels.
        levels: noise levels that the model was trained with.
        noise_limit: initial noise is cut at plus and minus this.
    """

    def __init__(
        self,
        dit: FrameDenoiser,
        *,
        steps: int = 10,
        stabilisation: int = 15,
        levels: int = 1000,
        noise_limit: float = 20.0,
    ) -> None:
        if not 1 <= steps <= levels:
            raise ValueError(f"steps: expected 1..{levels}, got {steps}")
        if not 1 <= stabilisation <= levels:
            raise ValueError(f"stabilisation: expected 1..{levels}, got {stabilisation}")
        self.dit = dit
        self.steps, self.stabilisation, self.noise_limit = steps, stabilisation, noise_limit
        self._alphas = sigmoid_alphas(levels)
        # Whole levels, the fraction cut off, as the published loop has them.
        marks = torch.linspace(-1, levels - 1, steps + 1).long().tolist()
        self._marks: list[int] = marks

    def next_latent(self, context: Tensor, actions: Tensor, noise: Tensor) -> Tensor:
        """Denoise the frame after a context.

        Args:
            context: `[B, n, C, h, w]` latents of the frames before; the last `max_frames - 1` of
                them count.
            actions: `[B, n + 1, A]` the action that produced each of those frames and the new one.
            noise: `[B, C, h, w]` standard normal.

        Returns:
            `[B, C, h, w]`.
        """
        keep = self.dit.max_frames - 1
        context = context[:, max(context.shape[1] - keep, 0) :]
        told = actions[:, -(context.shape[1] + 1) :].contiguous()
        levels = torch.full(
            (len(context), context.shape[1] + 1),
            self.stabilisation - 1,
            dtype=torch.int64,
            device=context.device,
        )
        frame = noise.clamp(-self.noise_limit, self.noise_limit)
        for step in range(self.steps, 0, -1):
            now = self._alphas[self._marks[step]]
            levels[:, -1] = self._marks[step]
            window = torch.cat([context, frame[:, None]], 1)
            velocity = self.dit(window, levels, told)[:, -1].to(frame.dtype)
            clean = now.sqrt() * frame - (1 - now).sqrt() * velocity
            if step == 1:
                frame = clean
                break
            noisy = ((1 / now).sqrt() * frame - clean) / (1 / now - 1).sqrt()
            after = self._alphas[self._marks[step - 1]]
            frame = after.sqrt() * clean + noisy * (1 - after).sqrt()
        return frame
