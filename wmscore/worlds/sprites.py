"""`SpriteWorld`: a batched 2-D world in plain torch with exact object labels.

The dependency-free default world. Textured sprites move on a large textured torus while a camera
pans over it. All state and all pixels are integers drawn from a counter-based hash, so a row is
bit-identical on every device, in every batch and in every run.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from wmscore.worlds.lighting import Light, look_up
from wmscore.worlds.protocol import Capabilities, Item
from wmscore.worlds.sprite_art import below, draw, sine_table
from wmscore.worlds.sprite_light import GroundShadow
from wmscore.worlds.sprite_scene import MOVES, ONE, TURN, Scene, build_scene, default_pan
from wmscore.worlds.step import StepModel, StepOutput, stack_actions

__all__ = ["SpriteStepper", "SpriteWorld"]

_SINE = 4096  # entries of the sine table


class SpriteStepper:
    """The batched step model behind `SpriteWorld`."""

    name = "sprites"

    def __init__(
        self,
        height: int = 64,
        width: int = 64,
        device: torch.device | str = "cpu",
        *,
        pan: float | None = None,
        light: Light | None = None,
    ) -> None:
        """Make a world; see `SpriteWorld`."""
        for field, size in (("height", height), ("width", width)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 16:
                raise ValueError(f"{field}: expected an integer of at least 16, got {size!r}")
        self.size = (height, width)
        self.side = min(height, width)
        self.device = torch.device(device)
        self.pan = default_pan(self.side) if pan is None else _check_pan(pan, self.side)
        """Pixels that the camera moves per action."""
        # Constants go to the device once, so that a step never waits for a copy.
        self._sine = sine_table(_SINE, self.device)
        self._quarter = torch.tensor([TURN // 4, 0], device=self.device)
        self._middle = torch.tensor([width // 2, height // 2], device=self.device)
        self._torus = torch.zeros(0)
        self.light = light
        self._table = None if light is None else light.table().to(self.device)
        self._shadow: GroundShadow | None = None
        self._scene: Scene | None = None
        self._step = 0
        self._camera = torch.zeros(0)
        self._wander = torch.zeros(0)

    @property
    def capabilities(self) -> Capabilities:
        """Deterministic, labelled; `Item.noise_seed`, not `Item.seed`, changes its randomness."""
        return Capabilities(
            actions="discrete",
            action_names=tuple(MOVES),
            seedable=False,
            labels=True,
            fps=10.0,
            frame_size=self.size,
        )

    def reset(self, items: Sequence[Item]) -> StepOutput:
        """Build every item's scene and show its first frame.

        Raises:
            ValueError: there is no item, or a reset parameter, action name or script is unknown.
        """
        if not items:
            raise ValueError("items: expected at least one, got none")
        self._scene = build_scene(items, self.size, self.pan, self.device)
        self._torus = torch.tensor(self._scene.torus[::-1], device=self.device)
        scene, self._step = self._scene, 0
        self._camera = scene.camera
        self._wander = torch.zeros_like(scene.start)
        for t in range(1, 1 + max(len(item.reset.get("warmup", ())) for item in items)):
            self._wander = self._wander + self._noise(scene, scene.own_key, t) * (t <= scene.before)
        if self.light is not None and self.light.shadow:
            self._shadow = GroundShadow(self.light, items, scene.torus, self.device)
        return self._render(scene)

    def step(self, actions: Tensor) -> StepOutput:
        """Pan the cameras by `actions` `[B]`, move the sprites, show the next frame."""
        if self._scene is None:
            raise ValueError("step: expected a reset first")
        scene, self._step = self._scene, self._step + 1
        chosen = actions.to(self.device)[:, None, None].expand(-1, 1, 2)
        self._camera = self._camera + scene.moves.gather(1, chosen)[:, 0]
        now = scene.before + self._step
        self._wander = self._wander + self._noise(scene, scene.noise_key, now)
        return self._render(scene)

    def _noise(self, scene: Scene, key: Tensor, step: Tensor | int) -> Tensor:
        """How far chance moves the sprites in a step, `[B, N, 2]`.

        It knows step and object, never the action: counterfactual branches share it.
        """
        count = scene.start.shape[1]
        place = torch.arange(2 * count, device=self.device).view(1, count, 2)
        return below(draw(key, step, place), 2 * scene.noise + 1) - scene.noise

    def _places(self, scene: Scene) -> Tensor:
        """Where the sprites are, `[B, N, 2]` int64 pixels from the middle of the first view."""
        now = scene.before + self._step
        span = scene.start + scene.velocity * now
        reach = scene.reach
        straight = reach - ((span + reach) % (4 * reach) - 2 * reach).abs()

        def circle(step: Tensor | int) -> Tensor:
            angle = scene.angle + scene.turning * step + self._quarter
            return scene.radius * self._sine[(angle % TURN) * _SINE // TURN] // (1 << 14)

        round_trip = scene.start + circle(now) - circle(0)
        return (torch.where(scene.orbits, round_trip, straight) + self._wander) // ONE

    def _render(self, scene: Scene) -> StepOutput:
        (height, width), device = self.size, self.device
        rows, count, _, diameter, _ = scene.colours.shape
        camera = (self._camera + ONE // 2) // ONE
        pixel_y = (camera[:, 1:] + torch.arange(height, device=device)) % scene.torus[0]
        pixel_x = (camera[:, :1] + torch.arange(width, device=device)) % scene.torus[1]
        line = scene.index[:, None] * scene.torus[0] + pixel_y
        packed = scene.texture.take(line[:, :, None] * scene.torus[1] + pixel_x[:, None])
        ground = torch.stack([packed, packed >> 8, packed >> 16], 1).to(torch.uint8)
        # What falls outside the view is written to one spare pixel at the end.
        canvas = ground.new_empty((rows, 3, height * width + 1))
        canvas[:, :, :-1] = ground.flatten(2)
        labels = canvas.new_zeros((rows, height * width + 1))

        torus = self._torus
        corner = self._places(scene) + self._middle - camera[:, None] - diameter // 2
        corner = (corner + torus // 2) % torus - torus // 2
        along = torch.arange(diameter, device=device)
        x = corner[:, :, :1] + along
        y = corner[:, :, 1:] + along
        behind = scene.pillar[scene.index].gather(1, pixel_x)
        covered = behind.gather(1, x.clamp(0, width - 1).flatten(1)).view_as(x)
        x_shown = (x >= 0) & (x < width) & ~covered
        y_shown = (y >= 0) & (y < height)
        shown = scene.masks & x_shown[:, :, None, :] & y_shown[:, :, :, None]
        pixel = torch.where(shown, y[:, :, :, None] * width + x[:, :, None, :], height * width)
        pixel = pixel.flatten(2)
        every = torch.arange(rows, device=device)
        for layer in range(count):
            nearest = scene.depth[:, layer]
            where = pixel[every, nearest]
            colours = scene.colours[every, nearest].flatten(2)
            canvas.scatter_(2, where[:, None].expand_as(colours), colours)
            labels.scatter_(1, where, (nearest + 1).to(torch.uint8)[:, None].expand_as(where))
        frames = canvas[:, :, :-1].reshape(rows, 3, height, width)
        if self._table is not None:
            # What stands in the shadow is darker too.
            shade = None if self._shadow is None else self._shadow.level(pixel_y, pixel_x)
            frames = look_up(self._table, frames, shade)
        return StepOutput(
            frames=frames,
            labels=labels[:, :-1].reshape(rows, height, width),
        )


class SpriteWorld(StepModel):
    """A world of textured sprites under a panning camera, as a `WorldModel`.

    Actions `noop`, `left`, `right`, `up`, `down` move the camera by `pan` pixels (3 at 64 x 64)
    over a torus four views wide. Sprites have distinct colours, shapes and inner patterns, move
    on straight or circular paths with random velocity noise, and hide each other in strict depth
    order; static pillars hide them all. `labels` hold sprite index + 1 on what is visible.

    `Item.reset` holds `seed` (integer), and optionally `objects` (1..8, default 5), `noise`
    (largest random displacement per step and axis in pixels; default 1/128 of the view's shorter
    side) and `warmup` (names of actions that lead to the initial state). `Item.noise_seed` draws
    the velocity noise anew from the same first frame. Neither noise nor motion depends on the
    actions, so branches are exact counterfactuals.

    Worlds that differ in `pan` only have the same scenes and first frames (a warm-up moves the
    camera by the default pan), and differ in how far an action takes the camera: one is the other
    with another gain.

    Example:
        >>> world = SpriteWorld(height=64, width=64, device="cpu")
        >>> world.capabilities.action_names
        ('noop', 'left', 'right', 'up', 'down')
        >>> world.scaled(0.5).pan
        1.5
    """

    stepper: SpriteStepper
    own_light: ClassVar[tuple[str, ...]] = ("shadow",)

    def __init__(
        self,
        height: int = 64,
        width: int = 64,
        device: torch.device | str = "cpu",
        *,
        pan: float | None = None,
        light: Light | None = None,
    ) -> None:
        """Make a world.

        Args:
            height: of the view in pixels, at least 16.
            width: of the view in pixels, at least 16.
            device: where it lives.
            pan: pixels that the camera moves per action, from 0 to the view's shorter side; by
                default 3/64 of that side, rounded down. It is kept to 1/256 pixel. The camera
                stands where the sum of the moves lies, rounded to the nearest pixel.
            light: another light, on ground and sprites; its shadow lies on the ground in bands.

        Raises:
            ValueError: a size or `pan` is out of range.
        """
        super().__init__(SpriteStepper(height, width, device, pan=pan, light=light))
        self.pan = self.stepper.pan
        """Pixels that the camera moves per action."""

    def _taken_actions(self, items: Sequence[Item], horizon: int) -> Tensor:
        return stack_actions(items, horizon)  # each row's own names are read at its reset

    def scaled(self, gain: float) -> SpriteWorld:
        """The same world in which every action moves the camera `gain` times as far.

        Raises:
            ValueError: the pan is out of range then.
        """
        stepper = self.stepper
        pan = self.pan * gain
        return SpriteWorld(*stepper.size, stepper.device, pan=pan, light=stepper.light)

    def relit(self, light: Light) -> SpriteWorld:
        """The same world under another light."""
        stepper, made = self.stepper, copy.copy(self)
        made.stepper = SpriteStepper(*stepper.size, stepper.device, pan=self.pan, light=light)
        return made


def _check_pan(pan: float, side: int) -> float:
    if isinstance(pan, bool) or not isinstance(pan, int | float):
        raise ValueError(f"pan: expected pixels per action, got {pan!r}")
    if not math.isfinite(pan) or not 0 <= pan <= side:
        raise ValueError(f"pan: expected 0..{side} pixels per action, got {pan!r}")
    return pan
