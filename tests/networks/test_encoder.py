"""ModuleEncoder: each option against plain torch, worked examples, records, errors."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.testing import assert_close

from tests.networks.tiny import ConvNet, Vae, Vit, seeded
from wmscore.networks import NORMALIZATIONS, ModuleEncoder

MEAN, STD = (torch.tensor(part).view(3, 1, 1) for part in NORMALIZATIONS["imagenet"])


def random_frames(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


class Echo(nn.Module):
    """Gives what it is given."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, dtype=dtype))

    def forward(self, frames: Tensor) -> Tensor:
        return frames


def prepared(frames: Tensor, **options: Any) -> Tensor:
    """What a network is given."""
    return ModuleEncoder(Echo().eval(), name="echo", **options).encode(frames)[0]


# What goes in


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
def test_frames_are_normalised_as_torchvision_does(dtype: torch.dtype) -> None:
    frames = random_frames(2, 3, 6, 7)
    given = frames if dtype == torch.uint8 else (frames.double() / 255).to(dtype)
    expected = (given.float() / (255 if dtype == torch.uint8 else 1) - MEAN) / STD
    assert_close(prepared(given, normalize="imagenet"), expected, rtol=1e-5, atol=2e-6)


def test_without_options_floats_come_as_they_are() -> None:
    frames = torch.rand(2, 3, 6, 7)
    assert prepared(frames).equal(frames)
    assert_close(prepared(random_frames(2, 3, 6, 7)), random_frames(2, 3, 6, 7) / 255)


@pytest.mark.parametrize(
    ("options", "black", "white"),
    [
        ({"value_range": (-1, 1)}, -1, 1),
        ({"normalize": "half"}, -1, 1),
        ({"value_range": (0, 255)}, 0, 255),
        ({"normalize": (0.25, 0.5)}, -0.5, 1.5),
        ({"value_range": (-1, 1), "normalize": (1, 2)}, -1, 0),  # range first, then normalise
    ],
)
def test_black_and_white(options: dict[str, Any], black: float, white: float) -> None:
    for value, wanted in ((0, black), (255, white)):
        frames = torch.full((1, 1, 2, 2), value, dtype=torch.uint8)
        for given in (frames, frames / 255):
            assert_close(prepared(given, **options), torch.full((1, 1, 2, 2), float(wanted)))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resizing_is_torchs_antialiased(mode: Any) -> None:
    frames = random_frames(2, 3, 20, 30)
    expected = interpolate(frames / 255, (8, 12), mode=mode, antialias=True)
    found = prepared(frames, size=(8, 12), resize=mode, normalize="imagenet")
    assert_close(found, (expected - MEAN) / STD, rtol=1e-4, atol=1e-5)


def test_bicubic_resizing_is_pillows() -> None:
    image = pytest.importorskip("PIL.Image")
    frames = random_frames(1, 3, 33, 47)
    picture = image.fromarray(frames[0].permute(1, 2, 0).numpy())
    expected = torch.from_numpy(
        np.array(picture.resize((12, 10), image.Resampling.BICUBIC))
    ).permute(2, 0, 1)
    # Pillow rounds after each direction.
    assert_close(prepared(frames, size=(10, 12))[0] * 255, expected.float(), rtol=0, atol=1.1)


def test_a_size_that_fits_changes_nothing() -> None:
    frames = random_frames(2, 3, 16, 24)
    assert prepared(frames, size=(16, 24)).equal(prepared(frames))
    assert prepared(frames, size=16).shape == (2, 3, 16, 16)


def test_the_type_is_that_of_the_weights() -> None:
    for dtype in (torch.float64, torch.float16):
        encoder = ModuleEncoder(Echo(dtype).eval(), name="echo", normalize="imagenet")
        assert encoder.encode(random_frames(1, 3, 4, 4))[0].dtype == dtype
        assert encoder.describe()["dtype"] == str(dtype).removeprefix("torch.")


def test_autocast_runs_in_another_type() -> None:
    network = seeded(ConvNet())
    half = ModuleEncoder(network, name="conv", layers=["second"], autocast=torch.bfloat16)
    full = ModuleEncoder(network, name="conv", layers=["second"])
    frames = random_frames(2, 3, 16, 16)
    (found,) = half.encode(frames)
    assert found.dtype == torch.bfloat16
    assert_close(found.float(), full.encode(frames)[0], rtol=0.05, atol=0.05)
    assert half.fingerprint != full.fingerprint


