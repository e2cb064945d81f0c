"""The command line: one file per command."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from wmscore.cli import (
    aa,
    calibrate,
    check,
    compare,
    demo,
    doctor,
    ingest,
    protocol,
    replay,
    score,
    weights,
)

__all__ = ["build_parser", "main"]

COMMANDS = (
    *(demo, check, replay, ingest, score, compare),
    *(aa, calibrate, protocol, weights, doctor),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the result is the process' exit code."""
    # OpenMP threads that spin at every barrier stall for whole time slices when another process
    # holds a core. Read when torch is imported, which no command has done yet.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    args = build_parser().parse_args(argv)
    # A polite kill unwinds, so that drafts of folders are removed.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        code = int(args.run(args))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever was to read it has gone, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"wmscore {args.command}: {error}", file=sys.stderr)
        return 2
    finally:
        signal.signal(signal.SIGTERM, before)


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    text = "How far a generative world model can be trusted, and why it breaks."
    parser = argparse.ArgumentParser(prog="wmscore", description=text)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    for module in COMMANDS:
        module.add(command)
    return parser
