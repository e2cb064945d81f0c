"""What the commands' parsers share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmscore.manifest import Panel

__all__ = ["Command", "import_from_here", "read_panel"]

Command = Callable[[str, Any, str], argparse.ArgumentParser]
"""Adds a command: name, function from arguments to exit code, help."""


def read_panel(name: str) -> Panel:
    """A file, or the name of a packaged panel where no file has it."""
    from wmscore.manifest import Panel

    return Panel.load(name) if Path(name).exists() else Panel.packaged(name)


def import_from_here() -> None:
    """Find modules in the current folder too, as of a model, world or encoder of one's own."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
