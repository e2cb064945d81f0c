"""Fused ops on frames: torch functions, overridden by compiled kernels where they were built."""

from wmscore.ops._library import Kernels, has_kernel, kernels, load
from wmscore.ops.assignment import assignment
from wmscore.ops.block_flow import BlockCosts, block_flow
from wmscore.ops.feature_distance import feature_distance, feature_distance_backward
from wmscore.ops.first_crossing import Crossings, StepCounts, first_crossing
from wmscore.ops.frame_errors import FrameErrors, frame_errors
from wmscore.ops.frame_flip import frame_flip
from wmscore.ops.frame_haarpsi import HAARPSI_ALPHA, FrameHaarpsi, frame_haarpsi
from wmscore.ops.frame_quality import QualitySums, frame_quality
from wmscore.ops.frame_region_errors import frame_region_errors
from wmscore.ops.frame_ssim import FrameSsim, frame_ssim, frame_ssim_backward
from wmscore.ops.label_overlap import label_overlap
from wmscore.ops.label_pool import label_pool
from wmscore.ops.label_present import label_present
from wmscore.ops.label_propagate import label_propagate
from wmscore.ops.phase import correlation_peak, cross_power, edge_orientation, shift_refine
from wmscore.ops.response_products import response_products

__all__ = [
    "BlockCosts",
    "Crossings",
    "FrameErrors",
    "FrameHaarpsi",
    "FrameSsim",
    "HAARPSI_ALPHA",
    "Kernels",
    "QualitySums",
    "StepCounts",
    "assignment",
    "block_flow",
    "correlation_peak",
    "cross_power",
    "edge_orientation",
    "feature_distance",
    "feature_distance_backward",
    "first_crossing",
    "frame_errors",
    "frame_flip",
    "frame_haarpsi",
    "frame_quality",
    "frame_region_errors",
    "frame_ssim",
    "frame_ssim_backward",
    "has_kernel",
    "kernels",
    "label_overlap",
    "label_pool",
    "label_present",
    "label_propagate",
    "response_products",
    "shift_refine",
]

load()
