"""The study of identity from pixels: it counts what happened."""

from __future__ import annotations

from pathlib import Path

import identity_validity as validity
import torch

from wmscore.functional import IdentityState, Reason
from wmscore.functional.appearance import AppearanceStates


def states(*objects: list[int], reasons: int = 0) -> AppearanceStates:
    """One row of objects with a state per step, all visible."""
    state = torch.tensor(objects, dtype=torch.uint8).T[None]
    real = torch.zeros(state.shape, dtype=torch.float64)
    return AppearanceStates(
        ids=torch.arange(1, len(objects) + 1)[None],
        state=state,
        other_id=torch.zeros_like(state, dtype=torch.int64),
        confidence=real,
        reason=torch.where(state == IdentityState.UNDETERMINED, reasons, 0).to(torch.uint8),
        area=torch.full_like(state, 50, dtype=torch.int64),
        own=real,
        other=real[..., None],
        ground=real,
        elsewhere=real,
        again=real,
    )


OK, SWAP, VANISH = IdentityState.OK, IdentityState.SWAP, IdentityState.VANISH
LOST, UNCLEAR = Reason.LOST, Reason.UNCLEAR


def test_counts_of_hand_made_states() -> None:
    truth = (torch.tensor([3]), torch.tensor([[1, 2]]))
    counts = validity.Counts()
    # Found at once; found one step late; not of this fault; one step only, which is no break.
    made = states(
        [OK, OK, SWAP, SWAP, SWAP], [OK, OK, 4, VANISH, VANISH],
        [VANISH, VANISH, OK, OK, OK], [OK, SWAP, OK, OK, OK], reasons=UNCLEAR,
    )  # fmt: skip
    counts.add(made, truth, SWAP)
    assert (counts.faults, counts.judged, counts.found) == (2, 2, 2)
    assert (counts.right_kind, counts.exact, counts.near) == (1, 1, 2)
    assert (counts.spurious, counts.spurious_objects, counts.kinds) == (1, 1, {"VANISH": 1})
    assert (counts.visible, counts.undetermined) == (20, 1)
    # Missed where it could be seen; not counted where the reference leaves nothing to judge.
    counts = validity.Counts()
    counts.add(states([OK] * 5, [4] * 5, reasons=LOST), truth, SWAP)
    assert (counts.faults, counts.judged, counts.found, counts.spurious) == (2, 1, 0, 0)
    # A break before the fault is none that it explains.
    counts = validity.Counts()
    counts.add(states([SWAP] * 5, [OK] * 5), truth, SWAP)
    assert (counts.found, counts.spurious) == (0, 1)


def test_a_small_study(tmp_path: Path) -> None:
    file = tmp_path / "counts.json"
    counts = validity.study(
        "sprites", 0, 3, 8, 3, ["reference", "first"], ["none"], ["", "swap"], False, file
    )
    clean = counts["reference", "none", "", validity.DEFAULT]
    assert (clean.rollouts, clean.spurious) == (3, 0)
    assert clean.visible > clean.undetermined
    swap = counts["reference", "none", "swap", validity.DEFAULT]
    assert swap.found >= 4
    assert swap.exact <= swap.near <= swap.found <= swap.judged <= swap.faults
    twice = validity.merged([file, file])
    assert twice["reference", "none", "", validity.DEFAULT].rollouts == 6
    table = validity.table(twice, "reference")
    assert "| none | 6 | 0 (0.0 %) |" in table
    assert len(validity.trade(twice, "first").splitlines()) == 2 + len(validity.SENSITIVITIES)
