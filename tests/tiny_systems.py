"""Every adapter with a tiny double of its system, on one and the same sprite panel.

Weights are random, services run on this machine; pipelines, clients and environments are the real
classes. All of them take frames of 32 x 32 at 10 per second, so that one panel asks them all.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wmscore.testing import sprite_items
from wmscore.timeline import SANA_WM, ByTable, ToKeyString
from wmscore.video import CodecFacts
from wmscore.worlds import (
    ActionBlind,
    AtFrameRate,
    Capabilities,
    ChunkModel,
    ChunkRule,
    Cosmos3Model,
    DiamondModel,
    DiffusersModel,
    FitSize,
    ForcedFitSize,
    Frozen,
    GameNGenModel,
    Item,
    ObservingStepModel,
    OtherSeed,
    RecordedWorld,
    Reencoded,
    SpriteWorld,
    StepModel,
    StepOutput,
    WindowModel,
    WorldModel,
    calibrate_latent_actions,
)

__all__ = ["FPS", "HORIZON", "NAMES", "SIZE", "SYSTEMS", "System", "system"]

SIZE, FPS, HORIZON = 32, 10.0, 6
NAMES = ("noop", "left", "right", "up", "down")
WORLD = SpriteWorld(SIZE, SIZE)
KEYS = {"noop": {}, "left": {"j": 1}, "right": {"l": 1}, "up": {"w": 1}, "down": {"s": 1}}
PUSH = {"noop": {}, "left": {"x": -9.0}, "right": {"x": 9.0}, "up": {"y": -9.0}, "down": {"y": 9.0}}
MINECRAFT = {
    "noop": {},
    "left": {"yaw": -12.3},  # no whole bucket: a loss that has to be said
    "right": {"yaw": 12.3},
    "up": {"forward": 1.0},
    "down": {"back": 1.0},
}
DRIVE = {
    "noop": {},
    "left": {"steering": -0.5},
    "right": {"steering": 0.5},
    "up": {"throttle": 0.3},
    "down": {"throttle": -0.3},
}


def items_of(scenarios: int = 1) -> list[Item]:
    """Rows of the sprite world under two scripts each, with a prompt."""
    made = sprite_items(scenarios, HORIZON, branches=2, world=WORLD)
    return [replace(item, fps=FPS, prompt="blocks on a carpet") for item in made]


# ---- pipelines ---------------------------------------------------------------------------


def pipeline(pipe: Any, **options: Any) -> DiffusersModel:
    from tests.worlds import tiny_pipelines as tiny

    fields: dict[str, Any] = {"frames": 9, "call": tiny.embeds_call(), **options}
    return DiffusersModel(pipe, fps=FPS, frame_size=(SIZE, SIZE), **fields)


def cosmos2(stack: ExitStack) -> WorldModel:
    from tests.worlds import tiny_pipelines as tiny

    return pipeline(tiny.cosmos2(), frames=5, contexts=(1,), rows=None)


def cosmos25(stack: ExitStack) -> WorldModel:
    from tests.worlds import tiny_pipelines as tiny

    return pipeline(tiny.cosmos25(), frames=9, contexts=(1, 5))


def wan(stack: ExitStack) -> WorldModel:
    from tests.worlds import tiny_pipelines as tiny

    return pipeline(tiny.wan(), frames=5)


def ltx(stack: ExitStack) -> WorldModel:
    from tests.worlds import tiny_pipelines as tiny

    masks = dict.fromkeys(
        ("prompt_attention_mask", "negative_prompt_attention_mask"), torch.ones(1, 16)
    )
    return pipeline(tiny.ltx_condition(), call=tiny.embeds_call(**masks))


def cogvideo(stack: ExitStack) -> WorldModel:
    from tests.worlds import tiny_pipelines as tiny

    return pipeline(tiny.cogvideo())


def stable_video(stack: ExitStack) -> WorldModel:
    from tests.worlds import tiny_pipelines as tiny

    return pipeline(
        tiny.stable_video(), frames=4, call={"num_inference_steps": 1, "decode_chunk_size": 2}
    )


def sana_wm(stack: ExitStack) -> WorldModel:
    from tests.worlds import tiny_pipelines as tiny

    inner = DiffusersModel(
        tiny.sana_world_model(),
        fps=FPS,
        frame_size=(64, 96),
        frames=9,
        actions="discrete",
        action_names=NAMES,
        converter=ToKeyString(SANA_WM, table=KEYS),
        call=tiny.sana_call(64, 96),
    )
    return FitSize(inner, SIZE, SIZE, "stretch")


def cosmos3(stack: ExitStack) -> WorldModel:
    from tests.worlds import tiny_pipelines as tiny

    return Cosmos3Model(
        tiny.cosmos3(),
        domain="pusht",
        frame_size=(SIZE, SIZE),
        fps=FPS,
        chunk=4,
        resolution_tier=256,
        actions="discrete",
        action_names=NAMES,
        converter=ByTable(PUSH, components=("x", "y")),
        call={"num_inference_steps": 1},
    )


# ---- models of the last few frames -------------------------------------------------------


def gamengen(stack: ExitStack) -> WorldModel:
    from tests.worlds.tiny_models import gamengen_parts

    return GameNGenModel(
        **gamengen_parts(SIZE), action_names=NAMES, fps=FPS, frame_size=(SIZE, SIZE), steps=2
    )


def diamond(stack: ExitStack) -> WorldModel:
    from tests.worlds.tiny_models import TinySampler

    return DiamondModel(TinySampler(), action_names=NAMES, fps=FPS, frame_size=(SIZE, SIZE))


def genie(stack: ExitStack) -> WorldModel:
    from tests.worlds import tiny_models

    raw = tiny_models.genie(size=SIZE)
    found = calibrate_latent_actions(raw, items_of(4), WORLD)
    return tiny_models.genie(size=SIZE, converter=found.converter())


def open_oasis(stack: ExitStack) -> WorldModel:
    from tests.worlds.oasis.oasis_networks import SmallVAE, networks
    from wmscore.worlds.oasis import OasisActions, OpenOasis

    dit, _ = networks()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = SmallVAE(size=(SIZE, SIZE))
    return OpenOasis(dit, vae, converter=OasisActions(MINECRAFT), steps=2, frames_per_action=2)


# ---- services on this machine ------------------------------------------------------------


def oasis3(stack: ExitStack) -> WorldModel:
    from tests.worlds.oasis.oasis3_server import serving_oasis
    from wmscore.worlds.oasis import oasis3_model

    server, url = stack.enter_context(serving_oasis())
    server.size = (SIZE, SIZE)
    _set_key(stack)
    return oasis3_model(
        table=DRIVE, endpoint=url, api_key_env="WMSCORE_TINY_KEY", fps=FPS, frame_size=(SIZE, SIZE)
    )


def videos_api(stack: ExitStack) -> WorldModel:
    from tests.worlds.servers.videos_server import Job, VideosServer, moving, mp4, serving
    from wmscore.worlds.servers import videos_model

    def clip(job: Job) -> bytes:
        count = int(job.fields["num_frames"])
        return mp4(moving(job.image, count, (SIZE, SIZE), 1 + int(job.fields["seed"])), FPS)

    state = stack.enter_context(serving(VideosServer(clip=clip)))
    _set_key(stack)
    model = videos_model(
        base_url=state.url,
        api_key_env="WMSCORE_TINY_KEY",
        model="videos-api",
        fps=FPS,
        frame_size=(SIZE, SIZE),
        seconds=None,
        frames_field="num_frames",
        multiple=(4, 1),
        seed_field="seed",
        poll_seconds=0.01,
    )
    stack.callback(model.service.jobs.close)  # type: ignore[attr-defined]
    return model


def _set_key(stack: ExitStack) -> None:
    os.environ["WMSCORE_TINY_KEY"] = "key-123"
    stack.callback(os.environ.pop, "WMSCORE_TINY_KEY", None)


# ---- recordings --------------------------------------------------------------------------


def clip_codec() -> CodecFacts:
    return CodecFacts(
        container="mp4",
        codec="h264",
        pixel_format="yuv420p",
        width=SIZE,
        height=SIZE,
        fps=FPS,
        bits_per_pixel=1.0,
        lossy=True,
    )


def clips(stack: ExitStack) -> WorldModel:
    """Films of the items, each played at half the gain: a model that answers too little."""
    from wmscore.episodes import ClipFolder
    from wmscore.video import write_video

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wmscore-clips-")))
    items = items_of()
    shown = WORLD.scaled(0.5).rollout(items, HORIZON).frames
    for item, frames in zip(items, shown, strict=True):
        write_video(folder / f"{item.scenario_id}_{item.seed}_{item.branch}.mp4", frames, fps=FPS)
    return RecordedWorld(ClipFolder(folder, name="clips"))


# ---- simulators --------------------------------------------------------------------------


def gymnasium_sprites(stack: ExitStack) -> WorldModel:
    """The sprite world as somebody else's environment."""
    from tests.worlds.gym_sprites import SpriteEnv
    from wmscore.worlds.gymnasium import GymnasiumWorld

    return stack.enter_context(
        GymnasiumWorld(lambda: SpriteEnv(SIZE), actions=list(NAMES), fps=FPS, name="gymnasium")
    )


