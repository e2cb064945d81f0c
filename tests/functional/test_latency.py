"""Response latency: injected delays, oracles, chance, what cannot be told, bad input."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import signal, stats
from torch import Tensor

from tests.functional.scripted_panels import EFFECT, panel
from wmscore.functional import Reason, response_latency
from wmscore.functional.latency import null as null_module
from wmscore.functional.latency.null import _chunks, exchange_of
from wmscore.functional.latency.scan import covariances, lag_grid, moments_of, scan_of
from wmscore.functional.latency.signals import signals_of

DELAYS = range(7)
FIELDS = ("source", "response", "steps")


def rand(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def walking(rows: int, steps: int, dims: int, correlation: float, seed: int) -> Tensor:
    """Responses that wander whatever is commanded."""
    values = rand(rows, steps, dims, seed=seed)
    for t in range(1, steps):
        fresh = math.sqrt(1 - correlation**2) * values[:, t]
        values[:, t] = correlation * values[:, t - 1] + fresh
    return values


# Known delays


@pytest.mark.parametrize("delay", DELAYS)
def test_delay_comes_out_in_each_rollout(delay: int) -> None:
    """5 actions held 2 to 6 steps, 32 steps, 10 % noise: at least 99 % of single rollouts."""
    found = response_latency(*panel(300, 32, delay, seed=delay), draws=99)
    for kind, lag in (("excess", delay), ("reference", 1), ("generated", delay + 1)):
        pooled, rollouts = getattr(found, kind)
        assert pooled.lag.item() == lag
        assert pooled.p_value.item() == 0.01
        assert pooled.reason.item() == Reason.DEFINED
        assert not pooled.ambiguous
        assert (rollouts.lag == lag).double().mean().item() >= 0.99
        known = ~rollouts.lag.isnan()
        assert (rollouts.lag[known & ~rollouts.ambiguous] == lag).all()


HARD = {
    "inertia": {"inertia": 0.6, "hold": (2, 8)},
    "inertia and noise": {"inertia": 0.6, "hold": (2, 8), "noise": 0.3},
    "drift": {"drift": 0.3},
    "drift and inertia": {"drift": 0.1, "inertia": 0.6},
    "walls": {"wall": 6.0},
    "held for long": {"hold": (8, 8), "noise": 0.3},
    "a new command each step": {"hold": (1, 1)},
    "weak in one dim, strong in another": {"gain": (1.0, 0.25, 1.5)},
    "noise as large as the response": {"noise": 1.0},
}


@pytest.mark.parametrize("case", HARD.values(), ids=HARD)
@pytest.mark.parametrize("delay", [-3, 0, 1, 4, 6])
def test_delay_comes_out_of_the_panel(delay: int, case: dict) -> None:
    found = response_latency(*panel(32, 32, delay, seed=20 + delay, **case), draws=99)
    assert found.excess.pooled.lag.item() == delay
    assert found.generated.pooled.lag.item() == delay + 1
    assert found.reference.pooled.lag.item() == 1
    for estimate in found:
        assert estimate.pooled.p_value.item() <= 0.02


@pytest.mark.parametrize("case", ["inertia", "drift", "drift and inertia"])
def test_delay_comes_out_of_hard_rollouts(case: str) -> None:
    for delay in (0, 5):
        found = response_latency(*panel(200, 32, delay, seed=delay, **HARD[case]), draws=19)
        assert (found.excess.rollouts.lag == delay).double().mean().item() >= 0.98


def test_a_slower_model_is_not_later() -> None:
    """It answers at once, only less sharply: levels alone would look late."""
    inputs = panel(64, 32, 2, seed=3, model_inertia=0.6)
    assert response_latency(*inputs).excess.pooled.lag.item() == 2
    assert response_latency(*inputs, prewhiten=0.0).excess.pooled.lag.item() == 3


def test_inertial_worlds_are_not_a_step_late() -> None:
    inputs = panel(64, 48, 2, seed=3, inertia=0.6, hold=(8, 8), noise=0.25)
    assert response_latency(*inputs).reference.pooled.lag.item() == 1
    assert response_latency(*inputs, prewhiten=0.0).reference.pooled.lag.item() > 1


@pytest.mark.parametrize("size", [0.25, 0.5, 1.0, 1.5])
def test_gain(size: float) -> None:
    found = response_latency(*panel(64, 32, 2, seed=1, gain=(size, size, size)), draws=19).excess
    assert found.pooled.gain.item() == pytest.approx(size, rel=0.05)
    assert found.pooled.gains[1:].tolist() == pytest.approx([size, size], rel=0.05)
    close = (found.rollouts.gain - size).abs() < 0.1 * size
    assert close.double().mean().item() > 0.9


def test_polarity() -> None:
    mirrored = response_latency(*panel(64, 32, 4, seed=1, gain=(-1.0, -1.0, -1.0)), draws=19)
    for estimate in (mirrored.excess, mirrored.generated):
        assert estimate.pooled.polarity.item() == -1
        assert (estimate.rollouts.polarity[~estimate.rollouts.lag.isnan()] == -1).all()
        assert estimate.pooled.gain.item() == pytest.approx(-1, abs=0.06)
    assert mirrored.excess.pooled.lag.item() == 4
    assert mirrored.reference.pooled.polarity.item() == 1
    sideways = response_latency(*panel(64, 32, 4, seed=1, gain=(1.0, -1.0, 1.0)), draws=19).excess
    assert sideways.pooled.lag.item() == 4
    assert sideways.pooled.correlations[1].item() < -0.9
    assert sideways.pooled.correlations[2].item() > 0.9
    assert sideways.pooled.correlations[0].abs().item() < 0.2


def test_permuted_actions_are_in_time() -> None:
    """Turns where it should move: the wrong response, with the right latency behind commands."""
    commands, preds, target = panel(64, 32, 3, seed=1)
    swapped = preds[..., [0, 2, 1]]
    found = response_latency(commands, swapped, target)
    assert found.excess.pooled.reason.item() == Reason.NO_LAG
    assert found.reference.pooled.lag.item() == 1


def test_units_do_not_matter() -> None:
    commands, preds, target = panel(40, 32, 3, seed=1, noise=0.5)
    units = torch.tensor([3.0, 1e4, 1e-6], dtype=torch.float64)
    plain = response_latency(commands, preds, target)
    other = response_latency(commands, preds * units + 5 * units, target * units - units)
    for one, two in zip(plain, other, strict=True):
        for part in ("pooled", "rollouts"):
            for a, b in zip(getattr(one, part), getattr(two, part), strict=True):
                torch.testing.assert_close(a, b, equal_nan=True, rtol=1e-6, atol=1e-6)


def test_continuous_commands_and_one_hot() -> None:
    commands, preds, target = panel(40, 32, 3, seed=1)
    ids = response_latency(commands, preds, target)
    one_hot = torch.nn.functional.one_hot(commands, len(EFFECT))
    for vectors in (one_hot, one_hot.float(), EFFECT[commands]):
        found = response_latency(vectors, preds, target)
        assert found.generated.pooled.lag.item() == 4
        assert found.generated.pooled.correlation.item() == pytest.approx(
            ids.generated.pooled.correlation.item(), abs=1e-3
        )
        assert found.excess.pooled.lag.item() == 3


def test_ids_that_are_never_given_change_nothing() -> None:
    inputs = panel(20, 32, 3, seed=1)
    few, many = (response_latency(*inputs, num_actions=count) for count in (5, 9))
    torch.testing.assert_close(few.generated.rollouts.lag, many.generated.rollouts.lag)
    torch.testing.assert_close(few.generated.pooled.gain, many.generated.pooled.gain)


# Oracles


def centred(values: Tensor) -> np.ndarray:
    return (values - values.mean()).numpy()


@pytest.mark.parametrize("change", [0.0, 0.7, 1.0])
def test_covariances_equal_numpy_and_scipy(change: float) -> None:
    source, response = rand(3, 20, 2, seed=1), rand(3, 20, 2, seed=2)
    there = torch.ones(3, 20, 2, dtype=torch.bool)
    lags = lag_grid(12, torch.device("cpu"))
    assert lags.tolist()[:5] == [0, 1, -1, 2, -2]
    one, two = (signals_of(values, there, (change,)) for values in (source, response))
    found = covariances(one, two, lags)
    for row in range(3):
        for dim in range(2):
            a, b = source[row, :, dim], response[row, :, dim]
            if change:
                a, b = (x[1:] - change * x[:-1] for x in (a, b))
            full = np.correlate(centred(b), centred(a), "full")
            theirs = dict(zip(range(1 - len(a), len(a)), full, strict=True))
            fft = signal.correlate(centred(b), centred(a), "full", method="fft")
            np.testing.assert_allclose(full, fft, atol=1e-12)
            for place, lag in enumerate(lags.tolist()):
                assert found[0, dim, row, place].item() == pytest.approx(theirs[lag], abs=1e-12)


def test_evidence_equals_plain_regression() -> None:
    """Residuals of numpy's fit at each lag, where a floor of 0.1 % hardly matters."""
    source = rand(1, 30, 1, seed=1)
    response = 0.6 * source.roll(2, 1) + rand(1, 30, 1, seed=2)
    there = torch.ones(1, 30, 1, dtype=torch.bool)
    one, two = (signals_of(values, there, (0.0,)) for values in (source, response))
    lags = lag_grid(6, torch.device("cpu"))
    scan = scan_of(covariances(one, two, lags), moments_of(one, two, lags))
    r, g = centred(source[0, :, 0]), centred(response[0, :, 0])
    for place, lag in enumerate(lags.tolist()):
        a = r[max(0, -lag) : 30 - max(0, lag)]
        b = g[max(0, lag) : 30 - max(0, -lag)]
        (slope,), rest, *_ = np.linalg.lstsq(a[:, None], b, rcond=None)
        expected = -0.5 * len(a) * math.log(rest.item() / (b**2).sum())
        assert scan.evidence[0, place].item() == pytest.approx(expected, abs=0.05)
        assert scan.gains[0, place, 0].item() == pytest.approx(slope)
        share = (a * b).sum() / math.sqrt((a**2).sum() * (b**2).sum())
        assert scan.correlations[0, place, 0].item() == pytest.approx(share)
        assert scan.steps[0, place].item() == len(a)


