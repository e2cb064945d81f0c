"""Overlap, boxes and centroids of two label maps: fused kernel, torch and per-frame Python.

The maps are moving ellipses, those of the generated map a few pixels away. No library has all
of the counts, so each peer does what one would write with it: "numpy" and "scikit-image" count the
joint histogram, areas, boxes and centroids, without strays; "masks" only intersections and areas,
one pair of boolean masks at a time, as evaluations of video segmentation do (DAVIS, TrackEval).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable

import numpy as np
import torch
from timing import Row, arguments, environment, measure, table, thread_counts, write_jsonl
from torch import Tensor

from wmscore.ops import kernels, label_overlap

# (height, width) -> frames in a call
SIZES = {(64, 64): 512, (120, 160): 256, (256, 256): 64, (720, 1280): 8}
OBJECTS = (5, 60)
_DISTINCT = 16  # frames; more of them repeat these
COLUMNS = {
    "height": "d",
    "width": "d",
    "frames": "d",
    "objects": "d",
    "dtype": "",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "items_per_second": ",.0f",
    "extra_bytes": ",d",
    "share_of_copy": ".3f",
    "times_kernel": ".1f",
}
Counts = tuple[np.ndarray, np.ndarray, np.ndarray]  # joint, and [objects, 6] of target and preds


@functools.cache
def moving_ellipses(frames: int, height: int, width: int, objects: int, shift: int) -> Tensor:
    """`[1, frames, height, width]` uint8; later objects hide earlier ones."""
    generator = torch.Generator().manual_seed(0)
    centre, speed = (torch.rand(objects, 2, generator=generator) for _ in range(2))
    size = (height * width / objects) ** 0.5 * 0.45
    radius = size * (0.6 + 0.8 * torch.rand(objects, 2, generator=generator))
    y = torch.arange(height).view(-1, 1)
    x = torch.arange(width)
    labels = torch.zeros(min(frames, _DISTINCT), height, width, dtype=torch.uint8)
    for step, frame in enumerate(labels):
        place = (centre + 0.02 * step * (speed - 0.5)) % 1
        for n in range(objects):
            dy = (y - place[n, 0] * height - shift) / radius[n, 0]
            dx = (x - place[n, 1] * width + shift) / radius[n, 1]
            frame[dy.square() + dx.square() < 1] = n + 1
    return labels.repeat(-(-frames // len(labels)), 1, 1)[None, :frames].contiguous()


def shapes_of(labels: np.ndarray, objects: int) -> np.ndarray:
    """Sums of y and x and the box of each object of one frame, by numpy."""
    shapes = np.zeros((objects, 6), np.int64)
    y, x = labels.nonzero()
    name = labels[y, x].astype(np.int64) - 1
    shapes[:, 0] = np.bincount(name, y, objects)
    shapes[:, 1] = np.bincount(name, x, objects)
    first = np.full((objects, 2), 1 << 30)
    last = np.zeros((objects, 2), np.int64)
    for axis, place in enumerate((y, x)):
        np.minimum.at(first[:, axis], name, place)
        np.maximum.at(last[:, axis], name, place + 1)
    present = last[:, 0] > 0
    shapes[present, 2:4] = first[present]
    shapes[present, 4:] = last[present]
    return shapes


def joint_of(preds: np.ndarray, target: np.ndarray, objects: int) -> np.ndarray:
    pair = target.astype(np.int64) * (objects + 1) + preds
    return np.bincount(pair.ravel(), minlength=(objects + 1) ** 2).reshape(objects + 1, -1)


def by_numpy(preds: np.ndarray, target: np.ndarray, objects: int) -> list[Counts]:
    return [
        (joint_of(p, t, objects), shapes_of(t, objects), shapes_of(p, objects))
        for p, t in zip(preds, target, strict=True)
    ]


def by_skimage(preds: np.ndarray, target: np.ndarray, objects: int) -> list[Counts]:
    regionprops = importlib.import_module("skimage.measure").regionprops_table
    properties = ("label", "area", "bbox", "centroid")

    def shapes(labels: np.ndarray) -> np.ndarray:
        found = regionprops(labels, properties=properties)
        values = np.zeros((objects, 6))
        slot = found["label"] - 1
        for axis in range(2):
            values[slot, axis] = found[f"centroid-{axis}"] * found["area"]
        for column in range(4):
            values[slot, 2 + column] = found[f"bbox-{column}"]
        return values

    return [
        (joint_of(p, t, objects), shapes(t), shapes(p)) for p, t in zip(preds, target, strict=True)
    ]


def by_masks(preds: np.ndarray, target: np.ndarray, objects: int) -> list[np.ndarray]:
    """Intersections `[objects, objects]`, by pairs of masks; areas are their sums."""
    found = []
    for p, t in zip(preds, target, strict=True):
        masks = [[labels == n + 1 for n in range(objects)] for labels in (p, t)]
        areas = [[int(mask.sum()) for mask in of_map] for of_map in masks]
        shared = np.zeros((objects, objects), np.int64)
        for i in range(objects):
            for j in range(objects):
                if areas[1][i] and areas[0][j]:
                    shared[i, j] = np.logical_and(masks[1][i], masks[0][j]).sum()
        found.append(shared)
    return found


def torch_function(preds: Tensor, target: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
    """Piece by piece, as `wmscore.functional` calls it: temporaries stay in the cache of a CPU."""
    cells = preds.shape[2:].numel() + 8 * (ids.shape[1] + 1) ** 2
    size = max(1, (1 << (17 if preds.device.type == "cpu" else 19)) // cells)
    pieces = [
        label_overlap.__wrapped__(p, t, ids, ids)
        for p, t in zip(preds.split(size, 1), target.split(size, 1), strict=True)
    ]
    return tuple(torch.cat(of_result, 1) for of_result in zip(*pieces, strict=True))


def bench(
    size: tuple[int, int], frames: int, objects: int, dtype: torch.dtype, device: str, rounds: int
) -> list[Row]:
    shift = max(1, size[0] // 60)
    preds, target = (
        moving_ellipses(frames, *size, objects, by).to(device, dtype) for by in (shift, 0)
    )
    ids = torch.arange(1, objects + 1, device=device)[None]
    providers: dict[str, Callable[[], object]] = {
        "wmscore kernel": lambda: label_overlap(preds, target, ids, ids),
        "wmscore torch function": lambda: torch_function(preds, target, ids),
    }
    joint, target_shapes, preds_shapes, stray = label_overlap(preds, target, ids, ids)
    for one, other in zip(
        torch_function(preds, target, ids), (joint, target_shapes, preds_shapes, stray), strict=True
    ):  # a quick wrong answer is no result
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    if device == "cpu":
        arrays = [x[0].numpy() for x in (preds, target)]
        expected = [x[0].numpy() for x in (joint, target_shapes, preds_shapes)]
        peers: dict[str, Callable[..., list[Counts]]] = {"numpy, per frame": by_numpy}
        try:
            version = importlib.import_module("skimage").__version__
            peers[f"scikit-image {version}, per frame"] = by_skimage
        except ImportError as error:
            print(f"skipped: scikit-image ({error})")
        for name, peer in peers.items():
            for step, counts in enumerate(peer(*arrays, objects)):
                for one, other in zip(counts, expected, strict=True):
                    np.testing.assert_allclose(one, other[step], rtol=1e-9)
            providers[name] = lambda peer=peer: peer(*arrays, objects)
        some = slice(0, 1 if size[0] > 256 and objects > 5 else min(8, frames))
        for step, shared in enumerate(by_masks(arrays[0][some], arrays[1][some], objects)):
            np.testing.assert_array_equal(shared, expected[0][step, 1:, 1:])
        providers["masks, per frame"] = lambda: by_masks(arrays[0][some], arrays[1][some], objects)
    rows = measure(
        providers,
        device=device,
        rounds=rounds,
        bytes_read=2 * preds.numel() * preds.element_size(),
        items=frames,
    )
    for row in rows:
        if row["provider"].startswith("masks"):  # fewer frames, or it takes minutes
            share = frames / len(range(*some.indices(frames)))
            row["items_per_second"] /= share
            row["bytes_per_second"] /= share
            row["share_of_copy"] /= share
            row["seconds"] *= share
            row["seconds_quartiles"] = [x * share for x in row["seconds_quartiles"]]
    kernel = rows[0]["seconds"]
    case = {
        "benchmark": "label_overlap",
        "height": size[0],
        "width": size[1],
        "frames": frames,
        "objects": objects,
        "dtype": str(dtype).removeprefix("torch."),
    }
    return [
        {
            **case,
            "shape": list(preds.shape),
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
    if device not in kernels().ops["label_overlap"]:
        print(f"no {device} kernel: 'wmscore kernel' is the torch function here")
    rows = [
        row
        for _ in thread_counts(options)
        for size, frames in SIZES.items()
        for objects in OBJECTS
        for dtype in (torch.uint8, torch.int16)
        for row in bench(
            size,
            frames * (8 if device == "cuda" else 1),
            objects,
            dtype,
            device,
            options.rounds,
        )
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
