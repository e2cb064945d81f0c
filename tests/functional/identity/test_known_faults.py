"""Every known fault of objects is found at exactly its step, and nothing where there is none."""

from __future__ import annotations

from collections import Counter

import pytest
from identity_rollouts import identity_rollouts
from identity_validity_labels import FAULTS, tally

from wmscore.testing import Faulty


@pytest.fixture(scope="module")
def counts() -> dict[str, Counter[str]]:
    models = {name: lambda world, f=fault: Faulty(world, f) for name, (fault, _) in FAULTS.items()}
    models["clean"] = lambda world: world
    found: dict[str, Counter[str]] = {name: Counter() for name in models}
    for _, answers in identity_rollouts("sprites-64", models, scenarios=range(6), horizon=32):
        for name, rollouts in answers.items():
            tally(name, rollouts, found[name])
    return found


@pytest.mark.parametrize("name", list(FAULTS))
def test_found_at_exactly_its_step(counts: dict[str, Counter[str]], name: str) -> None:
    count = counts[name]
    assert count["injected"] >= 3
    assert count["exact"] == count["injected"]
    assert count["before"] == count["false"] == 0


def test_nothing_is_found_in_the_true_world(counts: dict[str, Counter[str]]) -> None:
    assert counts["clean"] == {"rollouts": 6, "with an event": 0, "with a spawn": 0}