def test_gaps_equal_a_plain_loop() -> None:
    source, response = rand(2, 24, 1, seed=1), rand(2, 24, 1, seed=2)
    there = torch.rand(2, 2, 24, 1, generator=torch.Generator().manual_seed(3)) > 0.25
    lags = lag_grid(5, torch.device("cpu"))
    whitening = (0.0, 1.0)
    one, two = signals_of(source, there[0], whitening), signals_of(response, there[1], whitening)
    found, moments = covariances(one, two, lags), moments_of(one, two, lags)
    for row in range(2):
        for way, share in enumerate(whitening):
            series = []
            for values, mask in ((source, there[0]), (response, there[1])):
                x = np.where(mask[row, :, 0], values[row, :, 0], np.nan)
                if share:
                    x = np.concatenate([[np.nan], x[1:] - x[:-1]])
                series.append(x - np.nanmean(x))
            for place, lag in enumerate(lags.tolist()):
                pairs = [(t, t + lag) for t in range(24) if 0 <= t + lag < 24]
                products = [series[0][t] * series[1][u] for t, u in pairs]
                assert found[way, 0, row, place].item() == pytest.approx(np.nansum(products))
                both = [series[0][t] * series[1][u] * 0 for t, u in pairs]
                squares = [series[0][t] ** 2 + n for (t, _), n in zip(pairs, both, strict=True)]
                answers = [series[1][u] ** 2 + n for (_, u), n in zip(pairs, both, strict=True)]
                kept = [getattr(moments, name)[way, 0, row, place].item() for name in FIELDS]
                assert kept[0] == pytest.approx(np.nansum(squares))
                assert kept[1] == pytest.approx(np.nansum(answers))
                assert kept[2] == np.isfinite(both).sum()


