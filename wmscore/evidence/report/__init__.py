"""The report of an evidence folder: one self-contained page for a browser."""

from wmscore.evidence.report.page import write_report

__all__ = ["write_report"]
