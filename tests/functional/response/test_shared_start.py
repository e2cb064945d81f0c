"""Scripts of a group begin with one frame, or are refused with what differs."""

from __future__ import annotations

import pytest
import torch

from wmscore.functional import check_shared_start, start_difference


def test_says_which_and_by_how_much() -> None:
    first = torch.full((3, 4, 3, 8, 8), 100, dtype=torch.uint8)
    check_shared_start(first)
    first[1, 2, 0, 3, 3] = 63
    first[2, 3] = 255
    assert start_difference(first).tolist() == [[0] * 4, [0, 0, 37, 0], [0, 0, 0, 155]]
    said = r"frames: .* in 2 of 12: group 1, script 2 \(by up to 37\), group 2, script 3 \(by up"
    with pytest.raises(ValueError, match=said):
        check_shared_start(first)
    with pytest.raises(ValueError, match=r"model: .* in 1 of 12: group 2"):
        check_shared_start(first, name="model", tolerance=40)


def test_nan_is_another_frame() -> None:
    first = torch.zeros(1, 2, 3, 4, 4)
    first[0, 1, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"group 0, script 1 \(by up to nan\)"):
        check_shared_start(first, tolerance=1.0)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"first must have shape \[G, K, C, H, W\]"):
        start_difference(torch.zeros(2, 3, 4, 4))
    with pytest.raises(TypeError, match="first must be uint8"):
        start_difference(torch.zeros(1, 2, 3, 4, 4).long())
