"""LPIPS: the package lpips with the same weights, what must hold of a distance, and bad input.

Trunks are random (no weights are on a test machine); heads are the real ones.
"""

from __future__ import annotations

import functools

import pytest
import torch
from lpips_oracle import peer, peer_map, peer_values
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torch.testing import assert_close

from wmscore.functional import ReferenceFeatures, lpips, lpips_map
from wmscore.networks import LpipsNetwork
from wmscore.networks.trunks import TRUNKS, random_state

NETS = ("alex", "vgg", "squeeze")


@functools.cache
def network(net: str = "alex", **options: object) -> LpipsNetwork:
    return LpipsNetwork.random(net, seed=0, **options)


def frames(*leading: int, height: int = 40, width: int = 45, seed: int = 0) -> Tensor:
    """Smooth colours with some noise, uint8."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(*leading, 3, 5, 5, generator=generator).flatten(0, -4)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    noisy = 255 * smooth + 6 * torch.randn(smooth.shape, generator=generator)
    return noisy.round().clamp(0, 255).to(torch.uint8).view(*leading, 3, height, width)


class Counting:
    """A network that counts the frames it encodes."""

    overflows = 0
    wide = None

    def __init__(self, inner: LpipsNetwork, chunk: int = 8) -> None:
        self.inner, self.chunk, self.batches = inner, chunk, []
        self.heads, self.name = inner.heads, inner.name

    def encode(self, frames: Tensor) -> list[Tensor]:
        self.batches.append(len(frames))
        return self.inner.encode(frames)

    def chunk_frames(self, frames: Tensor) -> int:
        return self.chunk


# --- the definition -------------------------------------------------------------------------------


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("version", ["0.1", "0.0"])
@pytest.mark.parametrize("net", NETS)
def test_equals_lpips(net: str, version: str, linear: bool) -> None:
    ours, theirs = frames(3), frames(3, seed=1)
    net_of = functools.partial(network, net, version=version, linear=linear)
    expected = peer_values(net_of(), ours / 255, theirs / 255).double()
    assert expected.min() > 1e-3
    assert_close(lpips(ours, theirs, net_of()), expected, rtol=1e-6, atol=1e-7)
    pair = ours / 255.0, theirs / 255.0
    assert_close(lpips(*pair, net_of()), expected, rtol=1e-6, atol=1e-7)
    exact = pair[0].double(), pair[1].double()
    expected, found = peer_values(net_of(), *exact), lpips(*exact, net_of(precision="float64"))
    # Their shift and scale are float32.
    assert_close(found, expected, rtol=1e-6, atol=0)
    expected, found = peer_map(net_of(), *exact), lpips_map(*exact, net_of(precision="float64"))
    assert found.shape == (3, 40, 45)
    assert_close(found, expected, rtol=1e-5, atol=1e-7)
    assert_close(lpips_map(ours, theirs, net_of()), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("net", ["alex", "squeeze"])
def test_equals_torchmetrics_up_to_its_epsilon(net: str) -> None:
    from torchmetrics.functional.image.lpips import _LPIPS

    ours, theirs = frames(2) / 255, frames(2, seed=1) / 255
    module = _LPIPS(pretrained=True, net=net, pnet_rand=True).eval()
    names, weights = module.net.state_dict().keys(), random_state(net, 0).values()
    module.net.load_state_dict(dict(zip(names, weights, strict=True)))
    with torch.no_grad():
        expected = module(ours, theirs, normalize=True).flatten().double()
    assert_close(lpips(ours, theirs, network(net)), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("net", "mean", "most"),
    [("alex", 1e-3, 5e-3), ("vgg", 3e-4, 2e-3), ("squeeze", 4e-3, 3e-2)],
)
def test_float16_is_near_float64(net: str, mean: float, most: float) -> None:
    """Relative errors from noise of 4 levels to gross changes.

    Over more seeds: alex 4e-4 on average and 2e-3 at most, vgg 7e-5 and 4e-4, squeeze 2e-3 and
    1e-2, the most where the distance is least.
    """
    target = frames(6)
    noise = torch.randn(target.shape)
    levels = torch.tensor([4, 8, 16, 32, 64, 128]).view(-1, 1, 1, 1)
    preds = (target + levels * noise).clamp(0, 255).to(torch.uint8)
    exact = lpips(preds, target, network(net, precision="float64"))
    half = lpips(preds, target, network(net, precision="float16"))
    error = (half - exact).abs() / exact
    assert 1e-6 < error.mean() < mean
    assert error.max() < most


# --- properties -----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float16", "float32"])
@pytest.mark.parametrize("net", NETS)
def test_equal_frames_are_exactly_0(net: str, precision: str) -> None:
    """Although they are encoded in batches of different sizes, and although others differ."""
    judge = network(net, precision=precision)
    target = frames(1, 3)
    preds = target.repeat(3, 1, 1, 1, 1)
    preds[1, 2] += 1
    index = torch.zeros(3, dtype=torch.int64)
    for pair in ((preds, target), (preds / 255, target / 255)):
        for chunk in (None, 2):
            values = lpips(*pair, judge, target_index=index, chunk=chunk)
            assert values.count_nonzero() == 1
            assert values[1, 2] > 0
        assert lpips_map(*pair, judge, target_index=index)[0].count_nonzero() == 0


@pytest.mark.parametrize("net", NETS)
def test_symmetric(net: str) -> None:
    ours, theirs = frames(3), frames(3, seed=1)
    there, back = lpips(ours, theirs, network(net)), lpips(theirs, ours, network(net))
    assert_close(there, back, rtol=0, atol=1e-7)


def test_batch_chunk_order_and_leading_dims_do_not_matter() -> None:
    ours, theirs = frames(3, 4), frames(3, 4, seed=1)
    expected = lpips(ours, theirs, network())
    assert expected.shape == (3, 4)
    assert expected.dtype == torch.float64
    close = functools.partial(assert_close, rtol=0, atol=1e-7)
    for chunk in (1, 2, 5, 100):
        close(lpips(ours, theirs, network(), chunk=chunk), expected)
    close(lpips(ours[1, 2], theirs[1, 2], network()), expected[1, 2])
    close(lpips(ours.flip(0), theirs.flip(0), network()).flip(0), expected)
    close(lpips(ours[:, 1:], theirs[:, 1:], network()), expected[:, 1:])
    close(lpips(ours.mT.contiguous().mT, theirs, network()), expected)
    assert lpips(ours[:0], theirs[:0], network()).shape == (0, 4)


def test_a_nan_stays_in_its_row() -> None:
    ours, theirs = frames(2, 3) / 255, frames(2, 3, seed=1) / 255
    expected = lpips(ours, theirs, network())
    ours[0, 1, 2, 39, 44] = torch.nan  # the last pixel, which no filter of alex reads
    theirs[1, 0, 0, 0, 0] = -torch.inf
    for precision in ("float16", "float32"):
        values = lpips(ours, theirs, network(precision=precision))
        assert values.isnan().nonzero().tolist() == [[0, 1], [1, 0]]
    there = values.isfinite()
    assert_close(values[there], expected[there], rtol=0, atol=1e-7)
    maps = lpips_map(ours, theirs, network())
    assert maps.isnan().all((-1, -2)).equal(maps.isnan().any(-1).any(-1))


def worse(kind: str, target: Tensor, amount: int) -> Tensor:
    """Frames 0..1 with a distortion that grows with the amount, 1..4."""
    if kind == "blur":
        for _ in range(amount**2):
            target = avg_pool2d(target, 3, 1, 1, count_include_pad=False)
        return target
    if kind == "noise":
        noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
        return (target + 0.03 * amount * noise).clamp(0, 1)
    if kind == "blocks":
        side = 2**amount
        means = avg_pool2d(target, side)
        return means.repeat_interleave(side, -1).repeat_interleave(side, -2)
    if kind == "shift":
        return target.roll(2 ** (amount - 1), -1)
    grey = target.mean(1, keepdim=True)
    return target + amount / 4 * (grey - target)


@pytest.mark.parametrize("kind", ["blur", "noise", "blocks", "shift", "colour"])
@pytest.mark.parametrize("net", NETS)
def test_grows_with_a_distortion(net: str, kind: str) -> None:
    """Of means over frames, even with a random trunk."""
    from skimage.data import astronaut

    photo = torch.from_numpy(astronaut()).permute(2, 0, 1) / 255
    target = torch.stack([photo[:, y : y + 64, 200:264] for y in (0, 60, 120, 180)])
    judge = network(net)
    means = [lpips(worse(kind, target, k), target, judge).mean().item() for k in (1, 2, 3, 4)]
    assert means[0] > 0
    assert means == sorted(means)


# --- shared references ----------------------------------------------------------------------------


def test_rollouts_of_one_reference_share_its_encoding() -> None:
    """K = 4 rollouts of each of 3 references of 5 frames: (K + 1) / 2 K of the encodings."""
    target, preds = frames(3, 5), frames(12, 5, seed=1)
    index = torch.arange(12) % 3
    judge = Counting(network())
    shared = lpips(preds, target, judge, target_index=index)
    assert sum(judge.batches) == 12 * 5 + 3 * 5
    assert max(judge.batches) <= 8
    assert_close(shared, lpips(preds, target[index], network()), rtol=0, atol=1e-7)
    maps = lpips_map(preds, target, network(), target_index=index)
    assert_close(maps, lpips_map(preds, target[index], network()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.parametrize("kept", [0, 1, 7, 10])
def test_features_that_are_kept_change_nothing(kept: int, with_index: bool) -> None:
    target = frames(2, 5)
    index = torch.tensor([1, 0, 1]) if with_index else None
    preds = frames(3 if with_index else 2, 5, seed=1)
    judge = Counting(network(), chunk=3)
    each = sum(value[0].numel() * 4 for value in network().encode(target[0, :1]))
    references = ReferenceFeatures(target, judge, budget_bytes=kept * each + each // 2)
    assert (references.kept, references.nbytes) == (kept, kept * each)
    assert f"{kept} of 10 frames kept" in repr(references)
    expected = lpips(preds, target, network(), target_index=index)
    for _ in range(2):
        judge.batches.clear()
        values = lpips(preds, references, judge, target_index=index)
        assert sum(judge.batches) == preds[:, :, 0, 0, 0].numel() + 10 - kept
        assert max(judge.batches) <= 3
        assert_close(values, expected, rtol=0, atol=1e-7)


def test_kept_features_serve_their_own_network_only() -> None:
    target = frames(2, 3)
    references = ReferenceFeatures(target, network(), budget_bytes=1 << 20)
    for other in (LpipsNetwork.random("alex", 1), network(precision="float64")):
        with pytest.raises(ValueError, match=r"holds features of lpips_alex.*encoder is"):
            lpips(target, references, other)
    same = LpipsNetwork.random("alex", 0)
    assert lpips(target, references, same).count_nonzero() == 0
    with pytest.raises(ValueError, match="budget_bytes must be a number at least 0"):
        ReferenceFeatures(target, network(), budget_bytes=-1)


def test_memory_is_bounded_by_the_chunk() -> None:
    judge = Counting(network(), chunk=4)
    lpips(frames(50), frames(50, seed=1), judge)
    assert max(judge.batches) == 4


# --- float16 --------------------------------------------------------------------------------------


@pytest.fixture
def narrow() -> LpipsNetwork:
    """A network whose first layer overflows float16 where frames have contrast."""
    weights = random_state("alex", 0)
    weights["features.0.weight"] *= 3e4
    return LpipsNetwork("alex", weights, network()._heads, precision="float16")


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.parametrize("measure", [lpips, lpips_map])
def test_overflow_is_computed_in_float32(narrow, measure, with_index: bool) -> None:
    target = frames(2, 3) // 16 + 112
    preds = target + 1
    preds[0, 1] = 255 * (preds[0, 1] > 118)
    target[1, 2] = 255 * (target[1, 2] > 118)
    index = torch.tensor([1, 0]) if with_index else None
    given = preds.flip(0) if with_index else preds
    with pytest.warns(RuntimeWarning, match=r"2 of 6 frames overflow float16 in lpips_alex"):
        values = measure(given, target, narrow, target_index=index)
    assert narrow.overflows == 2
    expected = measure(given, target, narrow.wide, target_index=index)
    assert_close(values, expected, rtol=0.02, atol=1e-4 if measure is lpips else 1e-2)
    again = expected[1, 1] if with_index else expected[0, 1]
    assert_close(values[1, 1] if with_index else values[0, 1], again, rtol=1e-5, atol=0)


def test_overflow_of_one_frame_and_in_pieces(narrow) -> None:
    target = frames(7) // 16 + 112
    preds = (255 * (target > 118)).to(torch.uint8)
    expected = lpips(preds, target, narrow.wide)
    for chunk in (None, 3):
        with pytest.warns(RuntimeWarning, match="7 of 7 frames"):
            values = lpips(preds, target, narrow, chunk=chunk)
        assert_close(values, expected, rtol=1e-5, atol=0)
    with pytest.warns(RuntimeWarning, match="1 of 1 frames"):
        assert_close(lpips(preds[0], target[0], narrow), expected[0], rtol=1e-5, atol=0)
    references = ReferenceFeatures(target, narrow, budget_bytes=1 << 20)
    with pytest.warns(RuntimeWarning, match="7 of 7 frames"):
        assert_close(lpips(preds, references, narrow), expected, rtol=1e-5, atol=0)


def test_nan_frames_are_no_overflow(narrow) -> None:
    target = (frames(2) // 16 + 112) / 255
    preds = target + 1 / 255
    preds[0, 0, 0, 0] = torch.nan
    assert lpips(preds, target, narrow).isnan().tolist() == [True, False]
    assert narrow.overflows == 0


# --- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", NETS)
def test_gradients_equal_those_of_lpips(net: str) -> None:
    ours, theirs = frames(2).double() / 255, frames(2, seed=1).double() / 255
    grads = []
    for call in (
        functools.partial(lpips, network=network(net, precision="float64")),
        functools.partial(peer(network(net), torch.float64), normalize=True),
    ):
        pair = ours.clone().requires_grad_(), theirs.clone().requires_grad_()
        weights = torch.tensor([1.0, 3.0], dtype=torch.float64)
        (call(*pair).flatten() * weights).sum().backward()
        grads.append([x.grad for x in pair])
    for found, expected in zip(*grads, strict=True):
        assert expected.abs().max() > 1e-5
        assert_close(found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_gradients_through_shared_references() -> None:
    judge = network(precision="float64")
    index = torch.tensor([1, 0, 1])
    preds, target = frames(3, 2).double() / 255, frames(2, 2, seed=1).double() / 255
    grads = []
    for shared in (True, False):
        pair = preds.clone().requires_grad_(), target.clone().requires_grad_()
        if shared:
            lpips(*pair, judge, target_index=index).sum().backward()
        else:
            lpips(pair[0], pair[1][index], judge).sum().backward()
        grads.append([x.grad for x in pair])
    for found, expected in zip(*grads, strict=True):
        assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_gradients_of_a_float16_network_are_those_of_float32() -> None:
    ours, theirs = frames(2) / 255, frames(2, seed=1) / 255
    grads = []
    for precision in ("float16", "float32"):
        leaf = ours.clone().requires_grad_()
        lpips(leaf, theirs, network(precision=precision)).sum().backward()
        grads.append(leaf.grad)
    assert grads[0].equal(grads[1])
    assert grads[0].abs().max() > 0


def test_features_that_are_zero_have_a_gradient() -> None:
    """The root of 0 in their length has none, but the ReLU before it lets nothing through."""
    weights = random_state("alex", 0)
    weights["features.10.bias"] -= 1e6  # no feature is left at the last tap
    judge = LpipsNetwork("alex", weights, network()._heads)
    ours, theirs = frames(2) / 255, frames(2, seed=1) / 255
    grads = []
    for call in (
        functools.partial(lpips, network=judge),
        functools.partial(peer(judge), normalize=True),
    ):
        leaf = ours.clone().requires_grad_()
        call(leaf, theirs).sum().backward()
        grads.append(leaf.grad)
    assert grads[0].abs().max() > 1e-4
    assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-6)


def test_equal_frames_have_no_gradient() -> None:
    leaf = frames(1).float().div(255).requires_grad_()
    lpips(leaf, leaf.detach().clone(), network()).sum().backward()
    assert leaf.grad.count_nonzero() == 0


def test_nothing_is_kept_without_a_gradient() -> None:
    assert not lpips(frames(1), frames(1, seed=1), network()).requires_grad
    assert not list(network().parameters())


# --- no waiting for the device --------------------------------------------------------------------


def test_float32_reads_no_value_on_the_device() -> None:
    judge = LpipsNetwork.random("alex").to("meta")
    ours, theirs = (torch.empty(n, 3, 3, 64, 64, dtype=torch.uint8, device="meta") for n in (4, 2))
    index = torch.tensor([0, 1, 1, 0])
    assert lpips(ours, theirs, judge, target_index=index).device.type == "meta"
    assert lpips_map(ours, ours, judge).shape == (4, 3, 64, 64)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", NETS)
def test_too_small_a_frame_is_refused(net: str) -> None:
    side = TRUNKS[net].min_size
    assert network(net).min_size == side
    ours, theirs = frames(1, height=side, width=side), frames(1, height=side, width=side, seed=1)
    assert lpips(ours, theirs, network(net)).isfinite().all()
    with pytest.raises(
        ValueError, match=f"at least {side} x {side} pixels, got {side} x {side - 1}"
    ):
        lpips(ours[..., 1:], theirs[..., 1:], network(net))


def test_bad_input_is_refused() -> None:
    ours, theirs = frames(2, 3), frames(2, 3, seed=1)
    with pytest.raises(ValueError, match=r"RGB frames \[..., 3, H, W\], got \(3, 1, 40, 45\)"):
        lpips(ours[0, :, :1], theirs[0, :, :1], network())
    with pytest.raises(TypeError, match="one dtype"):
        lpips(ours / 255, theirs, network())
    with pytest.raises(ValueError, match="one shape"):
        lpips(ours, theirs[:1], network())
    with pytest.raises(ValueError, match=r"target_index must be in 0..1, the rows of target"):
        lpips(ours, theirs, network(), target_index=torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="chunk must be at least 1"):
        lpips(ours, theirs, network(), chunk=0)
    with pytest.raises(ValueError, match="frames are on cpu, but the network is on meta"):
        lpips(ours, theirs, LpipsNetwork.random("alex").to("meta"))


def test_the_range_trap_of_lpips() -> None:
    """It expects -1..1 unless told; frames in 0..1 give another number without a word."""
    ours, theirs = frames(2) / 255, frames(2, seed=1) / 255
    with torch.no_grad():
        trapped = peer(network())(ours, theirs).flatten()
    assert ((trapped - lpips(ours, theirs, network())).abs() > 1e-3).all()


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_no_frames(precision: str) -> None:
    empty = torch.zeros(2, 0, 3, 40, 45, dtype=torch.uint8)
    judge = network("alex", precision=precision)
    assert lpips(empty, empty, judge).shape == (2, 0)
    assert lpips_map(empty, empty, judge).shape == (2, 0, 40, 45)


def test_an_autocast_around_it_changes_nothing() -> None:
    ours, theirs = frames(2), frames(2, seed=1)
    judge = network("alex")
    expected = lpips(ours, theirs, judge)
    with torch.autocast("cpu", torch.bfloat16):
        assert judge.encode(ours)[0].dtype == torch.float32
        assert_close(lpips(ours, theirs, judge), expected, rtol=0, atol=0)


def test_first_used_in_inference_mode_it_still_trains() -> None:
    ours, theirs = frames(2) / 255, frames(2, seed=1) / 255
    with torch.inference_mode():
        judge = LpipsNetwork.random("alex", 5)
        kept = ReferenceFeatures(theirs, judge, budget_bytes=1 << 30)
        expected = lpips(ours, kept, judge)
    preds = ours.clone().requires_grad_()
    for target in (theirs, kept):
        value = lpips(preds, target, judge)
        assert_close(value.detach(), expected.clone(), rtol=1e-6, atol=0)
        (gradient,) = torch.autograd.grad(value.sum(), preds)
        assert gradient.abs().sum() > 0
