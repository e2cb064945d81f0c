"""The axis identity_persistence: frames per second with labels, against TrackEval, and without.

With labels: every object's state, breaks and events ("object_identity"), and with what a scorer adds
to it (tracking metrics of the same rollouts, ids that change their meaning: "whole axis"). TrackEval
makes HOTA, CLEAR MOT, identity F1 and J, sequence by sequence, from the same maps. Without labels:
carried along and recognised, where the reference has label maps or its given frame alone.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

import torch
from bench_tracking import label_maps, trackeval_calls
from timing import Row, arguments, environment, measure, parser, table, thread_counts, write_jsonl

from wmscore.functional import (
    carried_identity,
    id_stability,
    identity_events,
    object_identity,
    tracking_summary,
)
from wmscore.ops import kernels
from wmscore.testing import sprite_items
from wmscore.worlds import SpriteWorld

COLUMNS = {
    "case": "",
    "rollouts": "d",
    "steps": "d",
    "shape": "",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "items_per_second": ",.0f",
    "extra_bytes": ",d",
    "ops": "d",
    "times_wmscore": ".2f",
}


def with_labels(rollouts: int, steps: int, device: str, rounds: int) -> list[Row]:
    preds, target = label_maps(rollouts, steps, device)

    def states() -> object:
        return identity_events(object_identity(preds, target))

    def axis() -> object:
        found = object_identity(preds, target)
        return (
            identity_events(found),
            tracking_summary(preds, target, preds_ids=found.ids, target_ids=found.ids),
            id_stability(preds),
            id_stability(target),
        )

    providers: dict[str, Callable[[], object]] = {"whole axis": axis, "object_identity": states}
    try:
        peer = trackeval_calls(preds, target)[False]
    except ImportError as error:
        print(f"skipped: TrackEval ({error})")
    else:
        providers[f"TrackEval {importlib.metadata.version('trackeval')}"] = peer
    return timed("with labels", providers, preds, steps, device, rounds)


def without_labels(side: int, rollouts: int, steps: int, device: str, rounds: int) -> list[Row]:
    world, items = SpriteWorld(side, side, device), sprite_items(rollouts, steps)[:rollouts]
    truth = world.rollout(items, steps)
    frames, labels = truth.frames, truth.labels
    assert labels is not None
    providers: dict[str, Callable[[], object]] = {
        "reference labels": lambda: carried_identity(
            frames, frames, labels[:, 0], target_labels=labels
        ),
        "first labels": lambda: carried_identity(frames, frames, labels[:, 0]),
    }
    return timed("without labels", providers, frames, steps, device, rounds)


def timed(
    case: str,
    providers: dict[str, Callable[[], object]],
    frames: torch.Tensor,
    steps: int,
    device: str,
    rounds: int,
) -> list[Row]:
    for call in providers.values():
        call()
    rows = measure(
        providers,
        device=device,
        rounds=rounds,
        bytes_read=2 * frames.numel(),
        items=len(frames) * steps,
    )
    base = rows[0]["seconds"]
    about = {
        "benchmark": "identity",
        "case": case,
        "rollouts": len(frames),
        "steps": steps,
        "shape": list(frames.shape),
        "dtype": "uint8",
    }
    return [
        {**about, **row, "times_wmscore": row["seconds"] / base, **environment(device)}
        for row in rows
    ]


def main() -> None:
    command = parser((__doc__ or "").splitlines()[0])
    command.add_argument("--rollouts", type=int, nargs="+", default=[1, 16, 64])
    command.add_argument("--sides", type=int, nargs="+", default=[64, 128])
    command.add_argument("--steps", type=int, default=32)
    command.set_defaults(threads=[1], rounds=5)
    options = arguments(command)
    device, steps, rounds = options.device, options.steps, options.rounds
    print(f"{environment(device)}\nkernels: {kernels()}")
    rows = []
    for _ in thread_counts(options):
        for rollouts in options.rollouts:
            rows += with_labels(rollouts, steps, device, rounds)
        for side in options.sides:
            rows += without_labels(side, 8, steps, device, rounds)
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
