"""Colours: the same numbers as FFmpeg's own pixels, whichever way is the fast one."""

import pytest
import torch

from wmscore.video.pictures import Pictures

av = pytest.importorskip("av")

FORMATS = ("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "gbrp", "bgr0", "bgra", "gray", "rgb24",
           "yuv420p10le", "nv12")  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_planes_and_pixels_have_the_same_numbers(form: str) -> None:
    import numpy as np

    random, pictures = np.random.default_rng(0), Pictures()
    for height, width in [(16, 32), (17, 33), (34, 46), (18, 48), (33, 56), (2, 2), (16, 32)]:
        frame = av.VideoFrame(width, height, form)
        for plane in frame.planes:
            plane.update(random.integers(0, 256, plane.buffer_size, dtype=np.uint8).tobytes())
        out = torch.zeros(3, height, width, dtype=torch.uint8)
        pictures.write(frame, out)
        expected = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
        assert torch.equal(out, expected), (height, width)
        if form == "rgb24":
            assert expected.float().std() > 50
