"""What each action does, in the reference and in the generated rollouts, against doing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import check_count, check_number, check_vectors
from wmscore.functional.reasons import Reason
from wmscore.functional.recovery._inputs import (
    check_action_ids,
    check_features,
    check_groups,
    kept_steps,
)
from wmscore.functional.recovery._responses import Responses, by_scenario
from wmscore.functional.recovery._separation import separation
from wmscore.stats import sign_flip_norm_test

__all__ = ["ActionEffects", "effect_table"]

_MIN_SCENARIOS = 6  # below it, no two-sided p-value of 0.05 is possible


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionEffects:
    """One line per action, ``[A]``. See :func:`effect_table`.

    Attributes:
        target_effect: ``[A, D]`` float64, mean over scenarios of the reference's mean response
            under the action minus that under no action, in the responses' units.
        preds_effect: ``[A, D]`` float64, the same of the generated rollouts.
        scenarios: ``[A]`` int64, scenarios that show both the action and no action.
        target_size: ``[A]`` float64, 0 or more, length of the reference's effect in standard
            deviations (a multivariate Cohen's d).
        preds_size: ``[A]`` float64, of the generated effect in the *same* units.
        target_separation: ``[A]`` float64 in [0, 1], P(distance between a response under the action
            and one under no action > distance of two responses under the same one of the two),
            within scenarios: 0.5 = no effect, 1 = apart.
        preds_separation: ``[A]`` float64, the same of the generated rollouts, in their own spread.
        target_p: ``[A]`` float64 in (0, 1], p-value of the reference's effect by sign flips.
        preds_p: ``[A]`` float64, of the generated effect.
        cosine: ``[A]`` float64 in [-1, 1], direction of the generated effect against the
            reference's: 1 = the same, -1 = opposite. Higher is better.
        gain: ``[A]`` float64, size of the generated effect along the reference's: 1 = calibrated,
            0 = no effect, negative = opposite.
        confusion: ``[A, A]`` float64 in [-1, 1], cosine of the row's generated effect with the
            column's reference effect.
        confused_with: ``[A]`` int64, the action whose reference effect the generated one is nearest
            to (largest cosine): itself when right, -1 where undefined.
        reason: ``[A]`` uint8, a :class:`Reason`. TOO_FEW_ACTIONS (no scenario with both) makes all
            values of the action NaN; TOO_FEW_SAMPLES (fewer than 6 scenarios) the p-values and what
            follows; NO_EFFECT (no significant effect in the reference, which the no-op never has)
            what follows the p-values; NO_GENERATED_RESPONSE the cosines only.
    """

    target_effect: Tensor
    preds_effect: Tensor
    scenarios: Tensor
    target_size: Tensor
    preds_size: Tensor
    target_separation: Tensor
    preds_separation: Tensor
    target_p: Tensor
    preds_p: Tensor
    cosine: Tensor
    gain: Tensor
    confusion: Tensor
    confused_with: Tensor
    reason: Tensor

    @property
    def excluded(self) -> Tensor:
        """``[A]`` bool, actions of which the reference shows no significant effect."""
        return (self.reason != Reason.DEFINED) & (self.reason != Reason.NO_GENERATED_RESPONSE)

    def records(self, names: Sequence[str]) -> list[dict[str, object]]:
        """One flat record per action; reads the device.

        Args:
            names: the A actions' names.

        Returns:
            Records with the action's name, its scalars, the name it is confused with (None where
            undefined) and why values are undefined.

        Raises:
            ValueError: not one name per action.
        """
        if len(names) != len(self.reason):
            raise ValueError(f"names must be {len(self.reason)} action names, got {len(names)}")
        fields = (
            "scenarios target_size preds_size target_separation preds_separation target_p preds_p "
            "cosine gain confused_with reason"
        ).split()
        columns = {field: getattr(self, field).tolist() for field in fields}
        records = []
        for action, name in enumerate(names):
            record: dict[str, object] = {"action": name}
            record |= {field: column[action] for field, column in columns.items()}
            nearest = columns["confused_with"][action]
            record["confused_with"] = names[nearest] if nearest >= 0 else None
            record["reason"] = Reason(columns["reason"][action]).name
            records.append(record)
        return records

    def __repr__(self) -> str:
        """Sizes, no values."""
        actions, features = self.target_effect.shape
        return f"ActionEffects(num_actions={actions}, features={features})"


@torch.no_grad()
def effect_table(
    preds: Tensor,
    target: Tensor,
    actions: Tensor,
    noop: int,
    groups: Tensor,
    *,
    num_actions: int,
    valid: Tensor | None = None,
    significance: float = 0.05,
    min_scale: float | Tensor = 0.0,
    draws: int = 10_000,
    seed: int = 0,
) -> ActionEffects:
    r"""Effect of every action on the response, in the generated and in the reference rollouts.

    A response is any description of the move from a frame to the next: motion features, a
    displacement, a difference in a feature space. With :math:`\bar r_{s,a}` the mean response
    under action a in scenario s, in either video,

    .. math:: e_a = \frac{1}{S_a} \sum_s (\bar r_{s,a} - \bar r_{s,\mathrm{noop}}), \quad
        \cos_a = \frac{\langle \hat e_a, e_a \rangle}{|\hat e_a| |e_a|}, \quad
        \mathrm{gain}_a = \frac{\langle \hat e_a, e_a \rangle}{|e_a|^2}

    over the :math:`S_a` scenarios that show both. What happens anyway cancels in the difference,
    and a scenario counts once, however many steps it has. Lengths, angles and distances are taken
    with each dimension in units of the reference's standard deviation within an action and scenario
    (pooled), but at least 1/20 of that within a scenario: units of dimensions do not matter, and a
    dimension weighs as much as it tells, yet not without bound where the world repeats itself
    exactly. Where the reference is constant, the unit is that of the generated rollouts.

    The p-value is that of a permutation test: under the null hypothesis, each scenario's difference
    is as likely as its opposite. All :math:`2^S` sign patterns are walked through up to 16
    scenarios, ``draws`` random ones beyond, p = (1 + longer) / (1 + draws). Each action is tested
    at ``significance`` by itself: of actions without an effect, about that share passes.

    Finding the scenarios reads the device once.

    Args:
        preds: responses of generated rollouts, ``[B, T, D]`` floating point.
        target: responses of the reference to the same actions, ``[B, T, D]``. A step at which
            either is not finite is left out of both.
        actions: ``[B, T]`` int64 in 0..num_actions - 1; -1 = none.
        noop: the action that does nothing.
        groups: ``[B]`` int64, the scenario of each row, any numbers.
        num_actions: number of actions A, the no-op included.
        valid: bool, broadcasts to ``[B, T]``, steps that count; ``None`` means all.
        significance: p-value in (0, 1) from which the reference shows no effect.
        min_scale: smallest unit of a dimension, a number or ``[D]``, in the responses' units:
            deviations below it are noise of the measurement.
        draws: random sign patterns above 16 scenarios.
        seed: draws them.

    Returns:
        :class:`ActionEffects`.

    Raises:
        ValueError: shapes or devices do not fit, an action or an option is out of range.
        TypeError: not tensors, or of the wrong dtype.

    Source:
        Sign flips: Fisher, "The Design of Experiments", 1935, section 21; Winkler et al.,
        "Permutation inference for the general linear model", NeuroImage 2014. Comparison with the
        reference's response to the same command, not with the command: a wall stops both.

    Example:
        A model that mirrors left and right:

        >>> generator = torch.Generator().manual_seed(0)
        >>> actions = torch.randint(3, (8, 32), generator=generator)  # noop, left, right
        >>> shift = torch.tensor([0.0, 2.0, -2.0])[actions][..., None]
        >>> target = shift + 0.1 * torch.randn(8, 32, 1, generator=generator)
        >>> found = effect_table(
        ...     -target, target, actions, noop=0, groups=torch.arange(8), num_actions=3
        ... )
        >>> found.cosine[1:].tolist(), found.confused_with.tolist()
        ([-1.0, -1.0], [-1, 2, 1])
    """
    _check(preds, target, actions, noop, groups, num_actions, significance, draws)
    shape = tuple(actions.shape)
    if isinstance(min_scale, Tensor):
        check_vectors(min_scale=min_scale)
        if tuple(min_scale.shape) != (preds.shape[-1],) or min_scale.device != preds.device:
            raise ValueError(
                f"min_scale must have shape [D] = ({preds.shape[-1]},) on {preds.device}, got "
                f"{tuple(min_scale.shape)} on {min_scale.device}"
            )
    else:
        check_number("min_scale", min_scale, low=0.0)
    least = torch.as_tensor(min_scale, dtype=torch.float64, device=preds.device)
    kept = kept_steps(valid, shape, actions.device) & (actions >= 0) & (actions < num_actions)
    kept = kept & preds.isfinite().all(-1) & target.isfinite().all(-1)
    member = (actions[..., None] == torch.arange(num_actions, device=actions.device)) & (
        kept[..., None]
    )
    member, generated, reference = by_scenario(member, preds, target, groups, noop)

    scale = reference.unit.where(reference.unit > 0, generated.unit).clamp(min=least)
    unit = scale.where(scale > 0, torch.inf)
    both = generated.both
    scenarios = both.sum(0)
    generated_mean = generated.mean_effect / unit  # [A, D]
    reference_mean = reference.mean_effect / unit

    def p_value(responses: Responses) -> Tensor:
        paired = (responses.effect / unit).masked_fill(~both[..., None], torch.nan)
        return sign_flip_norm_test(paired, draws=draws, seed=seed).p_value

    target_p = p_value(reference)
    never, few = scenarios == 0, scenarios < _MIN_SCENARIOS
    silent = ~(target_p < significance)  # the no-op, whose p is 1, and NaN too
    lengths = [e.square().sum(-1).sqrt() for e in (generated_mean, reference_mean)]
    confusion = generated_mean @ reference_mean.T / (lengths[0][:, None] * lengths[1])
    # |cos| <= 1 holds but for the last bit; the clamp only takes that bit away.
    confusion = confusion.clamp(-1, 1).masked_fill(silent[:, None] | silent, torch.nan)
    cosine = confusion.diagonal().clone()
    gain = (generated_mean * reference_mean).sum(-1) / lengths[1].square()
    nearest = confusion.nan_to_num(nan=-torch.inf).argmax(-1)

    reason = torch.zeros_like(scenarios, dtype=torch.uint8)
    reason.masked_fill_(lengths[0] == 0, Reason.NO_GENERATED_RESPONSE)
    reason.masked_fill_(silent, Reason.NO_EFFECT)
    reason.masked_fill_(few, Reason.TOO_FEW_SAMPLES)
    reason.masked_fill_(never, Reason.TOO_FEW_ACTIONS)
    return ActionEffects(
        target_effect=reference.mean_effect,
        preds_effect=generated.mean_effect,
        scenarios=scenarios,
        target_size=lengths[1],
        preds_size=lengths[0],
        target_separation=separation(reference.values / unit, member, noop),
        preds_separation=separation(generated.values / unit, member, noop),
        target_p=target_p,
        preds_p=p_value(generated),
        cosine=cosine,
        gain=gain.masked_fill(silent, torch.nan),
        confusion=confusion,
        confused_with=nearest.where(~cosine.isnan(), -1),
        reason=reason,
    )


def _check(
    preds: Tensor,
    target: Tensor,
    actions: Tensor,
    noop: int,
    groups: Tensor,
    num_actions: int,
    significance: float,
    draws: int,
) -> None:
    check_vectors(preds=preds, target=target)
    check_features("preds", preds)
    check_count("num_actions", num_actions)
    check_action_ids("actions", actions, num_actions, tuple(preds.shape[:2]), least=-1)
    check_groups(groups, len(preds), preds.device)
    check_count("draws", draws)
    if isinstance(noop, bool) or not isinstance(noop, int):
        raise TypeError(f"noop must be an int, got {type(noop).__name__}")
    if not 0 <= noop < num_actions:
        raise ValueError(f"noop must lie in 0..{num_actions - 1}, got {noop}")
    check_number("significance", significance, low=0.0, low_is_allowed=False, high=1.0)
