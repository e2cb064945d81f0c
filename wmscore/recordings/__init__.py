"""Replayed rollouts in a folder: the panel, and the truth and the rollouts in parts."""

from wmscore.recordings.record import Recording, record

__all__ = ["Recording", "record"]
