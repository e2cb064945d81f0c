"""The class door: the same numbers as the functions, in pieces, after a sync, and reset."""

import pytest
import torch

from wmscore import functional as F
from wmscore.metrics import FLIP, PSNR, SSIM, HaarPSI, MultiScaleSSIM


@pytest.mark.parametrize(
    ("metric", "function"),
    [
        (PSNR, F.psnr),
        (SSIM, F.ssim),
        (HaarPSI, F.haarpsi),
        (FLIP, F.flip),
        (MultiScaleSSIM, lambda preds, target: F.ms_ssim(preds, target).values),
    ],
)
def test_class_and_function_agree_in_pieces(metric, function):
    generator = torch.Generator().manual_seed(0)
    preds, target = torch.randint(256, (2, 6, 3, 16, 16), dtype=torch.uint8, generator=generator)
    whole = function(preds, target).double()
    door = metric()
    for piece in (slice(0, 1), slice(1, 4), slice(4, 6)):
        door.update(preds[piece], target[piece])
    torch.testing.assert_close(door.compute(), whole, rtol=0, atol=0)
    mean = metric(reduction="mean")
    mean.update(preds.view(2, 3, 3, 16, 16), target.view(2, 3, 3, 16, 16))
    torch.testing.assert_close(mean.compute(), whole.mean())
    door.reset()
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert door.compute().shape == (0,)


def test_two_ranks_are_joined():
    """Torchmetrics replaces the list by one tensor when it joins ranks."""
    both = [torch.full((2, 3, 16, 16), v, dtype=torch.uint8) for v in (10, 11)]

    def gather(value: torch.Tensor, group: object = None) -> list[torch.Tensor]:
        return [value, value + 1]

    door = PSNR(dist_sync_fn=gather, distributed_available_fn=lambda: True)
    door.update(both[0], both[1])
    alone = F.psnr(both[0], both[1])
    torch.testing.assert_close(door.compute(), torch.cat([alone, alone + 1]))


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="reduction: expected 'none' or 'mean', got 'sum'"):
        PSNR(reduction="sum")


@pytest.mark.parametrize(("metric", "sides"), [(HaarPSI, (64, 128)), (MultiScaleSSIM, (32, 64))])
def test_two_measures_do_not_mix(metric, sides):
    small, large = (torch.zeros(1, 3, side, side, dtype=torch.uint8) for side in sides)
    door = metric()
    door.update(small, small)
    with pytest.raises(ValueError, match="another measure; use one metric for each size"):
        door.update(large, large)
    assert door.compute().flatten().tolist() == [1.0]
    door.reset()
    door.update(large, large)
