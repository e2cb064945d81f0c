"""Models of another size than the panel's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from wmscore.rollouts import Rollouts
from wmscore.testing import check_world_model, sprite_items
from wmscore.worlds import (
    AtFrameRate,
    ChunkModel,
    ChunkRule,
    FitSize,
    ForcedFitSize,
    Frozen,
    Item,
    SpriteWorld,
)
from wmscore.worlds.protocol import Capabilities


def showing(size: tuple[int, int]) -> ChunkModel:
    """Repeats what it was shown: its frames say what it has seen."""
    return ChunkModel(
        lambda chunk: chunk.context[:, -1:].repeat(1, chunk.frames, 1, 1, 1),
        ChunkRule(frames=3),
        name="mirror",
        fps=10.0,
        frame_size=size,
    )


def seen(model: FitSize, frame: torch.Tensor) -> torch.Tensor:
    """What the model inside is shown."""
    item = replace(sprite_items(1, 2, branches=1)[0], frame=frame, labels=None)
    return model.model.rollout([model._item(item)], 1).frames[0, 0]


def gradient(height: int, width: int) -> torch.Tensor:
    rows = torch.linspace(0, 200, height)[:, None] + torch.linspace(0, 55, width)
    return rows.round().to(torch.uint8).expand(3, -1, -1).contiguous()


@pytest.mark.parametrize("method", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("native", [(64, 64), (48, 96), (32, 32), (64, 96), (61, 33)])
def test_there_and_back_is_nearly_the_frame(method: str, native: tuple[int, int]) -> None:
    items = [
        replace(item, frame=gradient(64, 96), labels=None)
        for item in sprite_items(1, 4, branches=2)
    ]
    model = FitSize(showing(native), 64, 96, method)
    found = model.rollout(items, 4)
    assert found.frames.shape == (2, 5, 3, 64, 96)
    assert found.frames.dtype == torch.uint8
    assert torch.equal(found.frames[:, 0], torch.stack([item.frame for item in items]))
    gap = (found.frames.int() - found.frames[:, :1].int()).abs()
    assert gap.max() <= 9  # edges of a gradient under two resizes
    assert gap.float().mean() < 0.7
    for top, left, bottom, right in model.unseen:  # what the model does not see stays as given
        assert gap[..., top:bottom, left:right].max() == 0
    assert bool(model.unseen) == (method == "crop" and native != (64, 96))
    assert found.model == model.name == f"mirror-{method}-{native[0]}x{native[1]}"
    report = check_world_model(model, items, 4)
    assert report.ok, report.table()


def test_the_aspect_ratio_and_where_things_are() -> None:
    frame = torch.zeros(3, 40, 80, dtype=torch.uint8)
    frame[:, 10:20, 30:40] = 255  # a white square
    padded = seen(FitSize(showing((60, 60)), 40, 80, "pad", mode="nearest"), frame)
    where = padded[0].nonzero()
    # 80 -> 60 is a scale of 3/4, 30 rows in the middle of 60: bars of 15 rows; the centre of pixel
    # 7 lies at 10.0 of the frame, that of pixel 22 at 30.0.
    assert where.amin(0).tolist() == [15 + 7, 22]
    height, width = (where.amax(0) - where.amin(0) + 1).tolist()
    assert abs(height - width) <= 1
    assert padded[:, :15].max() == padded[:, 45:].max() == 0
    cropped = FitSize(showing((60, 60)), 40, 80, "crop", mode="nearest")
    assert cropped.unseen == ((0, 0, 40, 20), (0, 60, 40, 80))
    where = seen(cropped, frame)[0].nonzero()
    assert where.amin(0).tolist() == [15, 15]  # (10, 30 - 20) at a scale of 3/2
    assert (where.amax(0) - where.amin(0) + 1).tolist() == [15, 15]
    stretched = seen(FitSize(showing((60, 60)), 40, 80, "stretch", mode="nearest"), frame)
    assert (stretched[0] > 0).sum() == 15 * 8  # (3/2, 3/4), rounded


def test_nothing_is_changed_at_the_same_size() -> None:
    items = sprite_items(2, 6)
    world = SpriteWorld()
    fitted = FitSize(world, 64, 64)
    assert torch.equal(fitted.rollout(items, 6).frames, world.rollout(items, 6).frames)
    assert fitted.conversion_losses == ()


def test_labels_and_one_step_predictions() -> None:
    small = SpriteWorld(32, 32)
    items = sprite_items(2, 6, world=SpriteWorld(64, 64))
    fitted = FitSize(small, 64, 64)
    found = fitted.rollout([replace(item, frame=None) for item in items], 6)
    there = small.rollout(items, 6)
    assert found.labels is not None
    assert there.labels is not None
    assert torch.equal(found.labels[..., ::2, ::2], there.labels)
    assert torch.equal(found.labels[..., 1::2, 1::2], there.labels)
    assert fitted.conversion_losses == ("frames: pad to 32 x 32 and back, bicubic",)
    like = Frozen(small)
    forced = ForcedFitSize(like, 64, 64)
    report = check_world_model(forced, [replace(item, labels=None) for item in items], 6)
    assert not report.ok  # a frozen world inside, though it promises labels
    assert [row.property for row in report.rows if not row.ok] == ["labels"]
    assert {row.property for row in report.rows} >= {"teacher-forced: no leak"}


class Floats:
    """Gives floating point frames, some of them none."""

    name = "floats"
    capabilities = Capabilities(actions="none", fps=10.0, frame_size=(16, 16))

    def rollout(self, items: list, horizon: int) -> Rollouts:
        frames = torch.full((len(items), horizon + 1, 3, 16, 16), 0.5)
        frames[:, 0] = torch.stack([item.frame for item in items]) / 255
        frames[0, 1, 0, 3, 3] = float("nan")
        frames[0, 2, 0, 3, 3] = 1.5
        return Rollouts(
            frames=frames,
            actions=torch.stack([item.actions[:horizon] for item in items]),
            scenario=torch.zeros(len(items), dtype=torch.int64),
            seed=torch.zeros(len(items), dtype=torch.int64),
            branch=torch.arange(len(items)),
            model="floats",
            panel=items[0].panel,
        )


def test_bad_pixels_reach_the_scorer() -> None:
    items = sprite_items(1, 3, branches=2)
    found = FitSize(Floats(), 64, 64).rollout(items, 3).frames
    assert found[0, 1].isnan().any()
    assert found[0, 2].max() > 1.1
    assert torch.allclose(found[1, 1:], torch.tensor(0.5))
    assert torch.equal((found[:, 0] * 255).round().to(torch.uint8)[1], items[1].frame)


class Lossy(SpriteWorld):
    """As if its frames came as lossy video."""

    codec: ClassVar = {"lossy": True}


@pytest.mark.parametrize("floats", [False, True])
def test_another_first_frame_is_not_hidden(floats: bool) -> None:
    class Mirror(SpriteWorld):
        """Repeats what it is shown, but begins with its negative in row 0."""

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            found = super().rollout(items, horizon)
            frames = torch.stack([item.frame for item in items])[:, None].repeat(1, 4, 1, 1, 1)
            frames[0, 0] = 255 - frames[0, 0]
            return replace(found, frames=frames.double() / 255 if floats else frames, labels=None)

    items = [replace(item, labels=None) for item in sprite_items(1, 3, branches=2)]
    first = FitSize(Mirror(32, 32), 64, 64).rollout(items, 3).frames[:, 0]
    given = torch.stack([item.frame for item in items])
    gap = (first * (255 if floats else 1) - given.double()).abs().amax((1, 2, 3))
    assert gap[0] > 100
    assert gap[1] < 1e-4  # levels: single precision


def test_a_world_that_renders_at_another_size_begins_with_its_own_frame() -> None:
    items = [replace(item, labels=None) for item in sprite_items(1, 3, branches=2)]
    given = torch.stack([item.frame for item in items])
    for options, same in (({}, False), ({"first_frame_psnr": 20.0}, True)):
        fitted = FitSize(SpriteWorld(32, 32), 64, 64, **options)
        assert torch.equal(fitted.rollout(items, 3).frames[:, 0], given) == same
    with pytest.raises(ValueError, match="first_frame_psnr: expected dB, got NaN"):
        FitSize(SpriteWorld(32, 32), 64, 64, first_frame_psnr=float("nan"))


def test_the_codec_of_the_model_is_passed_on() -> None:
    assert FitSize(Lossy(32, 32), 64, 64).codec == {"lossy": True}
    assert FitSize(SpriteWorld(32, 32), 64, 64).codec is None
    assert AtFrameRate(Lossy(32, 32), 5.0).codec == {"lossy": True}
    assert AtFrameRate(SpriteWorld(32, 32), 5.0).codec is None


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="method: expected 'stretch', 'pad' or 'crop', got 'fit'"):
        FitSize(showing((8, 8)), 16, 16, "fit")
    with pytest.raises(ValueError, match="mode: expected"):
        FitSize(showing((8, 8)), 16, 16, mode="area")
    with pytest.raises(ValueError, match="height, width: expected at least 1, got 0 and 4"):
        FitSize(showing((8, 8)), 0, 4)
    with pytest.raises(ValueError, match=r"expected frames of 32 x 32, 'sprites-0' has"):
        FitSize(showing((8, 8)), 32, 32).rollout(sprite_items(1, 2), 2)
    with pytest.raises(ValueError, match="'crop' has no labels"):
        FitSize(SpriteWorld(32, 32), 64, 96, "crop").rollout(
            [replace(item, frame=gradient(64, 96), labels=None) for item in sprite_items(1, 2)],
            2,
        )