def mujoco(stack: ExitStack) -> WorldModel:
    from tests.worlds.test_mujoco import TABLE, XML
    from wmscore.worlds.mujoco import MujocoWorld

    return stack.enter_context(
        MujocoWorld(XML, height=40, width=56, camera="above", frame_skip=10, actions=TABLE)
    )


def mujoco_items() -> list[Item]:
    from tests.worlds.test_mujoco import NAMES as CARTS

    return _own_items(mujoco, CARTS, [[2, 2, 0, 1, 1, 2], [0] * HORIZON], {})


def vizdoom(stack: ExitStack) -> WorldModel:
    from wmscore.worlds.vizdoom import VizDoomWorld

    return stack.enter_context(VizDoomWorld(workers=1))


def vizdoom_items() -> list[Item]:
    from wmscore.worlds.doom_game import ACTIONS

    reset = {"scenario": "health_gathering", "seed": 3, "warmup": []}
    return _own_items(vizdoom, ACTIONS, [[3, 3, 1, 1, 3, 2], [0] * HORIZON], reset)


def _own_items(
    make: Callable[[ExitStack], WorldModel],
    names: Sequence[str],
    scripts: Sequence[Sequence[int]],
    reset: dict[str, Any],
) -> list[Item]:
    """Rows of another world, with the frame that it shows first."""
    items = [
        Item(
            panel="p",
            scenario=0,
            scenario_id="own",
            initial_state_id="own",
            reset=reset,
            seed=0,
            branch=branch,
            actions=torch.tensor(script),
            action_names=tuple(names),
            noop=0,
        )
        for branch, script in enumerate(scripts)
    ]
    with ExitStack() as stack:
        shown = make(stack).rollout(items, 1)
    labels = [None] * len(items) if shown.labels is None else list(shown.labels[:, 0])
    return [
        replace(item, frame=frames[0], labels=first)
        for item, frames, first in zip(items, shown.frames, labels, strict=True)
    ]


