"""Replayed rollouts in a folder: the panel, and the truth and the rollouts in parts.

`record` writes them and goes on where it was interrupted; `Recording` reads them. The module
`wmscore.recordings.layout` says what lies where.
"""

from wmscore.recordings.reading import Recording, join_recordings
from wmscore.recordings.recorder import Recorded, record, record_shard
from wmscore.recordings.world import RecordedTruth
from wmscore.rowfaults import RowFault

__all__ = [
    "Recorded",
    "RecordedTruth",
    "Recording",
    "RowFault",
    "join_recordings",
    "record",
    "record_shard",
]
