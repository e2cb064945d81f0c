"""Recorded and generated episodes: clips, datasets, and what is known about them."""

from wmscore.episodes.episode import Episode, EpisodeError, EpisodeKey, EpisodeSource, SourceFacts

__all__ = ["Episode", "EpisodeError", "EpisodeKey", "EpisodeSource", "SourceFacts"]
