"""Weights are found, held to their hash, converted, and missed with a useful message."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wmscore.cli import main
from wmscore.networks import LpipsNetwork, WeightsNotFoundError
from wmscore.networks.trunks import TRUNKS, random_state
from wmscore.networks.weights import find_heads, find_trunk, read_heads, read_trunk

NAMES = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder where torchvision would keep what it downloads."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def whole(net: str, seed: int = 0) -> dict[str, Tensor]:
    """A state dict as torchvision's: with a classifier."""
    return random_state(net, seed) | {"classifier.1.weight": torch.zeros(3, 4)}


def save(state: object, folder: Path, stem: str) -> Path:
    """With the beginning of its own SHA-256 in its name, as torchvision's files have it."""
    draft = folder / "draft"
    torch.save(state, draft)
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    return draft.rename(folder / f"{stem}-{digest[:8]}.pth")


@pytest.mark.parametrize("net", TRUNKS)
def test_a_missing_trunk_says_what_to_do(net: str, hub: Path, capsys) -> None:
    with pytest.raises(WeightsNotFoundError) as caught:
        LpipsNetwork.load(net)
    assert isinstance(caught.value, FileNotFoundError)
    message = str(caught.value)
    for part in (
        f"trunk of LPIPS {net}",
        f"https://download.pytorch.org/models/{NAMES[net]}",
        f"to {hub / NAMES[net]}",
        "pass trunk=",
    ):
        assert part in message
    assert main(["doctor"]) == 0
    assert f"LPIPS {net}: will not run. {message}" in capsys.readouterr().out


def test_torchvisions_cache_is_used_and_held_to_its_hash(hub: Path, monkeypatch, capsys) -> None:
    place = hub / NAMES["alex"]
    torch.save(whole("alex"), place)
    with pytest.raises(ValueError, match="promises a SHA-256 that begins with 7be5be79, but it is"):
        LpipsNetwork.load("alex")
    place.unlink()
    good = save(whole("alex"), hub, "alexnet-owt")
    elsewhere = replace(TRUNKS["alex"], url=f"https://somewhere/{good.name}")
    trunks = {**TRUNKS, "alex": elsewhere}
    monkeypatch.setattr("wmscore.networks.weights.trunk_of", trunks.__getitem__)
    assert find_trunk("alex") == good
    network = LpipsNetwork.load("alex")
    assert network.name == "lpips_alex-v0.1-float32"
    assert network.checksums == LpipsNetwork.random("alex", 0).checksums
    assert main(["doctor"]) == 0
    assert f"LPIPS alex: trunk {good}, heads " in capsys.readouterr().out


@pytest.mark.parametrize("net", TRUNKS)
def test_converted_weights_are_the_same(net: str, tmp_path: Path, capsys) -> None:
    source = save(whole(net, seed=3), tmp_path, "trunk")
    out = tmp_path / "deep" / "trunk.safetensors"
    assert main(["weights", "convert", str(source), str(out)]) == 0
    assert f"trunk of LPIPS {net}" in capsys.readouterr().out
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert out.stat().st_size < source.stat().st_size
    of_source = LpipsNetwork.load(net, trunk=source)
    of_out = LpipsNetwork.load(net, trunk=str(out))
    assert of_out.checksums == of_source.checksums == LpipsNetwork.random(net, 3).checksums
    frames = torch.randint(256, (1, 3, 40, 40), dtype=torch.uint8)
    for a, b in zip(of_out.encode(frames), of_source.encode(frames), strict=True):
        assert a.equal(b)


def test_a_conversion_that_cannot_be_is_refused(tmp_path: Path, capsys) -> None:
    source = save(whole("alex"), tmp_path, "alexnet")
    other = save({"weight": torch.zeros(1)}, tmp_path, "other")
    for given, out, message in (
        (source, "x.pth", "out must end in .safetensors"),
        (other, "x.safetensors", "neither AlexNet, VGG16 nor SqueezeNet 1.1"),
        (tmp_path / "none.pth", "x.safetensors", "No such file"),
        (source.rename(tmp_path / "vgg16-00000000.pth"), "x.safetensors", "begins with 00000000"),
    ):
        assert main(["weights", "convert", str(given), str(tmp_path / out)]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / out).exists()


def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "trunk.pth"
    torch.save(whole("vgg"), path)
    with pytest.raises(ValueError, match=r"no trunk of LPIPS alex \(it is the trunk of 'vgg'\)"):
        LpipsNetwork.load("alex", trunk=path)
    state = whole("alex")
    state["features.0.weight"] = state["features.0.weight"][:, :1]
    state["features.4.bias"] = torch.zeros(1)
    del state["features.10.bias"]
    torch.save(state, path)
    with pytest.raises(ValueError, match="no trunk of LPIPS alex: missing") as caught:
        LpipsNetwork.load("alex", trunk=path)
    for part in (
        "missing: features.10.bias",
        "unexpected: features.4.bias",
        "of another shape: features.0.weight [64, 1, 11, 11] instead of [64, 3, 11, 11]",
    ):
        assert part in str(caught.value)
    for content in (b"", b"no tensors"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is no file of tensors"):
            LpipsNetwork.load("alex", trunk=path)
    torch.save([torch.zeros(1)], path)
    with pytest.raises(ValueError, match="is no file of named tensors"):
        LpipsNetwork.load("alex", trunk=path)
    path = path.with_suffix(".safetensors")
    path.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="is no safetensors file"):
        LpipsNetwork.load("alex", trunk=path)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"features.0.weight": Trap()}, tmp_path / "trunk.pth")
    with pytest.raises(ValueError, match="is no file of tensors"):
        LpipsNetwork.load("alex", trunk=tmp_path / "trunk.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("version", ["0.1", "0.0"])
@pytest.mark.parametrize("net", TRUNKS)
def test_heads_come_from_the_package(net: str, version: str) -> None:
    path = find_heads(net, version)
    assert path.parts[-3:] == ("weights", f"v{version}", f"{net}.pth")
    heads = read_heads(net, path)
    assert tuple(len(weight) for weight in heads) == TRUNKS[net].channels
    assert all((weight >= 0).all() for weight in heads)  # as they were trained


def test_missing_and_wrong_heads(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(
        ValueError, match=r"no heads of LPIPS alex: unexpected: lin5.*instead of \[1, 192, 1, 1\]"
    ):
        read_heads("alex", find_heads("squeeze", "0.1"))
    with pytest.raises(WeightsNotFoundError, match="does not exist"):
        find_heads("alex", "0.1", tmp_path / "none.pth")
    with pytest.raises(ValueError, match=r"version must be '0\.1' or '0\.0', got '1'"):
        find_heads("alex", "1")
    with pytest.raises(ValueError, match="net must be one of 'alex', 'vgg', 'squeeze', got 'res'"):
        find_heads("res", "0.1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsNotFoundError, match="pip install lpips, or pass heads="):
        find_heads("alex", "0.1")
    assert LpipsNetwork.random("alex", linear=False).heads == [None] * 5


def test_trained_weights_are_read_as_float32(tmp_path: Path) -> None:
    path = tmp_path / "trunk.pth"
    torch.save({name: value.half() for name, value in whole("alex").items()}, path)
    assert {value.dtype for value in read_trunk("alex", path).values()} == {torch.float32}
