"""Ids that change their meaning from frame to frame are found; those of objects are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.functional.identity.scenes import STEPS, rollout, swapped, two_objects
from wmscore import Panel
from wmscore.functional import id_stability
from wmscore.replay import render_truth
from wmscore.testing import Faulty, IdentitySwap, sprite_items
from wmscore.worlds import SpriteWorld, doom_labels
from wmscore.worlds.load import load_world


def test_counts() -> None:
    target = two_objects()
    found = id_stability(target)
    assert (found.kept.tolist(), found.changed.tolist()) == ([2 * (STEPS - 1)], [0])
    assert not found.suspicious.any()
    once = id_stability(swapped(target, 3, 9, 4))
    assert (once.kept.tolist(), once.changed.tolist()) == ([2 * (STEPS - 2)], [2])
    assert not once.suspicious.any()


def test_numbers_given_anew_in_every_frame() -> None:
    labels = rollout((1, 4, 4), (2, 4, 14), (3, 4, 24))
    for t in range(STEPS):
        names = torch.tensor([0, 1, 2, 3]).roll(t % 3)  # what is seen first gets number 1
        labels[:, t] = names[labels[:, t]].where(labels[:, t] > 0, 0)
    assert id_stability(labels).suspicious.tolist() == [True]
    valid = torch.zeros(1, STEPS, dtype=torch.bool)
    valid[:, ::2] = True  # no two frames in a row are there
    assert id_stability(labels, valid=valid).changed.tolist() == [0]
    assert id_stability(labels[:, :1]).kept.tolist() == [0]


def test_worlds_and_faults_are_stable() -> None:
    world, items = SpriteWorld(48, 48), sprite_items(16, 16)
    for model in (world, Faulty(world, IdentitySwap())):
        labels = model.rollout(items, 16).labels
        assert not id_stability(labels).suspicious.any()


@pytest.mark.vizdoom
def test_raw_values_of_vizdoom_are_found_and_its_objects_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def paint(self: Any, state: Any, out: Any) -> None:
        table = np.zeros(256, dtype=np.int16)
        for label in state.labels:
            table[label.value] = label.value if self._labels[label.object_id] else 0
        np.take(table, state.labels_buffer, out=out)

    panel = Panel.packaged("vizdoom")
    for is_raw in (False, True):
        if is_raw:
            monkeypatch.setattr(doom_labels.ObjectLabels, "paint", paint)
        truth = render_truth(panel, load_world(panel))
        found = id_stability(truth.labels, valid=truth.valid).suspicious
        assert int(found.sum()) >= 5 if is_raw else not found.any()
