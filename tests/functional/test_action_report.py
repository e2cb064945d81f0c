"""A panel's report on actions, of motion whose delay, gain, direction and order are known."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import pytest
import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.functional import Reason

EFFECT = torch.tensor([[0, 0], [0, -4], [0, 4], [-3, 0], [3, 0]], dtype=torch.float64)
"""Of nothing, left, right, up and down on (dy, dx)."""
SCENARIOS, SCRIPTS, STEPS = 8, 3, 20


def panel(seed: int = 0, scenarios: int = SCENARIOS) -> tuple[Tensor, Tensor]:
    """Actions `[S, K, T]` and the reference's motion features `[S, K, T, 4]`."""
    generator = torch.Generator().manual_seed(seed)
    shape = (scenarios, SCRIPTS, STEPS)
    actions = torch.randint(0, len(EFFECT), shape, generator=generator)
    actions[:, 1] = 0  # no-op
    return actions, respond(actions, seed=seed + 1)


def respond(actions: Tensor, *, delay: int = 0, noise: float = 0.05, seed: int = 0) -> Tensor:
    """What each command does, late, with some noise; two features that tell nothing."""
    generator = torch.Generator().manual_seed(seed)
    late = torch.cat([torch.zeros_like(actions[..., :delay]), actions], -1)[..., : actions.shape[2]]
    motion = torch.cat([EFFECT[late], torch.zeros(*late.shape, 2, dtype=torch.float64)], -1)
    draw = torch.randn(motion.shape, dtype=torch.float64, generator=generator)
    return motion + noise * draw


def report(preds: Tensor, target: Tensor, actions: Tensor, **options: object) -> F.ActionReport:
    scenario = options.pop("scenario", torch.arange(len(preds)))
    settings = {"num_actions": len(EFFECT), "noop": 0, "draws": 99, **options}
    return F.action_report(preds, target, actions, scenario, **settings)


def test_the_reference_itself_is_in_time_and_recovered_as_well_as_can_be():
    actions, target = panel()
    found = report(target, target, actions)
    lag = found.latency.excess.pooled
    assert (lag.lag, lag.polarity) == (0, 1)
    assert lag.p_value == 0.01
    assert abs(lag.gain - 1) < 1e-9
    assert found.latency.reference.pooled.lag == 0
    assert found.recovery.confusion.equal(found.ceiling.confusion)
    assert found.ceiling.score > 0.95
    assert found.recovered.value == 1
    assert found.effects.confused_with.tolist() == [-1, 1, 2, 3, 4]
    torch.testing.assert_close(found.motion.ratio[1:], torch.ones(4, dtype=torch.float64))
    assert (found.motion.direction[1:] == 1).all()


@pytest.mark.parametrize("delay", [1, 3])
def test_a_known_delay(delay: int):
    actions, target = panel()
    found = report(respond(actions, delay=delay, seed=9), target, actions).latency
    for part, lag in ((found.excess, delay), (found.reference, 0), (found.generated, delay)):
        assert part.pooled.lag == lag
    assert found.excess.pooled.reason == Reason.DEFINED
    assert found.excess.pooled.p_value == 0.01
    rows = found.excess.rollouts
    assert len(rows.lag) == SCENARIOS * SCRIPTS
    script = torch.arange(SCRIPTS).repeat(SCENARIOS)
    assert (rows.reason[script == 1] == Reason.NO_EXCITATION).all()  # no-op all along
    assert (rows.lag[script != 1] == delay).all()


@pytest.mark.parametrize(("gain", "polarity"), [(0.5, 1), (-1.0, -1)])
def test_a_known_gain_and_mirroring(gain: float, polarity: int):
    actions, target = panel()
    found = report(gain * respond(actions, seed=9), target, actions)
    lag = found.latency.excess.pooled
    assert (lag.lag, lag.polarity) == (0, polarity)
    assert abs(lag.gain - gain) < 0.02
    torch.testing.assert_close(
        found.motion.ratio[1:], torch.full((4,), gain).double(), atol=0.02, rtol=0
    )
    torch.testing.assert_close(
        found.effects.gain[1:], torch.full((4,), gain).double(), atol=0.02, rtol=0
    )
    if gain < 0:
        assert found.recovery.recall.round(decimals=1).tolist() == [1, 0, 0, 0, 0]
        assert found.effects.confused_with.tolist() == [-1, 2, 1, 4, 3]
        assert (found.motion.direction[1:] == 0).all()


def test_permuted_actions_are_confused_as_they_are_permuted():
    actions, target = panel()
    order = torch.tensor([0, 3, 1, 2, 4])
    found = report(respond(order[actions], seed=9), target, actions)
    assert found.effects.confused_with.tolist() == [-1, 3, 1, 2, 4]
    assert found.recovery.confusion.argmax(1).tolist() == order.tolist()
    assert (found.recovery.recall.round(decimals=1) == torch.tensor([1, 0, 0, 0, 1])).all()


