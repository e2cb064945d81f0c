"""frame_ssim and its gradient: torch function and kernels against numpy, in one body."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from wmscore.ops import FrameSsim, frame_ssim, frame_ssim_backward, kernels

DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]
# From a tensor [N, C, H, W] to one of the same shape and values but other strides.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "columns_first": lambda x: x.mT.contiguous().mT,
    "every_other_pixel": lambda x: torch.stack([x, x], dim=-1).flatten(-2)[..., ::2],
    "cropped": lambda x: torch.nn.functional.pad(x, (1, 2, 1, 1))[..., 1:-1, 1:-2],
    "rgb_of_rgba": lambda x: torch.cat([x, x[:, :1]], dim=1)[:, : x.shape[1]],
}
# Around the edges of strips, segments and bands of the kernels.
SIZES = [
    *((11, 11), (12, 11), (11, 12), (13, 19), (18, 18), (64, 64), (33, 121)),
    *((20, 122), (21, 123), (40, 234), (138, 30), (139, 31), (140, 40), (270, 13)),
]
MEAN_BOUND = 1e-6
SUM_BOUND = 1e-5  # relative; of floating frames at coarser scales


def random_pair(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(shape, generator=generator, dtype=torch.float64)
    noise = torch.rand(shape, generator=generator, dtype=torch.float64)
    pair = (0.8 * target + 0.2 * noise, target)
    if dtype == torch.uint8:
        return tuple((255 * x).round().to(dtype) for x in pair)  # type: ignore[return-value]
    return tuple(x.to(dtype) for x in pair)  # type: ignore[return-value]


def range_of(dtype: torch.dtype) -> float:
    return 255.0 if dtype == torch.uint8 else 1.0


def halve(frames: np.ndarray) -> np.ndarray:
    odd = [(0, 0)] * (frames.ndim - 2) + [(0, side % 2) for side in frames.shape[-2:]]
    frames = np.pad(frames, odd, mode="edge")
    return (
        frames[..., ::2, ::2]
        + frames[..., 1::2, ::2]
        + frames[..., ::2, 1::2]
        + frames[..., 1::2, 1::2]
    ) / 4


def by_numpy(preds: Tensor, target: Tensor, uniform: bool, scales: int) -> Tensor:
    """The definition over every window, in the two-pass form that cannot cancel."""
    side = 7 if uniform else 11
    line = np.ones(7) if uniform else np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    c1, c2 = ((k * range_of(preds.dtype)) ** 2 for k in (0.01, 0.03))
    x, y = (f.cpu().double().numpy() for f in (preds, target))
    rows = []
    for scale in range(scales):
        if scale:
            x, y = halve(x), halve(y)
        u, v = (
            np.lib.stride_tricks.sliding_window_view(f, (side, side), axis=(2, 3)) for f in (x, y)
        )
        mu, mv = ((window * w).sum((-2, -1), keepdims=True) for w in (u, v))
        uu, vv, uv = (
            (window * p * q).sum((-2, -1))
            for p, q in ((u - mu, u - mu), (v - mv, v - mv), (u - mu, v - mv))
        )
        mu, mv = mu[..., 0, 0], mv[..., 0, 0]
        structure = (2 * uv + c2) / (uu + vv + c2)
        luminance = (2 * mu * mv + c1) / (mu**2 + mv**2 + c1)
        rows.append(
            np.stack(
                [
                    (luminance * structure).mean((2, 3)),
                    structure.mean((2, 3)),
                    ((x - y) ** 2).sum((2, 3)),
                ],
                axis=-1,
            )
        )
    return torch.from_numpy(np.stack(rows, axis=2))


def assert_right(
    actual: Tensor, expected: Tensor, dtype: torch.dtype, bound: float = MEAN_BOUND
) -> None:
    assert actual.shape == expected.shape
    assert actual.dtype == torch.float64
    found, wanted = (FrameSsim(*x.cpu().unbind(-1)) for x in (actual, expected))
    torch.testing.assert_close(found.ssim, wanted.ssim, rtol=0, atol=bound)
    torch.testing.assert_close(
        found.contrast_structure, wanted.contrast_structure, rtol=0, atol=bound
    )
    exact = dtype == torch.uint8
    torch.testing.assert_close(
        found.squared_error, wanted.squared_error, rtol=0 if exact else SUM_BOUND, atol=0
    )


@pytest.fixture(params=["dispatched", "torch"])
def run(request: pytest.FixtureRequest) -> Callable[..., Tensor]:
    """The op with whatever kernel the device has, and the torch function alone."""
    return frame_ssim if request.param == "dispatched" else frame_ssim.__wrapped__


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("size", [(11, 11), (13, 30), (45, 52)], ids=str)
def test_matches_numpy(run, size, uniform, dtype, device):
    pair = random_pair((2, 3, *size), dtype)
    scales = 3 if size == (45, 52) else 1
    found = run(*(x.to(device) for x in pair), range_of(dtype), uniform, scales)
    assert_right(found, by_numpy(*pair, uniform, scales), dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_kernels_match_the_torch_function(size, uniform, dtype, device):
    pair = [x.to(device) for x in random_pair((2, 1, *size), dtype)]
    expected = frame_ssim.__wrapped__(*pair, range_of(dtype), uniform)
    assert_right(frame_ssim(*pair, range_of(dtype), uniform), expected, dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [(161, 161), (170, 181), (323, 190), (256, 256)], ids=str)
def test_five_scales(size, dtype, device):
    pair = [x.to(device) for x in random_pair((1, 2, *size), dtype)]
    expected = frame_ssim.__wrapped__(*pair, range_of(dtype), scales=5)
    assert_right(frame_ssim(*pair, range_of(dtype), scales=5), expected, dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("target_layout", LAYOUTS)
@pytest.mark.parametrize("preds_layout", LAYOUTS)
def test_strides_do_not_matter(preds_layout, target_layout, dtype, device):
    preds, target = (x.to(device) for x in random_pair((2, 3, 24, 31), dtype))
    strided = LAYOUTS[preds_layout](preds), LAYOUTS[target_layout](target)
    expected = frame_ssim(preds, target, range_of(dtype), scales=2)
    found = frame_ssim(*strided, range_of(dtype), scales=2)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_a_wide_plane_in_pieces(device):
    """More columns than a kernel gathers at a time, at an odd width and any stride."""
    preds, target = (x.to(device) for x in random_pair((1, 3, 23, 2301), torch.uint8))
    last = [x.contiguous(memory_format=torch.channels_last) for x in (preds, target)]
    expected = frame_ssim.__wrapped__(preds, target, 255.0, scales=2)
    assert_right(frame_ssim(preds, target, 255.0, scales=2), expected, torch.uint8)
    assert_right(frame_ssim(*last, 255.0, scales=2), expected, torch.uint8)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("a", "b"), [(255, 255), (255, 254), (0, 255), (128, 127), (3, 250)])
def test_flat_frames(run, a, b, device):
    """No variance at all: contrast-structure is 1, and rounding must not invent any."""
    preds, target = (
        torch.full((1, 1, 50, 50), level, dtype=torch.uint8, device=device) for level in (a, b)
    )
    c1 = 2.55**2
    found = run(preds, target, 255.0, scales=2)[0, 0]
    luminance = (2 * a * b + c1) / (a**2 + b**2 + c1)
    expected = [[luminance, 1.0, 2500.0 * (a - b) ** 2], [luminance, 1.0, 625.0 * (a - b) ** 2]]
    torch.testing.assert_close(
        found.cpu(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-7
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("cell", [(64, 1000), (1000, 64), (24, 24), (24, 1000)])
@pytest.mark.parametrize("against", ["negative", "black"])
def test_several_flat_regions(against, cell, dtype, device):
    """Differences of -255, 0 and 255 side by side: no constant makes all of them small."""
    row, column = torch.arange(118)[:, None] // cell[0], torch.arange(150) // cell[1]
    is_white = ((row + column) % 2).to(torch.uint8).expand(1, 1, -1, -1)
    preds = (is_white * 255).to(dtype) / (1 if dtype == torch.uint8 else 255)
    preds = preds.to(dtype).to(device)
    target = range_of(dtype) - preds if against == "negative" else torch.zeros_like(preds)
    target = target.to(dtype)
    found = frame_ssim(preds, target, range_of(dtype))
    expected = frame_ssim.__wrapped__(preds, target, range_of(dtype))
    # Edges of full contrast: the hardest there is for float32 frames.
    assert_right(found, expected, dtype, MEAN_BOUND if dtype == torch.uint8 else 5e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_nearly_flat_float_frames_do_not_cancel(device):
    """Standard deviation 2e-4 around 0.9: E[x^2] - mu^2 in float32 is off by 1e-5 to 1e-3."""
    generator = torch.Generator().manual_seed(0)
    pair = (0.9 + 2e-4 * torch.randn(2, 1, 1, 64, 64, generator=generator)).unbind()
    found = frame_ssim(*(x.to(device) for x in pair), 1.0)
    assert_right(found, by_numpy(*pair, False, 1), torch.float32)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_identical_frames_are_exactly_1(dtype, device):
    frames = random_pair((2, 3, 45, 61), dtype)[0].to(device)
    found = frame_ssim(frames, frames.clone(), range_of(dtype), scales=3)
    assert FrameSsim(*found.unbind(-1)).ssim.eq(1).all()
    assert FrameSsim(*found.unbind(-1)).squared_error.eq(0).all()


@pytest.mark.parametrize("device", DEVICES)
def test_the_data_range_is_the_unit(run, device):
    preds, target = (x.to(device) for x in random_pair((1, 2, 24, 24), torch.float32))
    unit = run(preds, target, 1.0, scales=2)
    scaled = run(preds * 1000, target * 1000, 1000.0, scales=2)
    torch.testing.assert_close(scaled[..., :2], unit[..., :2], rtol=0, atol=1e-6)
    torch.testing.assert_close(scaled[..., 2], unit[..., 2] * 1e6, rtol=1e-5, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("where", [0, 1])
def test_nan_reaches_its_plane_and_no_other(run, where, dtype, device):
    pair = [x.to(device) for x in random_pair((2, 2, 40, 40), dtype)]
    pair[where][1, 0, 39, 39] = torch.nan
    is_nan = run(*pair, 1.0, scales=2).isnan().all((-1, -2))
    assert is_nan.tolist() == [[False, False], [True, False]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_frame_does_not_see_its_batch(dtype, device):
    preds, target = (x.to(device) for x in random_pair((5, 3, 50, 71), dtype))
    together = frame_ssim(preds, target, range_of(dtype), scales=2)
    alone = torch.cat(
        [
            frame_ssim(p[None], t[None], range_of(dtype), scales=2)
            for p, t in zip(preds, target, strict=True)
        ]
    )
    torch.testing.assert_close(together, alone, rtol=0, atol=0)


@pytest.mark.parametrize("scales", [1, 4])
@pytest.mark.parametrize("planes", [1, 7])
def test_the_number_of_threads_does_not_matter(planes, scales):
    pair = random_pair((1, planes, 300, 90), torch.float32)
    gradient = torch.randn(1, planes, scales, 3, dtype=torch.float64)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            of_both = frame_ssim_backward(gradient, *pair, 1.0, scales=scales)
            results.append((frame_ssim(*pair, 1.0, scales=scales), *of_both))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_empty_batches(run, device):
    for shape in ((0, 3, 24, 24), (2, 0, 24, 24)):
        frames = torch.zeros(shape, dtype=torch.uint8, device=device)
        assert run(frames, frames, 255.0, scales=2).shape == (*shape[:2], 2, 3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.slow
def test_more_than_2_to_the_31_elements(device):
    if device not in kernels().ops["frame_ssim"]:
        pytest.skip(f"no {device} kernel; the torch function would take 100 GB")
    preds, target = (x.to(device) for x in random_pair((1, 1, 512, 1024), torch.uint8))
    many = 2**12 + 1
    found = frame_ssim(*(x.expand(many, -1, -1, -1) for x in (preds, target)), 255.0)
    expected = frame_ssim(preds, target, 255.0).expand(many, -1, -1, -1)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_4k(device):
    """One frame of 2160 x 3840: bands of one plane, levels of one pyramid."""
    if device not in kernels().ops["frame_ssim"]:
        pytest.skip(f"no {device} kernel; the torch function would take 3 GB")
    pair = [x.to(device) for x in random_pair((1, 1, 2160, 3840), torch.uint8)]
    expected = frame_ssim.__wrapped__(*(x[..., :700] for x in pair), 255.0, scales=5)
    found = frame_ssim(*(x[..., :700] for x in pair), 255.0, scales=5)
    assert_right(found, expected, torch.uint8)
    whole = frame_ssim(*pair, 255.0, scales=5)
    assert (whole[..., :2] - found[..., :2]).abs().max() < 0.05


# --- the gradient ---------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize(("size", "scales"), [((12, 13), 1), ((21, 24), 2), ((41, 43), 3)])
def test_gradcheck(size, scales, uniform, device):
    pair = [x.to(device).requires_grad_() for x in random_pair((1, 2, *size), torch.float64)]

    def means(preds: Tensor, target: Tensor) -> Tensor:
        return frame_ssim(preds, target, 1.0, uniform, scales)

    assert torch.autograd.gradcheck(means, pair, fast_mode=scales > 1)


# Relative to the largest gradient: rounding of the result, and of float32 inside.
GRADIENT_BOUNDS = {
    torch.float16: 1e-3,
    torch.bfloat16: 8e-3,
    torch.float32: 3e-5,
    torch.float64: 1e-11,
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize(
    ("size", "scales"), [((11, 11), 1), ((64, 97), 1), ((131, 30), 1), ((163, 171), 5)]
)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "columns_first"])
def test_gradient_matches_the_torch_function(layout, size, scales, uniform, dtype, device):
    pair = [LAYOUTS[layout](x.to(device)) for x in random_pair((2, 3, *size), dtype)]
    generator = torch.Generator().manual_seed(1)
    gradient = torch.randn(2, 3, scales, 3, dtype=torch.float64, generator=generator).to(device)
    gradient[..., 2] /= 1000
    found = frame_ssim_backward(gradient, *pair, 1.0, uniform, scales)
    exact = [x.double() for x in pair]
    expected = frame_ssim_backward.__wrapped__(gradient, *exact, 1.0, uniform, scales)
    for of_frames, wanted in zip(found, expected, strict=True):
        assert of_frames.dtype == dtype
        bound = GRADIENT_BOUNDS[dtype] * float(wanted.abs().max())
        torch.testing.assert_close(of_frames.double(), wanted, rtol=0, atol=bound)


def test_only_what_needs_a_gradient_gets_one():
    preds, target = random_pair((1, 1, 12, 12), torch.float64)
    preds.requires_grad_()
    frame_ssim(preds, target, 1.0)[..., 0].sum().backward()
    assert preds.grad is not None
    assert target.grad is None
    with torch.no_grad():
        assert not frame_ssim(preds, target, 1.0).requires_grad


# --- torch's machinery ----------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [DTYPES[0], DTYPES[-1]], ids=str)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's
def test_opcheck(dtype, device):
    pair = [x.to(device) for x in random_pair((2, 3, 24, 25), dtype)]
    if dtype != torch.uint8:
        pair[0].requires_grad_()
    torch.library.opcheck(torch.ops.wmscore.frame_ssim.default, (*pair, range_of(dtype), False, 2))
    if dtype != torch.uint8:
        gradient = torch.randn(2, 3, 2, 3, dtype=torch.float64, device=device)
        torch.library.opcheck(
            torch.ops.wmscore.frame_ssim_backward.default,
            (gradient, pair[0].detach(), pair[1], 1.0, False, 2),
        )


@pytest.mark.parametrize("device", DEVICES)
def test_compiles_whole(device):
    def loss(preds: Tensor, target: Tensor) -> Tensor:
        return 1 - frame_ssim(preds, target, 1.0)[..., 0].mean()

    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    preds, target = (x.to(device) for x in random_pair((2, 3, 16, 17), torch.float32))
    preds.requires_grad_()
    gradients = [torch.autograd.grad(f(preds, target), preds)[0] for f in (compiled, loss)]
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def frames(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((frames(1, 3, 10, 40), frames(1, 3, 10, 40), 1.0), ValueError, "at least 11 x 11 pixels"),
        (
            (frames(1, 3, 40, 20), frames(1, 3, 40, 20), 1.0, False, 2),
            ValueError,
            r"at least 21 x 21 pixels for a window of 11 at 2 scale\(s\), got 40 x 20",
        ),
        ((frames(1, 3, 6, 9), frames(1, 3, 6, 9), 1.0, True), ValueError, "at least 7 x 7 pixels"),
        ((frames(1, 3, 20, 20), frames(1, 3, 20, 20), 0.0), ValueError, "data_range must be above"),
        (
            (frames(1, 3, 20, 20), frames(1, 3, 20, 20), 1.0, False, 6),
            ValueError,
            r"scales must be in 1\.\.5, got 6",
        ),
        (
            (frames(1, 3, 20, 20), frames(1, 3, 20, 20, dtype=torch.uint8), 1.0),
            TypeError,
            "one dtype",
        ),
    ],
)
def test_errors_say_what_was_expected_and_what_came(arguments, error, message):
    with pytest.raises(error, match=message):
        frame_ssim(*arguments)


def test_gradient_of_another_shape_is_refused():
    pair = frames(1, 3, 20, 20), frames(1, 3, 20, 20)
    with pytest.raises(ValueError, match=r"gradient must be float64 of shape \(1, 3, 1, 3\)"):
        frame_ssim_backward(torch.zeros(1, 3, 2, 3, dtype=torch.float64), *pair, 1.0)
