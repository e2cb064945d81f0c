"""Action recovery."""
from wmscore.functional.recovery.probe import *
from wmscore.functional.recovery.statistics import *
