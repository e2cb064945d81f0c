"""What stresses of pictures draw: by seed and scenario, the same on every rung."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.panels import sprite_panel
from wmscore.replay import panel_items
from wmscore.stressors import find
from wmscore.worlds import Item, stressed_world
from wmscore.worlds.lighting import Light
from wmscore.worlds.sprites import SpriteWorld
from wmscore.worlds.stressed.given import spoil_given
from wmscore.worlds.stressed.light import light_frames, stress_light

PANEL = sprite_panel(scenarios=1, seeds=1, horizon=4, size=32)
ITEM = panel_items(PANEL)[0]
MANY = [replace(ITEM, scenario_id=str(i)) for i in range(24)]
PICTURE = torch.arange(3 * 32 * 32, dtype=torch.int64).view(1, 3, 32, 32).remainder(251)


def spoiled(name: str, severity: float, items: list[Item], seed: int = 0) -> Tensor:
    """The same given frame of each item, `[N, 3, 32, 32]`."""
    stress = find(name).apply(PANEL, severity, seed=seed).stress
    assert stress is not None
    frames = PICTURE.to(torch.uint8).expand(len(items), -1, -1, -1)
    return spoil_given(frames, items, stress)


@pytest.mark.parametrize(
    ("name", "severity"), [("camera-jitter", 8), ("occlusion", 0.1), ("noise", 8)]
)
def test_given_frames_are_drawn_by_seed_and_scenario(name: str, severity: float) -> None:
    shown = spoiled(name, severity, MANY)
    assert len({tuple(frame.flatten().tolist()) for frame in shown}) > 12
    assert not torch.equal(shown, spoiled(name, severity, MANY, seed=1))


def test_an_occlusion_stays_where_it_is_and_lies_anywhere() -> None:
    """A harder rung hides the same corner's share of the room, so that its middle moves little."""
    small, large = (spoiled("occlusion", area, MANY) == 128 for area in (0.05, 0.3))
    grid = torch.arange(32, dtype=torch.float64)

    def middle(hidden: Tensor) -> Tensor:
        rows = hidden.all(1).any(2).double()
        return (rows * grid).sum(1) / rows.sum(1)

    assert float(middle(small).std()) > 5
    order = torch.corrcoef(torch.stack([middle(small), middle(large)]))[0, 1]
    assert float(order) > 0.95


def test_a_jittered_camera_goes_in_all_directions() -> None:
    """Ramps of rows and columns show where a picture went."""
    ramp = torch.arange(32, dtype=torch.uint8)
    frame = torch.stack([ramp.expand(32, 32), ramp[:, None].expand(32, 32)] * 2)[:3]
    stress = find("camera-jitter").apply(PANEL, 4).stress
    assert stress is not None
    shown = spoil_given(frame.expand(len(MANY), -1, -1, -1), MANY, stress)[:, :, 16, 16].int() - 16
    dx, dy = -shown[:, 0], -shown[:, 1]
    assert {bool(v > 0) for v in dx} == {bool(v > 0) for v in dy} == {True, False}
    assert torch.allclose(torch.hypot(dx.double(), dy.double()), torch.tensor(4.0).double(), atol=1)


def test_shadows_are_drawn_by_seed_and_scenario() -> None:
    frames = torch.full((len(MANY), 1, 3, 16, 16), 200, dtype=torch.uint8)
    lights = []
    for seed in (0, 1):
        stress = find("shadow", rendered="frames").apply(PANEL, 0.8, seed=seed).stress
        assert stress is not None
        lights.append(stress_light(stress))
    shown = [light_frames(frames, MANY, light) for light in lights]
    assert len({tuple(frame.flatten().tolist()) for frame in shown[0]}) == len(MANY)
    assert not torch.equal(*shown)


def test_the_same_stress_of_another_seed_is_another() -> None:
    one, other = (find("noise").apply(PANEL, 8, seed=seed) for seed in (0, 1))
    world = stressed_world(SpriteWorld(32, 32), one)
    with pytest.raises(ValueError, match="is under the stress noise 8"):
        stressed_world(world, other)


def test_closing_a_stressed_world_closes_all_of_it() -> None:
    closed: list[str] = []

    class Closes(SpriteWorld):
        label = "given"

        def relit(self, light: Light):  # type: ignore[no-untyped-def]
            made = Closes(32, 32)
            made.label = "lit"
            return made

        def close(self) -> None:
            closed.append(self.label)

    lit = find("shadow", rendered="simulator").apply(PANEL, 0.8)
    world = stressed_world(Closes(32, 32), lit)
    world.close_own()  # type: ignore[attr-defined]
    assert closed == ["lit"]
    closed.clear()
    world.close()  # type: ignore[attr-defined]
    assert sorted(closed) == ["given", "lit"]
    closed.clear()
    stressed_world(Closes(32, 32), find("blur").apply(PANEL, 1)).close()  # type: ignore[attr-defined]
    assert closed == ["given"]
