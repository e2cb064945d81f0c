"""Tracking summaries of label maps: all rollouts at once, and TrackEval sequence by sequence.

Each starts from the same label maps [B, T, H, W] and ends with HOTA, CLEAR MOT, identity F1 and
region J of each rollout, the boundary F too where it says so. TrackEval pays for what its data sets
do: run-length masks of the objects of each frame and their IoU, by pycocotools in C.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from timing import Row, arguments, environment, measure, parser, table, thread_counts, write_jsonl
from torch import Tensor

from wmscore.functional.tracking import (
    clear,
    hota,
    identity_f1,
    tracking_summary,
)
from wmscore.functional.tracking._labels import label_tracks
from wmscore.ops import kernels

OBJECTS = 6
HEIGHT, WIDTH = 120, 160
COLUMNS = {
    "rollouts": "d",
    "steps": "d",
    "threads": "d",
    "boundary": "",
    "provider": "",
    "seconds": ".3e",
    "items_per_second": ",.0f",
    "extra_bytes": ",d",
    "ops": "d",
    "times_wmscore": ".1f",
}


def label_maps(rollouts: int, steps: int, device: str) -> tuple[Tensor, Tensor]:
    """Moving discs that occlude each other, and generated ones that drift, vanish and swap."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    target = np.zeros((rollouts, steps, HEIGHT, WIDTH), dtype=np.uint8)
    preds = np.zeros_like(target)
    for rollout in range(rollouts):
        place = generator.random((OBJECTS, 2)) * (HEIGHT, WIDTH)
        speed = generator.normal(size=(OBJECTS, 2)) * 2
        radius = generator.integers(8, 20, OBJECTS)
        drift = generator.normal(size=(OBJECTS, 2)) * 0.2
        name = np.arange(OBJECTS)
        for step in range(steps):
            place = place + speed
            for k in range(OBJECTS):
                for maps, offset, label in ((target, 0, k), (preds, drift[k] * step, name[k])):
                    top, left = (place[k] + offset) % (HEIGHT, WIDTH)
                    disc = (y - top) ** 2 + (x - left) ** 2 < radius[k] ** 2
                    maps[rollout, step][disc] = label + 1
            if generator.random() < 0.05:
                swapped = generator.choice(OBJECTS, 2, replace=False)
                name[swapped] = name[swapped[::-1]]
        preds[rollout, generator.random(steps) < 0.05] = 0
    return torch.from_numpy(preds).to(device), torch.from_numpy(target).to(device)


def trackeval_calls(preds: Tensor, target: Tensor) -> dict[bool, Callable[[], list[list[float]]]]:
    """TrackEval's loop over sequences, with the boundary F and without."""
    trackeval = importlib.import_module("trackeval")
    mask_utils = importlib.import_module("pycocotools.mask")
    iou_of = trackeval.datasets._base_dataset._BaseDataset._calculate_mask_ious
    metrics = trackeval.metrics
    options = {"PRINT_CONFIG": False}
    hota_of, clear_of, identity_of = (
        metrics.HOTA(),
        metrics.CLEAR(options),
        metrics.Identity(options),
    )
    regions_of = metrics.JAndF()

    class RegionsOnly(metrics.JAndF):  # type: ignore[misc, name-defined]
        @staticmethod
        def _compute_f(gt_data: list[Any], *_: Any) -> np.ndarray:
            return np.zeros(len(gt_data))

    def detections(labels: np.ndarray) -> tuple[list[np.ndarray], list[Any], int]:
        names = np.unique(labels)
        names = names[names > 0]
        ids, masks = [], []
        for frame in labels:
            present = np.intersect1d(frame, names)
            ids.append(np.searchsorted(names, present))
            stacked = np.asfortranarray((frame[..., None] == present).astype(np.uint8))
            masks.append(mask_utils.encode(stacked))
        return ids, masks, len(names)

    def sequence(preds: np.ndarray, target: np.ndarray) -> dict[str, Any]:
        gt_ids, gt_dets, num_gt_ids = detections(target)
        tracker_ids, tracker_dets, num_tracker_ids = detections(preds)
        return {
            "num_timesteps": len(target),
            "num_gt_ids": num_gt_ids,
            "num_tracker_ids": num_tracker_ids,
            "num_gt_dets": sum(map(len, gt_ids)),
            "num_tracker_dets": sum(map(len, tracker_ids)),
            "gt_ids": gt_ids,
            "tracker_ids": tracker_ids,
            "gt_dets": gt_dets,
            "tracker_dets": tracker_dets,
            "similarity_scores": [
                iou_of(*pair, is_encoded=True) for pair in zip(gt_dets, tracker_dets, strict=True)
            ],
        }

    def call(regions: Any) -> list[list[float]]:
        scores = []
        with contextlib.redirect_stdout(io.StringIO()):
            for rows in zip(preds.cpu().numpy(), target.cpu().numpy(), strict=True):
                data = sequence(*rows)
                of_hota = hota_of.eval_sequence(data)
                of_clear = clear_of.eval_sequence(data)
                of_identity = identity_of.eval_sequence(data)
                of_regions = regions.eval_sequence(data)
                scores.append(
                    [
                        float(of_hota["HOTA"].mean()),
                        float(of_clear["MOTA"]),
                        float(of_identity["IDF1"]),
                        float(of_regions["J-Mean"]),
                        float(of_regions["F-Mean"]),
                    ]
                )
        return scores

    return {True: lambda: call(regions_of), False: lambda: call(RegionsOnly())}


