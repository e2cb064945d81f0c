"""`columns.csv`: what each column of `metrics.csv` means, for whoever gets the folder alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wmscore.files import write_csv
from wmscore.manifest import Panel
from wmscore.scorer.measures import measure_of

__all__ = ["Column", "describe", "write_columns"]


class Column(NamedTuple):
    """What a column means.

    Attributes:
        column: its name.
        unit: of its values; empty for text.
        better: "higher", "lower", or empty where neither is better by itself.
        meaning: in words.
    """

    column: str
    unit: str
    better: str
    meaning: str


_ROW = {
    "scenario": ("", "", "id of the scenario, as in manifest.json"),
    "seed": ("", "", "seed of the row"),
    "model": ("", "", "who is judged; roles are in environment.json"),
    "fault": ("", "", "evaluation fault, why the row cannot be judged; empty for a sound row"),
    "fault_message": ("", "", "what the model said when it failed"),
    "horizon_steps": ("steps", "higher", "usable horizon: last step before the first failing axis"),
    "horizon_censored": ("", "", "true where no axis fails as far as the row was seen"),
    "first_failing_axis": ("", "", "the axis that ends the horizon"),
    "failing_steps_share": ("share of steps", "lower", "steps at which some gated axis is below"),
    "usable_steps_share": ("share of steps", "higher", "steps that no gated axis has lost"),
    "recovered_at": ("step", "", "where the axis that ends the horizon is back"),
    "recovered_steps": ("steps", "higher", "for how long it is back"),
    "identical_steps": (
        "steps",
        "",
        "steps that equal the reference bit for bit; not in psnr_mean",
    ),
    "first_object_identity_break": (
        "step",
        "higher",
        "first step at which an object is not itself",
    ),
    "broken_object": ("", "", "id of that object"),
    "broken_how": ("", "", "what happened to it; events.csv has all events"),
    "latency_steps": ("steps", "", "how late the row's frames follow its actions; 0 = in time"),
    "latency_p_value": ("probability", "", "of so good a fit at any lag by chance"),
    "latency_polarity": ("sign", "", "1 = as the reference moves, -1 = mirrored"),
    "latency_gain": ("1", "", "size of the response at that lag, as a multiple of the reference's"),
    "latency_ambiguous": ("0 or 1", "lower", "1 where another lag fits nearly as well"),
    "latency_reason": ("", "", "why the lag is undefined"),
    "actions_recovered": ("1", "higher", "share of actions read off the frames, 0 = chance"),
    "idf1": ("1", "higher", "IDF1: identity F1 of the tracks of all objects"),
    "hota": ("1", "higher", "HOTA, higher order tracking accuracy, over thresholds of overlap"),
    "det_a": ("1", "higher", "HOTA's detection accuracy"),
    "ass_a": ("1", "higher", "HOTA's association accuracy"),
    "loc_a": ("1", "higher", "HOTA's localisation accuracy"),
    "mota": ("1", "higher", "MOTA, multiple object tracking accuracy; may be below 0"),
    "id_switches": ("switches", "lower", "matched tracks that change their identity"),
    "mean_j": ("1", "higher", "J, mean overlap of each object with its reference"),
    "track_lifetime": (
        "share of steps",
        "higher",
        "for how long objects are tracked, mean over them",
    ),
}

_AXIS = {
    "mean_score": ("1", "higher", "mean over its defined steps of the score of {}"),
    "horizon_steps": ("steps", "higher", "usable horizon by {} alone"),
    "censored": ("", "", "true where {} does not fail as far as the row was seen"),
    "failures": ("failures", "lower", "how often {} fails, each for its patience"),
    "lost_steps": ("steps", "lower", "steps within failures of {}"),
    "recovered_at": ("step", "", "where {} is back above its threshold after its first failure"),
    "recovered_steps": ("steps", "higher", "for how long it is back"),
    "margin_at_failure": ("1", "higher", "score less threshold of {} at its first failing step"),
    "smallest_margin": ("1", "higher", "score less threshold of {} at its worst step"),
    "undefined_steps": ("steps", "lower", "steps at which {} has no score, each with a reason"),
    "slope": ("1 per step", "lower", "how much worse the score of {} gets per step (Theil-Sen)"),
    "onset": ("step", "", "where the score of {} leaves its level; empty where it does not"),
    "worst_segment": ("1", "lower", "how much worse its worst eighth is than its first"),
    "end": ("1", "lower", "how much worse its last eighth is than its first"),
    "early": ("1", "higher", "mean score of {} in the first quarter of its steps"),
    "late": ("1", "higher", "mean score of {} in the last quarter of its steps"),
    "area": ("score x steps", "lower", "how far and how long {} is below its threshold"),
}

_MEASURE = {
    "haarpsi": "HaarPSI, similarity of pictures by Haar wavelets",
    "ssim": "SSIM, structural similarity",
    "ms_ssim": "MS-SSIM, structural similarity over the scales that its name counts",
    "flip": "FLIP, difference that an observer sees when pictures alternate",
    "lpips": "LPIPS, learned perceptual distance",
    "psnr": "PSNR, peak signal-to-noise ratio",
    "psnr_moving": "PSNR of the pixels that move in the reference",
    "feature_cosine": "cosine distance of an encoder's features",
    "feature_l2": "Euclidean distance of an encoder's features",
    "latent_cosine": "cosine distance of the model's latents from the reference's",
    "latent_l2": "relative Euclidean distance of the model's latents from the reference's",
    "similarity_first": "similarity of features with the given frame's",
    "similarity_previous": "similarity of features with those of the frame before",
    "similarity_lag": "similarity of features over all pairs of frames that far apart",
    "brightness": "mean luma of the frames",
    "contrast": "standard deviation of luma",
    "saturation": "mean saturation",
    "colourfulness": "colourfulness (Hasler and Suesstrunk)",
    "clipped_low": "values at the lowest end",
    "clipped_high": "values at the highest end",
    "sharpness_gradient": "sharpness by squared gradients",
    "sharpness_laplacian": "sharpness by the squared Laplacian",
    "blockiness": "jumps at the borders of 8 x 8 blocks beyond those within",
    "change": "mean absolute change since the frame before",
    "brightness_ratio": "brightness as a multiple of the given frame's",
    "contrast_ratio": "contrast as a multiple of the given frame's",
    "saturation_ratio": "saturation as a multiple of the given frame's",
    "sharpness_gradient_ratio": "sharpness as a multiple of the given frame's",
    "identity_objects": "objects in view that are still themselves",
    "identity_area": "the same, each object by its area",
    "agreement": "agreement of the response to the script with the reference's; 0 = chance",
    "cosine": "direction of that response",
    "gain": "size of that response as a multiple of the reference's",
    "leak": "share of the response where the reference does not respond",
    "script_match": "whether the reference of the same script is the nearest one; 0 = chance",
    "motion": "agreement of the picture's global motion with the reference's",
    "motion_ratio": "size of that motion as a multiple of the reference's",
    "motion_cosine": "direction of that motion",
    "motion_error": "distance of that motion from the reference's",
    "flow_agreement": "agreement of a 3 x 3 field of motion with the reference's",
    "delta_psnr": "Genie's delta-PSNR: what the true actions gain over random ones",
    "delta_psnr_noop": "what the true actions gain over no-ops",
    "delta_psnr_oracle": "what they gain in the reference itself: the most to expect",
    "delta_psnr_error": "distance of delta-PSNR from the oracle's",
    "controllability": "delta-PSNR in bounded form",
    "closure_distance": "distance of a frame from the earlier one that it should show again",
    "closure_registered": "the same, at the best displacement by up to 2 pixels",
    "closure_displaced": "what that displacement explains",
    "closure_motion": "how far the rollout left, as a multiple of the reference",
    "world_stability": "distance at the return over that on the way (arXiv:2503.08122)",
}

_SKILL = "mean of {} between the frozen baseline (0) and a re-run of the true world (1)"

_BETTER = {True: "higher", False: "lower", None: ""}


def describe(column: str, panel: Panel) -> Column:
    """What a column of the metric table of `panel` means; without words where nobody has said."""
    if column in _ROW:
        return Column(column, *_ROW[column])
    if column.startswith("info_"):
        return Column(column, "", "", "told by the model with its rollouts")
    for spec in panel.axes:
        unit, better, meaning = _AXIS.get(column.removeprefix(f"{spec.axis}_"), ("", "", ""))
        if meaning:
            return Column(column, unit, better, meaning.format(spec.axis.replace("_", " ")))
    name = plain = column.removesuffix("_mean")
    if name.startswith("skill_"):
        return Column(column, "1", "higher", _SKILL.format(name.removeprefix("skill_")))
    while plain not in _MEASURE and "_" in plain:  # variants, such as `ms_ssim_3`
        plain = plain.rpartition("_")[0]
    if plain not in _MEASURE:
        return Column(column, "", "", "")
    measure = measure_of(name)
    meaning = f"mean over its defined steps of: {_MEASURE[plain]}"
    return Column(column, measure.unit, _BETTER[measure.higher_is_better], meaning)


def write_columns(path: Path, columns: Sequence[str], panel: Panel) -> None:
    """Write `columns.csv`, a line for each column of the metric table in its order."""
    lines = [describe(column, panel)._asdict() for column in columns]
    write_csv(path, Column._fields, lines)
