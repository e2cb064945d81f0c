"""zoom_roll: similarities of known size, small ones above all, and scikit-image's recipe beside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pictures import PHOTOS, crops, similar
from skimage.registration import phase_cross_correlation
from skimage.transform import warp_polar
from torch import Tensor

from wmscore.functional import Reason, global_similarity, zoom_roll

Case = tuple[float, float, tuple[float, float]]

SMALL: list[Case] = [
    (1.01, 0.0, (0.0, 0.0)),
    (1.02, 0.3, (0.4, -0.6)),
    (1.05, -0.5, (-1.0, 0.8)),
    (0.97, 0.0, (0.0, 2.2)),
    (1.0, 2.0, (0.0, 0.0)),
]
LARGE: list[Case] = [
    (0.8, 0.0, (0.0, 0.0)),
    (1.25, 0.0, (3.0, -2.0)),
    (1.0, 20.0, (0.0, 0.0)),
    (1.0, -20.0, (-3.0, 4.0)),
    (0.85, 15.0, (2.0, 2.0)),
    (1.2, -12.0, (0.0, -3.5)),
]


def made(cases: list[Case], size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Frames, following and (zoom, roll, dy, dx) of each case and photograph."""
    pairs, truth = [], []
    for zoom, roll, shift in cases:
        for name in PHOTOS[:4]:
            pairs.append(similar(size, zoom, roll, shift, name))
            truth.append((zoom, roll, *shift))
    frames, following = (torch.stack(x) for x in zip(*pairs, strict=True))
    return frames, following, torch.tensor(truth, dtype=torch.float64)


@pytest.mark.parametrize(
    ("size", "zoom", "roll", "shift"), [((64, 64), 4e-3, 0.2, 0.12), ((120, 160), 1e-3, 0.06, 0.06)]
)
def test_small_steps(size, zoom, roll, shift) -> None:
    frames, following, truth = made(SMALL, size)
    found = zoom_roll(frames, following)
    assert (found.reason == Reason.DEFINED).all()
    assert (found.zoom / truth[:, 0] - 1).abs().max() < zoom
    assert (found.roll_degrees - truth[:, 1]).abs().max() < roll
    assert (found.shift - truth[:, 2:]).abs().max() < shift
    assert (found.zoom / truth[:, 0] - 1).abs().median() < zoom / 4


def recipe(frame: Tensor, following: Tensor) -> tuple[float, float]:
    """Zoom and roll as scikit-image's gallery finds them."""
    size = min(frame.shape[-2:])
    window = np.outer(np.hanning(frame.shape[-2]), np.hanning(frame.shape[-1]))
    polar = []
    for image in (frame, following):
        plane = image[0].double().numpy()
        spectrum = np.abs(np.fft.fftshift(np.fft.fft2((plane - plane.mean()) * window)))
        polar.append(
            warp_polar(
                spectrum, radius=size // 2, output_shape=(360, size), scaling="log", order=1
            )[:180]
        )
    shift = phase_cross_correlation(*polar, upsample_factor=10, normalization=None)[0]
    return float(np.exp(shift[1] * np.log(size // 2) / size)), float(shift[0])


def test_large_steps_and_closer_than_the_recipe() -> None:
    frames, following, truth = made(LARGE, (128, 128))
    found = zoom_roll(frames, following)
    assert (found.reason == Reason.DEFINED).all()
    zoom = (found.zoom / truth[:, 0] - 1).abs()
    roll = (found.roll_degrees - truth[:, 1]).abs()
    assert zoom.max() < 0.01
    assert roll.max() < 0.5
    assert (found.shift - truth[:, 2:]).abs().max() < 0.3
    theirs = torch.tensor([recipe(a, b) for a, b in zip(frames, following, strict=True)])
    # The gallery's signs: of zoom and of roll up to how it counts angles.
    of_zoom = torch.minimum(
        (theirs[:, 0] / truth[:, 0] - 1).abs(), (1 / theirs[:, 0] / truth[:, 0] - 1).abs()
    )
    of_roll = (theirs[:, 1].abs() - truth[:, 1].abs()).abs()
    assert zoom.median() < of_zoom.median()
    assert roll.median() < of_roll.median()


def test_undefined() -> None:
    photo = crops(2, 48, 48, 0)[0].float() / 255
    still = zoom_roll(photo, photo)
    assert (still.zoom - 1).abs().max() < 1e-6
    assert still.roll_degrees.abs().max() < 1e-4
    assert still.shift.abs().max() < 1e-4
    assert (still.peak > 0.99).all()
    assert (zoom_roll(photo * 0, photo).reason == Reason.NO_PEAK).all()
    assert (zoom_roll(photo * 0, photo * 0).reason == Reason.NO_PEAK).all()
    broken = photo.clone()
    broken[0, 0, 3, 3] = torch.nan
    assert zoom_roll(broken, photo).reason.tolist() == [Reason.NON_FINITE, Reason.DEFINED]
    small = zoom_roll(photo[..., :20], photo[..., :20])
    assert small.reason.tolist() == [Reason.TOO_SMALL] * 2
    assert small.zoom.isnan().all()


def test_consecutive_frames() -> None:
    pairs = [similar((64, 64), 1.03**step, 0, (0, 0), "astronaut")[1] for step in range(4)]
    walk = torch.stack(pairs)[None].repeat(2, 1, 1, 1, 1)
    valid = torch.ones(2, 4, dtype=torch.bool)
    valid[1, 0] = False
    found = global_similarity(walk, valid=valid)
    assert (found.zoom[0] - 1.03).abs().max() < 2e-3
    assert found.reason.tolist() == [[0, 0, 0], [Reason.NO_FRAME, 0, 0]]
    assert found.zoom[1, 0].isnan()
    assert torch.equal(found.zoom[0, 1:], found.zoom[1, 1:])
    assert global_similarity(walk[:, :1]).zoom.shape == (2, 0)
