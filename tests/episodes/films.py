"""Small episodes whose every frame says which it is, and the actions between."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["film", "script", "shown"]


def film(episode: int, frames: int, height: int = 16, width: int = 24) -> np.ndarray:
    """`[N, H, W, 3]` uint8: red is the episode, green the frame, in steps that codecs keep."""
    images = np.zeros((frames, height, width, 3), dtype=np.uint8)
    images[..., 0] = 20 * episode + 20
    images[..., 1] = 12 * np.arange(frames)[:, None, None]
    images[..., 2] = np.linspace(0, 60, width, dtype=np.uint8)
    return images


def script(episode: int, rows: int, width: int = 2) -> np.ndarray:
    """`[N, A]` float32: row t is (t, episode, ...)."""
    return np.stack([np.array([t, episode] + [0] * (width - 2)) for t in range(rows)]).astype(
        np.float32
    )


def shown(frames: Tensor) -> list[tuple[int, int]]:
    """(episode, frame) of each frame of a film, however a codec has blurred it."""
    mean = frames.double().mean((2, 3))
    place = torch.stack([(mean[:, 0] - 20) / 20, mean[:, 1] / 12], dim=1)
    assert bool(((place - place.round()).abs() < 0.3).all()), place
    return [(int(a), int(b)) for a, b in place.round().tolist()]
