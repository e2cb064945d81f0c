"""`StagedSprites`: encoder, state, action path, transition and decoder, each with its faults."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.testing.staged.faults import StageFault
from wmscore.testing.staged.scene import Painter, TrueState, true_state
from wmscore.worlds.protocol import Capabilities, Item, item_keys
from wmscore.worlds.sprites import SpriteWorld
from wmscore.worlds.step import stack_actions

__all__ = ["StagedSprites"]

_NOISE = 0.7  # grey levels of the decoder without a fault
_JITTER = 0.1  # pixels of the transition without a fault


class StagedSprites:
    """A model of `SpriteWorld` that knows its state and has five stages, each with its faults.

    *Encoder*: reads places and velocities of all objects. *State*: keeps them. *Action path*: takes
    the commanded action to the camera. *Transition*: moves objects by their velocities. *Decoder*:
    paints the state. Without a fault it is nearly perfect: the decoder adds a little noise, the
    transition a little jitter, drawn by the row's seed.

    It rolls out, predicts one step from the true history (`predict_next`), shows what encoder and
    decoder make of true frames (`reconstruct`), and its latents can be read (`latents`). With the
    fault and its strength known, it is ground truth for whatever assigns failures to stages.

    Faults (strength s in (0, 1]):

    - perception: `decoder-blur` (box of 1 + 2 round(3 s) pixels), `decoder-levels` (256^(1 - 0.8 s)
      levels), `decoder-tint` (red times 1 - 0.8 s);
    - representation: `no-velocity` (a share s of the objects is taken to stand still),
      `forgets-hidden` (with chance s an object that is out of view is gone for good);
    - control: `delay` (1 + round(3 s) steps), `mirrored`, `permuted`, `dropped`, `ignored` (each
      action with chance s);
    - dynamics: `slow-objects`, `fast-objects` (velocities times 1 - s, 1 + s), `drifting-objects`
      (s pixels a step).
    """

    def __init__(self, height: int = 48, width: int = 48, *faults: StageFault) -> None:
        """Of frames of this size, with any faults; at most one of control, one of each kind.

        Raises:
            ValueError: more than that.
        """
        kinds = [fault.kind for fault in faults]
        if len(set(kinds)) < len(kinds) or sum(f.stage == "control" for f in faults) > 1:
            raise ValueError(f"faults: expected one of a kind, at most one of control, got {kinds}")
        self.world = SpriteWorld(height, width)
        self.painter = Painter(height, width)
        self.faults = faults

    @property
    def name(self) -> str:
        """With the faults and their strengths."""
        return "-".join(["staged", *(f"{f.kind}-{f.strength:g}" for f in self.faults)])

    @property
    def capabilities(self) -> Capabilities:
        """Those of the sprite world; noise is drawn by the seed.

        Where actions are ignored from some share of the horizon on, frames depend on the horizon.
        """
        by_share = any(f.kind == "ignored" and f.strength < 1 for f in self.faults)
        return replace(self.world.capabilities, seedable=True, prefix_causal=not by_share)

    # ---- what it can be asked ----------------------------------------------------------------

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Roll out from the given frame."""
        scripts = stack_actions(items, horizon)
        sent = self._sent(items, scripts)
        true = true_state(self.painter, items, sent)
        steps = self._velocities(true, items)
        places = torch.cat([true.places[:, :1], true.places[:, :1] + steps.cumsum(1)], 1)
        places = places + self._jitter(items, places)
        there = self._remembered(true, items)
        return self._shown(items, scripts, true.camera, places, there, call=0)

    def predict_next(
        self, items: Sequence[Item], reference_frames: Tensor, horizon: int
    ) -> Rollouts:
        """One step from the true state at each step (its encoder reads true frames perfectly)."""
        scripts = stack_actions(items, horizon)
        true = true_state(self.painter, items, scripts)
        sent = true_state(self.painter, items, self._sent(items, scripts))
        moved = sent.camera.diff(dim=1)
        camera = torch.cat([true.camera[:, :1], true.camera[:, :-1] + moved], 1)
        steps = self._velocities(true, items)
        jitter = self._jitter(items, true.places).diff(dim=1)
        places = torch.cat([true.places[:, :1], true.places[:, :-1] + steps + jitter], 1)
        # What was out of view a step ago is not in the state that it goes on from.
        there = true.exists[:, None].expand_as(true.shown).clone()
        if self._at("forgets-hidden"):
            there[:, 1:] &= self._remembered(true, items)[:, :-1] | true.shown[:, :-1]
        found = self._shown(items, scripts, camera, places, there, call=1)
        # What it cannot explain in a frame it takes along to the next one.
        known = self._painted(items, true)
        strange = reference_frames[:, :-1].cpu().short() - known[:, :-1].short()
        frames = found.frames.short()
        frames[:, 2:] += strange[:, 1:]  # frame 0 is given, and kept as it is
        return replace(found, frames=frames.clamp(0, 255).to(torch.uint8))

    def reconstruct(
        self, items: Sequence[Item], reference_frames: Tensor, horizon: int
    ) -> Rollouts:
        """Encode and decode the true frames."""
        scripts = stack_actions(items, horizon)
        true = true_state(self.painter, items, scripts)
        return self._shown(items, scripts, true.camera, true.places, true.shown, call=2)

    def latents(self, items: Sequence[Item], horizon: int) -> tuple[Tensor, Tensor]:
        """Latents `[B, T+1, D]` of the true frames, and the state `[B, T+1, Q]` behind them.

        Places relative to the camera and velocities of all objects, in pixels.
        """
        true = true_state(self.painter, items, stack_actions(items, horizon))
        view = true.places - true.camera[:, :, None].double() / 256
        speed = torch.cat([true.places.diff(dim=1), torch.zeros_like(view[:, :1])], 1)
        speed[:, -1] = speed[:, -2]
        state = torch.cat([view, speed], 3)
        held = state.clone()
        if self._at("no-velocity"):
            held[..., 2:] = held[..., 2:] * (~self._still(true, items))[:, None, :, None]
        if self._at("forgets-hidden"):
            held = held * (self._remembered(true, items) | true.shown)[..., None]
        noise = [
            torch.randn(held.shape[1:], generator=_generator(item, 3), dtype=torch.float64)
            for item in items
        ]
        state = state.masked_fill(~true.exists[:, None, :, None], torch.nan)
        return (held + 0.02 * torch.stack(noise)).flatten(2), state.flatten(2)

    # ---- stages ------------------------------------------------------------------------------

    def _at(self, kind: str) -> float:
        return sum(fault.at(kind) for fault in self.faults)

    def _sent(self, items: Sequence[Item], scripts: Tensor) -> Tensor:
        """The action path: what reaches the camera, `[B, T]`."""
        fault = next((f for f in self.faults if f.stage == "control"), None)
        if fault is None:
            return scripts
        sent = scripts.clone()
        names = list(items[0].action_names)
        noop = items[0].noop if isinstance(items[0].noop, int) else 0
        strength = fault.strength
        if fault.kind == "delay":
            late = min(scripts.shape[1], 1 + round(3 * strength))
            return torch.cat([scripts.new_full((len(items), late), noop), scripts], 1)[
                :, : scripts.shape[1]
            ]
        mirror = {"left": "right", "right": "left", "up": "down", "down": "up"}
        turn = {"left": "up", "up": "right", "right": "down", "down": "left"}
        swaps = {"mirrored": mirror, "permuted": turn}.get(fault.kind, {})
        table = torch.tensor([names.index(swaps.get(n, n)) for n in names])
        for row, item in enumerate(items):
            rng = random.Random(f"{item.scenario_id}/{item.seed}/{item.branch}/sent")
            hit = torch.tensor([rng.random() < strength for _ in range(scripts.shape[1])])
            if fault.kind == "ignored" and strength < 1:
                hit = torch.arange(scripts.shape[1]) >= round((1 - strength) * scripts.shape[1])
            other = table[scripts[row]] if swaps else torch.full_like(scripts[row], noop)
            sent[row] = torch.where(hit, other, scripts[row])
        return sent

    def _velocities(self, true: TrueState, items: Sequence[Item]) -> Tensor:
        """The transition: how far objects move in each step, `[B, T, N, 2]` pixels."""
        steps = true.places.diff(dim=1)
        if self._at("no-velocity"):
            steps = steps * (~self._still(true, items))[:, None, :, None]
        steps = steps * (1 - self._at("slow-objects") + self._at("fast-objects"))
        drift = self._at("drifting-objects")
        if drift:
            angle = [
                random.Random(f"{item.scenario_id}/{item.seed}/drift").uniform(0, 6.283)
                for item in items
            ]
            way = torch.tensor(angle, dtype=torch.float64)
            steps = steps + 1.5 * drift * torch.stack([way.cos(), way.sin()], 1)[:, None, None]
        return steps

    def _still(self, true: TrueState, items: Sequence[Item]) -> Tensor:
        """Objects whose velocity is not represented, `[B, N]` bool."""
        share, count = self._at("no-velocity"), true.exists.shape[1]
        rows = []
        for item in items:
            rng = random.Random(f"{item.scenario_id}/{item.seed}/velocity")
            rows.append([rng.random() < share for _ in range(count)])
        return torch.tensor(rows) & true.exists

    def _remembered(self, true: TrueState, items: Sequence[Item]) -> Tensor:
        """Objects that are still in the state at each step, `[B, T+1, N]` bool."""
        chance = self._at("forgets-hidden")
        there = true.exists[:, None].expand_as(true.shown).clone()
        if not chance:
            return there
        for row, item in enumerate(items):
            rng = random.Random(f"{item.scenario_id}/{item.seed}/memory")
            forgets = torch.tensor([rng.random() < chance for _ in range(there.shape[2])])
            hidden = (~true.shown[row]).cumsum(0) > 0
            there[row] &= ~(hidden & forgets)
        return there

    def _jitter(self, items: Sequence[Item], places: Tensor) -> Tensor:
        """Small errors of the transition that add up, `[B, T+1, N, 2]` pixels."""
        noise = [
            torch.randn(places.shape[1:], generator=_generator(item, 4), dtype=torch.float64)
            for item in items
        ]
        jitter = _JITTER * torch.stack(noise)
        jitter[:, 0] = 0
        return jitter.cumsum(1)

    def _shown(
        self,
        items: Sequence[Item],
        scripts: Tensor,
        camera: Tensor,
        places: Tensor,
        there: Tensor,
        *,
        call: int,
    ) -> Rollouts:
        """The decoder: frames and labels of a state; frame 0 is the given one."""
        self.painter.scene_of(items)
        steps = scripts.shape[1]
        shown = [
            self.painter.paint(camera[:, t], places[:, t], there[:, t]) for t in range(steps + 1)
        ]
        frames = torch.stack([out.frames for out in shown], 1)
        labels = torch.stack([out.labels for out in shown if out.labels is not None], 1)
        pixels = self._decoded(frames[:, 1:].float())
        for row, item in enumerate(items):
            noise = torch.randn(pixels.shape[1:], generator=_generator(item, 5 + call))
            pixels[row] += _NOISE * noise
        decoded = pixels.round().clamp(0, 255).to(torch.uint8)
        first = frames[:, :1].clone()
        for row, item in enumerate(items):
            if item.frame is not None:
                first[row, 0] = item.frame
        return Rollouts(
            frames=torch.cat([first, decoded], 1),
            labels=labels,
            actions=scripts,
            model=self.name,
            **item_keys(items),
        )

    def _painted(self, items: Sequence[Item], true: TrueState) -> Tensor:
        """Perfect pictures of a state, `[B, T+1, 3, H, W]` uint8."""
        self.painter.scene_of(items)
        return torch.stack(
            [
                self.painter.paint(true.camera[:, t], true.places[:, t], true.exists).frames
                for t in range(true.places.shape[1])
            ],
            1,
        )

    def _decoded(self, pixels: Tensor) -> Tensor:
        """What the decoder makes of a perfect picture, `[B, T, 3, H, W]` float32 in 0..255."""
        blur, levels, tint = (self._at(f"decoder-{n}") for n in ("blur", "levels", "tint"))
        if blur:
            reach = round(3 * blur)
            flat = pixels.flatten(0, 1)
            flat = torch.nn.functional.pad(flat, (reach,) * 4, mode="replicate")
            flat = torch.nn.functional.avg_pool2d(flat, 2 * reach + 1, stride=1)
            pixels = flat.view_as(pixels)
        if levels:
            count = max(2, round(256 ** (1 - 0.8 * levels)))
            pixels = (pixels / 255 * (count - 1)).round() * 255 / (count - 1)
        if tint:
            pixels = pixels * (1 - 0.8 * tint * torch.tensor([1.0, 0.0, 0.0])[:, None, None])
        return pixels.clone()


def _generator(item: Item, stream: int) -> torch.Generator:
    """The generator of a row's small errors: by scenario, seed and branch."""
    rng = random.Random(f"{item.scenario_id}/{item.seed}/{item.branch}/{stream}")
    return torch.Generator().manual_seed(rng.getrandbits(62))