def test_a_frozen_model_recovers_nothing():
    actions, target = panel()
    found = report(torch.zeros_like(target), target, actions)
    assert found.latency.excess.pooled.reason == Reason.NO_GENERATED_RESPONSE
    assert found.latency.excess.pooled.lag.isnan()
    assert found.latency.reference.pooled.lag == 0
    assert found.recovery.score == 0
    assert found.recovered.value == 0
    assert (found.motion.ratio[1:] == 0).all()
    assert (found.effects.reason[1:] == Reason.NO_GENERATED_RESPONSE).all()


@pytest.mark.parametrize("delay", [0, 2])
def test_what_moves_by_itself_is_no_response(delay: int):
    """A model that is blind to actions shows it as well as any."""
    actions, target = panel()
    generator = torch.Generator().manual_seed(5)
    own = 5 * torch.randn(SCENARIOS, 1, STEPS, 4, dtype=torch.float64, generator=generator)
    blind = report((own + target[:, 1:2]).expand_as(target), own + target, actions)
    assert blind.latency.excess.pooled.reason == Reason.NO_GENERATED_RESPONSE
    assert (blind.latency.excess.rollouts.lag.isnan()).all()
    follows = report(own + respond(actions, delay=delay, seed=9), own + target, actions)
    assert follows.latency.excess.pooled.lag == delay
    assert abs(follows.latency.excess.pooled.gain - 1) < 0.05
    # A world that does not react to actions has nothing to follow.
    deaf = report(own + target, own.expand_as(target), actions)
    assert deaf.latency.excess.pooled.reason == Reason.NO_RESPONSE


def test_the_response_to_another_script_is_not_above_chance():
    actions, target = panel(scenarios=12)
    order = torch.rand(12, SCRIPTS, generator=torch.Generator().manual_seed(3)).argsort(1)
    shuffled = target.gather(1, order[..., None, None].expand_as(target))
    lag = report(shuffled, target, actions).latency.excess.pooled
    assert lag.p_value > 0.05
    assert lag.lag.isnan()
    assert lag.reason == Reason.NO_LAG


def test_a_lone_script_is_judged_by_the_motion_itself():
    actions, target = panel(scenarios=12)
    actions, target = actions[:, :1], target[:, :1]
    lag = report(respond(actions, delay=2, seed=9), target, actions).latency.excess.pooled
    assert lag.lag == 2
    assert lag.p_value == 0.01
    # Where only some scenarios have other scripts, one without tells nothing.
    actions, target = panel()
    preds = respond(actions, delay=2, seed=9)
    preds[0, 1:] = torch.nan
    rows = report(preds, target, actions).latency.excess.rollouts
    assert (rows.reason[:SCRIPTS] == Reason.TOO_FEW_STEPS).all()
    assert rows.lag[SCRIPTS] == 2


def test_copies_of_one_rollout_are_no_evidence():
    actions, target = panel(scenarios=3)
    once = report(respond(actions, delay=1, seed=9), target, actions)
    place = torch.arange(3).repeat_interleave(6)
    many = report(
        respond(actions, delay=1, seed=9)[place], target[place], actions[place], scenario=place
    )
    for part in ("excess", "reference", "generated"):
        mine, copies = getattr(once.latency, part).pooled, getattr(many.latency, part).pooled
        for one, other in zip(mine, copies, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9, equal_nan=True)
        of_one, of_many = (getattr(r.latency, part).rollouts for r in (once, many))
        assert of_many.lag.view(3, 6, SCRIPTS)[:, 0].flatten().shape == of_one.lag.shape
    assert many.ceiling.confusion.equal(once.ceiling.confusion)
    assert many.recovery.confusion.equal(6 * once.recovery.confusion)
    # Taken for scenarios of their own they would be six times the evidence.
    apart = report(
        respond(actions, delay=1, seed=9)[place],
        target[place],
        actions[place],
        scenario=torch.arange(18),
    )
    assert once.latency.excess.pooled.p_value.isnan()  # 6 scripts that vary are too few
    assert once.latency.excess.pooled.reason == Reason.TOO_FEW_SAMPLES
    margins = [r.latency.excess.pooled.margin.item() for r in (once, apart)]
    assert margins[1] > 5 * margins[0] > 0


