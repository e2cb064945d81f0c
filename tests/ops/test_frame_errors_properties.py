"""frame_errors: identities between its columns."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wmscore.ops import FrameErrors, frame_errors


@given(
    data=st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), min_size=1, max_size=300),
    shift=st.integers(0, 17),
)
@settings(deadline=None, max_examples=50)
def test_columns_obey_their_identities(data, shift):
    """Swapping the arguments swaps the columns, and Σ(p-t)² = Σp² + Σt² - 2Σpt."""
    flat = torch.tensor([(0, 0)] * shift + data, dtype=torch.uint8)[shift:].T.contiguous()
    preds, target = flat[0].view(1, 1, 1, -1), flat[1].view(1, 1, 1, -1)
    sums = FrameErrors(*frame_errors(preds, target).flatten().tolist())
    swapped = FrameErrors(*frame_errors(target, preds).flatten().tolist())
    assert swapped == FrameErrors(sums[0], sums[1], sums[3], sums[2], sums[5], sums[4])
    cross = sum(p * t for p, t in data)
    assert sums.squared_error == sums.preds_energy + sums.target_energy - 2 * cross
