"""Nested results as flat tensors and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from wmscore.nested import flatten, rebuild


class Pair(NamedTuple):
    left: Tensor
    right: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Part:
    value: Tensor
    pair: Pair


@dataclass(frozen=True, kw_only=True)
class Whole:
    part: Part
    other: Part | None
    few: Tensor


def make(*, other: bool = True, right: bool = True) -> Whole:
    def part(start: int) -> Part:
        values = torch.arange(3) + start
        own = Pair(values.double(), values > start if right else None)
        return Part(value=values, pair=own)

    return Whole(part=part(0), other=part(5) if other else None, few=torch.tensor(2.5))


@pytest.mark.parametrize("other", [True, False])
@pytest.mark.parametrize("right", [True, False])
def test_there_and_back(other: bool, right: bool):
    whole = make(other=other, right=right)
    tensors = flatten("result", whole)
    names = {"result.part.value", "result.part.pair.left", "result.few"}
    names |= {"result.part.pair.right"} if right else set()
    names |= {n.replace(".part", ".other") for n in names if ".part" in n} if other else set()
    assert set(tensors) == names
    again = rebuild(Whole, "result", {**tensors, "results.part": torch.zeros(1)})
    assert isinstance(again, Whole)
    assert isinstance(again.part.pair, Pair)
    assert again.part.pair.left is whole.part.pair.left
    assert again.part.pair.left.dtype == torch.float64
    assert (again.other is None) == (not other)
    assert (again.part.pair.right is None) == (not right)
    assert again.few is whole.few


def test_nothing_is_nothing():
    assert flatten("result", None) == {}
    assert rebuild(Whole, "result", {}) is None
    # The name of another result that begins alike is not this one.
    assert rebuild(Whole, "result", {"result_truth.few": torch.zeros(1)}) is None
    assert flatten("x", torch.ones(2))["x"].equal(torch.ones(2))


@pytest.mark.parametrize("lost", ["result.few", "result.part.pair.left", "result.other.value"])
def test_what_is_missing_is_named(lost: str):
    tensors = flatten("result", make())
    del tensors[lost]
    with pytest.raises(KeyError, match=lost):
        rebuild(Whole, "result", tensors)


def test_what_is_not_nested_is_refused():
    with pytest.raises(TypeError, match="expected a dataclass or a named tuple, got list"):
        flatten("x", [torch.ones(2)])
