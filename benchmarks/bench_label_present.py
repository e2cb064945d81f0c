"""Ids of label maps: fused kernel, torch and numpy's unique.

The maps are moving ellipses, and noise, in which each pixel differs from the one before it: the
most that the kernel, which works by runs, can have to do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from bench_label_overlap import moving_ellipses
from timing import Row, arguments, environment, measure, table, thread_counts, write_jsonl
from torch import Tensor

from wmscore.ops import kernels, label_present

# (rows, steps, height, width) of a call
SIZES = [(16, 32, 64, 64), (64, 32, 120, 160), (1, 64, 256, 256), (2, 4, 720, 1280)]
OBJECTS = 20
COLUMNS = {
    "rows": "d",
    "steps": "d",
    "height": "d",
    "width": "d",
    "content": "",
    "dtype": "",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "items_per_second": ",.0f",
    "extra_bytes": ",d",
    "share_of_copy": ".3f",
    "times_kernel": ".1f",
}


def labels_of(content: str, size: tuple[int, int, int, int], dtype: torch.dtype) -> Tensor:
    rows, steps, height, width = size
    if content == "ellipses":
        labels = moving_ellipses(rows * steps, height, width, OBJECTS, 0)
        return labels.view(size).to(dtype)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8).to(dtype)


def torch_function(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Piece by piece, as `wmscore.functional` calls it: temporaries stay in the cache of a CPU."""
    frame = labels.shape[2:].numel()
    frames = max(1, (1 << (17 if labels.device.type == "cpu" else 19)) // frame)
    rows, steps = max(1, frames // labels.shape[1]), min(frames, labels.shape[1])
    found = []
    for block in labels.split(rows):
        pieces = [label_present.__wrapped__(piece) for piece in block.split(steps, 1)]
        present = torch.stack([piece[0] for piece in pieces]).any(0)
        extremes = torch.stack([piece[1] for piece in pieces])
        low, high = extremes[..., 0].amin(0), extremes[..., 1].amax(0)
        found.append((present, torch.stack([low, high], 1)))
    present, extremes = (torch.cat(of_result) for of_result in zip(*found, strict=True))
    return present, extremes


def by_numpy(labels: np.ndarray) -> list[np.ndarray]:
    return [np.unique(row) for row in labels]


def bench(
    size: tuple[int, int, int, int], content: str, dtype: torch.dtype, device: str, rounds: int
) -> list[Row]:
    labels = labels_of(content, size, dtype).to(device)
    providers: dict[str, Callable[[], object]] = {
        "wmscore kernel": lambda: label_present(labels),
        "wmscore torch function": lambda: torch_function(labels),
    }
    present, extremes = label_present(labels)
    for one, other in zip(torch_function(labels), (present, extremes), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)  # a quick wrong answer is no result
    if device == "cpu":
        array = labels.numpy()
        for row, ids in enumerate(by_numpy(array)):
            assert present[row].nonzero()[:, 0].tolist() == ids[ids > 0].tolist()
        providers["numpy.unique, per row"] = lambda: by_numpy(array)
    rows = measure(
        providers,
        device=device,
        rounds=rounds,
        bytes_read=labels.numel() * labels.element_size(),
        items=size[0] * size[1],
    )
    case = {
        "benchmark": "label_present",
        **dict(zip(("rows", "steps", "height", "width"), size, strict=True)),
        "content": content,
        "dtype": str(dtype).removeprefix("torch."),
    }
    return [
        {
            **case,
            "shape": list(size),
            **row,
            "times_kernel": row["seconds"] / rows[0]["seconds"],
            **environment(device),
        }
        for row in rows
    ]


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    device = options.device
    print(f"{environment(device)}\nkernels: {kernels()}")
    if device not in kernels().ops["label_present"]:
        print(f"no {device} kernel: 'wmscore kernel' is the torch function here")
    rows = [
        row
        for _ in thread_counts(options)
        for size in SIZES
        for content in ("ellipses", "noise")
        for dtype in (torch.uint8, torch.int16, torch.int64)
        for row in bench(size, content, dtype, device, options.rounds)
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
