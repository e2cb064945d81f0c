"""Open Oasis: the window of diffusion forcing, on small networks of its shape and on its own."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from tests.worlds.oasis.oasis_networks import ACTION_WIDTH, SmallDiT, networks
from wmscore.testing import check_world_model, sprite_items
from wmscore.timeline import OASIS_COLUMNS, ByTable, Conversion, Timeline, minecraft_space
from wmscore.worlds import Item, SpriteWorld, TeacherForced
from wmscore.worlds.oasis import (
    OasisActions,
    OpenOasis,
    WindowSampler,
    load_open_oasis,
    open_oasis_modules,
    sigmoid_alphas,
)
from wmscore.worlds.randomness import row_generators

SIZE, HORIZON = (12, 16), 6
TABLE = {
    "noop": {},
    "left": {"yaw": -10.0},
    "right": {"yaw": 10.0},
    "up": {"forward": 1.0},
    "down": {"back": 1.0},
}
CONVERTER = OasisActions(TABLE)
# The same in words of the networks: -10 of at most 20 degrees.
ROWS = {**TABLE, "left": {"cameraY": -0.5}, "right": {"cameraY": 0.5}}


@pytest.fixture(scope="module")
def items() -> list[Item]:
    made = sprite_items(2, HORIZON, seeds=(0, 5), world=SpriteWorld(height=64, width=64))
    return [
        replace(item, frame=item.frame[:, 20:32, 20:36].contiguous(), labels=None, fps=20.0)
        for item in made
    ]


@pytest.fixture(scope="module")
def model() -> OpenOasis:
    return OpenOasis(*networks(), converter=CONVERTER, steps=3)


def published(
    velocity: Callable[[Tensor, Tensor, Tensor], Tensor],
    latents: Tensor,
    actions: Tensor,
    noise: Sequence[Tensor],
    *,
    window: int,
    steps: int,
) -> Tensor:
    """What generate.py of open-oasis does, said in other words: all frames at once, no shortcut.

    Every frame of the window takes part in each step, context with its own signal share of 1.
    """
    alphas = sigmoid_alphas()
    marks = torch.linspace(-1, 999, steps + 1)
    for new in range(latents.shape[1], actions.shape[1]):
        latents = torch.cat([latents, noise[new][:, None].clamp(-20, 20)], 1)
        begin = max(0, new + 1 - window)
        for k in range(steps, 0, -1):
            level = torch.full((len(latents), new + 1), 14)
            level[:, new] = int(marks[k])
            seen, level = latents[:, begin:], level[:, begin:]
            v = velocity(seen, level, actions[:, begin : new + 1])
            a = alphas[level][..., None, None, None]
            clean = a.sqrt() * seen - (1 - a).sqrt() * v
            noisy = ((1 / a).sqrt() * seen - clean) / (1 / a - 1).sqrt()
            after = torch.ones_like(a)
            if k > 1:
                after[:, -1] = alphas[int(marks[k - 1])]
            moved = after.sqrt() * clean + noisy * (1 - after).sqrt()
            latents = torch.cat([latents[:, :-1], moved[:, -1:]], 1)
    return latents


@pytest.mark.parametrize(("steps", "given"), [(1, 1), (7, 3), (10, 1)])
@torch.no_grad()
def test_the_published_loop(steps: int, given: int) -> None:
    dit, _ = networks(max_frames=3)
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, given, 4, 3, 4, generator=generator)
    actions = torch.rand(2, 7, ACTION_WIDTH, generator=generator)
    noise = [9 * torch.randn(2, 4, 3, 4, generator=generator) for _ in range(7)]
    wanted = published(dit, latents, actions, noise, window=3, steps=steps)
    sampler, found = WindowSampler(dit, steps=steps), latents
    for new in range(given, 7):
        latent = sampler.next_latent(found, actions[:, : new + 1], noise[new])
        found = torch.cat([found, latent[:, None]], 1)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_the_schedule() -> None:
    alphas = sigmoid_alphas()
    assert alphas.shape == (1000,)
    assert bool((alphas.diff() < 0).all())
    # The closed form of Jabri et al., which betas below 0.999 do not change.
    time = torch.arange(1, 1000, dtype=torch.float64) / 1000
    ends = torch.tensor([-3.0, 3.0], dtype=torch.float64).sigmoid()
    form = (ends[1] - (6 * time - 3).sigmoid()) / (ends[1] - ends[0])
    torch.testing.assert_close(alphas[:-1].double(), form, rtol=1e-4, atol=1e-6)
    for field, value in (("steps", 0), ("steps", 1001), ("stabilisation", 0)):
        with pytest.raises(ValueError, match=f"{field}: expected 1"):
            WindowSampler(networks()[0], **{field: value})


def test_what_the_networks_are_asked(items: list[Item]) -> None:
    dit, vae = networks()
    OpenOasis(dit, vae, converter=CONVERTER, steps=2).rollout(items[:2], HORIZON)
    counts = [shape[1] for shape, _ in dit.calls]
    assert counts == [2, 2, 3, 3, *[4] * 8]  # two steps per frame, four frames at most
    assert [levels for _, levels in dit.calls[:4]] == [
        [14, 999],
        [14, 499],
        [14, 14, 999],
        [14, 14, 499],
    ]


def test_rollouts_are_the_published_ones(model: OpenOasis, items: list[Item]) -> None:
    """From pixels to pixels, with actions that stand at the frame that they produced."""
    rows = items[:2]
    first = torch.stack([item.frame for item in rows]).float() / 255 * 2 - 1
    with torch.no_grad():
        mean = model.vae.encode(first).mean * 0.07843137255
        latents = mean.transpose(1, 2).unflatten(2, (3, 4))[:, None]
        told = torch.zeros(2, HORIZON + 1, ACTION_WIDTH)
        for row, item in enumerate(rows):
            for t, action in enumerate(item.actions.tolist()):
                for name, value in ROWS[item.action_names[action]].items():
                    told[row, t + 1, OASIS_COLUMNS.index(name)] = value
        noise = [
            torch.stack([torch.randn(4, 3, 4, generator=g) for g in row_generators(rows, t)])
            for t in range(HORIZON + 1)
        ]
        latents = published(model.dit, latents, told, noise, window=4, steps=3)
        tokens = latents[:, 1:].flatten(0, 1).flatten(2).transpose(1, 2)
        pixels = (model.vae.decode(tokens / 0.07843137255) + 1) / 2
    wanted = (pixels.clamp(0, 1) * 255).unflatten(0, (2, HORIZON))
    rollouts = model.rollout(rows, HORIZON)
    assert torch.equal(rollouts.frames[:, 0], torch.stack([item.frame for item in rows]))
    assert (rollouts.frames[:, 1:].float() - wanted).abs().max() < 0.51
    assert len(rollouts.frames.unique()) > 50


def test_contract(model: OpenOasis, items: list[Item]) -> None:
    assert isinstance(model, TeacherForced)
    report = check_world_model(model, items[:4], HORIZON)
    report.raise_on_failure()
    kept = {row.property for row in report.rows if row.promised}
    assert {"deterministic", "seedable", "prefix causal", "action effect"} <= kept
    assert report.action_effect > 1


def test_rows_have_their_own_noise(model: OpenOasis, items: list[Item]) -> None:
    together = model.rollout(items, HORIZON)
    for i in (0, 3, 6):
        alone = model.rollout([items[i]], HORIZON)
        assert (alone.frames[0].float() - together.frames[i].float()).abs().max() <= 1
    before = torch.get_rng_state()
    model.rollout(items[:1], 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_predictions_see_the_true_frames(model: OpenOasis, items: list[Item]) -> None:
    rows = items[:2]
    own = model.rollout(rows, HORIZON)
    # Told its own frames, the context is only what the autoencoder makes of them.
    truth = torch.randint(256, own.frames.shape, dtype=torch.uint8)
    forced = model.predict_next(rows, truth, HORIZON)
    assert torch.equal(forced.frames[:, :2], own.frames[:, :2])
    assert not torch.equal(forced.frames[:, 2], own.frames[:, 2])


def test_true_frames_of_another_kind(model: OpenOasis, items: list[Item]) -> None:
    height, width = model.capabilities.frame_size
    for frames in (
        torch.zeros(2, 3, 3, height, width),
        torch.zeros(2, 3, 3, height, width - 1, dtype=torch.uint8),
    ):
        with pytest.raises(ValueError, match=r"reference_frames: expected uint8 frames \[n, C"):
            model.predict_next(items[:2], frames, 2)


def test_several_frames_per_action(items: list[Item]) -> None:
    """A panel of 10 frames per second: half of each turn twice, every second frame is shown."""
    dit, vae = networks()
    slow = OpenOasis(dit, vae, converter=CONVERTER, steps=2, frames_per_action=2)
    rows = [replace(item, fps=10.0) for item in items[:2]]
    assert slow.capabilities.fps == 10
    doubled = [replace(i, fps=20.0, actions=i.actions.repeat_interleave(2)) for i in rows]
    half = OasisActions({**TABLE, "left": {"yaw": -5.0}, "right": {"yaw": 5.0}})
    fast = OpenOasis(dit, vae, converter=half, steps=2).rollout(doubled, 2 * HORIZON)
    assert torch.equal(slow.rollout(rows, HORIZON).frames, fast.frames[:, ::2])
    assert slow.conversion_losses == ()
    with pytest.raises(ValueError, match=r"is at 20 .* model 'open-oasis' takes 10"):
        slow.rollout(items[:1], HORIZON)


def test_any_other_converter(items: list[Item]) -> None:
    same = OpenOasis(*networks(), converter=ByTable(ROWS, components=OASIS_COLUMNS), steps=2)
    wanted = OpenOasis(*networks(), converter=CONVERTER, steps=2).rollout(items[:2], HORIZON).frames
    assert torch.equal(same.rollout(items[:2], HORIZON).frames, wanted)
    assert same.capabilities.actions == "discrete"


def test_losses_are_told(items: list[Item]) -> None:
    wide = {**TABLE, "up": None, "left": {"yaw": -30.2}}
    model = OpenOasis(*networks(), converter=OasisActions(wide), steps=1)
    assert model.conversion_losses == ()
    model.rollout([replace(items[0], actions=torch.tensor([3, 1, 3]))], 3)
    told = " ".join(model.conversion_losses)
    assert "up: dropped at 2 steps" in told
    model.rollout([replace(items[0], actions=torch.tensor([3, 1, 3]))], 3)  # the same row
    assert " ".join(model.conversion_losses) == told
    assert "yaw: clipped at 1 step, by up to 10.2 degree" in told


def test_bad_rows_and_networks(model: OpenOasis, items: list[Item]) -> None:
    with pytest.raises(ValueError, match="has None"):
        model.rollout([replace(items[0], frame=None)], 2)
    with pytest.raises(
        ValueError, match=r"takes frames uint8 \[3, 12, 16\], .*\[3, 12, 12\].*FitSize"
    ):
        model.rollout([replace(items[0], frame=items[0].frame[..., :12])], 2)
    with pytest.raises(ValueError, match=r"items: 'sprites-0', actions: .*ByTable"):
        model.rollout([replace(items[0], actions=torch.zeros(4, 5), noop=None)], 2)

    def narrow(timeline: Timeline) -> Conversion[Tensor]:
        return Conversion(torch.zeros(*timeline.actions.shape, 24))

    with pytest.raises(ValueError, match=r"converter: expected \[2, 25\].*got \[2, 24\]"):
        OpenOasis(*networks(), converter=narrow).rollout(items[:1], 2)
    dit, vae = networks()
    with pytest.raises(TypeError, match="vae: expected an attribute patch_size, got a Linear"):
        OpenOasis(dit, nn.Linear(1, 1), converter=CONVERTER)
    with pytest.raises(TypeError, match="dit: expected max_frames"):
        OpenOasis(nn.Linear(1, 1), vae, converter=CONVERTER)
    with pytest.raises(ValueError, match="frames_per_action: expected at least 1, got 0"):
        OpenOasis(dit, vae, converter=CONVERTER, frames_per_action=0)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)])
def test_half_precision(model: OpenOasis, items: list[Item], device: str) -> None:
    """As published on CUDA: the encoder and the denoiser by autocast. The noise is the same."""
    wanted = model.rollout(items[:2], HORIZON).frames.float()
    half = OpenOasis(*networks(), converter=CONVERTER, steps=3, device=device, half=True)
    gap = (half.rollout(items[:2], HORIZON).frames.float() - wanted).abs()[:, 1:]
    assert 0 < gap.mean() < 4
    full = OpenOasis(*networks(), converter=CONVERTER, steps=3, device=device, half=False)
    assert (full.rollout(items[:2], HORIZON).frames.float() - wanted).abs().max() <= 2


class BlowsUp(SmallDiT):
    def forward(self, *args: Tensor) -> Tensor:
        return super().forward(*args) * torch.nan


def test_what_is_no_number_is_an_error(items: list[Item]) -> None:
    with pytest.raises(
        ValueError, match=r"open-oasis: frames: expected finite values .* rows \[0\] of"
    ):
        OpenOasis(BlowsUp(), networks()[1], converter=CONVERTER, steps=2).rollout(items[:1], 2)


# ---- files -------------------------------------------------------------------------------

DIT_FILE = """
import attention
from networks import SmallDiT
assert attention.OF == "checkout"
DiT_models = {"DiT-S/2": SmallDiT}
"""
VAE_FILE = """
import dit
from networks import SmallVAE
VAE_models = {"vit-l-20-shallow-encoder": SmallVAE}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "open-oasis"
    folder.mkdir()
    (folder / "dit.py").write_text(DIT_FILE)
    (folder / "vae.py").write_text(VAE_FILE)
    (folder / "attention.py").write_text('OF = "checkout"')
    (folder / "networks.py").write_text(Path(__file__).with_name("oasis_networks.py").read_text())
    # As with torchvision of 2026:
    (folder / "utils.py").write_text("raise ImportError('cannot import name read_video')")
    dit, vae = networks()
    safetensors.torch.save_model(dit, str(folder / "dit.safetensors"))
    safetensors.torch.save_model(vae, str(folder / "vae.safetensors"))
    return folder


