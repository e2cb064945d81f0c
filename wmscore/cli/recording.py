"""One recording by a command: progress, what became of the rows, and the exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from wmscore.cli.output import console, print_sentences
from wmscore.cli.progress import Ticker

if TYPE_CHECKING:
    from wmscore.recordings import Recorded
    from wmscore.replay import Progress

__all__ = ["run_recording"]

_INTERRUPTED = 130
_TERMINATED = 143


def run_recording(
    folder: str,
    name: str,
    record: Callable[[Progress, Progress], Recorded],
    notes: Callable[[], Sequence[str]] = tuple,
) -> int:
    """Record, and say what came of it.

    Args:
        folder: where to.
        name: of the model.
        record: records, given the progress of the rows and that of the truth.
        notes: sentences to print once it is done.

    Returns:
        0 every row is recorded; 1 some are faults, found no room, or the model ended the process;
        130 interrupted.
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
        print_sentences(
            screen, [f"Interrupted. {folder} keeps what is finished; the same command goes on."]
        )
        return _INTERRUPTED
    except SystemExit as error:
        if error.code == _TERMINATED:
            raise
        ended = f"The model ended the run (SystemExit: {error.code})."
        print_sentences(
            screen, [f"{ended} {folder} keeps what is finished; the same command goes on."]
        )
        return 1
    except OSError as error:
        if not is_disk_full(error):
            raise
        print_sentences(
            screen, [f"Disk full: {error}. What is finished stays; the same command goes on."]
        )
        return 1
    print_sentences(screen, [*notes(), *recorded.summary()])
    if recorded.faults:
        print_sentences(screen, [f"Tracebacks: {folder}/part-*.log. --retry-faults asks again."])
    print_sentences(screen, [f"Rollouts: {folder}"])
    return 0 if recorded.complete else 1
