"""Reference-free quality of uint8 frames: the fused kernel, and torch in one pass per statistic.

With `previous` each frame is also compared with another one. No library has these statistics in one
function, so the peer is what one would write with torch; `frame_errors`, which also reads two
frames, says how far the kernel is from the speed of memory. It computes something else and is not
compared.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from timing import Row, arguments, environment, measure, table, thread_counts, write_jsonl
from torch import Tensor

from wmscore.ops import QualitySums, frame_errors, frame_quality, kernels

SIZES = {64: 512, 128: 128, 256: 64}  # side -> frames in a call
COLUMNS = {
    "side": "d",
    "frames": "d",
    "layout": "",
    "previous": "",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "items_per_second": ",.0f",
    "extra_bytes": ",d",
    "share_of_copy": ".3f",
    "times_kernel": ".1f",
}


def plain(frames: Tensor, previous: Tensor | None) -> Tensor:
    """The columns of frame_quality in float32, as a few lines of torch."""
    x = frames.float()
    red, green, blue = x.unbind(1)
    luma = 77 * red + 150 * green + 29 * blue
    across, down = luma.diff(dim=2), luma.diff(dim=1)
    laplacian = across[:, 1:-1].diff(dim=2) + down[:, :, 1:-1].diff(dim=1)
    across_size, down_size = across.abs(), down.abs()
    border = across_size[:, :, 7::8].sum((1, 2)) + down_size[:, 7::8].sum((1, 2))
    change = torch.zeros_like(x[:, :1]) if previous is None else x - previous.float()
    columns = QualitySums(
        *x.sum((2, 3)).unbind(1),
        *(x * x).sum((2, 3)).unbind(1),
        *(x * x.roll(-1, 1)).sum((2, 3)).unbind(1),
        (x.amax(1) - x.amin(1)).sum((1, 2)),
        (frames == 0).sum((1, 2, 3)),
        (frames == 255).sum((1, 2, 3)),
        across.square().sum((1, 2)) + down.square().sum((1, 2)),
        laplacian.square().sum((1, 2)),
        border,
        across_size.sum((1, 2)) + down_size.sum((1, 2)) - border,
        change.abs().sum((1, 2, 3)),
        change.square().sum((1, 2, 3)),
    )
    return torch.stack([column.double() for column in columns], -1)


def bench(
    side: int, frames: int, layout: str, has_previous: bool, device: str, rounds: int
) -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    shape = (frames, 3, side, side)
    pair = [
        torch.randint(-20, 276, shape, generator=generator).clamp_(0, 255).to(torch.uint8)
        for _ in range(2)
    ]
    memory_format = torch.channels_last if layout == "channels last" else torch.contiguous_format
    given, other = (x.to(device).contiguous(memory_format=memory_format) for x in pair)
    previous = other if has_previous else None
    providers: dict[str, Callable[[], Tensor]] = {
        "wmscore kernel": lambda: frame_quality(given, previous),
        "wmscore torch function": lambda: frame_quality.__wrapped__(given, previous),
        "torch, float32": lambda: plain(given, previous),
    }
    expected = providers["wmscore torch function"]()
    for name, call in providers.items():  # a quick wrong answer is no result
        torch.testing.assert_close(
            call().double(),
            expected.double(),
            rtol=0 if name == "wmscore kernel" else 1e-5,
            atol=0,
            msg=lambda text, name=name: f"{name}: {text}",
        )
    if has_previous:
        providers["frame_errors kernel"] = lambda: frame_errors(given, other)
    rows = measure(
        providers,
        device=device,
        rounds=rounds,
        bytes_read=given.numel() * (2 if has_previous else 1),
        items=frames,
    )
    kernel = rows[0]["seconds"]
    case = {
        "benchmark": "frame_quality",
        "side": side,
        "frames": frames,
        "layout": layout,
        "previous": "yes" if has_previous else "no",
    }
    return [
        {
            **case,
            "shape": list(shape),
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
    if device not in kernels().ops["frame_quality"]:
        print(f"no {device} kernel: 'wmscore kernel' is the torch function here")
    rows = [
        row
        for _ in thread_counts(options)
        for layout in ("contiguous", "channels last")
        for has_previous in (False, True)
        for side, frames in SIZES.items()
        for row in bench(
            side,
            frames * (8 if device == "cuda" else 1),
            layout,
            has_previous,
            device,
            options.rounds,
        )
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
