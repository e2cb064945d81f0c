"""Score files that lack a part or hold one that does not fit: refused, and never scored."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.made_scores import made_panel, made_scores
from wmscore.cli import main
from wmscore.scores import Scores
from wmscore.tensorfile import load_tensors, save_tensors

VALUES = "axes.perceptual_drift.values"
Change = Callable[[dict[str, Any], dict[str, Tensor]], object]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    scores = made_scores(made_panel(6, 2, 12), torch.full((6, 2), 7), model="old")
    scores.save(tmp_path / "old.safetensors")
    return tmp_path / "old.safetensors"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda h, t: h.pop("panel"), "expected panel in the scores file"),
        (lambda h, t: h.pop("curves"), "expected curves in the scores file"),
        (lambda h, t: t.pop("fault"), "expected fault in the scores file"),
        (
            lambda h, t: h["curves"].pop("axes.identity_persistence"),
            r"expected the panel's axes .* got \['perceptual_drift', 'action_response'\]",
        ),
        (lambda h, t: t.update(fault=t["fault"][:1]), r"fault: expected shape \(12,\), got \(1,\)"),
        (lambda h, t: t.update({VALUES: t[VALUES][:1]}), rf"{VALUES}: expected shape \(12, 12\)"),
        (lambda h, t: t.update({VALUES: t[VALUES][:, :5]}), rf"{VALUES}: expected shape"),
        (
            lambda h, t: t.update({"horizon.axis_steps": t["horizon.axis_steps"][:1]}),
            r"horizon.axis_steps: expected shape \(3, 12\), got \(1, 12\)",
        ),
        (
            lambda h, t: t.update({"horizon.steps": t["horizon.steps"] + 6}),
            "horizon.steps: expected int64 from -1 to 12, got",
        ),
        (
            lambda h, t: t.update({"horizon.axis": t["horizon.axis"] + 3}),
            "horizon.axis: expected int64 from -1 to 2, got",
        ),
        (
            lambda h, t: t.update({"horizon.defined": t["horizon.defined"].long()}),
            "horizon.defined: expected bool",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    whole: Path, change: Change, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    header, tensors = load_tensors(whole, "scores")
    header = {k: copy.deepcopy(v) for k, v in header.items() if k not in ("kind", "version")}
    broken = whole.with_name("broken.safetensors")
    save_tensors(broken, "scores", tensors, header)
    assert Scores.load(broken).model == "old"
    change(header, tensors)
    save_tensors(broken, "scores", tensors, header)
    with pytest.raises(ValueError, match=text):
        Scores.load(broken)
    # Neither pass nor fail.
    assert main(["compare", str(whole), str(broken), "--gate", "2"]) == 2
    assert str(broken) in capsys.readouterr().err
