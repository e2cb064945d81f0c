"""Writes LeRobot v3 data sets with pyarrow and PyAV, as lerobot 0.6 lays them out."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["write_images", "write_lerobot"]


def write_lerobot(
    root: Path,
    films: Sequence[np.ndarray],
    scripts: Sequence[np.ndarray],
    *,
    fps: int = 10,
    cameras: Sequence[str] = ("observation.images.top",),
    per_file: int = 2,
    images: bool = False,
    codec: str = "libsvtav1",
    names: Any = ("x", "y"),
    **info: Any,
) -> None:
    """`per_file` episodes in each table and video; several cameras show the film brighter."""
    (root / "meta" / "episodes" / "chunk-000").mkdir(parents=True)
    height, width = films[0].shape[1:3]
    features: dict[str, Any] = {
        "action": {"dtype": "float32", "shape": [scripts[0].shape[1]], "names": names},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        "frame_index": {"dtype": "int64", "shape": [1], "names": None},
        "episode_index": {"dtype": "int64", "shape": [1], "names": None},
        "task_index": {"dtype": "int64", "shape": [1], "names": None},
        "reward": {"dtype": "float32", "shape": [1], "names": None},
    }
    for camera in cameras:
        features[camera] = {
            "dtype": "image" if images else "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
        }
    rows, index = [], 0
    for first in range(0, len(films), per_file):
        file_index = first // per_file
        chunk = range(first, min(first + per_file, len(films)))
        table: dict[str, list[Any]] = {name: [] for name in features if images or "." not in name}
        clock = 0
        for episode in chunk:
            length = len(films[episode])
            row: dict[str, Any] = {
                "episode_index": episode,
                "tasks": [f"task {episode}"] if episode != 1 else ["push", "pull"],
                "length": length,
                "dataset_from_index": index,
                "dataset_to_index": index + length,
                "data/chunk_index": 0,
                "data/file_index": file_index,
                "stats/action/mean": [0.0, 0.0],
            }
            for camera in () if images else cameras:
                row[f"videos/{camera}/chunk_index"] = 0
                row[f"videos/{camera}/file_index"] = file_index
                row[f"videos/{camera}/from_timestamp"] = clock / fps
                row[f"videos/{camera}/to_timestamp"] = (clock + length) / fps
            rows.append(row)
            table["action"] += scripts[episode].tolist()
            table["timestamp"] += [t / fps for t in range(length)]
            table["frame_index"] += range(length)
            table["episode_index"] += [episode] * length
            table["task_index"] += [0] * length
            table["reward"] += [float(t) for t in range(length)]
            for camera in cameras if images else ():
                table[camera] += write_images(films[episode])
            index, clock = index + length, clock + length
        path = root / f"data/chunk-000/file-{file_index:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(table), path)
        for number, camera in enumerate(() if images else cameras):
            path = root / f"videos/{camera}/chunk-000/file-{file_index:03d}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = np.concatenate([films[episode] for episode in chunk])
            write_mp4(path, whole + np.uint8(10 * number), fps, codec)
    pq.write_table(pa.Table.from_pylist(rows), root / "meta/episodes/chunk-000/file-000.parquet")
    about = {
        "codebase_version": "v3.0",
        "fps": fps,
        "total_episodes": len(films),
        "features": features,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None
        if images
        else "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    (root / "meta/info.json").write_text(json.dumps(about | info))


def write_mp4(path: Path, images: np.ndarray, fps: int, codec: str) -> None:
    """Encode with PyAV alone, a key frame every second frame as lerobot does."""
    import av

    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=Fraction(fps))
        stream.height, stream.width, stream.pix_fmt = *images.shape[1:3], "yuv420p"
        stream.options = {"g": "2", "crf": "20"}
        if codec == "libsvtav1":
            stream.options |= {"preset": "12", "svtav1-params": "lp=1"}
        for image in images:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode())


def write_images(images: np.ndarray, kind: str = "PNG") -> list[dict[str, Any]]:
    """Cells of an image column."""
    from PIL import Image

    cells = []
    for number, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image).save(file, format=kind)
        cells.append({"bytes": file.getvalue(), "path": f"frame-{number:06d}.png"})
    return cells
