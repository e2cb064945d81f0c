"""CUDA kernels on the CPU: a .cu file compiled against the header in `tests/cuda_emulation`."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
ELEMENTS = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]  # kernels.h


class Frames(ctypes.Structure):
    """`wmscore::Frames` of kernels.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("image", ctypes.c_int64),
        ("channel", ctypes.c_int64),
        ("pixel", ctypes.c_int64),
    ]

    @classmethod
    def of(cls, frames: torch.Tensor) -> "Frames":
        image, channel, _, pixel = frames.stride()
        return cls(frames.data_ptr(), image, channel, pixel)


class Images(ctypes.Structure):
    """`wmscore::Images` of kernels.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("image", ctypes.c_int64),
        ("channel", ctypes.c_int64),
        ("row", ctypes.c_int64),
        ("pixel", ctypes.c_int64),
    ]

    @classmethod
    def of(cls, frames: torch.Tensor) -> "Images":
        return cls(frames.data_ptr(), *frames.stride())


class Region(ctypes.Structure):
    """`wmscore::Region` of kernels.h."""

    _fields_ = [
        ("mask", Frames),
        ("previous", Frames),
        ("threshold", ctypes.c_double),
        ("has_mask", ctypes.c_bool),
        ("has_previous", ctypes.c_bool),
    ]

    @classmethod
    def of(
        cls, mask: torch.Tensor | None, previous: torch.Tensor | None, threshold: float
    ) -> "Region":
        nothing = Frames(None, 0, 0, 0)
        return cls(
            nothing if mask is None else Frames.of(mask[:, None]),
            nothing if previous is None else Frames.of(previous),
            threshold,
            mask is not None,
            previous is not None,
        )


class Features(ctypes.Structure):
    """`wmscore::Features` of kernels.h."""

    _fields_ = [
        ("preds", Frames),
        ("target", Frames),
        ("channels", ctypes.c_int64),
        ("pixels", ctypes.c_int64),
        ("targets", ctypes.c_int64),
        ("index", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("normalize", ctypes.c_bool),
    ]

    @classmethod
    def of(
        cls,
        preds: torch.Tensor,
        target: torch.Tensor,
        index: torch.Tensor | None,
        weight: torch.Tensor | None,
        normalize: bool,
    ) -> "Features":
        return cls(
            Frames.of(preds),
            Frames.of(target),
            preds.shape[1],
            preds.shape[2:].numel(),
            target.shape[0],
            None if index is None else index.data_ptr(),
            None if weight is None else weight.data_ptr(),
            normalize,
        )


class FeatureGradients(ctypes.Structure):
    """`wmscore::FeatureGradients` of kernels.h."""

    _fields_ = [("preds", Frames), ("target", Frames)]

    @classmethod
    def of(cls, preds: torch.Tensor | None, target: torch.Tensor | None) -> "FeatureGradients":
        nothing = Frames(None, 0, 0, 0)
        return cls(*(nothing if x is None else Frames.of(x) for x in (preds, target)))


class LabelMaps(ctypes.Structure):
    """`wmscore::LabelMaps` of kernels.h."""

    _fields_ = [
        ("preds", Frames),
        ("target", Frames),
        ("bytes", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("targets", ctypes.c_int64),
        ("index", ctypes.c_void_p),
        ("preds_ids", ctypes.c_void_p),
        ("target_ids", ctypes.c_void_p),
        ("preds_objects", ctypes.c_int64),
        ("target_objects", ctypes.c_int64),
    ]

    @classmethod
    def of(
        cls,
        preds: torch.Tensor,
        target: torch.Tensor,
        preds_ids: torch.Tensor,
        target_ids: torch.Tensor,
        index: torch.Tensor | None,
    ) -> "LabelMaps":
        return cls(
            Frames.of(preds),
            Frames.of(target),
            preds.element_size(),
            *preds.shape,
            target.shape[0],
            None if index is None else index.data_ptr(),
            preds_ids.data_ptr(),
            target_ids.data_ptr(),
            preds_ids.shape[1],
            target_ids.shape[1],
        )


class LabelMap(ctypes.Structure):
    """`wmscore::LabelMap` of kernels.h."""

    _fields_ = [
        ("labels", Frames),
        ("bytes", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        ("pixels", ctypes.c_int64),
        ("valid", ctypes.c_void_p),
    ]

    @classmethod
    def of(cls, labels: torch.Tensor, valid: torch.Tensor | None) -> "LabelMap":
        return cls(
            Frames.of(labels),
            labels.element_size(),
            *labels.shape[:2],
            labels.shape[2:].numel(),
            None if valid is None else valid.data_ptr(),
        )


class PresentLabels(ctypes.Structure):
    """`wmscore::PresentLabels` of kernels.h."""

    _fields_ = [("present", ctypes.c_void_p), ("extremes", ctypes.c_void_p)]


class LabelCounts(ctypes.Structure):
    """`wmscore::LabelCounts` of kernels.h."""

    _fields_ = [
        ("joint", ctypes.c_void_p),
        ("target_shapes", ctypes.c_void_p),
        ("preds_shapes", ctypes.c_void_p),
        ("stray", ctypes.c_void_p),
    ]


class LabelImages(ctypes.Structure):
    """`wmscore::LabelImages` of kernels.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("image", ctypes.c_int64),
        ("row", ctypes.c_int64),
        ("pixel", ctypes.c_int64),
        ("bytes", ctypes.c_int32),
    ]


