"""How far the SSIM, MS-SSIM and PSNR of other libraries are from wmscore's, and by which choice.

    python tools/compare_definitions.py                            # print the tables
    python tools/compare_definitions.py --write docs/pixel-metrics.md

Photographs of scikit-image, each under three distortions; the same bytes on every machine. In the
document, a table stands between `<!-- name -->` and `<!-- end -->`. A library that is not installed
has no row, and `--write` then refuses.
"""

from __future__ import annotations

import argparse
import importlib
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from document_tables import Rows, rows_of, with_table
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from wmscore.functional import ms_ssim, psnr, ssim

__all__ = ["TABLES", "Table", "find", "pairs", "rows_of"]

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
SSIM_SIDES = (64, 128, 256)
MS_SSIM_SIZES = ((64, 64), (128, 128), (256, 256), (181, 255))


def find(name: str) -> ModuleType | None:
    """A library, or None where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError:
            return None


def photograph(name: str, height: int, width: int) -> Tensor:
    """The middle of a photograph, averaged down to `[3, height, width]` uint8."""
    from skimage import data

    image = torch.from_numpy(np.ascontiguousarray(getattr(data, name)())).permute(2, 0, 1)
    scale = min(image.shape[1] / height, image.shape[2] / width)
    rows, columns = int(height * scale), int(width * scale)
    top, left = (image.shape[1] - rows) // 2, (image.shape[2] - columns) // 2
    middle = image[None, :, top : top + rows, left : left + columns].double()
    return interpolate(middle, size=(height, width), mode="area")[0].round().to(torch.uint8)


def pairs(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Each photograph blurred, with noise, and moved by a pixel: `[12, 3, height, width]` uint8."""
    generator = np.random.default_rng(0)
    preds, target = [], []
    for name in PHOTOGRAPHS:
        image = photograph(name, height, width).double()
        noise = torch.from_numpy(generator.standard_normal(image.shape))
        blurred = avg_pool2d(pad(image[None], (2, 2, 2, 2), mode="replicate"), 5, stride=1)[0]
        preds += [blurred, image + 12 * noise, image.roll(1, -1)]
        target += [image] * 3
    return tuple(torch.stack(x).round().clamp(0, 255).to(torch.uint8) for x in (preds, target))  # type: ignore[return-value]


# --- SSIM ----------------------------------------------------------------------------------------


def ssim_calls() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """SSIM per frame of uint8 frames: who, how called -> what it says."""
    calls: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"**wmscore** `ssim`": ssim}
    if skimage := find("skimage.metrics"):
        gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}

        def of_skimage(preds: Tensor, target: Tensor, **choices: object) -> Tensor:
            similarity = skimage.structural_similarity
            return torch.tensor(
                [
                    similarity(p.numpy(), t.numpy(), data_range=255, channel_axis=0, **choices)
                    for p, t in zip(preds, target, strict=True)
                ]
            )

        calls["scikit-image, Gaussian weights, population covariance"] = lambda p, t: of_skimage(
            p, t, **gaussian
        )
    if piq := find("piq"):
        calls["piq, `downsample=False`"] = lambda p, t: piq.ssim(
            p.float(), t.float(), data_range=255, reduction="none", downsample=False
        )
    if msssim := find("pytorch_msssim"):
        calls["pytorch-msssim"] = lambda p, t: msssim.ssim(
            p.float(), t.float(), data_range=255, size_average=False
        )
    if kornia := find("kornia.metrics"):

        def of_kornia(preds: Tensor, target: Tensor, padding: str) -> Tensor:
            return kornia.ssim(preds.float(), target.float(), 11, 255.0, padding=padding).mean(
                (1, 2, 3)
            )

        calls['kornia, `padding="valid"`'] = lambda p, t: of_kornia(p, t, "valid")
    if pyiqa := find("pyiqa.archs.ssim_arch"):
        calls["pyiqa `ssimc`"] = lambda p, t: pyiqa.SSIM(test_y_channel=False)(
            p.float() / 255, t.float() / 255
        )
    if torchmetrics := find("torchmetrics.functional.image"):

        def of_torchmetrics(preds: Tensor, target: Tensor, data_range: float | None) -> Tensor:
            return torchmetrics.structural_similarity_index_measure(
                preds.float(), target.float(), data_range=data_range, reduction="none"
            )

        calls["torchmetrics, `data_range=255.0`"] = lambda p, t: of_torchmetrics(p, t, 255.0)
    if kornia:
        calls["kornia default"] = lambda p, t: of_kornia(p, t, "same")
    calls["zero padding: fused-ssim default, pytorch-ssim"] = lambda p, t: ssim(
        pad(p, (5, 5, 5, 5)), pad(t, (5, 5, 5, 5))
    )
    if skimage:
        calls["scikit-image default"] = of_skimage
    calls['**wmscore** `ssim(window="uniform")`'] = lambda p, t: ssim(p, t, window="uniform")
    if pyiqa:
        calls["pyiqa `ssim` default"] = lambda p, t: pyiqa.SSIM()(p.float() / 255, t.float() / 255)
    return calls


