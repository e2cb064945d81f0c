"""Open Oasis and the services by `wmscore replay --set`, and what their recordings say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch

from tests.panels import sprite_panel
from tests.worlds.oasis.oasis_networks import networks
from wmscore.cli import main
from wmscore.manifest import Panel
from wmscore.recordings import Recording

NETWORKS = """
from networks import SmallDiT, SmallVAE
DiT_models = {"DiT-S/2": SmallDiT}
VAE_models = {"vit-l-20-shallow-encoder": lambda: SmallVAE(size=(48, 48))}
"""
TABLE = {"noop": {}, "left": {"yaw": -10.0}, "right": {"yaw": 10.0}, "up": {"forward": 1}}


@pytest.fixture
def panel(tmp_path: Path) -> Path:
    path = tmp_path / "panel.json"
    axes = [{"axis": "action_response", "threshold": 0.5}]
    sprite_panel(1, 2, 4, axes=axes).save(path)
    data = json.loads(path.read_text())
    data["scenarios"][0]["prompt"] = "a road"
    path.write_text(json.dumps(data))
    return path


def replay(panel: Path, model: str, out: Path, options: dict[str, object]) -> int:
    given = [f"{key}={json.dumps(value)}" for key, value in options.items()]
    sets = [part for text in given for part in ("--set", text)]
    return main(["replay", str(panel), "--model", model, "--out", str(out), *sets])


def test_open_oasis(panel: Path, tmp_path: Path) -> None:
    folder = tmp_path / "open-oasis"
    folder.mkdir()
    for name in ("dit", "vae"):
        (folder / f"{name}.py").write_text(NETWORKS)
    (folder / "networks.py").write_text(Path(__file__).with_name("oasis_networks.py").read_text())
    for name, network in zip(("dit", "vae"), networks(), strict=True):
        safetensors.torch.save_model(network, str(folder / f"{name}.safetensors"))
    options = {
        "checkout": str(folder),
        "dit_weights": str(folder / "dit.safetensors"),
        "vae_weights": str(folder / "vae.safetensors"),
        "frames_per_action": 2,
        "steps": 2,
        "table": {**TABLE, "down": None},
    }
    out = tmp_path / "out"
    assert replay(panel, "wmscore.worlds.oasis:load_open_oasis", out, options) == 0
    recording = Recording(out)
    assert recording.model == "open-oasis"
    # Known only once the model was asked, and told wherever the model is judged.
    losses = recording.about.facts["conversion_losses"]
    assert any("down" in loss for loss in losses), losses
    evidence = tmp_path / "evidence"
    assert main(["score", str(out), "--out", str(evidence)]) == 0
    said = "Between the panel and open-oasis: " + "; ".join(losses)
    assert said in (evidence / "postmortem.md").read_text()


def test_oasis3(panel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("decart_oasis")
    from tests.worlds.oasis.oasis3_server import serving_oasis

    monkeypatch.setenv("WMSCORE_TEST_KEY", "key-456")
    steers = {"left": {"steering": -0.5}, "right": {"steering": 0.5}}
    moves = {"up": {"throttle": 0.5}, "down": {"throttle": -0.5}, "noop": {}}
    with serving_oasis() as (server, url):
        server.size = (48, 48)
        options = {
            "endpoint": url,
            "api_key_env": "WMSCORE_TEST_KEY",
            "fps": 10.0,
            "frame_size": [48, 48],
            "table": steers | moves,
        }
        out = tmp_path / "out"
        assert replay(panel, "wmscore.worlds.oasis:oasis3_model", out, options) == 0
    assert Recording(out).model == "oasis-3"
    said = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert not any(b"key-456" in text for text in said)


def test_a_videos_api_with_a_bad_row(
    panel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai")
    pytest.importorskip("PIL")
    from tests.worlds.servers.videos_server import VideosServer, moving, mp4, serving

    monkeypatch.setenv("WMSCORE_TEST_KEY", "sk-789")
    server = VideosServer(
        clip=lambda job: mp4(moving(job.image, 8, (48, 48)), 10)[
            : 900 if job.fields["seed"] == "1" else None
        ]
    )
    with serving(server):
        options = {
            "base_url": server.url,
            "api_key_env": "WMSCORE_TEST_KEY",
            "model": "tiny-video",
            "fps": 10,
            "frame_size": [48, 48],
            "seed_field": "seed",
            "poll_seconds": 0.01,
        }
        out = tmp_path / "out"
        assert replay(panel, "wmscore.worlds.servers:videos_model", out, options) == 1
    branches = len(Panel.load(panel).scenarios[0].scripts)
    # The good row was answered once; the harness asked for the bad one once more, alone.
    assert len(server.jobs) == branches * 3
    said = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert any(b"cannot be opened as a video" in text for text in said)
    assert not any(b"sk-789" in text for text in said)
