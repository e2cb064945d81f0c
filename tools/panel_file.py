"""Command line of the scripts that build a packaged panel."""

from __future__ import annotations

import argparse
from pathlib import Path

from wmscore.manifest import Panel

__all__ = ["write_or_check"]


def write_or_check(path: Path, panel: Panel, description: str | None) -> None:
    """Write the panel, or with `--check` end with what the file has otherwise."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="only compare with the file")
    if parser.parse_args().check:
        differences = Panel.load(path).differences(panel)
        raise SystemExit("\n".join(differences) if differences else 0)
    panel.save(path)
    print(f"{path.name}: {panel.fingerprint[:12]}, {len(panel.scenarios)} scenarios")
