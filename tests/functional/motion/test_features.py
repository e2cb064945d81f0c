"""motion_features against what the frames were made of, and cells against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_motion_cuda import DEVICES, walk
from torch import Tensor
from torch.testing import assert_close

from wmscore.functional import MOTION_FEATURES, Reason, motion_features
from wmscore.functional.motion.features import _of_blocks

FLOW = slice(MOTION_FEATURES.index("flow_dy_00"), MOTION_FEATURES.index("change_00"))
CHANGE = slice(MOTION_FEATURES.index("change_00"), MOTION_FEATURES.index("brightness_00"))
BRIGHTNESS = slice(MOTION_FEATURES.index("brightness_00"), len(MOTION_FEATURES))
LAYOUTS = {
    "contiguous": lambda frames: frames.contiguous(),
    "channels last": lambda frames: frames.movedim(2, -1).contiguous().movedim(-1, 2),
    "steps first": lambda frames: frames.transpose(0, 1).contiguous().transpose(0, 1),
    "window": lambda frames: torch.nn.functional.pad(frames, (2, 3, 1, 4))[..., 1:-4, 2:-3],
}


def plain_cells(frames: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean |change| and change of the mean of 3 x 3 cells, in data ranges, by loops."""
    values = frames.cpu().double().numpy() / (255 if frames.dtype == torch.uint8 else 1)
    difference = np.diff(values, axis=1)
    height, width = frames.shape[-2:]
    change, brighter = [], []
    for y in range(3):
        for x in range(3):
            rows = slice(y * height // 3, int(np.ceil((y + 1) * height / 3)))
            columns = slice(x * width // 3, int(np.ceil((x + 1) * width / 3)))
            cell = difference[..., rows, columns]
            change.append(np.abs(cell).mean((2, 3, 4)))
            brighter.append(cell.mean((2, 3, 4)))
    return np.stack(change, -1), np.stack(brighter, -1)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [(64, 64), (45, 70)])
def test_a_moving_camera(size, device) -> None:
    frames, moves = walk(3, 5, *size)
    found = motion_features(frames.to(device))
    assert (found.reason == Reason.DEFINED).all()
    values = found.values.cpu()
    assert (values[..., :2] - moves).abs().max() < 0.02
    assert values[..., 2].abs().max() < 2e-3  # zoom
    assert values[..., 3].abs().max() < 0.2  # roll, degrees
    flow = values[..., FLOW].unflatten(-1, (9, 2))
    assert (flow - moves[:, :, None]).abs().max() < 0.2
    assert_close(found.shift.cpu(), values[..., :2], rtol=0, atol=0)
    assert_close(found.response.cpu(), values[..., :4], rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_cells_are_those_of_plain_loops(channels, layout, dtype, device) -> None:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, 4, channels, 31, 43), generator=generator).to(torch.uint8)
    if dtype != torch.uint8:
        frames = (frames / 255).to(dtype)
    frames = LAYOUTS[layout](frames).to(device)
    # Noise has no shift, and all features of such a step are NaN: the cells are asked for alone.
    rest = _of_blocks(frames, torch.zeros(2, 3, 2, dtype=torch.float64, device=device), 4)
    change, brighter = plain_cells(frames)
    found = torch.nn.functional.pad(rest, (2, 0)).cpu().numpy()
    np.testing.assert_allclose(found[..., CHANGE], change, rtol=1e-13)
    np.testing.assert_allclose(found[..., BRIGHTNESS], brighter, rtol=0, atol=1e-14)


def test_what_appears_in_a_cell_is_seen_in_that_cell() -> None:
    frames = walk(1, 1, 60, 60)[0][:, :1].repeat(1, 2, 1, 1, 1)
    frames[:, 1, :, 22:26, 42:46] = 255
    values = motion_features(frames).values[0, 0]
    there = MOTION_FEATURES.index("change_12") - CHANGE.start
    for part in (values[CHANGE], values[BRIGHTNESS]):
        assert part[there] > 0.01
        assert (part[torch.arange(9) != there] == 0).all()
    assert values[:2].abs().max() < 0.01


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_neither_batch_nor_strides_matter(layout, device) -> None:
    frames = walk(5, 4, 40, 56)[0].to(device)
    together = motion_features(frames)
    alone = [motion_features(LAYOUTS[layout](row[None])) for row in frames]
    strided = motion_features(LAYOUTS[layout](frames))
    for name in ("values", "peak", "reason"):
        whole = getattr(together, name)
        assert_close(torch.cat([getattr(one, name) for one in alone]), whole, rtol=0, atol=0)
        assert_close(getattr(strided, name), whole, rtol=0, atol=0)


def test_steps_without_both_frames_are_nan() -> None:
    frames = walk(2, 4, 40, 56)[0]
    valid = torch.ones(2, 5, dtype=torch.bool)
    valid[1, 3:] = False
    found = motion_features(frames, valid=valid)
    assert (found.reason[1, 2:] == Reason.NO_FRAME).all()
    absent = found.reason == Reason.NO_FRAME
    assert found.values[absent].isnan().all()
    assert_close(found.values[~absent], motion_features(frames).values[~absent], rtol=0, atol=0)


def test_a_frame_that_is_not_finite() -> None:
    frames = walk(2, 4, 40, 56)[0].float() / 255
    whole = motion_features(frames).values
    frames[0, 2, 1, 3, 4] = torch.nan
    found = motion_features(frames)
    assert found.reason.tolist() == [
        [0, int(Reason.NON_FINITE), int(Reason.NON_FINITE), 0],
        [0] * 4,
    ]
    assert found.values[0, 1:3].isnan().all()
    kept = found.reason == 0
    assert_close(found.values[kept], whole[kept], rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(2, 1, 3, 24, 24), (0, 4, 3, 24, 24), (0, 1, 1, 24, 24)])
def test_nothing_to_compare(shape) -> None:
    found = motion_features(torch.zeros(shape, dtype=torch.uint8))
    assert found.values.shape == (shape[0], shape[1] - 1, len(MOTION_FEATURES))
    assert found.reason.shape == (shape[0], shape[1] - 1)
