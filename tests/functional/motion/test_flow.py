"""block_flow: known motion of photographs and of sprites, and what must be undefined."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from wmscore.functional import BlockFlow, Reason, block_flow
from wmscore.testing import sprite_items
from wmscore.worlds import SpriteWorld

STEPS = 8


def texture(*leading: int, side: int = 96, smooth: float = 1.5, seed: int = 0) -> Tensor:
    """Periodic noise without frequencies above those of a blur by `smooth` pixels, 0..1."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(*leading, 3, side, side, generator=generator, dtype=torch.float64)
    frequency = torch.fft.fftfreq(side, dtype=torch.float64)
    pass_band = torch.exp(-2 * (torch.pi * smooth) ** 2 * (frequency[:, None] ** 2 + frequency**2))
    blurred = torch.fft.ifft2(torch.fft.fft2(noise) * pass_band).real
    return 0.5 + 0.15 * blurred / blurred.std((-1, -2), keepdim=True)


def shifted(frames: Tensor, move: Tensor) -> Tensor:
    """Content moved by (dy, dx), exactly, also by fractions: frames are periodic."""
    frequency = torch.fft.fftfreq(frames.shape[-1], dtype=torch.float64)
    dy, dx = (move[..., k, None, None, None] for k in (0, 1))
    phase = -2 * torch.pi * (frequency[:, None] * dy + frequency * dx)
    return torch.fft.ifft2(torch.fft.fft2(frames) * torch.polar(torch.ones_like(phase), phase)).real


def as_bytes(frames: Tensor) -> Tensor:
    return frames.mul(255).round().clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module")
def moves() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(24, 2, generator=generator, dtype=torch.float64) * 6 - 3


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize(("block", "typical"), [(8, 0.08), (16, 0.04)])
def test_fractions_of_a_pixel(block, typical, dtype, moves):
    frames = texture(24)
    following = shifted(frames, moves)
    if dtype == torch.uint8:
        frames, following = as_bytes(frames), as_bytes(following)
    found = block_flow(frames.to(dtype), following.to(dtype), block=block)
    inner = found.flow[:, 1:-1, 1:-1]
    error = (inner - moves[:, None, None])[found.reliable[:, 1:-1, 1:-1]]
    assert found.reliable[:, 1:-1, 1:-1].double().mean() > 0.95
    assert error.mean(0).abs().max() < 0.01  # no bias
    assert error.norm(dim=-1).median() < typical
    assert error.norm(dim=-1).quantile(0.99) < 0.5


def test_fractions_are_not_drawn_to_whole_pixels():
    """The estimate over the true fraction has slope 1 and no offset, unlike a parabola's."""
    fractions = torch.linspace(-0.5, 0.5, 21, dtype=torch.float64)
    move = torch.stack([torch.zeros_like(fractions), 2 + fractions], -1)
    frames = texture(1).expand(21, -1, -1, -1)
    found = block_flow(frames, shifted(frames, move), block=16)
    mean = found.flow[:, 1:-1, 1:-1, 1].nanmean((1, 2)) - 2
    slope = (mean * fractions).sum() / (fractions**2).sum()
    assert 0.93 < slope < 1.07
    assert (mean - fractions).abs().max() < 0.06


@pytest.mark.parametrize("move", [(0, 0), (2, -3), (-1, 3)])
def test_whole_pixels_are_exact(move):
    frames = as_bytes(texture(2))
    found = block_flow(frames, frames.roll(move, (2, 3)))
    inner = found.flow[:, 1:-1, 1:-1]
    assert found.reliable[:, 1:-1, 1:-1].all()
    assert found.confidence[:, 1:-1, 1:-1].eq(1).all()
    assert inner.equal(torch.tensor(move, dtype=torch.float64).expand_as(inner))


def test_start_moves_the_search():
    frames = as_bytes(texture(2))
    moves = torch.tensor([[11, -9], [0, 3]])
    following = torch.stack(
        [f.roll(m, (1, 2)) for f, m in zip(frames, moves.tolist(), strict=True)]
    )
    lost = block_flow(frames, following, radius=2)
    assert not lost.reliable[0].any()
    found = block_flow(frames, following, radius=2, start=moves + torch.tensor([1, 0]))
    inner = found.flow[:, 2:-2, 2:-2]
    assert inner.equal(moves[:, None, None].double().expand_as(inner))


