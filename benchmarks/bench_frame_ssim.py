"""SSIM and MS-SSIM of uint8 frames, per frame: the fused kernel, plain torch and other libraries.

Each provider starts from the same contiguous uint8 tensors and pays for the conversion it needs.
wmscore's op gives SSIM, contrast-structure and the squared error of PSNR; the others SSIM alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from frames import frame_pairs
from peers import UNSEEN, Peer, compiled, ms_ssim_peers, ssim_float32, ssim_peers
from timing import (
    Row,
    arguments,
    environment,
    measure,
    parser,
    table,
    thread_counts,
    write_jsonl,
)
from torch import Tensor

from wmscore.functional import ms_ssim, psnr, ssim
from wmscore.ops import frame_ssim, kernels

# (height, width) -> frames in a call, on a CPU and on a GPU
SSIM_CASES = {
    (64, 64): ((1, 32, 1024), (1, 32, 1024)),
    (128, 128): ((64,), (256,)),
    (256, 256): ((1, 16, 64), (1, 16, 256)),
    (720, 1280): ((1, 4), (1, 16)),
}
MS_SSIM_CASES = {
    (64, 64): ((32,), (1024,)),
    (256, 256): ((1, 16), (1, 256)),
    (720, 1280): ((1,), (1, 16)),
}
MORE_THREADS = {(64, 32), (256, 16)}  # (height, frames) timed with every thread count
COMBINED_CASES = {(64, 64): ((32,), (1024,)), (256, 256): ((16,), (256,))}

# Multiplications and additions of a pixel: 4 moments, 11 taps in each of two directions, and the
# quotients. Scales of half the side add a third.
OPERATIONS = 4 * 2 * 11 * 2 + 24
COLUMNS = {
    "what": "",
    "size": "",
    "frames": "d",
    "threads": "d",
    "provider": "",
    "items_per_second": ",.1f",
    "times_kernel": ".1f",
    "MB_per_frame": ".2f",
    "ops": "d",
    "host_syncs": "d",
    "moved_MB_per_frame": ".2f",
    "share_of_copy": ".3f",
    "share_of_gemm": ".3f",
    "rounds": "d",
}


def ssim_providers(preds: Tensor, target: Tensor, options: Any) -> dict[str, Peer]:
    def score(op: Any) -> Tensor:
        return op(preds, target, 255.0)[:, :, 0, 0].mean(1)

    providers = {
        "wmscore kernel": Peer(lambda: score(frame_ssim), 1e-6),
        "wmscore torch function": Peer(lambda: score(frame_ssim.__wrapped__), 0.0),
        "torch, float32": Peer(lambda: ssim_float32(preds, target), 2e-5),
    }
    fused = options.compile and len(preds) > 1 and compiled(options.device)  # one is a new shape
    if fused:
        providers["torch.compile, float32"] = Peer(lambda: fused(preds, target), 2e-5)
    return providers | ssim_peers(preds, target, options.fused_ssim)


def ms_ssim_providers(preds: Tensor, target: Tensor, options: Any) -> dict[str, Peer]:
    scales = ms_ssim(preds[:1], target[:1]).scales
    providers = {"wmscore kernel": Peer(lambda: ms_ssim(preds, target).values, 1e-6)}
    if scales == 5:  # the others know no other number of scales
        providers["torch, float32"] = Peer(lambda: ssim_float32(preds, target, 5), 2e-4)
        fused = options.compile and len(preds) > 1 and compiled(options.device)
        if fused:
            providers["torch.compile, float32"] = Peer(lambda: fused(preds, target, 5), 2e-4)
        providers |= ms_ssim_peers(preds, target)
    return providers


def combined_providers(preds: Tensor, target: Tensor, options: Any) -> dict[str, Peer]:
    """PSNR and SSIM, stacked: from one pass, and from one function after the other."""

    def one_pass() -> Tensor:
        sums = frame_ssim(preds, target, 255.0)[:, :, 0]
        mean_squared_error = sums[..., 2].sum(1) / preds[0].numel()
        return torch.stack([10 * torch.log10(255.0**2 / mean_squared_error), sums[..., 0].mean(1)])

    def one_by_one() -> Tensor:
        return torch.stack([psnr(preds, target), ssim(preds, target).double()])

    return {"one pass": Peer(one_pass, 1e-6), "psnr, then ssim": Peer(one_by_one, 1e-6)}


def check(providers: dict[str, Peer], expected: Tensor) -> None:
    """A quick wrong answer is no result."""
    for name, peer in providers.items():
        torch.testing.assert_close(
            (peer.score or peer.call)().double().to(expected.device),
            expected.double(),
            rtol=0,
            atol=peer.tolerance,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def bench(
    what: str, size: tuple[int, int], frames: int, options: Any, earlier: dict[str, float]
) -> list[Row]:
    preds, target = frame_pairs(frames, *size, device=options.device)
    make = {"SSIM": ssim_providers, "MS-SSIM": ms_ssim_providers, "combined": combined_providers}
    providers = make[what](preds, target, options)
    print(f"{what}, {frames} of {size[0]} x {size[1]}", flush=True)
    for name, rate in earlier.items():
        if frames / rate > options.longest:
            print(f"  left out: {name}, about {frames / rate:.1f} s a call")
            providers.pop(name, None)
    with torch.inference_mode():
        reference = providers.get("wmscore torch function", next(iter(providers.values())))
        check(providers, reference.call())
        pixels = preds.numel() * (4 / 3 if what == "MS-SSIM" else 1)
        rows = measure(
            {name: peer.call for name, peer in providers.items()},
            device=options.device,
            rounds=options.rounds,
            bytes_read=2 * preds.numel(),
            items=frames,
            operations=pixels * OPERATIONS,
            seconds=0.15 if options.device == "cuda" else 0.3,
            round_seconds=0.005 if options.device == "cuda" else 0.02,
        )
    earlier.update({row["provider"]: row["items_per_second"] for row in rows})
    case = {"benchmark": "frame_ssim", "what": what, "size": f"{size[0]} x {size[1]}"}
    return [
        {
            **case,
            "frames": frames,
            "dtype": "uint8",
            **row,
            "times_kernel": row["seconds"] / rows[0]["seconds"],
            **_per_frame(row, frames),
            **environment(options.device),
        }
        for row in rows
    ]


def _per_frame(row: Row, frames: int) -> Row:
    extra = row["extra_bytes"]
    columns: Row = {"MB_per_frame": None if extra is None else extra / frames / 1e6}
    if row["provider"].startswith(UNSEEN):
        return columns | dict.fromkeys(["ops", "host_syncs", "bytes_moved"])
    return columns | {"moved_MB_per_frame": row["bytes_moved"] / frames / 1e6}


def cases(options: Any) -> list[tuple[str, tuple[int, int], int]]:
    every = {"SSIM": SSIM_CASES, "MS-SSIM": MS_SSIM_CASES, "combined": COMBINED_CASES}
    column = 1 if options.device == "cuda" else 0
    return [
        (what, size, frames)
        for what, sizes in every.items()
        if what in options.only
        for size, counts in sizes.items()
        for frames in counts[column]
        if options.pixels is None or size[0] * size[1] * frames <= options.pixels
    ]


def main() -> None:
    command = parser(__doc__.splitlines()[0])
    what = ["SSIM", "MS-SSIM", "combined"]
    command.add_argument("--only", nargs="+", default=what, choices=what)
    command.add_argument("--pixels", type=int, help="leave out cases with more pixels in a call")
    command.add_argument(
        "--longest", type=float, default=0.7, help="leave out who would need more seconds a call"
    )
    command.add_argument(
        "--compile",
        action="store_true",
        help="also torch.compile; needs a C++ compiler, on a GPU Triton",
    )
    command.add_argument(
        "--fused-ssim", type=Path, help="a checkout of rahul-goel/fused-ssim, built in place (CUDA)"
    )
    options = arguments(command)
    print(f"{environment(options.device)}\nkernels: {kernels()}")
    if options.device not in kernels().ops["frame_ssim"]:
        print(f"no {options.device} kernel: 'wmscore kernel' is the torch function here")
    rows = []
    for threads in thread_counts(options):
        earlier: dict[str, dict[str, float]] = {}
        for name, size, frames in cases(options):
            if threads == options.threads[0] or (size[0], frames) in MORE_THREADS:
                known = earlier.setdefault(f"{name} {size}", {})
                rows += bench(name, size, frames, options, known)
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
