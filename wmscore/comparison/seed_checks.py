"""Are seeds draws of their own, and are two recordings of one model alike but for their seeds?"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.comparison.null_worlds import check_cells

__all__ = ["RecordingsTest", "SharedLuckTest", "recordings_test", "shared_luck_test"]

_HELD = 1 << 22  # values of shuffled panels that are held at a time


class SharedLuckTest(NamedTuple):
    """What `shared_luck_test` returns.

    Attributes:
        spread: standard deviation of the means of seeds over scenarios, in the unit of the cells;
            NaN where they cannot be tested.
        expected: what it is on average where seeds are draws of their own.
        p_value: in (0, 1]; NaN with fewer than two scenarios or seeds.
    """

    spread: float
    expected: float
    p_value: float


class RecordingsTest(NamedTuple):
    """What `recordings_test` returns.

    Attributes:
        difference: mean over scenarios of second less first; NaN where there is none.
        p_value: of it, two-sided: do the recordings differ on average?
        interaction: standard deviation over scenarios of the difference of means.
        expected: the square root of the mean of its square where only seeds differ.
        interaction_p: do the recordings differ by scenario, more than their seeds do?
    """

    difference: float
    p_value: float
    interaction: float
    expected: float
    interaction_p: float


def shared_luck_test(cells: Tensor, *, draws: int = 9999, seed: int = 0) -> SharedLuckTest:
    """Is a seed lucky in many scenarios at once?

    Then rollouts of one seed are no independent draws, and panels with other seeds differ more
    than the spread within scenarios lets one expect. The means of seeds over scenarios, each
    scenario about its own mean, are compared with those after shuffling each scenario's seeds.

    Args:
        cells: ``[S, K]``, floating point. Only scenarios with a value for every seed count.
        draws: shuffles.
        seed: of the shuffles.

    Returns:
        A `SharedLuckTest`.

    Raises:
        TypeError: not a floating point tensor.
        ValueError: another shape.

    Example:
        >>> import torch
        >>> lucky = torch.randn(1, 8, generator=torch.Generator().manual_seed(0)).repeat(10, 1)
        >>> shared_luck_test(lucky).p_value
        0.0001
    """
    cells = check_cells("cells", cells)
    cells = cells[~cells.isnan().any(1)]
    nan = float("nan")
    if cells.shape[0] < 2 or cells.shape[1] < 2:
        return SharedLuckTest(nan, nan, nan)
    centred = cells - cells.mean(1, keepdim=True)

    def spread(panels: Tensor) -> Tensor:
        return panels.mean(-2).var(-1)

    seen = spread(centred)
    drawn = _shuffled(centred, draws, seed, spread)
    return SharedLuckTest(
        float(seen.sqrt()), float(drawn.mean().sqrt()), _share(drawn, seen, centred)
    )


def recordings_test(
    first: Tensor, second: Tensor, *, draws: int = 9999, seed: int = 0
) -> RecordingsTest:
    """Do two recordings of one model differ more than seeds do?

    Seeds of each scenario change recordings at random: where nothing but the seed differs, what was
    seen is one of these. A difference that is left says that more has changed than the seed
    (weights, precision, batch size, sampler, version of the world).

    Args:
        first: ``[S, K1]``, floating point. NaN where undefined.
        second: ``[S, K2]``, the same scenarios, other seeds.
        draws: exchanges.
        seed: of the exchanges.

    Returns:
        A `RecordingsTest`.

    Raises:
        TypeError: not floating point tensors.
        ValueError: other shapes.
    """
    first, second = check_cells("first", first), check_cells("second", second)
    if len(first) != len(second):
        raise ValueError(
            f"second must have the scenarios of first, {len(first)}, got {len(second)}"
        )
    both = (~first.isnan()).any(1) & (~second.isnan()).any(1)
    first, second = first[both], second[both]
    cells, nan = torch.cat([first, second], 1), float("nan")
    if not len(cells):
        return RecordingsTest(nan, nan, nan, nan, nan)
    # Seeds change places among those that are there; the centre makes rounding small.
    middle = cells.nanmean(1, keepdim=True)
    there = ~cells.isnan()
    count = first.shape[1]

    def gaps(panels: Tensor) -> Tensor:
        return panels[..., count:].nanmean(-1) - panels[..., :count].nanmean(-1)

    def mean(panels: Tensor) -> Tensor:
        return gaps(panels).mean(-1).abs()

    def square(panels: Tensor) -> Tensor:
        found = gaps(panels)
        return (found - found.mean(-1, keepdim=True)).square().mean(-1)

    centred = cells - middle
    seen = gaps(centred)
    on_average = _shuffled(centred, draws, seed, mean, there)
    by_scenario = _shuffled(centred, draws, seed, square, there)
    return RecordingsTest(
        float(seen.mean()),
        _share(on_average, mean(centred), centred),
        float(square(centred).sqrt()),
        float(by_scenario.mean().sqrt()),
        _share(by_scenario, square(centred), centred) if len(cells) > 1 else nan,
    )


def _shuffled(
    cells: Tensor,
    draws: int,
    seed: int,
    statistic: Callable[[Tensor], Tensor],
    there: Tensor | None = None,
) -> Tensor:
    """A statistic of ``[..., S, K]`` after shuffling the seeds of each scenario, ``[draws]``."""
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    generator = torch.Generator().manual_seed(seed)
    step, parts = max(1, _HELD // cells.numel()), []
    for start in range(0, draws, step):
        count = min(step, draws - start)
        keys = torch.rand(count, *cells.shape, generator=generator).to(cells.device)
        if there is None:
            order = keys.argsort(-1)
        else:
            # The places that have a value stay where they are, and only their values move.
            filled = there.to(torch.int8).argsort(stable=True, dim=-1, descending=True)
            drawn = keys.masked_fill(~there, 2.0).argsort(-1)
            order = torch.empty_like(drawn).scatter_(-1, filled.expand_as(drawn), drawn)
        parts.append(statistic(cells.expand(count, -1, -1).gather(-1, order)))
    return torch.cat(parts)


def _share(drawn: Tensor, seen: Tensor, cells: Tensor) -> float:
    """p-value of what is large; sums that differ by rounding are tied."""
    slack = 1e-12 * float(cells.nan_to_num().abs().max()) ** 2 + 1e-12 * float(seen)
    return (1 + int((drawn >= seen - slack).sum())) / (1 + len(drawn))