# What comes out


def test_layers_are_those_of_a_plain_pass() -> None:
    """In the order asked for, and before the inplace ReLU that follows overwrites one."""
    network = seeded(ConvNet())
    frames = torch.rand(2, 3, 17, 19)
    first = network.first(frames)
    second = network.second(first.relu())
    encoder = ModuleEncoder(network, name="conv", layers=["second", "first"])
    found = encoder.encode(frames)
    assert encoder.name == "conv[second,first]"
    assert_close(found[0], second)
    assert_close(found[1], first)
    assert (found[1] < 0).any()


def test_the_pass_ends_with_the_last_layer_and_leaves_no_hook() -> None:
    network = seeded(ConvNet())
    encoder = ModuleEncoder(network, name="conv", layers=["first"])
    encoder.encode(torch.rand(2, 3, 16, 16))
    assert network.calls == []
    assert not any(part._forward_hooks for part in network.modules())
    network(torch.rand(2, 3, 16, 16))
    assert network.calls == ["head"]


def test_hooks_are_removed_when_a_network_fails() -> None:
    network = seeded(ConvNet())
    with pytest.raises(ValueError, match="size="):
        ModuleEncoder(network, name="conv", layers=["second"]).encode(torch.rand(1, 3, 2, 2))
    assert not any(part._forward_hooks for part in network.modules())


def test_of_a_layer_that_runs_twice_the_first_time_counts() -> None:
    network = seeded(ConvNet())
    frames = torch.rand(2, 3, 16, 16)
    alone = ModuleEncoder(network, name="conv", layers=["relu"]).encode(frames)[0]
    later = ModuleEncoder(network, name="conv", layers=["relu", "head"]).encode(frames)[0]
    assert_close(alone, network.first(frames).relu())
    assert alone.equal(later)


def test_an_embedding_is_a_map_of_one_position() -> None:
    network = seeded(ConvNet())
    frames = torch.rand(2, 3, 16, 16)
    (found,) = ModuleEncoder(network, name="conv").encode(frames)
    assert found.shape == (2, 5, 1, 1)
    assert_close(found[:, :, 0, 0], network(frames))


def test_tokens() -> None:
    network = seeded(Vit(registers=2))
    frames = torch.rand(3, 3, 16, 24)
    tokens = network.tokens(frames)  # [3, 1 + 2 + 6, 12]

    def encode(**options: Any) -> Tensor:
        encoder = ModuleEncoder(network, name="vit", output="last_hidden_state", **options)
        return encoder.encode(frames)[0]

    assert_close(encode(tokens="first"), tokens[:, 0, :, None, None])
    patches = encode(tokens="patches", prefix_tokens=3)
    assert_close(patches, tokens[:, 3:].mT.unsqueeze(2))
    assert patches.shape == (3, 12, 1, 6)
    mean = encode(tokens="patches", prefix_tokens=3, pool="mean")
    assert_close(mean, tokens[:, 3:].mean(1)[:, :, None, None])


@pytest.mark.parametrize(
    ("options", "pick"),
    [
        (
            {"call": "forward_features", "output": "x_norm_clstoken"},
            lambda network, frames: network.tokens(frames)[:, 0],
        ),
        ({"output": "pooler_output"}, lambda network, frames: network.tokens(frames)[:, 0]),
        (
            {"output": "hidden_states.-1", "tokens": "first"},
            lambda network, frames: 2 * network.tokens(frames)[:, 0],
        ),
        ({"layers": ["block"], "tokens": "first"}, lambda net, frames: net.tokens(frames)[:, 0]),
    ],
)
def test_where_a_tensor_may_be(options: dict[str, Any], pick: Any) -> None:
    network = seeded(Vit())
    frames = torch.rand(2, 3, 16, 24)
    (found,) = ModuleEncoder(network, name="vit", **options).encode(frames)
    assert_close(found[:, :, 0, 0], pick(network, frames))


def test_the_mean_of_a_vae() -> None:
    network = seeded(Vae())
    frames = random_frames(2, 3, 16, 16)
    encoder = ModuleEncoder(
        network, name="vae", call="encode", output="latent_dist.mean", value_range=(-1, 1)
    )
    (found,) = encoder.encode(frames)
    assert_close(found, network.encoder(frames / 255 * 2 - 1).chunk(2, 1)[0])
    assert encoder.name == "vae.encode:latent_dist.mean"


