"""Real Diffusers classes with tiny random weights: no download, no text encoder."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import Tensor

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything of Hugging Face is imported

diffusers = pytest.importorskip("diffusers", minversion="0.42")
EMBEDS = torch.zeros(1, 16, 32)


class NoGuardrail:
    """For random weights only: what a Cosmos pipeline asks of a safety checker."""

    def to(self, device: Any, *args: Any, **kwargs: Any) -> NoGuardrail:
        return self

    def check_text_safety(self, text: str) -> bool:
        return True

    def check_video_safety(self, frames: Any) -> Any:
        return frames


def ready(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def wan_autoencoder() -> Any:
    torch.manual_seed(0)
    return diffusers.AutoencoderKLWan(
        base_dim=3,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    ).eval()


def cosmos_transformer(rope_scale: tuple[float, ...], **options: Any) -> Any:
    torch.manual_seed(0)
    return diffusers.CosmosTransformer3DModel(
        in_channels=17,
        out_channels=16,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        mlp_ratio=2,
        text_embed_dim=32,
        adaln_lora_dim=4,
        max_size=(4, 32, 32),
        patch_size=(1, 2, 2),
        rope_scale=rope_scale,
        concat_padding_mask=True,
        **options,
    ).eval()


def without_text_encoder(kind: Any, **parts: Any) -> Any:
    """A pipeline whose constructor wants a guardrail and a text encoder; it is given neither."""
    return ready(kind(text_encoder=None, tokenizer=None, **parts))


def cosmos2() -> Any:
    return without_text_encoder(
        diffusers.Cosmos2VideoToWorldPipeline,
        transformer=cosmos_transformer((1.0, 4.0, 4.0), extra_pos_embed_type=None),
        vae=wan_autoencoder(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True),
        safety_checker=NoGuardrail(),
    )


def cosmos25() -> Any:
    return without_text_encoder(
        diffusers.Cosmos2_5_PredictBasePipeline,
        transformer=cosmos_transformer((2.0, 1.0, 1.0), extra_pos_embed_type="learnable"),
        vae=wan_autoencoder(),
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True
        ),
        safety_checker=NoGuardrail(),
    )


def patched_autoencoder(patch: int, channels: int) -> Any:
    """One whose encoder sees patches: much less work where a canvas is large."""
    torch.manual_seed(0)
    return diffusers.AutoencoderKLWan(
        base_dim=3,
        z_dim=channels,
        in_channels=3 * patch**2,
        out_channels=3 * patch**2,
        is_residual=True,
        patch_size=patch,
        latents_mean=[0.0] * channels,
        latents_std=[1.0] * channels,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        scale_factor_spatial=8 * patch,
        scale_factor_temporal=4,
        temperal_downsample=[False, True, True],
    ).eval()


def wan() -> Any:
    torch.manual_seed(0)
    transformer = diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=48,
        out_channels=48,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=1,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    ).eval()
    return without_text_encoder(
        diffusers.WanImageToVideoPipeline,
        vae=patched_autoencoder(2, 48),
        transformer=transformer,
        transformer_2=None,
        image_encoder=None,
        image_processor=None,
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        boundary_ratio=None,
        expand_timesteps=True,
    )


def sana_world_model() -> Any:
    torch.manual_seed(0)
    transformer = diffusers.SanaWMTransformer3DModel(
        in_channels=8,
        num_layers=2,
        hidden_size=32,
        num_attention_heads=2,
        softmax_every_n=2,
        linear_head_dim=16,
        caption_channels=16,
        chunk_plucker_post_attn_blocks=2,
        chunk_plucker_channels=48,
        fp32_attention=False,
    ).eval()
    vae = diffusers.AutoencoderKLLTX2Video(
        latent_channels=8,
        block_out_channels=(8, 16, 32, 64),
        decoder_block_out_channels=(16, 32, 64),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
    ).eval()
    return without_text_encoder(
        diffusers.SanaWMPipeline,
        vae=vae,
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=1.0),
    )


def sana_call(height: int, width: int) -> dict[str, Any]:
    embeds, mask = torch.zeros(1, 1, 8, 16), torch.ones(1, 8, dtype=torch.long)
    return {
        "prompt": "",
        "prompt_embeds": embeds,
        "prompt_attention_mask": mask,
        "negative_prompt_embeds": embeds,
        "negative_prompt_attention_mask": mask,
        "intrinsics": [80.0, 80.0, width / 2, height / 2],
        "num_inference_steps": 1,
        "guidance_scale": 1.0,
    }


def letters_tokenizer() -> Any:
    """One token per printable character; Cosmos 3 cannot be given encoded text."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    words = {"<unk>": 0, "<|im_end|>": 1, "<|vision_start|>": 2}
    words |= {chr(code): i + 3 for i, code in enumerate(range(32, 127))}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    outer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="<unk>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|vision_start|>"],
    )
    outer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return outer