def test_chance_equals_a_plain_loop() -> None:
    """Each rollout's p-value: the evidence of its response after every other script."""
    commands, preds, target = panel(24, 20, 2, seed=5, noise=1.0)
    found = response_latency(commands, preds, target, max_lag=4, prewhiten=0.0).excess.rollouts
    there = torch.ones(24, 20, 3, dtype=torch.bool)
    lags = lag_grid(4, torch.device("cpu"))
    checked = 0
    for row in range(24):
        response = signals_of(preds[row].expand(24, -1, -1), there, (0.0,))
        source = signals_of(target, there, (0.0,))
        scan = scan_of(covariances(source, response, lags), moments_of(source, response, lags))
        best = scan.evidence.amax(-1)
        expected = (best >= best[row] - 1e-9).double().mean().item()
        if not found.p_value[row].isnan():
            assert found.p_value[row].item() == pytest.approx(expected)
            checked += 1
    assert checked == 24


# Chance


@pytest.mark.parametrize("kind", ["other scripts", "white", "wandering", "shared motion"])
def test_rollouts_that_ignore_their_script(kind: str) -> None:
    """Single rollouts: p-values are uniform, no more than the level get a lag."""
    commands, _, target = panel(600, 32, 0, seed=1)
    preds = {
        "other scripts": panel(600, 32, 2, seed=2)[1],
        "white": rand(600, 32, 3, seed=3),
        "wandering": walking(600, 32, 3, 0.9, seed=4),
        "shared motion": walking(600, 32, 3, 0.5, seed=5) + 3 * walking(1, 32, 3, 0.9, seed=6),
    }[kind]
    found = response_latency(commands, preds, target, draws=199)
    for estimate in (found.excess, found.generated):
        p_value = estimate.rollouts.p_value
        assert not p_value.isnan().any()
        assert stats.kstest(p_value.numpy(), "uniform").pvalue > 0.01
        assert 0.03 <= (p_value <= 0.05).double().mean().item() <= 0.07
        refused = estimate.rollouts.reason == Reason.NO_LAG
        assert (refused >= (p_value > 0.05)).all()
        assert estimate.rollouts.lag[refused].isnan().all()
    assert (found.reference.rollouts.lag == 1).double().mean() > 0.98


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["other scripts", "frozen", "wandering", "walk", "shared motion"])
def test_panels_that_ignore_their_scripts(kind: str) -> None:
    p_values: dict[str, list[float]] = {"excess": [], "generated": [], "reference": []}
    for seed in range(1000):
        commands, _, target = panel(16, 32, 0, seed=seed)
        preds = {
            "other scripts": lambda s: panel(16, 32, 2, seed=10_000 + s)[1],
            "frozen": lambda s: rand(16, 32, 3, seed=20_000 + s),  # but for noise
            "wandering": lambda s: walking(16, 32, 3, 0.9, seed=20_000 + s),
            "walk": lambda s: rand(16, 32, 3, seed=20_000 + s).cumsum(1),
            "shared motion": lambda s: (
                rand(16, 32, 3, seed=20_000 + s) + 3 * walking(1, 32, 3, 0.9, seed=10_000 + s)
            ),
        }[kind](seed)
        found = response_latency(commands, preds, target, draws=199, seed=50_000 + seed)
        p_values["excess"].append(found.excess.pooled.p_value.item())
        p_values["generated"].append(found.generated.pooled.p_value.item())
        found = response_latency(commands, target, preds, draws=199, seed=50_000 + seed)
        p_values["reference"].append(found.reference.pooled.p_value.item())
    for values in p_values.values():  # 15 of them in all, so that each may be a little unlikely
        assert stats.kstest(values, "uniform").pvalue > 0.01 / 15
        assert 0.03 <= np.mean(np.array(values) <= 0.05) <= 0.07


