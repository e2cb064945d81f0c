"""Frame counts of chunked models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmscore.worlds.chunk_rule import ChunkRule


@given(
    step=st.integers(1, 9), offset=st.integers(0, 9), missing=st.integers(1, 60), echo=st.booleans()
)
def test_one_call_reaches_the_horizon_with_a_legal_count(
    step: int, offset: int, missing: int, echo: bool
) -> None:
    rule = ChunkRule(frames=None, multiple=(step, offset), echo=echo)
    answer = rule.answer(1, missing)
    assert rule.new_frames(1, answer) >= missing
    assert (answer - offset) % step == 0
    smaller = answer - step
    assert smaller < offset or rule.new_frames(1, smaller) < missing
    assert rule.new_frames(1, answer) <= missing + rule.ahead


def test_the_largest_context_that_there_are_frames_for() -> None:
    rule = ChunkRule(frames=9, contexts=(1, 5))
    assert [rule.context(n) for n in (1, 4, 5, 90)] == [1, 1, 5, 5]
    assert ChunkRule(frames=9, contexts=(4,), pad_start=True).context(1) == 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"frames": 10, "multiple": (4, 1)}, r"frames: expected 4 \* a \+ 1, got 10; .* 13"),
        ({"frames": 5, "contexts": (1, 5)}, "an answer of 5 echoes a context of 5"),
        ({"frames": 9, "contexts": (5, 1)}, "contexts: expected ascending sizes"),
        ({"frames": 9, "contexts": ()}, "contexts: expected ascending sizes"),
        ({"frames": 9, "contexts": (2,)}, "smallest context is 2; pad_start=True"),
        ({"frames": 9, "multiple": (0, 1)}, "multiple: expected"),
        ({"frames": 9, "rows": 0}, "rows: expected at least 1 or None, got 0"),
    ],
)
def test_rules_that_no_call_could_keep_to(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChunkRule(**fields)
