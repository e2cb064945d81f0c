"""What the Scorer says of frames: the panel's measure, its companions, and their quality."""

from dataclasses import replace

import pytest
import torch

from tests.panels import sprite_panel
from wmscore import functional as F
from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.replay import freeze_panel, render_truth, replay
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scorer.measures import is_variant
from wmscore.scores import Scores
from wmscore.testing import faults
from wmscore.worlds import Frozen, WorldModel
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=48, width=48)
DELAYED = faults.Faulty(WORLD, faults.DelayedActions(2))


def panel_of(measure: str) -> tuple[Panel, Rollouts]:
    axes = [{"axis": "perceptual_drift", "threshold": 0.6, "measure": measure}]
    panel = sprite_panel(scenarios=2, seeds=2, horizon=6, axes=axes)
    return freeze_panel(panel, render_truth(panel, WORLD), fps=10)


def batches(measure: str, model: WorldModel) -> tuple[Panel, list[Rollouts]]:
    panel, truth = panel_of(measure)
    return panel, list(replay(panel, model, truth, batch_size=4))


def of_size(panel: Panel, height: int | None, width: int | None) -> Panel:
    """The panel for frames of another size; of any size for None."""
    data = panel.model_dump()
    size = None if height is None else {"height": height, "width": width, "fps": 10.0}
    data["contract"]["observation"] = size
    return Panel.from_dict(data)


def score(panel: Panel, rollouts: list[Rollouts]) -> Scores:
    scorer = Scorer(panel)
    for batch in rollouts:
        scorer.update(batch)
    return scorer.compute()


def commanded(rollouts: list[Rollouts]) -> tuple[torch.Tensor, torch.Tensor]:
    whole = Rollouts.concat(rollouts)
    whole = whole[whole.branch == 0]
    order = (whole.scenario * 10 + whole.seed).argsort()
    whole = whole[order]
    return whole.frames, whole.reference[whole.reference_index]


@pytest.mark.parametrize(
    ("measure", "name"),
    [
        ("haarpsi", "haarpsi_full"),
        ("haarpsi_shift1", "haarpsi_full_shift1"),
        ("ssim", "ssim"),
        ("ms_ssim", "ms_ssim_3"),
        ("flip", "flip"),
    ],
)
def test_the_score_is_the_measure_that_the_panel_chose(measure, name):
    panel, rollouts = batches(measure, DELAYED)
    scores = score(panel, rollouts)
    frames, target = (x[:, 1:] for x in commanded(rollouts))
    expected = {
        "haarpsi": lambda: F.haarpsi(frames, target),
        "haarpsi_shift1": lambda: F.haarpsi(frames, target, shift=1),
        "ssim": lambda: F.ssim(frames, target),
        "ms_ssim": lambda: F.ms_ssim(frames, target).values,
        "flip": lambda: F.flip(frames, target),
    }[measure]()
    torch.testing.assert_close(scores.measures[name].values, expected, rtol=0, atol=0)
    score_of = 1 - expected if measure == "flip" else expected.clamp_min(0)
    torch.testing.assert_close(scores.axes["perceptual_drift"].values, score_of, rtol=0, atol=0)
    assert 0 < float(score_of.min()) < 0.9
    assert {"haarpsi_full", "ssim", "psnr", "psnr_moving"} <= scores.measures.keys()
    assert scores.measures[name].high == 1.0
    assert scores.measures["psnr_moving"].unit == "dB"


def test_order_and_splitting_do_not_matter_without_branches():
    """A panel without action_response: every batch holds commanded rollouts only."""
    panel, rollouts = batches("haarpsi", DELAYED)
    whole = Rollouts.concat(rollouts)
    once = score(panel, [whole])
    assert not torch.equal(
        once.measures["psnr"].values[:2], once.measures["psnr"].values[2:]
    )  # the scenarios differ, so that a row in the wrong place shows
    shuffled = whole[torch.randperm(len(whole), generator=torch.Generator().manual_seed(1))]
    for order in ([whole[torch.arange(len(whole)).flip(0)]], [shuffled], shuffled.split(3)):
        found = score(panel, list(order))
        for name, curve in once.measures.items():
            torch.testing.assert_close(
                found.measures[name].values, curve.values, rtol=0, atol=0, equal_nan=True
            )
        assert torch.equal(found.horizon.steps, once.horizon.steps)


def test_psnr_of_what_moves_in_the_reference():
    panel, rollouts = batches("haarpsi", Frozen())
    curve = score(panel, rollouts).measures["psnr_moving"]
    frames, target = commanded(rollouts)
    moves = (target[:, 1:] != target[:, :-1]).any(2)
    expected = F.psnr(frames[:, 1:], target[:, 1:], mask=moves)
    torch.testing.assert_close(curve.values, expected, rtol=0, atol=0, equal_nan=True)
    assert (curve.reason == 0).equal(~expected.isnan())