def test_photographs_agree_with_dense_optical_flow():
    """Where a photograph moves smoothly, blocks move as scikit-image's iterative Lucas-Kanade."""
    data = pytest.importorskip("skimage.data")
    registration = pytest.importorskip("skimage.registration")
    transform = pytest.importorskip("skimage.transform")
    photo = transform.rescale(data.camera() / 255.0, 0.4, anti_aliasing=True)
    rotation = transform.AffineTransform(rotation=0.02, translation=(-1.0, 2.5))
    moved = transform.warp(photo, rotation.inverse, order=3, mode="reflect")
    pair = [as_bytes(torch.from_numpy(x)[None]) for x in (photo, moved)]
    found = block_flow(*pair, block=16, radius=6)
    # ILK warps the second image to the first, so its flow is from the first to the second.
    dense = registration.optical_flow_ilk(
        *(x[0].numpy() / 255.0 for x in pair), radius=8, num_warp=20, dtype=np.float64
    )
    height, width = (16 * n for n in found.flow.shape[:2])
    top, left = (
        (full - part) // 2 for full, part in zip(photo.shape, (height, width), strict=True)
    )
    dense = torch.from_numpy(dense)[:, top : top + height, left : left + width]
    of_block = dense.unflatten(1, (-1, 16)).unflatten(3, (-1, 16)).mean((2, 4)).permute(1, 2, 0)
    inner = found.reliable[1:-1, 1:-1]
    difference = (found.flow - of_block)[1:-1, 1:-1][inner].norm(dim=-1)
    assert inner.double().mean() > 0.5
    assert difference.median() < 0.2
    # And as the rotation says, at the middle of each block.
    y, x = (
        torch.arange(count) * 16.0 + first + 7.5
        for first, count in zip((top, left), found.flow.shape[:2], strict=True)
    )
    places = torch.cartesian_prod(x.double(), y.double())
    moved_to = torch.from_numpy(rotation(places.numpy()))
    true = (moved_to - places).flip(-1).reshape(len(x), len(y), 2).transpose(0, 1)
    error = (found.flow - true)[1:-1, 1:-1][inner].norm(dim=-1)
    assert error.median() < 0.15
    assert error.quantile(0.95) < 0.6


@pytest.fixture(scope="module")
def sprites() -> tuple[Tensor, Tensor, Tensor]:
    """Frames and labels of rollouts of the sprite world, and how its camera moves the ground."""
    items = sprite_items(12, STEPS, branches=2)
    rollouts = SpriteWorld().rollout(items, STEPS)
    assert rollouts.labels is not None
    pan = torch.tensor([[0, 0], [0, 3], [0, -3], [3, 0], [-3, 0]], dtype=torch.float64)
    return rollouts.frames, rollouts.labels, pan[torch.stack([item.actions for item in items])]


def by_block(labels: Tensor, side: int) -> Tensor:
    return labels.unflatten(-2, (-1, side)).unflatten(-1, (-1, side)).double().mean((-1, -3))


def test_the_ground_of_the_sprite_world_moves_with_the_camera(sprites):
    frames, labels, pan = sprites
    found = block_flow(frames[:, :-1], frames[:, 1:])
    ground = by_block(labels[:, :-1] == 0, 8) == 1
    error = (found.flow - pan[:, :, None, None]).norm(dim=-1)[ground & found.reliable]
    assert (ground & found.reliable).sum() > 0.8 * ground.sum()
    assert error.lt(0.25).double().mean() > 0.93  # the others are where a sprite goes
    assert error.gt(1).double().mean() < 0.01


