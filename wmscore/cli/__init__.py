"""The command line: one file per command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the result is the process' exit code.

    Nothing heavy is imported before the command is known, torch least of all.
    """
    # OpenMP threads that spin at every barrier stall for whole time slices when another process
    # holds a core. Read when torch is imported, which no command has done yet.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from wmscore.extras import require

    try:
        for module in ("typer", "rich"):
            require(module, "harness")
    except ImportError as error:
        print(f"wmscore: {error}", file=sys.stderr)
        return 2
    from wmscore.cli.app import run

    return run(sys.argv[1:] if argv is None else argv)