def test_places_arguments_and_callables() -> None:
    def network(frames: Tensor, *, scale: float) -> tuple[list[Tensor], str]:
        return [frames * scale], "more"

    encoder = ModuleEncoder(
        network, name="double", arguments={"scale": 2.0}, output="0.0", weights="none"
    )
    frames = torch.rand(2, 3, 4, 4)
    assert encoder.encode(frames)[0].equal(frames * 2)
    pair = ModuleEncoder(lambda frames: (frames, 1), name="pair", output=0, weights="none")
    assert pair.encode(frames)[0].equal(frames)


def test_channels_last_and_pooled_maps() -> None:
    frames = torch.rand(2, 3, 4, 5)
    last = ModuleEncoder(
        lambda frames: frames.permute(0, 2, 3, 1), name="nhwc", channels_last=True, weights="none"
    )
    assert last.encode(frames)[0].equal(frames)
    assert_close(prepared(frames, pool="mean"), frames.mean((2, 3), keepdim=True))


def test_chunks_do_not_matter() -> None:
    encoder = ModuleEncoder(seeded(ConvNet()), name="conv", layers=["first", "second"])
    frames = random_frames(7, 3, 16, 16)
    whole = encoder.encode(frames)
    parts = [encoder.encode(piece) for piece in frames.split(2)]
    for layer, maps in enumerate(whole):
        joined = torch.cat([part[layer] for part in parts])
        assert_close(joined, maps, rtol=1e-5, atol=1e-6)


def test_frames_at_a_time_follow_from_the_memory() -> None:
    network = seeded(ConvNet())
    frames = random_frames(2, 3, 16, 32)
    each = 128 * 4 * 3 * 16 * 32
    few = ModuleEncoder(network, name="conv", memory=5 * each + 1)
    assert few.chunk_frames(frames) == 5
    assert few.chunk_frames(frames[None]) == 5
    assert ModuleEncoder(network, name="conv", memory=1).chunk_frames(frames) == 1
    resized = ModuleEncoder(network, name="conv", memory=5 * each + 1, size=8)
    assert resized.chunk_frames(frames) == 5 * 8
    assert ModuleEncoder(network, name="conv").chunk_frames(frames) == (1 << 28) // each


# Gradients


def test_scoring_keeps_no_graph_and_frames_may_have_one() -> None:
    network = seeded(ConvNet())
    encoder = ModuleEncoder(network, name="conv", layers=["first", "second"], normalize="imagenet")
    frames = torch.rand(2, 3, 16, 16)
    assert not any(maps.requires_grad for maps in encoder.encode(frames))
    assert all(weight.requires_grad for weight in network.parameters())
    with torch.inference_mode():
        encoder.encode(frames)  # its constants must serve autograd all the same
    frames.requires_grad_()
    sum(maps.sum() for maps in encoder.encode(frames)).backward()
    assert frames.grad is not None
    assert frames.grad.abs().sum() > 0


# torchvision's networks


def test_resnet_layers() -> None:
    models = pytest.importorskip("torchvision.models")
    network = models.resnet18(weights=None).eval()
    encoder = ModuleEncoder(
        network, name="resnet18", layers=["layer1", "layer3", "avgpool"], normalize="imagenet"
    )
    frames = random_frames(2, 3, 64, 64)
    maps = encoder.encode(frames)
    assert [tuple(layer.shape) for layer in maps] == [
        (2, 64, 16, 16),
        (2, 256, 4, 4),
        (2, 512, 1, 1),
    ]
    with torch.no_grad():
        logits = network((frames / 255 - MEAN) / STD)
        assert_close(network.fc(maps[2].flatten(1)), logits, rtol=1e-4, atol=1e-5)


def test_vit_class_token() -> None:
    models = pytest.importorskip("torchvision.models")
    network = models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32
    ).eval()
    nn.init.normal_(network.heads.head.weight)  # zero as it comes
    encoder = ModuleEncoder(
        network, name="vit", layers=["encoder"], tokens="first", size=32, normalize="imagenet"
    )
    frames = random_frames(2, 3, 32, 32)
    (found,) = encoder.encode(frames)
    assert encoder.name == "vit[encoder]:first@32x32"
    with torch.no_grad():
        logits = network((frames / 255 - MEAN) / STD)
        assert_close(network.heads(found.flatten(1)), logits, rtol=1e-4, atol=1e-5)


# What is recorded


