"""Ladders at their edges: numbers by hand, what counts as a change, rungs that do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from tests.made_scores import made_panel, made_scores
from tests.panels import sprite_panel
from wmscore.evidence.stress import rung_cell
from wmscore.ladder import Rung, RungScores, run_ladder, summarise_ladder
from wmscore.ladder.rungs import ratio_interval
from wmscore.manifest import Panel
from wmscore.stressors import find
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=16, width=16)


def rung(panel: Panel, severity: float, ends: Sequence[int], **options: object) -> RungScores:
    """Blur of so many pixels, under which rollouts of `made` end after these steps."""
    harder = find("blur").apply(panel, severity)
    scores = made_scores(harder, [[step] for step in ends], **options)
    return RungScores(stressor="blur", severity=severity, unit="px", scores=[scores])


def test_the_interval_of_a_ratio_by_hand() -> None:
    """Residuals -.4, -.1 and .5 about .7 x, two degrees of freedom: t = 4.302653."""
    y, x = (torch.tensor(v, dtype=torch.float64) for v in ([1.0, 2, 4], [2.0, 3, 5]))
    ratio, low, high = ratio_interval(y, x)
    reach = 4.302653 * (0.21**0.5) / (10 / 3 * 3**0.5)
    assert (ratio, low, high) == pytest.approx((0.7, 0.7 - reach, 0.7 + reach), rel=1e-6)


def test_the_rung_that_leaves_the_least_is_told_where_none_breaks() -> None:
    panel = made_panel(scenarios=6, seeds=1)
    clean = [10] * 6
    some = [10, 10, 10, 10, 10, 4]
    rungs = [rung(panel, 1.0, some), rung(panel, 2.0, clean)]
    model = summarise_ladder([made_scores(panel, [[n] for n in clean])], rungs).models["made"]
    assert model.why == (
        "none of 2 rungs is shown to break it; the least is left by blur 1 px (90%)"
    )


def test_what_ends_most_rows_is_told() -> None:
    panel = made_panel(scenarios=8, seeds=1)
    by = torch.tensor([[1]] * 6 + [[0]] * 2)
    clean = made_scores(panel, torch.full((8, 1), 12))
    model = summarise_ladder([clean], [rung(panel, 1.0, [3] * 8, by=by)]).models["made"]
    assert model.rungs[0].ended_by == {"perceptual_drift": 2, "identity_persistence": 6}
    assert "ended mostly by identity_persistence" in model.why


def test_rungs_rise_and_hold_the_scores_of_their_own_stress() -> None:
    panel = made_panel(scenarios=5, seeds=1)
    clean = [made_scores(panel, torch.full((5, 1), 12))]
    twice = [rung(panel, 1.0, [6] * 5)] * 2
    with pytest.raises(ValueError, match="rising severities of blur, got 1 after 1"):
        summarise_ladder(clean, twice)
    other = replace(rung(panel, 1.0, [6] * 5), severity=2.0)
    with pytest.raises(ValueError, match="blur 2: scores of 'made' are under blur 1"):
        summarise_ladder(clean, [other])


def test_a_rung_that_the_baseline_refuses_is_left_out_of_both_sums() -> None:
    """Lost are .5 and .25 beside .75 and 1; where the baseline has nothing, neither counts."""
    panel = made_panel(scenarios=5, seeds=1)
    roles = {"frozen": "floor"}
    clean = [made_scores(panel, torch.full((5, 1), 12), model=m) for m in ("made", "frozen")]
    rungs = []
    for severity, mine, floor in ((1.0, 6, 3), (2.0, 9, 0), (3.0, 0, None)):
        one = rung(panel, severity, [mine] * 5)
        if floor is None:
            rungs.append(replace(one, refused={"frozen": "too blurred"}))
        else:
            theirs = rung(panel, severity, [floor] * 5, model="frozen").scores
            rungs.append(replace(one, scores=[*one.scores, *theirs]))
    found = summarise_ladder(clean, rungs, roles=roles).models
    assert found["made"].stressors["blur"].corruption_error == pytest.approx(0.75 / 1.75)
    assert found["frozen"].stressors["blur"].corruption_error == 1


def test_a_cell_tells_broken_sound_unknown_and_nothing_to_lose_apart() -> None:
    one = Rung(stressor="blur", severity=1.0, unit="px", index=1, relative=0.5)
    assert rung_cell(replace(one, broken=True)) == "50% *"
    assert rung_cell(replace(one, broken=False)) == "50%"
    assert rung_cell(replace(one, undecided="3 scenarios have a horizon")) == "50% ?"
    assert rung_cell(replace(one, excluded="no prompt")) == "-"
    none = replace(one, relative=float("nan"))
    assert rung_cell(none) == "n/a"
    assert rung_cell(replace(none, undecided="nothing to lose: no horizon")) == "nothing to lose"


class Still(SpriteWorld):
    """Whatever is asked, nothing moves by it."""

    def rollout(self, items, horizon):
        unasked = [replace(item, actions=torch.zeros_like(item.actions)) for item in items]
        found = super().rollout(unasked, horizon)
        return replace(found, actions=torch.stack([item.actions for item in items])[:, :horizon])


@pytest.mark.parametrize(("name", "severity"), [("prompt-distractor", 1), ("noisy-actions", 0.8)])
def test_what_is_asked_is_a_change_though_the_world_shows_the_same(
    name: str, severity: float
) -> None:
    data = sprite_panel(scenarios=2, seeds=1, horizon=4, size=16).model_dump()
    data["axes"] = [{"axis": "perceptual_drift", "threshold": 0.5}]
    for scenario in data["scenarios"]:
        scenario["prompt"] = "some sprites"
    panel, world = Panel.from_dict(data), Still(16, 16)
    stressors, severities = [find(name)], {name: (severity,)}
    roles = {"sprites": "truth"}  # an anchor, whom nobody asks whether it reads prompts
    found = run_ladder(panel, [world], world, stressors, severities=severities, roles=roles, seed=3)
    (told,) = found.models["sprites"].rungs
    assert (told.excluded, told.changed) == (None, 2)
    assert told.panel == find(name).apply(panel, severity, seed=3).fingerprint
