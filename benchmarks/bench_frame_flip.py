"""FLIP of uint8 frames, per frame: the fused kernel, plain torch and the authors' package.

Each provider starts from the same contiguous uint8 tensors and pays for the conversion it needs.
`flip-evaluator` is C++ with OpenMP, for the CPU and one frame at a time. Its threads are those of
OMP_NUM_THREADS when the process starts, so all use the first of `--threads`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from timing import Row, arguments, environment, measure, table, write_jsonl
from torch import Tensor
from torch.nn.functional import interpolate

from wmscore.functional import FLIP_PIXELS_PER_DEGREE
from wmscore.ops import frame_flip, kernels

SIZES = {64: 32, 128: 8, 256: 4}  # side -> frames in a call
COLUMNS = {
    "side": "d",
    "frames": "d",
    "layout": "",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "items_per_second": ",.0f",
    "extra_bytes": ",d",
    "times_kernel": ".1f",
}


def evaluator() -> Callable[[Tensor, Tensor], Tensor] | None:
    """flip-evaluator for frames [N, 3, H, W], where it is installed."""
    try:
        from flip_evaluator import evaluate
    except ImportError as error:
        print(f"skipped: flip-evaluator ({error})")
        return None

    def call(preds: Tensor, target: Tensor) -> Tensor:
        images = [(x.movedim(1, -1).contiguous().float() / 255).numpy() for x in (target, preds)]
        means = [evaluate(t, p, "LDR", applyMagma=False)[1] for t, p in zip(*images, strict=True)]
        return torch.tensor(means, dtype=torch.float64)

    return call


def providers_of(preds: Tensor, target: Tensor) -> dict[str, Callable[[], Tensor]]:
    arguments = (preds, target, FLIP_PIXELS_PER_DEGREE)
    providers: dict[str, Callable[[], Tensor]] = {
        "wmscore kernel": lambda: frame_flip(*arguments),
        "wmscore torch function": lambda: frame_flip.__wrapped__(*arguments),
    }
    call = evaluator() if preds.device.type == "cpu" else None
    if call is not None:
        providers["flip-evaluator 1.7"] = lambda: call(preds, target)
    return providers


def bench(side: int, frames: int, layout: str, device: str, rounds: int) -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(frames, 3, side // 8, side // 8, generator=generator)
    target = (255 * interpolate(coarse, size=(side, side), mode="bilinear")).round()
    noise = 10 * torch.randn(target.shape, generator=generator)
    preds = (0.95 * target + noise).round().clamp(0, 255)
    memory_format = torch.channels_last if layout == "channels last" else torch.contiguous_format
    preds, target = (
        x.to(device=device, dtype=torch.uint8, memory_format=memory_format) for x in (preds, target)
    )
    providers = providers_of(preds, target)
    expected = providers["wmscore torch function"]()
    for name, call in providers.items():  # a quick wrong answer is no result
        torch.testing.assert_close(
            call(), expected, rtol=0, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
    rows = measure(
        providers, device=device, rounds=rounds, bytes_read=2 * preds.numel(), items=frames
    )
    kernel = rows[0]["seconds"]
    case = {"benchmark": "frame_flip", "side": side, "frames": frames, "layout": layout}
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
    if device not in kernels().ops["frame_flip"]:
        print(f"no {device} kernel: 'wmscore kernel' is the torch function here")
    if os.environ.get("OMP_NUM_THREADS") != str(options.threads[0]):
        print("OMP_NUM_THREADS is not the first of --threads: flip-evaluator takes other threads")
    rows = [
        row
        for layout in ("contiguous", "channels last")
        for side, frames in SIZES.items()
        for row in bench(
            side, frames * (32 if device == "cuda" else 1), layout, device, options.rounds
        )
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
