"""Summaries of multi-object tracking: HOTA, CLEAR MOT, identity F1, DAVIS J and F.

From label maps by :func:`tracking_summary`, or from any similarity ``[B, T, N, M]`` of the objects
of two frames (boxes, masks, embeddings) by a function for each. All rollouts are worked on at once.
"""

from wmscore.functional.tracking.boundary import BOUNDARY_TOLERANCE, boundary_f
from wmscore.functional.tracking.clear import Clear, clear
from wmscore.functional.tracking.hota import HOTA_ALPHAS, Hota, HotaScores, hota
from wmscore.functional.tracking.identity_f1 import IdentityF1, identity_f1
from wmscore.functional.tracking.regions import RegionAndBoundary, region_and_boundary
from wmscore.functional.tracking.summary import TrackingSummary, tracking_summary

__all__ = [
    "BOUNDARY_TOLERANCE",
    "HOTA_ALPHAS",
    "Clear",
    "Hota",
    "HotaScores",
    "IdentityF1",
    "RegionAndBoundary",
    "TrackingSummary",
    "boundary_f",
    "clear",
    "hota",
    "identity_f1",
    "region_and_boundary",
    "tracking_summary",
]
