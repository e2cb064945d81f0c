"""The network of LPIPS as a module: maps, names, where it goes and what it keeps."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from wmscore.networks import LpipsNetwork
from wmscore.networks.precision import no_tf32
from wmscore.networks.trunks import TRUNKS, activations, random_state, skeleton, state_shapes


def frames(*shape: int) -> Tensor:
    return torch.randint(256, (*shape[:-2], 3, *shape[-2:]), dtype=torch.uint8)


@pytest.mark.parametrize("net", TRUNKS)
def test_maps_are_those_of_torchvision(net: str) -> None:
    """Of frames scaled as the paper says, in float64: also at the borders, where zeros are."""
    given = frames(2, 37, 50)
    layers = skeleton(net)
    weights = random_state(net, 5)
    layers.load_state_dict(
        {name.removeprefix("features."): w.double() for name, w in weights.items()}, assign=True
    )
    shift, scale = torch.tensor(
        [[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]], dtype=torch.float64
    ).view(2, 3, 1, 1)
    value, expected = (given.double() / 127.5 - 1 - shift) / scale, []
    for place, layer in enumerate(layers):
        value = layer(value)
        if place in TRUNKS[net].taps:
            expected.append(value.clone())
    maps = LpipsNetwork.random(net, 5, precision="float64").encode(given)
    assert tuple(m.shape[1] for m in maps) == TRUNKS[net].channels
    for found, wanted in zip(maps, expected, strict=True):
        assert_close(found, wanted, rtol=1e-9, atol=1e-9)
        assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_skeleton_takes_no_memory_and_a_random_trunk_is_seeded() -> None:
    assert {p.device.type for p in skeleton("vgg").parameters()} == {"meta"}
    assert sum(s.numel() for s in state_shapes("vgg").values()) == 14_714_688
    sums = [LpipsNetwork.random("alex", seed).checksums["trunk"] for seed in (0, 0, 1)]
    assert sums[0] == sums[1] != sums[2]


def test_the_name_has_all_that_changes_values() -> None:
    networks = [
        LpipsNetwork.random("alex"),
        LpipsNetwork.random("alex", version="0.0"),
        LpipsNetwork.random("alex", linear=False),
        LpipsNetwork.random("alex", precision="float16"),
        LpipsNetwork.random("alex", 1),
        LpipsNetwork.random("squeeze"),
        LpipsNetwork("alex", random_state("alex", 0), None),
    ]
    names = [network.name for network in networks]
    assert names == [
        "lpips_alex-v0.1-random-trunk0-float32",
        "lpips_alex-v0.0-random-trunk0-float32",
        "lpips_alex-v0.1-unweighted-random-trunk0-float32",
        "lpips_alex-v0.1-random-trunk0-float16",
        "lpips_alex-v0.1-random-trunk1-float32",
        "lpips_squeeze-v0.1-random-trunk0-float32",
        "lpips_alex-v0.1-unweighted-float32",
    ]
    assert len({network.fingerprint for network in networks}) == len(networks)
    assert set(networks[0].checksums) == {"trunk", "heads"}
    assert set(networks[2].checksums) == {"trunk"}
    assert networks[3].checksums == networks[0].checksums
    other = LpipsNetwork("alex", random_state("alex", 9), None)
    assert other.name == names[-1]
    assert other.fingerprint != networks[-1].fingerprint
    wide = networks[3].wide
    assert wide is not None
    assert (wide.name, wide.fingerprint) == (names[0], networks[0].fingerprint)
    assert networks[0].wide is None


def test_it_keeps_its_precision_and_no_optimizer_or_checkpoint_sees_it() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), LpipsNetwork.random("alex"))
    given = frames(1, 40, 40)
    expected = model[1].encode(given)
    model.half().train()
    for found, wanted in zip(model[1](given), expected, strict=True):
        assert found.equal(wanted)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias"]
    assert list(model.state_dict()) == ["0.weight", "0.bias"]
    assert model.to("meta")[1].device.type == "meta"
    with pytest.raises(ValueError, match="frames are on cpu, but the network is on meta"):
        model[1].encode(given)


def test_copies_and_pickles_are_whole() -> None:
    network = LpipsNetwork.random("alex", version="0.0", precision="float64")
    given = frames(2, 40, 40)
    expected = network.encode(given)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert other.fingerprint == network.fingerprint
        for found, wanted in zip(other.encode(given), expected, strict=True):
            assert found.equal(wanted)


def test_memory_of_a_frame_is_that_of_its_maps() -> None:
    for net in TRUNKS:
        tapped, largest = activations(net, 64, 80)
        maps = LpipsNetwork.random(net).encode(frames(1, 64, 80))
        assert tapped == sum(value.numel() for value in maps)
        assert largest > max(value.numel() for value in maps)
    assert activations("alex", 256, 256)[0] == pytest.approx(1.28e6 / 2, rel=0.01)


def test_a_chunk_follows_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    network = LpipsNetwork.random("alex")
    assert [network.chunk_frames(frames(2, s, s)) for s in (64, 256, 1024)] == [64, 4, 1]

    class OnDevice:
        device, shape = torch.device("cuda"), (8, 3, 256, 256)

    monkeypatch.setattr(LpipsNetwork, "_check", lambda self, frames: None)
    chunks = []
    for free in (1 << 20, 1 << 30, 1 << 40):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 1 << 40))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 << 20)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 << 20)
        chunks.append(network.chunk_frames(OnDevice()))
    tapped, largest = activations("alex", 256, 256)
    each = 4 * (2 * tapped + largest)
    assert chunks == [1, ((1 << 30) + (1 << 20)) // 2 // each, (4 << 30) // each]


def test_float32_is_float32_on_cuda_and_flags_are_put_back() -> None:
    flags = torch.backends.cudnn.conv
    for before in ("tf32", "ieee"):
        flags.fp32_precision = before
        with no_tf32(torch.device("cuda"), torch.float32):
            assert flags.fp32_precision == "ieee"
        for device, dtype in (("cpu", torch.float32), ("cuda", torch.float16)):
            with no_tf32(torch.device(device), dtype):
                assert flags.fp32_precision == before
        with pytest.raises(KeyError), no_tf32(torch.device("cuda"), torch.float32):
            raise KeyError
        assert flags.fp32_precision == before
    flags.fp32_precision = "tf32"
    assert torch.backends.cudnn.allow_tf32 is True


def test_bad_options_are_refused() -> None:
    with pytest.raises(
        ValueError, match="net must be one of 'alex', 'vgg', 'squeeze', got 'vgg16'"
    ):
        LpipsNetwork.random("vgg16")
    with pytest.raises(ValueError, match=r"precision must be one of 'auto', .*, got 'bfloat16'"):
        LpipsNetwork.random("alex", precision="bfloat16")
    with pytest.raises(ValueError, match=r"version must be '0\.1' or '0\.0', got '1'"):
        LpipsNetwork("alex", random_state("alex", 0), None, version="1")
    with pytest.raises(TypeError, match=r"uint8 or floating point, got torch\.int64"):
        LpipsNetwork.random("alex").encode(frames(1, 40, 40).long())


@pytest.mark.slow
def test_compiled_is_the_same() -> None:
    eager, compiled = LpipsNetwork.random("squeeze"), LpipsNetwork.random("squeeze", compile=True)
    for count in (1, 3, 4):
        given = frames(count, 40, 40)
        for found, wanted in zip(compiled.encode(given), eager.encode(given), strict=True):
            assert_close(found, wanted, rtol=1e-4, atol=1e-4)