def test_sprites_move_by_themselves(sprites):
    frames, labels, pan = sprites
    found = block_flow(frames[:, :-1], frames[:, 1:])
    place = torch.arange(64.0, dtype=torch.float64)
    errors, apart = [], []
    for sprite in range(1, int(labels.max()) + 1):
        mask = labels == sprite
        area = mask.sum((-1, -2)).double()
        centre = torch.stack(
            [(mask.sum(-1) * place).sum(-1) / area, (mask.sum(-2) * place).sum(-1) / area], -1
        )
        move = centre[:, 1:] - centre[:, :-1]
        whole = (area[:, 1:] == area[:, :-1]) & (area[:, 1:] > 0)  # nothing of it was hidden
        inside = by_block(mask[:, :-1], 8) >= 0.75
        chosen = inside & whole[..., None, None] & found.reliable
        errors.append((found.flow - move[:, :, None, None]).norm(dim=-1)[chosen])
        apart.append((move - pan).norm(dim=-1)[:, :, None, None].expand(chosen.shape)[chosen])
    error, own_motion = torch.cat(errors), torch.cat(apart)
    assert len(error) > 100
    assert error.lt(0.3).double().mean() > 0.9
    alone = own_motion > 1
    assert alone.sum() > 20  # sprites that do not move as the ground does
    assert error[alone].lt(0.3).double().mean() > 0.9


# --- what is undefined ----------------------------------------------------------------------------


def reasons(found: BlockFlow) -> set[Reason]:
    return {Reason(code) for code in found.reason.flatten().tolist()}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_plain_blocks_have_no_flow(dtype):
    plain = torch.ones(2, 3, 32, 32).to(dtype)
    found = block_flow(plain, plain)
    assert reasons(found) == {Reason.TOO_PLAIN}
    assert found.flow.isnan().all()
    assert found.confidence.eq(0).all()
    generator = torch.Generator().manual_seed(0)
    noisy = [127 + 2 * torch.randn(2, 3, 64, 64, generator=generator) for _ in range(2)]
    noisy = [x.round().to(dtype) if dtype == torch.uint8 else x.to(dtype) / 255 for x in noisy]
    found = block_flow(*noisy)
    assert not found.reliable.any()


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 120])
def test_an_edge_alone_has_no_flow(angle):
    """The aperture problem: it is the same where it is moved along itself."""
    direction = torch.deg2rad(torch.tensor(float(angle)))
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    across = (y - 19.5) * direction.cos() + (x - 19.5) * direction.sin()
    moved = across - 1.4 * direction.sin()  # to the right by 1.4 pixels
    pair = [as_bytes(torch.sigmoid(edge)[None]) for edge in (across, moved)]
    on_the_edge = across.unflatten(0, (6, 8)).unflatten(2, (6, 8)).mean((1, 3)).abs() < 2
    assert on_the_edge.sum() >= 4
    plain = block_flow(*pair).reason[on_the_edge] == Reason.TOO_PLAIN
    if angle % 45 == 0:
        assert plain.all()
    else:  # some displacement by whole pixels is nearer to the edge than all others
        assert plain.double().mean() >= 0.75
        assert not block_flow(*pair, min_isotropy=0.0).reason[on_the_edge].all()


def test_a_repeated_pattern_has_no_flow():
    frames = as_bytes(texture(1, side=4, smooth=0.3)).repeat(1, 1, 16, 16)  # period 4
    found = block_flow(frames, frames, radius=5)
    assert found.flow.isnan().all()
    assert not block_flow(frames, frames, radius=3).flow[:, 1:-1, 1:-1].isnan().any()


def test_a_cut_has_no_flow():
    one, other = as_bytes(texture(8)), as_bytes(texture(8, seed=9))
    found = block_flow(one, other)
    assert found.reliable.double().mean() < 0.01
    assert (found.reason == Reason.NO_MATCH).double().mean() > 0.4
    assert reasons(found) <= {Reason.NO_MATCH, Reason.TOO_PLAIN, Reason.DEFINED}
    assert found.confidence.mean() < 0.1


def test_motion_out_of_reach_has_no_flow():
    frames = as_bytes(texture(4))
    found = block_flow(frames, frames.roll((0, 6), (2, 3)), radius=4)
    assert found.reliable.double().mean() < 0.02
    at_the_rim = block_flow(frames, frames.roll((0, 4), (2, 3)), radius=4)
    assert not at_the_rim.reliable[:, 1:-1, 1:-1].any()  # nothing further out was looked at
    assert block_flow(frames, frames.roll((0, 4), (2, 3)), radius=5).reliable[:, 1:-1, 1:-1].all()
    away = torch.full((4, 2), 1000)
    assert reasons(block_flow(frames, frames, start=away)) == {Reason.NO_MATCH}


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_frames_that_are_not_finite(which, value):
    pair = [texture(2).float(), texture(2).float()]
    pair[which][1, 0, 5, 5] = value
    found = block_flow(*pair)
    assert found.reason[1].eq(Reason.NON_FINITE).all()
    assert found.flow[1].isnan().all()
    assert found.confidence[1].isnan().all()
    assert found.reliable[0].all()


