"""Block flow: fused kernel, torch function, numpy's brute force, and dense flow of libraries.

The frames are seeded noise with the spectrum of photographs, moved by a known fraction of a pixel.
Libraries find a flow for each pixel; it is averaged over each block. `median_error` is over all
blocks inside the frame (of those with a flow, `share`), in pixels.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from types import ModuleType

import numpy as np
import torch
from frames import frame_pairs
from timing import Row, arguments, environment, measure, table, thread_counts, write_jsonl
from torch import Tensor

from wmscore import functional, ops
from wmscore.ops import kernels

# Frames, side, block, radius.
CASES = [(32, 64, 8, 4), (16, 64, 8, 8), (8, 128, 16, 8), (4, 256, 8, 4)]
ON_A_GPU = 64  # times as many frames
MOVE = (1.3, -2.6)
COLUMNS = {
    "frames": "d",
    "side": "d",
    "block": "d",
    "radius": "d",
    "dtype": "",
    "threads": "d",
    "provider": "",
    "items_per_second": ",.0f",
    "share_of_copy": ".3f",
    "extra_bytes": ",d",
    "times_kernel": ".1f",
    "median_error": ".3f",
    "share": ".2f",
}


def moved_pairs(count: int, side: int) -> tuple[Tensor, Tensor]:
    """Frames `[count, 3, side, side]` uint8 and the same content moved by MOVE."""
    wide, _ = frame_pairs(count, 2 * side, 2 * side)  # cut out of larger ones: nothing wraps around
    frequency = torch.fft.fftfreq(2 * side)
    phase = -2 * torch.pi * (frequency[:, None] * MOVE[0] + frequency * MOVE[1])
    turn = torch.polar(torch.ones_like(phase), phase)
    moved = torch.fft.ifft2(torch.fft.fft2(wide.float()) * turn).real
    inner = slice(side // 2, side // 2 + side)
    return tuple(
        x.round().clamp(0, 255).byte()[..., inner, inner].contiguous() for x in (wide, moved)
    )  # type: ignore[return-value]


def by_numpy(frames: np.ndarray, following: np.ndarray, block: int, radius: int) -> np.ndarray:
    """The best displacements of blocks that stay inside the frame, all frames at a time."""
    count, _, height, width = frames.shape
    rows, columns = height // block, width // block
    best = np.full((count, rows, columns), np.iinfo(np.int64).max)
    found = np.zeros((count, rows, columns, 2), np.int64)
    y, x = np.arange(rows) * block, np.arange(columns) * block
    moves = [(dy, dx) for dy in range(-radius, radius + 1) for dx in range(-radius, radius + 1)]
    padded = np.pad(following.astype(np.int16), ((0, 0), (0, 0), (radius,) * 2, (radius,) * 2))
    for dy, dx in sorted(moves, key=lambda d: d[0] ** 2 + d[1] ** 2):
        there = padded[..., radius + dy :, radius + dx :][..., :height, :width]
        cost = np.abs(frames.astype(np.int16) - there).sum(1, dtype=np.int64)
        cost = cost.reshape(count, rows, block, columns, block).sum((2, 4))
        inside_y = (y + dy >= 0) & (y + dy + block <= height)
        inside_x = (x + dx >= 0) & (x + dx + block <= width)
        better = (cost < best) & (inside_y[:, None] & inside_x)
        best = np.where(better, cost, best)
        found[better] = dy, dx
    return found


def _module(path: str) -> ModuleType | None:
    try:
        return importlib.import_module(path)
    except ImportError as error:
        print(f"not compared: {path} ({error})")
        return None


def dense_peers(frames: Tensor, following: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Name -> a call that finds a flow (dy, dx) of each pixel, `[N, H, W, 2]`."""
    grey = [x.float().mean(1).round().byte().numpy() for x in (frames, following)]
    pairs = list(zip(*grey, strict=True))
    peers: dict[str, Callable[[], Tensor]] = {}
    cv2 = _module("cv2")
    if cv2 is not None:
        cv2.setNumThreads(torch.get_num_threads())
        version = importlib.metadata.version("opencv-python-headless")
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

        def by_dis() -> Tensor:
            flows = [dis.calc(a, b, None) for a, b in pairs]
            return torch.from_numpy(np.stack(flows)).flip(-1)

        def by_farneback() -> Tensor:
            settings = (None, 0.5, 3, 15, 3, 5, 1.2, 0)
            flows = [cv2.calcOpticalFlowFarneback(a, b, *settings) for a, b in pairs]
            return torch.from_numpy(np.stack(flows)).flip(-1)

        peers[f"OpenCV {version} DIS medium"] = by_dis
        peers[f"OpenCV {version} Farneback"] = by_farneback
    registration = _module("skimage.registration")
    if registration is not None:
        version = importlib.metadata.version("scikit-image")

        def by_ilk() -> Tensor:
            flows = [registration.optical_flow_ilk(a, b, radius=7) for a, b in pairs]
            return torch.from_numpy(np.stack(flows)).movedim(1, -1)

        peers[f"scikit-image {version} ILK"] = by_ilk
    return peers


