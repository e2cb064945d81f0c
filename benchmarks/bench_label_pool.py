"""Mean features of objects: the fused kernel, its torch function, one-hot masks, index_add, scipy.

Each provider starts from the same features, label maps and ids; masks and other dtypes that it
needs are its own business. Labels are discs on a background that is no object.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable

import torch
from timing import Row, arguments, environment, measure, parser, table, thread_counts, write_jsonl
from torch import Tensor
from torch.nn.functional import avg_pool2d

from wmscore.ops import kernels, label_pool

# What is pooled: channels, side of its cells, side of the labels, dtype.
CASES: dict[str, tuple[int, int, int, torch.dtype]] = {
    "rgb 64": (3, 64, 64, torch.uint8),
    "rgb 256": (3, 256, 256, torch.uint8),
    "hand-made 16 x 128": (16, 128, 128, torch.float32),
    "stride 8 of 256": (256, 32, 256, torch.float32),
    "patches 14 of 224": (384, 16, 224, torch.float16),
}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
IDS = 8
FRAMES = 32  # in a call, on a CPU; a GPU gets as many times more
ON_A_GPU = 8
COLUMNS = {
    "case": "",
    "frames": "d",
    "layout": "",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "items_per_second": ",.0f",
    "share_of_copy": ".2f",
    "extra_bytes": ",d",
    "times_kernel": ".1f",
}


def discs(frames: int, side: int) -> Tensor:
    """uint8 `[frames, side, side]`: objects 1..IDS, each with about a twentieth of the frame."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    labels = torch.zeros(frames, side, side, dtype=torch.uint8)
    for i in range(1, IDS + 1):
        centres = torch.rand(2, frames, 1, 1, generator=generator) * side
        inside = (y - centres[0]).square() + (x - centres[1]).square() < (side / 8) ** 2
        labels = labels.where(~inside, i)
    return labels


def one_hot(features: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
    """A mask for each object, as much smaller as the features are, and one matrix product."""
    masks = (labels[:, None] == ids[:, :, None, None]).float()
    counts = masks.sum((2, 3))
    stride = labels.shape[-1] // features.shape[-1]
    weights = avg_pool2d(masks, stride, divisor_override=1) if stride > 1 else masks
    sums = torch.einsum("fnp,fcp->fnc", weights.flatten(2), features.flatten(2).float())
    return sums / counts[..., None]


def by_index_add(features: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
    """Rows of features, one for each pixel, added to their object's."""
    frames, channels = features.shape[:2]
    stride = labels.shape[-1] // features.shape[-1]
    slots = torch.zeros(256, dtype=torch.int64, device=ids.device)
    slots[ids[0]] = torch.arange(1, IDS + 1, device=ids.device)
    place = slots[labels.long()] + torch.arange(frames, device=ids.device)[:, None, None] * (
        IDS + 1
    )
    large = features.repeat_interleave(stride, 2).repeat_interleave(stride, 3)
    rows = large.movedim(1, -1).reshape(-1, channels).float()
    sums = rows.new_zeros(frames * (IDS + 1), channels).index_add(0, place.flatten(), rows)
    counts = place.flatten().bincount(minlength=len(sums))
    return (sums / counts[:, None]).reshape(frames, IDS + 1, channels)[:, 1:]


def providers_of(features: Tensor, labels: Tensor, ids: Tensor) -> dict[str, Callable[[], Tensor]]:
    providers = {
        "wmscore kernel": lambda: label_pool(features, labels, ids)[0],
        "wmscore torch function": lambda: label_pool.__wrapped__(features, labels, ids)[0],
        "one-hot masks": lambda: one_hot(features, labels, ids),
        "index_add": lambda: by_index_add(features, labels, ids),
    }
    if features.device.type == "cpu" and features.shape[1] == 3:
        try:
            ndimage = importlib.import_module("scipy.ndimage")
        except ImportError as error:
            print(f"skipped: scipy ({error})")
        else:
            wanted = ids[0].numpy()

            def scipy() -> Tensor:
                means = [
                    [ndimage.mean(plane, own, wanted) for plane in frame]
                    for frame, own in zip(features.numpy(), labels.numpy(), strict=True)
                ]
                return torch.tensor(means).mT

            providers[f"scipy {importlib.metadata.version('scipy')}"] = scipy
    return providers


def bench(name: str, layout: str, device: str, rounds: int) -> list[Row]:
    channels, side, label_side, dtype = CASES[name]
    frames = FRAMES * (ON_A_GPU if device == "cuda" else 1)
    generator = torch.Generator().manual_seed(1)
    features = torch.rand(frames, channels, side, side, generator=generator) * 255
    features = features.to(device, dtype).contiguous(memory_format=LAYOUTS[layout])
    labels = discs(frames, label_side).to(device)
    ids = torch.arange(1, IDS + 1, device=device).expand(frames, -1)
    providers = providers_of(features, labels, ids)
    # A quick wrong answer is no result.
    expected = label_pool.__wrapped__(features.double(), labels, ids)[0]
    for call in providers.values():
        torch.testing.assert_close(call().double(), expected, rtol=1e-4, atol=0, equal_nan=True)
    rows = measure(
        providers,
        device=device,
        rounds=rounds,
        bytes_read=sum(x.numel() * x.element_size() for x in (features, labels)),
        items=frames,
    )
    kernel = rows[0]["seconds"]
    case = {
        "benchmark": "label_pool",
        "case": name,
        "frames": frames,
        "layout": layout,
        "shape": [list(features.shape), list(labels.shape)],
        "dtype": str(dtype).removeprefix("torch."),
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
    if device not in kernels().ops["label_pool"]:
        print(f"no {device} kernel: 'wmscore kernel' is the torch function here")
    rows = [
        row
        for _ in thread_counts(options)
        for name in options.only
        for layout in LAYOUTS
        for row in bench(name, layout, device, options.rounds)
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