@pytest.mark.slow
def test_noise_as_large_as_the_response() -> None:
    """32 rollouts: exact in at least 99 % of panels."""
    right = 0
    for seed in range(300):
        inputs = panel(32, 32, seed % 7, seed=seed, noise=1.0)
        right += response_latency(*inputs, draws=19).excess.pooled.lag.item() == seed % 7
    assert right >= 297


def test_groups_keep_what_the_scenario_shows() -> None:
    """Each scenario scrolls in its own way: the same motion, but no response."""
    commands, _, target = panel(48, 32, 0, seed=1)
    groups = torch.arange(48) // 4
    scroll = 8 * walking(12, 32, 3, 0.7, seed=2)[groups]
    preds = scroll + rand(48, 32, 3, seed=3)
    fooled = response_latency(commands, preds, target + scroll).excess.pooled
    assert fooled.lag.item() == 0
    found = response_latency(commands, preds, target + scroll, groups=groups).excess.pooled
    assert found.p_value.item() > 0.05
    assert found.reason.item() == Reason.NO_LAG
    answers = scroll + panel(48, 32, 0, seed=1)[1]
    found = response_latency(commands, answers, target + scroll, groups=groups).excess
    assert found.pooled.lag.item() == 0
    assert found.pooled.p_value.item() == 0.001
    assert (found.rollouts.reason == Reason.TOO_FEW_SAMPLES).all()