# --- frames as they come --------------------------------------------------------------------------


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 1, 2)])
def test_leading_dims(leading):
    frames = as_bytes(texture(*leading, side=32))
    start = torch.zeros(*leading, 2, dtype=torch.int64)
    for around in (None, start):
        found = block_flow(frames, frames.roll(1, -1), start=around)
        assert found.flow.shape == (*leading, 4, 4, 2)
        assert found.reason.shape == found.confidence.shape == (*leading, 4, 4)
        inner = found.flow[..., 1:-1, 1:-1, :]
        assert inner.equal(torch.tensor([0.0, 1.0], dtype=torch.float64).expand_as(inner))


def test_pieces_do_not_matter(monkeypatch):
    """Without a kernel frames are worked on in pieces."""
    frames = as_bytes(texture(3, 4, side=24))
    start = torch.randint(-1, 2, (3, 3, 2))
    whole = block_flow(frames[:, :-1], frames[:, 1:], radius=2, start=start)
    monkeypatch.setattr("wmscore.functional.motion.flow.has_kernel", lambda *_: False)
    monkeypatch.setattr("wmscore.functional.motion.flow.piece_elements", lambda _: 1)
    pieces = block_flow(frames[:, :-1], frames[:, 1:], radius=2, start=start)
    for name in ("flow", "confidence", "reason"):
        x, y = getattr(whole, name), getattr(pieces, name)
        torch.testing.assert_close(x, y, rtol=0, atol=0, equal_nan=True)


def test_floats_are_read_as_their_data_range_says():
    frames = texture(1).float()
    faint = (frames - 0.5) * 0.02 + 0.5
    assert not block_flow(faint, faint).reliable.any()
    assert block_flow(255 * frames, 255 * frames, data_range=255.0).reliable.all()
    assert block_flow(faint, faint, min_texture=0.0).reliable.all()


def test_no_value_is_read_on_the_device():
    frames = torch.empty(2, 5, 3, 32, 40, dtype=torch.float32, device="meta")
    found = block_flow(frames[:, :-1], frames[:, 1:], block=4, radius=2)
    assert found.flow.shape == (2, 4, 8, 10, 2)
    assert found.reason.device.type == "meta"


FRAMES = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"following": FRAMES[:1]}, ValueError, r"one shape \[\.\.\., C, H, W\]"),
        ({"following": FRAMES.float()}, TypeError, "one dtype"),
        ({"block": 10}, ValueError, r"block must be a multiple of 4 in 4\.\.32, got 10"),
        ({"block": 8.0}, TypeError, "block must be an int, got float"),
        ({"radius": 1}, ValueError, r"radius must be 2\.\.16, got 1"),
        ({"radius": "4"}, TypeError, "radius must be an int, got str"),
        ({"start": torch.zeros(2, 2)}, TypeError, r"int64, whole pixels, got torch\.float32"),
        (
            {"start": torch.zeros(3, 2, dtype=torch.int64)},
            ValueError,
            r"\[\.\.\., 2\] = \(2, 2\), got \(3, 2\)",
        ),
        (
            {"start": torch.zeros(2, 2, dtype=torch.int64, device="meta")},
            ValueError,
            "start must be on cpu like frames, got meta",
        ),
        ({"min_texture": -1.0}, ValueError, "min_texture must be a number at least 0"),
        ({"min_isotropy": "a"}, TypeError, "min_isotropy must be a number, got str"),
        ({"min_confidence": 1.5}, ValueError, "min_confidence must be a number at least 0"),
        ({"data_range": 0.0}, ValueError, "data_range must be a number above 0"),
    ],
    ids=str,
)
def test_errors_say_what_was_expected_and_what_came(changes, error, message):
    right = {"frames": FRAMES, "following": FRAMES}
    block_flow(**right)
    with pytest.raises(error, match=message):
        block_flow(**(right | changes))
