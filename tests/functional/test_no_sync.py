"""No function reads a value on the device: each runs on meta tensors, which hold none."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.functional import (
    MOTION_FEATURES,
    action_recovery,
    adjacent_similarity,
    controllability,
    counterfactual_response,
    delta_psnr,
    drift_onset,
    drift_slope,
    end_drift,
    error_accumulation,
    first_crossing,
    first_frame_similarity,
    fit_probe,
    flip,
    flip_map,
    frame_quality,
    global_motion,
    global_similarity,
    haarpsi,
    haarpsi_reason,
    label_overlap,
    latent_cosine,
    latent_l2,
    latent_reason,
    motion_features,
    mse,
    object_identity,
    phase_shift,
    psnr,
    quality_drift,
    recovered_share,
    region_errors,
    response_latency,
    rollout_quality,
    script_cross,
    script_delta_psnr,
    script_match,
    script_products,
    script_response,
    segment_drift,
    shift_tolerant,
    similarity_by_lag,
    skill,
    ssim,
    start_difference,
    subject_consistency,
    time_tolerant,
    usable_horizon,
    vector_recovery,
    windowed_response,
    with_context,
)


def frames(dtype: torch.dtype = torch.uint8) -> Tensor:
    return torch.empty(2, 4, 3, 20, 24, dtype=dtype, device="meta")


def test_frames() -> None:
    for dtype in (torch.uint8, torch.float16, torch.float32):
        pair = frames(dtype)[:, 1:], frames(dtype)[:, 1:]  # not one run in memory
        for metric in (mse, psnr, ssim, flip):
            value = metric(*pair)
            assert value.shape == (2, 3)
            assert value.device.type == "meta"
        score = haarpsi(*pair, shift=1)
        assert score.shape == haarpsi_reason(score, 20, 24, shift=1).shape == (2, 3)
        assert score.device.type == "meta"
        assert flip_map(*pair).shape == (2, 3, 20, 24)
        mask = torch.empty(20, 24, dtype=torch.bool, device="meta")
        assert psnr(*pair, mask=mask).shape == (2, 3)
        errors = region_errors(*pair, mask=mask, previous=pair[1], threshold=0.1)
        assert (
            errors.inside.reason.shape == errors.outside.psnr.shape == errors.share.shape == (2, 3)
        )
        assert counterfactual_response(*pair, *pair).agreement.shape == (2, 3)
        assert delta_psnr(*pair, pair[0], cap_db=58.0).shape == (2, 3)
        assert controllability(*pair, pair[0]).shape == (2, 3)
        for quality in (
            frame_quality(pair[0], previous=pair[1]),
            rollout_quality(frames(dtype)),
            rollout_quality(frames(dtype)[:, :, :1].mT),
        ):
            assert quality.colourfulness.shape == quality.reason["change"].shape == (2, 3)


def test_labels_with_given_ids() -> None:
    labels = torch.empty(2, 4, 20, 24, dtype=torch.int16, device="meta")
    ids = torch.empty(2, 5, dtype=torch.int64, device="meta")
    assert label_overlap(labels, labels, ids=ids).joint.shape == (2, 4, 6, 6)
    index = torch.empty(2, dtype=torch.int64, device="meta")
    apart = label_overlap(
        labels, labels[:1], preds_ids=ids[:, :3], target_ids=ids, target_index=index
    )
    assert apart.centroid_distance.shape == apart.iou.shape == (2, 4, 5, 3)
    valid = torch.empty(2, 4, dtype=torch.bool, device="meta")
    result = object_identity(labels, labels, ids=ids, valid=valid)
    assert result.state.shape == (2, 4, 5)
    assert result.first_break.device.type == "meta"


def test_horizon() -> None:
    scores = torch.empty(3, 2, 4, device="meta")
    per_axis = torch.empty(3, device="meta")
    patience = torch.empty(3, dtype=torch.int64, device="meta")
    valid = torch.empty(2, 4, dtype=torch.bool, device="meta")
    gated = torch.empty(3, dtype=torch.bool, device="meta")
    crossing = first_crossing(scores, 0.5, patience=2, valid=valid)
    assert crossing.step.shape == (3, 2)
    result = usable_horizon(scores, per_axis, patience=patience, valid=valid, gated=gated)
    assert result.steps.shape == (2,)
    for mode in ("first_failure", "last_recovery", "fraction_usable"):
        for share in (0.5, per_axis):
            result = usable_horizon(
                scores,
                per_axis,
                patience=patience,
                recover_thresholds=per_axis,
                recovery_patience=patience,
                min_defined=share,
                mode=mode,  # type: ignore[arg-type]
            )
            assert result.axis_reason.shape == scores.shape[:2]


def test_embeddings_and_latents() -> None:
    z = torch.empty(2, 5, 7, device="meta")
    valid = torch.empty(2, 5, dtype=torch.bool, device="meta")
    for curve in (first_frame_similarity, adjacent_similarity, subject_consistency):
        found = curve(z, valid=valid)
        assert found.values.shape == found.reason.shape == (2, 4)
        assert found.mean.device.type == "meta"
    by_lag = similarity_by_lag(z, (1, 2, 9), valid=valid)
    assert by_lag.values.shape == (2, 3)
    assert by_lag.area.shape == (2,)
    for distance in (latent_cosine, latent_l2):
        assert latent_reason(distance(z, z), z, z).shape == (2, 5)
    drift = quality_drift(frame_quality(frames()))
    assert drift.ratio["contrast"].shape == (2, 3)


def test_drift() -> None:
    curve = torch.empty(3, 2, 9, device="meta")
    valid = torch.empty(2, 9, dtype=torch.bool, device="meta")
    per_row = torch.empty(2, device="meta")
    for found in (
        drift_slope(curve, valid=valid),
        end_drift(curve, valid=valid),
        segment_drift(curve, valid=valid),
        drift_onset(curve, valid=valid, autocorrelation=per_row),
    ):
        assert found[0].shape == found[-1].shape == (3, 2)
        assert found[0].device.type == "meta"
    assert skill(curve, curve[0], curve[0, 0], per_row[:, None], valid=valid).score.shape == (
        3,
        2,
        9,
    )
    growth = error_accumulation(curve, curve, valid=valid)
    assert growth.ratio.shape == (3, 2, 9)
    assert growth.exponent.shape == growth.reason["slope"].shape == (3, 2)


def test_tolerant() -> None:
    rollouts = frames()
    valid = torch.empty(2, 4, dtype=torch.bool, device="meta")
    found = time_tolerant(mse, rollouts, rollouts, 2, valid=valid, target_valid=valid)
    assert found.values.shape == found.lag.shape == (2, 3)
    moved = shift_tolerant(mse, rollouts, rollouts, 1)
    assert moved.values.shape == (2, 4)
    assert moved.shift.shape == (2, 4, 2)
    assert moved.shift.device.type == "meta"


def test_latency_with_a_given_number_of_actions() -> None:
    commands = torch.empty(12, 20, dtype=torch.int64, device="meta")
    response = torch.empty(12, 20, 3, device="meta")
    groups = torch.empty(12, dtype=torch.int64, device="meta")
    for ids in (None, groups):
        found = response_latency(commands, response, response, num_actions=5, groups=ids, draws=9)
        assert found.excess.rollouts.gains.shape == (12, 3)
        assert found.excess.pooled.lag.device.type == "meta"


def test_action_recovery() -> None:
    features = torch.empty(4, 6, 3, device="meta")
    actions = torch.empty(4, 6, dtype=torch.int64, device="meta")
    groups = torch.empty(4, dtype=torch.int64, device="meta")
    probe = fit_probe(features, actions, groups, 5)
    found = action_recovery(probe.predict(features, groups), actions, 5)
    assert found.per_step.score.shape == (6,)
    assert recovered_share(found.per_row, found).value.shape == (4,)
    values = fit_probe(features, features, groups).predict(features, groups)
    assert vector_recovery(values, features.double()).r2.shape == (3,)
    assert with_context(features).device.type == "meta"


def test_motion() -> None:
    for dtype in (torch.uint8, torch.float16, torch.float64):
        rollouts = torch.empty(2, 4, 3, 32, 36, dtype=dtype, device="meta")
        valid = torch.empty(2, 4, dtype=torch.bool, device="meta")
        motion = global_motion(rollouts, valid=valid, max_shift=0.25)
        assert motion.shift.shape == (2, 3, 2)
        assert motion.reason.device.type == "meta"
        assert phase_shift(rollouts, rollouts, window=None).peak.shape == (2, 4)
        similarity = global_similarity(rollouts, valid=valid)
        assert similarity.zoom.shape == similarity.reason.shape == (2, 3)


def test_responses_of_scripts() -> None:
    clips = torch.empty(2, 3, 4, 3, 20, 24, dtype=torch.uint8, device="meta")
    products = script_products(clips, clips)
    assert script_response(products).agreement.shape == (2, 4)
    assert script_match(products).match.shape == (2, 4)
    random = torch.ones(3, dtype=torch.bool, device="meta")
    assert script_delta_psnr(products, random).delta.shape == (2, 4)
    assert script_cross(products).table.shape == (2, 3, 3)
    assert windowed_response(clips, clips, windows=2).agreement.shape == (2, 4)
    assert start_difference(clips[:, :, 0]).shape == (2, 3)
    assert motion_features(frames()).values.shape == (2, 3, len(MOTION_FEATURES))