def ssim_table() -> Rows:
    """Mean over the frames and, in brackets, the largest difference of a frame from wmscore."""
    cases = [pairs(side, side) for side in SSIM_SIDES]
    expected = [ssim(preds, target).double() for preds, target in cases]
    rows = {}
    for name, call in ssim_calls().items():
        rows[name] = []
        for (preds, target), wanted in zip(cases, expected, strict=True):
            values = call(preds, target).double()
            difference = float((values - wanted).abs().max())
            rows[name].append(f"{float(values.mean()):.4f} ({difference:.4f})")
    return rows


# --- MS-SSIM -------------------------------------------------------------------------------------


def ms_ssim_calls() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """MS-SSIM per frame of uint8 frames: who, how called -> what it says."""
    calls: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "**wmscore** `ms_ssim`": lambda p, t: ms_ssim(p, t).values
    }
    if msssim := find("pytorch_msssim"):
        calls["pytorch-msssim"] = lambda p, t: msssim.ms_ssim(
            p.float(), t.float(), data_range=255, size_average=False
        )
    if piq := find("piq"):
        calls["piq"] = lambda p, t: piq.multi_scale_ssim(
            p.float(), t.float(), data_range=255, reduction="none"
        )
    if torchmetrics := find("torchmetrics.functional.image"):
        calls["torchmetrics, `data_range=255.0`"] = lambda p, t: (
            torchmetrics.multiscale_structural_similarity_index_measure(
                p.float(), t.float(), data_range=255.0, reduction="none"
            )
        )
    if pyiqa := find("pyiqa.archs.ssim_arch"):
        calls["pyiqa `ms_ssim` default"] = lambda p, t: pyiqa.MS_SSIM()(
            p.float() / 255, t.float() / 255
        )
    return calls


def ms_ssim_table() -> Rows:
    """As `ssim_table`; "refused" where a library raises."""
    cases = [pairs(*size) for size in MS_SSIM_SIZES]
    expected = [ms_ssim(preds, target).values.double() for preds, target in cases]
    rows = {}
    for name, call in ms_ssim_calls().items():
        rows[name] = []
        for (preds, target), wanted in zip(cases, expected, strict=True):
            try:
                values = call(preds, target).double()
            except (AssertionError, RuntimeError, ValueError):
                rows[name].append("refused")
                continue
            difference = float((values - wanted).abs().max())
            rows[name].append(f"{float(values.mean()):.4f} ({difference:.4f})")
    return rows


# --- Cases that one number shows -----------------------------------------------------------------

Case = tuple[float | Tensor, float | Tensor, str, int]  # wmscore, elsewhere, where, digits


def psnr_that_wraps() -> Case:
    black = torch.zeros(3, 16, 16, dtype=torch.uint8)
    white = torch.full_like(black, 255)
    error = float(((black - white) ** 2).double().mean())
    return psnr(black, white), 10 * math.log10(255**2 / error), "uint8 arithmetic", 2


def psnr_of_identical_frames() -> Case:
    image = photograph("astronaut", 256, 256)[None]
    other = _need("piq").psnr(image / 255, image / 255)
    return psnr(image, image), other, "piq and pyiqa: 1e-8 added to the error", 2


def psnr_of_one_level() -> Case:
    image = photograph("astronaut", 256, 256)[None].clamp(max=254)
    other = _need("piq").psnr((image + 1) / 255, image / 255)
    return psnr(image + 1, image), other, "piq and pyiqa: 1e-8 added to the error", 4


def psnr_of_a_batch() -> Case:
    preds, target = pairs(256, 256)
    other = _need("torchmetrics.functional.image").peak_signal_noise_ratio(
        preds.double(), target.double(), data_range=255.0
    )
    return psnr(preds, target).mean(), other, "torchmetrics default and kornia: pooled error", 2


