"""The head of LPIPS on its real layers: the fused kernel, its torch function and the lpips package.

One call does all layers of a network: unit vectors, weighted squared difference, spatial mean, sum.
Each provider starts from the same feature maps, random with half of the values 0 as after a ReLU.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Sequence

import torch
from timing import Row, arguments, environment, measure, parser, table, thread_counts, write_jsonl
from torch import Tensor
from torch.nn.functional import conv2d

from wmscore.ops import feature_distance, feature_distance_backward, kernels

Layer = tuple[int, int]  # channels, side
LAYERS: dict[tuple[str, int], Sequence[Layer]] = {
    ("alex", 64): ((64, 15), (192, 7), (384, 3), (256, 3), (256, 3)),
    ("alex", 256): ((64, 63), (192, 31), (384, 15), (256, 15), (256, 15)),
    ("squeeze", 64): (*((64, 31), (128, 15), (256, 7), (384, 3), (384, 3), (512, 3), (512, 3)),),
    ("squeeze", 256): (
        *((64, 127), (128, 63), (256, 31), (384, 15), (384, 15), (512, 15), (512, 15)),
    ),
    ("vgg", 64): ((64, 64), (128, 32), (256, 16), (512, 8), (512, 4)),
    ("vgg", 256): ((64, 256), (128, 128), (256, 64), (512, 32), (512, 16)),
    ("embedding", 0): ((768, 1),),
    ("latents", 0): ((4, 64),),
}
# Frames in a call, on a CPU; a GPU gets as many times more.
FRAMES = {64: 32, 256: 4, 0: 512}
ON_A_GPU = 16
SHARED = 8  # generated frames to a reference frame, where targets are shared
COLUMNS = {
    "net": "",
    "pixels": "d",
    "frames": "d",
    "layout": "",
    "dtype": "",
    "shared": "d",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "items_per_second": ",.0f",
    "share_of_copy": ".2f",
    "extra_bytes": ",d",
    "times_kernel": ".1f",
}


def maps_of(
    layers: Sequence[Layer], frames: int, dtype: torch.dtype, layout: str, device: str, seed: int
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    memory_format = torch.channels_last if layout == "channels last" else torch.contiguous_format
    return [
        torch.randn(frames, channels, side, side, generator=generator)
        .relu()
        .to(device, dtype)
        .contiguous(memory_format=memory_format)
        for channels, side in layers
    ]


def eager_head(lpips: object) -> Callable[..., Tensor]:
    """The package's own forward after its network, with the functions that it calls."""

    def head(
        preds: Sequence[Tensor], target: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> Tensor:
        total = torch.zeros((), device=preds[0].device)
        for p, t, w in zip(preds, target, weights, strict=True):
            difference = (lpips.normalize_tensor(p) - lpips.normalize_tensor(t)) ** 2  # type: ignore[attr-defined]
            layer = conv2d(difference, w.to(p.dtype)[None, :, None, None])
            total = total + lpips.spatial_average(layer, keepdim=False)[:, 0]  # type: ignore[attr-defined]
        return total

    return head


def providers_of(
    preds: Sequence[Tensor],
    target: Sequence[Tensor],
    weights: Sequence[Tensor],
    index: Tensor | None,
) -> dict[str, Callable[[], Tensor]]:
    def fused() -> Tensor:
        layers = zip(preds, target, weights, strict=True)
        return torch.stack([feature_distance(p, t, index, w) for p, t, w in layers]).sum(0)

    def torch_function() -> Tensor:
        layers = zip(preds, target, weights, strict=True)
        return torch.stack(
            [feature_distance.__wrapped__(p, t, index, w) for p, t, w in layers]
        ).sum(0)

    def gradient() -> Tensor:
        ones = torch.ones(len(preds[0]), dtype=torch.float64, device=preds[0].device)
        for p, t, w in zip(preds, target, weights, strict=True):
            last, _ = feature_distance_backward(ones, p, t, index, w, of_target=False)
        return last

    providers = {
        "wmscore kernel": fused,
        "wmscore torch function": torch_function,
        "wmscore gradient of preds": gradient,
    }
    try:
        lpips = importlib.import_module("lpips")
    except ImportError as error:
        print(f"skipped: lpips ({error})")
    else:
        head = eager_head(lpips)

        def package() -> Tensor:
            # It knows no index: features that are shared are repeated first.
            rows = target if index is None else [t[index] for t in target]
            return head(preds, rows, weights)

        providers[f"lpips {importlib.metadata.version('lpips')} head"] = package
    return providers


def bench(
    net: str,
    pixels: int,
    layout: str,
    dtype: torch.dtype,
    is_shared: bool,
    device: str,
    rounds: int,
) -> list[Row]:
    layers = LAYERS[net, pixels]
    frames = FRAMES[pixels] * (ON_A_GPU if device == "cuda" else 1)
    shared = min(SHARED, frames) if is_shared else 1
    preds = maps_of(layers, frames, dtype, layout, device, 0)
    target = maps_of(layers, frames // shared, dtype, layout, device, 1)
    generator = torch.Generator().manual_seed(2)
    weights = [torch.rand(channels, generator=generator).to(device) for channels, _ in layers]
    index = torch.arange(frames, device=device) // shared if is_shared else None
    providers = providers_of(preds, target, weights, index)
    # A quick wrong answer is no result.
    expected = sum(
        feature_distance.__wrapped__(p.double(), t.double(), index, w)
        for p, t, w in zip(preds, target, weights, strict=True)
    )
    for name, call in providers.items():
        if "gradient" not in name:
            tolerance = 1e-5 if dtype == torch.float32 or name.startswith("wmscore") else 1e-2
            torch.testing.assert_close(call().double(), expected, rtol=tolerance, atol=0)
    providers["wmscore gradient of preds"]()
    rows = measure(
        providers,
        device=device,
        rounds=rounds,
        bytes_read=sum(x.numel() * x.element_size() for x in (*preds, *target)),
        items=frames,
    )
    kernel = rows[0]["seconds"]
    case = {
        "benchmark": "feature_distance",
        "net": net,
        "pixels": pixels,
        "frames": frames,
        "layout": layout,
        "shared": shared,
        "shape": [list(x.shape) for x in preds],
        "dtype": str(dtype).removeprefix("torch."),
    }
    return [
        {**case, **row, "times_kernel": row["seconds"] / kernel, **environment(device)}
        for row in rows
    ]


def main() -> None:
    command = parser(__doc__.splitlines()[0])
    nets = sorted({net for net, _ in LAYERS})
    command.add_argument("--only", nargs="+", default=nets, choices=nets)
    options = arguments(command)
    device = options.device
    print(f"{environment(device)}\nkernels: {kernels()}")
    if device not in kernels().ops["feature_distance"]:
        print(f"no {device} kernel: 'wmscore kernel' is the torch function here")
    dtypes = [torch.float32, torch.float16] if device == "cuda" else [torch.float32]
    rows = [
        row
        for _ in thread_counts(options)
        for net, pixels in LAYERS
        if net in options.only
        for layout in ("channels last", "contiguous")
        for dtype in dtypes
        for is_shared in ((False, True) if layout == "channels last" else (False,))
        for row in bench(net, pixels, layout, dtype, is_shared, device, options.rounds)
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