# ---- lifters and wrappers ----------------------------------------------------------------


class Rolling:
    """A step model: the last frame moved as the action says."""

    name = "rolling"
    capabilities = Capabilities(
        actions="discrete", action_names=NAMES, seedable=False, fps=FPS, frame_size=(SIZE, SIZE)
    )
    MOVES = ((0, 0), (0, 2), (0, -2), (2, 0), (-2, 0))

    def __init__(self, size: int = SIZE) -> None:
        self.capabilities = replace(self.capabilities, frame_size=(size, size))

    def reset(self, items: Sequence[Item]) -> StepOutput:
        self.frames = torch.stack([item.frame for item in items if item.frame is not None])
        return StepOutput(frames=self.frames)

    def step(self, actions: Tensor) -> StepOutput:
        moved = [
            frame.roll(self.MOVES[int(a)], (1, 2))
            for frame, a in zip(self.frames, actions, strict=True)
        ]
        self.frames = torch.stack(moved)
        return StepOutput(frames=self.frames)

    def observe(self, frames: Tensor) -> None:
        self.frames = frames


def lifted_chunks(stack: ExitStack) -> WorldModel:
    return ChunkModel(
        lambda chunk: chunk.context[:, -1:].repeat(1, chunk.frames, 1, 1, 1),
        ChunkRule(frames=5),
        name="chunks",
        fps=FPS,
        frame_size=(SIZE, SIZE),
        seedable=False,
    )