def test_the_pooled_lag_is_that_of_the_mean_over_seeds():
    actions, target = panel()
    seeds = [respond(actions, delay=2, noise=3.0, seed=s) for s in range(4)]
    preds = torch.stack(seeds, 1).flatten(0, 1)
    place = torch.arange(SCENARIOS).repeat_interleave(4)
    found = report(preds, target[place], actions[place], scenario=place).latency
    mean = report(torch.stack(seeds).mean(0), target, actions).latency
    for part in ("excess", "generated"):
        for one, other in zip(getattr(found, part).pooled, getattr(mean, part).pooled, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9, equal_nan=True)
    assert found.excess.pooled.lag == 2


def test_the_order_of_rows_does_not_matter():
    actions, target = panel()
    place = torch.arange(SCENARIOS).repeat(2)
    preds = torch.cat([respond(actions, delay=1, seed=s) for s in (8, 9)])
    order = torch.randperm(len(place), generator=torch.Generator().manual_seed(1))
    a = report(preds, target[place], actions[place], scenario=place)
    b = report(preds[order], target[place[order]], actions[place[order]], scenario=place[order])
    assert a.latency.excess.pooled.lag.equal(b.latency.excess.pooled.lag)
    torch.testing.assert_close(
        a.latency.excess.pooled.p_value, b.latency.excess.pooled.p_value, rtol=0, atol=0
    )
    assert a.recovery.confusion.equal(b.recovery.confusion)
    assert a.ceiling.confusion.equal(b.ceiling.confusion)
    assert (
        a.recovery.per_row.confusion.view(-1, SCRIPTS, 5, 5)[order]
        .flatten(0, 1)
        .equal(b.recovery.per_row.confusion)
    )


def test_continuous_actions_have_a_latency_only():
    actions, target = panel()
    commands = EFFECT[actions] / 4
    found = F.action_report(
        respond(actions, delay=2, seed=9), target, commands, torch.arange(SCENARIOS), draws=99
    )
    assert found.latency.excess.pooled.lag == 2
    assert found.latency.generated.pooled.lag == 2
    for name in ("motion", "recovery", "ceiling", "recovered", "effects"):
        assert getattr(found, name) is None


