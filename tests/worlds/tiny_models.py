"""Small networks of the shapes of GameNGen, DIAMOND and Genie, written for these tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from wmscore.worlds import LatentActionModel

__all__ = ["SecretDynamics", "TinySampler", "gamengen_parts", "genie"]


# ---- GameNGen: diffusers' own classes ----------------------------------------------------


def gamengen_parts(size: int = 32, context: int = 3, actions: int = 5) -> dict[str, Any]:
    """UNet, autoencoder, embedding and scheduler with random weights, as `GameNGenModel` wants."""
    import diffusers

    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = diffusers.UNet2DConditionModel(
            sample_size=size // 4,
            in_channels=4 * (context + 1),
            out_channels=4,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=8,
            num_class_embeds=10,
            norm_num_groups=4,
            attention_head_dim=4,
        ).eval()
        vae = diffusers.AutoencoderKL(
            block_out_channels=(8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
            norm_num_groups=4,
        ).eval()
        embedding = nn.Embedding(actions, 8)
    scheduler = diffusers.DDIMScheduler(
        prediction_type="v_prediction",
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        clip_sample=False,
    )
    return {"unet": unet, "vae": vae, "action_embedding": embedding, "scheduler": scheduler}


# ---- DIAMOND -----------------------------------------------------------------------------


class TinySampler(nn.Module):
    """Euler steps from noise with a random network, on the global generator as DIAMOND's are."""

    def __init__(self, actions: int = 5, context: int = 4, churn: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.into = nn.Conv2d(3 * (context + 1), 16, 3, padding=1)
            self.out = nn.Conv2d(16, 3, 3, padding=1)
            self.embed = nn.Embedding(actions, 16)
        self.churn = churn
        self.seen: list[tuple[Tensor, Tensor]] = []

    def denoise(self, x: Tensor, obs: Tensor, act: Tensor) -> Tensor:
        hidden = self.into(torch.cat([obs, x], 1)) + self.embed(act).sum(1)[:, :, None, None]
        found = self.out(torch.relu(hidden)).clamp(-1, 1)
        return found.add(1).div(2).mul(255).byte().div(255).mul(2).sub(1)

    def sample(self, prev_obs: Tensor, prev_act: Tensor) -> tuple[Tensor, list[Tensor]]:
        self.seen.append((prev_obs, prev_act))
        rows, _, _, height, width = prev_obs.shape
        obs = prev_obs.flatten(1, 2)
        x = torch.randn(rows, 3, height, width, device=prev_obs.device)
        trajectory = [x]
        for sigma, following in ((5.0, 1.0), (1.0, 0.1), (0.1, 0.0)):
            if self.churn:
                x = x + self.churn * torch.randn_like(x)
            x = x + (x - self.denoise(x, obs, prev_act)) / sigma * (following - sigma)
            trajectory.append(x)
        return x, trajectory


# ---- Genie: every pixel is a token -------------------------------------------------------


class Colours:
    """A codebook of all 8-bit colours: index to code in -1..1."""

    def get_latents_from_indices(self, indices: Tensor, dim: int = -1) -> Tensor:
        shifts = torch.tensor([16, 8, 0])
        return ((indices[..., None] >> shifts) & 255) / 127.5 - 1


class PixelTokenizer:
    """Tokens are pixels."""

    def __init__(self, height: int, width: int) -> None:
        self.quantizer = Colours()
        self.size = (height, width)
        self.seen: list[Tensor] = []

    def tokenize(self, frames: Tensor) -> Tensor:
        self.seen.append(frames)
        levels = ((frames + 1) * 127.5).round().long().flatten(-2)
        return (levels[:, :, 0] << 16) + (levels[:, :, 1] << 8) + levels[:, :, 2]

    def detokenize(self, codes: Tensor) -> Tensor:
        return codes.transpose(-1, -2).unflatten(-1, self.size)


class Codes:
    """Latent actions as codes of bits, as a quantizer of two levels gives them."""

    codebook_size = 8

    def get_latents_from_indices(self, indices: Tensor) -> Tensor:
        return ((indices[..., None] >> torch.arange(3)) & 1) * 2.0 - 1


class SecretDynamics:
    """Moves the last frame by what the last latent action secretly means."""

    MOVES = ((2, 0), (0, -2), (0, 0), (0, 2), (0, 2), (-2, 0), (-2, -2), (7, 5))

    def __init__(self, size: int, noise: float = 0.0) -> None:
        self.size, self.noise = size, noise
        self.contexts: list[int] = []

    def forward_inference(
        self,
        context_latents: Tensor,
        prediction_horizon: int,
        num_steps: int,
        index_to_latents_fn: Any,
        conditioning: Tensor,
        temperature: float,
    ) -> Tensor:
        assert prediction_horizon == 1
        assert conditioning.shape[:2] == context_latents.shape[:2]
        self.contexts.append(context_latents.shape[1])
        bits = (conditioning[:, -1] > 0).long()
        action = (bits << torch.arange(3)).sum(-1)
        last = context_latents[:, -1].unflatten(1, (self.size, self.size))
        moved = torch.stack(
            [f.roll(self.MOVES[int(a)], (0, 1)) for f, a in zip(last, action, strict=True)]
        )
        if temperature:
            moved = moved + self.noise * torch.randn(moved.shape)
        return torch.cat([context_latents, moved.flatten(1, 2)[:, None]], 1)


def genie(noise: float = 0.0, size: int = 48, **options: Any) -> LatentActionModel:
    """Eight latent actions without a meaning; five of them move the picture, one twice."""
    options = {"frame_size": (size, size), "fps": 10.0, **options}
    return LatentActionModel(
        PixelTokenizer(size, size),
        SecretDynamics(size, noise),
        SimpleNamespace(quantizer=Codes()),
        **options,
    )
