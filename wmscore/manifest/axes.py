"""The axes of evaluation: what each may be measured by, and where it fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, model_validator

from wmscore.manifest.fields import Count, Frozen, Name, Unit

__all__ = ["AXIS_MEASURES", "BRANCHLESS_MEASURES", "AxisCalibration", "AxisName", "AxisSpec"]

AxisName = Literal[
    "perceptual_drift",
    "latent_drift",
    "identity_persistence",
    "action_response",
    "reset_consistency",
]

# What an axis' score may be made of; the first one when the panel does not choose.
AXIS_MEASURES: dict[str, tuple[str, ...]] = {
    "perceptual_drift": (
        "haarpsi",
        "haarpsi_shift1",
        "ssim",
        "ms_ssim",
        "flip",
        "lpips_alex",
        "lpips_vgg",
        "lpips_squeeze",
        "feature_cosine",
        "feature_l2",
    ),
    "latent_drift": ("cosine", "l2"),
    "identity_persistence": (
        "objects",
        "objects_area",
        "objects_alone",
        "carried",
        "carried_area",
        "carried_first",
        "carried_first_area",
    ),
    "action_response": (
        "agreement",
        "agreement_windowed",
        "agreement_aligned",
        "agreement_features",
        "script_match",
        "motion",
    ),
    "reset_consistency": ("closure",),
}

# Measures of an encoder that the user brings; the panel says which.
ENCODER_MEASURES = ("feature_cosine", "feature_l2", "agreement_features")

# Measures of action_response that need no counterfactual scripts.
BRANCHLESS_MEASURES = ("motion",)

# Axes with a distance to the reference, which the frozen baseline and the oracle can bracket.
SKILL_AXES = ("perceptual_drift", "latent_drift")


class AxisCalibration(Frozen):
    """Where an axis' threshold comes from, as `wmscore.calibration.calibrate` found it.

    `conformal`: rollouts of the model `oracle` fail on the axis with a chance of `alpha`, from
    `scenarios` scenarios with one seed each, mean over `redraws` choices of seeds that `seed`
    begins. `conformal_joint`: with a chance of `alpha` on any of the gated axes. With the estimand
    "seeds" the chance is that of new seeds on the panel's own scenarios, from `rollouts` of them.
    `tolerance`: the oracle repeats the reference, which passes with the change that `tolerance`
    names.
    """

    method: Literal["conformal", "conformal_joint", "tolerance"]
    oracle: Name
    scenarios: Count
    estimand: Literal["scenarios", "seeds"] | None = None
    rollouts: Count | None = None
    alpha: Annotated[StrictFloat, Field(gt=0.0, lt=1.0)] | None = None
    redraws: Count | None = None
    seed: Annotated[StrictInt, Field(ge=0)] | None = None
    tolerance: Name | None = None


class AxisSpec(Frozen):
    """One axis of evaluation: fails where its score stays below `threshold` for `patience` steps.

    `gate=False` reports the axis but lets it end no usable horizon. `score="skill"` takes for the
    score where the measure lies between the frozen baseline (0) and the oracle (1) instead of the
    measure itself. `encoder` is the name of the encoder behind a `feature_` measure, and after a
    `#` the beginning of its fingerprint, which holds a comparison to its weights and preprocessing.
    `sensitivity` is that of identity told without labels (`carried`), where an encoder is optional.
    `calibration` says where the threshold comes from, if not from whoever wrote the panel.
    With `recover_threshold` a failing step is followed by failing ones until the score is at or
    above it; with `min_defined` an axis that is defined at a smaller share of a row's steps, and
    has not failed, is undefined. See `functional.usable_horizon`.
    """

    axis: AxisName
    measure: Name = ""
    threshold: Unit
    patience: Count = 3
    gate: StrictBool = True
    score: Literal["skill"] | None = None
    encoder: Name | None = None
    sensitivity: Unit | None = None
    calibration: AxisCalibration | None = None
    recover_threshold: Unit | None = None
    min_defined: Unit | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_measure(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "measure" not in data and "axis" in data:
            return {**data, "measure": AXIS_MEASURES.get(str(data["axis"]), ("unknown",))[0]}
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        known = AXIS_MEASURES[self.axis]
        if self.measure not in known:
            raise ValueError(
                f"measure: {self.axis} has the measures {', '.join(known)}; got {self.measure!r}"
            )
        if self.score is not None and self.axis not in SKILL_AXES:
            raise ValueError(
                f"score: only {' and '.join(SKILL_AXES)} have a skill, {self.axis} does not"
            )
        if self.recover_threshold is not None and self.recover_threshold < self.threshold:
            raise ValueError(
                f"recover_threshold: expected at least the threshold, {self.threshold}, "
                f"got {self.recover_threshold}"
            )
        carried = self.measure.startswith("carried")
        if self.sensitivity is not None and not carried:
            raise ValueError(
                "sensitivity: only identity_persistence without labels (carried) has one; "
                f"got {self.sensitivity} with {self.measure!r}"
            )
        if carried:  # features of an encoder, if any, beside colours
            return self
        if (self.measure in ENCODER_MEASURES) != (self.encoder is not None):
            raise ValueError(
                f"encoder: expected the name of the encoder with {' or '.join(ENCODER_MEASURES)}, "
                "optionally with carried identity, and none with another measure; "
                f"got {self.encoder!r} with {self.measure!r}"
            )
        return self
