"""`wmscore demo`: the packaged panel, from replay to evidence."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from wmscore.cli.output import console, print_results, progress_bar
from wmscore.cli.parsing import Command

__all__ = ["add"]


def add(command: Command) -> None:
    """Add it to the parser."""
    demo = command("demo", _demo, "replay a packaged panel and write its evidence folder")
    demo.add_argument("--panel", choices=["vizdoom", "sprites"], help="default: what is installed")
    demo.add_argument("--out", default="evidence", help="evidence folder (default: evidence)")
    demo.add_argument("--device", default="cpu")
    demo.add_argument("--batch-size", type=int, default=8, help="panel rows per batch")


def _demo(args: argparse.Namespace) -> int:
    from wmscore.demo import ROLES, demo_panel, run_demo
    from wmscore.manifest import Panel

    screen, progress = console(), progress_bar()
    start = time.perf_counter()
    with progress:
        tasks: dict[str, Any] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done, total=total)

        panel = Panel.packaged(args.panel) if args.panel else demo_panel()
        results, traces = run_demo(
            args.out, panel=panel, device=args.device, batch_size=args.batch_size, report=report
        )
    print_results(screen, results, ROLES)
    screen.print(f"{time.perf_counter() - start:.0f} s. Evidence: {args.out}")
    for trace in traces:
        screen.print(f"  traces/{trace.name}.png: {trace.why}", highlight=False)
    screen.print(f"  postmortem: {Path(args.out) / 'postmortem.md'}")
    return 0
