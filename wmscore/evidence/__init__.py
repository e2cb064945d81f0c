"""Evidence: tables, traces and the postmortem of a comparison; it renders what scores found."""

from wmscore.evidence.folder import check_folder, write_evidence
from wmscore.evidence.reading import StoredScores, read_scores
from wmscore.evidence.report import write_report
from wmscore.evidence.table import (
    action_table,
    codec_lines,
    conversion_lines,
    horizon_table,
    ranked,
    summary_table,
    unjudged,
    unmatched_rows,
    write_metrics,
)
from wmscore.evidence.traces import Trace, choose_traces

__all__ = [
    "StoredScores",
    "Trace",
    "action_table",
    "check_folder",
    "choose_traces",
    "codec_lines",
    "conversion_lines",
    "horizon_table",
    "ranked",
    "read_scores",
    "summary_table",
    "unjudged",
    "unmatched_rows",
    "write_evidence",
    "write_metrics",
    "write_report",
]
