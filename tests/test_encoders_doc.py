"""docs/encoders.md: what is shown runs, and prints what is shown."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from wmscore.networks import ClipEncoder, ModuleEncoder

DOCUMENT = (Path(__file__).parents[1] / "docs" / "encoders.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
PRINTED = re.findall(r"^```text\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
TORCHVISION = 2  # the first blocks belong together and print; the others each need weights


def run(block: str, names: dict[str, Any]) -> None:
    exec(compile(block, "docs/encoders.md", "exec"), names)


def assert_same(printed: str, shown: str) -> None:
    """Equal texts, numbers within rounding of other machines."""
    number = re.compile(r"\d+\.\d+")
    plain = [" ".join(number.sub("#", text).split()) for text in (printed, shown)]
    assert plain[0] == plain[1]
    found, wanted = (list(map(float, number.findall(text))) for text in (printed, shown))
    assert found == pytest.approx(wanted, rel=0.02, abs=1.5e-4)


def test_the_first_example_prints_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchvision")
    run(BLOCKS[0], {})
    assert_same(capsys.readouterr().out, PRINTED[0])


@pytest.mark.slow
def test_more_of_torchvision_prints_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchvision")
    names: dict[str, Any] = {}
    run(BLOCKS[0], names)
    capsys.readouterr()
    run(BLOCKS[1], names)
    assert_same(capsys.readouterr().out, PRINTED[1])


class Pretrained(nn.Module):
    """Stands for a network whose weights a test cannot have."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.config = types.SimpleNamespace(num_register_tokens=4)

    @classmethod
    def from_pretrained(cls, name: str) -> Pretrained:
        return cls()

    def forward(self, *_: Any) -> None: ...

    encode = embed = get_vision_features = forward_features = forward


@pytest.mark.parametrize("number", range(TORCHVISION, len(BLOCKS)))
def test_options_are_accepted(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("transformers", "diffusers", "dreamsim"):
        stand_in: Any = types.ModuleType(name)
        for public in ("AutoModel", "AutoencoderKL", "CLIPVisionModelWithProjection"):
            setattr(stand_in, public, Pretrained)
        stand_in.dreamsim = lambda **options: (Pretrained().eval(), None)
        monkeypatch.setitem(sys.modules, name, stand_in)
    monkeypatch.setattr(torch.hub, "load", lambda *names: Pretrained())
    names: dict[str, Any] = {}
    run(BLOCKS[number], names)
    made = [value for value in names.values() if isinstance(value, ModuleEncoder | ClipEncoder)]
    assert len(made) == 1
    assert made[0].describe()["value_range"] in ([0.0, 1.0], [-1.0, 1.0])
    assert len(made[0].fingerprint) == 64
