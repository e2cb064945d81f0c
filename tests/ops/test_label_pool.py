"""label_pool and its gradient: torch function and kernels against oracles, in one body."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from wmscore.ops import label_pool

DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
LABEL_DTYPES = [torch.uint8, torch.int16, torch.int32, torch.int64]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]
# From a tensor [F, C, h, w] to one of the same shape and values but other strides.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "columns_first": lambda x: x.mT.contiguous().mT,
    "every_other_column": lambda x: torch.stack([x, x], dim=-1).flatten(-2)[..., ::2],
    "cropped": lambda x: torch.nn.functional.pad(x, (1, 2, 1, 1))[..., 1:-1, 1:-2],
    "some_channels": lambda x: torch.cat([x, x[:, :1]], dim=1)[:, : x.shape[1]],
}
# channels, cells, pixels: equal; whole multiples; sides that do not divide; labels coarser than
# features; rows longer than the kernels' blocks; more channels than lanes and than threads.
SIZES = [
    *((3, (40, 37), (40, 37)), (1, (5, 300), (5, 300)), (16, (8, 9), (64, 72))),
    *((40, (5, 7), (33, 50)), (3, (64, 64), (16, 16)), (2, (9, 5), (4, 11)), (7, (1, 1), (20, 30))),
    *((300, (3, 4), (6, 9)), (1, (17, 33), (17, 33)), (9, (12, 70), (12, 70))),
]
IDS = torch.tensor([[2, 5, 0, 5, 77, 1], [1, 0, 9, 3, 4, 200], [0, 0, 0, 0, 0, 0]])


def random_features(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(shape, generator=generator, dtype=torch.float64)
    return (values * 255).to(dtype) if dtype == torch.uint8 else (values * 8 - 3).to(dtype)


def random_labels(
    frames: int, size: tuple[int, int], dtype: torch.dtype = torch.uint8, blob: int = 4
) -> Tensor:
    """Squares of `blob` pixels and some noise, with ids 0..6 and 200."""
    generator = torch.Generator().manual_seed(1)
    coarse = [-(-side // blob) for side in size]
    labels = torch.randint(0, 7, (frames, *coarse), generator=generator)
    labels = labels.repeat_interleave(blob, 1).repeat_interleave(blob, 2)
    labels = labels[:, : size[0], : size[1]]
    noise = torch.rand(labels.shape, generator=generator)
    return labels.where(noise > 0.05, 200).to(dtype)


def by_numpy(features: Tensor, labels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The definition in float64, one frame and one object at a time."""
    f, maps = features.detach().cpu().double().numpy(), labels.cpu().numpy().astype(np.int64)
    (frames, channels, h, w), (_, height, width) = f.shape, maps.shape
    means = np.full((frames, ids.shape[1], channels), np.nan)
    counts = np.zeros(ids.shape, dtype=np.int64)
    rows = [y * h // height for y in range(height)]
    columns = [x * w // width for x in range(width)]
    for frame, n in itertools.product(range(frames), range(ids.shape[1])):
        inside = (maps[frame] == int(ids[frame, n])) & (int(ids[frame, n]) != 0)
        counts[frame, n] = inside.sum()
        if counts[frame, n]:
            means[frame, n] = f[frame][:, rows][:, :, columns][:, inside].mean(1)
    return torch.from_numpy(means), torch.from_numpy(counts)


def assert_right(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """Means within the rounding of their dtype, counts exactly."""
    bound = 1e-12 if found[0].dtype == torch.float64 else 3e-7
    means = expected[0].to(found[0].dtype)
    torch.testing.assert_close(found[0].cpu(), means.cpu(), rtol=bound, atol=bound, equal_nan=True)
    torch.testing.assert_close(found[1].cpu(), expected[1].cpu(), rtol=0, atol=0)


def assert_same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """The same bits."""
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@pytest.fixture(params=["dispatched", "torch"])
def run(request: pytest.FixtureRequest) -> Callable[..., tuple[Tensor, Tensor]]:
    """The op with whatever kernel the device has, and the torch function alone."""
    return label_pool if request.param == "dispatched" else label_pool.__wrapped__


# --- the definition -------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("label_dtype", LABEL_DTYPES, ids=str)
@pytest.mark.parametrize("size", [SIZES[0], SIZES[2], SIZES[3]], ids=str)
def test_matches_numpy(run, size, label_dtype, dtype, device):
    channels, cells, pixels = size
    features = random_features((3, channels, *cells), dtype)
    labels = random_labels(3, pixels, label_dtype)
    found = run(features.to(device), labels.to(device), IDS.to(device))
    assert found[0].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_right(found, by_numpy(features, labels, IDS))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_kernels_match_the_torch_function(size, layout, dtype, device):
    channels, cells, pixels = size
    features = LAYOUTS[layout](random_features((3, channels, *cells), dtype).to(device))
    labels = random_labels(3, pixels).to(device)
    expected = label_pool.__wrapped__(features.cpu().double(), labels.cpu(), IDS)
    assert_right(label_pool(features, labels, IDS.to(device)), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("channels", [3, 20])
@pytest.mark.parametrize("label_layout", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_do_not_matter(run, layout, label_layout, channels, dtype, device):
    for cells in ((12, 21), (5, 8)):
        features = random_features((2, channels, *cells), dtype)
        labels = random_labels(2, (12, 21), torch.int16)
        expected = by_numpy(features, labels, IDS[:2])
        assert expected[1].count_nonzero() > 5
        strided = LAYOUTS[label_layout](labels[:, None].to(device))[:, 0]
        found = run(LAYOUTS[layout](features.to(device)), strided, IDS[:2].to(device))
        assert_right(found, expected)


def test_matches_scipy(run):
    """On objects that fill the frame, since of a label that is not there scipy warns."""
    ndimage = pytest.importorskip("scipy.ndimage")
    features = random_features((1, 3, 30, 40), torch.float64)
    labels = random_labels(1, (30, 40))
    ids = labels.unique()[1:]
    means, counts = run(features, labels, ids[None].long())
    maps = labels[0].numpy()
    expected = [ndimage.mean(plane.numpy(), maps, ids.numpy()) for plane in features[0]]
    np.testing.assert_allclose(means[0].T.numpy(), np.stack(expected), rtol=1e-13)
    areas = ndimage.sum_labels(np.ones_like(maps, dtype=np.int64), maps, ids.numpy())
    np.testing.assert_array_equal(counts[0].numpy(), areas)


def test_the_mean_of_a_constant_object_is_its_colour(run):
    colours = torch.tensor([[9, 200, 31], [255, 0, 128]], dtype=torch.uint8)
    labels = torch.zeros(1, 20, 30, dtype=torch.int32)
    labels[0, 3:9, 2:17], labels[0, 10:18, 20:29] = 1, 2
    frames = torch.full((1, 3, 20, 30), 77, dtype=torch.uint8)
    for i, colour in enumerate(colours, 1):
        frames = frames.where(labels[:, None] != i, colour[:, None, None])
    means, counts = run(frames, labels, torch.tensor([[1, 2]]))
    assert means.equal(colours[None].float())
    assert counts.tolist() == [[6 * 15, 8 * 9]]


def test_a_cell_counts_by_its_pixels(run):
    """Three pixels of one cell and one of another: (3 a + b) / 4."""
    features = torch.tensor([[[[10.0, 2.0]]]])
    labels = torch.tensor([[[0, 4, 4, 0], [0, 4, 4, 0]]]).repeat(1, 2, 1)
    labels[0, :2, 2], labels[0, 2, 2] = 0, 0  # five pixels: four left, one right
    means, counts = run(features, labels, torch.tensor([[4]]))
    assert counts.tolist() == [[5]]
    torch.testing.assert_close(means, torch.tensor([[[(4 * 10 + 2) / 5]]]))


def test_uint8_sums_are_exact(run):
    """2^20 pixels of 255 but for one: float32 sums would lose it."""
    frames = torch.full((1, 1, 1024, 1024), 255, dtype=torch.uint8)
    frames[0, 0, 500, 700] = 254
    means, counts = run(frames, torch.ones(1, 1024, 1024, dtype=torch.uint8), torch.tensor([[1]]))
    assert means.item() == np.float32(255 - 2.0**-20)
    assert counts.item() == 2**20


def test_large_offsets_do_not_cancel(run):
    """Float32 values of 1e6 with a step of 1/16: running float32 sums would lose the step."""
    values = 1e6 + torch.arange(4096, dtype=torch.float32).remainder(16).div(16).reshape(
        1, 1, 64, 64
    )
    means, _ = run(values, torch.ones(1, 64, 64, dtype=torch.int64), torch.tensor([[1]]))
    assert means.item() == np.float32(values.double().mean().item())


# --- ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("label_dtype", LABEL_DTYPES, ids=str)
@pytest.mark.parametrize("cells", [(30, 40), (6, 10)], ids=str)
def test_as_many_ids_as_there_may_be(run, cells, label_dtype, device):
    """Of any values that the labels' dtype has, in any order."""
    generator = torch.Generator().manual_seed(3)
    most = torch.iinfo(label_dtype).max
    least = torch.iinfo(label_dtype).min
    if label_dtype == torch.uint8:
        ids = torch.randperm(255, generator=generator) + 1
    else:
        ids = torch.randint(least // 2, most // 2, (255,), generator=generator)
        ids[0], ids[1] = least, most
    features = random_features((1, 2, *cells), torch.float32)
    labels = ids[torch.randint(0, 255, (1, 30, 40), generator=generator)].to(label_dtype)
    found = run(features.to(device), labels.to(device), ids[None].to(device))
    assert_right(found, by_numpy(features, labels, ids[None]))


@pytest.mark.parametrize("device", DEVICES)
def test_ids_that_collide_in_the_table(run, device):
    """Multiples of 2^54 have hashes that differ little; of labels beyond the ids none is taken."""
    ids = torch.arange(1, 101).mul(2**54)[None]
    labels = torch.arange(0, 200).mul(2**54).reshape(1, 10, 20)
    features = random_features((1, 2, 10, 20), torch.float32)
    found = run(features.to(device), labels.to(device), ids.to(device))
    assert_right(found, by_numpy(features, labels, ids))


@pytest.mark.parametrize("device", DEVICES)
def test_padding_and_absent_ids_are_nan(run, device):
    features = random_features((1, 2, 4, 4), torch.float32).to(device)
    labels = torch.zeros(1, 4, 4, dtype=torch.int64, device=device)
    labels[0, 0, 0] = 3
    means, counts = run(features, labels, torch.tensor([[0, 3, 4, 3]], device=device))
    assert means.isnan().any(-1).tolist() == [[True, False, True, False]]
    assert counts.tolist() == [[0, 1, 0, 1]]
    assert means[0, 1].equal(features[0, :, 0, 0])
    assert means[0, 3].equal(means[0, 1])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("cells", [(8, 40), (4, 20)], ids=str)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_nan_and_infinity_stay_in_their_object(run, value, cells, layout, device):
    labels = torch.ones(1, 8, 40, dtype=torch.uint8)
    labels[0, :, 10:20], labels[0, 2:4, 30:32] = 2, 3
    features = random_features((1, 9, *cells), torch.float32)
    features[0, 4, cells[0] // 4, cells[1] * 3 // 4] = value
    found, _ = run(
        LAYOUTS[layout](features.to(device)),
        labels.to(device),
        IDS[:0].new_tensor([[1, 2, 3]]).to(device),
    )
    assert found.isfinite().all(-1).tolist() == [[True, True, False]]
    assert found[0, 2].isfinite().logical_not().nonzero().tolist() == [[4]]


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
def test_empty_sizes(run, device):
    def pool(f: tuple[int, ...], labels: tuple[int, ...], n: int) -> tuple[Tensor, Tensor]:
        ids = torch.ones(f[0], n, dtype=torch.int64, device=device)
        return run(
            torch.ones(f, device=device), torch.ones(labels, dtype=torch.int32, device=device), ids
        )

    assert [x.shape for x in pool((0, 3, 4, 4), (0, 4, 4), 2)] == [(0, 2, 3), (0, 2)]
    assert [x.shape for x in pool((2, 3, 4, 4), (2, 4, 4), 0)] == [(2, 0, 3), (2, 0)]
    assert pool((2, 0, 4, 4), (2, 4, 4), 1)[1].tolist() == [[16], [16]]
    for cells, pixels in (((4, 4), (0, 4)), ((0, 4), (0, 4)), ((0, 0), (5, 0)), ((2, 2), (3, 0))):
        means, counts = pool((2, 3, *cells), (2, *pixels), 1)
        assert means.isnan().all()
        assert means.shape == (2, 1, 3)
        assert counts.eq(0).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [SIZES[0], SIZES[3]], ids=str)
def test_a_frame_does_not_see_its_batch(size, device):
    channels, cells, pixels = size
    features = random_features((5, channels, *cells), torch.float32).to(device)
    labels = random_labels(5, pixels).to(device)
    ids = torch.tensor([[1, 2, 3]], device=device).expand(5, -1)
    together = label_pool(features, labels, ids)
    for n in range(5):
        own = slice(n, n + 1)
        alone = label_pool(features[own], labels[own], ids[own])
        assert_same(alone, (together[0][own], together[1][own]))


@pytest.mark.parametrize("shape", [(2, 1, 700, 800), (7, 5, 60, 60)], ids=str)
def test_the_number_of_threads_does_not_matter(shape):
    """The first has more pixels than a band of rows."""
    features = random_features(shape, torch.float32)
    labels = random_labels(shape[0], shape[2:], blob=16)
    ids = torch.tensor([[1, 2, 3]]).expand(shape[0], -1)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(label_pool(features, labels, ids))
    finally:
        torch.set_num_threads(before)
    assert_right(results[0], label_pool.__wrapped__(features.double(), labels, ids))
    for result in results[1:]:
        assert_same(result, results[0])


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_bits_in_each_run(device):
    features = random_features((4, 20, 40, 50), torch.float32).to(device)
    labels = random_labels(4, (80, 100)).to(device)
    ids = torch.tensor([[1, 2, 3]], device=device).expand(4, -1)
    first = label_pool(features, labels, ids)
    for _ in range(2):
        assert_same(label_pool(features, labels, ids), first)


# --- the gradient ---------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [SIZES[2], SIZES[3], SIZES[5]], ids=str)
def test_gradcheck(size, device):
    channels, cells, pixels = min(size[0], 2), size[1], size[2]
    features = random_features((3, channels, *cells), torch.float64).to(device).requires_grad_()
    labels = random_labels(3, pixels).to(device)
    ids = IDS.to(device)

    def pool(features: Tensor) -> Tensor:
        return label_pool(features, labels, ids)[0].nan_to_num(0)

    assert torch.autograd.gradcheck(pool, features, fast_mode=True)
    assert torch.autograd.gradgradcheck(pool, features, fast_mode=True)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_each_pixel_has_its_share_of_the_gradient(layout, dtype, device):
    features = LAYOUTS[layout](random_features((1, 2, 4, 4), dtype).to(device)).requires_grad_()
    labels = torch.zeros(1, 4, 4, dtype=torch.int64, device=device)
    labels[0, :2, 1:] = 6
    means, _ = label_pool(features, labels, torch.tensor([[0, 6, 1]], device=device))
    means[0, 1].sum().backward()
    assert features.grad.dtype == dtype
    expected = (labels == 6).expand(2, -1, -1)[None] / 6
    torch.testing.assert_close(features.grad, expected.to(dtype).reshape(1, 2, 4, 4))


def test_a_loss_that_leaves_out_what_is_not_there_has_a_finite_gradient():
    features = random_features((3, 4, 9, 9), torch.float32).requires_grad_()
    means, counts = label_pool(features, random_labels(3, (9, 9)), IDS)
    means[counts > 0].square().mean().backward()
    assert features.grad.isfinite().all()
    assert features.grad.any()


# --- torch's machinery ----------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float64], ids=str)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's
def test_opcheck(dtype, device):
    features = random_features((2, 3, 6, 8), dtype).to(device)
    features.requires_grad_(dtype.is_floating_point)
    labels = random_labels(2, (12, 16), blob=2).to(device)
    ids = torch.tensor([[1, 2, 3]], device=device).expand(2, -1)
    assert label_pool(features, labels, ids)[1].all()  # it takes NaN for a difference
    torch.library.opcheck(torch.ops.wmscore.label_pool.default, (features, labels, ids))


def test_compiles():
    features, labels = random_features((3, 4, 6, 8), torch.float32), random_labels(3, (12, 16))
    compiled = torch.compile(label_pool, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(
        compiled(features, labels, IDS), label_pool(features, labels, IDS), equal_nan=True
    )


def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(shape, dtype=dtype)


def labels(*shape: int) -> Tensor:
    return zeros(*shape, dtype=torch.int64)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([0.0], labels(1, 2, 2), labels(1, 2)), TypeError, r"features must be a torch\.Tensor"),
        (
            (zeros(1, 3, 2, 2, dtype=torch.int32), labels(1, 2, 2), labels(1, 2)),
            TypeError,
            r"features must have one of the dtypes uint8, float16.*got torch\.int32",
        ),
        (
            (zeros(1, 3, 2, 2), zeros(1, 2, 2), labels(1, 2)),
            TypeError,
            r"labels must have one of the dtypes uint8, int16, int32, int64, got torch\.float32",
        ),
        (
            (zeros(1, 3, 2, 2), labels(1, 2, 2), labels(1, 2).int()),
            TypeError,
            r"ids must have one of the dtypes int64, got torch\.int32",
        ),
        (
            (zeros(3, 2, 2), labels(1, 2, 2), labels(1, 2)),
            ValueError,
            r"features must have shape \[F, C, h, w\], got \(3, 2, 2\)",
        ),
        (
            (zeros(1, 3, 2, 2), labels(2, 2), labels(1, 2)),
            ValueError,
            r"labels must have shape \[F, H, W\], got \(2, 2\)",
        ),
        (
            (zeros(2, 3, 2, 2), labels(2, 2, 2), labels(1, 2)),
            ValueError,
            "ids must have as many frames as features, 2, got 1",
        ),
        (
            (zeros(1, 3, 2, 2), labels(1, 2, 2), labels(1, 256)),
            ValueError,
            "ids must have at most 255 for each frame, got 256",
        ),
        (
            (zeros(1, 3, 0, 2), labels(1, 2, 2), labels(1, 2)),
            ValueError,
            r"features of shape \(1, 3, 0, 2\) have no cell",
        ),
    ],
)
def test_errors_say_what_was_expected_and_what_came(arguments, error, message):
    with pytest.raises(error, match=message):
        label_pool(*arguments)
