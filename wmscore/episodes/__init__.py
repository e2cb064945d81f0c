"""Recorded and generated episodes: clips, datasets, and what is known about them."""

from wmscore.episodes.action_files import read_action_rows
from wmscore.episodes.arrays import ArrayEpisodes
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
from wmscore.episodes.lerobot import LeRobotEpisodes
from wmscore.episodes.minari import MinariEpisodes
from wmscore.episodes.naming import ROW_PATTERN, ClipEntry, row_name
from wmscore.episodes.panels import panel_from_episodes
from wmscore.episodes.robomimic import RobomimicEpisodes
from wmscore.episodes.seams import SeamDuplicates, drop_frames, seam_duplicates
from wmscore.episodes.sidecars import VideoEpisodes
from wmscore.episodes.timed import TimedAction, read_timed_script, timed_actions
from wmscore.episodes.windows import EpisodeWindows, episode_length

__all__ = [
    "ROW_PATTERN",
    "ArrayEpisodes",
    "ClipCut",
    "ClipEntry",
    "ClipFolder",
    "CosmosAnnotations",
    "Episode",
    "EpisodeError",
    "EpisodeKey",
    "EpisodeSource",
    "EpisodeTooShortError",
    "EpisodeWindows",
    "LeRobotEpisodes",
    "MinariEpisodes",
    "RobomimicEpisodes",
    "SeamDuplicates",
    "SourceFacts",
    "TimedAction",
    "VideoEpisodes",
    "cut_clip",
    "drop_frames",
    "episode_length",
    "panel_from_episodes",
    "read_action_rows",
    "read_timed_script",
    "repeated_frames",
    "row_name",
    "seam_duplicates",
    "timed_actions",
]
