"""What pipelines take and return, whatever their form; no third-party class is needed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from wmscore.testing import check_world_model, sprite_items
from wmscore.timeline import SANA_WM, ByName, ToKeyString, ToPrompt
from wmscore.worlds import DiffusersModel
from wmscore.worlds.diffusion import pipeline_frames, pipeline_inputs

pil = pytest.importorskip("PIL.Image")

VIDEO = torch.randint(0, 256, (2, 9, 3, 16, 24), generator=torch.Generator().manual_seed(0)).to(
    torch.uint8
)
KEYS = {"noop": {}, "left": {"a": 1}, "right": {"d": 1}, "up": {"w": 1}, "down": {"s": 1}}


def images(video: torch.Tensor) -> list[Any]:
    return [pil.fromarray(frame.permute(1, 2, 0).numpy()) for frame in video]


@pytest.mark.parametrize(
    "output",
    [
        VIDEO,
        VIDEO.transpose(1, 2),
        VIDEO.permute(0, 1, 3, 4, 2).numpy(),
        [images(video) for video in VIDEO],
        [list(video) for video in VIDEO],
        [video.permute(0, 2, 3, 1).numpy() for video in VIDEO],
        (VIDEO, None),
        SimpleNamespace(frames=VIDEO),
        SimpleNamespace(video=VIDEO),
        {"videos": VIDEO},
    ],
    ids=[
        "pt",
        "channels first",
        "np",
        "pil",
        "lists",
        "arrays",
        "tuple",
        "frames",
        "video",
        "dict",
    ],
)
def test_two_rows_in_every_form(output: Any) -> None:
    assert torch.equal(pipeline_frames(output, 2), VIDEO)


def test_three_frames_are_not_three_colours() -> None:
    three = VIDEO[:, :3]
    for output in (three.permute(0, 1, 3, 4, 2).numpy(), [images(video) for video in three]):
        assert torch.equal(pipeline_frames(output, 2), three)


@pytest.mark.parametrize(
    "output",
    [
        VIDEO[0],
        VIDEO[:1],
        VIDEO[0].permute(0, 2, 3, 1).numpy(),
        images(VIDEO[0]),
        [images(VIDEO[0])],
    ],
)
def test_one_row_with_and_without_a_batch(output: Any) -> None:
    assert torch.equal(pipeline_frames(SimpleNamespace(frames=output)), VIDEO[:1])


def test_forms_that_are_no_frames() -> None:
    with pytest.raises(ValueError, match="expected 2 rows, got 1"):
        pipeline_frames(VIDEO[0], 2)
    with pytest.raises(ValueError, match=r"expected frames .* got \[1, 1, 9, 16, 24\]"):
        pipeline_frames(torch.zeros(9, 16, 24)[None])
    with pytest.raises(ValueError, match="pipeline: expected frames, got NoneType"):
        pipeline_frames(SimpleNamespace(frames=None))
    with pytest.raises(ValueError, match=r"expected one of \['frames', .* got \['sound'\]"):
        pipeline_frames({"sound": VIDEO})


class Pipe:
    """Takes an image and keys; brightens the image by the number of keys so far."""

    vae_scale_factor_temporal = 4

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(
        self,
        image: Any,
        prompt: str,
        action: str = "",
        height: int = 480,
        width: int = 832,
        num_frames: int = 81,
        fps: int = 16,
        generator: Any = None,
        output_type: str = "np",
    ) -> Any:
        self.calls.append(dict(locals()))
        start = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        held = [word.split("-") for word in action.split(",")]
        pressed = [float(key != "none") for key, count in held for _ in range(int(count))]
        level = torch.tensor([0.0, *pressed]).cumsum(0)[:num_frames, None, None, None]
        noise = torch.rand(1, generator=generator) / 1000
        return SimpleNamespace(frames=(start + noise + level / 255).clamp(0, 1)[None])


def model(pipe: Any, **options: Any) -> DiffusersModel:
    fields: dict[str, Any] = {
        "fps": 16.0,
        "frame_size": (64, 64),
        "frames": 5,
        "actions": "discrete",
        "converter": ToKeyString(SANA_WM, table=KEYS),
        "prompt": "a room",
        **options,
    }
    return DiffusersModel(pipe, **fields)


def test_the_arguments_of_a_call() -> None:
    pipe, items = Pipe(), sprite_items(1, 6, branches=2)
    items = [replace(items[0], actions=torch.tensor([0, 3, 3, 1, 0, 2]), prompt="a hall"), items[1]]
    report = check_world_model(model(pipe), items, 6)
    assert report.ok, report.table()
    first, second = pipe.calls[0], pipe.calls[2]
    assert first["action"] == "none-1,w-2,a-1"
    assert second["action"] == "none-1,d-1,none-2"  # past the end of the script
    assert [call["prompt"] for call in pipe.calls[:2]] == ["a hall", "a room"]
    assert np.array_equal(np.array(first["image"]), items[0].frame.permute(1, 2, 0).numpy())
    assert (first["height"], first["width"], first["num_frames"]) == (64, 64, 5)
    assert (first["fps"], first["output_type"]) == (16, "pt")
    assert isinstance(first["generator"], torch.Generator)


def test_actions_as_words_come_after_the_scene() -> None:
    pipe, items = Pipe(), sprite_items(1, 4, branches=2)
    items = [replace(item, actions=torch.tensor([3, 3, 1, 1])) for item in items]
    said = model(
        pipe, actions="text", converter=ToPrompt({"up": "walks"}), call={"action": "none-4"}
    )
    said.rollout(items, 4)
    assert pipe.calls[0]["prompt"] == "a room walks for 0.125 s, then left for 0.125 s"
    (loss,) = said.conversion_losses
    assert loss.startswith("timing: approximate at 8 steps: a prompt says no steps")
    assert said.capabilities.actions == "text"


def test_a_mapping_of_ones_own() -> None:
    def arguments(chunk: Any) -> dict[str, Any]:
        return {"video": chunk.context, "how_many": chunk.frames}

    def pipe(video: Any, how_many: int, scale: float) -> Any:
        assert scale == 2.0
        return (video[:, -1:].expand(-1, how_many, -1, -1, -1),)

    own = DiffusersModel(
        pipe,
        fps=10.0,
        frame_size=(64, 64),
        frames=4,
        contexts=(1, 3),
        rows=None,
        arguments=arguments,
        call={"scale": 2.0},
        name="own",
    )
    items = sprite_items(2, 6)
    found = own.rollout(items, 6)
    assert found.model == "own"
    assert torch.equal(found.frames, found.frames[:, :1].expand_as(found.frames))


class FourRows:
    """A batch of images, encoded text and generators; says what it was given."""

    def __call__(self, video: Any, prompt_embeds: Any, num_frames: int, generator: Any) -> Any:
        assert len(prompt_embeds) == len(video) == len(generator) == 4
        assert len({id(g) for g in generator}) == 4
        return torch.stack(
            [
                torch.from_numpy(np.array(frames[-1]))
                .permute(2, 0, 1)
                .expand(num_frames, -1, -1, -1)
                for frames in video
            ]
        )


def test_encoded_text_and_generators_are_there_for_every_row() -> None:
    batch = DiffusersModel(
        FourRows(),
        fps=10.0,
        frame_size=(64, 64),
        frames=3,
        rows=None,
        call={"prompt_embeds": torch.zeros(1, 4, 8)},
    )
    assert len(batch.rollout(sprite_items(2, 3), 3)) == 4


def test_signatures_that_say_too_little() -> None:
    class Deaf:
        def __call__(self, image: Any, num_frames: int) -> None: ...

    class Blind:
        def __call__(self, prompt: str, num_frames: int) -> None: ...

    class Film:
        vae_scale_factor_temporal = 4

        def __call__(self, video: Any, num_frames: int) -> None: ...

    class Endless:
        def __call__(self, image: Any) -> None: ...

    class Whole(Deaf):
        def __call__(self, image: Any, num_frames: int, fps: int = 7) -> None: ...

    with pytest.raises(TypeError, match="pipe: expected a pipeline to call, got int"):
        pipeline_inputs(3)
    with pytest.raises(ValueError, match=r"actions: Deaf takes \['image', 'num_frames'\]"):
        model(Deaf())
    plain: dict[str, Any] = {"actions": "none", "converter": None, "prompt": None}
    with pytest.raises(ValueError, match="expected one that takes an image or a video, Blind"):
        model(Blind(), **plain)
    with pytest.raises(ValueError, match="frames: Endless takes no frame count"):
        DiffusersModel(Endless(), fps=10.0, frame_size=(8, 8))
    with pytest.raises(ValueError, match="expected one that takes an image or a video, Deaf"):
        model(Deaf(), **plain, contexts=(1, 3))
    with pytest.raises(ValueError, match=r"contexts: Film encodes 4 frames .* got \[4\]: of the"):
        model(Film(), **plain, frames=9, contexts=(1, 4, 5))
    assert model(Film(), **plain, frames=9, contexts=(1, 5)).capabilities.context_frames == 5
    with pytest.raises(ValueError, match=r"call: Deaf takes .*, got 'steps'"):
        model(Deaf(), **plain, call={"steps": 3})
    with pytest.raises(ValueError, match=r"fps: Whole takes whole frames per second, got 7\.5"):
        model(Whole(), **{**plain, "fps": 7.5})
    told = model(Whole(), **{**plain, "fps": 7.5}, call={"fps": 8})
    assert told.capabilities.fps == 7.5
    with pytest.raises(ValueError, match=r"frames: expected 4 \* a \+ 1, got 6"):
        model(Pipe(), frames=6)
    with pytest.raises(ValueError, match="converter: expected one for a model that takes actions"):
        model(Pipe(), actions="text", converter=None)
    with pytest.raises(ValueError, match=r"table: expected an entry"):
        model(Pipe(), converter=ByName(("noop",))).rollout(sprite_items(1, 4), 4)


def test_nothing_of_a_third_party_is_imported_before_it_is_needed() -> None:
    heavy = "'diffusers', 'transformers', 'PIL', 'av'"
    code = f"import sys, wmscore.worlds; print([m for m in ({heavy}) if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
