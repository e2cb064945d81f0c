"""How SSIM and MS-SSIM are asked of other libraries: per frame, of one definition, at their best.

Each call starts from uint8 frames and pays for the conversion that the library needs; where one
accepts 0..255, nothing is divided. `score` is what is compared with wmscore before the clock runs:
the timed result, unless the library pads, in which case it is the same call's map without the
border. docs/pixel-metrics.md says how the defaults differ.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

__all__ = ["UNSEEN", "Peer", "compiled", "ms_ssim_peers", "ssim_float32", "ssim_peers"]

# Their ops cannot be counted: they bypass torch, or run otherwise while somebody counts.
UNSEEN = ("scikit-image", "fused-ssim", "torch.compile")

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@dataclass(frozen=True)
class Peer:
    """A library's score per frame: what is timed, and how near it must come to wmscore's."""

    call: Callable[[], Tensor]
    tolerance: float
    score: Callable[[], Tensor] | None = None


def ssim_peers(preds: Tensor, target: Tensor, fused_ssim: Path | None = None) -> dict[str, Peer]:
    """SSIM of each library that is installed; float32, as their users have it."""

    def of_torchmetrics(module: ModuleType) -> Peer:
        ssim = functools.partial(
            module.structural_similarity_index_measure, data_range=255.0, reduction="none"
        )
        # Pads by reflection, which moves a 64 x 64 frame by 0.01: compared without the border.
        return Peer(
            lambda: ssim(preds.float(), target.float()),
            2e-5,
            lambda: _inner(ssim(preds.float(), target.float(), return_full_image=True)[1]),
        )

    def of_piq(module: ModuleType) -> Peer:
        return Peer(
            lambda: module.ssim(
                preds.float(), target.float(), data_range=255, reduction="none", downsample=False
            ),
            2e-5,
        )

    def of_pytorch_msssim(module: ModuleType) -> Peer:
        return Peer(
            lambda: module.ssim(preds.float(), target.float(), data_range=255, size_average=False),
            2e-5,
        )

    def of_kornia(module: ModuleType) -> Peer:
        return Peer(
            lambda: module.ssim(
                preds.float(), target.float(), 11, max_val=255.0, eps=0.0, padding="valid"
            ).mean((1, 2, 3)),
            2e-5,
        )

    def of_pyiqa(module: ModuleType) -> Peer:
        # Its metric `ssimc` casts to float64, which is slower; negative contrast-structure is set
        # to 0 pixel by pixel, and these frames have next to none.
        return Peer(lambda: module.ssim(preds.float(), target.float(), data_range=255), 2e-5)

    def of_skimage(module: ModuleType) -> Peer:
        ssim = functools.partial(
            module.structural_similarity,
            data_range=255,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        pairs = list(zip(preds.numpy(), target.numpy(), strict=True))
        return Peer(lambda: torch.tensor([ssim(p, t) for p, t in pairs]), 2e-5)

    peers = {
        "torchmetrics": ("torchmetrics.functional.image", of_torchmetrics),
        "piq": ("piq", of_piq),
        "pytorch-msssim": ("pytorch_msssim", of_pytorch_msssim),
        "kornia": ("kornia.metrics", of_kornia),
        "pyiqa": ("pyiqa.archs.ssim_arch", of_pyiqa),
    }
    if preds.device.type == "cpu":
        peers["scikit-image"] = ("skimage.metrics", of_skimage)
    found = _installed(peers)
    if fused_ssim is not None:
        found["fused-ssim"] = _fused_ssim(fused_ssim, preds, target)
    return found


def ms_ssim_peers(preds: Tensor, target: Tensor) -> dict[str, Peer]:
    """MS-SSIM of each library that has it. Sides below 161 are refused, odd ones differ."""

    def of_torchmetrics(module: ModuleType) -> Peer:
        ms_ssim = module.multiscale_structural_similarity_index_measure
        return Peer(  # its last scale keeps the reflected border, which has little weight here
            lambda: ms_ssim(preds.float(), target.float(), data_range=255.0, reduction="none"),
            2e-4,
        )

    def of_piq(module: ModuleType) -> Peer:
        return Peer(
            lambda: module.multi_scale_ssim(
                preds.float(), target.float(), data_range=255, reduction="none"
            ),
            2e-4,
        )

    def of_pytorch_msssim(module: ModuleType) -> Peer:
        return Peer(
            lambda: module.ms_ssim(
                preds.float(), target.float(), data_range=255, size_average=False
            ),
            2e-4,
        )

    def of_pyiqa(module: ModuleType) -> Peer:
        return Peer(lambda: module.ms_ssim(preds.float(), target.float(), data_range=255), 2e-4)

    return _installed(
        {
            "torchmetrics": ("torchmetrics.functional.image", of_torchmetrics),
            "piq": ("piq", of_piq),
            "pytorch-msssim": ("pytorch_msssim", of_pytorch_msssim),
            "pyiqa": ("pyiqa.archs.ssim_arch", of_pyiqa),
        }
    )


def ssim_float32(preds: Tensor, target: Tensor, scales: int = 1) -> Tensor:
    """SSIM or MS-SSIM as one writes it in torch: float32, separable convolutions, `[N]`."""
    x, y = preds.float(), target.float()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    offset = torch.arange(-5, 6, dtype=torch.float32, device=x.device)
    window = torch.exp(-(offset**2) / (2 * 1.5**2))
    window = window / window.sum()
    score = torch.ones((), device=x.device)
    for scale in range(scales):
        if scale:
            x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
        maps = torch.cat([x, y, x * x + y * y, x * y], dim=1)
        channels = maps.shape[1]
        maps = conv2d(maps, window.view(1, 1, 11, 1).expand(channels, 1, 11, 1), groups=channels)
        maps = conv2d(maps, window.view(1, 1, 1, 11).expand(channels, 1, 1, 11), groups=channels)
        mean_x, mean_y, energy, product = maps.chunk(4, dim=1)
        product_of_means, energy_of_means = mean_x * mean_y, mean_x.square() + mean_y.square()
        similarity = (2 * (product - product_of_means) + c2) / (energy - energy_of_means + c2)
        if scale == scales - 1:
            similarity = similarity * (2 * product_of_means + c1) / (energy_of_means + c1)
        mean = similarity.mean((2, 3))
        score = score * (mean if scales == 1 else mean.relu() ** WEIGHTS[scale])
    return score.mean(1)


@functools.cache
def compiled(device: str) -> Callable[..., Tensor] | None:
    """`ssim_float32` by torch.compile, for any batch; None, said once, where that does not work."""
    call = torch.compile(ssim_float32, dynamic=True)
    frames = torch.zeros(2, 3, 32, 32, dtype=torch.uint8, device=device)
    try:
        call(frames, frames)
    except Exception as error:  # no compiler, no Triton, an unknown GPU: many kinds
        print(f"not compared: torch.compile ({type(error).__name__}: {str(error).splitlines()[0]})")
        return None
    return call


def _inner(full: Tensor) -> Tensor:
    return full[..., 5:-5, 5:-5].mean((1, 2, 3))


def _installed(peers: dict[str, tuple[str, Callable[[ModuleType], Peer]]]) -> dict[str, Peer]:
    found = {}
    for name, (path, peer) in peers.items():
        module = _module(path)
        if module is not None:
            found[f"{name} {importlib.metadata.version(name)}"] = peer(module)
    return found


@functools.cache  # asked for once, so that absence is said once
def _module(path: str) -> ModuleType | None:
    try:
        return importlib.import_module(path)
    except Exception as error:  # a peer's broken dependency must not stop the others
        print(f"not compared: {path} ({type(error).__name__}: {error})")
        return None


def _fused_ssim(checkout: Path, preds: Tensor, target: Tensor) -> Peer:
    """Of a checkout of rahul-goel/fused-ssim, built by `python setup.py build_ext --inplace`.

    Its function returns one number for the batch; its map, which that is the mean of, is public.
    """
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    similarity_map = importlib.import_module("fused_ssim").FusedSSIMMap.apply

    def call() -> Tensor:
        x, y = preds / 255, target / 255
        return similarity_map(0.01**2, 0.03**2, x, y, "valid", False).mean((1, 2, 3))

    return Peer(call, 2e-5)