def cosmos3() -> Any:
    torch.manual_seed(0)
    transformer = diffusers.Cosmos3OmniTransformer(
        head_dim=12,
        hidden_act="relu2",
        hidden_size=24,
        intermediate_size=48,
        latent_channel=48,
        latent_patch_size=1,
        num_attention_heads=2,
        num_hidden_layers=2,
        num_key_value_heads=1,
        patch_latent_dim=48,
        qk_norm_for_text=False,
        rms_norm_eps=1e-5,
        rope_axes_dim=[2, 2, 2],
        vocab_size=128,
        action_gen=True,
        action_dim=16,
    ).eval()
    return ready(
        diffusers.Cosmos3OmniPipeline(
            transformer=transformer,
            text_tokenizer=letters_tokenizer(),
            vae=patched_autoencoder(4, 48),
            scheduler=diffusers.UniPCMultistepScheduler(
                prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=10.0
            ),
            enable_safety_checker=False,
        )
    )


def ltx_condition() -> Any:
    torch.manual_seed(0)
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        patch_size=1,
        patch_size_t=1,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=32,
        num_layers=1,
        caption_channels=32,
    ).eval()
    vae = diffusers.AutoencoderKLLTXVideo(
        in_channels=3,
        out_channels=3,
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False,) * 5,
        upsample_residual=(False,) * 4,
        upsample_factor=(1,) * 4,
        timestep_conditioning=False,
        patch_size=1,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    ).eval()
    return without_text_encoder(
        diffusers.LTXConditionPipeline,
        vae=vae,
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )


def cogvideo() -> Any:
    torch.manual_seed(0)
    transformer = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=8,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=32,
        num_layers=1,
        sample_width=8,
        sample_height=8,
        sample_frames=9,
        patch_size=2,
        temporal_compression_ratio=4,
        max_text_seq_length=16,
        use_rotary_positional_embeddings=True,
    ).eval()
    vae = diffusers.AutoencoderKLCogVideoX(
        in_channels=3,
        out_channels=3,
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    ).eval()
    return without_text_encoder(
        diffusers.CogVideoXImageToVideoPipeline,
        vae=vae,
        transformer=transformer,
        scheduler=diffusers.DDIMScheduler(),
    )


def stable_video() -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    unet = diffusers.UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=32,
        in_channels=8,
        out_channels=4,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        cross_attention_dim=32,
        num_attention_heads=8,
        projection_class_embeddings_input_dim=96,
        addition_time_embed_dim=32,
    ).eval()
    vae = diffusers.AutoencoderKLTemporalDecoder(
        block_out_channels=[32, 64],
        in_channels=3,
        out_channels=3,
        down_block_types=["DownEncoderBlock2D"] * 2,
        latent_channels=4,
    ).eval()
    encoder = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(
            hidden_size=32,
            projection_dim=32,
            num_hidden_layers=1,
            num_attention_heads=4,
            image_size=224,
            intermediate_size=37,
            patch_size=32,
        )
    ).eval()
    scheduler = diffusers.EulerDiscreteScheduler(
        interpolation_type="linear",
        prediction_type="v_prediction",
        sigma_max=700.0,
        sigma_min=0.002,
        timestep_type="continuous",
        use_karras_sigmas=True,
    )
    return ready(
        diffusers.StableVideoDiffusionPipeline(
            unet=unet,
            image_encoder=encoder,
            scheduler=scheduler,
            vae=vae,
            feature_extractor=transformers.CLIPImageProcessor(crop_size=224, size=224),
        )
    )


def embeds_call(**more: Any) -> dict[str, Any]:
    return {
        "prompt_embeds": EMBEDS,
        "negative_prompt_embeds": EMBEDS,
        "num_inference_steps": 1,
        "guidance_scale": 1.0,
        **more,
    }


def random_frames(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator, dtype=torch.uint8)