def bench(rollouts: int, steps: int, boundary: bool, device: str, rounds: int) -> list[Row]:
    preds, target = label_maps(rollouts, steps, device)
    ids = torch.arange(1, OBJECTS + 1, device=device).expand(rollouts, -1)
    tracks = label_tracks(preds, target, None, ids, ids)
    overlaps = tracks.iou, tracks.target_present, tracks.preds_present

    def summary() -> Any:
        return tracking_summary(preds, target, preds_ids=ids, target_ids=ids, boundary=boundary)

    providers: dict[str, Callable[[], object]] = {"wmscore": summary}
    if not boundary:
        providers["wmscore from IoU, without reading the labels"] = lambda: (
            hota(*overlaps),
            clear(*overlaps),
            identity_f1(*overlaps),
        )
    try:
        calls = trackeval_calls(preds, target)
    except ImportError as error:
        print(f"skipped: TrackEval ({error})")
    else:
        # A quick wrong answer is no result.
        found = summary()
        columns = [
            found.hota.mean.hota,
            found.clear.mota,
            found.identity.idf1,
            found.regions.mean_j,
            found.regions.mean_f if boundary else torch.zeros(rollouts),
        ]
        expected = torch.tensor(calls[boundary](), dtype=torch.float64)
        stacked = torch.stack([column.double().cpu() for column in columns], 1)
        torch.testing.assert_close(stacked, expected, rtol=0, atol=1e-9)
        providers[f"TrackEval {importlib.metadata.version('trackeval')}"] = calls[boundary]
    for call in providers.values():
        call()
    rows = measure(
        providers,
        device=device,
        rounds=rounds,
        bytes_read=preds.numel() + target.numel(),
        items=rollouts * steps,
    )
    case = {
        "benchmark": "tracking",
        "rollouts": rollouts,
        "steps": steps,
        "shape": list(preds.shape),
        "dtype": "uint8",
        "boundary": boundary,
    }
    base = rows[0]["seconds"]
    return [
        {**case, **row, "times_wmscore": row["seconds"] / base, **environment(device)}
        for row in rows
    ]


def main() -> None:
    command = parser(__doc__.splitlines()[0])
    command.add_argument("--rollouts", type=int, nargs="+", default=[1, 16])
    command.add_argument("--steps", type=int, default=32)
    options = arguments(command)
    device = options.device
    print(f"{environment(device)}\nkernels: {kernels()}")
    rows = [
        row
        for _ in thread_counts(options)
        for rollouts in options.rollouts
        for boundary in (False, True)
        for row in bench(rollouts, options.steps, boundary, device, options.rounds)
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