def accuracy(flow: Tensor) -> dict[str, float]:
    """Of blocks away from the border."""
    error = (flow.double().cpu() - torch.tensor(MOVE).double()).norm(dim=-1)[:, 1:-1, 1:-1]
    return {
        "median_error": error.nanmedian().item(),
        "share": error.isfinite().double().mean().item(),
    }


def over_blocks(flow: Tensor, block: int) -> Tensor:
    return flow.unflatten(1, (-1, block)).unflatten(3, (-1, block)).mean((2, 4))


def bench(
    case: tuple[int, int, int, int], dtype: torch.dtype, device: str, rounds: int
) -> list[Row]:
    count, side, block, radius = case
    frames, following = moved_pairs(count, side)
    repeats = ON_A_GPU if device == "cuda" else 1
    scale = 1 if dtype == torch.uint8 else 255
    pair = [(x.repeat(repeats, 1, 1, 1).to(device) / scale).to(dtype) for x in (frames, following)]
    rows = [x[None] for x in pair]
    providers: dict[str, Callable[[], object]] = {
        "wmscore kernel": lambda: ops.block_flow(*rows, block, radius),
        "wmscore torch function": lambda: ops.block_flow.__wrapped__(*rows, block, radius),
        "wmscore.functional.block_flow": lambda: functional.block_flow(
            *pair, block=block, radius=radius
        ),
    }
    errors = {
        "wmscore.functional.block_flow": accuracy(
            functional.block_flow(*pair, block=block, radius=radius).flow
        )
    }
    # A quick wrong answer is no result.
    kernel, reference = providers["wmscore kernel"](), providers["wmscore torch function"]()
    for found, expected in zip(kernel, reference, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    errors["wmscore kernel"] = accuracy(kernel[0][0])
    if device == "cpu" and dtype == torch.uint8:
        arrays = [x.numpy() for x in pair]
        providers["numpy, brute force"] = lambda: by_numpy(*arrays, block, radius)
        brute = torch.from_numpy(by_numpy(*arrays, block, radius))
        margin = -(-radius // block)
        inner = slice(margin, side // block - margin)
        assert torch.equal(brute[:, inner, inner], kernel[0][0, :, inner, inner].long())
        errors["numpy, brute force"] = accuracy(brute)
        for name, call in dense_peers(frames, following).items():
            providers[name] = call
            errors[name] = accuracy(over_blocks(call(), block))
    measured = measure(
        providers,
        device=device,
        rounds=rounds,
        bytes_read=sum(x.numel() * x.element_size() for x in pair),
        items=len(pair[0]),
    )
    seconds = measured[0]["seconds"]
    of_case = {
        "benchmark": "block_flow",
        "frames": len(pair[0]),
        "side": side,
        "block": block,
        "radius": radius,
        "dtype": str(dtype).removeprefix("torch."),
    }
    return [
        {
            **of_case,
            **row,
            **errors.get(row["provider"], {}),
            "times_kernel": row["seconds"] / seconds,
            **environment(device),
        }
        for row in measured
    ]


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    device = options.device
    print(f"{environment(device)}\nkernels: {kernels()}")
    if device not in kernels().ops["block_flow"]:
        print(f"no {device} kernel: 'wmscore kernel' is the torch function here")
    rows = [
        row
        for _ in thread_counts(options)
        for case in CASES
        for dtype in (torch.uint8, torch.float32)
        for row in bench(case, dtype, device, options.rounds)
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