def test_group_ids_may_be_any_integers() -> None:
    inputs = panel(40, 32, 2, seed=1, noise=1.0)
    groups = torch.arange(40) % 2
    plain = response_latency(*inputs, groups=groups)
    other = response_latency(*inputs, groups=groups * 10**12 - 7)
    assert torch.equal(plain.excess.pooled.p_value, other.excess.pooled.p_value)
    assert torch.equal(plain.excess.rollouts.p_value, other.excess.rollouts.p_value)


def test_large_panels_are_cut_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = panel(60, 32, 2, seed=1)
    monkeypatch.setattr(null_module, "_CHUNK", 25)
    found = response_latency(*inputs).excess
    assert found.pooled.p_value.item() == 0.001
    assert (found.rollouts.lag == 2).all()
    assert found.rollouts.p_value.max().item() <= 1 / 19
    eligible = torch.rand(60, generator=torch.Generator().manual_seed(1)) > 0.3
    exchange = exchange_of(rand(60), eligible, ())
    chunks, used = _chunks(exchange, torch.Generator().manual_seed(0))
    assert chunks.shape == (3, 20)
    assert sorted(chunks[used].tolist()) == eligible.nonzero()[:, 0].tolist()
    assert used.sum(1).amax() - used.sum(1).amin() <= 1