def test_from_files(
    checkout: Path, model: OpenOasis, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = object()
    monkeypatch.setitem(sys.modules, "attention", mine)  # the user's own module of that name
    path, modules = list(sys.path), set(sys.modules)
    weights = [checkout / f"{name}.safetensors" for name in ("dit", "vae")]
    loaded = load_open_oasis(checkout, *weights, table=TABLE, steps=3)
    assert torch.equal(
        loaded.rollout(items[:2], HORIZON).frames, model.rollout(items[:2], HORIZON).frames
    )
    assert sys.path == path
    assert set(sys.modules) == modules
    assert sys.modules["attention"] is mine


def test_without_a_table_panels_have_the_components(checkout: Path, items: list[Item]) -> None:
    weights = [checkout / f"{name}.safetensors" for name in ("dit", "vae")]
    loaded = load_open_oasis(checkout, *weights, steps=2)
    table = ByTable(TABLE, components=minecraft_space().names)
    script = table(Timeline.of_items(items[:1])).value[0]
    row = replace(
        items[0],
        actions=script,
        action_names=table.components,
        action_units=minecraft_space().units,
        noop=None,
    )
    named = load_open_oasis(checkout, *weights, table=TABLE, steps=2).rollout(items[:1], HORIZON)
    assert torch.equal(loaded.rollout([row], HORIZON).frames, named.frames)
    assert loaded.capabilities.actions == "continuous"


def test_bad_files(checkout: Path, tmp_path: Path) -> None:
    dit, vae = (checkout / f"{name}.safetensors" for name in ("dit", "vae"))
    with pytest.raises(FileNotFoundError, match=r"checkout: expected dit\.py"):
        load_open_oasis(tmp_path, dit, vae)
    with pytest.raises(FileNotFoundError, match="weights: expected a file"):
        load_open_oasis(checkout, tmp_path / "none.safetensors", vae)
    with pytest.raises(ValueError, match=r"vae\.safetensors does not fit the network"):
        load_open_oasis(checkout, vae, vae)
    other = tmp_path / "oasis500m.pt"
    other.write_bytes(b"")
    with pytest.raises(ValueError, match=r"expected \.safetensors, got oasis500m\.pt"):
        load_open_oasis(checkout, other, vae)
    with pytest.raises(ValueError, match="table, converter"):
        load_open_oasis(checkout, dit, vae, table=TABLE, converter=CONVERTER)
    (checkout / "attention.py").write_text("import a_package_that_is_not_there")
    with pytest.raises(ImportError, match="needs 'a_package_that_is_not_there'"):
        load_open_oasis(checkout, dit, vae)
    assert "attention" not in sys.modules


# ---- the real networks -------------------------------------------------------------------

REAL = os.environ.get("WMSCORE_OPEN_OASIS", "")


@pytest.mark.skipif(
    not REAL or any(importlib.util.find_spec(name) is None for name in ("timm", "einops")),
    reason="needs timm, einops, and WMSCORE_OPEN_OASIS = a checkout of etched-ai/open-oasis",
)
def test_the_published_networks(items: list[Item]) -> None:
    dit_code, vae_code = open_oasis_modules(REAL)
    dit: Any = dit_code.DiT(3, 4, 1, 4, 32, 2, 2, max_frames=4)
    vae = vae_code.AutoencoderKL(4, *SIZE, 4, 32, 1, 2, 32, 1, 2)
    for weight in dit.parameters():  # an untrained network has zeros that hide its actions
        if not weight.any():
            nn.init.normal_(weight, std=0.2)
    model = OpenOasis(dit, vae, converter=CONVERTER, steps=3)
    report = check_world_model(model, items[:4], HORIZON)
    report.raise_on_failure()
    assert report.action_effect > 0.1
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 1, 4, 3, 4, generator=generator)
    actions = torch.rand(2, 7, ACTION_WIDTH, generator=generator)
    noise = [torch.randn(2, 4, 3, 4, generator=generator) for _ in range(7)]
    with torch.no_grad():
        wanted = published(dit, latents, actions, noise, window=4, steps=3)
        for new in range(1, 7):
            latent = model.sampler.next_latent(latents, actions[:, : new + 1], noise[new])
            latents = torch.cat([latents, latent[:, None]], 1)
    torch.testing.assert_close(latents, wanted, rtol=1e-4, atol=1e-4)
