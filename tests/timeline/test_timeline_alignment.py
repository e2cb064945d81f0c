"""The three conventions of recordings, told apart and undone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wmscore.timeline import align, unalign

CONVENTIONS = ("transition", "at_frame", "produced")


def test_each_convention_finds_the_action_between_two_frames() -> None:
    """Frames 0, 1, 2, 3 with 10, 11, 12 between them, as three recorders write it."""
    written = {
        "transition": [10, 11, 12],
        "at_frame": [10, 11, 12, 99],
        "produced": [99, 10, 11, 12],
    }
    for convention, rows in written.items():
        found = align(torch.tensor(rows), 4, convention)
        assert found.value.tolist() == [10, 11, 12]
        assert len(found.losses) == (convention != "transition")
    (loss,) = align(torch.tensor(written["at_frame"]), 4, "at_frame").losses
    assert str(loss) == "last action: dropped at 1 step: no frame shows its effect"


def test_a_zero_row_in_front_is_no_loss() -> None:
    rows = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    assert align(rows, 2, "produced").lossless
    assert not align(rows.flip(0), 2, "produced").lossless


@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(st.lists(st.integers(-5, 5), min_size=2, max_size=2), min_size=1, max_size=6),
    convention=st.sampled_from(CONVENTIONS),
)
def test_unalign_is_undone(rows, convention) -> None:
    actions = torch.tensor(rows)
    there = unalign(actions, convention)
    assert torch.equal(align(there, len(rows) + 1, convention).value, actions)
    batch = unalign(actions[None].expand(3, -1, -1), convention, dim=1)
    assert torch.equal(batch[1], there)


def test_fill_stands_where_no_action_is_known() -> None:
    assert unalign(torch.tensor([5]), "at_frame", fill=7).tolist() == [5, 7]
    assert unalign(torch.tensor([5]), "produced", fill=7).tolist() == [7, 5]


@pytest.mark.parametrize(
    ("count", "frames", "convention", "message"),
    [
        (4, 4, "transition", "3 rows for 4 frames .* as 'at_frame' or 'produced' would have"),
        (3, 4, "at_frame", "4 rows for 4 frames .* as 'transition' would have"),
        (9, 4, "produced", r"got \[9\]$"),
        (3, 0, "transition", "frame_count: expected at least 1, got 0"),
        (3, 3, "backwards", "convention: expected one of"),
    ],
)
def test_wrong_counts_are_refused(count, frames, convention, message) -> None:
    with pytest.raises(ValueError, match=message):
        align(torch.zeros(count), frames, convention)
    if convention == "backwards":
        with pytest.raises(ValueError, match=message):
            unalign(torch.zeros(count), convention)
