"""Recorded and generated episodes: clips, datasets, and what is known about them."""

from wmscore.episodes.clips import ClipFolder
from wmscore.episodes.cosmos import CosmosAnnotations
from wmscore.episodes.cut import ClipCut, cut_clip, repeated_frames
from wmscore.episodes.episode import (
    Episode,
    EpisodeError,
    EpisodeKey,
    EpisodeSource,
    EpisodeTooShortError,
    SourceFacts,
)
from wmscore.episodes.naming import ClipEntry
from wmscore.episodes.timed import TimedAction, read_timed_script, timed_actions

__all__ = [
    "ClipCut",
    "ClipEntry",
    "ClipFolder",
    "CosmosAnnotations",
    "Episode",
    "EpisodeError",
    "EpisodeKey",
    "EpisodeSource",
    "EpisodeTooShortError",
    "SourceFacts",
    "TimedAction",
    "cut_clip",
    "read_timed_script",
    "repeated_frames",
    "timed_actions",
]
