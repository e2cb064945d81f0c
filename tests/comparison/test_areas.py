"""Mean scores over shared steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from wmscore.comparison import areas
from wmscore.comparison.areas import shared_means


def curves(models: int, rows: int, steps: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(rows)
    values = torch.randint(256, (models, rows, steps), generator=generator).to(dtype) / 255
    values[torch.rand(values.shape, generator=generator) < 0.1] = math.nan
    values[0, 0, 0] = math.inf
    return list(values)


@pytest.mark.parametrize("models", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_equal_to_the_definition(
    models: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = curves(models, 40, 9, dtype)
    there = torch.arange(40) % 7 != 3
    found = shared_means(made, there)
    for row in range(40):
        steps = [t for t in range(9) if all(math.isfinite(c[row, t]) for c in made)]
        for model, curve in enumerate(made):
            if steps and there[row]:
                expected = math.fsum(float(curve[row, t]) for t in steps) / len(steps)
                assert found[model, row].item() == pytest.approx(expected, rel=1e-14)
            else:
                assert found[model, row].isnan()
    monkeypatch.setattr(areas, "_PIECE", 1)  # a row at a time
    assert torch.equal(shared_means(made, there).nan_to_num(-1), found.nan_to_num(-1))


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least one model"):
        shared_means([])
    with pytest.raises(ValueError, match=r"one shape \[R, T\]"):
        shared_means([torch.zeros(2, 3), torch.zeros(3, 2)])
    with pytest.raises(TypeError, match=r"got torch\.int64"):
        shared_means([torch.zeros(2, 3, dtype=torch.int64)])
