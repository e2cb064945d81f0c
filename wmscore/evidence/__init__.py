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
from wmscore.evidence.tracefile import StoredTrace, read_trace
from wmscore.evidence.traces import Trace, choose_traces
from wmscore.evidence.verification import Verification, verify_evidence

__all__ = [
    "StoredScores",
    "StoredTrace",
    "Trace",
    "Verification",
    "action_table",
    "check_folder",
    "choose_traces",
    "codec_lines",
    "conversion_lines",
    "horizon_table",
    "ranked",
    "read_scores",
    "read_trace",
    "summary_table",
    "unjudged",
    "unmatched_rows",
    "verify_evidence",
    "write_evidence",
    "write_metrics",
    "write_report",
]
