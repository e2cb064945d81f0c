"""The demo judges both learned families, with what tells their causes apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wmscore.demo import ROLES, demo_models, run_demo
from wmscore.evidence import verify_evidence
from wmscore.manifest import Panel
from wmscore.worlds import SpriteWorld

LEARNED = ("linear-latent", "flow-net")
COMPANIONS = {
    "linear-latent (teacher-forced)",
    "linear-latent (reconstruction)",
    "flow-net (teacher-forced)",
}


def small(size: int = 64) -> Panel:
    data = Panel.packaged("sprites").model_dump()
    data["scenarios"], data["seeds"] = data["scenarios"][:2], [0]
    data["contract"]["horizon"] = 8
    data["contract"]["observation"] |= {"height": size, "width": size}
    return Panel.from_dict(data)


def test_the_families_are_judged_beside_anchors_and_known_faults(tmp_path: Path) -> None:
    pytest.importorskip("av")
    pytest.importorskip("pyarrow")
    results, _, ladder = run_demo(tmp_path / "evidence", panel=small(), stress=False)
    assert ladder is None
    names = [scores.model for scores in results]
    assert {*LEARNED, *ROLES, "delayed-actions-2", "identity-swap"} | COMPANIONS == set(names)
    for scores in results:
        if scores.model in LEARNED:
            assert scores.horizon.defined.all()
            assert not scores.faults()
    causes = json.loads((tmp_path / "evidence" / "attribution.json").read_text())["models"]
    assert set(causes) == {*LEARNED, "delayed-actions-2", "identity-swap"}
    assert causes["linear-latent"]["cause"] == "perception"
    assert "perception" not in causes["linear-latent"]["missing"]
    assert (tmp_path / "evidence" / "report.html").stat().st_size > 10_000
    assert not verify_evidence(tmp_path / "evidence").problems


def test_a_panel_of_another_size_has_no_learned_models() -> None:
    names = [m.name for m in demo_models(small(48), SpriteWorld(48, 48))]
    assert not set(LEARNED) & set(names)
    assert set(ROLES) < set(names)
