"""Quality against the given frames: hand-computed curves, undefined baselines."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate
from torch.testing import assert_close

from wmscore.functional import Reason, frame_quality, quality_drift, rollout_quality


def scene(rows: int = 2, side: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(rows, 3, side, side, generator=generator, dtype=torch.float64)


def test_a_rollout_that_darkens() -> None:
    gain = torch.tensor([1, 0.8, 0.5, 0.1], dtype=torch.float64)
    frames = scene()[:, None] * gain[:, None, None, None]
    drift = quality_drift(frame_quality(frames))
    expected = gain[1:].expand(2, 3)
    for name, power in {
        "brightness": 1,
        "contrast": 1,
        "saturation": 1,
        "colourfulness": 1,
        "sharpness_gradient": 2,
        "sharpness_laplacian": 2,
    }.items():
        assert_close(drift.ratio[name], expected**power, rtol=1e-9, atol=0)
        assert drift.ratio_reason[name].eq(0).all()
    brightness = frame_quality(frames[:, 0]).brightness
    assert_close(drift.difference["brightness"], brightness[:, None] * (expected - 1))


def test_each_fault_moves_its_own_quality() -> None:
    clear = scene()
    grey = clear.mean(1, keepdim=True).expand_as(clear)
    blurred = interpolate(avg_pool2d(clear, 4), scale_factor=4.0)
    bright = clear * 0.5 + 0.5
    drift = quality_drift(frame_quality(torch.stack([clear, grey, blurred, bright], 1)))
    assert_close(drift.ratio["saturation"][:, 0], torch.zeros(2).double(), rtol=0, atol=1e-12)
    assert (drift.ratio["sharpness_laplacian"][:, 1] < 0.2).all()
    assert (drift.ratio["brightness"][:, 2] > 1.4).all()
    assert (drift.ratio["contrast"][:, 2] < 0.51).all()


@pytest.mark.parametrize("context", [1, 3, 5])
def test_equals_each_quality_against_the_mean_of_the_given_frames(context: int) -> None:
    generator = torch.Generator().manual_seed(1)
    frames = torch.randint(0, 256, (3, 5, 3, 20, 24), dtype=torch.uint8, generator=generator)
    quality = frame_quality(frames)
    drift = quality_drift(quality, context=context)
    assert set(drift.difference) - set(drift.ratio) == {"clipped_low", "clipped_high", "blockiness"}
    for name, found in drift.difference.items():
        value = getattr(quality, name)
        for row in range(3):
            given = sum(value[row, t].item() for t in range(context)) / context
            for step in range(1, 5):
                now = value[row, step].item()
                assert found[row, step - 1].item() == pytest.approx(now - given, abs=1e-12)
                if name in drift.ratio:
                    ratio = drift.ratio[name][row, step - 1].item()
                    assert ratio == pytest.approx(now / given, rel=1e-12)


def test_undefined_values_say_why() -> None:
    frames = scene(5)[:, None].repeat(1, 3, 1, 1, 1)
    frames[0, 0] = 0.5  # flat and grey: its qualities are 0
    frames[1, 2, 0, 0, 0] = math.nan
    frames[2, 0, 0, 0, 0] = math.nan
    frames[3, :2] = 0.5  # now unchanged, and still relative to nothing
    drift = quality_drift(frame_quality(frames))
    finite, scale = Reason.NON_FINITE, Reason.NO_SCALE
    assert drift.ratio_reason["contrast"].tolist() == [
        [scale, scale],
        [0, finite],
        [finite, finite],
        [scale, scale],
        [0, 0],
    ]
    assert drift.difference_reason["contrast"].tolist() == [
        [0, 0],
        [0, finite],
        [finite, finite],
        [0, 0],
        [0, 0],
    ]
    for values, reasons in (
        (drift.ratio, drift.ratio_reason),
        (drift.difference, drift.difference_reason),
    ):
        assert values.keys() == reasons.keys()
        for name, value in values.items():
            assert value.isnan().equal(reasons[name] != 0)
    small = quality_drift(frame_quality(scene(2, 4)[:, None].repeat(1, 3, 1, 1, 1)))
    assert small.difference_reason["blockiness"].eq(Reason.TOO_SMALL).all()


def test_an_undefined_given_frame_is_not_left_out_of_the_mean() -> None:
    frames = scene()[:, None].repeat(1, 4, 1, 1, 1)
    frames[0, 1, 0, 0, 0] = math.inf
    drift = quality_drift(frame_quality(frames), context=2)
    assert drift.ratio["brightness"].isnan().tolist() == [[True] * 3, [False] * 3]


def test_wrong_arguments() -> None:
    frames = scene()[:, None].repeat(1, 3, 1, 1, 1)
    with pytest.raises(ValueError, match=r"of rollouts, \[B, T \+ 1\], got \(3,\)"):
        quality_drift(frame_quality(frames[0]))
    with pytest.raises(ValueError, match="at most the 3 frames"):
        quality_drift(frame_quality(frames), context=4)
    with pytest.raises(ValueError, match="context must be at least 1"):
        quality_drift(rollout_quality(frames), context=0)