def base(**options: Any) -> ModuleEncoder:
    network = options.pop("network", None) or seeded(ConvNet())
    return ModuleEncoder(network, **{"name": "conv", "layers": ["second"], **options})


@pytest.mark.parametrize(
    "options",
    [
        {"name": "other"},
        {"layers": ["first"]},
        {"layers": None},
        {"pool": "mean"},
        {"size": 16},
        {"size": (16, 17)},
        {"size": 16, "resize": "bilinear"},
        {"value_range": (-1, 1)},
        {"normalize": "imagenet"},
        {"normalize": "clip"},
        {"channels_last": True},
        {"min_size": 8},
        {"arguments": {"flag": True}},
        {"autocast": torch.bfloat16},
        {"weights": "v2"},
        {"network": seeded(ConvNet(), seed=1)},
        {"network": seeded(ConvNet()).double()},
    ],
    ids=str,
)
def test_all_that_changes_the_features_changes_the_fingerprint(options: dict[str, Any]) -> None:
    assert base(**options).fingerprint != base().fingerprint
    again = base(**{**options})
    assert again.fingerprint == base(**options).fingerprint


def test_the_record_is_plain_and_what_changes_no_number_is_not_in_it() -> None:
    encoder = base(normalize="imagenet", size=(16, 24))
    record = encoder.describe()
    assert json.loads(json.dumps(record)) == record
    assert record["name"] == encoder.name == "conv[second]@16x24"
    assert record["module"] == "tests.networks.tiny.ConvNet"
    assert record["resize"] == "bicubic, antialiased"
    assert base().describe()["resize"] is None
    assert base(memory=1).fingerprint == base().fingerprint
    assert len(base().fingerprint) == 64


def test_one_weight_changes_the_fingerprint() -> None:
    network = seeded(ConvNet())
    encoder = base(network=network)
    before = encoder.fingerprint
    with torch.no_grad():
        network.first.bias[3] = torch.nextafter(network.first.bias[3], torch.tensor(9.0))
    assert encoder.fingerprint == before  # computed once
    assert base(network=network).fingerprint != before


def test_stated_weights_are_not_read() -> None:
    stated = {base(network=seeded(ConvNet(), seed=s), weights="v1").fingerprint for s in (0, 1)}
    assert len(stated) == 1


