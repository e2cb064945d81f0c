"""One recording by a command: progress, what became of the rows, and the exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from wmscore.cli.answers import Answer
from wmscore.cli.output import console, print_sentences
from wmscore.cli.progress import Ticker
from wmscore.cli.results import about_panel

if TYPE_CHECKING:
    from wmscore.recordings import Recorded
    from wmscore.replay import Progress

__all__ = ["run_recording"]

_INTERRUPTED = 130
_TERMINATED = 143
_GOES_ON = "the same command goes on."


def run_recording(
    folder: str,
    name: str,
    record: Callable[[Progress, Progress], Recorded],
    notes: Callable[[], Sequence[str]] = tuple,
) -> Answer:
    """Record, and say what came of it.

    Args:
        folder: where to.
        name: of the model.
        record: records, given the progress of the rows and that of the truth.
        notes: sentences to print once it is done.

    Returns:
        With the code 0 every row is recorded; 1 some are faults, found no room, or the model ended
        the process; 130 interrupted.
    """
    from wmscore.recordings.parts import is_disk_full

    screen, ticker = console(), Ticker()
    try:
        with ticker:
            recorded = record(
                lambda done, total: ticker.report(name, done, total),
                lambda done, total: ticker.report("true world", done, total),
            )
    except KeyboardInterrupt:
        return _ended(
            folder, name, f"Interrupted. {folder} keeps what is finished; {_GOES_ON}", _INTERRUPTED
        )
    except SystemExit as error:
        if error.code == _TERMINATED:
            raise
        ended = f"The model ended the run (SystemExit: {error.code})."
        return _ended(folder, name, f"{ended} {folder} keeps what is finished; {_GOES_ON}")
    except OSError as error:
        if not is_disk_full(error):
            raise
        return _ended(folder, name, f"Disk full: {error}. What is finished stays; {_GOES_ON}")
    lines = [*notes(), *recorded.summary()]

    def show() -> None:
        print_sentences(screen, lines)
        if recorded.faults:
            print_sentences(
                screen, [f"Tracebacks: {folder}/part-*.log. --retry-faults asks again."]
            )
        print_sentences(screen, [f"Rollouts: {folder}"])

    document = {
        "rollouts": folder,
        "model": name,
        "complete": recorded.complete,
        "panel": about_panel(recorded.panel),
        "rows": recorded.rows,
        "asked": recorded.asked,
        "faults": [
            {
                "scenario": recorded.panel.scenarios[fault.scenario].id,
                "seed": fault.seed,
                "reason": fault.reason.name.lower(),
                "error": fault.error,
                "message": fault.message,
            }
            for fault in recorded.faults
        ],
        "unwritten": len(recorded.unwritten),
        "notes": lines,
    }
    return Answer(document, show, 0 if recorded.complete else 1)


def _ended(folder: str, name: str, why: str, code: int = 1) -> Answer:
    """Of a run that ended before its last row."""
    document = {"rollouts": folder, "model": name, "complete": False, "notes": [why]}
    return Answer(document, lambda: print_sentences(console(), [why]), code)
