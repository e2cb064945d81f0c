"""Repeated frames where chunks meet: found where the tools leave them, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from wmscore.episodes.seams import drop_frames, seam_duplicates
from wmscore.testing import sprite_items
from wmscore.worlds import SpriteWorld


@pytest.fixture(scope="module")
def video() -> Tensor:
    """A walk of 36 steps, 37 frames."""
    world = SpriteWorld(48, 48)
    (item,) = sprite_items(1, 36, branches=1, world=world)
    actions = torch.tensor([1, 3, 1, 2, 4, 2] * 6)
    return world.rollout([replace(item, frame=None, actions=actions)], 36).frames[0]


def rebuilt(frame: Tensor, levels: int = 3) -> Tensor:
    """What an autoencoder makes of a frame: nearly the same."""
    noise = torch.randint(
        -levels, levels + 1, frame.shape, generator=torch.Generator().manual_seed(0)
    )
    return (frame.int() + noise).clamp(0, 255).to(torch.uint8)


def chunks(video: Tensor) -> list[Tensor]:
    """Three chunks of 12 new frames, each with its echo first."""
    return [torch.cat([rebuilt(video[s])[None], video[s + 1 : s + 13]]) for s in (0, 12, 24)]


def test_as_the_example_of_predict_2_puts_chunks_together(video: Tensor) -> None:
    first, *rest = chunks(video)
    joined = torch.cat([first, *(chunk[:-1] for chunk in rest)])
    assert len(joined) == 37  # the right number of frames, and one of them twice
    found = seam_duplicates(joined, 12)
    assert (found.frames, found.elsewhere, found.still) == ((13,), (), False)
    # Without it every frame is where it belongs; the last one is missing.
    right = drop_frames(joined, found.frames).int()
    assert (right - video[:36].int()).abs().float().mean((1, 2, 3)).max() <= 3


def test_chunks_put_together_whole(video: Tensor) -> None:
    joined = torch.cat(chunks(video))
    found = seam_duplicates(joined, 12)
    assert found.frames == (13, 26)
    assert len(drop_frames(joined, found.frames)) == 37


def test_the_right_way_has_none(video: Tensor) -> None:
    first, *rest = chunks(video)
    joined = torch.cat([first, *(chunk[1:] for chunk in rest)])
    assert seam_duplicates(joined, 12).frames == ()
    assert seam_duplicates(video, 12).frames == ()


def test_other_repeats_are_no_seams(video: Tensor) -> None:
    stuttering = torch.cat([video[:6], video[5:]])
    found = seam_duplicates(stuttering, 12)
    assert (found.frames, found.elsewhere) == ((), (6,))


def test_nothing_can_be_told_of_a_still_picture(video: Tensor) -> None:
    still = video[:1].expand(40, -1, -1, -1)
    found = seam_duplicates(still, 12)
    assert (found.still, found.frames, found.elsewhere) == (True, (), ())
    noisy = torch.stack([rebuilt(frame, 1) for frame in still])
    assert seam_duplicates(noisy, 12, tolerance=2.0).still
    assert seam_duplicates(video[:1], 12).seams == ()


def test_bad_arguments(video: Tensor) -> None:
    with pytest.raises(TypeError, match=r"frames: expected uint8, got torch.float32"):
        seam_duplicates(video.float(), 12)
    with pytest.raises(ValueError, match=r"frames: expected \[T, C, H, W\]"):
        seam_duplicates(video[None], 12)
    with pytest.raises(ValueError, match="chunk: expected at least 2, got 1"):
        seam_duplicates(video, 1)
    with pytest.raises(ValueError, match="ratio, tolerance: expected"):
        seam_duplicates(video, 12, ratio=1.0)
