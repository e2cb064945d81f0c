"""Ingest of a folder of mp4 clips: the decoder alone against what the harness adds, and scoring.

Each provider reads the same clips. `decoder` reads file after file with as many decoding threads as
cores and throws the frames away; `decoders` reads as many files at once as there are cores, each
with one thread; `ingest` is a recorded world that answers the panel's rows, batch by batch, and
`resampled` the same of clips with 3 frames for 2 of the panel's, by time. `score` scores batches
that are in memory, on the device; `one after the other` decodes a batch, then scores it;
`overlapped` decodes in the background while the batch before is scored. The clock is the wall's.

`of_decoders` is frames per second over those of `decoders` in the same round, and for the two last
rows `of_bound` is the time of the slower of `ingest` and `score` over their own: 1 is perfect where
decoding and scoring share no cores.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from timing import Row, arguments, environment, parser, table, write_jsonl
from torch import Tensor

from wmscore.episodes import ClipFolder
from wmscore.manifest import Panel
from wmscore.replay import freeze_panel, render_truth, replay
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.video import ahead, in_background, read_video, write_video
from wmscore.worlds import RecordedWorld, SpriteWorld

SIZES = ((128, 128), (360, 640))
COLUMNS = {
    "size": "",
    "clips": "d",
    "frames": "d",
    "provider": "",
    "seconds": ".2f",
    "frames_per_second": ",.0f",
    "of_decoders": ".2f",
    "of_bound": ".2f",
}


def a_panel(height: int, width: int, scenarios: int, horizon: int) -> Panel:
    names = ["noop", "left", "right", "up", "down"]
    return Panel.from_dict(
        {
            "name": "ingest",
            "contract": {
                "world": "sprites",
                "observation": {"height": height, "width": width, "fps": 10},
                "actions": {"names": names, "noop": "noop"},
                "horizon": horizon,
            },
            "scenarios": [
                {
                    "id": f"scene-{i}",
                    "initial_state_id": f"scene-{i}",
                    "reset": {"seed": i},
                    "actions": [names[(i + t // 5) % 5] for t in range(horizon)],
                }
                for i in range(scenarios)
            ],
            "axes": [{"axis": "perceptual_drift", "threshold": 0.6}],
        }
    )


def write_clips(
    folder: Path, panel: Panel, truth: Rollouts, shown: Tensor, fps: float
) -> list[Path]:
    paths = []
    for frames, s in zip(shown, truth.scenario.tolist(), strict=True):
        path = folder / f"{panel.scenarios[s].id}_0_0.mp4"
        write_video(path, frames, fps=fps, options={"crf": "20", "preset": "veryfast"})
        paths.append(path)
    return paths


def providers(
    folder: Path, panel: Panel, truth: Rollouts, batch_size: int, device: str
) -> dict[str, Callable[[], int]]:
    """Calls that return how many frames they read."""
    paths = write_clips(folder / "even", panel, truth, truth.frames, 10)
    # As long, with a frame more for every two.
    faster = (torch.arange(truth.frames.shape[1] * 3 // 2 + 1) * 2 // 3).clamp_max(
        truth.frames.shape[1] - 1
    )
    write_clips(folder / "fast", panel, truth, truth.frames[:, faster], 15)
    workers = os.cpu_count() or 1
    model = RecordedWorld(ClipFolder(folder / "even"))
    resampled = RecordedWorld(ClipFolder(folder / "fast", fps=10.0, resample=True))
    kept = list(replay(panel, model, truth, batch_size=batch_size))

    def decoder() -> int:
        return sum(len(read_video(path).frames) for path in paths)

    def decoders() -> int:
        videos = ahead(lambda path: read_video(path, threads=1), paths, workers=workers, depth=0)
        return sum(len(video.frames) for video in videos)

    def ingest(world: RecordedWorld) -> int:
        batches = replay(panel, world, truth, batch_size=batch_size)
        return sum(int(batch.valid.sum()) for batch in batches)

    def score(batches: object) -> int:
        scorer = Scorer(panel, device=device)
        count = 0
        for batch in batches:  # type: ignore[attr-defined]
            scorer.update(batch)
            count += batch.frames[:, :, 0, 0, 0].numel()
        scorer.compute()
        if device == "cuda":
            torch.cuda.synchronize()
        return count

    def stream() -> object:
        return replay(panel, model, truth, batch_size=batch_size)

    return {
        "decoder": decoder,
        "decoders": decoders,
        "ingest": lambda: ingest(model),
        "resampled": lambda: ingest(resampled),
        "score": lambda: score(kept),
        "one after the other": lambda: score(stream()),
        "overlapped": lambda: score(in_background(stream())),  # type: ignore[arg-type]
    }


def bench(
    size: tuple[int, int], clips: int, horizon: int, batch_size: int, rounds: int, device: str
) -> list[Row]:
    panel = a_panel(*size, clips, horizon)
    world = SpriteWorld(height=size[0], width=size[1])
    panel, truth = freeze_panel(panel, render_truth(panel, world), fps=10)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calls = providers(folder, panel, truth, batch_size, device)
        times: dict[str, list[float]] = {provider: [] for provider in calls}
        counts = {provider: call() for provider, call in calls.items()}
        for _ in range(rounds):
            for provider, call in calls.items():
                begin = time.perf_counter()
                call()
                times[provider].append(time.perf_counter() - begin)
    speed = {name: counts[name] / statistics.median(values) for name, values in times.items()}
    bound = max(statistics.median(times[name]) for name in ("ingest", "score"))
    rows = []
    for provider, values in times.items():
        seconds = statistics.median(values)
        both = provider in ("one after the other", "overlapped")
        rows.append(
            {
                "size": f"{size[0]}x{size[1]}",
                "clips": clips,
                "frames": counts[provider],
                "provider": provider,
                "seconds": seconds,
                "frames_per_second": speed[provider],
                "of_decoders": None
                if provider == "score"
                else statistics.median(
                    counts[provider] / a / (counts["decoders"] / b)
                    for a, b in zip(values, times["decoders"], strict=True)
                ),
                "of_bound": bound / seconds if both else None,
                "device": device,
            }
        )
    return rows


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--clips", type=int, default=16, help="per size")
    options.add_argument("--horizon", type=int, default=60)
    options.add_argument("--batch-size", type=int, default=4)
    parsed = arguments(options)
    torch.set_num_threads(parsed.threads[-1])
    about = environment(parsed.device)
    print(about)
    rows = [
        about | row
        for size in SIZES
        for row in bench(
            size,
            parsed.clips,
            parsed.horizon,
            parsed.batch_size,
            min(parsed.rounds, 5),
            parsed.device,
        )
    ]
    print(table(rows, COLUMNS))
    write_jsonl(parsed.out, rows)


if __name__ == "__main__":
    main()
