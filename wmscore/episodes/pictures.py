"""From images as data sets store them to `[N, 3, H, W]` uint8 RGB."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from wmscore.episodes.episode import EpisodeError
from wmscore.extras import require

__all__ = ["Layout", "decode_images", "image_layout", "to_frames"]

Layout = Literal["THWC", "TCHW"]
"""Order of dimensions: time, height, width, colour; or colour before height."""


def image_layout(shape: Sequence[int], layout: Layout | None, where: str) -> Layout:
    """Which dimension holds the three colours of images `[..., a, b, c]`.

    Args:
        shape: of the images, whatever comes before their last three dimensions.
        layout: what was said, or None to tell it from the one dimension that is 3.
        where: named in errors.

    Raises:
        EpisodeError: there are no three colours, or both dimensions could hold them.
    """
    if layout is not None and layout not in get_args(Layout):
        raise ValueError(f"layout: expected one of {get_args(Layout)}, got {layout!r}")
    found = {"THWC": shape[-1] == 3, "TCHW": shape[-3] == 3}
    if layout is None:
        known = [name for name in get_args(Layout) if found[name]]
        if len(known) > 1:
            raise EpisodeError(
                f"{where}: images of shape {list(shape[-3:])} are THWC or TCHW; expected layout="
            )
        layout = known[0] if known else "THWC"
    if not found[layout]:
        raise EpisodeError(
            f"{where}: expected RGB images {'[H, W, 3]' if layout == 'THWC' else '[3, H, W]'}, "
            f"got {list(shape[-3:])}"
        )
    return layout


def to_frames(images: np.ndarray, layout: Layout, where: str) -> Tensor:
    """uint8 images `[N, H, W, 3]` or `[N, 3, H, W]` as frames.

    Raises:
        EpisodeError: they are not uint8.
    """
    if images.dtype != np.uint8:
        raise EpisodeError(
            f"{where}: expected uint8 images in 0..255, got {images.dtype}; bring them to uint8 "
            "first (wmscore.worlds.pixels.uint8_frames for floats of a known range)"
        )
    if layout == "THWC":
        images = images.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.array(images, order="C"))  # a copy: files may be read-only maps


def decode_images(files: Sequence[Any], where: str) -> np.ndarray:
    """PNG or JPEG files in memory as `[N, H, W, 3]` uint8.

    Raises:
        ImportError: Pillow is not installed.
        EpisodeError: one is no RGB image, or of another size than the first.
    """
    reader = require("PIL.Image", "harness")
    images: list[np.ndarray] = []
    for number, data in enumerate(files):
        try:
            with reader.open(io.BytesIO(data)) as image:
                if image.mode != "RGB":
                    raise EpisodeError(
                        f"{where}: expected RGB images, number {number} is {image.mode}"
                    )
                images.append(np.asarray(image))
        except OSError as error:
            raise EpisodeError(f"{where}: image {number} cannot be read: {error}") from None
        if images[-1].shape != images[0].shape:
            raise EpisodeError(
                f"{where}: expected images of {images[0].shape[:2]}, number {number} has "
                f"{images[-1].shape[:2]}"
            )
    return np.stack(images)
