"""What a model's latent actions do, and which of a panel's actions each of them is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wmscore.functional import motion_features
from wmscore.worlds.latent_assignment import (
    assign,
    chance_of,
    draw_weights,
    motion_agreement_of,
    motion_effects,
    motion_gain,
)
from wmscore.worlds.latent_meaning import LatentActionCalibration, describe_response
from wmscore.worlds.protocol import Item, WorldModel

__all__ = ["calibrate_latent_actions"]

_LEAST_SCENARIOS = 3


def calibrate_latent_actions(
    model: WorldModel,
    items: Sequence[Item],
    truth: WorldModel | None = None,
    *,
    steps: int = 4,
    min_agreement: float = 0.5,
    min_margin: float = 0.1,
    min_confidence: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
    batch_size: int = 4,
) -> LatentActionCalibration:
    r"""Hold each latent action from the same initial states, and see how the picture moves.

    A model that learnt its actions from videos alone has actions without a meaning: they have to be
    found out before a panel can command anything. Each is held for some steps from each initial
    state; its response is how the whole picture shifts, zooms and rolls
    (`functional.motion_features`), and by that alone it gets a description. With the true world,
    which holds each of the panel's actions from the same states, it is assigned to the action whose
    motion p it agrees with. Motions m and p are fields in pixels per step, at the middles of a
    3 x 3 grid, less what the true picture does under a no-op on average:

    .. math:: A = \frac{\sum_s 2 \langle m_s, p_s \rangle + 2 \epsilon^2}
                       {\sum_s |m_s|^2 + |p_s|^2 + 2 \epsilon^2}

    over scenarios s. :math:`\epsilon` is what counts as no motion: 0.1 pixel (`MIN_MOTION`) and
    the most that the picture moves by itself under a no-op, in any scenario, off its average. A is
    1 for the same motion, or for none of both, 0 for none of one or one at right angles, 0.8 for
    half as fast. The assignment stands only if, in scenarios drawn anew, the agreement is at least
    `min_agreement` and the second best of the panel's actions is behind by `min_margin`, in a share
    of `min_confidence` of the draws; and only if motions that are as large, but turned at random in
    each scenario, seldom agree as well with any action: in a share of `1 - min_confidence` divided
    by the number of latent actions. Of several latent actions that are the same action of the
    panel, the best is assigned, the others are named. What cannot be told stays unassigned, with
    the reason: an action that moves nothing, such as firing, cannot be told from a no-op by motion.
    Where all latent actions do the same, none is assigned: the model does not react to them.

    Args:
        model: takes its own actions as they are, without a converter; `capabilities.action_names`
            names them.
        items: initial states, one for each (scenario, seed): the first branch of each is taken.
        truth: the true world, or None to describe only.
        steps: for which an action is held.
        min_agreement: see above.
        min_margin: see above.
        min_confidence: see above.
        draws: of scenarios, with replacement.
        seed: of the draws.
        batch_size: initial states per call; each brings all actions.

    Raises:
        ValueError: the model names no discrete actions, fewer than 3 scenarios with a true world,
            items without discrete actions, or an option out of range.
    """
    latent_names = model.capabilities.action_names
    if model.capabilities.actions != "discrete" or not latent_names:
        raise ValueError(
            f"model {model.name!r}: expected discrete actions with names in its capabilities, got "
            f"{model.capabilities.actions} {list(latent_names)}"
        )
    for field, value, least in (
        ("steps", steps, 1),
        ("draws", draws, 1),
        ("batch_size", batch_size, 1),
    ):
        if value < least:
            raise ValueError(f"{field}: expected at least {least}, got {value}")
    starts = _starts(items)
    scenario = torch.tensor([item.scenario for item in starts])
    scenarios = len({item.scenario for item in starts})
    if truth is not None and scenarios < _LEAST_SCENARIOS:
        raise ValueError(
            f"items: expected at least {_LEAST_SCENARIOS} scenarios to assign actions by, "
            f"got {scenarios}"
        )
    response = _responses(model, starts, latent_names, steps, batch_size)
    found = LatentActionCalibration(
        model=model.name,
        latent_names=latent_names,
        does=tuple(describe_response(response[:, i], starts) for i in range(len(latent_names))),
        response=response.nanmean(0),
        scenarios=scenarios,
    )
    if truth is None:
        return found
    action_names = starts[0].action_names
    if any(item.action_names != action_names or item.actions.ndim != 1 for item in starts):
        raise ValueError("items: expected discrete actions of one panel")
    reference = _responses(truth, starts, action_names, steps, batch_size)
    noop = starts[0].noop
    mine, theirs, still = motion_effects(
        response, reference, noop if isinstance(noop, int) else None, model.capabilities.frame_size
    )
    weights = draw_weights(scenario, draws, seed)  # the first draw is the sample itself
    agreement = motion_agreement_of(mine, theirs, weights, still)  # [draws + 1, L, A]
    best = agreement[0].nan_to_num(-2).argmax(1)
    chosen = agreement[:, torch.arange(len(best)), best]
    own = best[None, :, None].expand(len(agreement), -1, 1)
    next_best = agreement.nan_to_num(-1).scatter(2, own, -torch.inf).amax(2)
    clear = (chosen >= min_agreement) & (chosen - next_best >= min_margin)
    confidence = clear[1:].double().mean(0).where(chosen[0].isfinite(), torch.nan)
    sure = (clear[0] & (confidence >= min_confidence)).tolist()
    # Enough draws that the smallest share is below the one that is asked for.
    turns = max(draws, math.ceil(2 * len(latent_names) / max(1 - min_confidence, 0.01)))
    chance = chance_of(mine, theirs, scenario, still, turns, seed)
    lucky = (chance * len(latent_names) > max(1 - min_confidence, 0.01)).tolist()
    alike = motion_agreement_of(mine, mine, weights[:1], still)[0]
    assigned, why = assign(latent_names, action_names, agreement[0], alike, sure, lucky)
    return replace(
        found,
        action_names=action_names,
        reference_response=reference.nanmean(0),
        agreement=agreement[0],
        gain=motion_gain(mine, theirs, still),
        confidence=confidence,
        chance=chance,
        assigned=assigned,
        why=why,
    )


def _starts(items: Sequence[Item]) -> list[Item]:
    """One item for each (scenario, seed), in order."""
    if not items:
        raise ValueError("items: expected at least one, got none")
    found: dict[tuple[int, int], Item] = {}
    for item in items:
        found.setdefault((item.scenario, item.seed), item)
    return list(found.values())


def _responses(
    model: WorldModel, starts: Sequence[Item], names: Sequence[str], steps: int, batch_size: int
) -> Tensor:
    """Mean (dy, dx, zoom, roll) of the steps under each action held, `[S, A, 4]`."""
    found = []
    for start in range(0, len(starts), batch_size):
        rows = [
            replace(
                item,
                actions=torch.full((steps,), action),
                action_names=tuple(names),
                branch=action,
                noop=item.noop if tuple(names) == item.action_names else None,
            )
            for item in starts[start : start + batch_size]
            for action in range(len(names))
        ]
        rolled = model.rollout(rows, steps)
        response = motion_features(rolled.frames, valid=rolled.valid).response.cpu()
        found.append(response.nanmean(1).view(-1, len(names), response.shape[-1]))
    return torch.cat(found)