def test_values_that_are_not_recognised_are_not_left_out():
    actions, target = panel()
    commands = EFFECT[actions] / 4
    scenario = torch.arange(SCENARIOS)
    dissolved = target.clone()
    dissolved[:, :, STEPS // 2 :] = torch.nan
    whole = F.action_report(target, target, commands, scenario, draws=9)
    found = F.action_report(dissolved, target, commands, scenario, draws=9)
    assert (whole.vectors.r2 > 0.99).all()
    assert found.vectors.steps.equal(whole.vectors.steps)
    assert ((found.vectors.r2 > 0.3) & (found.vectors.r2 < 0.7)).all()
    assert found.vectors_ceiling.r2.equal(whole.vectors_ceiling.r2)
    gone = torch.full_like(target, torch.nan)
    none = F.action_report(gone, target, commands, scenario, draws=9).vectors
    torch.testing.assert_close(none.r2, torch.zeros(2, dtype=torch.float64))


def test_one_scenario_has_no_probe_that_has_not_seen_it():
    actions, target = panel(scenarios=1)
    found = report(respond(actions, delay=1, seed=9), target, actions)
    assert found.recovery.score.isnan()
    assert found.ceiling.score.isnan()
    assert found.recovery.confusion.sum() == 0
    assert found.recovered.reason == Reason.TOO_FEW_ACTIONS
    assert found.latency.excess.pooled.lag == 1
    assert found.latency.excess.pooled.reason == Reason.TOO_FEW_SAMPLES


def test_scripts_that_never_change_say_nothing():
    actions = torch.ones(SCENARIOS, SCRIPTS, STEPS, dtype=torch.int64)
    target = respond(actions, seed=1)
    found = report(target, target, actions)
    assert found.latency.excess.pooled.reason == Reason.NO_EXCITATION
    assert (found.latency.excess.rollouts.reason == Reason.NO_EXCITATION).all()
    assert found.recovery.score.isnan()
    assert found.recovery.reason == Reason.TOO_FEW_ACTIONS
    assert found.effects.excluded.all()
    torch.testing.assert_close(found.motion.ratio[1].item(), 1.0)
    assert found.motion.ratio[[0, 2, 3, 4]].isnan().all()


def test_without_a_noop_there_are_no_effects():
    actions, target = panel()
    found = report(target, target, actions, noop=None)
    assert found.effects is None
    assert found.recovered.value == 1


def test_steps_without_features_are_missed_actions_and_steps_that_do_not_count_are_none():
    actions, target = panel()
    whole = report(target, target, actions)
    preds, valid = target.clone(), torch.ones(actions.shape, dtype=torch.bool)
    preds[:, :, 15:] = torch.nan
    dissolved = report(preds, target, actions)
    assert dissolved.recovery.unrecognised.sum() == 5 * SCENARIOS * SCRIPTS
    assert dissolved.recovery.score < whole.recovery.score - 0.1
    assert dissolved.ceiling.confusion.equal(whole.ceiling.confusion)
    assert dissolved.latency.excess.pooled.lag == 0
    assert dissolved.motion.steps.equal(whole.motion.steps)
    assert ((dissolved.motion.ratio[1:] > 0.6) & (dissolved.motion.ratio[1:] < 0.9)).all()
    valid[:, :, 15:] = False
    ended = report(preds, target, actions, valid=valid)
    short = report(target[:, :, :15], target[:, :, :15], actions[:, :, :15])
    assert ended.recovery.unrecognised.sum() == 0
    assert ended.recovery.confusion.equal(short.recovery.confusion)
    assert ended.recovery.score.equal(short.recovery.score)
    assert ended.motion.steps.equal(short.motion.steps)
    torch.testing.assert_close(ended.effects.cosine, short.effects.cosine, equal_nan=True)
    # The same in one seed of two: the reference is known from the other.
    place = torch.arange(SCENARIOS).repeat_interleave(2)
    both = valid[place].clone()
    both[1::2] = True
    mixed = report(target[place], target[place], actions[place], scenario=place, valid=both)
    assert mixed.ceiling.confusion.equal(whole.ceiling.confusion)


def test_rows_that_never_arrived_are_left_out():
    actions, target = panel()
    place = torch.arange(SCENARIOS).repeat_interleave(2)
    preds, known, valid = (
        respond(actions, delay=1, seed=9)[place],
        target[place],
        actions[place] > -1,
    )
    preds[0::2], known[0::2], valid[0::2] = torch.nan, torch.nan, False
    found = report(preds, known, actions[place], scenario=place, valid=valid)
    alone = report(preds[1::2], target, actions)
    assert found.recovery.confusion.equal(alone.recovery.confusion)
    assert found.recovery.unrecognised.sum() == 0
    assert found.ceiling.confusion.equal(alone.ceiling.confusion)
    for one, other in zip(found.latency.excess.pooled, alone.latency.excess.pooled, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9, equal_nan=True)
    assert (found.latency.excess.rollouts.reason[:SCRIPTS] == Reason.TOO_FEW_STEPS).all()
    assert found.recovery.per_row.score[:SCRIPTS].isnan().all()
    nothing = report(preds * torch.nan, known * torch.nan, actions[place], scenario=place)
    assert nothing.latency.excess.pooled.reason == Reason.TOO_FEW_STEPS
    assert nothing.recovery.score.isnan()


def test_what_has_dissolved_from_the_start_is_at_the_floor():
    actions, target = panel()
    found = report(torch.full_like(target, torch.nan), target, actions)
    assert found.recovery.score <= 0
    assert found.recovery.unrecognised.sum() == actions.numel()
    assert found.latency.excess.pooled.lag.isnan()
    assert found.latency.excess.pooled.reason != Reason.DEFINED
    assert found.ceiling.score > 0.95


def test_every_tensor_is_on_the_host_and_undefined_values_have_a_reason():
    actions, target = panel()
    found = report(respond(actions, delay=1, seed=9), target, actions)

    def walk(value: object) -> list[Tensor]:
        if value is None or isinstance(value, Tensor):
            return [] if value is None else [value]
        names = [f.name for f in fields(value)] if is_dataclass(value) else value._fields
        return [tensor for name in names for tensor in walk(getattr(value, name))]

    tensors = walk(found)
    assert len(tensors) > 60
    assert not any(t.isinf().any() for t in tensors)
    lag = found.latency.excess.rollouts
    assert (lag.lag.isnan() <= (lag.reason != 0)).all()


def test_what_does_not_fit_is_refused():
    actions, target = panel()
    with pytest.raises(ValueError, match="num_actions must be given"):
        report(target, target, actions, num_actions=None)
    with pytest.raises(ValueError, match=r"preds must be floating point of shape \[R, K, T, D\]"):
        report(target[0], target, actions)
    with pytest.raises(ValueError, match="preds and target must have one shape"):
        report(target[:, :2], target, actions)
    with pytest.raises(ValueError, match=r"actions must have the shape \(8, 3, 20\)"):
        report(target, target, actions[..., 1:])
    with pytest.raises(ValueError, match=r"scenario must have the shape \(8,\) of preds"):
        report(target, target, actions, scenario=torch.arange(7))
    with pytest.raises(TypeError, match=r"scenario must be int64, got torch\.float32"):
        report(target, target, actions, scenario=torch.arange(8.0))
    with pytest.raises(ValueError, match="valid must have a shape that broadcasts"):
        report(target, target, actions, valid=torch.ones(7, 1, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"commands must lie in 0\.\.2"):
        report(target, target, actions, num_actions=3)
