"""The gradient of feature_distance: analytic cases, autograd as oracle, kernels and machinery."""

import pytest
import torch
from test_feature_distance import (
    DEVICES,
    DTYPES,
    LAYOUTS,
    SHAPES,
    assert_gradient,
    random_maps,
    random_pair,
    random_weight,
)
from torch import Tensor

from wmscore.ops import feature_distance, feature_distance_backward


def random_gradient(preds: Tensor, spatial: bool) -> Tensor:
    shape = (preds.shape[0], *preds.shape[2:]) if spatial else preds.shape[:1]
    generator = torch.Generator().manual_seed(3)
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(preds.device)


def positive_maps(*shape: int, seed: int = 0) -> Tensor:
    """No vector near 0, where the gradient is large without bound."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("channels", [3, 26])
@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("with_index", [False, True])
def test_gradcheck(with_index, normalize, spatial, channels, layout, device):
    """Of all three, against differences of values: with a shared target, and one for nobody."""
    index = torch.tensor([2, 0, 2], device=device) if with_index else None
    preds, target = (
        LAYOUTS[layout](positive_maps(3, channels, 2, 3, seed=seed).to(device)).requires_grad_()
        for seed in (0, 1)
    )
    weight = random_weight(channels, torch.float64).to(device).requires_grad_()

    def distance(preds: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        return feature_distance(preds, target, index, weight, normalize, spatial)

    assert torch.autograd.gradcheck(distance, (preds, target, weight), fast_mode=channels > 3)


@pytest.mark.parametrize("normalize", [False, True])
def test_the_torch_function_matches_autograd(normalize):
    """Of the forward's own body, where nothing is 0."""
    preds, target = (positive_maps(2, 7, 3, 4, seed=seed).requires_grad_() for seed in (0, 1))
    weight = random_weight(7, torch.float64)
    gradient = random_gradient(preds, False)
    distance = feature_distance.__wrapped__(preds, target, None, weight, normalize)
    expected = torch.autograd.grad(distance, (preds, target), gradient)
    found = feature_distance_backward.__wrapped__(
        gradient, preds.detach(), target.detach(), None, weight, normalize
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernels_match_the_torch_function(shape, layout, dtype, device):
    preds, target = (LAYOUTS[layout](x.to(device)) for x in random_pair(shape, dtype))
    preds[..., 0] += 0.5  # at least one position of each map has a length to speak of
    weight = random_weight(shape[1]).to(device)
    for normalize, spatial in ((True, False), (True, True), (False, False)):
        gradient = random_gradient(preds, spatial)
        arguments = None, weight, normalize, spatial
        found = feature_distance_backward(gradient, preds, target, *arguments)
        expected = feature_distance_backward.__wrapped__(
            gradient, preds.double(), target.double(), *arguments
        )
        for of_maps, wanted in zip(found, expected, strict=True):
            assert_gradient(of_maps, wanted, dtype)
            assert of_maps.stride() == torch.empty_like(preds).stride()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("channels", [7, 40])
@pytest.mark.parametrize("target_layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("preds_layout", LAYOUTS)
def test_strides_do_not_matter(preds_layout, target_layout, channels, dtype, device):
    preds, target = (x.to(device) for x in random_pair((2, channels, 9, 11), dtype))
    strided = LAYOUTS[preds_layout](preds), LAYOUTS[target_layout](target)
    gradient = random_gradient(preds, False)
    expected = feature_distance_backward.__wrapped__(gradient, preds.double(), target.double())
    for of_maps, wanted in zip(
        feature_distance_backward(gradient, *strided), expected, strict=True
    ):
        assert_gradient(of_maps, wanted, dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_a_zero_vector_has_gradient_0(layout, dtype, device):
    """That of lpips is NaN: the root's slope at 0 times 0."""
    preds, target = (LAYOUTS[layout](x.to(device)) for x in random_pair((2, 32, 4, 5), dtype))
    preds[0, :, 1, 2] = 0
    target[1, :, 3, 4] = 0
    gradient = torch.ones(2, dtype=torch.float64, device=device)
    for function in (feature_distance_backward, feature_distance_backward.__wrapped__):
        of_preds, of_target = function(gradient, preds, target)
        assert of_preds.isfinite().all()
        assert of_target.isfinite().all()
        assert of_preds[0, :, 1, 2].eq(0).all()
        assert of_target[1, :, 3, 4].eq(0).all()
        assert of_preds[1].ne(0).any()


def test_lpips_gradient_of_a_zero_vector_is_nan():
    """Why the case above is worth a rule."""
    lpips = pytest.importorskip("lpips")
    preds = random_maps((1, 8, 2, 2), torch.float32)
    preds[..., 0, 0] = 0
    preds.requires_grad_()
    other = random_maps((1, 8, 2, 2), torch.float32, 1)
    (lpips.normalize_tensor(preds) - other).square().sum().backward()
    assert preds.grad[0, :, 0, 0].isnan().all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_identical_maps_have_gradient_0(layout, device):
    maps = LAYOUTS[layout](random_maps((2, 40, 5, 5), torch.float32).to(device))
    gradient = torch.ones(2, dtype=torch.float64, device=device)
    for of_maps in feature_distance_backward(gradient, maps, maps.clone()):
        assert of_maps.eq(0).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_it_is_perpendicular_to_the_vector(layout, device):
    """A longer vector is no farther: nothing to gain along it."""
    preds, target = (
        LAYOUTS[layout](positive_maps(2, 40, 3, 3, seed=seed).to(device)) for seed in (0, 1)
    )
    gradient = torch.ones(2, dtype=torch.float64, device=device)
    of_preds, _ = feature_distance_backward(gradient, preds, target)
    assert (of_preds * preds).sum(1).abs().max() < 1e-9 * of_preds.abs().max()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_a_shared_target_gets_the_sum(layout, dtype, device):
    preds, target = (
        LAYOUTS[layout](x.to(device)) for x in random_pair((6, 32, 3, 4), dtype, targets=4)
    )
    index = torch.tensor([2, 0, 0, 3, 2, 0], device=device)
    both = [x.clone().requires_grad_() for x in (preds, target)]
    feature_distance(*both, index).sum().backward()
    expected = torch.zeros(target.shape, dtype=torch.float64, device=device)
    for n, m in enumerate(index.tolist()):
        one = torch.ones(1, dtype=torch.float64, device=device)
        pair = preds[n : n + 1].double(), target[m : m + 1].double()
        expected[m] += feature_distance_backward.__wrapped__(one, *pair)[1][0]
    assert both[1].grad is not None
    assert_gradient(both[1].grad, expected, dtype)
    assert both[1].grad[1].eq(0).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("targets", [0, 2])
def test_an_index_out_of_range_is_nan_and_reaches_no_target(targets, device):
    preds, target = (
        x.to(device).requires_grad_() for x in random_pair((3, 32, 2, 2), DTYPES[2], targets)
    )
    index = torch.tensor([0, 5, -1], device=device)
    feature_distance(preds, target, index).sum().backward()
    assert preds.grad.isnan().all((1, 2, 3)).tolist() == [targets == 0, True, True]
    assert target.grad.isfinite().all()
    assert target.grad.shape == target.shape


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (True, True), (False, False)])
@pytest.mark.parametrize("with_index", [False, True])
def test_only_what_needs_a_gradient_gets_one(with_index, wanted, monkeypatch):
    asked = []
    module = __import__("wmscore.ops.feature_distance", fromlist=["_"])

    def spy(*arguments: object) -> tuple[Tensor, Tensor]:
        asked.append(arguments[-2:])
        return feature_distance_backward(*arguments)

    monkeypatch.setattr(module, "feature_distance_backward", spy)
    pair = random_pair((2, 8, 3, 3), torch.float32)
    for maps, is_wanted in zip(pair, wanted, strict=True):
        maps.requires_grad_(is_wanted)
    index = torch.tensor([1, 1]) if with_index else None
    distance = feature_distance(*pair, index)
    assert distance.requires_grad == any(wanted)
    if any(wanted):
        distance.sum().backward()
        assert asked == [wanted]
    assert tuple(maps.grad is not None for maps in pair) == wanted


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_not_wanted_is_empty(device):
    preds, target = (x.to(device) for x in random_pair((2, 8, 3, 3), torch.float32))
    gradient = random_gradient(preds, False)
    both = feature_distance_backward(gradient, preds, target)
    for function in (feature_distance_backward, feature_distance_backward.__wrapped__):
        of_preds, nothing = function(gradient, preds, target, of_target=False)
        torch.testing.assert_close(of_preds, both[0])
        assert nothing.shape == (0, 8, 3, 3)
        nothing, of_target = function(gradient, preds, target, of_preds=False)
        torch.testing.assert_close(of_target, both[1])
        assert nothing.shape == (0, 8, 3, 3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("is_zero", [False, True])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("where", [0, 1])
def test_nan_stays_in_its_position(where, layout, is_zero, device):
    """In the gradient of both vectors, of a zero one too."""
    pair = [LAYOUTS[layout](x.to(device)) for x in random_pair((2, 32, 3, 3), torch.float32)]
    pair[where][1, :, 2, 0] = torch.nan
    if is_zero:
        pair[1 - where][1, :, 2, 0] = 0
    gradient = torch.ones(2, dtype=torch.float64, device=device)
    for function in (feature_distance_backward, feature_distance_backward.__wrapped__):
        for of_maps in function(gradient, *pair):
            assert of_maps.isnan().any(1).nonzero().tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_compiles_whole(layout, device):
    index = torch.tensor([1, 1, 0], device=device)

    def loss(preds: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        return feature_distance(preds, target, index, weight).mean()

    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    arguments = [*random_pair((3, 26, 4, 5), torch.float32, targets=2), random_weight(26)]
    arguments[:2] = [LAYOUTS[layout](x) for x in arguments[:2]]
    arguments = [x.to(device).requires_grad_() for x in arguments]
    of_both = [torch.autograd.grad(f(*arguments), arguments) for f in (compiled, loss)]
    torch.testing.assert_close(*of_both, rtol=0, atol=0)


def test_it_has_no_gradient_itself():
    preds, target = random_pair((1, 4, 2, 2), torch.float64)
    preds.requires_grad_()
    (of_preds,) = torch.autograd.grad(
        feature_distance(preds, target).sum(), preds, create_graph=False
    )
    assert not of_preds.requires_grad
    with pytest.raises(RuntimeError, match="feature_distance_backward has no gradient"):
        torch.autograd.grad(feature_distance(preds, target).sum(), preds, create_graph=True)


@pytest.mark.parametrize("spatial", [False, True])
def test_gradient_of_another_shape_is_refused(spatial):
    pair = random_pair((2, 4, 3, 3), torch.float32)
    expected = r"\(2, 3, 3\)" if spatial else r"\(2,\)"
    with pytest.raises(ValueError, match=f"gradient must be float64 of shape {expected}"):
        feature_distance_backward(torch.zeros(2, 1), *pair, spatial=spatial)
