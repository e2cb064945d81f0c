"""Labels carried by likeness of features: the fused kernel, its torch function, DINO's formulation.

DINO's is that of its eval_video_segmentation: the affinity of all positions with all, a mask, what
topk leaves, one matrix product; one item at a time, the mask made once beforehand.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from timing import Row, arguments, environment, measure, parser, table, thread_counts, write_jsonl
from torch import Tensor
from torch.nn.functional import normalize

from wmscore.ops import kernels, label_propagate

# Channels, side, frames of memory, labels, radius.
CASES: dict[str, tuple[int, int, int, int, int]] = {
    "hand-made 16 x 32": (16, 32, 2, 8, 4),
    "hand-made 24 x 64": (24, 64, 4, 8, 6),
    "hand-made 24 x 96": (24, 96, 4, 16, 8),
    "patches 384 x 16": (384, 16, 8, 8, 4),
    "patches 384 x 28": (384, 28, 8, 8, 6),
    "patches 384 x 60": (384, 60, 8, 4, 12),  # of a frame of 480 pixels, by 8; DINO's settings
}
TOPK, TEMPERATURE = 5, 0.1
ON_A_GPU = 32  # items in a call; one on a CPU
COLUMNS = {
    "case": "",
    "memory": "d",
    "radius": "d",
    "items": "d",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "items_per_second": ",.1f",
    "share_of_gemm": ".2f",
    "extra_bytes": ",d",
    "times_kernel": ".1f",
}


def neighbourhood(side: int, radius: int, device: str) -> Tensor:
    """Which positions see which, `[side ** 2, side ** 2]`, of zeros and ones."""
    place = torch.arange(side, device=device)
    near = ((place[:, None] - place).abs() <= radius).float()
    return torch.kron(near, near)


def as_dino(query: Tensor, memory: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    carried = []
    for now, before, theirs in zip(query, memory, labels, strict=True):
        targets = normalize(now.flatten(1).T, dim=1).expand(len(before), -1, -1)
        sources = normalize(before.flatten(2), dim=1)
        affinity = torch.exp(torch.bmm(targets, sources) / TEMPERATURE)
        affinity *= mask
        affinity = affinity.transpose(2, 1).reshape(-1, mask.shape[0])  # sources, targets
        least = torch.topk(affinity, dim=0, k=TOPK).values.min(dim=0).values
        affinity[affinity < least] = 0
        affinity = affinity / affinity.sum(0, keepdim=True)
        every = theirs.flatten(2).transpose(0, 1).flatten(1)
        carried.append(torch.mm(every, affinity).reshape(-1, *now.shape[1:]))
    return torch.stack(carried)


def providers_of(
    query: Tensor, memory: Tensor, labels: Tensor, radius: int
) -> dict[str, Callable[[], Tensor]]:
    arguments = query, memory, labels, radius, TOPK, TEMPERATURE
    mask = neighbourhood(query.shape[-1], radius, query.device.type)
    return {
        "wmscore kernel": lambda: label_propagate(*arguments)[0],
        "wmscore torch function": lambda: label_propagate.__wrapped__(*arguments)[0],
        "DINO": lambda: as_dino(query, memory, labels, mask),
    }


def bench(name: str, device: str, rounds: int) -> list[Row]:
    channels, side, memories, classes, radius = CASES[name]
    items = ON_A_GPU if device == "cuda" else 1
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    query = normal(items, channels, side, side)
    # Frames that are alike, as those of a video are.
    memory = query[:, None] + 0.5 * normal(items, memories, channels, side, side)
    labels = normal(items, memories, classes, side, side).softmax(2)
    providers = providers_of(query, memory, labels, radius)
    # A quick wrong answer is no result. Where two cosines are equal but for rounding, others are
    # chosen.
    expected = providers["wmscore torch function"]()
    for call in providers.values():
        wrong = (call() - expected).abs().amax(1) > 1e-4
        assert wrong.double().mean() < 1e-3
    places = [min(side, x + radius + 1) - max(0, x - radius) for x in range(side)]
    rows = measure(
        providers,
        device=device,
        rounds=rounds,
        bytes_read=sum(x.numel() * x.element_size() for x in (query, memory, labels)),
        items=items,
        operations=2 * items * memories * channels * sum(places) ** 2,
    )
    kernel = rows[0]["seconds"]
    case = {
        "benchmark": "label_propagate",
        "case": name,
        "memory": memories,
        "radius": radius,
        "items": items,
        "shape": [list(x.shape) for x in (query, memory, labels)],
        "dtype": "float32",
    }
    return [
        {**case, **row, "times_kernel": row["seconds"] / kernel, **environment(device)}
        for row in rows
    ]


def main() -> None:
    command = parser(__doc__.splitlines()[0])
    command.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    options = arguments(command)
    device = options.device
    print(f"{environment(device)}\nkernels: {kernels()}")
    if device not in kernels().ops["label_propagate"]:
        print(f"no {device} kernel: 'wmscore kernel' is the torch function here")
    rows = [
        row
        for _ in thread_counts(options)
        for name in options.only
        for row in bench(name, device, options.rounds)
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
