"""Which of a panel's actions each latent action is, told by their motions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wmscore.functional import MIN_MOTION

__all__ = [
    "assign",
    "chance_of",
    "draw_weights",
    "motion_agreement_of",
    "motion_effects",
    "motion_gain",
]

_MOST_ALIKE = 0.9  # agreement of two latent actions that do the same


def draw_weights(scenario: Tensor, draws: int, seed: int) -> Tensor:
    """How often each start counts, `[draws + 1, S]`: once, then as its scenario is drawn."""
    _, code = torch.unique(scenario, return_inverse=True)
    count = int(code.max()) + 1
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(count, (draws, count), generator=generator)
    times = torch.zeros(draws, count, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(draws, count, dtype=torch.float64)
    )
    return torch.cat([torch.ones(1, len(code), dtype=torch.float64), times[:, code]])


def motion_effects(
    response: Tensor, reference: Tensor, noop: int | None, frame_size: tuple[int, int]
) -> tuple[Tensor, Tensor, float]:
    """Motions as fields of pixels, less what the true picture does by itself.

    Args:
        response: `[S, L, 4]` (dy, dx, zoom, roll) of the model.
        reference: `[S, A, 4]` of the true world.
        noop: the panel's no-op, or None.
        frame_size: (height, width).

    Returns:
        `[S, L, 18]`, `[S, A, 18]`, and the mean square that counts as no motion.
    """
    mine, theirs = _field(response, frame_size), _field(reference, frame_size)
    still = MIN_MOTION**2
    if noop is None:
        return mine, theirs, still
    own = theirs[:, noop]
    mean = own.nanmean(0).nan_to_num()
    spread = 2 * (own - mean).square().mean(-1).nan_to_num()
    return mine - mean, theirs - mean, still + float(spread.max())


def _field(response: Tensor, frame_size: tuple[int, int]) -> Tensor:
    """(dy, dx) at the middles of a 3 x 3 grid, `[..., 18]`."""
    height, width = frame_size
    third = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64) / 3
    y, x = torch.meshgrid(third * height, third * width, indexing="ij")
    dy, dx, zoom, roll = (part[..., None, None] for part in response.double().unbind(-1))
    turn = torch.deg2rad(roll)  # clockwise: what is right goes down
    return torch.stack([dy + zoom * y + turn * x, dx + zoom * x - turn * y], -1).flatten(-3)


def motion_agreement_of(mine: Tensor, theirs: Tensor, weights: Tensor, still: float) -> Tensor:
    """`[draws, L, A]`, NaN where no start with a weight has both motions.

    Args:
        mine: fields `[S, L, D]`.
        theirs: fields `[S, A, D]`.
        weights: `[draws, S]`.
        still: mean square of a vector that counts as no motion.
    """
    inner, size, there = _products(mine, theirs)
    above = torch.einsum("ds,sla->dla", weights, (2 * inner + 2 * still) * there)
    below = torch.einsum("ds,sla->dla", weights, (size + 2 * still) * there)
    return torch.where(below > 0, above / below, torch.nan)


def motion_gain(mine: Tensor, theirs: Tensor, still: float) -> Tensor:
    """`[L, A]`: how much of each action's motion, as a slope through the origin."""
    inner, _, there = _products(mine, theirs)
    size = theirs.nan_to_num().square().sum(-1)[:, None] * (2 / theirs.shape[-1]) * there
    return torch.where(
        _moves(theirs, still, there), (inner * there).sum(0) / size.sum(0), torch.nan
    )