def ssim_of_a_large_frame() -> Case:
    image = photograph("astronaut", 512, 512)[None]
    blurred = avg_pool2d(pad(image.double(), (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    blurred = blurred.round().to(torch.uint8)
    other = _need("piq").ssim(blurred / 255, image / 255)
    return ssim(blurred, image), other, "piq default: halves the frame first", 4


def _dim_and_bright() -> tuple[Tensor, Tensor]:
    preds, target = (x[:2] for x in pairs(256, 256))
    return tuple(torch.stack([x[0] // 4, x[1]]) for x in (preds, target))  # type: ignore[return-value]


def _ssim_of_the_datas_range(preds: Tensor, target: Tensor) -> Tensor:
    similarity = _need("torchmetrics.functional.image").structural_similarity_index_measure
    return similarity(preds.double(), target.double(), reduction="none")[0]


def ssim_of_a_dim_frame() -> Case:
    preds, target = (x[:1] for x in _dim_and_bright())
    other = _ssim_of_the_datas_range(preds, target)
    return ssim(preds, target), other, "torchmetrics default: range of the batch", 4


def ssim_of_a_dim_frame_in_company() -> Case:
    preds, target = _dim_and_bright()
    other = _ssim_of_the_datas_range(preds, target)
    return ssim(preds, target)[0], other, "torchmetrics default: range of the batch", 4


def ssim_of_a_strip() -> Case:
    preds, target = (x[:1, :, :8].double() for x in pairs(256, 256))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = _need("pytorch_msssim").ssim(preds, target, data_range=255)
    return math.nan, other, "pytorch-msssim: no window across, one warning", 4


def ms_ssim_of_a_negative() -> Case:
    image = photograph("astronaut", 256, 256)[None]
    other = _need("torchmetrics.functional.image").multiscale_structural_similarity_index_measure(
        255.0 - image.double(), image.double(), data_range=255.0, normalize=None
    )
    return ms_ssim(255 - image, image).values, other, "torchmetrics, `normalize=None`", 2


CASES: dict[str, Callable[[], Case]] = {
    "PSNR of black and white, dB": psnr_that_wraps,
    "PSNR of identical frames, dB": psnr_of_identical_frames,
    "PSNR of frames one level apart, dB": psnr_of_one_level,
    "PSNR of 12 frames, mean in dB": psnr_of_a_batch,
    "SSIM of a blurred frame of 512 x 512": ssim_of_a_large_frame,
    "SSIM of a dim frame": ssim_of_a_dim_frame,
    "SSIM of that frame in a batch with a bright one": ssim_of_a_dim_frame_in_company,
    "SSIM of a strip of 8 x 256 (wmscore refuses)": ssim_of_a_strip,
    "MS-SSIM of a frame and its negative": ms_ssim_of_a_negative,
}


class _AbsentError(Exception):
    pass


def _need(name: str) -> ModuleType:
    module = find(name)
    if module is None:
        raise _AbsentError
    return module


def special_table() -> Rows:
    """What: wmscore's number, another, whose."""
    rows: Rows = {}
    for name, case in CASES.items():
        try:
            own, other, where, digits = case()
        except _AbsentError:
            continue
        rows[name] = [*(f"{float(x) + 0.0:.{digits}f}" for x in (own, other)), where]
    return rows


# --- The document --------------------------------------------------------------------------------


class Table:
    """A table of the document: its heading row, and a function that computes its rows."""

    def __init__(self, headings: Sequence[str], rows: Callable[[], Rows]) -> None:
        self.headings, self.rows = headings, rows

    def markdown(self, rows: Rows) -> str:
        lines = ["| " + " | ".join(self.headings) + " |", "|" + " --- |" * len(self.headings)]
        lines += ["| " + " | ".join([name, *cells]) + " |" for name, cells in rows.items()]
        return "\n".join(lines)


TABLES = {
    "ssim": Table(["SSIM", *(f"{side} x {side}" for side in SSIM_SIDES)], ssim_table),
    "ms-ssim": Table(["MS-SSIM", *(f"{h} x {w}" for h, w in MS_SSIM_SIZES)], ms_ssim_table),
    "special": Table(["case", "wmscore", "elsewhere", "where"], special_table),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="put the tables into this document")
    path = parser.parse_args().write
    computed = {name: table.rows() for name, table in TABLES.items()}
    text = {name: table.markdown(computed[name]) for name, table in TABLES.items()}
    print("\n\n".join(text.values()))
    if path is None:
        return
    document = path.read_text(encoding="utf-8")
    for name in TABLES:
        lost = rows_of(document, name).keys() - computed[name].keys()
        if lost:
            raise SystemExit(f"not written: nothing here computes the rows {sorted(lost)}")
        document = with_table(document, name, text[name])
    path.write_text(document, encoding="utf-8")


if __name__ == "__main__":
    main()
