"""Global shift of frame pairs: wmscore, scikit-image, OpenCV and kornia, accuracy and speed.

Each provider starts from the same uint8 luma and pays for the conversion and the window that it
needs. The pairs are cuts of one large picture (noise with the spectrum of photographs), moved by a
phase ramp within 4 pixels; `error` is the median, `error_95` the 95th percentile of |dy| and |dx|.
kornia has no phase correlation: its closest, the iterative `ImageRegistrator`, runs on one pair of
the smallest size.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from frames import frame_pairs
from timing import Row, arguments, environment, measure, table, thread_counts, write_jsonl
from torch import Tensor

from wmscore.functional import phase_shift
from wmscore.ops import correlation_peak, cross_power, edge_orientation, kernels, shift_refine

# height, width, pairs
CASES = ((64, 64, 64), (120, 160, 16), (256, 256, 8))
REACH = 4.0
COLUMNS = {
    "size": "",
    "pairs": "d",
    "threads": "d",
    "provider": "",
    "error": ".4f",
    "error_95": ".4f",
    "items_per_second": ",.0f",
    "times_kernel": ".1f",
    "extra_bytes": ",d",
}


def moved_pairs(count: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Frames and following `[count, 1, H, W]` uint8 and their shift `[count, 2]`."""
    generator = torch.Generator().manual_seed(0)
    margin = 16
    big = frame_pairs(min(16, count), height + 2 * margin, width + 2 * margin)[1][:, 1].double()
    big = big[torch.arange(count) % len(big)]
    shift = (2 * torch.rand(count, 2, generator=generator, dtype=torch.float64) - 1) * REACH
    fy, fx = (torch.fft.fftfreq(side, dtype=torch.float64) for side in big.shape[1:])
    phase = fy[:, None] * shift[:, :1, None] + fx * shift[:, 1:, None]
    moved = torch.fft.ifft2(torch.fft.fft2(big) * torch.exp(-2j * torch.pi * phase)).real
    cut = (slice(None), slice(margin, -margin), slice(margin, -margin))
    pair = [x[cut].round().clamp(0, 255).to(torch.uint8)[:, None] for x in (big, moved)]
    return pair[0], pair[1], shift


def by_torch_functions(frames: Tensor, following: Tensor) -> Tensor:
    """The same without any compiled kernel."""
    prepared = [edge_orientation.__wrapped__(x, True) for x in (frames, following)]
    spectra = [torch.view_as_real(torch.fft.fft2(torch.view_as_complex(x))) for x, _ in prepared]
    power, _ = cross_power.__wrapped__(*spectra)
    height, width = frames.shape[-2:]
    surface = torch.fft.irfft2(torch.view_as_complex(power), s=(height, width))
    whole, _ = correlation_peak.__wrapped__(surface, height // 2, width // 2)
    return shift_refine.__wrapped__(prepared[0][1], prepared[1][1], whole)[:, :2]


def by_scikit_image(skimage: Callable[..., tuple], frames: Tensor, following: Tensor) -> Tensor:
    window = np.outer(*(np.hanning(side + 2)[1:-1] for side in frames.shape[-2:]))
    found = []
    for a, b in zip(frames[:, 0].numpy(), following[:, 0].numpy(), strict=True):
        pair = [(x - x.mean()) * window for x in (b, a)]
        found.append(skimage(*pair, upsample_factor=50)[0])
    return torch.from_numpy(np.array(found))


def by_opencv(cv2: object, frames: Tensor, following: Tensor) -> Tensor:
    height, width = frames.shape[-2:]
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    found = []
    for a, b in zip(frames[:, 0].numpy(), following[:, 0].numpy(), strict=True):
        (dx, dy), _ = cv2.phaseCorrelate(a.astype(np.float32), b.astype(np.float32), window)
        found.append((dy, dx))
    return torch.tensor(found, dtype=torch.float64)


def by_kornia(registrator: type, frames: Tensor, following: Tensor) -> Tensor:
    found = []
    height, width = frames.shape[-2:]
    for a, b in zip(frames, following, strict=True):
        model = registrator("similarity", num_iterations=20, pyramid_levels=2).to(a.device)
        matrix = model.register(a[None].float() / 255, b[None].float() / 255).detach()[0]
        found.append((-matrix[1, 2] * (height - 1) / 2, -matrix[0, 2] * (width - 1) / 2))
    return torch.tensor(found, dtype=torch.float64)


def providers_of(frames: Tensor, following: Tensor) -> dict[str, Callable[[], Tensor]]:
    providers: dict[str, Callable[[], Tensor]] = {
        "wmscore kernels": lambda: phase_shift(frames, following, min_peak=0).shift,
        "wmscore torch functions": partial(by_torch_functions, frames, following),
    }
    host = frames.cpu(), following.cpu()
    peers = (
        ("scikit-image", "skimage", "skimage.registration", "phase_cross_correlation"),
        ("OpenCV", "cv2", "cv2", None),
        ("kornia ImageRegistrator", "kornia", "kornia.geometry", "ImageRegistrator"),
    )
    for name, package, module, attribute in peers:
        try:
            version = importlib.import_module(package).__version__
            peer = importlib.import_module(module)
        except ImportError as error:
            print(f"skipped: {name} ({error})")
            continue
        call = peer if attribute is None else getattr(peer, attribute)
        if package == "kornia":
            if frames.shape[-1] > 64:
                continue  # seconds a pair
            few = frames[:1], following[:1]
            providers[f"{name} {version}"] = partial(by_kornia, call, *few)
        else:
            by = by_scikit_image if package == "skimage" else by_opencv
            providers[f"{name} {version}"] = partial(by, call, *host)
    return providers


def bench(height: int, width: int, pairs: int, device: str, rounds: int) -> list[Row]:
    frames, following, shift = moved_pairs(pairs, height, width)
    providers = providers_of(frames.to(device), following.to(device))
    errors = {}
    for name, call in providers.items():
        found = call().cpu().double()
        errors[name] = (found - shift[: len(found)]).abs().flatten()
    # A quick wrong answer is no result.
    assert errors["wmscore kernels"].max() < 0.5, errors["wmscore kernels"].max()
    rows = measure(
        providers, device=device, rounds=rounds, bytes_read=2 * frames.numel(), items=pairs
    )
    for row in rows:
        if row["provider"].startswith("kornia"):
            row["items_per_second"] = 1 / row["seconds"]
    kernel = rows[0]["items_per_second"]
    case = {"benchmark": "phase_shift", "size": f"{height} x {width}", "pairs": pairs}
    return [
        {
            **case,
            **row,
            "error": errors[row["provider"]].median().item(),
            "error_95": errors[row["provider"]].quantile(0.95).item(),
            "times_kernel": kernel / row["items_per_second"],
            **environment(device),
        }
        for row in rows
    ]


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    device = options.device
    print(f"{environment(device)}\nkernels: {kernels()}")
    rows = [
        row
        for _ in thread_counts(options)
        for height, width, pairs in CASES
        for row in bench(
            height, width, pairs * (64 if device == "cuda" else 1), device, options.rounds
        )
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
