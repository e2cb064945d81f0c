"""Panels of scripted rollouts whose response to commands is known."""

from __future__ import annotations

import torch
from torch import Tensor

EFFECT = torch.tensor(
    [[0, 0, 0], [0, -6, 0], [0, 6, 0], [0, 0, 0.04], [0, 0, -0.04]], dtype=torch.float64
)
"""Of nothing, left, right, forward and back on dy, dx and zoom; dy never responds."""


def scripts(rows: int, steps: int, hold: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Random ids ``[rows, steps]``, each held for a random number of steps."""
    actions = torch.randint(0, len(EFFECT), (rows, steps), generator=generator)
    lengths = torch.randint(hold[0], hold[1] + 1, (rows, steps), generator=generator)
    step = torch.arange(steps).expand(rows, steps).contiguous()
    return actions.gather(1, torch.searchsorted(lengths.cumsum(1), step, right=True))


def respond(commands: Tensor, effect: Tensor, delay: int, inertia: float, wall: float) -> Tensor:
    """What each step shows: the commands' effect, late, smoothed, and cut off at a wall."""
    steps = commands.shape[1]
    speed = torch.zeros(len(commands), effect.shape[1], dtype=torch.float64)
    place, shown = speed.clone(), []
    for t in range(steps):
        if t >= delay:
            push = effect[commands[:, t - delay]]
        else:
            push = torch.zeros_like(speed)
        speed = inertia * speed + (1 - inertia) * push
        limit = wall * effect.abs().amax(0)
        following = (place + speed).clamp(-limit, limit)
        shown.append(following - place)
        place = following
    return torch.stack(shown, 1)


def panel(
    rows: int,
    steps: int,
    delay: int,
    *,
    seed: int,
    hold: tuple[int, int] = (2, 6),
    reference_delay: int = 1,
    inertia: float = 0.0,
    model_inertia: float | None = None,
    noise: float = 0.1,
    drift: float = 0.0,
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0),
    wall: float = 1e9,
) -> tuple[Tensor, Tensor, Tensor]:
    """Commands, generated and reference responses; noise and drift are shares of their size."""
    generator = torch.Generator().manual_seed(seed)
    ahead = max(0, -(reference_delay + delay))  # commands that the model knows too early
    known = scripts(rows, steps + ahead, hold, generator)
    commands = known[:, :steps]
    model_inertia = inertia if model_inertia is None else model_inertia
    late = max(0, reference_delay + delay)
    reference = respond(commands, EFFECT, reference_delay, inertia, wall)
    generated = respond(known[:, ahead:], EFFECT, late, model_inertia, wall)
    generated = generated * torch.tensor(gain, dtype=torch.float64)
    both = []
    for response, share in ((generated, drift), (reference, 0.0)):
        size = response.std((0, 1))
        size = torch.where(size > 0, size, 1.0)
        draw = torch.randn(2, *response.shape, dtype=torch.float64, generator=generator)
        both.append(response + size * (noise * draw[0] + share * draw[1].cumsum(1)))
    return commands, both[0], both[1]