def test_freezing_and_blur_show_without_a_reference():
    truth = score(*batches("haarpsi", WORLD))
    frozen = score(*batches("haarpsi", Frozen()))
    assert (frozen.measures["change"].values == 0).all()
    assert (truth.measures["change"].values > 0).any()
    panel, rollouts = batches("haarpsi", WORLD)

    def blur(batch: Rollouts) -> Rollouts:
        planes = batch.frames[:, 1:].flatten(0, 2)[:, None].float()
        soft = torch.nn.functional.avg_pool2d(planes, 5, 1, 2).round().to(torch.uint8)
        frames = batch.frames.clone()
        frames[:, 1:] = soft.view_as(frames[:, 1:])
        return replace(batch, frames=frames)

    blurred = score(panel, [blur(batch) for batch in rollouts])
    for name in ("sharpness_gradient", "sharpness_laplacian"):
        assert (blurred.measures[name].values < 0.7 * truth.measures[name].values).all()
    assert not blurred.fault.any()


@pytest.mark.parametrize("side", [9, 13])
@pytest.mark.parametrize("measure", ["haarpsi", "ssim", "ms_ssim"])
def test_frames_too_small_for_a_measure_are_undefined_with_a_reason(measure, side):
    panel, rollouts = batches(measure, DELAYED)
    panel = of_size(panel, side, side)
    small = [
        replace(
            batch,
            panel=panel.fingerprint,
            frames=batch.frames[..., :side, :side],
            reference=batch.reference[..., :side, :side],
            labels=None,
            reference_labels=None,
        )
        for batch in rollouts
    ]
    scores = score(panel, small)
    undefined = {"haarpsi_full"} if side == 13 else {"haarpsi_full", "ssim"}
    for name in ("haarpsi_full", "ssim", "psnr"):
        lack = (scores.measures[name].reason == int(Reason.TOO_SMALL)).all()
        assert bool(lack) == (name in undefined)
    is_scored = not scores.axes["perceptual_drift"].values.isnan().any()
    assert is_scored == (side == 13 and measure != "haarpsi")
    # A gate that cannot be judged is not passed.
    assert (scores.fault == (0 if is_scored else int(Reason.TOO_SMALL))).all()
    assert scores.horizon.defined.all() == is_scored


def test_a_step_with_nan_is_undefined_in_every_curve():
    panel, rollouts = batches("haarpsi", DELAYED)
    (batch,) = [Rollouts.concat(rollouts)]
    frames = batch.frames.float() / 255
    row = int((batch.branch == 0).nonzero()[0, 0])
    frames[row, 3, 0, 5, 5] = torch.nan
    broken = replace(batch, frames=frames, reference=batch.reference.float() / 255)
    scores = score(panel, [broken])
    where = int(batch.scenario[row]) * 2 + int(batch.seed[row])
    for name, curve in scores.measures.items():
        assert curve.reason[where, 2] == int(Reason.NON_FINITE), name
        assert curve.values[where, 2].isnan(), name
    assert scores.measures["change"].reason[where, 3] == int(Reason.NON_FINITE)  # the frame before
    assert scores.measures["contrast"].reason[where, 3] == 0


@pytest.mark.parametrize("measure", ["haarpsi", "ssim", "ms_ssim", "flip"])
def test_a_reference_with_nan_leaves_no_nan_without_a_reason(measure):
    panel, rollouts = batches(measure, DELAYED)
    batch = Rollouts.concat(rollouts)
    reference = batch.reference.float() / 255
    reference[0, 3, 0, 5, 5] = torch.nan
    scores = score(panel, [replace(batch, frames=batch.frames.float() / 255, reference=reference)])
    for name, curve in {**scores.measures, **scores.axes}.items():
        assert (curve.values.isnan() == (curve.reason != 0)).all(), name
    assert scores.axes["perceptual_drift"].values.isnan().any()


def test_frames_of_another_size_or_of_no_colour_are_refused():
    panel, truth = panel_of("haarpsi")
    panel = of_size(panel, None, None)  # where it asks for one, another is a fault of the row
    truth = replace(truth, panel=panel.fingerprint)
    rollouts = list(replay(panel, DELAYED, truth, batch_size=2))
    scorer = Scorer(panel)
    scorer.update(rollouts[0])
    cut = {"frames": rollouts[1].frames[..., :40], "reference": rollouts[1].reference[..., :40]}
    cut |= {"labels": None, "reference_labels": None}
    with pytest.raises(ValueError, match=r"frames: expected \[C, H, W\] = \[3, 48, 48\] as in"):
        scorer.update(replace(rollouts[1], **cut))
    four = {
        name: torch.cat([getattr(rollouts[0], name)] * 2, 2)[:, :, :4]
        for name in ("frames", "reference")
    }
    with pytest.raises(ValueError, match="measure of perceptual_drift, 'haarpsi', needs 1 or 3"):
        Scorer(panel).update(replace(rollouts[0], **four))


@pytest.mark.parametrize(
    ("name", "measure", "expected"),
    [
        ("haarpsi_full", "haarpsi", True),
        ("haarpsi", "haarpsi", True),
        ("haarpsi_full_shift1", "haarpsi", False),
        ("haarpsi_full_shift1", "haarpsi_shift1", True),
        ("haarpsi", "haarpsi_shift1", False),
        ("ms_ssim_3", "ms_ssim", True),
        ("ssim", "ms_ssim", False),
    ],
)
def test_variants_of_a_measure(name, measure, expected):
    assert is_variant(name, measure) is expected
