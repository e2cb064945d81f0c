"""Photographs moved by known amounts, for the tests of motion."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from skimage import data
from torch import Tensor

__all__ = ["PHOTOS", "crops", "luma", "similar", "tensor"]

PHOTOS = ("camera", "astronaut", "coffee", "chelsea", "brick", "coins")


def luma(name: str) -> np.ndarray:
    image = getattr(data, name)().astype(float)
    return image if image.ndim == 2 else image[..., :3] @ [0.299, 0.587, 0.114]


def tensor(planes: list[np.ndarray]) -> Tensor:
    """Planes as uint8 frames `[n, 1, H, W]`."""
    levels = np.clip(np.round(np.stack(planes)), 0, 255)
    return torch.from_numpy(levels).to(torch.uint8)[:, None]


def _moved(image: np.ndarray, dy: float, dx: float) -> np.ndarray:
    fy = np.fft.fftfreq(image.shape[0])[:, None]
    fx = np.fft.fftfreq(image.shape[1])
    ramp = np.exp(-2j * np.pi * (fy * dy + fx * dx))
    return np.fft.ifft2(np.fft.fft2(image) * ramp).real


def crops(
    count: int, height: int, width: int, reach: float, seed: int = 0, noise: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Cuts of photographs and of the same moved by a phase ramp: frames, following, shift."""
    random = np.random.default_rng(seed)
    frames, following, shifts = [], [], []
    for n in range(count):
        image = luma(PHOTOS[n % len(PHOTOS)])
        margin = 32
        top = random.integers(0, image.shape[0] - height - 2 * margin)
        left = random.integers(0, image.shape[1] - width - 2 * margin)
        big = image[top : top + height + 2 * margin, left : left + width + 2 * margin]
        # To the mean at its edges, which a phase ramp takes for periodic.
        fade = [np.clip(np.minimum(np.arange(n), np.arange(n)[::-1]) / 8, 0, 1) for n in big.shape]
        big = (big - big.mean()) * np.outer(*fade) + big.mean()
        shift = random.uniform(-reach, reach, 2)
        for planes, picture in ((frames, big), (following, _moved(big, *shift))):
            cut = picture[margin : margin + height, margin : margin + width]
            planes.append(cut + random.normal(0, noise, cut.shape) if noise else cut)
        shifts.append(shift)
    return tensor(frames), tensor(following), torch.from_numpy(np.array(shifts))


def similar(
    size: tuple[int, int], zoom: float, roll: float, shift: tuple[float, float], name: str
) -> tuple[Tensor, Tensor]:
    """The middle of a photograph, and the same zoomed, rolled (degrees, clockwise) and moved."""
    image = luma(name)
    middle = [(side - 1) / 2 for side in image.shape]
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    y, x = y - (size[0] - 1) / 2, x - (size[1] - 1) / 2
    angle = np.deg2rad(roll)
    from_y, from_x = y - shift[0], x - shift[1]
    back_x = (from_x * np.cos(angle) + from_y * np.sin(angle)) / zoom
    back_y = (from_y * np.cos(angle) - from_x * np.sin(angle)) / zoom
    planes = [
        map_coordinates(image, [middle[0] + a, middle[1] + b], order=5, mode="reflect")
        for a, b in ((y, x), (back_y, back_x))
    ]
    frames = tensor(planes)
    return frames[0], frames[1]