def test_chance_is_the_same_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all rollouts have the same steps, moments need not be summed anew for each exchange."""
    inputs = panel(30, 32, 2, seed=1, noise=3.0)
    fast = response_latency(*inputs, groups=torch.arange(30) // 15, draws=299)
    monkeypatch.setattr(null_module, "_have_the_same_steps", lambda *_: False)
    slow = response_latency(*inputs, groups=torch.arange(30) // 15, draws=299)
    for one, two in zip(fast, slow, strict=True):
        assert torch.equal(one.pooled.p_value, two.pooled.p_value)
        torch.testing.assert_close(one.rollouts.p_value, two.rollouts.p_value, equal_nan=True)


def test_chance_with_gaps() -> None:
    commands, _, target = panel(300, 32, 0, seed=1)
    preds = walking(300, 32, 3, 0.5, seed=4)
    preds[rand(300, 32, 3, seed=5) > 1] = math.nan
    preds[:100, 20:] = math.nan
    target[rand(300, 32, 3, seed=6) > 1] = math.nan
    found = response_latency(commands, preds, target, draws=199).excess
    assert found.pooled.p_value.item() > 0.05
    assert stats.kstest(found.rollouts.p_value.numpy(), "uniform").pvalue > 0.01


def test_the_same_seed_gives_the_same_p_value() -> None:
    inputs = panel(30, 32, 2, seed=1, noise=4.0)
    one, again, other = (response_latency(*inputs, seed=seed).excess.pooled for seed in (0, 0, 2))
    assert one.p_value == again.p_value
    assert one.p_value != other.p_value


# What cannot be told


def test_no_excitation() -> None:
    commands, preds, target = panel(60, 32, 2, seed=1)
    commands[:4] = 3
    found = response_latency(commands, preds, target)
    for estimate in found:
        assert (estimate.rollouts.reason[:4] == Reason.NO_EXCITATION).all()
        assert (estimate.rollouts.reason[4:] == Reason.DEFINED).all()
        for value in estimate.rollouts[:8]:
            assert value[:4].isnan().all()
        assert not estimate.rollouts.at_edge[:4].any()
    assert found.excess.pooled.lag.item() == 2
    still = response_latency(torch.full_like(commands, 3), preds, target)
    for estimate in still:
        assert estimate.pooled.reason.item() == Reason.NO_EXCITATION
        assert estimate.pooled.lag.isnan()
        assert estimate.pooled.p_value.isnan()


def test_no_response_of_the_reference() -> None:
    commands, preds, target = panel(30, 32, 2, seed=1)
    target[:5] = 0.3 + 1e-5 * rand(5, 32, 3)
    found = response_latency(commands, preds, target)
    assert (found.excess.rollouts.reason[:5] == Reason.NO_RESPONSE).all()
    assert (found.reference.rollouts.reason[:5] == Reason.NO_RESPONSE).all()
    assert (found.generated.rollouts.lag[:5] == 3).all()
    assert found.excess.pooled.lag.item() == 2
    nowhere = response_latency(commands, preds, torch.full_like(target, 0.3))
    assert nowhere.excess.pooled.reason.item() == Reason.NO_RESPONSE
    assert nowhere.reference.pooled.reason.item() == Reason.NO_RESPONSE


def test_no_generated_response_is_not_latency_0() -> None:
    commands, preds, target = panel(30, 32, 2, seed=1)
    preds[:5] = 0.1  # not a sum of powers of 2: its mean is off by rounding
    preds[5] = 0.01 * target[5]
    preds[6] = 0.05 * target[6].roll(2, 0)
    found = response_latency(commands, preds, target)
    for estimate in (found.excess, found.generated):
        assert (estimate.rollouts.reason[:6] == Reason.NO_GENERATED_RESPONSE).all()
        assert estimate.rollouts.lag[:6].isnan().all()
        assert estimate.rollouts.reason[6].item() == Reason.DEFINED
    assert (found.reference.rollouts.lag == 1).all()
    frozen = response_latency(commands, torch.zeros_like(preds), target)
    assert frozen.excess.pooled.reason.item() == Reason.NO_GENERATED_RESPONSE
    assert frozen.excess.pooled.lag.isnan()
    assert frozen.reference.pooled.lag.item() == 1


def test_few_rollouts_have_a_lag_but_no_p_value() -> None:
    for rows in (1, 7):
        found = response_latency(*panel(rows, 32, 3, seed=2))
        for estimate, lag in zip(found, (3, 1, 4), strict=True):
            assert estimate.pooled.lag.item() == lag
            assert estimate.pooled.p_value.isnan()
            assert estimate.pooled.reason.item() == Reason.TOO_FEW_SAMPLES
    found = response_latency(*panel(8, 32, 3, seed=2)).excess
    assert found.pooled.p_value.item() <= 0.01
    assert (found.rollouts.lag == 3).all()
    assert (found.rollouts.reason == Reason.TOO_FEW_SAMPLES).all()
    assert (response_latency(*panel(20, 32, 3, seed=2)).excess.rollouts.p_value == 1 / 20).all()


def test_rollouts_of_one_script_are_no_evidence() -> None:
    """20 seeds of two scripts: no p-value; of 10 scripts, only other ones count."""
    commands, preds, target = panel(10, 32, 3, seed=2)
    two = torch.arange(20) % 2
    found = response_latency(commands[two], preds[two], target[two]).excess
    assert found.pooled.reason.item() == Reason.TOO_FEW_SAMPLES
    assert found.pooled.lag.item() == 3
    ten = torch.arange(30) % 10
    found = response_latency(commands[ten], preds[ten], target[ten]).excess
    assert found.pooled.p_value.item() < 0.01
    assert found.rollouts.p_value.tolist() == pytest.approx([1 / 28] * 30)


def test_too_few_steps() -> None:
    commands, preds, target = panel(24, 32, 2, seed=1)
    valid = torch.ones(24, 32, dtype=torch.bool)
    valid[0, 7:] = False
    preds[1, 5:] = math.nan
    target[2] = math.inf
    found = response_latency(commands, preds, target, valid=valid).excess
    assert (found.rollouts.reason[:3] == Reason.TOO_FEW_STEPS).all()
    assert (found.rollouts.lag[3:] == 2).all()
    assert found.pooled.lag.item() == 2
    short = response_latency(commands[:, :7], preds[:, :7], target[:, :7])
    assert (short.excess.rollouts.reason == Reason.TOO_FEW_STEPS).all()
    assert short.excess.pooled.reason.item() == Reason.TOO_FEW_STEPS
    empty = response_latency(commands[:0], preds[:0], target[:0])
    assert empty.excess.rollouts.lag.shape == (0,)
    assert empty.excess.pooled.reason.item() == Reason.TOO_FEW_STEPS


def test_gaps() -> None:
    """A tenth of the measurements fail, in one dim or the other."""
    commands, preds, target = panel(64, 40, 3, seed=1)
    generator = torch.Generator().manual_seed(1)
    preds[torch.rand(preds.shape, generator=generator) < 0.1] = math.nan
    target[torch.rand(target.shape, generator=generator) < 0.1] = math.nan
    found = response_latency(commands, preds, target)
    assert found.excess.pooled.lag.item() == 3
    assert (found.excess.rollouts.lag == 3).double().mean() > 0.95
    assert found.excess.pooled.correlations.abs().amax().item() <= 1


def test_what_is_not_valid_does_not_matter() -> None:
    commands, preds, target = panel(24, 40, 2, seed=1)
    valid = torch.ones(24, 40, dtype=torch.bool)
    valid[:, 30:] = False
    valid[::2, 25:] = False
    found = response_latency(commands, preds, target, valid=valid)
    for values in (preds, target):
        values[~valid] = 1e6
    commands[~valid] = 0
    again = response_latency(commands, preds, target, valid=valid)
    for one, two in zip(found, again, strict=True):
        for a, b in zip(one.rollouts, two.rollouts, strict=True):
            torch.testing.assert_close(a, b, equal_nan=True)


@pytest.mark.parametrize("delay", [13, 16, 20])
def test_delays_beyond_the_window_are_not_mistaken(delay: int) -> None:
    found = response_latency(*panel(200, 48, delay, seed=delay), draws=99).excess
    assert found.pooled.reason.item() == Reason.NO_LAG
    assert found.pooled.at_edge
    named = ~found.rollouts.lag.isnan()
    silently = named & ~found.rollouts.at_edge & ~found.rollouts.ambiguous
    assert silently.double().mean().item() <= 0.02


def test_the_edge_of_the_window_is_named() -> None:
    found = response_latency(*panel(64, 48, 6, seed=1), max_lag=6, draws=99).excess
    assert found.pooled.lag.item() == 6
    assert found.pooled.at_edge
    assert found.rollouts.at_edge.all()
    wide = response_latency(*panel(64, 48, 6, seed=1), max_lag=7, draws=99).excess
    assert not wide.pooled.at_edge
    assert not response_latency(*panel(64, 48, 0, seed=1), max_lag=1).excess.pooled.at_edge


def test_scripts_that_repeat_themselves_are_ambiguous() -> None:
    """Left and right in turn, 4 steps each: a delay of 6 is one of -2, or of 2 mirrored."""
    commands = torch.tensor([1, 1, 1, 1, 2, 2, 2, 2]).repeat(6).expand(24, 48)
    phase = torch.arange(24)[:, None] % 8
    commands = commands.gather(1, (torch.arange(48) + phase) % 48)
    target = EFFECT[commands]
    preds = torch.cat([torch.zeros(24, 6, 3, dtype=torch.float64), target[:, :-6]], 1)
    found = response_latency(commands, preds + 0.1 * rand(24, 48, 3), target).excess
    assert found.pooled.ambiguous
    assert (found.rollouts.ambiguous | found.rollouts.lag.isnan()).all()
    alone = response_latency(commands[:4], preds[:4], target[:4]).excess.rollouts
    assert alone.ambiguous.all()
    random = response_latency(*panel(24, 48, 6, seed=1)).excess
    assert not random.rollouts.ambiguous.any()


def test_margin_falls_with_noise() -> None:
    margins = [
        response_latency(*panel(64, 32, 2, seed=1, noise=noise), draws=19).excess.pooled.margin
        for noise in (0.05, 0.2, 0.5, 1.0)
    ]
    assert all(a > b > 0 for a, b in pairwise(margins))


# Invariances and bad input


def test_rollouts_do_not_depend_on_the_others() -> None:
    commands, preds, target = panel(40, 32, 3, seed=1, noise=0.5)
    together = response_latency(commands, preds, target).excess.rollouts
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    shuffled = response_latency(commands[order], preds[order], target[order]).excess.rollouts
    # All 40 exchange scripts in one chunk, so that even p-values agree.
    for a, b in zip(together, shuffled, strict=True):
        torch.testing.assert_close(a[order], b, equal_nan=True)
    alone = response_latency(commands[:1], preds[:1], target[:1]).excess.rollouts
    torch.testing.assert_close(alone.margin[0], together.margin[0])


def test_does_not_change_its_inputs_and_takes_float32() -> None:
    commands, preds, target = panel(20, 32, 2, seed=1)
    copies = [value.clone() for value in (commands, preds, target)]
    response_latency(commands, preds, target)
    for value, copy in zip((commands, preds, target), copies, strict=True):
        assert torch.equal(value, copy)
    found = response_latency(commands, preds.float(), target.half())
    assert found.excess.pooled.lag.item() == 2
    assert found.excess.pooled.gain.dtype == torch.float64


INPUTS = panel(8, 16, 1, seed=0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"preds": INPUTS[1][0]}, ValueError, r"preds must have shape \[B, T, D\].*got \(16, 3\)"),
        ({"preds": INPUTS[0]}, TypeError, "preds must be floating point, got torch.int64"),
        ({"target": None}, TypeError, "target must be a torch.Tensor, got NoneType"),
        ({"target": INPUTS[2][:, 1:]}, ValueError, r"one shape \[B, T, D\], got \(8, 16, 3\) and"),
        ({"commands": INPUTS[0][:, 1:]}, ValueError, r"commands must have the \[B, T\] of preds"),
        ({"commands": INPUTS[0].float()}, TypeError, "must be int64 ids of actions, got torch.fl"),
        ({"commands": INPUTS[0] - 9}, ValueError, r"commands must lie in 0\.\., got -9\.\."),
        ({"commands": INPUTS[0][0]}, ValueError, r"\[B, T\] or \[B, T, A\] with A >= 1"),
        ({"num_actions": 2}, ValueError, r"commands must lie in 0\.\.1, got 0\.\.4"),
        ({"num_actions": 0}, ValueError, "num_actions must be at least 1"),
        ({"max_lag": -1}, ValueError, "max_lag must be 0 or more, got -1"),
        ({"draws": 0}, ValueError, "draws must be at least 1"),
        ({"level": 0.0}, ValueError, "level must be a number above 0.0"),
        ({"prewhiten": "ar"}, ValueError, "prewhiten must be 'auto' or a number in 0..1, got 'ar'"),
        ({"prewhiten": 1.5}, ValueError, "prewhiten must be a number at least 0.0 and at most 1"),
        ({"min_response": -1.0}, ValueError, "min_response must be a number"),
        ({"groups": torch.zeros(7).long()}, ValueError, r"groups must have shape \[B\] with B = 8"),
        ({"groups": torch.zeros(8)}, TypeError, "groups must be integers, got torch.float32"),
        ({"valid": torch.ones(8, 15).bool()}, ValueError, r"valid must have a shape that broadca"),
        ({"valid": torch.ones(8, 16)}, TypeError, "valid must be bool"),
    ],
)
def test_bad_input(change: dict, error: type[Exception], message: str) -> None:
    arguments = dict(zip(("commands", "preds", "target"), INPUTS, strict=True)) | change
    with pytest.raises(error, match=message):
        response_latency(**arguments)