# Errors


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"call": "forward_feature"}, ValueError, "no method 'forward_feature'; it has forward"),
        ({"layers": ["secnd"]}, ValueError, "no submodule 'secnd'; it has second"),
        ({"layers": []}, ValueError, "at least one"),
        ({"layers": ["first", "first"]}, ValueError, "different names"),
        ({"layers": "first"}, ValueError, "different names"),
        ({"tokens": "class"}, ValueError, "tokens must be one of patches, first"),
        ({"tokens": "patches"}, ValueError, "prefix_tokens goes with"),
        ({"prefix_tokens": 1}, ValueError, "prefix_tokens goes with"),
        ({"pool": "max"}, ValueError, "pool must be 'mean' or None"),
        ({"size": (1, 2, 3)}, ValueError, "size must be None, pixels or"),
        ({"size": 0}, ValueError, "size must be None, pixels or"),
        ({"resize": "nearest"}, ValueError, "resize must be one of bilinear, bicubic"),
        ({"value_range": (1, 0)}, ValueError, "ascending"),
        ({"normalize": "cifar"}, ValueError, "normalize must be one of imagenet"),
        ({"normalize": (0.5,)}, ValueError, "a name, \\(mean, std\\) or None"),
        ({"normalize": ((0, 0, 0), (1, 1, 0))}, ValueError, "positive std for each channel"),
        ({"arguments": {"x": torch.ones(1)}}, TypeError, "arguments must be plain values"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        ModuleEncoder(seeded(ConvNet()), name="conv", **options)


def test_training_mode_is_refused_at_once_and_later() -> None:
    network = seeded(ConvNet())
    encoder = ModuleEncoder(network, name="conv")
    network.head.train()
    for run in (
        lambda: encoder.encode(torch.rand(1, 3, 16, 16)),
        lambda: ModuleEncoder(network, name="conv"),
    ):
        with pytest.raises(ValueError, match="head is in training mode"):
            run()


def test_networks_that_show_no_weights_must_say_which_they_are() -> None:
    for network in (lambda frames: frames, nn.ReLU().eval()):
        with pytest.raises(ValueError, match="weights="):
            ModuleEncoder(network, name="x")
    with pytest.raises(TypeError, match="must be callable"):
        ModuleEncoder(3, name="x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"layers need a torch\.nn\.Module"):
        ModuleEncoder(lambda frames: frames, name="x", layers=["a"], weights="none")


@pytest.mark.parametrize(
    ("answer", "options", "error", "message"),
    [
        (lambda f: f[:1], {}, ValueError, r"features of 2 inputs, \[2, ...\], got \[1, 3, 8, 8\]"),
        (lambda f: f.sum(), {}, ValueError, r"features of 2 inputs"),
        (lambda f: f[:, 0], {}, ValueError, "tokens='first', or tokens='patches'"),
        (lambda f: f, {"tokens": "first"}, ValueError, r"needs features \[n, L, D\]"),
        (lambda f: f[None, None], {}, ValueError, "features of 2 inputs"),
        (lambda f: f[:, None], {}, ValueError, r"or \[n, D, h, w\], got \[2, 1, 3, 8, 8\]"),
        (
            lambda f: f[:, 0],
            {"tokens": "patches", "prefix_tokens": 8},
            ValueError,
            "8 tokens, of which 8 come before the patches",
        ),
        (lambda f: f.long(), {}, TypeError, "real floating point, got torch.int64"),
        (lambda f: f.to(torch.complex64), {}, TypeError, "real floating point, got torch.complex"),
        (lambda f: {"a": f}, {}, TypeError, "got dict with keys a; output="),
        (lambda f: (f, f), {}, TypeError, "got tuple of 2; output="),
        (lambda f: {"a": f}, {"output": "b"}, ValueError, "no 'b' in dict with keys a"),
        (lambda f: (f, f), {"output": 2}, ValueError, "no '2' in tuple of 2"),
        (lambda f: {"a": f}, {"output": "a.mean"}, ValueError, "no 'mean' in Tensor"),
        (lambda f: {"a": 3}, {"output": "a"}, TypeError, "at output='a', got int"),
    ],
)
def test_answers_that_do_not_fit(answer: Any, options: Any, error: Any, message: str) -> None:
    encoder = ModuleEncoder(answer, name="x", weights="none", **options)
    with pytest.raises(error, match=message) as caught:
        encoder.encode(torch.rand(2, 3, 8, 8))
    assert "wants another size" not in str(caught.value)


def test_a_layer_that_does_not_run() -> None:
    network = seeded(ConvNet())
    encoder = ModuleEncoder(network, name="conv", call="first", layers=["first", "second"])
    with pytest.raises(ValueError, match="layers: second did not run"):
        encoder.encode(torch.rand(1, 3, 16, 16))


def test_a_size_that_the_network_refuses_is_not_resized_silently() -> None:
    network = seeded(Vit())
    frames = random_frames(2, 3, 20, 20)
    options: Any = {"output": "pooler_output", "normalize": "imagenet"}
    with pytest.raises(ValueError, match=r"failed on an input \[2, 3, 20, 20\].*give size="):
        ModuleEncoder(network, name="vit", **options).encode(frames)
    (found,) = ModuleEncoder(network, name="vit", size=(16, 24), **options).encode(frames)
    assert found.shape == (2, 12, 1, 1)


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (torch.rand(3, 16, 16), ValueError, r"\[n, C, H, W\], got \(3, 16, 16\)"),
        ("frames", ValueError, "got str"),
        (torch.ones(1, 3, 16, 16, dtype=torch.int32), TypeError, "uint8 .* got torch.int32"),
        (torch.rand(1, 1, 16, 16), ValueError, "normalize has 3 channels, got frames of 1"),
        (torch.rand(1, 3, 7, 16), ValueError, "at least 8 x 8 pixels, got 7 x 16"),
    ],
)
def test_frames_that_do_not_fit(frames: Any, error: Any, message: str) -> None:
    encoder = ModuleEncoder(seeded(ConvNet()), name="c", normalize="imagenet", min_size=8)
    with pytest.raises(error, match=message):
        encoder.encode(frames)


def test_entries_of_a_state_that_cannot_be_hashed() -> None:
    class Extra(Echo):
        def get_extra_state(self) -> dict[str, int]:
            return {"a": 1}

    encoder = ModuleEncoder(Extra().eval(), name="x")
    with pytest.raises(TypeError, match="_extra_state: expected a dense tensor"):
        _ = encoder.fingerprint
    assert math.isfinite(int(ModuleEncoder(Extra().eval(), name="x", weights="1").fingerprint, 16))
