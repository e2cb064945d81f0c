"""The raw measures behind the scores: unit, range and direction of each."""

from __future__ import annotations

from typing import NamedTuple

from wmscore import functional as F

__all__ = ["Measure", "is_variant", "measure_of"]

_INFINITE = float("inf")


class Measure(NamedTuple):
    """What a raw value means.

    Attributes:
        unit: "1" for a ratio, else the unit.
        low: smallest possible value.
        high: largest possible value.
        higher_is_better: direction; None where neither end is better by itself.
    """

    unit: str
    low: float
    high: float
    higher_is_better: bool | None


_RATIO = Measure("1", 0.0, _INFINITE, None)  # to the given frame

_MEASURES: dict[str, Measure] = {
    "haarpsi": Measure("1", 0.0, 1.0, True),
    "ssim": Measure("1", -1.0, 1.0, True),
    "ms_ssim": Measure("1", 0.0, 1.0, True),
    "flip": Measure("1", 0.0, 1.0, False),
    "lpips": Measure("1", 0.0, _INFINITE, False),
    "psnr": Measure("dB", 0.0, _INFINITE, True),
    "skill": Measure("1", -_INFINITE, _INFINITE, True),
    "feature_cosine": Measure("1", 0.0, 2.0, False),
    "feature_l2": Measure("features", 0.0, _INFINITE, False),
    "latent_cosine": Measure("1", 0.0, 2.0, False),
    "latent_l2": Measure("1", 0.0, _INFINITE, False),
    "similarity": Measure("1", -1.0, 1.0, None),
    "brightness": Measure("data range", 0.0, 1.0, None),
    "contrast": Measure("data range", 0.0, 0.5, None),
    "saturation": Measure("data range", 0.0, 1.0, None),
    "colourfulness": Measure("data range", 0.0, _INFINITE, None),
    "clipped_low": Measure("share of values", 0.0, 1.0, None),
    "clipped_high": Measure("share of values", 0.0, 1.0, None),
    "sharpness_gradient": Measure("data range^2", 0.0, 1.0, None),
    "sharpness_laplacian": Measure("data range^2", 0.0, 16.0, None),
    "blockiness": Measure("data range", -1.0, 1.0, None),
    "change": Measure("data range", 0.0, 1.0, None),
    "brightness_ratio": _RATIO,
    "contrast_ratio": _RATIO,
    "saturation_ratio": _RATIO,
    "sharpness_gradient_ratio": _RATIO,
    "identity_objects": Measure("1", 0.0, 1.0, True),
    "identity_area": Measure("1", 0.0, 1.0, True),
    "agreement": Measure("1", -1.0, 1.0, True),
    "cosine": Measure("1", -1.0, 1.0, True),
    "gain": Measure("1", 0.0, _INFINITE, None),
    "motion": Measure("1", -1.0, 1.0, True),
    "motion_ratio": Measure("1", 0.0, _INFINITE, None),
    "motion_cosine": Measure("1", -1.0, 1.0, True),
    "motion_error": Measure("px", 0.0, _INFINITE, False),
    "flow_agreement": Measure("1", -1.0, 1.0, True),
    "leak": Measure("1", 0.0, 1.0, False),
    "script_match": Measure("1", -_INFINITE, 1.0, True),
    "delta_psnr_error": Measure("dB", 0.0, _INFINITE, False),
    "delta_psnr_oracle": Measure("dB", 0.0, F.PSNR_QUANTISATION_DB, None),
    "delta_psnr": Measure("dB", -F.PSNR_QUANTISATION_DB, F.PSNR_QUANTISATION_DB, True),
    "closure_distance": Measure("data range", 0.0, 1.0, False),
    "closure_registered": Measure("data range", 0.0, 1.0, False),
    "closure_displaced": Measure("data range", 0.0, 1.0, False),
    "closure_motion": Measure("1", 0.0, _INFINITE, None),
    "world_stability": Measure("1", 0.0, 2.0, False),
    "controllability": Measure("1", -_INFINITE, 1.0, True),
}


def measure_of(name: str) -> Measure:
    """The measure of a name; variants (`ms_ssim_3`, `lpips_alex`) are like the plain one."""
    while name not in _MEASURES and "_" in name:
        name = name.rpartition("_")[0]
    return _MEASURES[name]


def is_variant(name: str, measure: str) -> bool:
    """Whether a raw measure is what a panel's measure gives at some size of frames.

    `ms_ssim_3` is one of `ms_ssim`, `haarpsi_full` of `haarpsi`, `haarpsi_full_shift1` of
    `haarpsi_shift1`.
    """
    shift = "_shift1"
    if name.endswith(shift) != measure.endswith(shift):
        return False
    return f"{name}_".startswith(f"{measure.removesuffix(shift)}_")