def chance_of(
    mine: Tensor, theirs: Tensor, scenario: Tensor, still: float, draws: int, seed: int
) -> Tensor:
    """`[L]`: how often motions in random directions agree with some action as well as they do.

    In every draw all motions of a scenario are turned by one random angle: as large as they are,
    but without a direction in common. Few scenarios can agree by chance. NaN for latent actions
    that are closest to one that moves nothing, which is told by how little they move, and for
    those without a motion.

    Args:
        mine: fields `[S, L, D]`.
        theirs: fields `[S, A, D]`.
        scenario: `[S]`, the scenario of each start.
        still: mean square of a vector that counts as no motion.
        draws: number of draws.
        seed: of the draws.
    """
    inner, size, there = _products(mine, theirs)
    turned = torch.stack([-mine[..., 1::2], mine[..., ::2]], -1).flatten(-2)
    across, _, _ = _products(turned, theirs)
    _, code = torch.unique(scenario, return_inverse=True)
    generator = torch.Generator().manual_seed(seed)
    shape = (draws, int(code.max()) + 1)
    angle = 2 * torch.pi * torch.rand(shape, generator=generator, dtype=torch.float64)[:, code]
    angle = torch.cat([torch.zeros_like(angle[:1]), angle])  # the first draw is the sample itself
    above = torch.einsum("ds,sla->dla", angle.cos(), 2 * inner * there)
    above = above + torch.einsum("ds,sla->dla", angle.sin(), 2 * across * there)
    rest = 2 * still * there.sum(0)
    agreement = (above + rest) / ((size + 2 * still) * there).sum(0)  # 0 / 0 is NaN
    found = agreement.nan_to_num(-2)
    moves = _moves(theirs, still, there)
    best = found[0].argmax(1)
    reached = found[1:].where(moves, -2.0).amax(2) >= found[0].amax(1) - 1e-9
    share = (1 + reached.sum(0)) / (draws + 1)
    told = moves[torch.arange(len(best)), best] & agreement[0].isfinite().any(1)
    return share.double().where(told, torch.nan)


def _moves(theirs: Tensor, still: float, there: Tensor) -> Tensor:
    """`[L, A]`: whether an action moves more than what counts as no motion."""
    size = theirs.nan_to_num().square().sum(-1)[:, None] * (2 / theirs.shape[-1]) * there
    return size.sum(0) > 2 * still * there.sum(0)


def _products(mine: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean inner products, mean squares together, and where both are defined; `[S, L, A]`."""
    there = mine.isfinite().all(-1)[:, :, None] & theirs.isfinite().all(-1)[:, None]
    a, b = mine.nan_to_num(), theirs.nan_to_num()
    vectors = mine.shape[-1] / 2
    inner = torch.einsum("slf,saf->sla", a, b) / vectors
    size = (a.square().sum(-1)[:, :, None] + b.square().sum(-1)[:, None]) / vectors
    return inner, size, there


def assign(
    latents: Sequence[str],
    actions: Sequence[str],
    agreement: Tensor,
    alike: Tensor,
    sure: Sequence[bool],
    lucky: Sequence[bool],
) -> tuple[tuple[str | None, ...], tuple[str, ...]]:
    """Which action each latent one is, or None, and why not.

    Args:
        latents: names of the L latent actions.
        actions: names of the panel's A actions.
        agreement: `[L, A]`.
        alike: `[L, L]`, agreement among the latent ones.
        sure: of each latent action, whether its closest action is clearly the closest.
        lucky: whether motions in random directions may well agree as much.
    """
    if len(latents) > 1 and bool((alike >= _MOST_ALIKE).all()):
        same = "all latent actions do the same: the model does not react to them"
        return (None,) * len(latents), (same,) * len(latents)
    known = agreement.nan_to_num(-2)
    best = [int(a) for a in known.argmax(1)]
    # Rounded, so that of equal ones the first is taken whatever the last digits are.
    score = [round(float(known[i, a]), 6) for i, a in enumerate(best)]
    first: dict[int, int] = {}
    for i in sorted(range(len(latents)), key=lambda i: (-score[i], i)):
        if sure[i] and not lucky[i]:
            first.setdefault(best[i], i)
    assigned: list[str | None] = [None] * len(latents)
    why = [""] * len(latents)
    for i, a in enumerate(best):
        if not bool(agreement[i].isfinite().any()):
            why[i] = "its picture cannot be followed"
        elif not sure[i]:
            why[i] = _doubt(known[i], actions)
        elif lucky[i]:
            why[i] = f"like {actions[a]!r}, which may be chance in so few scenarios"
        elif first[a] == i:
            assigned[i] = actions[a]
        elif float(alike[i, first[a]]) >= _MOST_ALIKE:
            why[i] = f"does the same as {latents[first[a]]}"
        else:
            why[i] = f"like {actions[a]!r}, but {latents[first[a]]} fits better"
    return tuple(assigned), tuple(why)


def _doubt(agreement: Tensor, actions: Sequence[str]) -> str:
    order = [int(a) for a in agreement.argsort(descending=True, stable=True)[:2]]
    said = ", then ".join(f"{actions[a]!r} ({float(agreement[a]):.2f})" for a in order)
    return f"not clearly one of the panel's actions: closest to {said}"
