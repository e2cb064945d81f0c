"""Is the response to the script more than chance: matching scripts, and dealing them anew."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import check_count, check_tensor, check_whole
from wmscore.functional.reasons import Reason
from wmscore.functional.response.agreement import script_response
from wmscore.functional.response.products import ScriptProducts, check_products

__all__ = [
    "ScriptCross",
    "ScriptMatch",
    "ScriptTest",
    "script_cross",
    "script_match",
    "script_test",
]

_TABLE_BYTES = 1 << 27  # of drawn permutations that are held at a time


class ScriptMatch(NamedTuple):
    """What `script_match` returns.

    Attributes:
        match: ``[G, T]`` float64 up to 1: 1 = the response to every script is nearest to the
            reference's to that script, 0 = as often as for a model that does not react, below 0 =
            less often.
        matched: ``[G, K, T]`` float64 in [0, 1], the share of script k: 1 where no other reference
            is as near as its own, divided among those that are equally near; NaN where absent.
        reason: ``[G, T]`` uint8, a `Reason` for `match`: NO_FRAME, NO_BRANCH, NO_RESPONSE (all
            scripts have one reference) or NON_FINITE.
    """

    match: Tensor
    matched: Tensor
    reason: Tensor


def script_match(products: ScriptProducts) -> ScriptMatch:
    """Whether the response to a script is nearest to the reference's response to the same script.

    A response is what a script's frame has beyond the mean over scripts. Rank-based: it does not
    saturate where every difference is large, and does not ask how near. Corrected for chance as
    (share - 1/n) / (c/n - 1/n) with n scripts and c different references, so that a frozen or
    action-blind model, whose scripts all choose the same reference, has exactly 0, and scripts that
    are dealt out at random have 0 on average.

    Args:
        products: of `script_products`.
    """
    check_products(products)
    preds, both, target = products.centred()
    own, other = (block.diagonal(dim1=-2, dim2=-1) for block in (preds, target))
    there = products.present.movedim(1, -1)  # [G, T, K]
    # Sums of floats that should be equal differ in their last bits.
    slack = (products.rounding() * there.sum(-1).square())[..., None, None]
    pairs = there[..., :, None] & there[..., None, :]
    errors = own[..., :, None] - 2 * both + other[..., None, :]
    broken = (errors.isnan() & pairs).any(-1).any(-1)
    errors = errors.masked_fill(~pairs, torch.inf)
    near = errors <= errors.amin(-1, keepdim=True) + slack
    matched = near.diagonal(dim1=-2, dim2=-1).double() / near.sum(-1)
    count = there.sum(-1)

    apart = other[..., :, None] - 2 * target + other[..., None, :]
    # A reference counts once, however many scripts have it.
    kinds = (1 / ((apart <= slack) & pairs).sum(-1).clamp_min(1)).masked_fill(~there, 0).sum(-1)
    share = matched.masked_fill(~there, 0).sum(-1)

    reason = torch.zeros(count.shape, dtype=torch.uint8, device=count.device)
    reason.masked_fill_(kinds < 1.5, int(Reason.NO_RESPONSE))
    reason.masked_fill_(broken, int(Reason.NON_FINITE))
    reason.masked_fill_(count < 2, int(Reason.NO_BRANCH))
    reason.masked_fill_(~there[..., 0], int(Reason.NO_FRAME))
    return ScriptMatch(
        match=((share - 1) / (kinds - 1)).masked_fill(reason != 0, torch.nan),
        matched=matched.masked_fill(~there, torch.nan).movedim(-1, 1),
        reason=reason,
    )


class ScriptTest(NamedTuple):
    """What `script_test` returns.

    Attributes:
        agreement: 0-dim float64, agreement over the steps of a scenario, mean over scenarios.
        p_value: 0-dim float64, share of the ways to deal the scripts out that agree as well. NaN
            without a scenario that has a defined step.
        scenarios: 0-dim int64, those with a defined step.
        smallest: 0-dim float64, the smallest p-value that these scripts could give: more scenarios
            or scripts lower it.
    """

    agreement: Tensor
    p_value: Tensor
    scenarios: Tensor
    smallest: Tensor


def script_test(
    products: ScriptProducts | ScriptCross,
    *,
    scenario: Tensor | None = None,
    draws: int = 10_000,
    seed: int = 0,
) -> ScriptTest:
    """Test whether the generated frames follow their own script, against scripts dealt at random.

    The null hypothesis: which script a rollout was told does not matter. Within each scenario the
    scripts of the generated rollouts are permuted and the agreement of all scenarios is found anew.
    Seeds of one scenario are permuted together, so that copies of one rollout are no evidence.

    Args:
        products: of `script_products`, or what `script_cross` kept of them. Steps at which a script
            of the group is absent are left out.
        scenario: int64 ``[G]``, groups of one scenario; by default each group is one.
        draws: permutations that are drawn.
        seed: of the draws.

    Raises:
        ValueError: an option is out of range, or `scenario` has another shape.
    """
    check_count("draws", draws)
    check_whole("seed", seed)
    cross = products if isinstance(products, ScriptCross) else script_cross(products)
    groups, scripts = cross.has.shape
    device = cross.table.device
    if scenario is None:
        scenario = torch.arange(groups, device=device)
    check_tensor("scenario", scenario)
    if scenario.dtype != torch.int64:
        raise TypeError(f"scenario must be int64, got {scenario.dtype}")
    if scenario.shape != (groups,):
        raise ValueError(f"scenario must have shape [G] = ({groups},), got {tuple(scenario.shape)}")
    names, place = torch.unique(scenario.to(device), return_inverse=True)
    count = len(names)
    steps = cross.steps.new_zeros(count).index_add_(0, place, cross.steps)
    # Of any of its groups: one that was left out has no scripts.
    in_use = cross.table.new_zeros(count, scripts).index_add_(0, place, cross.has.double()) > 0
    table = cross.table.new_zeros(count, scripts, scripts).index_add_(0, place, cross.table)
    used = steps > 0
    table = torch.where(used[:, None, None], table / steps[:, None, None], 0.0)
    found = table.diagonal(dim1=-2, dim2=-1).sum()
    total = used.sum()

    # One over the number of ways to deal, but no less than the draws can tell.
    ways = torch.lgamma(in_use.sum(-1).double() + 1).masked_fill(~used, 0).sum()
    smallest = torch.exp(-ways).clamp_min(1 / (draws + 1))
    # Present scripts first, so that absent ones stay at the end, where the table is zero.
    number = torch.arange(scripts, device=device)
    first = (number + scripts * ~in_use).argsort(-1)
    rows = table.gather(1, first[..., None].expand_as(table))
    generator = torch.Generator().manual_seed(seed)
    chunk = max(1, _TABLE_BYTES // max(1, count * scripts * 24))
    better = torch.zeros((), dtype=torch.int64, device=device)
    bar = found - 1e-9 * table.abs().sum()  # a tie is a tie, whatever the order of the sum
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        order = torch.rand(size, count, scripts, generator=generator, dtype=torch.float64)
        deal = (order.to(device) + 2.0 * ~in_use).argsort(-1)
        dealt = rows.expand(size, -1, -1, -1).gather(-1, deal[..., None]).sum((1, 2, 3))
        better += (dealt >= bar).sum()
    none = total == 0
    return ScriptTest(
        agreement=(found / total).masked_fill(none, torch.nan),
        # Draws may fall short of the few ways that there are.
        p_value=((1 + better).double() / (1 + draws))
        .maximum(smallest)
        .masked_fill(none, torch.nan),
        scenarios=total,
        smallest=smallest.masked_fill(none, torch.nan),
    )


class ScriptCross(NamedTuple):
    """What `script_test` needs of each group, summed over its steps.

    Attributes:
        table: ``[G, K, K]`` float64; the sum of its elements ``[k, d(k)]`` is the agreement, summed
            over steps, of generated frames under script k with the reference under script d(k).
        steps: ``[G]`` float64, steps that count: those with all of the group's scripts.
        has: ``[G, K]`` bool, scripts of the group.
    """

    table: Tensor
    steps: Tensor
    has: Tensor


def script_cross(products: ScriptProducts) -> ScriptCross:
    """What `script_test` needs of each group: little enough to keep for a whole panel.

    Args:
        products: of `script_products`.
    """
    check_products(products)
    has = products.present.any(-1)
    whole = ~(has[..., None] & ~products.present).any(1)  # [G, T]
    preds, both, target = products.centred()
    energy = (preds + target).diagonal(dim1=-2, dim2=-1).sum(-1)
    found = script_response(products).reason
    judged = (found == 0) | (found == int(Reason.NO_GENERATED_RESPONSE))
    counts = whole & judged
    table = 2 * both / energy[..., None, None]
    responds = counts & (found == 0)  # what is left of other tables is rounding
    table = table.masked_fill(~responds[..., None, None], 0).sum(1)
    return ScriptCross(table=table, steps=counts.sum(-1).double(), has=has)
