"""PSNR of uint8 frames, per frame: the fused kernel, plain torch and other libraries.

Each provider starts from the same uint8 tensors and pays for the conversion it needs. "moving" is
PSNR where the reference differs from its previous frame: a patch of a quarter of the frame.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch
from timing import Row, arguments, environment, measure, table, thread_counts, write_jsonl
from torch import Tensor

from wmscore.ops import FrameErrors, frame_errors, frame_region_errors, kernels

SIZES = {64: 512, 128: 128, 256: 64}  # side -> frames in a call
PEERS = ("torchmetrics", "piq")
COLUMNS = {
    "side": "d",
    "frames": "d",
    "layout": "",
    "region": "",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "items_per_second": ",.0f",
    "extra_bytes": ",d",
    "share_of_copy": ".3f",
    "times_kernel": ".1f",
}


def psnr_of(sums: Tensor, values: int | Tensor) -> Tensor:
    squared_error = FrameErrors(*sums.unbind(-1)).squared_error.sum(-1)
    return 10 * torch.log10(255.0**2 * values / squared_error.double())


def providers_of(preds: Tensor, target: Tensor) -> dict[str, Callable[[], Tensor]]:
    values = preds[0].numel()
    providers: dict[str, Callable[[], Tensor]] = {
        "wmscore kernel": lambda: psnr_of(frame_errors(preds, target), values),
        "wmscore torch function": lambda: psnr_of(frame_errors.__wrapped__(preds, target), values),
        "torch, one line": lambda: (
            10
            * torch.log10(255.0**2 / (preds.float() - target.float()).square().mean(dim=(1, 2, 3)))
        ),
    }
    for name in PEERS:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            print(f"skipped: {name} ({error})")
            continue
        if name == "torchmetrics":
            psnr = module.functional.image.peak_signal_noise_ratio
            providers[f"torchmetrics {module.__version__}"] = lambda psnr=psnr: psnr(
                preds.float(), target.float(), data_range=255.0, reduction="none", dim=(1, 2, 3)
            )
        else:
            providers[f"piq {module.__version__}"] = lambda piq=module: piq.psnr(
                preds.float(), target.float(), data_range=255.0, reduction="none"
            )
    return providers


def moving_psnr_of(result: tuple[Tensor, Tensor]) -> Tensor:
    sums, pixels = result
    return psnr_of(sums[:, :, 0], sums.shape[1] * pixels[:, 0].double())


def moving_providers_of(
    preds: Tensor, target: Tensor, previous: Tensor
) -> dict[str, Callable[[], Tensor]]:
    def of_kernel(op: Callable[..., tuple[Tensor, Tensor]]) -> Tensor:
        return moving_psnr_of(op(preds, target, None, previous, 0.0))

    def in_torch() -> Tensor:
        moves = (target != previous).any(1, keepdim=True)
        error = (preds.float() - target.float()).square().where(moves, 0)
        mean = error.sum((1, 2, 3)) / (preds.shape[1] * moves.sum((1, 2, 3)))
        return 10 * torch.log10(255.0**2 / mean)

    providers: dict[str, Callable[[], Tensor]] = {
        "wmscore kernel": lambda: of_kernel(frame_region_errors),
        "wmscore torch function": lambda: of_kernel(frame_region_errors.__wrapped__),
        "torch, an expression": in_torch,
    }
    try:
        import torchmetrics
    except ImportError as error:
        print(f"skipped: torchmetrics ({error})")
        return providers
    psnr = torchmetrics.functional.image.peak_signal_noise_ratio

    def of_frames() -> Tensor:  # it knows no mask: the pixels of one frame at a time
        moves = (target != previous).any(1)
        return torch.stack(
            [
                psnr(p[:, moving].float(), t[:, moving].float(), data_range=255.0)
                for p, t, moving in zip(preds, target, moves, strict=True)
            ]
        )

    providers[f"torchmetrics {torchmetrics.__version__}"] = of_frames
    return providers


def bench(side: int, frames: int, layout: str, region: str, device: str, rounds: int) -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 256, (frames, 3, side, side), dtype=torch.uint8, generator=generator)
    noise = torch.randint(-20, 21, target.shape, dtype=torch.int16, generator=generator)
    preds = (target + noise).clamp_(0, 255).to(torch.uint8)
    previous = target.clone()
    previous[..., side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] += 1
    memory_format = torch.channels_last if layout == "channels last" else torch.contiguous_format
    preds, target, previous = (
        x.to(device).contiguous(memory_format=memory_format) for x in (preds, target, previous)
    )
    if region == "moving":
        providers = moving_providers_of(preds, target, previous)
    else:
        providers = providers_of(preds, target)
    expected = providers["wmscore torch function"]()
    for name, call in providers.items():  # a quick wrong answer is no result
        torch.testing.assert_close(
            call().double(),
            expected,
            rtol=0,
            atol=1e-3,
            msg=lambda text, name=name: f"{name}: {text}",
        )
    inputs = 3 if region == "moving" else 2
    rows = measure(
        providers, device=device, rounds=rounds, bytes_read=inputs * preds.numel(), items=frames
    )
    kernel = rows[0]["seconds"]
    op = "frame_region_errors" if region == "moving" else "frame_errors"
    case = {"benchmark": op, "side": side, "frames": frames, "layout": layout, "region": region}
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
    for op in ("frame_errors", "frame_region_errors"):
        if device not in kernels().ops[op]:
            print(f"no {device} kernel of {op}: 'wmscore kernel' is its torch function")
    rows = [
        row
        for region in ("whole", "moving")
        for _ in thread_counts(options)
        for layout in ("contiguous", "channels last")
        for side, frames in SIZES.items()
        for row in bench(
            side, frames * (8 if device == "cuda" else 1), layout, region, device, options.rounds
        )
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
