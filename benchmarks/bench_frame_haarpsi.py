"""HaarPSI of uint8 frames, per frame: the fused kernel, its torch function and piq.

Each provider starts from the same uint8 tensors and pays for the conversion it needs. Each size is
timed as its default is: halved from 128 pixels on, and both ways at 128.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial

import torch
from timing import Row, arguments, environment, measure, table, thread_counts, write_jsonl
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from wmscore.functional import haarpsi, haarpsi_name
from wmscore.ops import frame_haarpsi, kernels

# side, frames in a call, halved, layout
CASES = (
    (64, 128, False, "contiguous"),
    (128, 64, False, "contiguous"),
    (128, 64, True, "contiguous"),
    (256, 16, True, "contiguous"),
    (256, 16, True, "channels last"),
)
TOLERANCE = 2e-3  # of piq's score, whose colour matrix has other digits
COLUMNS = {
    "side": "d",
    "frames": "d",
    "score": "",
    "layout": "",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "items_per_second": ",.0f",
    "extra_bytes": ",d",
    "times_kernel": ".1f",
}


def frames_of(count: int, side: int) -> tuple[Tensor, Tensor]:
    """Frames with structure at several scales, and the same blurred and noisy."""
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(count, 3, side, side)
    for scale in (1, 4, 16):
        coarse = torch.rand(count, 3, side // scale, side // scale, generator=generator)
        target += scale * interpolate(coarse, size=side, mode="bilinear")
    target = target / target.amax()
    noise = 0.03 * torch.randn(target.shape, generator=generator)
    preds = (avg_pool2d(target, 3, 1, 1) + noise).clamp(0, 1)
    return tuple((255 * x).round().to(torch.uint8) for x in (preds, target))


def providers_of(preds: Tensor, target: Tensor, halved: bool) -> dict[str, Callable[[], Tensor]]:
    def torch_function() -> Tensor:
        return torch.cat(
            [
                frame_haarpsi.__wrapped__(p, t, halved)
                for p, t in zip(preds.split(8), target.split(8), strict=True)
            ]
        )

    providers: dict[str, Callable[[], Tensor]] = {
        "wmscore kernel": partial(haarpsi, preds, target, subsample=halved),
        "wmscore torch function": torch_function,
    }
    try:
        piq = importlib.import_module("piq")
    except ImportError as error:
        print(f"skipped: piq ({error})")
    else:
        providers[f"piq {piq.__version__}"] = lambda: piq.haarpsi(
            preds.float(), target.float(), data_range=255.0, reduction="none", subsample=halved
        )
    return providers


def bench(side: int, frames: int, halved: bool, layout: str, device: str, rounds: int) -> list[Row]:
    memory_format = torch.channels_last if layout == "channels last" else torch.contiguous_format
    preds, target = (
        x.to(device).contiguous(memory_format=memory_format) for x in frames_of(frames, side)
    )
    providers = providers_of(preds, target, halved)
    # A quick wrong answer is no result.
    sums = frame_haarpsi(preds, target, halved)
    torch.testing.assert_close(sums, providers["wmscore torch function"](), rtol=1e-5, atol=0)
    scores = providers["wmscore kernel"]()
    for name, call in providers.items():
        if name.startswith("piq"):
            torch.testing.assert_close(call().double(), scores, rtol=0, atol=TOLERANCE)
    rows = measure(
        providers, device=device, rounds=rounds, bytes_read=2 * preds.numel(), items=frames
    )
    kernel = rows[0]["seconds"]
    case = {
        "benchmark": "frame_haarpsi",
        "side": side,
        "frames": frames,
        "score": haarpsi_name(side, side, subsample=halved),
        "layout": layout,
    }
    return [
        {
            **case,
            "shape": list(preds.shape),
            "dtype": "uint8",
            **row,
            "times_kernel": row["seconds"] / kernel,
            **environment(device),
        }
        for row in rows
    ]


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    device = options.device
    print(f"{environment(device)}\nkernels: {kernels()}")
    if device not in kernels().ops["frame_haarpsi"]:
        print(f"no {device} kernel: 'wmscore kernel' is the torch function here")
    rows = [
        row
        for _ in thread_counts(options)
        for side, frames, halved, layout in CASES
        for row in bench(
            side,
            frames * (16 if device == "cuda" else 1),
            halved,
            layout,
            device,
            options.rounds,
        )
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
