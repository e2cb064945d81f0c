"""Open Oasis: a diffusion transformer and an autoencoder, frame after frame in a sliding window."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.timeline import Converter
from wmscore.worlds.given import check_rate, given_frames, item_timeline, naming_item
from wmscore.worlds.oasis.actions import OasisActions
from wmscore.worlds.oasis.forcing import FrameDenoiser, WindowSampler
from wmscore.worlds.pixels import float_frames, uint8_frames
from wmscore.worlds.protocol import Capabilities, Item, item_keys
from wmscore.worlds.randomness import row_generators
from wmscore.worlds.row_losses import RowLosses
from wmscore.worlds.step import stack_actions

__all__ = ["FrameCoder", "OpenOasis"]


class FrameCoder(Protocol):
    """What open-oasis' `AutoencoderKL` looks like: frames in -1..1 to one token per patch."""

    patch_size: int
    input_height: int
    input_width: int

    def encode(self, x: Tensor, /) -> Any:
        """`[B, 3, H, W]` in -1..1 to a posterior whose `mean` is `[B, h * w, C]`."""
        ...

    def decode(self, z: Tensor, /) -> Tensor:
        """`[B, h * w, C]` to `[B, 3, H, W]`, about -1..1."""
        ...


class OpenOasis:
    """A `TeacherForced` world model of open-oasis' shape; `load_open_oasis` makes one from files.

    Each row's noise comes from its own generator on the host, so that neither the rows beside it
    nor the device change it. Pixels may still differ by rounding with the size of the batch.
    Frame 0 is the given frame, and not what the autoencoder makes of it.

    Memory: the latents of one window, and the weights; each frame is decoded when it is there.

    Example:
        >>> model = OpenOasis(dit, vae, OasisActions(table))  # doctest: +SKIP
        >>> check_world_model(model, items, horizon=4).raise_on_failure()  # doctest: +SKIP
    """

    def __init__(
        self,
        dit: FrameDenoiser,
        vae: FrameCoder,
        converter: Converter[Tensor] | None = None,
        *,
        name: str = "open-oasis",
        steps: int = 10,
        stabilisation: int = 15,
        scaling: float = 0.07843137255,
        action_width: int = 25,
        model_fps: float = 20.0,
        frames_per_action: int = 1,
        device: torch.device | str = "cpu",
        half: bool | None = None,
    ) -> None:
        """Put the two networks together.

        Args:
            dit: the denoiser; put into evaluation mode, on `device`, where it is a module.
            vae: the autoencoder, likewise.
            converter: the panel's actions to `[T * frames_per_action, action_width]`, row t
                acting between frame t and t + 1 of the networks; by default `OasisActions()`. That
                the networks count otherwise is the adapter's business.
            name: of the rollouts.
            steps: DDIM steps per frame.
            stabilisation: noise level that the context is said to have.
            scaling: factor between the autoencoder's latents and the denoiser's.
            action_width: components of an action.
            model_fps: frames per second that the networks were trained with.
            frames_per_action: frames that the networks generate for one action of the panel, the
                last of which is shown. The panel then has `model_fps` / this.
            device: where the networks run.
            half: float16 by autocast where the published code has it (encoder and denoiser); by
                default on CUDA only.
        """
        if frames_per_action < 1:
            raise ValueError(f"frames_per_action: expected at least 1, got {frames_per_action}")
        for field in ("patch_size", "input_height", "input_width"):
            if not isinstance(getattr(vae, field, None), int):
                raise TypeError(f"vae: expected an attribute {field}, got a {type(vae).__name__}")
        if not isinstance(getattr(dit, "max_frames", None), int) or dit.max_frames < 2:
            raise TypeError(f"dit: expected max_frames of 2 or more, got a {type(dit).__name__}")
        self.device = torch.device(device)
        for network in (dit, vae):
            if isinstance(network, torch.nn.Module):
                network.eval().to(self.device)
        self.dit, self.vae, self.name = dit, vae, name
        self.converter = converter or OasisActions(fps=model_fps)
        self.sampler = WindowSampler(dit, steps=steps, stabilisation=stabilisation)
        self.scaling, self.action_width = scaling, action_width
        self.frames_per_action = frames_per_action
        self.half = self.device.type == "cuda" if half is None else half
        self._losses = RowLosses()
        table = getattr(self.converter, "table", None)
        self._capabilities = Capabilities(
            actions="continuous" if table is None else "discrete",
            action_names=tuple(getattr(self.converter, "names", ()) if table is None else table),
            action_units=tuple(getattr(self.converter, "units", ())) if table is None else (),
            batch_invariant=False,
            frames_per_call=1,
            context_frames=dit.max_frames - 1,
            fps=model_fps / frames_per_action,
            frame_size=(vae.input_height, vae.input_width),
        )

    @property
    def capabilities(self) -> Capabilities:
        """Seeded by row and causal; exact within one batch size and device."""
        return self._capabilities

    @property
    def conversion_losses(self) -> tuple[str, ...]:
        """What the converter could not carry over so far, as sentences."""
        return self._losses.sentences()

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Generate frame after frame from each item's frame, all rows together.

        Raises:
            ValueError: an item without a frame, of another size or frame rate, or actions that the
                converter does not know.
        """
        return self._drive(items, horizon, None)

    def predict_next(
        self, items: Sequence[Item], reference_frames: Tensor, horizon: int
    ) -> Rollouts:
        """Generate each frame with the true frames before it as context.

        With several frames per action, those in between stay the model's own.
        """
        return self._drive(items, horizon, lambda t: reference_frames[:, t])

    @torch.no_grad()
    def _drive(
        self, items: Sequence[Item], horizon: int, truth: Callable[[int], Tensor] | None
    ) -> Rollouts:
        commanded = stack_actions(items, horizon)
        size = self._capabilities.frame_size
        first = given_frames(items, size, f"model {self.name!r}")
        told = self._told(items, horizon)
        context = self._encode(first)[:, None]
        frames = first.new_empty((len(items), horizon + 1, *first.shape[1:]))
        frames[:, 0] = first
        keep = self.dit.max_frames - 1
        for t in range(1, horizon + 1):
            for i in range((t - 1) * self.frames_per_action + 1, t * self.frames_per_action + 1):
                noise = self._noise(items, i, context)
                with self._precision():
                    latent = self.sampler.next_latent(context, told[:, : i + 1], noise)
                context = torch.cat([context, latent[:, None]], 1)[:, -keep:]
            frames[:, t] = self._decode(latent).to(frames.device)
            if truth is not None:
                context[:, -1] = self._encode(truth(t))
        return Rollouts(
            frames=frames,
            actions=commanded.to(frames.device),
            model=self.name,
            **item_keys(items),
        )

    def _told(self, items: Sequence[Item], horizon: int) -> Tensor:
        """`[B, 1 + frames, A]` what the denoiser is told: the action that produced each frame."""
        fps, hint = (
            self._capabilities.fps,
            "frames_per_action is how many of its own an action lasts",
        )
        wanted = (horizon * self.frames_per_action, self.action_width)
        rows = []
        for item in items:
            check_rate(item, fps, f"model {self.name!r}", hint)
            with naming_item(item):
                found = self.converter(item_timeline(item, fps, horizon))
            if tuple(found.value.shape) != wanted:
                raise ValueError(
                    f"converter: expected {list(wanted)} for [frames, A], "
                    f"got {list(found.value.shape)}"
                )
            self._losses.note(item, found.losses)
            rows.append(found.value.float())
        told = torch.stack(rows)
        # Nothing is known of what produced the given frame; the published code says so by zeros.
        return torch.cat([torch.zeros_like(told[:, :1]), told], 1).to(self.device)

    def _noise(self, items: Sequence[Item], frame: int, like: Tensor) -> Tensor:
        noise = [
            torch.randn(like.shape[2:], generator=generator)
            for generator in row_generators(items, frame)
        ]
        return torch.stack(noise).to(self.device)

    def _encode(self, frames: Tensor) -> Tensor:
        """`[B, 3, H, W]` pixels to `[B, C, h, w]` latents."""
        pixels = float_frames(frames.to(self.device), low=-1.0)
        with self._precision():
            mean: Tensor = self.vae.encode(pixels).mean
        height, width = (n // self.vae.patch_size for n in self._capabilities.frame_size)
        latents = (mean.float() * self.scaling).transpose(1, 2)
        return latents.reshape(len(frames), -1, height, width)

    def _decode(self, latents: Tensor) -> Tensor:
        """`[B, C, h, w]` latents to uint8 pixels; what lies outside is cut off, as published."""
        pixels = self.vae.decode(latents.flatten(2).transpose(1, 2) / self.scaling)
        return uint8_frames(pixels, low=-1.0, clamp=True)

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if not self.half:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.float16)