class Pool(ctypes.Structure):
    """`wmscore::Pool` of kernels.h."""

    _fields_ = [
        ("features", Images),
        ("channels", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("labels", LabelImages),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("ids", ctypes.c_void_p),
        ("ids_frame", ctypes.c_int64),
        ("ids_step", ctypes.c_int64),
        ("count", ctypes.c_int64),
    ]

    @classmethod
    def of(cls, features: torch.Tensor, labels: torch.Tensor, ids: torch.Tensor) -> "Pool":
        return cls(
            Images.of(features),
            *features.shape[1:],
            LabelImages(labels.data_ptr(), *labels.stride(), labels.element_size()),
            *labels.shape[1:],
            ids.data_ptr(),
            *ids.stride(),
            ids.shape[1],
        )


class Propagation(ctypes.Structure):
    """`wmscore::Propagation` of kernels.h."""

    _fields_ = [
        ("query", Images),
        ("memory", Images),
        ("memory_batch", ctypes.c_int64),
        ("labels", Images),
        ("labels_batch", ctypes.c_int64),
        ("usable", ctypes.c_void_p),
        ("batch", ctypes.c_int64),
        ("memories", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("classes", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("radius", ctypes.c_int64),
        ("topk", ctypes.c_int64),
        ("temperature", ctypes.c_double),
    ]

    @classmethod
    def of(
        cls,
        query: torch.Tensor,
        memory: torch.Tensor,
        labels: torch.Tensor,
        radius: int,
        topk: int,
        temperature: float,
        usable: torch.Tensor | None,
    ) -> "Propagation":
        batch, memories, classes, height, width = labels.shape
        return cls(
            Images.of(query),
            Images(memory.data_ptr(), *memory.stride()[1:]),
            memory.stride(0),
            Images(labels.data_ptr(), *labels.stride()[1:]),
            labels.stride(0),
            None if usable is None else usable.data_ptr(),
            batch,
            memories,
            query.shape[1],
            classes,
            height,
            width,
            max(0, min(radius, max(height, width) - 1)),
            topk,
            temperature,
        )


class BlockMatching(ctypes.Structure):
    """`wmscore::BlockMatching` of kernels.h."""

    _fields_ = [
        ("frames", Images),
        ("frames_batch", ctypes.c_int64),
        ("following", Images),
        ("following_batch", ctypes.c_int64),
        ("start", ctypes.c_void_p),
        ("batch", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("block", ctypes.c_int64),
        ("radius", ctypes.c_int64),
    ]

    @classmethod
    def of(
        cls,
        frames: torch.Tensor,
        following: torch.Tensor,
        block: int,
        radius: int,
        start: torch.Tensor | None,
    ) -> "BlockMatching":
        views = [
            x
            for frame in (frames, following)
            for x in (Images(frame.data_ptr(), *frame.stride()[1:]), frame.stride(0))
        ]
        return cls(
            *views, start if start is None else start.data_ptr(), *frames.shape, block, radius
        )


class Clips(ctypes.Structure):
    """`wmscore::Clips` of kernels.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("row", ctypes.c_int64),
        ("step", ctypes.c_int64),
        ("channel", ctypes.c_int64),
        ("line", ctypes.c_int64),
        ("pixel", ctypes.c_int64),
    ]

    @classmethod
    def of(cls, frames: torch.Tensor) -> "Clips":
        return cls(frames.data_ptr(), frames.shape[0], *frames.stride())


class Responses(ctypes.Structure):
    """`wmscore::Responses` of kernels.h."""

    _fields_ = [
        ("preds", Clips),
        ("target", Clips),
        ("groups", ctypes.c_int64),
        ("scripts", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("preds_rows", ctypes.c_void_p),
        ("target_rows", ctypes.c_void_p),
        ("present", ctypes.c_void_p),
        ("shift", ctypes.c_void_p),
        ("still", ctypes.c_double),
    ]

    @classmethod
    def of(
        cls,
        preds: torch.Tensor,
        target: torch.Tensor,
        preds_rows: torch.Tensor,
        target_rows: torch.Tensor,
        present: torch.Tensor | None,
        shift: torch.Tensor | None,
        still: float,
    ) -> "Responses":
        return cls(
            Clips.of(preds),
            Clips.of(target),
            *preds_rows.shape,
            *preds.shape[1:],
            preds_rows.data_ptr(),
            target_rows.data_ptr(),
            None if present is None else present.data_ptr(),
            None if shift is None else shift.data_ptr(),
            still,
        )


class Strided(ctypes.Structure):
    """`wmscore::Strided` of kernels.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("axis", ctypes.c_int64),
        ("rollout", ctypes.c_int64),
        ("step", ctypes.c_int64),
    ]

    @classmethod
    def of(cls, tensor: torch.Tensor | None) -> "Strided":
        if tensor is None:
            return cls(None, 0, 0, 0)
        strides = [
            0 if size == 1 else stride
            for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
        ]
        return cls(tensor.data_ptr(), *strides)


class ScoreCurves(ctypes.Structure):
    """`wmscore::ScoreCurves` of kernels.h."""

    _fields_ = [
        ("scores", Strided),
        ("threshold", Strided),
        ("recover", Strided),
        ("patience", Strided),
        ("recovery_patience", Strided),
        ("valid", Strided),
        ("gated", ctypes.c_void_p),
        ("axes", ctypes.c_int64),
        ("rollouts", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        ("above", ctypes.c_bool),
    ]

    @classmethod
    def of(
        cls,
        scores: torch.Tensor,
        threshold: torch.Tensor,
        patience: torch.Tensor,
        recover_threshold: torch.Tensor | None = None,
        recovery_patience: torch.Tensor | None = None,
        valid: torch.Tensor | None = None,
        gated: torch.Tensor | None = None,
        above: bool = False,
    ) -> "ScoreCurves":
        sides = (scores, threshold, recover_threshold, patience, recovery_patience, valid)
        gate = None if gated is None else gated.data_ptr()
        return cls(*map(Strided.of, sides), gate, *scores.shape, above)


class FoundCrossings(ctypes.Structure):
    """`wmscore::FoundCrossings` of kernels.h."""

    _fields_ = [
        ("curves", ctypes.c_void_p),
        ("margins", ctypes.c_void_p),
        ("counts", ctypes.c_void_p),
    ]


@cache
def _compile(op: str, folder: Path) -> ctypes.CDLL:
    library = folder / f"{op}.so"
    subprocess.run(
        [
            *("g++", "-x", "c++", "-std=c++17", "-O1", "-shared", "-fPIC"),
            *("-I", ROOT / "tests/cuda_emulation", ROOT / f"csrc/cuda/{op}.cu", "-o", library),
        ],
        check=True,
    )
    return ctypes.CDLL(str(library))


@pytest.fixture
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ctypes.CDLL]:
    """A function from an op's name to its CUDA kernel, compiled for the CPU."""
    if shutil.which("g++") is None and not os.environ.get("WMSCORE_REQUIRE_KERNELS"):
        pytest.skip("no g++ to compile the emulated kernel with")
    folder = tmp_path_factory.getbasetemp() / "emulated"
    folder.mkdir(exist_ok=True)
    return lambda op: _compile(op, folder)
