"""One canonical action timeline, converters to what models take, and what each loses."""

from wmscore.timeline.alignment import Alignment, align, unalign
from wmscore.timeline.converter import Converter
from wmscore.timeline.loss import Conversion, Loss, LossKind, gather_losses
from wmscore.timeline.tables import ByName, ByTable, NearestAction
from wmscore.timeline.timeline import Timeline
from wmscore.timeline.vectors import SameVector

__all__ = [
    "Alignment",
    "ByName",
    "ByTable",
    "Conversion",
    "Converter",
    "Loss",
    "LossKind",
    "NearestAction",
    "SameVector",
    "Timeline",
    "align",
    "gather_losses",
    "unalign",
]