def lifted_window(stack: ExitStack) -> WorldModel:
    def predict(context: Tensor, actions: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        moves = [Rolling.MOVES[int(a)] for a in actions[:, -1]]
        moved = [f.roll(m, (1, 2)) for f, m in zip(context[:, -1], moves, strict=True)]
        return torch.stack(moved)

    able = replace(Rolling.capabilities, context_frames=2)
    return WindowModel(predict, name="window", capabilities=able)


# ---- the list ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class System:
    """An adapter and its double.

    Attributes:
        name: of the row of the table.
        adapter: the class, of `wmscore.worlds` or a module below.
        make: the model; what must be closed goes on the stack.
        needs: modules that must be installed.
        items: rows that it is asked for, by default those of the sprite world.
    """

    name: str
    adapter: str
    make: Callable[[ExitStack], WorldModel]
    needs: tuple[str, ...] = ()
    items: Callable[[], list[Item]] = items_of


_PIPES = ("diffusers", "transformers", "PIL")
SYSTEMS = (
    System(
        name="Cosmos2VideoToWorldPipeline", adapter="DiffusersModel", make=cosmos2, needs=_PIPES
    ),
    System(
        name="Cosmos2_5_PredictBasePipeline", adapter="DiffusersModel", make=cosmos25, needs=_PIPES
    ),
    System(name="WanImageToVideoPipeline", adapter="DiffusersModel", make=wan, needs=_PIPES),
    System(name="SanaWMPipeline", adapter="DiffusersModel", make=sana_wm, needs=_PIPES),
    System(name="LTXConditionPipeline", adapter="DiffusersModel", make=ltx, needs=_PIPES),
    System(
        name="CogVideoXImageToVideoPipeline", adapter="DiffusersModel", make=cogvideo, needs=_PIPES
    ),
    System(
        name="StableVideoDiffusionPipeline",
        adapter="DiffusersModel",
        make=stable_video,
        needs=_PIPES,
    ),
    System(
        name="Cosmos3OmniPipeline, forward dynamics",
        adapter="Cosmos3Model",
        make=cosmos3,
        needs=_PIPES,
    ),
    System(name="GameNGen's shape", adapter="GameNGenModel", make=gamengen, needs=("diffusers",)),
    System(name="DIAMOND's shape", adapter="DiamondModel", make=diamond),
    System(name="Genie's shape, calibrated", adapter="LatentActionModel", make=genie),
    System(name="open-oasis' shape", adapter="OpenOasis", make=open_oasis),
    System(
        name="Oasis 3 client, server here",
        adapter="ServerModel",
        make=oasis3,
        needs=("decart_oasis", "av"),
    ),
    System(
        name="videos API client, server here",
        adapter="ServerModel",
        make=videos_api,
        needs=("openai", "av", "PIL"),
    ),
    System(name="clips (h264)", adapter="RecordedWorld", make=clips, needs=("av",)),
    System(
        name="gymnasium environment",
        adapter="GymnasiumWorld",
        make=gymnasium_sprites,
        needs=("gymnasium",),
    ),
    System(
        name="MuJoCo", adapter="MujocoWorld", make=mujoco, needs=("mujoco",), items=mujoco_items
    ),
    System(
        name="VizDoom",
        adapter="VizDoomWorld",
        make=vizdoom,
        needs=("vizdoom",),
        items=vizdoom_items,
    ),
    System(name="sprite world", adapter="SpriteWorld", make=lambda stack: WORLD),
    System(name="step model, lifted", adapter="StepModel", make=lambda stack: StepModel(Rolling())),
    System(
        name="step model that observes",
        adapter="ObservingStepModel",
        make=lambda stack: ObservingStepModel(Rolling()),
    ),
    System(name="window model, lifted", adapter="WindowModel", make=lifted_window),
    System(name="chunk model, lifted", adapter="ChunkModel", make=lifted_chunks),
    System(
        name="of another size",
        adapter="FitSize",
        make=lambda stack: FitSize(StepModel(Rolling(48)), SIZE, SIZE),
    ),
    System(
        name="of another size, observing",
        adapter="ForcedFitSize",
        make=lambda stack: ForcedFitSize(lifted_window(stack), SIZE, SIZE),
    ),
    System(
        name="of a higher frame rate",
        adapter="AtFrameRate",
        make=lambda stack: AtFrameRate(WORLD, FPS / 2),
        items=lambda: [replace(item, fps=FPS / 2) for item in items_of()],
    ),
    System(
        name="behind a codec (h264)",
        adapter="Reencoded",
        make=lambda stack: Reencoded(WORLD, clip_codec()),
        needs=("av",),
    ),
    System(name="floor: frozen", adapter="Frozen", make=lambda stack: Frozen(WORLD)),
    System(
        name="floor: action-blind", adapter="ActionBlind", make=lambda stack: ActionBlind(WORLD)
    ),
    System(name="ceiling: other seed", adapter="OtherSeed", make=lambda stack: OtherSeed(WORLD)),
)


def system(name: str) -> System:
    """The row of a name."""
    return next(row for row in SYSTEMS if row.name == name)
